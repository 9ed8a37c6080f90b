//! Unusual questions: ANY, odd types, the root, RD=0, DO.

use super::Case;
use crate::harness::wire::{AD, CD, RD};

fn case(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "www.example.com A 192.0.2.7
             www.example.com TXT truth
             example.com NS ns1.hoster.net
             ns1.hoster.net A 198.51.100.7",
        )
        .ask("www.example.com A")
}

#[test]
fn any_gets_all_local_data() {
    case("draft 3.6")
        .zone("www.example.com A 127.0.0.9\nwww.example.com TXT local")
        .ask("www.example.com ANY")
        .gives("A 127.0.0.9 TXT local");
}

#[test]
fn any_of_a_denied_name() {
    case("draft 3.1").zone("www.example.com CNAME .").ask("www.example.com ANY").gives("NXDOMAIN");
}

#[test]
fn any_of_a_name_without_data() {
    case("draft 3.2").zone("www.example.com CNAME *.").ask("www.example.com ANY").gives("NODATA");
}

#[test]
fn any_is_no_way_round_an_address_rule() {
    case("BIND").zone("32.7.2.0.192.rpz-ip CNAME .").ask("www.example.com ANY").gives("NXDOMAIN");
}

#[test]
fn an_unknown_type_of_a_denied_name() {
    case("draft 3.1")
        .zone("www.example.com CNAME .")
        .ask("www.example.com TYPE65400")
        .gives("NXDOMAIN");
}

#[test]
fn servers_of_a_name_with_local_data() {
    case("BIND").zone("example.com A 127.0.0.9").ask("example.com NS").gives("NODATA");
}

#[test]
fn start_of_authority_of_a_denied_name() {
    case("BIND").zone("example.com CNAME .").ask("example.com SOA").gives("NXDOMAIN");
}

#[test]
fn the_root_is_never_rewritten_by_name() {
    Case::new("BIND").data(". NS a.root.net").zone("* CNAME .").ask(". NS").gives("NS a.root.net");
}

#[test]
fn the_root_is_never_rewritten_by_client() {
    Case::new("BIND")
        .data(". NS a.root.net")
        .zone("32.1.0.77.127.rpz-client-ip CNAME .")
        .ask(". NS")
        .gives("NS a.root.net");
}

#[test]
fn everything_but_the_root_is_below_the_root() {
    case("draft 4.2").zone("* CNAME .").gives("NXDOMAIN");
}

#[test]
fn data_at_the_origin_is_no_rule() {
    case("draft 2").zone("@ A 127.0.0.9").gives("A 192.0.2.7");
}

#[test]
fn without_rd_a_zone_may_stand_aside() {
    case("BIND, recursive-only")
        .zone_with("recursive_only = true", "www.example.com CNAME .")
        .zone("www.example.com CNAME *.")
        .query(|query| query.flags(0))
        .gives("NODATA");
}

#[test]
fn without_rd_a_zone_acts_by_default() {
    case("RD=0 is no way round the policy")
        .zone("www.example.com CNAME .")
        .query(|query| query.flags(0))
        .gives("NXDOMAIN");
}

#[test]
fn checking_disabled_is_no_way_round() {
    case("RFC 4035 section 3.2.2 says nothing of policy")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .query(|query| query.flags(RD | CD | AD))
        .gives("NXDOMAIN");
}

#[test]
fn no_edns_is_no_way_round() {
    case("RFC 6891 says nothing of policy")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .")
        .query(|query| query.no_edns())
        .gives("NXDOMAIN");
}

/// The name is signed, the question has DO.
fn signed(rules: &str, break_dnssec: bool) -> Case {
    case("draft 6; BIND, break-dnssec")
        .signed("www.example.com")
        .set(&format!("break_dnssec = {break_dnssec}"))
        .zone(rules)
        .query(|query| query.dnssec_ok())
}

#[test]
fn a_signed_answer_is_spared_from_a_rule_by_name() {
    signed("www.example.com CNAME .", false).gives("A 192.0.2.7 RRSIG");
}

#[test]
fn a_signed_answer_is_spared_from_a_rule_by_address() {
    signed("32.7.2.0.192.rpz-ip CNAME .", false).gives("A 192.0.2.7 RRSIG");
}

#[test]
fn a_signed_answer_is_spared_from_a_rule_by_client() {
    signed("32.1.0.77.127.rpz-client-ip CNAME .", false).gives("A 192.0.2.7 RRSIG");
}

#[test]
fn a_signed_answer_is_spared_from_a_rule_by_server() {
    signed("ns1.hoster.net.rpz-nsdname CNAME .", false).gives("A 192.0.2.7 RRSIG");
}

#[test]
fn a_signed_answer_is_not_spared_by_default() {
    case("DO=1 is no way round the policy")
        .signed("www.example.com")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .query(|query| query.dnssec_ok())
        .gives("NXDOMAIN");
}

#[test]
fn local_data_for_a_signed_name_has_no_signature() {
    signed("www.example.com A 127.0.0.9", true).gives("A 127.0.0.9");
}

#[test]
fn a_signed_answer_is_not_spared_without_do() {
    case("draft 6")
        .signed("www.example.com")
        .set("break_dnssec = false")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn an_unsigned_answer_is_not_spared_with_do() {
    case("draft 6")
        .set("break_dnssec = false")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .query(|query| query.dnssec_ok())
        .gives("NXDOMAIN");
}

#[test]
fn with_wait_a_failure_of_the_upstream_stays_one() {
    case("BIND, qname-wait-recurse")
        .script("www.example.com", crate::harness::script::Script::servfail())
        .set("wait = true")
        .zone("www.example.com A 127.0.0.9")
        .gives("SERVFAIL");
}

#[test]
fn without_wait_a_rule_hides_a_failure_of_the_upstream() {
    case("BIND, qname-wait-recurse no")
        .script("www.example.com", crate::harness::script::Script::servfail())
        .zone("www.example.com A 127.0.0.9")
        .gives("A 127.0.0.9");
}
