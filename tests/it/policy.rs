//! Response policy: what a rule does, which rule wins, and that there is no way round it.

use crate::harness::client::{Over, ask};
use crate::harness::conf::Conf;
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::*;
use crate::harness::world::address_of;
use crate::harness::{eventually, secs};

/// A stage with one policy zone, `block.local`.
fn with_rules(rules: &str) -> Stage {
    Stage::with(|conf| conf.policy("block.local", rules))
}

/// Nothing of the truth: NXDOMAIN without an answer.
#[track_caller]
fn assert_nxdomain(reply: &Message) {
    assert_eq!((reply.rcode(), reply.answers.len()), ("NXDOMAIN", 0), "{reply:?}");
}

#[test]
fn every_action_does_what_its_rule_says() {
    let stage = with_rules(
        "nx.example.com      CNAME .
         nodata.example.com  CNAME *.
         pass.example.com    CNAME rpz-passthru.
         drop.example.com    CNAME rpz-drop.
         tcp.example.com     CNAME rpz-tcp-only.
         data.example.com    A     192.0.2.1
         data.example.com    A     192.0.2.2
         data.example.com    TXT   \"blocked by us\"
         alias.example.com   CNAME garden.example.net.
         *.each.example.com  CNAME *.garden.example.net.",
    );
    let relay = &stage.relay;
    for over in [Over::Udp, Over::Tcp] {
        let ask = |name: &str, qtype| ask(over, relay.address, &Query::new(name, qtype));
        assert_nxdomain(&ask("nx.example.com", A));
        let reply = ask("nodata.example.com", A);
        assert_eq!((reply.rcode(), reply.answers.len()), ("NOERROR", 0));
        assert_right(&ask("pass.example.com", A), "pass.example.com");
        assert_eq!(ask("data.example.com", A).data(A), ["192.0.2.1", "192.0.2.2"]);
        assert_eq!(ask("data.example.com", TXT).data(TXT), ["blocked by us"]);
        let other = ask("data.example.com", AAAA);
        assert_eq!((other.rcode(), other.answers.len()), ("NOERROR", 0), "other types: NODATA");
        let alias = ask("alias.example.com", A);
        assert_eq!(alias.data(CNAME), ["garden.example.net"]);
        assert_eq!(alias.data(A), [address_of("garden.example.net")]);
        let each = ask("www.each.example.com", A);
        assert_eq!(each.data(CNAME), ["www.each.example.com.garden.example.net"]);
        assert_eq!(each.data(A), [address_of("www.each.example.com.garden.example.net")]);
    }
    let tcp_only = relay.ask("tcp.example.com", A);
    assert!(tcp_only.has(TC) && tcp_only.answers.is_empty(), "{tcp_only:?}");
    assert_right(&relay.tcp(&Query::new("tcp.example.com", A)), "tcp.example.com");
    let drop = Query::new("drop.example.com", A).bytes();
    relay.client().expect_silence(&drop);
    let mut tcp = relay.connect();
    tcp.send(&drop);
    assert_eq!(tcp.receive(crate::harness::millis(400)), None, "silence over TCP too");
    for name in ["nx", "nodata", "drop", "data", "alias"] {
        let name = format!("{name}.example.com");
        assert_eq!(stage.backend.asked(&name), 0, "{name} never leaves the house");
    }
}

#[test]
fn any_gets_all_local_data_and_a_rules_alias_is_not_chased_for_its_own_type() {
    let stage = with_rules(
        "data.example.com  A 192.0.2.1
         data.example.com  TXT \"x\"
         alias.example.com CNAME garden.example.net.",
    );
    let any = stage.relay.ask("data.example.com", ANY);
    assert_eq!((any.data(A), any.data(TXT)), (vec!["192.0.2.1".into()], vec!["x".into()]));
    for qtype in [CNAME, ANY] {
        let reply = stage.relay.ask("alias.example.com", qtype);
        assert_eq!(reply.data(CNAME), ["garden.example.net"]);
        assert_eq!(reply.answers.len(), 1, "{reply:?}");
    }
}

#[test]
fn wildcards_follow_rfc_4592() {
    let stage = with_rules(
        "*.wild.example.com         CNAME .
         ok.deep.wild.example.com   CNAME rpz-passthru.
         *.inner.wild.example.com   CNAME *.
         name.example.net           CNAME .",
    );
    let rows = [
        ("a.wild.example.com", "NXDOMAIN", "the wildcard"),
        ("b.a.wild.example.com", "NXDOMAIN", "the wildcard, two labels down"),
        ("wild.example.com", "truth", "a wildcard is not its own parent"),
        ("ok.deep.wild.example.com", "truth", "the exact passthru rule"),
        ("www.ok.deep.wild.example.com", "truth", "the closest encloser is the passthru rule"),
        ("deep.wild.example.com", "truth", "an empty non-terminal"),
        ("other.deep.wild.example.com", "truth", "behind an empty non-terminal"),
        ("x.inner.wild.example.com", "NODATA", "the longer wildcard"),
        ("inner.wild.example.com", "truth", "the wildcard below makes it exist"),
        ("name.example.net", "NXDOMAIN", "the exact name"),
        ("www.name.example.net", "truth", "a name says nothing about those below"),
    ];
    for (name, expected, why) in rows {
        let reply = stage.relay.ask(name, A);
        let got = match (reply.rcode(), reply.answers.len()) {
            ("NOERROR", 0) => "NODATA",
            ("NOERROR", _) => "truth",
            (code, _) => code,
        };
        assert_eq!(got, expected, "{name}: {why}");
    }
}

#[test]
fn the_first_zone_with_a_match_wins() {
    let allow = "good.example.com CNAME rpz-passthru.\n*.both.example.com CNAME *.";
    let block = "*.example.com CNAME .\nx.both.example.com CNAME .";
    let stage = Stage::with(|conf| conf.policy("allow.local", allow).policy("block.local", block));
    assert_right(&stage.relay.ask("good.example.com", A), "good.example.com");
    assert_nxdomain(&stage.relay.ask("bad.example.com", A));
    let earlier = stage.relay.ask("x.both.example.com", A);
    assert_eq!((earlier.rcode(), earlier.answers.len()), ("NOERROR", 0), "zone before exactness");

    let stage = Stage::with(|conf| conf.policy("block.local", block).policy("allow.local", allow));
    assert_nxdomain(&stage.relay.ask("good.example.com", A));
}

#[test]
fn many_zones_keep_their_order() {
    let stage = Stage::with(|mut conf| {
        for n in 0..30 {
            let rules = format!(
                "only{n}.example.com A 192.0.2.{n}\nfrom{m}.example.com A 192.0.2.{n}\n\
                 from{n}.example.com A 192.0.2.{n}",
                m = n + 1
            );
            conf = conf.policy(&format!("zone{n}.local"), &rules);
        }
        conf
    });
    for n in 0..30 {
        let only = stage.relay.ask(&format!("only{n}.example.com"), A);
        assert_eq!(only.data(A), [format!("192.0.2.{n}")]);
        let first = n.max(1) - 1;
        let from = stage.relay.ask(&format!("from{n}.example.com"), A);
        assert_eq!(from.data(A), [format!("192.0.2.{first}")], "zones {first} and {n} match");
    }
}

#[test]
fn a_monitor_zone_changes_nothing_and_shadows_nothing() {
    let stage = Stage::with(|conf| {
        conf.policy_with("watch.local", "*.example.com CNAME .", "mode = \"monitor\"")
            .policy("block.local", "bad.example.com CNAME *.")
            .policy_with("off.local", "*.example.com CNAME rpz-drop.", "mode = \"off\"")
    });
    assert_right(&stage.relay.ask("good.example.com", A), "good.example.com");
    let bad = stage.relay.ask("bad.example.com", A);
    assert_eq!((bad.rcode(), bad.answers.len()), ("NOERROR", 0), "the second zone acts");
    let seen: Vec<_> = stage
        .relay
        .hits(3)
        .iter()
        .map(|h| format!("{} {} {}", h["qname"], h["zone"], h["mode"]).replace(['"', '\\'], ""))
        .collect();
    for line in [
        "good.example.com watch.local monitor",
        "bad.example.com watch.local monitor",
        "bad.example.com block.local enforce",
    ] {
        assert!(seen.iter().any(|s| s == line), "{line} in {seen:?}");
    }
}

#[test]
fn everything_can_be_set_to_monitor() {
    let stage = Stage::with(|conf| {
        conf.policy("block.local", "bad.example.com CNAME .\ndrop.example.com CNAME rpz-drop.")
            .response_policy("mode = \"monitor\"")
    });
    for name in ["bad.example.com", "drop.example.com"] {
        assert_right(&stage.relay.ask(name, A), name);
    }
    for hit in stage.relay.hits(2) {
        assert_eq!(hit["mode"], "monitor");
    }
}

#[test]
fn a_zones_action_replaces_those_of_its_rules() {
    let rules = "x.example.com CNAME .\np.example.com CNAME rpz-passthru.";
    let with = |action: &str| {
        let line = format!("action = \"{action}\"");
        Stage::with(|conf| conf.policy_with("block.local", rules, &line))
    };
    for name in ["x.example.com", "p.example.com"] {
        assert_right(&with("passthru").relay.ask(name, A), name);
        assert_nxdomain(&with("nxdomain").relay.ask(name, A));
        assert_eq!(with("nodata").relay.ask(name, A).rcode(), "NOERROR");
        assert!(with("tcp-only").relay.ask(name, A).has(TC));
        let garden = with("cname:garden.example.net").relay.ask(name, A);
        assert_eq!(garden.data(CNAME), ["garden.example.net"]);
        assert_eq!(garden.data(A), [address_of("garden.example.net")]);
        with("drop").relay.client().expect_silence(&Query::new(name, A).bytes());
    }
}

/// first → second → third, which has an address.
fn add_chain(stage: &Stage) {
    stage.backend.add(&[
        Record::cname("first.example.com", 300, "second.example.com"),
        Record::cname("second.example.com", 300, "third.example.com"),
        Record::a("third.example.com", 300, "192.0.2.3"),
    ]);
}

#[test]
fn a_chain_of_aliases_is_judged_link_by_link() {
    let rows: [(&str, &str, &[&str], &str); 6] = [
        ("second.example.com CNAME .", "NXDOMAIN", &["second.example.com"], ""),
        ("third.example.com CNAME .", "NXDOMAIN", &["second.example.com", "third.example.com"], ""),
        ("third.example.com CNAME *.", "NOERROR", &["second.example.com", "third.example.com"], ""),
        ("second.example.com A 192.0.2.9", "NOERROR", &["second.example.com"], "192.0.2.9"),
        (
            "second.example.com CNAME rpz-passthru.\nthird.example.com CNAME .",
            "NOERROR",
            &["second.example.com", "third.example.com"],
            "192.0.2.3",
        ),
        ("first.example.com CNAME .\nthird.example.com A 192.0.2.9", "NXDOMAIN", &[], ""),
    ];
    for (rules, rcode, links, address) in rows {
        let stage = with_rules(rules);
        add_chain(&stage);
        for fresh_or_cached in 0..2 {
            let reply = stage.relay.ask("first.example.com", A);
            assert_eq!(reply.rcode(), rcode, "{rules} ({fresh_or_cached})");
            assert_eq!(reply.data(CNAME), links, "{rules} ({fresh_or_cached})");
            assert_eq!(reply.data(A).join(" "), address, "{rules} ({fresh_or_cached})");
        }
    }
    let stage = with_rules("third.example.com CNAME rpz-drop.");
    add_chain(&stage);
    stage.relay.client().expect_silence(&Query::new("first.example.com", A).bytes());
}

#[test]
fn an_early_link_in_a_later_zone_comes_before_a_late_link_in_an_earlier_zone() {
    let stage = Stage::with(|conf| {
        conf.policy("one.local", "third.example.com A 192.0.2.9")
            .policy("two.local", "second.example.com CNAME .")
    });
    add_chain(&stage);
    let reply = stage.relay.ask("first.example.com", A);
    assert_eq!((reply.rcode(), reply.data(CNAME)), ("NXDOMAIN", vec!["second.example.com".into()]));
}

#[test]
fn a_garden_is_resolved_and_not_judged() {
    let stage = with_rules(
        "bad.example.com     CNAME garden.example.net.
         lost.example.com    CNAME nowhere.example.net.
         broken.example.com  CNAME broken.example.net.
         garden.example.net  CNAME .",
    );
    stage.backend.add(&[
        Record::cname("garden.example.net", 300, "host.example.net"),
        Record::a("host.example.net", 300, "192.0.2.80"),
    ]);
    stage.backend.world(|w| w.remove("nowhere.example.net"));
    stage.backend.set_for("broken.example.net", Script::servfail());
    let reply = stage.relay.ask("bad.example.com", A);
    assert_eq!(reply.rcode(), "NOERROR");
    assert_eq!(reply.data(CNAME), ["garden.example.net", "host.example.net"]);
    assert_eq!(reply.data(A), ["192.0.2.80"]);
    let lost = stage.relay.ask("lost.example.com", A);
    assert_eq!((lost.rcode(), lost.data(CNAME)), ("NXDOMAIN", vec!["nowhere.example.net".into()]));
    let broken = stage.relay.ask("broken.example.com", A);
    assert_eq!((broken.rcode(), broken.data(A)), ("SERVFAIL", vec![]));
    assert_nxdomain(&stage.relay.ask("garden.example.net", A));
    assert_eq!(stage.backend.asked("bad.example.com"), 0);
}

#[test]
fn a_garden_whose_name_does_not_fit_fails_closed() {
    let long = format!("{}.{}.{}", "a".repeat(60), "b".repeat(60), "c".repeat(60));
    let stage = with_rules(&format!("*.each.example.com CNAME *.{long}."));
    let name = format!("{}.{}.each.example.com", "x".repeat(60), "y".repeat(60));
    let reply = stage.relay.ask(&name, A);
    assert_eq!(reply.data(A), [""; 0], "never the truth: {reply:?}");
    assert!(["YXDOMAIN", "SERVFAIL", "NXDOMAIN"].contains(&reply.rcode()), "{reply:?}");
    assert_eq!(stage.backend.asked(&name), 0);
}

#[test]
fn there_is_no_way_round_a_rule() {
    let stage = with_rules("*.bad.example.com CNAME .\nbad.example.com CNAME .");
    stage.backend.world(|w| w.sign("bad.example.com"));
    let headers = [RD, RD | CD, RD | AD, RD | CD | AD, 0, CD, RD | Z];
    let types = [A, AAAA, ANY, TXT, MX, NS, SOA, CNAME, PTR, HTTPS, 64, 43, RRSIG, 65_400];
    let names = ["bad.example.com", "BAD.eXaMpLe.cOm", "www.bad.example.com"];
    for over in [Over::Udp, Over::Tcp] {
        for flags in headers {
            for qtype in types {
                for name in names {
                    let plain = Query::new(name, qtype).flags(flags);
                    let subnet = plain.clone().option(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2]);
                    let forms = [plain.clone().no_edns(), plain.clone().dnssec_ok(), subnet];
                    // Two of three forms over TCP are enough.
                    for query in forms.iter().skip(usize::from(over == Over::Tcp)) {
                        let reply = ask(over, stage.relay.address, query);
                        let what = format!("{name} {qtype} {flags:#x} {over:?}");
                        assert_eq!(reply.rcode(), "NXDOMAIN", "{what}: {reply:?}");
                        assert!(reply.answers.is_empty() && !reply.has(AD), "{what}: {reply:?}");
                    }
                }
            }
        }
    }
    assert_eq!(stage.backend.asked_below("example.com"), 0);
}

#[test]
fn signed_answers_are_exempt_only_if_the_operator_wants_it() {
    for exempt in [false, true] {
        let stage = Stage::with(|conf| {
            conf.policy("block.local", "*.example.com CNAME .")
                .response_policy(&format!("break_dnssec = {}", !exempt))
        });
        stage.backend.world(|w| w.sign("signed.example.com"));
        let signed = stage.relay.udp(&Query::new("signed.example.com", A).dnssec_ok());
        assert_eq!(signed.rcode(), if exempt { "NOERROR" } else { "NXDOMAIN" });
        assert_eq!(signed.answers.len(), if exempt { 2 } else { 0 });
        assert_nxdomain(&stage.relay.udp(&Query::new("plain.example.com", A).dnssec_ok()));
        assert_nxdomain(&stage.relay.ask("signed.example.com", A));
    }
}

#[test]
fn a_block_has_both_soas_an_extended_error_and_short_ttls() {
    let stage = with_rules(
        "nx.example.com   CNAME .
         data.example.com 900 A 192.0.2.1
         tiny.example.com 2 A 192.0.2.1
         go.example.com   900 CNAME garden.example.net.",
    );
    let nx = stage.relay.ask("nx.example.com", A);
    assert_eq!(Message::soa_owners(&nx.authority), ["nx.example.com"], "so that clients keep it");
    assert_eq!(Message::soa_owners(&nx.additional), ["block.local"], "so that people find it");
    assert_eq!(nx.extended_errors(), [15]);
    assert!(nx.authority[0].ttl <= 5 && nx.authority[0].ttl > 0, "{nx:?}");
    assert!(!nx.has(AA) && nx.has(RA) && nx.has(RD) && !nx.has(AD), "{nx:?}");
    assert_eq!(stage.relay.ask("data.example.com", A).ttl(), 5, "response_policy.max_ttl");
    assert_eq!(stage.relay.ask("tiny.example.com", A).ttl(), 2, "the rule's own");
    let garden = stage.relay.ask("go.example.com", A);
    assert_eq!(garden.answers.iter().map(|r| r.ttl).collect::<Vec<_>>(), [5, 300]);
    assert_eq!(garden.extended_errors(), [15]);
}

#[test]
fn the_shape_of_a_block_can_be_set() {
    let rules = "nx.example.com CNAME .\ndata.example.com 900 A 192.0.2.1";
    let stage = Stage::with(|conf| {
        let lines = "add_soa = false\nede = \"filtered\"\nmax_ttl = \"60s\"";
        conf.policy_with("block.local", rules, lines).response_policy("negative_soa = false")
    });
    let nx = stage.relay.ask("nx.example.com", A);
    assert_eq!((nx.authority.len(), nx.additional.len()), (0, 0), "{nx:?}");
    assert_eq!(nx.extended_errors(), [17]);
    assert_eq!(stage.relay.ask("data.example.com", A).ttl(), 60);
    let stage = Stage::with(|conf| conf.policy_with("block.local", rules, "ede = \"none\""));
    assert_eq!(stage.relay.ask("nx.example.com", A).extended_errors(), [0u16; 0]);
}

#[test]
fn a_zone_may_spare_queries_without_rd() {
    let stage = Stage::with(|conf| {
        conf.policy_with("block.local", "bad.example.com CNAME .", "recursive_only = true")
    });
    assert_nxdomain(&stage.relay.ask("bad.example.com", A));
    let reply = stage.relay.udp(&Query::new("bad.example.com", A).flags(0));
    assert_ne!(reply.rcode(), "NXDOMAIN", "not judged");
}

#[test]
fn waiting_for_the_truth_is_a_switch() {
    let rules = "bad.example.com CNAME .\nbroken.example.com CNAME .";
    for wait in [false, true] {
        let line = format!("wait = {wait}");
        let stage = Stage::with(|conf| conf.policy("block.local", rules).response_policy(&line));
        stage.backend.set_for("broken.example.com", Script::servfail());
        assert_nxdomain(&stage.relay.ask("bad.example.com", A));
        assert_eq!(stage.backend.asked("bad.example.com"), usize::from(wait));
        let broken = stage.relay.ask("broken.example.com", A).rcode();
        assert_eq!(broken, if wait { "SERVFAIL" } else { "NXDOMAIN" });
    }
}

#[test]
fn a_rule_for_everything_spares_the_root() {
    let stage = with_rules("* CNAME .");
    assert_nxdomain(&stage.relay.ask("www.example.com", A));
    assert_nxdomain(&stage.relay.ask("com", NS));
    assert_eq!(stage.relay.ask("", NS).rcode(), "NOERROR");
}

#[test]
fn owners_may_have_any_case_and_any_octet() {
    let stage = with_rules(
        r"MiXeD.Example.COM   CNAME .
          a\046b.example.com  CNAME .
          \255\000.example.com CNAME RPZ-Drop.",
    );
    assert_nxdomain(&stage.relay.ask("mixed.EXAMPLE.com", A));
    assert_nxdomain(&stage.relay.ask(r"a\.b.example.com", A));
    assert_right(&stage.relay.ask("a.b.example.com", A), "a.b.example.com");
    let odd = Query::new(r"\255\000.example.com", A);
    stage.relay.client().expect_silence(&odd.bytes());
}

#[test]
fn hosts_and_special_names_obey_local_policy_too() {
    let stage = Stage::with(|conf: Conf| {
        conf.local("[local.hosts]\n\"host.example.com\" = [\"10.0.0.9\"]")
            .policy("block.local", "host.example.com CNAME .\nx.localhost CNAME .")
    });
    assert_nxdomain(&stage.relay.ask("host.example.com", A));
    assert_nxdomain(&stage.relay.ask("x.localhost", A));
    assert_eq!(stage.relay.ask("localhost", A).data(A), ["127.0.0.1"]);
}

#[test]
fn a_dname_and_its_alias_are_one_link() {
    let stage = with_rules("www.new.example.com CNAME .");
    stage.backend.set_for(
        "www.old.example.com",
        Script::changed(|m| {
            m.answers = vec![
                Record::new("old.example.com", 300, 39, name_bytes("new.example.com")),
                Record::cname("www.old.example.com", 300, "www.new.example.com"),
                Record::a("www.new.example.com", 300, "192.0.2.3"),
            ];
        }),
    );
    let reply = stage.relay.ask("www.old.example.com", A);
    assert_eq!(reply.rcode(), "NXDOMAIN");
    assert_eq!(reply.answers.iter().map(|r| r.rtype).collect::<Vec<_>>(), [39, CNAME], "{reply:?}");
}

#[test]
fn a_loop_of_aliases_ends() {
    let stage = with_rules("bad.example.com CNAME .\nself.example.net CNAME self.example.net.");
    stage.backend.add(&[
        Record::cname("a.example.com", 300, "b.example.com"),
        Record::cname("b.example.com", 300, "a.example.com"),
    ]);
    let reply = stage.relay.ask("a.example.com", A);
    assert!(["NOERROR", "SERVFAIL"].contains(&reply.rcode()), "{reply:?}");
    // The old spelling of passthru: an alias to itself.
    assert_right(&stage.relay.ask("self.example.net", A), "self.example.net");
}

#[test]
fn a_stale_answer_is_judged_like_a_fresh_one() {
    let stage = Stage::with(|conf| conf.policy("block.local", "other.example.com CNAME ."));
    let names = ["brief.example.com", "alias.example.com", "clean.example.com"];
    stage.backend.add(&[
        Record::a(names[0], 1, "192.0.2.1"),
        Record::cname(names[1], 1, "target.example.com"),
        Record::a(names[2], 1, "192.0.2.3"),
    ]);
    for name in names {
        assert_eq!(stage.relay.ask(name, A).rcode(), "NOERROR");
    }
    stage.backend.die();
    let rules = "brief.example.com CNAME .\ntarget.example.com A 192.0.2.9";
    stage.relay.conf.write_zone("block.local", 2, rules);
    stage.relay.reload();
    eventually("the cached answers are stale", secs(8), || {
        let stale = stage.relay.ask(names[2], A).extended_errors() == [3];
        assert_nxdomain(&stage.relay.ask(names[0], A));
        let reply = stage.relay.ask(names[1], A);
        assert_eq!(reply.data(A), ["192.0.2.9"], "fresh or stale: {reply:?}");
        stale
    });
}
