//! Addresses of the file: listeners, access lists, upstream servers. Names are never looked up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::settings::Primary;
use super::spelling::{domain, quote};
use super::url;

/// An entry of `server.listen`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// Every address of the host, one by one, on this port.
    Interfaces(u16),
    /// One address, or one of the two wildcard addresses.
    Address(SocketAddr),
}

/// An entry of `server.allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allow {
    /// Clients within this prefix; its host bits are zero.
    Prefix(IpNet),
    /// The IPv6 prefixes of our own interfaces.
    OnLink,
    /// Everybody.
    Any,
}

impl Allow {
    /// True if the entry lets in a whole address family.
    pub(super) fn is_everybody(&self) -> bool {
        match self {
            Allow::Prefix(prefix) => prefix.prefix_len() == 0,
            Allow::OnLink => false,
            Allow::Any => true,
        }
    }
}

/// The address of an upstream server, whose port may come from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    socket: SocketAddr,
    has_port: bool,
}

impl Address {
    /// The address with its own port or, if it has none, with `port`.
    pub(super) fn with_default_port(mut self, port: u16) -> SocketAddr {
        if !self.has_port {
            self.socket.set_port(port);
        }
        self.socket
    }
}

/// Reads `IP`, `IP:PORT`, `[V6]` or `[V6%SCOPE]:PORT`.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = match (text.parse::<SocketAddr>(), bare.parse::<IpAddr>()) {
        (Ok(socket), _) => Address { socket, has_port: true },
        (_, Ok(ip)) => Address { socket: SocketAddr::new(ip, 0), has_port: false },
        _ if text.contains('%') => return Err(scope(text)),
        _ => {
            let cure = "write \"192.0.2.1\", \"192.0.2.1:5353\", \"2001:db8::1\" or \
                \"[2001:db8::1]:5353\"; names are not looked up";
            return Err(format!("{} is not an IP address; {cure}", quote(text)));
        }
    };
    if found.has_port && found.socket.port() == 0 {
        return Err(zero_port(text));
    }
    let ip = found.socket.ip().to_canonical();
    if ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
        return Err(format!("{} is not the address of one server", quote(text)));
    }
    Ok(found)
}

/// Port of zone transfers.
const TRANSFER_PORT: u16 = 53;
/// Port of zone transfers over TLS (RFC 9103 section 7.1).
const TLS_PORT: u16 = 853;

/// Reads a server that zones are transferred from: an address as [`address`] has it, or
/// `tls://ADDRESS#NAME` with the name on the server's certificate.
pub(super) fn primary(text: &str) -> Result<Primary, String> {
    let Some(rest) = text.strip_prefix("tls://") else {
        let address = numeric(text)?.with_default_port(TRANSFER_PORT);
        return Ok(Primary { address, tls_name: None });
    };
    let Some((address, name)) = rest.split_once('#') else {
        let cure = "write for example \"tls://192.0.2.53#dns.vendor.example\"";
        return Err(format!("the name on the server's certificate is missing; {cure}"));
    };
    let address = numeric(address)?.with_default_port(TLS_PORT);
    let wrong = |_| format!("{} is no name that a certificate could be for", quote(name));
    let tls_name = url::host_name(name).map_err(wrong)?;
    Ok(Primary { address, tls_name: Some(tls_name) })
}

/// The address of a primary; for a name it says why that will not do.
fn numeric(text: &str) -> Result<Address, String> {
    address(text).map_err(|message| match domain(text) {
        Ok(_) if text.contains('.') && text.bytes().any(|b| b.is_ascii_alphabetic()) => {
            let why = "names of primaries are not looked up, since policy must not depend on an \
                answer that it would have to judge";
            format!("{} is a name; write the primary's IP address: {why}", quote(text))
        }
        _ => message,
    })
}

/// Reads `interfaces:PORT`, `ADDR:PORT` or `[V6]:PORT`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(tail) = text.strip_prefix("interfaces") {
        let port = tail.strip_prefix(':').filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
        return match port.map(str::parse::<u16>) {
            Some(Ok(0)) => Err(zero_port(text)),
            Some(Ok(port)) => Ok(Listen::Interfaces(port)),
            _ => Err(format!("{} has no port; write \"interfaces:53\"", quote(text))),
        };
    }
    let cure = "write \"interfaces:53\", \"192.0.2.1:53\" or \"[2001:db8::1]:53\"";
    own_socket(text, cure).map(Listen::Address)
}

/// Reads the address of the status listener, or `off`.
pub(super) fn status(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    own_socket(text, "write \"127.0.0.1:8053\", \"[::1]:8053\" or \"off\"").map(Some)
}

/// Reads a prefix, an address, `onlink` or `any`.
pub(super) fn allow(text: &str) -> Result<Allow, String> {
    match text {
        "onlink" => return Ok(Allow::OnLink),
        "any" => return Ok(Allow::Any),
        _ => {}
    }
    let cure = "write a network (\"192.0.2.0/24\"), an address, \"onlink\" or \"any\"";
    network(text, cure).map(Allow::Prefix)
}

/// Reads the prefix or address of a group's clients. Clients that come to an IPv6 socket over
/// IPv4 are known by their IPv4 addresses, so that an IPv4 network in IPv6 form has no clients.
pub(super) fn clients(text: &str) -> Result<IpNet, String> {
    let network = network(text, "write a network (\"192.0.2.0/24\") or an address")?;
    let IpNet::V6(v6) = network else { return Ok(network) };
    match (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96)) {
        (Some(ip), Some(len)) => {
            let cure = format!("write \"{ip}/{len}\"");
            Err(format!("{} is an IPv4 network in IPv6 form; {cure}", quote(text)))
        }
        _ => Ok(network),
    }
}

/// Reads a prefix or an address; `cure` says what to write instead of something else.
fn network(text: &str, cure: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    let Ok(prefix) = text.parse::<IpNet>() else {
        return Err(format!("{} is not a network; {cure}", quote(text)));
    };
    let meant = prefix.trunc();
    if meant != prefix {
        let cure = "or the address alone for one client";
        let text = quote(text);
        return Err(format!("{text} has host bits set; write \"{meant}\", {cure}"));
    }
    Ok(prefix)
}

/// An address of an entry of `local.hosts`.
pub(super) fn host_address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_| {
        let cure = "write \"192.0.2.1\" or \"2001:db8::1\"";
        format!("{} is not an IP address; {cure}", quote(text))
    })
}

/// An address and a port to listen on.
fn own_socket(text: &str, cure: &str) -> Result<SocketAddr, String> {
    let Ok(socket) = text.parse::<SocketAddr>() else {
        return Err(match text.parse::<IpAddr>() {
            Ok(_) => format!("{} has no port; {cure}", quote(text)),
            Err(_) if text.contains('%') => scope(text),
            Err(_) => format!("{} is not an address with a port; {cure}", quote(text)),
        });
    };
    if socket.port() == 0 {
        return Err(zero_port(text));
    }
    if socket.ip().is_multicast() || socket.ip() == Ipv4Addr::BROADCAST {
        return Err(format!("{} is not the address of one host", quote(text)));
    }
    Ok(socket)
}

fn zero_port(text: &str) -> String {
    format!("{} has port 0; use 1 to 65535", quote(text))
}

fn scope(text: &str) -> String {
    let cure = "write the interface's number and a port: \"[fe80::1%2]:53\" (see `ip link`)";
    format!("{} has a scope that cannot be read; {cure}", quote(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_addresses() {
        for (text, port, socket) in [
            ("192.0.2.1", 443, "192.0.2.1:443"),
            ("192.0.2.1:53", 443, "192.0.2.1:53"),
            ("2001:db8::1", 53, "[2001:db8::1]:53"),
            ("[2001:db8::1]", 53, "[2001:db8::1]:53"),
            ("[2001:db8::1]:5353", 53, "[2001:db8::1]:5353"),
            ("[fe80::1%2]:53", 443, "[fe80::1%2]:53"),
        ] {
            let found = address(text).unwrap().with_default_port(port);
            assert_eq!(found.to_string(), socket);
        }
        for bad in [
            "",
            "dns.example",
            "192.0.2.1:",
            "192.0.2.1:0",
            "192.0.2.1:70000",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "255.255.255.255",
            "ff02::1",
            "::ffff:0.0.0.0",
            "192.0.2",
            "[::1",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
        assert!(address("fe80::1%eth0").unwrap_err().contains("number"));
        assert!(!address("https://h.example/secret").unwrap_err().contains("secret"));
    }

    #[test]
    fn listeners() {
        assert_eq!(listen("interfaces:53"), Ok(Listen::Interfaces(53)));
        let any = Listen::Address("0.0.0.0:53".parse().unwrap());
        assert_eq!(listen("0.0.0.0:53"), Ok(any));
        assert!(listen("[fe80::1%3]:53").is_ok());
        assert!(listen("192.0.2.1").unwrap_err().contains("no port"));
        assert!(listen("interfaces").unwrap_err().contains("interfaces:53"));
        assert!(listen("[fe80::1%eth0]:53").unwrap_err().contains("number"));
        for bad in ["", "interfaces:0", "interfaces:+5", "1.2.3.4:0", "ff02::1", "[ff02::1]:53"] {
            assert!(listen(bad).is_err(), "{bad}");
        }
        assert_eq!(status("off"), Ok(None));
        assert!(status("127.0.0.1:8053").unwrap().is_some() && status("on").is_err());
    }

    #[test]
    fn access_list() {
        let prefix = |text: &str| Ok(Allow::Prefix(text.parse().unwrap()));
        assert_eq!(allow("10.0.0.0/8"), prefix("10.0.0.0/8"));
        assert_eq!(allow("::1"), prefix("::1/128"));
        assert_eq!(allow("onlink"), Ok(Allow::OnLink));
        assert!(allow("10.1.2.3/8").unwrap_err().contains("write \"10.0.0.0/8\""));
        assert!(allow("10.0.0.0/33").is_err() && allow("lan").is_err());
        assert!(allow("0.0.0.0/0").unwrap().is_everybody() && allow("any").unwrap().is_everybody());
        assert!(!allow("::/1").unwrap().is_everybody());
    }

    #[test]
    fn clients_of_a_group() {
        for (text, network) in [
            ("192.168.50.0/24", "192.168.50.0/24"),
            ("10.0.0.7", "10.0.0.7/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::/0", "::/0"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(clients(text), Ok(network.parse().unwrap()));
        }
        assert!(clients("192.168.50.7/24").unwrap_err().contains("write \"192.168.50.0/24\""));
        let mapped = clients("::ffff:10.0.0.0/104").unwrap_err();
        assert!(mapped.contains("write \"10.0.0.0/8\""), "{mapped}");
        assert!(clients("::ffff:10.0.0.7").unwrap_err().contains("write \"10.0.0.7/32\""));
        for bad in ["", "any", "onlink", "lan", "10.0.0.0/33", "10.0.0.0/8/8", "10.0.0.1:53"] {
            assert!(clients(bad).unwrap_err().contains("or an address"), "{bad}");
        }
    }
}
