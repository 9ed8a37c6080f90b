//! Files that load, and what they mean.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{SMALLEST, load, settings_with};
use crate::config::*;

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn doh(upstream: &Upstream) -> &Doh {
    match &upstream.kind {
        UpstreamKind::Doh(doh) => doh,
        UpstreamKind::Plain { .. } => panic!("not DNS over HTTPS"),
    }
}

/// How a zone's supply is watched over if nothing is said.
const CARE: Care = Care {
    expired: Expired::Keep,
    max_loss: 50,
    hold_max: None,
    alarm_after: 3,
    max_bytes: 1 << 30,
};

#[test]
fn every_default_of_the_server() {
    let server = load(SMALLEST).unwrap().server;
    let prefixes = [
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    ];
    let mut allow: Vec<Allow> =
        prefixes.iter().map(|prefix| Allow::Prefix(prefix.parse().unwrap())).collect();
    allow.push(Allow::OnLink);
    let expected = Server {
        name: None,
        listen: vec![Listen::Interfaces(53)],
        allow,
        outside: Outside::Refused,
        workers: 0,
        state: PathBuf::from("/var/lib/culvert"),
        control: PathBuf::from("/run/culvert/control.sock"),
        control_group: Some("culvert".into()),
        udp_payload: 1232,
        tcp_connections: 2000,
        tcp_per_client: 50,
        tcp_idle: seconds(10),
        tcp_receive: seconds(5),
        tcp_queries: 10_000,
    };
    assert_eq!(server, expected);
}

#[test]
fn every_other_default() {
    let settings = load(SMALLEST).unwrap();
    assert_eq!(settings.file, Path::new("culvert.toml"));
    let upstream = &settings.upstreams[0];
    assert_eq!((upstream.name.as_str(), upstream.max_in_flight), ("upstream-1", 10_000));
    let expected = Doh {
        host: "doh.example".to_owned(),
        port: 443,
        paths: vec![Secret::new("/dns-query")],
        addresses: vec![socket("192.0.2.1:443")],
        standby: vec![],
        ca: None,
    };
    assert_eq!(*doh(upstream), expected);
    assert!(settings.routes.is_empty() && settings.policies.is_empty());
    assert!(settings.groups.is_empty() && settings.warnings.is_empty());
    assert!(settings.tsig.is_empty());
    let local = Local { special: true, canary_domain: true, hosts: vec![] };
    assert_eq!(settings.local, local);
    let response_policy = ResponsePolicy {
        mode: Enforcement::Enforce,
        break_dnssec: true,
        wait: false,
        max_ttl: seconds(5),
        negative_soa: true,
        min_ns_dots: 1,
        nsip: true,
        nsdname: true,
        svcb_hints: true,
        ede_zone: false,
        guard: vec![],
    };
    assert_eq!(settings.response_policy, response_policy);
    let cache = Cache {
        enabled: true,
        size: 64 << 20,
        min_ttl: seconds(0),
        max_ttl: seconds(86_400),
        max_negative_ttl: seconds(3600),
        stale: seconds(86_400),
    };
    assert_eq!(settings.cache, cache);
    assert_eq!(settings.canary, Canary { resolves: vec![], blocked: vec![] });
    let log = Log { hits: Hits::Journal, format: LogFormat::Json, queries: false };
    assert_eq!(settings.log, log);
    assert_eq!(
        settings.status,
        Status { listen: Some(socket("127.0.0.1:8053")), allow: Vec::new() }
    );
}

#[test]
fn defaults_of_policies_and_routes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("z.rpz"), "").unwrap();
    let text = format!(
        "{SMALLEST}[[policy]]\nzone = \"Z.Example.\"\nfile = \"z.rpz\"\n\
         [[route]]\nzones = [\"corp.example\"]\nupstream = \"upstream-1\"\n"
    );
    let settings = parse(&text, &folder.path().join("culvert.toml")).unwrap();
    let expected = Policy {
        zone: "z.example".parse().unwrap(),
        source: PolicySource::File(folder.path().join("z.rpz")),
        format: ZoneFormat::Rpz,
        subdomains: true,
        mode: Mode::Enforce,
        action: Action::Given,
        recursive_only: false,
        add_soa: true,
        max_ttl: None,
        ede: Ede::Blocked,
        log: true,
        until_loaded: UntilLoaded::OpenAfter(seconds(30)),
        care: CARE,
        max_rules: 10_000_000,
    };
    assert_eq!(settings.policies, [expected]);
    let zones = vec!["corp.example".parse().unwrap()];
    assert_eq!(settings.routes, [Route { zones, upstream: 0, filter: false }]);
}

/// The operator's file that the project started from, without what is not yet there.
const FULL: &str = r#"
version = 1
[server]
name    = "relay-1"
listen  = ["192.0.2.1:53", "[2001:db8::1]:53", "0.0.0.0:5353"]
allow   = ["10.0.0.0/8", "::1", "onlink", "any"]
allow_any = true
outside = "drop"
workers = 2
state   = "state"
control = "/run/culvert/control.sock"
control_group = "root"
[[upstream]]
name      = "service"
url       = "https://doh.service.example:8443/org_id/fragment{?dns}"
addresses = ["198.51.100.80", "198.51.100.81:444"]
paths     = ["/org_id/new", "/org_id/old"]
ca        = "ca.pem"
standby   = ["192.0.2.9"]
max_in_flight = 7
[[upstream]]
name    = "corp"
servers = ["10.0.0.53", "[2001:db8::53]:5353"]
[[route]]
zones    = ["corp.example", "10.in-addr.arpa"]
upstream = "corp"
filter   = true
[local]
special = false
canary_domain = false
[local.hosts]
"printer.corp.example" = ["10.0.0.9", "2001:db8::9"]
"nas.corp.example" = "10.0.0.10"
[[policy]]
zone = "allow.local"
file = "a.rpz"
format = "domains"
subdomains = false
mode = "monitor"
action = "cname:garden.example"
recursive_only = true
add_soa = false
max_ttl = "1m"
ede = "none"
log = false
until_loaded = "servfail"
max_rules = 5
[response_policy]
mode = "monitor"
break_dnssec = false
wait = true
max_ttl = "7s"
negative_soa = false
min_ns_dots = 2
nsip = false
nsdname = false
svcb_hints = false
ede_zone = true
guard = ["WWW.corp.example"]
[[group]]
name = "guests"
clients = ["192.168.50.0/24", "2001:db8:50::/64", "10.0.0.7"]
policies = ["ALLOW.local."]
upstream = "corp"
[cache]
enabled = false
size = "10MB"
min_ttl = "1s"
max_ttl = "2h"
max_negative_ttl = "0s"
stale = "0s"
[canary]
resolves = ["yes.example"]
blocked  = ["no.example"]
[log]
hits    = "log/hits"
format  = "bind-legacy"
queries = true
[status]
listen = "off"
"#;

fn full() -> (tempfile::TempDir, Settings) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.rpz"), "").unwrap();
    std::fs::write(folder.path().join("ca.pem"), "").unwrap();
    let settings = parse(FULL, &folder.path().join("culvert.toml"));
    (folder, settings.unwrap_or_else(|faults| panic!("{faults}")))
}

#[test]
fn a_full_file() {
    let (folder, settings) = full();
    let at = |path: &str| folder.path().join(path);
    let server = &settings.server;
    assert_eq!(server.name.as_deref(), Some("relay-1"));
    assert_eq!(server.listen.len(), 3);
    assert_eq!(server.allow.last(), Some(&Allow::Any));
    assert_eq!((server.outside, server.workers), (Outside::Drop, 2));
    assert_eq!(server.state, at("state"));

    let service = &settings.upstreams[0];
    let expected = Doh {
        host: "doh.service.example".to_owned(),
        port: 8443,
        paths: ["/org_id/new", "/org_id/old", "/org_id/fragment"].map(Secret::new).to_vec(),
        addresses: vec![socket("198.51.100.80:8443"), socket("198.51.100.81:444")],
        standby: vec![socket("192.0.2.9:8443")],
        ca: Some(at("ca.pem")),
    };
    assert_eq!((doh(service), service.max_in_flight), (&expected, 7));
    let servers = vec![socket("10.0.0.53:53"), socket("[2001:db8::53]:5353")];
    assert_eq!(settings.upstreams[1].kind, UpstreamKind::Plain { servers });
    assert_eq!((settings.routes[0].upstream, settings.routes[0].filter), (1, true));

    let local = &settings.local;
    assert!(!local.special && !local.canary_domain);
    let hosts: Vec<(String, &[IpAddr])> =
        local.hosts.iter().map(|(name, list)| (name.to_string(), list.as_slice())).collect();
    let [nas, printer] = ["10.0.0.10", "10.0.0.9"].map(|text| text.parse().unwrap());
    assert_eq!(hosts[0], ("nas.corp.example".to_owned(), &[nas][..]));
    assert_eq!(hosts[1].1, [printer, "2001:db8::9".parse().unwrap()]);
}

#[test]
fn a_full_file_continued() {
    let (folder, settings) = full();
    let at = |path: &str| folder.path().join(path);
    let policy = Policy {
        zone: "allow.local".parse().unwrap(),
        source: PolicySource::File(at("a.rpz")),
        format: ZoneFormat::Domains,
        subdomains: false,
        mode: Mode::Monitor,
        action: Action::Cname("garden.example".parse().unwrap()),
        recursive_only: true,
        add_soa: false,
        max_ttl: Some(seconds(60)),
        ede: Ede::None,
        log: false,
        until_loaded: UntilLoaded::Servfail,
        care: CARE,
        max_rules: 5,
    };
    assert_eq!(settings.policies, [policy]);
    let clients = ["192.168.50.0/24", "2001:db8:50::/64", "10.0.0.7/32"];
    let group = Group {
        name: "guests".to_owned(),
        clients: clients.map(|text| text.parse().unwrap()).to_vec(),
        policies: Some(vec![0]),
        upstream: Some(1),
    };
    assert_eq!(settings.groups, [group]);
    assert_eq!(settings.warnings, []);
    let response_policy = ResponsePolicy {
        mode: Enforcement::Monitor,
        break_dnssec: false,
        wait: true,
        max_ttl: seconds(7),
        negative_soa: false,
        min_ns_dots: 2,
        nsip: false,
        nsdname: false,
        svcb_hints: false,
        ede_zone: true,
        guard: vec!["www.corp.example".parse().unwrap()],
    };
    assert_eq!(settings.response_policy, response_policy);
    let cache = Cache {
        enabled: false,
        size: 10_000_000,
        min_ttl: seconds(1),
        max_ttl: seconds(7200),
        max_negative_ttl: seconds(0),
        stale: seconds(0),
    };
    assert_eq!(settings.cache, cache);
    assert_eq!(settings.canary.resolves[0].to_string(), "yes.example");
    assert_eq!(settings.canary.blocked[0].to_string(), "no.example");
    let hits = Hits::File(at("log/hits"));
    assert_eq!(settings.log, Log { hits, format: LogFormat::BindLegacy, queries: true });
    assert_eq!(settings.status.listen, None);
}

#[test]
fn every_word_of_a_choice_is_read() {
    for word in Outside::WORDS {
        let server = settings_with(&format!("[server]\noutside = \"{word}\"")).server;
        assert_eq!(server.outside.as_str(), *word);
    }
    for word in LogFormat::WORDS {
        let log = settings_with(&format!("[log]\nformat = \"{word}\"")).log;
        assert_eq!(log.format.as_str(), *word);
    }
    assert_eq!(settings_with("[log]\nhits = \"stderr\"").log.hits, Hits::Stderr);
}

#[test]
fn no_secret_in_debug_or_display() {
    let (_folder, settings) = full();
    let shown = format!("{settings:?}{settings:#?}");
    assert!(shown.contains("doh.service.example"));
    for secret in ["org_id", "fragment", "/new", "/old"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

#[test]
fn a_url_without_a_path_goes_with_paths() {
    for url in ["https://h.example", "https://h.example/"] {
        let text = format!(
            "[[upstream]]\nurl = \"{url}\"\naddresses = [\"192.0.2.1\"]\npaths = [\"/a\", \"/b\"]"
        );
        let settings = load(&text).unwrap();
        assert_eq!(doh(&settings.upstreams[0]).paths, ["/a", "/b"].map(Secret::new));
    }
}

#[test]
fn a_byte_order_mark_and_crlf_do_no_harm() {
    let text = format!("\u{feff}{}", SMALLEST.replace('\n', "\r\n"));
    assert!(load(&text).is_ok());
}

#[test]
fn own_addresses_are_found_at_the_start() {
    let text = "[server]\nlisten = [\"interfaces:53\", \"192.0.2.7:5300\"]\n[[upstream]]\n\
        servers = [\"192.0.2.1\",\n  \"192.0.2.1:54\", \"192.0.2.2\", \"192.0.2.1:5300\"]\n";
    let settings = load(text).unwrap();
    assert!(settings.own_address_faults(&[]).is_empty());
    let host: Vec<IpAddr> = ["127.0.0.1", "::ffff:192.0.2.1"].map(|ip| ip.parse().unwrap()).into();
    let faults = settings.own_address_faults(&host);
    assert_eq!(faults.len(), 1, "{faults:?}");
    let text = faults[0].to_string();
    assert!(text.starts_with("culvert.toml:4:12: upstream[].servers: this is one of"), "{text}");
}
