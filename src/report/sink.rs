//! Where records go: standard error (the journal under systemd), or a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
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
    /// Opens it for writing.
    pub fn open(self) -> io::Result<Sink> {
        let file = match &self {
            Destination::File(path) => Some(open(path)?),
            _ => None,
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
    file: Option<File>,
    failing: bool,
}

impl Sink {
    /// Writes whole lines. False if they are lost; that is logged once until it works again.
    pub fn write(&mut self, lines: &str) -> bool {
        let result = match (&self.destination, &mut self.file) {
            (Destination::File(path), file) => match file {
                Some(file) => file.write_all(lines.as_bytes()),
                None => open(path).and_then(|mut new| {
                    new.write_all(lines.as_bytes())?;
                    *file = Some(new);
                    Ok(())
                }),
            },
            (Destination::Stdout, _) => io::stdout().lock().write_all(lines.as_bytes()),
            (Destination::Stderr, _) => io::stderr().lock().write_all(lines.as_bytes()),
            (Destination::Journal, _) => {
                let with_priority: String =
                    lines.lines().map(|line| format!("<5>{line}\n")).collect();
                io::stderr().lock().write_all(with_priority.as_bytes())
            }
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
                self.file = None;
                false
            }
        }
    }

    /// Opens a file anew by its name; the old one is kept if that fails.
    pub fn reopen(&mut self) {
        if let Destination::File(path) = &self.destination {
            match open(path) {
                Ok(file) => self.file = Some(file),
                Err(e) => tracing::error!("{}: cannot be opened anew: {e}", path.display()),
            }
        }
    }
}
