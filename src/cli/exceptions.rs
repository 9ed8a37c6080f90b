//! Commands for names let through or blocked by hand, and for suspending policy.

use std::process::ExitCode;
use std::time::Duration;

use super::{At, ask};
use crate::admin::{Request, exceptions as words};
use crate::config::quantity;
use crate::policy::exceptions::Verdict;
use crate::zones::exceptions::Wish;

/// `culvert allow` and `culvert block`.
#[derive(clap::Args)]
pub(super) struct Except {
    /// The name; everything below it is meant too. "*" is all names
    name: String,
    /// The name itself only
    #[arg(long)]
    exact: bool,
    /// Only for these clients: a prefix, or one address
    #[arg(long, value_name = "CIDR")]
    client: Option<String>,
    /// How long, such as 30m, 8h or 7d; otherwise for good
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::duration)]
    length: Option<Duration>,
    /// Why; it is logged with every match
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    at: At,
}

/// `culvert exceptions`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Listed {
    #[command(subcommand)]
    command: Option<Change>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Subcommand)]
enum Change {
    /// List them, as without a word
    List {
        #[command(flatten)]
        at: At,
    },
    /// Remove exceptions by their numbers
    Remove {
        /// Numbers, as culvert exceptions shows them
        #[arg(required = true, num_args = 1..=256, value_name = "NUMBER")]
        ids: Vec<u64>,
        #[command(flatten)]
        at: At,
    },
}

/// `culvert policy`.
#[derive(clap::Subcommand)]
pub(super) enum Policy {
    /// Let no zone and no exception act for a while; matches are still logged
    Suspend {
        /// How long, such as 30m; at most 24h
        #[arg(long = "for", value_name = "TIME", value_parser = quantity::duration)]
        length: Duration,
        /// Why; it is logged and shown in the status
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        at: At,
    },
    /// End a suspension before its time
    Resume {
        #[command(flatten)]
        at: At,
    },
}

impl Except {
    pub(super) fn ask(self, verdict: Verdict) -> ExitCode {
        let Except { name, exact, client, length, reason, at } = self;
        let millis = length.map(millis);
        let wish = Wish { verdict, name, exact, client, millis, reason };
        ask(&at, Request::Except { wish, sudo_user: sudo_user() }, words::made)
    }
}

impl Listed {
    pub(super) fn ask(self) -> ExitCode {
        match self.command {
            None => ask(&self.at, Request::Exceptions, words::table),
            Some(Change::List { at }) => ask(&at, Request::Exceptions, words::table),
            Some(Change::Remove { ids, at }) => {
                ask(&at, Request::Unexcept { ids, sudo_user: sudo_user() }, words::removed)
            }
        }
    }
}

impl Policy {
    pub(super) fn ask(self) -> ExitCode {
        let sudo_user = sudo_user();
        match self {
            Policy::Suspend { length, reason, at } => {
                let request = Request::Suspend { millis: millis(length), reason, sudo_user };
                ask(&at, request, words::suspended)
            }
            Policy::Resume { at } => ask(&at, Request::Resume { sudo_user }, words::resumed),
        }
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

/// Who became root by sudo. The relay takes it from root only.
pub(super) fn sudo_user() -> Option<String> {
    std::env::var("SUDO_USER").ok()
}
