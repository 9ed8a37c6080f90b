//! `culvert zone`: one policy zone of the running relay.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exceptions::sudo_user;
use super::{At, Place, ask, said, talk};
use crate::admin::zones::dump::{self, Failure};
use crate::admin::zones::{Ask, words};
use crate::admin::{Refresh, Request};

#[derive(clap::Subcommand)]
pub(super) enum Zone {
    /// Tell everything about a zone's state
    Show(Named),
    /// Ask its source for a newer version now, and take it
    Refresh(Named),
    /// Fetch it as a whole, whatever its serial
    Retransfer(Named),
    /// Read its file again; for a zone from elsewhere the same as refresh
    Reload(Named),
    /// Tell what its held version would change
    Diff(Named),
    /// Let its held version take effect
    Accept(Named),
    /// Tell what a zone that only watches would have done
    Report(Named),
    /// Let a zone that only watches act
    Promote(Named),
    /// Write the rules in force as a zone file
    Dump {
        /// Name of the zone
        zone: String,
        /// Where to; written as a whole or not at all. Otherwise to standard output
        file: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
pub(super) struct Named {
    /// Name of the zone
    zone: String,
    #[command(flatten)]
    at: At,
}

impl Zone {
    pub(super) fn run(self) -> ExitCode {
        match self {
            Zone::Show(named) => named.ask(Ask::Show, words::show),
            Zone::Refresh(named) => named.ask(Ask::Refresh(Refresh::Check), said),
            Zone::Retransfer(named) => named.ask(Ask::Refresh(Refresh::Whole), said),
            Zone::Reload(named) => named.ask(Ask::Refresh(Refresh::Reload), said),
            Zone::Diff(named) => named.ask(Ask::Diff, words::diff),
            Zone::Accept(named) => named.ask(Ask::Accept, said),
            Zone::Report(named) => named.ask(Ask::Report, words::report),
            Zone::Promote(named) => named.ask(Ask::Promote, said),
            Zone::Dump { zone, file, place } => {
                let written = match &file {
                    Some(file) => to_file(&place, &zone, file),
                    None => to_stdout(&place, &zone),
                };
                match written {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(text) => {
                        eprintln!("{text}");
                        ExitCode::FAILURE
                    }
                }
            }
        }
    }
}

impl Named {
    fn ask(self, what: Ask, words: impl FnOnce(&serde_json::Value) -> String) -> ExitCode {
        let Named { zone, at } = self;
        ask(&at, Request::Zone { zone, ask: what, sudo_user: sudo_user() }, words)
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Failure {
        Failure::Relay(text)
    }
}

fn receive(place: &Place, zone: &str, out: &mut dyn Write) -> Result<(), Failure> {
    talk(place, async |path| dump::receive(path, zone, out).await)?;
    out.flush().map_err(Failure::Output)
}

fn to_stdout(place: &Place, zone: &str) -> Result<(), String> {
    match receive(place, zone, &mut BufWriter::new(io::stdout().lock())) {
        Ok(()) => Ok(()),
        Err(Failure::Relay(text)) => Err(text),
        // a reader that went away (`culvert zone dump a.example | head`) is no fault of ours
        Err(Failure::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(Failure::Output(e)) => Err(format!("standard output: {e}")),
    }
}

/// Writes a file beside the one that is meant, and renames it when it is whole and on the disk.
fn to_file(place: &Place, zone: &str, file: &Path) -> Result<(), String> {
    if fs::metadata(file).is_ok_and(|meta| !meta.is_file()) {
        return Err(format!("{}: is no regular file; leave FILE out", file.display()));
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = file.with_file_name(name);
    let failed = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let out = OpenOptions::new().write(true).create_new(true).open(&fresh);
    let out = out.map_err(|e| failed(&fresh, e))?;
    let written = fill(place, zone, out).map_err(|failure| match failure {
        Failure::Relay(text) => text,
        Failure::Output(e) => failed(&fresh, e),
    });
    let renamed = written.and_then(|()| fs::rename(&fresh, file).map_err(|e| failed(file, e)));
    if renamed.is_err() {
        // the reason is told; what cannot be removed has a name that tells what it is
        let _ = fs::remove_file(&fresh);
    }
    renamed
}

fn fill(place: &Place, zone: &str, file: File) -> Result<(), Failure> {
    let mut out = BufWriter::new(file);
    receive(place, zone, &mut out)?;
    out.get_ref().sync_all().map_err(Failure::Output)
}
