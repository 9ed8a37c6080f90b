//! Tests of the room as a whole: files in, settings or faults out.

mod documents;
mod drop_ins;
mod faults;
mod fingerprint;
mod good;
mod groups;
mod mutations;
mod supply;

use std::path::Path;

use super::{Faults, Settings, parse};

/// The smallest useful file.
const SMALLEST: &str = "\
[[upstream]]
url = \"https://doh.example/dns-query\"
addresses = [\"192.0.2.1\"]
";

/// Loads a text as if it were the file `culvert.toml`.
fn load(text: &str) -> Result<Settings, Faults> {
    parse(text, Path::new("culvert.toml"))
}

/// The faults of a text, one a line, as the operator sees them.
fn faults(text: &str) -> String {
    load(text).expect_err("the text has faults").to_string()
}

/// The faults of the smallest file with some lines added.
fn faults_with(lines: &str) -> String {
    faults(&format!("{SMALLEST}{lines}"))
}

/// The settings of the smallest file with some lines added.
fn settings_with(lines: &str) -> Settings {
    load(&format!("{SMALLEST}{lines}")).unwrap_or_else(|faults| panic!("{faults}"))
}
