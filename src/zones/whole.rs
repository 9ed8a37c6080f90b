//! Files of our own that are written whole or not at all: a new one, on the disk before it takes
//! the old one's place.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Owner and group only.
const MODE: u32 = 0o640;

/// Writes the file at `path` with what `fill` puts into it; its folder is made if it is missing
/// (but not the folder's). After an error the old file is as it was. A crash leaves old or new.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        std::fs::create_dir(folder)?;
    }
    let fresh = fresh(path);
    // left over from a stop in the middle of writing, if it is there
    let _ = std::fs::remove_file(&fresh);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh)?;
    let written = file
        .set_permissions(Permissions::from_mode(MODE))
        .and_then(|()| fill(&mut file))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&fresh, path));
    if let Err(e) = written {
        let _ = std::fs::remove_file(&fresh);
        return Err(e);
    }
    File::open(folder)?.sync_all()
}

/// What the file is called until it is whole.
fn fresh(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}
