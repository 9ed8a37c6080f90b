//! The upstreams: DoH services over pooled HTTP/2 connections, and internal servers over plain
//! DNS. Once a question is in here, nothing may get lost: every fault of one backend is made
//! good by another try, within bounds, before the client gives up.
//!
//! ```text
//!   ask(question) ──► join     equal questions wait for one fetch
//!                       └────► fetch     tries, retries, hedges, late answers
//!                                ├─ select   which backend          (pure)
//!                                ├─ budget   how often              (pure)
//!                                ├─ doh  ──► backend ──► connection ──► tls
//!                                └─ plain      │  pools, health, latency
//!                                              ├─ health   up or down  (pure)
//!                                              └─ latency  time-outs   (pure)
//!   keep_healthy  probes what is down or doubtful
//!   probe_each    one look at each backend for the operator
//!   AnswerSink ◄── every outcome, before the waiters wake; late answers as well
//! ```
//!
//! Everything is shared by all workers. Each worker (up to eight) has connections of its own,
//! which live on the runtime that opened them; any worker may use any of them.

mod backend;
mod budget;
mod connection;
mod doh;
mod failure;
mod fetch;
mod health;
mod join;
mod latency;
mod plain;
mod probe;
mod retry_after;
mod select;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod tls;

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::backend::Backend;
use self::budget::HedgeBudget;
use self::connection::Endpoint;
use self::join::{Entry, Joins};
use self::tls::Trust;
use crate::dns::answer::Answer;
use crate::dns::question::Question;

pub use self::failure::{Failure, Fault, Stage, TlsFault};
pub use self::probe::ProbeReport;
pub use self::settings::{DohSettings, Kind, Path, PathFault, Settings, SetupError};
pub use self::status::{BackendState, BackendStatus, UpstreamStatus};

/// Bounds of this room.
mod limits {
    use std::time::Duration;

    /// Shortest time-out of a try, however fast a backend usually is.
    pub(super) const TRY_TIMEOUT_MIN: Duration = Duration::from_millis(100);
    /// Longest time-out of a try.
    pub(super) const TRY_TIMEOUT_MAX: Duration = Duration::from_millis(1200);
    /// Time-out of a try before anything was measured.
    pub(super) const TRY_TIMEOUT_UNKNOWN: Duration = Duration::from_millis(500);
    /// How long a try without a client may still run.
    pub(super) const ABANDONED_TRY: Duration = Duration::from_secs(10);
    /// Every question has its outcome within this time.
    pub(super) const FETCH_DEADLINE: Duration = Duration::from_millis(3800);
    /// A fetch older than this is not joined any more.
    pub(super) const JOIN_AGE: Duration = Duration::from_secs(2);
    /// Longest DNS message, and so the longest HTTP body.
    pub(super) const BODY_MAX: usize = 65_535;
    /// Sends of one question to one backend (RFC 9520 section 3.1).
    pub(super) const SENDS_PER_BACKEND: u8 = 3;
    /// Sends of one question to a backend that is down.
    pub(super) const SENDS_WHILE_DOWN: u8 = 2;
    /// Sends of one question in all.
    pub(super) const SENDS_TOTAL: u8 = 6;
    /// Questions over DoH are padded to a multiple of this (RFC 8467 section 4.1).
    pub(super) const PADDING_BLOCK: usize = 128;

    /// Hedges in a hundred questions.
    pub(super) const HEDGE_PERCENT: u32 = 2;
    /// Hedges at once after a quiet time.
    pub(super) const HEDGE_BURST: u32 = 10;
    /// No hedge before this.
    pub(super) const HEDGE_MIN: Duration = Duration::from_millis(30);

    /// Pools of connections; more workers share them.
    pub(super) const POOLS: usize = 8;
    /// TCP and TLS must be ready within this time.
    pub(super) const HANDSHAKE: Duration = Duration::from_secs(2);
    /// Connects a second and pool, and for all pools of a backend that is down.
    pub(super) const CONNECTS_PER_SECOND: f64 = 2.0;
    /// Connects at once after a quiet time.
    pub(super) const CONNECT_BURST: u32 = 2;
    /// A connection with so many answers does not count as one of the connects.
    pub(super) const ANSWERS_THAT_PAY: u32 = 16;
    /// Age at which a connection is replaced, give or take a tenth.
    pub(super) const CONNECTION_AGE: Duration = Duration::from_secs(3600);
    /// Streams after which a connection is replaced; ids end at 2^30 of them.
    pub(super) const STREAMS_PER_LIFE: u32 = 1 << 29;
    /// Streams at once on one connection, whatever the peer allows.
    pub(super) const STREAMS_PER_CONNECTION: usize = 1000;
    /// Streams at once before the peer said what it allows.
    pub(super) const STREAMS_UNTIL_SETTINGS: usize = 100;
    /// Receive window of a stream: two of the longest messages.
    pub(super) const STREAM_WINDOW: u32 = 128 << 10;
    /// Receive window of a connection.
    pub(super) const CONNECTION_WINDOW: u32 = 16 << 20;
    /// Octets of response headers.
    pub(super) const HEADER_LIST_MAX: u32 = 16 << 10;
    /// How long a try waits for a stream where all are in use.
    pub(super) const STREAM_WAIT: Duration = Duration::from_secs(1);
    /// How often it looks whether the peer allows more.
    pub(super) const STREAM_POLL: Duration = Duration::from_millis(50);

    /// Least time that an answer to a PING may take.
    pub(super) const PING_PATIENCE_MIN: Duration = Duration::from_millis(200);
    /// Most time that an answer to a PING may take.
    pub(super) const PING_PATIENCE_MAX: Duration = Duration::from_secs(2);
    /// A connection that heard nothing for so long gets a PING with its next request.
    pub(super) const IDLE_BEFORE_PING: Duration = Duration::from_secs(10);
    /// A timer that fires later than this shows that our own thread stood still.
    pub(super) const LATE_TIMER: Duration = Duration::from_millis(100);
    /// Tries in a row that pass their time-out before a connection is replaced.
    pub(super) const SLOW_BEFORE_REPLACED: u32 = 16;
    /// It must also have been without an answer for so long.
    pub(super) const QUIET_BEFORE_REPLACED: Duration = Duration::from_secs(3);

    /// Faults in a row that take a backend out of service.
    pub(super) const FALL: u32 = 2;
    /// Good probes in a row that bring it back.
    pub(super) const RISE: u32 = 2;
    /// Time between good probes of a backend that comes back.
    pub(super) const PROBE_REPEAT: Duration = Duration::from_millis(200);
    /// First pause between probes of a backend that is down.
    pub(super) const PROBE_PAUSE_MIN: Duration = Duration::from_millis(500);
    /// Longest pause where connections fail. With a handshake that waits for a lost packet's
    /// repetition and the second probe, service is back within five seconds.
    pub(super) const PROBE_PAUSE_MAX: Duration = Duration::from_millis(2500);
    /// Longest pause where the service refuses.
    pub(super) const PROBE_PAUSE_SICK: Duration = Duration::from_secs(30);
    /// How long one probe may take.
    pub(super) const PROBE_TIMEOUT: Duration = Duration::from_millis(2500);
    /// Tries without an answer, in a row, that call for a probe.
    pub(super) const SLOW_BEFORE_PROBE: u32 = 3;
    /// A first choice that came back waits so long while a standby serves.
    pub(super) const FAIL_BACK_HOLD: Duration = Duration::from_secs(5);
    /// Longest Retry-After that is honoured.
    pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
    /// Shortest pause after HTTP 429 or 503 without Retry-After.
    pub(super) const OWN_BACK_OFF_MIN: Duration = Duration::from_secs(1);
    /// Longest pause after HTTP 429 or 503 without Retry-After.
    pub(super) const OWN_BACK_OFF_MAX: Duration = Duration::from_secs(60);
    /// Least time between two lines in the log about the state of one backend.
    pub(super) const STATE_LINE_PAUSE: Duration = Duration::from_secs(10);
    /// A measured latency counts half after so long without a new one.
    pub(super) const LATENCY_FADES: Duration = Duration::from_secs(5);
    /// Faster than this, backends are taken to be equal, in microseconds.
    pub(super) const LATENCY_FLOOR_US: u64 = 1000;

    /// Tries that the share of failures is taken of, the newest ones.
    pub(super) const SHARE_WINDOW: usize = 32;
    /// Older tries do not count.
    pub(super) const SHARE_AGE: Duration = Duration::from_secs(20);
    /// Fewer tries prove nothing.
    pub(super) const SHARE_TRIES: usize = 20;
    /// Fewer names that failed prove nothing.
    pub(super) const SHARE_NAMES: usize = 8;
    /// Fewer tries of a peer are no measure for others.
    pub(super) const SHARE_PEER_TRIES: usize = 5;
    /// Tries of which more than half were reset or garbled.
    pub(super) const SHARE_HARD_TRIES: usize = 10;
    /// How long a backend that does worse than its peers is left out; doubles up to 16 times.
    pub(super) const WORSE_PAUSE: Duration = Duration::from_secs(10);
    /// In service for so long, a backend starts with the shortest pause again.
    pub(super) const WORSE_FORGET: Duration = Duration::from_secs(300);

    /// Shortest time-out of a try over plain DNS: one lost packet costs this much.
    pub(super) const PLAIN_TIMEOUT_MIN: Duration = Duration::from_millis(300);
    /// Largest answer asked for over UDP: no fragments (DNS flag day 2020).
    pub(super) const PLAIN_PAYLOAD: u16 = 1232;
    /// Octets of an answer over UDP that are read, should a server not keep to it.
    pub(super) const PLAIN_BUFFER: usize = 4096;
    /// How long a socket waits for an answer.
    pub(super) const PLAIN_TRY_MAX: Duration = Duration::from_secs(4);
    /// How long TCP may take for an answer that was truncated.
    pub(super) const PLAIN_TCP_MAX: Duration = Duration::from_secs(3);
    /// Sockets open at once to one plain server.
    pub(super) const PLAIN_SOCKETS: usize = 1024;
    /// Random ports that are tried before the system chooses.
    pub(super) const PLAIN_PORT_TRIES: usize = 4;
}

/// Takes every outcome, to fill the cache.
pub trait AnswerSink: Send + Sync {
    /// Called once for each finished fetch, before its waiters wake, and once more for each
    /// good answer that came too late for them. Must not block.
    fn received(&self, upstream: usize, q: &Question, outcome: &Outcome);
}

/// What a question led to.
pub type Outcome = Result<Arc<Fetched>, Failure>;

/// An answer, and what its transport says about it.
#[derive(Debug)]
pub struct Fetched {
    /// The answer.
    pub answer: Arc<Answer>,
    /// Seconds that an HTTP cache held it (Age); saturating.
    pub age: u32,
    /// Seconds that HTTP allows to keep it (Cache-Control: max-age).
    pub max_age: Option<u32>,
    /// HTTP forbids to keep it (Cache-Control: no-store).
    pub no_store: bool,
    /// Who answered.
    pub backend: SocketAddr,
    /// It came over plain DNS.
    pub plain: bool,
}

impl Fetched {
    fn plain(answer: Answer, backend: SocketAddr) -> Fetched {
        Fetched {
            answer: Arc::new(answer),
            age: 0,
            max_age: None,
            no_store: false,
            backend,
            plain: true,
        }
    }
}

/// One upstream with all its backends. Usable from several runtimes at once.
pub struct Upstream {
    id: usize,
    settings: Settings,
    lanes: Box<[Lane]>,
    /// `None` for plain DNS.
    urls: Option<doh::Urls>,
    trust: Option<Arc<Trust>>,
    pools: usize,
    joins: Joins,
    hedges: Mutex<HedgeBudget>,
    counts: Counts,
    sink: Arc<dyn AnswerSink>,
}

/// A backend in its place in this upstream.
struct Lane {
    backend: Arc<Backend>,
    standby: bool,
    paths: usize,
    /// Path in use, counted from 0.
    path: AtomicUsize,
    /// Paths in a row that turned out wrong.
    wrong: AtomicUsize,
    /// Paths whose failing was logged, as bits.
    reported: AtomicU64,
}

#[derive(Default)]
struct Counts {
    joined: AtomicU64,
    hedged: AtomicU64,
    shed: AtomicU64,
    late: AtomicU64,
}

/// A lock whose holder cannot have left half-done work behind: no foreign code runs under it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upstream {
    /// Sets up an upstream for `workers` workers. Nothing is connected yet.
    ///
    /// If `previous` has the same settings, and the CA file's content did not change either,
    /// it is returned as it is. Otherwise the backends that did not change are taken over with
    /// their health, latency and connections; those that are gone end when their last question
    /// does.
    pub fn build(
        id: usize,
        settings: Settings,
        previous: Option<&Arc<Upstream>>,
        workers: usize,
        sink: Arc<dyn AnswerSink>,
    ) -> Result<Arc<Upstream>, SetupError> {
        let pools = workers.clamp(1, limits::POOLS);
        let trust = match &settings.kind {
            Kind::Doh(doh) => {
                let old = previous.and_then(|p| p.trust.as_ref());
                Some(Trust::load(doh.ca.as_deref(), old)?)
            }
            Kind::Plain { .. } => None,
        };
        if let Some(previous) = previous {
            let same_trust = match (&previous.trust, &trust) {
                (Some(old), Some(new)) => Arc::ptr_eq(old, new),
                (None, None) => true,
                _ => false,
            };
            let same_place = previous.id == id && previous.pools == pools;
            if same_trust && same_place && previous.settings == settings {
                return Ok(previous.clone());
            }
        }
        let urls = match &settings.kind {
            Kind::Doh(doh) => Some(doh::Urls::new(doh)?),
            Kind::Plain { .. } => None,
        };
        let paths = urls.as_ref().map_or(1, doh::Urls::len);
        let lanes = lanes(&settings, trust.as_ref(), previous, pools, paths)?;
        introduce(&lanes);
        Ok(Arc::new(Upstream {
            id,
            joins: Joins::new(settings.max_in_flight),
            settings,
            lanes,
            urls,
            trust,
            pools,
            hedges: Mutex::new(HedgeBudget::new()),
            counts: Counts::default(),
            sink,
        }))
    }

    /// Asks a question for worker `worker`. An equal question in flight is joined. Ends within
    /// the fetch deadline (3.8 s); may be dropped at any time without harm to other askers.
    /// Must be called inside a tokio runtime.
    pub async fn ask(self: &Arc<Self>, q: &Question, worker: usize) -> Outcome {
        let slot = match self.joins.enter(q) {
            Entry::Joined(slot) => {
                self.counts.joined.fetch_add(1, Relaxed);
                slot
            }
            Entry::First(slot) => {
                let pool = worker % self.pools;
                tokio::spawn(fetch::run(self.clone(), slot.clone(), pool));
                slot
            }
        };
        slot.wait().await
    }

    /// No backend is up. Questions may be asked all the same: one that gets through ends it.
    pub fn all_down(&self) -> bool {
        !self.lanes.iter().any(|lane| lane.backend.is_up())
    }

    /// The id it was built with.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What it was built from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Probes backends that are down or doubtful, and writes log lines that were held back.
    /// Runs until it is dropped.
    pub async fn keep_healthy(self: Arc<Self>) {
        let watches = (0..self.lanes.len()).map(|i| self.watch(i));
        futures_util::future::join_all(watches).await;
    }
}

/// The backends in their order: first choice, then standby. What did not change is taken over.
fn lanes(
    settings: &Settings,
    trust: Option<&Arc<Trust>>,
    previous: Option<&Arc<Upstream>>,
    pools: usize,
    paths: usize,
) -> Result<Box<[Lane]>, SetupError> {
    let (name, addresses, standby): (_, _, &[SocketAddr]) = match &settings.kind {
        Kind::Doh(doh) => (Some(tls::server_name(&doh.host)?), &doh.addresses, &doh.standby),
        Kind::Plain { servers } => (None, servers, &[]),
    };
    let same_url = previous.is_some_and(|p| same_url(&p.settings.kind, &settings.kind));
    let mut lanes: Vec<Lane> = Vec::new();
    let all = addresses.iter().map(|a| (a, false)).chain(standby.iter().map(|a| (a, true)));
    for (&address, standby) in all {
        if lanes.iter().any(|lane| lane.backend.address == address) {
            continue;
        }
        let endpoint = name
            .clone()
            .zip(trust)
            .map(|(name, trust)| Arc::new(Endpoint { address, name, trust: trust.clone() }));
        let old = previous.and_then(|p| {
            p.lanes.iter().find(|lane| {
                lane.backend.is_same(&settings.name, address, endpoint.as_deref(), pools)
            })
        });
        let backend = match old {
            Some(lane) => lane.backend.clone(),
            None => Backend::new(&settings.name, address, endpoint, pools),
        };
        let path = old.filter(|_| same_url).map_or(0, |lane| lane.path.load(Relaxed));
        if old.is_some() && !same_url {
            backend.look_again();
        }
        lanes.push(Lane {
            backend,
            standby,
            paths,
            path: AtomicUsize::new(path),
            wrong: AtomicUsize::new(0),
            reported: AtomicU64::new(0),
        });
    }
    if lanes.is_empty() { Err(SetupError::NoAddress) } else { Ok(lanes.into()) }
}

/// Requests look the same, so that what is known of the paths stays true.
fn same_url(old: &Kind, new: &Kind) -> bool {
    match (old, new) {
        (Kind::Doh(old), Kind::Doh(new)) => {
            old.host == new.host && old.port == new.port && old.paths == new.paths
        }
        (Kind::Plain { .. }, Kind::Plain { .. }) => true,
        _ => false,
    }
}

/// Tells each backend who its peers are.
fn introduce(lanes: &[Lane]) {
    for (i, lane) in lanes.iter().enumerate() {
        let others = lanes.iter().enumerate().filter(|(j, _)| *j != i);
        lane.backend.set_peers(others.map(|(_, lane)| Arc::downgrade(&lane.backend)).collect());
    }
}

impl Lane {
    /// A request to this path was answered with a DNS message.
    fn path_is_good(&self, path: usize) {
        if self.wrong.load(Relaxed) > 0 {
            self.wrong.store(0, Relaxed);
            self.reported.fetch_and(!(1 << (path % 64)), Relaxed);
        }
    }

    /// The path `wrong` (from 0) is wrong or retired. True if there is another one to try now.
    fn next_path(&self, upstream: &str, wrong: usize, status: u16) -> bool {
        let next = (wrong + 1) % self.paths;
        if self.path.compare_exchange(wrong, next, AcqRel, Acquire).is_err() {
            // another question found out before
            return self.wrong.load(Relaxed) < self.paths;
        }
        let more = self.wrong.fetch_add(1, Relaxed) + 1 < self.paths;
        let bit = 1 << (wrong % 64);
        if more && self.reported.fetch_or(bit, Relaxed) & bit == 0 {
            tracing::warn!(
                target: "culvert::upstream",
                "backend {} of {upstream} answers HTTP {status} to path {}; using path {}",
                self.backend.address,
                wrong + 1,
                next + 1
            );
        }
        more
    }
}
