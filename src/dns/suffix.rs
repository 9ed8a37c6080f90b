//! Longest-suffix look-up of names, for routes and special names.

use std::collections::HashMap;

use super::name::Name;

/// A map from domains to something, asked by names within them.
#[derive(Clone, Debug)]
pub struct SuffixMap<T> {
    domains: HashMap<Box<[u8]>, T, foldhash::fast::RandomState>,
}

impl<T> Default for SuffixMap<T> {
    fn default() -> Self {
        SuffixMap { domains: HashMap::default() }
    }
}

impl<T> SuffixMap<T> {
    /// Sets what `domain` and everything below it maps to, unless a longer domain says otherwise.
    pub fn insert(&mut self, domain: &Name, value: T) {
        self.domains.insert(domain.as_wire().into(), value);
    }

    /// The value of the longest domain that `name` is within, with that domain's labels.
    pub fn find(&self, name: &Name) -> Option<(&T, usize)> {
        if self.domains.is_empty() {
            return None;
        }
        let mut rest = name.as_wire();
        let mut labels = name.label_count();
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
