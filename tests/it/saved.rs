//! The last good copy of a zone against the end of its writer at any moment.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use culvert::dns::name::Name;
use culvert::policy::rules::ZoneRules;
use culvert::rpz::{Form, Limits, parse};
use culvert::zones::saved::{self, Identity, Saved};
use culvert::zones::{Difference, Origin};

use crate::harness::process::Process;
use crate::harness::{eventually, secs};

/// Where the child saves.
const FOLDER: &str = "CULVERT_TEST_SAVES_INTO";
/// Rules of a version: saving takes a few milliseconds.
const RULES: u32 = 20_000;
/// How often the writer is ended.
const ROUNDS: usize = 25;

fn version(serial: u32) -> ZoneRules {
    let mut text = format!("$TTL 60\n@ SOA . . {serial} 1 1 1 1\n");
    for n in 0..RULES {
        text.push_str(&format!("n{n}.v{serial}.example CNAME .\n"));
    }
    let origin: Name = "block.test".parse().expect("a name");
    let limits = Limits::default();
    parse(text.as_bytes(), Path::new("made-up"), &origin, Form::Zone, &limits).expect("a zone")
}

/// The writer: saves two versions in turn, when it is started for that.
#[test]
fn child_that_saves_in_turn() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let versions = [version(1), version(2)];
    let end = Instant::now() + secs(60);
    for rules in versions.iter().cycle() {
        let saved = Saved { rules, identity: identity(), came: 1, contact: SystemTime::now() };
        saved::save(Path::new(&folder), &saved).expect("it is saved");
        if Instant::now() > end {
            return;
        }
    }
}

fn identity() -> Identity {
    Identity::of(&Origin::File("made-up".into()), Form::Zone)
}

/// What was saved, which has to be one of the versions as a whole.
#[track_caller]
fn serial_of_whole(folder: &Path, versions: &[ZoneRules; 2]) -> Option<u32> {
    let name = versions[0].origin;
    let loaded = saved::load(folder, &name, RULES as usize).unwrap_or_else(|e| panic!("{e}"))?;
    let serial = loaded.rules.soa.serial;
    let wanted = versions.iter().find(|rules| rules.soa.serial == serial).expect("one of them");
    assert!(Difference::between(wanted, &loaded.rules).is_empty());
    let left: Vec<_> = std::fs::read_dir(folder).expect("it is there").collect();
    assert_eq!(left.len(), 1, "half-written files are removed: {left:?}");
    Some(serial)
}

#[test]
fn a_writer_that_is_killed_leaves_one_version_or_the_other() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("zones");
    let versions = [version(1), version(2)];
    let own = std::env::current_exe().expect("the path of this test");
    let mut seen = [0_u32; 2];
    let mut half_written = 0;
    for round in 0..ROUNDS {
        let before = saved_when(&folder);
        let mut child = Process::start(&format!("writer{round}"), &own, dir.path(), |command| {
            command.args(["--exact", "saved::child_that_saves_in_turn", "--nocapture"]);
            command.env(FOLDER, &folder);
        });
        eventually("the first version is saved", secs(20), || saved_when(&folder) != before);
        // any moment of saving will do
        std::thread::sleep(Duration::from_micros(fastrand::u64(..20_000)));
        assert!(child.is_running(), "the writer ended by itself: {}", child.output());
        child.signal("KILL");
        child.wait(secs(5));
        half_written += u32::from(folder.join("block.test.zone.new").exists());
        let serial = serial_of_whole(&folder, &versions).expect("something was saved");
        seen[serial as usize - 1] += 1;
    }
    assert!(seen.iter().all(|times| *times > 0), "both were found: {seen:?}");
    assert!(half_written > 0, "no kill hit a file that was being written");
}

/// When the file was saved that is there now.
fn saved_when(folder: &Path) -> Option<SystemTime> {
    std::fs::metadata(folder.join("block.test.zone")).and_then(|meta| meta.modified()).ok()
}
