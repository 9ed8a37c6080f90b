//! Why an image could not be saved or loaded, with the cure.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why a zone could not be saved. What was saved before is as it was.
#[derive(Debug)]
pub struct SaveError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the zone cannot be saved: ", self.path.display())?;
        match self.error.kind() {
            ErrorKind::StorageFull => {
                f.write_str("the disk is full; free some space, it will be tried again")
            }
            ErrorKind::QuotaExceeded => {
                f.write_str("the disk quota is used up; raise it or free some space")
            }
            ErrorKind::ReadOnlyFilesystem => {
                f.write_str("the file system is read-only; mount it for writing")
            }
            ErrorKind::PermissionDenied => f.write_str(
                "permission denied; the user that Culvert runs as must own the folder and be \
                 able to write to it",
            ),
            _ => write!(f, "{}; look after the folder and its disk", self.error),
        }
    }
}

impl std::error::Error for SaveError {}

/// Why a saved zone could not be loaded.
#[derive(Debug)]
pub struct LoadFault {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a saved zone.
#[derive(Debug)]
pub enum Why {
    /// The system does not let it be read.
    Unreadable(io::Error),
    /// It is no image at all.
    Foreign,
    /// It is written in another version of the format.
    Format(u32),
    /// It is of another zone, this one.
    OtherZone(String),
    /// It is an image that something happened to.
    Damaged(&'static str),
    /// It has this many rules, which are more than the second number allows.
    TooManyRules(u64, usize),
}

impl LoadFault {
    pub(super) fn new(path: &Path, why: Why) -> LoadFault {
        LoadFault { path: path.to_owned(), why }
    }

    /// The file itself is of no use, so that it should be set aside.
    pub fn is_damage(&self) -> bool {
        !matches!(self.why, Why::Unreadable(_) | Why::TooManyRules(..))
    }
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: the saved zone ", self.path.display())?;
        match &self.why {
            Why::Unreadable(error) => write!(
                f,
                "cannot be read: {error}; the user that Culvert runs as must own it, and its disk \
                 must be sound"
            ),
            Why::Foreign => f.write_str("is no file of Culvert's; it cannot be used"),
            Why::Format(found) => write!(
                f,
                "is written in format {found}, but this version of Culvert reads format {}; the \
                 zone has to come from its source again",
                super::form::VERSION
            ),
            Why::OtherZone(name) => {
                write!(f, "is that of {name}; files of this folder must not be renamed")
            }
            Why::Damaged(what) => write!(
                f,
                "is damaged: {what}; the zone has to come from its source again, and the disk is \
                 worth a look"
            ),
            Why::TooManyRules(found, most) => write!(
                f,
                "has {found} rules, more than the {most} it may have; raise its limit if that is \
                 meant to be"
            ),
        }
    }
}

impl std::error::Error for LoadFault {}
