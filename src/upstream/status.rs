//! What the operator sees of an upstream.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use super::{Kind, Lane, Upstream};

/// State of an upstream and its backends, for `culvert status` and the metrics.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamStatus {
    /// The operator's name for it.
    pub name: String,
    /// `doh` or `plain`.
    pub kind: &'static str,
    /// `up`, `degraded` (some backends are down) or `down` (all are).
    pub state: &'static str,
    /// Questions in flight.
    pub in_flight: usize,
    /// Number of the URL path in use, counted from 1; none for plain DNS.
    pub path: Option<usize>,
    /// Questions that joined an equal one in flight.
    pub joined: u64,
    /// Tries sent to a second backend before the first was late.
    pub hedged: u64,
    /// Questions given up because too many were waiting.
    pub shed: u64,
    /// Good answers that came too late for their askers and went to the cache only.
    pub late: u64,
    /// The backends, in their order.
    pub backends: Vec<BackendStatus>,
}

/// State of one backend.
#[derive(Clone, Debug, Serialize)]
pub struct BackendStatus {
    /// Where it is.
    pub address: SocketAddr,
    /// Used only while no other is up.
    pub standby: bool,
    /// Whether it is in service.
    pub state: BackendState,
    /// Mean time to an answer, in milliseconds.
    pub latency_ms: Option<f64>,
    /// Time within which 95 % of the answers come, in milliseconds.
    pub p95_ms: Option<f64>,
    /// Questions sent, repetitions included.
    pub sent: u64,
    /// DNS answers received.
    pub answered: u64,
    /// Tries that ended with a fault.
    pub failed: u64,
    /// Tries sent here because another one failed or was slow.
    pub retried: u64,
    /// Open connections.
    pub connections: usize,
    /// Tries in flight.
    pub in_flight: usize,
    /// The last fault, in words.
    pub last_error: Option<String>,
    /// How long ago that was, in seconds.
    pub last_error_ago_s: Option<u64>,
    /// How long it has been in its present state, in seconds.
    pub since_s: u64,
}

/// Whether a backend is in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendState {
    /// In service.
    Up,
    /// Out of service.
    Down,
    /// Out of service, but its last probe was good.
    Probing,
}

impl Upstream {
    /// A snapshot of its state.
    pub fn status(&self) -> UpstreamStatus {
        let up = self.lanes.iter().filter(|lane| lane.backend.is_up()).count();
        let state = match up {
            0 => "down",
            n if n < self.lanes.len() => "degraded",
            _ => "up",
        };
        let lane = self.lanes.iter().find(|lane| lane.backend.is_up()).or(self.lanes.first());
        let path = match &self.settings.kind {
            Kind::Doh(doh) => lane
                .and_then(|lane| doh.paths.get(lane.path.load(Relaxed)))
                .map(|path| path.number()),
            Kind::Plain { .. } => None,
        };
        UpstreamStatus {
            name: self.settings.name.clone(),
            kind: if self.urls.is_some() { "doh" } else { "plain" },
            state,
            in_flight: self.joins.in_flight(),
            path,
            joined: self.counts.joined.load(Relaxed),
            hedged: self.counts.hedged.load(Relaxed),
            shed: self.counts.shed.load(Relaxed),
            late: self.counts.late.load(Relaxed),
            backends: self.lanes.iter().map(Lane::status).collect(),
        }
    }
}

impl Lane {
    fn status(&self) -> BackendStatus {
        let report = self.backend.describe();
        let counts = &self.backend.counts;
        let ms = |time: Option<Duration>| time.map(|t| (t.as_secs_f64() * 1e4).round() / 10.0);
        BackendStatus {
            address: self.backend.address,
            standby: self.standby,
            state: match (report.up, report.recovering) {
                (true, _) => BackendState::Up,
                (false, true) => BackendState::Probing,
                (false, false) => BackendState::Down,
            },
            latency_ms: ms(report.average),
            p95_ms: ms(report.p95),
            sent: counts.sent.load(Relaxed),
            answered: counts.answered.load(Relaxed),
            failed: counts.failed.load(Relaxed),
            retried: counts.retried.load(Relaxed),
            connections: report.connections,
            in_flight: report.in_flight,
            last_error: report.last_error.as_ref().map(|(words, _)| words.clone()),
            last_error_ago_s: report.last_error.map(|(_, ago)| ago.as_secs()),
            since_s: report.since.as_secs(),
        }
    }
}
