//! The matcher for addresses: one frozen table answers, for up to 64 zones at once, which
//! prefix of each zone is the longest over an address. The CLIENT-IP, IP and NSIP triggers
//! each have such a table.
//!
//! ```text
//!   192.0.2.7                                        2001:db8::7
//!        │                                                │
//!        ▼                                                ▼
//!   IPv4 tree                                        IPv6 tree        tree.rs
//!   index    by the first bits in which the prefixes differ
//!        ▼
//!   starts   sorted; the last one not above the address
//!        ▼
//!   entry    does not cover it? ─► its parent, the nearest prefix around it, and so on
//!        ▼
//!   class    two zone masks: has this very prefix, has it or one around it
//!        ▼
//!   action   of the entry; zones that differ have theirs in a spill list
//!
//!   build: rules sorted, first one of a zone and prefix kept, parents from a stack  build.rs
//!   precedence: which of two prefixes wins that one answer hits                     tie.rs
//! ```
//!
//! Prefixes are nested or apart, never half across each other. So every prefix over an
//! address is an ancestor of the last entry that starts at or before it, or that entry
//! itself; going up the parents meets them all, the longest first, at most 33 of them for
//! IPv4 and 129 for IPv6.
//!
//! The two families never meet: `::ffff:192.0.2.7` is looked up among IPv6 prefixes only.

mod build;
mod tie;
mod tree;

#[cfg(test)]
mod tests;

pub use tie::precedence;

use super::names::{ActionCode, MAX_ZONES};
use build::Builder;
use ipnet::IpNet;
use std::net::IpAddr;
use tree::Tree;

/// A rule that covers an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// The rule's prefix, its host bits zero.
    pub prefix: IpNet,
    /// What was stored with the rule.
    pub action: ActionCode,
}

/// Which prefixes of each zone cover an address, for all zones at once. Immutable; a
/// look-up takes no lock and no memory from the heap.
#[derive(Clone)]
pub struct PrefixTable {
    v4: Tree<u32>,
    v6: Tree<u128>,
}

impl PrefixTable {
    /// A table without rules.
    pub fn empty() -> PrefixTable {
        PrefixTable { v4: Tree::empty(), v6: Tree::empty() }
    }

    /// Builds a table from rules: zone, prefix, action. Host bits of a prefix do not count.
    ///
    /// The first rule of a zone and prefix wins. `refused` is called for each rule that is
    /// not taken: a later one of the same zone and prefix, one whose zone is not below
    /// [`MAX_ZONES`], and any beyond `u32::MAX` rules of a family. The calls come in no
    /// particular order.
    pub fn build(
        rules: impl Iterator<Item = (u8, IpNet, ActionCode)>,
        refused: &mut dyn FnMut(u8, &IpNet),
    ) -> PrefixTable {
        let (mut v4, mut v6) = (Builder::new(), Builder::new());
        for (zone, prefix, action) in rules {
            let taken = zone < MAX_ZONES
                && match prefix {
                    IpNet::V4(net) => {
                        v4.add(net.network().to_bits(), net.prefix_len(), zone, action)
                    }
                    IpNet::V6(net) => {
                        v6.add(net.network().to_bits(), net.prefix_len(), zone, action)
                    }
                };
            if !taken {
                refused(zone, &prefix);
            }
        }
        PrefixTable { v4: v4.freeze(refused), v6: v6.freeze(refused) }
    }

    /// The zones that have some rule over `address`. Bit n is zone n.
    #[inline]
    pub fn zones(&self, address: IpAddr) -> u64 {
        match address {
            IpAddr::V4(address) => self.v4.zones(address.to_bits()),
            IpAddr::V6(address) => self.v6.zones(address.to_bits()),
        }
    }

    /// The rule of `zone` with the longest prefix over `address`.
    #[inline]
    pub fn longest(&self, zone: u8, address: IpAddr) -> Option<PrefixRule> {
        let (len, action) = match address {
            IpAddr::V4(address) => self.v4.longest(zone, address.to_bits()),
            IpAddr::V6(address) => self.v6.longest(zone, address.to_bits()),
        }?;
        let prefix = IpNet::new(address, len).ok()?.trunc();
        Some(PrefixRule { prefix, action })
    }

    /// The action of the rule that `zone` has for just this prefix. Host bits of `prefix`
    /// do not count.
    pub fn get(&self, zone: u8, prefix: &IpNet) -> Option<ActionCode> {
        let len = prefix.prefix_len();
        match prefix {
            IpNet::V4(net) => self.v4.get(zone, net.network().to_bits(), len),
            IpNet::V6(net) => self.v6.get(zone, net.network().to_bits(), len),
        }
    }

    /// The zones that have any rule. Bit n is zone n.
    #[inline]
    pub fn present(&self) -> u64 {
        self.v4.present() | self.v6.present()
    }

    /// True if no zone has a rule.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.present() == 0
    }

    /// Distinct prefixes of both families; several zones may have rules for one.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Memory of the table, in octets.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.v4.heap() + self.v6.heap()
    }
}
