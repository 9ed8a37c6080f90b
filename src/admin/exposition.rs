//! The metrics in text form, made from a status when somebody asks.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter as Count};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::Status;
use crate::metrics::Counter;
use crate::upstream::BackendState;

/// Content type of the text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// All families. Their list is in `docs/METRICS.md`.
pub(super) fn text(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("culvert");
    for counter in Counter::ALL {
        let name = format!("queries_{}", counter.name());
        let value = ConstCounter::new(status.count(counter.name()));
        // the encoder puts the full stop
        registry.register(name, counter.help().trim_end_matches('.'), value);
    }
    let mut gauge = |name: &str, help: &str, value: i64| {
        registry.register(name, help, ConstGauge::new(value));
    };
    gauge(
        "queries_in_flight",
        "Queries waiting for an upstream",
        signed(status.count("in_flight")),
    );
    gauge("uptime_seconds", "Seconds since the start", signed(status.uptime_s));
    gauge("policy_generation", "Generation of policy in force", signed(status.generation));
    gauge("policy_bytes", "Memory of the policy matcher", status.policy_bytes as i64);
    gauge("policy_monitor_only", "1 if no zone acts", (status.policy_mode == "monitor").into());
    gauge("policy_suspended", "1 while policy is suspended", status.suspended.is_some().into());
    gauge(
        "reload_failed",
        "1 if the last reload changed nothing",
        status.reload_error.is_some().into(),
    );
    gauge("cache_entries", "Answers kept", status.cache.entries as i64);
    gauge("cache_bytes", "Memory of the answers kept", signed(status.cache.bytes));
    gauge("tcp_connections", "TCP connections open", status.tcp_connections as i64);
    let [info] = gauges(&mut registry, [("info", "Name and version of this relay; always 1")]);
    let labels = vec![("name", status.name.clone()), ("version", status.version.to_owned())];
    info.get_or_create(&labels).set(1);
    registry.register("log_written", "Log records written", ConstCounter::new(status.log.written));
    registry.register("log_dropped", "Log records lost", ConstCounter::new(status.log.dropped));
    exceptions(&mut registry, status);
    zones(&mut registry, status);
    upstreams(&mut registry, status);
    let mut out = String::new();
    encode(&mut out, &registry)?;
    Ok(out)
}

fn exceptions(registry: &mut Registry, status: &Status) {
    let [count] = gauges(registry, [("exceptions", "Exceptions in force")]);
    for (verdict, n) in [("allow", status.exceptions.allow), ("block", status.exceptions.block)] {
        count.get_or_create(&vec![("verdict", verdict.to_owned())]).set(n as i64);
    }
}

fn zones(registry: &mut Registry, status: &Status) {
    let [rules, serial, age, failed, skipped, duplicates] = gauges(
        registry,
        [
            ("zone_rules", "Rules of a policy zone"),
            ("zone_serial", "Serial of a policy zone"),
            ("zone_age_seconds", "Seconds since a policy zone was loaded"),
            ("zone_load_failed", "1 if a newer version could not be loaded"),
            ("zone_skipped_records", "Records of a policy zone that are no usable rules"),
            ("zone_rules_duplicate", "Rules that an earlier one of the same trigger makes void"),
        ],
    );
    for zone in &status.zones {
        let labels: Labels = vec![("zone", zone.zone.clone())];
        rules.get_or_create(&labels).set(zone.rules as i64);
        serial.get_or_create(&labels).set(zone.serial.into());
        age.get_or_create(&labels).set(signed(zone.age_s));
        failed.get_or_create(&labels).set(zone.error.is_some().into());
        skipped.get_or_create(&labels).set(signed(zone.skipped));
        duplicates.get_or_create(&labels).set(signed(zone.duplicates));
    }
}

fn upstreams(registry: &mut Registry, status: &Status) {
    let [up, latency, connections, in_flight] = gauges(
        registry,
        [
            ("backend_up", "1 if a backend is up"),
            ("backend_latency_milliseconds", "Mean time of a backend's answers"),
            ("backend_connections", "Open connections to a backend"),
            ("backend_in_flight", "Queries in flight at a backend"),
        ],
    );
    let mut counters = |name: &str, help: &str| {
        let family = Family::<Labels, Count>::default();
        registry.register(name, help, family.clone());
        family
    };
    let [joined, hedged, shed, late] = [
        counters("upstream_joined", "Queries that joined an equal one in flight"),
        counters("upstream_hedged", "Tries sent to a second backend before the first was late"),
        counters("upstream_shed", "Queries given up because too many were waiting"),
        counters("upstream_late", "Answers that came too late and went to the cache only"),
    ];
    let sent = counters("backend_sent", "Queries sent to a backend");
    let answered = counters("backend_answered", "Answers of a backend");
    let failed = counters("backend_failed", "Tries that failed at a backend");
    for upstream in &status.upstreams {
        let labels: Labels = vec![("upstream", upstream.name.clone())];
        joined.get_or_create(&labels).inc_by(upstream.joined);
        hedged.get_or_create(&labels).inc_by(upstream.hedged);
        shed.get_or_create(&labels).inc_by(upstream.shed);
        late.get_or_create(&labels).inc_by(upstream.late);
        for backend in &upstream.backends {
            let labels: Labels =
                vec![("upstream", upstream.name.clone()), ("backend", backend.address.to_string())];
            up.get_or_create(&labels).set((backend.state == BackendState::Up).into());
            latency.get_or_create(&labels).set(backend.latency_ms.unwrap_or(0.0).round() as i64);
            connections.get_or_create(&labels).set(backend.connections as i64);
            in_flight.get_or_create(&labels).set(backend.in_flight as i64);
            sent.get_or_create(&labels).inc_by(backend.sent);
            answered.get_or_create(&labels).inc_by(backend.answered);
            failed.get_or_create(&labels).inc_by(backend.failed);
        }
    }
}

fn gauges<const N: usize>(
    registry: &mut Registry,
    families: [(&str, &str); N],
) -> [Family<Labels, Gauge>; N] {
    families.map(|(name, help)| {
        let family = Family::<Labels, Gauge>::default();
        registry.register(name, help, family.clone());
        family
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
