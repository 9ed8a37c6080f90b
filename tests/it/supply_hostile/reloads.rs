//! Reloads while zones come, and of what zones come with.

use super::{Feed, LONG, RULES, stage};
use crate::harness::primary::Fault;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tsig::{Hash, Key};
use crate::harness::wire::{A, Message, Record, SOA};
use crate::harness::{eventually, millis, secs};
use culvert::zones::saved;
use std::sync::atomic::{AtomicBool, Ordering};

/// Every version of both zones has this name, with the version in its address.
const NAME: &str = "torn.example.com";

/// Ends the asking also when the test fails.
struct AtEnd<'s>(&'s AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Zone and serial that an answer comes from, by its policy SOA and by its data.
fn explained(reply: &Message) -> [(u8, u32); 2] {
    let data = reply.data(A);
    let octets: Vec<u32> = data[0].split('.').map(|part| part.parse().expect("a number")).collect();
    let soa = reply.additional.iter().find(|record| record.rtype == SOA).expect("the zone's SOA");
    let numbers = &soa.rdata[soa.rdata.len() - 20..];
    let serial = u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]);
    let zone = u8::from(soa.name.starts_with("second"));
    [(zone, serial), (octets[2] as u8, octets[3])]
}

fn publish(feed: &Feed, number: u32, serial: u32) {
    let name = format!("{NAME}.{}", feed.zone);
    let address = Record::a(&name, 60, &format!("192.0.{number}.{serial}"));
    let mark = Record::cname(&format!("{}.{}", feed.mark(serial), feed.zone), 60, ".");
    feed.primary.version(serial, &[address, mark]);
}

#[test]
fn two_zones_and_the_configuration_change_at_once() {
    let feeds = ["first", "second"].map(Feed::new);
    for (number, feed) in (0..).zip(&feeds) {
        publish(feed, number, 2);
    }
    let mut stage =
        Stage::with(|conf| feeds.iter().fold(conf, |conf, feed| conf.with(&feed.section())));
    for feed in &feeds {
        feed.until_in_force(&stage.relay, 2);
    }
    let sections = stage.relay.conf.sections.clone();
    let (start, _) = sections.split_once("[[policy]]").expect("zones");
    let orders = [[0, 1], [1, 0]].map(|order| {
        let zones: Vec<String> = order.iter().map(|n| feeds[*n].section()).collect();
        format!("{start}{}", zones.join("\n"))
    });
    let (address, stop) = (stage.relay.address, AtomicBool::new(false));
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let client = crate::harness::client::Udp::to(address);
            let (mut newest, mut asked) = ([0; 2], 0);
            while !stop.load(Ordering::Relaxed) {
                let reply = client.ask(&crate::harness::wire::Query::new(NAME, A));
                let [said, data] = explained(&reply);
                assert_eq!(said, data, "{reply:?}");
                let (zone, serial) = (usize::from(said.0), said.1);
                assert!(serial >= newest[zone], "back from {} to {serial}", newest[zone]);
                newest[zone] = serial;
                asked += 1;
            }
            asked
        });
        let end = AtEnd(&stop);
        for serial in 3..9 {
            for (number, feed) in (0..).zip(&feeds) {
                publish(feed, number, serial);
                feed.notify(&stage.relay);
            }
            stage.relay.conf.sections.clone_from(&orders[serial as usize % 2]);
            stage.relay.conf.save();
            for _ in 0..3 {
                stage.relay.reload();
            }
            for feed in &feeds {
                feed.until_in_force(&stage.relay, serial);
            }
        }
        drop(end);
        asking.join().expect("every answer is explained")
    });
    assert!(asked > 100, "{asked} queries");
    for feed in &feeds {
        eventually("all is well", LONG, || {
            let zone = stage.relay.zone(&feed.zone);
            zone["state"] == "current" && zone["serial"] == 8 && zone["alarms"][0].is_null()
        });
    }
}

#[test]
fn keys_and_primaries_change() {
    let key = Key::new("transfer.key", Hash::Sha256);
    let feed = Feed::new("keyed").signed(key.clone());
    let other = Feed::new("keyed");
    let mut stage = stage([&feed]);
    let section = feed.section();
    let start = stage.relay.conf.sections.replace(&section, "");
    let set = |relay: &mut crate::harness::relay::Relay, section: &str| {
        relay.conf.sections = format!("{start}\n{section}");
        relay.conf.save();
    };
    let relay = &mut stage.relay;

    // a slip of the pen in the key: the reload is refused, and nothing changes
    for slip in
        [section.replace("secret = \"", "secret = \"*"), section.replacen("key\"\n", "kye\"\n", 1)]
    {
        set(relay, &slip);
        let output = relay.command(&["reload"]);
        assert!(!output.status.success(), "{slip}");
        assert!(feed.is_in_force(relay, 1));
    }
    // one that is a key all the same: no transfer any more, and the rules go on
    let mut wrong = key.clone();
    wrong.secret[3] ^= 1;
    set(relay, &section.replace(&key.base64(), &wrong.base64()));
    relay.reload();
    feed.publish(2, RULES);
    let (good, said) = feed.refresh(relay);
    assert!(!good && said.contains("BADSIG"), "{said}");
    feed.assert_kept(relay, 1, 2);
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
    // the right one again
    set(relay, &section);
    relay.reload();
    feed.until_in_force(relay, 2);
    // another key, on both sides
    let next = Key::new("next.key", Hash::Sha512);
    let keyed = Feed { key: Some(next.clone()), ..feed };
    keyed.heal();
    keyed.publish(3, 5);
    set(relay, &keyed.section());
    relay.reload();
    assert!(keyed.is_in_force(relay, 2) || keyed.is_in_force(relay, 3), "the rules go on");
    assert!(keyed.refresh(relay).0);
    keyed.until_in_force(relay, 3);

    // another primary, without a key
    other.publish(4, 6);
    set(relay, &other.section());
    relay.reload();
    assert!(keyed.is_in_force(relay, 3) || keyed.is_in_force(relay, 4), "the rules go on");
    assert!(other.refresh(relay).0);
    other.until_in_force(relay, 4);
    let before = keyed.primary.asked();
    assert!(other.refresh(relay).0);
    assert_eq!(keyed.primary.asked(), before, "the old one is left alone");

    // gone, and its rules with it
    set(relay, "");
    relay.reload();
    assert_right(&relay.ask(&other.mark(4), A), &other.mark(4));
    assert_eq!(relay.status()["zones"].as_array().map(Vec::len), Some(0));
    let refused = other.primary.notify(relay.address, crate::harness::client::Over::Udp, 5, None);
    assert_eq!(refused.expect("an answer").message.rcode(), "REFUSED");
    // and here again
    set(relay, &other.section());
    relay.reload();
    other.until_in_force(relay, 4);
}

#[test]
fn a_zone_that_never_comes_takes_nothing_down() {
    let [good, bad] = ["good", "bad"].map(Feed::new);
    let mut stage = stage([&good]);
    let relay = &mut stage.relay;
    bad.script(|s| s.refuse = Some(5));
    relay.conf.sections = format!("{}\n{}", relay.conf.sections, bad.section());
    relay.conf.save();
    relay.reload();
    assert!(good.is_in_force(relay, 1));
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
    eventually("it is told of", LONG, || {
        let zone = relay.zone(&bad.zone);
        let alarm = zone["alarms"][0].as_str().unwrap_or_default();
        zone["state"] == "waiting"
            && alarm.contains("no version has come yet")
            && alarm.contains("refuses the transfer")
    });
    let (_, metrics) = relay.http("/metrics");
    assert!(metrics.contains("culvert_zone_waiting{zone=\"bad.rpz\"} 1"), "{metrics}");
    bad.heal();
    bad.until_in_force(relay, 1);
    eventually("nothing is wrong", LONG, || relay.zone(&bad.zone)["state"] == "current");
}

#[test]
fn reloads_in_the_middle_of_transfers_leave_nothing_half() {
    let feed = Feed::new("busy");
    let mut stage = stage([&feed]);
    let relay = &mut stage.relay;
    let section = feed.section();
    for serial in 2..12 {
        feed.publish(serial, RULES);
        feed.notify(relay);
        // another configuration of the zone: its keeper begins anew
        let line = format!("alarm_after = {serial}\n");
        let sections = relay.conf.sections.replace(&section, &format!("{section}{line}"));
        let saved = std::mem::replace(&mut relay.conf.sections, sections);
        relay.conf.save();
        relay.reload();
        relay.conf.sections = saved;
        feed.until_in_force(relay, serial);
    }
    eventually("all of it is known", LONG, || {
        let zone = relay.zone(&feed.zone);
        let supply = &zone["supply"];
        zone["state"] == "current" && zone["serial"] == 11 && supply["busy"].is_null()
    });
}

#[test]
fn a_version_that_comes_during_a_reload_is_saved() {
    let feed = Feed::new("first");
    let rules: String = (0..600_000).map(|n| format!("d{n}.example.net CNAME .\n")).collect();
    let mut stage = stage([&feed]);
    let relay = &mut stage.relay;
    eventually("serial 1 is saved", LONG, || feed.supply(relay)["saved"].is_string());
    feed.publish(2, 10);
    feed.script(|s| (s.per_message, s.fault) = (1, Some(Fault::Drip(millis(10)))));
    // a reload that takes longer than the transfer, and begins the zone's keeper anew
    relay.conf.write_zone("large.local", 1, &rules);
    let large = relay.conf.zone_file("large.local");
    let large = format!("[[policy]]\nzone = \"large.local\"\nfile = \"{}\"", large.display());
    let sections = relay.conf.sections.trim_end();
    relay.conf.sections = format!("{sections}\nalarm_after = 7\n{large}\n");
    relay.conf.save();
    std::thread::scope(|scope| {
        let relay = &*relay;
        let asked = scope.spawn(|| feed.refresh(relay));
        eventually("the transfer is going on", LONG, || feed.primary.asked().ixfr == 1);
        relay.reload();
        feed.until_in_force(relay, 2);
        let (good, said) = asked.join().expect("the command ends");
        assert!(good || said.contains("the zone's configuration changed meanwhile"), "{said}");
    });
    relay.process.signal("TERM");
    assert!(relay.process.wait(secs(10)).success());
    let folder = relay.conf.folder().join("state/zones");
    let zone = feed.zone.parse().expect("a name");
    let copy = saved::load(&folder, &zone, 1_000).expect("a good copy").expect("a copy");
    assert_eq!((copy.rules.soa.serial, copy.rules.len()), (2, 10));
}
