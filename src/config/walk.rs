//! Holds the parsed TOML against the table: unknown keys, types, ranges, spellings.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use super::address::host_address;
use super::convert::{At, FromValue, Value, convert, type_of};
use super::fault::Report;
use super::shown::Shown;
use super::spelling::{domain, nearest, quote};
use super::table::{
    Missing, SECTIONS, SETTINGS, Section, Setting, Status, sections_in, settings_of,
};
use crate::dns::name::Name;

/// The section whose keys are the operator's own.
const HOSTS: &str = "local.hosts";
/// Most addresses of one entry there.
const MAX_HOST_ADDRESSES: usize = 64;

/// A file after the walk, or several that were put together: sections with typed values.
#[derive(Default)]
pub(super) struct Document {
    parts: BTreeMap<&'static str, Vec<Part>>,
    /// The entries of `local.hosts`.
    pub(super) hosts: Vec<At<(Name, Vec<IpAddr>)>>,
}

impl Document {
    /// A section that there is at most one of; without any keys if no file has it.
    pub(super) fn one(&self, path: &'static str) -> &Part {
        self.all(path).first().expect("complete() puts every single section into the document")
    }

    /// The sections of a list, in the order of the files.
    pub(super) fn all(&self, path: &'static str) -> &[Part] {
        self.parts.get(path).map_or(&[], Vec::as_slice)
    }

    /// Puts a later file on top. Of a single section its keys win one by one. In a list of
    /// sections, one with the name of an earlier file's takes the place of that one; all others
    /// follow behind.
    pub(super) fn add(&mut self, later: Document) {
        for (path, parts) in later.parts {
            let known = self.parts.entry(path).or_default();
            if path.ends_with("[]") {
                replace_by_name(known, parts);
            } else if let Some(known) = known.first_mut() {
                known.fields.extend(parts.into_iter().flat_map(|part| part.fields));
            } else {
                *known = parts;
            }
        }
        let hosts = self.hosts.iter().enumerate();
        let known: HashMap<Name, usize> =
            hosts.map(|(index, host)| (host.value.0, index)).collect();
        for host in later.hosts {
            match known.get(&host.value.0).and_then(|index| self.hosts.get_mut(*index)) {
                Some(known) => *known = host,
                None => self.hosts.push(host),
            }
        }
    }

    /// Adds the single sections that no file has; without them `one` must not be called.
    pub(super) fn complete(mut self) -> Document {
        for section in SECTIONS.iter().filter(|section| !section.is_list()) {
            let parts = self.parts.entry(section.path).or_default();
            if parts.is_empty() {
                parts.push(Part::new(section.path, 0));
            }
        }
        self
    }
}

/// Puts the sections of a later file into a list. A name that the later file has twice is not
/// replaced a second time, so that it is told as the fault it is.
fn replace_by_name(known: &mut Vec<Part>, later: Vec<Part>) {
    let mut places = HashMap::new();
    for (index, part) in known.iter().enumerate() {
        if let Some(name) = part.name() {
            places.entry(name).or_insert(index);
        }
    }
    for part in later {
        let place = part.name().and_then(|name| places.remove(&name));
        match place.and_then(|index| known.get_mut(index)) {
            Some(known) => *known = part,
            None => known.push(part),
        }
    }
}

/// One section of the file.
pub(super) struct Part {
    path: &'static str,
    /// The octet of the text of all files where the section begins.
    pub(super) at: usize,
    fields: BTreeMap<&'static str, Field>,
}

/// A key that a file gives.
struct Field {
    at: usize,
    /// The value to show to people; nothing of it is secret.
    shown: Shown,
    /// `None` if the value is of no use; of a list the good entries.
    value: Option<Value>,
    /// False if there was a complaint.
    good: bool,
}

impl Part {
    fn new(path: &'static str, at: usize) -> Part {
        Part { path, at, fields: BTreeMap::new() }
    }

    /// The name that tells this section of a list from the others, if it has one.
    fn name(&self) -> Option<String> {
        let key = if self.path == "policy[]" { "zone" } else { "name" };
        match self.fields.get(key)?.value.as_ref()? {
            Value::Text(name) => Some(name.clone()),
            Value::Name(name) => Some(name.to_string()),
            _ => None,
        }
    }

    /// The keys that are given, each with its value to show and where that stands.
    pub(super) fn shown(&self, setting: &Setting) -> Option<(&Shown, usize)> {
        self.fields.get(setting.key()).map(|field| (&field.shown, field.at))
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
    let value = convert(&setting.kind, &value, 0, &mut complaints);
    value.filter(|_| complaints.is_empty())
}

/// Walks the table of a file without faults of syntax, which begins at the octet `base` of the
/// text of all files.
pub(super) fn walk(table: &DeTable<'_>, base: usize, report: &mut Report<'_>) -> Document {
    let document = Document::default();
    let mut walk = Walk { report, base, document, keys_only: false, doubtful: Vec::new() };
    walk.section(top(), base, table);
    walk.document
}

/// Reports faults of syntax, at most one a line, and the unknown keys that can be told apart
/// from their consequences. Values behind a broken spot are not judged.
pub(super) fn syntax(
    text: &str,
    table: &DeTable<'_>,
    errors: &[Error],
    base: usize,
    report: &mut Report<'_>,
) {
    let mut doubtful: Vec<Range<usize>> = Vec::new();
    let mut spots: Vec<(usize, &str)> = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start.min(text.len()));
            (base + at, error.message())
        })
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
        let is_header = |line: &usize| report.line_text(base, *line).trim_start().starts_with('[');
        let end = match is_header(&line) {
            true => (line + 1..=report.line_count(base)).find(is_header),
            false => Some(line + 1),
        };
        doubtful.push(line..end.unwrap_or(usize::MAX));
    }
    let document = Document::default();
    Walk { report, base, document, keys_only: true, doubtful }.section(top(), base, table);
}

/// The file's top as a section.
fn top() -> &'static Section {
    let found = SECTIONS.iter().find(|section| section.path.is_empty());
    found.expect("the table declares the file's top")
}

struct Walk<'r, 't> {
    report: &'r mut Report<'t>,
    /// Where the file begins in the text of all files.
    base: usize,
    document: Document,
    /// Only unknown keys are looked for.
    keys_only: bool,
    /// Lines whose keys are not judged, since syntax is broken there.
    doubtful: Vec<Range<usize>>,
}

impl Walk<'_, '_> {
    /// Where a key or value stands in the text of all files.
    fn at<T>(&self, thing: &Spanned<T>) -> usize {
        self.base + thing.span().start
    }

    /// One section: its keys and the sections within it.
    fn section(&mut self, section: &'static Section, at: usize, table: &DeTable<'_>) {
        if section.path == HOSTS {
            return self.hosts(table);
        }
        let mut part = Part::new(section.path, at);
        for (key, value) in table {
            let name: &str = key.get_ref();
            let key_at = self.at(key);
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
                self.section(section, self.at(value), table);
            }
            DeValue::Array(entries) if section.is_list() => {
                for entry in entries {
                    let at = self.at(entry);
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
        let at = self.at(value);
        let shown = Shown::of(&setting.kind, value.get_ref());
        if matches!(section.status, Status::NotYet(_)) {
            // the section's header has been answered already
            return Field { at, shown, value: None, good: false };
        }
        let mut complaints = Vec::new();
        let value = convert(&setting.kind, value, self.base, &mut complaints);
        let good = complaints.is_empty();
        for (at, message) in complaints {
            self.report.add(self.base + at, setting.path, message);
        }
        Field { at, shown, value, good }
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
            let at = self.at(key);
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
            self.report.add(self.at(value), path, "the list is empty; give an address");
        }
        if entries.len() > MAX_HOST_ADDRESSES {
            let message = format!("there are more than {MAX_HOST_ADDRESSES} addresses");
            self.report.add(self.at(value), path, message);
            return Vec::new();
        }
        let mut out = Vec::new();
        for entry in entries {
            let at = self.at(entry);
            let result = match entry.get_ref() {
                DeValue::String(text) => host_address(text),
                DeValue::Table(_) => Err("a table is here; write the whole name in quotation \
                    marks: \"printer.corp.example\" = [\"10.0.0.9\"]"
                    .to_owned()),
                other => Err(format!("an address as a string is needed, not {}", type_of(other))),
            };
            match result {
                Ok(address) if out.contains(&address) => {
                    self.report.add(at, path, "this address is given already");
                }
                Ok(address) => out.push(address),
                Err(message) => self.report.add(at, path, message),
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
