//! One generation of policy: all zones in their order, and one matcher over all of them.

use std::sync::Arc;

use super::action::{Action, ActionCode, CnameTarget, LocalData};
use super::names::{NameTable, NameWriter};
use super::rules::ZoneRules;
use crate::dns::name::Name;
use crate::limits;

/// What a zone's rules may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rules act and are logged.
    Enforce,
    /// Rules are logged, nothing happens.
    Monitor,
    /// The zone is not looked at.
    Off,
}

/// What replaces the action of every rule of a zone, passthru rules included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// Nothing: rules do what they say.
    Given,
    /// One of the fixed actions.
    Action(Action),
    /// An alias to a walled garden.
    Cname(LocalData),
}

/// An operator's settings for one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSettings {
    /// The zone's name.
    pub name: Name,
    /// What its rules may do.
    pub mode: Mode,
    /// What replaces its actions.
    pub action: Override,
    /// Queries without RD are not judged by it.
    pub recursive_only: bool,
    /// Its SOA goes into the additional section of answers that it changed.
    pub add_soa: bool,
    /// Upper bound of the TTL of its records in answers, in seconds.
    pub max_ttl: u32,
    /// Extended error code of answers that it changed.
    pub ede: Option<u16>,
    /// Its matches are logged.
    pub log: bool,
}

/// One zone within a generation.
#[derive(Debug)]
pub struct Zone {
    /// Settings; `mode` is the effective one, the relay's own switch included.
    pub settings: ZoneSettings,
    /// Rules as loaded.
    pub rules: Arc<ZoneRules>,
    /// Rules that a second one of the same trigger made void: the first counts.
    pub duplicates: u64,
}

impl Zone {
    /// The local data of an action, whether the rule's own or the zone's override.
    pub fn data(&self, action: Action) -> Option<&LocalData> {
        match (&self.settings.action, action) {
            (Override::Cname(data), Action::Data(_)) => Some(data),
            (_, Action::Data(i)) => self.rules.data.get(i as usize),
            _ => None,
        }
    }

    /// The action of a rule on `name`, after the zone's override.
    pub(super) fn effective(&self, code: u32, name: &Name) -> Action {
        match &self.settings.action {
            Override::Given => {
                let action = ActionCode::from_u32(code).action();
                match self.data(action).and_then(LocalData::cname) {
                    // the old spelling of passthru: an alias to the very name (also by wildcard)
                    Some(CnameTarget::Literal(target)) if target == name => Action::Passthru,
                    _ => action,
                }
            }
            Override::Action(action) => *action,
            Override::Cname(_) => Action::Data(0),
        }
    }
}

/// All zones of one generation. Immutable; look-ups take no lock and no memory.
pub struct PolicySet {
    /// Counts up with every change.
    pub generation: u64,
    zones: Vec<Arc<Zone>>,
    pub(super) names: NameTable,
    /// Zones whose rules act, one bit each.
    pub(super) enforcing: u64,
    /// Zones whose rules only log.
    pub(super) watching: u64,
    /// Zones that leave queries without RD alone.
    pub(super) recursive_only: u64,
}

impl PolicySet {
    /// No zone at all.
    pub fn empty() -> PolicySet {
        PolicySet {
            generation: 0,
            zones: Vec::new(),
            names: NameTable::empty(),
            enforcing: 0,
            watching: 0,
            recursive_only: 0,
        }
    }

    /// Freezes zones, in their order, into a set. At most [`limits::POLICY_ZONES`] are taken;
    /// the configuration refuses more.
    pub fn build(generation: u64, zones: Vec<(ZoneSettings, Arc<ZoneRules>)>) -> PolicySet {
        let zones = &zones[..zones.len().min(limits::POLICY_ZONES)];
        let rules = zones.iter().zip(0u8..).flat_map(|((_, rules), i)| {
            rules.names.iter().map(move |(owner, code)| (i, owner, code.as_u32()))
        });
        let expected = zones.iter().map(|(_, rules)| rules.names.len()).sum();
        let mut duplicates = vec![0; zones.len()];
        let (names, _) = NameWriter::build(rules, expected, &mut |zone, _| {
            duplicates[usize::from(zone)] += 1;
        });
        let mask = |wanted: &dyn Fn(&ZoneSettings) -> bool| {
            let hit = zones.iter().enumerate().filter(|(_, (settings, _))| wanted(settings));
            hit.fold(0u64, |mask, (i, _)| mask | 1 << i)
        };
        PolicySet {
            generation,
            enforcing: mask(&|s| s.mode == Mode::Enforce),
            watching: mask(&|s| s.mode == Mode::Monitor),
            recursive_only: mask(&|s| s.recursive_only),
            names,
            zones: zones
                .iter()
                .zip(duplicates)
                .map(|((settings, rules), duplicates)| {
                    let (settings, rules) = (settings.clone(), Arc::clone(rules));
                    Arc::new(Zone { settings, rules, duplicates })
                })
                .collect(),
        }
    }

    /// The zones, in their order.
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    /// True if some zone only watches.
    #[inline]
    pub fn is_watching(&self) -> bool {
        self.watching != 0
    }

    /// Memory of the matcher in octets, the loaded rules not counted.
    pub fn bytes(&self) -> usize {
        self.names.bytes()
    }
}
