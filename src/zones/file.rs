//! Noticing that a file is not the one that was loaded.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits;

/// What a file looked like: changes with every rename, write and change of a link's target.
/// A file that cannot be looked at has a stamp of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, u64, u64, i64, i64, i64, i64)>);

impl Stamp {
    /// Looks at the file that `path` leads to, links followed.
    pub(super) fn of(path: &Path) -> Stamp {
        // why a file cannot be looked at is told when it is loaded
        let look = |m: std::fs::Metadata| {
            (m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
        };
        Stamp(std::fs::metadata(path).ok().map(look))
    }

    /// Looks at a file that was read some time after `began`. If it has changed since, what was
    /// read may be older or half of it, and the stamp is one that no file has. A time in the
    /// future says nothing.
    pub(super) fn of_read(path: &Path, began: SystemTime) -> Stamp {
        let stamp = Stamp::of(path);
        let Some((.., ctime, ctime_nsec)) = stamp.0 else { return stamp };
        let nanos = ctime_nsec.clamp(0, 999_999_999) as u32;
        let changed = UNIX_EPOCH + Duration::new(ctime.max(0) as u64, nanos);
        // the times of files come from a clock with coarse ticks
        let slack = limits::FILE_CLOCK;
        match changed + slack >= began && changed <= SystemTime::now() + slack {
            true => Stamp(Some((0, 0, 0, 0, 0, 0, 0))),
            false => stamp,
        }
    }

    /// The file was not written to a moment ago: whoever writes it in place, without a rename,
    /// is done. A time in the future says nothing and counts as long ago.
    pub(super) fn is_settled(&self, now: SystemTime) -> bool {
        let Some((.., mtime, mtime_nsec, _, _)) = self.0 else { return true };
        let since = Duration::new(mtime.max(0) as u64, mtime_nsec.clamp(0, 999_999_999) as u32);
        match now.duration_since(UNIX_EPOCH + since) {
            Ok(age) => age >= limits::FILE_SETTLES,
            Err(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_settles_when_nobody_writes_any_more() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let written = file.as_file().metadata().unwrap().modified().unwrap();
        let stamp = Stamp::of(file.path());
        assert!(!stamp.is_settled(written));
        assert!(!stamp.is_settled(written + limits::FILE_SETTLES / 2));
        assert!(stamp.is_settled(written + limits::FILE_SETTLES));
        assert!(stamp.is_settled(written - Duration::from_secs(5)));
        assert!(Stamp::of(Path::new("/nonexistent")).is_settled(written));
    }

    #[test]
    fn a_file_that_changed_while_it_was_read_is_not_known() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let stamp = Stamp::of(file.path());
        let before = SystemTime::now() - Duration::from_secs(1);
        assert_ne!(Stamp::of_read(file.path(), before), stamp);
        let later = SystemTime::now() + Duration::from_secs(1);
        assert_eq!(Stamp::of_read(file.path(), later), stamp);
        assert_eq!(Stamp::of_read(Path::new("/nonexistent"), before), Stamp(None));
    }
}
