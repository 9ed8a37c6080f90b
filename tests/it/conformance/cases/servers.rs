//! Rules about name servers: which are looked up, over what, and how many at most.

use super::Case;
use crate::harness::script::Script;
use crate::harness::stage::Stage;
use crate::harness::wire::{A, AAAA, NS, Query, Record, name_bytes};
use std::collections::BTreeSet;

/// The whole way up from a name.
fn case(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "www.sub.example.com A    192.0.2.7
             sub.example.com     NS   ns.sub.example.com
             ns.sub.example.com  A    198.51.100.1
             example.com         NS   ns1.hoster.net
             ns1.hoster.net      A    198.51.100.2
             ns1.hoster.net      AAAA 2001:db8:53::2
             com                 NS   a.gtld.net
             a.gtld.net          A    198.51.100.3
             .                   NS   a.root.net
             a.root.net          A    198.51.100.4",
        )
        .ask("www.sub.example.com A")
}

const TRUTH: &str = "A 192.0.2.7";

#[test]
fn the_zone_of_the_name() {
    case("draft 4.4").zone("ns.sub.example.com.rpz-nsdname CNAME .").gives("NXDOMAIN");
}

#[test]
fn the_zone_above_it() {
    case("draft 4.4").zone("ns1.hoster.net.rpz-nsdname CNAME .").gives("NXDOMAIN");
}

#[test]
fn an_address_of_a_server_above() {
    case("draft 4.5").zone("32.2.100.51.198.rpz-nsip CNAME .").gives("NXDOMAIN");
}

#[test]
fn names_without_a_dot_are_left_out() {
    case("BIND, min-ns-dots")
        .zone("a.gtld.net.rpz-nsdname CNAME .\n32.3.100.51.198.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn names_without_a_dot_on_wish() {
    case("BIND, min-ns-dots 0")
        .set("min_ns_dots = 0")
        .zone("a.gtld.net.rpz-nsdname CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn the_servers_of_the_root_are_never_looked_at() {
    case("BIND, min-ns-dots 0")
        .set("min_ns_dots = 0")
        .zone("a.root.net.rpz-nsdname CNAME .\n32.4.100.51.198.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn more_dots_leave_out_more() {
    case("BIND, min-ns-dots")
        .set("min_ns_dots = 2")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .gives(TRUTH);
}

#[test]
fn server_names_can_be_left_alone() {
    case("BIND, nsdname-enable")
        .set("nsdname = false")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .gives(TRUTH);
}

#[test]
fn server_addresses_can_be_left_alone() {
    case("BIND, nsip-enable")
        .set("nsip = false")
        .zone("32.2.100.51.198.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn the_backends_own_address_is_nobodys_name_server() {
    case("a relay must not block everything because of where it asks")
        .zone("8.0.0.0.127.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn the_root_as_a_server_is_no_server() {
    Case::new("BIND; RFC 7505 in spirit")
        .data("www.example.com A 192.0.2.7\nexample.com NS .")
        .zone("*.rpz-nsdname CNAME .\n32.2.100.51.198.rpz-nsip CNAME .")
        .ask("www.example.com A")
        .gives(TRUTH);
}

/// The server is an alias, which RFC 2181 section 10.3 forbids.
fn alias() -> Case {
    Case::new("BIND").ask("www.example.com A").data(
        "www.example.com A 192.0.2.7
         example.com     NS ns.alias.net
         ns.alias.net    CNAME ns1.hoster.net
         ns1.hoster.net  A 198.51.100.2",
    )
}

#[test]
fn a_server_that_is_an_alias_counts_by_name() {
    alias().zone("ns.alias.net.rpz-nsdname CNAME .").gives("NXDOMAIN");
}

#[test]
fn a_server_that_is_an_alias_does_not_count_by_its_target() {
    alias().zone("ns1.hoster.net.rpz-nsdname CNAME .").gives(TRUTH);
}

#[test]
fn a_server_that_is_an_alias_does_not_count_by_address() {
    alias().zone("32.2.100.51.198.rpz-nsip CNAME .").gives(TRUTH);
}

#[test]
fn a_server_without_an_address_is_no_match() {
    case("BIND")
        .absent("ns1.hoster.net")
        .data("example.com NS gone.hoster.net")
        .absent("gone.hoster.net")
        .zone("32.9.100.51.198.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn one_of_two_servers_is_listed() {
    case("draft 4.5")
        .data("example.com NS gone.hoster.net")
        .absent("gone.hoster.net")
        .zone("32.2.100.51.198.rpz-nsip CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn a_servers_address_that_cannot_be_looked_up_is_no_match() {
    case("deviation: BIND answers SERVFAIL")
        .script("ns1.hoster.net", Script::servfail())
        .zone("32.9.100.51.198.rpz-nsip CNAME .")
        .gives(TRUTH);
}

#[test]
fn a_server_set_that_cannot_be_looked_up_is_no_match() {
    case("deviation: BIND answers SERVFAIL")
        .script("example.com", Script::servfail())
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .gives(TRUTH);
}

#[test]
fn one_server_set_that_fails_does_not_hide_the_one_above() {
    case("draft 4.4")
        .script("sub.example.com", Script::servfail())
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn one_server_that_fails_does_not_hide_another() {
    case("draft 4.5")
        .data("example.com NS ns2.hoster.net\nns2.hoster.net A 203.0.113.9")
        .script("ns1.hoster.net", Script::servfail())
        .zone("32.9.113.0.203.rpz-nsip CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn the_servers_name_counts_although_its_address_fails() {
    case("draft 4.4")
        .script("ns1.hoster.net", Script::servfail())
        .zone("ns1.hoster.net.rpz-nsdname CNAME .\n32.9.100.51.198.rpz-nsip CNAME *.")
        .gives("NXDOMAIN");
}

#[test]
fn a_name_that_does_not_exist_has_servers_too() {
    case("draft 4.4")
        .absent("none.sub.example.com")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .ask("none.sub.example.com A")
        .gives("NXDOMAIN");
}

#[test]
fn local_data_by_server_for_a_name_that_does_not_exist() {
    case("draft 4.4")
        .absent("none.sub.example.com")
        .zone("ns1.hoster.net.rpz-nsdname A 127.0.0.9")
        .ask("none.sub.example.com A")
        .gives("A 127.0.0.9");
}

#[test]
fn nothing_is_looked_up_without_such_rules() {
    let stage = case("cost").zone("32.9.9.9.9.rpz-ip CNAME .").gives(TRUTH);
    assert_eq!(stage.backend.seen().requests.len(), 1);
}

#[test]
fn nothing_is_looked_up_for_what_is_outranked() {
    let stage = case("draft 5.2")
        .zone("*.example.com A 127.0.0.9\nns1.hoster.net.rpz-nsdname CNAME .")
        .gives("A 127.0.0.9");
    assert_eq!(stage.backend.seen().requests.len(), 0);
}

#[test]
fn addresses_are_not_looked_up_for_rules_by_name() {
    let stage = case("cost").zone("other.hoster.net.rpz-nsdname CNAME .").gives(TRUTH);
    assert_eq!(stage.backend.asked("ns1.hoster.net"), 0);
}

#[test]
fn a_look_up_is_kept_for_the_neighbours() {
    let stage = case("cost").zone("32.9.100.51.198.rpz-nsip CNAME .").gives(TRUTH);
    let look_ups = || stage.backend.asked("ns1.hoster.net") + stage.backend.asked("example.com");
    let before = look_ups();
    for n in 0..5 {
        stage.relay.ask(&format!("n{n}.sub.example.com"), A);
    }
    assert_eq!(look_ups(), before);
}

#[test]
fn look_ups_are_questions_of_the_relay_itself() {
    let stage = case("RFC 8484 section 8")
        .zone("32.9.100.51.198.rpz-nsip CNAME .")
        .query(|query| query.option(crate::harness::wire::CLIENT_SUBNET, &[0, 1, 24, 0, 9, 9, 9]))
        .gives(TRUTH);
    let request = stage.backend.request("example.com");
    let (_, qtype, class) = request.query.question.expect("a question");
    assert_eq!((qtype, class), (NS, 1));
    assert!(request.query.edns.is_none_or(|e| e.options.iter().all(|(code, _)| *code != 8)));
}

#[test]
fn a_hit_does_not_depend_on_a_cold_cache() {
    for n in 0..5 {
        let stage = case("a rule must act on the first query")
            .zone("32.2.100.51.198.rpz-nsip CNAME .")
            .stage();
        let reply = stage.relay.ask("www.sub.example.com", A);
        assert_eq!(reply.rcode(), "NXDOMAIN", "start {n}: {reply:?}");
    }
}

/// A zone with very many servers, none of which is listed.
fn crowd(script: Script) -> Stage {
    let stage = Case::new("a relay is no amplifier")
        .data("www.crowd.example A 192.0.2.7")
        .zone("32.9.100.51.198.rpz-nsip CNAME .\nother.hoster.net.rpz-nsdname CNAME .")
        .stage();
    let servers: Vec<_> = (0..1500).map(|n| format!("s{n}.hoster.net")).collect();
    let set = servers.iter().map(|s| Record::new("crowd.example", 300, NS, name_bytes(s)));
    stage.backend.add(&set.collect::<Vec<_>>());
    for server in &servers {
        stage.backend.set_for(server, script.clone());
    }
    stage
}

/// Different questions for servers' addresses that the backend saw.
fn look_ups(stage: &Stage) -> usize {
    let questions = stage.backend.seen().requests.into_iter().filter_map(|r| r.query.question);
    let servers = questions.filter(|(name, ..)| name.ends_with(".hoster.net"));
    servers.map(|(name, qtype, _)| (name.to_lowercase(), qtype)).collect::<BTreeSet<_>>().len()
}

#[test]
fn a_crowd_of_servers_costs_64_look_ups() {
    let stage = crowd(Script::Answer);
    let reply = stage.relay.ask("www.crowd.example", A);
    assert_eq!(reply.data(A), ["192.0.2.7"], "{reply:?}");
    let all = stage.backend.seen().requests;
    let own = |name: &str| name == "www.crowd.example";
    let others = all.iter().filter_map(|r| r.query.question.as_ref()).filter(|q| !own(&q.0));
    let others: BTreeSet<_> = others.map(|(name, qtype, _)| (name.clone(), *qtype)).collect();
    assert!(others.len() <= 64, "{} look-ups for one query", others.len());
    assert!(others.iter().any(|(_, qtype)| [A, AAAA].contains(qtype)), "{others:?}");
}

#[test]
fn a_crowd_of_silent_servers_is_asked_16_at_a_time() {
    let stage = crowd(Script::Hang);
    let client = stage.relay.client();
    client.send(&Query::new("www.crowd.example", A).bytes());
    let answer = client.receive(crate::harness::PATIENCE);
    assert!(answer.is_some(), "the query is answered all the same");
    // None of them has ended: what was asked is what is in flight.
    assert_eq!(look_ups(&stage), 16, "at one time");
}

#[test]
fn an_answer_comes_although_every_look_up_hangs() {
    let stage = case("no query waits for ever")
        .script("ns1.hoster.net", Script::Hang)
        .script("ns.sub.example.com", Script::Hang)
        .zone("32.9.100.51.198.rpz-nsip CNAME .")
        .stage();
    let reply = stage.relay.ask("www.sub.example.com", A);
    assert!(["NOERROR", "SERVFAIL"].contains(&reply.rcode()), "{reply:?}");
}

#[test]
fn a_long_name_has_many_ancestors_and_few_look_ups() {
    let name = (0..60).map(|n| format!("l{n}.")).collect::<String>() + "example.com";
    let stage = Case::new("a relay is no amplifier")
        .data(&format!("{name} A 192.0.2.7"))
        .zone("32.9.100.51.198.rpz-nsip CNAME .\nother.hoster.net.rpz-nsdname CNAME .")
        .stage();
    assert_eq!(stage.relay.ask(&name, A).data(A), ["192.0.2.7"]);
    let asked = stage.backend.seen().requests.len();
    assert!(asked <= 1 + 64, "{asked} requests for one query");
}
