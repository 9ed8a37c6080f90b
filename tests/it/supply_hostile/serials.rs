//! Serials that go where none should (RFC 1982).

use super::{Feed, stage};

#[test]
fn serials_that_do_not_lead_forward() {
    let [back, same, wrap, far, near] = ["back", "same", "wrap", "far", "near"].map(Feed::new);
    let feeds = [&back, &same, &wrap, &far, &near];
    let stage = stage(feeds);
    let relay = &stage.relay;

    // backwards: not by itself, and the operator is told what to do
    back.publish(10, 4);
    assert!(back.refresh(relay).0);
    back.publish(9, 5);
    for _ in 0..2 {
        let (good, said) = back.refresh(relay);
        assert!(!good && said.contains("serial 9, which is older than 10 in force"), "{said}");
    }
    back.assert_kept(relay, 10, 9);
    let shown = relay.tell(&["zone", "show", &back.zone]);
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains("culvert zone retransfer back.rpz"), "{shown}");
    let transfers = back.primary.asked();
    let (good, said) = back.order(relay, "retransfer");
    assert!(good && said.contains("AXFR, serial 9"), "{said}");
    assert!(back.is_in_force(relay, 9) && !back.is_in_force(relay, 10));
    assert_eq!(back.primary.asked().axfr, transfers.axfr + 1);
    assert_eq!(back.supply(relay)["failed"], false);
    back.publish(10, 6);
    assert!(back.refresh(relay).0);
    assert!(back.is_in_force(relay, 10) && !back.is_in_force(relay, 9), "and on it goes");

    // the same: whatever stands behind it
    same.publish(1, 50);
    let (good, said) = same.refresh(relay);
    assert!(good && said.contains("up to date, serial 1"), "{said}");
    let asked = same.primary.asked();
    assert_eq!((relay.zone(&same.zone)["rules"].as_u64(), asked.axfr, asked.ixfr), (Some(3), 1, 0));

    // round the circle: half of it at a time
    for serial in [0x7fff_ffff, 0xffff_fffe, u32::MAX, 0, 3] {
        wrap.publish(serial, 7);
        let (good, said) = wrap.refresh(relay);
        assert!(good && wrap.is_in_force(relay, serial), "{serial}: {said}");
        assert_eq!(relay.zone(&wrap.zone)["serial"], serial);
    }
    assert_eq!(wrap.primary.asked().axfr, 1, "all of it by changes");

    // exactly half of it is neither forward nor backward
    far.publish(0x8000_0001, 8);
    let (good, said) = far.refresh(relay);
    assert!(!good && said.contains("neither newer nor older than 1 in force"), "{said}");
    assert!(said.contains("culvert zone retransfer far.rpz"), "{said}");
    far.assert_kept(relay, 1, 0x8000_0001);
    assert!(far.order(relay, "retransfer").0 && far.is_in_force(relay, 0x8000_0001));

    // one more than that is backward, too
    near.publish(0x8000_0002, 8);
    let (good, said) = near.refresh(relay);
    assert!(!good && said.contains("older than 1 in force"), "{said}");
}

#[test]
fn a_primary_whose_answers_differ_is_not_chased() {
    let feed = Feed::new("liar");
    let stage = stage([&feed]);
    // the SOA is newer, and the zone never is
    feed.script(|s| s.told_serial = Some(7));
    for _ in 0..3 {
        feed.refresh(&stage.relay);
    }
    assert!(feed.is_in_force(&stage.relay, 1));
    let asked = feed.primary.asked();
    assert!(asked.ixfr <= 6 && asked.axfr <= 7, "no loop: {asked:?}");
}
