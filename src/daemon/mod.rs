//! Assembly: every room is built once, here, and tied to the others.
//!
//! ```text
//!   config ─► assemble ─► cache, report, upstreams, zones ─► Snapshot ─► Road ─► Ports (workers)
//!   this thread: control socket, status HTTP, probes, watch (files, addresses), signals, systemd
//! ```
//!
//! What stays the same over a reload keeps its state: listening sockets, connections, health,
//! rules, cached answers. A reload that finds a fault changes nothing.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::acl::Acl;
use crate::admin::{self, Operator};
use crate::cache::Cache;
use crate::config::{self, Settings};
use crate::limits;
use crate::listener::{self, Ports, TcpLimits, Worker};
use crate::metrics::Counters;
use crate::pipeline::{Keeper, Road, Snapshot};
use crate::policy::exceptions::Exceptions;
use crate::policy::set::PolicySet;
use crate::report::{Destination, Writer};
use crate::sys;
use crate::upstream::Upstream;
use crate::zones::promotions::Promotions;
use crate::zones::{Begin, Terms, Zones};

mod assemble;
mod check;
mod exceptions;
pub mod explain;
pub mod journal;
mod lookup;
mod operator;
mod supply;
mod systemd;
mod version;
mod watch_files;
mod zones;

pub use assemble::Trouble;
pub use check::{Checked, check, check_quick, judge, probe};
pub use version::version;

use exceptions::{Ledger, Suspension};
use supply::{Kept, Supply};

/// What the command line decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration file.
    pub config: PathBuf,
    /// Where hits go instead of where the configuration says.
    pub hits: Option<Destination>,
}

/// Everything that start, reload and check build before anything takes effect.
struct Plan {
    settings: Settings,
    config_hash: String,
    acl: Arc<Acl>,
    zones: Zones,
    policy: PolicySet,
    upstreams: Vec<Arc<Upstream>>,
}

/// The running relay.
pub struct Relay {
    options: Options,
    started: Instant,
    server_name: String,
    road: Arc<Road>,
    writer: Mutex<Option<Writer>>,
    ports: Mutex<Option<Ports>>,
    tcp_limits: Arc<TcpLimits>,
    tcp_settings: watch::Sender<listener::Settings>,
    sink: Arc<Keeper>,
    current: Mutex<Current>,
    publishing: Mutex<()>,
    ledger: Ledger,
    /// Where keepers of zones run.
    supply: Supply,
    /// What outlives a restart is here.
    state_folder: PathBuf,
    /// One change of zones at a time: a reload, a file, a version of a zone.
    reloading: AsyncMutex<()>,
}

/// What a reload replaces.
struct Current {
    settings: Settings,
    /// The settings in one short text.
    config_hash: String,
    zones: Zones,
    upstreams: Vec<Arc<Upstream>>,
    probers: Vec<(Arc<Upstream>, AbortHandle)>,
    generation: u64,
    reload_error: Option<String>,
    exceptions: Arc<Exceptions>,
    suspension: Option<Suspension>,
    keepers: Vec<Kept>,
    promoted: Arc<Promotions>,
}

/// What the next generation of policy is built upon, so that nothing long is done while others
/// wait.
enum Basis {
    /// The zones are the same as before.
    Same,
    /// The tables of a set that was made of the new zones.
    Zones(Arc<PolicySet>),
    /// A whole snapshot with such a set.
    All(Snapshot),
}

impl Current {
    /// What is there at a start, before upstreams and keepers.
    fn first(
        (settings, config_hash): (Settings, String),
        zones: Zones,
        exceptions: Arc<Exceptions>,
    ) -> Current {
        let state_folder = settings.server.state.clone();
        let mut current = Current {
            settings,
            config_hash,
            zones,
            upstreams: Vec::new(),
            probers: Vec::new(),
            generation: 1,
            reload_error: None,
            exceptions,
            suspension: None,
            keepers: Vec::new(),
            promoted: Arc::new(Promotions::load(&state_folder)),
        };
        supply::save_promotions(current.settle_promotions(), &state_folder);
        current
    }

    /// Under which terms the zones hold now.
    fn terms(&self) -> Terms {
        let terms = assemble::terms(&self.settings);
        let monitor = terms.monitor || self.suspension.is_some();
        let (exceptions, promoted) = (Arc::clone(&self.exceptions), Arc::clone(&self.promoted));
        Terms { exceptions, promoted, monitor, ..terms }
    }
}

/// Runs the relay until a signal ends it, or until `stop` says so.
pub fn run(options: Options, stop: watch::Receiver<bool>) -> Result<(), Trouble> {
    sys::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Trouble::System(format!("no runtime can be made: {e}")))?;
    runtime.block_on(run_here(options, stop))
}

async fn run_here(options: Options, mut stop: watch::Receiver<bool>) -> Result<(), Trouble> {
    // heard from the first moment on: a reload that comes early must not end the process
    let mut signals = systemd::Signals::listen()
        .map_err(|e| Trouble::System(format!("signals cannot be received: {e}")))?;
    let settings = config::load(&options.config).map_err(Trouble::Config)?;
    let control = bind_control(&settings.server).await?;
    let status = settings.status.listen.and_then(bind_status);
    let relay = Relay::start(options, settings)?;
    let mut tasks = JoinSet::new();
    if let Some(control) = control {
        let operator = Arc::new(Arc::clone(&relay)) as Arc<dyn Operator>;
        tasks.spawn(admin::control::serve(control, operator));
    }
    if let Some(listener) = status {
        let operator = Arc::new(Arc::clone(&relay)) as Arc<dyn Operator>;
        tasks.spawn(async move {
            if let Err(e) = admin::http::serve(listener, operator).await {
                tracing::error!("status listener: {e}");
            }
        });
    }
    tasks.spawn(watch_files::run(Arc::clone(&relay)));
    tasks.spawn(exceptions::end_by_time(Arc::clone(&relay)));
    tasks.spawn(systemd::feed_watchdog(Arc::clone(&relay)));
    tracing::info!(event = "ready", "{} serves: {}", relay.server_name, relay.in_brief());
    systemd::ready(&relay.in_brief());

    signals.until_stopped(&relay, &mut stop).await;

    systemd::stopping();
    tracing::info!(event = "stopping", "stopping: queries in flight are answered first");
    let drained = drain(&relay);
    tokio::select! {
        () = drained => {}
        () = signals.stop() => tracing::warn!("second signal: ending at once"),
    }
    tasks.shutdown().await;
    relay.save_what_is_left();
    relay.finish_log();
    Ok(())
}

/// The control socket. Another relay on it ends the start; any other fault must not take DNS
/// away from a network, so it is told and lived with.
async fn bind_control(server: &config::Server) -> Result<Option<admin::control::Socket>, Trouble> {
    let path = &server.control;
    match admin::control::bind(path, server.control_group.as_deref()).await {
        Ok(socket) => Ok(Some(socket)),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Err(Trouble::System(format!("control socket {}: {e}", path.display())))
        }
        Err(e) => {
            let path = path.display();
            tracing::warn!("serving without the control socket {path} (server.control): {e}");
            Ok(None)
        }
    }
}

/// The status listener; its absence must not take DNS away either.
fn bind_status(address: SocketAddr) -> Option<std::net::TcpListener> {
    let options = sys::socket::BindOptions::default();
    match sys::socket::tcp(address, &options, limits::TCP_BACKLOG) {
        Ok(listener) => Some(listener),
        Err(e) => {
            tracing::warn!("serving without status.listen {address}: {e}");
            None
        }
    }
}

/// Stops the workers on a thread of its own, so that signals are still heard. Meanwhile queries
/// gather in the sockets for the process that comes: it must not wait for an upstream that hangs.
async fn drain(relay: &Arc<Relay>) {
    let ports = relay.ports.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(ports) = ports else { return };
    let (done, waiting) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        ports.stop();
        // nobody waits any more after a second signal
        let _ = done.send(());
    });
    tokio::pin!(waiting);
    if tokio::time::timeout(limits::STOP_PATIENCE, &mut waiting).await.is_err() {
        relay.road.wait_no_more();
        let _ = waiting.await;
    }
}

/// Logs what the configuration says but probably does not mean.
fn log_warnings(settings: &Settings) {
    for warning in &settings.warnings {
        tracing::warn!(event = "configuration-warning", "{warning}");
    }
}

fn unlisted(e: std::io::Error) -> Trouble {
    Trouble::System(format!("the addresses of this host cannot be listed: {e}"))
}

/// What is there already, to be kept where it stays the same.
struct Known<'a> {
    zones: Zones,
    begin: Begin<'a>,
    policy: Option<&'a PolicySet>,
    upstreams: Vec<Arc<Upstream>>,
    generation: u64,
}

impl<'a> Known<'a> {
    /// Nothing yet.
    fn nothing(begin: Begin<'a>) -> Known<'a> {
        let zones = Zones::default();
        Known { zones, begin, policy: None, upstreams: Vec::new(), generation: 1 }
    }
}

/// A fault for every upstream that is one of our own listeners.
fn refuse_loops(settings: &Settings) -> Result<(), Trouble> {
    let addresses = sys::socket::host_addresses().map_err(unlisted)?;
    let addresses: Vec<IpAddr> = addresses.iter().map(SocketAddr::ip).collect();
    let loops = settings.own_address_faults(&addresses);
    if loops.is_empty() { Ok(()) } else { Err(Trouble::Loops(loops)) }
}

/// Builds what settings ask for, keeping what is known already.
fn plan(settings: Settings, known: Known<'_>, sink: &Arc<Keeper>) -> Result<Plan, Trouble> {
    let Known { zones, begin, policy: previous, upstreams, generation } = known;
    let acl = Arc::new(assemble::acl(&settings).map_err(unlisted)?);
    refuse_loops(&settings)?;
    let sources = assemble::sources(&settings);
    let zones = zones.reconfigured(&sources, begin).map_err(Trouble::Zones)?;
    // reading leaves free memory behind, which the matcher would come on top of
    sys::return_memory();
    let policy = zones.policy(generation, &assemble::terms(&settings), previous);
    let upstreams = assemble::upstreams(&settings, &upstreams, sink)?;
    let config_hash = config::fingerprint(&settings);
    Ok(Plan { settings, config_hash, acl, zones, policy, upstreams })
}

impl Relay {
    /// Builds every room and begins to serve.
    fn start(options: Options, settings: Settings) -> Result<Arc<Relay>, Trouble> {
        let workers = assemble::workers(&settings);
        let cache = Arc::new(Cache::new(assemble::cache(&settings), workers));
        let sink = Arc::new(Keeper { cache: Arc::clone(&cache) });
        let state_folder = settings.server.state.clone();
        let known = Known::nothing(Begin::Cold(&state_folder));
        let Plan { settings, config_hash, acl, zones, policy, upstreams } =
            plan(settings, known, &sink)?;
        log_warnings(&settings);

        let server_name = assemble::server_name(&settings);
        let writer = assemble::writer(&settings, &server_name, options.hits.clone())?;
        let ledger = Ledger::load(&state_folder);
        let exceptions = ledger.book().exceptions();
        let supply = Supply::start().map_err(|e| Trouble::System(format!("supply thread: {e}")))?;
        let current = Current::first((settings, config_hash), zones, exceptions);
        let policy = Arc::new(current.zones.policy(1, &current.terms(), Some(&policy)));
        let settings = &current.settings;
        let desk = Arc::new(current.zones.desk());
        let snapshot = assemble::snapshot(settings, acl, policy, desk, &upstreams);
        let counters = Arc::new(Counters::new(workers));
        let road = Arc::new(Road::new(snapshot, cache, counters, writer.reporter()));

        let (tcp_settings, tcp_now) = watch::channel(assemble::tcp(settings));
        let tcp_limits = Arc::new(TcpLimits::default());
        let mut threads = Vec::with_capacity(workers);
        for worker in 0..workers {
            let (road, limits) = (Arc::clone(&road), Arc::clone(&tcp_limits));
            let started = Worker::start(worker, road, limits, tcp_now.clone());
            threads.push(started.map_err(|e| Trouble::System(format!("worker thread: {e}")))?);
        }
        let store = systemd::store();
        let mut ports = Ports::new(threads, systemd::inherited(store.as_deref()), store);
        let wanted = assemble::addresses(settings).map_err(unlisted)?;
        let changes = ports.apply(&wanted);
        assemble::refuse_unbound(settings, &ports.status())?;
        ports.settle();
        changes.iter().for_each(listener::Change::log);

        let relay = Arc::new(Relay {
            options,
            started: Instant::now(),
            server_name,
            road,
            writer: Mutex::new(Some(writer)),
            ports: Mutex::new(Some(ports)),
            tcp_limits,
            tcp_settings,
            sink,
            current: Mutex::new(current),
            publishing: Mutex::new(()),
            ledger,
            supply,
            state_folder,
            reloading: AsyncMutex::new(()),
        });
        relay.adopt_upstreams(upstreams);
        relay.adopt_keepers();
        // what loading took and does not need any more
        sys::return_memory();
        Ok(relay)
    }

    /// Reads configuration and zones again. On any fault of the configuration everything stays
    /// as it is; a zone whose file is bad keeps its old rules, and that is an error too.
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<String, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(self);
        let planned = off_thread(move || relay.plan_reload()).await;
        let outcome = planned.map_err(|trouble| trouble.to_string()).map(|plan| {
            let kept = plan.zones.kept();
            (self.apply(plan), kept)
        });
        self.lock().reload_error = outcome.as_ref().err().cloned();
        systemd::status(&self.in_brief());
        match outcome {
            Ok((text, kept)) => {
                tracing::info!(event = "reload", "reload: {text}");
                if kept.is_empty() {
                    Ok(text)
                } else {
                    Err(format!("{text}; but {}", kept.join("; ")))
                }
            }
            Err(text) => {
                tracing::error!(event = "reload-refused", "reload: nothing was changed:\n{text}");
                Err(text)
            }
        }
    }

    fn plan_reload(&self) -> Result<Plan, Trouble> {
        let settings = config::load(&self.options.config).map_err(Trouble::Config)?;
        let before = self.road.snapshot();
        let known = {
            let current = self.lock();
            Known {
                zones: current.zones.clone(),
                begin: Begin::Warm(&self.state_folder),
                policy: Some(&before.policy),
                upstreams: current.upstreams.clone(),
                generation: current.generation + 1,
            }
        };
        plan(settings, known, &self.sink)
    }

    /// Puts a plan into force. The order matters: what the new snapshot needs is there before.
    fn apply(self: &Arc<Self>, plan: Plan) -> String {
        let Plan { settings, config_hash, acl, zones, policy, upstreams } = plan;
        let restart = assemble::needs_restart(&self.lock().settings, &settings);
        log_warnings(&settings);
        let warnings = settings.warnings.len();
        let rules: usize = policy.zones().iter().map(|zone| zone.rules.len()).sum();
        self.adopt_upstreams(upstreams.clone());
        let desk = Arc::new(zones.desk());
        let snapshot = assemble::snapshot(&settings, acl, Arc::new(policy), desk, &upstreams);
        self.tcp_settings.send_replace(assemble::tcp(&settings));
        // what was switched by hand stays, unless the configuration says something new
        if self.lock().settings.log.queries != settings.log.queries {
            self.road.reporter().log_queries(settings.log.queries);
        }
        let mut promoted = None;
        let (old, generation) = self.renew_policy(Basis::All(snapshot), |current| {
            (current.settings, current.config_hash) = (settings, config_hash);
            current.zones = zones;
            promoted = current.settle_promotions();
        });
        supply::save_promotions(promoted, &self.state_folder);
        self.adopt_keepers();
        std::thread::spawn(move || free(old));
        self.follow_addresses();
        let mut text = format!("generation {generation} is in force, {rules} rules");
        if !restart.is_empty() {
            text.push_str(&format!("; takes effect at the next start: {}", restart.join(", ")));
        }
        if warnings > 0 {
            let noun = if warnings == 1 { "warning" } else { "warnings" };
            text.push_str(&format!("; {warnings} {noun}, told by culvert check"));
        }
        text
    }

    /// Loads changed zone files and publishes the new generation.
    pub(crate) async fn refresh_zones(self: &Arc<Self>) {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(self);
        off_thread(move || {
            let (zones, terms) = {
                let current = relay.lock();
                (current.zones.clone(), current.terms())
            };
            let (zones, new_rules) = zones.refreshed(std::time::SystemTime::now());
            if !new_rules {
                relay.lock().zones = zones;
                return;
            }
            relay.enforce_zones(zones, &terms);
        })
        .await;
    }

    /// Puts zones with new rules into force, and gives the generation. Takes as long as freezing
    /// them does.
    fn enforce_zones(&self, zones: Zones, terms: &Terms) -> u64 {
        sys::return_memory();
        // the long part, before anything is locked
        let policy = zones.policy(0, terms, Some(&self.road.snapshot().policy));
        let basis = Basis::Zones(Arc::new(policy));
        let (old, generation) = self.renew_policy(basis, |current| current.zones = zones);
        tracing::info!(
            event = "generation",
            generation,
            "policy generation {generation} is in force"
        );
        free(old);
        generation
    }

    /// Binds addresses that came up, drops those that are gone, follows on-link prefixes.
    pub(crate) fn follow_addresses(&self) {
        let settings = self.lock().settings.clone();
        let found = assemble::addresses(&settings)
            .and_then(|wanted| Ok((wanted, assemble::acl(&settings)?)));
        let (wanted, acl) = match found {
            Ok(found) => found,
            // not to know is no reason to close anything
            Err(e) => return tracing::warn!("the addresses of this host cannot be listed: {e}"),
        };
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = ports.as_mut().map(|ports| ports.apply(&wanted)).unwrap_or_default();
        drop(ports);
        changes.iter().for_each(listener::Change::log);
        if !changes.is_empty() {
            systemd::status(&self.in_brief());
        }
        if *self.road.snapshot().acl != acl {
            self.republish(|old| Snapshot { acl: Arc::new(acl), ..old.clone() });
        }
    }

    /// Publishes the next generation of policy, after `change`. Gives the snapshot that was in
    /// force, and the generation.
    fn renew_policy(
        &self,
        basis: Basis,
        change: impl FnOnce(&mut Current),
    ) -> (Arc<Snapshot>, u64) {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let (zones, terms, generation) = {
            let mut current = self.lock();
            change(&mut current);
            current.generation += 1;
            (current.zones.clone(), current.terms(), current.generation)
        };
        let old = self.road.snapshot();
        let next = match basis {
            Basis::Same => (*old).clone(),
            Basis::Zones(policy) => Snapshot { policy, ..(*old).clone() },
            Basis::All(snapshot) => snapshot,
        };
        let policy = zones.policy(generation, &terms, Some(&next.policy));
        self.road.publish(Snapshot { policy: Arc::new(policy), ..next });
        (old, generation)
    }

    /// Publishes a snapshot made of the one in force, which is given back. One at a time, so
    /// that two changes cannot undo each other.
    fn republish(&self, next: impl FnOnce(&Snapshot) -> Snapshot) -> Arc<Snapshot> {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.road.snapshot();
        self.road.publish(next(&old));
        old
    }

    /// Starts probes for new upstreams, ends those of upstreams that are gone.
    fn adopt_upstreams(&self, upstreams: Vec<Arc<Upstream>>) {
        let mut current = self.lock();
        let mut old = std::mem::take(&mut current.probers);
        for upstream in &upstreams {
            let known = old.iter().position(|(o, _)| Arc::ptr_eq(o, upstream));
            let prober = match known {
                Some(i) => old.swap_remove(i),
                None => {
                    let task = tokio::spawn(Arc::clone(upstream).keep_healthy());
                    (Arc::clone(upstream), task.abort_handle())
                }
            };
            current.probers.push(prober);
        }
        for (_, task) in old {
            task.abort();
        }
        current.upstreams = upstreams;
    }

    fn finish_log(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            writer.stop();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One line: what is served.
    fn in_brief(&self) -> String {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        let (open, failed) = ports.as_ref().map_or((0, 0), |ports| (ports.len(), ports.failed()));
        drop(ports);
        let snapshot = self.road.snapshot();
        let rules: usize = snapshot.policy.zones().iter().map(|zone| zone.rules.len()).sum();
        let zones = snapshot.policy.zones().len();
        let counted =
            |n: usize, one: &str, more: &str| format!("{n} {}", if n == 1 { one } else { more });
        [
            match failed {
                0 => counted(open, "address", "addresses"),
                _ => format!("{open} of {} addresses", open + failed),
            },
            counted(zones, "policy zone", "policy zones"),
            counted(rules, "rule", "rules"),
        ]
        .join(", ")
    }
}

/// Runs heavy work on a thread of its own at lower priority, so that a one-core box goes on
/// answering.
async fn off_thread<T>(work: impl FnOnce() -> T + Send + 'static) -> T
where
    T: FromPanic + Send + 'static,
{
    let (done, waiting) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        sys::lower_priority();
        let _ = done.send(work());
    });
    waiting.await.unwrap_or_else(|_| T::from_panic())
}

/// What stands for the result of work that panicked.
trait FromPanic {
    fn from_panic() -> Self;
}

impl FromPanic for () {
    fn from_panic() -> Self {}
}

impl<T> FromPanic for Result<T, Trouble> {
    fn from_panic() -> Self {
        Err(Trouble::System("loading ended in a panic, which is our fault".to_owned()))
    }
}

/// Frees a snapshot here, not by a worker that happens to be its last reader: those hold one
/// for a batch of packets only.
fn free(old: Arc<Snapshot>) {
    let deadline = Instant::now() + limits::ANSWER_DEADLINE;
    while Arc::strong_count(&old) > 1 && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(old);
    sys::return_memory();
}

/// Unique addresses in a stable order.
fn unique(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    addresses.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// How often the watchdog is fed for a limit: twice as often as needed.
fn half(limit: Duration) -> Duration {
    limit / 2
}
