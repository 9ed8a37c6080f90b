//! The `[[upstream]]` sections: two kinds, their addresses, and no loop back to ourselves.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::address::Address;
use super::convert::At;
use super::loops::{LOOP, is_own};
use super::resolve::{Resolver, values};
use super::settings::{Doh, Server, Upstream, UpstreamKind};
use super::table::MAX_UPSTREAMS;
use super::url::{Secret, Url};
use super::walk::Part;

/// Port of plain DNS.
const DNS_PORT: u16 = 53;
/// Most addresses of one upstream under one key.
const MAX_ADDRESSES: usize = 64;
/// Most paths of one upstream.
const MAX_PATHS: usize = 16;

/// Keys that go with `url` only.
const WITH_URL: [&str; 4] = ["addresses", "paths", "ca", "standby"];

/// The upstreams of the file.
pub(super) struct Upstreams {
    /// Those without a fault.
    pub(super) list: Vec<Upstream>,
    /// Names of all sections in order.
    pub(super) names: Vec<String>,
    /// False if some section's name could not be read.
    pub(super) names_known: bool,
    /// Every address: where it stands, the socket, the key.
    pub(super) places: Vec<(usize, SocketAddr, &'static str)>,
}

/// Reads the sections; `server` has the listeners that no upstream may be.
pub(super) fn resolve(
    parts: &[Part],
    server: &Server,
    resolver: &mut Resolver<'_, '_>,
) -> Upstreams {
    if parts.is_empty() {
        let cure = "give one with `url` and `addresses`, or with `servers`";
        resolver.report.whole_file("upstream[]", format!("no [[upstream]] is given; {cure}"));
    }
    if let Some(part) = parts.get(MAX_UPSTREAMS) {
        let message = format!("there are more than {MAX_UPSTREAMS} upstreams");
        resolver.report.add(part.at, "upstream[]", message);
    }
    let names_known = !parts.iter().any(|part| part.is_bad("name"));
    let mut out =
        Upstreams { list: Vec::new(), names: Vec::new(), names_known, places: Vec::new() };
    let mut seen: HashMap<String, usize> = HashMap::new();
    for (index, part) in parts.iter().enumerate() {
        let name = part.given("name").unwrap_or_else(|| format!("upstream-{}", index + 1));
        if let Some(first) = seen.insert(name.clone(), part.at("name")) {
            let place = resolver.report.place(first, part.at("name"));
            resolver.fault(part, "name", format!("the name is taken already, on {place}"));
        }
        out.names.push(name.clone());
        let kind = match (part.has("url"), part.has("servers")) {
            (true, false) => doh(part, server, resolver, &mut out.places),
            (false, true) => plain(part, server, resolver, &mut out.places),
            (true, true) => {
                let cure = "take one of them out, or make it an [[upstream]] of its own";
                let message = format!("an upstream has either `url` or `servers`; {cure}");
                resolver.fault(part, "servers", message);
                None
            }
            (false, false) => {
                let cure = "with `addresses`) or `servers` (plain DNS)";
                let message =
                    format!("is missing: an upstream needs `url` (DNS over HTTPS, {cure}");
                resolver.report.add(part.at, part.key("url"), message);
                None
            }
        };
        let Some(kind) = kind else { continue };
        let max_in_flight = part.value::<u64>("max_in_flight") as usize;
        out.list.push(Upstream { name, kind, max_in_flight });
    }
    out
}

type Places = Vec<(usize, SocketAddr, &'static str)>;

fn doh(
    part: &Part,
    server: &Server,
    resolver: &mut Resolver<'_, '_>,
    places: &mut Places,
) -> Option<UpstreamKind> {
    let ca = resolver.readable(part, "ca");
    if !part.has("addresses") {
        let cure = "the URL's host is never looked up, so give the service's IP addresses";
        resolver.report.add(part.at, part.key("addresses"), format!("is missing: {cure}"));
    }
    let url: Option<Url> = part.given("url");
    let port = url.as_ref().map_or(443, |url| url.port);
    let mut seen = HashSet::new();
    let mut sockets = |key| self::sockets(part, key, port, server, &mut seen, resolver, places);
    let (addresses, standby) = (sockets("addresses"), sockets("standby"));
    let url = url?;
    let paths = paths(part, &url, resolver);
    let Url { host, port, .. } = url;
    Some(UpstreamKind::Doh(Doh { host, port, paths, addresses, standby, ca }))
}

/// `paths` in their order, then the URL's own path.
fn paths(part: &Part, url: &Url, resolver: &mut Resolver<'_, '_>) -> Vec<Secret> {
    let mut paths: Vec<Secret> = values(part.given("paths").unwrap_or_default());
    if paths.len() > MAX_PATHS {
        resolver.fault(part, "paths", format!("there are more than {MAX_PATHS} paths"));
    }
    // beside `paths` a bare "https://host/" says nothing
    let own = url.path.as_ref().filter(|path| !part.has("paths") || path.expose() != "/");
    if let Some(own) = own.filter(|own| !paths.contains(own)) {
        paths.push(own.clone());
    }
    if paths.is_empty() && !part.has("paths") {
        let message = "the URL needs a path behind its host: \"https://host/path\"";
        resolver.fault(part, "url", message);
    }
    paths
}

/// True if the key goes with the kind of upstream that the section is.
pub(super) fn goes_with_kind(part: &Part, key: &str) -> bool {
    match part.has("servers") {
        true => key != "url" && !WITH_URL.contains(&key),
        false => key != "servers",
    }
}

fn plain(
    part: &Part,
    server: &Server,
    resolver: &mut Resolver<'_, '_>,
    places: &mut Places,
) -> Option<UpstreamKind> {
    for key in WITH_URL.into_iter().filter(|key| part.has(key)) {
        resolver.fault(part, key, "goes with `url` only; take it out");
    }
    let seen = &mut HashSet::new();
    let servers = sockets(part, "servers", DNS_PORT, server, seen, resolver, places);
    Some(UpstreamKind::Plain { servers })
}

/// The sockets under one key: none twice within the upstream, none our own.
fn sockets(
    part: &Part,
    key: &'static str,
    port: u16,
    server: &Server,
    seen: &mut HashSet<SocketAddr>,
    resolver: &mut Resolver<'_, '_>,
    places: &mut Places,
) -> Vec<SocketAddr> {
    let list: Vec<At<Address>> = part.given(key).unwrap_or_default();
    let key = part.key(key);
    if list.len() > MAX_ADDRESSES {
        let message = format!("there are more than {MAX_ADDRESSES} addresses");
        resolver.report.add(list[MAX_ADDRESSES].at, key, message);
    }
    let mut out = Vec::new();
    for At { at, value } in list {
        let socket = value.with_default_port(port);
        if !seen.insert(socket) {
            resolver.report.add(at, key, "this upstream has the address already; take it out");
        } else if server.listen.iter().any(|listen| is_own(listen, &socket)) {
            resolver.report.add(at, key, LOOP);
        }
        places.push((at, socket, key));
        out.push(socket);
    }
    out
}
