//! Who may ask: one check at one place, for every transport.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The networks whose clients are served. Look-up is a binary search in disjoint ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
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
        let v4 = Ipv4Net::aggregate(&v4);
        let v6 = Ipv6Net::aggregate(&v6);
        Acl {
            v4: v4.iter().map(|n| (n.network().to_bits(), n.broadcast().to_bits())).collect(),
            v6: v6.iter().map(|n| (n.network().to_bits(), n.broadcast().to_bits())).collect(),
        }
    }

    /// A permit if `client` is in one of the networks. IPv4 addresses must not be mapped ones.
    pub fn admit(&self, client: IpAddr) -> Option<Permit> {
        let admitted = match client {
            IpAddr::V4(ip) => within(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => within(&self.v6, ip.to_bits()),
        };
        admitted.then_some(Permit(()))
    }
}

/// True if one of the ranges, sorted and disjoint, holds `ip`.
fn within<T: Ord + Copy>(ranges: &[(T, T)], ip: T) -> bool {
    let i = ranges.partition_point(|(first, _)| *first <= ip);
    i > 0 && ip <= ranges[i - 1].1
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
