//! Holds the parsed TOML against the table: unknown keys, types, ranges, spellings.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::address::host_address;
use super::convert::{At, FromValue, Value, convert, type_of};
use super::fault::Report;
use super::spelling::{domain, nearest, quote};
use super::table::{
    Missing, SECTIONS, SETTINGS, Section, Setting, Status, sections_in, settings_of,
};
use crate::dns::name::Name;

/// The section whose keys are the operator's own.
const HOSTS: &str = "local.hosts";
/// Most addresses of one entry there.
const MAX_HOST_ADDRESSES: usize = 64;

/// The file after the walk: its sections with typed values.
pub(super) struct Document {
    parts: BTreeMap<&'static str, Vec<Part>>,
    /// The entries of `local.hosts`.
    pub(super) hosts: Vec<At<(Name, Vec<IpAddr>)>>,
}

impl Document {
    /// A section that there is at most one of; without any keys if the file does not have it.
    pub(super) fn one(&self, path: &'static str) -> &Part {
        self.all(path).first().expect("walk() puts every single section into the document")
    }

    /// The sections of a list, in the order of the file.
    pub(super) fn all(&self, path: &'static str) -> &[Part] {
        self.parts.get(path).map_or(&[], Vec::as_slice)
    }
}

/// One section of the file.
pub(super) struct Part {
    path: &'static str,
    /// The octet of the text where the section begins.
    pub(super) at: usize,
    fields: BTreeMap<&'static str, Field>,
}

/// A key that the file gives.
struct Field {
    at: usize,
    /// `None` if the value is of no use; of a list the good entries.
    value: Option<Value>,
    /// False if there was a complaint.
    good: bool,
}

impl Part {
    fn new(path: &'static str, at: usize) -> Part {
        Part { path, at, fields: BTreeMap::new() }
    }

    /// The full path of a key of this section.
    pub(super) fn key(&self, key: &str) -> &'static str {
        self.setting(key).path
    }

    /// Where the key's value stands; the section's beginning if the file does not give it.
    pub(super) fn at(&self, key: &str) -> usize {
        self.fields.get(key).map_or(self.at, |field| field.at)
    }

    /// True if the file gives the key, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.fields.contains_key(key)
    }

    /// True if the file gives the key with a value that is not good.
    pub(super) fn is_bad(&self, key: &str) -> bool {
        self.fields.get(key).is_some_and(|field| !field.good)
    }

    /// The value that the file gives, if it is of any use.
    pub(super) fn given<T: FromValue>(&self, key: &str) -> Option<T> {
        let value = self.fields.get(key)?.value.as_ref()?;
        Some(T::from_value(value).expect("a key is read as the kind that the table declares"))
    }

    /// The value that the file gives, or else the default.
    pub(super) fn value<T: FromValue>(&self, key: &str) -> T {
        if let Some(value) = self.given(key) {
            return value;
        }
        let value = default(self.setting(key));
        let value = value.as_ref().and_then(T::from_value);
        value.expect("the table's defaults are good, and only keys with one are read this way")
    }

    fn setting(&self, key: &str) -> &'static Setting {
        let found = settings_of(self.path).find(|setting| setting.key() == key);
        found.expect("only keys of the table are read")
    }
}

/// The default of a setting; `None` if it has none, or if the table is wrong.
pub(super) fn default(setting: &Setting) -> Option<Value> {
    let Missing::Default(text) = setting.missing else { return None };
    let value = DeValue::parse(text).ok()?;
    let mut complaints = Vec::new();
    let value = convert(&setting.kind, &value, &mut complaints);
    value.filter(|_| complaints.is_empty())
}

/// Walks a table without faults of syntax.
pub(super) fn walk(table: &DeTable<'_>, report: &mut Report<'_>) -> Document {
    let mut walk = Walk {
        report,
        document: Document { parts: BTreeMap::new(), hosts: Vec::new() },
        keys_only: false,
        doubtful: Vec::new(),
    };
    walk.section(top(), 0, table);
    for section in SECTIONS.iter().filter(|section| !section.is_list()) {
        let parts = walk.document.parts.entry(section.path).or_default();
        if parts.is_empty() {
            parts.push(Part::new(section.path, 0));
        }
    }
    walk.document
}

/// Reports faults of syntax, at most one a line, and the unknown keys that can be told apart
/// from their consequences. Values behind a broken spot are not judged.
pub(super) fn syntax(text: &str, table: &DeTable<'_>, errors: &[Error], report: &mut Report<'_>) {
    let mut doubtful: Vec<Range<usize>> = Vec::new();
    let mut spots: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| (error.span().map_or(0, |span| span.start.min(text.len())), error.message()))
        .collect();
    spots.sort_by_key(|(at, _)| *at);
    let mut last = 0;
    for (at, message) in spots {
        let line = report.line(at);
        if line == last {
            continue;
        }
        last = line;
        report.add(at, "", message);
        // keys below a broken header may belong elsewhere
        let is_header = |line: &usize| report.line_text(*line).trim_start().starts_with('[');
        let end = match is_header(&line) {
            true => (line + 1..=report.line_count()).find(is_header),
            false => Some(line + 1),
        };
        doubtful.push(line..end.unwrap_or(usize::MAX));
    }
    let document = Document { parts: BTreeMap::new(), hosts: Vec::new() };
    Walk { report, document, keys_only: true, doubtful }.section(top(), 0, table);
}

/// The file's top as a section.
fn top() -> &'static Section {
    let found = SECTIONS.iter().find(|section| section.path.is_empty());
    found.expect("the table declares the file's top")
}

struct Walk<'r, 't> {
    report: &'r mut Report<'t>,
    document: Document,
    /// Only unknown keys are looked for.
    keys_only: bool,
    /// Lines whose keys are not judged, since syntax is broken there.
    doubtful: Vec<Range<usize>>,
}

impl Walk<'_, '_> {
    /// One section: its keys and the sections within it.
    fn section(&mut self, section: &'static Section, at: usize, table: &DeTable<'_>) {
        if section.path == HOSTS {
            return self.hosts(table);
        }
        let mut part = Part::new(section.path, at);
        for (key, value) in table {
            let name: &str = key.get_ref();
            let key_at = key.span().start;
            let child = sections_in(section.path).find(|(child, _)| *child == name);
            if let Some((_, child)) = child {
                self.child(child, key_at, value);
            } else if let Some(known) = settings_of(section.path).find(|s| s.key() == name) {
                if !self.keys_only {
                    part.fields.insert(known.key(), self.field(section, known, value));
                }
            } else {
                self.unknown(section, key_at, name);
            }
        }
        self.document.parts.entry(section.path).or_default().push(part);
    }

    /// A section within another one: a table, or a list of tables.
    fn child(&mut self, section: &'static Section, key_at: usize, value: &Spanned<DeValue<'_>>) {
        let header = section.header();
        match value.get_ref() {
            DeValue::Table(table) if !section.is_list() => {
                self.not_yet(section, key_at);
                self.section(section, value.span().start, table);
            }
            DeValue::Array(entries) if section.is_list() => {
                for entry in entries {
                    let at = entry.span().start;
                    match entry.get_ref() {
                        DeValue::Table(table) => {
                            self.not_yet(section, at);
                            self.section(section, at, table);
                        }
                        other => {
                            let found = type_of(other);
                            self.shape(section, at, format!("a table is needed, not {found}"));
                        }
                    }
                }
            }
            DeValue::Table(_) => {
                let message = format!("there may be several of these; write {header}");
                self.shape(section, key_at, message);
            }
            DeValue::Array(_) => {
                let message = format!("there is only one of these; write {header}");
                self.shape(section, key_at, message);
            }
            other => {
                let message = format!("this is a section, not {}; write {header}", type_of(other));
                self.shape(section, key_at, message);
            }
        }
    }

    /// A fault of a section's form.
    fn shape(&mut self, section: &Section, at: usize, message: String) {
        if !self.keys_only {
            self.report.add(at, section.path, message);
        }
    }

    fn not_yet(&mut self, section: &Section, at: usize) {
        if let Status::NotYet(reason) = section.status {
            self.shape(section, at, format!("not yet in this version: {reason}"));
        }
    }

    /// A known key.
    fn field(
        &mut self,
        section: &Section,
        setting: &Setting,
        value: &Spanned<DeValue<'_>>,
    ) -> Field {
        let at = value.span().start;
        if matches!(section.status, Status::NotYet(_)) {
            // the section's header has been answered already
            return Field { at, value: None, good: false };
        }
        let mut complaints = Vec::new();
        let value = convert(&setting.kind, value, &mut complaints);
        let good = complaints.is_empty();
        for (at, message) in complaints {
            self.report.add(at, setting.path, message);
        }
        Field { at, value, good }
    }

    fn unknown(&mut self, section: &Section, at: usize, name: &str) {
        let line = self.report.line(at);
        if self.doubtful.iter().any(|lines| lines.contains(&line)) {
            return;
        }
        let mut here: Vec<&str> = settings_of(section.path).map(Setting::key).collect();
        here.extend(sections_in(section.path).map(|(name, _)| name));
        if here.is_empty() {
            // a section that is refused as a whole
            return;
        }
        let advice = match nearest(name, here.iter().copied()).or_else(|| elsewhere(name)) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("known here: {}", here.join(", ")),
        };
        let shown = quote(name);
        let dot = if section.path.is_empty() { "" } else { "." };
        let key = format!("{}{dot}{}", section.path, shown.trim_matches('"'));
        self.report.add(at, &key, format!("unknown key; {advice}"));
    }

    /// The entries of `local.hosts`: names with an address or a list of addresses.
    fn hosts(&mut self, table: &DeTable<'_>) {
        if self.keys_only {
            return;
        }
        let mut seen = HashSet::new();
        for (key, value) in table {
            let at = key.span().start;
            let shown = quote(key.get_ref());
            let path = format!("{HOSTS}.{}", shown.trim_matches('"'));
            let name = domain(key.get_ref()).and_then(|name| match name {
                name if name.is_wildcard() || name.is_root() => {
                    Err("an entry is one host's name; wildcards go into a policy zone".to_owned())
                }
                name if !seen.insert(name) => Err("this name is given already".to_owned()),
                name => Ok(name),
            });
            let addresses = self.host_addresses(&path, value);
            match name {
                Ok(name) => self.document.hosts.push(At { at, value: (name, addresses) }),
                Err(message) => self.report.add(at, &path, message),
            }
        }
    }

    fn host_addresses(&mut self, path: &str, value: &Spanned<DeValue<'_>>) -> Vec<IpAddr> {
        let entries = match value.get_ref() {
            DeValue::Array(entries) => entries.as_ref(),
            _ => std::slice::from_ref(value),
        };
        if entries.is_empty() {
            self.report.add(value.span().start, path, "the list is empty; give an address");
        }
        if entries.len() > MAX_HOST_ADDRESSES {
            let message = format!("there are more than {MAX_HOST_ADDRESSES} addresses");
            self.report.add(value.span().start, path, message);
            return Vec::new();
        }
        let mut out = Vec::new();
        for entry in entries {
            let result = match entry.get_ref() {
                DeValue::String(text) => host_address(text),
                DeValue::Table(_) => Err("a table is here; write the whole name in quotation \
                    marks: \"printer.corp.example\" = [\"10.0.0.9\"]"
                    .to_owned()),
                other => Err(format!("an address as a string is needed, not {}", type_of(other))),
            };
            match result {
                Ok(address) if out.contains(&address) => {
                    self.report.add(entry.span().start, path, "this address is given already");
                }
                Ok(address) => out.push(address),
                Err(message) => self.report.add(entry.span().start, path, message),
            }
        }
        out
    }
}

/// The full path of a key that goes by this name, or nearly so, in another section.
fn elsewhere(name: &str) -> Option<&'static str> {
    let settings = SETTINGS.iter();
    let sections = SECTIONS.iter().filter_map(|section| Some((section.place()?.1, section.path)));
    let mut known = settings.map(|setting| (setting.key(), setting.path)).chain(sections);
    let keys = SETTINGS.iter().map(Setting::key);
    let names = keys.chain(SECTIONS.iter().filter_map(|section| Some(section.place()?.1)));
    let meant = nearest(name, names)?;
    known.find(|(key, _)| *key == meant).map(|(_, path)| path)
}
