//! The metrics in text form, made from a status when somebody asks.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::{ConstCounter, Counter as Count};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use super::Status;
use crate::clock;
use crate::metrics::Counter;
use crate::upstream::BackendState;
use crate::zones::ZoneState;

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
    compared(&mut registry, status);
    registry.register("log_written", "Log records written", ConstCounter::new(status.log.written));
    registry.register("log_dropped", "Log records lost", ConstCounter::new(status.log.dropped));
    exceptions(&mut registry, status);
    zones(&mut registry, status);
    supplies(&mut registry, status);
    upstreams(&mut registry, status);
    let mut out = String::new();
    encode(&mut out, &registry)?;
    Ok(out)
}

/// What should be the same on the two relays of a pair.
fn compared(registry: &mut Registry, status: &Status) {
    let [config, exceptions] = gauges(
        registry,
        [
            ("config_info", "The configuration in force, in one number; always 1"),
            ("exceptions_info", "The exceptions in force, in one number; always 1"),
        ],
    );
    for (family, hash) in [(config, &status.config_hash), (exceptions, &status.exceptions_hash)] {
        family.get_or_create(&vec![("hash", hash.clone())]).set(1);
    }
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

/// What only zones from elsewhere have.
fn supplies(registry: &mut Registry, status: &Status) {
    let [contact, next, failed, held, waiting, stale, expired, unsaved, alarms] = gauges(
        registry,
        [
            ("zone_contact_age_seconds", "Seconds since the source was last in touch"),
            ("zone_next_try_seconds", "Seconds until the source is asked next"),
            ("zone_last_try_failed", "1 if the last try to reach the source failed"),
            ("zone_held", "1 if a newer version waits for the operator"),
            ("zone_waiting", "1 if the zone was never loaded"),
            ("zone_stale", "1 if the source has not been reached for too long"),
            ("zone_expired", "1 if the zone is past the expire time of its SOA"),
            ("zone_save_failed", "1 if the version in force could not be saved"),
            ("zone_alarms", "Alarms of a policy zone"),
        ],
    );
    let [transfers, failures, notified] = counters(
        registry,
        [
            ("zone_transfers", "Versions of a zone that were taken"),
            ("zone_failures", "Tries to reach the source that failed"),
            ("zone_notified", "NOTIFYs that were listened to"),
        ],
    );
    let now = clock::wall_millis();
    let then = |time: &Option<String>| clock::from_rfc3339(time.as_deref()?);
    for zone in &status.zones {
        let labels: Labels = vec![("zone", zone.zone.clone())];
        alarms.get_or_create(&labels).set(zone.alarms.len() as i64);
        let Some(supply) = &zone.supply else { continue };
        if let Some(then) = then(&supply.last_contact) {
            contact.get_or_create(&labels).set(signed(now.saturating_sub(then) / 1000));
        }
        if let Some(then) = then(&supply.next_try) {
            next.get_or_create(&labels).set(signed(then.saturating_sub(now) / 1000));
        }
        let is = |states: &[ZoneState]| i64::from(states.contains(&zone.state));
        failed.get_or_create(&labels).set(supply.failed.into());
        held.get_or_create(&labels).set(supply.held.is_some().into());
        waiting.get_or_create(&labels).set(is(&[ZoneState::Waiting]));
        stale.get_or_create(&labels).set(is(&[ZoneState::Stale]));
        expired.get_or_create(&labels).set(is(&[ZoneState::Expired, ZoneState::Withdrawn]));
        unsaved.get_or_create(&labels).set(supply.save_error.is_some().into());
        failures.get_or_create(&labels).inc_by(supply.failed_total);
        notified.get_or_create(&labels).inc_by(supply.notified);
        for (how, count) in [("whole", supply.whole), ("incremental", supply.incremental)] {
            let labels = vec![("zone", zone.zone.clone()), ("how", how.to_owned())];
            transfers.get_or_create(&labels).inc_by(count);
        }
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
    let [joined, hedged, shed, late, sent, answered, failed] = counters(
        registry,
        [
            ("upstream_joined", "Queries that joined an equal one in flight"),
            ("upstream_hedged", "Tries sent to a second backend before the first was late"),
            ("upstream_shed", "Queries given up because too many were waiting"),
            ("upstream_late", "Answers that came too late and went to the cache only"),
            ("backend_sent", "Queries sent to a backend"),
            ("backend_answered", "Answers of a backend"),
            ("backend_failed", "Tries that failed at a backend"),
        ],
    );
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

fn counters<const N: usize>(
    registry: &mut Registry,
    families: [(&str, &str); N],
) -> [Family<Labels, Count>; N] {
    families.map(|(name, help)| {
        let family = Family::<Labels, Count>::default();
        registry.register(name, help, family.clone());
        family
    })
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{CacheStatus, LogStatus};
    use crate::policy::set::Mode;
    use crate::zones::{HeldStatus, SourceKind, SupplyStatus, ZoneStatus};

    fn zone(name: &str, state: ZoneState, supply: Option<SupplyStatus>) -> ZoneStatus {
        ZoneStatus {
            zone: name.to_owned(),
            source: "192.0.2.53".to_owned(),
            kind: SourceKind::Transfer,
            state,
            mode: Mode::Enforce,
            serial: 7,
            rules: 3,
            checksum: None,
            triggers: Vec::new(),
            skipped: 0,
            skipped_first: Vec::new(),
            duplicates: 0,
            age_s: 5,
            error: None,
            alarms: vec!["a".to_owned(), "b".to_owned()],
            supply,
            promoted: None,
        }
    }

    fn status(zones: Vec<ZoneStatus>) -> Status {
        let cache = CacheStatus { entries: 0, bytes: 0, size: 0, hits: 0, misses: 0 };
        Status {
            name: "relay-1".to_owned(),
            version: "0",
            uptime_s: 0,
            generation: 1,
            policy_mode: "enforce",
            suspended: None,
            reload_error: None,
            listeners: Vec::new(),
            tcp_connections: 0,
            upstreams: Vec::new(),
            config_hash: "00".to_owned(),
            canary: Default::default(),
            exceptions: Default::default(),
            exceptions_hash: "00".to_owned(),
            exception_list: Vec::new(),
            zones,
            cache,
            queries: Vec::new(),
            log: LogStatus { written: 0, dropped: 0, queries: false },
            policy_bytes: 0,
        }
    }

    #[test]
    fn zones_from_elsewhere() {
        let now = clock::wall_millis();
        let held = HeldStatus { serial: 8, rules: 1, since: String::new(), reasons: Vec::new() };
        let supply = SupplyStatus {
            failed: true,
            last_contact: Some(clock::rfc3339(now.saturating_sub(3_600_000))),
            next_try: Some(clock::rfc3339(now + 600_000)),
            held: Some(held),
            save_error: Some("no space left".to_owned()),
            whole: 2,
            incremental: 40,
            failed_total: 5,
            notified: 6,
            ..SupplyStatus::default()
        };
        let text = text(&status(vec![
            zone("held.example", ZoneState::Held, Some(supply)),
            zone("gone.example", ZoneState::Withdrawn, Some(SupplyStatus::default())),
            zone("file.local", ZoneState::Current, None),
        ]))
        .unwrap();
        let sample = |name: &str, zone: &str| {
            let start = format!("culvert_zone_{name}{{zone=\"{zone}\"");
            let line = text.lines().find(|line| line.starts_with(&start))?;
            line.rsplit(' ').next()?.parse::<u64>().ok()
        };
        let held = |name| sample(name, "held.example");
        assert!(held("contact_age_seconds").is_some_and(|s| (3600..3660).contains(&s)), "{text}");
        assert!(held("next_try_seconds").is_some_and(|s| (540..=600).contains(&s)), "{text}");
        for (name, value) in [
            ("last_try_failed", 1),
            ("held", 1),
            ("expired", 0),
            ("save_failed", 1),
            ("failures_total", 5),
            ("notified_total", 6),
            ("alarms", 2),
        ] {
            assert_eq!(held(name), Some(value), "{name}: {text}");
        }
        assert_eq!(sample("expired", "gone.example"), Some(1));
        assert_eq!(sample("contact_age_seconds", "gone.example"), None);
        assert_eq!((sample("alarms", "file.local"), sample("held", "file.local")), (Some(2), None));
        let incremental =
            "culvert_zone_transfers_total{zone=\"held.example\",how=\"incremental\"} 40";
        assert!(text.contains(incremental), "{text}");
    }
}
