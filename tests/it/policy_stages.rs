//! Policy where names are local, signed by halves, or stale.

use crate::harness::script::Script;
use crate::harness::stage::Stage;
use crate::harness::wire::{A, AAAA, CNAME, Message, Query, RRSIG, Record};
use crate::harness::{eventually, secs};

const HOSTS: &str = "[local.hosts]\n\"walled.example.net\" = [\"10.0.0.80\", \"10.0.0.81\"]";

/// A stage with a host and one policy zone.
fn with_a_host(rules: &str, lines: &str) -> Stage {
    Stage::with(|conf| conf.local(HOSTS).policy_with("block.local", rules, lines))
}

#[test]
fn a_garden_may_be_a_host() {
    let stage = with_a_host("bad.example.com CNAME walled.example.net.", "");
    for over_tcp in [false, true] {
        let ask = |qtype| {
            let query = Query::new("bad.example.com", qtype);
            if over_tcp { stage.relay.tcp(&query) } else { stage.relay.udp(&query) }
        };
        let reply = ask(A);
        assert_eq!(reply.rcode(), "NOERROR", "{reply:?}");
        assert_eq!(reply.data(CNAME), ["walled.example.net"]);
        assert_eq!(reply.data(A), ["10.0.0.80", "10.0.0.81"]);
        let owners: Vec<_> = reply.answers.iter().map(|r| (r.name.as_str(), r.rtype)).collect();
        let (hit, host) = ("bad.example.com", "walled.example.net");
        assert_eq!(owners, [(hit, CNAME), (host, A), (host, A)]);
        assert_eq!(reply.extended_errors(), [15]);
        // The host has no such address, and nobody else is asked for one.
        let other = ask(AAAA);
        assert_eq!((other.rcode(), other.answers.len()), ("NOERROR", 1), "{other:?}");
        assert_eq!(other.data(CNAME), ["walled.example.net"]);
        assert_eq!(Message::soa_owners(&other.authority), ["walled.example.net"]);
    }
    assert_eq!(stage.backend.asked_below("example.net"), 0);
    assert_eq!(stage.backend.asked_below("example.com"), 0);

    let stage = with_a_host("bad.example.com CNAME .", "action = \"cname:walled.example.net\"");
    let reply = stage.relay.ask("bad.example.com", A);
    assert_eq!(reply.data(A), ["10.0.0.80", "10.0.0.81"], "{reply:?}");
    assert_eq!(stage.backend.asked_below("example.net"), 0);
}

#[test]
fn a_garden_among_special_names_does_not_leave_the_house() {
    let stage = with_a_host(
        "bad.example.com     CNAME foo.internal.
         *.each.example.com  CNAME *.localhost.
         nine.example.com    CNAME 9.0.0.10.in-addr.arpa.",
        "",
    );
    for (name, target, zone) in [
        ("bad.example.com", "foo.internal", "internal"),
        ("nine.example.com", "9.0.0.10.in-addr.arpa", "10.in-addr.arpa"),
    ] {
        let reply = stage.relay.ask(name, A);
        assert_eq!(reply.rcode(), "NXDOMAIN", "{reply:?}");
        assert_eq!((reply.answers.len(), reply.data(CNAME)), (1, vec![target.into()]));
        assert_eq!(Message::soa_owners(&reply.authority), [zone]);
        assert_eq!(stage.backend.asked(target), 0, "{target} stays in the house");
    }
    let reply = stage.relay.ask("www.each.example.com", A);
    assert_eq!(reply.data(CNAME), ["www.each.example.com.localhost"]);
    assert_eq!(reply.data(A), ["127.0.0.1"]);
    assert_eq!(stage.backend.asked("www.each.example.com.localhost"), 0);
}

#[test]
fn a_link_that_leads_into_a_garden_of_ours_gets_the_hosts_address() {
    let stage = with_a_host("second.example.com CNAME walled.example.net.", "");
    stage.backend.add(&[Record::cname("first.example.com", 300, "second.example.com")]);
    let reply = stage.relay.ask("first.example.com", A);
    assert_eq!(reply.data(CNAME), ["second.example.com", "walled.example.net"]);
    assert_eq!(reply.data(A), ["10.0.0.80", "10.0.0.81"]);
    assert_eq!(stage.backend.asked("walled.example.net"), 0);
}

type Names = &'static [&'static str];

/// first → second, which has an address; the names in `signed` have signatures.
fn alias_signed_at(signed: Names) -> Script {
    Script::changed(move |m| {
        m.answers = vec![
            Record::cname("first.example.com", 300, "second.example.com"),
            Record::a("second.example.com", 300, "192.0.2.2"),
        ];
        // Right in form: algorithm 13, three labels; a stranger to mathematics.
        let rdata = [&[0, 1, 13, 3][..], &[0; 14], &[0], &[7; 64]].concat();
        m.answers.extend(signed.iter().map(|name| Record::new(name, 300, RRSIG, rdata.clone())));
    })
}

#[test]
fn a_signature_spares_its_own_link_of_the_chain_only() {
    const FIRST: &str = "first.example.com";
    const SECOND: &str = "second.example.com";
    // What is signed, what is blocked, the rcode, the aliases that are shown.
    type Row = (Names, Names, &'static str, Names);
    let rows: [Row; 9] = [
        (&[SECOND], &[FIRST], "NXDOMAIN", &[]),
        (&[FIRST], &[SECOND], "NXDOMAIN", &[SECOND]),
        (&[FIRST], &[FIRST], "NOERROR", &[SECOND]),
        (&[SECOND], &[SECOND], "NOERROR", &[SECOND]),
        (&[FIRST], &[FIRST, SECOND], "NXDOMAIN", &[SECOND]),
        (&[SECOND], &[FIRST, SECOND], "NXDOMAIN", &[]),
        (&[FIRST, SECOND], &[FIRST, SECOND], "NOERROR", &[SECOND]),
        (&[], &[FIRST], "NXDOMAIN", &[]),
        (&[], &[SECOND], "NXDOMAIN", &[SECOND]),
    ];
    for (signed, blocked, rcode, links) in rows {
        let rules: String = blocked.iter().map(|name| format!("{name} CNAME .\n")).collect();
        let stage = Stage::with(|conf| {
            conf.policy("block.local", &rules).response_policy("break_dnssec = false")
        });
        stage.backend.set_for(FIRST, alias_signed_at(signed));
        for fresh_or_cached in 0..2 {
            let reply = stage.relay.udp(&Query::new(FIRST, A).dnssec_ok());
            let what = format!("signed {signed:?}, blocked {blocked:?} ({fresh_or_cached})");
            assert_eq!(reply.rcode(), rcode, "{what}: {reply:?}");
            assert_eq!(reply.data(CNAME), links, "{what}: {reply:?}");
            let passes = rcode == "NOERROR";
            assert_eq!(reply.data(A).len(), usize::from(passes), "{what}: {reply:?}");
            let signatures = reply.answers.iter().filter(|r| r.rtype == RRSIG).count();
            assert_eq!(signatures, if passes { signed.len() } else { 0 }, "{what}: {reply:?}");
        }
        let without = stage.relay.ask(FIRST, A);
        assert_eq!(without.rcode(), "NXDOMAIN", "without DO nothing is exempt: {without:?}");
    }
}

#[test]
fn a_stale_garden_is_shown_with_the_ttl_of_stale_answers() {
    let stage =
        Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME g.example.net."));
    stage.backend.add(&[Record::a("g.example.net", 1, "192.0.2.80")]);
    let first = stage.relay.ask("bad.example.com", A);
    assert_eq!((first.data(A), first.answers[1].ttl), (vec!["192.0.2.80".into()], 1));
    stage.backend.die();
    eventually("the garden's address is stale", secs(8), || {
        let reply = stage.relay.ask("bad.example.com", A);
        assert_eq!(reply.data(CNAME), ["g.example.net"], "{reply:?}");
        assert_eq!(reply.data(A), ["192.0.2.80"], "{reply:?}");
        assert_eq!(reply.answers[0].ttl, 5, "the rule's own alias: {reply:?}");
        let ttl = reply.answers[1].ttl;
        assert!([0, 1, 30].contains(&ttl), "RFC 8767 section 4: {ttl}");
        ttl == 30
    });
}
