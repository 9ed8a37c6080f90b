//! What a start would find, without one: `culvert check`, and one look at a service.

use std::path::Path;
use std::sync::Arc;

use super::{Begin, Known, assemble, plan, refuse_loops};
use crate::admin::ZoneSummary;
use crate::cache::Cache;
use crate::config::{self, Settings};
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::rtype;
use crate::pipeline::Keeper;
use crate::upstream::ProbeReport;
use crate::zones::promotions::Promotions;

use super::Trouble;

/// What a check found.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Checked {
    /// The configuration file.
    pub file: String,
    /// All files of the configuration, in the order in which they are put together.
    pub files: Vec<String>,
    /// Upstreams they name.
    pub upstreams: usize,
    /// Policy zones, with their rules and skipped records; empty if none was read.
    pub zones: Vec<ZoneSummary>,
    /// Policy zones that were not read, since the configuration alone was asked about.
    pub zones_not_read: usize,
    /// What is accepted but probably not meant.
    pub warnings: Vec<config::Fault>,
}

/// Reads and builds everything, changes nothing: what `culvert check` accepts starts.
pub fn check(config: &Path) -> Result<Checked, Trouble> {
    let settings = config::load(config).map_err(Trouble::Config)?;
    let plan = plan(settings, Known::nothing(Begin::Check), &nowhere())?;
    let zones = plan.zones.status(&plan.policy, &Promotions::default());
    Ok(Checked { zones: zones.iter().map(ZoneSummary::of).collect(), ..found(plan.settings) })
}

/// As [`check`], but zones are not read; their files are only opened. For a start that reads them
/// right after.
pub fn check_quick(config: &Path) -> Result<Checked, Trouble> {
    let settings = config::load(config).map_err(Trouble::Config)?;
    judge(&settings)?;
    Ok(Checked { zones_not_read: settings.policies.len(), ..found(settings) })
}

/// What the files of a configuration do not show by themselves: upstreams that are addresses of
/// this host, and roots that cannot be used.
pub fn judge(settings: &Settings) -> Result<(), Trouble> {
    refuse_loops(settings)?;
    assemble::upstreams(settings, &[], &nowhere()).map(drop)
}

fn found(settings: Settings) -> Checked {
    let files = settings.files.iter().map(|file| file.display().to_string());
    Checked {
        file: settings.file.display().to_string(),
        files: files.collect(),
        upstreams: settings.upstreams.len(),
        zones: Vec::new(),
        zones_not_read: 0,
        warnings: settings.warnings,
    }
}

/// Asks each address of one upstream once, without a relay. Empty if there is no such upstream.
pub fn probe(mut settings: Settings, upstream: &str) -> Result<Vec<ProbeReport>, Trouble> {
    settings.upstreams.retain(|known| known.name == upstream);
    let question = probe_question(&settings);
    let built = assemble::upstreams(&settings, &[], &nowhere())?;
    let Some(upstream) = built.first() else { return Ok(Vec::new()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Trouble::System(format!("no runtime can be made: {e}")))?;
    Ok(runtime.block_on(upstream.probe_each(&question)))
}

/// What to ask a backend on purpose: a name that must resolve tells more than the root does.
pub(super) fn probe_question(settings: &Settings) -> Question {
    match settings.canary.resolves.first() {
        Some(name) => Question::plain(*name, rtype::A),
        None => Question::plain(Name::ROOT, rtype::NS),
    }
}

/// Where answers go that nobody keeps.
fn nowhere() -> Arc<Keeper> {
    Arc::new(Keeper { cache: Arc::new(Cache::new(Default::default(), 1)) })
}
