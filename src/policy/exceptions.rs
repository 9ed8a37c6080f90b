//! Exceptions: names that an operator let through or blocked by hand, ahead of every zone.
//!
//! Among the exceptions for a name and those for names above it, the nearest name wins; at one
//! name, the one with the narrowest scope of clients, then the newest.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::action::Action;
use crate::dns::name::Name;

/// The zone name under which exceptions are shown and logged.
pub const ZONE: &str = "exceptions.culvert";

/// What an exception does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The truth, whatever the zones say.
    Allow,
    /// The name does not exist.
    Block,
}

impl Verdict {
    /// The action of a rule that does the same.
    pub fn action(self) -> Action {
        match self {
            Verdict::Allow => Action::Passthru,
            Verdict::Block => Action::Nxdomain,
        }
    }
}

/// One exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its number: unique, never used again.
    pub id: u64,
    /// What it does.
    pub verdict: Verdict,
    /// The name it is for.
    pub name: Name,
    /// It holds for names below `name` too.
    pub subtree: bool,
    /// The clients it is for; `None`: everybody.
    pub clients: Option<IpNet>,
    /// Who made it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was made: wall time in milliseconds since 1970.
    pub since: u64,
    /// When it ends: wall time in milliseconds since 1970; `None`: never.
    pub until: Option<u64>,
}

/// All exceptions of one generation.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    list: Vec<Arc<Exception>>,
    scopes: bool,
    by_name: HashMap<Name, Vec<Arc<Exception>>, foldhash::fast::RandomState>,
}

impl Exceptions {
    /// These exceptions.
    pub fn new(list: Vec<Arc<Exception>>) -> Exceptions {
        let mut by_name: HashMap<Name, Vec<Arc<Exception>>, _> = HashMap::default();
        for exception in &list {
            by_name.entry(exception.name).or_default().push(Arc::clone(exception));
        }
        for here in by_name.values_mut() {
            let width = |e: &Exception| e.clients.map_or(0, |net| 1 + u32::from(net.prefix_len()));
            here.sort_by_key(|e| std::cmp::Reverse((width(e), e.since, e.id)));
        }
        let scopes = list.iter().any(|exception| exception.clients.is_some());
        Exceptions { list, scopes, by_name }
    }

    /// True if one of them is for some clients only.
    #[inline]
    pub fn has_scopes(&self) -> bool {
        self.scopes
    }

    /// All of them, in the order they were given.
    pub fn list(&self) -> &[Arc<Exception>] {
        &self.list
    }

    /// True if there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// When the first of them ends: wall time in milliseconds since 1970.
    pub fn next_end(&self) -> Option<u64> {
        self.list.iter().filter_map(|exception| exception.until).min()
    }

    /// The exception that decides for a name and a client.
    pub fn find(&self, name: &Name, client: IpAddr) -> Option<&Arc<Exception>> {
        self.matching(name, client).next()
    }

    /// The exceptions that hold for a name and a client; the first one decides.
    pub fn matching(
        &self,
        name: &Name,
        client: IpAddr,
    ) -> impl Iterator<Item = &Arc<Exception>> + use<'_> {
        let (name, labels) = (*name, name.label_count());
        let kept = if self.list.is_empty() { 0 } else { labels + 1 };
        (0..kept).rev().flat_map(move |kept| {
            let here = self.by_name.get(&name.suffix(kept)).map_or(&[][..], Vec::as_slice);
            here.iter().filter(move |exception| {
                (kept == labels || exception.subtree)
                    && exception.clients.is_none_or(|net| net.contains(&client))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(id: u64, verdict: Verdict, name: &str, clients: Option<&str>) -> Arc<Exception> {
        Arc::new(Exception {
            id,
            verdict,
            name: name.trim_start_matches('=').parse().unwrap(),
            subtree: !name.starts_with('='),
            clients: clients.map(|c| c.parse().unwrap()),
            owner: "root".into(),
            reason: "test".into(),
            since: id,
            until: (id == 3).then_some(99),
        })
    }

    #[test]
    fn nearest_name_then_narrowest_scope_then_newest() {
        use Verdict::{Allow, Block};
        let all = Exceptions::new(vec![
            exception(1, Block, "example", None),
            exception(2, Allow, "www.example", Some("10.0.0.0/8")),
            exception(3, Block, "www.example", Some("10.1.0.0/16")),
            exception(4, Allow, "www.example", Some("10.1.0.0/16")),
            exception(5, Allow, "=only.example", None),
            exception(6, Allow, ".", Some("192.0.2.1/32")),
        ]);
        let find = |name: &str, client: &str| {
            all.find(&name.parse().unwrap(), client.parse().unwrap()).map(|e| e.id)
        };
        assert_eq!(find("example", "127.0.0.1"), Some(1));
        assert_eq!(find("deep.www.example", "127.0.0.1"), Some(1));
        assert_eq!(find("deep.www.example", "10.2.0.1"), Some(2));
        assert_eq!(find("www.example", "10.1.0.1"), Some(4));
        assert_eq!(find("only.example", "::1"), Some(5));
        assert_eq!(find("below.only.example", "::1"), Some(1));
        assert_eq!(find("elsewhere.test", "192.0.2.1"), Some(6));
        assert_eq!(find("elsewhere.test", "192.0.2.2"), None);
        let name = "www.example".parse().unwrap();
        let all_of = |client: &str| all.matching(&name, client.parse().unwrap()).map(|e| e.id);
        assert_eq!(all_of("10.1.0.1").collect::<Vec<_>>(), [4, 3, 2, 1]);
        assert_eq!(all_of("192.0.2.1").collect::<Vec<_>>(), [1, 6]);
        assert_eq!(all.next_end(), Some(99));
        assert_eq!(Exceptions::default().find(&Name::ROOT, "::1".parse().unwrap()), None);
    }
}
