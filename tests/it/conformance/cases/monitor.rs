//! Zones that only watch: nothing changes, nothing waits, everything is told.

use super::{A, Case};
use crate::harness::script::Script;
use crate::harness::stage::Stage;
use crate::harness::{eventually, millis, secs};

const MONITOR: &str = "mode = \"monitor\"";

fn case() -> Case {
    Case::new("BIND, policy disabled")
        .data(
            "www.example.com A 192.0.2.7
             example.com NS ns1.hoster.net
             ns1.hoster.net A 198.51.100.7",
        )
        .ask("www.example.com A")
}

/// Mode, trigger, zone of all hits so far, without repetitions.
fn told(stage: &Stage) -> Vec<String> {
    let mut told: Vec<_> = stage
        .relay
        .hit_lines()
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .map(|hit| ["mode", "trigger", "zone"].map(|k| hit[k].as_str().unwrap_or("-").to_owned()))
        .map(|parts| parts.join(" "))
        .collect();
    told.sort();
    told.dedup();
    told
}

#[track_caller]
fn tells(stage: &Stage, expected: &[&str]) {
    eventually(&format!("{expected:?} in the hit log"), secs(5), || {
        expected.iter().all(|line| told(stage).iter().any(|t| t == line))
    });
    assert_eq!(told(stage), expected);
}

macro_rules! watches {
    ($($name:ident: $owner:literal, $trigger:literal;)*) => {$(
        #[test]
        fn $name() {
            let stage = case().zone_with(MONITOR, concat!($owner, " CNAME .")).gives("A 192.0.2.7");
            tells(&stage, &[concat!("monitor ", $trigger, " one.rpz")]);
        }
    )*};
}

watches! {
    a_client_is_watched: "32.1.0.77.127.rpz-client-ip", "CLIENT-IP";
    a_name_is_watched: "www.example.com", "QNAME";
    an_address_is_watched: "32.7.2.0.192.rpz-ip", "IP";
}

#[test]
fn a_watching_passthru_does_not_shield() {
    case()
        .zone_with(MONITOR, "www.example.com CNAME rpz-passthru.")
        .zone("www.example.com CNAME .")
        .gives("NXDOMAIN");
}

#[test]
fn a_watching_drop_does_not_drop() {
    case().zone_with(MONITOR, "www.example.com CNAME rpz-drop.").gives("A 192.0.2.7");
}

#[test]
fn a_watching_zone_does_not_end_the_chain() {
    case()
        .data("first.example.org CNAME www.example.com")
        .zone_with(MONITOR, "first.example.org CNAME .")
        .zone("www.example.com A 127.0.0.9")
        .ask("first.example.org A")
        .gives("> www.example.com A 127.0.0.9");
}

#[test]
fn a_match_before_the_winner_is_told_beside_it() {
    let stage = case()
        .zone_with(MONITOR, "*.example.com CNAME .")
        .zone("www.example.com CNAME *.")
        .gives("NODATA");
    tells(&stage, &["enforce QNAME two.rpz", "monitor QNAME one.rpz"]);
}

#[test]
fn a_match_behind_the_winner_is_told_too() {
    let stage = case()
        .zone("www.example.com CNAME *.")
        .zone_with(MONITOR, "*.example.com CNAME .")
        .gives("NODATA");
    tells(&stage, &["enforce QNAME one.rpz", "monitor QNAME two.rpz"]);
}

#[test]
fn one_query_is_one_line_a_zone() {
    let stage =
        case().zone_with(MONITOR, "*.example.com CNAME .\n32.7.2.0.192.rpz-ip CNAME .").stage();
    stage.relay.ask("www.example.com", A);
    stage.relay.ask("other.example.net", A);
    let hits = stage.relay.hits(1);
    assert_eq!(hits[0]["trigger"], "QNAME", "the strongest one: {hits:?}");
}

#[test]
fn a_watching_zone_costs_no_waiting_for_servers() {
    let stage = case()
        .zone_with(MONITOR, "ns1.hoster.net.rpz-nsdname CNAME .\n24.0.100.51.198.rpz-nsip CNAME .")
        .script("example.com", Script::Hang)
        .script("ns1.hoster.net", Script::Hang)
        .stage();
    let client = stage.relay.client();
    client.send(&crate::harness::wire::Query::new("www.example.com", A).bytes());
    // Far below the time after which the relay gives up a look-up that hangs.
    assert!(client.receive(millis(2500)).is_some(), "the answer waits for nobody");
}

#[test]
fn a_watching_zone_does_not_make_a_blocked_name_leave_the_house() {
    let stage = case()
        .zone_with(MONITOR, "24.0.2.0.192.rpz-ip CNAME .")
        .zone("www.example.com CNAME .")
        .gives("NXDOMAIN");
    assert_eq!(stage.backend.asked("www.example.com"), 0);
}

#[test]
fn a_zone_that_is_off_is_not_looked_at() {
    let stage = case().zone_with("mode = \"off\"", "www.example.com CNAME .").gives("A 192.0.2.7");
    assert_eq!(told(&stage), [""; 0]);
}
