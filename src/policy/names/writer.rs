//! The writer's side of a table: the build, and the next table from a delta.

use super::MAX_ZONES;
use super::filter::Filter;
use super::hash::Trail;
use super::pages::{Pages, Place, Slot};
use super::table::{ActionCode, Masks, NameTable, ROOT, SPILLED};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::fmt;

/// What only the writer of a table needs: for each node and zone the number of children,
/// which tells when an empty non-terminal goes, and the numbers of the classes.
///
/// A writer belongs to the table it made last.
pub struct NameWriter {
    /// The stamp of that table; none after a failed delta.
    stamp: Option<u64>,
    /// Children are counted, so that deltas can be applied.
    counted: bool,
    children: HashMap<Parent, u32, RandomState>,
    classes: HashMap<Masks, u32, RandomState>,
    wear: Wear,
    /// A full page in a table that is rather empty ends the delta. A build just grows.
    strict: bool,
}

/// Why a delta was not applied. In each case the old table stays good; build anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// The table is not the one this writer made last, or an earlier delta failed.
    NotLast,
    /// A page is full though the table is rather empty: it needs another key.
    Crowded,
    /// A rule's owner is the root or no wire name, or its zone is not below [`MAX_ZONES`].
    NoOwner,
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ApplyError::NotLast => "the delta is not for the last table of this writer",
            ApplyError::Crowded => "a page of the name table is full; build it with a new key",
            ApplyError::NoOwner => "the owner of a rule in the delta is no name below the root",
        })
    }
}

impl std::error::Error for ApplyError {}

/// A node in one zone's tree. The hash is cut in two to keep an entry at 16 octets.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Parent {
    hash: [u32; 2],
    zone: u8,
}

/// What has gathered since the table was last settled.
#[derive(Default)]
struct Wear {
    /// Nodes added, whether or not they are still there.
    nodes: usize,
    /// Classes made, whether or not they are still in use.
    classes: usize,
    /// Cells of the spill list that nothing refers to.
    spill: usize,
}

/// The actions of a node's rules, as a slot holds them.
struct Cell {
    spilled: bool,
    value: u32,
}

/// An owner and zone, ready for the table.
struct Rule {
    trail: Trail,
    zone: u8,
    bit: u64,
}

/// Rules that a build takes at a time.
const BATCH: usize = 16;

/// What to do with the rule that the zone and owner have already.
#[derive(Clone, Copy, PartialEq)]
enum Present {
    Keep,
    Replace,
}

impl NameWriter {
    /// Builds a table from rules: zone, owner in canonical wire form with its root label,
    /// action. A leading `*` label makes a wildcard. `expected` is a guess at their number.
    ///
    /// The first rule of a zone and owner wins. `refused` is called for each rule that is
    /// not taken: a later one of the same zone and owner, and one that can be no rule
    /// (the owner is the root or no wire name, or the zone is not below [`MAX_ZONES`]).
    pub fn build<'a>(
        rules: impl Iterator<Item = (u8, &'a [u8], ActionCode)>,
        expected: usize,
        refused: &mut dyn FnMut(u8, &[u8]),
    ) -> (NameTable, NameWriter) {
        let (table, mut writer) = NameWriter::fill(rules, expected, refused, true);
        writer.children.shrink_to_fit();
        writer.strict = true;
        (table, writer)
    }

    /// The same, for a table that will never be changed: less memory while it is built.
    pub fn freeze<'a>(
        rules: impl Iterator<Item = (u8, &'a [u8], ActionCode)>,
        expected: usize,
        refused: &mut dyn FnMut(u8, &[u8]),
    ) -> NameTable {
        NameWriter::fill(rules, expected, refused, false).0
    }

    /// Builds a table; with `counted`, notes the children of each node.
    fn fill<'a>(
        rules: impl Iterator<Item = (u8, &'a [u8], ActionCode)>,
        expected: usize,
        refused: &mut dyn FnMut(u8, &[u8]),
        counted: bool,
    ) -> (NameTable, NameWriter) {
        let mut table = NameTable::with_pages(Pages::for_nodes(expected));
        let mut writer = NameWriter {
            stamp: counted.then_some(table.stamp),
            counted,
            children: HashMap::default(),
            classes: HashMap::default(),
            wear: Wear::default(),
            strict: false,
        };
        writer.classes.insert(Masks::default(), 0);
        let mut rules = rules.fuse();
        let mut ready: Vec<Rule> = std::iter::repeat_with(Rule::blank).take(BATCH).collect();
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            // memory is slow, and fetches that do not depend on each other overlap
            let mut fetched = 0;
            for (rule, (zone, owner, action)) in ready.iter_mut().zip(rules.by_ref()) {
                let good = rule.set(&table, zone, owner).is_ok();
                fetched ^= table.pages.touch(rule.trail.leaf());
                batch.push((good, zone, owner, action));
            }
            std::hint::black_box(fetched);
            if batch.is_empty() {
                break;
            }
            for (rule, (good, zone, owner, action)) in ready.iter().zip(batch.drain(..)) {
                let taken = good && writer.add(&mut table, rule, action, Present::Keep) == Ok(true);
                if !taken {
                    refused(zone, owner);
                }
            }
        }
        // another set of pages beside the full one only if that makes a difference
        let pages = (!table.pages.suit(table.nodes)).then(|| Pages::for_nodes(table.nodes));
        writer.settle(&mut table, pages);
        (table, writer)
    }

    /// The next table: `table` without the rules `remove` and with the rules `add`, in this
    /// order. The two tables share what did not change.
    ///
    /// A rule to remove that is not there is passed over; a rule to add that is there
    /// takes the new action. The cost goes with the number of changes; only when those
    /// add up to a good part of the table is it laid out anew.
    ///
    /// `table` must be the one that this writer made last. After an error the writer is
    /// of no more use, unless it was [`ApplyError::NotLast`] for a wrong table.
    pub fn apply<'a>(
        &mut self,
        table: &NameTable,
        remove: impl Iterator<Item = (u8, &'a [u8])>,
        add: impl Iterator<Item = (u8, &'a [u8], ActionCode)>,
    ) -> Result<NameTable, ApplyError> {
        if self.stamp != Some(table.stamp) {
            return Err(ApplyError::NotLast);
        }
        // stays away if anything fails: the child counts are then half changed
        self.stamp = None;
        let mut next = table.clone();
        for (zone, owner) in remove {
            let rule = Rule::of(&next, zone, owner)?;
            self.remove(&mut next, &rule);
        }
        for (zone, owner, action) in add {
            let rule = Rule::of(&next, zone, owner)?;
            self.add(&mut next, &rule, action, Present::Replace)?;
        }
        if self.is_worn(&next) {
            let pages = Pages::for_nodes(next.nodes);
            self.settle(&mut next, Some(pages));
        }
        next.stamp = table.stamp.wrapping_add(1);
        self.stamp = Some(next.stamp);
        Ok(next)
    }

    /// Memory of the writer itself, in octets, about.
    pub fn bytes(&self) -> usize {
        // a hash map has one more octet for each entry
        self.children.capacity() * (size_of::<(Parent, u32)>() + 1)
            + self.classes.capacity() * (size_of::<(Masks, u32)>() + 1)
    }

    /// The child counts of two writers are as many and, sorted, the same.
    #[cfg(test)]
    pub(super) fn same_children(&self, other: &NameWriter) -> bool {
        let sorted = |writer: &NameWriter| {
            let counts = writer.children.iter().map(|(parent, &count)| (parent.zone, count));
            let mut counts: Vec<(u8, u32)> = counts.collect();
            counts.sort_unstable();
            counts
        };
        sorted(self) == sorted(other)
    }

    /// Puts a rule into the table: on its node, and as a child into each ancestor that did
    /// not exist in the zone. False if the rule was there and stays.
    fn add(
        &mut self,
        table: &mut NameTable,
        rule: &Rule,
        action: ActionCode,
        present: Present,
    ) -> Result<bool, ApplyError> {
        let leaf = rule.trail.leaf();
        self.make_room(table, leaf)?;
        let slot = slot_of(table, leaf);
        let before = table.masks(&slot);
        if present == Present::Keep && before.rules(rule.trail.wildcard) & rule.bit != 0 {
            return Ok(false);
        }
        let cell = self.cell_with(table, &slot, rule, action);
        let mut masks = before;
        masks.exist |= rule.bit;
        *masks.rules_mut(rule.trail.wildcard) |= rule.bit;
        self.put(table, leaf, masks, cell)?;
        if before.exist & rule.bit != 0 {
            return Ok(true);
        }
        for hash in rule.trail.ancestors() {
            if self.counted {
                *self.children.entry(rule.parent(hash)).or_insert(0) += 1;
            }
            self.make_room(table, hash)?;
            let slot = slot_of(table, hash);
            let mut masks = table.masks(&slot);
            if masks.exist & rule.bit != 0 {
                break;
            }
            masks.exist |= rule.bit;
            self.put(table, hash, masks, Cell::of(&slot))?;
        }
        Ok(true)
    }

    /// Takes a rule out of the table, and with it each node that no longer exists in the
    /// zone: no rule on it, no child below it.
    fn remove(&mut self, table: &mut NameTable, rule: &Rule) {
        let Some((place, slot)) = look_up(table, rule.trail.leaf()) else { return };
        let mut masks = table.masks(&slot);
        if masks.rules(rule.trail.wildcard) & rule.bit == 0 {
            return;
        }
        let cell = self.cell_without(table, &slot, rule);
        *masks.rules_mut(rule.trail.wildcard) &= !rule.bit;
        let childless = !self.children.contains_key(&rule.parent(rule.trail.leaf()));
        let gone = childless && (masks.exact | masks.wild) & rule.bit == 0;
        if gone {
            masks.exist &= !rule.bit;
        }
        self.write(table, place, masks, cell);
        if !gone {
            return;
        }
        for hash in rule.trail.ancestors() {
            let parent = rule.parent(hash);
            let Some(count) = self.children.get_mut(&parent) else { return };
            *count -= 1;
            if *count > 0 {
                return;
            }
            self.children.remove(&parent);
            let Some((place, slot)) = look_up(table, hash) else { return };
            let mut masks = table.masks(&slot);
            if (masks.exact | masks.wild) & rule.bit != 0 {
                return;
            }
            masks.exist &= !rule.bit;
            self.write(table, place, masks, Cell::of(&slot));
        }
    }

    /// Sees to it that a node can be put into the table. May lay it out anew, so no place or slot
    /// read before is good any more.
    fn make_room(&mut self, table: &mut NameTable, hash: u64) -> Result<(), ApplyError> {
        while hash != table.root.hash && !table.pages.has_room(hash) {
            if self.strict && table.pages.is_crowded(table.nodes) {
                return Err(ApplyError::Crowded);
            }
            let pages = table.pages.doubled();
            self.settle(table, Some(pages));
        }
        Ok(())
    }

    /// Writes a node that may be new, after [`NameWriter::make_room`].
    fn put(
        &mut self,
        table: &mut NameTable,
        hash: u64,
        masks: Masks,
        cell: Cell,
    ) -> Result<(), ApplyError> {
        let class = self.class_of(table, masks) | cell.mark();
        if hash == table.root.hash {
            (table.root.class, table.root.action) = (class, cell.value);
        } else if table.pages.put(hash, class, cell.value).map_err(|_| ApplyError::Crowded)? {
            table.nodes += 1;
            table.filter.add(hash);
            self.wear.nodes += 1;
        }
        Ok(())
    }

    /// Writes a node that is there; without any zone it goes.
    fn write(&mut self, table: &mut NameTable, place: Place, masks: Masks, cell: Cell) {
        let class = self.class_of(table, masks) | cell.mark();
        if place == ROOT {
            (table.root.class, table.root.action) = (class, cell.value);
        } else if masks == Masks::default() {
            table.pages.remove(place);
            table.nodes -= 1;
        } else {
            table.pages.write(place, class, cell.value);
        }
    }

    /// The number of the class with these masks.
    fn class_of(&mut self, table: &mut NameTable, masks: Masks) -> u32 {
        *self.classes.entry(masks).or_insert_with(|| {
            self.wear.classes += 1;
            table.classes.push(masks);
            table.classes.len() as u32 - 1
        })
    }

    /// The actions on a node when `rule` has been put there or got another action.
    fn cell_with(
        &mut self,
        table: &mut NameTable,
        slot: &Slot,
        rule: &Rule,
        action: ActionCode,
    ) -> Cell {
        let masks = table.masks(slot);
        if masks.len() == 0 || (slot.class & SPILLED == 0 && slot.action == action) {
            return Cell { spilled: false, value: action };
        }
        let mut actions = actions_of(table, slot, masks);
        let rank = masks.rank(rule.bit, rule.trail.wildcard);
        if masks.rules(rule.trail.wildcard) & rule.bit == 0 {
            actions.insert(rank, action);
        } else {
            actions[rank] = action;
        }
        self.store(table, slot, masks.len(), &actions)
    }

    /// The actions on a node when `rule` has been taken from there.
    fn cell_without(&mut self, table: &mut NameTable, slot: &Slot, rule: &Rule) -> Cell {
        if slot.class & SPILLED == 0 {
            return Cell::of(slot);
        }
        let masks = table.masks(slot);
        let mut actions = actions_of(table, slot, masks);
        actions.remove(masks.rank(rule.bit, rule.trail.wildcard));
        self.store(table, slot, masks.len(), &actions)
    }

    /// Stores the actions of a node that had `before` rules: in the slot if they are all
    /// the same, else in its old run of the spill list if they fit there, else in a new one.
    fn store(
        &mut self,
        table: &mut NameTable,
        slot: &Slot,
        before: usize,
        actions: &[ActionCode],
    ) -> Cell {
        let had = if slot.class & SPILLED == 0 { 0 } else { before.next_power_of_two() };
        let first = actions.first().copied().unwrap_or_default();
        if actions.iter().all(|&action| action == first) {
            self.wear.spill += had;
            return Cell { spilled: false, value: first };
        }
        // a run has room for a power of two, so that many zones at one node stay cheap
        let need = actions.len().next_power_of_two();
        let start = if need <= had {
            self.wear.spill += had - need;
            slot.action as usize
        } else {
            self.wear.spill += had;
            let end = table.spill.len();
            table.spill.resize(end + need, 0);
            end
        };
        table.spill[start..start + actions.len()].copy_from_slice(actions);
        Cell { spilled: true, value: start as u32 }
    }

    /// True if what deltas leave behind is worth sweeping out.
    fn is_worn(&self, table: &NameTable) -> bool {
        table.pages.is_thin(table.nodes)
            || self.wear.nodes > 1024 + table.nodes / 2
            || self.wear.classes > 4096 + table.classes.len() / 2
            || self.wear.spill > 4096 + table.spill.len() / 2
    }

    /// Lays the table out anew in `target`, or more pages if one would be too full; without
    /// `target` nodes stay where they are. Either way with a fresh filter, and without classes
    /// and spill runs that nothing uses.
    fn settle(&mut self, table: &mut NameTable, target: Option<Pages>) {
        let mut pages = std::mem::take(&mut table.pages);
        if let Some(mut target) = target {
            while pages.copy_into(&mut target).is_err() {
                target = target.doubled();
            }
            pages = target;
        }
        let old = table.clone();
        table.filter = Filter::for_nodes(table.nodes);
        table.classes = vec![Masks::default()];
        table.spill = Vec::new();
        self.classes.clear();
        self.classes.insert(Masks::default(), 0);
        let mut number = vec![u32::MAX; old.classes.len()];
        let mut renew = |slot: &mut Slot| {
            let masks = old.masks(slot);
            let class = &mut number[(slot.class & !SPILLED) as usize];
            if *class == u32::MAX {
                *class = self.class_of(table, masks);
            }
            if slot.class & SPILLED != 0 {
                let actions = actions_of(&old, slot, masks);
                slot.action = table.spill.len() as u32;
                table.spill.extend_from_slice(&actions);
                table.spill.resize(slot.action as usize + actions.len().next_power_of_two(), 0);
            }
            slot.class = *class | slot.class & SPILLED;
            table.filter.add(slot.hash);
        };
        let mut root = old.root;
        renew(&mut root);
        pages.for_each_mut(renew);
        table.root = root;
        table.pages = pages;
        table.classes.shrink_to_fit();
        table.spill.shrink_to_fit();
        self.wear = Wear::default();
    }
}

impl Rule {
    fn blank() -> Rule {
        Rule { trail: Trail::blank(), zone: 0, bit: 0 }
    }

    fn of(table: &NameTable, zone: u8, owner: &[u8]) -> Result<Rule, ApplyError> {
        let mut rule = Rule::blank();
        rule.set(table, zone, owner)?;
        Ok(rule)
    }

    fn set(&mut self, table: &NameTable, zone: u8, owner: &[u8]) -> Result<(), ApplyError> {
        if zone >= MAX_ZONES {
            return Err(ApplyError::NoOwner);
        }
        self.trail.set(&table.key, owner).ok_or(ApplyError::NoOwner)?;
        (self.zone, self.bit) = (zone, 1 << zone);
        Ok(())
    }

    /// The key of this zone's child count at a node.
    fn parent(&self, hash: u64) -> Parent {
        Parent { hash: [(hash >> 32) as u32, hash as u32], zone: self.zone }
    }
}

impl Cell {
    /// What the slot holds now.
    fn of(slot: &Slot) -> Cell {
        Cell { spilled: slot.class & SPILLED != 0, value: slot.action }
    }

    /// What the class of the slot has besides its number.
    fn mark(&self) -> u32 {
        if self.spilled { SPILLED } else { 0 }
    }
}

/// The slot of a node; the empty one if there is none yet.
fn slot_of(table: &NameTable, hash: u64) -> Slot {
    look_up(table, hash).map(|(_, slot)| slot).unwrap_or_default()
}

/// A node, past the filter.
fn look_up(table: &NameTable, hash: u64) -> Option<(Place, Slot)> {
    if hash == table.root.hash { Some((ROOT, table.root)) } else { table.pages.get(hash) }
}

/// The actions of all rules on a node, in the order of their ranks.
fn actions_of(table: &NameTable, slot: &Slot, masks: Masks) -> Vec<ActionCode> {
    if slot.class & SPILLED == 0 {
        return vec![slot.action; masks.len()];
    }
    let start = slot.action as usize;
    table.spill[start..start + masks.len()].to_vec()
}
