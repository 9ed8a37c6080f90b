//! Equal questions in flight are asked once.
//!
//! ```text
//!   ask ──► Joins ── 64 shards: question → Slot ◄── waiters of any worker
//!                └─ oldest first: number → Slot      one fetch fills it, once
//! ```
//!
//! A slot is filled exactly once, whatever becomes of its fetch: by its outcome, or by the
//! fetch's guard when a panic or the end of its runtime takes it away.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use foldhash::quality::RandomState;
use tokio::sync::Notify;

use super::failure::Failure;
use super::{Outcome, limits, locked};
use crate::dns::question::Question;

/// Shards of the map.
const SHARDS: usize = 64;

type Shard = Mutex<HashMap<Question, Arc<Slot>, RandomState>>;

/// The questions in flight.
pub(super) struct Joins {
    shards: Box<[Shard]>,
    hasher: RandomState,
    /// By age, to find the oldest.
    queue: Mutex<BTreeMap<u64, Arc<Slot>>>,
    next: AtomicU64,
    most: usize,
}

/// One question in flight and those who wait for it.
pub(super) struct Slot {
    pub(super) question: Question,
    pub(super) name_hash: u64,
    pub(super) started: Instant,
    number: u64,
    outcome: OnceLock<Outcome>,
    filled: Notify,
    /// Tells the fetch to give up.
    pub(super) shed: Notify,
}

/// What `Joins::enter` found.
pub(super) enum Entry {
    /// Somebody asks already: wait.
    Joined(Arc<Slot>),
    /// The caller has to fetch. If there are too many, the oldest one was told to give up.
    First(Arc<Slot>),
}

impl Joins {
    /// For at most `most` fetches at once.
    pub(super) fn new(most: usize) -> Self {
        Joins {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            queue: Mutex::default(),
            next: AtomicU64::new(0),
            most: most.max(1),
        }
    }

    /// Joins a fetch for the question, or begins one. A fetch that has been going for long is
    /// not joined: what keeps it may be over for a new one.
    pub(super) fn enter(&self, q: &Question) -> Entry {
        let hash = self.hasher.hash_one(q);
        let mut shard = locked(self.shard(hash));
        if let Some(slot) = shard.get(q)
            && slot.outcome.get().is_none()
            && slot.started.elapsed() < limits::JOIN_AGE
        {
            return Entry::Joined(slot.clone());
        }
        let slot = Arc::new(Slot {
            question: *q,
            name_hash: hash,
            started: Instant::now(),
            number: self.next.fetch_add(1, Relaxed),
            outcome: OnceLock::new(),
            filled: Notify::new(),
            shed: Notify::new(),
        });
        shard.insert(*q, slot.clone());
        drop(shard);
        let mut queue = locked(&self.queue);
        queue.insert(slot.number, slot.clone());
        let oldest = if queue.len() > self.most { queue.pop_first() } else { None };
        drop(queue);
        if let Some((_, oldest)) = oldest {
            oldest.shed.notify_one();
        }
        Entry::First(slot)
    }

    /// Takes a question whose fetch is over off the books and tells those who wait.
    pub(super) fn leave(&self, slot: &Arc<Slot>, outcome: Outcome) {
        let mut shard = locked(self.shard(slot.name_hash));
        if shard.get(&slot.question).is_some_and(|held| Arc::ptr_eq(held, slot)) {
            shard.remove(&slot.question);
        }
        drop(shard);
        locked(&self.queue).remove(&slot.number);
        if slot.outcome.set(outcome).is_ok() {
            slot.filled.notify_waiters();
        }
    }

    /// Fetches under way.
    pub(super) fn in_flight(&self) -> usize {
        locked(&self.queue).len()
    }

    fn shard(&self, hash: u64) -> &Shard {
        // the map itself uses other bits
        &self.shards[(hash >> 20) as usize % SHARDS]
    }
}

impl Slot {
    /// Waits until the slot is filled. May be dropped at any time.
    pub(super) async fn wait(&self) -> Outcome {
        let filled = self.filled.notified();
        tokio::pin!(filled);
        filled.as_mut().enable();
        if let Some(outcome) = self.outcome.get() {
            return outcome.clone();
        }
        filled.await;
        self.outcome.get().cloned().unwrap_or(Err(Failure::Panicked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(name: &str) -> Question {
        Question::plain(name.parse().unwrap(), 1)
    }

    fn first(joins: &Joins, name: &str) -> Arc<Slot> {
        match joins.enter(&question(name)) {
            Entry::First(slot) => slot,
            Entry::Joined(_) => panic!("{name} was in flight already"),
        }
    }

    #[test]
    fn equal_questions_share_a_slot_until_it_is_filled() {
        let joins = Joins::new(10);
        let slot = first(&joins, "a.example");
        assert!(matches!(joins.enter(&question("A.example")), Entry::Joined(_)));
        first(&joins, "b.example");
        assert_eq!(joins.in_flight(), 2);
        joins.leave(&slot, Err(Failure::Timeout));
        first(&joins, "a.example");
    }

    #[test]
    fn a_question_of_another_kind_is_not_equal() {
        let joins = Joins::new(10);
        first(&joins, "a.example");
        let mut other = question("a.example");
        other.checking_disabled = true;
        assert!(matches!(joins.enter(&other), Entry::First(_)));
    }

    #[test]
    fn the_oldest_is_told_to_give_up() {
        let joins = Joins::new(2);
        let told = |slot: &Slot| {
            let told = std::pin::pin!(slot.shed.notified());
            told.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
        };
        let slots: Vec<_> = ["1", "2"].iter().map(|name| first(&joins, name)).collect();
        assert!(!told(&slots[0]));
        first(&joins, "3");
        assert!(told(&slots[0]) && !told(&slots[1]));
        assert_eq!(joins.in_flight(), 2);
    }
}
