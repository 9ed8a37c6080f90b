//! What one version of a zone or of the matcher leaves to the next, so that the next one costs
//! what changed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::rules::RuleArena;
use super::trigger::TriggerKind;

/// Something that the first one who asks may have. Without it, the next version is made from
/// nothing.
#[derive(Debug)]
pub struct Handover<T>(Mutex<Option<T>>);

impl<T> Handover<T> {
    /// Leaves a thing, or nothing.
    pub fn new(thing: Option<T>) -> Handover<T> {
        Handover(Mutex::new(thing))
    }

    /// Takes the thing, if it is there and `fits`.
    pub fn take_if(&self, fits: impl FnOnce(&T) -> bool) -> Option<T> {
        // a panic elsewhere cannot have left half a thing: it is moved in and out whole
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|thing| fits(thing))
    }

    /// Asks something of the thing, if it is there.
    pub fn look<A>(&self, ask: impl FnOnce(&T) -> A) -> Option<A> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(ask)
    }

    /// Takes the thing, if it is there.
    pub fn take(&self) -> Option<T> {
        self.take_if(|_| true)
    }
}

impl<T> Default for Handover<T> {
    fn default() -> Handover<T> {
        Handover::new(None)
    }
}

/// What tells the rules of a zone from those of its last version.
#[derive(Debug, Default)]
pub struct Change {
    /// The [`ZoneRules::id`](super::rules::ZoneRules::id) of the last version.
    pub since: u64,
    /// QNAME rules that are gone; the codes mean nothing.
    pub removed: RuleArena,
    /// QNAME rules that are new or have another code.
    pub put: RuleArena,
    /// Other kinds of triggers of which some rule changed, by their place in
    /// [`TriggerKind::ALL`]; that of QNAME means nothing.
    pub others: [bool; TriggerKind::ALL.len()],
}

/// A number that no other rules of this process have.
pub(super) fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_is_taken_once_and_only_if_it_fits() {
        let left = Handover::new(Some(7));
        assert_eq!(left.take_if(|n| *n == 8), None);
        assert_eq!(left.take_if(|n| *n == 7), Some(7));
        assert_eq!(left.take(), None);
        assert_ne!(next_id(), next_id());
    }
}
