//! Sockets that outlive a process: handed over at the start, kept for the next one.
//!
//! ```text
//!   service manager ─► Inherited::new ─► Shelf ─ claim(address) ─► Ports    matches: serves on
//!                                          └──── surplus() ──────► Ports    does not: drained
//!   Ports ─► Store::keep(name, socket) after binding, Store::forget(name) before draining
//! ```
//!
//! What a socket is, it is asked itself: a name only says who holds it. One name stands for one
//! socket, so that forgetting it lets go of no other.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};

use tokio::sync::watch;

use super::Transport;
use crate::limits;
use crate::sys::socket::{self, BindOptions, Listening};

/// Who keeps sockets for the process that comes after this one.
pub trait Store: Send + Sync {
    /// Keeps a socket under a name that no other one has. False: it could not be handed over,
    /// which was told.
    fn keep(&self, name: &str, socket: BorrowedFd<'_>) -> bool;

    /// Lets go of the socket with this name.
    fn forget(&self, name: &str);
}

/// Who holds a socket besides this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody.
    Process,
    /// The store: it waits there for the next process, unless it is forgotten.
    Store,
    /// A socket unit of the service manager, whatever we do.
    Unit,
}

/// Why serving ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ending {
    /// It does not yet.
    #[default]
    NotYet,
    /// The address is not wanted any more.
    Unwanted,
    /// The process ends.
    Stop,
}

/// How a socket is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Somebody reads on: what comes later is theirs.
    ToOthers,
    /// Nobody does: nothing new may come in, and all that has is answered.
    Empty,
}

/// A socket's life: until when it is served, and what becomes of it.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) ending: watch::Receiver<Ending>,
    pub(super) owner: Owner,
}

impl Life {
    /// Waits for the end.
    pub(super) async fn over(&mut self) -> Leave {
        // a sender that is gone wants nothing served either
        let ending = self.ending.wait_for(|ending| *ending != Ending::NotYet).await;
        let ending = ending.map_or(Ending::Stop, |ending| *ending);
        match (self.owner, ending) {
            (Owner::Unit, _) | (Owner::Store, Ending::Stop) => Leave::ToOthers,
            (Owner::Process, _) | (Owner::Store, _) => Leave::Empty,
        }
    }
}

/// A listening socket that was there before this process.
#[derive(Debug)]
pub struct Inherited {
    pub(super) socket: Listening,
    pub(super) address: SocketAddr,
    pub(super) owner: Owner,
    name: String,
}

impl Inherited {
    /// Looks at a descriptor with its name, and sets on it what our own sockets have.
    ///
    /// # Errors
    /// In words: what it is, if no client can be served by it.
    pub fn new(fd: OwnedFd, name: String) -> Result<Inherited, String> {
        let (socket, address) =
            socket::adopt(fd, &options(), limits::TCP_BACKLOG).map_err(|e| {
                format!("the descriptor {name:?} that was passed to us is ignored: {e}")
            })?;
        let stem = stem(transport(&socket), address);
        let number = name.strip_prefix(&stem).map(str::parse::<usize>);
        let owner = if matches!(number, Some(Ok(_))) { Owner::Store } else { Owner::Unit };
        Ok(Inherited { socket, address, owner, name })
    }

    /// The name under which the store has it.
    pub(super) fn stored_as(&self) -> Option<&str> {
        (self.owner == Owner::Store).then_some(self.name.as_str())
    }
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} socket {:?} at {}", word(transport(&self.socket)), self.name, self.address)
    }
}

/// Inherited sockets that serve no address yet.
#[derive(Debug, Default)]
pub(super) struct Shelf(Vec<Inherited>);

impl Shelf {
    pub(super) fn new(inherited: Vec<Inherited>) -> Shelf {
        Shelf(inherited)
    }

    /// Takes the sockets for an address: all of a socket unit, as nobody else reads them, and at
    /// most as many as there are workers of ours.
    pub(super) fn claim(
        &mut self,
        transport: Transport,
        address: SocketAddr,
        workers: usize,
    ) -> Vec<Inherited> {
        let mut ours = 0;
        let claimed = self.0.extract_if(.., |kept| {
            if kept.address != address || self::transport(&kept.socket) != transport {
                return false;
            }
            ours += usize::from(kept.owner == Owner::Store);
            kept.owner == Owner::Unit || ours <= workers
        });
        claimed.collect()
    }

    /// Puts sockets back that cannot be served after all.
    pub(super) fn put_back(&mut self, sockets: impl IntoIterator<Item = Inherited>) {
        self.0.extend(sockets);
    }

    /// Takes those that only the store and we know of.
    pub(super) fn surplus(&mut self) -> Vec<Inherited> {
        self.0.extract_if(.., |kept| kept.owner == Owner::Store).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Inherited> {
        self.0.iter()
    }
}

/// What every listening socket is bound with.
pub(super) fn options() -> BindOptions {
    BindOptions {
        free_bind: true,
        reuse_port: true,
        receive_buffer: Some(limits::UDP_BUFFER),
        send_buffer: Some(limits::UDP_BUFFER),
    }
}

/// Names of the sockets that a store has of us begin so.
const OURS: &str = "culvert.";

/// True if a descriptor of this name was put into the store by the process before, whatever has
/// become of it: socket units are named by the operator.
pub fn is_stored(name: &str) -> bool {
    name.strip_prefix(OURS).is_some_and(|rest| rest.starts_with("udp.") || rest.starts_with("tcp."))
}

/// Binds a socket that nobody had.
pub(super) fn bind(transport: Transport, address: SocketAddr) -> io::Result<Listening> {
    Ok(match transport {
        Transport::Udp => Listening::Udp(socket::udp(address, &options())?),
        Transport::Tcp => Listening::Tcp(socket::tcp(address, &options(), limits::TCP_BACKLOG)?),
    })
}

/// How the names begin under which the sockets of an address are stored; a number follows. The
/// service manager's names have no colon (sd_notify(3) `FDNAME=`).
pub(super) fn stem(transport: Transport, address: SocketAddr) -> String {
    let ip = match address {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) if v6.scope_id() == 0 => v6.ip().to_string(),
        SocketAddr::V6(v6) => format!("{}%{}", v6.ip(), v6.scope_id()),
    };
    let ip = ip.replace(':', "-");
    format!("{OURS}{}.{ip}_{}.", word(transport).to_lowercase(), address.port())
}

pub(super) fn transport(socket: &Listening) -> Transport {
    match socket {
        Listening::Udp(_) => Transport::Udp,
        Listening::Tcp(_) => Transport::Tcp,
    }
}

fn word(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "UDP",
        Transport::Tcp => "TCP",
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    fn inherited(fd: impl Into<OwnedFd>, name: &str) -> Inherited {
        Inherited::new(fd.into(), name.to_owned()).unwrap()
    }

    /// A UDP socket, and another one that shares its port.
    fn sharing() -> (Listening, Listening, SocketAddr) {
        let first = socket::udp(at("127.0.0.1:0"), &options()).unwrap();
        let address = first.local_addr().unwrap();
        (Listening::Udp(first), bind(Transport::Udp, address).unwrap(), address)
    }

    fn fd(socket: &Listening) -> OwnedFd {
        socket.as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_name_is_believed_only_if_it_says_what_the_socket_is() {
        let (socket, _, address) = sharing();
        let port = address.port();
        let owner = |name: &str| inherited(fd(&socket), name).owner;
        assert_eq!(owner(&format!("culvert.udp.127.0.0.1_{port}.0")), Owner::Store);
        assert_eq!(owner(&format!("culvert.udp.127.0.0.1_{port}.12")), Owner::Store);
        let others = [
            "culvert.socket".to_owned(),
            String::new(),
            format!("culvert.tcp.127.0.0.1_{port}.0"),
            format!("culvert.udp.127.0.0.2_{port}.0"),
            format!("culvert.udp.127.0.0.1_{port}.x"),
        ];
        for name in others {
            assert_eq!(owner(&name), Owner::Unit, "{name}");
        }
    }

    #[test]
    fn names_have_no_colon_and_keep_the_interface() {
        let name = |address| stem(Transport::Tcp, at(address));
        assert_eq!(name("192.0.2.1:53"), "culvert.tcp.192.0.2.1_53.");
        assert_eq!(name("[2001:db8::1]:53"), "culvert.tcp.2001-db8--1_53.");
        assert_eq!(name("[fe80::1%3]:53"), "culvert.tcp.fe80--1%3_53.");
    }

    #[test]
    fn what_serves_no_client_is_refused_in_words() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let connected = UdpSocket::bind("127.0.0.1:0").unwrap();
        connected.connect("127.0.0.1:9").unwrap();
        let cases: [(OwnedFd, &str); 4] = [
            (std::fs::File::open("/dev/null").unwrap().into(), "not a socket"),
            (UnixDatagram::unbound().unwrap().into(), "not an Internet socket"),
            (stream.into(), "a TCP socket that does not listen"),
            (connected.into(), "a UDP socket that is connected to one peer"),
        ];
        for (fd, reason) in cases {
            let error = Inherited::new(fd, "some".to_owned()).unwrap_err();
            assert!(error.ends_with(reason) && error.contains("\"some\""), "{error}");
        }
        assert!(Inherited::new(listener.into(), String::new()).is_ok());
    }

    #[test]
    fn an_address_gets_its_own_sockets_of_its_own_kind() {
        let (first, second, address) = sharing();
        let tcp = TcpListener::bind(address).unwrap();
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = |number| format!("{}{number}", stem(Transport::Udp, address));
        let mut shelf = Shelf::new(vec![
            inherited(fd(&first), &name(0)),
            inherited(tcp, "unit"),
            inherited(fd(&second), &name(1)),
            inherited(elsewhere, "unit"),
        ]);
        assert!(shelf.claim(Transport::Udp, at("127.0.0.9:53"), 2).is_empty());
        let claimed = shelf.claim(Transport::Udp, address, 1);
        assert_eq!(claimed.iter().map(Inherited::stored_as).collect::<Vec<_>>(), [Some(&*name(0))]);
        assert_eq!(shelf.claim(Transport::Tcp, address, 1).len(), 1);
        // one more than there are workers: the store's may go, the unit's may not
        let surplus = shelf.surplus();
        assert_eq!(surplus.iter().map(Inherited::stored_as).collect::<Vec<_>>(), [Some(&*name(1))]);
        assert_eq!(shelf.iter().count(), 1);
        shelf.put_back(claimed);
        assert_eq!(shelf.claim(Transport::Udp, address, 8).len(), 1);
    }

    #[test]
    fn all_sockets_of_a_unit_are_served_however_many_workers_there_are() {
        let (first, second, address) = sharing();
        let sockets = [&first, &second].map(|socket| inherited(fd(socket), "dns"));
        let mut shelf = Shelf::new(sockets.into());
        assert_eq!(shelf.claim(Transport::Udp, address, 1).len(), 2);
    }
}
