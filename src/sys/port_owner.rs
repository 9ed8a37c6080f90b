//! Who holds a port: asked of the kernel, without any privilege.
//!
//! ```text
//!   sock_diag(7) ─► the socket: its address, user, inode, cgroup's id
//!                      cgroup's id = inode of a folder of the cgroup2 mount
//!                          └─► its path names the systemd unit, its cgroup.procs the processes
//!                      inode ─► the process that has it open, where /proc shows that
//! ```
//!
//! A sandbox hides other processes (`ProtectProc=`), but neither sockets nor cgroups: a daemon
//! of its own user still learns the unit. Everything is bounded; what cannot be found out is
//! left out.

mod cgroup;
mod diag;

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// All looking together takes no longer.
const LOOK: Duration = Duration::from_millis(300);
/// Open files that are looked at in search of the socket.
const FILES_MAX: usize = 65_536;
/// Longest name of a process or unit that is shown, in characters.
const SHOWN_MAX: usize = 64;

/// The two protocols with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// UDP.
    Udp,
    /// TCP; only listening sockets count.
    Tcp,
}

impl Protocol {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        }
    }
}

/// Who holds a port, as far as it could be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortOwner {
    /// The address its socket is bound to, perhaps the wildcard.
    pub address: SocketAddr,
    /// Number of its user.
    pub uid: u32,
    /// The systemd unit it runs in.
    pub unit: Option<String>,
    /// Number of its process.
    pub pid: Option<u32>,
    /// Name of its process, as the process has it.
    pub process: Option<String>,
}

/// Who holds a port so that nobody else can bind `address`; `None` if that cannot be found out.
/// Takes at most about 300 ms.
pub fn port_owner(address: SocketAddr, protocol: Protocol) -> Option<PortOwner> {
    let end = Instant::now() + LOOK;
    let held = diag::in_the_way(&diag::sockets(address.port(), protocol).ok()?, address)?;
    let group = held.cgroup.and_then(|id| cgroup::find(id, end));
    let members = group.as_ref().map(|group| group.processes()).unwrap_or_default();
    let pid = holder(&members, held.inode, end).or_else(|| match members[..] {
        [only] => Some(only),
        // without its cgroup the socket may be anybody's
        [] => holder(&all_processes(), held.inode, end),
        _ => None,
    });
    Some(PortOwner {
        address: held.address,
        uid: held.uid,
        unit: group.and_then(|group| group.unit()),
        pid,
        process: pid.and_then(name_of),
    })
}

/// The process among these that has the socket open.
fn holder(pids: &[u32], inode: u32, end: Instant) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let mut files = 0;
    pids.iter().copied().find(|pid| {
        // a process that is gone by now, or hidden, is not the one
        let Ok(folder) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        folder.flatten().any(|entry| {
            files += 1;
            files <= FILES_MAX
                && Instant::now() < end
                && fs::read_link(entry.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str())
        })
    })
}

fn all_processes() -> Vec<u32> {
    let folder = fs::read_dir("/proc").into_iter().flatten().flatten();
    folder.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn name_of(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    shown(name.trim_end_matches('\n'))
}

/// The text if it can be shown to people; its own process chose it.
fn shown(text: &str) -> Option<String> {
    let plain = text.chars().all(|c| !c.is_control()) && text.chars().count() <= SHOWN_MAX;
    (plain && !text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    /// The kernel of the machine that tests run on has sock_diag.
    #[test]
    fn our_own_sockets_are_found() {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("[::1]:0").unwrap();
        let held = [
            (udp.local_addr().unwrap(), Protocol::Udp),
            (tcp.local_addr().unwrap(), Protocol::Tcp),
        ];
        for (address, protocol) in held {
            let owner = port_owner(address, protocol).unwrap();
            assert_eq!((owner.address, owner.pid), (address, Some(std::process::id())));
            assert!(owner.process.is_some());
        }
        let free = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(port_owner(free, Protocol::Tcp), None);
    }

    #[test]
    fn names_that_would_disturb_a_terminal_are_not_shown() {
        assert_eq!(shown("named").as_deref(), Some("named"));
        assert_eq!((shown("x\u{1b}[2J"), shown(""), shown(&"x".repeat(65))), (None, None, None));
    }
}
