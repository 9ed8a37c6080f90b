//! Which of several rules acts.

use super::Case;

/// A name that all five triggers can see.
fn case(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "www.example.com  A    192.0.2.7
             example.com      NS   ns1.hoster.net
             ns1.hoster.net   A    198.51.100.7",
        )
        .ask("www.example.com A")
}

const CLIENT: &str = "32.1.0.77.127.rpz-client-ip A 127.0.0.1";
const QNAME: &str = "www.example.com A 127.0.0.2";
const IP: &str = "32.7.2.0.192.rpz-ip A 127.0.0.3";
const NSDNAME: &str = "ns1.hoster.net.rpz-nsdname A 127.0.0.4";
const NSIP: &str = "32.7.100.51.198.rpz-nsip A 127.0.0.5";

/// Both rules in one zone, written in the wrong order.
fn in_one_zone(strong: &str, weak: &str) -> Case {
    case("draft 5.2").zone(&format!("{weak}\n{strong}"))
}

#[test]
fn client_before_qname() {
    in_one_zone(CLIENT, QNAME).gives("A 127.0.0.1");
}

#[test]
fn client_before_nsip() {
    in_one_zone(CLIENT, NSIP).gives("A 127.0.0.1");
}

#[test]
fn qname_before_ip() {
    in_one_zone(QNAME, IP).gives("A 127.0.0.2");
}

#[test]
fn qname_before_nsdname() {
    in_one_zone(QNAME, NSDNAME).gives("A 127.0.0.2");
}

#[test]
fn ip_before_nsdname() {
    in_one_zone(IP, NSDNAME).gives("A 127.0.0.3");
}

#[test]
fn ip_before_nsip() {
    in_one_zone(IP, NSIP).gives("A 127.0.0.3");
}

#[test]
fn nsdname_before_nsip() {
    in_one_zone(NSDNAME, NSIP).gives("A 127.0.0.4");
}

#[test]
fn the_action_is_no_precedence() {
    in_one_zone("www.example.com CNAME .", "32.7.2.0.192.rpz-ip CNAME rpz-passthru.")
        .gives("NXDOMAIN");
}

/// The stronger trigger stands in the second zone.
fn in_two_zones(first: &str, second: &str) -> Case {
    case("draft 5.1").zone(first).zone(second)
}

#[test]
fn ip_in_the_first_zone_before_qname_in_the_second() {
    in_two_zones(IP, QNAME).gives("A 127.0.0.3");
}

#[test]
fn ip_in_the_first_zone_before_client_in_the_second() {
    in_two_zones(IP, CLIENT).gives("A 127.0.0.3");
}

#[test]
fn nsdname_in_the_first_zone_before_qname_in_the_second() {
    in_two_zones(NSDNAME, QNAME).gives("A 127.0.0.4");
}

#[test]
fn nsip_in_the_first_zone_before_client_in_the_second() {
    in_two_zones(NSIP, CLIENT).gives("A 127.0.0.5");
}

#[test]
fn nsip_in_the_first_zone_before_ip_in_the_second() {
    in_two_zones(NSIP, IP).gives("A 127.0.0.5");
}

#[test]
fn qname_in_the_first_zone_before_client_in_the_second() {
    in_two_zones(QNAME, CLIENT).gives("A 127.0.0.2");
}

#[test]
fn a_passthru_by_address_shields_from_a_name_in_the_second_zone() {
    in_two_zones("32.7.2.0.192.rpz-ip CNAME rpz-passthru.", QNAME).gives("A 192.0.2.7");
}

#[test]
fn a_passthru_by_name_shields_from_an_address_in_the_second_zone() {
    in_two_zones("*.example.com CNAME rpz-passthru.", IP).gives("A 192.0.2.7");
}

#[test]
fn the_second_zone_acts_if_the_first_has_nothing_to_say() {
    in_two_zones("32.8.2.0.192.rpz-ip CNAME .", QNAME).gives("A 127.0.0.2");
}

#[test]
fn a_name_is_not_asked_for_if_no_earlier_zone_could_overrule() {
    let stage = in_two_zones(QNAME, IP).gives("A 127.0.0.2");
    assert_eq!(stage.backend.asked("www.example.com"), 0);
}

#[test]
fn a_name_is_asked_for_if_an_earlier_zone_could_overrule() {
    let stage = in_two_zones("32.8.2.0.192.rpz-ip CNAME .", QNAME).gives("A 127.0.0.2");
    assert_eq!(stage.backend.asked("www.example.com"), 1);
}

#[test]
fn a_later_zone_with_addresses_costs_no_look_up() {
    let stage = in_two_zones(&format!("{QNAME}\n{IP}"), NSIP).gives("A 127.0.0.2");
    assert_eq!(stage.backend.asked_below("net") + stage.backend.asked_below("com"), 0);
}

#[test]
fn an_exact_name_before_a_wildcard() {
    case("RFC 4592 section 3.3.1")
        .zone("*.example.com CNAME .\nwww.example.com CNAME *.")
        .gives("NODATA");
}

#[test]
fn a_long_wildcard_before_a_short_one() {
    case("draft 5.3").zone("*.com CNAME .\n*.example.com CNAME *.").gives("NODATA");
}

#[test]
fn an_earlier_wildcard_before_a_later_exact_name() {
    in_two_zones("*.com A 127.0.0.1", "www.example.com CNAME .").gives("A 127.0.0.1");
}

#[test]
fn a_wildcard_is_stopped_by_a_longer_rules_path() {
    case("draft 5.3; RFC 4592 section 2.2.2")
        .zone("*.com CNAME .\na.www.example.com CNAME .")
        .gives("A 192.0.2.7");
}

#[test]
fn names_of_servers_are_stopped_alike() {
    case("draft 5.3")
        .zone("*.net.rpz-nsdname CNAME .\na.ns1.hoster.net.rpz-nsdname CNAME .")
        .gives("A 192.0.2.7");
}

#[test]
fn a_rule_by_address_is_no_name_that_stops_a_wildcard() {
    case("draft 5.3")
        .zone("*.rpz-ip CNAME .\n32.7.2.0.192.rpz-ip CNAME *.\n*.com A 127.0.0.1")
        .gives("A 127.0.0.1");
}

/// An answer with these addresses.
fn addresses(lines: &[&str]) -> Case {
    let data: Vec<_> = lines.iter().map(|a| format!("many.example.com A {a}")).collect();
    Case::new("draft 5.4 and 5.6").data(&data.join("\n")).ask("many.example.com A")
}

const LONG_AND_SHORT: &str = "24.0.0.5.10.rpz-ip CNAME .\n32.77.2.0.192.rpz-ip CNAME rpz-passthru.";

#[test]
fn the_longest_prefix_over_all_addresses() {
    addresses(&["10.5.0.1", "192.0.2.77"]).zone(LONG_AND_SHORT).gives("A 10.5.0.1 A 192.0.2.77");
}

#[test]
fn the_longest_prefix_whatever_the_order() {
    addresses(&["192.0.2.77", "10.5.0.1"]).zone(LONG_AND_SHORT).gives("A 10.5.0.1 A 192.0.2.77");
}

#[test]
fn the_longest_prefix_around_one_address() {
    addresses(&["10.5.0.1"])
        .zone(
            "8.0.0.0.10.rpz-ip CNAME .
             16.0.0.5.10.rpz-ip CNAME *.
             24.0.1.5.10.rpz-ip A 127.0.0.1",
        )
        .gives("NODATA");
}

#[test]
fn one_blocked_address_blocks_the_whole_answer() {
    addresses(&["10.5.0.1", "192.0.2.77"]).zone("32.77.2.0.192.rpz-ip CNAME .").gives("NXDOMAIN");
}

#[test]
fn the_first_zones_short_prefix_before_the_seconds_long_one() {
    addresses(&["10.5.0.1"])
        .zone("8.0.0.0.10.rpz-ip A 127.0.0.1")
        .zone("32.1.0.5.10.rpz-ip A 127.0.0.2")
        .gives("A 127.0.0.1");
}

#[test]
fn equal_prefixes_are_ordered_by_their_labels() {
    addresses(&["10.7.0.9", "10.8.0.1"])
        .zone("32.9.0.7.10.rpz-ip A 127.0.0.9\n32.1.0.8.10.rpz-ip A 127.0.0.8")
        .gives("A 127.0.0.8");
}

#[test]
fn equal_prefixes_are_ordered_alike_whatever_the_order_of_records() {
    addresses(&["10.8.0.1", "10.7.0.9"])
        .zone("32.1.0.8.10.rpz-ip A 127.0.0.8\n32.9.0.7.10.rpz-ip A 127.0.0.9")
        .gives("A 127.0.0.8");
}

#[test]
fn the_longest_prefix_around_the_client() {
    case("draft 5.6")
        .zone("8.0.0.0.127.rpz-client-ip CNAME .\n24.0.0.77.127.rpz-client-ip CNAME *.")
        .gives("NODATA");
}

#[test]
fn the_longest_prefix_over_all_servers() {
    case("draft 5.6")
        .data("example.com NS ns2.hoster.net\nns2.hoster.net A 203.0.113.9")
        .zone("32.9.113.0.203.rpz-nsip CNAME *.\n24.0.100.51.198.rpz-nsip CNAME .")
        .gives("NODATA");
}

#[test]
fn of_two_server_names_the_last_one_in_canonical_order() {
    case("draft 5.5; RFC 4034 section 6.1")
        .data("example.com NS ns2.hoster.net")
        .zone("ns1.hoster.net.rpz-nsdname CNAME .\nns2.hoster.net.rpz-nsdname CNAME *.")
        .gives("NODATA");
}

#[test]
fn the_last_server_name_also_when_the_rules_are_reversed() {
    case("draft 5.5; RFC 4034 section 6.1")
        .data("example.com NS ns2.hoster.net")
        .zone("ns2.hoster.net.rpz-nsdname CNAME .\nns1.hoster.net.rpz-nsdname CNAME *.")
        .gives("NXDOMAIN");
}

#[test]
fn the_two_families_are_apart() {
    Case::new("deviation: BIND keeps IPv4 at ::ffff:0:0/96")
        .data("www.example.com A 192.0.2.7")
        .zone("1.zz.rpz-ip CNAME .\n32.9.9.9.9.rpz-ip CNAME .")
        .ask("www.example.com A")
        .gives("A 192.0.2.7");
}

#[test]
fn servers_in_the_first_zone_before_qname_in_the_second_although_the_name_fails() {
    in_two_zones(NSDNAME, QNAME)
        .script("www.example.com", crate::harness::script::Script::servfail())
        .gives("A 127.0.0.4");
}
