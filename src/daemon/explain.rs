//! The slow part of an explanation, and explanations without a relay.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::time::timeout;

use super::{Trouble, off_thread};
use crate::admin::exceptions::Suspended;
use crate::dns::ede::code;
use crate::dns::name::Name;
use crate::limits;
use crate::pipeline::explain::{Asking, Explanation, Given, Suspension};
use crate::policy::set::{Mode, Override, ZoneSettings};
use crate::rpz::{self, Form, ZoneError};
use crate::zones::{Begin, Care, Origin, Place, Source, Terms, Zones};

/// Policy zones from files, and what is said to be true of the name.
#[derive(Clone, Debug, Default)]
pub struct Offline {
    /// The zones' files, in their order.
    pub files: Vec<PathBuf>,
    /// How they are written.
    pub form: Form,
    /// Addresses and servers.
    pub given: Given,
}

/// A suspension in the words of an explanation.
pub(super) fn suspended(shown: &Suspended) -> Suspension {
    let Suspended { until, owner, reason } = shown.clone();
    Suspension { until, owner, reason }
}

/// Adds what takes a walk through all rules, and through the file of the rule that decided. A
/// file that is too long for [`limits::PLACE_SEARCH`] is left.
pub(super) async fn look_closer(
    explanation: Explanation,
    zones: Zones,
) -> Result<Explanation, Trouble> {
    let mut closer = explanation;
    let mut explanation = off_thread(move || {
        closer.look_closer();
        Ok(closer)
    })
    .await?;
    let Some(rule) = &mut explanation.rule else { return Ok(explanation) };
    let Some(wanted) = rule.wanted.clone() else { return Ok(explanation) };
    let zone = rule.zone.clone();
    let looking = off_thread(move || Ok::<_, Trouble>(zones.place(&zone, &wanted)));
    rule.place = match timeout(limits::PLACE_SEARCH, looking).await {
        Ok(found) => found?,
        Err(_) => {
            let note = "the file is so long that the rule was not found in time".to_owned();
            Some(Place { note: Some(note), ..Place::default() })
        }
    };
    Ok(explanation)
}

/// What policy zones from files make of a query, if what is given is true. No relay takes part,
/// and nothing is asked. Blocks.
pub fn offline(asking: &Asking, offline: &Offline) -> Result<Explanation, Trouble> {
    let mut sources: Vec<Source> = Vec::new();
    let mut faults = Vec::new();
    for file in &offline.files {
        match zone_of(file, offline.form, &sources) {
            Ok(name) => sources.push(source(name, file.clone(), offline.form)),
            Err(fault) => faults.push(fault),
        }
    }
    if sources.len() > limits::POLICY_ZONES {
        let text = format!("there are more than {} zones", limits::POLICY_ZONES);
        return Err(Trouble::System(text));
    }
    if !faults.is_empty() {
        return Err(Trouble::Zones(faults));
    }
    let zones = Zones::default().reconfigured(&sources, Begin::Check).map_err(Trouble::Zones)?;
    let set = Arc::new(zones.policy(0, &Terms::default(), None));
    let mut explanation = Explanation::offline(asking, &set, &offline.given);
    explanation.look_closer();
    if let Some(rule) = &mut explanation.rule
        && let Some(wanted) = &rule.wanted
    {
        rule.place = zones.place(&rule.zone, wanted);
    }
    Ok(explanation)
}

/// The name of the zone in a file: that of its SOA, else the file's own, less its ending.
fn zone_of(file: &Path, form: Form, before: &[Source]) -> Result<Name, ZoneError> {
    let written = match form {
        Form::Zone => rpz::zone_name(file, &rpz::Limits::default())?,
        Form::Domains { .. } | Form::Hosts { .. } => None,
    };
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let stem = stem.and_then(|stem| stem.parse::<Name>().ok()).filter(|name| !name.is_root());
    let unnamed = || {
        let reason = "neither a SOA nor the file's name gives the zone a name; write $ORIGIN";
        ZoneError { file: file.to_owned(), line: None, reason: reason.to_owned() }
    };
    let name = written.or(stem).ok_or_else(unnamed)?;
    let taken = |name: &Name| before.iter().any(|source| source.settings.name == *name);
    if !taken(&name) {
        return Ok(name);
    }
    let reason = format!("two files hold a zone {name}; name one of them only");
    Err(ZoneError { file: file.to_owned(), line: None, reason })
}

fn source(name: Name, file: PathBuf, form: Form) -> Source {
    let settings = ZoneSettings {
        name,
        mode: Mode::Enforce,
        action: Override::Given,
        recursive_only: true,
        add_soa: true,
        max_ttl: limits::EXCEPTION_TTL,
        ede: Some(code::BLOCKED),
        ede_text: "blocked by policy".into(),
        remote: false,
        log: false,
    };
    let origin = Origin::File(file);
    Source { settings, origin, form, max_rules: rpz::MAX_RULES, care: Care::default() }
}
