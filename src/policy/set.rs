//! One generation of policy: all zones in their order, the views of them, the exceptions, and
//! one matcher over all of it.

use std::sync::Arc;

use super::action::{Action, ActionCode, CnameTarget, LocalData};
use super::exceptions::{self, Exceptions};
use super::rules::ZoneRules;
use super::tables::Tables;
use super::trigger::TriggerKind;
use super::view::{Group, View, Views};
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
    /// Text of that extended error.
    pub ede_text: Arc<str>,
    /// It comes from elsewhere: its rules leave the operator's own hosts and routed names alone.
    pub remote: bool,
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

    /// The action of a rule after the zone's override. `own` is the name that the rule looked
    /// at, if it looked at one.
    pub fn effective(&self, code: u32, own: Option<&Name>) -> Action {
        match &self.settings.action {
            Override::Given => {
                let action = ActionCode::from_u32(code).action();
                match self.data(action).and_then(LocalData::cname) {
                    // the old spelling of passthru: an alias to the very name (also by wildcard)
                    Some(CnameTarget::Literal(target)) if Some(target) == own => Action::Passthru,
                    _ => action,
                }
            }
            Override::Action(action) => *action,
            Override::Cname(_) => Action::Data(0),
        }
    }
}

/// What a generation is made of.
#[derive(Clone)]
pub struct Parts {
    /// Its number; counts up with every change.
    pub generation: u64,
    /// The zones in their order. At most [`limits::POLICY_ZONES`] are taken; the configuration
    /// refuses more.
    pub zones: Vec<(ZoneSettings, Arc<ZoneRules>)>,
    /// Clients with zones of their own.
    pub groups: Vec<Group>,
    /// Names let through or blocked by hand.
    pub exceptions: Arc<Exceptions>,
    /// No zone and no exception acts: everything is logged only.
    pub monitor: bool,
    /// Triggers that are not judged, whatever zones hold.
    pub ignored: Vec<TriggerKind>,
}

impl Parts {
    /// Zones and nothing else.
    pub fn of_zones(generation: u64, zones: Vec<(ZoneSettings, Arc<ZoneRules>)>) -> Parts {
        Parts {
            generation,
            zones,
            groups: Vec::new(),
            exceptions: Arc::default(),
            monitor: false,
            ignored: Vec::new(),
        }
    }
}

/// All zones of one generation. Immutable; look-ups take no lock and no memory.
pub struct PolicySet {
    /// Counts up with every change.
    pub generation: u64,
    zones: Vec<Arc<Zone>>,
    pub(super) tables: Arc<Tables>,
    pub(super) views: Views,
    exceptions: Arc<Exceptions>,
    /// What exceptions are shown as.
    pub(super) exception_zone: Arc<Zone>,
    /// Exceptions act; otherwise they are logged only.
    pub(super) exceptions_act: bool,
    /// Zones that have rules of a kind which is judged, by kind.
    pub(super) present: [u64; TriggerKind::ALL.len()],
    /// Zones whose rules act, one bit each.
    pub(super) enforcing: u64,
    /// Zones whose rules only log.
    pub(super) watching: u64,
    /// Zones that leave queries without RD alone.
    pub(super) recursive_only: u64,
    /// Zones that come from elsewhere.
    pub(super) remote: u64,
}

impl PolicySet {
    /// No zone at all.
    pub fn empty() -> PolicySet {
        PolicySet::build(Parts::of_zones(0, Vec::new()), None)
    }

    /// Freezes the parts into a set. If the rules are those of `previous`, its tables are taken
    /// over, and the cost does not depend on the number of rules. If some are a change of those,
    /// it goes with the change; that works for one successor of each set, any other is built from
    /// nothing.
    pub fn build(parts: Parts, previous: Option<&PolicySet>) -> PolicySet {
        let Parts { generation, mut zones, groups, exceptions, monitor, ignored } = parts;
        zones.truncate(limits::POLICY_ZONES);
        let rules: Vec<_> = zones.iter().map(|(_, rules)| Arc::clone(rules)).collect();
        let tables = match previous {
            Some(previous) if previous.tables.are_of(&rules) => Arc::clone(&previous.tables),
            Some(previous) => Arc::new(Tables::next(rules, &previous.tables)),
            None => Arc::new(Tables::build(rules)),
        };
        if monitor {
            for (settings, _) in zones.iter_mut().filter(|(s, _)| s.mode == Mode::Enforce) {
                settings.mode = Mode::Monitor;
            }
        }
        let mask = |wanted: &dyn Fn(&ZoneSettings) -> bool| {
            let hit = zones.iter().enumerate().filter(|(_, (settings, _))| wanted(settings));
            hit.fold(0u64, |mask, (i, _)| mask | 1 << i)
        };
        let present = TriggerKind::ALL
            .map(|kind| if ignored.contains(&kind) { 0 } else { tables.present(kind) });
        PolicySet {
            generation,
            views: Views::new(zones.len(), &groups),
            exception_zone: exception_zone(monitor),
            exceptions_act: !monitor,
            present,
            enforcing: mask(&|s| s.mode == Mode::Enforce),
            watching: mask(&|s| s.mode == Mode::Monitor),
            recursive_only: mask(&|s| s.recursive_only),
            remote: mask(&|s| s.remote),
            zones: zones
                .into_iter()
                .zip(tables.duplicates())
                .map(|((settings, rules), duplicates)| {
                    Arc::new(Zone { settings, rules, duplicates })
                })
                .collect(),
            tables,
            exceptions,
        }
    }

    /// The zones, in their order.
    pub fn zones(&self) -> &[Arc<Zone>] {
        &self.zones
    }

    /// The exceptions.
    pub fn exceptions(&self) -> &Arc<Exceptions> {
        &self.exceptions
    }

    /// All views, everybody's first.
    pub fn views(&self) -> &[View] {
        self.views.all()
    }

    /// No zone and no exception acts: everything is logged only.
    pub fn only_watches(&self) -> bool {
        !self.exceptions_act
    }

    /// Kinds of triggers that zones have rules of, but that are not judged.
    pub fn ignored(&self) -> impl Iterator<Item = TriggerKind> + '_ {
        let all = TriggerKind::ALL.into_iter();
        all.filter(|kind| self.tables.present(*kind) != self.present[*kind as usize])
    }

    /// True if some rule may match that only logs.
    #[inline]
    pub fn is_watching(&self) -> bool {
        self.watching != 0 || (!self.exceptions_act && !self.exceptions.is_empty())
    }

    /// Memory of the matcher in octets, the loaded rules not counted.
    pub fn bytes(&self) -> usize {
        self.tables.bytes()
    }
}

/// What exceptions are shown as: a zone without rules of its own.
fn exception_zone(monitor: bool) -> Arc<Zone> {
    // the name in the constant is a valid one
    let name = exceptions::ZONE.parse().unwrap_or(Name::ROOT);
    let settings = ZoneSettings {
        name,
        mode: if monitor { Mode::Monitor } else { Mode::Enforce },
        action: Override::Given,
        recursive_only: false,
        add_soa: false,
        max_ttl: limits::EXCEPTION_TTL,
        ede: Some(crate::dns::ede::code::BLOCKED),
        ede_text: Arc::from("blocked by the operator"),
        remote: false,
        log: true,
    };
    let mut rules = ZoneRules::none(name);
    // how long clients may remember that a name is blocked
    rules.soa.minimum = limits::EXCEPTION_TTL;
    Arc::new(Zone { settings, rules: Arc::new(rules), duplicates: 0 })
}
