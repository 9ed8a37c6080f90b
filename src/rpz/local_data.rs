//! Local data while a zone is read: records at one owner become one set, equal sets are kept
//! once.
//!
//! Many zones send a million names to the same address. So a set is a chain, "that set plus
//! this record", and each link exists once; an owner holds the number of its last link.
//!
//! ```text
//!   owner a ─┐
//!   owner b ─┴─> link 2: AAAA ──> link 1: A ──> 0: empty
//!   owner c ───────────────────────┘
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::policy::action::{LocalData, LocalRecord};
use crate::rpz::owner::Reason;
use crate::rpz::rdata::rtype;

/// Most records at one owner. A reply of 64 KiB could not hold many more.
const RECORDS_PER_OWNER: usize = 1_000;
/// No owner: the end of a chain of owners with equal hashes.
const NONE: u32 = u32::MAX;

/// Where a record stands: number of the file, and line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Index into the list of files.
    pub(super) file: u32,
    /// Line from 1; 0 if there are no lines.
    pub(super) line: u32,
}

/// What became of a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It is the first one at its owner: a new rule.
    First,
    /// It joins the others at its owner, or is equal to one of them.
    More,
    /// It cannot stand beside the others.
    Refused(Reason),
}

/// All owners of local data and their sets.
#[derive(Default)]
pub(super) struct Shelf {
    hasher: RandomState,
    by_hash: HashMap<u64, u32, RandomState>,
    owners: Vec<DataOwner>,
    keys: Vec<u8>,
    records: Vec<LocalRecord>,
    by_content: HashMap<Box<[u8]>, u32, RandomState>,
    links: Vec<Link>,
    by_link: HashMap<(u32, u32), u32, RandomState>,
    content: Vec<u8>,
}

struct DataOwner {
    key_start: usize,
    key_end: usize,
    /// Number of the last link of its set.
    set: u32,
    /// The next owner with the same hash.
    next: u32,
    place: Place,
}

/// A set that is another set plus one record.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    record: u32,
}

/// An owner and its data, when all is read.
pub(super) struct Shelved<'a> {
    /// The key it was added under.
    pub(super) key: &'a [u8],
    /// Index into the list of data.
    pub(super) data: u32,
}

impl Shelf {
    /// Number of owners.
    pub(super) fn len(&self) -> usize {
        self.owners.len()
    }

    /// True if the owner with this key has local data.
    #[inline]
    pub(super) fn holds(&self, key: &[u8]) -> bool {
        !self.owners.is_empty() && self.find(key).is_some()
    }

    /// Adds a record to the owner with this key.
    pub(super) fn add(
        &mut self,
        key: &[u8],
        place: Place,
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Added {
        let Some(owner) = self.find(key) else {
            let record = self.record(rtype, ttl, rdata);
            let set = self.link(0, record);
            self.insert(key, place, set);
            return Added::First;
        };
        let set = self.owners[owner].set;
        let mut ttl = ttl;
        let mut held = 0;
        for other in self.chain(set) {
            held += 1;
            if other.rtype == rtype {
                // the records of a set have one TTL (RFC 2181 section 5.2): the first one's
                ttl = other.ttl;
                if *other.rdata == *rdata {
                    return Added::More;
                }
            }
            if other.rtype == rtype::CNAME {
                return Added::Refused("the name has a CNAME already, which stands alone".into());
            }
        }
        if rtype == rtype::CNAME {
            return Added::Refused("a CNAME stands alone, the name has other records".into());
        }
        if held >= RECORDS_PER_OWNER {
            return Added::Refused(format!("more than {RECORDS_PER_OWNER} records").into());
        }
        let record = self.record(rtype, ttl, rdata);
        self.owners[owner].set = self.link(set, record);
        Added::More
    }

    /// Takes away the owner with this key, if there is one: where it stood and how many
    /// records it had.
    pub(super) fn withdraw(&mut self, key: &[u8]) -> Option<(Place, usize)> {
        let owner = self.find(key)?;
        let set = std::mem::take(&mut self.owners[owner].set);
        let count = self.chain(set).count();
        // an empty set marks an owner that is gone
        (count > 0).then_some((self.owners[owner].place, count))
    }

    /// The data in use, and which owner has which.
    pub(super) fn finish(&self) -> (Vec<LocalData>, impl Iterator<Item = Shelved<'_>>) {
        let mut index = vec![NONE; self.links.len() + 1];
        let mut data = Vec::new();
        for owner in self.owners.iter().filter(|owner| owner.set != 0) {
            let slot = &mut index[owner.set as usize];
            if *slot == NONE {
                *slot = data.len() as u32;
                let mut records: Vec<LocalRecord> = self.chain(owner.set).cloned().collect();
                records.reverse();
                data.push(LocalData::new(records));
            }
        }
        let owners = self.owners.iter().filter(|owner| owner.set != 0).map(move |owner| Shelved {
            key: &self.keys[owner.key_start..owner.key_end],
            data: index[owner.set as usize],
        });
        (data, owners)
    }

    fn find(&self, key: &[u8]) -> Option<usize> {
        let mut at = *self.by_hash.get(&self.hasher.hash_one(key))?;
        while at != NONE {
            let owner = &self.owners[at as usize];
            if self.keys[owner.key_start..owner.key_end] == *key {
                return Some(at as usize);
            }
            at = owner.next;
        }
        None
    }

    fn insert(&mut self, key: &[u8], place: Place, set: u32) {
        let at = self.owners.len() as u32;
        let next = self.by_hash.insert(self.hasher.hash_one(key), at).unwrap_or(NONE);
        let key_start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.owners.push(DataOwner { key_start, key_end: self.keys.len(), set, next, place });
    }

    /// The number of this record, which is kept once.
    fn record(&mut self, rtype: u16, ttl: u32, rdata: &[u8]) -> u32 {
        self.content.clear();
        self.content.extend_from_slice(&rtype.to_be_bytes());
        self.content.extend_from_slice(&ttl.to_be_bytes());
        self.content.extend_from_slice(rdata);
        if let Some(&record) = self.by_content.get(&self.content[..]) {
            return record;
        }
        let record = self.records.len() as u32;
        self.records.push(LocalRecord { rtype, ttl, rdata: rdata.into() });
        self.by_content.insert(self.content.clone().into_boxed_slice(), record);
        record
    }

    /// The number of the set that is `before` plus `record`.
    fn link(&mut self, before: u32, record: u32) -> u32 {
        match self.by_link.entry((before, record)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                self.links.push(Link { before, record });
                *free.insert(self.links.len() as u32)
            }
        }
    }

    /// The records of a set, the last one first.
    fn chain(&self, set: u32) -> impl Iterator<Item = &LocalRecord> {
        let mut at = set;
        std::iter::from_fn(move || {
            let link = self.links.get((at as usize).checked_sub(1)?)?;
            at = link.before;
            self.records.get(link.record as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_merged_and_shared() {
        let mut shelf = Shelf::default();
        let place = Place { file: 0, line: 3 };
        let (a1, a2, aaaa) = ([192, 0, 2, 1], [192, 0, 2, 2], [0; 16]);
        for key in [b"one", b"two"] {
            assert_eq!(shelf.add(key, place, 1, 60, &a1), Added::First);
            assert_eq!(shelf.add(key, place, 28, 9, &aaaa), Added::More);
            assert_eq!(shelf.add(key, place, 1, 99, &a2), Added::More);
            assert_eq!(shelf.add(key, place, 1, 7, &a1), Added::More);
        }
        assert_eq!(shelf.add(b"three", place, 1, 60, &a1), Added::First);
        let (data, owners) = shelf.finish();
        let indexes: Vec<u32> = owners.map(|owner| owner.data).collect();
        assert_eq!((indexes, data.len()), (vec![0, 0, 1], 2));
        let records = data[0].records();
        assert_eq!(
            records.iter().map(|r| (r.rtype, r.ttl)).collect::<Vec<_>>(),
            [(1, 60), (28, 9), (1, 60)]
        );
    }

    #[test]
    fn a_cname_stands_alone() {
        let mut shelf = Shelf::default();
        let place = Place::default();
        assert_eq!(shelf.add(b"c", place, rtype::CNAME, 1, b"\x01x\x00"), Added::First);
        assert_eq!(shelf.add(b"c", place, rtype::CNAME, 1, b"\x01x\x00"), Added::More);
        for (rtype, rdata) in [(rtype::CNAME, &b"\x01y\x00"[..]), (1, &[0; 4])] {
            assert!(matches!(shelf.add(b"c", place, rtype, 1, rdata), Added::Refused(_)));
        }
        assert_eq!(shelf.add(b"a", place, 1, 1, &[0; 4]), Added::First);
        let beside = shelf.add(b"a", place, rtype::CNAME, 1, b"\x01x\x00");
        assert!(matches!(beside, Added::Refused(_)));
    }

    #[test]
    fn bounded_and_withdrawn() {
        let mut shelf = Shelf::default();
        let place = Place { file: 1, line: 8 };
        for i in 0..RECORDS_PER_OWNER as u32 {
            assert!(!matches!(shelf.add(b"a", place, 1, 1, &i.to_be_bytes()), Added::Refused(_)));
        }
        assert!(matches!(shelf.add(b"a", place, 1, 1, &[9; 4]), Added::Refused(_)));
        assert!(shelf.holds(b"a") && !shelf.holds(b"b"));
        assert_eq!(shelf.withdraw(b"a"), Some((place, RECORDS_PER_OWNER)));
        assert_eq!(shelf.withdraw(b"a"), None);
        let (data, owners) = shelf.finish();
        assert_eq!((data.len(), owners.count()), (0, 0));
    }
}
