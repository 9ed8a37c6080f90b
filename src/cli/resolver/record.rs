//! What was changed, so that it can be put back: written before anything is changed.
//!
//! The folder of the record belongs to the daemon's user, and root acts on what the record says.
//! So only a record that root wrote counts, only known paths are touched, and of these only
//! resolv.conf gets back a content; the others are ours and just go.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::host::{RESOLV_CONF, Thing, below, thing};
use super::plan::{DHCLIENT_HOOK, NETWORK_MANAGER_DROP_IN, Plan, RESOLVED_DROP_IN};

/// Octets of a record that are read.
const RECORD_MAX: u64 = 4 << 20;

/// What `set` did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) address: IpAddr,
    files: Vec<Changed>,
    /// Folders that were made, the outer one first.
    folders: Vec<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    path: PathBuf,
    /// SHA-256 of what was written.
    sha256: String,
    before: Thing,
}

/// A file now, compared with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As `set` wrote it.
    Ours,
    /// As it was before.
    Before,
    /// Somebody changed it since.
    Changed,
}

impl State {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            State::Ours => "as set",
            State::Before => "as before",
            State::Changed => "changed since",
        }
    }
}

impl Changed {
    fn state(&self, root: &Path) -> State {
        match thing(&below(root, &self.path)) {
            Ok(Thing::File { text, .. }) if sha256(&text) == self.sha256 => State::Ours,
            Ok(now) if now == self.before => State::Before,
            _ => State::Changed,
        }
    }

    fn put_back(&self, root: &Path) -> Result<(), String> {
        let path = below(root, &self.path);
        let done = match &self.before {
            Thing::File { text, mode, uid, gid } => {
                let owner = Some((*uid, *gid));
                replace(&path, |at| write(at, text.as_bytes(), *mode, owner))
            }
            Thing::Link(to) => replace(&path, |at| symlink(to, at)),
            Thing::Absent => fs::remove_file(&path),
        };
        done.map_err(|e| cannot(&path, &e))
    }
}

impl Record {
    /// The record, if there is one. `live`: root is going to act on it.
    pub(super) fn load(path: &Path, live: bool) -> Result<Option<Record>, String> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = match options.open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(cannot(path, &e)),
        };
        let meta = file.metadata().map_err(|e| cannot(path, &e))?;
        if !meta.is_file() || live && meta.uid() != 0 {
            return Err(format!("{}: root did not write this; look at it", path.display()));
        }
        let mut text = String::new();
        file.take(RECORD_MAX).read_to_string(&mut text).map_err(|e| cannot(path, &e))?;
        let damaged = |why: &str| format!("{}: this record is damaged: {why}", path.display());
        let record: Record = serde_json::from_str(&text).map_err(|e| damaged(&e.to_string()))?;
        let known = |file: &Changed| match file.path.to_str() {
            Some(RESOLV_CONF) => true,
            Some(RESOLVED_DROP_IN | NETWORK_MANAGER_DROP_IN | DHCLIENT_HOOK) => {
                file.before == Thing::Absent
            }
            _ => false,
        };
        match record.files.iter().all(known) {
            true => Ok(Some(record)),
            false => Err(damaged("it names a file that culvert never changes")),
        }
    }

    /// Each file and what became of it.
    pub(super) fn states(&self, root: &Path) -> Vec<(PathBuf, State)> {
        self.files.iter().map(|file| (file.path.clone(), file.state(root))).collect()
    }

    /// What makes services read the files again that were put back.
    pub(super) fn commands(&self) -> Vec<Vec<&'static str>> {
        let has = |path: &str| self.files.iter().any(|file| file.path == Path::new(path));
        let mut commands = Vec::new();
        if has(RESOLVED_DROP_IN) {
            commands.push(vec!["systemctl", "try-reload-or-restart", "systemd-resolved.service"]);
        }
        if has(NETWORK_MANAGER_DROP_IN) {
            commands.push(vec!["systemctl", "try-reload-or-restart", "NetworkManager.service"]);
        }
        commands
    }

    /// What [`Record::undo`] would do.
    pub(super) fn undoing(&self, root: &Path) -> String {
        let line = |(path, state): (PathBuf, State)| match state {
            State::Ours => format!("put back {}\n", path.display()),
            State::Before => format!("{} is as before\n", path.display()),
            State::Changed => left_alone(&path),
        };
        self.states(root).into_iter().map(line).collect()
    }

    /// Puts everything back that is still ours, and forgets the record. Gives what was done.
    ///
    /// # Errors
    /// From the file system; the record stays, so that it can be tried again.
    pub(super) fn undo(&self, root: &Path, record: &Path) -> Result<String, String> {
        let mut text = String::new();
        for file in self.files.iter().rev() {
            match file.state(root) {
                State::Ours => {
                    file.put_back(root)?;
                    let was = match file.before {
                        Thing::Absent => "is gone again",
                        _ => "is as before",
                    };
                    text.push_str(&format!("{} {was}\n", file.path.display()));
                }
                State::Before => {}
                State::Changed => text.push_str(&left_alone(&file.path)),
            }
        }
        for folder in self.folders.iter().rev() {
            // somebody else's files may be in it by now
            let _ = fs::remove_dir(below(root, folder));
        }
        fs::remove_file(record).map_err(|e| cannot(record, &e))?;
        Ok(text)
    }
}

/// Writes the record, then the files. Gives what was done.
///
/// # Errors
/// From the file system; what was written by then is in the record, and `unset` takes it back.
pub(super) fn put(
    plan: &Plan,
    address: IpAddr,
    root: &Path,
    record: &Path,
) -> Result<String, String> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for (path, content) in &plan.files {
        let before = thing(&below(root, Path::new(path)))?;
        // a left-over of ours is nothing that has to come back
        let before = if *path == RESOLV_CONF { before } else { Thing::Absent };
        files.push(Changed { path: path.into(), sha256: sha256(content), before });
        let parents = Path::new(path).ancestors().skip(1);
        let missing: Vec<_> = parents.take_while(|p| !below(root, p).exists()).collect();
        folders.extend(missing.into_iter().rev().map(Path::to_owned));
    }
    let all = Record { address, files, folders };
    let json = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
    if let Some(folder) = record.parent() {
        fs::create_dir_all(folder).map_err(|e| cannot(folder, &e))?;
    }
    replace(record, |at| write(at, json.as_bytes(), 0o600, None))
        .map_err(|e| cannot(record, &e))?;
    for folder in &all.folders {
        let folder = below(root, folder);
        fs::create_dir_all(&folder).map_err(|e| cannot(&folder, &e))?;
    }
    let mut text = String::new();
    for (path, content) in &plan.files {
        let place = below(root, Path::new(path));
        let written = replace(&place, |at| write(at, content.as_bytes(), 0o644, None));
        written.map_err(|e| format!("{}; culvert resolver unset", cannot(&place, &e)))?;
        text.push_str(&format!("{path} is written\n"));
    }
    plan.notes.iter().for_each(|note| text.push_str(&format!("note: {note}\n")));
    text.push_str(&format!("this machine asks {address}; culvert resolver unset undoes it\n"));
    Ok(text)
}

fn left_alone(path: &Path) -> String {
    format!("{} was changed by somebody else since and is left alone\n", path.display())
}

/// Makes the new thing beside the old one and renames it, so that there is always one of them.
fn replace(path: &Path, make: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".culvert-new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    make(&new)?;
    fs::rename(&new, path).inspect_err(|_| {
        // the error that counts is the first one
        let _ = fs::remove_file(&new);
    })
}

/// Writes a file that must not be there yet.
fn write(path: &Path, content: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(content)?;
    if let Some((uid, gid)) = owner {
        chown(path, Some(uid), Some(gid))?;
    }
    // whatever the umask took away
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

fn sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

fn cannot(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("{path}: {error}; run this as root"),
        io::ErrorKind::ResourceBusy => format!("{path}: it is mounted from elsewhere: {error}"),
        _ => format!("{path}: {error}"),
    }
}
