//! Notices that an address or a link of this host has changed (rtnetlink(7)).
//!
//! The messages are not parsed. Whoever is told asks for the whole list again, which is right
//! even when messages were lost.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Messages taken by one [`AddressWatch::drain`]; a storm of changes does not hold the caller.
const DRAIN_MAX: usize = 1024;

/// Becomes readable when a link or an IP address of this host appears, changes or goes.
///
/// It also does so when duplicate address detection ends, which is the moment from which a new
/// IPv6 address can be bound. Nothing is reported for the state at the time of opening.
#[derive(Debug)]
pub struct AddressWatch {
    socket: Socket,
}

impl AddressWatch {
    /// Subscribes to the kernel's notices. The socket is nonblocking and needs no privileges.
    ///
    /// # Errors
    /// From the kernel: no descriptor left, or a sandbox that forbids `AF_NETLINK`.
    pub fn open() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_ROUTE);
        let kind = Type::from(libc::SOCK_RAW).nonblocking();
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), kind, Some(protocol))?;
        socket.bind(&subscription()?)?;
        Ok(Self { socket })
    }

    /// Takes what has arrived, without waiting; true if there was anything.
    ///
    /// An overrun (`ENOBUFS`) counts as something: notices were lost, so something changed.
    ///
    /// # Errors
    /// Whatever else `recv` reports; the watch is then of no further use.
    pub fn drain(&self) -> io::Result<bool> {
        let mut arrived = false;
        for _ in 0..DRAIN_MAX {
            // The kernel drops the part of a message that does not fit.
            match self.socket.recv(&mut [MaybeUninit::uninit(); 16]) {
                Ok(_) => arrived = true,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => arrived = true,
                Err(e) => return Err(e),
            }
        }
        Ok(arrived)
    }
}

impl AsFd for AddressWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for AddressWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// The netlink address that means: any port, and the groups for links and addresses.
fn subscription() -> io::Result<SockAddr> {
    let groups = libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR;
    // SAFETY: (PLAIN, OWN-LENGTH) the storage is zeroed, large enough and aligned for every
    // socket address; it is filled as a `sockaddr_nl`, and the length is set to that type's.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let netlink = storage.cast::<libc::sockaddr_nl>();
            (*netlink).nl_family = libc::AF_NETLINK as libc::sa_family_t;
            (*netlink).nl_groups = groups as u32;
            *length = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            Ok(())
        })?
    };
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changing an address needs privileges, so the test only asks what was subscribed to.
    #[test]
    fn it_subscribes_to_links_and_addresses() {
        let watch = AddressWatch::open().unwrap();
        let bound = watch.socket.local_addr().unwrap();
        assert_eq!(libc::c_int::from(bound.family()), libc::AF_NETLINK);
        let mut storage = bound.as_storage();
        // SAFETY: (PLAIN) the family just checked says which struct this is.
        let netlink: &mut libc::sockaddr_nl = unsafe { storage.view_as() };
        assert_eq!(netlink.nl_groups, 0x1 | 0x10 | 0x100);
        assert!(watch.socket.nonblocking().unwrap());
    }

    /// Another program may be changing addresses right now, so the value is not asserted.
    #[test]
    fn draining_returns_at_once_without_an_error() {
        let watch = AddressWatch::open().unwrap();
        watch.drain().unwrap();
        assert_eq!(watch.as_fd().as_raw_fd(), watch.as_raw_fd());
    }
}
