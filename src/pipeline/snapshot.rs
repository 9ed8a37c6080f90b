//! Everything one judgement needs, immutable: policy, settings, routes.

use std::sync::Arc;

use super::local::LocalNames;
use crate::acl::Acl;
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::suffix::SuffixMap;
use crate::policy::set::PolicySet;
use crate::upstream::Upstream;
use crate::zones::notify::Desk;

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
    /// The policy zones, groups and exceptions.
    pub policy: Arc<PolicySet>,
    /// Policy acts on signed answers too; otherwise DO=1 exempts them.
    pub break_dnssec: bool,
    /// Names are resolved before a rule on the query's name answers (BIND's
    /// `qname-wait-recurse`).
    pub wait: bool,
    /// IP rules look at the address hints in HTTPS and SVCB records too.
    pub svcb_hints: bool,
    /// NSDNAME and NSIP rules look at the servers of names with at least this many dots.
    pub min_ns_dots: usize,
    /// Blocked negative answers get a synthesized SOA in authority, so that clients cache them.
    pub negative_soa: bool,
    /// Hosts and special names.
    pub local: Arc<LocalNames>,
    /// Which upstream a name goes to.
    pub routes: Arc<Routes>,
    /// Where NOTIFYs of primaries are taken in.
    pub notify: Arc<Desk>,
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
    /// Default upstreams of the groups, by the number of their view.
    of_views: Vec<Option<Arc<Upstream>>>,
    by_suffix: SuffixMap<(Arc<Upstream>, bool)>,
}

/// Where one name goes.
pub struct Route<'r> {
    /// The upstream to ask.
    pub upstream: &'r Arc<Upstream>,
    /// A route other than "." names it, so it is no special name.
    pub is_own: bool,
    /// Policy zones from elsewhere act on it.
    pub is_filtered: bool,
}

impl Route<'_> {
    /// It is the operator's own: policy zones from elsewhere leave the name alone.
    pub fn is_sheltered(&self) -> bool {
        self.is_own && !self.is_filtered
    }
}

impl Routes {
    /// Everything goes to `default`, until routes are added.
    pub fn new(default: Arc<Upstream>) -> Routes {
        Routes { default, of_views: Vec::new(), by_suffix: SuffixMap::default() }
    }

    /// Sends a domain and everything below it to `upstream`. Policy zones from elsewhere act
    /// there only with `filter`.
    pub fn add(&mut self, domain: &Name, upstream: Arc<Upstream>, filter: bool) {
        self.by_suffix.insert(domain, (upstream, filter));
    }

    /// Gives the clients of one view a default of their own.
    pub fn set_default(&mut self, view: usize, upstream: Arc<Upstream>) {
        if self.of_views.len() <= view {
            self.of_views.resize(view + 1, None);
        }
        self.of_views[view] = Some(upstream);
    }

    /// Where `name` goes when a client of this view asks.
    #[inline]
    pub fn find(&self, name: &Name, view: usize) -> Route<'_> {
        match self.by_suffix.find(name) {
            Some(((upstream, filter), labels)) if labels > 0 => {
                Route { upstream, is_own: true, is_filtered: *filter }
            }
            found => {
                let own = self.of_views.get(view).and_then(Option::as_ref);
                let default = found.map_or(&self.default, |((upstream, _), _)| upstream);
                Route { upstream: own.unwrap_or(default), is_own: false, is_filtered: true }
            }
        }
    }
}
