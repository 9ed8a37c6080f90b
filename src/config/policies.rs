//! The `[[policy]]` sections: where each zone comes from, and how its supply is watched over.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use super::address::Address;
use super::convert::At;
use super::loops::is_own;
use super::resolve::{Resolver, values};
use super::settings::{
    Care, Download, Policy, PolicySource, Primary, Server, Transfer, ZoneFormat,
};
use super::table::MAX_POLICIES;
use super::tsig::Keys;
use super::url::Url;
use super::walk::Part;
use crate::dns::name::Name;
use crate::limits;

/// The keys that say where a zone comes from; each section has one of them.
const SOURCES: [&str; 3] = ["file", "primaries", "url"];

/// Keys that go with some sources only.
const BOUND: [(&str, &[&str]); 13] = [
    ("format", &["file", "url"]),
    ("subdomains", &["file", "url"]),
    ("tsig", &["primaries"]),
    ("notify_from", &["primaries"]),
    ("expired", &["primaries"]),
    ("addresses", &["url"]),
    ("sha256", &["url"]),
    ("refresh", &["url"]),
    ("ca", &["primaries", "url"]),
    ("max_loss", &["primaries", "url"]),
    ("hold_max", &["primaries", "url"]),
    ("alarm_after", &["primaries", "url"]),
    ("max_bytes", &["primaries", "url"]),
];

/// The policy zones of the file.
pub(super) struct Policies {
    /// Those without a fault.
    pub(super) list: Vec<Policy>,
    /// Names of all sections in order.
    pub(super) zones: Vec<Name>,
    /// False if some section's zone could not be read.
    pub(super) zones_known: bool,
}

/// What the sections refer to.
pub(super) struct Around<'a> {
    /// Has the listeners that no primary may be.
    pub(super) server: &'a Server,
    /// The keys that a zone may name.
    pub(super) keys: &'a Keys,
}

/// Reads the sections.
pub(super) fn resolve(
    parts: &[Part],
    around: &Around<'_>,
    resolver: &mut Resolver<'_, '_>,
) -> Policies {
    if let Some(part) = parts.get(MAX_POLICIES) {
        let message = format!("there are more than {MAX_POLICIES} policy zones");
        resolver.report.add(part.at, "policy[]", message);
    }
    let mut seen: HashMap<Name, usize> = HashMap::new();
    let (mut list, mut zones) = (Vec::new(), Vec::new());
    for part in parts {
        resolver.required(part, "zone");
        let zone: Option<Name> = part.given("zone");
        if let Some(zone) = zone {
            zones.push(zone);
            resolver.refuse_reserved(&At { at: part.at("zone"), value: zone }, part.key("zone"));
        }
        if let Some(first) = zone.and_then(|zone| seen.insert(zone, part.at("zone"))) {
            let place = resolver.report.place(first, part.at("zone"));
            resolver.fault(part, "zone", format!("the zone is given already, on {place}"));
        }
        let source = source(part, zone, around, resolver);
        let (Some(zone), Some(source)) = (zone, source) else { continue };
        list.push(policy(part, zone, source));
    }
    let zones_known = zones.len() == parts.len();
    Policies { list, zones, zones_known }
}

fn policy(part: &Part, zone: Name, source: PolicySource) -> Policy {
    Policy {
        zone,
        source,
        format: part.value("format"),
        subdomains: part.value("subdomains"),
        mode: part.value("mode"),
        action: part.value("action"),
        recursive_only: part.value("recursive_only"),
        add_soa: part.value("add_soa"),
        max_ttl: part.given("max_ttl"),
        ede: part.value("ede"),
        log: part.value("log"),
        until_loaded: part.value("until_loaded"),
        care: Care {
            expired: part.value("expired"),
            max_loss: part.value::<u64>("max_loss") as u8,
            hold_max: part.given("hold_max"),
            alarm_after: part.value::<u64>("alarm_after") as u32,
            max_bytes: part.value("max_bytes"),
        },
        max_rules: part.value("max_rules"),
    }
}

/// Where the zone comes from: one of three ways.
fn source(
    part: &Part,
    zone: Option<Name>,
    around: &Around<'_>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<PolicySource> {
    let zone = zone.map_or_else(|| "this zone".to_owned(), |zone| format!("zone {zone}"));
    let given: Vec<&str> = SOURCES.into_iter().filter(|key| part.has(key)).collect();
    let way = match given.as_slice() {
        [way] => *way,
        [] => {
            let message = format!(
                "is missing: {zone} needs `file`, or `primaries` (zone transfer), or `url` (a \
                 list on the web)"
            );
            resolver.report.add(part.at, part.key("file"), message);
            return None;
        }
        [.., last] => {
            let message = format!(
                "{zone} comes one way only: by `file`, `primaries` or `url`; take the others out"
            );
            resolver.fault(part, last, message);
            return None;
        }
    };
    refuse_unbound(part, way, resolver);
    match way {
        "file" => resolver.readable(part, "file").map(PolicySource::File),
        "primaries" => transfer(part, around, resolver).map(PolicySource::Primaries),
        _ => download(part, resolver).map(PolicySource::Url),
    }
}

/// True if the key goes with the way that the section's zone comes.
pub(super) fn goes_with_source(part: &Part, key: &str) -> bool {
    let way = SOURCES.into_iter().find(|way| part.has(way)).unwrap_or_default();
    let bound = BOUND.iter().find(|(bound, _)| *bound == key);
    let fits = bound.is_none_or(|(_, ways)| ways.contains(&way));
    let of_a_list = key != "subdomains" || part.value::<ZoneFormat>("format") != ZoneFormat::Rpz;
    fits && of_a_list && !SOURCES.contains(&key)
}

/// Faults for keys that do not go with the way that the zone comes.
fn refuse_unbound(part: &Part, way: &str, resolver: &mut Resolver<'_, '_>) {
    for (key, ways) in BOUND {
        if part.has(key) && !ways.contains(&way) {
            let ways = ways.join("` and `");
            resolver.fault(part, key, format!("goes with `{ways}` only; take it out"));
        }
    }
    let format: ZoneFormat = part.value("format");
    let named = part.has("subdomains") && !part.is_bad("format");
    if way != "primaries" && format == ZoneFormat::Rpz && named {
        let message = "goes with the formats \"domains\" and \"hosts\" only, since rules of \
            \"rpz\" say it themselves (\"*.name\"); take it out";
        resolver.fault(part, "subdomains", message);
    }
}

fn transfer(part: &Part, around: &Around<'_>, resolver: &mut Resolver<'_, '_>) -> Option<Transfer> {
    let primaries: Vec<At<Primary>> = part.given("primaries")?;
    let key = part.key("primaries");
    if let Some(primary) = primaries.get(limits::ZONE_PRIMARIES) {
        let message = format!("there are more than {} primaries", limits::ZONE_PRIMARIES);
        resolver.report.add(primary.at, key, message);
    }
    for At { at, value } in &primaries {
        if around.server.listen.iter().any(|listen| is_own(listen, &value.address)) {
            let message = "this is one of our own listeners, which has no zone to transfer; name \
                the zone's primary";
            resolver.report.add(*at, key, message);
        }
    }
    let over_tls = primaries.iter().any(|primary| primary.value.tls_name.is_some());
    if part.has("ca") && !over_tls {
        let message = "none of the primaries is spoken to over TLS (\"tls://IP#NAME\"); take it \
            out";
        resolver.fault(part, "ca", message);
    }
    Some(Transfer {
        primaries: values(primaries),
        tsig: around.keys.of(part, resolver),
        notify_from: values(part.value("notify_from")),
        ca: resolver.readable(part, "ca"),
    })
}

fn download(part: &Part, resolver: &mut Resolver<'_, '_>) -> Option<Download> {
    let ca = resolver.readable(part, "ca");
    let url: Url = part.given("url")?;
    Some(Download {
        addresses: addresses(part, url.port, resolver),
        url: url.whole(),
        ca,
        sha256: part.given("sha256"),
        refresh: part.value("refresh"),
    })
}

/// The addresses of a URL's host, none twice.
fn addresses(part: &Part, port: u16, resolver: &mut Resolver<'_, '_>) -> Vec<SocketAddr> {
    let list: Vec<At<Address>> = part.given("addresses").unwrap_or_default();
    let key = part.key("addresses");
    if let Some(address) = list.get(limits::LIST_ADDRESSES) {
        let message = format!("there are more than {} addresses", limits::LIST_ADDRESSES);
        resolver.report.add(address.at, key, message);
    }
    let mut seen = HashSet::new();
    for At { at, value } in &list {
        if !seen.insert(value.with_default_port(port)) {
            resolver.report.add(*at, key, "the zone has this address already; take it out");
        }
    }
    list.into_iter().map(|entry| entry.value.with_default_port(port)).collect()
}
