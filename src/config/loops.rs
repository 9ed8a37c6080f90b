//! An upstream that is our own listener would turn one query into an endless loop; likewise two
//! listeners of ours must not want the same socket.

use std::net::{IpAddr, SocketAddr};

use super::address::Listen;
use super::fault::Fault;
use super::settings::Settings;

/// An upstream address and the fault it would be, ready for the daemon's check at its start.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) socket: SocketAddr,
    /// File, position and key of the address; the message is that of a loop.
    pub(super) fault: Fault,
}

/// What to say about an upstream that is our own listener.
pub(super) const LOOP: &str =
    "this is one of our own listeners: queries would go round in circles; name another server";

impl Settings {
    /// Faults for upstreams that are our own listeners by way of an address of this host.
    ///
    /// `load` finds only what the file alone shows. The daemon, which knows the addresses of the
    /// host's interfaces, asks again with them at each start and reload.
    pub fn own_address_faults(&self, host_addresses: &[IpAddr]) -> Vec<Fault> {
        let own = |ip: IpAddr| host_addresses.iter().any(|host| host.to_canonical() == ip);
        let looped = |place: &&Place| {
            let ip = place.socket.ip().to_canonical();
            own(ip) && self.server.listen.iter().any(|entry| holds(entry, place.socket.port(), ip))
        };
        self.places.iter().filter(looped).map(|place| place.fault.clone()).collect()
    }
}

/// True if the listener receives what is sent to `ip`, an address of this host, and `port`.
fn holds(listen: &Listen, port: u16, ip: IpAddr) -> bool {
    match listen {
        Listen::Interfaces(own) => *own == port,
        Listen::Address(own) => {
            let own_ip = own.ip().to_canonical();
            own.port() == port && (own_ip == ip || own_ip.is_unspecified())
        }
    }
}

/// True if the file alone shows that the listener is at `socket`.
pub(super) fn is_own(listen: &Listen, socket: &SocketAddr) -> bool {
    let ip = socket.ip().to_canonical();
    let same = matches!(listen, Listen::Address(own) if own.ip().to_canonical() == ip);
    (same || ip.is_loopback()) && holds(listen, socket.port(), ip)
}

/// True if the listener and a second one of ours at `socket` would want the same TCP port.
pub(super) fn collides(listen: &Listen, socket: &SocketAddr) -> bool {
    let wildcard = socket.ip().is_unspecified();
    let port = match listen {
        Listen::Interfaces(port) => *port,
        Listen::Address(own) => own.port(),
    };
    is_own(listen, socket) || (wildcard && port == socket.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_listeners() {
        let at = |text: &str| Listen::Address(text.parse().unwrap());
        for (listen, socket, own) in [
            (at("192.0.2.1:53"), "192.0.2.1:53", true),
            (at("192.0.2.1:53"), "192.0.2.1:54", false),
            (at("192.0.2.1:53"), "192.0.2.2:53", false),
            (at("192.0.2.1:53"), "[::ffff:192.0.2.1]:53", true),
            (at("0.0.0.0:53"), "127.0.0.1:53", true),
            (at("[::]:53"), "[::1]:53", true),
            (at("0.0.0.0:53"), "127.0.0.1:5353", false),
            (at("0.0.0.0:53"), "192.0.2.1:53", false),
            (at("127.0.0.1:53"), "127.0.0.2:53", false),
            (Listen::Interfaces(53), "127.0.0.1:53", true),
            (Listen::Interfaces(53), "[::1]:53", true),
            (Listen::Interfaces(53), "127.0.0.1:5353", false),
            (Listen::Interfaces(53), "192.0.2.1:53", false),
        ] {
            assert_eq!(is_own(&listen, &socket.parse().unwrap()), own, "{listen:?} {socket}");
        }
        assert!(collides(&Listen::Interfaces(53), &"0.0.0.0:53".parse().unwrap()));
        assert!(!collides(&Listen::Interfaces(53), &"127.0.0.1:8053".parse().unwrap()));
    }
}
