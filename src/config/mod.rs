//! The configuration file: from its text to every room's settings, or to a list of faults.
//!
//! One loader serves `culvert check`, the start and the reload: what the check accepts starts,
//! and what it refuses never runs. Loading has no side effects: nothing is created, bound or
//! looked up, and the files that are named are only opened for reading.
//!
//! ```text
//!  culvert.toml ──► TOML with spans ──► walk ────────► Document ──► resolve ──────► Settings
//!                        │                │  one typed value         │ defaults, files,
//!                        │                │  per known key           │ references, loops
//!                   syntax faults   unknown keys, types,        what keys mean
//!                        │          ranges, spellings           to each other
//!                        └────────────────┴──────────┬───────────────┘
//!   table: every key, once ──► walk               Faults: all of them, in the file's order;
//!                                                 warnings travel with good Settings
//!                          ──► manual: template and docs/CONFIG.md
//! ```
//!
//! `table` is the only place that knows which keys exist, what they take and what they default
//! to. `spelling`, `address`, `quantity` and `url` read single values; `upstreams`, `policies`,
//! `tsig` and `groups` make sense of whole sections. Nothing here prints a URL's path: it is the
//! secret that names the operator's account at the service. Nor is a key's secret printed.

mod address;
mod convert;
mod fault;
mod groups;
mod loops;
mod manual;
mod policies;
pub(crate) mod quantity;
mod resolve;
mod settings;
mod spelling;
mod table;
mod tsig;
mod upstreams;
mod url;
mod walk;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use toml::de::DeTable;

pub use address::{Allow, Listen};
pub use fault::{Fault, Faults};
pub use manual::{Chapter, Entry, chapters, markdown, template};
pub(crate) use resolve::advice;
pub use settings::*;
pub use url::Secret;

use fault::Report;

/// The largest configuration file that is read, in octets.
pub const MAX_FILE: u64 = 1 << 20;

/// Reads and checks the configuration file at `path`.
///
/// Relative paths in the file are taken from the folder that holds it. On error every fault
/// that could be found is in the list, sorted by position.
pub fn load(path: &Path) -> Result<Settings, Faults> {
    let text = match read(path) {
        Ok(text) => text,
        Err(message) => {
            let mut report = Report::new(path, "");
            report.whole_file("", message);
            return Err(report.into_faults());
        }
    };
    match std::str::from_utf8(&text) {
        Ok(text) => parse(text, path),
        Err(error) => {
            let good = String::from_utf8_lossy(&text[..error.valid_up_to()]);
            let mut report = Report::new(path, &good);
            report.add(good.len(), "", "this is not UTF-8 text; save the file as UTF-8");
            Err(report.into_faults())
        }
    }
}

/// As [`load`], from a text that is already here; `path` serves for messages and as the place
/// that relative paths start from.
pub fn parse(text: &str, path: &Path) -> Result<Settings, Faults> {
    // the parser skips a byte order mark, but counts it in its spans
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut report = Report::new(path, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        walk::syntax(text, table.get_ref(), &errors, &mut report);
        return Err(report.into_faults());
    }
    let document = walk::walk(table.get_ref(), &mut report);
    let folder = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let settings = resolve::resolve(&document, folder, &mut report);
    match settings {
        Some(settings) if report.is_empty() => Ok(settings),
        _ => Err(report.into_faults()),
    }
}

/// The file's octets, or what is wrong with it and what to do.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let file = open(path)?;
    let read = file.take(MAX_FILE + 1).read_to_end(&mut text);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() as u64 > MAX_FILE {
        return Err("is larger than 1 MiB; this is no configuration file".to_owned());
    }
    Ok(text)
}

/// Opens a regular file for reading. Pipes and devices are refused, since opening one may block.
fn open(path: &Path) -> Result<File, String> {
    let explain = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "does not exist; create it or correct the path".to_owned(),
        ErrorKind::PermissionDenied => "may not be read by this user; check owner and mode of \
            the file and of the folders above it"
            .to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let kind = std::fs::metadata(path).map_err(explain)?;
    if kind.is_dir() {
        return Err("is a folder; name a file in it".to_owned());
    }
    if !kind.is_file() {
        return Err("is not a regular file".to_owned());
    }
    File::open(path).map_err(explain)
}
