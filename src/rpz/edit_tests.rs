//! Zones gathered and edited, against each other, against the intake, and through the matcher.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use fastrand::Rng;

use super::tests::dump;
use crate::dns::name::Name;
use crate::policy::action::Action;
use crate::policy::oracle::Facts;
use crate::policy::oracle::agreement;
use crate::policy::records::Record;
use crate::policy::rules::ZoneRules;
use crate::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use crate::policy::stage::Place;
use crate::rpz::{Edit, Gather, Intake, Misfit, Refusal};

const RULES: usize = 100_000;

/// A record with its absolute owner; the TTL stands apart, as it is no part of what it is.
type Key = (Vec<u8>, u16, Vec<u8>);
type Model = BTreeMap<Key, u32>;

fn origin() -> Name {
    "rpz.test".parse().unwrap()
}

fn wire(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut wire: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    wire.push(0);
    wire
}

fn soa(serial: u32) -> Vec<u8> {
    let numbers = [serial, 60, 30, 900, 5].map(u32::to_be_bytes).concat();
    [wire("ns.test."), wire("host.test."), numbers].concat()
}

/// An absolute owner out of `many` of each sort.
fn owner(rng: &mut Rng, many: u32) -> Vec<u8> {
    let n = rng.u32(..many);
    let text = match rng.u8(..24) {
        0..12 => format!("n{n}.com.rpz.test"),
        12 => format!("*.n{n}.com.rpz.test"),
        13 => format!("32.{}.2.0.192.rpz-ip.rpz.test", n % 256),
        14 => format!("24.0.{}.0.10.rpz-client-ip.rpz.test", n % 256),
        15 => format!("128.{:x}.zz.db8.2001.rpz-nsip.rpz.test", n + 1),
        16 | 17 => format!("ns{n}.org.rpz-nsdname.rpz.test"),
        // owners of which no rule can be made
        18 => format!("33.{}.2.0.192.rpz-ip.rpz.test", n % 256),
        19 => "rpz-nsdname.rpz.test".to_owned(),
        20 => format!("n{n}.elsewhere.test"),
        21 => "rpz.test".to_owned(),
        _ => format!("x{n}.y.z.rpz.test"),
    };
    wire(&text)
}

/// A type and data.
fn data(rng: &mut Rng, owner: &[u8]) -> (u16, Vec<u8>) {
    match rng.u8(..20) {
        0..8 => (5, wire([".", "*.", "rpz-drop.", "RPZ-Drop.", "rpz-foo."][rng.usize(..5)])),
        8 => (5, wire(["*.garden.test.", "other.test.", "OTHER.test."][rng.usize(..3)])),
        // the old spelling of passthru
        9 => (5, owner.strip_suffix(&wire("rpz.test.")[..]).unwrap_or(b"\x01x").to_vec()),
        10..14 => (1, vec![192, 0, 2, rng.u8(..4)]),
        14 | 15 => (28, [[0; 15].as_slice(), &[rng.u8(..3)]].concat()),
        16 => (16, vec![1, b'a' + rng.u8(..2)]),
        // never a rule
        17 => (2, wire("ns.test.")),
        18 => (39, wire("dname.test.")),
        _ => (47, vec![0, 7, rng.u8(..4)]),
    }
}

fn key(owner: Vec<u8>, (rtype, mut rdata): (u16, Vec<u8>)) -> Key {
    if rdata.last() != Some(&0) && rtype == 5 {
        rdata.push(0);
    }
    (owner, rtype, rdata)
}

/// Owners first, then the records of one as a store has them.
fn order(a: &Key, b: &Key) -> Ordering {
    let (a_record, b_record) =
        (Record { rtype: a.1, ttl: 0, rdata: &a.2 }, Record { rtype: b.1, ttl: 0, rdata: &b.2 });
    a.0.cmp(&b.0).then_with(|| a_record.order(&b_record))
}

/// One record: names in data are equal whatever their case.
fn same(a: &Key, b: &Key) -> bool {
    order(a, b).is_eq()
}

fn model(rng: &mut Rng, many: u32) -> Model {
    let mut model = Model::new();
    for _ in 0..rng.u32(..3 * many) {
        let key = new_key(rng, many);
        if !model.keys().any(|other| same(other, &key)) {
            model.insert(key, rng.u32(..3) * 60);
        }
    }
    model
}

fn new_key(rng: &mut Rng, many: u32) -> Key {
    let owner = owner(rng, many);
    let data = data(rng, &owner);
    key(owner, data)
}

/// The zone of a model, its records coming in any order.
fn gathered(model: &Model, serial: u32, seed: u64, rng: &mut Rng) -> ZoneRules {
    let mut all: Vec<(&Key, &u32)> = model.iter().collect();
    rng.shuffle(&mut all);
    let mut gather = Gather::seeded(origin(), RULES, seed);
    gather.record(&wire("rpz.test"), 6, 300, &soa(serial)).unwrap();
    for ((owner, rtype, rdata), ttl) in all {
        gather.record(owner, *rtype, *ttl, rdata).unwrap();
    }
    gather.record(&wire("rpz.test"), 6, 300, &soa(serial)).unwrap();
    gather.finish().unwrap()
}

/// The zone of a model as the intake makes it, from records in the order of a store.
fn taken_in(model: &Model) -> ZoneRules {
    let mut all: Vec<(&Key, &u32)> = model.iter().collect();
    all.sort_by(|(a, _), (b, _)| order(a, b));
    let mut intake = Intake::new(origin(), RULES);
    intake.record(&wire("rpz.test"), 6, 300, &soa(1)).unwrap();
    for ((owner, rtype, rdata), ttl) in all {
        intake.record(owner, *rtype, *ttl, rdata).unwrap();
    }
    intake.finish().unwrap()
}

/// All that two versions with the same content have in common.
fn told(rules: &ZoneRules) -> (Vec<String>, Vec<String>, String) {
    let records = rules.records().expect("records are kept");
    let mut kept: Vec<String> = records
        .iter()
        .map(|owner| {
            let action = owner.code.map(|code| match code.action() {
                Action::Data(number) => format!("{:?}", rules.data.get(number as usize)),
                fixed => fixed.to_string(),
            });
            let records: Vec<Record<'_>> = owner.records.clone().collect();
            format!("{} {action:?} {records:?}", owner.labels.escape_ascii())
        })
        .collect();
    kept.sort();
    // of records outside the zone an edit keeps no reason
    let mut reasons = rules.skipped.first.clone();
    reasons.retain(|skip| !skip.reason.starts_with("outside"));
    reasons.sort_by_key(|skip| (skip.owner.clone(), skip.reason.clone()));
    let skipped = (rules.skipped.total, rules.skipped.unused, reasons);
    let rest = format!("{:?} {:?} {skipped:?} {:?}", rules.counts, rules.soa, records.totals());
    (kept, dump(rules), rest)
}

/// Sets of local data that some rule has.
fn in_use(rules: &ZoneRules) -> usize {
    let used: BTreeSet<u32> = rules
        .codes()
        .filter_map(|code| match code.action() {
            Action::Data(number) => Some(number),
            _ => None,
        })
        .collect();
    used.len()
}

/// Changes of one serial step: removals first, as in a transfer.
fn step(edit: &mut Edit, model: &mut Model, rng: &mut Rng, many: u32) {
    let gone: Vec<Key> = model.keys().filter(|_| rng.u8(..12) == 0).cloned().collect();
    for (owner, rtype, rdata) in gone {
        // the primary may spell a name in other letters than it did
        let names = matches!(rtype, 2 | 5 | 39);
        let spelt = if names { rdata.to_ascii_uppercase() } else { rdata.clone() };
        edit.remove(&owner, rtype, &spelt).unwrap();
        let ttl = model.remove(&(owner.clone(), rtype, rdata.clone())).unwrap();
        if rng.u8(..4) == 0 {
            // back again: as it was, or with another TTL
            let ttl = if rng.bool() { ttl } else { ttl + 1 };
            edit.add(&owner, rtype, ttl, &rdata).unwrap();
            model.insert((owner, rtype, rdata), ttl);
        }
    }
    for _ in 0..rng.u32(..12) {
        let key = new_key(rng, many);
        if model.keys().any(|other| same(other, &key)) {
            continue;
        }
        let ttl = rng.u32(..3) * 60;
        edit.add(&key.0, key.1, ttl, &key.2).unwrap();
        model.insert(key, ttl);
    }
}

#[test]
fn an_edited_zone_is_the_zone_gathered_anew() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(seed);
        let many = [3, 12, 60][rng.usize(..3)];
        let mut model = model(&mut rng, many);
        let mut rules = Arc::new(gathered(&model, 1, seed, &mut rng));
        for serial in 2..12 {
            let mut edit = Edit::of(&rules, RULES).unwrap();
            for _ in 0..rng.u8(1..4) {
                step(&mut edit, &mut model, &mut rng, many);
            }
            edit.soa(300, &soa(serial)).unwrap();
            if rng.u8(..5) == 0 {
                // as after a restart: the index has to be made anew
                drop(rules.take_index());
            }
            let next = edit.finish().unwrap();
            let again = gathered(&model, serial, seed, &mut rng);
            assert_eq!(told(&next), told(&again), "seed {seed}, serial {serial}");
            let sets = next.data.iter().filter(|data| !data.records().is_empty()).count();
            assert_eq!(sets, in_use(&next), "what no rule has is freed");
            agreement::of_zone(&next).unwrap();
            let (a, b) = (next.records().unwrap(), again.records().unwrap());
            let owners = |rules: &'_ ZoneRules| -> Vec<Vec<u8>> {
                rules.records().unwrap().iter().map(|owner| owner.labels.to_vec()).collect()
            };
            if a.buckets().len() == b.buckets().len() {
                assert_eq!(owners(&next), owners(&again), "the same order in the same buckets");
            }
            rules = Arc::new(next);
        }
    }
}

#[test]
fn a_gathered_zone_means_what_it_means_in_a_file() {
    for seed in 0..60 {
        let mut rng = Rng::with_seed(1_000 + seed);
        let mut model = model(&mut rng, 40);
        // of two CNAMEs at one owner both are rules of a file, of which the first counts
        let mut owners = BTreeSet::new();
        model.retain(|(owner, rtype, _), _| *rtype != 5 || owners.insert(owner.clone()));
        let (gathered, file) = (gathered(&model, 1, seed, &mut rng), taken_in(&model));
        assert_eq!(dump(&gathered), dump(&file));
        assert_eq!((gathered.counts, &gathered.soa), (file.counts, &file.soa));
        let skips = |rules: &ZoneRules| {
            let mut first = rules.skipped.first.clone();
            first.sort_by_key(|skip| (skip.owner.clone(), skip.reason.clone()));
            (rules.skipped.total, rules.skipped.unused, first)
        };
        assert_eq!(skips(&gathered), skips(&file));
    }
}

#[test]
fn what_does_not_fit_is_told() {
    let mut rng = Rng::with_seed(1);
    let mut model = Model::new();
    let (owner, other) = (wire("a.rpz.test"), wire("b.rpz.test"));
    model.insert((owner.clone(), 5, wire("Garden.test.")), 60);
    let rules = Arc::new(gathered(&model, 1, 1, &mut rng));
    let mut edit = Edit::of(&rules, 1).unwrap();
    assert_eq!(edit.remove(&other, 5, &wire(".")), Err(Misfit::NotThere));
    assert_eq!(edit.remove(&owner, 5, &wire(".")), Err(Misfit::NotThere));
    assert_eq!(edit.add(&owner, 5, 9, &wire("garden.TEST.")), Err(Misfit::AlreadyThere));
    edit.add(&other, 5, 9, &wire(".")).unwrap();
    assert_eq!(edit.finish().map(|_| ()), Err(Refusal::TooManyRules(1)));
    let mut edit = Edit::of(&rules, 1).unwrap();
    let most = 1_004;
    for n in 1..most {
        edit.add(&wire(&format!("n{n}.rpz.test")), 16, 1, b"\x01x").unwrap();
    }
    assert_eq!(edit.add(&other, 16, 1, b"\x01x"), Err(Misfit::TooMany(most)));
    assert!(Edit::of(&Arc::new(taken_in(&model)), 1).is_none(), "a file keeps no records");
}

#[test]
fn what_comes_and_goes_leaves_nothing() {
    let rules = Arc::new(gathered(&Model::new(), 1, 1, &mut Rng::with_seed(1)));
    let mut edit = Edit::of(&rules, RULES).unwrap();
    for n in 0..10_000 {
        let owner = wire(&format!("n{n}.rpz.test"));
        edit.add(&owner, 1, 60, &[192, 0, 2, 1]).unwrap();
        edit.remove(&owner, 1, &[192, 0, 2, 1]).unwrap();
    }
    assert_eq!((edit.changes(), edit.owners()), (20_000, 0));
    assert_eq!(edit.finish().unwrap().len(), 0);
}

#[test]
fn too_much_and_too_little_is_refused() {
    let gather = |max| Gather::new(origin(), max);
    let cname = |gather: &mut Gather, n: u32| {
        gather.record(&wire(&format!("n{n}.rpz.test")), 5, 60, &wire("."))
    };
    assert!(matches!(gather(1).finish().map(|_| ()), Err(Refusal::NoSoa(_))));
    let mut other = gather(1);
    let refused = other.record(&wire("other.test"), 6, 1, &soa(1));
    assert!(matches!(refused, Err(Refusal::OtherZone { .. })));
    assert!(matches!(
        other.record(&wire("a.rpz.test"), 6, 1, &soa(1)),
        Err(Refusal::OtherZone { .. })
    ));
    let mut full = gather(2);
    full.record(&wire("rpz.test"), 6, 1, &soa(1)).unwrap();
    (0..3).for_each(|n| cname(&mut full, n).unwrap());
    assert_eq!(full.finish().map(|_| ()), Err(Refusal::TooManyRules(2)));
    let mut endless = gather(2);
    let refused = (0..).find_map(|n| cname(&mut endless, n).err());
    assert_eq!(refused, Some(Refusal::TooManyRecords(1_008)));
    assert_eq!(endless.len(), 1_009);
}

/// Settings that leave all to the rules.
fn settings(name: &str) -> ZoneSettings {
    ZoneSettings {
        name: name.parse().unwrap(),
        mode: Mode::Enforce,
        action: Override::Given,
        recursive_only: false,
        add_soa: false,
        max_ttl: 60,
        ede: None,
        ede_text: Arc::from(""),
        remote: true,
        log: true,
    }
}

/// A zone that changes between two that do not.
fn parts(generation: u64, zones: &[Arc<ZoneRules>]) -> Parts {
    let names = (0..).map(|n| format!("z{n}.test"));
    let zones = names.zip(zones).map(|(name, rules)| (settings(&name), Arc::clone(rules)));
    Parts::of_zones(generation, zones.collect())
}

/// What two sets say of the same queries.
fn alike(fast: &PolicySet, anew: &PolicySet, many: u32) {
    let hit = |set: &PolicySet, client: IpAddr, name: &Name, known: &Facts| {
        let judge = set.judge(client, true);
        let mut stage = judge.stage(name, Place { first: true, own: false });
        stage.see_addresses(known);
        stage.see_servers(known);
        stage.hit(known).map(|hit| {
            let data = hit.zone.data(hit.action).map(|data| data.records().to_vec());
            (hit.zone.settings.name, hit.action.to_string(), hit.matched, data)
        })
    };
    for n in 0..many {
        let low = n as u8;
        let nobody = Facts::default();
        let server = Facts {
            servers: vec![format!("ns{n}.org").parse().unwrap()],
            server_addresses: vec![IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n as u16 + 1])],
            ..Facts::default()
        };
        let answer = Facts { addresses: vec![IpAddr::from([192, 0, 2, low])], ..Facts::default() };
        for text in [format!("n{n}.com"), format!("x.n{n}.com"), format!("x{n}.y.z")] {
            let name: Name = text.parse().unwrap();
            for client in [IpAddr::from([10, 0, low, 0]), IpAddr::from([127, 0, 0, 1])] {
                for known in [&nobody, &server, &answer] {
                    let (got, want) =
                        (hit(fast, client, &name, known), hit(anew, client, &name, known));
                    assert_eq!(got, want, "{name} {client} {known:?}");
                }
            }
        }
    }
    for (fast, anew) in fast.zones().iter().zip(anew.zones()) {
        assert_eq!(fast.duplicates, anew.duplicates);
    }
}

#[test]
fn the_matcher_follows_the_changes() {
    for seed in 0..10 {
        let mut rng = Rng::with_seed(seed);
        let many = 40;
        let mut models: Vec<Model> = (0..3).map(|_| model(&mut rng, many)).collect();
        let zone = |model: &Model, rng: &mut Rng| Arc::new(gathered(model, 1, seed, rng));
        let mut zones: Vec<Arc<ZoneRules>> = models.iter().map(|m| zone(m, &mut rng)).collect();
        zones.push(Arc::new(taken_in(&models[0])));
        let mut set = PolicySet::build(parts(0, &zones), None);
        for serial in 2..10 {
            for (rules, model) in zones.iter_mut().zip(&mut models) {
                if rng.bool() {
                    let mut edit = Edit::of(rules, RULES).unwrap();
                    step(&mut edit, model, &mut rng, many);
                    edit.soa(300, &soa(serial)).unwrap();
                    *rules = Arc::new(edit.finish().unwrap());
                }
            }
            set = PolicySet::build(parts(serial.into(), &zones), Some(&set));
            alike(&set, &PolicySet::build(parts(0, &zones), None), many);
        }
    }
}
