//! The hit log's writer and the counts of zones that only watch, from the reporter's side.

use super::*;
use crate::clock;
use crate::policy::rules::ZoneRules;
use crate::policy::set::{Mode, Override, ZoneSettings};
use crate::policy::stage::Owner;

fn zone(name: &str, log: bool) -> Arc<Zone> {
    let name = name.parse().unwrap();
    let settings = ZoneSettings {
        name,
        mode: Mode::Monitor,
        action: Override::Given,
        recursive_only: false,
        add_soa: true,
        max_ttl: 5,
        ede: None,
        ede_text: "blocked".into(),
        remote: false,
        log,
    };
    Arc::new(Zone { settings, rules: Arc::new(ZoneRules::none(name)), duplicates: 0 })
}

fn hit(zone: &Arc<Zone>, client: &str, qname: &str, action: &'static str) -> HitRecord {
    let name: Name = qname.parse().unwrap();
    HitRecord {
        time: clock::wall_millis(),
        client: SocketAddr::new(client.parse().unwrap(), 5353),
        qname: name,
        qtype: 1,
        trigger: TriggerKind::Qname,
        zone: Arc::clone(zone),
        name,
        matched: Matched::Name(Owner { labels: 2, wildcard: false }),
        exception: None,
        action,
        enforced: false,
    }
}

/// A reporter without a writer, so that its queue fills.
fn unread() -> Reporter {
    let shared = Arc::new(Shared::new(false));
    Reporter { shared, writer: std::thread::current() }
}

fn counted(what: &str, queries: u64) -> Counted {
    Counted { what: what.to_owned(), queries }
}

#[test]
fn the_report_counts_what_would_have_happened_logged_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hits");
    let destination = Destination::File(path.clone());
    let writer = Writer::start("relay".into(), destination, Format::Json, false).unwrap();
    let reporter = writer.reporter();
    let (loud, quiet) = (zone("loud.test", true), zone("quiet.test", false));
    reporter.watch(&[loud.settings.name, quiet.settings.name]);
    reporter.hit(hit(&loud, "192.0.2.1", "Bad.example", "NXDOMAIN"));
    for client in ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"] {
        reporter.hit(hit(&quiet, client, "bad.example", "NXDOMAIN"));
    }
    reporter.hit(hit(&quiet, "2001:db8::1", "worse.example", "DROP"));
    reporter.hit(hit(&quiet, "192.0.2.9", "good.example", "PASSTHRU"));
    reporter.hit(HitRecord { enforced: true, ..hit(&loud, "192.0.2.1", "x.example", "NODATA") });
    writer.stop();

    let report = reporter.zone_report("Quiet.test.").unwrap();
    assert_eq!((report.zone.as_str(), report.queries, report.dropped), ("quiet.test", 4, 0));
    assert_eq!(report.names, [counted("bad.example", 3), counted("worse.example", 1)]);
    let clients = [("192.0.2.1", 2), ("192.0.2.2", 1), ("2001:db8::1", 1)];
    assert_eq!(report.clients, clients.map(|(client, n)| counted(client, n)));
    let actions = [counted("DROP", 1), counted("NXDOMAIN", 3), counted("PASSTHRU", 1)];
    assert_eq!(report.actions, actions);
    assert!(report.since <= *report.first.as_ref().unwrap() && report.first <= report.last);
    assert_eq!(reporter.zone_report("loud.test").unwrap().queries, 1);
    assert_eq!(reporter.zone_report("other.test"), None);

    let log = std::fs::read_to_string(path).unwrap();
    assert!(log.lines().count() == 2 && !log.contains("quiet.test"), "{log}");
    assert_eq!(reporter.counts(), (2, 0));
}

#[test]
fn a_count_begins_and_ends_with_the_watch() {
    let reporter = unread();
    let zone = zone("watch.test", true);
    let name = zone.settings.name;
    let take = || reporter.shared.take_batch("", Format::Json, &mut String::new(), &mut None).0;
    reporter.hit(hit(&zone, "192.0.2.1", "early.example", "NXDOMAIN"));
    assert_eq!((take(), reporter.zone_report("watch.test")), (1, None));
    reporter.watch(&[name]);
    let first = reporter.zone_report("watch.test").unwrap();
    assert_eq!((first.queries, &first.first), (0, &None));
    reporter.hit(hit(&zone, "192.0.2.1", "bad.example", "NXDOMAIN"));
    assert_eq!(take(), 1);
    // new rules, or another zone, are no new count
    reporter.watch(&["other.test".parse().unwrap(), name]);
    let again = reporter.zone_report("watch.test").unwrap();
    assert_eq!((again.queries, again.since), (1, first.since));
    reporter.watch(&[]);
    assert_eq!(reporter.zone_report("watch.test"), None);
    reporter.watch(&[name]);
    assert_eq!(reporter.zone_report("watch.test").unwrap().queries, 0);
}

#[test]
fn names_and_clients_beyond_the_bound_are_counted_together() {
    let (reporter, zone) = (unread(), zone("wild.test", true));
    reporter.watch(&[zone.settings.name]);
    let beyond = 7;
    let mut record = hit(&zone, "192.0.2.1", "x.example", "NXDOMAIN");
    for n in 0..(limits::TALLY_NAMES + beyond) as u32 {
        record.qname = format!("n{n}.example").parse().unwrap();
        record.client.set_ip(std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into());
        reporter.shared.tally().note(&record);
    }
    // what has its place goes on
    record.qname = "n3.example".parse().unwrap();
    reporter.shared.tally().note(&record);
    let report = reporter.zone_report("wild.test").unwrap();
    let (beyond, most) = (beyond as u64, limits::TALLY_NAMES as u64);
    assert_eq!((report.queries, report.names_seen), (most + beyond + 1, most));
    assert_eq!((report.names_beyond, report.clients_beyond), (beyond, beyond + 1));
    assert_eq!(report.clients_seen, limits::TALLY_CLIENTS as u64);
    assert_eq!(report.names.len(), limits::TALLY_SHOWN);
    assert_eq!(report.names[0], counted("n3.example", 2));
}

#[test]
fn what_the_queue_lost_is_said() {
    let reporter = unread();
    let (loud, quiet) = (zone("loud.test", true), zone("quiet.test", false));
    for _ in 0..limits::HIT_QUEUE + 2 {
        reporter.hit(hit(&loud, "192.0.2.1", "bad.example", "NXDOMAIN"));
    }
    reporter.watch(&[quiet.settings.name]);
    assert_eq!(reporter.zone_report("quiet.test").unwrap().dropped, 0, "that was before");
    reporter.hit(hit(&quiet, "192.0.2.1", "bad.example", "NXDOMAIN"));
    reporter.hit(hit(&loud, "192.0.2.1", "bad.example", "NXDOMAIN"));
    reporter.hit(HitRecord { enforced: true, ..hit(&loud, "192.0.2.1", "x.example", "NODATA") });
    assert_eq!(reporter.zone_report("quiet.test").unwrap().dropped, 2);
    assert_eq!(reporter.counts(), (0, 4), "a hit that is not logged is no lost record of the log");
}

#[test]
fn a_hit_in_the_journal_can_be_looked_for() {
    let reporter = unread();
    reporter.hit(hit(&zone("loud.test", true), "::ffff:192.0.2.1", "Bad.example", "NXDOMAIN"));
    let (mut text, mut entries) = (String::new(), Some(Vec::new()));
    let taken = reporter.shared.take_batch("relay", Format::Json, &mut text, &mut entries);
    assert_eq!((taken, text.as_str()), ((1, 1), ""));
    let entries = entries.unwrap();
    let entry = std::str::from_utf8(entries[0].as_bytes()).unwrap();
    let expected = [
        "PRIORITY=5\n",
        "MESSAGE={\"time\":",
        "CULVERT_EVENT=policy-hit\n",
        "CULVERT_CLIENT=192.0.2.1\n",
        "CULVERT_QNAME=bad.example\n",
        "CULVERT_ZONE=loud.test\n",
        "CULVERT_ACTION=NXDOMAIN\n",
    ];
    for field in expected {
        assert!(entry.contains(field), "{field:?} in {entry:?}");
    }
}
