//! Zones that are larger than they may be: stopped, and the old rules stay.

use super::{Feed, LONG, stage};
use crate::harness::eventually;
use crate::harness::primary::Fault;

#[test]
fn what_is_too_large_is_stopped() {
    let rules = Feed::new("rules").with("max_rules = 10");
    let grown = Feed::new("grown").with("max_rules = 10");
    let octets = Feed::new("octets").with("max_bytes = \"64 KiB\"");
    let endless = Feed::new("endless").with("max_rules = 1000");
    let flood = Feed::new("flood").with("max_bytes = \"4 MiB\"");
    let feeds = [&rules, &grown, &octets, &endless, &flood];
    let stage = stage(feeds);
    let relay = &stage.relay;
    let before = relay.process.memory();

    rules.script(|s| s.ixfr = crate::harness::primary::Ixfr::Whole);
    for (feed, count) in [(&rules, 11), (&grown, 11), (&octets, 3_000), (&endless, 5), (&flood, 5)]
    {
        feed.publish(2, count);
    }
    for feed in [&endless, &flood] {
        feed.script(|s| s.fault = Some(Fault::Endless));
    }
    for round in 0..3 {
        for (feed, words) in [
            (&rules, "the zone has more than 10 rules"),
            (&grown, "the zone has more than 10 rules"),
            (&octets, "more than 65536 octets"),
            (&endless, "more than 5000 records: if that is right, raise the zone's `max_rules`"),
            (&flood, "more than 4194304 octets"),
        ] {
            let (good, said) = feed.refresh(relay);
            assert!(!good && said.contains(words), "{round}, {}: {said}", feed.zone);
            feed.assert_kept(relay, 1, 2);
            let zone = relay.zone(&feed.zone);
            let alarm = zone["alarms"][0].as_str().unwrap_or_default();
            assert_eq!(zone["state"], "kept", "{zone:#}");
            assert!(alarm.contains("cannot be taken") && alarm.contains(words), "{zone:#}");
        }
    }
    let grew = relay.process.memory().saturating_sub(before) >> 20;
    assert!(grew < 100, "{grew} MiB more after transfers that were stopped at 4 MiB at most");
    let (_, metrics) = relay.http("/metrics");
    for feed in feeds {
        let alarm = format!("culvert_zone_alarms{{zone=\"{}\"}} 1", feed.zone);
        assert!(metrics.contains(&alarm), "{alarm} is not in {metrics}");
    }
    for feed in feeds {
        feed.heal();
        feed.publish(3, 10);
    }
    for feed in feeds {
        feed.until_in_force(relay, 3);
        eventually("the alarm is over", LONG, || relay.zone(&feed.zone)["state"] == "current");
    }
}
