//! All records of a zone that came by transfer, kept so that the next version costs what changed.
//!
//! ```text
//!   owner ── hash with the store's seed ── upper bits ──► bucket   shared between versions
//!                                                          │       until an owner in it changes
//!                                                          ▼
//!   | owner | code of its QNAME rule | records |  | owner | ...    entry: the octets
//!
//!   Builder    the first version                                    write
//!   derive     the next one: touched buckets are written anew       write
//!   from_raw   a saved one: everything is looked at                 here
//! ```
//!
//! An owner is relative to the zone: canonical wire labels without the root label; the empty
//! slice is the zone's own name. What the records mean is not asked here: the code is given by
//! the caller, who made it of them.
//!
//! Owners are sorted within a bucket and records within an owner, and every number has one
//! spelling. So two stores with the same content, seed, kinds and number of buckets are the same
//! octet by octet, whichever way they came about.

mod entry;
#[cfg(test)]
mod tests;
mod write;

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::fast::FoldHasher;

use crate::policy::action::ActionCode;

use entry::{Entries, is_canonical};

pub use entry::{Kind, Record, Records, fits};
pub use write::{Builder, Kept};

/// Most pairs of type and TTL that take one octet in a record.
pub const MAX_KINDS: usize = 254;
/// Most buckets: enough for thousands of millions of owners.
const MAX_BUCKETS: usize = 1 << 24;

/// Owners and their records. Immutable; [`RecordStore::derive`] makes the next version.
#[derive(Clone)]
pub struct RecordStore {
    spread: Spread,
    kinds: Arc<[Kind]>,
    /// A power of two of them.
    buckets: Vec<Arc<[u8]>>,
    totals: Totals,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Owners, those without a rule too.
    pub owners: usize,
    /// Owners with a QNAME rule.
    pub rules: usize,
    /// Records.
    pub records: usize,
}

/// An owner and what it has.
#[derive(Clone, Debug)]
pub struct Owner<'a> {
    /// Canonical wire labels relative to the zone, without root label.
    pub labels: &'a [u8],
    /// The QNAME rule that the records are; `None` if they are none, or one of another trigger.
    pub code: Option<ActionCode>,
    /// The records: CNAME first, then by type and data.
    pub records: Records<'a>,
}

/// The keyed hash of owners.
#[derive(Clone)]
struct Spread {
    seed: u64,
    shared: SharedSeed,
}

impl RecordStore {
    /// A store without records.
    pub fn empty(seed: u64) -> RecordStore {
        let (spread, kinds) = (Spread::new(seed), Arc::from([]));
        RecordStore { spread, kinds, buckets: vec![Arc::from([])], totals: Totals::default() }
    }

    /// A store from its parts as [`RecordStore::seed`], [`RecordStore::kinds`] and
    /// [`RecordStore::buckets`] gave them. `None` if they are anything else than that, in any
    /// octet that matters: from the result, everything else here works. That whole owners are
    /// missing cannot be seen here; compare [`RecordStore::totals`].
    pub fn from_raw(seed: u64, kinds: &[Kind], buckets: Vec<Arc<[u8]>>) -> Option<RecordStore> {
        let mut known = kinds.to_vec();
        known.sort_unstable();
        known.dedup();
        let sizes = kinds.len() <= MAX_KINDS && known.len() == kinds.len();
        if !sizes || !buckets.len().is_power_of_two() || buckets.len() > MAX_BUCKETS {
            return None;
        }
        let spread = Spread::new(seed);
        let mut totals = Totals::default();
        for (place, bucket) in buckets.iter().enumerate() {
            let mut before: Option<&[u8]> = None;
            let mut entries = Entries::of(bucket);
            for entry in entries.by_ref() {
                let rising = before.is_none_or(|before| before < entry.labels());
                let here = spread.bucket(entry.labels(), buckets.len()) == place;
                if !rising || !here || !is_canonical(&entry, kinds, &known) {
                    return None;
                }
                before = Some(entry.labels());
                totals.add(&entry);
            }
            if !entries.is_at_end() {
                return None;
            }
        }
        Some(RecordStore { spread, kinds: kinds.into(), buckets, totals })
    }

    /// The seed of the hash that picks an owner's bucket.
    pub fn seed(&self) -> u64 {
        self.spread.seed
    }

    /// Pairs of type and TTL that records refer to by their place in this list.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The octets of each bucket. Two versions share those that have not changed: then the slices
    /// are the very same.
    pub fn buckets(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.buckets.iter().map(|bucket| &**bucket)
    }

    /// The octets of one bucket.
    pub fn bucket(&self, place: usize) -> Option<&[u8]> {
        self.buckets.get(place).map(|bucket| &**bucket)
    }

    /// The owners in one of [`RecordStore::buckets`], sorted.
    pub fn owners_in<'a>(&'a self, bucket: &'a [u8]) -> impl Iterator<Item = Owner<'a>> + Clone {
        Entries::of(bucket).map(|entry| entry.owner(&self.kinds))
    }

    /// All owners, in the order of the buckets.
    pub fn iter(&self) -> impl Iterator<Item = Owner<'_>> + Clone {
        self.buckets().flat_map(|bucket| self.owners_in(bucket))
    }

    /// What an owner has; `None` if there is no such owner.
    pub fn get(&self, labels: &[u8]) -> Option<Owner<'_>> {
        let bucket = self.buckets.get(self.spread.bucket(labels, self.buckets.len()))?;
        let mut entries = Entries::of(bucket);
        let entry = entries.find(|entry| entry.labels() >= labels)?;
        (entry.labels() == labels).then(|| entry.owner(&self.kinds))
    }

    /// The QNAME rules: wire name with root label, and code.
    pub fn rules(&self) -> StoreRules<'_> {
        StoreRules { buckets: self.buckets.iter(), entries: Entries::of(&[]) }
    }

    /// How much there is.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Heap in octets; buckets that another version shares count in full.
    pub fn bytes(&self) -> usize {
        let octets: usize = self.buckets.iter().map(|bucket| bucket.len()).sum();
        // a bucket lies behind the two counters of its `Arc`
        let each = size_of::<Arc<[u8]>>() + 2 * size_of::<usize>();
        octets + self.buckets.len() * each + self.kinds.len() * size_of::<Kind>()
    }
}

impl fmt::Debug for RecordStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let buckets = self.buckets.len();
        f.debug_struct("RecordStore")
            .field("totals", &self.totals)
            .field("buckets", &buckets)
            .finish()
    }
}

/// Walk through the QNAME rules of a store.
#[derive(Clone, Debug)]
pub struct StoreRules<'a> {
    buckets: std::slice::Iter<'a, Arc<[u8]>>,
    entries: Entries<'a>,
}

impl<'a> Iterator for StoreRules<'a> {
    type Item = (&'a [u8], ActionCode);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for entry in self.entries.by_ref() {
                if let Some(code) = entry.code {
                    return Some((entry.wire, code));
                }
            }
            self.entries = Entries::of(self.buckets.next()?);
        }
    }
}

impl Totals {
    fn add(&mut self, entry: &entry::Entry<'_>) {
        self.owners += 1;
        self.rules += usize::from(entry.code.is_some());
        self.records += entry.count as usize;
    }

    fn take_back(&mut self, entry: &entry::Entry<'_>) {
        self.owners = self.owners.saturating_sub(1);
        self.rules = self.rules.saturating_sub(usize::from(entry.code.is_some()));
        self.records = self.records.saturating_sub(entry.count as usize);
    }
}

impl Spread {
    fn new(seed: u64) -> Spread {
        Spread { seed, shared: SharedSeed::from_u64(seed) }
    }

    #[inline]
    fn hash(&self, labels: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(labels);
        hasher.finish()
    }

    #[inline]
    fn bucket(&self, labels: &[u8], buckets: usize) -> usize {
        bucket_of(self.hash(labels), buckets)
    }
}

/// The upper bits of a hash: with twice as many buckets, each is split in two.
#[inline]
fn bucket_of(hash: u64, buckets: usize) -> usize {
    match buckets.trailing_zeros() {
        0 => 0,
        bits => (hash >> (64 - bits)) as usize,
    }
}
