//! What the relay answers without asking anybody, and what a route takes from it.

use crate::harness::backend::Backend;
use crate::harness::client::{Over, ask};
use crate::harness::conf::Conf;
use crate::harness::plain::{Manner, Plain};
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, AAAA, HTTPS, Message, NS, PTR, Query, RA, Record, TXT};
use crate::harness::world::address_of;

const HOSTS: &str = "\"printer.corp.example.net\" = [\"10.0.0.9\", \"fd00::9\"]\n\
                     \"gate.corp.example.net\" = [\"10.0.0.1\", \"10.0.0.2\"]";

fn with_hosts(conf: Conf) -> Conf {
    conf.local(&format!("[local.hosts]\n{HOSTS}"))
}

#[test]
fn hosts_have_addresses_and_names_back() {
    let stage = Stage::with(with_hosts);
    let relay = &stage.relay;
    let printer = relay.ask("Printer.corp.example.net", A);
    assert_eq!((printer.rcode(), printer.data(A)), ("NOERROR", vec!["10.0.0.9".into()]));
    let printer = relay.ask("printer.corp.example.net", AAAA);
    assert_eq!(printer.data(AAAA), ["fd00::9"]);
    assert_eq!(relay.ask("gate.corp.example.net", A).data(A), ["10.0.0.1", "10.0.0.2"]);
    let back = relay.ask("9.0.0.10.in-addr.arpa", PTR);
    assert_eq!(back.data(PTR), ["printer.corp.example.net"]);
    let six = "9.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    assert_eq!(relay.ask(six, PTR).data(PTR), ["printer.corp.example.net"]);
    // The name is there, the type is not.
    let other = relay.ask("printer.corp.example.net", TXT);
    assert_eq!((other.rcode(), other.answers.len()), ("NOERROR", 0));
    assert_eq!(relay.ask("gate.corp.example.net", AAAA).rcode(), "NOERROR");
    // A name beside them is none of ours.
    assert_right(&relay.ask("scanner.corp.example.net", A), "scanner.corp.example.net");
    assert_eq!(stage.backend.asked("printer.corp.example.net"), 0);
    assert_eq!(stage.backend.asked("9.0.0.10.in-addr.arpa"), 0);
}

/// A negative answer that a client can keep: a SOA above the name in the authority section.
#[track_caller]
fn assert_negative(reply: &Message, name: &str, rcode: &str) {
    assert_eq!((reply.rcode(), reply.answers.len()), (rcode, 0), "{name}: {reply:?}");
    let owners = Message::soa_owners(&reply.authority);
    assert_eq!(owners.len(), 1, "{name} has one SOA in authority: {reply:?}");
    let above = owners[0].is_empty() || name.to_lowercase().ends_with(&owners[0]);
    assert!(above, "{name}: the SOA of {owners:?}");
}

#[test]
fn special_names_never_leave_the_house() {
    let stage = Stage::new();
    let relay = &stage.relay;
    for name in ["localhost", "any.localhost"] {
        assert_eq!(relay.ask(name, A).data(A), ["127.0.0.1"], "{name}");
        assert_eq!(relay.ask(name, AAAA).data(AAAA), ["::1"], "{name}");
    }
    assert_eq!(relay.ask("1.0.0.127.in-addr.arpa", PTR).data(PTR), ["localhost"]);
    let absent = [
        "www.invalid",
        "www.test",
        "host.local",
        "x.onion",
        "1.1.168.192.in-addr.arpa",
        "7.0.16.172.in-addr.arpa",
        "4.3.2.10.in-addr.arpa",
        "1.1.64.100.in-addr.arpa",
        "1.1.254.169.in-addr.arpa",
        "b.e.f.ip6.arpa",
        "1.d.f.ip6.arpa",
        "nas.home.arpa",
    ];
    for name in absent {
        assert_negative(&relay.ask(name, A), name, "NXDOMAIN");
        assert_eq!(stage.backend.asked(name), 0, "{name} stays in the house");
    }
    // Public reverse names are nobody's secret.
    relay.ask("8.8.8.8.in-addr.arpa", PTR);
    assert_eq!(stage.backend.asked("8.8.8.8.in-addr.arpa"), 1);
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
}

#[test]
fn names_of_one_label_are_not_for_the_service() {
    let stage = Stage::new();
    for name in ["wpad", "fileserver"] {
        for qtype in [A, AAAA, HTTPS] {
            // NODATA: an NXDOMAIN would deny a whole top-level domain (RFC 8020).
            assert_negative(&stage.relay.ask(name, qtype), name, "NOERROR");
        }
        assert_eq!(stage.backend.asked(name), 0, "{name} stays in the house");
    }
    // What resolvers and validators ask of a top-level domain is public.
    stage.relay.ask("com", NS);
    assert_eq!(stage.backend.asked("com"), 1);
}

#[test]
fn the_canary_domain_keeps_browsers_here() {
    let name = "use-application-dns.net";
    let stage = Stage::new();
    assert_negative(&stage.relay.ask(name, A), name, "NXDOMAIN");
    assert_eq!(stage.backend.asked(name), 0);

    let stage = Stage::with(|conf| conf.local("canary_domain = false"));
    assert_right(&stage.relay.ask(name, A), name);
}

#[test]
fn special_names_can_be_left_to_the_service() {
    let stage = Stage::with(|conf| conf.local("special = false"));
    for name in ["www.test", "1.1.168.192.in-addr.arpa"] {
        assert_right(&stage.relay.ask(name, A), name);
    }
}

#[test]
fn hosts_come_before_routes_and_routes_before_special_names() {
    let tls = Tls::new();
    let (backend, corp) = (Backend::start(&tls), Plain::start(Manner::Right));
    corp.add(&[Record::a("own.home.arpa", 300, "10.9.9.9")]);
    let conf = Conf::before(&tls, &[&backend])
        .plain("corp", &[corp.address])
        .route(&["corp.example.net", "home.arpa", "168.192.in-addr.arpa"], "corp");
    let relay = with_hosts(conf).start();
    assert_eq!(relay.ask("printer.corp.example.net", A).data(A), ["10.0.0.9"], "hosts first");
    let name = "wiki.corp.example.net";
    assert_eq!(relay.ask(name, A).data(A), [address_of(name)], "then the route");
    assert_eq!(relay.ask("own.home.arpa", A).data(A), ["10.9.9.9"], "a route names it");
    let name = "1.1.168.192.in-addr.arpa";
    assert_eq!(relay.ask(name, A).data(A), [address_of(name)], "a route names it");
    assert_negative(&relay.ask("4.3.2.10.in-addr.arpa", PTR), "4.3.2.10.in-addr.arpa", "NXDOMAIN");
    assert_eq!(backend.asked_below("example.net") + backend.asked_below("arpa"), 0);
    assert_eq!(corp.asked().0, 3);
}

#[test]
fn local_answers_have_the_same_shape_as_others() {
    let stage = Stage::with(with_hosts);
    for name in ["printer.corp.example.net", "localhost", "www.invalid"] {
        let reply = stage.relay.udp(&Query::new(name, A));
        let edns = reply.edns.as_ref().expect("an OPT for an OPT");
        assert_eq!((edns.size, edns.version), (1232, 0), "{name}");
        assert!(reply.has(RA), "{name}: recursion is available");
        assert_eq!(stage.relay.udp(&Query::new(name, A).no_edns()).edns, None, "{name}");
        let over_tcp = stage.relay.tcp(&Query::new(name, A));
        assert_eq!(over_tcp.answers, reply.answers, "{name}");
    }
}

#[test]
fn a_rule_that_spares_a_local_name_leaves_it_its_local_answer() {
    let rules = |action: &str| {
        let names = ["printer.corp.example.net", "localhost", "foo.internal", "wpad"];
        names.map(|name| format!("{name} CNAME rpz-{action}.\n")).concat()
    };
    let rows = [("passthru", Over::Udp), ("passthru", Over::Tcp), ("tcp-only", Over::Tcp)];
    for (action, over) in rows {
        for line in ["", "wait = true", "break_dnssec = false"] {
            let stage = Stage::with(|conf| {
                with_hosts(conf).policy("spare.local", &rules(action)).response_policy(line)
            });
            let ask = |name: &str| ask(over, stage.relay.address, &Query::new(name, A).dnssec_ok());
            let what = format!("{action} {over:?} {line}");
            let printer = ask("printer.corp.example.net");
            assert_eq!((printer.rcode(), printer.data(A)), ("NOERROR", vec!["10.0.0.9".into()]));
            assert_eq!(ask("localhost").data(A), ["127.0.0.1"], "{what}");
            assert_negative(&ask("foo.internal"), "foo.internal", "NXDOMAIN");
            assert_negative(&ask("wpad"), "wpad", "NOERROR");
            for name in ["printer.corp.example.net", "localhost", "foo.internal", "wpad"] {
                assert_eq!(stage.backend.asked(name), 0, "{what}: {name} stays in the house");
            }
        }
    }
}

#[test]
fn a_host_without_the_type_is_asked_for_again_after_a_minute() {
    let stage =
        Stage::with(|conf| conf.local("[local.hosts]\n\"four.example.net\" = [\"10.0.0.4\"]"));
    let reply = stage.relay.ask("four.example.net", AAAA);
    assert_negative(&reply, "four.example.net", "NOERROR");
    let soa = &reply.authority[0];
    assert_eq!((soa.ttl, &soa.rdata[soa.rdata.len() - 4..]), (60, &[0, 0, 0, 60][..]), "{soa:?}");
}
