//! Keyed hashes of name suffixes, label by label from the top.

use crate::dns::name::{MAX_LABEL, MAX_LABELS, MAX_NAME};
use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;
use std::hash::{BuildHasher, Hasher};

/// The top bit of a node's hash: it tells a used slot from an empty one.
pub(super) const USED: u64 = 1 << 63;

/// The secret of one table.
#[derive(Clone)]
pub(super) struct Key {
    root: u64,
    seed: SharedSeed,
}

impl Key {
    /// A key nobody can guess: the standard library takes its own from the system.
    pub(super) fn random() -> Key {
        let draw = || std::hash::RandomState::new().build_hasher().finish();
        Key { root: draw(), seed: SharedSeed::from_u64(draw()) }
    }

    /// The hash of the root, from which all others are derived.
    pub(super) fn root(&self) -> u64 {
        self.root
    }

    /// The hash of the name made of `label` in front of the name with the hash `parent`.
    #[inline(always)]
    pub(super) fn child(&self, parent: u64, label: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(parent, &self.seed);
        hasher.write(label);
        hasher.finish()
    }
}

/// Where the labels of a wire name start, so that they can be taken from the right.
pub(super) struct Starts {
    at: [u8; MAX_LABELS],
    count: usize,
}

impl Starts {
    /// No starts yet.
    #[inline(always)]
    pub(super) fn none() -> Starts {
        Starts { at: [0; MAX_LABELS], count: 0 }
    }

    /// Notes the starts in `wire`; `None` if it is no uncompressed name that ends in the root
    /// label. In place: moving octets that were just written one by one stalls the processor.
    #[inline(always)]
    pub(super) fn note(&mut self, wire: &[u8]) -> Option<()> {
        let mut pos = 0;
        loop {
            let len = *wire.get(pos)? as usize;
            if len == 0 {
                return (pos + 1 == wire.len() && wire.len() <= MAX_NAME).then_some(());
            }
            if len > MAX_LABEL {
                return None;
            }
            *self.at.get_mut(self.count)? = pos as u8;
            self.count += 1;
            pos += 1 + len;
        }
    }

    /// Number of labels, the root label not counted.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The label that is `depth` labels below the root, 1 being the top one.
    #[inline(always)]
    pub(super) fn label<'w>(&self, wire: &'w [u8], depth: usize) -> &'w [u8] {
        let at = self.at[self.count - depth] as usize;
        &wire[at + 1..at + 1 + wire[at] as usize]
    }
}

/// The nodes from the root to the owner of a rule, as hashes with [`USED`] set.
pub(super) struct Trail {
    hashes: [u64; MAX_LABELS + 1],
    depth: usize,
    /// The owner began with a `*` label, which is not part of the trail.
    pub(super) wildcard: bool,
}

impl Trail {
    /// No trail yet.
    pub(super) fn blank() -> Trail {
        Trail { hashes: [0; MAX_LABELS + 1], depth: 0, wildcard: false }
    }

    /// The trail to the owner `wire`; `None` if it is the root or no wire name. In place: it is
    /// large, and a build sets a million of them.
    pub(super) fn set(&mut self, key: &Key, wire: &[u8]) -> Option<()> {
        let mut starts = Starts::none();
        starts.note(wire)?;
        let wildcard = wire.starts_with(b"\x01*");
        let depth = starts.count() - usize::from(wildcard);
        if starts.count() == 0 {
            return None;
        }
        let mut hash = key.root();
        self.hashes[0] = hash | USED;
        for (i, slot) in self.hashes.iter_mut().enumerate().take(depth + 1).skip(1) {
            hash = key.child(hash, starts.label(wire, i));
            *slot = hash | USED;
        }
        (self.depth, self.wildcard) = (depth, wildcard);
        Some(())
    }

    /// The node that bears the rule.
    pub(super) fn leaf(&self) -> u64 {
        self.hashes[self.depth]
    }

    /// The proper ancestors of the leaf, nearest first, the root last.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = u64> + '_ {
        self.hashes[..self.depth].iter().rev().copied()
    }
}
