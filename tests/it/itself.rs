//! The harness proves itself without the program: what it serves, real clients understand.

use crate::harness::backend::{Backend, PATH};
use crate::harness::client::{Over, Udp, ask};
use crate::harness::flood::Flood;
use crate::harness::frames::{Frames, Manner as FrameManner};
use crate::harness::peers::{DOH_PATH, Peer};
use crate::harness::plain::{Manner, Plain};
use crate::harness::script::Script;
use crate::harness::tls::{HOST, Tls};
use crate::harness::tools::{Printed, dig, kdig};
use crate::harness::wire::{A, AAAA, Message, Query, Record, TXT};
use crate::harness::world::address_of;
use crate::harness::{eventually, millis, secs};
use std::net::SocketAddr;

fn kdig_doh(tls: &Tls, server: SocketAddr, path: &str, name: &str) -> Printed {
    let ca = format!("+tls-ca={}", tls.ca().display());
    let host = format!("+tls-hostname={HOST}");
    let path = format!("+https={path}");
    kdig(server, &[&path, &ca, &host, name, "A"])
}

#[test]
fn kdig_gets_answers_from_the_scripted_backend() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    backend.add(&[Record::cname("alias.example.com", 60, "www.example.com")]);
    let printed = kdig_doh(&tls, backend.address, PATH, "alias.example.com");
    assert_eq!(printed.status, "NOERROR", "{}", printed.text);
    let address = format!("www.example.com. 300 IN A {}", address_of("www.example.com"));
    assert_eq!(printed.answers, ["alias.example.com. 60 IN CNAME www.example.com.", &address]);
    assert_eq!(backend.asked("alias.example.com"), 1);
    assert_eq!(backend.request("alias.example.com").path, PATH);

    backend.set(Script::servfail());
    assert_eq!(kdig_doh(&tls, backend.address, PATH, "www.example.com").status, "SERVFAIL");
    backend.set(Script::status(503));
    let printed = kdig_doh(&tls, backend.address, PATH, "www.example.com");
    assert_eq!(printed.status, "", "{}", printed.text);
    backend.die();
    eventually("the listener is gone", secs(5), || {
        std::net::TcpStream::connect_timeout(&backend.address, millis(500)).is_err()
    });
    backend.revive();
    backend.set(Script::Answer);
    eventually("the listener is back", secs(5), || {
        kdig_doh(&tls, backend.address, PATH, "www.example.com").status == "NOERROR"
    });
}

#[test]
fn kdig_gets_answers_from_the_frame_server() {
    let tls = Tls::new();
    let server = Frames::start(&tls, FrameManner::Honest);
    let printed = kdig_doh(&tls, server.address, "/q", "www.example.com");
    assert_eq!(printed.status, "NOERROR", "{}", printed.text);
    assert_eq!(server.counts().requests, 1);
    server.set(FrameManner::GoAwayBelow);
    let printed = kdig_doh(&tls, server.address, "/q", "www.example.com");
    assert_eq!(printed.status, "", "{}", printed.text);
    assert_eq!(server.counts().requests, 2);
}

#[test]
fn the_real_servers_answer_over_doh() {
    let tls = Tls::new();
    let named = Peer::bind(&tls, &[("example.com", "www A 192.0.2.7\n* A 192.0.2.8")]);
    let unbound = Peer::unbound(&tls, named.plain, "ns.example.com");
    let dnsdist = Peer::dnsdist(&tls, named.plain, "ns.example.com");
    for peer in [&named, &unbound, &dnsdist] {
        let printed = kdig_doh(&tls, peer.doh, DOH_PATH, "www.example.com");
        assert_eq!(printed.status, "NOERROR", "{}{}", printed.text, peer.process.output());
        assert_eq!(printed.answers, ["www.example.com. 300 IN A 192.0.2.7"]);
    }
}

#[test]
fn the_plain_server_and_the_clients_understand_each_other() {
    let server = Plain::start(Manner::Right);
    server.add(&[Record::txt("t.example.com", 5, "hello")]);
    for over in [Over::Udp, Over::Tcp] {
        let reply = ask(over, server.address, &Query::new("www.example.com", A));
        assert_eq!(
            (reply.rcode(), reply.data(A)),
            ("NOERROR", vec![address_of("www.example.com")])
        );
        let reply = ask(over, server.address, &Query::new("t.example.com", TXT));
        assert_eq!((reply.ttl(), reply.data(TXT)), (5, vec!["hello".to_owned()]));
        let reply = ask(over, server.address, &Query::new("t.example.com", AAAA));
        assert_eq!((reply.answers.len(), reply.authority.len()), (0, 1));
    }
    assert_eq!(server.asked(), (3, 3));
    assert_eq!(dig(server.address, &["www.example.com", "A"]).status, "NOERROR");
    server.set(Manner::Silent);
    Udp::to(server.address).expect_silence(&Query::new("www.example.com", A).bytes());
}

#[test]
fn the_load_generator_counts_every_answer() {
    let server = Plain::start(Manner::Right);
    let flood = Flood::of(server.address, 400, "example.com").start();
    flood.until_answered(200);
    flood.finish().assert_all_right();
    server.set(Manner::Silent);
    let flood =
        Flood { limit: millis(100), ..Flood::of(server.address, 100, "example.com") }.start();
    let report = flood.finish();
    assert_eq!(report.lost.len() as u64, report.sent, "{report:?}");
}

#[test]
fn messages_are_read_as_written() {
    let mut query = Query::new(r"a\.b.\000x.Example.com", A).dnssec_ok().option(10, &[1; 8]);
    query.flags |= 0x10;
    let message = Message::read(&query.bytes()).expect("well formed");
    let name = message.question.clone().expect("a question").0;
    assert_eq!(name, r"a\.b.\000x.Example.com");
    assert_eq!(message.bytes(), query.bytes());
    let soa = Record::soa("example.com", 60, 30);
    let reply = Message { authority: vec![soa.clone()], ..message };
    assert_eq!(Message::read(&reply.bytes()).expect("well formed").authority, [soa]);
    assert!(Message::read(&query.bytes()[..20]).is_err());
    assert!(Message::read(&[query.bytes(), vec![0]].concat()).is_err());
}

#[test]
fn orders_to_open_connections_are_obeyed() {
    let tls = Tls::new();
    let orders: [fn(&Backend); 3] = [Backend::black_hole, Backend::kill_connections, Backend::die];
    for order in orders {
        let backend = Backend::start(&tls);
        let ask = || kdig_doh(&tls, backend.address, PATH, "www.example.com").status;
        assert_eq!(ask(), "NOERROR");
        backend.set(Script::Delay(millis(400)));
        std::thread::scope(|scope| {
            let asking = scope.spawn(ask);
            eventually("the request is there", secs(5), || backend.asked("www.example.com") == 2);
            order(&backend);
            assert_eq!(asking.join().expect("kdig ends"), "", "no answer comes any more");
        });
    }
}
