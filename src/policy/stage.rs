//! The judgement of one name: the query's own, or one that its alias chain leads to.

use std::sync::Arc;

use super::action::Action;
use super::names::{Found, NameRule};
use super::set::{PolicySet, Zone};
use super::trigger::TriggerKind;
use crate::dns::name::Name;

/// A rule that matched.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'s> {
    /// The zone it stands in.
    pub zone: &'s Arc<Zone>,
    /// What it looked at.
    pub trigger: TriggerKind,
    /// What it does, the zone's override included.
    pub action: Action,
    /// The name that was judged.
    pub name: Name,
    /// Labels of the rule's owner that belong to `name`, counted from the right.
    pub labels: u8,
    /// The rule's owner begins with `*`.
    pub wildcard: bool,
}

/// All rules that match one name.
pub struct Stage<'s> {
    set: &'s PolicySet,
    found: Option<Found<'s>>,
    name: Name,
    zones: u64,
}

impl PolicySet {
    /// Judges a name. Without `recursive` (RD=0), zones that want recursion are left out. The
    /// root is never rewritten.
    pub fn stage(&self, name: &Name, recursive: bool) -> Stage<'_> {
        let mut zones = self.enforcing | self.watching;
        if !recursive {
            zones &= !self.recursive_only;
        }
        if zones == 0 || name.is_root() {
            return Stage { set: self, found: None, name: *name, zones: 0 };
        }
        let found = self.names.find(name);
        let zones = zones & found.zones();
        Stage { set: self, found: Some(found), name: *name, zones }
    }
}

impl<'s> Stage<'s> {
    /// True if no rule matches, not even one that only logs.
    #[inline]
    pub fn is_clean(&self) -> bool {
        self.zones == 0
    }

    /// The rule that acts: that of the first enforcing zone with a match.
    pub fn winner(&self) -> Option<Hit<'s>> {
        self.first(self.zones & self.set.enforcing)
    }

    /// Matches in zones that only watch, also behind the winner.
    pub fn watching(&self) -> impl Iterator<Item = Hit<'s>> + '_ {
        let mut left = self.zones & self.set.watching;
        std::iter::from_fn(move || {
            let hit = self.first(left)?;
            left &= left - 1;
            Some(hit)
        })
    }

    fn first(&self, zones: u64) -> Option<Hit<'s>> {
        if zones == 0 {
            return None;
        }
        let index = zones.trailing_zeros();
        let NameRule { action, wildcard, labels } = self.found.as_ref()?.rule(index as u8)?;
        let zone = self.set.zones().get(index as usize)?;
        let (name, trigger) = (self.name, TriggerKind::Qname);
        let action = zone.effective(action, &name);
        Some(Hit { zone, trigger, action, name, labels, wildcard })
    }
}
