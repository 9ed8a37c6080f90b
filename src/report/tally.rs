//! What zones that only watch would have done, counted from their hits.
//!
//! ```text
//!   daemon ─ watch(zones) ─► Tally ◄─ note(hit) ─ the hit log's writer, a batch at a time
//!                              └─► report(zone): totals, the most frequent names and clients
//! ```
//!
//! A zone's count begins when it begins to watch, and is gone when it watches no more. New rules
//! of the zone do not touch it.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::HitRecord;
use crate::clock;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::action::Action;

/// What one zone in mode monitor would have done, for people. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ZoneReport {
    /// The zone.
    pub zone: String,
    /// Since when it is counted: the start, or the reload or command that made it watch.
    pub since: String,
    /// Queries that its rules would have acted on, those that they let through not counted.
    pub queries: u64,
    /// When the first of them came.
    pub first: Option<String>,
    /// When the last of them came.
    pub last: Option<String>,
    /// The names asked for most often, at most [`limits::TALLY_SHOWN`].
    pub names: Vec<Counted>,
    /// Names that are counted one by one, at most [`limits::TALLY_NAMES`].
    pub names_seen: u64,
    /// Queries for names beyond those.
    pub names_beyond: u64,
    /// The clients that asked most often, at most [`limits::TALLY_SHOWN`].
    pub clients: Vec<Counted>,
    /// Clients that are counted one by one, at most [`limits::TALLY_CLIENTS`].
    pub clients_seen: u64,
    /// Queries of clients beyond those.
    pub clients_beyond: u64,
    /// What the rules said, in BIND's words; PASSTHRU too, which is in no other count here.
    pub actions: Vec<Counted>,
    /// Hits of all watching zones together that were lost since, because the queue to the hit
    /// log was full. So many may be missing here.
    pub dropped: u64,
}

/// Something that was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// A name, an address or an action.
    pub what: String,
    /// Queries.
    pub queries: u64,
}

/// The counts of all zones that only watch.
#[derive(Default)]
pub(super) struct Tally {
    zones: HashMap<Name, ZoneTally>,
}

struct ZoneTally {
    /// Wall times in milliseconds since 1970, here and below.
    since: u64,
    /// The first hit and the last one.
    span: Option<(u64, u64)>,
    /// Hits that had been lost when the count began.
    lost_before: u64,
    queries: u64,
    names: Counts,
    clients: Counts,
    actions: BTreeMap<&'static str, u64>,
}

/// How often each of at most so many things came, by its text.
struct Counts {
    each: HashMap<Box<str>, u64>,
    most: usize,
    /// What came when there was no place for another one.
    beyond: u64,
}

impl Tally {
    /// From now on these zones are counted and no others; those that were counted before go on.
    /// `lost` is how many hits were lost so far.
    pub(super) fn watch(&mut self, zones: &[Name], lost: u64) {
        self.zones.retain(|zone, _| zones.contains(zone));
        for zone in zones {
            self.zones.entry(*zone).or_insert_with(|| ZoneTally::new(clock::wall_millis(), lost));
        }
    }

    /// Counts a hit, if it is one of a zone that only watches.
    pub(super) fn note(&mut self, hit: &HitRecord) {
        if !hit.enforced
            && let Some(tally) = self.zones.get_mut(&hit.zone.settings.name)
        {
            tally.note(hit);
        }
    }

    /// What a zone would have done; `None` if it does not watch. `lost` as in [`Tally::watch`].
    pub(super) fn report(&self, zone: &str, lost: u64) -> Option<ZoneReport> {
        let name = zone.parse().ok()?;
        Some(self.zones.get(&name)?.report(name, lost))
    }
}

impl ZoneTally {
    fn new(since: u64, lost_before: u64) -> ZoneTally {
        ZoneTally {
            since,
            span: None,
            lost_before,
            queries: 0,
            names: Counts::new(limits::TALLY_NAMES),
            clients: Counts::new(limits::TALLY_CLIENTS),
            actions: BTreeMap::new(),
        }
    }

    fn note(&mut self, hit: &HitRecord) {
        *self.actions.entry(hit.action).or_default() += 1;
        if hit.action == Action::Passthru.as_str() {
            return;
        }
        self.queries += 1;
        self.names.note(&hit.qname.to_string());
        self.clients.note(&hit.client.ip().to_canonical().to_string());
        // workers are not ordered among themselves
        let (first, last) = self.span.unwrap_or((hit.time, hit.time));
        self.span = Some((first.min(hit.time), last.max(hit.time)));
    }

    fn report(&self, zone: Name, lost: u64) -> ZoneReport {
        let actions = self.actions.iter().map(|(what, queries)| counted(what, *queries));
        ZoneReport {
            zone: zone.to_string(),
            since: clock::rfc3339(self.since),
            queries: self.queries,
            first: self.span.map(|(first, _)| clock::rfc3339(first)),
            last: self.span.map(|(_, last)| clock::rfc3339(last)),
            names: self.names.top(),
            names_seen: self.names.each.len() as u64,
            names_beyond: self.names.beyond,
            clients: self.clients.top(),
            clients_seen: self.clients.each.len() as u64,
            clients_beyond: self.clients.beyond,
            actions: actions.collect(),
            dropped: lost.saturating_sub(self.lost_before),
        }
    }
}

impl Counts {
    fn new(most: usize) -> Counts {
        Counts { each: HashMap::new(), most, beyond: 0 }
    }

    fn note(&mut self, what: &str) {
        if let Some(count) = self.each.get_mut(what) {
            *count += 1;
        } else if self.each.len() < self.most {
            self.each.insert(what.into(), 1);
        } else {
            self.beyond += 1;
        }
    }

    /// The most frequent ones; those of equal count by their text.
    fn top(&self) -> Vec<Counted> {
        let mut all: Vec<(&str, u64)> = self.each.iter().map(|(what, n)| (&**what, *n)).collect();
        all.sort_unstable_by_key(|&(what, queries)| (std::cmp::Reverse(queries), what));
        all.truncate(limits::TALLY_SHOWN);
        all.into_iter().map(|(what, queries)| counted(what, queries)).collect()
    }
}

fn counted(what: &str, queries: u64) -> Counted {
    Counted { what: what.to_owned(), queries }
}
