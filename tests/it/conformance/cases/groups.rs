//! Clients with policy zones and upstreams of their own.

use super::Case;

/// one.rpz denies, two.rpz says NODATA, three.rpz has local data.
fn case(group: &str) -> Case {
    Case::new("[[group]] in docs/CONFIG.md")
        .data("www.example.com A 192.0.2.7")
        .zone("www.example.com CNAME .")
        .zone("www.example.com CNAME *.")
        .zone("32.7.2.0.192.rpz-ip A 127.0.0.9\nwww.example.org A 127.0.0.8")
        .with(&format!("[[group]]\nname = \"guests\"\nclients = [\"127.77.8.0/24\"]\n{group}"))
        .from("127.77.8.1")
        .ask("www.example.com A")
}

#[test]
fn a_group_has_the_zones_of_its_list_only() {
    case("policies = [\"two.rpz\"]").gives("NODATA");
}

#[test]
fn others_have_all_zones() {
    case("policies = [\"two.rpz\"]").from("127.77.9.1").gives("NXDOMAIN");
}

#[test]
fn a_groups_list_has_its_own_order() {
    case("policies = [\"two.rpz\", \"one.rpz\"]").gives("NODATA");
}

#[test]
fn a_groups_order_holds_between_names_and_addresses() {
    case("policies = [\"three.rpz\", \"one.rpz\"]").gives("A 127.0.0.9");
}

#[test]
fn the_usual_order_between_names_and_addresses() {
    case("policies = [\"one.rpz\", \"three.rpz\"]").gives("NXDOMAIN");
}

#[test]
fn an_empty_list_filters_nothing() {
    case("policies = []").gives("A 192.0.2.7");
}

#[test]
fn a_group_without_a_list_has_all_zones() {
    case("").gives("NXDOMAIN");
}

#[test]
fn the_longest_prefix_of_all_groups() {
    case("policies = [\"two.rpz\"]")
        .with("[[group]]\nname = \"one\"\nclients = [\"127.77.8.1\"]\npolicies = [\"three.rpz\"]")
        .gives("A 127.0.0.9");
}

#[test]
fn the_shorter_prefix_for_the_rest() {
    case("policies = [\"two.rpz\"]")
        .with("[[group]]\nname = \"one\"\nclients = [\"127.77.8.1\"]\npolicies = [\"three.rpz\"]")
        .from("127.77.8.2")
        .gives("NODATA");
}

#[test]
fn one_clients_answer_is_not_anothers() {
    let stage = case("policies = [\"three.rpz\"]").gives("A 127.0.0.9");
    let query = crate::harness::wire::Query::new("www.example.com", super::A);
    let reply = stage.relay.udp(&query);
    assert_eq!(reply.rcode(), "NXDOMAIN", "another client, the same cache: {reply:?}");
}

#[test]
fn a_group_has_an_upstream_of_its_own() {
    use crate::harness::backend::Backend;
    use crate::harness::client::Udp;
    use crate::harness::conf::Conf;
    use crate::harness::tls::{HOST, Tls};
    use crate::harness::wire::{A, Query, Record};
    let tls = Tls::new();
    let (usual, own) = (Backend::start(&tls), Backend::start(&tls));
    usual.add(&[Record::a("www.example.com", 300, "192.0.2.1")]);
    own.add(&[Record::a("www.example.com", 300, "192.0.2.2")]);
    let (address, path) = (own.address, crate::harness::backend::PATH);
    let relay = Conf::before(&tls, &[&usual])
        .with(&format!(
            "[[upstream]]\nname = \"own\"\nurl = \"https://{HOST}:{}{path}\"\n\
             addresses = [\"{address}\"]\nca = \"{}\"",
            address.port(),
            tls.ca().display()
        ))
        .with("[[group]]\nname = \"guests\"\nclients = [\"127.77.8.0/24\"]\nupstream = \"own\"")
        .start();
    for (client, expected) in
        [("127.77.8.1", "192.0.2.2"), ("127.77.9.1", "192.0.2.1"), ("127.77.8.1", "192.0.2.2")]
    {
        let client = Udp::from(client.parse().expect("an address"), relay.address);
        assert_eq!(client.ask(&Query::new("www.example.com", A)).data(A), [expected]);
    }
}
