//! The changes of an incremental transfer in, the rules of the next version out, at the cost of
//! the changes.
//!
//! ```text
//!   remove, add ──► touched owners: their records as they will be
//!                       │ finish: those that differ from the base
//!                       ▼
//!       reading of what was ─┐
//!       reading of what is  ─┴─► counts, local data, rules ──► store.derive ──► ZoneRules
//!                                                         └──► Change, for the matcher
//! ```

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use foldhash::fast::RandomState;
use ipnet::IpNet;

use crate::policy::action::{Action, ActionCode};
use crate::policy::local_data::{DataIndex, DataList};
use crate::policy::records::{Kept, Record, RecordStore};
use crate::policy::rules::{
    AddressRule, Counts, NameRules, RuleArena, SKIPPED_KEPT, Skipped, Soa, ZoneRules,
};
use crate::policy::trigger::TriggerKind;
use crate::policy::version::Change;
use crate::rpz::gather::{Place, most_records, sort};
use crate::rpz::intake::{Refusal, read_soa};
use crate::rpz::owner::Trigger;
use crate::rpz::reading::{self, Does, Reading};

/// Why a change does not fit the version that it is meant for. The copies have drifted apart, or
/// the primary counts wrongly: the whole zone is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// A record is to be removed that is not there.
    NotThere,
    /// A record is to be added that is there.
    AlreadyThere,
    /// There would be more records than this.
    TooMany(usize),
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Misfit::NotThere => f.write_str("a record to be removed is not in this version"),
            Misfit::AlreadyThere => f.write_str("a record to be added is in this version already"),
            Misfit::TooMany(max) => write!(f, "the zone would have more than {max} records"),
        }
    }
}

impl std::error::Error for Misfit {}

/// Takes the changes of one or more transfers and makes the next version of a zone.
///
/// Only what is different in the end counts. DNSSEC records and those outside the zone are not
/// kept, so they always fit.
pub struct Edit {
    base: Arc<ZoneRules>,
    max_rules: usize,
    soa: Soa,
    /// By labels in front of the zone's name.
    touched: HashMap<Box<[u8]>, Touched, RandomState>,
    /// Records of the zone as it will be.
    records: usize,
    changes: usize,
    /// Records that are counted only, more or less than in the base.
    outside: i64,
    unused: i64,
}

/// The records of an owner as they will be.
struct Touched {
    /// There are none in the base.
    is_new: bool,
    records: BTreeMap<Key, u32>,
}

/// A record without its TTL, in the order of [`Record::order`].
struct Key {
    rtype: u16,
    rdata: Box<[u8]>,
}

impl Key {
    fn record(&self, ttl: u32) -> Record<'_> {
        Record { rtype: self.rtype, ttl, rdata: &self.rdata }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        self.record(0).order(&other.record(0))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl Edit {
    /// Changes to `base`; the result may have at most `max_rules` rules. `None` if the base has
    /// kept no records.
    pub fn of(base: &Arc<ZoneRules>, max_rules: usize) -> Option<Edit> {
        let records = base.records()?.totals().records;
        Some(Edit {
            base: Arc::clone(base),
            max_rules,
            soa: base.soa.clone(),
            touched: HashMap::default(),
            records,
            changes: 0,
            outside: 0,
            unused: 0,
        })
    }

    /// Takes a record away, whatever its TTL. `owner` is an absolute name in canonical wire form,
    /// `rdata` is wire data with uncompressed names. The zone's SOA is passed over.
    pub fn remove(&mut self, owner: &[u8], rtype: u16, rdata: &[u8]) -> Result<(), Misfit> {
        self.changes += 1;
        let origin = self.base.origin;
        let labels = match sort(owner, rtype, rdata, &origin) {
            Place::Kept(labels) => labels,
            Place::Soa => return Ok(()),
            Place::Unused => {
                self.unused -= 1;
                return Ok(());
            }
            Place::Outside => {
                self.outside -= 1;
                return Ok(());
            }
        };
        let touched = self.touch(labels);
        let gone = touched.records.remove(&Key { rtype, rdata: rdata.into() });
        if touched.records.is_empty() {
            // an empty tree keeps room for eleven records
            touched.records = BTreeMap::new();
            if touched.is_new {
                // what comes and goes leaves nothing behind, however often
                self.touched.remove(labels);
            }
        }
        gone.ok_or(Misfit::NotThere)?;
        self.records -= 1;
        Ok(())
    }

    /// Adds a record of class IN; see [`Edit::remove`]. `ttl` is in seconds.
    pub fn add(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Result<(), Misfit> {
        self.changes += 1;
        let origin = self.base.origin;
        let labels = match sort(owner, rtype, rdata, &origin) {
            Place::Kept(labels) => labels,
            Place::Soa => return Ok(()),
            Place::Unused => {
                self.unused += 1;
                return Ok(());
            }
            Place::Outside => {
                self.outside += 1;
                return Ok(());
            }
        };
        let most = most_records(self.max_rules);
        if self.records >= most {
            return Err(Misfit::TooMany(most));
        }
        match self.touch(labels).records.entry(Key { rtype, rdata: rdata.into() }) {
            Entry::Occupied(_) => return Err(Misfit::AlreadyThere),
            Entry::Vacant(free) => free.insert(ttl),
        };
        self.records += 1;
        Ok(())
    }

    /// The zone's SOA is this one now; `ttl` is in seconds.
    pub fn soa(&mut self, ttl: u32, rdata: &[u8]) -> Result<(), Refusal> {
        self.soa = read_soa(ttl, rdata)?;
        Ok(())
    }

    /// Records added and removed so far, even if they cancel each other out.
    pub fn changes(&self) -> usize {
        self.changes
    }

    /// Owners that may differ from the base.
    pub fn owners(&self) -> usize {
        self.touched.len()
    }

    /// All changes are in.
    pub fn finish(self) -> Result<ZoneRules, Refusal> {
        let mut next = Next::of(&self.base);
        next.skipped.total = next.skipped.total.saturating_add_signed(self.outside);
        next.skipped.unused = next.skipped.unused.saturating_add_signed(self.unused);
        let Some(store) = self.base.records() else {
            return Err(Refusal::NoSoa(self.base.origin.to_string()));
        };
        let touched = self.touched.iter();
        let changed = touched.filter_map(|(labels, touched)| Changed::of(store, labels, touched));
        let changed: Vec<Changed<'_>> = changed.collect();
        next.forget_reasons(&changed);
        let mut kept = Vec::new();
        for owner in changed {
            let code = next.change(&owner);
            let records = owner.now;
            kept.push((owner.labels, (!records.is_empty()).then_some(Kept { code, records })));
        }
        if next.counts.total() > self.max_rules as u64 {
            return Err(Refusal::TooManyRules(self.max_rules));
        }
        let store = store.derive(kept);
        Ok(next.rules(self.soa, store))
    }

    /// The records of an owner, to change.
    fn touch(&mut self, labels: &[u8]) -> &mut Touched {
        let base = &self.base;
        self.touched.entry(labels.into()).or_insert_with(|| {
            let owner = base.records().and_then(|store| store.get(labels));
            let records = owner.iter().flat_map(|owner| owner.records.clone());
            let key = |record: &Record<'_>| Key { rtype: record.rtype, rdata: record.rdata.into() };
            let records = records.map(|record| (key(&record), record.ttl)).collect();
            Touched { is_new: owner.is_none(), records }
        })
    }
}

/// An owner that differs from the base.
struct Changed<'a> {
    labels: &'a [u8],
    was: Vec<Record<'a>>,
    now: Vec<Record<'a>>,
    /// The code of the QNAME rule that it had.
    old: Option<ActionCode>,
}

impl<'a> Changed<'a> {
    /// `None` if all is as it was.
    fn of(store: &'a RecordStore, labels: &'a [u8], touched: &'a Touched) -> Option<Changed<'a>> {
        let owner = store.get(labels);
        let old = owner.as_ref().and_then(|owner| owner.code);
        let was = owner.map(|owner| owner.records.collect()).unwrap_or_default();
        let now = touched.records.iter().map(|(key, ttl)| key.record(*ttl)).collect();
        (was != now).then_some(Changed { labels, was, now, old })
    }
}

/// The next version in the making.
struct Next<'a> {
    base: &'a ZoneRules,
    counts: Counts,
    skipped: Skipped,
    data: DataList,
    /// Only if local data is touched: to make it anew means to walk through all rules.
    index: Option<DataIndex>,
    change: Change,
    /// What touched NSDNAME and prefix rules do now.
    nsdnames: HashMap<Vec<u8>, Option<ActionCode>, RandomState>,
    prefixes: HashMap<(TriggerKind, IpNet), Option<ActionCode>, RandomState>,
}

impl<'a> Next<'a> {
    fn of(base: &'a ZoneRules) -> Next<'a> {
        Next {
            base,
            counts: base.counts,
            skipped: base.skipped.clone(),
            data: base.data.clone(),
            index: None,
            change: Change { since: base.id(), ..Change::default() },
            nsdnames: HashMap::default(),
            prefixes: HashMap::default(),
        }
    }

    /// Drops the reasons that were kept for owners that change.
    fn forget_reasons(&mut self, changed: &[Changed<'_>]) {
        if !self.skipped.first.is_empty() {
            let owners = changed.iter().map(|owner| reading::owner_text(owner.labels));
            let owners: HashSet<String> = owners.collect();
            self.skipped.first.retain(|record| !owners.contains(&record.owner));
        }
    }

    /// Takes in what an owner was and is; gives the code of its QNAME rule.
    fn change(&mut self, owner: &Changed<'_>) -> Option<ActionCode> {
        let Changed { labels, was, now, old } = owner;
        let (origin, old) = (&self.base.origin, *old);
        let before = reading::read(origin, labels, was);
        before.take_back(&mut self.counts, &mut self.skipped);
        let mut after = reading::read(origin, labels, now);
        after.count(&mut self.counts, &mut self.skipped);
        let room = SKIPPED_KEPT.saturating_sub(self.skipped.first.len());
        self.skipped.first.extend(after.first.drain(..room.min(after.first.len())));
        let code = after.rule.as_ref().map(|(_, does)| self.code(does));
        match trigger(&before, &after) {
            Some(Trigger::Name(TriggerKind::Nsdname, name)) => {
                self.touch_other(TriggerKind::Nsdname);
                self.nsdnames.insert(name.to_vec(), code);
                None
            }
            Some(Trigger::Prefix(kind, net)) => {
                self.touch_other(kind);
                self.prefixes.insert((kind, net), code);
                None
            }
            Some(Trigger::Name(..)) => {
                self.release(old);
                match code {
                    Some(code) if old != Some(code) => self.change.put.push(labels, code),
                    None if old.is_some() => {
                        self.change.removed.push(labels, Action::Nxdomain.into())
                    }
                    _ => {}
                }
                code
            }
            None => None,
        }
    }

    fn touch_other(&mut self, kind: TriggerKind) {
        if let Some(touched) = self.change.others.get_mut(kind as usize) {
            *touched = true;
        }
    }

    /// The code of what a rule does.
    fn code(&mut self, does: &Does) -> ActionCode {
        match does {
            Does::Fixed(action) => (*action).into(),
            data => {
                let index = index_of(&mut self.index, self.base);
                data.code(&mut self.data, index)
            }
        }
    }

    /// A rule with this code is gone.
    fn release(&mut self, code: Option<ActionCode>) {
        if let Some(Action::Data(number)) = code.map(ActionCode::action) {
            index_of(&mut self.index, self.base).release(&mut self.data, number);
        }
    }

    /// The NSDNAME rules; those of the base, if none changed.
    fn nsdnames(&mut self) -> Arc<RuleArena> {
        let mut touched = std::mem::take(&mut self.nsdnames);
        if touched.is_empty() {
            return Arc::clone(&self.base.nsdnames);
        }
        let mut rules = RuleArena::default();
        for (wire, code) in self.base.nsdnames.iter() {
            let Some((_, labels)) = wire.split_last() else { continue };
            match touched.remove(labels) {
                None => rules.push(labels, code),
                Some(new) => {
                    self.release(Some(code));
                    new.into_iter().for_each(|code| rules.push(labels, code));
                }
            }
        }
        for (labels, code) in touched {
            code.into_iter().for_each(|code| rules.push(&labels, code));
        }
        Arc::new(rules)
    }

    /// The rules on addresses; those of the base, if none changed.
    fn prefixes(&mut self) -> Arc<Vec<AddressRule>> {
        let mut touched = std::mem::take(&mut self.prefixes);
        if touched.is_empty() {
            return Arc::clone(&self.base.prefixes);
        }
        let mut rules = Vec::with_capacity(self.base.prefixes.len() + touched.len());
        for &(kind, net, code) in self.base.prefixes.iter() {
            match touched.remove(&(kind, net)) {
                None => rules.push((kind, net, code)),
                Some(new) => {
                    self.release(Some(code));
                    rules.extend(new.map(|code| (kind, net, code)));
                }
            }
        }
        let new = touched.into_iter();
        rules.extend(new.filter_map(|((kind, net), code)| Some((kind, net, code?))));
        rules.shrink_to_fit();
        Arc::new(rules)
    }

    fn rules(mut self, soa: Soa, store: RecordStore) -> ZoneRules {
        let mut rules = ZoneRules::none(self.base.origin);
        (rules.nsdnames, rules.prefixes) = (self.nsdnames(), self.prefixes());
        (rules.soa, rules.skipped, rules.counts) = (soa, self.skipped, self.counts);
        (rules.names, rules.data) = (NameRules::Kept(store), self.data);
        rules.leave_index(self.index.or_else(|| self.base.take_index()));
        rules.set_change(self.change);
        rules
    }
}

/// The trigger of an owner's rule, of which the records do not matter.
fn trigger<'a>(before: &Reading<'a>, after: &Reading<'a>) -> Option<Trigger<'a>> {
    let mut rules = [before, after].into_iter().filter_map(|reading| reading.rule.as_ref());
    rules.next().map(|(trigger, _)| *trigger)
}

/// The index of the local data, made from the rules if nobody left it.
fn index_of<'i>(index: &'i mut Option<DataIndex>, base: &ZoneRules) -> &'i mut DataIndex {
    index.get_or_insert_with(|| {
        let left = base.take_index();
        left.unwrap_or_else(|| DataIndex::of(&base.data, base.codes().map(ActionCode::action)))
    })
}
