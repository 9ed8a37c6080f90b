//! What operators are told of single queries: policy hits, and all queries when switched on.
//!
//! ```text
//!   road ─► Reporter::hit / query ─► bounded queue (no lock, no wait) ─► writer thread ─► sink
//!                                    full: counted as dropped              │
//!   daemon ◄─ zone_report ◄─ what zones that only watch would have done ◄─ tally
//! ```
//!
//! Nothing is written for a clean query. The road never waits for a disk or a pipe.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;

use crate::dns::name::Name;
use crate::limits;
use crate::policy::exceptions::Exception;
use crate::policy::set::Zone;
use crate::policy::spelling;
use crate::policy::stage::Matched;
use crate::policy::trigger::TriggerKind;
use crate::sys::journal::Entry;

mod form;
pub mod sink;
mod tally;
#[cfg(test)]
mod tests;

pub use form::Format;
pub use sink::Destination;
pub use tally::{Counted, ZoneReport};

use tally::Tally;

/// Records that are taken from the queue and written in one go.
const BATCH: usize = 512;
/// Priority of records in the journal (syslog(3): notice).
const NOTICE: u8 = 5;

/// A policy hit.
#[derive(Clone)]
pub struct HitRecord {
    /// Wall time in milliseconds since 1970.
    pub time: u64,
    /// Who asked.
    pub client: SocketAddr,
    /// Name asked for.
    pub qname: Name,
    /// Type asked for.
    pub qtype: u16,
    /// What the rule looked at.
    pub trigger: TriggerKind,
    /// The zone the rule stands in.
    pub zone: Arc<Zone>,
    /// The name that was judged: the query's, or one that its aliases lead to.
    pub name: Name,
    /// What made the rule match.
    pub matched: Matched,
    /// The exception that stands for the rule.
    pub exception: Option<Arc<Exception>>,
    /// What the rule did, in BIND's words.
    pub action: &'static str,
    /// False if the rule only watches.
    pub enforced: bool,
}

impl HitRecord {
    /// Owner of the rule with the zone's name behind it, as it stands in the zone.
    pub fn rule(&self) -> String {
        let owner = spelling::owner(self.trigger, &self.name, &self.matched);
        format!("{owner}.{}", self.zone.settings.name)
    }

    /// Owner as BIND logs it: made from what matched, so that a wildcard does not show.
    pub fn rule_matched(&self) -> String {
        let owner = spelling::owner_matched(self.trigger, &self.name, &self.matched);
        format!("{owner}.{}", self.zone.settings.name)
    }

    /// The name or address that matched.
    pub fn subject(&self) -> String {
        match &self.matched {
            Matched::Name(_) => self.name.to_string(),
            Matched::Server(server, _) => server.to_string(),
            Matched::Address(address, _) => address.to_string(),
        }
    }
}

/// A query, for the query log.
#[derive(Clone)]
pub struct QueryRecord {
    /// Wall time in milliseconds since 1970.
    pub time: u64,
    /// Who asked.
    pub client: SocketAddr,
    /// Name asked for.
    pub qname: Name,
    /// Type asked for.
    pub qtype: u16,
    /// How it ended.
    pub outcome: &'static str,
    /// It came over TCP.
    pub tcp: bool,
}

// both are copied into the queue's own slots: no allocation, however different their sizes
#[allow(clippy::large_enum_variant)]
enum Record {
    Hit(HitRecord),
    Query(QueryRecord),
}

impl Record {
    /// It is to be written; a hit of a zone that does not log is only counted.
    fn is_logged(&self) -> bool {
        match self {
            Record::Hit(hit) => hit.zone.settings.log,
            Record::Query(_) => true,
        }
    }
}

impl Record {
    /// The line as an entry of the journal, with fields to look for; docs/JOURNAL.md lists them.
    fn entry(&self, line: &str) -> Entry {
        let mut entry = Entry::new(NOTICE, line);
        let (event, client, qname) = match self {
            Record::Hit(hit) => ("policy-hit", hit.client, &hit.qname),
            Record::Query(query) => ("query", query.client, &query.qname),
        };
        entry.field("CULVERT_EVENT", event);
        entry.field("CULVERT_CLIENT", &client.ip().to_canonical().to_string());
        entry.field("CULVERT_QNAME", &qname.to_string());
        match self {
            Record::Hit(hit) => {
                entry.field("CULVERT_ZONE", &hit.zone.settings.name.to_string());
                entry.field("CULVERT_RULE", &hit.rule());
                entry.field("CULVERT_ACTION", hit.action);
            }
            Record::Query(query) => entry.field("CULVERT_OUTCOME", query.outcome),
        }
        entry
    }
}

struct Shared {
    queue: ArrayQueue<Record>,
    dropped: AtomicU64,
    /// Hits of zones that only watch, lost because the queue was full.
    untallied: AtomicU64,
    tally: Mutex<Tally>,
    written: AtomicU64,
    queries: AtomicBool,
    asleep: AtomicBool,
    stopping: AtomicBool,
    reopen: AtomicBool,
}

/// The road's side: takes records and never waits.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Shared>,
    writer: Thread,
}

/// The writer's side, kept by the daemon until the end.
pub struct Writer {
    reporter: Reporter,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Opens the destination and starts the writer. `server` names this relay in each record.
    pub fn start(
        server: String,
        destination: Destination,
        format: Format,
        queries: bool,
    ) -> std::io::Result<Writer> {
        let sink = destination.open()?;
        let shared = Arc::new(Shared::new(queries));
        let own = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("hit-log".to_owned())
            .spawn(move || own.write_all(&server, format, sink))?;
        let reporter = Reporter { shared, writer: thread.thread().clone() };
        Ok(Writer { reporter, thread })
    }

    /// A handle for the road.
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Writes what is queued and ends. A destination that takes nothing gets a bounded time.
    pub fn stop(self) {
        self.reporter.shared.stopping.store(true, Ordering::SeqCst);
        self.reporter.writer.unpark();
        let deadline = Instant::now() + limits::LOG_FLUSH;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !self.thread.is_finished() {
            let left = self.reporter.shared.queue.len();
            tracing::error!(
                event = "hit-log-failed",
                "the hit log takes no lines: {left} records are lost"
            );
            return;
        }
        if self.thread.join().is_err() {
            tracing::error!("the hit log's writer ended in a panic");
        }
    }
}

impl Reporter {
    /// Queues a policy hit. One of a zone that does not log is not written, but counted for
    /// [`Reporter::zone_report`] if the zone only watches; if it acts, it is not worth a call.
    pub fn hit(&self, hit: HitRecord) {
        self.push(Record::Hit(hit));
    }

    /// Queues a query.
    pub fn query(&self, query: QueryRecord) {
        self.push(Record::Query(query));
    }

    /// True while all queries are to be logged.
    #[inline]
    pub fn wants_queries(&self) -> bool {
        self.shared.queries.load(Ordering::Relaxed)
    }

    /// Switches the query log; the switch itself is logged.
    pub fn log_queries(&self, on: bool) {
        if self.shared.queries.swap(on, Ordering::Relaxed) != on {
            tracing::info!(
                event = "query-log",
                "query log switched {}",
                if on { "on" } else { "off" }
            );
        }
    }

    /// Opens a log file anew, after it was moved away.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::SeqCst);
        self.writer.unpark();
    }

    /// Records written, and records lost because the queue was full or the destination failed.
    pub fn counts(&self) -> (u64, u64) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (load(&self.shared.written), load(&self.shared.dropped))
    }

    /// From now on these zones, which only watch, are counted and no others; those that were
    /// counted before go on. To be called before the policy that makes them watch is published,
    /// so that no hit is missed.
    pub fn watch(&self, zones: &[Name]) {
        let lost = self.shared.untallied.load(Ordering::Relaxed);
        self.shared.tally().watch(zones, lost);
    }

    /// What a zone that only watches would have done so far, less what is still in the queue;
    /// `None` if it is no such zone. Sorts up to [`limits::TALLY_NAMES`] names: not for a
    /// serving thread.
    pub fn zone_report(&self, zone: &str) -> Option<ZoneReport> {
        let lost = self.shared.untallied.load(Ordering::Relaxed);
        self.shared.tally().report(zone, lost)
    }

    fn push(&self, record: Record) {
        if let Err(record) = self.shared.queue.push(record) {
            self.shared.lost(&record);
        }
        // the fence pairs with the writer's: either it sees the record, or we see it asleep
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::Relaxed) {
            self.writer.unpark();
        }
    }
}

impl Shared {
    fn new(queries: bool) -> Shared {
        Shared {
            queue: ArrayQueue::new(limits::HIT_QUEUE),
            dropped: AtomicU64::new(0),
            untallied: AtomicU64::new(0),
            tally: Mutex::default(),
            written: AtomicU64::new(0),
            queries: AtomicBool::new(queries),
            asleep: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
        }
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a record that found no place.
    fn lost(&self, record: &Record) {
        if record.is_logged() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(record, Record::Hit(hit) if !hit.enforced) {
            self.untallied.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The writer thread: takes what is there, writes it in one go, sleeps when there is nothing.
    fn write_all(&self, server: &str, format: Format, mut sink: sink::Sink) {
        let mut text = String::new();
        let mut entries = sink.takes_entries().then(Vec::new);
        loop {
            if self.reopen.swap(false, Ordering::SeqCst) {
                sink.reopen();
            }
            let (taken, lines) = self.take_batch(server, format, &mut text, &mut entries);
            if lines > 0 {
                let written = match &mut entries {
                    Some(entries) => sink.write_entries(&std::mem::take(entries)),
                    None if sink.write(&text) => lines,
                    None => 0,
                };
                self.written.fetch_add(written, Ordering::Relaxed);
                self.dropped.fetch_add(lines.saturating_sub(written), Ordering::Relaxed);
                text.clear();
            }
            if taken > 0 {
                continue;
            }
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            self.asleep.store(true, Ordering::Relaxed);
            std::sync::atomic::fence(Ordering::SeqCst);
            if self.queue.is_empty() && !self.stopping.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.asleep.store(false, Ordering::Relaxed);
        }
    }

    /// Takes records from the queue: how many, and how many lines of text they became. Each line
    /// becomes an entry of the journal instead, if entries are wanted.
    fn take_batch(
        &self,
        server: &str,
        format: Format,
        text: &mut String,
        entries: &mut Option<Vec<Entry>>,
    ) -> (usize, u64) {
        let (mut taken, mut lines) = (0, 0);
        let mut tally = self.tally();
        while taken < BATCH
            && let Some(record) = self.queue.pop()
        {
            taken += 1;
            if let Record::Hit(hit) = &record {
                tally.note(hit);
            }
            if !record.is_logged() {
                continue;
            }
            lines += 1;
            match &record {
                Record::Hit(hit) => form::hit(text, format, server, hit),
                Record::Query(query) => form::query(text, format, server, query),
            }
            if let Some(entries) = entries {
                entries.push(record.entry(text.trim_end()));
                text.clear();
            }
        }
        (taken, lines)
    }
}
