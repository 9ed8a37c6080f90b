//! Every trigger with every action.

use super::{AAAA, Case};

/// A name with one address, whose zone has one server with one address, and a client.
fn case(source: &'static str) -> Case {
    Case::new(source)
        .data(
            "www.example.com  A    192.0.2.7
             www.example.com  AAAA 2001:db8::7
             www.example.com  TXT  truth
             example.com      NS   ns1.hoster.net
             ns1.hoster.net   A    198.51.100.7
             ns1.hoster.net   AAAA 2001:db8:53::7
             web.garden.net   A    192.0.2.80
             web.garden.net   AAAA 2001:db8::80
             www.example.com.garden.net A    192.0.2.81
             www.example.com.garden.net AAAA 2001:db8::81",
        )
        .ask("www.example.com A")
}

/// One expectation for those who ask for A, one for AAAA.
fn gives(case: Case, four: &str, six: &str) {
    let expected = if case.question.1 == AAAA { six } else { four };
    case.gives(expected);
}

macro_rules! with_every_action {
    ($trigger:ident, $owner:literal, $source:literal) => {
        with_every_action!($trigger, $owner, $source, |case| case);
    };
    ($trigger:ident, $owner:literal, $source:literal, $change:expr) => {
        mod $trigger {
            use super::{Case, case, gives};

            fn with(data: &str) -> Case {
                let change: fn(Case) -> Case = $change;
                let rules: Vec<_> = data.split('|').map(|d| format!("{} {d}", $owner)).collect();
                change(case(concat!($source, "; draft 3")).zone(&rules.join("\n")))
            }

            #[test]
            fn nxdomain() {
                with("CNAME .").gives("NXDOMAIN");
            }

            #[test]
            fn nodata() {
                with("CNAME *.").gives("NODATA");
            }

            #[test]
            fn passthru_shields_from_later_zones() {
                let case = with("CNAME rpz-passthru.").zone("www.example.com CNAME .");
                gives(case, "A 192.0.2.7", "AAAA 2001:db8::7");
            }

            #[test]
            fn drop_over_udp() {
                with("CNAME rpz-drop.").gives("silence");
            }

            #[test]
            fn drop_over_tcp() {
                with("CNAME rpz-drop.").tcp().gives("silence");
            }

            #[test]
            fn tcp_only_cuts_the_answer_over_udp() {
                with("CNAME rpz-tcp-only.").gives("TC");
            }

            #[test]
            fn tcp_only_is_passthru_over_tcp() {
                let case = with("CNAME rpz-tcp-only.").zone("www.example.com CNAME .").tcp();
                gives(case, "A 192.0.2.7", "AAAA 2001:db8::7");
            }

            #[test]
            fn local_data_of_the_type_asked_for() {
                let case = with("A 127.0.0.9|A 127.0.0.8|AAAA ::9|TXT local");
                gives(case, "A 127.0.0.8 A 127.0.0.9", "AAAA ::9");
            }

            #[test]
            fn local_data_without_the_type_is_nodata() {
                with("TXT local").gives("NODATA");
            }

            #[test]
            fn a_garden_is_resolved() {
                let [four, six] =
                    ["> web.garden.net A 192.0.2.80", "> web.garden.net AAAA 2001:db8::80"];
                gives(with("CNAME web.garden.net."), four, six);
            }

            #[test]
            fn a_garden_of_its_own_for_each_name() {
                let [four, six] = ["A 192.0.2.81", "AAAA 2001:db8::81"]
                    .map(|data| format!("> www.example.com.garden.net {data}"));
                gives(with("CNAME *.garden.net."), &four, &six);
            }
        }
    };
}

with_every_action!(client_ip, "32.1.0.77.127.rpz-client-ip", "draft 4.1");
with_every_action!(client_ip_of_a_network, "16.0.0.77.127.rpz-client-ip", "draft 4.1");
with_every_action!(client_ip6, "128.1.zz.rpz-client-ip", "draft 4.1", |case| case.from("::1"));
with_every_action!(qname, "www.example.com", "draft 4.2");
with_every_action!(qname_wildcard, "*.example.com", "draft 4.2");
with_every_action!(ip, "32.7.2.0.192.rpz-ip", "draft 4.3");
with_every_action!(ip_of_a_network, "24.0.2.0.192.rpz-ip", "draft 4.3");
with_every_action!(ip6, "128.7.zz.db8.2001.rpz-ip", "draft 4.3", |case| case
    .ask("www.example.com AAAA"));
with_every_action!(nsdname, "ns1.hoster.net.rpz-nsdname", "draft 4.4");
with_every_action!(nsdname_wildcard, "*.hoster.net.rpz-nsdname", "draft 4.4");
with_every_action!(nsip, "32.7.100.51.198.rpz-nsip", "draft 4.5");
with_every_action!(nsip6, "48.zz.53.db8.2001.rpz-nsip", "draft 4.5");

/// The old spelling of passthru: an alias to what triggered.
#[test]
fn an_alias_to_the_query_name_is_passthru() {
    case("draft 3.3").zone("www.example.com CNAME www.example.com.").gives("A 192.0.2.7");
}

#[test]
fn an_alias_to_the_labels_of_an_address_is_passthru() {
    case("BIND, rpz test2")
        .zone("32.7.2.0.192.rpz-ip CNAME 32.7.2.0.192.")
        .zone("www.example.com CNAME .")
        .gives("A 192.0.2.7");
}

#[test]
fn special_targets_have_any_case() {
    case("RFC 4343").zone("www.example.com CNAME RPZ-Drop.").gives("silence");
}

#[test]
fn a_dropped_query_does_not_leave_the_house() {
    let stage = case("draft 9.1").zone("www.example.com CNAME rpz-drop.").gives("silence");
    assert_eq!(stage.backend.asked("www.example.com"), 0);
}

#[test]
fn a_client_rule_acts_on_names_that_do_not_exist() {
    case("draft 4.1")
        .zone("32.1.0.77.127.rpz-client-ip A 127.0.0.9")
        .absent("www.example.com")
        .gives("A 127.0.0.9");
}

#[test]
fn a_client_rule_spares_the_neighbour() {
    case("draft 4.1")
        .zone("32.1.0.77.127.rpz-client-ip CNAME .")
        .from("127.77.0.2")
        .gives("A 192.0.2.7");
}

#[test]
fn an_address_rule_spares_other_types() {
    case("draft 4.3")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .ask("www.example.com TXT")
        .gives("TXT truth");
}

#[test]
fn an_address_rule_spares_the_other_family() {
    case("draft 4.3")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .ask("www.example.com AAAA")
        .gives("AAAA 2001:db8::7");
}

#[test]
fn an_address_rule_sees_only_the_answer_section() {
    case("draft 4.3")
        .zone("32.7.2.0.192.rpz-ip CNAME .")
        .data("mail.example.com MX www.example.com")
        .ask("mail.example.com MX")
        .gives("MX");
}
