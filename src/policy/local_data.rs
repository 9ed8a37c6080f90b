//! Local data of a zone: sets of records, each kept once, in a list that the next version shares.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::policy::action::{Action, LocalData, LocalRecord};

/// Sets in a chunk: what a version copies to change one of them.
const CHUNK: usize = 64;

/// Sets of records by number. Cloning shares them all; a change copies one chunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataList {
    chunks: Vec<Arc<Vec<LocalData>>>,
    len: usize,
}

impl DataList {
    /// The set with this number.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&LocalData> {
        self.chunks.get(index / CHUNK)?.get(index % CHUNK)
    }

    /// Adds a set: its number is the length before.
    pub fn push(&mut self, data: LocalData) {
        if self.len % CHUNK == 0 {
            self.chunks.push(Arc::default());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            Arc::make_mut(chunk).push(data);
            self.len += 1;
        }
    }

    /// Replaces a set that is there.
    pub fn set(&mut self, index: usize, data: LocalData) {
        let chunk = self.chunks.get_mut(index / CHUNK).map(Arc::make_mut);
        if let Some(place) = chunk.and_then(|chunk| chunk.get_mut(index % CHUNK)) {
            *place = data;
        }
    }

    /// The sets by their numbers. Some of a zone that was changed may be without records: no
    /// rule has them.
    pub fn iter(&self) -> impl Iterator<Item = &LocalData> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap in octets; chunks that another version shares count in full.
    pub fn bytes(&self) -> usize {
        let own: usize = self.iter().map(LocalData::bytes).sum();
        own + self.len * size_of::<LocalData>()
    }
}

impl FromIterator<LocalData> for DataList {
    fn from_iter<I: IntoIterator<Item = LocalData>>(sets: I) -> DataList {
        let mut list = DataList::default();
        sets.into_iter().for_each(|data| list.push(data));
        list
    }
}

/// Where each set of a [`DataList`] is and how many rules have it, so that a change finds a set
/// by its records and frees one that no rule has any more.
///
/// A version hands it to the next; what is lost that way can be made again from the rules.
#[derive(Debug, Default)]
pub struct DataIndex {
    hasher: RandomState,
    by_hash: HashMap<u64, u32, RandomState>,
    /// How many rules have the set of each number.
    users: Vec<u32>,
    free: Vec<u32>,
}

impl DataIndex {
    /// The index of a list whose sets are used by these actions.
    pub fn of(list: &DataList, actions: impl Iterator<Item = Action>) -> DataIndex {
        let mut index = DataIndex { users: vec![0; list.len()], ..DataIndex::default() };
        for action in actions {
            if let Action::Data(number) = action
                && let Some(users) = index.users.get_mut(number as usize)
            {
                *users += 1;
            }
        }
        for (number, data) in list.iter().enumerate() {
            if index.users.get(number) == Some(&0) {
                index.free.push(number as u32);
            } else {
                let hash = index.hasher.hash_one(data.records());
                index.by_hash.entry(hash).or_insert(number as u32);
            }
        }
        index
    }

    /// One more rule has these records: the number of their set, which is made if need be.
    pub fn take(&mut self, list: &mut DataList, records: &[LocalRecord]) -> u32 {
        let hash = self.hasher.hash_one(records);
        if let Some(&number) = self.by_hash.get(&hash)
            && let Some(users) = self.users.get_mut(number as usize)
            && list.get(number as usize).is_some_and(|data| data.records() == records)
        {
            *users += 1;
            return number;
        }
        let data = LocalData::new(records.to_vec());
        let number = match self.free.pop() {
            Some(number) => {
                list.set(number as usize, data);
                number
            }
            None => {
                list.push(data);
                self.users.push(0);
                list.len() as u32 - 1
            }
        };
        if let Some(users) = self.users.get_mut(number as usize) {
            *users = 1;
        }
        // of two sets with one hash the later one is simply not found again
        self.by_hash.entry(hash).or_insert(number);
        number
    }

    /// One rule less has the set. Without any it is emptied, and its number is free.
    pub fn release(&mut self, list: &mut DataList, number: u32) {
        let Some(users) = self.users.get_mut(number as usize).filter(|users| **users > 0) else {
            return;
        };
        *users -= 1;
        if *users > 0 {
            return;
        }
        if let Some(data) = list.get(number as usize) {
            let hash = self.hasher.hash_one(data.records());
            if self.by_hash.get(&hash) == Some(&number) {
                self.by_hash.remove(&hash);
            }
        }
        list.set(number as usize, LocalData::new(Vec::new()));
        self.free.push(number);
    }

    /// Sets that some rule has.
    pub fn in_use(&self) -> usize {
        self.users.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(n: u32) -> Vec<LocalRecord> {
        vec![LocalRecord { rtype: 1, ttl: 60, rdata: n.to_be_bytes().into() }]
    }

    #[test]
    fn a_clone_keeps_what_it_had() {
        let mut list: DataList = (0..200).map(|n| LocalData::new(records(n))).collect();
        let before = list.clone();
        list.set(70, LocalData::new(records(1_000)));
        list.push(LocalData::new(records(200)));
        list.set(999, LocalData::new(records(1)));
        assert_eq!((before.len(), list.len()), (200, 201));
        assert_eq!(before.get(70).unwrap().records(), records(70));
        assert_eq!(list.get(70).unwrap().records(), records(1_000));
        assert_eq!(list.get(200).unwrap().records(), records(200));
        assert_eq!(list.get(201), None);
        assert!(before.iter().zip(0..).all(|(data, n)| data.records() == records(n)));
        let shared = before.chunks.iter().zip(&list.chunks).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), 2, "of four chunks the one with 70 and the last are copied");
    }

    #[test]
    fn sets_are_found_freed_and_used_again() {
        let mut rng = fastrand::Rng::with_seed(5);
        let (mut list, mut index) = (DataList::default(), DataIndex::default());
        // what each rule has: its set's number and what should be in it
        let mut rules: Vec<(u32, u32)> = Vec::new();
        for round in 0..5_000 {
            if rng.u8(..5) < 3 {
                let n = rng.u32(..50);
                rules.push((index.take(&mut list, &records(n)), n));
            } else if !rules.is_empty() {
                let (number, _) = rules.swap_remove(rng.usize(..rules.len()));
                index.release(&mut list, number);
            }
            if round % 1_000 == 999 {
                // the index can be made again from the rules
                let actions = rules.iter().map(|(number, _)| Action::Data(*number));
                index = DataIndex::of(&list, actions);
            }
            let holds = |(number, n): &(u32, u32)| {
                list.get(*number as usize).is_some_and(|data| data.records() == records(*n))
            };
            assert!(rules.iter().all(holds));
            let mut different: Vec<u32> = rules.iter().map(|(_, n)| *n).collect();
            different.sort_unstable();
            different.dedup();
            assert_eq!(index.in_use(), different.len());
            assert!(list.len() <= 50);
        }
        for (number, _) in rules {
            index.release(&mut list, number);
            index.release(&mut list, u32::MAX);
        }
        assert_eq!(index.in_use(), 0);
    }
}
