//! The folder of images: how its files are named, replaced, set aside and cleared away.
//!
//! ```text
//!   block.test.zone                              the last good copy
//!   block.test.zone.new                          being written, or left over from a crash
//!   block.test.zone.damaged-20260131120000000    set aside
//! ```

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ring::digest;

use crate::clock;
use crate::dns::name::Name;
use crate::limits;

/// Behind the name of the zone.
const SUFFIX: &str = ".zone";
/// Behind the name of the file, while it is written.
const FRESH: &str = ".new";
/// Behind the name of the file, in front of the time it was set aside.
const DAMAGED: &str = ".damaged-";
/// Octets of a file's name (Linux: NAME_MAX).
const NAME_MAX: usize = 255;
/// What a zone's part of it may have: the longest thing behind it is `.damaged-` with a time.
const STEM_MAX: usize = NAME_MAX - SUFFIX.len() - DAMAGED.len() - 17;
/// How much of a name stays readable if it is too long as a whole.
const STEM_KEPT: usize = 100;
/// Owner and group only, as for the other files of the state folder.
const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;

/// The file of a zone.
pub fn path_of(folder: &Path, zone: &Name) -> PathBuf {
    folder.join(stem(zone) + SUFFIX)
}

/// A zone's name made fit for a file: letters, digits, `-`, `_` and the dots between labels
/// stand for themselves, all other octets are `%XX`. No two zones have the same.
fn stem(zone: &Name) -> String {
    let mut out = String::new();
    for label in zone.labels() {
        if !out.is_empty() {
            out.push('.');
        }
        for &octet in label {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => out.push(char::from(octet)),
                other => out.push_str(&format!("%{other:02x}")),
            }
        }
    }
    if out.is_empty() {
        out.push_str("%root");
    }
    if out.len() > STEM_MAX {
        // `~` stands in no other name
        let sum = digest::digest(&digest::SHA256, zone.as_wire());
        out.truncate(STEM_KEPT);
        out.push('~');
        out.extend(sum.as_ref().iter().map(|octet| format!("{octet:02x}")));
    }
    out
}

fn fresh(path: &Path) -> PathBuf {
    with_more(path, FRESH)
}

fn with_more(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Puts a new file in the place of `path`, on the disk before the old one goes. `fill` writes
/// it. After an error the old file is as it was; only if the last step fails, in which the disk
/// is told to keep the folder, the new one may be there already.
pub(super) fn replace(
    path: &Path,
    modified: SystemTime,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    clear_leftover(path);
    let fresh = fresh(path);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(&fresh)?;
    let written = file
        .set_permissions(Permissions::from_mode(FILE_MODE))
        .and_then(|()| fill(&mut file))
        .and_then(|()| file.flush())
        .and_then(|()| file.set_modified(modified))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(error) = written {
        // what is left of it is of no use to anyone
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

/// Removes what a crash in the middle of saving has left.
pub(super) fn clear_leftover(path: &Path) {
    // most often there is none
    let _ = std::fs::remove_file(fresh(path));
}

/// Notes when the source of a saved zone was last heard of: its time to expire goes on from
/// there after a restart.
pub fn touch_contact(path: &Path, contact: SystemTime) -> io::Result<()> {
    File::open(path)?.set_modified(contact)
}

/// Gives a file that is of no use another name, in case somebody wants to look at it. The last
/// [`limits::SAVED_DAMAGED`] of a zone are kept.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = clock::rfc3339(clock::wall_millis());
    let stamp: String = now.chars().filter(char::is_ascii_digit).collect();
    let aside = with_more(path, &format!("{DAMAGED}{stamp}"));
    std::fs::rename(path, &aside)?;
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(aside) };
    let mut alike: Vec<PathBuf> = files(folder)?
        .filter(|(other, _)| set_aside_of(other).is_some_and(|of| *name == *of))
        .map(|(_, path)| path)
        .collect();
    // their names end with a time, so that the newest comes last
    alike.sort_unstable();
    let too_many = alike.len().saturating_sub(limits::SAVED_DAMAGED);
    for old in alike.iter().take(too_many) {
        std::fs::remove_file(old)?;
    }
    Ok(aside)
}

/// Deletes what was saved of zones other than `keep`, once it is older than
/// [`limits::SAVED_KEPT`]: until then a zone that was taken out of the configuration by mistake
/// comes back with its rules. Files that are not Culvert's stay. Gives what was deleted.
pub fn forget_others(folder: &Path, keep: &[Name]) -> Vec<PathBuf> {
    let keep: Vec<String> = keep.iter().map(|zone| stem(zone) + SUFFIX).collect();
    // without a folder nothing was saved
    let Ok(files) = files(folder) else { return Vec::new() };
    let mut gone = Vec::new();
    for (name, path) in files {
        let image = set_aside_of(&name).or(name.strip_suffix(FRESH)).unwrap_or(&name);
        let kept = !image.ends_with(SUFFIX) || keep.iter().any(|kept| kept == image);
        if kept || !is_old(&path) || !has_magic(&path) {
            continue;
        }
        let shown = path.display();
        match std::fs::remove_file(&path) {
            Ok(()) => {
                let days = limits::SAVED_KEPT.as_secs() / 86_400;
                tracing::info!(
                    "{shown} is deleted: its zone is not in the configuration, and the file is \
                     older than {days} days"
                );
                gone.push(path);
            }
            Err(error) => tracing::warn!("{shown} is of no use any more, delete it: {error}"),
        }
    }
    gone
}

/// The name that a file had before it was set aside; `None` if it was not.
fn set_aside_of(name: &str) -> Option<&str> {
    let (image, stamp) = name.rsplit_once(DAMAGED)?;
    stamp.bytes().all(|octet| octet.is_ascii_digit()).then_some(image)
}

/// The regular files of a folder with names that are text, as ours are.
fn files(folder: &Path) -> io::Result<impl Iterator<Item = (String, PathBuf)>> {
    let entries = std::fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.filter_map(|entry| {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file.then_some((entry.file_name().into_string().ok()?, entry.path()))
    }))
}

fn is_old(path: &Path) -> bool {
    let modified = std::fs::metadata(path).and_then(|meta| meta.modified());
    let age = modified.ok().and_then(|modified| modified.elapsed().ok());
    age.is_some_and(|age| age > limits::SAVED_KEPT)
}

fn has_magic(path: &Path) -> bool {
    let mut start = [0; super::form::MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == super::form::MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn files_are_named_after_zones() {
        let named = |name: &Name| path_of(Path::new("/s"), name).to_str().unwrap().to_owned();
        for (zone, wanted) in [
            ("Block.Test", "/s/block.test.zone"),
            (".", "/s/%root.zone"),
            ("_x-1.y", "/s/_x-1.y.zone"),
            (r"a\.b.c", "/s/a%2eb.c.zone"),
            (r"\.\./\000~%\255", "/s/%2e%2e%2f%00%7e%25%ff.zone"),
        ] {
            assert_eq!(named(&zone.parse().unwrap()), wanted, "{zone}");
        }
    }

    #[test]
    fn long_names_fit_and_stay_apart() {
        let mut seen = std::collections::HashSet::new();
        for octet in [b'a', b'b', b'.', 0, 255] {
            for last in 1..=61 {
                let label = [&[63][..], &[octet; 63]].concat();
                let wire = [&label[..], &label, &label, &[last], &vec![octet; last.into()], &[0]];
                let path = path_of(Path::new("/"), &Name::from_wire(&wire.concat()).unwrap());
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                assert!(name.len() + DAMAGED.len() + 17 <= NAME_MAX, "{name}");
                assert!(seen.insert(name));
            }
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/zones/x.zone");
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        replace(&path, then, |file| file.write_all(b"old")).unwrap();
        let meta = path.metadata().unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.modified().unwrap()), (0o640, then));
        // half of it is written when the disk is full
        let full = replace(&path, then, |file| {
            file.write_all(b"new")?;
            File::options().write(true).open("/dev/full")?.write_all(b"more")
        });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(files(path.parent().unwrap()).unwrap().count(), 1, "nothing is left over");
        // what a crash left is no hindrance
        std::fs::write(fresh(&path), "half of i").unwrap();
        replace(&path, then, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(files(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn three_damaged_files_are_kept() {
        let home = tempfile::tempdir().unwrap();
        let (path, other) = (home.path().join("x.zone"), home.path().join("x.zone.damaged-1.zone"));
        std::fs::write(&other, "").unwrap();
        for n in 0..5 {
            for old in ["1", "2"] {
                std::fs::write(with_more(&path, &format!("{DAMAGED}{old}")), "old").unwrap();
            }
            std::fs::write(&path, n.to_string()).unwrap();
            let aside = set_aside(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&aside).unwrap(), n.to_string());
            assert!(!path.exists() && other.exists());
            assert!(files(home.path()).unwrap().count() <= 1 + limits::SAVED_DAMAGED);
        }
        assert!(set_aside(&path).is_err(), "there is nothing to set aside");
    }

    #[test]
    fn only_old_images_of_other_zones_go() {
        let home = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - limits::SAVED_KEPT - Duration::from_secs(60);
        let young = SystemTime::now() - limits::SAVED_KEPT + Duration::from_secs(600);
        let put = |name: &str, magic: bool, modified: SystemTime| {
            let text = if magic { &super::super::form::MAGIC[..] } else { b"something else" };
            let path = home.path().join(name);
            std::fs::write(&path, text).unwrap();
            touch_contact(&path, modified).unwrap();
        };
        put("kept.test.zone", true, old);
        put("kept.test.zone.damaged-1", true, old);
        put("a.new.test.zone", true, old);
        put("gone.test.zone", true, old);
        put("gone.test.zone.new", true, old);
        put("gone.test.zone.damaged-2", true, old);
        put("young.test.zone", true, young);
        put("foreign.zone", false, old);
        put("exceptions.json", true, old);
        std::fs::create_dir(home.path().join("folder.zone")).unwrap();
        let mut gone =
            forget_others(home.path(), &["kept.test", "a.new.test"].map(|z| z.parse().unwrap()));
        gone.sort_unstable();
        let names = ["gone.test.zone", "gone.test.zone.damaged-2", "gone.test.zone.new"];
        assert_eq!(gone, names.map(|name| home.path().join(name)));
        assert_eq!(files(home.path()).unwrap().count(), 6);
        assert!(forget_others(&home.path().join("none"), &[]).is_empty());
    }
}
