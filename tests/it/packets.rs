//! Odd, wrong and hostile packets: one table, run over UDP and over TCP.
//!
//! The rows follow RFC 8906 (no query form may end in silence) and the fault list of the
//! reference: what is no DNS query at all is ignored, everything else gets the code it earned.

use crate::harness::client::{Over, Udp, checked, exchange};
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::*;
use crate::harness::{PATIENCE, millis, secs};
use std::collections::BTreeMap;

/// What has to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Silence,
    Code(&'static str),
    /// The right answer of the backend.
    Answer,
    /// One of several lawful codes.
    OneOf(&'static [&'static str]),
    /// The right answer, or FORMERR.
    AnswerOrFormErr,
}
use Expect::*;

fn plain(name: &str) -> Query {
    Query::new(name, A).no_edns()
}

/// A query whose bytes are changed by hand.
fn edited(query: Query, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = query.bytes();
    edit(&mut bytes);
    bytes
}

/// A header with one question whose name is these raw octets.
fn raw_name(name: &[u8]) -> Vec<u8> {
    [&header(0x7777, RD, [1, 0, 0, 0]), name, &[0, 1, 0, 1]].concat()
}

/// A query with an OPT record made of these octets.
fn raw_opt(opt: &[u8]) -> Vec<u8> {
    let question = plain("www.example.com").bytes();
    [&header(0x7777, RD, [1, 0, 0, 1]), &question[12..], opt].concat()
}

fn label(length: usize) -> Vec<u8> {
    [&[length as u8][..], &vec![b'a'; length]].concat()
}

/// A name of `total` octets, the root label included.
fn name_of(total: usize) -> Vec<u8> {
    let mut name = Vec::new();
    while total - 1 - name.len() > 64 {
        name.extend(label(if total - 1 - name.len() == 65 { 62 } else { 63 }));
    }
    name.extend(label(total - 2 - name.len()));
    name.push(0);
    assert_eq!(name.len(), total);
    name
}

fn header_rows() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let question = || plain("www.example.com").bytes()[12..].to_vec();
    let counted = |counts| [header(0x7777, RD, counts), question()].concat();
    let opcode = |n: u16| plain("www.example.com").flags(n << 11).bytes();
    vec![
        ("no octet", vec![], Silence),
        ("one octet", vec![0], Silence),
        ("eleven octets", header(0x7777, RD, [1, 0, 0, 0])[..11].to_vec(), Silence),
        ("a response", plain("www.example.com").flags(QR | RD).bytes(), Silence),
        ("a response with nothing", header(0x7777, QR, [0; 4]), Silence),
        ("no question", header(0x7777, RD, [0; 4]), Code("FORMERR")),
        ("a promised question", header(0x7777, RD, [1, 0, 0, 0]), Code("FORMERR")),
        ("two questions", [counted([2, 0, 0, 0]), question()].concat(), Code("FORMERR")),
        ("65,535 questions promised", counted([65_535, 0, 0, 0]), Code("FORMERR")),
        ("65,535 answers promised", counted([1, 65_535, 0, 0]), Code("FORMERR")),
        ("an authority record promised", counted([1, 0, 1, 0]), Code("FORMERR")),
        ("an additional record promised", counted([1, 0, 0, 1]), Code("FORMERR")),
        ("opcode IQUERY", opcode(1), Code("NOTIMP")),
        ("opcode STATUS", opcode(2), Code("NOTIMP")),
        ("opcode 3", opcode(3), Code("NOTIMP")),
        ("opcode NOTIFY", opcode(4), OneOf(&["NOTIMP", "REFUSED", "NOTAUTH"])),
        ("opcode UPDATE", opcode(5), OneOf(&["NOTIMP", "REFUSED", "NOTAUTH"])),
        ("opcode 6", opcode(6), Code("NOTIMP")),
        ("opcode 15", opcode(15), Code("NOTIMP")),
        (
            "only a header with opcode 15",
            header(0x7777, 15 << 11, [0; 4]),
            OneOf(&["NOTIMP", "FORMERR"]),
        ),
        (
            "all odd bits set",
            plain("www.example.com").flags(RD | TC | RA | AA | Z | 15).bytes(),
            AnswerOrFormErr,
        ),
        ("Z set", plain("www.example.com").flags(RD | Z).bytes(), Answer),
        ("AD and CD set", plain("www.example.com").flags(RD | AD | CD).bytes(), Answer),
        ("RD clear", plain("www.example.com").flags(0).bytes(), Answer),
        (
            "octets behind the message",
            edited(plain("www.example.com"), |b| b.extend([1; 7])),
            AnswerOrFormErr,
        ),
    ]
}

fn question_rows() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let of = |qtype: u16| Query::new("www.example.com", qtype).no_edns().bytes();
    let class = |c: u16| plain("www.example.com").class(c).bytes();
    let nodata = Code("NOERROR");
    vec![
        ("class CHAOS", Query::new("version.bind", TXT).class(3).bytes(), Code("REFUSED")),
        ("class HESIOD", class(4), Code("REFUSED")),
        ("class NONE", class(254), OneOf(&["REFUSED", "FORMERR", "NOTIMP"])),
        ("class ANY", class(255), OneOf(&["REFUSED", "NOTIMP"])),
        ("class 0x1234", class(0x1234), Code("REFUSED")),
        ("AXFR", of(AXFR), OneOf(&["REFUSED", "NOTIMP"])),
        ("IXFR", of(251), OneOf(&["REFUSED", "NOTIMP"])),
        ("type OPT", of(OPT), OneOf(&["FORMERR", "REFUSED", "NOTIMP"])),
        ("type TSIG", of(250), OneOf(&["FORMERR", "REFUSED", "NOTIMP", "NOERROR"])),
        ("type TKEY", of(249), OneOf(&["FORMERR", "REFUSED", "NOTIMP", "NOERROR"])),
        ("type MAILA", of(254), OneOf(&["REFUSED", "NOTIMP", "NOERROR"])),
        ("type 0", of(0), OneOf(&["NOERROR", "FORMERR", "REFUSED", "NOTIMP"])),
        ("type 65,535", of(65_535), OneOf(&["NOERROR", "FORMERR", "REFUSED", "NOTIMP"])),
        ("type 1000", of(1000), nodata),
        ("type HTTPS", of(HTTPS), nodata),
        ("the root", Query::new("", NS).no_edns().bytes(), nodata),
        ("a label of 63", raw_name(&[label(63), vec![3, b'c', b'o', b'm', 0]].concat()), nodata),
        ("a name of 255", raw_name(&name_of(255)), nodata),
        ("a name of 256", raw_name(&name_of(256)), Code("FORMERR")),
        ("127 labels", raw_name(&[[1, b'a'].repeat(127), vec![0]].concat()), nodata),
        ("128 labels", raw_name(&[[1, b'a'].repeat(128), vec![0]].concat()), Code("FORMERR")),
        (
            "a name without end",
            [header(0x7777, RD, [1, 0, 0, 0]), vec![3, b'w', b'w']].concat(),
            Code("FORMERR"),
        ),
        (
            "no type",
            [header(0x7777, RD, [1, 0, 0, 0]), name_bytes("www.example.com")].concat(),
            Code("FORMERR"),
        ),
        (
            "half a class",
            edited(plain("www.example.com"), |b| b.truncate(b.len() - 1)),
            Code("FORMERR"),
        ),
        ("a pointer to itself", raw_name(&[0xC0, 12]), Code("FORMERR")),
        ("a pointer forward", raw_name(&[0xC0, 14]), Code("FORMERR")),
        ("a pointer into the header", raw_name(&[0xC0, 0]), Code("FORMERR")),
        ("a pointer to the end of the world", raw_name(&[0xFF, 0xFF]), Code("FORMERR")),
        ("a loop of two pointers", raw_name(&[0xC0, 14, 0xC0, 12]), Code("FORMERR")),
        ("label type 0x40", raw_name(&[0x40, b'a', 0]), Code("FORMERR")),
        ("label type 0x80", raw_name(&[0x80, b'a', 0]), Code("FORMERR")),
        ("odd octets", plain(r"\000.a\.b.\027[2J.\255.%s.<b>.example.com").bytes(), Answer),
    ]
}

fn edns_rows() -> Vec<(&'static str, Vec<u8>, Expect)> {
    let ask = || Query::new("www.example.com", A);
    let version = |v: u8| {
        let mut query = ask();
        query.edns = Some(Edns { size: 1232, version: v, ..Edns::default() });
        query
    };
    let flags = |f: u16| {
        let mut query = ask();
        query.edns = Some(Edns { size: 1232, flags: f, ..Edns::default() });
        query
    };
    let opt = Edns { size: 1232, ..Edns::default() }.bytes();
    let many = (0..1000).fold(ask(), |q, n| q.option(65_000 + n % 500, &[]));
    vec![
        ("EDNS", ask().bytes(), Answer),
        ("EDNS version 1", version(1).bytes(), Code("BADVERS")),
        ("EDNS version 255", version(255).bytes(), Code("BADVERS")),
        ("EDNS version 1 with an option", version(1).option(100, b"x").bytes(), Code("BADVERS")),
        ("an unknown option", ask().option(100, b"unknown").bytes(), Answer),
        ("an unknown flag", flags(0x0080).bytes(), Answer),
        ("DO", ask().dnssec_ok().bytes(), Answer),
        ("all flags", flags(0xFFFF).bytes(), Answer),
        ("size 0", ask().size(0).bytes(), Answer),
        ("size 511", ask().size(511).bytes(), Answer),
        ("size 65,535", ask().size(65_535).bytes(), Answer),
        ("a client subnet", ask().option(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2]).bytes(), Answer),
        (
            "a wrong client subnet",
            ask().option(CLIENT_SUBNET, &[9, 9, 200, 0, 1]).bytes(),
            AnswerOrFormErr,
        ),
        ("a cookie of 8", ask().option(COOKIE, &[7; 8]).bytes(), Answer),
        ("a cookie of 7", ask().option(COOKIE, &[7; 7]).bytes(), AnswerOrFormErr),
        ("a cookie of 41", ask().option(COOKIE, &[7; 41]).bytes(), AnswerOrFormErr),
        ("keepalive", ask().option(11, &[]).bytes(), Answer),
        ("padding", ask().option(PADDING, &[0; 300]).bytes(), Answer),
        ("a thousand options", many.bytes(), AnswerOrFormErr),
        (
            "an option past the end",
            raw_opt(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 8]),
            Code("FORMERR"),
        ),
        (
            "half an option",
            raw_opt(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 3, 0, 10, 0]),
            Code("FORMERR"),
        ),
        ("a cut OPT", raw_opt(&opt[..7]), Code("FORMERR")),
        ("an OPT of someone", raw_opt(&[&[1, b'x'][..], &opt].concat()), Code("FORMERR")),
        (
            "two OPT records",
            {
                let question = plain("www.example.com").bytes();
                [&header(0x7777, RD, [1, 0, 0, 2]), &question[12..], &opt, &opt].concat()
            },
            Code("FORMERR"),
        ),
        (
            "an OPT among the answers",
            {
                let question = plain("www.example.com").bytes();
                [&header(0x7777, RD, [1, 1, 0, 0]), &question[12..], &opt].concat()
            },
            Code("FORMERR"),
        ),
    ]
}

/// One row over one transport; says what was wrong.
fn check(stage: &Stage, over: Over, name: &str, bytes: &[u8], expect: Expect) -> Option<String> {
    let limit = if expect == Silence { millis(250) } else { PATIENCE };
    let got = exchange(over, stage.relay.address, bytes, limit);
    let wrong = |why: String| Some(format!("{name} over {over:?}: {why}"));
    let Some(got) = got else {
        return if expect == Silence { None } else { wrong("silence".into()) };
    };
    if expect == Silence {
        return wrong(format!("an answer {got:02x?}"));
    }
    let reply = match Message::read(&got) {
        Ok(reply) => reply,
        Err(e) => return wrong(format!("{e} in {got:02x?}")),
    };
    let code = reply.rcode();
    let right = match expect {
        Silence => false,
        Code(one) => code == one,
        OneOf(many) => many.contains(&code),
        Answer => code == "NOERROR" && reply.answers.len() == 1,
        AnswerOrFormErr => code == "FORMERR" || code == "NOERROR" && reply.answers.len() == 1,
    };
    if !right {
        return wrong(format!("{code} with {} answers, expected {expect:?}", reply.answers.len()));
    }
    let sent = u16::from_be_bytes([bytes[2], bytes[3]]);
    let opcode = |flags: u16| flags >> 11 & 15;
    let problems = [
        (!reply.has(QR), "QR is clear"),
        (reply.id.to_be_bytes() != bytes[..2], "another id"),
        (opcode(reply.flags) != opcode(sent), "another opcode"),
        (reply.flags & RD != sent & RD, "RD is not copied"),
        (reply.has(Z), "Z is set"),
        (reply.has(AA), "AA is set"),
        (code == "NOERROR" && reply.has(TC), "TC is set"),
        (code != "NOERROR" && !reply.answers.is_empty(), "records beside an error"),
        (reply.edns.as_ref().is_some_and(|e| e.version != 0), "an EDNS version"),
        (reply.edns.as_ref().is_some_and(|e| e.flags & 0x7FFF != 0), "an unknown EDNS flag"),
        (
            reply.edns.iter().flat_map(|e| &e.options).any(|(c, _)| ![EDE, COOKIE, 11].contains(c)),
            "an option is echoed",
        ),
    ];
    problems.into_iter().find(|(is, _)| *is).and_then(|(_, what)| wrong(what.into()))
}

#[test]
fn every_odd_packet_gets_what_it_deserves() {
    let stage = Stage::new();
    let rows = [header_rows(), question_rows(), edns_rows()].concat();
    let mut wrong = Vec::new();
    for (name, bytes, expect) in rows {
        for over in [Over::Udp, Over::Tcp] {
            wrong.extend(check(&stage, over, name, &bytes, expect));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_right(&stage.relay.ask("afterwards.example.com", A), "afterwards.example.com");
    stage.relay.assert_books_balance();
    assert_eq!(stage.relay.count("/queries/panics"), 0);
}

#[test]
fn nothing_odd_is_forwarded_and_the_query_upstream_is_our_own() {
    let stage = Stage::new();
    for (_, bytes, expect) in [header_rows(), question_rows(), edns_rows()].concat() {
        if let Code("FORMERR" | "NOTIMP" | "REFUSED" | "BADVERS") | Silence = expect {
            exchange(Over::Tcp, stage.relay.address, &bytes, millis(150));
        }
    }
    assert_eq!(stage.backend.asked_below("example.com"), 0, "none of these is a query to answer");

    let query = Query::new("own.example.com", A)
        .option(COOKIE, &[7; 8])
        .option(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2])
        .option(100, b"unknown");
    assert_right(&stage.relay.udp(&query), "own.example.com");
    let sent = stage.backend.request("own.example.com").query;
    assert_eq!(sent.id, 0, "RFC 8484 section 4.1");
    assert_eq!(sent.flags, RD);
    let edns = sent.edns.expect("an OPT of our own");
    assert_eq!((edns.size, edns.version, edns.flags), (65_535, 0, 0));
    assert!(edns.options.iter().all(|(code, _)| *code == PADDING), "{:?}", edns.options);
}

#[test]
fn a_client_without_edns_gets_none() {
    let stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    for name in ["www.example.com", "bad.example.com"] {
        assert_eq!(stage.relay.udp(&plain(name)).edns, None, "{name}");
        let edns = stage.relay.ask(name, A).edns.expect("an OPT for an OPT");
        assert_eq!((edns.size, edns.version, edns.flags), (1232, 0, 0), "{name}");
    }
}

#[test]
fn fifty_questions_with_one_id_get_fifty_right_answers() {
    let stage = Stage::new();
    let client = stage.relay.client();
    let queries: Vec<_> =
        (0..50).map(|n| Query::new(&format!("n{n}.example.com"), A).id(0x4242)).collect();
    for query in &queries {
        client.send(&query.bytes());
    }
    let mut replies = BTreeMap::new();
    for _ in &queries {
        let bytes = client.receive(PATIENCE).expect("an answer to each");
        let reply = Message::read(&bytes).expect("a well-formed answer");
        let (name, ..) = reply.question.clone().expect("a question");
        assert_eq!(reply.id, 0x4242);
        assert_right(&reply, &name);
        assert!(replies.insert(name, reply).is_none(), "one answer each");
    }
    assert_eq!(replies.len(), 50);
}

#[test]
fn a_repeated_packet_asks_upstream_once() {
    let stage = Stage::new();
    let late = Script::Delay(millis(300));
    stage.backend.set_for("twice.example.com", late);
    let (client, query) = (stage.relay.client(), Query::new("twice.example.com", A));
    for _ in 0..5 {
        client.send(&query.bytes());
    }
    let mut answers = 0;
    while let Some(bytes) = client.receive(millis(900)) {
        assert_right(&checked(&query, &bytes), "twice.example.com");
        answers += 1;
    }
    assert!((1..=5).contains(&answers), "{answers} answers to five packets");
    assert_eq!(stage.backend.asked("twice.example.com"), 1);
}

#[test]
fn a_huge_datagram_does_not_hurt_the_next_one() {
    let stage = Stage::new();
    let client = stage.relay.client();
    for size in [4096, 65_000] {
        let mut bytes = plain("huge.example.com").bytes();
        bytes.resize(size, 0);
        client.send(&bytes);
        let next = Query::new("next.example.com", A);
        client.send(&next.bytes());
        let mut found = false;
        while let Some(bytes) = client.receive(secs(2)) {
            found |= bytes[..2] == next.id.to_be_bytes();
            if found {
                break;
            }
        }
        assert!(found, "the query behind {size} octets is answered");
    }
}

#[test]
fn a_reply_to_a_response_would_be_a_loop() {
    let stage = Stage::new();
    let (client, relay) = (stage.relay.client(), stage.relay.address);
    let answer = Message { flags: QR | RD | RA, id: 9, ..Message::default() };
    client.expect_silence(&answer.bytes());
    let servfail = plain("www.example.com").flags(QR | RD | 2).bytes();
    client.expect_silence(&servfail);
    assert_right(&Udp::to(relay).ask(&Query::new("www.example.com", A)), "www.example.com");
}

#[test]
fn clients_that_are_gone_disturb_nobody() {
    let stage = Stage::new();
    stage.backend.set(Script::Delay(millis(150)));
    for n in 0..60 {
        // The answer will meet a closed port.
        stage.relay.client().send(&plain(&format!("gone{n}.example.com")).bytes());
    }
    stage.backend.set(Script::Answer);
    for n in 0..40 {
        let name = format!("here{n}.example.com");
        assert_right(&stage.relay.ask(&name, A), &name);
    }
    stage.relay.assert_books_balance();
}
