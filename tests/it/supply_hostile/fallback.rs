//! Primaries that have no changes, or none that fit: the whole zone is taken instead.

use super::{Feed, LONG, RULES, stage};
use crate::harness::eventually;
use crate::harness::primary::{Fault, Ixfr};

/// What the primary answers, and how often the whole zone was asked for in the end.
fn feeds() -> Vec<(Feed, usize)> {
    let rows = [
        ("steps", Ixfr::Steps, 1),
        ("condensed", Ixfr::Condensed, 1),
        ("whole", Ixfr::Whole, 1),
        ("formerr", Ixfr::Code(1), 2),
        ("servfail", Ixfr::Code(2), 2),
        ("notimp", Ixfr::Code(4), 2),
        ("refused", Ixfr::Code(5), 2),
        ("lone", Ixfr::LoneSoa, 2),
        ("closes", Ixfr::Close, 2),
    ];
    let rows = rows.into_iter().map(|(tag, ixfr, whole)| {
        let feed = Feed::new(tag);
        feed.script(|s| s.ixfr = ixfr);
        (feed, whole)
    });
    let chain = Feed::new("chain");
    chain.script(|s| (s.fault, s.changes_only) = (Some(Fault::EndDiffers), true));
    let behind = Feed::new("behind");
    behind.script(|s| (s.fault, s.changes_only) = (Some(Fault::AfterTheEnd), true));
    rows.chain([(chain, 2), (behind, 2), (Feed::new("misfit"), 2)]).collect()
}

#[test]
fn a_whole_zone_where_changes_are_no_good() {
    let feeds = feeds();
    let stage = stage(feeds.iter().map(|(feed, _)| feed));
    let relay = &stage.relay;
    for (feed, _) in &feeds {
        if feed.tag() == "misfit" {
            // another serial 1 than the one in force: what its changes remove is not there
            feed.publish(1, RULES * 2);
        }
        feed.publish(2, RULES);
        feed.notify(relay);
    }
    for (feed, whole) in &feeds {
        feed.until_in_force(relay, 2);
        let what = format!("{}: the look is over", feed.zone);
        eventually(&what, LONG, || feed.supply(relay)["busy"].is_null());
        let zone = relay.zone(&feed.zone);
        assert_eq!((&zone["rules"], &zone["state"]), (&RULES.into(), &"current".into()));
        assert_eq!(zone["supply"]["failed_total"], 0, "{zone:#}");
        let asked = feed.primary.asked();
        assert_eq!(asked.axfr, *whole, "{}: {asked:?}", feed.zone);
        assert!((1..=2).contains(&asked.ixfr), "{}: {asked:?}", feed.zone);
        assert!(!feed.is_in_force(relay, 1), "{}", feed.zone);
        let incremental = ["steps", "condensed"].contains(&feed.tag());
        assert_eq!(zone["supply"]["incremental"], u64::from(incremental), "{zone:#}");
        // changes on top of what came as a whole
        feed.heal();
        feed.publish(3, RULES - 20);
        feed.notify(relay);
        feed.until_in_force(relay, 3);
        assert_eq!(relay.zone(&feed.zone)["rules"], RULES - 20);
        assert_eq!(feed.primary.asked().axfr, *whole, "{}", feed.zone);
    }
}

#[test]
fn a_dump_after_changes_is_a_dump_of_the_whole() {
    let feed = Feed::new("drift");
    let stage = stage([&feed]);
    let relay = &stage.relay;
    for serial in 2..12 {
        feed.publish(serial, 5 + serial * 37 % 100);
        assert!(feed.refresh(relay).0);
    }
    assert_eq!(feed.supply(relay)["incremental"], 10);
    let lines = || {
        let text = relay.tell(&["zone", "dump", &feed.zone]);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.retain(|line| !line.starts_with(';'));
        lines.sort();
        lines
    };
    let grown = lines();
    let (good, said) = feed.order(relay, "retransfer");
    assert!(good && said.contains("AXFR, serial 11"), "{said}");
    assert_eq!(grown, lines());
}
