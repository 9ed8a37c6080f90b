//! A backend that attacks us: frames and messages that no honest server sends.

use crate::harness::backend::{Backend, PATH};
use crate::harness::conf::Conf;
use crate::harness::frames::{Frames, Manner};
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, Edns, Message, QR, Query, RA, RD, header, name_bytes};
use crate::harness::{eventually, secs};

#[test]
fn hostile_frames_hurt_nobody() {
    let manners = [
        Manner::GoAwayBelow,
        Manner::ContinuationFlood,
        Manner::EmptyDataFlood,
        Manner::PingFlood,
        Manner::SettingsFlood,
        Manner::BadHeaders,
        Manner::OversizeFrame,
        Manner::DataAfterEnd,
        Manner::NoHttp2,
    ];
    for manner in manners {
        let tls = Tls::new();
        let (hostile, good) = (Frames::start(&tls, manner), Backend::start(&tls));
        let addresses = [hostile.address, good.address];
        let mut relay = Conf::new().service(&tls, PATH, &addresses).start();
        let before = relay.process.memory();
        for n in 0..16 {
            let name = format!("n{n}.example.com");
            let reply = relay.ask(&name, A);
            assert_eq!(reply.rcode(), "NOERROR", "{manner:?}: {reply:?}\n{}", relay.stderr());
            assert_right(&reply, &name);
        }
        assert!(hostile.counts().connections > 0, "{manner:?}: the hostile backend was tried");
        let grown = relay.process.memory().saturating_sub(before);
        assert!(grown < 24 << 20, "{manner:?}: {grown} octets more");
        assert!(relay.process.is_running(), "{manner:?}");
    }
}

#[test]
fn goaway_below_our_stream_means_once_more() {
    let tls = Tls::new();
    let server = Frames::start(&tls, Manner::Honest);
    let relay = Conf::new().service(&tls, PATH, &[server.address]).start();
    assert_right(&relay.ask("one.example.com", A), "one.example.com");
    server.set(Manner::GoAwayBelow);
    let client = relay.client();
    let query = Query::new("two.example.com", A);
    let asked = server.counts().requests;
    client.send(&query.bytes());
    eventually("the stream was refused by GOAWAY", secs(4), || server.counts().requests > asked);
    server.set(Manner::Honest);
    let bytes = client.receive(secs(5)).expect("an answer");
    assert_right(&crate::harness::client::checked(&query, &bytes), "two.example.com");
}

#[test]
fn the_stream_limit_of_a_backend_is_kept_while_it_changes() {
    let tls = Tls::new();
    let server = Frames::start(&tls, Manner::Honest);
    server.max_streams(1);
    let relay = Conf::new().service(&tls, PATH, &[server.address]).start();
    assert_right(&relay.ask("first.example.com", A), "first.example.com");
    let ask_many = |prefix: &str, count: usize| -> Vec<&'static str> {
        let queries: Vec<_> =
            (0..count).map(|n| Query::new(&format!("{prefix}{n}.example.com"), A)).collect();
        let clients: Vec<_> = queries.iter().map(|_| relay.client()).collect();
        clients.iter().zip(&queries).for_each(|(client, query)| client.send(&query.bytes()));
        let answer = |(client, query): (&crate::harness::client::Udp, &Query)| {
            let bytes = client.receive(crate::harness::PATIENCE).expect("an answer to each");
            crate::harness::client::checked(query, &bytes).rcode()
        };
        clients.iter().zip(&queries).map(answer).collect()
    };
    // One after the other, 30 ms each, on one connection a worker.
    assert_eq!(ask_many("one", 12), ["NOERROR"; 12]);
    assert_eq!(server.counts().above_limit, 0);

    server.max_streams(0);
    eventually("the limit of 0 is acknowledged", secs(3), || {
        server.counts().limit_acknowledged == Some(0)
    });
    let requests = server.counts().requests;
    assert_eq!(ask_many("none", 4), ["SERVFAIL"; 4]);
    assert_eq!(server.counts().above_limit, 0);
    assert!(server.counts().requests <= requests + 2, "nothing is sent against the limit");

    server.max_streams(100);
    let mut n = 0;
    eventually("the limit of 100 is used", secs(8), || {
        n += 1;
        relay.ask(&format!("again{n}.example.com"), A).rcode() == "NOERROR"
    });
    assert_eq!(ask_many("hundred", 60), ["NOERROR"; 60]);
    assert_eq!(server.counts().above_limit, 0);
}

/// An answer section of raw octets behind a regular question; they are made from the place in
/// the message where they begin.
fn answer_of(count: u16, make: impl Fn(u16) -> Vec<u8> + Send + Sync + 'static) -> Script {
    sections_of([count, 0, 0], make)
}

/// As [`answer_of`], with as many records in answer, authority and additional.
fn sections_of(
    [an, ns, ar]: [u16; 3],
    make: impl Fn(u16) -> Vec<u8> + Send + Sync + 'static,
) -> Script {
    Script::Body(std::sync::Arc::new(move |asked| {
        let question = asked.query.bytes();
        let name = name_bytes(&asked.query.question.as_ref().expect("a question").0);
        let mut bytes = header(0, QR | RD | RA, [1, an, ns, ar]);
        bytes.extend(&question[12..12 + name.len() + 4]);
        let octets = make(bytes.len() as u16);
        bytes.extend(octets);
        bytes
    }))
}

/// An A record with this owner.
fn a_record(owner: &[u8]) -> Vec<u8> {
    [owner, &[0, 1, 0, 1, 0, 0, 1, 44, 0, 4], &[192, 0, 2, 66]].concat()
}

/// A record of a type without names whose data is a chain of pointers, each to the one before
/// and the first to the question, then as many A records whose owner is the last pointer.
fn chain_back(at: u16, hops: u16, records: u16) -> Vec<u8> {
    let data = at + 12;
    let mut bytes = [&[0xC0, 12], &65_400u16.to_be_bytes()[..], &[0, 1, 0, 0, 1, 44]].concat();
    bytes.extend((2 * hops).to_be_bytes());
    let targets = (0..hops).map(|n| if n == 0 { 12 } else { data + 2 * (n - 1) });
    bytes.extend(targets.flat_map(|target| (0xC000 | target).to_be_bytes()));
    bytes.extend((0..records).flat_map(|_| pointing_to(data + 2 * (hops - 1))));
    bytes
}

/// An A record whose owner is a pointer to this place.
fn pointing_to(place: u16) -> Vec<u8> {
    a_record(&(0xC000 | place).to_be_bytes())
}

#[test]
fn malformed_answers_are_never_passed_on() {
    let chain = |at: u16| -> Vec<u8> {
        (0..400).flat_map(|n| (0xC000 | (at + 2 * n + 2)).to_be_bytes()).collect()
    };
    let too_long = || [&[0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44][..], &60_000u16.to_be_bytes()].concat();
    let rows = [
        ("an owner that points to itself", answer_of(1, pointing_to)),
        ("an owner that points forward", answer_of(1, |at| pointing_to(at + 6))),
        ("an owner that points into the header", answer_of(1, |_| pointing_to(2))),
        ("an owner that points past the end", answer_of(1, |_| pointing_to(0x3FFF))),
        ("a chain of pointers forward", answer_of(1, move |at| a_record(&chain(at)))),
        ("a chain of 8,000 pointers back", answer_of(2, |at| chain_back(at, 8000, 1))),
        ("the same for 2,000 owners", answer_of(2001, |at| chain_back(at, 8000, 2000))),
        (
            "an OPT in the answer section",
            answer_of(2, |_| [a_record(&[0xC0, 12]), Edns::default().bytes()].concat()),
        ),
        (
            "an OPT in the authority section",
            sections_of([1, 1, 0], |_| [a_record(&[0xC0, 12]), Edns::default().bytes()].concat()),
        ),
        (
            "two OPTs",
            sections_of([1, 0, 2], |_| {
                [a_record(&[0xC0, 12]), Edns::default().bytes().repeat(2)].concat()
            }),
        ),
        ("a record longer than the message", answer_of(1, move |_| too_long())),
        ("fewer records than promised", answer_of(500, |_| pointing_to(12))),
        (
            "a name of 300 octets",
            answer_of(1, |_| a_record(&[[63; 64].repeat(5), vec![0]].concat())),
        ),
        ("a reserved label type", answer_of(1, |_| a_record(&[0x80, 1, 0]))),
    ];
    let (stage, mut passed) = (Stage::new(), Vec::new());
    for (n, (what, script)) in rows.into_iter().enumerate() {
        let name = format!("m{n}.example.com");
        stage.backend.set_for(&name, script);
        let client = stage.relay.client();
        client.send(&Query::new(&name, A).bytes());
        let bytes = client.receive(crate::harness::PATIENCE).expect("an answer");
        let reply = Message::read(&bytes).map(|m| (m.rcode(), m.answers.len()));
        if reply != Ok(("SERVFAIL", 0)) {
            passed.push(format!("{what}: {reply:?}"));
        }
        let good = format!("g{n}.example.com");
        eventually("good names are answered between", secs(8), || {
            stage.relay.ask(&good, A).rcode() == "NOERROR"
        });
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

#[test]
fn sixteen_thousand_options_are_not_worth_a_thought() {
    let stage = Stage::new();
    let script = Script::changed(|m| {
        let edns = m.edns.get_or_insert_default();
        edns.options = (0..16_000).map(|n| (60_000 + n % 1000, Vec::new())).collect();
        m.answers.truncate(1);
    });
    stage.backend.set_for("options.example.com", script);
    let reply = stage.relay.ask("options.example.com", A);
    assert!(["NOERROR", "SERVFAIL"].contains(&reply.rcode()), "{reply:?}");
    let edns = reply.edns.expect("an OPT record");
    assert!(edns.options.iter().all(|(code, _)| *code == 15), "no option of theirs comes through");
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
}
