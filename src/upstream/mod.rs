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
use crate::limits::upstream as limits;

pub use self::failure::{Failure, Fault, Stage, TlsFault};
pub use self::probe::ProbeReport;
pub use self::retry_after::retry_after;
pub use self::settings::{DohSettings, Kind, Path, PathFault, Settings, SetupError};
pub use self::status::{BackendState, BackendStatus, UpstreamStatus};
pub use self::tls::{client_config, handshake_fault, server_name};

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
                event = "backend-path", upstream = %upstream, backend = %self.backend.address,
                "backend {} of {upstream} answers HTTP {status} to path {}; using path {}",
                self.backend.address,
                wrong + 1,
                next + 1
            );
        }
        more
    }
}
