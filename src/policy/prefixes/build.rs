//! From rules in any order to a frozen tree.

use super::tree::{Bits, Entry, Index, Masks, NONE, Tree};
use crate::policy::names::ActionCode;
use foldhash::fast::RandomState;
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Trees below this many prefixes are searched without an index.
const INDEX_FROM: usize = 64;

/// What a build needs of an address beyond a look-up.
pub(super) trait Number: Bits {
    /// An index has a cell for each prefix, and this power of two as many.
    const MORE_CELLS: u32;
    /// As an address of its family.
    fn address(self) -> IpAddr;
}

impl Number for u32 {
    const MORE_CELLS: u32 = 0;

    fn address(self) -> IpAddr {
        Ipv4Addr::from_bits(self).into()
    }
}

impl Number for u128 {
    // the addresses in use crowd in few of the cells
    const MORE_CELLS: u32 = 2;

    fn address(self) -> IpAddr {
        Ipv6Addr::from_bits(self).into()
    }
}

/// Rules of one family on their way into a tree.
pub(super) struct Builder<A> {
    rules: Vec<Rule<A>>,
}

#[derive(Clone, Copy)]
struct Rule<A> {
    start: A,
    len: u8,
    zone: u8,
    action: ActionCode,
}

/// The parts of the tree that grow while the prefixes come in.
struct Growing {
    entries: Vec<Entry>,
    classes: Vec<Masks>,
    numbers: HashMap<Masks, u32, RandomState>,
    /// The class used last and its number: neighbours mostly share one.
    recent: (Masks, u32),
    spill: Vec<ActionCode>,
}

impl<A: Number> Builder<A> {
    pub(super) fn new() -> Builder<A> {
        Builder { rules: Vec::new() }
    }

    /// Takes a rule whose zone is below 64 and whose host bits are zero; false if there is
    /// no room for it (places are 32 bits wide, and one value is [`NONE`]).
    #[inline]
    pub(super) fn add(&mut self, start: A, len: u8, zone: u8, action: ActionCode) -> bool {
        if self.rules.len() >= NONE as usize {
            return false;
        }
        self.rules.push(Rule { start, len, zone, action });
        true
    }

    /// The tree of all rules; `refused` gets each one that repeats a zone and prefix.
    pub(super) fn freeze(mut self, refused: &mut dyn FnMut(u8, &IpNet)) -> Tree<A> {
        // stable: of rules that are alike the first stays in front
        self.rules.sort_by_key(|rule| (rule.start, rule.len, rule.zone));
        self.rules.dedup_by(|later, first| {
            let again = later.same_prefix(first) && later.zone == first.zone;
            if again && let Ok(net) = IpNet::new(later.start.address(), later.len) {
                refused(later.zone, &net);
            }
            again
        });
        let groups = || self.rules.chunk_by(Rule::same_prefix);
        let count = groups().count();
        let mut starts: Vec<A> = Vec::with_capacity(count);
        let mut growing = Growing::with_room(count);
        let mut present = 0;
        // the prefixes around the place that was reached, each within the one before it
        let mut open: Vec<u32> = Vec::new();
        for rules in groups() {
            let [Rule { start, len, .. }, ..] = *rules else { continue };
            while let Some(&place) = open.last()
                && !growing.covers(place, &starts, start)
            {
                open.pop();
            }
            let own = growing.push(open.last().copied(), len, rules);
            present |= own;
            open.push(starts.len() as u32);
            starts.push(start);
        }
        Tree {
            index: index(&starts),
            starts: starts.into(),
            entries: growing.entries.into(),
            classes: growing.classes.into(),
            spill: growing.spill.into(),
            present,
        }
    }
}

impl<A: Number> Rule<A> {
    fn same_prefix(&self, other: &Rule<A>) -> bool {
        self.start == other.start && self.len == other.len
    }
}

impl Growing {
    fn with_room(prefixes: usize) -> Growing {
        Growing {
            entries: Vec::with_capacity(prefixes),
            classes: vec![Masks::default()],
            numbers: HashMap::default(),
            recent: (Masks::default(), 0),
            spill: Vec::new(),
        }
    }

    /// True if the prefix at `place` contains the address `start`.
    fn covers<A: Number>(&self, place: u32, starts: &[A], start: A) -> bool {
        let (entry, from) = (self.entries.get(place as usize), starts.get(place as usize));
        entry.zip(from).is_some_and(|(entry, from)| from.common(start) >= entry.len.into())
    }

    /// Appends a prefix with its rules, which are sorted by zone; gives back their zones.
    fn push<A: Number>(&mut self, parent: Option<u32>, len: u8, rules: &[Rule<A>]) -> u64 {
        let own = rules.iter().fold(0, |mask, rule| mask | 1u64 << rule.zone);
        let above = parent.and_then(|place| self.entries.get(place as usize));
        let above = above.and_then(|entry| self.classes.get(entry.class as usize));
        let all = own | above.map_or(0, |masks| masks.all);
        let class = self.class(Masks { own, all });
        let first = rules.first().map_or(0, |rule| rule.action);
        let spilled = rules.iter().any(|rule| rule.action != first);
        let action = if spilled { self.spill.len() as u32 } else { first };
        if spilled {
            self.spill.extend(rules.iter().map(|rule| rule.action));
        }
        let parent = parent.unwrap_or(NONE);
        self.entries.push(Entry { parent, class, action, len, spilled });
        own
    }

    /// The number of a class, a new one if need be.
    fn class(&mut self, masks: Masks) -> u32 {
        if self.recent.0 != masks {
            let number = *self.numbers.entry(masks).or_insert_with(|| {
                self.classes.push(masks);
                (self.classes.len() - 1) as u32
            });
            self.recent = (masks, number);
        }
        self.recent.1
    }
}

/// The index over sorted starts.
fn index<A: Number>(starts: &[A]) -> Index {
    let ([first, .., last], INDEX_FROM..) = (starts, starts.len()) else {
        return Index::default();
    };
    let bits = starts.len().ilog2() + A::MORE_CELLS;
    let skip = first.common(*last).min(A::WIDTH - bits);
    let mut cells = Vec::with_capacity((1 << bits) + 1);
    for (place, start) in starts.iter().enumerate() {
        let cell = start.part(skip, bits);
        while cells.len() <= cell {
            cells.push(place as u32);
        }
    }
    cells.resize((1 << bits) + 1, starts.len() as u32);
    Index { cells: cells.into(), skip, bits }
}
