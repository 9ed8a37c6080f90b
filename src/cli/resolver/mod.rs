//! `culvert resolver`: points this machine's own resolver at the relay, and back.
//!
//! ```text
//!   host (looks) ─► plan (decides, pure) ─► record (writes the record, then the files)
//!                                             └─► unset: each file back, if it is still ours
//! ```
//!
//! With `--root` only files below that folder are touched: no service is asked or told.

use std::net::{IpAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Subcommand;
use serde_json::json;

use super::{CONFIG, Form, print};
use crate::config;

mod host;
mod plan;
mod record;

use record::{Record, State};

/// Where the record is if no configuration says where.
const STATE: &str = "/var/lib/culvert";
/// How often and how long the relay is asked before `set` refuses.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Subcommand)]
pub(super) enum Resolver {
    /// Make this machine ask the relay
    Set {
        /// Address of the relay, which listens on its port 53
        #[arg(long, default_value = "127.0.0.1")]
        address: IpAddr,
        /// Do it although the relay does not answer
        #[arg(long)]
        force: bool,
        /// Print what would be done, change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Put back what there was before
    Unset {
        /// Print what would be done, change nothing
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Tell whether this machine asks the relay
    Status {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        form: Form,
    },
}

#[derive(clap::Args)]
pub(super) struct Place {
    /// Configuration file, for its server.state
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    config: PathBuf,
    /// Change the files below this folder, tell no service
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

impl Place {
    fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    /// Where the record is. A configuration that cannot be read must not keep anybody from
    /// putting things back.
    fn record(&self) -> PathBuf {
        let settings = config::load(&host::below(self.root(), &self.config));
        let state = settings.map_or_else(|_| STATE.into(), |settings| settings.server.state);
        host::below(self.root(), &state).join("resolver.json")
    }
}

impl Resolver {
    pub(super) fn run(&self) -> ExitCode {
        let done = match self {
            Resolver::Set { address, force, dry_run, place } => {
                set(*address, *force, *dry_run, place)
            }
            Resolver::Unset { dry_run, place } => unset(*dry_run, place),
            Resolver::Status { place, form } => status(place, form.json),
        };
        match done {
            Ok(code) => code,
            Err(text) => {
                eprintln!("{text}");
                ExitCode::FAILURE
            }
        }
    }
}

fn set(address: IpAddr, force: bool, dry_run: bool, place: &Place) -> Result<ExitCode, String> {
    if place.root.is_none() && !force && !answers(address) {
        return Err(format!(
            "nothing answers on {address} port 53, so that this machine would resolve no name: \
             start the relay (systemctl start culvert), name its --address, or insist with --force"
        ));
    }
    let (root, path) = (place.root(), place.record());
    let before = Record::load(&path, place.root.is_none())?;
    if let Some(record) = &before
        && record.address == address
        && record.states(root).iter().all(|(_, state)| *state == State::Ours)
    {
        print(&format!("this machine asks {address} already\n"));
        return Ok(ExitCode::SUCCESS);
    }
    if dry_run && before.is_some() {
        print("what was set before is put back first (culvert resolver unset --dry-run)\n");
    }
    if let Some(record) = before.filter(|_| !dry_run) {
        print(&record.undo(root, &path)?);
    }
    let plan = plan::plan(&host::look(root, place.root.is_none())?, address)?;
    if dry_run {
        print(&plan.in_words());
        return Ok(ExitCode::SUCCESS);
    }
    print(&record::put(&plan, address, root, &path)?);
    Ok(tell(&plan.commands, place))
}

fn unset(dry_run: bool, place: &Place) -> Result<ExitCode, String> {
    let (root, path) = (place.root(), place.record());
    let Some(record) = Record::load(&path, place.root.is_none())? else {
        print("nothing to put back: culvert resolver set was not run here\n");
        return Ok(ExitCode::SUCCESS);
    };
    if dry_run {
        print(&record.undoing(root));
        return Ok(ExitCode::SUCCESS);
    }
    print(&record.undo(root, &path)?);
    Ok(tell(&record.commands(), place))
}

fn status(place: &Place, as_json: bool) -> Result<ExitCode, String> {
    let record = Record::load(&place.record(), place.root.is_none())?;
    let Some(record) = record else {
        let text = "this machine's resolver is not set by culvert\n".to_owned();
        print(&if as_json { format!("{}\n", json!({ "set": false })) } else { text });
        return Ok(ExitCode::SUCCESS);
    };
    let states = record.states(place.root());
    let answering = place.root.is_none().then(|| answers(record.address));
    if as_json {
        let files: Vec<_> = states
            .iter()
            .map(|(file, state)| json!({ "path": file, "state": state.as_str() }))
            .collect();
        let all =
            json!({ "set": true, "address": record.address, "answers": answering, "files": files });
        print(&format!("{all}\n"));
    } else {
        let relay = match answering {
            Some(true) => ", which answers",
            Some(false) => ", WHICH DOES NOT ANSWER",
            None => "",
        };
        let mut text = format!("this machine asks {}{relay}\n", record.address);
        for (file, state) in &states {
            text.push_str(&format!("  {} {}\n", file.display(), state.as_str()));
        }
        print(&text);
    }
    let whole = states.iter().all(|(_, state)| *state == State::Ours) && answering != Some(false);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs what makes services read their files again.
fn tell(commands: &[Vec<&'static str>], place: &Place) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for words in commands.iter().filter(|_| place.root.is_none()) {
        let Some((program, arguments)) = words.split_first() else { continue };
        let failed = match Command::new(program).args(arguments).status() {
            Ok(status) if status.success() => continue,
            Ok(status) => status.to_string(),
            Err(e) => e.to_string(),
        };
        eprintln!("{}: {failed}; run it by hand", words.join(" "));
        code = ExitCode::FAILURE;
    }
    code
}

/// Whether a resolver answers there: `localhost`, which the relay knows by itself.
fn answers(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    };
    let ask = || -> std::io::Result<bool> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 53))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let id = fastrand::u16(..).to_be_bytes();
        let mut query = [&id[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 9]].concat();
        query.extend(b"localhost\0\0\x01\0\x01");
        socket.send(&query)?;
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply)?;
        // a reply with our id, no error, and an answer
        let head = reply.get(..length.min(12)).unwrap_or_default();
        Ok(matches!(head, [a, b, flags, code, _, _, _, answers, ..]
            if [*a, *b] == id && flags & 0x80 != 0 && code & 15 == 0 && *answers > 0))
    };
    (0..TRIES).any(|_| ask().unwrap_or(false))
}
