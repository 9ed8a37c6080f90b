//! Rules that send people elsewhere: no policy applies behind a rule's own alias.

use super::Case;
use crate::harness::script::Script;

fn garden(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "www.example.com A     192.0.2.7
             web.garden.net  A     192.0.2.80
             gate.garden.net CNAME web.garden.net
             text.garden.net TXT   welcome",
        )
        .ask("www.example.com A")
}

#[test]
fn the_garden_is_not_judged_by_name() {
    garden("draft 6; BIND")
        .zone("www.example.com CNAME web.garden.net.\nweb.garden.net CNAME .")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn the_garden_is_not_judged_by_address() {
    garden("draft 6; BIND")
        .zone("www.example.com CNAME web.garden.net.\n32.80.2.0.192.rpz-ip CNAME .")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn an_earlier_zone_does_not_judge_the_garden_either() {
    garden("draft 6; BIND")
        .zone("32.80.2.0.192.rpz-ip CNAME .\nweb.garden.net CNAME .")
        .zone("www.example.com CNAME web.garden.net.")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn the_gardens_own_aliases_are_not_judged() {
    garden("draft 6; BIND")
        .zone("www.example.com CNAME gate.garden.net.\nweb.garden.net CNAME .")
        .gives("> gate.garden.net > web.garden.net A 192.0.2.80");
}

#[test]
fn the_gardens_servers_are_not_judged() {
    garden("draft 6; BIND")
        .data("garden.net NS ns1.hoster.net\nns1.hoster.net A 198.51.100.7")
        .zone("www.example.com CNAME web.garden.net.\n32.7.100.51.198.rpz-nsip CNAME .")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn a_garden_for_a_rule_by_address_is_not_judged() {
    garden("draft 6; BIND")
        .zone("32.7.2.0.192.rpz-ip CNAME web.garden.net.\n32.80.2.0.192.rpz-ip CNAME .")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn a_garden_at_the_end_of_an_alias() {
    garden("unbound, rpz_cname_handle")
        .data("first.example.org CNAME www.example.com")
        .zone("www.example.com CNAME web.garden.net.")
        .ask("first.example.org A")
        .gives("> www.example.com > web.garden.net A 192.0.2.80");
}

#[test]
fn a_garden_without_the_type() {
    garden("BIND").zone("www.example.com CNAME text.garden.net.").gives("NODATA > text.garden.net");
}

#[test]
fn a_garden_that_does_not_exist() {
    garden("BIND")
        .absent("none.garden.net")
        .zone("www.example.com CNAME none.garden.net.")
        .gives("NXDOMAIN > none.garden.net");
}

#[test]
fn a_garden_that_fails() {
    garden("BIND: nothing of the truth, and no alias into nothing")
        .script("web.garden.net", Script::servfail())
        .zone("www.example.com CNAME web.garden.net.")
        .gives("SERVFAIL");
}

#[test]
fn a_garden_that_fails_for_a_rule_by_address() {
    garden("BIND")
        .script("web.garden.net", Script::servfail())
        .zone("32.7.2.0.192.rpz-ip CNAME web.garden.net.")
        .gives("SERVFAIL");
}

#[test]
fn only_the_alias_for_those_who_ask_for_it() {
    let stage = garden("BIND; unbound, rpz_qtype_cname")
        .zone("www.example.com CNAME web.garden.net.")
        .ask("www.example.com CNAME")
        .gives("> web.garden.net");
    assert_eq!(stage.backend.asked("web.garden.net"), 0);
}

#[test]
fn only_the_alias_for_those_who_ask_for_anything() {
    garden("BIND")
        .zone("www.example.com CNAME web.garden.net.")
        .ask("www.example.com ANY")
        .gives("> web.garden.net");
}

#[test]
fn a_wildcard_target_takes_the_name_at_its_link() {
    garden("draft 3.6")
        .data("first.example.org CNAME www.example.com\nwww.example.com.garden.net A 192.0.2.81")
        .zone("www.example.com CNAME *.garden.net.")
        .ask("first.example.org A")
        .gives("> www.example.com > www.example.com.garden.net A 192.0.2.81");
}

#[test]
fn a_wildcard_target_under_a_rule_by_server() {
    garden("draft 3.6")
        .data("example.com NS ns1.hoster.net\nwww.example.com.garden.net A 192.0.2.81")
        .zone("ns1.hoster.net.rpz-nsdname CNAME *.garden.net.")
        .gives("> www.example.com.garden.net A 192.0.2.81");
}

#[test]
fn a_target_that_gets_too_long_is_an_error() {
    let long = ["a", "b", "c"].map(|c| c.repeat(60)).join(".");
    let name = ["x", "y"].map(|c| c.repeat(60)).join(".") + ".example.com";
    let stage = Case::new("BIND; RFC 6672 section 2.2")
        .zone(&format!("*.example.com CNAME *.{long}."))
        .ask(&format!("{name} A"))
        .gives("YXDOMAIN");
    assert_eq!(stage.backend.asked(&name), 0, "never the truth");
}

#[test]
fn a_garden_that_leads_back_to_the_name_shows_the_truth_behind_it() {
    Case::new("draft 6: no policy behind a rule's alias")
        .data("web.garden.net CNAME www.example.com\nwww.example.com A 192.0.2.7")
        .zone("other.example.com CNAME web.garden.net.\nwww.example.com CNAME .")
        .ask("other.example.com A")
        .gives("> web.garden.net > www.example.com A 192.0.2.7");
}

#[test]
fn a_circle_of_garden_aliases_ends() {
    let stage = Case::new("RFC 1034 section 3.6.2: a loop is caught")
        .data("a.garden.net CNAME b.garden.net\nb.garden.net CNAME a.garden.net")
        .zone("www.example.com CNAME a.garden.net.")
        .stage();
    let reply = stage.relay.ask("www.example.com", super::A);
    assert_eq!(reply.data(super::A).len(), 0, "{reply:?}");
    assert!(stage.backend.seen().requests.len() <= 20, "the loop is bounded");
}

#[test]
fn a_garden_is_found_in_any_case() {
    garden("RFC 4343")
        .zone("WWW.Example.COM CNAME WEB.Garden.Net.\nweb.garden.net CNAME .")
        .gives("> web.garden.net A 192.0.2.80");
}
