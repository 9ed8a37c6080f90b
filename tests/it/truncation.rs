//! What does not fit into a UDP answer, and what of it the client still learns.

use crate::harness::stage::Stage;
use crate::harness::wire::{A, AAAA, Query, RRSIG, Record, TC, TXT};

/// Forty addresses: about 700 octets with compressed owners.
fn addresses(name: &str, count: usize) -> Vec<Record> {
    (0..count).map(|n| Record::a(name, 300, &format!("192.0.2.{}", n % 256))).collect()
}

#[test]
fn the_size_of_a_udp_answer_follows_the_clients_word_between_512_and_1232() {
    let stage = Stage::new();
    // Header 12, question 21, 16 octets a record, OPT 11: 684 octets with EDNS, 1,804 at most.
    stage.backend.add(&addresses("mid.example.com", 40));
    stage.backend.add(&addresses("big.example.com", 110));
    let rows = [
        ("mid.example.com", None, true),
        ("mid.example.com", Some(0), true),
        ("mid.example.com", Some(511), true),
        ("mid.example.com", Some(512), true),
        ("mid.example.com", Some(683), true),
        ("mid.example.com", Some(684), false),
        ("mid.example.com", Some(1232), false),
        ("mid.example.com", Some(65_535), false),
        ("big.example.com", Some(1232), true),
        ("big.example.com", Some(4096), true),
        ("big.example.com", Some(65_535), true),
    ];
    for (name, size, cut) in rows {
        let mut query = Query::new(name, A).no_edns();
        if let Some(size) = size {
            query = query.size(size);
        }
        let client = stage.relay.client();
        client.send(&query.bytes());
        let bytes = client.receive(crate::harness::PATIENCE).expect("an answer");
        let reply = crate::harness::client::checked(&query, &bytes);
        let limit = usize::from(size.unwrap_or(512).clamp(512, 1232));
        assert!(bytes.len() <= limit, "{name} with {size:?}: {} octets", bytes.len());
        assert_eq!(reply.has(TC), cut, "{name} with {size:?}");
        assert_eq!(reply.edns.is_some(), size.is_some(), "{name} with {size:?}");
        let all = if name.starts_with("mid") { 40 } else { 110 };
        let whole = stage.relay.tcp(&query);
        assert_eq!((whole.has(TC), whole.answers.len()), (false, all), "over TCP");
    }
}

#[test]
fn the_operator_may_allow_larger_udp_answers() {
    let stage = Stage::with(|conf| conf.server("udp_payload = 4096"));
    stage.backend.add(&addresses("big.example.com", 110));
    let reply = stage.relay.udp(&Query::new("big.example.com", A).size(4096));
    assert_eq!((reply.has(TC), reply.answers.len()), (false, 110));
    assert_eq!(reply.edns.map(|e| e.size), Some(4096));
    let reply = stage.relay.udp(&Query::new("big.example.com", A).size(1232));
    assert!(reply.has(TC), "the client's word holds");
}

#[test]
fn four_thousand_addresses_arrive_whole_over_tcp() {
    let stage = Stage::new();
    let all: Vec<_> = (0..4000u32)
        .map(|n| Record::a("many.example.com", 300, &format!("198.18.{}.{}", n >> 8, n & 255)))
        .collect();
    stage.backend.add(&all);
    let query = Query::new("many.example.com", A);
    let cut = stage.relay.udp(&query);
    assert!(cut.has(TC), "cut over UDP");
    for _ in 0..2 {
        let whole = stage.relay.tcp(&query);
        assert_eq!(whole.data(A).len(), 4000, "none is lost, fresh or from the cache");
    }
    assert_eq!(stage.backend.asked("many.example.com"), 1);
}

#[test]
fn what_a_client_did_not_ask_for_is_left_out() {
    let stage = Stage::new();
    stage.backend.world(|w| w.sign("signed.example.com"));
    let with = stage.relay.udp(&Query::new("signed.example.com", A).dnssec_ok());
    assert_eq!(with.answers.iter().filter(|r| r.rtype == RRSIG).count(), 1, "{with:?}");
    assert!(with.edns.as_ref().is_some_and(|e| e.flags == 0x8000), "DO is echoed");
    for query in
        [Query::new("signed.example.com", A), Query::new("signed.example.com", A).no_edns()]
    {
        let without = stage.relay.udp(&query);
        assert_eq!(without.answers.len(), 1, "no RRSIG without DO: {without:?}");
    }
}

#[test]
fn odd_records_pass_octet_for_octet() {
    let stage = Stage::new();
    let odd = [
        ("unknown.example.com", 65_400, vec![1, 2, 3]),
        ("empty.example.com", 65_401, vec![]),
        // An HTTPS record whose parameters stand in the wrong order (4 before 1).
        (
            "https.example.com",
            65,
            [&[0, 1, 0, 0, 4, 0, 4, 192, 0, 2, 1, 0, 1, 0, 3, 2][..], b"h2"].concat(),
        ),
        ("notext.example.com", TXT, vec![]),
        ("caa.example.com", 257, vec![0, 0]),
        ("short.example.com", AAAA, vec![1, 2, 3, 4, 5]),
    ];
    for (name, rtype, rdata) in &odd {
        stage.backend.add(&[Record::new(name, 300, *rtype, rdata.clone())]);
    }
    for _ in 0..2 {
        for (name, rtype, rdata) in &odd {
            let reply = stage.relay.ask(name, *rtype);
            assert_eq!(reply.rcode(), "NOERROR", "{name}");
            assert_eq!(
                reply.answers.iter().map(|r| &r.rdata).collect::<Vec<_>>(),
                [rdata],
                "{name}"
            );
        }
    }
}
