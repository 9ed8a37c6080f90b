//! Step 8: how a query ended. One enum feeds the counters and the logs.

use super::evidence::{Facts, Lacks, Reached};
use super::{Asked, Pass, Road, Standing};
use crate::clock;
use crate::dns::flag;
use crate::listener::Transport;
use crate::metrics::Counter;
use crate::policy::stage::{Heard, Hit};
use crate::report::{HitRecord, QueryRecord};

/// How a query ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered here.
    Local,
    /// Answered from the cache.
    Cached,
    /// Answered by an upstream.
    Forwarded,
    /// Answered with a stale answer.
    Stale,
    /// Answered with a failure.
    Failed,
    /// Answered with a failure, for a policy zone is awaited.
    NotReady,
    /// Answered as policy says.
    Blocked(Blocked),
    /// Not answered, as policy says.
    Dropped,
    /// RD=0, and nothing at hand.
    Refused,
}

/// What policy made of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    Nxdomain,
    Nodata,
    LocalData,
    Garden,
    TcpOnly,
}

impl Outcome {
    fn word(self) -> &'static str {
        match self {
            Outcome::Local => "local",
            Outcome::Cached => "cached",
            Outcome::Forwarded => "forwarded",
            Outcome::Stale => "stale",
            Outcome::Failed => "failed",
            Outcome::NotReady => "not-ready",
            Outcome::Blocked(_) => "blocked",
            Outcome::Dropped => "dropped",
            Outcome::Refused => "refused",
        }
    }
}

impl Road {
    /// Counts the end of an accepted query, and logs it if all queries are logged.
    pub(super) fn ended(&self, asked: &Asked<'_>, outcome: Outcome, reply: &[u8]) {
        let cells = self.counters.worker(asked.source.worker);
        let udp = asked.source.transport == Transport::Udp;
        if udp && reply.get(2).is_some_and(|flags| flags & (flag::TC >> 8) as u8 != 0) {
            cells.count(Counter::Truncated);
        }
        cells.count(match outcome {
            Outcome::Dropped => Counter::DroppedByPolicy,
            Outcome::Refused => Counter::Refused,
            _ => Counter::Answered,
        });
        match outcome {
            Outcome::Local => cells.count(Counter::Local),
            Outcome::Cached => cells.count(Counter::CacheHits),
            Outcome::Stale => cells.count(Counter::Stale),
            Outcome::Failed => cells.count(Counter::ServFail),
            Outcome::NotReady => {
                cells.count(Counter::ServFail);
                cells.count(Counter::NotReady);
            }
            Outcome::Blocked(_) | Outcome::Dropped => cells.count(Counter::Blocked),
            Outcome::Forwarded | Outcome::Refused => {}
        }
        if self.reporter.wants_queries() {
            self.reporter.query(QueryRecord {
                time: clock::wall_millis(),
                client: asked.source.client,
                qname: asked.query.question.name,
                qtype: asked.query.question.rtype,
                outcome: outcome.word(),
                tcp: !udp,
            });
        }
    }

    /// Logs the rule that acted, and those that only watch: each zone's first match at the names
    /// that were reached, by what was known there.
    pub(super) fn log_hits(
        &self,
        pass: Pass<'_>,
        reached: Reached<'_>,
        acted: Option<(&Hit<'_>, &'static str)>,
    ) {
        if let Some(notes) = &pass.known.notes {
            return notes.note(reached, acted);
        }
        if let Some((hit, word)) = acted
            && hit.zone.settings.log
        {
            self.reporter.hit(record(pass.asked, hit, word, true));
        }
        if pass.snap.policy.is_watching() {
            self.log_watching(pass, reached);
        }
    }

    fn log_watching(&self, pass: Pass<'_>, reached: Reached<'_>) {
        let asked = pass.asked;
        let cells = self.counters.worker(asked.source.worker);
        let mut heard = Heard::default();
        let mut note = |hit: Hit<'_>| {
            cells.count(Counter::Monitored);
            // also of a zone that does not log: it is counted for the zone's report
            self.reporter.hit(record(asked, &hit, hit.action.as_str(), false));
        };
        let Reached::Stage(entry, last) = reached else {
            let name = asked.query.question.name;
            let own = matches!(reached, Reached::Local(local) if local.is_host);
            let own = own || pass.route(&name).is_sheltered();
            let mut stage = pass.judge.stage(&name, Standing { first: true, own });
            let facts = Facts { road: self, pass, name, reached };
            stage.see_addresses(&facts);
            return stage.watching(&mut heard, &facts, &mut note);
        };
        let mut lacks = Lacks::default();
        for link in 0..=last {
            let Some(mut stage) = pass.stage(entry, link) else { break };
            if pass.is_exempt(entry, link) {
                continue;
            }
            let reached = Reached::Stage(entry, link);
            let facts = Facts { road: self, pass, name: *stage.name(), reached };
            stage.see_addresses(&facts);
            self.overhear_servers(&mut stage, &facts, &mut lacks);
            stage.watching(&mut heard, &facts, &mut note);
        }
        self.look_up_behind(pass, lacks);
    }
}

fn record(asked: &Asked<'_>, hit: &Hit<'_>, action: &'static str, enforced: bool) -> HitRecord {
    HitRecord {
        time: clock::wall_millis(),
        client: asked.source.client,
        qname: asked.query.question.name,
        qtype: asked.query.question.rtype,
        trigger: hit.trigger,
        zone: std::sync::Arc::clone(hit.zone),
        name: hit.name,
        matched: hit.matched,
        exception: hit.exception.cloned(),
        action,
        enforced,
    }
}
