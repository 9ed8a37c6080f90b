//! How rules are spelt, and that a misspelt one costs itself only.

use super::Case;

/// The rule is none, and the next line still is one.
fn costs_one_rule(owner: &str) {
    case(&format!("{owner} CNAME .")).gives("A 10.20.0.1");
    case(&format!("{owner} CNAME .\n16.0.0.20.10.rpz-ip CNAME *.")).gives("NODATA");
}

/// A name with an address that the misspelt rules seem to mean.
fn case(rules: &str) -> Case {
    Case::new("draft 4.1.1; BIND ignores the rule with a log line")
        .data("www.example.com A 10.20.0.1")
        .zone(rules)
        .ask("www.example.com A")
}

macro_rules! bad {
    ($($name:ident: $owner:literal;)*) => {$(
        #[test]
        fn $name() {
            costs_one_rule($owner);
        }
    )*};
}

bad! {
    a_prefix_too_long: "33.1.0.20.10.rpz-ip";
    a_prefix_of_zero: "0.0.0.0.0.rpz-ip";
    bits_behind_the_prefix: "24.1.0.20.10.rpz-ip";
    a_zero_before_the_prefix: "032.1.0.20.10.rpz-ip";
    a_zero_before_an_octet: "32.01.0.20.10.rpz-ip";
    an_octet_too_big: "32.257.0.20.10.rpz-ip";
    three_octets: "32.1.20.10.rpz-ip";
    five_octets: "32.1.1.0.20.10.rpz-ip";
    no_prefix: "1.0.20.10.rpz-ip";
    no_number: "32.one.0.20.10.rpz-ip";
    nothing_at_all: "rpz-ip";
    a_star: "*.20.10.rpz-ip";
    a_prefix_of_six_too_long: "129.1.zz.db8.2001.rpz-ip";
    two_gaps: "128.zz.1.zz.2001.rpz-ip";
    a_gap_that_leaves_a_zero_out: "128.1.zz.0.db8.2001.rpz-ip";
    zeros_without_a_gap: "128.1.0.0.0.0.0.db8.2001.rpz-ip";
    a_zero_before_a_word: "128.1.zz.0db8.2001.rpz-ip";
    a_word_too_big: "128.1.zz.10db8.2001.rpz-ip";
    no_hexadecimal: "128.g.zz.db8.2001.rpz-ip";
    bits_of_six_behind_the_prefix: "64.1.zz.db8.2001.rpz-ip";
    four_dressed_as_six: "128.a14.1.ffff.zz.rpz-ip";
}

fn six(owner: &str) -> Case {
    Case::new("draft 4.1.1")
        .data("www.example.com AAAA 2001:db8::1\nodd.example.com AAAA 2001:db8:0:1:0:0:0:1")
        .zone(&format!("{owner} CNAME ."))
        .ask("www.example.com AAAA")
}

#[test]
fn a_bad_spelling_of_six_does_not_act() {
    six("128.1.0.0.0.0.0.db8.2001.rpz-ip").gives("AAAA 2001:db8::1");
}

#[test]
fn a_prefix_of_six_with_bits_behind_it_does_not_act() {
    six("64.1.zz.db8.2001.rpz-ip").gives("AAAA 2001:db8::1");
}

#[test]
fn capitals_are_fine() {
    six("128.1.ZZ.DB8.2001.RPZ-IP").gives("NXDOMAIN");
}

#[test]
fn the_longest_run_of_zeros_is_the_gap() {
    six("128.1.zz.1.0.db8.2001.rpz-ip").ask("odd.example.com AAAA").gives("NXDOMAIN");
}

#[test]
fn a_shorter_run_as_the_gap_is_no_rule() {
    six("128.1.0.0.0.1.zz.db8.2001.rpz-ip")
        .ask("odd.example.com AAAA")
        .gives("AAAA 2001:db8:0:1::1");
}

#[test]
fn a_bad_rule_hides_no_good_one() {
    Case::new("BIND 9.20; 9.18 lets it hide shorter prefixes")
        .data("www.example.com AAAA 2001:db8::1")
        .zone("128.1.0.0.0.0.0.db8.2001.rpz-ip CNAME .\n32.zz.db8.2001.rpz-ip CNAME *.")
        .ask("www.example.com AAAA")
        .gives("NODATA");
}

#[test]
fn an_address_with_a_suffix_in_the_middle_is_a_name() {
    case("32.1.0.20.10.rpz-ip.example.com A 127.0.0.9")
        .ask("32.1.0.20.10.rpz-ip.example.com A")
        .gives("A 127.0.0.9");
}

#[test]
fn an_unknown_suffix_is_a_name() {
    case("www.example.com.rpz-later CNAME .").gives("A 10.20.0.1");
}

#[test]
fn an_unknown_action_is_no_rule() {
    Case::new("draft 3: reserved; deviation: BIND answers with the alias")
        .data("www.example.com A 10.20.0.1")
        .zone("www.example.com CNAME rpz-later.")
        .zone("www.example.com CNAME *.")
        .ask("www.example.com A")
        .gives("NODATA");
}

#[test]
fn a_name_below_an_action_is_no_rule() {
    case("www.example.com CNAME x.rpz-drop.").gives("A 10.20.0.1");
}

#[test]
fn records_of_zones_are_no_rules() {
    case("www.example.com NS ns.example.net.\nmail.example.com CNAME .").gives("A 10.20.0.1");
}

#[test]
fn rules_in_any_case_match_names_in_any_case() {
    case("wWw.eXample.COM CNAME .").ask("WWW.example.com A").gives("NXDOMAIN");
}

#[test]
fn a_dot_inside_a_label_is_no_border() {
    case(r"a\.www.example.com CNAME .").ask("a.www.example.com TXT").gives("NODATA");
}

#[test]
fn a_star_inside_a_name_is_a_letter() {
    case("x.*.example.com CNAME .").ask("x.*.example.com A").gives("NXDOMAIN");
}

#[test]
fn a_star_inside_a_name_is_no_wildcard() {
    case("x.*.example.com CNAME .")
        .data("x.y.example.com A 10.0.0.1")
        .ask("x.y.example.com A")
        .gives("A 10.0.0.1");
}
