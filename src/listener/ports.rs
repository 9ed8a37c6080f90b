//! Which addresses are listened on: bound here, served by the workers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use super::kept::{self, Ending, Inherited, Life, Owner, Shelf, Store};
use super::{Handler, Settings, Source, TcpLimits, Transport, holder, tcp, udp};
use crate::limits;
use crate::sys::Protocol;
use crate::sys::socket::{self, BindOptions, Listening};

/// What the control side tells a worker.
enum Order {
    Serve(Listening, Life),
    /// A query of our own, to see that the worker is alive.
    Probe(Arc<[u8]>, oneshot::Sender<()>),
}

/// One worker: a thread with a runtime of its own.
pub struct Worker {
    orders: mpsc::UnboundedSender<Order>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Lets it serve one more socket.
    fn serve(&self, socket: Listening, life: Life) {
        // a worker only ends when it was told to
        let _ = self.orders.send(Order::Serve(socket, life));
    }

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
                    Order::Serve(Listening::Udp(socket), life) => {
                        spawn_logged(udp::serve(socket, index, handler, life, busy));
                    }
                    Order::Serve(Listening::Tcp(socket), life) => {
                        let (limits, settings) = (Arc::clone(&limits), settings.clone());
                        let shared = tcp::Shared { limits, settings, busy };
                        spawn_logged(tcp::serve(socket, index, handler, life, shared));
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
    /// Octets that may wait in each UDP socket, the kernel's bookkeeping included: what comes
    /// during a restart, or in a burst. The smallest of all workers' sockets.
    pub receive_buffer: Option<usize>,
    /// Sockets that were there before this process.
    pub taken_over: usize,
}

impl PortStatus {
    fn not_listening(address: SocketAddr, udp: &str, tcp: &str) -> PortStatus {
        let (udp, tcp) = (udp.to_owned(), tcp.to_owned());
        PortStatus { address, udp, tcp, receive_buffer: None, taken_over: 0 }
    }
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
    ending: watch::Sender<Ending>,
    status: PortStatus,
    /// Under which its sockets are in the store.
    names: Vec<String>,
    /// What socket units hold, too.
    units: Vec<Inherited>,
}

/// The sockets for one address and transport: one for every worker, or more.
struct Gathered {
    claimed: Vec<Inherited>,
    /// Those bound here, and duplicates of claimed ones.
    more: Vec<(Listening, Owner)>,
}

/// All addresses listened on.
pub struct Ports {
    workers: Vec<Worker>,
    open: BTreeMap<SocketAddr, Port>,
    failed: BTreeMap<SocketAddr, PortStatus>,
    shelf: Shelf,
    store: Option<Box<dyn Store>>,
    /// Names in the store.
    names: BTreeSet<String>,
    /// Addresses that may still be open, as answers are in flight there.
    left: Vec<(SocketAddr, Instant)>,
}

impl Ports {
    /// No address yet, but sockets that wait for theirs, and maybe a store for all there will be.
    pub fn new(
        workers: Vec<Worker>,
        inherited: Vec<Inherited>,
        store: Option<Box<dyn Store>>,
    ) -> Ports {
        let names = inherited.iter().filter_map(Inherited::stored_as).map(str::to_owned).collect();
        let (open, failed, left) = Default::default();
        Ports { workers, open, failed, shelf: Shelf::new(inherited), store, names, left }
    }

    /// Makes the listening addresses these: keeps what is there, binds what is missing, drops
    /// the rest. Addresses that cannot be bound are noted, and tried again at the next call.
    /// Gives what changed, once per change.
    pub fn apply(&mut self, wanted: &[SocketAddr]) -> Vec<Change> {
        let mut changes = Vec::new();
        self.failed.retain(|address, _| wanted.contains(address));
        self.left.retain(|(_, since)| since.elapsed() < limits::DRAIN);
        let looks_end = Instant::now() + limits::OWNER_LOOKS;
        for &address in wanted {
            if self.open.contains_key(&address) {
                continue;
            }
            match self.bind(address, looks_end) {
                Ok(port) => {
                    self.failed.remove(&address);
                    self.open.insert(address, port);
                    changes.push(Change::Listening(address));
                }
                // still without it, and no time to see who has it now
                Err(_) if Instant::now() >= looks_end && self.failed.contains_key(&address) => {}
                Err(status) => {
                    if self.failed.get(&address) != Some(&status) {
                        changes.push(Change::Failed(address, status.udp.clone()));
                    }
                    self.failed.insert(address, status);
                }
            }
        }
        // what is gone ends last: a narrower address takes over from a wildcard without a gap
        let gone: Vec<_> =
            self.open.keys().filter(|address| !wanted.contains(address)).copied().collect();
        for address in gone {
            if let Some(port) = self.open.remove(&address) {
                self.leave(address, port);
                changes.push(Change::Closed(address));
            }
        }
        changes
    }

    /// Ends what was inherited and found no address. Called once, when the first addresses are
    /// in place: what waits in those sockets is answered, and nothing waits there in vain.
    pub fn settle(&mut self) {
        let surplus = self.shelf.surplus();
        if !surplus.is_empty() {
            tracing::info!(
                "{} sockets of the process before are not needed: what waits in them is answered",
                surplus.len()
            );
        }
        for (kept, worker) in surplus.into_iter().zip(self.workers.iter().cycle()) {
            tracing::debug!("the {kept} is not needed");
            forget(self.store.as_deref(), &mut self.names, kept.stored_as());
            let (_, ending) = watch::channel(Ending::Unwanted);
            worker.serve(kept.socket, Life { ending, owner: Owner::Process });
        }
        self.shelf.iter().for_each(tell_unread);
    }

    /// Ends an address that is not wanted any more.
    fn leave(&mut self, address: SocketAddr, port: Port) {
        for name in &port.names {
            forget(self.store.as_deref(), &mut self.names, Some(name));
        }
        // nobody receives the error: the workers may be gone already
        let _ = port.ending.send(Ending::Unwanted);
        self.left.push((address, Instant::now()));
        port.units.iter().for_each(tell_unread);
        self.shelf.put_back(port.units);
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

    /// How many addresses are wanted and cannot be had.
    pub fn failed(&self) -> usize {
        self.failed.len()
    }

    /// True if nothing is listened on.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// State of every wanted address, and of those that wait for somebody to read them.
    pub fn status(&self) -> Vec<PortStatus> {
        let open = self.open.values().map(|port| &port.status);
        let mut status: Vec<_> = open.chain(self.failed.values()).cloned().collect();
        for kept in self.shelf.iter() {
            if !status.iter().any(|port| port.address == kept.address) {
                status.push(PortStatus::not_listening(kept.address, UNREAD, UNREAD));
            }
        }
        status
    }

    /// Stops listening, answers what has arrived, and waits for the workers to end. Sockets in
    /// the store stay open, so that what comes now waits there for the next process.
    pub fn stop(mut self) {
        for port in self.open.values() {
            let _ = port.ending.send(Ending::Stop);
        }
        for worker in self.workers.drain(..) {
            drop(worker.orders);
            if worker.thread.join().is_err() {
                tracing::error!("a worker thread ended in a panic");
            }
        }
    }

    /// A wildcard over the address, or an address under the wildcard, is held by us, or the
    /// address itself was until now, so that whether another program holds it cannot be found
    /// out by binding.
    fn overlaps(&self, address: SocketAddr) -> bool {
        let held = self.open.keys().copied();
        let held = held.chain(self.left.iter().map(|(left, _)| *left));
        let mut held = held.chain(self.shelf.iter().map(|kept| kept.address));
        held.any(|held| {
            held.port() == address.port()
                && held.is_ipv4() == address.is_ipv4()
                && (held == address || held.ip().is_unspecified() || address.ip().is_unspecified())
        })
    }

    /// Finds or binds UDP and TCP sockets for every worker, all or none. Who has an address is
    /// looked up until `looks_end`.
    fn bind(&mut self, address: SocketAddr, looks_end: Instant) -> Result<Port, PortStatus> {
        let refused = |what: Protocol, e: io::Error| {
            let reason = format!("{}: {}", what.as_str(), in_words(&e, address, what, looks_end));
            PortStatus::not_listening(address, &reason, &reason)
        };
        let udp = self.gather(Transport::Udp, address).map_err(|e| refused(Protocol::Udp, e))?;
        let tcp = match self.gather(Transport::Tcp, address) {
            Ok(tcp) => tcp,
            Err(e) => {
                self.shelf.put_back(udp.claimed);
                return Err(refused(Protocol::Tcp, e));
            }
        };
        let (listening, taken_over) =
            ("listening".to_owned(), udp.claimed.len() + tcp.claimed.len());
        let status = PortStatus {
            address,
            udp: listening.clone(),
            tcp: listening,
            receive_buffer: udp.receive_buffer(),
            taken_over,
        };
        let (ending, _) = watch::channel(Ending::NotYet);
        let mut port = Port { ending, status, names: Vec::new(), units: Vec::new() };
        self.hand_out(udp, &mut port);
        self.hand_out(tcp, &mut port);
        Ok(port)
    }

    /// Sockets that were there before come first, then new ones. Where none can be bound beside
    /// those, as the service manager bound them, workers share them.
    fn gather(&mut self, transport: Transport, address: SocketAddr) -> io::Result<Gathered> {
        let claimed = self.shelf.claim(transport, address, self.workers.len());
        let more = self.beside(&claimed, transport, address);
        match more {
            Ok(more) => Ok(Gathered { claimed, more }),
            Err(e) => {
                self.shelf.put_back(claimed);
                Err(e)
            }
        }
    }

    /// What is needed beside the sockets that were there before.
    fn beside(
        &self,
        claimed: &[Inherited],
        transport: Transport,
        address: SocketAddr,
    ) -> io::Result<Vec<(Listening, Owner)>> {
        if claimed.is_empty() && transport == Transport::Udp && !self.overlaps(address) {
            probe_free(address)?;
        }
        let mut more = Vec::new();
        let units = claimed.iter().filter(|kept| kept.owner == Owner::Unit);
        for kept in units.clone() {
            more.push((kept.socket.try_clone()?, Owner::Unit));
        }
        let mut shared = claimed.iter().cycle();
        for _ in claimed.len()..self.workers.len() {
            // a second socket beside a unit's would need its user, and its SO_REUSEPORT
            let may_bind = units.clone().next().is_none();
            let bound = if may_bind { kept::bind(transport, address).map(Some) } else { Ok(None) };
            match (bound, shared.next()) {
                (Ok(Some(socket)), _) => more.push((socket, Owner::Process)),
                (_, Some(kept)) => more.push((kept.socket.try_clone()?, kept.owner)),
                (Err(e), None) => return Err(e),
                // no worker, no socket
                (Ok(None), None) => {}
            }
        }
        Ok(more)
    }

    /// Stores what is new, and gives every worker its socket.
    fn hand_out(&mut self, gathered: Gathered, port: &mut Port) {
        let mut sockets = Vec::new();
        for kept in gathered.claimed {
            match kept.stored_as() {
                None => port.units.push(kept),
                Some(name) => {
                    port.names.push(name.to_owned());
                    sockets.push((kept.socket, kept.owner));
                }
            }
        }
        for (socket, owner) in gathered.more {
            let name = match owner {
                Owner::Process => self.keep(&socket, port.status.address),
                Owner::Store | Owner::Unit => None,
            };
            let owner = if name.is_some() { Owner::Store } else { owner };
            port.names.extend(name);
            sockets.push((socket, owner));
        }
        for ((socket, owner), worker) in sockets.into_iter().zip(self.workers.iter().cycle()) {
            worker.serve(socket, Life { ending: port.ending.subscribe(), owner });
        }
    }

    /// Puts a socket into the store, if there is one, under a name of its own.
    fn keep(&mut self, socket: &Listening, address: SocketAddr) -> Option<String> {
        let full = self.names.len() >= limits::STORED_SOCKETS;
        let store = self.store.as_deref().filter(|_| !full)?;
        let stem = kept::stem(kept::transport(socket), address);
        let mut names = (0usize..).map(|number| format!("{stem}{number}"));
        let name = names.find(|name| !self.names.contains(name))?;
        store.keep(&name, socket.as_fd()).then(|| {
            self.names.insert(name.clone());
            name
        })
    }
}

impl Gathered {
    /// The smallest one; none if the kernel does not tell.
    fn receive_buffer(&self) -> Option<usize> {
        let claimed = self.claimed.iter().map(|kept| &kept.socket);
        let all = claimed.chain(self.more.iter().map(|(socket, _)| socket));
        all.filter_map(|socket| socket.receive_buffer().ok()).min()
    }
}

/// Lets go of what the store has under a name.
fn forget(store: Option<&dyn Store>, names: &mut BTreeSet<String>, name: Option<&str>) {
    if let Some(name) = name {
        names.remove(name);
        if let Some(store) = store {
            store.forget(name);
        }
    }
}

/// What a socket unit has, and nobody reads.
const UNREAD: &str = "nobody reads it: systemd passes it, server.listen does not have it";

fn tell_unread(kept: &Inherited) {
    tracing::warn!(
        "systemd passes the {kept}, which server.listen does not have: whoever asks there waits in \
         vain; name it in server.listen, or take it from the socket unit"
    );
}

/// SO_REUSEPORT would share a port with another program of the same user without a word, and
/// lose half of the queries to it: a first bind without it finds that out.
fn probe_free(address: SocketAddr) -> io::Result<()> {
    let options = BindOptions { free_bind: true, ..BindOptions::default() };
    socket::udp(address, &options).map(drop)
}

fn in_words(e: &io::Error, address: SocketAddr, protocol: Protocol, looks_end: Instant) -> String {
    match e.kind() {
        io::ErrorKind::AddrInUse if Instant::now() >= looks_end => holder::UNKNOWN.to_owned(),
        io::ErrorKind::AddrInUse => holder::in_words(address, protocol),
        io::ErrorKind::PermissionDenied => {
            "not permitted (ports below 1024 need CAP_NET_BIND_SERVICE)".to_owned()
        }
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;

    use super::*;

    /// Takes everything.
    struct Takes;

    impl Store for Takes {
        fn keep(&self, _: &str, _: BorrowedFd<'_>) -> bool {
            true
        }

        fn forget(&self, _: &str) {}
    }

    #[test]
    fn looking_for_owners_ends() {
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let mut ports = Ports::new(Vec::new(), Vec::new(), None);
        let mut told = |looks_end| ports.bind(address, looks_end).err().unwrap().udp;
        let now = Instant::now();
        assert!(told(now).ends_with(holder::UNKNOWN));
        assert!(told(now + limits::OWNER_LOOKS).contains("pid"), "it is this process");
    }

    #[test]
    fn what_the_units_store_would_drop_is_not_counted_on() {
        let unit = include_str!("../../debian/culvert.service");
        let most = format!("\nFileDescriptorStoreMax={}\n", limits::STORED_SOCKETS);
        assert!(unit.contains(&most), "{most}");

        let mut ports = Ports::new(Vec::new(), Vec::new(), Some(Box::new(Takes)));
        let socket = kept::bind(Transport::Udp, ([127, 0, 0, 1], 0).into()).unwrap();
        let address = ([127, 0, 0, 1], 53).into();
        ports.names = (1..limits::STORED_SOCKETS).map(|number| number.to_string()).collect();
        assert!(ports.keep(&socket, address).is_some());
        assert_eq!(ports.keep(&socket, address), None);
    }
}
