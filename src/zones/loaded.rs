//! One zone as it is loaded: its rules, and what is known of where they came from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Begin;
use super::file::Stamp;
use super::keeper::saved_in;
use super::promotions::Promotions;
use super::remote::Remote;
use super::saved::{self, Identity};
use super::source::{Origin, Source};
use super::status::{SourceKind, ZoneState, ZoneStatus};
use crate::clock;
use crate::policy::rules::{SkippedRecord, ZoneRules};
use crate::policy::set::{Mode, Zone};
use crate::policy::trigger::TriggerKind;
use crate::rpz::{self, Limits, ZoneError};

/// Skipped records that status shows for one zone.
const SKIPPED_SHOWN: usize = 5;

/// A zone and its rules.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) source: Source,
    pub(super) rules: Arc<ZoneRules>,
    /// Wall time when these rules came, in milliseconds since 1970; `None`: none ever did.
    pub(super) came: Option<u64>,
    pub(super) way: Way,
}

/// The way by which a zone comes.
#[derive(Clone)]
pub(super) enum Way {
    /// Files of this host.
    Files(Files),
    /// Another host; a keeper brings new versions.
    Remote(Arc<Remote>),
}

/// What is known of a zone's files.
#[derive(Clone)]
pub(super) struct Files {
    /// The zone's own.
    own: (PathBuf, Stamp),
    /// Those that it includes.
    included: Vec<(PathBuf, Stamp)>,
    /// Why a newer version is not in force.
    pub(super) error: Option<String>,
}

impl Files {
    fn all(&self) -> impl Iterator<Item = &(PathBuf, Stamp)> {
        std::iter::once(&self.own).chain(&self.included)
    }

    /// The files are the ones that were loaded.
    pub(super) fn are_current(&self) -> bool {
        self.all().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// Some file has changed a moment ago, and may not be complete yet.
    fn are_being_written(&self, now: SystemTime) -> bool {
        let mut stamps = self.all().map(|(path, old)| (Stamp::of(path), old));
        stamps.any(|(new, old)| new != *old && !new.is_settled(now))
    }

    /// Some file is not the one that was loaded, and none is being written right now.
    pub(super) fn have_changed(&self, now: SystemTime) -> bool {
        let looked_at = self.all().map(|(path, old)| (Stamp::of(path), old));
        let mut changed = looked_at.filter(|(new, old)| new != *old).peekable();
        changed.peek().is_some() && changed.all(|(new, _)| new.is_settled(now))
    }
}

impl Loaded {
    /// True if this is the zone that the source means, so that its rules may go on.
    pub(super) fn is_of(&self, source: &Source) -> bool {
        let same_way = match (&self.source.origin, &source.origin) {
            (Origin::File(old), Origin::File(new)) => old == new,
            (Origin::Transfer(_), Origin::Transfer(_)) => true,
            (Origin::Download(_), Origin::Download(_)) => true,
            _ => false,
        };
        same_way && self.source.settings.name == source.settings.name
    }

    /// A zone from elsewhere: as it is known, or from its saved copy, or without any rules yet.
    pub(super) fn from_elsewhere(source: &Source, known: Option<&Loaded>, begin: Begin) -> Loaded {
        if let Some(old) = known.filter(|old| old.remote().is_some()) {
            return Loaded { source: source.clone(), ..old.clone() };
        }
        let name = source.settings.name;
        let copy = match begin {
            Begin::Cold(folder) | Begin::Warm(folder) => saved_copy(folder, source),
            Begin::Check => None,
        };
        let (rules, came, remote) = match copy {
            Some(copy) => {
                if matches!(source.origin, Origin::Download(_)) {
                    copy.rules.checksum();
                }
                let times = source.times(&copy.rules.soa);
                let contact = copy.contact.duration_since(UNIX_EPOCH).unwrap_or_default();
                let heard = contact.as_millis() as u64;
                let remote = Remote::saved(name, times, copy.came, heard);
                if source.care.withdraw {
                    remote.withdraw_expired();
                }
                (Arc::new(copy.rules), Some(copy.came), remote)
            }
            None => {
                let remote = Remote::new(name);
                if matches!(begin, Begin::Cold(_)) && source.settings.mode == Mode::Enforce {
                    remote.await_first();
                }
                (Arc::new(ZoneRules::none(name)), None, remote)
            }
        };
        Loaded { source: source.clone(), rules, came, way: Way::Remote(Arc::new(remote)) }
    }

    /// What its rules may do, age and promotion included.
    pub(super) fn mode(&self, promoted: &Promotions) -> Mode {
        let set = self.source.settings.mode;
        let withdraws = self.source.care.withdraw;
        match set {
            _ if withdraws && self.remote().is_some_and(|r| r.is_withdrawn()) => Mode::Off,
            Mode::Monitor if promoted.of(&self.source.settings.name).is_some() => Mode::Enforce,
            mode => mode,
        }
    }

    /// State of the zone, under the policy made of it.
    pub(super) fn status(&self, frozen: Option<&Zone>, promoted: &Promotions) -> ZoneStatus {
        let (source, rules) = (&self.source, &self.rules);
        let error = self.file().and_then(|(_, files)| files.error.clone());
        let (state, alarms, supply) = match self.remote() {
            Some(remote) => {
                let state = remote.state(&source.care);
                (state, remote.alarms(state), Some(remote.status()))
            }
            None if error.is_some() => (ZoneState::Kept, error.iter().cloned().collect(), None),
            None => (ZoneState::Current, Vec::new(), None),
        };
        let promoted = promoted.of(&source.settings.name);
        ZoneStatus {
            zone: source.settings.name.to_string(),
            source: source.origin.to_string(),
            kind: match &source.origin {
                Origin::File(_) => SourceKind::File,
                Origin::Transfer(_) => SourceKind::Transfer,
                Origin::Download(_) => SourceKind::Download,
            },
            state,
            mode: frozen.map_or(source.settings.mode, |zone| zone.settings.mode),
            serial: rules.soa.serial,
            rules: rules.len(),
            checksum: rules.known_checksum().map(|sum| format!("{sum:016x}")),
            triggers: TriggerKind::ALL.map(|kind| (kind, rules.counts.by_trigger(kind))).to_vec(),
            skipped: rules.skipped.total,
            skipped_first: in_words(&rules.skipped.first),
            duplicates: frozen.map_or(0, |zone| zone.duplicates),
            age_s: self.came.map_or(0, |came| clock::wall_millis().saturating_sub(came) / 1000),
            error,
            alarms,
            supply,
            promoted: promoted.filter(|_| source.settings.mode == Mode::Monitor).cloned(),
        }
    }

    /// Loads a zone from its file. What fails now but was loaded before stays as it was.
    pub(super) fn from_file(
        source: &Source,
        path: &Path,
        known: Option<&Loaded>,
    ) -> Result<Loaded, ZoneError> {
        let (began, stamp) = (SystemTime::now(), Stamp::of(path));
        if let Some(old) = known
            && let Way::Files(files) = &old.way
            && files.error.is_none()
            && old.source.form == source.form
            && files.are_current()
            && old.rules.len() <= source.max_rules
        {
            return Ok(Loaded { source: source.clone(), ..old.clone() });
        }
        match (read(source, path), known) {
            (Ok(rules), _) => Ok(fresh(source, path, rules, (began, stamp))),
            (Err(fault), Some(Loaded { rules, came, way: Way::Files(files), .. })) => {
                log_kept(source, &fault);
                let own = (path.to_owned(), stamp);
                let files = Files { own, error: Some(fault.to_string()), ..files.clone() };
                let rules = Arc::clone(rules);
                Ok(Loaded { source: source.clone(), rules, came: *came, way: Way::Files(files) })
            }
            (Err(fault), _) => Err(fault),
        }
    }

    /// Reads the files again if they changed. A bad version leaves the old rules. True if there
    /// are new rules.
    pub(super) fn refresh(&mut self, now: SystemTime) -> bool {
        let Way::Files(files) = &self.way else { return false };
        if files.are_current() || files.are_being_written(now) {
            return false;
        }
        self.read_again() == Some(Ok(()))
    }

    /// Reads its file. The error, which is kept too, says why the old rules stay in force. `None`:
    /// the file was written to meanwhile, or there is none, and nothing was changed.
    pub(super) fn read_again(&mut self) -> Option<Result<(), String>> {
        let Way::Files(files) = &mut self.way else { return None };
        let path = files.own.0.clone();
        let (began, stamp) = (SystemTime::now(), Stamp::of(&path));
        let loaded = read(&self.source, &path);
        if Stamp::of(&path) != stamp {
            // what was read may be half of it
            return None;
        }
        match loaded {
            Ok(rules) => {
                let fresh = fresh(&self.source, &path, rules, (began, stamp));
                // the same for the files that it includes
                let Way::Files(files) = &fresh.way else { return None };
                if !files.are_current() {
                    return None;
                }
                *self = fresh;
                Some(Ok(()))
            }
            Err(fault) => {
                log_kept(&self.source, &fault);
                files.error = Some(fault.to_string());
                files.own.1 = stamp;
                // the same files are looked at, as they are now
                for (path, stamp) in &mut files.included {
                    *stamp = Stamp::of(path);
                }
                Some(Err(fault.to_string()))
            }
        }
    }

    /// The file and what is known of it, if it comes from one.
    pub(super) fn file(&self) -> Option<(&PathBuf, &Files)> {
        match (&self.source.origin, &self.way) {
            (Origin::File(path), Way::Files(files)) => Some((path, files)),
            _ => None,
        }
    }

    /// What is shared of a zone from elsewhere.
    pub(super) fn remote(&self) -> Option<&Arc<Remote>> {
        match &self.way {
            Way::Remote(remote) => Some(remote),
            Way::Files(_) => None,
        }
    }
}

fn read(source: &Source, path: &Path) -> Result<ZoneRules, ZoneError> {
    let limits = Limits { max_rules: source.max_rules, ..Limits::default() };
    rpz::load(path, &source.settings.name, source.form, &limits)
}

/// A zone whose load began then, when its file looked so.
fn fresh(
    source: &Source,
    path: &Path,
    rules: ZoneRules,
    (began, stamp): (SystemTime, Stamp),
) -> Loaded {
    let name = &source.settings.name;
    tracing::info!(
        event = "zone-version", zone = %name, serial = rules.soa.serial,
        "policy zone {name}: serial {}, {} rules",
        rules.soa.serial, rules.len()
    );
    log_skipped(source, &rules);
    rules.checksum();
    let included = rules.included.iter().map(|path| PathBuf::from(&**path));
    let included = included.map(|path| (path.clone(), Stamp::of_read(&path, began))).collect();
    Loaded {
        source: source.clone(),
        rules: Arc::new(rules),
        came: Some(clock::wall_millis()),
        way: Way::Files(Files { own: (path.to_owned(), stamp), included, error: None }),
    }
}

/// The last good copy of a zone from elsewhere. A damaged one is set aside and told of.
fn saved_copy(state: &Path, source: &Source) -> Option<saved::Loaded> {
    let _alone = saved::alone();
    let (name, folder) = (&source.settings.name, saved_in(state));
    let copy = match saved::load(&folder, name, source.max_rules) {
        Ok(copy) => copy?,
        Err(fault) if !fault.is_damage() => {
            tracing::error!(
                event = "zone-copy-unused", zone = %name,
                "policy zone {name}: its last good copy is not used: {fault}"
            );
            return None;
        }
        Err(fault) => {
            let aside = saved::set_aside(&saved::path_of(&folder, name));
            let aside = aside.map_or_else(
                |e| format!("it cannot be set aside: {e}"),
                |path| format!("it is {} now", path.display()),
            );
            tracing::error!(
                event = "zone-copy-unused", zone = %name,
                "policy zone {name}: its last good copy is of no use: {fault}; {aside}"
            );
            return None;
        }
    };
    if copy.identity != Identity::of(&source.origin, source.form) {
        tracing::warn!(
            event = "zone-copy-unused", zone = %name,
            "policy zone {name}: its last good copy came from elsewhere, or in another form, and \
             is not used"
        );
        return None;
    }
    let (serial, rules) = (copy.rules.soa.serial, copy.rules.len());
    tracing::info!(
        event = "zone-version", zone = %name, serial,
        "policy zone {name}: serial {serial}, {rules} rules, from its last good copy"
    );
    Some(copy)
}

/// Tells of records that became no rules.
pub(super) fn log_skipped(source: &Source, rules: &ZoneRules) {
    if rules.skipped.total == 0 {
        return;
    }
    let first = in_words(&rules.skipped.first[..rules.skipped.first.len().min(1)]);
    tracing::warn!(
        event = "zone-skipped", zone = %source.settings.name,
        "policy zone {}: records that are no usable rules: {}; the first: {}",
        source.settings.name,
        rules.skipped.total,
        first.first().map_or("", String::as_str)
    );
}

fn log_kept(source: &Source, fault: &ZoneError) {
    let name = &source.settings.name;
    tracing::error!(
        event = "zone-failed", zone = %name,
        "policy zone {name}: the old rules stay in force: {fault}"
    );
}

/// The first skipped records, for people.
pub(super) fn in_words(skipped: &[SkippedRecord]) -> Vec<String> {
    let shown = skipped.iter().take(SKIPPED_SHOWN);
    shown
        .map(|record| {
            let file = record.file.as_ref().map_or(String::new(), |file| format!("{file}, "));
            let line =
                if record.line == 0 { String::new() } else { format!("line {}: ", record.line) };
            format!("{file}{line}{}: {}", record.owner, record.reason)
        })
        .collect()
}
