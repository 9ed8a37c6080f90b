//! Which addresses are listened on: bound here, served by the workers.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use super::{Handler, Settings, Source, TcpLimits, Transport, holder, tcp, udp};
use crate::limits;
use crate::sys::Protocol;
use crate::sys::socket::{self, BindOptions};

/// What the control side tells a worker.
enum Order {
    Udp(std::net::UdpSocket, watch::Receiver<bool>),
    Tcp(std::net::TcpListener, watch::Receiver<bool>),
    /// A query of our own, to see that the worker is alive.
    Probe(Arc<[u8]>, oneshot::Sender<()>),
}

/// One worker: a thread with a runtime of its own.
pub struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts worker number `index`. It ends when it was told to stop and its tasks are done,
    /// or after [`limits::DRAIN`].
    pub fn start<H: Handler>(
        index: usize,
        handler: Arc<H>,
        limits: Arc<TcpLimits>,
        settings: watch::Receiver<Settings>,
    ) -> io::Result<Worker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // bounded by the number of addresses: one order each
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let serve = async move {
            let busy = Busy::default();
            while let Some(order) = inbox.recv().await {
                let (handler, busy) = (Arc::clone(&handler), busy.clone());
                match order {
                    Order::Probe(query, alive) => probe(&*handler, index, &query, alive),
                    Order::Udp(socket, stop) => {
                        spawn_logged(udp::serve(socket, index, handler, stop, busy));
                    }
                    Order::Tcp(socket, stop) => {
                        let (limits, settings) = (Arc::clone(&limits), settings.clone());
                        let shared = tcp::Shared { limits, settings, stop, busy };
                        spawn_logged(tcp::serve(socket, index, handler, shared));
                    }
                }
            }
            busy.until_idle().await;
        };
        let thread =
            std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                runtime.block_on(serve);
                // connections to backends, and what did not end in time, are dropped here
                runtime.shutdown_background();
            })?;
        Ok(Worker { orders, thread })
    }
}

/// Runs a query of our own down the road. Whatever comes of it: the worker is alive.
fn probe<H: Handler>(handler: &H, worker: usize, query: &[u8], alive: oneshot::Sender<()>) {
    let client = SocketAddr::from(([127, 0, 0, 1], 53));
    let source = Source { client, transport: Transport::Udp, worker };
    let mut reply = [0; 512];
    handler.receive(&handler.round(), source, query, true, &mut reply);
    // who asked may have given up
    let _ = alive.send(());
}

/// Held by every task that owes somebody an answer.
#[derive(Clone, Default)]
pub(super) struct Busy(Arc<()>);

impl Busy {
    /// Waits until all other holders are done, within [`limits::DRAIN`].
    async fn until_idle(self) {
        let deadline = tokio::time::Instant::now() + limits::DRAIN;
        while Arc::strong_count(&self.0) > 1 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

fn spawn_logged(serving: impl Future<Output = io::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(e) = serving.await {
            tracing::error!("a listening socket failed: {e}");
        }
    });
}

/// State of one address, for status.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct PortStatus {
    /// Address and port.
    pub address: SocketAddr,
    /// `listening`, or why not.
    pub udp: String,
    /// `listening`, or why not.
    pub tcp: String,
}

/// What became of one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is listened on from now on.
    Listening(SocketAddr),
    /// It is wanted but cannot be had; why.
    Failed(SocketAddr, String),
    /// It is not wanted any more.
    Closed(SocketAddr),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Listening(address) => write!(f, "listening on {address}"),
            Change::Failed(address, why) => write!(f, "not listening on {address}: {why}"),
            Change::Closed(address) => write!(f, "no longer listening on {address}"),
        }
    }
}

impl Change {
    /// Logs it; an address that cannot be had is a warning.
    pub fn log(&self) {
        match self {
            Change::Listening(at) => {
                tracing::info!(event = "listening", address = %at, "{self}");
            }
            Change::Failed(at, _) => {
                tracing::warn!(event = "not-listening", address = %at, "{self}");
            }
            Change::Closed(at) => {
                tracing::info!(event = "no-longer-listening", address = %at, "{self}");
            }
        }
    }
}

struct Port {
    stop: watch::Sender<bool>,
    status: PortStatus,
}

/// All addresses listened on.
pub struct Ports {
    workers: Vec<Worker>,
    open: BTreeMap<SocketAddr, Port>,
    failed: BTreeMap<SocketAddr, PortStatus>,
}

impl Ports {
    /// No address yet.
    pub fn new(workers: Vec<Worker>) -> Ports {
        Ports { workers, open: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Makes the listening addresses these: keeps what is there, binds what is missing, drops
    /// the rest. Addresses that cannot be bound are noted, and tried again at the next call.
    /// Gives what changed, once per change.
    pub fn apply(&mut self, wanted: &[SocketAddr]) -> Vec<Change> {
        let mut changes = Vec::new();
        self.failed.retain(|address, _| wanted.contains(address));
        for &address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match self.bind(address) {
                Ok(port) => {
                    self.failed.remove(&address);
                    self.open.insert(address, port);
                    changes.push(Change::Listening(address));
                }
                Err(status) => {
                    if self.failed.get(&address) != Some(&status) {
                        changes.push(Change::Failed(address, status.udp.clone()));
                    }
                    self.failed.insert(address, status);
                }
            }
        }
        // what is gone ends last: a narrower address takes over from a wildcard without a gap
        self.open.retain(|address, port| {
            let keep = wanted.contains(address);
            if !keep {
                // nobody receives the error: the workers may be gone already
                let _ = port.stop.send(true);
                changes.push(Change::Closed(*address));
            }
            keep
        });
        changes
    }

    /// Sends a query of our own to every worker; each answer says that one is alive.
    pub fn probe(&self, query: &[u8]) -> Vec<oneshot::Receiver<()>> {
        let query: Arc<[u8]> = query.into();
        let send = |worker: &Worker| {
            let (alive, answer) = oneshot::channel();
            // a worker that is gone drops the sender, which is an answer, too
            let _ = worker.orders.send(Order::Probe(Arc::clone(&query), alive));
            answer
        };
        self.workers.iter().map(send).collect()
    }

    /// Number of addresses that are listened on.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// True if nothing is listened on.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// State of every wanted address.
    pub fn status(&self) -> Vec<PortStatus> {
        let open = self.open.values().map(|port| &port.status);
        open.chain(self.failed.values()).cloned().collect()
    }

    /// Stops listening, answers what has arrived, and waits for the workers to end.
    pub fn stop(mut self) {
        for port in self.open.values() {
            let _ = port.stop.send(true);
        }
        for worker in self.workers.drain(..) {
            drop(worker.orders);
            if worker.thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
    }

    /// We hold a wildcard over the address, or an address under the wildcard, so that whether
    /// another program holds it cannot be found out by binding.
    fn overlaps(&self, address: SocketAddr) -> bool {
        self.open.keys().any(|open| {
            open.port() == address.port()
                && open.is_ipv4() == address.is_ipv4()
                && (open.ip().is_unspecified() || address.ip().is_unspecified())
        })
    }

    /// Binds UDP and TCP sockets for every worker, all or none.
    fn bind(&self, address: SocketAddr) -> Result<Port, PortStatus> {
        let refused = |what: Protocol, e: io::Error| {
            let reason = format!("{}: {}", what.as_str(), in_words(&e, address, what));
            PortStatus { address, udp: reason.clone(), tcp: reason }
        };
        if !self.overlaps(address) {
            probe_free(address).map_err(|e| refused(Protocol::Udp, e))?;
        }
        let options = BindOptions {
            free_bind: true,
            reuse_port: true,
            receive_buffer: Some(limits::UDP_BUFFER),
            send_buffer: Some(limits::UDP_BUFFER),
        };
        let (stop, stopped) = watch::channel(false);
        let mut orders = Vec::new();
        for worker in &self.workers {
            let udp = socket::udp(address, &options).map_err(|e| refused(Protocol::Udp, e))?;
            let tcp = socket::tcp(address, &options, limits::TCP_BACKLOG)
                .map_err(|e| refused(Protocol::Tcp, e))?;
            orders.push((worker, udp, tcp));
        }
        for (worker, udp, tcp) in orders {
            // a worker only ends when it was told to
            let _ = worker.orders.send(Order::Udp(udp, stopped.clone()));
            let _ = worker.orders.send(Order::Tcp(tcp, stopped.clone()));
        }
        let listening = || "listening".to_owned();
        let status = PortStatus { address, udp: listening(), tcp: listening() };
        Ok(Port { stop, status })
    }
}

/// SO_REUSEPORT would share a port with another program of the same user without a word, and
/// lose half of the queries to it: a first bind without it finds that out.
fn probe_free(address: SocketAddr) -> io::Result<()> {
    let options = BindOptions { free_bind: true, ..BindOptions::default() };
    socket::udp(address, &options).map(drop)
}

fn in_words(e: &io::Error, address: SocketAddr, protocol: Protocol) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse => holder::in_words(address, protocol),
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => e.to_string(),
    }
}
