//! From a cgroup's id to its systemd unit and its processes (cgroups(7)).

use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::shown;

/// Folders of the hierarchy that are looked at, and processes of one cgroup.
const FOLDERS_MAX: usize = 20_000;
const PROCESSES_MAX: usize = 256;

/// A cgroup's folder, and its path below the mount.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    path: PathBuf,
}

/// The cgroup with this id, which is the inode number of its folder.
pub(super) fn find(id: u64, end: Instant) -> Option<Cgroup> {
    let mount = mount_point(&fs::read_to_string("/proc/self/mounts").ok()?)?;
    let folder = below(&mount, id, end)?;
    let path = folder.strip_prefix(&mount).ok()?.to_owned();
    Some(Cgroup { folder, path })
}

/// Where version 2 is mounted; on hosts with both versions that is not the usual place.
fn mount_point(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let place = fields.nth(1)?;
        (fields.next() == Some("cgroup2")).then(|| place.into())
    })
}

/// Breadth first: units are near the top.
fn below(top: &Path, id: u64, end: Instant) -> Option<PathBuf> {
    let mut folders = vec![top.to_owned()];
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned()
        && Instant::now() < end
    {
        next += 1;
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.ino() == id {
                return Some(entry.path());
            }
            if folders.len() < FOLDERS_MAX {
                folders.push(entry.path());
            }
        }
    }
    None
}

impl Cgroup {
    /// The unit that the cgroup belongs to.
    pub(super) fn unit(&self) -> Option<String> {
        unit_of(&self.path)
    }

    /// Its processes; those of another PID namespace are left out.
    pub(super) fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        let pids = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0);
        pids.take(PROCESSES_MAX).collect()
    }
}

/// The innermost unit of a path; a service may have cgroups of its own below its unit's.
fn unit_of(path: &Path) -> Option<String> {
    let names: Vec<&str> = path.iter().filter_map(|name| name.to_str()).collect();
    let is_unit = |name: &&&str| name.ends_with(".service") || name.ends_with(".scope");
    names.iter().rev().find(is_unit).and_then(|name| shown(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::time::Duration;

    #[test]
    fn the_unit_is_read_from_the_path() {
        let unit = |path: &str| unit_of(Path::new(path));
        assert_eq!(unit("system.slice/named.service").as_deref(), Some("named.service"));
        let nested = "system.slice/system-kresd.slice/kresd@1.service/workers";
        assert_eq!(unit(nested).as_deref(), Some("kresd@1.service"));
        let session = "user.slice/user-1000.slice/session-3.scope";
        assert_eq!(unit(session).as_deref(), Some("session-3.scope"));
        assert_eq!((unit("system.slice"), unit("")), (None, None));
    }

    #[test]
    fn version_2_is_found_beside_version_1() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_folder_is_found_by_its_inode() {
        let top = tempfile::tempdir().unwrap();
        let deep = top.path().join("a.slice/b.service");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("cgroup.procs"), "0\n12\nx\n13\n").unwrap();
        let soon = || Instant::now() + Duration::from_secs(10);
        let id = fs::metadata(&deep).unwrap().ino();
        assert_eq!(below(top.path(), id, soon()), Some(deep.clone()));
        assert_eq!(below(top.path(), u64::MAX, soon()), None);
        assert_eq!(below(top.path(), id, Instant::now()), None, "no time left");
        let group = Cgroup { folder: deep, path: "a.slice/b.service".into() };
        assert_eq!(group.processes(), [12, 13]);
    }
}
