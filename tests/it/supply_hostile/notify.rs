//! NOTIFY from those who should not send it, or say what is not so, or do not stop.

use super::{Feed, LONG, RULES, stage};
use crate::harness::client::{Over, Tcp, exchange};
use crate::harness::flood::Flood;
use crate::harness::process::loopback;
use crate::harness::stage::Stage;
use crate::harness::tsig::{BADKEY, BADSIG, Hash, Key};
use crate::harness::wire::{A, AA, Message, Query, Record, SOA};
use crate::harness::{eventually, secs};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const NOTIFY: u16 = 4 << 11;

/// A NOTIFY as anybody can write it.
fn notify(zone: &str) -> Vec<u8> {
    let question = Some((zone.to_owned(), SOA, 1));
    Message { id: 7, flags: NOTIFY | AA, question, ..Message::default() }.bytes()
}

/// What comes back for octets from this address.
fn sent_from(from: IpAddr, over: Over, server: SocketAddr, bytes: &[u8]) -> Option<Message> {
    let answer = match over {
        Over::Udp => {
            let client = crate::harness::client::Udp::from(from, server);
            client.send(bytes);
            client.receive(secs(5))
        }
        Over::Tcp => {
            let mut client = Tcp::from(from, server);
            client.send(bytes);
            client.receive(secs(5))
        }
    };
    Some(Message::read(&answer?).expect("a message"))
}

#[test]
fn only_primaries_and_those_named_are_heard() {
    let feed = Feed::new("plain").with("notify_from = [\"127.0.0.8/31\"]");
    let stage = stage([&feed]);
    let server = stage.relay.address;
    let looks = || feed.primary.looks().len();
    let before = looks();
    for over in [Over::Udp, Over::Tcp] {
        let code = |from: u8, zone: &str| {
            sent_from(loopback(from), over, server, &notify(zone)).expect("an answer").rcode()
        };
        assert_eq!(code(7, &feed.zone), "REFUSED", "{over:?}");
        assert_eq!(code(10, &feed.zone), "REFUSED", "{over:?}");
        assert_eq!(code(1, "other.rpz"), "NOTAUTH", "{over:?}");
        assert_eq!(code(1, &format!("below.{}", feed.zone)), "NOTAUTH", "{over:?}");
        // a signature with a key that nobody has
        let key = Key::new("other.key", Hash::Sha256);
        let told = feed.primary.notify(server, over, 2, Some(&key)).expect("an answer");
        assert_eq!(told.message.rcode(), "NOTAUTH", "{over:?}");
    }
    assert_eq!(feed.supply(&stage.relay)["notified"], 0);
    assert_eq!(looks(), before, "nobody asked for a look");
    for (from, serial) in [(8, 2), (9, 3)] {
        feed.publish(serial, 5);
        let answer = sent_from(loopback(from), Over::Udp, server, &notify(&feed.zone));
        let answer = answer.expect("an answer");
        assert!(answer.rcode() == "NOERROR" && answer.has(AA), "{answer:?}");
        feed.until_in_force(&stage.relay, serial);
    }
    assert_eq!(feed.supply(&stage.relay)["notified"], 2);
}

#[test]
fn a_zone_with_a_key_hears_only_what_is_signed_with_it() {
    let key = Key::new("transfer.key", Hash::Sha256);
    let feed = Feed::new("keyed").signed(key.clone());
    let stage = stage([&feed]);
    let relay = &stage.relay;
    let before = feed.primary.looks().len();
    let mut secret = key.clone();
    secret.secret[0] ^= 1;
    let rows = [
        (None, "REFUSED", None),
        (Some(Key::new("other.key", Hash::Sha256)), "NOTAUTH", Some(BADKEY)),
        (Some(Key { hash: Hash::Sha512, ..key.clone() }), "NOTAUTH", Some(BADKEY)),
        (Some(secret), "NOTAUTH", Some(BADSIG)),
    ];
    for over in [Over::Udp, Over::Tcp] {
        for (used, code, error) in &rows {
            let told = feed.primary.notify(relay.address, over, 9, used.as_ref());
            let told = told.expect("an answer");
            let said = told.signature.map(|signature| signature.error);
            assert_eq!((told.message.rcode(), said), (*code, *error), "{used:?}");
        }
    }
    assert_eq!(feed.primary.looks().len(), before, "nobody asked for a look");
    assert_eq!(feed.supply(relay)["notified"], 0);
    let log = relay.stderr_with("a NOTIFY from 127.0.0.1 is refused");
    assert!(log.contains("sign NOTIFYs to this host with the key transfer.key"), "{log}");
    assert!(log.matches("a NOTIFY from").count() <= 3, "not a line for each: {log}");
    for (over, serial) in [(Over::Udp, 2), (Over::Tcp, 3)] {
        feed.publish(serial, 5);
        let told = feed.primary.notify(relay.address, over, serial, Some(&key));
        let told = told.expect("an answer");
        assert!(told.is_right && told.message.rcode() == "NOERROR", "{:?}", told.message);
        feed.until_in_force(relay, serial);
    }
}

#[test]
fn a_primary_that_is_no_client_is_heard() {
    let feed = Feed::new("outside");
    let text = feed.section();
    let stage = Stage::with(|mut conf| {
        // the tests ask from 127.0.0.2, the primary is 127.0.0.1
        conf.allow = vec!["127.0.0.2".into()];
        conf.with(&text)
    });
    let server = stage.relay.address;
    let ask = |from: u8, over| {
        let query = Query::new(&feed.mark(2), A).bytes();
        sent_from(loopback(from), over, server, &query)
    };
    eventually("the first version is in force", LONG, || {
        stage.relay.zone(&feed.zone)["serial"] == 1
    });
    feed.publish(2, 5);
    for over in [Over::Udp, Over::Tcp] {
        let told = feed.primary.notify(server, over, 2, None).expect("it is heard");
        assert_eq!(told.message.rcode(), "NOERROR", "{over:?}");
        // what it asks is refused all the same
        let refused = ask(1, over).is_none_or(|reply| reply.rcode() == "REFUSED");
        assert!(refused, "{over:?}");
        eventually("it is in force", LONG, || {
            ask(2, over).is_some_and(|reply| reply.rcode() == "NXDOMAIN")
        });
    }
    // a query and a NOTIFY over one connection
    let mut tcp = Tcp::to(server);
    tcp.send(&notify(&feed.zone));
    let reply = tcp.receive(secs(5)).expect("an answer");
    assert_eq!(Message::read(&reply).expect("a message").rcode(), "NOERROR");
    tcp.send(&Query::new(&feed.mark(2), A).bytes());
    let reply = tcp.receive(secs(5)).map(|reply| Message::read(&reply).expect("a message"));
    assert!(reply.is_none_or(|reply| reply.rcode() == "REFUSED"), "no way in");
}

#[test]
fn what_a_notify_says_is_not_believed() {
    let feed = Feed::new("hint");
    let stage = stage([&feed]);
    let relay = &stage.relay;
    // the serial is far ahead, or behind, and there is a rule of its own
    for serial in [4_000_000_000, 0, 2] {
        let (before, looks) = (feed.primary.asked(), feed.primary.looks().len());
        let told = feed.primary.notify(relay.address, Over::Udp, serial, None);
        assert_eq!(told.expect("an answer").message.rcode(), "NOERROR");
        eventually("it looks", LONG, || feed.primary.looks().len() > looks);
        eventually("the look is over", LONG, || feed.supply(relay)["busy"].is_null());
        let asked = feed.primary.asked();
        assert_eq!((asked.axfr, asked.ixfr), (before.axfr, before.ixfr), "only the SOA");
    }
    let mut forged = Message::read(&notify(&feed.zone)).expect("a message");
    forged.answers = vec![Record::cname(&format!("evil.example.com.{}", feed.zone), 60, ".")];
    let answer = exchange(Over::Udp, relay.address, &forged.bytes(), secs(5));
    assert!(answer.is_some());
    assert_eq!(relay.ask("evil.example.com", A).rcode(), "NOERROR");
    let zone = relay.zone(&feed.zone);
    assert_eq!((&zone["serial"], &zone["state"]), (&1.into(), &"current".into()));
}

#[test]
fn garbage_instead_of_a_notify() {
    let feed = Feed::new("garbage");
    let stage = stage([&feed]);
    let good = notify(&feed.zone);
    let mut class = good.clone();
    let last = class.len() - 1;
    class[last] = 3;
    let mut many = good.clone();
    many[5] = 9;
    let mut answers = good.clone();
    answers[7] = 200;
    let mut rows = vec![class, many, answers, [&good[..], b"and more"].concat()];
    rows.extend((0..good.len()).map(|length| good[..length].to_vec()));
    for bytes in rows {
        let answer = exchange(Over::Udp, stage.relay.address, &bytes, Duration::from_millis(200));
        let code = answer.map(|answer| Message::read(&answer).expect("a message").rcode());
        let wrong = code.is_none_or(|code| ["FORMERR", "NOTIMP", "NOTAUTH"].contains(&code));
        assert!(wrong, "{bytes:02x?}: {code:?}");
    }
    assert_eq!(feed.supply(&stage.relay)["notified"], 0);
    feed.publish(2, 4);
    feed.notify(&stage.relay);
    feed.until_in_force(&stage.relay, 2);
    stage.relay.assert_books_balance();
}

/// Sends packets at this rate for this long, without looking at answers; gives their number.
fn pour(server: SocketAddr, packet: &[u8], rate: u32, time: Duration) -> u64 {
    let socket = UdpSocket::bind((loopback(1), 0)).expect("a socket");
    socket.connect(server).expect("a destination");
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < time {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            // a full buffer is the receiver's business
            let _ = socket.send(packet);
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    sent
}

#[test]
fn ten_thousand_a_second() {
    let feed = Feed::new("burst");
    let stage = stage([&feed]);
    let relay = &stage.relay;
    feed.publish(2, RULES);
    // what comes at once is one look
    let before = feed.primary.looks().len();
    let flood = Flood::of(relay.address, 100, "example.com").start();
    flood.until_more(20);
    let began = Instant::now();
    let sent = pour(relay.address, &notify(&feed.zone), 10_000, secs(2));
    flood.until_more(20);
    let looks: Vec<Instant> = feed.primary.looks().split_off(before);
    let seconds = began.elapsed().as_secs() as usize;
    assert!(sent > 5_000, "{sent} NOTIFYs are a burst");
    assert!((1..=seconds + 2).contains(&looks.len()), "{} looks in {seconds} s", looks.len());
    for pair in looks.windows(2) {
        let pause = pair[1].duration_since(pair[0]);
        assert!(pause > Duration::from_millis(900), "a look {pause:?} after another");
    }
    flood.finish().assert_all_right();
    feed.until_in_force(relay, 2);
    let asked = feed.primary.asked();
    assert_eq!((asked.axfr, asked.ixfr), (1, 1), "one transfer of what is new");
    assert!(feed.supply(relay)["notified"].as_u64() > Some(1_000));
    relay.assert_books_balance();
}
