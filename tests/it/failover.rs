//! Backends that die, freeze and come back under load: the clients must not notice.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::flood::Flood;
use crate::harness::peers::{DOH_PATH, Peer};
use crate::harness::relay::Relay;
use crate::harness::stage::{Pair, Stage, assert_failed, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::A;
use crate::harness::{eventually, millis, secs};

/// named with a wildcard, an unbound and a dnsdist before it, a relay before both.
struct Real {
    relay: Relay,
    unbound: Peer,
    dnsdist: Peer,
    _named: Peer,
    _tls: Tls,
}

fn real() -> Real {
    let tls = Tls::new();
    let named = Peer::bind(&tls, &[("example.com", "* A 192.0.2.8")]);
    let unbound = Peer::unbound(&tls, named.plain, "ns.example.com");
    let dnsdist = Peer::dnsdist(&tls, named.plain, "ns.example.com");
    let relay = Conf::new().service(&tls, DOH_PATH, &[unbound.doh, dnsdist.doh]).start();
    Real { relay, unbound, dnsdist, _named: named, _tls: tls }
}

fn load(relay: &Relay, suffix: &str) -> Flood {
    Flood::of(relay.address, 300, suffix).expecting("192.0.2.8")
}

#[test]
fn a_killed_server_under_load_loses_nothing() {
    let real = real();
    let flood = load(&real.relay, "k.example.com").start();
    flood.until_answered(600);
    real.unbound.process.signal("KILL");
    flood.until_more(1000);
    eventually("the status knows it", secs(10), || {
        real.relay.backend(real.unbound.doh)["state"] != "up"
    });
    flood.finish().assert_all_right();
    assert_eq!(real.relay.backend(real.dnsdist.doh)["state"], "up");
}

#[test]
fn a_frozen_server_under_load_loses_nothing_and_comes_back() {
    let real = real();
    let flood = load(&real.relay, "s.example.com").start();
    flood.until_answered(600);
    real.dnsdist.process.signal("STOP");
    flood.until_more(1000);
    eventually("the status knows it", secs(10), || {
        real.relay.backend(real.dnsdist.doh)["state"] != "up"
    });
    real.dnsdist.process.signal("CONT");
    flood.until_more(300);
    flood.finish().assert_all_right();
    eventually("the server that woke up is used again", secs(20), || {
        real.relay.backend(real.dnsdist.doh)["state"] == "up"
    });
}

#[test]
fn a_dead_path_on_an_open_connection_is_noticed() {
    let pair = Pair::new();
    let flood = Flood::of(pair.relay.address, 200, "example.com").start();
    flood.until_answered(200);
    pair.first.black_hole();
    flood.until_more(300);
    pair.second.black_hole();
    flood.until_more(300);
    flood.finish().assert_all_right();
}

#[test]
fn the_only_backends_dead_path_is_replaced_by_a_new_connection() {
    let stage = Stage::new();
    let flood = Flood::of(stage.relay.address, 100, "example.com").start();
    flood.until_answered(150);
    let before = stage.backend.seen().handshakes;
    stage.backend.black_hole();
    flood.until_more(200);
    flood.finish().assert_all_right();
    assert!(stage.backend.seen().handshakes > before);
}

#[test]
fn connections_reset_under_load_lose_nothing() {
    let stage = Stage::new();
    let flood = Flood::of(stage.relay.address, 300, "example.com").start();
    for _ in 0..4 {
        flood.until_more(150);
        stage.backend.kill_connections();
    }
    flood.until_more(150);
    flood.finish().assert_all_right();
}

#[test]
fn a_flapping_backend_is_neither_seen_by_clients_nor_all_over_the_log() {
    let pair = Pair::new();
    let flood = Flood::of(pair.relay.address, 200, "example.com").start();
    for _ in 0..3 {
        flood.until_more(200);
        pair.first.die();
        flood.until_more(200);
        pair.first.revive();
    }
    flood.finish().assert_all_right();
    let address = pair.first.address.to_string();
    let text = pair.relay.stderr();
    let lines = text.lines().filter(|l| l.contains(&address)).count();
    assert!(lines <= 8, "{lines} lines for three short outages:\n{text}");
}

#[test]
fn all_backends_down_is_said_at_once_and_over_at_once() {
    let tls = Tls::new();
    let (first, second) = (Backend::start(&tls), Backend::start(&tls));
    let relay = Conf::before(&tls, &[&first, &second]).start();
    assert_right(&relay.ask("before.example.com", A), "before.example.com");
    first.die();
    second.die();
    let mut n = 0;
    eventually("no backend answers any more", secs(3), || {
        n += 1;
        relay.ask(&format!("dying{n}.example.com"), A).rcode() == "SERVFAIL"
    });
    for n in 0..5 {
        assert_failed(&relay.ask(&format!("down{n}.example.com"), A), &[22, 23]);
    }
    eventually("the status says so", secs(5), || {
        relay.backend(first.address)["state"] != "up"
            && relay.backend(second.address)["state"] != "up"
    });
    assert_right(&relay.ask("before.example.com", A), "before.example.com");
    second.revive();
    let mut n = 0;
    eventually("the service is back", secs(5), || {
        n += 1;
        relay.ask(&format!("up{n}.example.com"), A).rcode() == "NOERROR"
    });
    first.revive();
    eventually("both are up again", secs(20), || {
        relay.ask(&format!("both{n}.example.com"), A);
        n += 1;
        relay.backend(first.address)["state"] == "up"
    });
}

#[test]
fn a_cold_start_without_backends_is_no_failure_of_the_start() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    backend.die();
    eventually("the backend is gone", secs(5), || {
        std::net::TcpStream::connect_timeout(&backend.address, millis(500)).is_err()
    });
    let relay = Conf::before(&tls, &[&backend]).start();
    assert_failed(&relay.ask("www.example.com", A), &[22, 23]);
    assert_eq!(relay.ask("localhost", A).data(A), ["127.0.0.1"]);
    backend.revive();
    let mut n = 0;
    eventually("the service is there", secs(8), || {
        n += 1;
        relay.ask(&format!("n{n}.example.com"), A).rcode() == "NOERROR"
    });
}
