//! Whole policies beside their oracle, and what one generation takes over from the last.

use std::sync::Arc;

use super::oracle::agreement;
use super::oracle::choices::Choices;
use super::oracle::worlds::{self, World};
use super::oracle::{QueryOracle, Ruling};
use super::set::PolicySet;
use super::trigger::TriggerKind;

/// The same octets in every run.
fn octets(seed: u64, most: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let count = rng.usize(most / 8..most);
    (0..count).map(|_| rng.u8(..)).collect()
}

/// Runs a comparison on made-up worlds.
fn hold(cases: u64, most: usize, compare: impl Fn(&mut Choices<'_>) -> Result<(), String>) {
    for seed in 0..cases {
        let octets = octets(seed, most);
        if let Err(difference) = compare(&mut Choices::new(&octets)) {
            panic!("seed {seed}: {difference}");
        }
    }
}

#[test]
fn queries_are_judged_as_the_oracle_says() {
    hold(4_000, 1_600, agreement::of_queries);
}

#[test]
fn deltas_of_names_are_as_the_oracle_says() {
    hold(1_500, 800, agreement::of_deltas);
}

#[test]
fn made_up_worlds_have_hits_of_all_kinds() {
    let mut acting = [0; TriggerKind::ALL.len()];
    let (mut excepted, mut watching, mut behind, mut clean) = (0, 0, 0, 0);
    let mut awaited = 0;
    for seed in 0..2_000 {
        let octets = octets(seed, 1_600);
        let World { parts, asked, chain } = World::new(&mut Choices::new(&octets));
        let verdict = QueryOracle::new(&parts).judge(&asked, &chain);
        watching += usize::from(!verdict.watching.is_empty());
        match verdict.acts {
            Some(Ruling { zone: None, .. }) => excepted += 1,
            Some(Ruling { trigger, link, .. }) => {
                acting[trigger as usize] += 1;
                behind += usize::from(link > 0);
            }
            None if verdict.awaited.is_some() => awaited += 1,
            None => clean += 1,
        }
    }
    let counts = [&acting[..], &[excepted, watching, behind, awaited, clean]].concat();
    assert!(counts.iter().all(|count| *count >= 50), "{counts:?}");
}

#[test]
fn tables_are_taken_over_when_the_rules_are_the_same() {
    let (mut taken, mut built) = (0, 0);
    for seed in 0..300 {
        let octets = octets(seed, 2_400);
        let mut choices = Choices::new(&octets);
        let mut parts = worlds::parts(&mut choices);
        let mut set = PolicySet::build(parts.clone(), None);
        for _ in 0..6 {
            let before: Vec<_> = parts.zones.iter().take(64).map(|z| Arc::clone(&z.1)).collect();
            worlds::change(&mut choices, &mut parts);
            let next = PolicySet::build(parts.clone(), Some(&set));
            let now = parts.zones.iter().take(64).map(|(_, rules)| rules);
            // zones without any rule are rules too: what counts is which ones they are
            let same = now.len() == before.len()
                && now.zip(&before).all(|(now, before)| Arc::ptr_eq(now, before));
            assert_eq!(Arc::ptr_eq(&next.tables, &set.tables), same, "seed {seed}");
            assert_eq!(next.generation, set.generation + 1);
            taken += usize::from(same);
            built += usize::from(!same);
            set = next;
        }
    }
    assert!(taken > 200 && built > 200, "{taken} taken over, {built} built");
}
