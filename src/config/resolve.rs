//! From typed values to settings: defaults, files, and what keys mean to each other.

use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::address::{Allow, Listen};
use super::convert::At;
use super::fault::Report;
use super::groups;
use super::loops::{LOOP, Place, collides};
use super::policies::{self, Around};
use super::settings::{
    Cache, Canary, EXCEPTIONS_ZONE, Hits, Local, Log, ResponsePolicy, Route, Server, Settings,
    Status,
};
use super::spelling::{nearest, quote, quote_path};
use super::table::{MAX_POLICIES, MAX_UPSTREAMS};
use super::tsig;
use super::upstreams::{self, Upstreams};
use super::walk::{Document, Part};
use crate::dns::name::Name;
use crate::sys::accounts;

/// Longest path of a Unix socket in octets (`sun_path` of Linux, its closing zero not counted).
const MAX_SOCKET_PATH: usize = 107;

/// Builds the settings. Whatever is missing or does not fit together is reported; `None` only
/// if something was.
pub(super) fn resolve(
    document: &Document,
    folder: &Path,
    report: &mut Report<'_>,
) -> Option<Settings> {
    let mut resolver = Resolver { folder, report };
    // `server` alone decides about its listeners, the others are compared with them
    let server = resolver.server(document.one("server"));
    let upstreams = upstreams::resolve(document.all("upstream[]"), &server, &mut resolver);
    let routes = resolver.routes(document.all("route[]"), &upstreams);
    let keys = tsig::resolve(document.all("tsig[]"), &mut resolver);
    let around = Around { server: &server, keys: &keys };
    let policies = policies::resolve(document.all("policy[]"), &around, &mut resolver);
    let parts = document.all("group[]");
    let groups = groups::resolve(parts, &policies, &upstreams, &mut resolver);
    let cache = resolver.cache(document.one("cache"));
    let status = resolver.status(document.one("status"), &server);
    let log = resolver.log(document.one("log"));
    if !resolver.report.is_empty() {
        return None;
    }
    groups::warn(parts, &groups, &policies.list, &server.allow, resolver.report);
    let Upstreams { list, places, .. } = upstreams;
    let fault = |(at, socket, key)| {
        let fault = resolver.report.fault(at, key, LOOP);
        Place { socket, fault }
    };
    Some(Settings {
        file: resolver.report.file().into(),
        files: resolver.report.files(),
        server,
        places: places.into_iter().map(fault).collect(),
        upstreams: list,
        routes,
        local: local(document),
        policies: policies.list,
        tsig: keys.list,
        response_policy: response_policy(document.one("response_policy")),
        groups,
        cache,
        canary: canary(document.one("canary")),
        log,
        status,
        warnings: resolver.report.take_warnings(),
    })
}

/// What the parts of the resolution share.
pub(super) struct Resolver<'r, 't> {
    /// The folder that relative paths start from.
    folder: &'r Path,
    pub(super) report: &'r mut Report<'t>,
}

impl Resolver<'_, '_> {
    /// A fault at a key, or where its section begins if the file does not give it.
    pub(super) fn fault(&mut self, part: &Part, key: &str, message: impl Into<String>) {
        self.report.add(part.at(key), part.key(key), message);
    }

    /// The path of a file that must be there and readable.
    pub(super) fn readable(&mut self, part: &Part, key: &str) -> Option<PathBuf> {
        self.opened(part, key).map(|(path, _)| path)
    }

    /// The same, with the file.
    pub(super) fn opened(&mut self, part: &Part, key: &str) -> Option<(PathBuf, File)> {
        let path = self.folder.join(part.given::<PathBuf>(key)?);
        match super::open(&path) {
            Ok(file) => Some((path, file)),
            Err(message) => {
                let shown = quote_path(&path.display().to_string());
                self.fault(part, key, format!("{shown} {message}"));
                None
            }
        }
    }

    fn server(&mut self, part: &Part) -> Server {
        let allow: Vec<At<Allow>> = part.value("allow");
        if !part.value::<bool>("allow_any") && !part.is_bad("allow_any") {
            for entry in allow.iter().filter(|entry| entry.value.is_everybody()) {
                let message = "this lets everybody in; if that is meant, set \
                    server.allow_any = true";
                self.report.add(entry.at, part.key("allow"), message);
            }
        }
        let control = self.folder.join(part.value::<PathBuf>("control"));
        if control.as_os_str().as_bytes().len() > MAX_SOCKET_PATH {
            let message = format!("a socket's path has at most {MAX_SOCKET_PATH} octets");
            self.fault(part, "control", message);
        }
        let control_group = part.value::<String>("control_group");
        let own = ["", "culvert"].contains(&control_group.as_str());
        if !own && accounts::group_id(&control_group).is_none() {
            let message = format!(
                "this host has no group {control_group}; make it with groupadd --system \
                 {control_group}, or take the name of one that there is"
            );
            self.fault(part, "control_group", message);
        }
        let listen: Vec<At<Listen>> = match part.has("listen") {
            // no default for what cannot be read: it might seem to be somebody's loop
            true => part.given("listen").unwrap_or_default(),
            false => part.value("listen"),
        };
        let count = |key: &str| part.value::<u64>(key) as usize;
        Server {
            name: part.given("name"),
            listen: values(listen),
            allow: values(allow),
            outside: part.value("outside"),
            workers: count("workers"),
            state: self.folder.join(part.value::<PathBuf>("state")),
            control,
            control_group: Some(control_group).filter(|group| !group.is_empty()),
            udp_payload: count("udp_payload") as u16,
            tcp_connections: count("tcp_connections"),
            tcp_per_client: count("tcp_per_client"),
            tcp_idle: part.value("tcp_idle"),
            tcp_receive: part.value("tcp_receive"),
            tcp_queries: part.value("tcp_queries"),
        }
    }

    fn routes(&mut self, parts: &[Part], upstreams: &Upstreams) -> Vec<Route> {
        let mut seen: HashMap<Name, usize> = HashMap::new();
        let mut routes = Vec::new();
        for part in parts {
            self.required(part, "zones");
            self.required(part, "upstream");
            let zones: Vec<At<Name>> = part.given("zones").unwrap_or_default();
            for zone in &zones {
                self.refuse_reserved(zone, part.key("zones"));
                if let Some(first) = seen.insert(zone.value, zone.at) {
                    let place = self.report.place(first, zone.at);
                    let message = format!("the zone has a route already, on {place}");
                    self.report.add(zone.at, part.key("zones"), message);
                }
            }
            let Some(name) = part.given::<String>("upstream") else { continue };
            let Some(upstream) = self.upstream(part, &name, upstreams) else { continue };
            routes.push(Route { zones: values(zones), upstream, filter: part.value("filter") });
        }
        routes
    }

    /// Index of the upstream that the section's key `upstream` names.
    pub(super) fn upstream(
        &mut self,
        part: &Part,
        name: &str,
        upstreams: &Upstreams,
    ) -> Option<usize> {
        let found = upstreams.names.iter().position(|known| *known == name);
        if found.is_none() && upstreams.names_known {
            let advice = advice(name, &upstreams.names);
            let message = format!("no [[upstream]] is named {}; {advice}", quote(name));
            self.fault(part, "upstream", message);
        }
        found
    }

    /// A fault if the zone is the one that exceptions have.
    pub(super) fn refuse_reserved(&mut self, zone: &At<Name>, key: &str) {
        if is_reserved(&zone.value) {
            let message = "this zone name is reserved: Culvert's own exceptions act under it; \
                take another name";
            self.report.add(zone.at, key, message);
        }
    }

    fn cache(&mut self, part: &Part) -> Cache {
        let cache = Cache {
            enabled: part.value("enabled"),
            size: part.value("size"),
            min_ttl: part.value("min_ttl"),
            max_ttl: part.value("max_ttl"),
            max_negative_ttl: part.value("max_negative_ttl"),
            stale: part.value("stale"),
        };
        if cache.min_ttl > cache.max_ttl {
            self.fault(part, "min_ttl", "is longer than cache.max_ttl");
        }
        cache
    }

    fn status(&mut self, part: &Part, server: &Server) -> Status {
        let listen: Option<SocketAddr> = part.value("listen");
        let listen = listen.filter(|_| !part.is_bad("listen"));
        if listen.is_some_and(|own| server.listen.iter().any(|entry| collides(entry, &own))) {
            self.fault(part, "listen", "server.listen has this address and port already");
        }
        Status { listen, allow: values(part.value("allow")) }
    }

    fn log(&mut self, part: &Part) -> Log {
        let hits = match part.value("hits") {
            Hits::File(path) => Hits::File(self.folder.join(path)),
            other => other,
        };
        Log { hits, format: part.value("format"), queries: part.value("queries") }
    }

    /// A fault if the section does not give the key at all.
    pub(super) fn required(&mut self, part: &Part, key: &str) {
        if !part.has(key) {
            self.report.add(part.at, part.key(key), "is missing");
        }
    }
}

fn local(document: &Document) -> Local {
    let part = document.one("local");
    Local {
        special: part.value("special"),
        canary_domain: part.value("canary_domain"),
        hosts: values(document.hosts.clone()),
    }
}

fn response_policy(part: &Part) -> ResponsePolicy {
    ResponsePolicy {
        mode: part.value("mode"),
        break_dnssec: part.value("break_dnssec"),
        wait: part.value("wait"),
        max_ttl: part.value("max_ttl"),
        negative_soa: part.value("negative_soa"),
        min_ns_dots: part.value::<u64>("min_ns_dots") as usize,
        nsip: part.value("nsip"),
        nsdname: part.value("nsdname"),
        svcb_hints: part.value("svcb_hints"),
        ede_zone: part.value("ede_zone"),
        guard: values(part.value("guard")),
    }
}

fn canary(part: &Part) -> Canary {
    Canary { resolves: values(part.value("resolves")), blocked: values(part.value("blocked")) }
}

/// True for the zone name that exceptions have.
pub(super) fn is_reserved(zone: &Name) -> bool {
    EXCEPTIONS_ZONE.parse().is_ok_and(|reserved: Name| *zone == reserved)
}

/// What to write instead of a word that is not among the known ones, of which there may be none.
pub(crate) fn advice(word: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "there is none".to_owned();
    }
    // a file with more of them has that fault already
    let known = &known[..known.len().min(MAX_POLICIES.max(MAX_UPSTREAMS))];
    match nearest(word, known.iter().map(String::as_str)) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// The entries of a list without their places.
pub(super) fn values<T>(list: Vec<At<T>>) -> Vec<T> {
    list.into_iter().map(|entry| entry.value).collect()
}
