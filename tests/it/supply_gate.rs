//! The gate: what a new version of a large zone may do by itself, what the operator is asked,
//! and the way of a zone from watching to acting.

use crate::harness::backend::Backend;
use crate::harness::client::Udp;
use crate::harness::conf::Conf;
use crate::harness::eventually;
use crate::harness::feed::{Early, LONG, block, blocks, in_one_line, many};
use crate::harness::plain::{Manner, Plain};
use crate::harness::primary::{Ixfr, Primary};
use crate::harness::process::loopback;
use crate::harness::relay::Relay;
use crate::harness::stage::Stage;
use crate::harness::tls::{HOST, Tls};
use crate::harness::web::{Page, Web};
use crate::harness::wire::{A, Query, Record};
use serde_json::Value;

const ZONE: &str = "feed.test";
const BAD: &str = "bad.example.com";
const GOOD: &str = "good.example.com";
/// A name in whose tree the zone has no rules.
const FREE: &str = "www.example.net";
/// A few more rules than a zone may have that is not judged.
const LARGE: usize = 10_200;
/// Less than half of it.
const LESS: usize = 4_000;

/// So many rules, and rules over these names.
fn version(zone: &str, count: usize, triggers: &[&str]) -> Vec<Record> {
    let mut records = many(zone, count);
    records.extend(blocks(zone, triggers));
    records
}

/// A primary whose newest version is given as a whole. Its first version is a large one.
fn primary(zone: &str) -> Primary {
    let primary = Primary::start(zone);
    primary.script(|script| script.ixfr = Ixfr::Whole);
    primary.version(1, &version(zone, LARGE, &[BAD]));
    primary
}

/// The same with nothing else in its configuration.
#[track_caller]
fn taken(primary: &Primary, lines: &str) -> Stage {
    with(|conf| conf.transferred(ZONE, primary.address, lines))
}

/// A relay that has taken the first version of [`ZONE`].
#[track_caller]
fn with(change: impl FnOnce(Conf) -> Conf) -> Stage {
    let stage = Stage::with(change);
    stage.relay.refresh(ZONE);
    assert!(stage.relay.blocks(BAD));
    stage
}

/// Publishes a version and has it looked at; gives what came of it.
#[track_caller]
fn publish(relay: &Relay, primary: &Primary, serial: u32, records: &[Record]) -> String {
    primary.version(serial, records);
    relay.refresh(ZONE)
}

/// The reasons for which a version is held, in one text.
#[track_caller]
fn held(relay: &Relay) -> String {
    let held = relay.zone(ZONE)["supply"]["held"].clone();
    let reasons = held["reasons"].as_array().cloned().unwrap_or_default();
    reasons.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_great_loss_waits_for_the_operator() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "");
    let relay = &stage.relay;
    let said = publish(relay, &primary, 2, &version(ZONE, LESS, &["new.example.com"]));
    assert!(said.contains("serial 2") && said.contains("held"), "{said}");
    assert!(relay.blocks(BAD) && !relay.blocks("new.example.com"), "the old rules are in force");

    // it is told wherever one may look
    let why = "it loses 6,200 of 10,201 rules (60 %), and max_loss is 50 %";
    assert!(relay.stderr_with("HELD").contains(why), "{}", relay.stderr());
    let zone = relay.zone(ZONE);
    assert_eq!((&zone["state"], &zone["serial"]), (&"held".into(), &1.into()), "{zone:#}");
    let waits = &zone["supply"]["held"];
    assert_eq!((&waits["serial"], &waits["rules"]), (&2.into(), &4001.into()), "{waits}");
    assert!(held(relay).contains(why), "{}", held(relay));
    assert!(relay.alarms_of(ZONE).contains(why));
    let told = relay.zones_told();
    assert!(
        told.contains("HELD since") && told.contains("culvert zone accept feed.test"),
        "{told}"
    );
    assert!(in_one_line(&relay.tell(&["status"])).contains(why));
    assert_eq!((relay.metric("zone_held", ZONE), relay.metric("zone_alarms", ZONE)), (1, 1));
    let diff = relay.json(&["zone", "diff", ZONE]);
    let counts = ["old_serial", "new_serial", "old_rules", "new_rules", "added", "removed"];
    assert_eq!(counts.map(|key| diff[key].as_u64()), [1, 2, 10_201, 4_001, 1, 6_201].map(Some));
    assert!(diff["first_added"].to_string().contains("new.example.com"), "{diff}");
    let text = relay.tell(&["zone", "diff", ZONE]);
    assert!(text.contains("Would go: 6201") && text.contains("Would come: 1"), "{text}");
    assert_eq!(relay.json(&["zone", "show", ZONE])["zone"]["supply"]["held"]["serial"], 2);
    assert_eq!(relay.json(&["zones"])["zones"][0]["state"], "held");

    // it is not fetched again, and its clock goes on
    let (asked, since) = (primary.asked(), waits["since"].clone());
    for _ in 0..3 {
        assert!(relay.refresh(ZONE).contains("held"));
    }
    let after = primary.asked();
    assert_eq!((after.axfr, after.ixfr), (asked.axfr, asked.ixfr));
    assert_eq!(after.soa, asked.soa + 3);
    assert_eq!(relay.zone(ZONE)["supply"]["held"]["since"], since);
}

#[test]
fn a_better_version_takes_the_place_of_what_is_held() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "");
    let relay = &stage.relay;
    publish(relay, &primary, 2, &version(ZONE, LESS, &[]));
    assert!(held(relay).contains("it loses"));
    publish(relay, &primary, 3, &version(ZONE, LESS + 1, &[]));
    assert_eq!(relay.zone(ZONE)["supply"]["held"]["serial"], 3, "the newest is what waits");
    publish(relay, &primary, 4, &version(ZONE, LARGE, &[BAD, "new.example.com"]));
    assert!(relay.blocks("new.example.com"));
    assert_eq!((relay.state_of(ZONE).as_str(), relay.serial_of(ZONE)), ("current", 4));
    assert_eq!((held(relay), relay.metric("zone_held", ZONE)), (String::new(), 0));
    let said = relay.refused(&["zone", "accept", ZONE]);
    assert_eq!(said, "no version of zone feed.test is held\n");
    assert_eq!(relay.refused(&["zone", "diff", ZONE]), said);
}

#[test]
fn what_is_accepted_is_in_force_and_outlives_a_restart() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "");
    let small = version(ZONE, LESS, &["new.example.com"]);
    publish(&stage.relay, &primary, 2, &small);
    let said = stage.relay.tell(&["zone", "accept", ZONE]);
    assert!(said.contains("serial 2 with 4001 rules was accepted by root"), "{said}");
    assert!(!stage.relay.blocks(BAD) && stage.relay.blocks("new.example.com"));
    assert_eq!(stage.relay.state_of(ZONE), "current");
    stage.relay.refused(&["zone", "accept", ZONE]);
    assert!(stage.relay.stderr_with("was accepted by root").contains("it was held: it loses"));
    // the next version builds upon it
    let asked = primary.asked().ixfr;
    assert!(stage.relay.refresh(ZONE).contains("up to date, serial 2"));
    assert_eq!(primary.asked().ixfr, asked);

    let Stage { relay, backend: _backend, tls: _tls } = stage;
    let conf = relay.stopped();
    drop(primary);
    let early = Early::asking(conf.address, "new.example.com");
    let relay = conf.start();
    assert!(early.answers().iter().all(|answer| answer.rcode() == "NXDOMAIN"));
    assert_eq!(relay.blocked_by(ZONE).len(), 4_001);
    assert!(!relay.blocks(BAD));
}

#[test]
fn the_operator_sets_how_much_may_go() {
    let (primary, strict) = (primary(ZONE), primary(ZONE));
    let stage = taken(&primary, "max_loss = 100");
    publish(&stage.relay, &primary, 2, &[block(ZONE, "new.example.com")]);
    assert!(stage.relay.blocks("new.example.com") && !stage.relay.blocks(BAD));
    let primary = strict;
    let stage = taken(&primary, "max_loss = 0");
    publish(&stage.relay, &primary, 2, &version(ZONE, LARGE - 1, &[BAD]));
    assert!(held(&stage.relay).contains("it loses 1 of 10,201 rules (0 %), and max_loss is 0 %"));
}

#[test]
fn a_loss_takes_effect_after_its_longest_time_and_a_danger_never_does() {
    let (primary, other) = (primary(ZONE), primary("other.test"));
    let stage = with(|conf| {
        conf.response_policy("guard = [\"www.corp.test\"]")
            .transferred("other.test", other.address, "hold_max = \"1s\"")
            .transferred(ZONE, primary.address, "hold_max = \"3s\"")
    });
    let relay = &stage.relay;
    relay.refresh("other.test");
    other.version(2, &version("other.test", LESS, &["*.corp.test"]));
    assert!(relay.refresh("other.test").contains("held"));
    publish(relay, &primary, 2, &version(ZONE, LESS, &["new.example.com"]));
    let waits = relay.zone(ZONE)["supply"]["held"].clone();
    assert!(waits["serial"] == 2 || relay.serial_of(ZONE) == 2, "{waits}");
    let asked = relay.zone(ZONE)["supply"]["last_contact"].clone();
    relay.until_blocks("new.example.com");
    assert!(relay.stderr_with("serial 2 was held for hold_max").contains("HELD"));
    assert_eq!((relay.state_of(ZONE).as_str(), held(relay)), ("current", String::new()));
    let supply = relay.zone(ZONE)["supply"].clone();
    assert_eq!(supply["last_contact"], asked, "nobody was heard of: {supply:#}");
    assert_eq!(supply["whole"], 1, "nothing was transferred since: {supply:#}");
    assert_eq!((relay.state_of("other.test").as_str(), relay.serial_of("other.test")), ("held", 1));
}

#[test]
fn a_feed_that_goes_on_while_it_is_held_does_not_put_its_time_off() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "hold_max = \"1h\"");
    publish(&stage.relay, &primary, 2, &version(ZONE, LESS, &[]));
    let since = |relay: &Relay| relay.zone(ZONE)["supply"]["held"]["since"].clone();
    let first = since(&stage.relay);
    publish(&stage.relay, &primary, 3, &version(ZONE, LESS + 1, &[]));
    assert_eq!(stage.relay.zone(ZONE)["supply"]["held"]["serial"], 3);
    assert_eq!(since(&stage.relay), first);
    stage.relay.tell(&["zone", "retransfer", ZONE]);
    assert_eq!(since(&stage.relay), first);
}

#[test]
fn dangerous_rules_wait_and_are_known_once_they_were_accepted() {
    let office = Plain::start(Manner::Right);
    let primary = primary(ZONE);
    let stage = with(|conf| {
        conf.plain("office", &[office.address])
            .route(&["corp.test"], "office")
            .response_policy("guard = [\"www.guarded.example.com\"]")
            .with("[canary]\nresolves = [\"good.example.com\"]\nblocked = [\"bad.example.com\"]")
            .transferred(ZONE, primary.address, "max_loss = 100")
    });
    let relay = &stage.relay;
    let mut serial = 1;
    let mut next = |triggers: &[&str]| {
        serial += 1;
        publish(relay, &primary, serial, &version(ZONE, LARGE, triggers))
    };
    let dangers: [(&[&str], &str); 8] = [
        (&[BAD, "*"], "its rule * covers every name there is"),
        (&[BAD, "*.rpz-nsdname"], "its rule *.rpz-nsdname covers every name there is"),
        (&[BAD, "corp.test"], "its rule corp.test covers corp.test (an internal route)"),
        (&[BAD, "*.test"], "its rule *.test covers corp.test (an internal route)"),
        (&[BAD, "www.guarded.example.com"], "covers www.guarded.example.com (guard)"),
        (&[BAD, "*.guarded.example.com"], "covers www.guarded.example.com (guard)"),
        (&[BAD, GOOD], "the canary good.example.com would not resolve any more"),
        (&[], "the canary bad.example.com would not be blocked any more"),
    ];
    for (triggers, why) in dangers {
        let said = next(triggers);
        assert!(said.contains("held"), "{triggers:?}: {said}");
        assert!(held(relay).contains(why), "{triggers:?}: {}", held(relay));
        assert!(relay.blocks(BAD) && !relay.blocks(GOOD), "{triggers:?}");
        let said = next(&[BAD]);
        assert!(!said.contains("held"), "a better one: {said}");
        assert_eq!(held(relay), "");
    }
    next(&[BAD, "*.guarded.example.com"]);
    assert!(!relay.blocks("www.guarded.example.com"));
    relay.tell(&["zone", "accept", ZONE]);
    assert!(relay.blocks("www.guarded.example.com"));
    let said = next(&[BAD, "*.guarded.example.com", "new.example.com"]);
    assert!(!said.contains("held") && relay.blocks("new.example.com"), "{said}");
}

#[test]
fn growth_and_rules_over_top_level_names_are_only_told() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "");
    let relay = &stage.relay;
    let own = format!("*.{}", HOST.split_once('.').expect("a parent").1);
    publish(relay, &primary, 2, &version(ZONE, 2 * LARGE + 10, &[BAD, "*.zip", &own]));
    assert_eq!((relay.serial_of(ZONE), relay.state_of(ZONE)), (2, "current".into()));
    assert!(relay.blocks("any.zip"));
    for warning in [
        "it grows from 10,201 to 20,413 rules",
        "rules over top-level names, new ones among them: ",
        "its rule *.test covers doh.test, which this relay itself asks",
    ] {
        assert!(relay.alarms_of(ZONE).contains(warning), "{}", relay.alarms_of(ZONE));
        relay.stderr_with(warning);
    }
    assert_eq!(relay.metric("zone_alarms", ZONE), 3);
    assert!(relay.refresh(ZONE).contains("up to date"));
    publish(relay, &primary, 3, &version(ZONE, 2 * LARGE + 10, &[BAD, "*.zip", &own, GOOD]));
    assert_eq!(relay.alarms_of(ZONE), "", "what was there before is known");
}

#[test]
fn small_zones_are_not_judged() {
    let primary = Primary::start(ZONE);
    primary.version(1, &version(ZONE, 9_000, &[BAD]));
    let stage = with(|conf| {
        conf.response_policy("guard = [\"www.guarded.example.com\"]").transferred(
            ZONE,
            primary.address,
            "",
        )
    });
    primary.script(|script| script.ixfr = Ixfr::Whole);
    publish(&stage.relay, &primary, 2, &blocks(ZONE, &["*.guarded.example.com"]));
    assert!(stage.relay.blocks("www.guarded.example.com") && !stage.relay.blocks(BAD));
}

#[test]
fn the_first_version_is_judged_for_danger_and_holds_nobody_up_for_ever() {
    let primary = Primary::start(ZONE);
    primary.version(1, &version(ZONE, LARGE, &[BAD, "*"]));
    let stage = Stage::with(|conf| {
        conf.transferred(ZONE, primary.address, "until_loaded = \"open-after-1s\"")
    });
    let relay = &stage.relay;
    assert!(relay.refresh(ZONE).contains("held"));
    assert!(relay.refresh(ZONE).contains("serial 1, which is held"));
    assert_eq!(primary.asked().axfr, 1, "it is not fetched again");
    eventually("queries are answered without the zone", LONG, || {
        relay.ask(FREE, A).rcode() == "NOERROR"
    });
    assert!(held(relay).contains("covers every name there is"));
    assert!(relay.zones_told().contains("culvert zone accept feed.test"));
    relay.json(&["zone", "diff", ZONE]);
    relay.tell(&["zone", "accept", ZONE]);
    assert!(relay.blocks(FREE));
}

#[test]
fn changes_are_judged_as_whole_versions_are() {
    let primary = Primary::start(ZONE);
    primary.version(1, &version(ZONE, LARGE, &[BAD]));
    let stage = taken(&primary, "");
    let relay = &stage.relay;
    publish(relay, &primary, 2, &version(ZONE, LARGE, &[BAD, "*"]));
    assert!(held(relay).contains("covers every name there is"));
    assert!(!relay.blocks(FREE));
    assert_eq!((primary.asked().axfr, primary.asked().ixfr), (1, 1), "it came as changes");
    // the next changes are asked for from what is in force, not from what is held
    publish(relay, &primary, 3, &version(ZONE, LARGE, &[BAD, "new.example.com"]));
    assert!(relay.blocks("new.example.com") && !relay.blocks(FREE));
    assert_eq!((primary.asked().axfr, primary.asked().ixfr), (1, 2));
    assert_eq!(relay.blocked_by(ZONE).len(), LARGE + 2);
    // what is accepted is what the next changes build upon
    publish(relay, &primary, 4, &version(ZONE, LARGE, &[BAD, "new.example.com", "*"]));
    relay.tell(&["zone", "accept", ZONE]);
    assert!(relay.blocks(FREE));
    publish(relay, &primary, 5, &version(ZONE, LARGE, &[BAD]));
    assert!(relay.blocks(BAD) && !relay.blocks(FREE));
    assert_eq!((primary.asked().axfr, primary.asked().ixfr), (1, 4));
    assert_eq!(relay.blocked_by(ZONE).len(), LARGE + 1);
}

#[test]
fn a_list_is_judged_as_a_transfer_is() {
    let tls = Tls::new();
    let (backend, web) = (Backend::start(&tls), Web::start(&tls));
    let list = |count: usize, more: &str| {
        let names: String = (0..count).map(|n| format!("n{n}.filler.example\n")).collect();
        Page::list(names + more)
    };
    web.set("/list", list(LARGE, "bad.example.com\n"));
    let lines = "format = \"domains\"\nsubdomains = false";
    let relay =
        Conf::before(&tls, &[&backend]).downloaded(ZONE, &web, &tls, "/list", lines).start();
    relay.refresh(ZONE);
    assert!(relay.blocks(BAD));
    web.set("/list", list(LESS, "new.example.com\n"));
    assert!(relay.refresh(ZONE).contains("held"));
    assert!(relay.blocks(BAD) && held(&relay).contains("it loses"));
    let since = relay.zone(ZONE)["supply"]["held"]["since"].clone();
    assert!(relay.refresh(ZONE).contains("not modified"), "it is not fetched again");
    assert_eq!(relay.zone(ZONE)["supply"]["held"]["since"], since);
    relay.tell(&["zone", "accept", ZONE]);
    assert!(!relay.blocks(BAD) && relay.blocks("new.example.com"));
    assert!(relay.refresh(ZONE).contains("not modified"));
}

#[test]
fn a_version_beyond_the_limit_is_refused_not_cut() {
    let primary = primary(ZONE);
    let stage = taken(&primary, "max_rules = 10_500");
    let relay = &stage.relay;
    primary.version(2, &version(ZONE, 10_600, &[BAD, "new.example.com"]));
    let said = relay.refresh_fails(ZONE);
    assert!(in_one_line(&said).contains("10500") || said.contains("10,500"), "{said}");
    assert!(relay.blocks(BAD) && !relay.blocks("new.example.com"));
    assert_eq!((relay.state_of(ZONE).as_str(), relay.serial_of(ZONE)), ("kept", 1));
    assert!(relay.alarms_of(ZONE).starts_with("its newest version cannot be taken: "));
    assert_eq!(relay.metric("zone_last_try_failed", ZONE), 1);
    publish(relay, &primary, 3, &version(ZONE, LARGE, &[BAD, "new.example.com"]));
    assert_eq!((relay.blocks("new.example.com"), relay.alarms_of(ZONE)), (true, String::new()));
}

// ── from watching to acting ─────────────────────────────────────────────────────────────────

const MONITOR: &str = "mode = \"monitor\"";

/// A relay that has taken a zone that only watches, beside one that acts.
#[track_caller]
fn on_trial(primary: &Primary) -> Stage {
    let stage = Stage::with(|conf| {
        conf.transferred(ZONE, primary.address, MONITOR)
            .policy("enforce.local", "other.example.com CNAME .")
    });
    stage.relay.refresh(ZONE);
    stage
}

#[test]
fn a_zone_on_trial_is_reported() {
    let primary = Primary::start(ZONE);
    primary.version(1, &blocks(ZONE, &[BAD, "worse.example.com"]));
    let stage = on_trial(&primary);
    let lab = Udp::from(loopback(9), stage.relay.address);
    for name in [BAD, "worse.example.com", BAD, GOOD] {
        assert!(!stage.relay.blocks(name), "it only watches");
    }
    assert_eq!(lab.ask(&Query::new(BAD, A)).rcode(), "NOERROR");
    let report = || stage.relay.json(&["zone", "report", ZONE]);
    eventually("all four are counted", LONG, || report()["queries"] == 4);
    let counted = report();
    let pairs = |key: &str| {
        let of = |one: &Value| format!("{} {}", one["what"].as_str().unwrap(), one["queries"]);
        counted[key].as_array().expect("a list").iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(pairs("names"), ["bad.example.com 3", "worse.example.com 1"]);
    assert_eq!(pairs("clients"), ["127.0.0.1 3", "127.0.0.9 1"]);
    assert!(counted["since"].is_string() && counted["first"].is_string(), "{counted:#}");
    // a new version of the zone is the same trial
    primary.version(2, &blocks(ZONE, &[BAD]));
    stage.relay.refresh(ZONE);
    assert_eq!(report()["queries"], 4);
}

#[test]
fn a_promoted_zone_acts_until_the_configuration_says_otherwise() {
    let primary = Primary::start(ZONE);
    primary.version(1, &blocks(ZONE, &[BAD]));
    let mut stage = on_trial(&primary);
    assert!(!stage.relay.blocks(BAD), "it only watches");
    let said = stage.relay.tell(&["zone", "promote", ZONE]);
    assert!(said.contains("zone feed.test enforces since generation"), "{said}");
    assert!(stage.relay.blocks(BAD), "from the next answer on");
    let is_promoted = |relay: &Relay| {
        let zone = relay.zone(ZONE);
        assert_eq!(zone["promoted"].is_object(), zone["mode"] == "enforce", "{zone:#}");
        zone["promoted"].is_object()
    };
    assert!(is_promoted(&stage.relay));
    let told = stage.relay.zones_told();
    assert!(told.contains("it was made to enforce by root"), "{told}");
    let again = stage.relay.refused(&["zone", "promote", ZONE]);
    assert!(again.contains("was promoted by root"), "{again}");
    let file = stage.relay.refused(&["zone", "promote", "enforce.local"]);
    assert!(file.contains("is not in mode \"monitor\""), "{file}");
    stage.relay.refused(&["zone", "promote", "unknown.test"]);
    let over = stage.relay.refused(&["zone", "report", ZONE]);
    assert!(over.contains("does not only watch"), "{over}");
    stage.relay.reload();
    assert!(stage.relay.blocks(BAD) && is_promoted(&stage.relay), "a reload changes nothing");
    primary.version(2, &blocks(ZONE, &[BAD, "new.example.com"]));
    stage.relay.refresh(ZONE);
    assert!(stage.relay.blocks("new.example.com"));

    let Stage { relay, backend, tls } = stage;
    let conf = relay.killed();
    stage = Stage { relay: conf.start(), backend, tls };
    assert!(stage.relay.blocks(BAD) && is_promoted(&stage.relay), "nor does a restart");

    // what the configuration says anew goes before it
    let sections = stage.relay.conf.sections.clone();
    for mode in ["mode = \"enforce\"", "mode = \"off\"", MONITOR] {
        stage.relay.conf.sections = sections.replace(MONITOR, mode);
        stage.relay.conf.save();
        stage.relay.reload();
        assert_eq!(stage.relay.blocks(BAD), mode.contains("enforce"), "{mode}");
        assert!(stage.relay.zone(ZONE)["promoted"].is_null(), "{mode}");
    }
    let Stage { relay, backend: _backend, tls: _tls } = stage;
    let relay = relay.killed().start();
    assert!(!relay.blocks(BAD), "it is over for good");
}

#[test]
fn a_zone_from_elsewhere_leaves_the_operators_own_names_alone() {
    let office = Plain::start(Manner::Right);
    let primary = Primary::start(ZONE);
    primary.version(1, &blocks(ZONE, &[BAD, "*.corp.test", "*.filtered.test", "*.lan.test"]));
    let stage = with(|conf| {
        conf.plain("office", &[office.address])
            .route(&["corp.test"], "office")
            .with("[[route]]\nzones = [\"filtered.test\"]\nupstream = \"office\"\nfilter = true")
            .with("[local.hosts]\n\"printer.lan.test\" = \"10.0.0.9\"")
            .policy("own.local", "blocked.corp.test CNAME .")
            .transferred(ZONE, primary.address, "")
    });
    let relay = &stage.relay;
    assert_eq!(relay.ask("printer.lan.test", A).data(A), ["10.0.0.9"]);
    assert!(relay.blocks("other.lan.test"), "no name of a host");
    assert!(!relay.blocks("www.corp.test"));
    assert!(relay.blocks("blocked.corp.test"), "a zone from a file acts on them");
    assert!(relay.blocks("www.filtered.test"), "where the operator wants it");
}
