//! Who may ask: one check at one place, for every transport.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The networks whose clients are served. Look-up is a binary search in disjoint ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    v4: Vec<Ipv4Net>,
    v6: Vec<Ipv6Net>,
}

/// Proof that a client passed the access list; the road's later steps ask for it.
#[derive(Clone, Copy, Debug)]
pub struct Permit(());

impl Acl {
    /// An access list of these networks.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Acl {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network {
                IpNet::V4(n) => v4.push(n),
                IpNet::V6(n) => v6.push(n),
            }
        }
        // aggregation leaves sorted, disjoint networks
        Acl { v4: Ipv4Net::aggregate(&v4), v6: Ipv6Net::aggregate(&v6) }
    }

    /// A permit if `client` is in one of the networks. IPv4 addresses must not be mapped ones.
    pub fn admit(&self, client: IpAddr) -> Option<Permit> {
        let admitted = match client {
            IpAddr::V4(ip) => {
                let i = self.v4.partition_point(|n| n.network() <= ip);
                i > 0 && self.v4[i - 1].contains(&ip)
            }
            IpAddr::V6(ip) => {
                let i = self.v6.partition_point(|n| n.network() <= ip);
                i > 0 && self.v6[i - 1].contains(&ip)
            }
        };
        admitted.then_some(Permit(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_networks_and_both_families() {
        let nets =
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "fc00::/7", "::1/128", "9.0.0.0/9"];
        let acl = Acl::new(nets.map(|n| n.parse().unwrap()));
        for (ip, inside) in [
            ("10.0.0.0", true),
            ("10.1.2.3", true),
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("9.127.255.255", true),
            ("9.128.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("fd00::1", true),
            ("fe80::1", false),
            ("::1", true),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(acl.admit(ip.parse().unwrap()).is_some(), inside, "{ip}");
        }
        assert!(Acl::default().admit("127.0.0.1".parse().unwrap()).is_none());
    }
}
