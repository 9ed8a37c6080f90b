//! Everything one judgement needs, immutable: policy, settings, routes.

use std::sync::Arc;

use super::local::LocalNames;
use crate::acl::Acl;
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::suffix::SuffixMap;
use crate::policy::set::PolicySet;
use crate::upstream::Upstream;

/// What clients outside the access list get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// REFUSED with extended error 18.
    Refused,
    /// Nothing.
    Drop,
}

/// One generation of the relay's settings and policy.
#[derive(Clone)]
pub struct Snapshot {
    /// Who may ask.
    pub acl: Arc<Acl>,
    /// What the others get.
    pub outside: Outside,
    /// UDP payload size that is advertised, and the longest UDP reply in octets.
    pub payload: u16,
    /// The policy zones.
    pub policy: Arc<PolicySet>,
    /// Policy acts on signed answers too; otherwise DO=1 exempts them.
    pub break_dnssec: bool,
    /// Names are resolved before a rule on the query's name answers (BIND's
    /// `qname-wait-recurse`).
    pub wait: bool,
    /// Blocked negative answers get a synthesized SOA in authority, so that clients cache them.
    pub negative_soa: bool,
    /// Hosts and special names.
    pub local: Arc<LocalNames>,
    /// Which upstream a name goes to.
    pub routes: Arc<Routes>,
}

impl Snapshot {
    /// True if the upstream's answer is needed before a rule on the query's name may act.
    pub fn waits_for_truth(&self, question: &Question) -> bool {
        self.wait || (!self.break_dnssec && question.dnssec_ok)
    }
}

/// Which upstream a name goes to: the longest suffix wins.
pub struct Routes {
    default: Arc<Upstream>,
    by_suffix: SuffixMap<Arc<Upstream>>,
}

/// Where one name goes.
pub struct Route<'r> {
    /// The upstream to ask.
    pub upstream: &'r Arc<Upstream>,
    /// A route other than "." names it, so it is no special name.
    pub is_own: bool,
}

impl Routes {
    /// Everything goes to `default`, until routes are added.
    pub fn new(default: Arc<Upstream>) -> Routes {
        Routes { default, by_suffix: SuffixMap::default() }
    }

    /// Sends a domain and everything below it to `upstream`.
    pub fn add(&mut self, domain: &Name, upstream: Arc<Upstream>) {
        self.by_suffix.insert(domain, upstream);
    }

    /// Where `name` goes.
    #[inline]
    pub fn find(&self, name: &Name) -> Route<'_> {
        match self.by_suffix.find(name) {
            Some((upstream, labels)) => Route { upstream, is_own: labels > 0 },
            None => Route { upstream: &self.default, is_own: false },
        }
    }
}
