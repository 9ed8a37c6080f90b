//! Real programs on both sides: named, unbound and dnsdist behind, dig, kdig and dnsperf in front.

use crate::harness::conf::Conf;
use crate::harness::peers::{DOH_PATH, Peer};
use crate::harness::process::LOCAL;
use crate::harness::secs;
use crate::harness::stage::Stage;
use crate::harness::tls::Tls;
use crate::harness::tools::{Counted, dig, dnsperf, kdig};
use crate::harness::wire::{A, AAAA, CNAME, MX, Message, Query, TXT};
use crate::harness::world::address_of;
use std::fmt::Write as _;
use std::net::UdpSocket;

const ZONE: &str = "www A 192.0.2.7\nwww AAAA 2001:db8::7\nalias CNAME www\n\
                    @ MX 10 www\ntext TXT \"one two\"\n*.wild A 192.0.2.8";

#[test]
fn each_real_server_is_a_backend() {
    let tls = Tls::new();
    let named = Peer::bind(&tls, &[("example.com", ZONE)]);
    let unbound = Peer::unbound(&tls, named.plain, "ns.example.com");
    let dnsdist = Peer::dnsdist(&tls, named.plain, "ns.example.com");
    let sets = [
        vec![named.doh],
        vec![unbound.doh],
        vec![dnsdist.doh],
        vec![named.doh, unbound.doh, dnsdist.doh],
    ];
    for backends in sets {
        let relay = Conf::new().service(&tls, DOH_PATH, &backends).start();
        let alias = relay.ask("alias.example.com", A);
        assert_eq!(alias.rcode(), "NOERROR", "{backends:?}: {alias:?}");
        assert_eq!(alias.data(CNAME), ["www.example.com"]);
        assert_eq!(alias.data(A), ["192.0.2.7"]);
        assert_eq!(relay.ask("www.example.com", AAAA).data(AAAA), ["2001:db8::7"]);
        assert_eq!(relay.ask("text.example.com", TXT).data(TXT), ["one two"]);
        assert_eq!(relay.ask("example.com", MX).answers.len(), 1);
        for n in 0..30 {
            assert_eq!(relay.ask(&format!("n{n}.wild.example.com"), A).data(A), ["192.0.2.8"]);
        }
        let none = relay.ask("none.example.com", A);
        assert_eq!(none.rcode(), "NXDOMAIN");
        assert_eq!(Message::soa_owners(&none.authority), ["example.com"]);
        let nodata = relay.ask("www.example.com", TXT);
        assert_eq!((nodata.rcode(), nodata.answers.len()), ("NOERROR", 0));
        assert_eq!(relay.tcp(&Query::new("alias.example.com", A).dnssec_ok()).answers.len(), 2);
    }
}

/// After a restart a whole second's queries may wait in the sockets. BIND takes it for a flood if
/// they all come along with the preface of a new connection, and closes it.
#[test]
fn a_burst_at_the_start_is_answered_by_bind() {
    let tls = Tls::new();
    let named = Peer::bind(&tls, &[("example.com", ZONE)]);
    for _ in 0..3 {
        let relay = Conf::new().service(&tls, DOH_PATH, &[named.doh]).start();
        let socket = UdpSocket::bind((LOCAL, 0)).expect("a client socket");
        socket.connect(relay.address).expect("a destination");
        socket.set_read_timeout(Some(secs(10))).expect("a time-out");
        for id in 0..250 {
            let query = Query::new(&format!("burst{id}.wild.example.com"), A).id(id);
            socket.send(&query.bytes()).expect("a query is sent");
        }
        for _ in 0..250 {
            let mut reply = [0; 1232];
            let length = socket.recv(&mut reply).expect("every query is answered");
            let reply = Message::read(&reply[..length]).expect("a good message");
            assert_eq!(reply.data(A), ["192.0.2.8"], "{reply:?}");
        }
    }
}

#[test]
fn dig_and_kdig_are_content() {
    let stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    let server = stage.relay.address;
    let address = address_of("www.example.com");
    for args in [&[][..], &["+tcp"], &["+dnssec"], &["+noedns"], &["+bufsize=4096"], &["+cdflag"]] {
        let printed = dig(server, &[&["www.example.com", "A"], args].concat());
        assert_eq!(
            (printed.status.as_str(), printed.answers.len()),
            ("NOERROR", 1),
            "{}",
            printed.text
        );
        assert!(
            !printed.text.contains("WARNING") && !printed.text.contains(";; Warning"),
            "{}",
            printed.text
        );
        assert!(printed.flags.contains(&"ra".into()) && !printed.flags.contains(&"aa".into()));
    }
    let printed = kdig(server, &["www.example.com", "A", "+edns"]);
    assert_eq!(printed.status, "NOERROR", "{}", printed.text);
    assert!(printed.answers[0].ends_with(&format!("IN A {address}")), "{}", printed.text);
    let printed = kdig(server, &["bad.example.com", "A", "+tcp", "+edns"]);
    assert_eq!(printed.status, "NXDOMAIN", "{}", printed.text);
    assert!(printed.text.contains("Blocked"), "the extended error is shown: {}", printed.text);
    let printed = dig(server, &["bad.example.com", "A"]);
    assert!(printed.text.contains("EDE: 15 (Blocked)"), "{}", printed.text);
    let chaos = dig(server, &["version.bind", "CH", "TXT"]);
    assert_eq!(chaos.status, "REFUSED", "{}", chaos.text);
    let transfer = dig(server, &["example.com", "AXFR"]);
    assert!(!transfer.text.contains(" SOA "), "{}", transfer.text);
}

#[test]
fn dnsperf_loses_nothing_over_udp_and_tcp() {
    let stage = Stage::with(|conf| conf.policy("block.local", "*.bad.example.com CNAME ."));
    let mut names = String::new();
    for n in 0..3000 {
        match n % 3 {
            0 => writeln!(names, "hot{}.example.com A", n % 10),
            1 => writeln!(names, "b{n}.bad.example.com A"),
            _ => writeln!(names, "n{n}.example.com A"),
        }
        .expect("a String takes all");
    }
    let list = stage.relay.conf.folder().join("names");
    std::fs::write(&list, names).expect("the list is written");
    for mode in ["udp", "tcp"] {
        let counted = dnsperf(stage.relay.address, mode, &list);
        let codes = "NOERROR 2000 (66.67%), NXDOMAIN 1000 (33.33%)".to_owned();
        let expected = Counted { sent: 3000, completed: 3000, lost: 0, codes };
        assert_eq!(counted, expected, "{mode}");
    }
    stage.relay.assert_books_balance();
}
