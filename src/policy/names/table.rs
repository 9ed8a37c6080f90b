//! The frozen table, its look-up, and what a look-up found.

use super::filter::Filter;
use super::hash::{Key, Starts, USED};
use super::pages::{Pages, Place, Slot};
use crate::dns::name::Name;

/// What the caller stores with a rule; opaque here.
pub type ActionCode = u32;

/// Bit of [`Slot::class`]: the rules on the node differ, their actions lie in the spill list.
pub(super) const SPILLED: u32 = 1 << 31;
/// The place of the root, which has a slot of its own outside the pages.
pub(super) const ROOT: Place = Place::MAX;

/// Steps that [`Found`] holds in itself. Zones seldom differ in where on the way to a name
/// their nearest wildcard is, and a step that no zone looks to any more is dropped.
const STEPS: usize = 8;

/// Which rule of a zone covers a name, for all zones at once. Immutable; a look-up takes
/// no lock, and no memory from the heap unless more than eight different wildcards cover
/// the name, each in a zone of its own.
#[derive(Clone)]
pub struct NameTable {
    pub(super) key: Key,
    /// Tells the writer whether this is the table it made last.
    pub(super) stamp: u64,
    pub(super) root: Slot,
    /// Nodes without the root.
    pub(super) nodes: usize,
    pub(super) filter: Filter,
    pub(super) pages: Pages,
    /// Distinct mask triples; number 0 is the empty one.
    pub(super) classes: Vec<Masks>,
    /// Actions of nodes whose rules differ: those of exact rules by zone, then wildcards.
    pub(super) spill: Vec<ActionCode>,
}

/// In which zones a node is there, and as what. Bit n stands for zone n.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Masks {
    /// The node, or something below it, is the owner of a rule.
    pub(super) exist: u64,
    /// There is a rule for just this name.
    pub(super) exact: u64,
    /// There is a rule for `*` directly under this name.
    pub(super) wild: u64,
}

/// A rule that covers the name asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameRule {
    /// What was stored with the rule.
    pub action: ActionCode,
    /// The owner begins with a `*` label.
    pub wildcard: bool,
    /// Labels of the owner without its `*`: the owner is `name.suffix(labels)`, with `*.`
    /// in front if `wildcard`.
    pub labels: u8,
}

/// What one walk found, for all zones.
pub struct Found<'t> {
    table: &'t NameTable,
    exact: u64,
    wild: u64,
    /// The node of the name itself; of meaning only if `exact` has a zone.
    last: Place,
    /// Labels of the name asked for.
    labels: u8,
    /// How many of `steps` are in use.
    count: u8,
    steps: [Step; STEPS],
    /// Steps for which `steps` had no room.
    more: Vec<Step>,
}

/// A node on the way that has a wildcard.
#[derive(Clone, Copy, Default)]
struct Step {
    place: Place,
    /// Labels of the node.
    labels: u8,
}

impl NameTable {
    /// A table without rules.
    pub fn empty() -> Self {
        NameTable::with_pages(Pages::default())
    }

    /// The rules that cover `name`, in all zones. The root itself is never covered.
    #[inline]
    pub fn find<'t>(&'t self, name: &Name) -> Found<'t> {
        if self.root.class == 0 { Found::nothing(self) } else { self.walk(name) }
    }

    /// Memory of table, filter, classes and spill list, in octets. Pages that another
    /// generation shares count in full.
    pub fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.pages.bytes()
            + self.filter.bytes()
            + self.classes.capacity() * size_of::<Masks>()
            + self.spill.capacity() * size_of::<ActionCode>()
    }

    /// Names that exist in some zone's tree, the root not counted.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// A table without rules, with a new key, that has these pages.
    pub(super) fn with_pages(pages: Pages) -> NameTable {
        let key = Key::random();
        NameTable {
            stamp: key.root(),
            root: Slot { hash: key.root() | USED, class: 0, action: 0 },
            key,
            nodes: 0,
            filter: Filter::default(),
            pages,
            classes: vec![Masks::default()],
            spill: Vec::new(),
        }
    }

    /// The masks of a slot.
    #[inline(always)]
    pub(super) fn masks(&self, slot: &Slot) -> Masks {
        self.classes.get((slot.class & !SPILLED) as usize).copied().unwrap_or_default()
    }

    /// The slot at `place`.
    #[inline]
    pub(super) fn slot_at(&self, place: Place) -> Option<Slot> {
        if place == ROOT { Some(self.root) } else { self.pages.at(place) }
    }

    /// From the top label down: which zones have a rule for the name.
    ///
    /// `wild` holds the zones whose closest encloser so far has a wildcard. A node that
    /// exists in a zone becomes its closest encloser, so it takes the zone out and puts it
    /// back if it has a wildcard of its own.
    fn walk(&self, name: &Name) -> Found<'_> {
        let mut found = Found::nothing(self);
        let wire = name.as_wire();
        let mut starts = Starts::none();
        if starts.note(wire).is_none() {
            return found;
        }
        let count = starts.count();
        if count == 0 {
            return found;
        }
        found.labels = count as u8;
        let mut hash = self.key.root();
        // the wildcards of the node above
        let mut above = self.masks(&self.root).wild;
        found.note(0, ROOT, above);
        for depth in 1..=count {
            let label = starts.label(wire, depth);
            hash = self.key.child(hash, label);
            let node = self.node(hash | USED);
            let masks = node.as_ref().map_or(Masks::default(), |(_, slot)| self.masks(slot));
            found.wild &= !masks.exist;
            if label == b"*" {
                // the owner of a wildcard rule exists: as a name it covers itself only
                found.wild &= !above;
                if depth == count {
                    found.wild |= above;
                }
            }
            let Some((place, _)) = node else { return found };
            if depth == count {
                found.exact = masks.exact;
                found.last = place;
                return found;
            }
            above = masks.wild;
            found.note(depth, place, above);
        }
        found
    }

    /// The node with this hash.
    #[inline(always)]
    fn node(&self, hash: u64) -> Option<(Place, Slot)> {
        if self.filter.may_hold(hash) { self.pages.get(hash) } else { None }
    }

    /// The action of the rule that zone `bit` has on the node at `place`.
    fn action(&self, place: Place, bit: u64, wildcard: bool) -> Option<ActionCode> {
        let slot = self.slot_at(place)?;
        if slot.class & SPILLED == 0 {
            return Some(slot.action);
        }
        let rank = self.masks(&slot).rank(bit, wildcard);
        self.spill.get(slot.action as usize + rank).copied()
    }
}

impl<'t> Found<'t> {
    #[inline(always)]
    fn nothing(table: &'t NameTable) -> Found<'t> {
        let steps = [Step::default(); STEPS];
        Found { table, exact: 0, wild: 0, last: ROOT, labels: 0, count: 0, steps, more: Vec::new() }
    }

    /// The zones that have a rule for the name, exact or wildcard. Bit n is zone n.
    #[inline]
    pub fn zones(&self) -> u64 {
        self.exact | self.wild
    }

    /// The rule of one zone.
    pub fn rule(&self, zone: u8) -> Option<NameRule> {
        let bit = 1u64.checked_shl(zone.into())?;
        if self.exact & bit != 0 {
            let action = self.table.action(self.last, bit, false)?;
            return Some(NameRule { action, wildcard: false, labels: self.labels });
        }
        if self.wild & bit == 0 {
            return None;
        }
        // the deepest: any other was shut out by the nodes below it
        let steps = self.steps[..self.count as usize].iter().chain(&self.more);
        let step = steps.filter(|s| self.wild_at(s) & bit != 0).max_by_key(|s| s.labels)?;
        let action = self.table.action(step.place, bit, true)?;
        Some(NameRule { action, wildcard: true, labels: step.labels })
    }

    /// Takes in the wildcards of a node on the way.
    #[inline(always)]
    fn note(&mut self, depth: usize, place: Place, wild: u64) {
        if wild == 0 {
            return;
        }
        if self.count as usize == STEPS {
            self.drop_idle();
        }
        self.wild |= wild;
        let step = Step { place, labels: depth as u8 };
        match self.steps.get_mut(self.count as usize) {
            Some(free) => {
                *free = step;
                self.count += 1;
            }
            None => self.more.push(step),
        }
    }

    /// Drops the steps that no zone looks to any more; called when all are in use.
    #[cold]
    fn drop_idle(&mut self) {
        // zones that a deeper step serves
        let mut served = 0;
        let mut idle = [false; STEPS];
        for (step, idle) in self.steps.iter().zip(&mut idle).rev() {
            let serves = self.wild_at(step) & self.wild & !served;
            *idle = serves == 0;
            served |= serves;
        }
        let mut kept = 0;
        for i in (0..STEPS).filter(|&i| !idle[i]) {
            self.steps[kept] = self.steps[i];
            kept += 1;
        }
        self.count = kept as u8;
    }

    /// The zones that have a wildcard at this step.
    fn wild_at(&self, step: &Step) -> u64 {
        self.table.slot_at(step.place).map_or(0, |slot| self.table.masks(&slot).wild)
    }
}

impl Masks {
    /// Zones with a rule of this kind.
    pub(super) fn rules(&self, wildcard: bool) -> u64 {
        if wildcard { self.wild } else { self.exact }
    }

    /// The same, to change.
    pub(super) fn rules_mut(&mut self, wildcard: bool) -> &mut u64 {
        if wildcard { &mut self.wild } else { &mut self.exact }
    }

    /// Number of rules on the node.
    pub(super) fn len(&self) -> usize {
        (self.exact.count_ones() + self.wild.count_ones()) as usize
    }

    /// Where the rule of zone `bit` stands among the rules on the node.
    pub(super) fn rank(&self, bit: u64, wildcard: bool) -> usize {
        let before = if wildcard { self.exact.count_ones() } else { 0 };
        (before + (self.rules(wildcard) & (bit - 1)).count_ones()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::names::NameWriter;

    #[test]
    fn steps_that_no_zone_looks_to_are_dropped() {
        // wildcards of zone 0 down to the eighth label, of zone 1 below
        let long: Name = ["a"; 40].join(".").parse().unwrap();
        let owners: Vec<Name> = (1..30)
            .map(|labels| "*".parse::<Name>().unwrap().join(&long.suffix(labels)).unwrap())
            .collect();
        let rules = owners.iter().enumerate();
        let rules = rules.map(|(i, owner)| (u8::from(i >= 8), owner.as_wire(), i as u32));
        let (table, _) = NameWriter::build(rules, 30, &mut |_, _| ());
        let found = table.find(&long);
        assert_eq!(found.zones(), 3);
        assert_eq!(found.rule(0), Some(NameRule { action: 7, wildcard: true, labels: 8 }));
        assert_eq!(found.rule(1), Some(NameRule { action: 28, wildcard: true, labels: 29 }));
        assert_eq!(found.more.capacity(), 0, "nothing was taken from the heap");
    }
}
