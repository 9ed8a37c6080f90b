//! The merged matchers over the rules of all zones: names, server names, and three tables of
//! prefixes. Look-ups cost the same for one zone and for many.
//!
//! ```text
//!   rules of all zones ──────────────────────────────────► build: everything anew
//!   rules of which some are a change of the last ones ───► next:  names   by the writer's delta
//!                                                                 others  taken over, or anew
//!                                                                         where touched
//! ```

use std::sync::Arc;

use ipnet::IpNet;

use super::names::{NameTable, NameWriter};
use super::prefixes::PrefixTable;
use super::rules::ZoneRules;
use super::trigger::TriggerKind;
use super::version::{Change, Handover};

/// Rules that an earlier one with the same trigger made void, by kind and zone.
type Duplicates = [Vec<u64>; TriggerKind::ALL.len()];

/// All rules of all zones, frozen.
pub(super) struct Tables {
    /// What they were made of, in the order of the zones.
    rules: Vec<Arc<ZoneRules>>,
    /// QNAME rules.
    pub(super) names: NameTable,
    /// NSDNAME rules.
    pub(super) nsdnames: Arc<NameTable>,
    /// CLIENT-IP rules.
    pub(super) clients: Arc<PrefixTable>,
    /// IP rules.
    pub(super) addresses: Arc<PrefixTable>,
    /// NSIP rules.
    pub(super) servers: Arc<PrefixTable>,
    duplicates: Duplicates,
    /// Makes the next names; none if no zone was changed so far, as that costs memory.
    writer: Handover<NameWriter>,
}

impl Tables {
    /// Freezes the rules of zones in their order. Takes a while with a million rules.
    pub(super) fn build(rules: Vec<Arc<ZoneRules>>) -> Tables {
        let mut duplicates = TriggerKind::ALL.map(|_| vec![0; rules.len()]);
        let (names, writer) = named_for_changes(&rules, &mut duplicates);
        let mut prefixes = |kind| Arc::new(prefixed(&rules, kind, &mut duplicates));
        let clients = prefixes(TriggerKind::ClientIp);
        let addresses = prefixes(TriggerKind::Ip);
        let servers = prefixes(TriggerKind::Nsip);
        let nsdnames = Arc::new(named(&rules, TriggerKind::Nsdname, &mut duplicates));
        let writer = Handover::new(writer);
        Tables { rules, names, nsdnames, clients, addresses, servers, duplicates, writer }
    }

    /// Freezes rules that may be a change of the last ones. If they are, the cost goes with the
    /// change, and what stays is shared; else it is that of [`Tables::build`].
    pub(super) fn next(rules: Vec<Arc<ZoneRules>>, last: &Tables) -> Tables {
        match Tables::changed(&rules, last) {
            Some(tables) => tables,
            None => Tables::build(rules),
        }
    }

    fn changed(rules: &[Arc<ZoneRules>], last: &Tables) -> Option<Tables> {
        if rules.len() != last.rules.len() {
            return None;
        }
        let mut changes: Vec<(u8, Change)> = Vec::new();
        for ((zone, new), old) in (0u8..).zip(rules).zip(&last.rules) {
            if !Arc::ptr_eq(new, old) {
                changes.push((zone, new.take_change(old.id())?));
            }
        }
        let mut writer = last.writer.take()?;
        let removed = changes
            .iter()
            .flat_map(|(zone, change)| change.removed.iter().map(move |(owner, _)| (*zone, owner)));
        let put = changes.iter().flat_map(|(zone, change)| {
            change.put.iter().map(move |(owner, code)| (*zone, owner, code.as_u32()))
        });
        let names = writer.apply(&last.names, removed, put).ok()?;
        let is_touched =
            |kind: TriggerKind| changes.iter().any(|(_, change)| change.others[kind as usize]);
        let mut duplicates = last.duplicates.clone();
        let nsdnames = match is_touched(TriggerKind::Nsdname) {
            false => Arc::clone(&last.nsdnames),
            true => Arc::new(named(rules, TriggerKind::Nsdname, &mut duplicates)),
        };
        let mut prefixes = |kind, table: &Arc<PrefixTable>| match is_touched(kind) {
            false => Arc::clone(table),
            true => Arc::new(prefixed(rules, kind, &mut duplicates)),
        };
        Some(Tables {
            names,
            nsdnames,
            clients: prefixes(TriggerKind::ClientIp, &last.clients),
            addresses: prefixes(TriggerKind::Ip, &last.addresses),
            servers: prefixes(TriggerKind::Nsip, &last.servers),
            duplicates,
            writer: Handover::new(Some(writer)),
            rules: rules.to_vec(),
        })
    }

    /// True if these are the very rules it was made of.
    pub(super) fn are_of(&self, rules: &[Arc<ZoneRules>]) -> bool {
        self.rules.len() == rules.len()
            && self.rules.iter().zip(rules).all(|(old, new)| Arc::ptr_eq(old, new))
    }

    /// Zones that have rules of a kind, one bit each.
    pub(super) fn present(&self, kind: TriggerKind) -> u64 {
        let has = |zone: &ZoneRules| match kind {
            TriggerKind::Qname => !zone.names.is_empty(),
            TriggerKind::Nsdname => !zone.nsdnames.is_empty(),
            TriggerKind::ClientIp | TriggerKind::Ip | TriggerKind::Nsip => {
                zone.counts.by_trigger(kind) > 0
            }
        };
        let with = self.rules.iter().enumerate().filter(|(_, zone)| has(zone));
        with.fold(0, |mask, (i, _)| mask | 1 << i)
    }

    /// Rules of each zone that an earlier one with the same trigger made void.
    pub(super) fn duplicates(&self) -> Vec<u64> {
        let of = |zone: usize| self.duplicates.iter().filter_map(move |kind| kind.get(zone));
        (0..self.rules.len()).map(|zone| of(zone).sum()).collect()
    }

    /// The table of a kind that compares prefixes.
    pub(super) fn prefixes(&self, kind: TriggerKind) -> &PrefixTable {
        match kind {
            TriggerKind::ClientIp => &self.clients,
            TriggerKind::Nsip => &self.servers,
            _ => &self.addresses,
        }
    }

    /// Memory in octets, the loaded rules not counted.
    pub(super) fn bytes(&self) -> usize {
        let prefixes = [&self.clients, &self.addresses, &self.servers];
        self.names.bytes()
            + self.nsdnames.bytes()
            + prefixes.iter().map(|table| table.bytes()).sum::<usize>()
            + self.writer.look(NameWriter::bytes).unwrap_or_default()
    }
}

/// The rules on names of a kind: zone, owner, code.
fn on_names(rules: &[Arc<ZoneRules>], kind: TriggerKind) -> impl Iterator<Item = (u8, &[u8], u32)> {
    rules.iter().zip(0u8..).flat_map(move |(zone, number)| {
        zone.by_name(kind).map(move |(owner, code)| (number, owner, code.as_u32()))
    })
}

/// About how many they are.
fn expected(rules: &[Arc<ZoneRules>], kind: TriggerKind) -> usize {
    rules.iter().map(|zone| zone.counts.by_trigger(kind) as usize).sum()
}

/// One table of names over all zones.
fn named(rules: &[Arc<ZoneRules>], kind: TriggerKind, duplicates: &mut Duplicates) -> NameTable {
    let mut void = count(rules, kind, duplicates);
    NameWriter::freeze(on_names(rules, kind), expected(rules, kind), &mut |zone, _| void(zone))
}

/// The QNAME rules, and what makes their next version, if it is to be expected.
fn named_for_changes(
    rules: &[Arc<ZoneRules>],
    duplicates: &mut Duplicates,
) -> (NameTable, Option<NameWriter>) {
    let kind = TriggerKind::Qname;
    if !rules.iter().any(|zone| zone.is_edited()) {
        return (named(rules, kind, duplicates), None);
    }
    let mut void = count(rules, kind, duplicates);
    let all = on_names(rules, kind);
    let (names, writer) = NameWriter::build(all, expected(rules, kind), &mut |zone, _| void(zone));
    (names, Some(writer))
}

/// One table of prefixes over all zones.
fn prefixed(
    rules: &[Arc<ZoneRules>],
    kind: TriggerKind,
    duplicates: &mut Duplicates,
) -> PrefixTable {
    let mut void = count(rules, kind, duplicates);
    let all = rules.iter().zip(0u8..).flat_map(move |(zone, number)| {
        let own = zone.prefixes.iter().filter(move |(k, ..)| *k == kind);
        own.map(move |(_, net, code)| (number, *net, code.as_u32()))
    });
    PrefixTable::build(all, &mut |zone, _: &IpNet| void(zone))
}

/// Counts the duplicates of a kind anew, by zone.
fn count<'d>(
    rules: &[Arc<ZoneRules>],
    kind: TriggerKind,
    duplicates: &'d mut Duplicates,
) -> impl FnMut(u8) + use<'d> {
    let own = &mut duplicates[kind as usize];
    *own = vec![0; rules.len()];
    |zone| {
        if let Some(count) = own.get_mut(usize::from(zone)) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use super::*;
    use crate::dns::name::Name;
    use crate::policy::action::ActionCode;
    use crate::policy::records::{Kept, Record, RecordStore};
    use crate::policy::rules::{NameRules, RuleArena};

    type Names = BTreeMap<Name, u32>;

    fn labels(name: &Name) -> &[u8] {
        &name.as_wire()[..name.len() - 1]
    }

    fn owner(rng: &mut fastrand::Rng) -> Name {
        let name = (0..rng.usize(1..4)).map(|_| ["a", "b", "c", "d"][rng.usize(..4)]);
        let name = name.collect::<Vec<_>>().join(".");
        if rng.u8(..4) == 0 { format!("*.{name}") } else { name }.parse().unwrap()
    }

    /// A zone with these QNAME rules, and one of each other kind that holds `other`.
    fn zone(names: &Names, other: u8) -> ZoneRules {
        let mut rules = ZoneRules::none("rpz.test".parse().unwrap());
        let all = names.iter().map(|(name, code)| (labels(name), kept(*code)));
        rules.names = NameRules::Kept(RecordStore::empty(3).derive(all));
        others(&mut rules, other);
        rules
    }

    fn kept(code: u32) -> Option<Kept<'static>> {
        let records = vec![Record { rtype: 5, ttl: 1, rdata: &[0] }];
        Some(Kept { code: Some(ActionCode::from_u32(code)), records })
    }

    fn others(rules: &mut ZoneRules, other: u8) {
        let code = ActionCode::from_u32(other.into());
        let mut servers = RuleArena::default();
        servers.push(&[1, b'a' + other], code);
        // twice: the second one is void
        servers.push(&[1, b'a' + other], code);
        let net = IpNet::from(IpAddr::from([10, 0, 0, other]));
        let kinds = [TriggerKind::ClientIp, TriggerKind::Ip, TriggerKind::Nsip];
        rules.nsdnames = Arc::new(servers);
        rules.prefixes = Arc::new(kinds.map(|kind| (kind, net, code)).into());
    }

    /// The next version of a zone, with its change.
    fn changed(old: &ZoneRules, names: &mut Names, rng: &mut fastrand::Rng) -> ZoneRules {
        let mut change = Change { since: old.id(), ..Change::default() };
        let mut put = Names::new();
        for (name, code) in std::mem::take(names) {
            match rng.u8(..4) {
                0 => change.removed.push(labels(&name), ActionCode::from_u32(0)),
                1 => drop(put.insert(name, code + 1)),
                _ => drop(names.insert(name, code)),
            }
        }
        for _ in 0..rng.usize(..6) {
            put.entry(owner(rng)).or_insert(rng.u32(..4));
        }
        put.retain(|name, _| !names.contains_key(name));
        put.iter().for_each(|(name, code)| {
            change.put.push(labels(name), ActionCode::from_u32(*code));
        });
        names.append(&mut put);
        let mut next = zone(names, 0);
        (next.nsdnames, next.prefixes) = (Arc::clone(&old.nsdnames), Arc::clone(&old.prefixes));
        if rng.bool() {
            others(&mut next, rng.u8(..8));
            change.others = [true; 5];
        }
        next.set_change(change);
        next
    }

    /// All that the tables can be asked for.
    fn told(tables: &Tables) -> Vec<String> {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut out = vec![format!("{:?}", tables.duplicates())];
        for _ in 0..300 {
            let name = owner(&mut rng);
            let found = tables.names.find(&name);
            let rules: Vec<_> = (0..3).map(|zone| found.rule(zone)).collect();
            out.push(format!("{name} {rules:?} {}", tables.nsdnames.find(&name).zones()));
        }
        for n in 0..8 {
            let address = IpAddr::from([10, 0, 0, n]);
            let kinds = [TriggerKind::ClientIp, TriggerKind::Ip, TriggerKind::Nsip];
            let rules = kinds
                .map(|kind| [0, 1, 2].map(|zone| tables.prefixes(kind).longest(zone, address)));
            out.push(format!("{address} {rules:?}"));
        }
        out
    }

    #[test]
    fn tables_that_follow_changes_are_those_built_anew() {
        for seed in 0..20 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut names: [Names; 3] = Default::default();
            for zone in &mut names {
                zone.extend((0..30).map(|n| (owner(&mut rng), n % 3)));
            }
            let mut rules: Vec<_> = names.iter().map(|names| Arc::new(zone(names, 1))).collect();
            let mut tables = Tables::build(rules.clone());
            for step in 0..12 {
                for (rules, names) in rules.iter_mut().zip(&mut names) {
                    if step == 0 || rng.bool() {
                        *rules = Arc::new(changed(rules, names, &mut rng));
                    }
                }
                let (last, shared) = (tables.rules.clone(), Arc::clone(&tables.nsdnames));
                let next = Tables::changed(&rules, &tables);
                // the first change finds no writer
                assert_eq!(next.is_some(), step > 0, "step {step}");
                tables = next.unwrap_or_else(|| Tables::build(rules.clone()));
                assert_eq!(told(&tables), told(&Tables::build(rules.clone())));
                let mut zones = last.iter().zip(&rules);
                let stays = zones.all(|(a, b)| Arc::ptr_eq(&a.nsdnames, &b.nsdnames));
                let is_shared = Arc::ptr_eq(&shared, &tables.nsdnames);
                assert_eq!(is_shared, stays && step > 0, "what no change names is shared");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_built_anew() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut names: Names = (0..30).map(|n| (owner(&mut rng), n)).collect();
        let first = Arc::new(zone(&names, 1));
        let second = Arc::new(changed(&first, &mut names, &mut rng));
        let third = Arc::new(changed(&second, &mut names, &mut rng));
        let old = Tables::build(vec![Arc::clone(&second)]);
        assert!(old.writer.look(|_| ()).is_some() && old.bytes() > 0);
        assert!(Tables::changed(&[Arc::clone(&first)], &old).is_none(), "no change at all");
        assert!(Tables::changed(&[Arc::clone(&third), Arc::clone(&first)], &old).is_none());
        let before = Tables::build(vec![Arc::clone(&first)]);
        assert!(before.writer.look(|_| ()).is_none(), "files cost no writer");
        assert!(Tables::changed(&[Arc::clone(&third)], &before).is_none(), "a version between");
        assert!(Tables::changed(&[Arc::clone(&third)], &old).is_some());
        assert!(Tables::changed(&[Arc::clone(&third)], &old).is_none(), "once only");
        assert_eq!(
            told(&Tables::next(vec![Arc::clone(&third)], &old)),
            told(&Tables::build(vec![third]))
        );
    }
}
