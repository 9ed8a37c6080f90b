//! Every setting with the place it comes from (`culvert config show`).

use std::fmt;
use std::path::Path;

use serde::Serialize;
use toml::de::DeValue;

use super::fault::{Faults, Report};
use super::files;
use super::shown::{HIDDEN, Shown, quoted};
use super::table::{Missing, SECTIONS, Section, Setting, settings_of};
use super::walk::{Document, Part};
use super::{policies, resolved, upstreams};

/// What the files of a configuration say, together. `Display` writes it as one TOML file with
/// the origins as comments. No secret and no path of a URL is in it.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// The files that were read, in order; the main file is the first.
    pub files: Vec<String>,
    /// The settings in the order of `docs/CONFIG.md`; sections of a list in their own.
    pub settings: Vec<Line>,
}

/// One setting.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The section as `docs/CONFIG.md` spells it: `server`, `upstream[]`; empty for the top.
    pub section: &'static str,
    /// Which one of a list of sections, counted from 1; 0 if there is only one.
    pub number: usize,
    /// The key within its section.
    pub key: String,
    /// Its value without secrets; `None` if it has none, see `meaning`.
    pub value: Option<Shown>,
    /// What holds since no file gives the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meaning: Option<&'static str>,
    /// Where the value comes from.
    #[serde(flatten)]
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Origin {
    /// A file gives it.
    File {
        /// The file, as it was named.
        file: String,
        /// Line, counted from 1.
        line: usize,
    },
    /// No file gives it.
    Default {
        /// Always true.
        default: bool,
    },
}

const DEFAULT: Origin = Origin::Default { default: true };

/// Reads and checks the configuration as [`super::load`] does and lists what its files give; with
/// `all`, also what holds for keys that no file gives.
pub fn show(path: &Path, all: bool) -> Result<Listing, Faults> {
    let files = files::read_all(path, None);
    let mut report = Report::default();
    match resolved(path, &files, &mut report) {
        Some((document, _)) if report.is_empty() => Ok(listing(&document, &report, all)),
        _ => Err(report.into_faults()),
    }
}

fn listing(document: &Document, report: &Report<'_>, all: bool) -> Listing {
    let mut settings = Vec::new();
    for section in SECTIONS {
        let parts = document.all(section.path);
        for (index, part) in parts.iter().enumerate() {
            let number = if section.is_list() { index + 1 } else { 0 };
            let lines = settings_of(section.path).filter_map(|setting| {
                let (value, meaning, origin) = match part.shown(setting) {
                    Some((value, at)) => (Some(value.clone()), None, origin(report, at)),
                    None if all && applies(section, part, setting.key()) => unset(setting)?,
                    None => return None,
                };
                let (section, key) = (section.path, setting.key().to_owned());
                Some(Line { section, number, key, value, meaning, origin })
            });
            settings.extend(lines);
        }
        if section.path == "local.hosts" {
            settings.extend(document.hosts.iter().map(|host| {
                let (name, addresses) = &host.value;
                let value = Shown::List(addresses.iter().map(ToString::to_string).collect());
                Line {
                    section: section.path,
                    number: 0,
                    key: quoted(&name.to_string()),
                    value: Some(value),
                    meaning: None,
                    origin: origin(report, host.at),
                }
            }));
        }
    }
    let files = report.files().iter().map(|file| file.display().to_string()).collect();
    Listing { files, settings }
}

fn origin(report: &Report<'_>, at: usize) -> Origin {
    Origin::File { file: report.file_of(at).to_owned(), line: report.line(at) }
}

/// What holds for a key that no file gives; `None` for one that would be a fault.
fn unset(setting: &Setting) -> Option<(Option<Shown>, Option<&'static str>, Origin)> {
    match setting.missing {
        Missing::Default(text) => {
            let value = DeValue::parse(text).ok()?;
            Some((Some(Shown::of(&setting.kind, value.get_ref())), None, DEFAULT))
        }
        Missing::Means(what, _) => Some((None, Some(what), DEFAULT)),
        Missing::Fault(_) => None,
    }
}

/// False for keys that would be a fault in this section, since they go with other sources.
fn applies(section: &Section, part: &Part, key: &str) -> bool {
    match section.path {
        "policy[]" => policies::goes_with_source(part, key),
        "upstream[]" => upstreams::goes_with_kind(part, key),
        _ => true,
    }
}

impl Line {
    /// The line of TOML without its origin.
    fn toml(&self) -> String {
        match (&self.value, self.meaning) {
            (Some(value), _) => format!("{} = {value}", self.key),
            (None, meaning) => format!("# {}: {}", self.key, meaning.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# What these files say together, and where:")?;
        for file in &self.files {
            writeln!(f, "#   {file}")?;
        }
        let secret = "the path of a URL, the secret of a key";
        writeln!(f, "# \"{HIDDEN}\" stands for what is secret: {secret}.")?;
        let folder = self.files.first().and_then(|main| Path::new(main).parent());
        let mut before = None;
        for line in &self.settings {
            if before != Some((line.section, line.number)) {
                before = Some((line.section, line.number));
                let section = SECTIONS.iter().find(|section| section.path == line.section);
                let header = section.filter(|section| !section.path.is_empty());
                writeln!(f, "{}", header.map_or(String::new(), |s| format!("\n{}", s.header())))?;
            }
            let origin = match &line.origin {
                Origin::Default { .. } => "default".to_owned(),
                Origin::File { file, line } => {
                    let file = Path::new(file);
                    let short = folder.and_then(|folder| file.strip_prefix(folder).ok());
                    format!("{}:{line}", short.unwrap_or(file).display())
                }
            };
            match line.value {
                Some(_) => writeln!(f, "{}  # {origin}", line.toml())?,
                None => writeln!(f, "{}", line.toml())?,
            }
        }
        Ok(())
    }
}
