//! The two ends of a datagram in the kernel's byte form: socket addresses and packet info.
//!
//! A server on a wildcard address has to answer from the address that was asked, or the client
//! drops the reply (RFC 2181 section 4.1). Linux tells that address in a control message and
//! takes it back in one (ip(7) `IP_PKTINFO`; RFC 3542 section 6 for IPv6).
//!
//! All of this is plain byte handling in safe code; only `mmsg` shows these bytes to the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Local end of a datagram: where it was sent to; replies leave from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Destination address of the datagram, or `None` if the kernel did not tell. It may be a
    /// broadcast or multicast address; a reply then leaves from the kernel's own choice.
    pub addr: Option<IpAddr>,
    /// Index of the interface it came in on; 0 if unknown.
    pub interface: u32,
}

impl Local {
    /// Lets the kernel choose the source address and the interface.
    pub const ANY: Self = Self { addr: None, interface: 0 };
}

/// Bytes of the larger of `sockaddr_in` and `sockaddr_in6`, aligned for both.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct PeerBytes([u8; Self::SIZE]);

impl PeerBytes {
    /// Size of `sockaddr_in6`; `sockaddr_in` is shorter.
    pub(super) const SIZE: usize = 28;
    const V4_SIZE: usize = 16;

    pub(super) const EMPTY: Self = Self([0; Self::SIZE]);

    /// The kernel's form of `peer`, and how many of the bytes count.
    pub(super) fn encode(peer: SocketAddr) -> (Self, usize) {
        let mut bytes = [0; Self::SIZE];
        bytes[2..4].copy_from_slice(&peer.port().to_be_bytes());
        let (family, size) = match peer {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, Self::V4_SIZE)
            }
            SocketAddr::V6(v6) => {
                bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, Self::SIZE)
            }
        };
        bytes[0..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        (Self(bytes), size)
    }

    /// Reads the address from the first `used` bytes; `None` if it is not an IP socket address.
    pub(super) fn decode(&self, used: usize) -> Option<SocketAddr> {
        let bytes = self.0.get(..used)?;
        let family = libc::c_int::from(u16::from_ne_bytes(field(bytes, 0)?));
        let port = u16::from_be_bytes(field(bytes, 2)?);
        match family {
            libc::AF_INET => {
                let ip = Ipv4Addr::from(field::<4>(bytes, 4)?);
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let flow = u32::from_ne_bytes(field(bytes, 4)?);
                let ip = Ipv6Addr::from(field::<16>(bytes, 8)?);
                let scope = u32::from_ne_bytes(field(bytes, 24)?);
                Some(SocketAddrV6::new(ip, port, flow, scope).into())
            }
            _ => None,
        }
    }
}

/// Room for the control messages of one datagram, aligned as `struct cmsghdr` wants it.
///
/// Packet info needs 32 (IPv4) or 40 (IPv6) bytes on 64-bit machines; the rest is for messages
/// that something else may have switched on for an inherited socket.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct ControlBytes([u8; Self::SIZE]);

/// Size of the kernel's `struct cmsghdr`: length (one machine word), level, type.
const HEADER: usize = size_of::<usize>() + 8;

impl ControlBytes {
    pub(super) const SIZE: usize = 64;

    pub(super) const EMPTY: Self = Self([0; Self::SIZE]);

    /// The control message that makes a reply to `to` leave from `from`, and its length.
    ///
    /// The length is 0, which means no message, if `from` is not an address that a packet of that
    /// family can come from. The interface is named only for IPv6 link-local addresses: anywhere
    /// else the routing table knows better, for example where the way back differs.
    pub(super) fn encode(to: SocketAddr, from: Local) -> (Self, usize) {
        match (to, from.addr) {
            (SocketAddr::V4(_), Some(IpAddr::V4(ip))) if is_source_v4(ip) => {
                // struct in_pktinfo: interface, source address, (unused when sending)
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                Self::message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info)
            }
            (SocketAddr::V6(_), Some(IpAddr::V6(ip))) if is_source_v6(ip) => {
                // struct in6_pktinfo: source address, interface
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                if ip.is_unicast_link_local() {
                    info[16..].copy_from_slice(&from.interface.to_ne_bytes());
                }
                Self::message(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info)
            }
            _ => (Self::EMPTY, 0),
        }
    }

    /// Finds the packet info among the first `used` bytes.
    pub(super) fn decode(&self, used: usize) -> Local {
        let mut rest = &self.0[..used.min(Self::SIZE)];
        while let Some(length) = field(rest, 0).map(usize::from_ne_bytes) {
            if length < HEADER || length > rest.len() {
                break;
            }
            if let Some(local) = packet_info(&rest[..length]) {
                return local;
            }
            rest = &rest[align(length).min(rest.len())..];
        }
        Local::ANY
    }

    /// One control message and its length with padding.
    fn message(level: libc::c_int, kind: libc::c_int, data: &[u8]) -> (Self, usize) {
        const LEVEL: usize = size_of::<usize>();
        let length = HEADER + data.len();
        let mut bytes = [0; Self::SIZE];
        bytes[..LEVEL].copy_from_slice(&length.to_ne_bytes());
        bytes[LEVEL..LEVEL + 4].copy_from_slice(&level.to_ne_bytes());
        bytes[LEVEL + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        bytes[HEADER..length].copy_from_slice(data);
        (Self(bytes), align(length))
    }
}

/// Reads one control message; `None` if it is about something else.
fn packet_info(message: &[u8]) -> Option<Local> {
    let level = libc::c_int::from_ne_bytes(field(message, size_of::<usize>())?);
    let kind = libc::c_int::from_ne_bytes(field(message, size_of::<usize>() + 4)?);
    let data = message.get(HEADER..)?;
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let interface = u32::from_ne_bytes(field(data, 0)?);
            // The last field is the destination in the packet's header. The one before it is the
            // kernel's proposal for the source, which differs for broadcasts.
            let addr = Ipv4Addr::from(field::<4>(data, 8)?);
            Some(Local { addr: Some(addr.into()), interface })
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let addr = Ipv6Addr::from(field::<16>(data, 0)?);
            let interface = u32::from_ne_bytes(field(data, 16)?);
            Some(Local { addr: Some(addr.into()), interface })
        }
        _ => None,
    }
}

/// The `N` bytes at `start`, if there are that many.
fn field<const N: usize>(bytes: &[u8], start: usize) -> Option<[u8; N]> {
    bytes.get(start..)?.first_chunk().copied()
}

/// Rounds a control message's length up to where the next one starts.
const fn align(length: usize) -> usize {
    length.next_multiple_of(size_of::<usize>())
}

fn is_source_v4(ip: Ipv4Addr) -> bool {
    !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast()
}

fn is_source_v6(ip: Ipv6Addr) -> bool {
    !ip.is_unspecified() && !ip.is_multicast()
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    fn local(addr: &str, interface: u32) -> Local {
        Local { addr: Some(addr.parse().unwrap()), interface }
    }

    #[test]
    fn the_layouts_are_those_of_the_c_structs() {
        assert_eq!(PeerBytes::SIZE, size_of::<libc::sockaddr_in6>());
        assert_eq!(PeerBytes::V4_SIZE, size_of::<libc::sockaddr_in>());
        assert!(align_of::<PeerBytes>() >= align_of::<libc::sockaddr_in6>());
        assert_eq!(offset_of!(libc::sockaddr_in, sin_addr), 4);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_addr), 8);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_scope_id), 24);

        assert_eq!(HEADER, size_of::<libc::cmsghdr>());
        assert_eq!(offset_of!(libc::cmsghdr, cmsg_level), size_of::<usize>());
        assert!(align_of::<ControlBytes>() >= align_of::<libc::cmsghdr>());
        assert_eq!(size_of::<libc::in_pktinfo>(), 12);
        assert_eq!(offset_of!(libc::in_pktinfo, ipi_spec_dst), 4);
        assert_eq!(offset_of!(libc::in_pktinfo, ipi_addr), 8);
        assert_eq!(size_of::<libc::in6_pktinfo>(), 20);
        assert_eq!(offset_of!(libc::in6_pktinfo, ipi6_ifindex), 16);
    }

    #[test]
    fn a_socket_address_survives_both_ways() {
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 5353, 7, 3);
        for peer in ["192.0.2.7:53".parse().unwrap(), SocketAddr::V6(scoped)] {
            let (bytes, used) = PeerBytes::encode(peer);
            assert_eq!(bytes.decode(used), Some(peer));
            assert_eq!(used, socket2::SockAddr::from(peer).len() as usize);
            assert_eq!(bytes.decode(7), None, "cut inside the address");
            assert_eq!(bytes.decode(0), None, "no sender");
            assert_eq!(bytes.decode(PeerBytes::SIZE + 1), None, "longer than the buffer");
        }
        assert_eq!(PeerBytes::EMPTY.decode(PeerBytes::SIZE), None, "unknown family");
    }

    #[test]
    fn only_a_unicast_address_of_the_same_family_becomes_the_source() {
        let v4 = "192.0.2.7:53".parse().unwrap();
        let v6 = "[2001:db8::7]:53".parse().unwrap();
        assert_eq!(ControlBytes::encode(v4, local("192.0.2.1", 2)).1, align(HEADER + 12));
        assert_eq!(ControlBytes::encode(v6, local("2001:db8::1", 2)).1, align(HEADER + 20));
        for not_ours in ["255.255.255.255", "224.0.0.251", "0.0.0.0", "2001:db8::1"] {
            assert_eq!(ControlBytes::encode(v4, local(not_ours, 2)).1, 0, "{not_ours}");
        }
        for not_ours in ["ff02::fb", "::", "192.0.2.1"] {
            assert_eq!(ControlBytes::encode(v6, local(not_ours, 2)).1, 0, "{not_ours}");
        }
        assert_eq!(ControlBytes::encode(v4, Local::ANY).1, 0);
    }

    #[test]
    fn the_interface_is_named_for_link_local_addresses_only() {
        let to = "[2001:db8::7]:53".parse().unwrap();
        let (bytes, used) = ControlBytes::encode(to, local("fe80::1", 2));
        assert_eq!(bytes.decode(used), local("fe80::1", 2));
        let (bytes, used) = ControlBytes::encode(to, local("2001:db8::1", 2));
        assert_eq!(bytes.decode(used), local("2001:db8::1", 0));
    }

    #[test]
    fn packet_info_is_found_behind_another_message() {
        let (first, first_len) = ControlBytes::message(libc::SOL_SOCKET, 99, &[1; 5]);
        let info = [2, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 255];
        let (second, second_len) = ControlBytes::message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        let mut both = first;
        both.0[first_len..first_len + second_len].copy_from_slice(&second.0[..second_len]);
        let interface = u32::from_ne_bytes([2, 0, 0, 0]);
        assert_eq!(both.decode(first_len + second_len), local("192.0.2.255", interface));
        assert_eq!(both.decode(first_len), Local::ANY);
    }

    #[test]
    fn broken_control_bytes_are_no_packet_info() {
        let info = [0; 12];
        let (good, used) = ControlBytes::message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        for length in [0, 1, HEADER - 1, ControlBytes::SIZE + 1, usize::MAX] {
            let mut bytes = good;
            bytes.0[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(bytes.decode(used), Local::ANY, "length {length}");
            assert_eq!(bytes.decode(usize::MAX), Local::ANY, "length {length}");
        }
        let (short, used) = ControlBytes::message(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0; 11]);
        assert_eq!(short.decode(used - 1), Local::ANY, "data cut");
    }
}
