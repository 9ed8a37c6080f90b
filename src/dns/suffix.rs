//! Longest-suffix look-up of names, for routes and special names.

use std::collections::HashMap;

use super::name::Name;

/// A map from domains to something, asked by names within them.
#[derive(Clone, Debug)]
pub struct SuffixMap<T> {
    domains: HashMap<Box<[u8]>, T, foldhash::fast::RandomState>,
    /// Bits of the top labels that domains have; most names end here.
    tops: u64,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> Self {
        SuffixMap { domains: HashMap::default(), tops: 0 }
    }
}

impl<T> SuffixMap<T> {
    /// Sets what `domain` and everything below it maps to, unless a longer domain says otherwise.
    pub fn insert(&mut self, domain: &Name, value: T) {
        self.tops |= if domain.is_root() { u64::MAX } else { top_bit(domain).0 };
        self.domains.insert(domain.as_wire().into(), value);
    }

    /// The value of the longest domain that `name` is within, with that domain's labels.
    pub fn find(&self, name: &Name) -> Option<(&T, usize)> {
        if self.domains.is_empty() {
            return None;
        }
        let (bit, mut labels) = top_bit(name);
        if self.tops & bit == 0 {
            return None;
        }
        let mut rest = name.as_wire();
        loop {
            if let Some(value) = self.domains.get(rest) {
                return Some((value, labels));
            }
            if rest[0] == 0 {
                return None;
            }
            rest = &rest[usize::from(rest[0]) + 1..];
            labels -= 1;
        }
    }
}

/// A bit for the top label, by its length and its first and last octet, and the number of labels.
#[inline]
fn top_bit(name: &Name) -> (u64, usize) {
    let wire = name.as_wire();
    let (mut at, mut top, mut labels) = (0, 0, 0);
    while wire[at] != 0 {
        top = at;
        at += 1 + usize::from(wire[at]);
        labels += 1;
    }
    if labels == 0 {
        return (u64::MAX, 0);
    }
    let (len, first, last) = (wire[top], wire[top + 1], wire[at - 1]);
    let mix =
        (u32::from(len) << 16 | u32::from(first) << 8 | u32::from(last)).wrapping_mul(0x9e37_79b1);
    (1 << (mix >> 26), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_domain_wins() {
        let mut map = SuffixMap::default();
        let name = |text: &str| text.parse::<Name>().unwrap();
        assert!(map.find(&name("a.test")).is_none());
        map.insert(&Name::ROOT, 0);
        map.insert(&name("corp.test"), 1);
        map.insert(&name("lab.corp.test"), 2);
        for (asked, value, labels) in [
            ("x.lab.corp.test", 2, 3),
            ("lab.corp.test", 2, 3),
            ("xlab.corp.test", 1, 2),
            ("test", 0, 0),
            (".", 0, 0),
        ] {
            assert_eq!(map.find(&name(asked)), Some((&value, labels)), "{asked}");
        }
    }
}
