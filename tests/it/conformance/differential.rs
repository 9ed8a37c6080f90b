//! Seeded runs of the relay beside named.
//!
//! `CULVERT_SEEDS="1-50"` (or `"7,12-14"`) runs other seeds than the default ones, and
//! `CULVERT_QUESTIONS=1000` asks more of each.

use super::deviations::{DEVIATIONS, Deviation, Seen};
use super::differ::{differences, type_word};
use super::oracle::{Reference, Truth};
use super::world::{Profile, World, world};
use super::zones::{Question, Setting, setting};
use crate::harness::relay::Relay;
use crate::harness::wire::name_bytes;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Seeds that share a world, and so its server.
const SEEDS_A_WORLD: u64 = 5;

/// Differences that are printed in full for one seed.
const SHOWN: usize = 12;

#[test]
fn core() {
    run(Profile::Core);
}

#[test]
fn ns() {
    run(Profile::Ns);
}

#[test]
fn junk() {
    run(Profile::Junk);
}

#[test]
fn full() {
    run(Profile::Full);
}

#[test]
fn a_wrong_order_of_zones_is_noticed() {
    let world = world(Profile::Core, 0);
    let truth = Truth::start(&world);
    let several = |seed| Some(setting(Profile::Core, &world, seed)).filter(|s| s.zones.len() > 2);
    let mut setting = (1..100).find_map(several).expect("a seed with several zones");
    let (relay, server) = truth.relay(&setting);
    setting.zones.reverse();
    let reference = Reference::start(&truth, &setting, &relay.conf);
    let found = differences(reference.server, server, &setting.questions);
    assert!(found.len() > 5, "{} differences only", found.len());
}

fn run(profile: Profile) {
    let mut report = String::new();
    let (mut hits, mut asked) = (0, 0);
    let mut current: Option<(u64, World, Truth)> = None;
    for seed in seeds() {
        let number = seed / SEEDS_A_WORLD;
        if current.as_ref().is_none_or(|(n, ..)| *n != number) {
            // The old server ends before the new one starts.
            drop(current.take());
            let world = world(profile, number);
            let truth = Truth::start(&world);
            current = Some((number, world, truth));
        }
        let (_, world, truth) = current.as_ref().expect("set above");
        let outcome = compare(profile, seed, world, truth, &mut report);
        hits += outcome.hits;
        asked += outcome.asked;
    }
    eprintln!("{profile:?}: {asked} questions, {hits} rewritten by the reference");
    assert!(report.is_empty(), "\n{report}");
    assert!(hits * 4 > asked, "{hits} of {asked} questions met a rule: the run proves little");
}

struct Outcome {
    asked: usize,
    hits: usize,
}

fn compare(
    profile: Profile,
    seed: u64,
    world: &World,
    truth: &Truth,
    report: &mut String,
) -> Outcome {
    let setting = setting(profile, world, seed);
    let (mut relay, server) = truth.relay(&setting);
    let mut reference = Reference::start(truth, &setting, &relay.conf);
    let found = differences(reference.server, server, &setting.questions);
    if !reference.is_alive() {
        eprintln!("{profile:?} seed {seed}: the reference died, which proves nothing");
        return Outcome { asked: setting.questions.len(), hits: 0 };
    }
    let log = reference.log();
    let of = |from, name: &str, qtype| {
        let name = name_bytes(name).to_ascii_lowercase();
        log.get(&(from, name, type_word(qtype))).cloned().unwrap_or_default()
    };
    let mut explained = BTreeMap::new();
    let mut unexplained = Vec::new();
    for difference in &found {
        let q = &difference.question;
        let seen = Seen {
            difference,
            setting: &setting,
            named: difference.names().flat_map(|n| of(q.from, n, q.qtype)).collect(),
            relay: hits(&relay, q),
        };
        match DEVIATIONS.iter().find(|known| (known.explains)(&seen)) {
            Some(Deviation { what, why, .. }) => {
                explained.entry(what).or_insert((0, why)).0 += 1;
            }
            None => unexplained.push(seen),
        }
    }
    for (what, (count, why)) in explained {
        eprintln!("{profile:?} seed {seed}: {count} meant to differ: {what} ({why})");
    }
    if !unexplained.is_empty() {
        writeln!(report, "{}", heading(profile, seed, &setting, &unexplained))
            .expect("a String takes all");
        for seen in unexplained.iter().take(SHOWN) {
            writeln!(report, "{seen}").expect("a String takes all");
        }
    }
    if !relay.process.is_running() {
        writeln!(report, "{profile:?} seed {seed}: the relay died:\n{}", relay.stderr())
            .expect("a String takes all");
    }
    let asked = setting.questions.len();
    let met = |q: &&Question| !of(q.from, &q.name, q.qtype).is_empty();
    let hits = setting.questions.iter().filter(met).count();
    Outcome { asked, hits }
}

fn heading(profile: Profile, seed: u64, setting: &Setting, found: &[Seen]) -> String {
    let zones: Vec<_> =
        setting.zones.iter().map(|z| format!("{} {:?}", z.name, z.action)).collect();
    format!(
        "{profile:?} seed {seed}: {} of {} answers differ (wait {}, break_dnssec {}, \
         min_ns_dots {}; {})",
        found.len(),
        setting.questions.len(),
        setting.wait,
        setting.break_dnssec,
        setting.min_ns_dots,
        zones.join(", "),
    )
}

/// What the relay's hit log says about a question.
fn hits(relay: &Relay, question: &Question) -> Vec<String> {
    let mut hits: Vec<_> = relay.hit_lines().iter().filter_map(|l| hit(l, question)).collect();
    hits.sort();
    hits.dedup();
    hits
}

fn hit(line: &str, question: &Question) -> Option<String> {
    let hit: serde_json::Value = serde_json::from_str(line).ok()?;
    let part = |key: &str| hit[key].as_str().unwrap_or("-").to_owned();
    let wire = |name: &str| name_bytes(name).to_ascii_lowercase();
    let same = wire(&part("qname")) == wire(&question.name)
        && part("qtype") == type_word(question.qtype)
        && part("client") == question.from.to_string();
    same.then(|| ["mode", "trigger", "action", "rule", "zone"].map(part).join(" "))
}

/// The seeds to run: `1-3` unless the environment says otherwise.
fn seeds() -> Vec<u64> {
    let wanted = std::env::var("CULVERT_SEEDS").unwrap_or_else(|_| "1-3".into());
    parse_seeds(&wanted)
}

fn parse_seeds(wanted: &str) -> Vec<u64> {
    let number = |text: &str| {
        let number = text.trim().parse::<u64>();
        number.unwrap_or_else(|e| panic!("CULVERT_SEEDS: {e} in {text:?}"))
    };
    let part = |part: &str| match part.split_once('-') {
        Some((from, to)) => number(from)..=number(to),
        None => number(part)..=number(part),
    };
    wanted.split(',').flat_map(part).collect()
}

#[test]
fn seeds_are_ranges_and_numbers() {
    assert_eq!(parse_seeds("1-3"), [1, 2, 3]);
    assert_eq!(parse_seeds("7, 12-13"), [7, 12, 13]);
}
