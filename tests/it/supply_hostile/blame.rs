//! Transfers whose frames or signatures are wrong: one zone and one fault each, all at a time.

use super::{Feed, LONG, RULES, stage};
use crate::harness::eventually;
use crate::harness::primary::{Fault, Ixfr, Script};
use crate::harness::tools::dig;
use crate::harness::tsig::{Hash, Key};

/// A zone, what is said of its fault, and how its primary comes to it.
struct Row {
    feed: Feed,
    words: &'static str,
    spoil: Box<dyn Fn(&mut Script)>,
}

fn row(feed: Feed, words: &'static str, spoil: impl Fn(&mut Script) + 'static) -> Row {
    Row { feed, words, spoil: Box::new(spoil) }
}

/// Serial 2 of every zone comes wrong, and serial 3 right.
#[track_caller]
fn survive(rows: &[Row]) {
    let stage = stage(rows.iter().map(|row| &row.feed));
    let relay = &stage.relay;
    for Row { feed, spoil, .. } in rows {
        feed.script(spoil);
        feed.publish(2, RULES);
    }
    for Row { feed, words, .. } in rows {
        let (good, said) = feed.refresh(relay);
        assert!(!good && said.contains(words), "{}: {words:?} is not in {said:?}", feed.zone);
        feed.assert_kept(relay, 1, 2);
        let printed = dig(relay.address, &[&feed.mark(1), "A"]);
        assert_eq!(printed.status, "NXDOMAIN", "{}", printed.text);
        let zone = relay.zone(&feed.zone);
        let supply = &zone["supply"];
        assert_eq!(supply["failed"], true, "{zone:#}");
        let outcome = supply["last_outcome"].as_str().unwrap_or_default();
        assert!(outcome.contains(words), "{zone:#}");
        let shown = relay.tell(&["zone", "show", &feed.zone]);
        assert!(shown.contains("the last try failed"), "{shown}");
    }
    let (_, metrics) = relay.http("/metrics");
    for Row { feed, .. } in rows {
        let failed = format!("culvert_zone_last_try_failed{{zone=\"{}\"}} 1", feed.zone);
        assert!(metrics.contains(&failed), "{failed} is not in {metrics}");
        feed.publish(3, 5);
        feed.heal();
    }
    for Row { feed, .. } in rows {
        feed.until_in_force(relay, 3);
        assert!(!feed.is_in_force(relay, 1) && !feed.is_in_force(relay, 2), "{}", feed.zone);
        eventually("nothing is wrong any more", LONG, || {
            let zone = relay.zone(&feed.zone);
            zone["supply"]["failed"] == false && zone["state"] == "current"
        });
        let zone = relay.zone(&feed.zone);
        assert_eq!((&zone["rules"], &zone["alarms"]), (&5.into(), &serde_json::json!([])));
    }
}

#[test]
fn frames() {
    let rows: Vec<Row> = [
        ("cut", Fault::CutAfter(5_000), "cut the transfer of"),
        ("mute", Fault::CutAfter(1), "closed the connection without an answer"),
        ("differs", Fault::EndDiffers, "the SOA at the end (serial 30583)"),
        ("nofirst", Fault::NoSoaFirst, "does not begin with the zone's SOA"),
        ("behind", Fault::AfterTheEnd, "records follow the SOA"),
        ("stranger", Fault::Stranger, "stranger.elsewhere.test is not in the zone"),
        ("loop", Fault::PointerLoop, "cannot be read"),
        ("garbage", Fault::Garbage, "cannot be read"),
        ("question", Fault::OtherQuestion, "answers another question"),
        ("id", Fault::OtherId, "no answer to our request"),
        ("code0", Fault::CodeAt(0, 2), "answers SERVFAIL"),
        ("code1", Fault::CodeAt(1, 2), "says SERVFAIL"),
        ("code2", Fault::CodeAt(2, 5), "says REFUSED"),
    ]
    .into_iter()
    .map(|(tag, fault, words)| row(Feed::new(tag), words, move |s| s.fault = Some(fault.clone())))
    .collect();
    survive(&rows);
    // of changes that were no good, all of the zone was asked for before it was given up
    let behind = rows[4].feed.primary.asked();
    assert!(behind.ixfr >= 2 && behind.axfr >= 2, "{behind:?}");
}

/// A zone whose answers about changes are the whole zone.
fn whole(tag: &str, words: &'static str, fault: Fault) -> Row {
    let spoil = move |s: &mut Script| (s.ixfr, s.fault) = (Ixfr::Whole, Some(fault.clone()));
    row(Feed::new(tag), words, spoil)
}

#[test]
fn whole_zones_for_changes() {
    survive(&[
        whole("cut", "cut the transfer of", Fault::CutAfter(5_000)),
        whole("differs", "the SOA at the end (serial 30583)", Fault::EndDiffers),
        whole("behind", "records follow the SOA", Fault::AfterTheEnd),
        whole("code1", "says SERVFAIL", Fault::CodeAt(1, 2)),
    ]);
}

fn key(tag: &str) -> Key {
    Key::new(&format!("{tag}.key"), Hash::Sha256)
}

fn signed(tag: &str, words: &'static str, spoil: impl Fn(&mut Script) + 'static) -> Row {
    row(Feed::new(tag).signed(key(tag)), words, spoil)
}

#[test]
fn signatures_of_the_primary() {
    let by = |key: Key| move |s: &mut Script| s.fault = Some(Fault::OtherKey(key.clone()));
    let mut secret = key("secret");
    secret.secret[0] ^= 1;
    survive(&[
        signed("secret", "BADSIG", by(secret)),
        signed("name", "BADKEY: the primary signed with other.key", by(key("other"))),
        signed("hash", "BADKEY: the primary signed with hash.key hmac-sha512", {
            by(Key { hash: Hash::Sha512, ..key("hash") })
        }),
        signed("cut", "BADTRUNC: the signature is cut", |s| s.fault = Some(Fault::MacCut(12))),
        signed("none", "the answer is not signed", |s| s.fault = Some(Fault::Unsigned)),
        signed("bare", "the answer is not signed", |s| s.key = None),
        signed("last", "the last message is not signed", |s| s.fault = Some(Fault::LastUnsigned)),
        signed("changed", "BADSIG", |s| s.fault = Some(Fault::Changed(2))),
        signed("between", "BADSIG", |s| {
            (s.sign_every, s.fault) = (100, Some(Fault::Changed(1)));
        }),
        signed("row", "more than 99 messages in a row", |s| {
            (s.sign_every, s.per_message) = (101, 1);
        }),
    ]);
}

#[test]
fn keys_and_clocks_that_differ() {
    let mut secret = key("secret");
    secret.secret[0] ^= 1;
    let rows = [
        signed("secret", "the primary says BADSIG", move |s| s.key = Some(secret.clone())),
        signed("name", "the primary says BADKEY", |s| s.key = Some(key("other"))),
        signed("hash", "the primary says BADKEY", |s| {
            s.key = Some(Key { hash: Hash::Sha384, ..key("hash") });
        }),
        signed("ahead", "the primary says BADTIME: the primary's clock shows 20", |s| {
            s.clock = 301;
        }),
        // a second may begin between both looks at the clock
        signed("behind", "the primary says BADTIME: the primary's clock shows 20", |s| {
            s.clock = -302;
        }),
        signed("blind", "BADTIME: the primary's clock shows 20", |s| {
            (s.clock, s.any_clock) = (301, true);
        }),
    ];
    survive(&rows);
}

#[test]
fn a_clock_within_the_fudge_is_good() {
    let feed = Feed::new("fudge").signed(key("fudge"));
    feed.script(|s| s.clock = 295);
    let stage = stage([&feed]);
    feed.script(|s| s.clock = -295);
    feed.publish(2, RULES);
    let (good, said) = feed.refresh(&stage.relay);
    assert!(good, "{said}");
    assert!(feed.is_in_force(&stage.relay, 2));
}
