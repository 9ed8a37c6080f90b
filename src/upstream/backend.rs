//! One backend: its connections, its health, its latency and its counters. Shared by all
//! workers, and kept over a reload that does not change it.
//!
//! ```text
//!   Backend ── vitals   health and latency, one lock, touched once for each try
//!           ── marks    what choosing needs, readable without a lock
//!           └─ Pool 0 … 7   one open connection each, one handshake at a time
//! ```

mod pool;

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, LazyLock, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use self::pool::Pool;
use super::budget::ConnectBudget;
use super::connection::Endpoint;
use super::failure::{Class, Fault};
use super::health::{Around, Change, Event, Health, Line};
use super::latency::{self, Latency};
use super::{limits, locked};

/// One backend of an upstream.
pub(super) struct Backend {
    /// The upstream's name, for log lines.
    upstream: String,
    pub(super) address: SocketAddr,
    /// How a DoH backend is reached; `None` for plain DNS.
    endpoint: Option<Arc<Endpoint>>,
    pools: Box<[Pool]>,
    vitals: Mutex<Vitals>,
    marks: Marks,
    pub(super) counts: Counts,
    /// The other backends of the upstream.
    peers: Mutex<Vec<Weak<Backend>>>,
    /// While it is down, all pools together connect no more often than this.
    connects_down: Mutex<ConnectBudget>,
    /// The prober must look again.
    pub(super) look: Notify,
}

struct Vitals {
    health: Health,
    latency: Latency,
}

/// What is read for each choice; times are milliseconds after the program's first use of it.
struct Marks {
    up: AtomicBool,
    settled_at: AtomicU64,
    barred_until: AtomicU64,
    average_us: AtomicU32,
    p95_us: AtomicU32,
    sampled_at: AtomicU64,
    in_flight: AtomicUsize,
}

/// Counters since start.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) sent: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) retried: AtomicU64,
}

/// A snapshot of one backend for the status.
pub(super) struct Report {
    pub(super) up: bool,
    pub(super) recovering: bool,
    pub(super) since: Duration,
    pub(super) last_error: Option<(String, Duration)>,
    pub(super) average: Option<Duration>,
    pub(super) p95: Option<Duration>,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
}

static BASE: LazyLock<Instant> = LazyLock::new(Instant::now);

fn ms(at: Instant) -> u64 {
    at.saturating_duration_since(*BASE).as_millis() as u64
}

impl Backend {
    /// A backend without connections yet, taken to be up.
    pub(super) fn new(
        upstream: &str,
        address: SocketAddr,
        endpoint: Option<Arc<Endpoint>>,
        pools: usize,
    ) -> Arc<Backend> {
        let now = Instant::now().max(*BASE);
        let pools = (0..pools).map(|_| Pool::new(now)).collect();
        Arc::new(Backend {
            upstream: upstream.to_owned(),
            address,
            endpoint,
            pools,
            vitals: Mutex::new(Vitals { health: Health::new(now), latency: Latency::new() }),
            marks: Marks {
                up: AtomicBool::new(true),
                settled_at: AtomicU64::new(0),
                barred_until: AtomicU64::new(0),
                average_us: AtomicU32::new(0),
                p95_us: AtomicU32::new(0),
                sampled_at: AtomicU64::new(0),
                in_flight: AtomicUsize::new(0),
            },
            counts: Counts::default(),
            peers: Mutex::new(Vec::new()),
            connects_down: Mutex::new(ConnectBudget::new(now, limits::CONNECT_BURST)),
            look: Notify::new(),
        })
    }

    /// The same place, proven in the same way: may be kept over a reload.
    pub(super) fn is_same(
        &self,
        upstream: &str,
        address: SocketAddr,
        endpoint: Option<&Endpoint>,
        pools: usize,
    ) -> bool {
        self.address == address
            && self.upstream == upstream
            && self.pools.len() == pools
            && match (&self.endpoint, endpoint) {
                (None, None) => true,
                (Some(mine), Some(other)) => {
                    mine.name == other.name && Arc::ptr_eq(&mine.trust, &other.trust)
                }
                _ => false,
            }
    }

    /// How it is reached, if it is a DoH backend.
    pub(super) fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.endpoint.as_ref()
    }

    /// Tells it who its peers are.
    pub(super) fn set_peers(&self, peers: Vec<Weak<Backend>>) {
        *locked(&self.peers) = peers;
    }

    /// The settings that made it sick changed: probe it now.
    pub(super) fn look_again(&self) {
        locked(&self.vitals).health.look_again(Instant::now());
        self.look.notify_one();
    }

    // ── what choosing needs ──

    pub(super) fn is_up(&self) -> bool {
        self.marks.up.load(Acquire)
    }

    /// Up and past its hold-down.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.marks.settled_at.load(Relaxed) <= ms(now)
    }

    /// It asked not to be asked now.
    pub(super) fn is_barred(&self, now: Instant) -> bool {
        self.marks.barred_until.load(Relaxed) > ms(now)
    }

    /// The open connection of a pool has no free stream, or a plain server no free socket.
    pub(super) fn is_full(&self, pool: usize) -> bool {
        if self.endpoint.is_none() {
            return self.marks.in_flight.load(Relaxed) >= limits::PLAIN_SOCKETS;
        }
        locked(&self.pools[pool].state).current.as_ref().is_some_and(|c| c.is_full())
    }

    /// Expected time to an answer in microseconds: measured time times those who wait. An old
    /// measure fades, so that a backend that was slow once gets another chance; below a
    /// millisecond, differences mean nothing.
    pub(super) fn cost(&self, now: Instant) -> u64 {
        let average = u64::from(self.marks.average_us.load(Relaxed));
        let age = ms(now).saturating_sub(self.marks.sampled_at.load(Relaxed));
        let faded = average >> (age / limits::LATENCY_FADES.as_millis() as u64).min(16);
        faded.max(limits::LATENCY_FLOOR_US) * (self.marks.in_flight.load(Relaxed) as u64 + 1)
    }

    /// 95th percentile of the time to an answer, if enough is known.
    pub(super) fn p95(&self) -> Option<Duration> {
        let us = self.marks.p95_us.load(Relaxed);
        (us > 0).then(|| Duration::from_micros(u64::from(us)))
    }

    /// How long a try may take here.
    pub(super) fn try_timeout(&self) -> Duration {
        let plain = self.endpoint.is_none();
        let least = if plain { limits::PLAIN_TIMEOUT_MIN } else { limits::TRY_TIMEOUT_MIN };
        latency::try_timeout(self.p95(), least)
    }

    /// One try is under way here until the guard is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        self.marks.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    // ── events ──

    /// An answer came after `took`; `well` if it is one to give to a client.
    pub(super) fn answered(&self, took: Duration, well: bool) {
        self.counts.answered.fetch_add(1, Relaxed);
        let now = Instant::now();
        let up = self.is_up();
        let around = if up { Around::NOBODY } else { self.around(now) };
        let mut vitals = locked(&self.vitals);
        vitals.latency.record(took);
        self.mark_latency(&vitals.latency, now);
        if well {
            let change = vitals.health.on(now, Event::Answered, around);
            self.note(vitals, now, change);
        }
    }

    /// A try passed its time-out after `waited`.
    pub(super) fn slow(&self, waited: Duration) {
        let now = Instant::now();
        let mut vitals = locked(&self.vitals);
        vitals.latency.overdue(waited);
        self.mark_latency(&vitals.latency, now);
        let change = vitals.health.on(now, Event::Slow, Around::NOBODY);
        let probe = vitals.health.next_probe().is_some();
        self.note(vitals, now, change);
        if probe {
            self.look.notify_one();
        }
    }

    /// Something went wrong, or a probe ended.
    pub(super) fn report(&self, event: Event) {
        let now = Instant::now();
        let around = self.around(now);
        let mut vitals = locked(&self.vitals);
        let change = vitals.health.on(now, event, around);
        self.note(vitals, now, change);
    }

    /// A try failed. Faults of connections are reported by the connection, once, and not by
    /// each of the requests that it took along.
    pub(super) fn try_failed(&self, fault: &Fault) {
        self.counts.failed.fetch_add(1, Relaxed);
        let told = fault.class() == Class::Connection && self.endpoint.is_some();
        // over UDP, silence may be the name's fault; the prober finds out
        if !told && *fault != Fault::Unanswered {
            self.report(Event::Failed(fault.clone()));
        }
    }

    /// Publishes what health decided, and logs it.
    fn note(
        &self,
        mut vitals: std::sync::MutexGuard<'_, Vitals>,
        now: Instant,
        change: Option<Change>,
    ) {
        let health = &mut vitals.health;
        self.marks.barred_until.store(health.barred_until().map_or(0, ms), Relaxed);
        if change.is_none() {
            return;
        }
        self.marks.settled_at.store(ms(health.settled_at()), Relaxed);
        self.marks.up.store(health.is_up(), Release);
        let line = health.due_line(now);
        drop(vitals);
        self.look.notify_one();
        if let Some(line) = line {
            self.log(&line);
        }
    }

    fn around(&self, now: Instant) -> Around {
        let mut around = Around { roll: fastrand::f32(), ..Around::NOBODY };
        let peers: Vec<_> = locked(&self.peers).iter().filter_map(Weak::upgrade).collect();
        for peer in peers.iter().filter(|peer| peer.is_up()) {
            around.others_up = true;
            if let Some(share) = locked(&peer.vitals).health.share(now) {
                let least = around.peer_share.map_or(share, |least| least.min(share));
                around.peer_share = Some(least);
            }
        }
        around
    }

    fn mark_latency(&self, latency: &Latency, now: Instant) {
        let us = |time: Option<Duration>| {
            time.map_or(0, |t| t.as_micros().min(u128::from(u32::MAX)) as u32)
        };
        self.marks.average_us.store(us(latency.average()), Relaxed);
        self.marks.p95_us.store(us(latency.p95()), Relaxed);
        self.marks.sampled_at.store(ms(now), Relaxed);
    }

    fn log(&self, line: &Line) {
        let (address, upstream) = (self.address, &self.upstream);
        let hidden = |n: u32| match n {
            0 => String::new(),
            n => format!(" ({n} changes in between not logged)"),
        };
        match line {
            Line::Down(fault, n) => tracing::warn!(
                target: "culvert::upstream",
                event = "backend-down", %upstream, backend = %address,
                "backend {address} of {upstream} is down: {fault}{}",
                hidden(*n)
            ),
            Line::Up(after, n) => tracing::info!(
                target: "culvert::upstream",
                event = "backend-up", %upstream, backend = %address,
                "backend {address} of {upstream} is up again after {:.1} s{}",
                after.as_secs_f32(),
                hidden(*n)
            ),
        }
    }

    // ── what the prober needs ──

    /// When the prober has something to do, if anything is planned.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let vitals = locked(&self.vitals);
        let times = [vitals.health.next_probe(), vitals.health.line_due_at()];
        times.into_iter().flatten().min()
    }

    /// A probe is due. Writes a log line that was held back, too.
    pub(super) fn wants_probe(&self) -> bool {
        let now = Instant::now();
        let mut vitals = locked(&self.vitals);
        let line = vitals.health.due_line(now);
        let due = vitals.health.next_probe().is_some_and(|at| at <= now);
        drop(vitals);
        if let Some(line) = line {
            self.log(&line);
        }
        due
    }

    /// Another backend of the upstream is up.
    pub(super) fn has_peer_up(&self) -> bool {
        locked(&self.peers).iter().filter_map(Weak::upgrade).any(|peer| peer.is_up())
    }

    /// What the status says about it.
    pub(super) fn describe(&self) -> Report {
        let now = Instant::now();
        let connections = self
            .pools
            .iter()
            .filter(|pool| locked(&pool.state).current.as_ref().is_some_and(|c| !c.is_over()))
            .count();
        let vitals = locked(&self.vitals);
        let health = &vitals.health;
        Report {
            up: health.is_up(),
            recovering: health.is_recovering(),
            since: now.saturating_duration_since(health.since()),
            last_error: health
                .last_fault()
                .map(|(fault, at)| (fault.to_string(), now.saturating_duration_since(*at))),
            average: vitals.latency.average(),
            p95: vitals.latency.p95(),
            connections,
            in_flight: self.marks.in_flight.load(Relaxed),
        }
    }
}

impl Around {
    /// Nothing known of any peer.
    const NOBODY: Around = Around { others_up: false, peer_share: None, roll: 0.0 };
}

/// Counts one try at a backend.
pub(super) struct InFlight(Arc<Backend>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.marks.in_flight.fetch_sub(1, Relaxed);
    }
}
