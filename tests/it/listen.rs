//! Where the relay listens, whom it answers, and how it counts them.

use crate::harness::client::{Over, Tcp, Udp, ask};
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, free_port, loopback};
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, Query};
use crate::harness::{millis, secs};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];

/// A relay that listens at `first` and at `others`, before one backend.
fn listening(first: SocketAddr, others: &[SocketAddr]) -> Stage {
    Stage::with(|conf| Conf {
        address: first,
        listen: [&[first], others].concat().iter().map(SocketAddr::to_string).collect(),
        ..conf
    })
}

#[test]
fn ipv4_and_ipv6_are_answered_over_udp_and_tcp() {
    let four = free_port(LOCAL);
    let six = free_port(Ipv6Addr::LOCALHOST.into());
    let stage = listening(four, &[six]);
    for server in [four, six] {
        for over in BOTH {
            assert_right(&ask(over, server, &Query::new("www.example.com", A)), "www.example.com");
        }
    }
    drop(stage);
}

#[test]
fn each_of_several_addresses_answers_for_itself() {
    let servers = [free_port(loopback(2)), free_port(loopback(3)), free_port(loopback(4))];
    let stage = listening(servers[0], &servers[1..]);
    // The client checks that the answer comes from the address it asked.
    for server in servers {
        for over in BOTH {
            assert_right(&ask(over, server, &Query::new("www.example.com", A)), "www.example.com");
        }
    }
    let status = stage.relay.status();
    let listeners = status["listeners"].as_array().expect("a list of listeners");
    for server in servers {
        let address = server.to_string();
        assert!(listeners.iter().any(|l| l["address"] == address.as_str()), "{listeners:#?}");
    }
}

#[test]
fn a_wildcard_listener_answers_from_the_address_that_was_asked() {
    let any = free_port(Ipv4Addr::UNSPECIFIED.into());
    let stage = Stage::with(|conf| Conf {
        address: SocketAddr::new(loopback(2), any.port()),
        listen: vec![any.to_string()],
        ..conf
    });
    for last in [2, 3, 77] {
        let server = SocketAddr::new(loopback(last), any.port());
        for over in BOTH {
            assert_right(&ask(over, server, &Query::new("www.example.com", A)), "www.example.com");
        }
    }
    assert_eq!(stage.backend.asked("www.example.com"), 1, "the others came from the cache");
}

#[test]
fn a_client_outside_the_acl_is_refused_and_never_reaches_the_backend() {
    let six = free_port(Ipv6Addr::LOCALHOST.into());
    let stage = Stage::with(|mut conf| {
        conf.listen.push(six.to_string());
        Conf { allow: vec!["127.0.0.1".into()], ..conf }
    });
    assert_right(&stage.relay.ask("inside.example.com", A), "inside.example.com");
    let (query, stranger) = (Query::new("outside.example.com", A), loopback(9));
    let replies = [
        Udp::from(stranger, stage.relay.address).ask(&query),
        Tcp::from(stranger, stage.relay.address).ask(&query),
        Udp::to(six).ask(&query),
        Tcp::to(six).ask(&query),
        // What is in the cache is no more theirs than the rest.
        Udp::from(stranger, stage.relay.address).ask(&Query::new("inside.example.com", A)),
    ];
    for reply in replies {
        assert_eq!((reply.rcode(), reply.answers.len()), ("REFUSED", 0), "{reply:?}");
        assert_eq!(reply.extended_errors(), [18], "prohibited: {reply:?}");
    }
    assert_eq!(stage.backend.asked("outside.example.com"), 0);
    assert_eq!(stage.relay.count("/queries/refused"), 5);
    stage.relay.assert_books_balance();
}

#[test]
fn outside_drop_means_silence() {
    let stage = Stage::with(|conf| {
        Conf { allow: vec!["127.0.0.1".into()], ..conf }.server("outside = \"drop\"")
    });
    let query = Query::new("outside.example.com", A);
    Udp::from(loopback(9), stage.relay.address).expect_silence(&query.bytes());
    let mut tcp = Tcp::from(loopback(9), stage.relay.address);
    tcp.send(&query.bytes());
    assert_eq!(tcp.receive(millis(500)), None, "no answer over TCP either");
    assert_right(&stage.relay.ask("inside.example.com", A), "inside.example.com");
    assert_eq!(stage.backend.asked("outside.example.com"), 0);
    stage.relay.assert_books_balance();
}

#[test]
fn an_open_connection_is_judged_by_the_acl_of_the_reload() {
    let mut stage = Stage::new();
    let mut tcp = Tcp::from(loopback(9), stage.relay.address);
    assert_right(&tcp.ask(&Query::new("before.example.com", A)), "before.example.com");
    stage.relay.conf.allow = vec!["127.0.0.1".into()];
    stage.relay.conf.save();
    stage.relay.reload();
    tcp.send(&Query::new("after.example.com", A).bytes());
    if let Some(bytes) = tcp.receive(secs(2)) {
        assert_eq!(bytes[3] & 15, 5, "REFUSED, or a closed connection");
    }
    assert_eq!(stage.backend.asked("after.example.com"), 0);
    assert_right(&stage.relay.ask("after.example.com", A), "after.example.com");
}

#[test]
fn a_mapped_ipv4_client_is_judged_by_its_ipv4_address() {
    let any = free_port(Ipv6Addr::UNSPECIFIED.into());
    let stage = Stage::with(|conf| Conf {
        address: SocketAddr::new(Ipv6Addr::LOCALHOST.into(), any.port()),
        listen: vec![any.to_string()],
        allow: vec!["::1".into(), "127.0.0.1".into()],
        ..conf
    });
    assert_right(&stage.relay.ask("six.example.com", A), "six.example.com");
    // The IPv6 wildcard may leave IPv4 alone; if it takes it, the IPv4 list decides.
    let four: IpAddr = LOCAL;
    let client = Udp::from(loopback(9), SocketAddr::new(four, any.port()));
    client.send(&Query::new("mapped.example.com", A).bytes());
    if let Some(bytes) = client.receive(millis(300)) {
        assert_eq!(bytes[3] & 15, 5, "REFUSED");
    }
    assert_eq!(stage.backend.asked("mapped.example.com"), 0);
}

#[test]
fn every_query_is_counted_once() {
    let rules = "blocked.example.com CNAME .\ndropped.example.com CNAME rpz-drop.";
    let stage = Stage::with(|conf| {
        Conf { allow: vec!["127.0.0.1".into()], ..conf }.policy("block.local", rules)
    });
    let relay = &stage.relay;
    for n in 0..20 {
        relay.ask(&format!("n{}.example.com", n % 7), A);
    }
    relay.ask("blocked.example.com", A);
    relay.client().expect_silence(&Query::new("dropped.example.com", A).bytes());
    relay.client().expect_silence(&[0; 5]);
    relay.client().send(&Query::new("www.example.com", A).flags(0x1000).bytes());
    Udp::from(loopback(9), relay.address).ask(&Query::new("www.example.com", A));
    relay.assert_books_balance();
    assert_eq!(relay.count("/queries/received"), 25);
    assert_eq!(relay.count("/queries/dropped_by_policy"), 1);
    assert_eq!(relay.count("/cache/hits"), 13, "7 names, 20 questions");
}
