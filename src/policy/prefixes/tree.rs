//! The frozen prefixes of one address family, and the look-ups in them.

use crate::policy::names::ActionCode;

/// Stands for no entry.
pub(super) const NONE: u32 = u32::MAX;

/// An address as a number, the first octet on top.
pub(super) trait Bits: Copy + Ord {
    /// Number of leading bits that both have, up to the whole width.
    fn common(self, other: Self) -> u32;
    /// The upper `bits` bits, which are at least one and fewer than the width and 32.
    fn upper(self, bits: u32) -> usize;
}

impl Bits for u32 {
    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    #[inline(always)]
    fn upper(self, bits: u32) -> usize {
        (self >> (u32::BITS - bits)) as usize
    }
}

impl Bits for u128 {
    #[inline(always)]
    fn common(self, other: Self) -> u32 {
        (self ^ other).leading_zeros()
    }

    #[inline(always)]
    fn upper(self, bits: u32) -> usize {
        (self >> (u128::BITS - bits)) as usize
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
    /// For each value of an address's upper bits the number of starts below it, and at the
    /// end the number of all; empty in a tree without such an index.
    pub(super) index: Box<[u32]>,
    /// How many bits that are.
    pub(super) index_bits: u32,
    /// Zones with any rule.
    pub(super) present: u64,
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
            index: Box::default(),
            index_bits: 0,
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
            + size_of_val(&*self.index)
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

    /// The starts that the search has to be among: those whose upper bits are the address's.
    #[inline(always)]
    fn range(&self, address: A) -> (usize, usize) {
        if self.index_bits == 0 {
            return (0, self.starts.len());
        }
        let upper = address.upper(self.index_bits);
        match self.index.get(upper..) {
            Some([from, to, ..]) => (*from as usize, *to as usize),
            _ => (0, self.starts.len()),
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
