//! The table against written cases, the oracle, and itself after deltas.

use super::*;
use crate::dns::name::{Name, NameBuilder};
use crate::policy::oracle::Oracle;
use proptest::prelude::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// A table of rules in text form; every rule must be taken.
fn table(rules: &[(u8, &str, ActionCode)]) -> (NameTable, NameWriter) {
    let owners: Vec<_> =
        rules.iter().map(|&(zone, owner, code)| (zone, name(owner), code)).collect();
    let rules = owners.iter().map(|(zone, owner, code)| (*zone, owner.as_wire(), *code));
    NameWriter::build(rules, owners.len(), &mut |_, owner| panic!("refused: {owner:?}"))
}

/// What covers `asked`, by zone: owner in text form and action.
fn covers(table: &NameTable, asked: &str) -> Vec<(u8, String, ActionCode)> {
    let asked = name(asked);
    let found = table.find(&asked);
    let rules: Vec<_> = (0..=u8::MAX).filter_map(|z| Some((z, found.rule(z)?))).collect();
    assert_eq!(found.zones(), rules.iter().fold(0, |mask, (zone, _)| mask | 1 << zone));
    let owner = |rule: NameRule| match (rule.wildcard, rule.labels) {
        (true, 0) => "*".to_string(),
        (true, labels) => format!("*.{}", asked.suffix(labels.into())),
        (false, labels) => asked.suffix(labels.into()).to_string(),
    };
    rules.into_iter().map(|(zone, rule)| (zone, owner(rule), rule.action)).collect()
}

/// The single rule of zone 0 that covers `asked`, as text.
fn one(table: &NameTable, asked: &str) -> Option<String> {
    covers(table, asked).pop().map(|(_, owner, _)| owner)
}

#[test]
fn nothing_covers_without_rules() {
    let empty = NameTable::empty();
    assert_eq!(one(&empty, "a.b"), None);
    assert_eq!(empty.nodes(), 0);
    let (built, _) = table(&[]);
    assert_eq!(one(&built, "a.b"), None);
}

#[test]
fn an_empty_non_terminal_shuts_the_wildcard_out() {
    let (table, _) = table(&[(0, "*.example", 1), (0, "ok.wild.example", 2)]);
    assert_eq!(one(&table, "wild.example"), None);
    assert_eq!(one(&table, "www.ok.wild.example"), None);
    assert_eq!(one(&table, "other.wild.example"), None);
    assert_eq!(one(&table, "ok.wild.example").unwrap(), "ok.wild.example");
    assert_eq!(one(&table, "a.b.example").unwrap(), "*.example");
    assert_eq!(one(&table, "example"), None, "a wildcard does not cover its parent");
    assert_eq!(one(&table, "."), None);
    assert_eq!(table.nodes(), 3);
}

#[test]
fn a_star_may_be_asked_for_literally() {
    let (table, _) = table(&[(0, "*.b", 1), (0, "x.*.b", 2), (1, "*.b", 3), (2, "x.b", 4)]);
    let rules = |pairs: &[(u8, &str, ActionCode)]| {
        pairs.iter().map(|&(zone, owner, code)| (zone, owner.to_string(), code)).collect::<Vec<_>>()
    };
    assert_eq!(covers(&table, "*.b"), rules(&[(0, "*.b", 1), (1, "*.b", 3)]));
    assert_eq!(covers(&table, "x.*.b"), rules(&[(0, "x.*.b", 2)]));
    assert_eq!(covers(&table, "y.b"), rules(&[(0, "*.b", 1), (1, "*.b", 3)]));
    assert_eq!(covers(&table, "x.b"), rules(&[(0, "*.b", 1), (1, "*.b", 3), (2, "x.b", 4)]));
}

#[test]
fn the_owner_of_a_wildcard_exists() {
    // the closest encloser of a.*.b is *.b itself, and nothing lies below that
    let (plain, _) = table(&[(0, "*.b", 1), (0, "*", 2)]);
    assert_eq!(one(&plain, "a.*.b"), None);
    assert_eq!(one(&plain, "*.b").unwrap(), "*.b");
    let (nested, _) = table(&[(0, "*.b", 1), (0, "*.*.b", 2)]);
    assert_eq!(one(&nested, "a.*.b").unwrap(), "*.*.b");
    assert_eq!(one(&nested, "*.*.b").unwrap(), "*.*.b");
    assert_eq!(one(&nested, "*.b").unwrap(), "*.b");
    assert_eq!(one(&nested, "a.c.b").unwrap(), "*.b");
}

#[test]
fn the_root_wildcard_covers_all_but_the_root() {
    let (table, _) = table(&[(3, "*", 7), (4, "*", 8), (4, "a.b", 9)]);
    let three = || (3, "*".to_string(), 7);
    assert_eq!(covers(&table, "x.y"), [three(), (4, "*".to_string(), 8)]);
    assert_eq!(covers(&table, "*"), [three(), (4, "*".to_string(), 8)]);
    assert_eq!(covers(&table, "a.b"), [three(), (4, "a.b".to_string(), 9)]);
    assert_eq!(covers(&table, "c.b"), [three()]);
    assert_eq!(covers(&table, "."), []);
    assert_eq!(table.nodes(), 2);
}

#[test]
fn a_name_may_have_127_labels() {
    let long = vec!["a"; 127].join(".");
    let below = vec!["a"; 126].join(".");
    let (table, _) = table(&[(0, &long, 1), (1, &format!("*.{below}"), 2), (63, "*.a", 3)]);
    assert_eq!(
        covers(&table, &long),
        [(0, long.clone(), 1), (1, format!("*.{below}"), 2), (63, "*.a".to_string(), 3)]
    );
    assert_eq!(covers(&table, &below), [(63, "*.a".to_string(), 3)]);
    assert_eq!(table.nodes(), 127);
}

#[test]
fn every_zone_may_have_its_own_wildcard_on_one_path() {
    let suffix = |labels: usize| vec!["a"; labels].join(".");
    let owners: Vec<String> = (1..=64).map(|labels| format!("*.{}", suffix(labels))).collect();
    let apart: Vec<_> = (0..64).map(|z| (z as u8, owners[z].as_str(), z as u32)).collect();
    let want: Vec<_> = (0..64).map(|z| (z as u8, owners[z].clone(), z as u32)).collect();
    assert_eq!(covers(&table(&apart).0, &suffix(100)), want);
    // all in one zone: only the deepest counts, beside a lone one of another zone
    let mut nested: Vec<_> = (0..64).map(|z| (0, owners[z].as_str(), z as u32)).collect();
    nested.push((5, "*", 99));
    let found = covers(&table(&nested).0, &suffix(100));
    assert_eq!(found, [(0, owners[63].clone(), 63), (5, "*".to_string(), 99)]);
}

#[test]
fn rules_that_are_none_are_refused() {
    let rules: [(u8, &[u8], ActionCode); 7] = [
        (0, b"\x01a\x00", 1),
        (0, b"\x01a\x00", 2),
        (1, b"\x01a\x00", 3),
        (0, b"\x00", 4),
        (64, b"\x01a\x00", 5),
        (0, b"\x02a\x00", 6),
        (0, b"\x01a", 7),
    ];
    let mut refused = Vec::new();
    let mut note = |zone: u8, owner: &[u8]| refused.push((zone, owner.to_vec()));
    let (first, mut writer) = NameWriter::build(rules.into_iter(), 0, &mut note);
    let want = [1, 3, 4, 5, 6].map(|i: usize| (rules[i].0, rules[i].1.to_vec()));
    assert_eq!(refused, want);
    assert_eq!(covers(&first, "a"), [(0, "a".to_string(), 1), (1, "a".to_string(), 3)]);
    let none = std::iter::empty();
    let add = std::iter::once(rules[3]);
    assert_eq!(writer.apply(&first, none, add).err(), Some(ApplyError::NoOwner));
    let again = writer.apply(&first, std::iter::empty(), std::iter::empty());
    assert_eq!(again.err(), Some(ApplyError::NotLast), "a failed delta ends the writer");
}

#[test]
fn a_writer_knows_its_table() {
    let (first, mut writer) = table(&[(0, "a", 1)]);
    let (other, _) = table(&[(0, "a", 1)]);
    let empty = || std::iter::empty();
    assert_eq!(writer.apply(&other, empty(), std::iter::empty()).err(), Some(ApplyError::NotLast));
    let second =
        writer.apply(&first, empty(), std::iter::once((0, name("b").as_wire(), 2))).unwrap();
    assert_eq!(writer.apply(&first, empty(), std::iter::empty()).err(), Some(ApplyError::NotLast));
    assert!(writer.apply(&second, empty(), std::iter::empty()).is_ok());
    assert_eq!(one(&first, "b"), None, "the old table stays as it was");
    assert_eq!(one(&second, "b").unwrap(), "b");
}

/// Many rules, all of zone 0: `n<i>.example` for each `i`.
fn numbered(range: std::ops::Range<u32>) -> Vec<Name> {
    range.map(|i| name(&format!("n{i}.example"))).collect()
}

fn adds(names: &[Name]) -> impl Iterator<Item = (u8, &[u8], ActionCode)> {
    names.iter().map(|owner| (0, owner.as_wire(), 1))
}

#[test]
fn tables_grow_and_shrink() {
    let names = numbered(0..20_000);
    // a guess far too small makes the build grow
    let (mut now, mut writer) = NameWriter::build(adds(&names[..5_000]), 0, &mut |_, _| ());
    for part in names[5_000..].chunks(1_500) {
        now = writer.apply(&now, std::iter::empty(), adds(part)).unwrap();
    }
    assert_eq!(now.nodes(), 20_001);
    assert!(names.iter().all(|n| now.find(n).zones() == 1));
    let large = now.bytes();
    let gone = names[100..].iter().map(|n| (0, n.as_wire()));
    now = writer.apply(&now, gone, std::iter::empty()).unwrap();
    assert_eq!(now.nodes(), 101);
    assert!(now.bytes() < large / 20, "{} of {large} octets stay", now.bytes());
    assert!(names.iter().enumerate().all(|(i, n)| now.find(n).zones() == u64::from(i < 100)));
}

#[test]
fn a_delta_copies_few_pages() {
    let names = numbered(0..50_000);
    let (first, mut writer) = NameWriter::build(adds(&names), 50_000, &mut |_, _| ());
    let second = writer.apply(&first, std::iter::empty(), adds(&numbered(60_000..60_010))).unwrap();
    // the ten new nodes; their parent exists and keeps its masks
    assert!(first.pages.count() - second.pages.shared_with(&first.pages) <= 10);
}

#[test]
fn a_crowded_page_asks_for_another_key() {
    let names = numbered(0..20_000);
    let (first, mut writer) = NameWriter::build(adds(&names), 0, &mut |_, _| ());
    // names that all belong to the page of the first one
    let page_of = |owner: &Name| {
        let mut trail = hash::Trail::blank();
        trail.set(&first.key, owner.as_wire()).unwrap();
        let mut pages = first.pages.clone();
        pages.put(trail.leaf(), 1, 1).ok()?;
        pages.get(trail.leaf()).map(|(place, _)| place / 256)
    };
    let page = page_of(&names[0]);
    let more = (20_000..).map(|i| name(&format!("n{i}.example")));
    let crowd: Vec<Name> = more.filter(|owner| page_of(owner) == page).take(200).collect();
    let failed = writer.apply(&first, std::iter::empty(), adds(&crowd));
    assert_eq!(failed.err(), Some(ApplyError::Crowded));
    let again = writer.apply(&first, std::iter::empty(), adds(&crowd[..1]));
    assert_eq!(again.err(), Some(ApplyError::NotLast));
    assert!(crowd.iter().all(|owner| first.find(owner).zones() == 0));
    let all: Vec<Name> = names.iter().chain(&crowd).copied().collect();
    let (anew, _) = NameWriter::build(adds(&all), all.len(), &mut |_, _| ());
    assert!(all.iter().all(|owner| anew.find(owner).zones() == 1));
}

#[test]
fn many_deltas_leave_no_waste() {
    let mut rng = fastrand::Rng::with_seed(11);
    let (mut now, mut writer) = table(&[(0, "base", 1)]);
    let mut largest = 0;
    for _ in 0..600 {
        let owners: Vec<(u8, Name, ActionCode)> = (0..100)
            .map(|_| (rng.u8(0..64), name(&format!("n{}", rng.u8(0..40))), rng.u32(..)))
            .collect();
        let add = owners.iter().map(|(zone, owner, code)| (*zone, owner.as_wire(), *code));
        now = writer.apply(&now, std::iter::empty(), add).unwrap();
        largest = largest.max(now.bytes());
        let remove = owners.iter().map(|(zone, owner, _)| (*zone, owner.as_wire()));
        now = writer.apply(&now, remove, std::iter::empty()).unwrap();
    }
    // mostly classes, which are swept out by the four thousand
    assert!(largest < 320_000, "{largest} octets for a hundred rules on forty nodes");
    assert_eq!(now.nodes(), 1);
}

#[test]
fn rules_that_agree_and_differ_in_turn_leave_no_waste() {
    let names = numbered(0..100);
    let (mut now, mut writer) = NameWriter::build(adds(&names), 100, &mut |_, _| ());
    let size = now.bytes();
    for round in 0..1_000 {
        let add = names.iter().map(|owner| (1, owner.as_wire(), 1 + round % 2));
        now = writer.apply(&now, std::iter::empty(), add).unwrap();
        assert!(now.bytes() < size + 80_000, "{} octets after {round} rounds", now.bytes());
    }
    let owner = names[7].to_string();
    assert_eq!(covers(&now, &owner), [(0, owner.clone(), 1), (1, owner, 2)]);
}

/// A name of up to `labels` labels out of `a`, `b`, `c`, `*`.
fn small_name(labels: usize) -> impl Strategy<Value = Name> {
    proptest::collection::vec(0..4usize, 1..=labels).prop_map(|picks| {
        let mut out = NameBuilder::new();
        for pick in picks {
            out.push_label([&b"a"[..], b"b", b"c", b"*"][pick]).unwrap();
        }
        out.finish()
    })
}

/// Zone, owner, and one of few actions, so that rules on a node agree now and then.
fn small_rules(most: usize) -> impl Strategy<Value = Vec<(u8, Name, ActionCode)>> {
    proptest::collection::vec((0..8u8, small_name(5), 0..3u32), 0..most)
}

/// Table and oracle agree on `asked`, in all zones.
fn agree(table: &NameTable, oracle: &Oracle, asked: &Name) -> Result<(), TestCaseError> {
    let (found, want) = (table.find(asked), oracle.find(asked));
    prop_assert_eq!(found.zones(), want.zones(), "zones of {}", asked);
    for zone in 0..8 {
        prop_assert_eq!(found.rule(zone), want.rule(zone), "zone {} of {}", zone, asked);
    }
    Ok(())
}

/// Builds both from the rules; they refuse the same ones.
fn both(rules: &[(u8, Name, ActionCode)]) -> (NameTable, NameWriter, Oracle) {
    let mut oracle = Oracle::new();
    let mut twice = Vec::new();
    for (zone, owner, code) in rules {
        if !oracle.add(*zone, owner, *code) {
            twice.push((*zone, owner.as_wire().to_vec()));
        }
    }
    let mut refused = Vec::new();
    let (table, writer) = NameWriter::build(
        rules.iter().map(|(zone, owner, code)| (*zone, owner.as_wire(), *code)),
        rules.len(),
        &mut |zone, owner| refused.push((zone, owner.to_vec())),
    );
    assert_eq!(refused, twice);
    (table, writer, oracle)
}

/// The same cases in every run.
fn fixed_runs() -> ProptestConfig {
    let rng_seed = proptest::test_runner::RngSeed::Fixed(4592);
    ProptestConfig { cases: 1_500, failure_persistence: None, rng_seed, ..Default::default() }
}

proptest! {
    #![proptest_config(fixed_runs())]

    #[test]
    fn equals_the_oracle(
        rules in small_rules(60),
        asked in proptest::collection::vec(small_name(6), 60),
    ) {
        let (table, _, oracle) = both(&rules);
        prop_assert_eq!(table.nodes(), oracle.nodes());
        for asked in rules.iter().map(|(_, owner, _)| owner).chain(&asked) {
            agree(&table, &oracle, asked)?;
        }
    }

    #[test]
    fn deltas_equal_a_build(
        rules in small_rules(40),
        deltas in proptest::collection::vec((small_rules(15), any::<u64>()), 1..8),
        asked in proptest::collection::vec(small_name(6), 30),
    ) {
        let (mut table, mut writer, mut oracle) = both(&rules);
        for (add, pick) in &deltas {
            // rules that are there, picked by the bits of a number, and some that are not
            let mut remove: Vec<(u8, Name)> =
                oracle.rules().map(|(zone, owner, _)| (zone, *owner)).collect();
            let mut bits = fastrand::Rng::with_seed(*pick);
            remove.retain(|_| bits.u8(0..3) == 0);
            remove.extend(asked.iter().take(3).map(|asked| (bits.u8(0..8), *asked)));
            let old = table;
            table = writer.apply(
                &old,
                remove.iter().map(|(zone, owner)| (*zone, owner.as_wire())),
                add.iter().map(|(zone, owner, code)| (*zone, owner.as_wire(), *code)),
            ).unwrap();
            for asked in &asked {
                agree(&old, &oracle, asked)?;
            }
            for (zone, owner) in &remove {
                oracle.remove(*zone, owner);
            }
            for (zone, owner, code) in add {
                oracle.remove(*zone, owner);
                oracle.add(*zone, owner, *code);
            }
            prop_assert_eq!(table.nodes(), oracle.nodes());
            prop_assert_eq!(table.pages.iter().count(), table.nodes());
            for asked in asked.iter().chain(add.iter().map(|(_, owner, _)| owner)) {
                agree(&table, &oracle, asked)?;
            }
        }
        let last: Vec<_> = oracle.rules().map(|(zone, owner, code)| (zone, *owner, code)).collect();
        let (anew, fresh, _) = both(&last);
        prop_assert_eq!(table.nodes(), anew.nodes());
        prop_assert!(writer.same_children(&fresh));
        let remove = last.iter().map(|(zone, owner, _)| (*zone, owner.as_wire()));
        let none = writer.apply(&table, remove, std::iter::empty()).unwrap();
        prop_assert_eq!(none.nodes(), 0);
        prop_assert!(asked.iter().all(|asked| none.find(asked).zones() == 0));
    }
}
