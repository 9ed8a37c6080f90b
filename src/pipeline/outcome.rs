//! Step 8: how a query ended. One enum feeds the counters and the logs.

use super::reply::Behind;
use super::{Asked, Pass, Road};
use crate::clock;
use crate::dns::flag;
use crate::listener::Transport;
use crate::metrics::Counter;
use crate::policy::stage::Hit;
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

    /// Logs the rule that acted, and the rules that only watch at every name that was reached:
    /// the query's own, and the links of the chain up to and with the one in `behind`.
    pub(super) fn log_hits(
        &self,
        pass: Pass<'_>,
        behind: Behind<'_>,
        acted: Option<(&Hit<'_>, &'static str)>,
    ) {
        let Pass { snap, asked, .. } = pass;
        if let Some((hit, word)) = acted {
            self.reporter.hit(record(asked, hit, word, true));
        }
        if !snap.policy.is_watching() {
            return;
        }
        let cells = self.counters.worker(asked.source.worker);
        let links = behind
            .into_iter()
            .flat_map(|(entry, last)| (0..=last).map_while(|link| entry.answer.link_target(link)));
        for name in std::iter::once(asked.query.question.name).chain(links) {
            let stage = snap.policy.stage(&name, asked.query.recursion_desired());
            for hit in stage.watching() {
                cells.count(Counter::Monitored);
                self.reporter.hit(record(asked, &hit, hit.action.as_str(), false));
            }
        }
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
        matched: hit.name,
        labels: hit.labels,
        wildcard: hit.wildcard,
        action,
        enforced,
    }
}
