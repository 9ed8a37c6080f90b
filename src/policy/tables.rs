//! The merged matchers over the rules of all zones: names, server names, and three tables of
//! prefixes. Look-ups cost the same for one zone and for many.

use std::sync::Arc;

use ipnet::IpNet;

use super::names::{NameTable, NameWriter};
use super::prefixes::PrefixTable;
use super::rules::ZoneRules;
use super::trigger::TriggerKind;

/// All rules of all zones, frozen.
pub(super) struct Tables {
    /// What they were made of, in the order of the zones.
    rules: Vec<Arc<ZoneRules>>,
    /// QNAME rules.
    pub(super) names: NameTable,
    /// NSDNAME rules.
    pub(super) nsdnames: NameTable,
    /// CLIENT-IP rules.
    pub(super) clients: PrefixTable,
    /// IP rules.
    pub(super) addresses: PrefixTable,
    /// NSIP rules.
    pub(super) servers: PrefixTable,
    duplicates: Vec<u64>,
}

impl Tables {
    /// Freezes the rules of zones in their order. Takes a while with a million rules.
    pub(super) fn build(rules: Vec<Arc<ZoneRules>>) -> Tables {
        let mut duplicates = vec![0; rules.len()];
        let mut void = |zone: u8| duplicates[usize::from(zone)] += 1;
        let names = named(&rules, TriggerKind::Qname, &mut void);
        let nsdnames = named(&rules, TriggerKind::Nsdname, &mut void);
        let mut prefixes = |kind| {
            let all = rules.iter().zip(0u8..).flat_map(move |(zone, number)| {
                let own = zone.prefixes.iter().filter(move |(k, ..)| *k == kind);
                own.map(move |(_, net, code)| (number, *net, code.as_u32()))
            });
            PrefixTable::build(all, &mut |zone, _: &IpNet| void(zone))
        };
        let clients = prefixes(TriggerKind::ClientIp);
        let addresses = prefixes(TriggerKind::Ip);
        let servers = prefixes(TriggerKind::Nsip);
        Tables { rules, names, nsdnames, clients, addresses, servers, duplicates }
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
    pub(super) fn duplicates(&self) -> &[u64] {
        &self.duplicates
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
    }
}

/// One table of names over all zones.
fn named(rules: &[Arc<ZoneRules>], kind: TriggerKind, void: &mut dyn FnMut(u8)) -> NameTable {
    let all = rules.iter().zip(0u8..).flat_map(move |(zone, number)| {
        zone.by_name(kind).map(move |(owner, code)| (number, owner, code.as_u32()))
    });
    let expected = rules.iter().map(|zone| zone.counts.by_trigger(kind) as usize).sum();
    NameWriter::freeze(all, expected, &mut |zone, _| void(zone))
}
