//! Where records go: the journal with fields of their own, standard error, or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::sys::journal::{Entry, Journal};

/// Where the operator wants records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// The journal, if standard error leads there; else standard error with a priority in front
    /// (sd-daemon(3)).
    Journal,
    /// Standard error.
    Stderr,
    /// Standard output, for the demonstration.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

impl Destination {
    /// Opens it for writing. The standard streams are written to by a descriptor of our own: their
    /// locks belong to everybody, and a reader that sleeps must hold up nobody else.
    pub fn open(self) -> io::Result<Sink> {
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
        let file = match &self {
            Destination::File(path) => open(path)?,
            Destination::Stdout => own(io::stdout().as_fd())?,
            Destination::Journal | Destination::Stderr => own(io::stderr().as_fd())?,
        };
        let journal = match &self {
            Destination::Journal => Journal::of_stderr(),
            _ => None,
        };
        Ok(Sink { destination: self, file, journal, failing: false })
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// An open destination.
pub struct Sink {
    destination: Destination,
    file: File,
    /// Takes entries instead of lines.
    journal: Option<Journal>,
    failing: bool,
}

impl Sink {
    /// True if records have to come as entries.
    pub fn takes_entries(&self) -> bool {
        self.journal.is_some()
    }

    /// Writes entries; how many were taken. The rest is lost, which is logged like lost lines.
    pub fn write_entries(&mut self, entries: &[Entry]) -> u64 {
        let Some(journal) = &self.journal else { return 0 };
        let mut taken = 0;
        let mut result = Ok(());
        for entry in entries {
            match journal.send(entry) {
                Ok(()) => taken += 1,
                Err(e) => result = Err(e),
            }
        }
        self.told(result);
        taken
    }

    /// Writes whole lines. False if they are lost; that is logged once until it works again.
    pub fn write(&mut self, lines: &str) -> bool {
        let result = match &self.destination {
            Destination::Journal => {
                let with_priority: String =
                    lines.lines().map(|line| format!("<5>{line}\n")).collect();
                self.file.write_all(with_priority.as_bytes())
            }
            // a file may have come back after a fault, or been moved away
            Destination::File(path) if self.failing => open(path).and_then(|file| {
                self.file = file;
                self.file.write_all(lines.as_bytes())
            }),
            _ => self.file.write_all(lines.as_bytes()),
        };
        self.told(result)
    }

    /// Logs the first failure of a row, and the end of the row. True for success.
    fn told(&mut self, result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(event = "hit-log-again", "the hit log can be written again");
                }
                true
            }
            Err(e) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        event = "hit-log-failed",
                        "the hit log cannot be written, hits are counted: {e}"
                    );
                }
                false
            }
        }
    }

    /// Opens a file anew by its name; the old one is kept if that fails.
    pub fn reopen(&mut self) {
        if let Destination::File(path) = &self.destination {
            match open(path) {
                Ok(file) => self.file = file,
                Err(e) => tracing::error!("{}: cannot be opened anew: {e}", path.display()),
            }
        }
    }
}
