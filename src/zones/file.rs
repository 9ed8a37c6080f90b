//! Noticing that a file is not the one that was loaded.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file looked like: changes with every rename, write and change of a link's target.
/// A file that cannot be looked at has a stamp of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, u64, u64, i64, i64, i64, i64)>);

impl Stamp {
    /// Looks at the file that `path` leads to, links followed.
    pub(super) fn of(path: &Path) -> Stamp {
        let look = |m: std::fs::Metadata| {
            (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
        };
        Stamp(std::fs::metadata(path).ok().map(look))
    }
}
