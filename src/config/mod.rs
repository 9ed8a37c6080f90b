//! The configuration: from the text of its files to every room's settings, or to a list of faults.
//!
//! One loader serves `culvert check`, the start and the reload: what the check accepts starts,
//! and what it refuses never runs. Loading has no side effects: nothing is created, bound or
//! looked up, and the files that are named are only opened for reading.
//!
//! ```text
//!  culvert.toml ─┐  each file by itself                all files together
//!  culvert.d/*  ─┴─► TOML with spans ──► walk ──┐ ┌──► Document ──► resolve ──────► Settings
//!                        │                │     └─┘         │ defaults, files,
//!                        │                │  one typed      │ references, loops
//!                   syntax faults         │  value per      what keys mean
//!                        │      unknown keys, types, ...    to each other
//!                        └────────────────┴──────────┬──────┘
//!   table: every key, once ──► walk               Faults: all of them, file by file in order;
//!                                                 warnings travel with good Settings
//!                          ──► manual: template and docs/CONFIG.md
//! ```
//!
//! `table` is the only place that knows which keys exist, what they take and what they default
//! to. `spelling`, `address`, `quantity` and `url` read single values; `upstreams`, `policies`,
//! `tsig` and `groups` make sense of whole sections. Nothing here prints a URL's path: it is the
//! secret that names the operator's account at the service. Nor is a key's secret printed.
//! `files` finds and reads, `show` tells where every setting comes from, and `site` writes the
//! drop-in of `culvert init`.

mod address;
mod convert;
mod fault;
mod files;
mod fingerprint;
mod groups;
mod loops;
mod manual;
mod policies;
pub(crate) mod quantity;
mod resolve;
mod settings;
mod show;
mod shown;
pub mod site;
mod spelling;
mod table;
mod tsig;
mod upstreams;
mod url;
mod walk;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use address::{Allow, Listen};
pub use fault::{Fault, Faults};
pub use files::{Draft, MAX_FILE, drop_in_folder, is_forbidden};
pub use fingerprint::fingerprint;
pub use manual::{Chapter, Entry, chapters, markdown, template};
pub(crate) use resolve::advice;
pub use settings::*;
pub use show::{Line, Listing, Origin, show};
pub use shown::Shown;
pub use site::Site;
pub use url::Secret;

use fault::Report;
use files::{Text, Unreadable, open};
use walk::Document;

/// Control socket of a configuration that says nothing about it.
pub const CONTROL: &str = "/run/culvert/control.sock";

/// Reads and checks the configuration: the file at `path` and the drop-ins in the folder beside
/// it ([`drop_in_folder`]).
///
/// Relative paths in all of them are taken from the folder that holds the main file. On error
/// every fault that could be found is in the list, file by file, sorted by position.
pub fn load(path: &Path) -> Result<Settings, Faults> {
    judged(path, &files::read_all(path, None))
}

/// The control socket that the files name, whatever else is wrong with them: the running relay has
/// to be reachable while somebody is still at work on its next configuration.
///
/// # Errors
/// The faults of a main file that cannot be read at all.
pub fn control(path: &Path) -> Result<PathBuf, Faults> {
    let files = files::read_all(path, None);
    if files.first().is_some_and(|main| main.fault.is_some()) {
        return judged(path, &files).map(|settings| settings.server.control);
    }
    let written = files.iter().rev().find_map(|file| {
        let (table, _) = DeTable::parse_recoverable(&file.text);
        let server = table.get_ref().get("server")?.get_ref().as_table()?;
        server.get("control")?.get_ref().as_str().map(PathBuf::from)
    });
    Ok(folder_of(path).join(written.unwrap_or_else(|| CONTROL.into())))
}

/// As [`load`], with a drop-in as it would be.
pub fn load_with(path: &Path, draft: Draft<'_>) -> Result<Settings, Faults> {
    judged(path, &files::read_all(path, Some(draft)))
}

/// As [`load`], from the text of a main file that is already here and without drop-ins; `path`
/// serves for messages and as the place that relative paths start from.
pub fn parse(text: &str, path: &Path) -> Result<Settings, Faults> {
    judged(path, &[Text::new(path, text)])
}

/// The settings of files that were read; the first one is the main file.
fn judged(main: &Path, files: &[Text]) -> Result<Settings, Faults> {
    let mut report = Report::default();
    match resolved(main, files, &mut report) {
        Some((_, settings)) if report.is_empty() => Ok(settings),
        _ => Err(report.into_faults()),
    }
}

/// The settings, and the document they come from; `None` only if there are faults.
fn resolved<'t>(
    main: &Path,
    files: &'t [Text],
    report: &mut Report<'t>,
) -> Option<(Document, Settings)> {
    let document = merged(files, report)?;
    let settings = resolve::resolve(&document, &folder_of(main), report)?;
    Some((document, settings))
}

/// The folder that relative paths start from: that of the main file.
fn folder_of(main: &Path) -> PathBuf {
    let main = std::path::absolute(main).unwrap_or_else(|_| main.to_path_buf());
    main.parent().unwrap_or(Path::new("/")).to_path_buf()
}

/// Puts the files together. `None` if one of them cannot be read, or has faults of syntax.
fn merged<'t>(files: &'t [Text], report: &mut Report<'t>) -> Option<Document> {
    let mut whole = Some(Document::default());
    for file in files {
        let base = report.add_source(&file.path, &file.text);
        match (walked(file, base, report), &mut whole) {
            (Some(document), Some(whole)) => whole.add(document),
            _ => whole = None,
        }
    }
    whole.map(Document::complete)
}

/// What one file says, which begins at the octet `base` of the text of all files.
fn walked(file: &Text, base: usize, report: &mut Report<'_>) -> Option<Document> {
    match &file.fault {
        Some(Unreadable::Whole(message)) => {
            report.whole_last_file(message.clone());
            return None;
        }
        Some(Unreadable::NotText) => {
            let message = "this is not UTF-8 text; save the file as UTF-8";
            report.add(base + file.text.len(), "", message);
            return None;
        }
        None => {}
    }
    let (table, errors) = DeTable::parse_recoverable(&file.text);
    if !errors.is_empty() {
        walk::syntax(&file.text, table.get_ref(), &errors, base, report);
        return None;
    }
    Some(walk::walk(table.get_ref(), base, report))
}
