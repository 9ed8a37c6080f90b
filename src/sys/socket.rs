//! Listening sockets with the options that a DNS server needs, and the host's own addresses.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use if_addrs::{IfAddr, Interface};
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

/// What the operator can choose about a listening socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// Bind an address that this host does not have yet, for example a floating one (ip(7)
    /// `IP_FREEBIND`).
    pub free_bind: bool,
    /// Let several sockets of this user share the address; the kernel spreads the clients over
    /// them (socket(7) `SO_REUSEPORT`).
    pub reuse_port: bool,
    /// UDP only: receive buffer in bytes; the kernel cuts it to `net.core.rmem_max`.
    pub receive_buffer: Option<usize>,
    /// UDP only: send buffer in bytes; the kernel cuts it to `net.core.wmem_max`.
    pub send_buffer: Option<usize>,
}

/// Opens a UDP socket on `addr`: nonblocking, with packet info, IPv6 without IPv4.
///
/// Path MTUs learnt from ICMP are ignored (`IP_PMTUDISC_OMIT`): a forged one can neither make a
/// send fail nor shrink our packets. This host fragments a reply that its interface cannot carry.
///
/// # Errors
/// From the kernel: address in use, not of this host, no privilege for a port below 1024.
pub fn udp(addr: SocketAddr, options: &BindOptions) -> io::Result<UdpSocket> {
    let socket = unbound(addr, Type::DGRAM, Protocol::UDP, options)?;
    set_up_datagrams(&socket, addr, options)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Opens a TCP listener on `addr`: nonblocking, without Nagle's delay, IPv6 without IPv4.
///
/// Accepted sockets inherit the missing delay (tcp(7)) but not the nonblocking mode. `backlog` is
/// the number of connections that may wait to be accepted; the kernel cuts it to
/// `net.core.somaxconn`. Buffers are left to the kernel's own tuning.
///
/// # Errors
/// From the kernel: address in use, not of this host, no privilege for a port below 1024.
pub fn tcp(addr: SocketAddr, options: &BindOptions, backlog: i32) -> io::Result<TcpListener> {
    let socket = unbound(addr, Type::STREAM, Protocol::TCP, options)?;
    // A restart must not wait for old connections to leave TIME-WAIT.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// A socket that clients reach.
#[derive(Debug)]
pub enum Listening {
    /// Datagrams.
    Udp(UdpSocket),
    /// Connections.
    Tcp(TcpListener),
}

impl Listening {
    /// The same socket once more: both read from one queue.
    ///
    /// # Errors
    /// From the kernel: no descriptor left.
    pub fn try_clone(&self) -> io::Result<Listening> {
        Ok(match self {
            Listening::Udp(socket) => Listening::Udp(socket.try_clone()?),
            Listening::Tcp(socket) => Listening::Tcp(socket.try_clone()?),
        })
    }

    /// Octets that may wait in the kernel on the way in, its own bookkeeping included (socket(7)
    /// `SO_RCVBUF`).
    ///
    /// # Errors
    /// From the kernel.
    pub fn receive_buffer(&self) -> io::Result<usize> {
        SockRef::from(self).recv_buffer_size()
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listening::Udp(socket) => socket.as_fd(),
            Listening::Tcp(socket) => socket.as_fd(),
        }
    }
}

/// Makes a descriptor from elsewhere one of ours: sees what it is, and sets what [`udp`] and
/// [`tcp`] set and what can still be set. Gives the address that it is bound to.
///
/// # Errors
/// `InvalidInput` with what it is, if no client can be served by it; else from the kernel.
pub fn adopt(
    fd: OwnedFd,
    options: &BindOptions,
    backlog: i32,
) -> io::Result<(Listening, SocketAddr)> {
    let unfit = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
    let socket = Socket::from(fd);
    let kind = socket.r#type().map_err(|_| unfit("not a socket"))?;
    let address =
        socket.local_addr()?.as_socket().ok_or_else(|| unfit("not an Internet socket"))?;
    let protocol = socket.protocol()?;
    socket.set_nonblocking(true)?;
    let listening = if kind == Type::DGRAM && protocol == Some(Protocol::UDP) {
        if socket.peer_addr().is_ok() {
            return Err(unfit("a UDP socket that is connected to one peer"));
        }
        set_up_datagrams(&socket, address, options)?;
        Listening::Udp(socket.into())
    } else if kind == Type::STREAM && protocol == Some(Protocol::TCP) {
        if !socket.is_listener()? {
            return Err(unfit("a TCP socket that does not listen"));
        }
        socket.set_tcp_nodelay(true)?;
        socket.listen(backlog)?;
        Listening::Tcp(socket.into())
    } else {
        return Err(unfit("neither UDP nor TCP"));
    };
    Ok((listening, without_flow(address)))
}

/// From here on a UDP socket gets nothing new, while what it has got can still be read, and
/// answered: sockets that share its port get the rest (SO_REUSEPORT), or nobody does.
///
/// It is connected to itself, and a connected socket has one peer (udp(7)). This holds for
/// every duplicate, in other processes too.
///
/// # Errors
/// From the kernel: its address is not of this host any more, so that nothing comes anyway.
pub fn end_datagrams(socket: BorrowedFd<'_>) -> io::Result<()> {
    let socket = SockRef::from(&socket);
    let address = socket.local_addr()?;
    socket.connect(&address)
}

/// From here on a listener takes part in no new handshake, while connections that are on their
/// way still come: a client sends its SYN again after a second, and finds another listener.
///
/// This holds for every duplicate, in other processes too.
///
/// # Errors
/// From the kernel: no memory left.
pub fn end_handshakes(listener: BorrowedFd<'_>) -> io::Result<()> {
    // octet 13 of the TCP header: a SYN (2) without an ACK (16) is dropped, all else passes
    const FLAGS: u32 = 13;
    const SYN: u32 = 2;
    const SYN_OR_ACK: u32 = 18;
    let op = |code: u32| code as u16;
    SockRef::from(&listener).attach_filter(&[
        SockFilter::new(op(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, FLAGS),
        SockFilter::new(op(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), 0, 0, SYN_OR_ACK),
        SockFilter::new(op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, SYN),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
        SockFilter::new(op(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
    ])
}

/// Ends a listener for every duplicate, in other processes too; who was not accepted is reset.
///
/// # Errors
/// From the kernel: it does not listen.
pub fn end_listening(listener: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&listener).shutdown(std::net::Shutdown::Read)
}

/// Keeps a descriptor from programs that this one might run.
///
/// # Errors
/// From the kernel.
pub(super) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    // a flag of the descriptor, whatever it is: the library's method asks the kernel the same
    SockRef::from(fd).set_cloexec(true)
}

/// Addresses of this host that a server can be bound to, with port 0, sorted, without doubles.
///
/// Loopback is included; interfaces that are switched off are not. An unplugged cable does not
/// matter. IPv6 link-local addresses carry their interface as scope id. An IPv6 address that is
/// still being checked for duplicates is listed, but binding it fails without
/// [`BindOptions::free_bind`] until [`AddressWatch`](super::AddressWatch) reports the end of the
/// check.
///
/// # Errors
/// From the kernel: no descriptor or memory left, or a sandbox that forbids `AF_NETLINK`.
pub fn host_addresses() -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<_> = interfaces_up()?.iter().map(bindable).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

/// Prefixes of this host's interfaces as (own address, prefix length), sorted, without doubles.
///
/// An address whose prefix length is 0 or unknown is returned as a single host, so that an access
/// list made from these never admits the whole Internet by accident.
///
/// # Errors
/// As [`host_addresses`].
pub fn host_prefixes() -> io::Result<Vec<(IpAddr, u8)>> {
    let mut prefixes: Vec<_> = interfaces_up()?.iter().map(|i| prefix(&i.addr)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    Ok(prefixes)
}

/// A socket with the options that both kinds share and that count before binding.
fn unbound(
    addr: SocketAddr,
    kind: Type,
    protocol: Protocol,
    options: &BindOptions,
) -> io::Result<Socket> {
    // socket2 adds close-on-exec by itself.
    let socket = Socket::new(Domain::for_address(addr), kind.nonblocking(), Some(protocol))?;
    if addr.is_ipv6() {
        // 0.0.0.0 and [::] are two listeners here, whatever net.ipv6.bindv6only says.
        socket.set_only_v6(true)?;
    }
    if options.free_bind {
        match addr {
            SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
            SocketAddr::V6(_) => socket.set_freebind_v6(true)?,
        }
    }
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    Ok(socket)
}

/// What only UDP sockets have.
fn set_up_datagrams(socket: &Socket, addr: SocketAddr, options: &BindOptions) -> io::Result<()> {
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(kernel_size(size))?;
    }
    if let Some(size) = options.send_buffer {
        socket.set_send_buffer_size(kernel_size(size))?;
    }
    for (level, name, value) in datagram_options(addr) {
        set_option(socket.as_fd(), level, name, value)?;
    }
    Ok(())
}

/// An address with what tells it from others: not the IPv6 flow label.
fn without_flow(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V4(_) => addr,
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
    }
}

/// Level, name and value of the options for packet info and for ignoring learnt path MTUs.
fn datagram_options(addr: SocketAddr) -> [(libc::c_int, libc::c_int, libc::c_int); 2] {
    match addr {
        SocketAddr::V4(_) => [
            (libc::IPPROTO_IP, libc::IP_PKTINFO, 1),
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT),
        ],
        SocketAddr::V6(_) => [
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1),
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT),
        ],
    }
}

/// Sets a socket option that socket2 does not have.
fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: (ALIVE, OWN-LENGTH, OPEN) the value is a parameter of this function, and the length
    // is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel takes buffer sizes as a C int; more than that means as much as allowed.
fn kernel_size(size: usize) -> usize {
    size.min(libc::c_int::MAX as usize)
}

/// One entry for each address of each interface that is switched on.
fn interfaces_up() -> io::Result<Vec<Interface>> {
    // Any socket can ask about interfaces; this family is the last one a sandbox would forbid.
    let asker = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    let mut interfaces = if_addrs::get_if_addrs()?;
    interfaces.retain(|i| is_up(asker.as_fd(), &i.name));
    Ok(interfaces)
}

/// Whether an interface is switched on (netdevice(7) `IFF_UP`). The library only tells whether it
/// has a carrier. An interface that has just gone is not up.
fn is_up(asker: BorrowedFd<'_>, name: &str) -> bool {
    // SAFETY: (PLAIN) integers and unions of integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0: the name is a C string.
    if name.len() >= request.ifr_name.len() {
        return false;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: (ALIVE, EXCLUSIVE, OPEN) the kernel reads and writes one `ifreq` for this request.
    let result =
        unsafe { libc::ioctl(asker.as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
    // SAFETY: (PLAIN) every byte of the union is initialised, and any number is valid here.
    let flags = libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    result == 0 && flags & libc::IFF_UP != 0
}

fn bindable(interface: &Interface) -> SocketAddr {
    match &interface.addr {
        IfAddr::V4(v4) => SocketAddr::new(v4.ip.into(), 0),
        IfAddr::V6(v6) => {
            let local = v6.ip.is_unicast_link_local();
            let scope = interface.index.filter(|_| local).unwrap_or(0);
            SocketAddrV6::new(v6.ip, 0, 0, scope).into()
        }
    }
}

fn prefix(addr: &IfAddr) -> (IpAddr, u8) {
    let (length, host) = match addr {
        IfAddr::V4(v4) => (v4.prefixlen, 32),
        IfAddr::V6(v6) => (v6.prefixlen, 128),
    };
    (addr.ip(), if length == 0 { host } else { length })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};

    use if_addrs::{IfOperStatus, Ifv4Addr, Ifv6Addr};
    use socket2::SockRef;

    use super::*;

    const PLAIN: BindOptions = BindOptions {
        free_bind: false,
        reuse_port: false,
        receive_buffer: None,
        send_buffer: None,
    };

    fn at(addr: &str) -> SocketAddr {
        addr.parse().unwrap()
    }

    fn has_ipv6() -> bool {
        UdpSocket::bind("[::1]:0").is_ok()
    }

    fn option(socket: &UdpSocket, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let mut value: libc::c_int = 0;
        let mut size = size_of_val(&value) as libc::socklen_t;
        // SAFETY: (ALIVE, OWN-LENGTH, EXCLUSIVE, OPEN) both are variables of this function.
        let result = unsafe {
            let value = (&raw mut value).cast();
            libc::getsockopt(socket.as_raw_fd(), level, name, value, &raw mut size)
        };
        assert_eq!(result, 0);
        value
    }

    #[test]
    fn udp_sockets_tell_the_address_asked_and_ignore_path_mtus() {
        let socket = udp(at("127.0.0.1:0"), &PLAIN).unwrap();
        assert_eq!(option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO), 1);
        assert_eq!(option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), 5);
        assert!(SockRef::from(&socket).nonblocking().unwrap());
        if has_ipv6() {
            let socket = udp(at("[::1]:0"), &PLAIN).unwrap();
            assert_eq!(option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO), 1);
            assert_eq!(option(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER), 5);
        }
    }

    #[test]
    fn accepted_connections_do_not_wait_to_fill_a_segment() {
        let listener = tcp(at("127.0.0.1:0"), &PLAIN, 8).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        listener.set_nonblocking(false).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(listener.accept().unwrap().0.nodelay().unwrap());
    }

    #[test]
    fn both_wildcards_can_share_a_port() {
        if !has_ipv6() {
            return;
        }
        // Another test may hold the IPv6 port by chance; without V6ONLY every try would fail.
        let share = |_| {
            let four = udp(at("0.0.0.0:0"), &PLAIN).unwrap();
            let port = four.local_addr().unwrap().port();
            udp((Ipv6Addr::UNSPECIFIED, port).into(), &PLAIN).is_ok()
        };
        assert!((0..5).any(share));
        let share = |_| {
            let four = tcp(at("0.0.0.0:0"), &PLAIN, 8).unwrap();
            let port = four.local_addr().unwrap().port();
            tcp((Ipv6Addr::UNSPECIFIED, port).into(), &PLAIN, 8).is_ok()
        };
        assert!((0..5).any(share));
    }

    #[test]
    fn sharing_a_port_has_to_be_asked_for() {
        let sharing = BindOptions { reuse_port: true, ..PLAIN };
        let first = udp(at("127.0.0.1:0"), &sharing).unwrap();
        let addr = first.local_addr().unwrap();
        udp(addr, &sharing).unwrap();
        assert_eq!(udp(addr, &PLAIN).unwrap_err().kind(), io::ErrorKind::AddrInUse);

        let first = tcp(at("127.0.0.1:0"), &sharing, 8).unwrap();
        let addr = first.local_addr().unwrap();
        tcp(addr, &sharing, 8).unwrap();
        assert_eq!(tcp(addr, &PLAIN, 8).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    /// Documentation addresses (RFC 5737, RFC 3849), which no test host has. Nothing is sent.
    #[test]
    fn free_bind_takes_an_address_that_is_not_here() {
        let free = BindOptions { free_bind: true, ..PLAIN };
        let mut elsewhere = vec![at("192.0.2.55:0")];
        if has_ipv6() {
            elsewhere.push(at("[2001:db8::55]:0"));
        }
        for addr in elsewhere {
            assert_eq!(udp(addr, &PLAIN).unwrap_err().kind(), io::ErrorKind::AddrNotAvailable);
            assert_eq!(udp(addr, &free).unwrap().local_addr().unwrap().ip(), addr.ip());
            tcp(addr, &PLAIN, 8).unwrap_err();
            tcp(addr, &free, 8).unwrap();
        }
    }

    #[test]
    fn a_socket_that_ends_keeps_what_it_has_and_gets_nothing_new() {
        let sharing = BindOptions { reuse_port: true, ..PLAIN };
        let ending = udp(at("127.0.0.1:0"), &sharing).unwrap();
        let address = ending.local_addr().unwrap();
        let clients: Vec<_> = (0..50).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let send = |text| clients.iter().for_each(|c| assert!(c.send_to(text, address).is_ok()));
        let read = |socket: &UdpSocket| {
            let mut buffer = [0; 8];
            std::iter::from_fn(|| socket.recv(&mut buffer).ok()).collect::<Vec<_>>()
        };
        send(b"before");
        let next = udp(address, &sharing).unwrap();
        end_datagrams(ending.as_fd()).unwrap();
        send(b"now");
        assert_eq!(read(&ending), [6; 50]);
        assert_eq!(read(&next), [3; 50]);
        // and it can still answer
        ending.send_to(b"late", clients[0].local_addr().unwrap()).unwrap();
        clients[0].set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        assert_eq!(clients[0].recv_from(&mut [0; 8]).unwrap(), (4, address));
    }

    #[test]
    fn a_listener_that_ends_keeps_who_is_there_and_takes_nobody_new() {
        let listener = tcp(at("127.0.0.1:0"), &PLAIN, 8).unwrap();
        let address = listener.local_addr().unwrap();
        let mut early = TcpStream::connect(address).unwrap();
        end_handshakes(listener.as_fd()).unwrap();
        let late = TcpStream::connect_timeout(&address, std::time::Duration::from_millis(200));
        assert_eq!(late.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut accepted, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut early, b"hello").unwrap();
        std::io::Read::read_exact(&mut accepted, &mut [0; 5]).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_adopted_socket_has_what_ours_have() {
        let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = plain.local_addr().unwrap();
        let (adopted, bound) = adopt(plain.into(), &PLAIN, 8).unwrap();
        assert_eq!(bound, address);
        let Listening::Udp(socket) = adopted else { panic!("a UDP socket") };
        assert_eq!(option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO), 1);
        assert_eq!(option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER), 5);
        assert!(SockRef::from(&socket).nonblocking().unwrap());
    }

    #[test]
    fn buffer_sizes_reach_the_kernel() {
        let small = BindOptions { receive_buffer: Some(8192), send_buffer: Some(16384), ..PLAIN };
        let socket = udp(at("127.0.0.1:0"), &small).unwrap();
        // The kernel doubles the value for its own bookkeeping (socket(7)).
        assert_eq!(SockRef::from(&socket).recv_buffer_size().unwrap(), 2 * 8192);
        assert_eq!(SockRef::from(&socket).send_buffer_size().unwrap(), 2 * 16384);

        let huge = BindOptions { receive_buffer: Some(usize::MAX), ..PLAIN };
        let socket = udp(at("127.0.0.1:0"), &huge).unwrap();
        assert!(SockRef::from(&socket).recv_buffer_size().unwrap() > 2 * 8192);
    }

    #[test]
    fn loopback_is_among_the_host_addresses() {
        let addresses = host_addresses().unwrap();
        assert!(addresses.contains(&at("127.0.0.1:0")), "{addresses:?}");
        assert!(addresses.is_sorted());
        assert!(host_prefixes().unwrap().contains(&(Ipv4Addr::LOCALHOST.into(), 8)));
    }

    #[test]
    fn an_interface_that_does_not_exist_is_not_up() {
        let asker = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(is_up(asker.as_fd(), "lo"));
        assert!(!is_up(asker.as_fd(), "no-such-link"));
        assert!(!is_up(asker.as_fd(), "a-name-longer-than-the-kernel-allows"));
    }

    #[test]
    fn the_scope_is_kept_for_link_local_addresses_only() {
        let on = |ip: &str| Interface {
            name: "eth0".into(),
            addr: IfAddr::V6(Ifv6Addr {
                ip: ip.parse().unwrap(),
                netmask: Ipv6Addr::UNSPECIFIED,
                prefixlen: 64,
                broadcast: None,
            }),
            index: Some(4),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
        };
        assert_eq!(bindable(&on("fe80::1")), at("[fe80::1%4]:0"));
        assert_eq!(bindable(&on("2001:db8::1")), at("[2001:db8::1]:0"));
    }

    #[test]
    fn an_unknown_prefix_is_one_host_and_not_everybody() {
        let addr = |prefixlen| {
            let ip = Ipv4Addr::new(192, 0, 2, 1);
            IfAddr::V4(Ifv4Addr { ip, netmask: ip, prefixlen, broadcast: None })
        };
        assert_eq!(prefix(&addr(24)).1, 24);
        assert_eq!(prefix(&addr(0)).1, 32);
    }
}
