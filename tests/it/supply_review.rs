//! What an operator does to zones from elsewhere by a reload, while their source is of no help.

use crate::harness::primary::Primary;
use crate::harness::process::{LOCAL, free_port};
use crate::harness::relay::Relay;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, CNAME, Record};
use crate::harness::{eventually, secs};

const ZONE: &str = "feed.local";

fn block(name: &str) -> Record {
    Record::new(&format!("{name}.{ZONE}"), 300, CNAME, vec![0])
}

/// Changes the configuration, and has it read again.
fn change(relay: &Relay, from: &str, to: &str) {
    let text = std::fs::read_to_string(relay.conf.file()).expect("the configuration");
    assert!(text.contains(from), "{text}");
    std::fs::write(relay.conf.file(), text.replace(from, to)).expect("the new configuration");
    relay.reload();
}

fn zone_of(primary: std::net::SocketAddr, lines: &str) -> String {
    format!("[[policy]]\nzone = \"{ZONE}\"\nprimaries = [\"{primary}\"]\n{lines}")
}

#[test]
fn a_changed_zone_is_looked_at_at_once_and_its_rules_go_on() {
    let primary = Primary::start(ZONE);
    primary.version(1, &[block("old.example.com")]);
    let zone = zone_of(primary.address, "max_loss = 50");
    let stage = Stage::with(|conf| conf.with(&zone));
    let serial = |wanted: u32| stage.relay.zone(ZONE)["serial"] == wanted;
    eventually("the first version is there", secs(30), || serial(1));
    // by its own timers the next look is far away
    primary.version(2, &[block("new.example.com")]);
    change(&stage.relay, "max_loss = 50", "max_loss = 60");
    eventually("the second version is there", secs(30), || serial(2));
    assert_eq!(stage.relay.ask("new.example.com", A).rcode(), "NXDOMAIN");

    // another primary, which does not answer: the rules are still the old one's
    change(&stage.relay, &primary.address.to_string(), &free_port(LOCAL).to_string());
    eventually("it is asked in vain", secs(30), || {
        stage.relay.zone(ZONE)["supply"]["failed"] == true
    });
    assert_eq!(stage.relay.ask("new.example.com", A).rcode(), "NXDOMAIN");
    assert!(serial(2));
}

#[test]
fn queries_that_wait_for_a_zone_do_not_once_the_operator_says_so() {
    let zone = zone_of(free_port(LOCAL), "until_loaded = \"servfail\"");
    let stage = Stage::with(|conf| conf.with(&zone));
    assert_eq!(stage.relay.ask("www.example.com", A).rcode(), "SERVFAIL");
    change(&stage.relay, "\"servfail\"", "\"open-after-1s\"");
    eventually("queries are answered without it", secs(30), || {
        stage.relay.ask("www.example.com", A).rcode() == "NOERROR"
    });
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
    stage.relay.stderr_with("queries are answered WITHOUT it");
}
