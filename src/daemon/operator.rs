//! What the operator's doors see of the relay.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

use super::exceptions::Suspension;
use super::{Relay, assemble, check, explain};
use crate::admin::exceptions::{Changed, ExceptionCount, Scope, Shown, Suspended};
use crate::admin::zones::ZoneText;
use crate::admin::{
    Answering, CacheStatus, CachedAnswer, Canary, LogStatus, Operator, Refresh, Status,
    UpstreamProbe,
};
use crate::clock::Moment;
use crate::config::Settings;
use crate::dns::name::Name;
use crate::dns::{rcode, rtype, text};
use crate::listener::PortStatus;
use crate::metrics::Counter;
use crate::pipeline::explain::{Asking, Explanation};
use crate::policy::exceptions::{Exception, Verdict};
use crate::report::ZoneReport;
use crate::zones::exceptions::Wish;
use crate::zones::{Difference, ZoneStatus};

impl Relay {
    /// State of every address.
    pub(super) fn port_status(&self) -> Vec<PortStatus> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.as_ref().map_or_else(Vec::new, |ports| ports.status())
    }

    /// A query of our own for every worker.
    pub(super) fn probe_workers(&self, query: &[u8]) -> Vec<oneshot::Receiver<()>> {
        let ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.as_ref().map_or_else(Vec::new, |ports| ports.probe(query))
    }

    /// True if a policy file is not the one that was loaded.
    pub(super) fn zones_changed(&self) -> bool {
        self.lock().zones.changed(std::time::SystemTime::now())
    }

    fn cache_status(&self) -> CacheStatus {
        let (cache, counters) = (self.road.cache(), self.road.counters());
        CacheStatus {
            entries: cache.len(),
            bytes: cache.weight(),
            size: cache.settings().size,
            hits: counters.sum(Counter::CacheHits),
            misses: counters.sum(Counter::CacheMisses),
        }
    }
}

impl Operator for Arc<Relay> {
    fn status(&self) -> Status {
        let counters = self.road.counters();
        // what ended is read before what began, so that nothing is counted as ended only
        let in_flight = counters.in_flight();
        let mut queries: Vec<_> =
            Counter::ALL.iter().map(|counter| (counter.name(), counters.sum(*counter))).collect();
        queries.push(("in_flight", in_flight));
        let (written, dropped) = self.road.reporter().counts();
        let snapshot = self.road.snapshot();
        let listeners = self.port_status();
        let scopes = Scope::of_all(snapshot.policy.exceptions().list());
        let current = self.lock();
        let monitor = assemble::monitor_only(&current.settings);
        Status {
            name: self.server_name.clone(),
            version: super::version(),
            uptime_s: self.started.elapsed().as_secs(),
            generation: snapshot.policy.generation,
            policy_mode: if monitor { "monitor" } else { "enforce" },
            suspended: current.suspension.as_ref().map(Suspension::shown),
            reload_error: current.reload_error.clone(),
            listeners,
            tcp_connections: self.tcp_limits.open(),
            upstreams: current.upstreams.iter().map(|upstream| upstream.status()).collect(),
            config_hash: current.config_hash.clone(),
            canary: canary(&current.settings),
            exceptions: count(snapshot.policy.exceptions().list()),
            exceptions_hash: Scope::hash(&scopes),
            exception_list: scopes,
            zones: current.zones.status(&snapshot.policy, &current.promoted),
            cache: self.cache_status(),
            queries,
            log: LogStatus { written, dropped, queries: self.road.reporter().wants_queries() },
            policy_bytes: snapshot.policy.bytes(),
        }
    }

    fn may_see_status(&self, client: IpAddr) -> bool {
        self.lock().settings.status.allow.iter().any(|network| network.contains(&client))
    }

    fn reload(&self) -> Answering<'_, Result<String, String>> {
        Box::pin(Relay::reload(self))
    }

    fn log_queries(&self, on: bool) {
        self.road.reporter().log_queries(on);
    }

    fn flush(&self, name: &Name, subtree: bool) -> usize {
        self.road.cache().flush(name, subtree)
    }

    fn show(&self, name: &Name) -> Vec<CachedAnswer> {
        let now = Moment::now();
        let upstreams = self.lock().upstreams.clone();
        let named = |id| {
            let upstream = upstreams.iter().find(|upstream| upstream.id() == id);
            upstream.map_or_else(|| "(gone)".to_owned(), |u| u.settings().name.clone())
        };
        let found = self.road.cache().show(name).into_iter();
        found
            .map(|(id, question, entry)| {
                let (answer, ttl) = (&entry.answer, entry.ttl(now));
                let record = |r| text::record(answer.message(), &r, ttl.shown(r.ttl));
                CachedAnswer {
                    upstream: named(id),
                    qtype: rtype::text(question.rtype),
                    dnssec_ok: question.dnssec_ok,
                    checking_disabled: question.checking_disabled,
                    rcode: rcode::text(answer.rcode()),
                    ttl_left: entry.left(now),
                    records: answer.records().map(record).collect(),
                }
            })
            .collect()
    }

    fn explain(&self, asking: Asking) -> Answering<'_, Result<Explanation, String>> {
        Box::pin(async move {
            let mut explanation = self.road.explain(&asking).await;
            let (zones, suspended) = {
                let current = self.lock();
                (current.zones.clone(), current.suspension.as_ref().map(Suspension::shown))
            };
            explanation.policy.suspended = suspended.map(|s| explain::suspended(&s));
            explain::look_closer(explanation, zones).await.map_err(|trouble| trouble.to_string())
        })
    }

    fn probe(&self) -> Answering<'_, Vec<UpstreamProbe>> {
        let (upstreams, question) = {
            let current = self.lock();
            (current.upstreams.clone(), check::probe_question(&current.settings))
        };
        Box::pin(async move {
            let asking = upstreams.iter().map(|upstream| async {
                let backends = upstream.probe_each(&question).await;
                UpstreamProbe { upstream: upstream.settings().name.clone(), backends }
            });
            futures_util::future::join_all(asking).await
        })
    }

    fn exceptions(&self) -> Vec<Shown> {
        self.shown_exceptions()
    }

    fn except(&self, wish: Wish, owner: String) -> Answering<'_, Result<Changed, String>> {
        Box::pin(async move { Relay::except(self, wish, &owner).await })
    }

    fn unexcept(&self, ids: Vec<u64>, owner: String) -> Answering<'_, Result<Changed, String>> {
        Box::pin(async move { Relay::unexcept(self, &ids, &owner).await })
    }

    fn suspend(
        &self,
        millis: u64,
        reason: &str,
        owner: &str,
    ) -> Result<(Suspended, Option<Suspended>), String> {
        Relay::suspend(self, millis, reason, owner)
    }

    fn resume(&self, owner: &str) -> Option<Suspended> {
        Relay::resume(self, owner)
    }

    fn zones(&self) -> Vec<ZoneStatus> {
        self.all_zones()
    }

    fn zone_status(&self, zone: &Name) -> Result<ZoneStatus, String> {
        self.one_zone(zone)
    }

    fn zone_refresh(
        &self,
        zone: &Name,
        how: Refresh,
        by: &str,
    ) -> Answering<'_, Result<String, String>> {
        let (zone, by) = (*zone, by.to_owned());
        Box::pin(async move { self.refresh_zone(zone, how, &by).await })
    }

    fn zone_accept(&self, zone: &Name, by: &str) -> Answering<'_, Result<String, String>> {
        let (zone, by) = (*zone, by.to_owned());
        Box::pin(async move { self.accept(&zone, &by).await })
    }

    fn zone_promote(&self, zone: &Name, by: &str) -> Answering<'_, Result<String, String>> {
        let (zone, by) = (*zone, by.to_owned());
        Box::pin(async move { self.promote(&zone, &by).await })
    }

    fn zone_diff(&self, zone: &Name) -> Answering<'_, Result<Difference, String>> {
        let zone = *zone;
        Box::pin(async move { self.difference(&zone).await })
    }

    fn zone_report(&self, zone: &Name) -> Result<ZoneReport, String> {
        self.report_of(zone)
    }

    fn zone_dump(&self, zone: &Name) -> Result<ZoneText, String> {
        self.text_of(zone)
    }
}

fn canary(settings: &Settings) -> Canary {
    let in_text = |names: &[Name]| names.iter().map(Name::to_string).collect();
    let canary = &settings.canary;
    Canary { resolves: in_text(&canary.resolves), blocked: in_text(&canary.blocked) }
}

fn count(exceptions: &[Arc<Exception>]) -> ExceptionCount {
    let allow = exceptions.iter().filter(|e| e.verdict == Verdict::Allow).count();
    ExceptionCount { allow, block: exceptions.len() - allow }
}
