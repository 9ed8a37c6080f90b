//! Where records go: standard error (the journal under systemd), or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// Where the operator wants records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard error with a priority in front, which is the journal under systemd
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
        Ok(Sink { destination: self, file, failing: false })
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// An open destination.
pub struct Sink {
    destination: Destination,
    file: File,
    failing: bool,
}

impl Sink {
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
        match result {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the hit log can be written again");
                }
                true
            }
            Err(e) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!("the hit log cannot be written, hits are counted: {e}");
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
