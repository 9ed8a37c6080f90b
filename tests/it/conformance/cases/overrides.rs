//! A zone's own action replaces those of its rules.

use super::Case;

fn with(action: &str) -> Case {
    Case::new("draft 6.1; BIND, rpz test5")
        .data(
            "www.example.com A 192.0.2.7
             web.garden.net  A 192.0.2.80
             www.example.com.garden.net A 192.0.2.81",
        )
        .zone_with(
            &format!("action = \"{action}\""),
            "www.example.com CNAME .
             mail.example.com CNAME rpz-passthru.
             32.7.2.0.192.rpz-ip CNAME *.
             32.1.0.77.127.rpz-client-ip A 127.0.0.9",
        )
        .from("127.77.0.2")
        .ask("www.example.com A")
}

#[test]
fn given_leaves_the_rules_as_they_are() {
    with("given").gives("NXDOMAIN");
}

#[test]
fn nxdomain() {
    with("nxdomain").ask("mail.example.com A").gives("NXDOMAIN");
}

#[test]
fn nodata() {
    with("nodata").gives("NODATA");
}

#[test]
fn passthru_shields_from_later_zones() {
    with("passthru").zone("www.example.com CNAME .").gives("A 192.0.2.7");
}

#[test]
fn drop_of_a_passthru_rule() {
    with("drop").ask("mail.example.com A").gives("silence");
}

#[test]
fn tcp_only() {
    with("tcp-only").gives("TC");
}

#[test]
fn a_garden() {
    with("cname:web.garden.net").gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn a_garden_for_each_name() {
    with("cname:*.garden.net").gives("> www.example.com.garden.net A 192.0.2.81");
}

#[test]
fn a_garden_for_a_rule_by_client() {
    with("cname:web.garden.net")
        .from("127.77.0.1")
        .ask("other.example.com A")
        .gives("> web.garden.net A 192.0.2.80");
}

#[test]
fn an_override_for_a_rule_by_address() {
    with("nxdomain")
        .data("second.example.com A 192.0.2.7")
        .ask("second.example.com A")
        .gives("NXDOMAIN");
}

#[test]
fn an_override_acts_in_its_own_zone_only() {
    with("nodata")
        .zone("second.example.com A 127.0.0.8")
        .ask("second.example.com A")
        .gives("A 127.0.0.8");
}
