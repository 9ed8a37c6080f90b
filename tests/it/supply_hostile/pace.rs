//! Primaries that are slow, hang, refuse or are not there; and how often they are asked.

use super::{Feed, LONG, RULES, stage};
use crate::harness::client::Over;
use crate::harness::flood::Flood;
use crate::harness::primary::{Fault, Ixfr};
use crate::harness::process::{LOCAL, free_port};
use crate::harness::{eventually, millis, secs};
use std::time::{Duration, Instant};

/// A bound for what does not wait for any primary.
const SOON: Duration = secs(5);

#[test]
fn primaries_that_hang_hold_nobody_up() {
    let [stall, open, drip, silent, good] =
        ["stall", "open", "drip", "silent", "good"].map(Feed::new);
    // the first one hangs, the second one does right
    let hung = Feed::new("spare");
    let mut spare = Feed::new("spare");
    spare.before = vec![hung.primary.address];
    let feeds = [&stall, &open, &drip, &silent, &good, &spare];
    let mut stage = stage(feeds);
    let relay = &mut stage.relay;

    stall.script(|s| s.fault = Some(Fault::StallAfter(1)));
    open.script(|s| s.fault = Some(Fault::NoEnd));
    hung.script(|s| s.fault = Some(Fault::StallAfter(0)));
    drip.script(|s| (s.per_message, s.fault) = (1, Some(Fault::Drip(millis(20)))));
    silent.script(|s| s.silent = true);
    hung.publish(2, RULES);
    for feed in feeds {
        feed.publish(2, RULES);
        feed.notify(relay);
    }
    good.until_in_force(relay, 2);
    for feed in [&stall, &open, &silent] {
        eventually("a look is going on", LONG, || feed.supply(relay)["busy"].is_string());
    }

    let flood = Flood::of(relay.address, 200, "example.com").start();
    for serial in 3..6 {
        flood.until_more(50);
        good.publish(serial, RULES);
        let began = Instant::now();
        good.notify(relay);
        good.until_in_force(relay, serial);
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        let began = Instant::now();
        let status = relay.tell(&["status"]);
        relay.reload();
        assert!(began.elapsed() < SOON, "{:?}: {status}", began.elapsed());
    }
    for feed in [&stall, &open, &silent, &spare] {
        assert!(feed.is_in_force(relay, 1) && !feed.is_in_force(relay, 2), "{}", feed.zone);
    }
    // slowly, but in the end
    drip.until_in_force(relay, 2);
    flood.until_more(50);
    flood.finish().assert_all_right();

    let limit = secs(60);
    for (feed, words) in [
        (&silent, "the primary sends nothing more: it has stalled"),
        (&stall, "after 100 records: the primary sends nothing more: it has stalled"),
        (&open, "records: the primary sends nothing more: it has stalled"),
    ] {
        eventually(&format!("{} is told of", feed.zone), limit, || {
            let supply = feed.supply(relay);
            supply["last_outcome"].as_str().is_some_and(|said| said.contains(words))
        });
        feed.assert_kept(relay, 1, 2);
    }
    eventually("the second primary is asked", limit, || spare.is_in_force(relay, 2));
    for feed in [&stall, &open, &silent] {
        feed.heal();
        assert!(feed.refresh(relay).0, "{}", feed.zone);
        feed.until_in_force(relay, 2);
    }
}

#[test]
fn a_stop_does_not_wait_for_a_transfer() {
    let [stall, drip] = ["stall", "drip"].map(Feed::new);
    let mut stage = stage([&stall, &drip]);
    stall.script(|s| s.fault = Some(Fault::StallAfter(1)));
    drip.script(|s| (s.per_message, s.fault) = (1, Some(Fault::Drip(millis(100)))));
    for feed in [&stall, &drip] {
        feed.publish(2, RULES);
        feed.notify(&stage.relay);
        eventually("a transfer is going on", LONG, || feed.primary.asked().ixfr == 1);
    }
    let began = Instant::now();
    stage.relay.process.signal("TERM");
    assert!(stage.relay.process.wait(secs(10)).success(), "{}", stage.relay.stderr());
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn the_next_primary_is_asked_where_one_is_no_good() {
    let zone = "many";
    let [refuses, unknown, bad, old] = [zone; 4].map(Feed::new);
    let mut good = Feed::new(zone);
    good.before = vec![
        free_port(LOCAL),
        refuses.primary.address,
        unknown.primary.address,
        bad.primary.address,
        old.primary.address,
    ];
    refuses.script(|s| s.refuse = Some(5));
    unknown.script(|s| s.refuse = Some(9));
    bad.script(|s| s.fault = Some(Fault::EndDiffers));
    let stage = stage([&good]);
    let relay = &stage.relay;
    old.publish(0, 3);
    for feed in [&refuses, &unknown, &bad, &good] {
        feed.publish(2, RULES);
    }
    let (worked, said) = good.refresh(relay);
    assert!(worked && said.contains(&good.primary.address.to_string()), "{said}");
    assert!(good.is_in_force(relay, 2));
    let supply = good.supply(relay);
    assert_eq!((&supply["failed"], &supply["failures"]), (&false.into(), &0.into()));
    // none of them: each is told of
    bad.publish(3, RULES);
    good.script(|s| s.refuse = Some(2));
    let (worked, said) = good.refresh(relay);
    assert!(!worked, "{said}");
    for words in [
        "cannot connect",
        "refuses the transfer",
        "NOTAUTH",
        "the SOA at the end",
        "older than 2",
        "SERVFAIL",
    ] {
        assert!(said.contains(words), "{words} is not in {said}");
    }
    // the first that is good is asked alone
    refuses.heal();
    refuses.publish(3, 9);
    let before = good.primary.looks().len();
    assert!(good.refresh(relay).0 && good.is_in_force(relay, 3));
    assert_eq!(good.primary.looks().len(), before);
}

#[test]
fn a_primary_that_fails_is_asked_less_and_less() {
    let feed = Feed::new("retry");
    let stage = stage([&feed]);
    feed.script(|s| s.refuse = Some(5));
    let before = feed.primary.looks().len();
    feed.notify(&stage.relay);
    let looks = || feed.primary.looks().split_off(before);
    eventually("four tries", LONG, || looks().len() >= 4);
    let looks = looks();
    let pauses: Vec<Duration> = looks.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // 1, 2 and 4 s, less up to a half, but never less than a second
    for (pause, most) in pauses.iter().zip([1, 2, 4]) {
        let least = secs(most).max(secs(2)) / 2;
        let right = least - millis(50)..secs(most) + secs(3);
        assert!(right.contains(pause), "{pauses:?}");
    }
    let supply = feed.supply(&stage.relay);
    assert!(supply["failures"].as_u64() >= Some(3), "{supply:#}");
    let log = stage.relay.stderr();
    assert_eq!(log.matches("refuses the transfer").count(), 1, "once, not at each try: {log}");
    feed.heal();
    feed.publish(2, 5);
    feed.until_in_force(&stage.relay, 2);
    let log = stage.relay.stderr_with("IXFR, serial 2");
    assert!(log.contains("retry.rpz"), "{log}");
}

#[test]
fn one_transfer_at_a_time() {
    let feed = Feed::new("eager");
    feed.script(|s| (s.per_message, s.fault) = (1, Some(Fault::Drip(millis(20)))));
    let stage = stage([&feed]);
    let relay = &stage.relay;
    feed.script(|s| s.ixfr = Ixfr::Whole);
    feed.publish(2, 50);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let (feed, order) = (&feed, if n % 2 == 0 { "refresh" } else { "retransfer" });
            scope.spawn(move || {
                let (good, said) = feed.order(relay, order);
                assert!(good, "{order}: {said}");
            });
        }
        for n in 0..200 {
            let over = if n % 10 == 0 { Over::Tcp } else { Over::Udp };
            let told = feed.primary.notify(relay.address, over, n, None);
            assert_eq!(told.expect("an answer").message.rcode(), "NOERROR");
        }
    });
    feed.until_in_force(relay, 2);
    eventually("it is quiet", LONG, || {
        feed.supply(relay)["busy"].is_null() && feed.primary.asked().transfers == 0
    });
    let (asked, seconds) = (feed.primary.asked(), began.elapsed().as_secs() as usize);
    assert_eq!(asked.at_once, 1, "{asked:?}");
    assert!(asked.axfr + asked.ixfr <= 6, "what is ordered together is one look: {asked:?}");
    assert!(asked.soa <= seconds + 8, "{asked:?} in {seconds} s");
}
