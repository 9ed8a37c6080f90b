//! The fast judges beside the slow ones, on made-up worlds.
//!
//! An `Err` tells the first difference.

use std::sync::Arc;

use super::Oracle;
use super::choices::Choices;
use super::query::{Asked, Facts, Link, QueryOracle, Ruling, Verdict};
use super::worlds::{self, World};
use crate::dns::name::Name;
use crate::policy::names::{ApplyError, NameTable, NameWriter};
use crate::policy::rules::ZoneRules;
use crate::policy::set::{Mode, Parts, PolicySet, ZoneSettings};
use crate::policy::spelling;
use crate::policy::stage::{Heard, Hit, NoEvidence, Place, Stage};
use crate::policy::trigger::TriggerKind;

/// Zones of made-up name rules.
const ZONES: usize = 5;
/// How often what is known about a name is made up anew.
const KNOWN_ANEW: usize = 3;

/// What is known later than the query: by kind of trigger.
const LATER: [TriggerKind; 3] = [TriggerKind::Ip, TriggerKind::Nsdname, TriggerKind::Nsip];

/// Judges one made-up query under a made-up policy, and under the generations after it, each
/// built with the one before at hand.
pub fn of_queries(choices: &mut Choices<'_>) -> Result<(), String> {
    let World { mut parts, mut asked, mut chain } = World::new(choices);
    let mut set = PolicySet::build(parts.clone(), None);
    for _ in 0..4 {
        of_query(&set, &parts, &asked, &chain, choices)
            .map_err(|e| format!("{e}\n{asked:?}\n{chain:?}\n{}", told(&parts)))?;
        if choices.is_spent() {
            return Ok(());
        }
        worlds::change(choices, &mut parts);
        set = PolicySet::build(parts.clone(), Some(&set));
        if choices.once_in(2) {
            let next = World::new(&mut choices.clone());
            (asked, chain) = (next.asked, next.chain);
        }
    }
    Ok(())
}

/// Judges one query both ways.
fn of_query(
    set: &PolicySet,
    parts: &Parts,
    asked: &Asked,
    chain: &[Link],
    choices: &mut Choices<'_>,
) -> Result<(), String> {
    let oracle = QueryOracle::new(parts);
    let want = oracle.judge(asked, chain);
    same("with all known", &fast(set, asked, chain), &want)?;
    same("as far as needed", &frugal(set, asked, chain), &want.acts)?;
    for (place, link) in chain.iter().enumerate() {
        // each name on its own, so that those behind the winner are judged as well
        shortcuts(&oracle, set, asked, link, place == 0, choices)?;
    }
    Ok(())
}

/// What is decided stays so whatever becomes known, and what is open may change.
fn shortcuts(
    oracle: &QueryOracle<'_>,
    set: &PolicySet,
    asked: &Asked,
    link: &Link,
    first: bool,
    choices: &mut Choices<'_>,
) -> Result<(), String> {
    let place = Place { first, own: link.own };
    // the oracle takes the first name of a chain for the query's: the root in front moves it
    let root = Link { name: Name::ROOT, own: false, facts: Facts::default() };
    let slow = |facts: &Facts| {
        let link = Link { facts: facts.clone(), ..link.clone() };
        let chain = if first { vec![link] } else { vec![root.clone(), link] };
        oracle.judge(asked, &chain).acts.map(|ruling| Ruling { link: 0, ..ruling })
    };
    let ruling = |hit: Option<Hit<'_>>| hit.map(|hit| told_of(set, 0, &hit));
    let judge = set.judge(asked.client, asked.recursive);
    for _ in 0..KNOWN_ANEW {
        let facts = worlds::facts(choices);
        let mut stage = judge.stage(&link.name, place);
        let at_once = ruling(stage.hit(&NoEvidence));
        same("acts() with the query", &stage.acts(), &at_once.is_some())?;
        if stage.is_decided() {
            same("decided by the query", &at_once, &slow(&facts))?;
        }
        openings(&stage, set, &at_once, &Facts::default(), &slow)?;
        stage.see_addresses(&facts);
        let known = ruling(stage.hit(&facts));
        if stage.open(TriggerKind::Nsdname) | stage.open(TriggerKind::Nsip) == 0 {
            same("decided by the addresses", &known, &slow(&facts))?;
        }
        openings(&stage, set, &known, &facts, &slow)?;
        stage.see_servers(&facts);
        let last = ruling(stage.hit(&facts));
        let mut acting = None;
        stage.each_match(&facts, &mut |hit| {
            if hit.zone.settings.mode == Mode::Enforce && acting.is_none() {
                acting = Some(told_of(set, 0, &hit));
            }
        });
        same("the first match that acts", &acting, &last)?;
        same("acts() with all", &stage.acts(), &last.is_some())?;
        same("one name with all known", &last, &slow(&facts))?;
    }
    Ok(())
}

/// Each zone that is said to be open has a rule that would change the outcome.
fn openings(
    stage: &Stage<'_>,
    set: &PolicySet,
    so_far: &Option<Ruling>,
    known: &Facts,
    slow: &dyn Fn(&Facts) -> Option<Ruling>,
) -> Result<(), String> {
    for kind in LATER {
        let open = stage.open(kind);
        if kind == TriggerKind::Ip && !known.addresses.is_empty() {
            continue;
        }
        for (number, zone) in set.zones().iter().enumerate().filter(|(n, _)| open >> n & 1 == 1) {
            let mut more = Facts { addresses: known.addresses.clone(), ..Facts::default() };
            bait(&zone.rules, kind, &mut more);
            if slow(&more) == *so_far {
                return Err(format!("zone {number} is open by {kind}, but changes nothing"));
            }
        }
    }
    Ok(())
}

/// Makes a rule of this kind match.
fn bait(rules: &ZoneRules, kind: TriggerKind, facts: &mut Facts) {
    let mut prefixes = rules.prefixes.iter().filter(|(other, ..)| *other == kind);
    let address = prefixes.next().map(|(_, net, _)| net.network());
    match kind {
        TriggerKind::Nsdname => {
            let owners = rules.nsdnames.iter().filter_map(|(wire, _)| Name::from_wire(wire).ok());
            facts.servers.extend(owners.take(1));
        }
        TriggerKind::Nsip => facts.server_addresses.extend(address),
        _ => facts.addresses.extend(address),
    }
}

/// The verdict of the fast judge with all known.
fn fast(set: &PolicySet, asked: &Asked, chain: &[Link]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut heard = Heard::default();
    let judge = set.judge(asked.client, asked.recursive);
    for (place, link) in chain.iter().enumerate() {
        let mut stage = judge.stage(&link.name, Place { first: place == 0, own: link.own });
        stage.see_addresses(&link.facts);
        stage.see_servers(&link.facts);
        stage.watching(&mut heard, &link.facts, &mut |hit| {
            verdict.watching.push(told_of(set, place, &hit));
        });
        verdict.acts = stage.hit(&link.facts).map(|hit| told_of(set, place, &hit));
        if verdict.acts.is_some() {
            break;
        }
    }
    verdict
}

/// The rule that acts, by a judge that learns only what could still change the outcome.
fn frugal(set: &PolicySet, asked: &Asked, chain: &[Link]) -> Option<Ruling> {
    let judge = set.judge(asked.client, asked.recursive);
    chain.iter().enumerate().find_map(|(place, link)| {
        let mut stage = judge.stage(&link.name, Place { first: place == 0, own: link.own });
        let mut known = Facts::default();
        if !stage.is_decided() {
            known.addresses.clone_from(&link.facts.addresses);
            stage.see_addresses(&known);
            if stage.open(TriggerKind::Nsdname) | stage.open(TriggerKind::Nsip) != 0 {
                known.clone_from(&link.facts);
                stage.see_servers(&known);
            }
        }
        stage.hit(&known).map(|hit| told_of(set, place, &hit))
    })
}

/// A hit in the oracle's words.
fn told_of(set: &PolicySet, link: usize, hit: &Hit<'_>) -> Ruling {
    let zone = set.zones().iter().position(|zone| Arc::ptr_eq(zone, hit.zone));
    let owner = spelling::owner(hit.trigger, &hit.name, &hit.matched);
    Ruling { link, zone, trigger: hit.trigger, action: hit.action, owner }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, fast: &T, slow: &T) -> Result<(), String> {
    if fast == slow {
        return Ok(());
    }
    Err(format!("{what}: fast and slow differ\n  fast {fast:?}\n  slow {slow:?}"))
}

/// A policy in words, for the reader of a difference.
fn told(parts: &Parts) -> String {
    let mut out = format!("monitor {} ignored {:?}\n", parts.monitor, parts.ignored);
    for (settings, rules) in &parts.zones {
        let ZoneSettings { mode, action, recursive_only, remote, .. } = settings;
        out += &format!("{mode:?} {action:?} recursive_only {recursive_only} remote {remote}\n");
        for kind in [TriggerKind::Qname, TriggerKind::Nsdname] {
            for (wire, code) in rules.by_name(kind) {
                let owner = Name::from_wire(wire).unwrap_or(Name::ROOT);
                out += &format!("  {kind} {owner} {:?}\n", code.action());
            }
        }
        for (kind, net, code) in rules.prefixes.iter() {
            out += &format!("  {kind} {net} {:?}\n", code.action());
        }
        out += &format!("  {:?}\n", rules.data);
    }
    out += &format!("{:?}\n{:?}\n", parts.groups, parts.exceptions.list());
    out
}

/// Made-up name rules of a few zones through deltas, beside a build from nothing.
pub fn of_deltas(choices: &mut Choices<'_>) -> Result<(), String> {
    let mut oracle = Oracle::new();
    let none = std::iter::empty();
    let (mut table, mut writer) = NameWriter::build(none, 0, &mut |_, _| ());
    for _ in 0..8 {
        let count = choices.below(12);
        let add: Vec<(u8, Name, u32)> = (0..count)
            .map(|_| (choices.below(ZONES) as u8, worlds::name(choices), choices.below(3) as u32))
            .filter(|(_, owner, _)| !owner.is_root())
            .collect();
        let mut remove: Vec<(u8, Name)> = oracle.rules().map(|(z, o, _)| (z, *o)).collect();
        remove.retain(|_| choices.once_in(3));
        let old = remove.iter().map(|(zone, owner)| (*zone, owner.as_wire()));
        let new = add.iter().map(|(zone, owner, code)| (*zone, owner.as_wire(), *code));
        match writer.apply(&table, old, new) {
            Ok(next) => table = next,
            // by its words no fault: another key is drawn
            Err(ApplyError::Crowded) => return Ok(()),
            Err(fault) => return Err(format!("a good delta was refused: {fault}")),
        }
        for (zone, owner) in &remove {
            oracle.remove(*zone, owner);
        }
        for (zone, owner, code) in &add {
            oracle.remove(*zone, owner);
            oracle.add(*zone, owner, *code);
        }
        same("nodes after a delta", &table.nodes(), &oracle.nodes())?;
        let asked: Vec<Name> = (0..6).map(|_| worlds::name(choices)).collect();
        of_names(&table, &oracle, asked.iter().chain(add.iter().map(|(_, owner, _)| owner)))?;
        if choices.is_spent() {
            break;
        }
    }
    Ok(())
}

/// The name rules of a zone as loaded: each owner, what lies above it, and what lies below.
pub fn of_zone(rules: &ZoneRules) -> Result<(), String> {
    for kind in [TriggerKind::Qname, TriggerKind::Nsdname] {
        let count = rules.by_name(kind).count();
        let mut oracle = Oracle::new();
        let mut asked = Vec::new();
        for (wire, code) in rules.by_name(kind) {
            let owner = Name::from_wire(wire).map_err(|e| format!("an owner is no name: {e}"))?;
            oracle.add(0, &owner, code.as_u32());
            let below = Name::from_wire(b"\x01x\x00").and_then(|label| label.join(&owner));
            asked.extend([owner, owner.parent()].into_iter().chain(below.ok()));
        }
        let all = rules.by_name(kind).map(|(wire, code)| (0, wire, code.as_u32()));
        let frozen = NameWriter::freeze(all.clone(), count, &mut |_, _| ());
        let (table, _) = NameWriter::build(all, count, &mut |_, _| ());
        for table in [frozen, table] {
            same("nodes of a zone", &table.nodes(), &oracle.nodes())?;
            of_names(&table, &oracle, asked.iter())?;
        }
    }
    Ok(())
}

/// Table and oracle find the same rules for these names, in all zones.
fn of_names<'n>(
    table: &NameTable,
    oracle: &Oracle,
    asked: impl Iterator<Item = &'n Name>,
) -> Result<(), String> {
    for asked in asked {
        let (found, want) = (table.find(asked), oracle.find(asked));
        same(&format!("zones of {asked}"), &found.zones(), &want.zones())?;
        for zone in 0..ZONES as u8 {
            same(&format!("zone {zone} of {asked}"), &found.rule(zone), &want.rule(zone))?;
        }
    }
    Ok(())
}
