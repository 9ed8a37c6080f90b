//! Who holds an address that we want, in words, and what helps.

use std::net::SocketAddr;

use crate::sys::{self, PortOwner, Protocol, accounts};

/// Services with a port 53 of their own that a host with a relay can do without.
const RESOLVERS: [&str; 13] = [
    "named",
    "bind9",
    "unbound",
    "dnsmasq",
    "dnsdist",
    "pdns-recursor",
    "pdns",
    "kresd",
    "nsd",
    "knot",
    "dnscrypt-proxy",
    "smartdns",
    "coredns",
];
/// Services that answer their guests on networks of their own; those stop working without them.
const GUESTS: [&str; 7] =
    ["libvirtd", "virtnetworkd", "lxc-net", "lxd", "incus", "NetworkManager", "libvirt-guests"];

/// What to say if that is not known.
pub(super) const UNKNOWN: &str = "another program holds this port (see: ss -lnup, ss -lntp)";

/// Why `address` cannot be bound: who holds it, and the cure.
pub(super) fn in_words(address: SocketAddr, protocol: Protocol) -> String {
    match sys::port_owner(address, protocol) {
        Some(owner) => of(&owner, address, accounts::user_name(owner.uid)),
        None => UNKNOWN.to_owned(),
    }
}

fn of(owner: &PortOwner, wanted: SocketAddr, user: Option<String>) -> String {
    let place = if owner.address.ip() == wanted.ip() {
        "it".to_owned()
    } else {
        format!("it, by {}", owner.address)
    };
    let who = if is_culvert(owner) { "another culvert" } else { "another program" };
    format!("{who} holds {place}: {}; {}", name(owner, user), cure(owner, wanted))
}

fn name(owner: &PortOwner, user: Option<String>) -> String {
    let process = match (&owner.process, owner.pid) {
        (Some(name), Some(pid)) => Some(format!("process {name}, pid {pid}")),
        (None, Some(pid)) => Some(format!("pid {pid}")),
        _ => None,
    };
    match (&owner.unit, process) {
        (Some(unit), Some(process)) => format!("unit {unit} ({process})"),
        (Some(unit), None) => format!("unit {unit}"),
        (None, process) => {
            let user = user.unwrap_or_else(|| owner.uid.to_string());
            process.map_or(format!("a process of user {user}"), |p| format!("{p}, user {user}"))
        }
    }
}

fn is_culvert(owner: &PortOwner) -> bool {
    owner.process.as_deref() == Some("culvert") || stem(owner) == Some("culvert")
}

/// The unit's name without its instance and its kind.
fn stem(owner: &PortOwner) -> Option<&str> {
    owner.unit.as_deref()?.strip_suffix(".service")?.split('@').next()
}

fn cure(owner: &PortOwner, wanted: SocketAddr) -> String {
    let others = "or name other addresses in server.listen";
    let unit = owner.unit.as_deref().unwrap_or_default();
    match stem(owner) {
        Some("systemd-resolved") if wanted.ip().is_unspecified() => format!(
            "listen on \"interfaces:{}\" instead of the wildcard, which leaves it alone",
            wanted.port()
        ),
        Some("systemd-resolved") => {
            format!("set DNSStubListener=no in /etc/systemd/resolved.conf, {others}")
        }
        Some("connman") => format!("start connmand with --nodnsproxy, {others}"),
        Some(guests) if GUESTS.contains(&guests) => {
            "it serves guests of this host: name the addresses to use in server.listen".to_owned()
        }
        Some(stem) if stem == "culvert" || RESOLVERS.contains(&stem) => {
            format!("systemctl disable --now {unit}, {others}")
        }
        _ if unit == "init.scope" => {
            format!("a socket unit of systemd (see: systemctl list-sockets): disable it, {others}")
        }
        _ => format!("stop it, {others}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(address: &str, unit: Option<&str>, process: Option<&str>) -> PortOwner {
        PortOwner {
            address: address.parse().unwrap(),
            uid: 101,
            unit: unit.map(str::to_owned),
            pid: process.map(|_| 612),
            process: process.map(str::to_owned),
        }
    }

    fn words(owner: &PortOwner, wanted: &str) -> String {
        of(owner, wanted.parse().unwrap(), Some("bind".to_owned()))
    }

    #[test]
    fn the_holder_is_named_with_what_is_known() {
        let named = owner("192.0.2.1:53", Some("named.service"), Some("named"));
        assert_eq!(
            words(&named, "192.0.2.1:53"),
            "another program holds it: unit named.service (process named, pid 612); systemctl \
             disable --now named.service, or name other addresses in server.listen"
        );
        let hidden = PortOwner { process: None, pid: None, ..named };
        assert!(words(&hidden, "192.0.2.1:53").contains("it: unit named.service; systemctl"));
        let stranger = owner("0.0.0.0:53", None, Some("python3"));
        assert_eq!(
            words(&stranger, "192.0.2.1:53"),
            "another program holds it, by 0.0.0.0:53: process python3, pid 612, user bind; stop \
             it, or name other addresses in server.listen"
        );
        let nobody = owner("192.0.2.1:53", None, None);
        assert!(words(&nobody, "192.0.2.1:53").contains("it: a process of user bind; stop it"));
    }

    #[test]
    fn each_known_holder_has_its_cure() {
        let cure = |unit: &str, wanted: &str| words(&owner(wanted, Some(unit), None), wanted);
        let stub = owner("127.0.0.53:53", Some("systemd-resolved.service"), None);
        assert!(words(&stub, "0.0.0.0:53").contains("\"interfaces:53\" instead of the wildcard"));
        assert!(cure("kresd@1.service", "[::1]:53").contains("disable --now kresd@1.service"));
        assert!(cure("libvirtd.service", "192.168.122.1:53").contains("serves guests"));
        assert!(cure("init.scope", "[::1]:53").contains("systemctl list-sockets"));
        assert!(cure("docker-12ab.scope", "[::1]:53").contains("stop it, or name"));
        assert!(cure("culvert.service", "[::1]:53").starts_with("another culvert holds it"));
    }
}
