//! Versions that lose, grow and go over the top, and those that do so only seemingly.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::policy::action::LocalData;
use crate::policy::set::{Mode, Override};
use crate::rpz::{self, Form};

/// Rules of a zone that is just large enough.
const LARGE: usize = limits::GATE_FROM + 1;

/// A zone with so many plain rules and these in front.
fn zone(rules: usize, more: &str) -> ZoneRules {
    let mut text = format!("$TTL 60\n@ SOA ns.test. host.test. 1 3600 600 86400 60\n{more}\n");
    for n in 0..rules {
        writeln!(text, "d{n}.filler.example CNAME .").unwrap();
    }
    let limits = rpz::Limits::default();
    let origin = "feed.test".parse().unwrap();
    let file = Path::new("test");
    rpz::parse(text.as_bytes(), file, &origin, Form::Zone, &limits).unwrap()
}

fn settings(action: Override) -> ZoneSettings {
    ZoneSettings {
        name: "feed.test".parse().unwrap(),
        mode: Mode::Enforce,
        action,
        recursive_only: false,
        add_soa: true,
        max_ttl: 5,
        ede: None,
        ede_text: Arc::from(""),
        remote: true,
        log: true,
    }
}

fn gate(guarded: &[&str]) -> Gate {
    let guard = |name: &&str| Guarded { name: name.parse().unwrap(), why: "guard".to_owned() };
    Gate {
        max_loss: 50,
        guarded: guarded.iter().map(guard).collect(),
        own_hosts: vec!["doh.service.example".parse().unwrap()],
    }
}

fn judge(gate: &Gate, old: Option<&ZoneRules>, new: &ZoneRules) -> Judgement {
    gate.judge(old, new, &settings(Override::Given))
}

fn held(judgement: &Judgement) -> Vec<String> {
    judgement.held.iter().map(ToString::to_string).collect()
}

/// Why a version with these rules is held that follows on one without.
fn held_for(guarded: &[&str], rules: &str) -> Vec<String> {
    held(&judge(&gate(guarded), Some(&zone(LARGE, "")), &zone(LARGE, rules)))
}

#[test]
fn a_large_loss_is_held_and_told_in_figures() {
    let gate = gate(&[]);
    let old = zone(2 * LARGE, "");
    let half = judge(&gate, Some(&old), &zone(LARGE, ""));
    assert_eq!(half, Judgement::default(), "half is not more than half");
    let judgement = judge(&gate, Some(&old), &zone(LARGE - 1, ""));
    let told = "it loses 10,002 of 20,002 rules (50 %), and max_loss is 50 %";
    assert_eq!(held(&judgement), [told]);
    assert!(judgement.is_loss_only());
    let empty = judge(&gate, Some(&old), &zone(0, ""));
    assert_eq!(held(&empty), ["it loses 20,002 of 20,002 rules (100 %), and max_loss is 50 %"]);
    let any = Gate { max_loss: 0, ..gate.clone() };
    assert_eq!(judge(&any, Some(&old), &zone(2 * LARGE - 1, "")).held.len(), 1);
    let none = Gate { max_loss: 100, ..gate };
    assert_eq!(judge(&none, Some(&old), &zone(0, "")), Judgement::default());
}

#[test]
fn small_zones_and_first_versions_have_no_loss() {
    let gate = gate(&["corp.example"]);
    let small = zone(limits::GATE_FROM - 1, "* CNAME .");
    assert_eq!(judge(&gate, None, &small), Judgement::default());
    assert_eq!(judge(&gate, Some(&small), &zone(0, "")), Judgement::default());
    assert_eq!(judge(&gate, None, &zone(LARGE, "")), Judgement::default());
    let first = judge(&gate, None, &zone(LARGE, "corp.example CNAME ."));
    assert_eq!(held(&first), ["its rule corp.example covers corp.example (guard)"]);
    assert!(!first.is_loss_only());
}

#[test]
fn rules_over_everything_are_held() {
    assert_eq!(held_for(&[], "* CNAME ."), ["its rule * covers every name there is"]);
    let servers = "*.rpz-nsdname CNAME .";
    assert_eq!(held_for(&[], servers), ["its rule *.rpz-nsdname covers every name there is"]);
    assert_eq!(held_for(&[], "* CNAME rpz-passthru.\n*.rpz-nsdname CNAME rpz-passthru."), [""; 0]);
    assert_eq!(held_for(&[], "*.x.rpz-nsdname CNAME ."), [""; 0]);
}

#[test]
fn a_guarded_name_is_covered_by_its_own_rule_and_by_wildcards_above() {
    let guarded = ["mail.corp.example"];
    for rule in [
        "mail.corp.example CNAME .",
        "MAIL.corp.example A 192.0.2.1",
        "*.mail.corp.example CNAME *.",
        "*.corp.example CNAME rpz-drop.",
        "*.example CNAME garden.test.",
        "mail.corp.example CNAME www.mail.corp.example.",
    ] {
        let held = held_for(&guarded, rule);
        assert_eq!(held.len(), 1, "{rule}");
        assert!(held[0].ends_with(" covers mail.corp.example (guard)"), "{}", held[0]);
    }
    for rule in [
        "www.mail.corp.example CNAME .",
        "*.www.mail.corp.example CNAME .",
        "corp.example CNAME .",
        "example CNAME .",
        "xmail.corp.example CNAME .",
        "mail.corp.example.rpz-nsdname CNAME .",
        "mail.corp.example CNAME rpz-passthru.",
        "*.corp.example CNAME rpz-passthru.",
        // an alias to itself is the old spelling of passthru
        "mail.corp.example CNAME mail.corp.example.",
    ] {
        assert_eq!(held_for(&guarded, rule), [""; 0], "{rule}");
    }
}

#[test]
fn one_rule_over_many_names_is_one_reason_and_many_rules_are_counted() {
    let names: Vec<String> = (0..9).map(|n| format!("n{n}.corp.example")).collect();
    let guarded: Vec<&str> = names.iter().map(String::as_str).collect();
    let one = held_for(&guarded, "*.corp.example CNAME .");
    let told = "its rule *.corp.example covers n0.corp.example and 8 more guarded names (guard)";
    assert_eq!(one, [told]);
    let rules: String = names.iter().map(|name| format!("{name} CNAME .\n")).collect();
    let many = held_for(&guarded, &rules);
    assert_eq!(many.len(), limits::GATE_NAMED + 1);
    assert_eq!(many.last().unwrap(), "4 more of its rules cover guarded names");
}

#[test]
fn what_was_accepted_once_is_not_held_again() {
    let gate = gate(&["corp.example"]);
    let rules = "* CNAME .\n*.rpz-nsdname CNAME .\ncorp.example CNAME .\ncom CNAME .\n\
                 doh.service.example CNAME .";
    let old = zone(LARGE, rules);
    let first = judge(&gate, None, &old);
    assert_eq!((first.held.len(), first.warnings.len()), (3, 2), "{first:?}");
    assert_eq!(judge(&gate, Some(&old), &zone(LARGE + 5, rules)), Judgement::default());
    // but what was let through before is new
    let passed = zone(LARGE, "corp.example CNAME rpz-passthru.");
    let now = judge(&gate, Some(&passed), &zone(LARGE, "corp.example CNAME ."));
    assert_eq!(now.held.len(), 1);
}

#[test]
fn the_zones_override_counts() {
    let gate = gate(&["corp.example"]);
    let new = zone(LARGE, "corp.example CNAME .\ncom CNAME .");
    let pass = settings(Override::Action(Action::Passthru));
    assert_eq!(gate.judge(None, &new, &pass), Judgement::default());
    let spared = zone(LARGE, "corp.example CNAME rpz-passthru.");
    let garden = settings(Override::Cname(LocalData::new(Vec::new())));
    assert_eq!(gate.judge(None, &spared, &garden).held.len(), 1);
    let block = settings(Override::Action(Action::Nxdomain));
    assert_eq!(gate.judge(None, &spared, &block).held.len(), 1);
}

#[test]
fn a_transferred_zone_is_judged_like_a_list() {
    let origin: Name = "feed.test".parse().unwrap();
    let mut gather = rpz::Gather::new(origin, 2 * LARGE);
    let soa = [b"\x02ns\x04test\0\x04host\x04test\0".as_slice(), &[0; 20]].concat();
    gather.record(origin.as_wire(), 6, 60, &soa).unwrap();
    let filler = (0..LARGE).map(|n| format!("d{n}.filler.example"));
    for rule in filler.chain(["*.example".to_owned(), "*".to_owned(), "com".to_owned()]) {
        let owner = rule.parse::<Name>().unwrap().join(&origin).unwrap();
        gather.record(owner.as_wire(), 5, 60, &[0]).unwrap();
    }
    let new = gather.finish().unwrap();
    let judgement = judge(&gate(&["corp.example"]), Some(&zone(LARGE, "")), &new);
    let mut held = held(&judgement);
    held.sort();
    assert_eq!(
        held,
        ["its rule * covers every name there is", "its rule *.example covers corp.example (guard)"]
    );
    assert_eq!(judgement.warnings.len(), 2, "{:?}", judgement.warnings);
    assert_eq!(judge(&gate(&["corp.example"]), Some(&new), &new), Judgement::default());
}

#[test]
fn growth_top_levels_and_own_hosts_are_told() {
    let gate = gate(&[]);
    let old = zone(LARGE, "org CNAME .");
    let rules = "org CNAME .\ncom CNAME .\n*.net CNAME *.\nbiz CNAME rpz-passthru.\n\
                 *.service.example CNAME .";
    let judgement = judge(&gate, Some(&old), &zone(2 * LARGE, rules));
    assert_eq!(judgement.held, []);
    assert_eq!(
        judgement.warnings,
        [
            "it grows from 10,002 to 20,007 rules",
            "its rule *.service.example covers doh.service.example, which this relay itself asks",
            "it has 3 rules over top-level names, new ones among them: com, *.net",
        ]
    );
    let doubled = judge(&gate, Some(&zone(LARGE, "")), &zone(2 * LARGE, ""));
    assert_eq!(doubled, Judgement::default(), "twice as many is no more than twice");
}

#[test]
fn a_million_rules_are_judged_in_no_time() {
    let rules = zone(1_000_000, "com CNAME .");
    let names: Vec<String> = (0..100).map(|n| format!("n{n}.corp.example")).collect();
    let guarded: Vec<&str> = names.iter().map(String::as_str).collect();
    let gate = gate(&guarded);
    let began = std::time::Instant::now();
    let judgement = judge(&gate, Some(&rules), &rules);
    let took = began.elapsed();
    assert_eq!(judgement, Judgement::default());
    // two walks; the bound has room for a busy machine
    assert!(took < std::time::Duration::from_millis(1_000), "{took:?}");
}
