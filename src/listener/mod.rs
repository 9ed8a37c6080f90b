//! Port 53: sockets in, packets to a handler, replies out.
//!
//! ```text
//!   Ports (control side)        one worker thread each
//!     apply(addresses) ─────►   udp: recvmmsg ─► Handler::receive ─► sendmmsg
//!     binds, keeps, drops       tcp: accept ─► frames ─► Handler::receive ─► one write
//!                                                   │ Step::Later
//!                                                   └► Handler::finish in a task ─► reply
//! ```
//!
//! The room knows packets and sockets, not their meaning: whoever implements [`Handler`]
//! decides. Every worker has a socket of its own on each address (SO_REUSEPORT). Sockets may
//! come from the process before this one and stay for the one after it (`kept`).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};

mod holder;
mod kept;
pub mod ports;
mod tcp;
mod udp;

pub use kept::{Inherited, Store, is_stored};
pub use ports::{Change, PortStatus, Ports, Worker};
pub use tcp::TcpLimits;

/// How a query came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram.
    Udp,
    /// A length-prefixed message on a stream.
    Tcp,
}

/// Where a query came from. IPv4-mapped IPv6 addresses are unmapped here, before anyone judges.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Client's address and port.
    pub client: SocketAddr,
    /// Transport.
    pub transport: Transport,
    /// Worker that received it.
    pub worker: usize,
}

/// What happens to a query.
pub enum Step<P> {
    /// The first so many octets of the reply buffer go back.
    Reply(usize),
    /// Nothing goes back.
    Silence,
    /// The answer takes a while.
    Later(P),
}

/// Who answers queries. Neither call may block, nor panic: a panic would cost its query.
pub trait Handler: Send + Sync + 'static {
    /// What is looked up once for a batch of packets.
    type Round;
    /// A query that waits for something.
    type Later: Send + 'static;

    /// Called before each batch.
    fn round(&self) -> Self::Round;

    /// Answers at once, or says that it will take a while. `packet` may have been cut
    /// (`whole` is false). `reply` holds 4,096 octets over UDP, 65,535 over TCP.
    fn receive(
        &self,
        round: &Self::Round,
        source: Source,
        packet: &[u8],
        whole: bool,
        reply: &mut [u8],
    ) -> Step<Self::Later>;

    /// The reply of a query that waits; `None` for silence.
    fn finish(&self, later: Self::Later) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// True if queries from this address are served. Asked when a TCP connection comes in; each
    /// query is judged by itself all the same.
    fn welcomes(&self, client: IpAddr) -> bool;

    /// A reply could not be sent: counted by the handler.
    fn not_sent(&self, worker: usize, replies: usize);

    /// A TCP connection was closed because a limit was reached.
    fn turned_away(&self, worker: usize);
}

/// Settings of all listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// TCP connections in total.
    pub tcp_connections: usize,
    /// TCP connections of one client address.
    pub tcp_per_client: usize,
    /// A connection without a query for this long is closed.
    pub tcp_idle: std::time::Duration,
    /// A query that has begun to arrive must be whole within this.
    pub tcp_receive: std::time::Duration,
    /// Queries on one connection before it is closed.
    pub tcp_queries: u64,
}

/// The address as clients mean it: IPv4-mapped IPv6 becomes IPv4.
fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// Sources that are never answered: nobody asks from there, so a reply would be an attack.
fn is_forged(client: SocketAddr) -> bool {
    let ip = client.ip();
    client.port() == 0
        || ip.is_unspecified()
        || ip.is_multicast()
        || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast())
}
