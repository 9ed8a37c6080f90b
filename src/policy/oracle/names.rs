//! A slow, obvious matcher for names: RFC 4592 word by word, one zone at a time.
//!
//! ```text
//!   name asked ─▶ its owner is there?            ─▶ that rule
//!              └▶ nearest ancestor that exists   ─▶ `*` directly under it, or nothing
//! ```

use crate::dns::name::{Name, NameBuilder};
use crate::policy::names::{ActionCode, MAX_ZONES, NameRule};
use std::collections::BTreeMap;

/// The rules of all zones, by owner.
pub struct Oracle {
    zones: Vec<BTreeMap<Name, ActionCode>>,
}

/// The rules that cover one name.
pub struct OracleFound {
    rules: Vec<Option<NameRule>>,
}

impl Default for Oracle {
    fn default() -> Self {
        Oracle::new()
    }
}

impl Oracle {
    /// No rules.
    pub fn new() -> Oracle {
        Oracle { zones: vec![BTreeMap::new(); MAX_ZONES as usize] }
    }

    /// Adds a rule; false if zone and owner have one, which stays, or if the owner is the
    /// root or the zone is not below [`MAX_ZONES`].
    pub fn add(&mut self, zone: u8, owner: &Name, action: ActionCode) -> bool {
        let Some(rules) = self.zones.get_mut(zone as usize) else { return false };
        if owner.is_root() || rules.contains_key(owner) {
            return false;
        }
        rules.insert(*owner, action);
        true
    }

    /// Removes a rule; false if it is not there.
    pub fn remove(&mut self, zone: u8, owner: &Name) -> bool {
        self.zones.get_mut(zone as usize).is_some_and(|rules| rules.remove(owner).is_some())
    }

    /// The rules that cover `name`, in all zones.
    pub fn find(&self, name: &Name) -> OracleFound {
        OracleFound { rules: self.zones.iter().map(|rules| find(rules, name)).collect() }
    }

    /// All rules: zone, owner, action.
    pub fn rules(&self) -> impl Iterator<Item = (u8, &Name, ActionCode)> {
        let zones = self.zones.iter().enumerate();
        zones.flat_map(|(zone, rules)| rules.iter().map(move |(o, &a)| (zone as u8, o, a)))
    }

    /// Names that exist in some zone, the root not counted.
    pub fn nodes(&self) -> usize {
        let mut names = std::collections::BTreeSet::new();
        for (_, owner, _) in self.rules() {
            let mut name = if owner.is_wildcard() { owner.parent() } else { *owner };
            while !name.is_root() {
                names.insert(name);
                name = name.parent();
            }
        }
        names.len()
    }
}

impl OracleFound {
    /// The zones that have a rule for the name. Bit n is zone n.
    pub fn zones(&self) -> u64 {
        let matched = self.rules.iter().enumerate().filter(|(_, rule)| rule.is_some());
        matched.fold(0, |mask, (zone, _)| mask | 1 << zone)
    }

    /// The rule of one zone.
    pub fn rule(&self, zone: u8) -> Option<NameRule> {
        self.rules.get(zone as usize).copied().flatten()
    }
}

/// The owner and code of the rule of one zone for `name`.
pub(super) fn covering(
    rules: &BTreeMap<Name, ActionCode>,
    name: &Name,
) -> Option<(Name, ActionCode)> {
    let owner = owner_for(rules, name)?;
    rules.get(&owner).map(|&action| (owner, action))
}

/// The rule of one zone for `name`, as the table tells it.
fn find(rules: &BTreeMap<Name, ActionCode>, name: &Name) -> Option<NameRule> {
    let (owner, action) = covering(rules, name)?;
    let wildcard = owner.is_wildcard();
    let labels = owner.label_count() - usize::from(wildcard);
    Some(NameRule { action, wildcard, labels: labels as u8 })
}

/// The only owner that may cover `name`, given the names that exist.
fn owner_for(rules: &BTreeMap<Name, ActionCode>, name: &Name) -> Option<Name> {
    if name.is_root() {
        return None;
    }
    if rules.contains_key(name) {
        return Some(*name);
    }
    if exists(rules, name) {
        return None;
    }
    let mut encloser = name.parent();
    while !encloser.is_root() && !exists(rules, &encloser) {
        encloser = encloser.parent();
    }
    let mut source = NameBuilder::new();
    // the `*` and the encloser are no longer than the name asked for
    source.push_label(b"*").ok()?;
    for label in encloser.labels() {
        source.push_label(label).ok()?;
    }
    Some(source.finish())
}

/// A name exists if it owns a rule or an owner lies below it (RFC 4592 section 2.2).
fn exists(rules: &BTreeMap<Name, ActionCode>, name: &Name) -> bool {
    rules.keys().any(|owner| owner.is_within(name))
}
