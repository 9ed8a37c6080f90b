//! How policy arrives: zones from files, watched and loaded off the serving threads, and
//! exceptions made by hand, kept in a file of our own.
//!
//! ```text
//!   config ─► Zones::load ─► PolicySet 1 ─► published
//!   a file changes (rename, write, link) ─► changed() ─► reload: rules or error, per zone
//!                                       ─► PolicySet n+1 ─► published; a bad file changes nothing
//! ```
//!
//! What comes from elsewhere is [`saved`], so that it is in force again from the first answer after
//! a start; [`Difference`] tells two versions apart.
//!
//! The rules of every zone are kept as loaded, so that one bad file leaves the others alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::clock;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::exceptions::Exceptions;
use crate::policy::rules::{SkippedRecord, ZoneRules};
use crate::policy::set::{Parts, PolicySet};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;
use crate::rpz::{self, Limits, Wanted, Written, ZoneError};

mod diff;
pub mod download;
pub mod exceptions;
mod file;
pub mod gate;
pub mod notify;
pub mod saved;
mod source;
mod status;
pub mod timers;
pub mod transfer;

pub use diff::Difference;
use file::Stamp;
pub use source::{Care, Checksum, Download, Origin, Primary, Source, Transfer};
pub use status::{HeldStatus, Promoted, SourceKind, SupplyStatus, ZoneState, ZoneStatus};

#[derive(Clone)]
struct Loaded {
    source: Source,
    rules: Arc<ZoneRules>,
    stamp: Stamp,
    /// Files that the zone includes, as they were.
    included: Vec<(PathBuf, Stamp)>,
    /// Wall time of the load in milliseconds since 1970.
    loaded: u64,
    /// Why a newer version is not in force.
    error: Option<String>,
}

/// Under which terms the zones hold.
#[derive(Clone, Default)]
pub struct Terms {
    /// Clients with zones of their own.
    pub groups: Vec<Group>,
    /// Names let through or blocked by hand.
    pub exceptions: Arc<Exceptions>,
    /// Nothing acts, everything is logged.
    pub monitor: bool,
    /// Triggers that are not judged.
    pub ignored: Vec<TriggerKind>,
    /// Zones that were never loaded and that queries wait for.
    pub awaited: Vec<Name>,
}

/// All policy zones as they are loaded.
#[derive(Clone, Default)]
pub struct Zones {
    loaded: Vec<Loaded>,
}

impl Loaded {
    /// The zone's own file and those it includes, as they were when they were loaded.
    fn files(&self) -> impl Iterator<Item = (&PathBuf, &Stamp)> {
        let included = self.included.iter().map(|(path, stamp)| (path, stamp));
        let own = self.source.origin.file().map(|path| (path, &self.stamp));
        own.into_iter().chain(included)
    }

    /// Some file has changed a moment ago, and may not be complete yet.
    fn is_being_written(&self, now: SystemTime) -> bool {
        let mut stamps = self.files().map(|(path, old)| (Stamp::of(path), old));
        stamps.any(|(new, old)| new != *old && !new.is_settled(now))
    }

    fn is_current(&self) -> bool {
        self.files().all(|(path, stamp)| Stamp::of(path) == *stamp)
    }

    /// Reads its file. The error, which is kept too, says why the old rules stay in force. `None`:
    /// the file was written to meanwhile, and nothing was changed.
    fn read_again(&mut self) -> Option<Result<(), String>> {
        let (began, stamp) = (SystemTime::now(), self::stamp(&self.source));
        let loaded = load(&self.source);
        if self::stamp(&self.source) != stamp {
            // what was read may be half of it
            return None;
        }
        match loaded {
            Ok(rules) => {
                let fresh = fresh(&self.source, rules, (began, stamp));
                // the same for the files that it includes
                if !fresh.is_current() {
                    return None;
                }
                *self = fresh;
                Some(Ok(()))
            }
            Err(fault) => {
                log_kept(&self.source, &fault);
                self.error = Some(fault.to_string());
                self.stamp = stamp;
                // the same files are looked at, as they are now
                self.included = stamped(self.included.drain(..).map(|(path, _)| path));
                Some(Err(fault.to_string()))
            }
        }
    }
}

fn stamped(paths: impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, Stamp)> {
    paths.map(|path| (path.clone(), Stamp::of(&path))).collect()
}

/// Where a rule is written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// The zone's file.
    pub file: PathBuf,
    /// The records of the rule, as they stand there now.
    pub written: Vec<Written>,
    /// What else is to be known: the file has changed, or the rule is not there any more.
    pub note: Option<String>,
}

/// Skipped records that status shows for one zone.
const SKIPPED_SHOWN: usize = 5;

impl Zones {
    /// Loads all zones. Zones that `self` holds already, from an unchanged file, are taken over;
    /// one that fails now but was loaded before stays as it was. A zone that was never loaded
    /// and cannot be is an error, and then nothing is changed: all faults are given at once.
    pub fn reconfigured(&self, sources: &[Source]) -> Result<Zones, Vec<ZoneError>> {
        let mut faults = Vec::new();
        let mut loaded = Vec::with_capacity(sources.len());
        for source in sources {
            let known = self.loaded.iter().find(|old| {
                old.source.settings.name == source.settings.name
                    && old.source.origin == source.origin
            });
            let (began, stamp) = (SystemTime::now(), stamp(source));
            if let Some(old) = known
                && old.error.is_none()
                && old.source.form == source.form
                && old.is_current()
                && old.rules.len() <= source.max_rules
            {
                loaded.push(Loaded { source: source.clone(), ..old.clone() });
                continue;
            }
            match (load(source), known) {
                (Ok(rules), _) => loaded.push(fresh(source, rules, (began, stamp))),
                (Err(fault), Some(old)) => {
                    log_kept(source, &fault);
                    let error = Some(fault.to_string());
                    let source = source.clone();
                    loaded.push(Loaded { source, stamp, error, ..old.clone() });
                }
                (Err(fault), None) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Zones { loaded }) } else { Err(faults) }
    }

    /// True if some file is not the one that was loaded, and is not being written right now.
    pub fn changed(&self, now: SystemTime) -> bool {
        self.loaded.iter().any(|zone| {
            let looked_at = zone.files().map(|(path, old)| (Stamp::of(path), old));
            let mut changed = looked_at.filter(|(new, old)| new != *old).peekable();
            changed.peek().is_some() && changed.all(|(new, _)| new.is_settled(now))
        })
    }

    /// Loads the files that changed. A bad one leaves its old rules in force, and says so.
    /// `None`: the rules are the same.
    pub fn refreshed(&self, now: SystemTime) -> (Zones, bool) {
        let mut next = self.clone();
        let mut new_rules = false;
        for zone in &mut next.loaded {
            if zone.is_current() || zone.is_being_written(now) {
                continue;
            }
            new_rules |= zone.read_again() == Some(Ok(()));
        }
        (next, new_rules)
    }

    /// Reads one zone's file again, changed or not. The error says why the old rules stay in
    /// force, or that nothing was read.
    pub fn reread(&self, zone: &Name) -> (Zones, Result<(), String>) {
        let mut next = self.clone();
        let named = |loaded: &&mut Loaded| loaded.source.settings.name == *zone;
        let mut files = next.loaded.iter_mut().filter(|loaded| !loaded.source.origin.is_remote());
        let outcome = match files.find(named).map(Loaded::read_again) {
            Some(Some(outcome)) => outcome,
            Some(None) => Err("the file is being written to; try again".to_owned()),
            None => Err("it comes from a file no more".to_owned()),
        };
        (next, outcome)
    }

    /// True if a zone's files are as they were when they were loaded, without a fault.
    pub fn is_current(&self, zone: &Name) -> bool {
        let found = self.loaded.iter().find(|loaded| loaded.source.settings.name == *zone);
        found.is_some_and(|loaded| loaded.error.is_none() && loaded.is_current())
    }

    /// The rules of a zone that are in force.
    pub fn rules(&self, zone: &Name) -> Option<Arc<ZoneRules>> {
        let found = self.loaded.iter().find(|loaded| loaded.source.settings.name == *zone);
        found.map(|loaded| Arc::clone(&loaded.rules))
    }

    /// Zones whose newest version could not be loaded, so that the one before is in force.
    pub fn kept(&self) -> Vec<String> {
        let kept = self.loaded.iter().filter_map(|zone| {
            let error = zone.error.as_ref()?;
            Some(format!("zone {} keeps its old rules: {error}", zone.source.settings.name))
        });
        kept.collect()
    }

    /// Looks in a zone's file for a rule that is in force. `None`: there is no such zone. Reads
    /// the whole file: not for a serving thread.
    pub fn place(&self, zone: &str, wanted: &Wanted) -> Option<Place> {
        let named = |loaded: &&Loaded| loaded.source.settings.name.to_string() == zone;
        let loaded = self.loaded.iter().find(named)?;
        let source = &loaded.source;
        let limits = Limits { max_rules: source.max_rules, ..Limits::default() };
        let file = source.origin.file()?.clone();
        let found = rpz::find_rule(&file, &source.settings.name, source.form, &limits, wanted);
        let same = loaded.is_current();
        let (written, note) = match found {
            Ok(written) => (written, None),
            Err(fault) => (Vec::new(), Some(format!("the file cannot be read now: {fault}"))),
        };
        let note = note.or_else(|| match (same, written.is_empty()) {
            (true, false) => None,
            (true, true) => Some("the rule was not found in the file".to_owned()),
            (false, false) => Some(
                "the file has changed since it was loaded; this is how the rule stands there now"
                    .to_owned(),
            ),
            (false, true) => Some(
                "the file has changed since it was loaded, and the rule is not there any more"
                    .to_owned(),
            ),
        });
        Some(Place { file, written, note })
    }

    /// Freezes the zones into a policy set. With a million rules that takes a while, unless
    /// `previous` was made of the same ones: not for a serving thread.
    pub fn policy(
        &self,
        generation: u64,
        terms: &Terms,
        previous: Option<&PolicySet>,
    ) -> PolicySet {
        let zones = self.loaded.iter();
        let zones = zones.map(|zone| (zone.source.settings.clone(), Arc::clone(&zone.rules)));
        let parts = Parts {
            generation,
            zones: zones.collect(),
            groups: terms.groups.clone(),
            exceptions: Arc::clone(&terms.exceptions),
            monitor: terms.monitor,
            ignored: terms.ignored.clone(),
            awaited: self.places(&terms.awaited),
        };
        PolicySet::build(parts, previous)
    }

    /// The zones of these names by their places, one bit each.
    fn places(&self, names: &[Name]) -> u64 {
        let zones = self.loaded.iter().zip(0..limits::POLICY_ZONES);
        let named = zones.filter(|(zone, _)| names.contains(&zone.source.settings.name));
        named.fold(0, |places, (_, place)| places | 1 << place)
    }

    /// State of every zone, under the policy set made of it.
    pub fn status(&self, policy: &PolicySet) -> Vec<ZoneStatus> {
        let now = clock::wall_millis();
        self.loaded
            .iter()
            .enumerate()
            .map(|(i, zone)| {
                let rules = &zone.rules;
                let frozen = policy.zones().get(i);
                ZoneStatus {
                    zone: zone.source.settings.name.to_string(),
                    source: zone.source.origin.to_string(),
                    kind: match &zone.source.origin {
                        Origin::File(_) => SourceKind::File,
                        Origin::Transfer(_) => SourceKind::Transfer,
                        Origin::Download(_) => SourceKind::Download,
                    },
                    state: if zone.error.is_some() { ZoneState::Kept } else { ZoneState::Current },
                    alarms: Vec::new(),
                    supply: None,
                    promoted: None,
                    mode: frozen.map_or(zone.source.settings.mode, |z| z.settings.mode),
                    serial: rules.soa.serial,
                    rules: rules.len(),
                    triggers: TriggerKind::ALL
                        .map(|kind| (kind, rules.counts.by_trigger(kind)))
                        .to_vec(),
                    skipped: rules.skipped.total,
                    skipped_first: in_words(&rules.skipped.first),
                    duplicates: frozen.map_or(0, |z| z.duplicates),
                    age_s: now.saturating_sub(zone.loaded) / 1000,
                    error: zone.error.clone(),
                }
            })
            .collect()
    }
}

fn load(source: &Source) -> Result<ZoneRules, ZoneError> {
    let limits = Limits { max_rules: source.max_rules, ..Limits::default() };
    let Origin::File(file) = &source.origin else {
        return Ok(ZoneRules::none(source.settings.name));
    };
    crate::rpz::load(file, &source.settings.name, source.form, &limits)
}

fn stamp(source: &Source) -> Stamp {
    source.origin.file().map_or(Stamp::NONE, |path| Stamp::of(path))
}

/// A zone whose load began then, when its file looked so.
fn fresh(source: &Source, rules: ZoneRules, (began, stamp): (SystemTime, Stamp)) -> Loaded {
    let name = &source.settings.name;
    tracing::info!("policy zone {name}: serial {}, {} rules", rules.soa.serial, rules.len());
    if rules.skipped.total > 0 {
        let first = in_words(&rules.skipped.first[..rules.skipped.first.len().min(1)]);
        let first = first.first().map_or("", String::as_str);
        tracing::warn!(
            "policy zone {name}: records that are no usable rules: {}; the first: {first}",
            rules.skipped.total
        );
    }
    let loaded = clock::wall_millis();
    let included = rules.included.iter().map(|path| PathBuf::from(&**path));
    let included = included.map(|path| (path.clone(), Stamp::of_read(&path, began))).collect();
    let (source, rules) = (source.clone(), Arc::new(rules));
    Loaded { source, rules, stamp, included, loaded, error: None }
}

fn log_kept(source: &Source, fault: &ZoneError) {
    let name = &source.settings.name;
    tracing::error!("policy zone {name}: the old rules stay in force: {fault}");
}

fn in_words(skipped: &[SkippedRecord]) -> Vec<String> {
    let shown = skipped.iter().take(SKIPPED_SHOWN);
    shown
        .map(|record| {
            let file = record.file.as_ref().map_or(String::new(), |file| format!("{file}, "));
            format!("{file}line {}: {}: {}", record.line, record.owner, record.reason)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::set::{Mode, Override, ZoneSettings};
    use crate::policy::stage::{Heard, NoEvidence, Place};
    use crate::rpz::Form;

    const GOOD: &str = "$TTL 60\n@ SOA localhost. root.localhost. 7 3600 600 86400 60\n\
                        @ NS localhost.\nbad.example CNAME .\n";

    fn source(file: &std::path::Path) -> Source {
        Source {
            settings: ZoneSettings {
                name: "block.test".parse().unwrap(),
                mode: Mode::Enforce,
                action: Override::Given,
                recursive_only: false,
                add_soa: true,
                max_ttl: 5,
                ede: None,
                ede_text: "blocked".into(),
                remote: false,
                log: true,
            },
            origin: Origin::File(file.to_owned()),
            form: Form::Zone,
            max_rules: 10,
            care: Care::default(),
        }
    }

    #[test]
    fn an_included_file_is_not_read_while_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let [path, more] = ["block.rpz", "more"].map(|name| dir.path().join(name));
        std::fs::write(&path, format!("{GOOD}$INCLUDE more\n")).unwrap();
        std::fs::write(&more, "one.example CNAME .\ntwo.example CNAME .\n").unwrap();
        std::thread::sleep(crate::limits::FILE_CLOCK * 3);
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let later = SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later), "what was read is known");

        // half of it is there
        std::fs::write(&more, "one.example CNAME .\n").unwrap();
        std::thread::sleep(crate::limits::FILE_CLOCK * 3);
        let (same, new_rules) = zones.refreshed(SystemTime::now());
        assert!(!new_rules && same.loaded[0].rules.len() == 3, "another zone may have changed");

        // read right after a change: whether all of it was read cannot be known
        std::fs::write(&more, "one.example CNAME .\n").unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let later = SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(zones.changed(later), "it is looked at once more");
        std::thread::sleep(crate::limits::FILE_CLOCK * 3);
        let (zones, new_rules) = zones.refreshed(later);
        assert!(new_rules && !zones.changed(later));
    }

    #[test]
    fn a_bad_file_changes_nothing_and_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let later = || SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later()));

        std::fs::write(&path, "no zone at all ( \n").unwrap();
        assert!(zones.changed(later()));
        let (kept, new_rules) = zones.refreshed(later());
        let status = &kept.status(&kept.policy(2, &Terms::default(), None))[0];
        assert!(!new_rules && status.rules == 1 && status.serial == 7);
        assert!(status.error.as_ref().unwrap().contains("block.rpz:1"), "{:?}", status.error);
        assert!(!kept.changed(later()), "one complaint for one change");

        // a new file in its place, by rename
        let next = dir.path().join("next");
        std::fs::write(&next, GOOD.replace(" 7 ", " 8 ") + "worse.example CNAME .\n").unwrap();
        std::fs::rename(&next, &path).unwrap();
        let (new, new_rules) = kept.refreshed(later());
        let status = &new.status(&new.policy(3, &Terms::default(), None))[0];
        assert!(new_rules && status.rules == 2 && status.serial == 8 && status.error.is_none());
    }

    #[test]
    fn a_change_of_an_included_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        let part = dir.path().join("part.rpz");
        std::fs::write(&path, format!("{GOOD}$INCLUDE part.rpz\n")).unwrap();
        std::fs::write(&part, "one.example CNAME .\n").unwrap();
        let pause = || std::thread::sleep(crate::limits::FILE_CLOCK * 3);
        pause();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let later = || SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later()));
        std::fs::write(&part, "one.example CNAME .\ntwo.example CNAME .\n").unwrap();
        assert!(zones.changed(later()));
        pause();
        let (zones, new_rules) = zones.refreshed(later());
        assert!(new_rules && !zones.changed(later()));
        assert_eq!(zones.status(&zones.policy(2, &Terms::default(), None))[0].rules, 3);
    }

    #[test]
    fn what_could_not_be_loaded_is_tried_again_by_a_reload() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let later = SystemTime::now() + 2 * crate::limits::FILE_SETTLES;
        let rules: String = (0..20).map(|n| format!("d{n}.example CNAME .\n")).collect();
        std::fs::write(&path, format!("{GOOD}{rules}$INCLUDE more\n")).unwrap();
        let (zones, _) = zones.refreshed(later);
        assert!(zones.kept()[0].contains("more than 10"), "{:?}", zones.kept());
        // the cure is in the configuration
        let cured = Source { max_rules: 100, ..source(&path) };
        let zones = zones.reconfigured(std::slice::from_ref(&cured)).ok().unwrap();
        assert!(zones.kept()[0].contains("no such file"), "{:?}", zones.kept());
        // or in a file that was not there
        std::fs::write(dir.path().join("more"), "more.example CNAME .\n").unwrap();
        let zones = zones.reconfigured(std::slice::from_ref(&cured)).ok().unwrap();
        assert_eq!((zones.kept().len(), zones.loaded[0].rules.len()), (0, 22));
    }

    #[test]
    fn another_form_reads_the_file_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        std::fs::write(&path, "one.example\n").unwrap();
        let form = |subdomains| Source { form: Form::Domains { subdomains }, ..source(&path) };
        let zones = Zones::default().reconfigured(&[form(false)]).ok().unwrap();
        let rules =
            |zones: &Zones| zones.status(&zones.policy(1, &Terms::default(), None))[0].rules;
        assert_eq!(rules(&zones), 1);
        let zones = zones.reconfigured(&[form(true)]).ok().unwrap();
        assert_eq!(rules(&zones), 2);
        let zones = zones.reconfigured(&[source(&path)]).ok().unwrap();
        let status = &zones.status(&zones.policy(1, &Terms::default(), None))[0];
        assert!(status.rules == 2 && status.error.as_ref().unwrap().contains("\"domains\""));
    }

    #[test]
    fn the_place_of_a_rule_is_that_of_the_file_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let wanted = Wanted::Name(TriggerKind::Qname, "bad.example".parse().unwrap());
        let look = || zones.place("block.test", &wanted).unwrap();
        let place = look();
        let line = (place.written[0].line, place.written[0].text.as_str());
        assert_eq!((line, place.note), ((4, "bad.example CNAME ."), None));
        std::fs::write(&path, GOOD.replace("bad.", "; new\nbad.")).unwrap();
        let place = look();
        assert_eq!(place.written[0].line, 5);
        assert!(place.note.unwrap().contains("how the rule stands there now"));
        std::fs::write(&path, GOOD.replace("bad.", "good.")).unwrap();
        let place = look();
        assert!(place.written.is_empty() && place.note.unwrap().contains("not there any more"));
        std::fs::remove_file(&path).unwrap();
        assert!(look().note.unwrap().contains("cannot be read now"));
        assert!(zones.place("other.test", &wanted).is_none());
    }

    #[test]
    fn a_zone_that_never_loaded_is_a_fault() {
        let missing = source(std::path::Path::new("/nonexistent/block.rpz"));
        let faults = Zones::default().reconfigured(&[missing.clone(), missing]).err().unwrap();
        assert_eq!(faults.len(), 2);
    }

    /// Whether a rule acts on the name of `GOOD`, and how many only watch.
    fn judged(policy: &PolicySet) -> (bool, usize) {
        let judge = policy.judge("127.0.0.1".parse().unwrap(), true);
        let name = "bad.example".parse().unwrap();
        let stage = judge.stage(&name, Place { first: true, own: false });
        let mut watching = 0;
        stage.watching(&mut Heard::default(), &NoEvidence, &mut |_| watching += 1);
        (stage.hit(&NoEvidence).is_some(), watching)
    }

    #[test]
    fn monitor_switches_all_zones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)]).ok().unwrap();
        let monitor = Terms { monitor: true, ..Terms::default() };
        let policy = zones.policy(1, &monitor, None);
        assert_eq!(judged(&policy), (false, 1));
        let policy = zones.policy(1, &Terms::default(), Some(&policy));
        assert_eq!(judged(&policy), (true, 0));
    }
}
