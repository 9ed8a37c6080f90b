//! An explanation without a relay: policy zones and what is said to be true, nothing asked.

use std::net::IpAddr;
use std::sync::Arc;

use super::steps::Ledger;
use super::words::Ended;
use super::{Asking, Decided, Explanation, Standing, Won};
use crate::dns::name::Name;
use crate::dns::{rcode, rtype};
use crate::policy::action::{Action, LocalData};
use crate::policy::set::PolicySet;
use crate::policy::stage::{Evidence, Hit};

/// What is said to be true of a name.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Addresses in the answer.
    pub addresses: Vec<IpAddr>,
    /// Names of its servers.
    pub servers: Vec<Name>,
    /// Addresses of those.
    pub server_addresses: Vec<IpAddr>,
}

impl Evidence for Given {
    fn each_address(&self, each: &mut dyn FnMut(IpAddr)) {
        self.addresses.iter().copied().for_each(each);
    }

    fn each_server(&self, each: &mut dyn FnMut(&Name)) {
        self.servers.iter().for_each(each);
    }

    fn each_server_address(&self, each: &mut dyn FnMut(IpAddr)) {
        self.server_addresses.iter().copied().for_each(each);
    }
}

impl Explanation {
    /// What these zones make of a query for one name without aliases, if this is true of it.
    pub fn offline(asking: &Asking, set: &Arc<PolicySet>, given: &Given) -> Explanation {
        let client = asking.client.to_canonical();
        let judge = set.judge(client, asking.recursion_desired);
        let mut stage = judge.stage(&asking.name, Standing { first: true, own: false });
        stage.see_addresses(given);
        stage.see_servers(given);
        let hit = stage.hit(given);
        let ended = hit.as_ref().map_or(Ended::silent("clean"), |hit| ended(asking, hit));
        let won = hit.as_ref().map(|hit| Won::of(hit, hit.action.as_str()));
        let mut ledger = Ledger::new(asking, set, Decided { won, ..Decided::default() });
        ledger.offline = true;
        ledger.step(&stage, given, false, None);
        ledger.finish(ended)
    }
}

/// What a rule makes of a query, as far as that is clear without asking anyone.
fn ended(asking: &Asking, hit: &Hit<'_>) -> Ended {
    let with = |outcome, rcode| Ended { rcode: Some(rcode), ..Ended::silent(outcome) };
    match hit.action {
        Action::Nxdomain => with("blocked", rcode::NXDOMAIN),
        Action::Nodata => with("blocked", rcode::NOERROR),
        Action::Drop => Ended::silent("dropped"),
        Action::TcpOnly if !asking.tcp => {
            Ended { truncated: true, ..with("tcp-only", rcode::NOERROR) }
        }
        Action::TcpOnly | Action::Passthru => Ended::silent("allowed"),
        Action::Data(_) => {
            let data = hit.zone.data(hit.action);
            let has = |data: &LocalData| {
                let all = asking.rtype == rtype::ANY;
                data.records().iter().any(|record| all || record.rtype == asking.rtype)
            };
            match data {
                Some(data) if data.cname().is_some() => Ended::silent("garden"),
                Some(data) if has(data) => with("data", rcode::NOERROR),
                Some(_) => with("blocked", rcode::NOERROR),
                None => with("blocked", rcode::NXDOMAIN),
            }
        }
    }
}
