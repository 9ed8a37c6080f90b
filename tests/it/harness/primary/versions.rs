//! The versions of a primary's zone: some as a whole, some as what changed since the one before.

use super::super::wire::Record;
use std::collections::HashSet;
use std::sync::Arc;

/// All versions, the newest last. A copy is cheap.
#[derive(Clone, Default)]
pub(super) struct Versions(Vec<Version>);

#[derive(Clone)]
struct Version {
    serial: u32,
    content: Arc<Content>,
}

enum Content {
    /// All records but the SOA.
    Whole(Vec<Record>),
    /// What went and what came since the version before.
    Change(Vec<Record>, Vec<Record>),
}

/// What lies between two versions.
pub(super) struct Step {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) gone: Vec<Record>,
    pub(super) come: Vec<Record>,
}

impl Versions {
    pub(super) fn push(&mut self, serial: u32, records: Vec<Record>) {
        self.0.push(Version { serial, content: Arc::new(Content::Whole(records)) });
    }

    pub(super) fn push_change(&mut self, serial: u32, gone: Vec<Record>, come: Vec<Record>) {
        assert!(!self.0.is_empty(), "a change needs a version that it changes");
        self.0.push(Version { serial, content: Arc::new(Content::Change(gone, come)) });
    }

    /// Forgets all but the newest.
    pub(super) fn forget(&mut self) {
        let Some(newest) = self.newest() else { return };
        let (serial, records) = (self.newest_serial(), self.records(newest));
        self.0.clear();
        self.push(serial, records);
    }

    /// The place of the newest.
    pub(super) fn newest(&self) -> Option<usize> {
        self.0.len().checked_sub(1)
    }

    /// The serial of the newest; 0 without any.
    pub(super) fn newest_serial(&self) -> u32 {
        self.0.last().map_or(0, |version| version.serial)
    }

    /// All records of a version, in the order in which they were given if it was given whole.
    pub(super) fn records(&self, at: usize) -> Vec<Record> {
        let is_whole = |version: &Version| matches!(*version.content, Content::Whole(_));
        let base = self.0[..=at].iter().rposition(is_whole).expect("the first one is whole");
        let Content::Whole(records) = &*self.0[base].content else { unreachable!() };
        if base == at {
            return records.clone();
        }
        let mut set: HashSet<&Record> = records.iter().collect();
        for version in &self.0[base + 1..=at] {
            if let Content::Change(gone, come) = &*version.content {
                gone.iter().for_each(|record| assert!(set.remove(record), "not there: {record:?}"));
                come.iter().for_each(|record| assert!(set.insert(record), "twice: {record:?}"));
            }
        }
        set.into_iter().cloned().collect()
    }

    /// The way from the version with this serial to the newest, in one step if it is to be
    /// condensed. `None` if there is no such version.
    pub(super) fn steps(&self, since: u32, condensed: bool) -> Option<Vec<Step>> {
        let from = self.0.iter().rposition(|version| version.serial == since)?;
        let last = self.0.len() - 1;
        if condensed && from < last {
            return Some(vec![self.compared(from, last)]);
        }
        Some((from..last).map(|at| self.step(at)).collect())
    }

    fn step(&self, at: usize) -> Step {
        let (from, to) = (self.0[at].serial, self.0[at + 1].serial);
        match &*self.0[at + 1].content {
            Content::Change(gone, come) => {
                Step { from, to, gone: gone.clone(), come: come.clone() }
            }
            Content::Whole(_) => self.compared(at, at + 1),
        }
    }

    fn compared(&self, from: usize, to: usize) -> Step {
        let (old, new) = (self.records(from), self.records(to));
        let missing = |from: &[Record], to: &[Record]| {
            let there: HashSet<&Record> = to.iter().collect();
            from.iter().filter(|record| !there.contains(record)).cloned().collect()
        };
        let (gone, come) = (missing(&old, &new), missing(&new, &old));
        Step { from: self.0[from].serial, to: self.0[to].serial, gone, come }
    }
}
