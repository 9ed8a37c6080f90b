//! Chains of aliases: each link is judged like a query of its own, and the first hit ends it.

use super::{Case, DNAME};
use crate::harness::script::Script;
use crate::harness::wire::{Record, name_bytes};

/// first → second → third, which has an address; second's zone has a server.
fn chain(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "first.example.com   CNAME second.example.org
             second.example.org  CNAME third.example.net
             third.example.net   A     192.0.2.3
             example.org         NS    ns1.hoster.net
             ns1.hoster.net      A     198.51.100.7",
        )
        .ask("first.example.com A")
}

const TRUTH: &str = "> second.example.org > third.example.net A 192.0.2.3";

#[test]
fn links_before_the_hit_are_kept() {
    chain("draft 5.1; BIND")
        .zone("second.example.org CNAME .")
        .gives("NXDOMAIN > second.example.org");
}

#[test]
fn nodata_at_the_last_link() {
    chain("BIND, rpz test1")
        .zone("third.example.net CNAME *.")
        .gives("NODATA > second.example.org > third.example.net");
}

#[test]
fn local_data_at_the_second_link_cuts_off_the_third() {
    chain("BIND, rpz test1")
        .zone("second.example.org A 127.0.0.9")
        .gives("> second.example.org A 127.0.0.9");
}

#[test]
fn an_address_is_judged_at_the_link_that_owns_it() {
    chain("draft 4.3")
        .zone("32.3.2.0.192.rpz-ip CNAME .")
        .gives("NXDOMAIN > second.example.org > third.example.net");
}

#[test]
fn local_data_by_address_belongs_to_the_last_link() {
    chain("draft 4.3")
        .zone("32.3.2.0.192.rpz-ip A 127.0.0.9")
        .gives("> second.example.org > third.example.net A 127.0.0.9");
}

#[test]
fn servers_are_judged_at_each_link() {
    chain("draft 4.4")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .gives("NXDOMAIN > second.example.org");
}

#[test]
fn addresses_of_servers_are_judged_at_each_link() {
    chain("draft 4.5")
        .zone("32.7.100.51.198.rpz-nsip A 127.0.0.9")
        .gives("> second.example.org A 127.0.0.9");
}

#[test]
fn an_early_link_in_a_later_zone_before_a_late_link_in_an_earlier_zone() {
    chain("draft 5.1")
        .zone("third.example.net A 127.0.0.1")
        .zone("second.example.org A 127.0.0.2")
        .gives("> second.example.org A 127.0.0.2");
}

#[test]
fn the_name_in_a_later_zone_before_the_chains_address_in_an_earlier_zone() {
    chain("draft 5.1")
        .zone("32.3.2.0.192.rpz-ip A 127.0.0.1")
        .zone("first.example.com A 127.0.0.2")
        .gives("A 127.0.0.2");
}

#[test]
fn servers_of_an_early_link_before_the_name_of_a_late_one() {
    chain("draft 5.1")
        .zone("third.example.net A 127.0.0.1")
        .zone("ns1.hoster.net.rpz-nsdname A 127.0.0.2")
        .gives("> second.example.org A 127.0.0.2");
}

#[test]
fn passthru_at_an_early_link_shields_the_later_ones() {
    chain("draft 5.1; BIND")
        .zone("first.example.com CNAME rpz-passthru.\nthird.example.net CNAME .")
        .gives(TRUTH);
}

#[test]
fn passthru_at_an_early_link_shields_from_addresses() {
    chain("draft 5.1; BIND")
        .zone("32.3.2.0.192.rpz-ip CNAME .")
        .zone("second.example.org CNAME rpz-passthru.")
        .gives(TRUTH);
}

#[test]
fn passthru_at_a_late_link_comes_too_late_for_an_early_one() {
    chain("draft 5.1")
        .zone("second.example.org CNAME .\nthird.example.net CNAME rpz-passthru.")
        .gives("NXDOMAIN > second.example.org");
}

#[test]
fn passthru_for_the_client_shields_the_whole_chain() {
    chain("draft 4.1")
        .zone("32.1.0.77.127.rpz-client-ip CNAME rpz-passthru.\nsecond.example.org CNAME .")
        .gives(TRUTH);
}

#[test]
fn a_client_rule_takes_part_at_the_first_link_only() {
    chain("draft 5.1; BIND looks at the client once")
        .zone("second.example.org A 127.0.0.1")
        .zone("32.1.0.77.127.rpz-client-ip A 127.0.0.2")
        .gives("A 127.0.0.2");
}

#[test]
fn a_client_rule_takes_part_at_the_first_link_that_is_not_spared() {
    chain("BIND, break-dnssec: the signed link is spared, and the client is not asked about twice")
        .signed("first.example.com")
        .set("break_dnssec = false")
        .zone("32.1.0.77.127.rpz-client-ip CNAME .")
        .query(|query| query.dnssec_ok())
        .gives("NXDOMAIN > second.example.org");
}

#[test]
fn a_drop_at_a_late_link_drops_everything() {
    chain("draft 3.4").zone("third.example.net CNAME rpz-drop.").gives("silence");
}

#[test]
fn tcp_only_at_a_late_link_shows_no_link() {
    chain("draft 3.5").zone("third.example.net CNAME rpz-tcp-only.").gives("TC");
}

#[test]
fn tcp_only_over_tcp_shields_the_later_links() {
    chain("draft 3.5; BIND")
        .zone("first.example.com CNAME rpz-tcp-only.\nthird.example.net CNAME .")
        .tcp()
        .gives(TRUTH);
}

#[test]
fn a_rule_about_a_target_that_does_not_exist() {
    Case::new("BIND, rpz test1")
        .data("first.example.com CNAME missing.example.com")
        .absent("missing.example.com")
        .zone("missing.example.com A 127.0.0.9")
        .ask("first.example.com A")
        .gives("> missing.example.com A 127.0.0.9");
}

#[test]
fn a_question_for_the_alias_itself_has_one_link() {
    chain("BIND")
        .zone("second.example.org CNAME .")
        .ask("first.example.com CNAME")
        .gives("> second.example.org");
}

#[test]
fn a_wildcard_met_through_an_alias() {
    chain("unbound, rpz_cname_wild")
        .zone("*.example.org CNAME web.garden.net.")
        .data("web.garden.net A 192.0.2.80")
        .gives("> second.example.org > web.garden.net A 192.0.2.80");
}

/// www.old → www.new by a DNAME.
fn dname() -> Case {
    let script = Script::changed(|m| {
        m.authority.clear();
        m.answers = vec![
            Record::new("old.example.com", 300, DNAME, name_bytes("new.example.org")),
            Record::cname("www.old.example.com", 300, "www.new.example.org"),
            Record::a("www.new.example.org", 300, "192.0.2.3"),
        ];
    });
    Case::new("RFC 6672; BIND").script("www.old.example.com", script).ask("www.old.example.com A")
}

#[test]
fn a_dname_and_its_alias_are_one_link() {
    dname()
        .zone("www.new.example.org CNAME .")
        .gives("NXDOMAIN >> new.example.org > www.new.example.org");
}

#[test]
fn an_address_behind_a_dname_is_judged() {
    dname()
        .zone("32.3.2.0.192.rpz-ip A 127.0.0.9")
        .gives(">> new.example.org > www.new.example.org A 127.0.0.9");
}

#[test]
fn the_owner_of_a_dname_is_no_link() {
    dname()
        .zone("old.example.com CNAME .\nnew.example.org CNAME .")
        .gives(">> new.example.org > www.new.example.org A 192.0.2.3");
}
