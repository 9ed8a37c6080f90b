//! What a rule with data of its own makes of a query.

use super::forward::Need;
use super::outcome::{Blocked, Outcome};
use super::reply::{Behind, Followed, Page};
use super::{Judged, Pass, Road};
use crate::dns::question::Question;
use crate::dns::{rcode, rtype};
use crate::policy::action::{Action, CnameTarget, LocalData, LocalRecord};
use crate::policy::set::Override;
use crate::policy::stage::Hit;

/// BIND's code for a wildcard target that grows too long: the name cannot be built.
const YXDOMAIN: u16 = 6;

/// The end of a judgement in which a rule acted.
pub(super) struct Acted(Judged);

impl Acted {
    pub(super) fn reply(len: usize, outcome: Outcome) -> Acted {
        Acted(Judged::Reply(len, outcome))
    }

    /// DROP.
    pub(super) fn silence() -> Acted {
        Acted(Judged::Silence(Outcome::Dropped))
    }

    pub(super) fn judged(self) -> Judged {
        self.0
    }

    /// What BIND calls the policy in its log line for this.
    pub(super) fn policy_word(&self, hit: &Hit<'_>) -> &'static str {
        let Action::Data(_) = hit.action else {
            return hit.action.as_str();
        };
        if matches!(hit.zone.settings.action, Override::Cname(_)) {
            return "CNAME";
        }
        match hit.zone.data(hit.action).and_then(LocalData::cname) {
            Some(CnameTarget::Wildcard(_)) => "CNAME",
            None if matches!(self.0, Judged::Reply(_, Outcome::Blocked(Blocked::Nodata))) => {
                Action::Nodata.as_str()
            }
            _ => hit.action.as_str(),
        }
    }
}

impl Road {
    /// Local data: the asked type, else the rule's alias followed, else NODATA. `Err`: the
    /// alias's target has to be asked for first.
    pub(super) fn local_data(
        &self,
        pass: Pass<'_>,
        page: &mut Page<'_>,
        hit: &Hit<'_>,
        behind: Behind<'_>,
    ) -> Result<Acted, Box<Need>> {
        let Pass { snap, asked, .. } = pass;
        let qtype = asked.query.question.rtype;
        // an action without its data cannot be: closed
        let Some(data) = hit.zone.data(hit.action) else {
            return Ok(page.negative(hit, behind, rcode::NXDOMAIN));
        };
        let wanted = |record: &&LocalRecord| qtype == rtype::ANY || record.rtype == qtype;
        let Some(target) = data.cname() else {
            return Ok(match data.records().iter().any(|r| wanted(&r)) {
                true => page.data(hit, behind, data.records().iter().filter(wanted)),
                false => page.negative(hit, behind, rcode::NOERROR),
            });
        };
        let ttl = data.records().first().map_or(0, |record| record.ttl);
        let target = match target {
            CnameTarget::Literal(name) => *name,
            CnameTarget::Wildcard(garden) => match hit.name.join(garden) {
                Ok(name) => name,
                Err(_) => return Ok(page.cannot_build(hit, YXDOMAIN)),
            },
        };
        // asked for the alias itself: nothing to follow
        if matches!(qtype, rtype::CNAME | rtype::ANY) {
            return Ok(page.garden(hit, behind, (ttl, &target), &Followed::No));
        }
        let question = Question { name: target, ..asked.query.question };
        let found = match snap.local.answer(&question, pass.route(&target).is_own) {
            Some(local) => Followed::Local(local),
            None => match self.look_up(pass, &question) {
                Ok(truth) => Followed::Truth(truth),
                Err(Some(need)) => return Err(need),
                Err(None) => Followed::No,
            },
        };
        Ok(page.garden(hit, behind, (ttl, &target), &found))
    }
}
