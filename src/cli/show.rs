//! `culvert config show`.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::{Config, Form, print, refuse};
use crate::config;
use crate::daemon::Trouble;

#[derive(Subcommand)]
pub(super) enum Show {
    /// Show every setting with the file and line it comes from, secrets left out
    Show {
        /// Show the settings that no file gives, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        config: Config,
        #[command(flatten)]
        form: Form,
    },
}

impl Show {
    pub(super) fn run(self) -> ExitCode {
        let Show::Show { all, config, form } = self;
        match config::show(&config.config, all) {
            Ok(listing) if form.json => print(&format!("{}\n", json!(listing))),
            Ok(listing) => print(&listing.to_string()),
            Err(faults) => return refuse(&Trouble::Config(faults), form.json),
        }
        ExitCode::SUCCESS
    }
}
