//! Response policy zones as they are spelled, into the words of `policy`.
//!
//! ```text
//!   zone file ──> master_file ── ordinary line ──> fast_line ─────────┐
//!                  $TTL $ORIGIN                                       │ owner, type, TTL,
//!                  $INCLUDE          anything else                    │ wire data
//!                      └──────────────> entry ──> rdata_text ─────────┤
//!   list of domains, hosts file ──> list: the records a zone would have┤
//!   zone transfer, whole ──> gather ─┐                                 │
//!   zone transfer, changes ──> edit ─┴─ each owner ──> reading ────────┤
//!                                                                     v
//!                              owner: which trigger? ┐             intake
//!                              rdata: which action?  ┴──────────────> │  <── local_data
//!                                                                     v
//!                                                         policy::rules::ZoneRules
//!                                                                     │
//!   the same readers again ──> find: where a rule stands              ├──> audit: what is odd
//!                                                                     └──> dump: text again
//! ```
//!
//! A bad record costs that record: it is skipped, and noted with its line, its owner and the
//! reason. A file that is broken as a file (unreadable, no SOA, an open parenthesis at its
//! end, beyond a limit, a list of which no line is a name) is refused whole, so that the rules
//! in force stay in force.
//!
//! Source: internet-draft dnsop-dns-rpz-00, RFC 1035 section 5, and BIND's behaviour.

mod audit;
mod audit_names;
#[cfg(test)]
mod audit_tests;
mod dump;
mod edit;
#[cfg(test)]
mod edit_tests;
mod entry;
mod fast_line;
mod find;
mod gather;
mod intake;
mod lines;
mod list;
mod list_cover;
mod list_name;
#[cfg(test)]
mod list_tests;
mod local_data;
#[cfg(test)]
pub(crate) mod made_up;
mod master_file;
mod name_text;
mod owner;
mod rdata;
mod rdata_text;
mod reading;
mod record_text;
mod sink;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::dns::name::Name;
use crate::policy::rules::ZoneRules;

pub use audit::{Audit, Bare, Double, Findings, Hidden, Redundant, SkippedAt, audit};
pub use dump::Dump;
pub use edit::{Edit, Misfit};
pub use find::{Wanted, Written, find_rule, find_rules, zone_name};
pub use gather::{Gather, most_records};
pub use intake::{Intake, Refusal};
pub use record_text::data_text;

use lines::Text;
use list::Kind;
use sink::Sink;

/// Default bound for the rules of one zone.
pub const MAX_RULES: usize = 20_000_000;
/// Default bound for the text of one zone, included files too, in octets.
pub const MAX_BYTES: u64 = 1 << 30;
/// Default bound for one line, in octets.
pub const MAX_LINE: usize = 64 << 10;
/// Default bound for one entry that spans lines, in octets.
pub const MAX_ENTRY: usize = 256 << 10;
/// Default bound for files that include files.
pub const MAX_INCLUDE_DEPTH: usize = 8;

/// How much a zone may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rules.
    pub max_rules: usize,
    /// Most text, included files too, in octets.
    pub max_bytes: u64,
    /// Longest line, in octets.
    pub max_line: usize,
    /// Longest entry that spans lines, in octets.
    pub max_entry: usize,
    /// How deep files may include files; 0 forbids it.
    pub max_include_depth: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_rules: MAX_RULES,
            max_bytes: MAX_BYTES,
            max_line: MAX_LINE,
            max_entry: MAX_ENTRY,
            max_include_depth: MAX_INCLUDE_DEPTH,
        }
    }
}

/// Why a zone file was refused: `file:line: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// The file, which may be one that the zone's file includes.
    pub file: PathBuf,
    /// The line from 1, where there is one to blame.
    pub line: Option<u32>,
    /// What is wrong, and what to do where that is known.
    pub reason: String,
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.reason)
    }
}

impl std::error::Error for ZoneError {}

/// How a zone's text is spelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// A zone file (RFC 1035 section 5).
    #[default]
    Zone,
    /// One name a line, each to be answered NXDOMAIN.
    Domains {
        /// Every name stands for all names below it too.
        subdomains: bool,
    },
    /// `ADDRESS NAME [NAME...]`: NXDOMAIN where the address is 0.0.0.0, ::, 127.0.0.1 or ::1,
    /// else an answer with that address.
    Hosts {
        /// Every name stands for all names below it too.
        subdomains: bool,
    },
}

/// Reads the policy zone `origin` from a file, and from those that it includes. Blocks.
pub fn load(
    path: &Path,
    origin: &Name,
    form: Form,
    limits: &Limits,
) -> Result<ZoneRules, ZoneError> {
    rules(open(path)?, origin, form, limits)
}

/// Reads the policy zone `origin` from text that came from elsewhere; `file` names it in
/// messages. `$INCLUDE` is refused: such text has no business with the files of this host.
/// A list without a file has serial 0.
pub fn parse(
    text: &[u8],
    file: &Path,
    origin: &Name,
    form: Form,
    limits: &Limits,
) -> Result<ZoneRules, ZoneError> {
    parse_as_of(0, text, file, origin, form, limits)
}

/// As [`parse`], for a text that was last changed so many seconds after 1970: that is the serial
/// of a list, as it is with a file. A zone file has a serial of its own.
pub fn parse_as_of(
    modified: u32,
    text: &[u8],
    file: &Path,
    origin: &Name,
    form: Form,
    limits: &Limits,
) -> Result<ZoneRules, ZoneError> {
    let mut text = Text::given(text, file);
    text.modified = modified;
    rules(text, origin, form, limits)
}

fn open(path: &Path) -> Result<Text<'static>, ZoneError> {
    Text::open(path).map_err(|reason| ZoneError { file: path.to_owned(), line: None, reason })
}

fn rules(
    text: Text<'_>,
    origin: &Name,
    form: Form,
    limits: &Limits,
) -> Result<ZoneRules, ZoneError> {
    let file = text.path.clone();
    let intake = scan(text, origin, form, limits, Intake::new(*origin, limits.max_rules))?;
    if form != Form::Zone
        && let Some(first) = intake.nothing_but_faults()
    {
        // the page of an error in the place of the list, or another kind of file
        let reason = format!(
            "no line can be used, so this is hardly the list that is meant; the first: {}: {}",
            first.owner, first.reason
        );
        return Err(ZoneError { file, line: Some(first.line), reason });
    }
    let refused = |reason| ZoneError { file, line: None, reason };
    let mut rules = match intake.finish() {
        Ok(rules) => rules,
        Err(refusal) => return Err(refused(refusal.to_string())),
    };
    if form != Form::Zone {
        let left_out = list_cover::close(&mut rules, limits.max_rules).map_err(refused)?;
        rules.skipped.unused += left_out;
    }
    Ok(rules)
}

/// Hands the records of a text to `sink`.
fn scan<S: Sink>(
    text: Text<'_>,
    origin: &Name,
    form: Form,
    limits: &Limits,
    sink: S,
) -> Result<S, ZoneError> {
    match form {
        Form::Zone => master_file::scan(text, origin, limits, sink),
        Form::Domains { subdomains } => {
            list::scan(text, (Kind::Domains, subdomains), origin, limits, sink)
        }
        Form::Hosts { subdomains } => {
            list::scan(text, (Kind::Hosts, subdomains), origin, limits, sink)
        }
    }
}
