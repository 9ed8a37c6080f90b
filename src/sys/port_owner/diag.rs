//! The kernel's list of sockets on one port (sock_diag(7), linux/inet_diag.h).

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Protocol;

/// `SOCK_DIAG_BY_FAMILY`: the type of request and replies.
const BY_FAMILY: u16 = 20;
/// `INET_DIAG_SKV6ONLY` and `INET_DIAG_CGROUP_ID`, which the kernel tells unasked.
const V6_ONLY: u16 = 11;
const CGROUP_ID: u16 = 21;
/// The state of listening TCP sockets (`TCP_LISTEN`), as a bit.
const LISTENING: u32 = 1 << 10;
/// Octets of a message's header (`struct nlmsghdr`) and of a socket's fixed part
/// (`struct inet_diag_msg`).
const HEADER: usize = 16;
const FIXED: usize = 72;
/// The kernel answers at once; this bounds a kernel that does not.
const WAIT: Duration = Duration::from_millis(100);
/// Replies that are read, each of up to [`REPLY`] octets, and sockets that are kept.
const REPLIES_MAX: usize = 64;
const REPLY: usize = 32 << 10;
const SOCKETS_MAX: usize = 4096;

/// One socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) address: SocketAddr,
    pub(super) uid: u32,
    pub(super) inode: u32,
    /// Id of its cgroup (version 2), from Linux 5.9 on.
    pub(super) cgroup: Option<u64>,
    /// An IPv6 socket that leaves IPv4 alone.
    v6_only: bool,
}

/// All sockets on a local port, of both families.
///
/// # Errors
/// From the kernel: a sandbox that forbids `AF_NETLINK`, no memory, no sock_diag.
pub(super) fn sockets(port: u16, protocol: Protocol) -> io::Result<Vec<Held>> {
    let (domain, kind) = (Domain::from(libc::AF_NETLINK), Type::from(libc::SOCK_RAW));
    let socket = Socket::new(domain, kind, Some(libc::NETLINK_SOCK_DIAG.into()))?;
    socket.set_read_timeout(Some(WAIT))?;
    let (mut found, mut reply) = (Vec::new(), vec![0; REPLY]);
    for family in [libc::AF_INET, libc::AF_INET6] {
        socket.send(&request(family as u8, port, protocol))?;
        for _ in 0..REPLIES_MAX {
            let length = (&socket).read(&mut reply)?;
            let whole = reply.get(..length).unwrap_or_default();
            if read_reply(whole, &mut found) || found.len() >= SOCKETS_MAX {
                break;
            }
        }
    }
    Ok(found)
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`: dump all sockets with this local port.
fn request(family: u8, port: u16, protocol: Protocol) -> Vec<u8> {
    let (number, states) = match protocol {
        Protocol::Udp => (libc::IPPROTO_UDP as u8, u32::MAX),
        Protocol::Tcp => (libc::IPPROTO_TCP as u8, LISTENING),
    };
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    let mut bytes = Vec::with_capacity(72);
    bytes.extend(72u32.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    // sequence and sender are of no use to a socket that asks one thing after the other
    bytes.extend([0; 8]);
    bytes.extend([family, number, 0, 0]);
    bytes.extend(states.to_ne_bytes());
    bytes.extend(port.to_be_bytes());
    // any remote port, addresses, interface and cookie
    bytes.resize(72, 0);
    bytes
}

/// Takes the sockets from one reply; true if it was the last, or a refusal.
fn read_reply(mut bytes: &[u8], found: &mut Vec<Held>) -> bool {
    while let Some(length) = u32_at(bytes, 0).map(|n| n as usize) {
        let Some(message) = bytes.get(HEADER..length) else { return true };
        match u16_at(bytes, 4) {
            Some(BY_FAMILY) => found.extend(read_socket(message)),
            _ => return true,
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    false
}

/// `struct inet_diag_msg` and its attributes.
fn read_socket(message: &[u8]) -> Option<Held> {
    let port = u16::from_be_bytes(message.get(4..6)?.try_into().ok()?);
    let ip: IpAddr = match i32::from(*message.first()?) {
        libc::AF_INET => <[u8; 4]>::try_from(message.get(8..12)?).ok()?.into(),
        libc::AF_INET6 => <[u8; 16]>::try_from(message.get(8..24)?).ok()?.into(),
        _ => return None,
    };
    let (uid, inode) = (u32_at(message, 64)?, u32_at(message, 68)?);
    let mut held =
        Held { address: SocketAddr::new(ip, port), uid, inode, cgroup: None, v6_only: false };
    let mut rest = message.get(FIXED..)?;
    while let (Some(length), Some(kind)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let Some(value) = rest.get(4..usize::from(length)) else { break };
        match kind {
            V6_ONLY => held.v6_only = value.first() == Some(&1),
            CGROUP_ID => held.cgroup = value.try_into().ok().map(u64::from_ne_bytes),
            _ => {}
        }
        rest = rest.get(aligned(usize::from(length))..).unwrap_or_default();
    }
    Some(held)
}

fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// The socket that keeps others from binding `wanted`: one on the very address before one on the
/// wildcard, and any other only if the wildcard itself is wanted.
pub(super) fn in_the_way(sockets: &[Held], wanted: SocketAddr) -> Option<Held> {
    let rank = |held: &&Held| {
        let ip = held.address.ip();
        let same_family = ip.is_ipv4() == wanted.is_ipv4();
        match ip {
            _ if held.address.port() != wanted.port() => None,
            _ if ip == wanted.ip() => Some(0),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) if same_family => Some(1),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) if same_family || !held.v6_only => Some(1),
            _ if wanted.ip().is_unspecified() && same_family => Some(2),
            _ => None,
        }
    };
    let ranked = sockets.iter().filter_map(|held| Some((rank(&held)?, held)));
    ranked.min_by_key(|(rank, _)| *rank).map(|(_, held)| held.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(address: &str, v6_only: bool) -> Held {
        Held { address: address.parse().unwrap(), uid: 1, inode: 2, cgroup: None, v6_only }
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend((HEADER as u32 + body.len() as u32).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn socket() -> Vec<u8> {
        let mut body = vec![0; FIXED];
        body[0] = libc::AF_INET6 as u8;
        body[4..6].copy_from_slice(&53u16.to_be_bytes());
        body[8..24].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        body[64..68].copy_from_slice(&998u32.to_ne_bytes());
        body[68..72].copy_from_slice(&4711u32.to_ne_bytes());
        for (kind, value) in [(V6_ONLY, &[1u8][..]), (CGROUP_ID, &77u64.to_ne_bytes())] {
            body.extend((4 + value.len() as u16).to_ne_bytes());
            body.extend(kind.to_ne_bytes());
            body.extend(value);
            body.resize(aligned(body.len()), 0);
        }
        body
    }

    #[test]
    fn a_reply_is_read_to_its_end() {
        let mut found = Vec::new();
        let reply = [message(BY_FAMILY, &socket()), message(BY_FAMILY, &socket())].concat();
        assert!(!read_reply(&reply, &mut found));
        let expected = Held {
            address: "[::1]:53".parse().unwrap(),
            uid: 998,
            inode: 4711,
            cgroup: Some(77),
            v6_only: true,
        };
        assert_eq!(found, [expected.clone(), expected]);
        assert!(read_reply(&message(libc::NLMSG_DONE as u16, &[0; 4]), &mut found));
        assert!(read_reply(&message(libc::NLMSG_ERROR as u16, &[0; 20]), &mut found));
    }

    #[test]
    fn a_reply_that_is_cut_anywhere_does_no_harm() {
        let whole = message(BY_FAMILY, &socket());
        for length in 0..whole.len() {
            let mut found = Vec::new();
            read_reply(&whole[..length], &mut found);
            assert!(found.is_empty(), "{length}");
            // a length that the kernel made up
            read_socket(&whole[HEADER.min(length)..length]);
        }
        let mut zero = whole;
        zero[..4].copy_from_slice(&0u32.to_ne_bytes());
        assert!(read_reply(&zero, &mut Vec::new()), "no progress ends the reading");
    }

    #[test]
    fn the_narrowest_socket_in_the_way_is_told() {
        let all = [
            held("0.0.0.0:53", false),
            held("127.0.0.53:53", false),
            held("[::]:53", true),
            held("192.0.2.1:53", false),
        ];
        let of = |sockets: &[Held], wanted: &str| {
            in_the_way(sockets, wanted.parse().unwrap()).map(|held| held.address.to_string())
        };
        assert_eq!(of(&all, "192.0.2.1:53").as_deref(), Some("192.0.2.1:53"));
        assert_eq!(of(&all, "192.0.2.2:53").as_deref(), Some("0.0.0.0:53"));
        assert_eq!(of(&all[1..], "192.0.2.2:53"), None, "a v6-only wildcard leaves IPv4 alone");
        assert_eq!(of(&all[1..2], "0.0.0.0:53").as_deref(), Some("127.0.0.53:53"));
        assert_eq!(of(&all, "[::1]:53").as_deref(), Some("[::]:53"));
        assert_eq!(of(&[held("[::]:53", false)], "192.0.2.2:53").as_deref(), Some("[::]:53"));
        assert_eq!(of(&all, "192.0.2.1:54"), None);
    }
}
