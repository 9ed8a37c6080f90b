//! NOTIFYs as primaries send them, as strangers forge them, and as nobody should write them.

use std::net::SocketAddr;

use super::*;
use crate::dns::tsig::{Sequence, sign_request};
use crate::zones::source::Primary;

const NOW: u64 = 1_795_318_116;
const PRIMARY: &str = "192.0.2.53";
const OTHER_PRIMARY: &str = "198.51.100.53";
const HIDDEN: &str = "203.0.113.9";
const STRANGER: &str = "203.0.113.10";
const AA: u16 = flag::AA;
const QR: u16 = flag::QR;
const NOTIFY: u16 = (opcode::NOTIFY as u16) << 11;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn key(fill: u8) -> Arc<Key> {
    let (name, algorithm) = (name("key.test"), Algorithm::Sha256);
    Arc::new(Key { name, algorithm, secret: [fill; 32].into() })
}

fn transfer(primary: &str, key: Option<Arc<Key>>) -> Transfer {
    let address = SocketAddr::new(ip(primary), 53);
    let primaries = vec![Primary { address, tls_name: None }];
    Transfer { primaries, key, notify_from: vec!["203.0.113.9/32".parse().unwrap()], ca: None }
}

/// A desk for `plain.example` and `signed.example` of one primary and `other.example` of
/// another, with their bells.
fn desk() -> (Desk, [Arc<Bell>; 3]) {
    let bells: [Arc<Bell>; 3] = Default::default();
    let zones = [
        ("plain.example", PRIMARY, None),
        ("signed.example", PRIMARY, Some(key(1))),
        ("other.example", OTHER_PRIMARY, None),
    ];
    let posts = zones
        .into_iter()
        .zip(&bells)
        .map(|((zone, primary, key), bell)| (name(zone), transfer(primary, key), Arc::clone(bell)));
    (Desk::new(posts), bells)
}

/// A NOTIFY for a zone, the first letter of whose name is in upper case.
fn notify(zone: &str) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name(zone).as_wire());
    packet[HEADER + 1].make_ascii_uppercase();
    packet.extend([0, 6, 0, 1]);
    packet
}

/// Adds a record to a section: 0 is the answer.
fn with(mut packet: Vec<u8>, section: usize, record: &[u8]) -> Vec<u8> {
    packet.extend(record);
    packet[7 + 2 * section] += 1;
    packet
}

const OPT: &[u8] = b"\0\0\x29\x10\0\0\0\0\0\0\0";
/// The zone's SOA with a serial, whose names are the root.
const HINT: &[u8] =
    b"\xc0\x0c\0\x06\0\x01\0\0\0\x3c\0\x16\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn signed(mut packet: Vec<u8>, key: &Key, now: u64) -> (Vec<u8>, tsig::Mac) {
    let mac = sign_request(&mut packet, key, now);
    (packet, mac)
}

/// What the desk says and sends.
fn receive(desk: &Desk, packet: &[u8], from: &str) -> (Receipt, Vec<u8>) {
    let mut reply = vec![0xff; 4096];
    let receipt = desk.receive(packet, ip(from), NOW, &mut reply);
    reply.truncate(match receipt {
        Receipt::Taken(len) | Receipt::Refused(len) | Receipt::Malformed(len) => len,
        Receipt::Silence => 0,
    });
    (receipt, reply)
}

fn flags(reply: &[u8]) -> u16 {
    u16_at(reply, 2).unwrap()
}

fn code(reply: &[u8]) -> u16 {
    flags(reply) & 0xf
}

/// The error code in the TSIG record at a reply's end, and the length of its MAC.
fn tsig_error(reply: &[u8]) -> Option<(u16, u16)> {
    let (_, question) = read_name(reply, HEADER).unwrap();
    let last = Records::new(reply, question + 4).map(Result::unwrap).last()?;
    assert_eq!((last.rtype, last.rdata.end), (rtype::TSIG, reply.len()));
    let (_, at) = read_name(reply, last.rdata.start).unwrap();
    let mac = u16_at(reply, at + 8)?;
    Some((u16_at(reply, at + 10 + usize::from(mac) + 2)?, mac))
}

#[test]
fn a_primarys_notify_rings_and_gets_its_question_back() {
    let (desk, bells) = desk();
    for (packet, from) in [
        (notify("plain.example"), PRIMARY),
        (with(notify("plain.example"), 0, HINT), PRIMARY),
        (notify("plain.example"), HIDDEN),
    ] {
        let (receipt, reply) = receive(&desk, &packet, from);
        assert_eq!(receipt, Receipt::Taken(reply.len()));
        assert_eq!((&reply[..2], flags(&reply)), (&packet[..2], QR | NOTIFY | AA));
        assert_eq!(reply[4..HEADER], [0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reply[HEADER..], notify("plain.example")[HEADER..], "its case is kept");
    }
    assert_eq!(bells.map(|bell| bell.taken()), [3, 0, 0]);
}

#[test]
fn edns_is_answered_with_edns() {
    let (desk, bells) = desk();
    let packet = with(with(notify("plain.example"), 0, HINT), 2, OPT);
    let (receipt, reply) = receive(&desk, &packet, PRIMARY);
    assert!(matches!(receipt, Receipt::Taken(_)) && bells[0].taken() == 1);
    let end = notify("plain.example").len();
    assert_eq!(reply[HEADER - 1], 1);
    assert_eq!(reply[end..], *b"\0\0\x29\x04\xd0\0\0\0\0\0\0");
}

#[test]
fn a_stranger_learns_nothing() {
    let (desk, bells) = desk();
    assert!(!desk.listens_to(ip(STRANGER)) && desk.listens_to(ip(HIDDEN)));
    let mut replies = ["plain.example", "signed.example", "none.example"].map(|zone| {
        let (receipt, reply) = receive(&desk, &notify(zone), STRANGER);
        assert_eq!(receipt, Receipt::Refused(HEADER), "{zone}");
        reply
    });
    replies.sort();
    assert!(replies[0] == replies[2] && code(&replies[0]) == rcode::REFUSED);
    // and a primary learns nothing of the zones of another
    for zone in ["other.example", "none.example", "x.plain.example", "example"] {
        let (receipt, reply) = receive(&desk, &notify(zone), PRIMARY);
        assert_eq!(receipt, Receipt::Refused(notify(zone).len()), "{zone}");
        assert_eq!(flags(&reply), QR | NOTIFY | rcode::NOTAUTH);
    }
    assert_eq!(bells.map(|bell| bell.taken() + bell.refused()), [0; 3]);
}

#[test]
fn what_is_no_good_notify() {
    let (desk, bells) = desk();
    let good = notify("plain.example");
    let end = good.len();
    let change = |at: usize, octet: u8| {
        let mut packet = good.clone();
        packet[at] = octet;
        packet
    };
    let formerr = Some(rcode::FORMERR);
    let cases = [
        (vec![], None),
        (good[..11].to_vec(), None),
        (change(2, 0xa4), None),
        (change(2, 0x04), None),
        (good[..HEADER].to_vec(), formerr),
        (good[..end - 1].to_vec(), formerr),
        (change(5, 0), formerr),
        (change(5, 2), formerr),
        (change(7, 1), formerr),
        ([&good[..], &[0]].concat(), formerr),
        (with(with(good.clone(), 2, OPT), 2, OPT), formerr),
        (with(good.clone(), 0, OPT), formerr),
        (change(HEADER, 0xc0), formerr),
        (change(end - 3, 1), Some(rcode::NOTIMP)),
        (change(end - 1, 3), Some(rcode::NOTIMP)),
        (change(end - 1, 255), Some(rcode::NOTIMP)),
    ];
    for (packet, wanted) in cases {
        let (receipt, reply) = receive(&desk, &packet, PRIMARY);
        match wanted {
            None => assert_eq!(receipt, Receipt::Silence, "{packet:02x?}"),
            Some(wanted) => {
                assert_eq!(receipt, Receipt::Malformed(reply.len()), "{packet:02x?}");
                assert_eq!(flags(&reply), QR | NOTIFY | wanted, "{packet:02x?}");
            }
        }
    }
    assert_eq!(bells[0].taken(), 0);
}

#[test]
fn a_zone_with_a_key_wants_it_used() {
    let (desk, bells) = desk();
    let packet = with(with(notify("signed.example"), 0, HINT), 2, OPT);
    let (good, mac) = signed(packet.clone(), &key(1), NOW - 200);
    let (receipt, reply) = receive(&desk, &good, PRIMARY);
    assert_eq!((receipt, flags(&reply)), (Receipt::Taken(reply.len()), QR | NOTIFY | AA));
    let unsigned = Sequence::new(key(1), mac).check(&reply, NOW).unwrap();
    assert_eq!(unsigned, notify("signed.example").len() + OPT.len());

    let (receipt, reply) = receive(&desk, &packet, PRIMARY);
    assert!(matches!(receipt, Receipt::Refused(_)));
    assert_eq!(flags(&reply), QR | NOTIFY | rcode::REFUSED);

    let other_name = Key { name: name("other.test"), ..(*key(1)).clone() };
    for (key, now, error) in [
        (&other_name, NOW, tsig::error::BADKEY),
        (&key(2), NOW, tsig::error::BADSIG),
        (&key(1), NOW - 400, tsig::error::BADTIME),
        (&key(1), NOW + 400, tsig::error::BADTIME),
    ] {
        let (packet, _) = signed(notify("signed.example"), key, now);
        let (receipt, reply) = receive(&desk, &packet, PRIMARY);
        assert_eq!(receipt, Receipt::Refused(reply.len()));
        assert_eq!(flags(&reply), QR | NOTIFY | rcode::NOTAUTH);
        let mac = if error == tsig::error::BADTIME { 32 } else { 0 };
        assert_eq!(tsig_error(&reply), Some((error, mac)), "{error}");
    }
    // changed on the way, and with something behind the signature
    let at = good.len() - 20;
    let mut changed = good.clone();
    changed[at] ^= 1;
    assert_eq!(code(&receive(&desk, &changed, PRIMARY).1), rcode::NOTAUTH);
    let (_, reply) = receive(&desk, &with(good, 2, OPT), PRIMARY);
    assert_eq!(code(&reply), rcode::FORMERR);
    assert_eq!(bells.each_ref().map(|bell| bell.taken()), [0, 1, 0]);
    assert_eq!(bells.each_ref().map(|bell| bell.refused()), [0, 6, 0]);
}

#[test]
fn a_key_that_is_not_known_here_is_named_as_such() {
    let (desk, bells) = desk();
    let nobody = Key { name: Name::ROOT, algorithm: Algorithm::Sha256, secret: [].into() };
    for key in [&*key(1), &nobody] {
        let (packet, _) = signed(notify("plain.example"), key, NOW);
        let (receipt, reply) = receive(&desk, &packet, PRIMARY);
        assert_eq!((receipt, code(&reply)), (Receipt::Refused(reply.len()), rcode::NOTAUTH));
        assert_eq!(tsig_error(&reply), Some((tsig::error::BADKEY, 0)));
    }
    assert_eq!((bells[0].taken(), bells[0].refused()), (0, 2));
}

#[test]
fn strange_octets_do_no_harm() {
    let (desk, _) = desk();
    let mut rng = fastrand::Rng::with_seed(3);
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)].join(".");
    let seeds = [
        notify("plain.example"),
        signed(with(notify("signed.example"), 2, OPT), &key(1), NOW).0,
        with(notify(&long), 0, HINT),
    ];
    for round in 0..30_000 {
        let mut packet = seeds[round % seeds.len()].clone();
        for _ in 0..rng.usize(0..4) {
            let at = rng.usize(0..packet.len());
            packet[at] = rng.u8(..);
        }
        packet.truncate(rng.usize(0..=packet.len() + 20));
        let (_, reply) = receive(&desk, &packet, PRIMARY);
        assert!(reply.is_empty() || reply[..2] == packet[..2]);
        assert!(reply.len() <= 512);
    }
}

#[test]
fn names_too_long_for_a_datagram_go_unsigned() {
    let (desk, _) = desk();
    let label = "k".repeat(60);
    let long = Key { name: name(&[&*label; 4].join(".")), ..(*key(1)).clone() };
    let (mut packet, _) = signed(notify("signed.example"), &long, NOW);
    // labels in front of the algorithm's name, 13 octets, which make it nearly as long
    let algorithm = [&[55][..], &[b'h'; 55]].concat().repeat(4);
    let at = packet.len() - 16 - 32 - 13;
    packet.splice(at..at, algorithm);
    let data = (13 + 224 + 16 + 32_u16).to_be_bytes();
    packet[at - 2..at].copy_from_slice(&data);
    let (receipt, reply) = receive(&desk, &packet, PRIMARY);
    assert_eq!(receipt, Receipt::Refused(notify("signed.example").len()));
    assert_eq!(flags(&reply), QR | NOTIFY | flag::TC | rcode::NOTAUTH);
    assert_eq!(reply[4..HEADER], [0, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn rings_before_a_look_are_one() {
    use futures_util::FutureExt;
    let bell = Bell::default();
    assert!(bell.rung().now_or_never().is_none());
    for _ in 0..1_000 {
        bell.ring();
    }
    assert!(bell.rung().now_or_never().is_some());
    assert!(bell.rung().now_or_never().is_none());
    assert_eq!(bell.taken(), 1_000);
}

#[test]
fn the_log_tells_of_refusals_once_in_a_while() {
    let bell = Bell::default();
    let told = |now| bell.note_refused(now);
    assert_eq!([told(NOW), told(NOW), told(NOW + 9), told(NOW + 10)], [true, false, false, true]);
    assert!(told(NOW - 100), "a clock that was set back");
    assert_eq!(bell.refused(), 5);
}
