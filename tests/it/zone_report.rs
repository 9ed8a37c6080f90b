//! The report of a zone that only watches, from the query to the count: the library's own road
//! with a policy that is published anew.

use crate::harness::secs;
use culvert::acl::Acl;
use culvert::cache::Cache;
use culvert::dns::name::Name;
use culvert::listener::{Handler, Source, Step, Transport};
use culvert::metrics::Counters;
use culvert::pipeline::local::{self, LocalNames};
use culvert::pipeline::{Keeper, Outside, Road, Routes, Snapshot};
use culvert::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use culvert::report::{Destination, Format, Writer, ZoneReport};
use culvert::rpz::{self, Form};
use culvert::upstream::{Kind, Settings, Upstream};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

const ZONE: &str = "trial.rpz";
const RULES: &str = "$TTL 60\n@ SOA ns.rpz. host.rpz. 1 3600 600 86400 60\n@ NS ns.rpz.\n\
                     bad.example CNAME .\nworse.example CNAME rpz-drop.\n";

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The zone in this mode, without a line in the hit log.
fn policy(mode: Mode) -> Arc<PolicySet> {
    let settings = ZoneSettings {
        name: name(ZONE),
        mode,
        action: Override::Given,
        recursive_only: false,
        add_soa: true,
        max_ttl: 5,
        ede: None,
        ede_text: "".into(),
        remote: false,
        log: false,
    };
    let limits = rpz::Limits::default();
    let file = Path::new("trial");
    let rules = rpz::parse(RULES.as_bytes(), file, &settings.name, Form::Zone, &limits).unwrap();
    Arc::new(PolicySet::build(Parts::of_zones(1, vec![(settings, Arc::new(rules))]), None))
}

/// A road that answers three names itself, under this policy.
fn road(policy: Arc<PolicySet>, writer: &Writer) -> Road {
    let cache = Arc::new(Cache::new(Default::default(), 1));
    let kind = Kind::Plain { servers: vec![SocketAddr::from(([127, 0, 0, 1], 9))] };
    let settings = Settings { name: "nobody".to_owned(), kind, max_in_flight: 10 };
    let sink = Arc::new(Keeper { cache: Arc::clone(&cache) });
    let upstream = Upstream::build(0, settings, None, 1, sink).ok().unwrap();
    let known = ["bad.example", "worse.example", "good.example"];
    let hosts = known.map(|host| (name(host), vec!["192.0.2.1".parse().unwrap()])).to_vec();
    let settings = local::Settings { hosts, special: true, canary_domain: true };
    let snapshot = Snapshot {
        acl: Arc::new(Acl::new(["192.0.2.0/24".parse().unwrap()])),
        outside: Outside::Refused,
        payload: 1_232,
        policy,
        svcb_hints: true,
        min_ns_dots: 1,
        break_dnssec: true,
        wait: false,
        negative_soa: true,
        local: Arc::new(LocalNames::new(&settings)),
        routes: Arc::new(Routes::new(upstream)),
        notify: Arc::default(),
    };
    Road::new(snapshot, cache, Arc::new(Counters::new(1)), writer.reporter())
}

/// The code that this client gets for an A query.
#[track_caller]
fn ask(road: &Road, client: &str, qname: &str) -> u8 {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name(qname).as_wire());
    packet.extend([0, 1, 0, 1]);
    let client = format!("{client}:5353").parse().unwrap();
    let source = Source { client, transport: Transport::Udp, worker: 0 };
    let mut reply = [0; 1_232];
    match road.receive(&road.round(), source, &packet, true, &mut reply) {
        Step::Reply(_) => reply[3] & 15,
        Step::Silence | Step::Later(_) => panic!("{qname} is not answered at once"),
    }
}

/// The report once the writer has counted so many queries.
fn report(road: &Road, queries: u64) -> ZoneReport {
    let mut report = None;
    crate::harness::eventually("the hits are counted", secs(10), || {
        report = road.reporter().zone_report(ZONE).filter(|report| report.queries == queries);
        report.is_some()
    });
    report.unwrap()
}

#[test]
fn a_zone_on_trial_is_counted_until_it_enforces() {
    let home = tempfile::tempdir().unwrap();
    let hits = home.path().join("hits");
    let destination = Destination::File(hits.clone());
    let writer = Writer::start("relay".into(), destination, Format::Json, false).unwrap();
    let road = road(policy(Mode::Monitor), &writer);
    for (client, qname) in [
        ("192.0.2.7", "bad.example"),
        ("192.0.2.8", "BAD.example"),
        ("192.0.2.7", "worse.example"),
        ("192.0.2.7", "good.example"),
    ] {
        assert_eq!(ask(&road, client, qname), 0, "nothing is blocked on trial");
    }
    let report = report(&road, 3);
    let counts = |counted: &[culvert::report::Counted]| {
        counted.iter().map(|c| format!("{} {}", c.what, c.queries)).collect::<Vec<_>>()
    };
    assert_eq!(counts(&report.names), ["bad.example 2", "worse.example 1"]);
    assert_eq!(counts(&report.clients), ["192.0.2.7 2", "192.0.2.8 1"]);
    assert_eq!(counts(&report.actions), ["DROP 1", "NXDOMAIN 2"]);
    assert_eq!(report.dropped, 0);

    // a new generation in the same mode is the same trial
    road.publish(Snapshot { policy: policy(Mode::Monitor), ..(*road.snapshot()).clone() });
    assert_eq!(road.reporter().zone_report(ZONE).map(|next| next.since), Some(report.since));
    road.publish(Snapshot { policy: policy(Mode::Enforce), ..(*road.snapshot()).clone() });
    assert_eq!(road.reporter().zone_report(ZONE), None, "there is no trial any more");
    assert_eq!(ask(&road, "192.0.2.7", "bad.example"), 3);
    writer.stop();
    assert_eq!(std::fs::read_to_string(hits).unwrap(), "", "log = false is kept to");
}
