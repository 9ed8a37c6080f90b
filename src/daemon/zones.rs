//! What the operator asks of single policy zones.

use std::sync::Arc;

use super::{Relay, Trouble, off_thread};
use crate::admin::Refresh;
use crate::admin::zones::ZoneText;
use crate::config;
use crate::dns::name::Name;
use crate::report::ZoneReport;
use crate::rpz::Dump;
use crate::zones::{Difference, Look, SourceKind, ZoneStatus};

impl Relay {
    /// State of all policy zones.
    pub(super) fn all_zones(&self) -> Vec<ZoneStatus> {
        let snapshot = self.road.snapshot();
        let current = self.lock();
        current.zones.status(&snapshot.policy, &current.promoted)
    }

    /// State of one zone. The error names the nearest one.
    pub(super) fn one_zone(&self, zone: &Name) -> Result<ZoneStatus, String> {
        let (wanted, all) = (zone.to_string(), self.all_zones());
        let names: Vec<String> = all.iter().map(|zone| zone.zone.clone()).collect();
        let found = all.into_iter().find(|zone| zone.zone == wanted);
        let unknown = || format!("no policy zone is {wanted}; {}", config::advice(&wanted, &names));
        found.ok_or_else(unknown)
    }

    /// Brings a zone up to date, and says what came of it.
    pub(super) async fn refresh_zone(
        self: &Arc<Self>,
        zone: Name,
        how: Refresh,
        by: &str,
    ) -> Result<String, String> {
        let status = self.one_zone(&zone)?;
        if status.kind != SourceKind::File {
            tracing::info!("policy zone {zone}: its source is asked, as {by} wants");
            let look = if how == Refresh::Whole { Look::Whole } else { Look::Check };
            return self.look_at(&zone, look).await.map(|text| format!("zone {zone}: {text}"));
        }
        match how {
            Refresh::Whole => Err(format!(
                "zone {zone} comes from a file, not by transfer; to read the file again: culvert \
                 zone reload {zone}"
            )),
            Refresh::Check if self.lock().zones.is_current(&zone) => {
                Ok(format!("zone {zone}: serial {}, its file has not changed", status.serial))
            }
            Refresh::Check | Refresh::Reload => {
                tracing::info!("policy zone {zone}: its file is read again, as {by} asks");
                self.reread_zone(zone).await
            }
        }
    }

    async fn reread_zone(self: &Arc<Self>, zone: Name) -> Result<String, String> {
        let _one_at_a_time = self.reloading.lock().await;
        let relay = Arc::clone(self);
        let outcome = off_thread(move || {
            let (zones, terms) = {
                let current = relay.lock();
                (current.zones.clone(), current.terms())
            };
            let (zones, outcome) = zones.reread(&zone);
            if let Err(fault) = outcome {
                relay.lock().zones = zones;
                return Ok(Err(format!("zone {zone} keeps its old rules: {fault}")));
            }
            Ok(Ok(relay.enforce_zones(zones, &terms)))
        });
        let generation = outcome.await.map_err(|trouble: Trouble| trouble.to_string())??;
        let status = self.one_zone(&zone)?;
        let (serial, rules) = (status.serial, status.rules);
        Ok(format!("zone {zone}: serial {serial}, {rules} rules, in generation {generation}"))
    }

    /// What a zone that only watches would have done.
    pub(super) fn report_of(&self, zone: &Name) -> Result<ZoneReport, String> {
        let status = self.one_zone(zone)?;
        self.road.reporter().zone_report(&status.zone).ok_or_else(|| {
            format!(
                "zone {zone} does not only watch: what it does is in the hit log; a report goes \
                 with mode = \"monitor\""
            )
        })
    }

    /// What the version that is held would change.
    pub(super) async fn difference(&self, zone: &Name) -> Result<Difference, String> {
        let status = self.one_zone(zone)?;
        let (old, held) = {
            let current = self.lock();
            let old = current.zones.find(zone).map(|(_, rules)| Arc::clone(rules));
            (old, current.zones.remote(zone).and_then(|remote| remote.held()))
        };
        let (Some(old), Some((new, _))) = (old, held) else { return Err(nothing_held(&status)) };
        let compared = off_thread(move || Ok::<_, Trouble>(Difference::between(&old, &new)));
        compared.await.map_err(|trouble| trouble.to_string())
    }

    /// The rules in force as a master file.
    pub(super) fn text_of(&self, zone: &Name) -> Result<ZoneText, String> {
        let status = self.one_zone(zone)?;
        let rules = self.lock().zones.in_force(zone).map(|(rules, _)| rules);
        let nothing = || format!("no version of zone {} has come yet", status.zone);
        Ok(Box::new(Dump::new(rules.ok_or_else(nothing)?)))
    }
}

/// Why there is nothing to compare or accept.
pub(super) fn nothing_held(zone: &ZoneStatus) -> String {
    let name = &zone.zone;
    match zone.kind {
        SourceKind::File => format!("zone {name} comes from a file: no version of it is ever held"),
        _ => format!("no version of zone {name} is held"),
    }
}
