//! Internal upstreams over plain DNS, and the routes that lead to them.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::peers::Peer;
use crate::harness::plain::{Manner, Plain};
use crate::harness::process::{LOCAL, free_port};
use crate::harness::stage::{assert_failed, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, AD, MX, Message, PADDING, Query, RD, Record, TXT};
use crate::harness::world::address_of;
use std::collections::HashSet;
use std::net::SocketAddr;

/// Only this upstream.
fn only(server: &Plain) -> Conf {
    Conf::new().plain("corp", &[server.address])
}

#[test]
fn named_is_an_upstream_over_plain_dns() {
    let tls = Tls::new();
    let long = "text TXT \"one two three\"\nwww A 192.0.2.7\nalias CNAME www\n@ MX 5 www";
    let named = Peer::bind(&tls, &[("example.com", long)]);
    let relay = Conf::new().plain("corp", &[named.plain]).start();
    let reply = relay.ask("alias.example.com", A);
    assert_eq!((reply.rcode(), reply.data(A)), ("NOERROR", vec!["192.0.2.7".into()]));
    assert_eq!(reply.answers[0].data(), "www.example.com");
    assert_eq!(relay.ask("text.example.com", TXT).data(TXT), ["one two three"]);
    assert_eq!(relay.ask("example.com", MX).answers.len(), 1);
    assert_eq!(relay.ask("none.example.com", A).rcode(), "NXDOMAIN");
    assert_eq!(relay.ask("www.example.com", TXT).rcode(), "NOERROR");
}

#[test]
fn the_longest_suffix_decides_where_a_name_goes() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let (corp, lab) = (Plain::start(Manner::Right), Plain::start(Manner::Right));
    corp.add(&[Record::a("www.corp.example.net", 300, "10.1.0.1")]);
    lab.add(&[Record::a("www.lab.corp.example.net", 300, "10.2.0.1")]);
    let relay = Conf::before(&tls, &[&backend])
        .plain("corp", &[corp.address])
        .plain("lab", &[lab.address])
        .route(&["corp.example.net"], "corp")
        .route(&["lab.corp.example.net"], "lab")
        .start();
    assert_eq!(relay.ask("www.corp.example.net", A).data(A), ["10.1.0.1"]);
    assert_eq!(relay.ask("WWW.Lab.corp.example.net", A).data(A), ["10.2.0.1"]);
    let name = "lab.corp.example.net";
    assert_right(&relay.ask(name, A), name);
    assert_right(&relay.ask("nocorp.example.net", A), "nocorp.example.net");
    assert_eq!((corp.asked(), lab.asked()), ((1, 0), (2, 0)));
    assert_eq!(backend.asked_below("corp.example.net"), 1, "only nocorp.example.net");
}

#[test]
fn names_of_a_dead_internal_upstream_never_leak_to_the_service() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let dead = free_port(LOCAL);
    let silent = Plain::start(Manner::Silent);
    let relay = Conf::before(&tls, &[&backend])
        .plain("dead", &[dead])
        .plain("silent", &[silent.address])
        .route(&["dead.example.net"], "dead")
        .route(&["silent.example.net"], "silent")
        .start();
    assert_failed(&relay.ask("www.dead.example.net", A), &[22, 23]);
    assert_failed(&relay.ask("www.silent.example.net", A), &[22, 23]);
    assert_right(&relay.ask("www.example.net", A), "www.example.net");
    assert_eq!(backend.asked_below("dead.example.net"), 0);
    assert_eq!(backend.asked_below("silent.example.net"), 0);
    let ours = |(query, _): &&(Message, SocketAddr)| {
        query.question.as_ref().is_some_and(|(name, ..)| name == "www.silent.example.net")
    };
    let sends = silent.queries().iter().filter(ours).count();
    assert!((1..=3).contains(&sends), "{sends} sends, three at most (RFC 9520)");
}

#[test]
fn a_second_server_answers_for_a_silent_one() {
    let (silent, good) = (Plain::start(Manner::Silent), Plain::start(Manner::Right));
    let relay = Conf::new().plain("corp", &[silent.address, good.address]).start();
    for n in 0..10 {
        let name = format!("n{n}.example.com");
        assert_right(&relay.ask(&name, A), &name);
    }
}

#[test]
fn a_cut_answer_is_fetched_over_tcp() {
    let server = Plain::start(Manner::Truncated);
    let record = |n| Record::txt("big.example.com", 300, &format!("record number {n:030}"));
    server.add(&(0..60).map(record).collect::<Vec<_>>());
    let relay = only(&server).start();
    let reply = relay.tcp(&Query::new("big.example.com", TXT));
    assert_eq!((reply.rcode(), reply.answers.len()), ("NOERROR", 60));
    assert_eq!(server.asked(), (1, 1));
}

#[test]
fn forged_replies_are_not_believed() {
    let server = Plain::start(Manner::ForgedFirst);
    let relay = only(&server).start();
    for n in 0..20 {
        let name = format!("n{n}.example.com");
        assert_right(&relay.ask(&name, A), &name);
    }
}

#[test]
fn plain_queries_have_random_ids_and_ports_and_an_opt_of_our_own() {
    let server = Plain::start(Manner::Right);
    let relay = only(&server).start();
    for n in 0..24 {
        let query = Query::new(&format!("n{n}.example.com"), A).option(10, &[7; 8]);
        assert_eq!(relay.udp(&query).rcode(), "NOERROR");
    }
    let queries = server.queries();
    let ids: HashSet<_> = queries.iter().map(|(q, _)| q.id).collect();
    let ports: HashSet<_> = queries.iter().map(|(_, from)| from.port()).collect();
    assert!(ids.len() >= 22 && ports.len() >= 12, "{} ids, {} ports", ids.len(), ports.len());
    for (query, _) in &queries {
        let edns = query.edns.as_ref().expect("an OPT record");
        assert_eq!((edns.size, edns.version, query.flags), (1232, 0, RD));
        assert!(edns.options.iter().all(|(c, _)| *c == PADDING), "{:?}", edns.options);
    }
}

#[test]
fn authentic_data_is_never_claimed_for_a_plain_upstream() {
    let tls = Tls::new();
    let (backend, server) = (Backend::start(&tls), Plain::start(Manner::Right));
    backend.world(|w| w.sign("www.example.com"));
    server.world(|w| w.sign("www.corp.example.net"));
    let relay = Conf::before(&tls, &[&backend])
        .plain("corp", &[server.address])
        .route(&["corp.example.net"], "corp")
        .start();
    for (name, authentic) in [("www.example.com", true), ("www.corp.example.net", false)] {
        for query in [Query::new(name, A).flags(RD | AD), Query::new(name, A).dnssec_ok()] {
            assert_eq!(relay.udp(&query).has(AD), authentic, "{name}");
        }
        assert!(!relay.ask(name, A).has(AD), "{name}: nobody asked for AD");
    }
}

#[test]
fn local_policy_files_act_on_routed_names_too() {
    let tls = Tls::new();
    let (backend, server) = (Backend::start(&tls), Plain::start(Manner::Right));
    let relay = Conf::before(&tls, &[&backend])
        .plain("corp", &[server.address])
        .route(&["corp.example.net"], "corp")
        .policy("block.local", "bad.corp.example.net CNAME .")
        .start();
    assert_eq!(relay.ask("bad.corp.example.net", A).rcode(), "NXDOMAIN");
    let name = "good.corp.example.net";
    assert_eq!(relay.ask(name, A).data(A), [address_of(name)]);
    assert_eq!(server.asked(), (1, 0));
}

#[test]
fn two_relays_that_point_at_each_other_stop() {
    let (one, two) = (free_port(LOCAL), free_port(LOCAL));
    let first = Conf::listening(one).plain("other", &[two]).start();
    let second = Conf::listening(two).plain("other", &[one]).start();
    let reply = first.ask("www.example.com", A);
    assert_eq!(reply.rcode(), "SERVFAIL", "{reply:?}");
    let received = first.count("/queries/received") + second.count("/queries/received");
    assert!(received <= 32, "{received} queries for one");
    assert_eq!(second.ask("localhost", A).rcode(), "NOERROR");
}
