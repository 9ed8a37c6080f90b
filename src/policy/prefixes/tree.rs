//! The frozen prefixes of one address family, and the look-ups in them.

use crate::policy::names::ActionCode;

/// Stands for no entry.
pub(super) const NONE: u32 = u32::MAX;

/// An address as a number, the first octet on top.
pub(super) trait Bits: Copy + Ord {
    /// Number of leading bits that both have, up to the whole width.
    fn common(self, other: Self) -> u32;
    /// Width in bits.
    const WIDTH: u32;
    /// The `bits` bits behind the upper `skip` ones. `bits` is at least 1, and both
    /// together are at most the width.
    fn part(self, skip: u32, bits: u32) -> usize;
}

impl Bits for u32 {
    const WIDTH: u32 = u32::BITS;

    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    #[inline(always)]
    fn part(self, skip: u32, bits: u32) -> usize {
        ((self << skip) >> (Self::WIDTH - bits)) as usize
    }
}

impl Bits for u128 {
    const WIDTH: u32 = u128::BITS;

    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    #[inline(always)]
    fn part(self, skip: u32, bits: u32) -> usize {
        ((self << skip) >> (Self::WIDTH - bits)) as usize
    }
}

/// The distinct prefixes of one family, sorted by first address, then length.
#[derive(Clone)]
pub(super) struct Tree<A> {
    /// First address of each prefix. Apart from the entries: the search touches only these.
    pub(super) starts: Box<[A]>,
    /// The rest of each prefix.
    pub(super) entries: Box<[Entry]>,
    /// Distinct pairs of masks.
    pub(super) classes: Box<[Masks]>,
    /// Actions of prefixes whose rules differ, by zone.
    pub(super) spill: Box<[ActionCode]>,
    /// Where to search among the starts.
    pub(super) index: Index,
    /// Zones with any rule.
    pub(super) present: u64,
}

/// Splits the starts by the first bits in which they differ.
#[derive(Clone, Default)]
pub(super) struct Index {
    /// For each value of these bits the number of starts below it, and at the end the
    /// number of all; empty in a tree without an index.
    pub(super) cells: Box<[u32]>,
    /// Leading bits that all starts share.
    pub(super) skip: u32,
    /// How many bits behind them choose the cell; 0 in a tree without an index.
    pub(super) bits: u32,
}

/// A prefix without its first address.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    /// The longest other prefix that contains this one, or [`NONE`].
    pub(super) parent: u32,
    /// Place in the list of classes.
    pub(super) class: u32,
    /// The action, or the place of the first one in the spill list.
    pub(super) action: ActionCode,
    /// Length of the prefix in bits.
    pub(super) len: u8,
    /// The rules differ, their actions lie in the spill list.
    pub(super) spilled: bool,
}

/// Zones of a prefix. Bit n stands for zone n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Masks {
    /// Have a rule for just this prefix.
    pub(super) own: u64,
    /// Have a rule for it or for one that contains it.
    pub(super) all: u64,
}

impl<A: Bits> Tree<A> {
    /// No prefixes.
    pub(super) fn empty() -> Tree<A> {
        Tree {
            starts: Box::default(),
            entries: Box::default(),
            classes: Box::default(),
            spill: Box::default(),
            index: Index::default(),
            present: 0,
        }
    }

    /// The zones with a rule over `address`.
    #[inline]
    pub(super) fn zones(&self, address: A) -> u64 {
        self.innermost(address).map_or(0, |entry| self.masks(entry).all)
    }

    /// Length and action of the longest prefix over `address` in `zone`.
    #[inline]
    pub(super) fn longest(&self, zone: u8, address: A) -> Option<(u8, ActionCode)> {
        let bit = 1u64.checked_shl(zone.into())?;
        let mut entry = self.innermost(address)?;
        loop {
            let masks = self.masks(entry);
            if masks.own & bit != 0 {
                return Some((entry.len, self.action(entry, masks, bit)?));
            }
            if masks.all & bit == 0 {
                return None;
            }
            entry = self.entry(entry.parent)?;
        }
    }

    /// The action of the rule of `zone` for the prefix with this first address and length.
    pub(super) fn get(&self, zone: u8, start: A, len: u8) -> Option<ActionCode> {
        let bit = 1u64.checked_shl(zone.into())?;
        let at = self.last(start)?;
        // all prefixes that start here are on the way up, the longest first
        if *self.starts.get(at)? != start {
            return None;
        }
        let mut entry = self.entries.get(at)?;
        while entry.len > len {
            entry = self.entry(entry.parent)?;
        }
        // a parent of this length starts here too: it contains `start` and has no more bits
        let masks = self.masks(entry);
        if entry.len == len && masks.own & bit != 0 { self.action(entry, masks, bit) } else { None }
    }

    /// The zones with any rule.
    #[inline]
    pub(super) fn present(&self) -> u64 {
        self.present
    }

    /// Number of prefixes.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Heap in octets.
    pub(super) fn heap(&self) -> usize {
        size_of_val(&*self.starts)
            + size_of_val(&*self.entries)
            + size_of_val(&*self.classes)
            + size_of_val(&*self.spill)
            + size_of_val(&*self.index.cells)
    }

    /// The longest prefix over `address`, of whatever zone.
    ///
    /// Only the first entry's start is looked at: those further up contain it, so they
    /// contain the address too if they are no longer than what the two have in common.
    #[inline(always)]
    fn innermost(&self, address: A) -> Option<&Entry> {
        let at = self.last(address)?;
        let common = self.starts.get(at)?.common(address);
        let mut entry = self.entries.get(at)?;
        while u32::from(entry.len) > common {
            entry = self.entry(entry.parent)?;
        }
        Some(entry)
    }

    /// The last prefix that starts at or before `address`.
    #[inline(always)]
    fn last(&self, address: A) -> Option<usize> {
        let (from, to) = self.range(address);
        let starts = self.starts.get(from..to)?;
        (from + starts.partition_point(|start| *start <= address)).checked_sub(1)
    }

    /// The starts that the search has to be among: those that fall into the address's cell.
    ///
    /// An address that differs in the bits skipped falls into any cell, and no matter: what
    /// is over it is over all starts. Such prefixes are the first ones of the tree, in its
    /// first cell, and ancestors of all others, so every search comes to them.
    #[inline(always)]
    fn range(&self, address: A) -> (usize, usize) {
        let all = (0, self.starts.len());
        let Index { cells, skip, bits } = &self.index;
        if *bits == 0 {
            return all;
        }
        match cells.get(address.part(*skip, *bits)..) {
            Some([from, to, ..]) => (*from as usize, *to as usize),
            _ => all,
        }
    }

    #[inline(always)]
    fn entry(&self, place: u32) -> Option<&Entry> {
        // NONE is beyond the end
        self.entries.get(place as usize)
    }

    #[inline(always)]
    fn masks(&self, entry: &Entry) -> Masks {
        self.classes.get(entry.class as usize).copied().unwrap_or_default()
    }

    /// The action of the rule that zone `bit` has for just this prefix.
    #[inline]
    fn action(&self, entry: &Entry, masks: Masks, bit: u64) -> Option<ActionCode> {
        if !entry.spilled {
            return Some(entry.action);
        }
        let rank = (masks.own & (bit - 1)).count_ones() as usize;
        self.spill.get(entry.action as usize + rank).copied()
    }
}
