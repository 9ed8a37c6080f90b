//! Zones in mode "monitor" that an operator made to enforce, kept over restarts.
//!
//! The configuration stays the operator's: as soon as it says anything but "monitor", the
//! promotion is over.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::status::Promoted;
use super::whole;
use crate::clock;
use crate::dns::name::Name;

/// The file's name in the state folder.
const FILE: &str = "promoted.json";
/// The form in which it is written.
const VERSION: u32 = 1;
/// More than all zones can take, in octets.
const LONGEST: u64 = 1 << 20;

/// Who promoted which zone, by its name in text form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Promotions {
    zones: BTreeMap<String, Promoted>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    zones: BTreeMap<String, Promoted>,
}

impl Promotions {
    /// Reads what the state folder keeps. What cannot be read counts as none, and is logged:
    /// such zones are monitored again.
    pub fn load(folder: &Path) -> Promotions {
        let path = file(folder);
        let text = match std::fs::metadata(&path) {
            Ok(found) if found.len() <= LONGEST => std::fs::read(&path),
            Ok(_) => Err(std::io::Error::other("it is longer than anything written here")),
            Err(e) => Err(e),
        };
        let kept = match text {
            Ok(text) => serde_json::from_slice::<Kept>(&text).map_err(|e| e.to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Promotions::default(),
            Err(e) => Err(e.to_string()),
        };
        match kept {
            Ok(kept) if kept.version == VERSION => Promotions { zones: kept.zones },
            Ok(kept) => unusable(&path, &format!("its form is version {}", kept.version)),
            Err(fault) => unusable(&path, &fault),
        }
    }

    /// Writes them: old or new, never half. The error names the file.
    pub fn save(&self, folder: &Path) -> Result<(), String> {
        let path = file(folder);
        let kept = Kept { version: VERSION, zones: self.zones.clone() };
        let text = serde_json::to_vec_pretty(&kept).map_err(|e| e.to_string())?;
        whole::write(&path, |file| file.write_all(&text))
            .map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Who promoted a zone.
    pub fn of(&self, zone: &Name) -> Option<&Promoted> {
        self.zones.get(&zone.to_string())
    }

    /// The same with one more, made now.
    pub fn with(&self, zone: &Name, by: &str) -> Promotions {
        let mut next = self.clone();
        let promoted = Promoted { since: clock::rfc3339(clock::wall_millis()), by: by.to_owned() };
        next.zones.insert(zone.to_string(), promoted);
        next
    }

    /// Only those of zones that are still to be monitored by the configuration.
    pub fn only(&self, monitored: &[Name]) -> Promotions {
        let named: Vec<String> = monitored.iter().map(Name::to_string).collect();
        let zones = self.zones.iter().filter(|(zone, _)| named.contains(zone));
        Promotions { zones: zones.map(|(zone, by)| (zone.clone(), by.clone())).collect() }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}

fn unusable(path: &Path, fault: &str) -> Promotions {
    tracing::error!(
        "{}: {fault}; zones that were promoted are monitored again; promote them anew with \
         culvert zone promote, or set mode = \"enforce\"",
        path.display()
    );
    Promotions::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_promoted_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b] = ["a.test", "b.test"].map(|name| name.parse::<Name>().unwrap());
        assert_eq!(Promotions::load(dir.path()), Promotions::default());
        let promoted = Promotions::default().with(&a, "ann").with(&b, "bob");
        promoted.save(dir.path()).unwrap();
        let read = Promotions::load(dir.path());
        assert_eq!(read, promoted);
        assert_eq!(read.of(&a).unwrap().by, "ann");
        assert!(read.only(&[b]).of(&a).is_none());
        std::fs::write(dir.path().join(FILE), "{").unwrap();
        assert_eq!(Promotions::load(dir.path()), Promotions::default());
    }
}
