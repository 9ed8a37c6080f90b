//! Stand-in.
use ipnet::IpNet;
use std::net::IpAddr;
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    pub prefix: IpNet,
    pub action: u32,
}
#[derive(Clone, Default)]
pub struct PrefixTable(Vec<(u8, IpNet, u32)>);
impl PrefixTable {
    pub fn build(
        rules: impl Iterator<Item = (u8, IpNet, u32)>,
        refused: &mut dyn FnMut(u8, &IpNet),
    ) -> PrefixTable {
        let mut out = PrefixTable::default();
        for r in rules {
            if out.0.iter().any(|o| o.0 == r.0 && o.1 == r.1) {
                refused(r.0, &r.1)
            } else {
                out.0.push(r)
            }
        }
        out
    }
    pub fn zones(&self, a: IpAddr) -> u64 {
        self.0.iter().filter(|r| r.1.contains(&a)).fold(0, |m, r| m | 1 << r.0)
    }
    pub fn longest(&self, zone: u8, a: IpAddr) -> Option<PrefixRule> {
        self.0
            .iter()
            .filter(|r| r.0 == zone && r.1.contains(&a))
            .max_by_key(|r| r.1.prefix_len())
            .map(|r| PrefixRule { prefix: r.1, action: r.2 })
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn bytes(&self) -> usize {
        0
    }
}
pub fn precedence(a: &IpNet, b: &IpNet) -> std::cmp::Ordering {
    b.prefix_len().cmp(&a.prefix_len())
}
