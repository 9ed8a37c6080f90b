//! `culvert pair`: the two relays that serve a network together.

use std::process::ExitCode;

use super::{At, print, talk};
use crate::admin::peer::Peer;
use crate::admin::{Request, control, pair};

/// Exit code if one of the relays cannot be asked.
const CANNOT: u8 = 2;

#[derive(clap::Subcommand)]
pub(super) enum Pair {
    /// Compare the running relay with the other one: version, configuration,
    /// policy zones, exceptions
    #[command(after_help = "Exit code: 0 the same, 1 they differ, 2 one cannot be asked.\n\
        The other relay shows its status to those in its status.allow.")]
    Compare {
        /// The other relay, and the port of its status listener if not 8053
        #[arg(value_name = "HOST[:PORT]")]
        peer: Peer,
        #[command(flatten)]
        at: At,
    },
}

impl Pair {
    pub(super) fn run(self) -> ExitCode {
        let Pair::Compare { peer, at } = self;
        let both = talk(&at.place, async |path| {
            let here = control::ask(path, &Request::Status);
            let (here, there) = tokio::join!(here, peer.status());
            Ok::<_, String>((here?, there?))
        });
        let (here, there) = match both {
            Ok(both) => both,
            Err(text) => {
                eprintln!("{text}");
                return ExitCode::from(CANNOT);
            }
        };
        let rows = pair::compare(&here, &there);
        let report = pair::report(&peer.to_string(), &rows);
        print(&if at.form.json { format!("{report}\n") } else { pair::words(&report) });
        if pair::agree(&rows) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
