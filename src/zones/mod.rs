//! How policy arrives: from files that are watched, by zone transfer, from lists on the web;
//! and exceptions made by hand, kept in a file of our own.
//!
//! ```text
//!   config ─► Zones::reconfigured ─► files read, saved copies loaded ─► PolicySet 1 ─► published
//!
//!   a file changes ─► refreshed ─► rules or error, per zone ──────────────┐
//!   remote: keeper ── timers, NOTIFY, orders ─► look at the source        │
//!             ├─ transfer: SOA? IXFR on the rules in force, else AXFR     ├─► PolicySet n+1
//!             ├─ download: conditional GET                                │
//!             └─ gate: hold it, or ─► Enforcer::offer ────────────────────┘
//!                                     └─► saved: the last good copy, for the next start
//! ```
//!
//! The rules of every zone are kept as loaded, so that one bad source leaves the others alone,
//! and a bad version changes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::Serialize;

use crate::clock;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::exceptions::Exceptions;
use crate::policy::rules::ZoneRules;
use crate::policy::set::{Mode, Parts, PolicySet};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;
use crate::rpz::{self, Limits, Wanted, Written, ZoneError};

mod diff;
pub mod download;
pub mod exceptions;
mod file;
pub mod gate;
mod keeper;
mod loaded;
mod look;
pub mod notify;
pub mod promotions;
mod remote;
pub mod saved;
mod source;
mod status;
mod timers;
pub mod transfer;
mod whole;

use loaded::Loaded;
use notify::Desk;
use promotions::Promotions;

pub use diff::Difference;
pub use keeper::{Enforcer, Keeper, Later, Offer, Verdict};
pub use remote::{Look, Remote};
pub use source::{Care, Checksum, Download, Origin, Primary, Source, Transfer};
pub use status::{HeldStatus, Promoted, SourceKind, SupplyStatus, ZoneState, ZoneStatus};

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
    /// Monitor zones that were made to enforce by hand.
    pub promoted: Arc<Promotions>,
}

/// All policy zones as they are loaded.
#[derive(Clone, Default)]
pub struct Zones {
    loaded: Vec<Loaded>,
}

/// How zones that are not known yet begin.
#[derive(Clone, Copy, Debug)]
pub enum Begin<'a> {
    /// Nobody is served yet: saved copies from this folder act before the first answer, and
    /// queries wait for zones that have none.
    Cold(&'a Path),
    /// The relay serves: a new zone judges nothing until its first version is there.
    Warm(&'a Path),
    /// Only to look at: no saved copies.
    Check,
}

/// Where a rule is written.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Place {
    /// The zone's file; `None`: it comes from elsewhere.
    pub file: Option<PathBuf>,
    /// Where else it comes from, and since when this version is here.
    pub source: Option<String>,
    /// The records of the rule, as they stand there now.
    pub written: Vec<Written>,
    /// What else is to be known: the file has changed, or the rule is not there any more.
    pub note: Option<String>,
}

impl Zones {
    /// Loads all zones. Zones that `self` holds already, from an unchanged source, are taken
    /// over; one that fails now but was loaded before stays as it was. A file that was never
    /// loaded and cannot be is an error, and then nothing is changed: all faults are given at
    /// once. A zone from elsewhere is never an error.
    pub fn reconfigured(&self, sources: &[Source], begin: Begin) -> Result<Zones, Vec<ZoneError>> {
        let mut faults = Vec::new();
        let mut loaded = Vec::with_capacity(sources.len());
        for source in sources {
            let known = self.loaded.iter().find(|old| old.is_of(source));
            let zone = match &source.origin {
                Origin::File(path) => Loaded::from_file(source, path, known),
                Origin::Transfer(_) | Origin::Download(_) => {
                    Ok(Loaded::from_elsewhere(source, known, begin))
                }
            };
            match zone {
                Ok(zone) => loaded.push(zone),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let zones = Zones { loaded };
        if let Begin::Cold(folder) = begin {
            let names: Vec<Name> = zones.names().copied().collect();
            saved::forget_others(&keeper::saved_in(folder), &names);
        }
        Ok(zones)
    }

    /// True if some file is not the one that was loaded, and is not being written right now.
    pub fn changed(&self, now: SystemTime) -> bool {
        self.files().any(|files| files.have_changed(now))
    }

    /// Loads the files that changed. A bad one leaves its old rules in force, and says so. The
    /// second is false if the rules are the same.
    pub fn refreshed(&self, now: SystemTime) -> (Zones, bool) {
        let mut next = self.clone();
        let mut new_rules = false;
        for zone in &mut next.loaded {
            new_rules |= zone.refresh(now);
        }
        (next, new_rules)
    }

    /// Reads one zone's file again, changed or not. The error says why the old rules stay in
    /// force, or that nothing was read.
    pub fn reread(&self, zone: &Name) -> (Zones, Result<(), String>) {
        let mut next = self.clone();
        let named = |loaded: &&mut Loaded| loaded.source.settings.name == *zone;
        let outcome = match next.loaded.iter_mut().find(named).map(Loaded::read_again) {
            Some(Some(outcome)) => outcome,
            Some(None) => Err("the file is being written to; try again".to_owned()),
            None => Err("it comes from a file no more".to_owned()),
        };
        (next, outcome)
    }

    /// True if a zone's files are as they were when they were loaded, without a fault.
    pub fn is_current(&self, zone: &Name) -> bool {
        let files = self.named(zone).and_then(Loaded::file);
        files.is_some_and(|(_, files)| files.error.is_none() && files.are_current())
    }

    /// The same zones, one of them with these rules. `None`: there is no such zone from
    /// elsewhere any more.
    pub fn with_rules(&self, zone: &Name, rules: Arc<ZoneRules>) -> Option<Zones> {
        let mut next = self.clone();
        let of = next.loaded.iter_mut().find(|loaded| loaded.source.settings.name == *zone)?;
        of.remote()?;
        (of.rules, of.came) = (rules, Some(clock::wall_millis()));
        Some(next)
    }

    /// Zones whose newest version could not be loaded, so that the one before is in force.
    pub fn kept(&self) -> Vec<String> {
        let kept = self.loaded.iter().filter_map(|zone| {
            let error = zone.file()?.1.error.as_ref()?;
            Some(format!("zone {} keeps its old rules: {error}", zone.source.settings.name))
        });
        kept.collect()
    }

    /// Configuration of a zone, and the rules in force.
    pub fn find(&self, zone: &Name) -> Option<(&Source, &Arc<ZoneRules>)> {
        let loaded = self.named(zone)?;
        Some((&loaded.source, &loaded.rules))
    }

    /// The rules of a zone that some version came of, and the wall time when it came, in
    /// milliseconds since 1970.
    pub fn in_force(&self, zone: &Name) -> Option<(Arc<ZoneRules>, u64)> {
        let loaded = self.named(zone)?;
        Some((Arc::clone(&loaded.rules), loaded.came?))
    }

    /// Zones that the configuration monitors.
    pub fn monitored(&self) -> impl Iterator<Item = Name> {
        let settings = self.loaded.iter().map(|zone| &zone.source.settings);
        settings.filter(|settings| settings.mode == Mode::Monitor).map(|settings| settings.name)
    }

    /// Writes the last good copies that are not on the disk yet.
    pub fn save_unsaved(&self, folder: &Path) {
        for zone in &self.loaded {
            if let (Some(remote), Some(came)) = (zone.remote(), zone.came)
                && let Some(whole) = remote.take_unsaved()
            {
                keeper::save_copy(folder, &zone.source, remote, &zone.rules, came, whole);
            }
        }
    }

    /// What lasts of a zone from elsewhere; `None` for a file, or an unknown zone.
    pub fn remote(&self, zone: &Name) -> Option<&Arc<Remote>> {
        self.named(zone)?.remote()
    }

    /// All zones from elsewhere with their configuration, for their keepers.
    pub fn remotes(&self) -> impl Iterator<Item = (&Source, &Arc<Remote>)> {
        self.loaded.iter().filter_map(|zone| Some((&zone.source, zone.remote()?)))
    }

    /// The names of all zones, in their order.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.loaded.iter().map(|zone| &zone.source.settings.name)
    }

    /// Who listens to which NOTIFY.
    pub fn desk(&self) -> Desk {
        Desk::new(self.remotes().filter_map(|(source, remote)| match &source.origin {
            Origin::Transfer(transfer) => {
                Some((source.settings.name, transfer.clone(), Arc::clone(&remote.bell)))
            }
            _ => None,
        }))
    }

    /// Looks in a zone's file for a rule that is in force; of a zone from elsewhere there is only
    /// its source to tell. `None`: there is no such zone. Reads the whole file: not for a serving
    /// thread.
    pub fn place(&self, zone: &str, wanted: &Wanted) -> Option<Place> {
        let named = |loaded: &&Loaded| loaded.source.settings.name.to_string() == zone;
        let loaded = self.loaded.iter().find(named)?;
        let source = &loaded.source;
        let Some((path, files)) = loaded.file() else {
            let came = loaded.came.map(|came| format!(", here since {}", clock::rfc3339(came)));
            let told = format!("{}{}", source.origin, came.unwrap_or_default());
            return Some(Place { source: Some(told), ..Place::default() });
        };
        let limits = Limits { max_rules: source.max_rules, ..Limits::default() };
        let file = path.clone();
        let found = rpz::find_rule(path, &source.settings.name, source.form, &limits, wanted);
        let (written, note) = match found {
            Ok(written) => (written, None),
            Err(fault) => (Vec::new(), Some(format!("the file cannot be read now: {fault}"))),
        };
        let note = note.or_else(|| match (files.are_current(), written.is_empty()) {
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
        Some(Place { file: Some(file), source: None, written, note })
    }

    /// Freezes the zones into a policy set. With a million rules that takes a while, unless
    /// `previous` was made of nearly the same ones: not for a serving thread.
    pub fn policy(
        &self,
        generation: u64,
        terms: &Terms,
        previous: Option<&PolicySet>,
    ) -> PolicySet {
        let zones = self.loaded.iter().map(|zone| {
            let mut settings = zone.source.settings.clone();
            settings.mode = zone.mode(&terms.promoted);
            (settings, Arc::clone(&zone.rules))
        });
        let awaited = |zone: &Loaded| {
            zone.came.is_none() && zone.remote().is_some_and(|remote| remote.is_awaited())
        };
        let places = self.loaded.iter().zip(0..limits::POLICY_ZONES);
        let places = places.filter(|(zone, _)| awaited(zone));
        let parts = Parts {
            generation,
            zones: zones.collect(),
            groups: terms.groups.clone(),
            exceptions: Arc::clone(&terms.exceptions),
            monitor: terms.monitor,
            ignored: terms.ignored.clone(),
            awaited: places.fold(0, |mask, (_, place)| mask | 1 << place),
        };
        PolicySet::build(parts, previous)
    }

    /// State of every zone, under the policy set made of it.
    pub fn status(&self, policy: &PolicySet, promoted: &Promotions) -> Vec<ZoneStatus> {
        let frozen = |i: usize| policy.zones().get(i);
        let zones = self.loaded.iter().enumerate();
        zones.map(|(i, zone)| zone.status(frozen(i).map(|f| &**f), promoted)).collect()
    }

    fn named(&self, zone: &Name) -> Option<&Loaded> {
        self.loaded.iter().find(|loaded| loaded.source.settings.name == *zone)
    }

    fn files(&self) -> impl Iterator<Item = &loaded::Files> {
        self.loaded.iter().filter_map(|zone| Some(zone.file()?.1))
    }
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
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let later = SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later), "what was read is known");

        // half of it is there
        std::fs::write(&more, "one.example CNAME .\n").unwrap();
        std::thread::sleep(crate::limits::FILE_CLOCK * 3);
        let (same, new_rules) = zones.refreshed(SystemTime::now());
        assert!(!new_rules && same.loaded[0].rules.len() == 3, "another zone may have changed");

        // read right after a change: whether all of it was read cannot be known
        std::fs::write(&more, "one.example CNAME .\n").unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
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
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let later = || SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later()));

        std::fs::write(&path, "no zone at all ( \n").unwrap();
        assert!(zones.changed(later()));
        let (kept, new_rules) = zones.refreshed(later());
        let status =
            &kept.status(&kept.policy(2, &Terms::default(), None), &Promotions::default())[0];
        assert!(!new_rules && status.rules == 1 && status.serial == 7);
        assert!(status.error.as_ref().unwrap().contains("block.rpz:1"), "{:?}", status.error);
        assert!(!kept.changed(later()), "one complaint for one change");

        // a new file in its place, by rename
        let next = dir.path().join("next");
        std::fs::write(&next, GOOD.replace(" 7 ", " 8 ") + "worse.example CNAME .\n").unwrap();
        std::fs::rename(&next, &path).unwrap();
        let (new, new_rules) = kept.refreshed(later());
        let status =
            &new.status(&new.policy(3, &Terms::default(), None), &Promotions::default())[0];
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
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let later = || SystemTime::now() + crate::limits::FILE_SETTLES;
        assert!(!zones.changed(later()));
        std::fs::write(&part, "one.example CNAME .\ntwo.example CNAME .\n").unwrap();
        assert!(zones.changed(later()));
        pause();
        let (zones, new_rules) = zones.refreshed(later());
        assert!(new_rules && !zones.changed(later()));
        assert_eq!(
            zones.status(&zones.policy(2, &Terms::default(), None), &Promotions::default())[0]
                .rules,
            3
        );
    }

    #[test]
    fn what_could_not_be_loaded_is_tried_again_by_a_reload() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let later = SystemTime::now() + 2 * crate::limits::FILE_SETTLES;
        let rules: String = (0..20).map(|n| format!("d{n}.example CNAME .\n")).collect();
        std::fs::write(&path, format!("{GOOD}{rules}$INCLUDE more\n")).unwrap();
        let (zones, _) = zones.refreshed(later);
        assert!(zones.kept()[0].contains("more than 10"), "{:?}", zones.kept());
        // the cure is in the configuration
        let cured = Source { max_rules: 100, ..source(&path) };
        let zones = zones.reconfigured(std::slice::from_ref(&cured), Begin::Check).ok().unwrap();
        assert!(zones.kept()[0].contains("no such file"), "{:?}", zones.kept());
        // or in a file that was not there
        std::fs::write(dir.path().join("more"), "more.example CNAME .\n").unwrap();
        let zones = zones.reconfigured(std::slice::from_ref(&cured), Begin::Check).ok().unwrap();
        assert_eq!((zones.kept().len(), zones.loaded[0].rules.len()), (0, 22));
    }

    #[test]
    fn another_form_reads_the_file_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        std::fs::write(&path, "one.example\n").unwrap();
        let form = |subdomains| Source { form: Form::Domains { subdomains }, ..source(&path) };
        let zones = Zones::default().reconfigured(&[form(false)], Begin::Check).ok().unwrap();
        let rules = |zones: &Zones| {
            zones.status(&zones.policy(1, &Terms::default(), None), &Promotions::default())[0].rules
        };
        assert_eq!(rules(&zones), 1);
        let zones = zones.reconfigured(&[form(true)], Begin::Check).ok().unwrap();
        assert_eq!(rules(&zones), 2);
        let zones = zones.reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let status =
            &zones.status(&zones.policy(1, &Terms::default(), None), &Promotions::default())[0];
        assert!(status.rules == 2 && status.error.as_ref().unwrap().contains("\"domains\""));
    }

    #[test]
    fn the_place_of_a_rule_is_that_of_the_file_as_it_is_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.rpz");
        std::fs::write(&path, GOOD).unwrap();
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
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
        let faults =
            Zones::default().reconfigured(&[missing.clone(), missing], Begin::Check).err().unwrap();
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
        let zones = Zones::default().reconfigured(&[source(&path)], Begin::Check).ok().unwrap();
        let monitor = Terms { monitor: true, ..Terms::default() };
        let policy = zones.policy(1, &monitor, None);
        assert_eq!(judged(&policy), (false, 1));
        let policy = zones.policy(1, &Terms::default(), Some(&policy));
        assert_eq!(judged(&policy), (true, 0));
    }
}
