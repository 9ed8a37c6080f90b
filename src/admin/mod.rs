//! Doors for the operator: a control socket for commands, HTTP for metrics and health.
//!
//! ```text
//!   culvert status|reload|allow|zone|... ───► control (unix socket, one JSON line each way)
//!   Prometheus, load balancers ─────────────► http    (/metrics, /healthz, /status; read-only)
//!                                   both ask the Operator, whom the assembly supplies
//!   culvert healthcheck ────────────► health  (what a status means)
//!   culvert pair compare ───────────► peer, pair  (the other relay's status, side by side)
//! ```

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dns::name::Name;
use crate::limits;
use crate::listener::PortStatus;
use crate::pipeline::explain::{Asking, Explanation};
use crate::report::ZoneReport;
use crate::upstream::{ProbeReport, UpstreamStatus};
use crate::zones::exceptions::Wish;
use crate::zones::{Difference, SourceKind, ZoneStatus};

use exceptions::{Changed, ExceptionCount, Scope, Shown, Suspended};
use zones::ZoneText;

pub mod control;
pub mod exceptions;
pub mod explain;
mod exposition;
pub mod health;
pub mod http;
mod owner;
pub mod pair;
pub mod peer;
pub mod render;
pub mod zones;

pub use explain::Explain;
pub use zones::Refresh;

/// A future of the operator's answers.
pub type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the doors can ask of the running relay.
pub trait Operator: Send + Sync + 'static {
    /// State of everything.
    fn status(&self) -> Status;
    /// Whether a client that is another host may see it over HTTP. IPv4 is not mapped.
    fn may_see_status(&self, client: IpAddr) -> bool;
    /// Reads the configuration and the zones again. The text says what happened, or why nothing
    /// did.
    fn reload(&self) -> Answering<'_, Result<String, String>>;
    /// Switches the query log.
    fn log_queries(&self, on: bool);
    /// Forgets cached answers; gives their number.
    fn flush(&self, name: &Name, subtree: bool) -> usize;
    /// Cached answers of a name.
    fn show(&self, name: &Name) -> Vec<CachedAnswer>;
    /// Explains what a client gets, and why.
    fn explain(&self, asking: Asking) -> Answering<'_, Result<Explanation, String>>;
    /// Asks every backend once.
    fn probe(&self) -> Answering<'_, Vec<UpstreamProbe>>;
    /// All exceptions, in the order of their numbers.
    fn exceptions(&self) -> Vec<Shown>;
    /// Lets a name through or blocks it. The error says what is wrong with the wish.
    fn except(&self, wish: Wish, owner: String) -> Answering<'_, Result<Changed, String>>;
    /// Takes exceptions back. The error names numbers that there are none of.
    fn unexcept(&self, ids: Vec<u64>, owner: String) -> Answering<'_, Result<Changed, String>>;
    /// Lets no zone and no exception act for so many milliseconds. Gives the suspension and the
    /// one that it replaces; the error says what is wrong with the wish.
    fn suspend(
        &self,
        millis: u64,
        reason: &str,
        owner: &str,
    ) -> Result<(Suspended, Option<Suspended>), String>;
    /// Ends a suspension, and gives it if there was one.
    fn resume(&self, owner: &str) -> Option<Suspended>;
    /// State of all policy zones, in their order.
    fn zones(&self) -> Vec<ZoneStatus>;
    /// State of one. Here and below, the error for a zone that is not there names the nearest one.
    fn zone_status(&self, zone: &Name) -> Result<ZoneStatus, String>;
    /// Brings a zone up to date, and says what came of it; what takes longer than
    /// [`crate::limits::ZONE_COMMAND`] goes on, which the text says.
    fn zone_refresh(
        &self,
        zone: &Name,
        how: Refresh,
        by: &str,
    ) -> Answering<'_, Result<String, String>>;
    /// Lets a zone's held version take effect.
    fn zone_accept(&self, zone: &Name, by: &str) -> Answering<'_, Result<String, String>>;
    /// Lets a zone act that only watches.
    fn zone_promote(&self, zone: &Name, by: &str) -> Answering<'_, Result<String, String>>;
    /// What a zone's held version would change.
    fn zone_diff(&self, zone: &Name) -> Answering<'_, Result<Difference, String>>;
    /// What a zone that only watches would have done.
    fn zone_report(&self, zone: &Name) -> Result<ZoneReport, String>;
    /// The rules in force as a master file.
    fn zone_dump(&self, zone: &Name) -> Result<ZoneText, String>;
}

/// One command on the control socket.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// State of everything.
    Status,
    /// Read configuration and zones again.
    Reload,
    /// Switch the query log.
    LogQueries {
        /// On or off.
        on: bool,
    },
    /// Forget cached answers.
    CacheFlush {
        /// Name in text form.
        name: String,
        /// All names below it too.
        subtree: bool,
    },
    /// Show cached answers.
    CacheShow {
        /// Name in text form.
        name: String,
    },
    /// Explain what a client gets, and why.
    Explain(Explain),
    /// Ask every backend once.
    Probe,
    /// All exceptions.
    Exceptions,
    /// Let a name through, or block it.
    Except {
        /// What is asked for.
        wish: Wish,
        /// Who became root to ask for it, as far as the client knows.
        sudo_user: Option<String>,
    },
    /// Take exceptions back.
    Unexcept {
        /// Their numbers.
        ids: Vec<u64>,
        /// Who became root to ask for it, as far as the client knows.
        sudo_user: Option<String>,
    },
    /// Let no zone and no exception act for a while.
    Suspend {
        /// How long, in milliseconds.
        millis: u64,
        /// Why.
        reason: String,
        /// Who became root to ask for it, as far as the client knows.
        sudo_user: Option<String>,
    },
    /// End a suspension.
    Resume {
        /// Who became root to ask for it, as far as the client knows.
        sudo_user: Option<String>,
    },
    /// State of all policy zones.
    Zones,
    /// Ask something about one zone.
    Zone {
        /// Its name in text form.
        zone: String,
        /// What is asked.
        ask: zones::Ask,
        /// Who became root to ask for it, as far as the client knows.
        sudo_user: Option<String>,
    },
    /// The text of a zone; the reply is that of [`zones::dump`].
    ZoneDump {
        /// Its name in text form.
        zone: String,
    },
}

impl Request {
    /// The reply must be there within this.
    fn deadline(&self) -> Duration {
        match self {
            Request::Zone { .. } => limits::CONTROL_LONG,
            _ => limits::CONTROL_DEADLINE,
        }
    }
}

/// State of the relay.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Name of this relay.
    pub name: String,
    /// Version of the program, with the commit of a package's build in parentheses.
    pub version: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Generation of policy in force.
    pub generation: u64,
    /// `enforce` or `monitor`.
    pub policy_mode: &'static str,
    /// Policy is suspended by hand: nothing acts.
    pub suspended: Option<Suspended>,
    /// Why the last reload changed nothing, if it did not.
    pub reload_error: Option<String>,
    /// Addresses listened on.
    pub listeners: Vec<PortStatus>,
    /// TCP connections open.
    pub tcp_connections: usize,
    /// Upstreams and their backends.
    pub upstreams: Vec<UpstreamStatus>,
    /// What the configuration in force says, in one short text; for the same version only.
    pub config_hash: String,
    /// Names that show whether the service works.
    pub canary: Canary,
    /// Exceptions made by hand.
    pub exceptions: ExceptionCount,
    /// All of them in one short text: what they do to which names for whom, and their ends.
    pub exceptions_hash: String,
    /// What they do, without who made them and why.
    pub exception_list: Vec<Scope>,
    /// Policy zones.
    pub zones: Vec<ZoneStatus>,
    /// The cache.
    pub cache: CacheStatus,
    /// What became of the queries.
    pub queries: Vec<(&'static str, u64)>,
    /// The hit log.
    pub log: LogStatus,
    /// Memory of the policy matcher in octets.
    pub policy_bytes: usize,
}

/// Names that show whether the service works.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Canary {
    /// They must resolve.
    pub resolves: Vec<String>,
    /// They must be blocked.
    pub blocked: Vec<String>,
}

/// State of the cache.
#[derive(Clone, Debug, Serialize)]
pub struct CacheStatus {
    /// Answers kept.
    pub entries: usize,
    /// Octets in use.
    pub bytes: u64,
    /// Octets at most.
    pub size: u64,
    /// Answers given from it.
    pub hits: u64,
    /// Look-ups it could not serve.
    pub misses: u64,
}

/// State of the hit log.
#[derive(Clone, Debug, Serialize)]
pub struct LogStatus {
    /// Records written.
    pub written: u64,
    /// Records lost.
    pub dropped: u64,
    /// All queries are logged.
    pub queries: bool,
}

/// One cached answer.
#[derive(Clone, Debug, Serialize)]
pub struct CachedAnswer {
    /// Name of the upstream it came from.
    pub upstream: String,
    /// Type asked for.
    pub qtype: String,
    /// DO was set.
    pub dnssec_ok: bool,
    /// CD was set.
    pub checking_disabled: bool,
    /// Response code.
    pub rcode: String,
    /// Seconds left to live; 0: stale.
    pub ttl_left: u32,
    /// The records.
    pub records: Vec<String>,
}

/// What one upstream's backends said to a probe.
#[derive(Clone, Debug, Serialize)]
pub struct UpstreamProbe {
    /// Name of the upstream.
    pub upstream: String,
    /// One report a backend.
    pub backends: Vec<ProbeReport>,
}

impl Status {
    /// A counter by its name.
    pub fn count(&self, name: &str) -> u64 {
        self.queries.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n)
    }

    /// What keeps the relay from serving, in words; `None` if nothing does.
    pub fn trouble(&self) -> Option<String> {
        if !self.listeners.iter().any(|port| port.udp == "listening") {
            return Some("no address is listened on".to_owned());
        }
        let default = self.upstreams.first()?;
        (default.state == "down").then(|| format!("no backend of upstream {} is up", default.name))
    }
}

/// What a check tells of a zone.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneSummary {
    /// Zone name.
    pub zone: String,
    /// Where it comes from, if that is another host; a check does not ask there, and knows of no
    /// rules.
    pub elsewhere: Option<String>,
    /// Serial of its SOA.
    pub serial: u32,
    /// Rules it holds.
    pub rules: usize,
    /// Records that are no usable rules.
    pub skipped: u64,
    /// The first of them, in words.
    pub skipped_first: Vec<String>,
    /// Rules that an earlier one makes void.
    pub duplicates: u64,
}

impl ZoneSummary {
    /// The part of a zone's state that does not depend on time.
    pub fn of(zone: &ZoneStatus) -> ZoneSummary {
        ZoneSummary {
            zone: zone.zone.clone(),
            elsewhere: (zone.kind != SourceKind::File).then(|| zone.source.clone()),
            serial: zone.serial,
            rules: zone.rules,
            skipped: zone.skipped,
            skipped_first: zone.skipped_first.clone(),
            duplicates: zone.duplicates,
        }
    }
}
