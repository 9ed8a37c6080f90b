//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::Path;

use serde::Serialize;

/// One fault of the configuration file, or something in it that is probably not meant.
///
/// The message is a text and not an enum, because nobody but the operator acts on it: it says
/// what is wrong and what to write instead. It never holds the path of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The configuration file, as it was named.
    pub file: String,
    /// Line, counted from 1; 0 if the fault is that of the whole file.
    pub line: usize,
    /// Column in characters, counted from 1; 0 if the fault is that of the whole file.
    pub column: usize,
    /// The key as `docs/CONFIG.md` spells it (`upstream[].url`); empty for faults of syntax.
    pub key: String,
    /// What is wrong, and the cure.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All faults of one configuration file in the order of their positions; never empty.
///
/// As text: a line for each fault, and a closing line with their number. As JSON: an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    /// The faults in order.
    pub fn as_slice(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        match self.faults.len() {
            1 => write!(f, "1 fault"),
            count => write!(f, "{count} faults"),
        }
    }
}

impl std::error::Error for Faults {}

/// Collects faults while a file is being looked at, and turns offsets into lines and columns.
pub(super) struct Report<'t> {
    file: String,
    text: &'t str,
    /// Offsets at which lines start.
    lines: Vec<usize>,
    found: Vec<Found>,
    warnings: Vec<Found>,
}

/// A fault whose line and column are not counted yet.
struct Found {
    /// The octet of the text; `None` for faults of the whole file.
    at: Option<usize>,
    key: String,
    message: String,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &Path, text: &'t str) -> Report<'t> {
        let starts = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let file = file.display().to_string();
        Report { file, text, lines, found: Vec::new(), warnings: Vec::new() }
    }

    /// A fault at the octet `at` of the text.
    pub(super) fn add(&mut self, at: usize, key: &str, message: impl Into<String>) {
        self.found.push(Found { at: Some(at), key: key.to_owned(), message: message.into() });
    }

    /// A fault that has no place in the text.
    pub(super) fn whole_file(&mut self, key: &str, message: impl Into<String>) {
        self.found.push(Found { at: None, key: key.to_owned(), message: message.into() });
    }

    /// Something at the octet `at` that is accepted, but probably not meant.
    pub(super) fn warn(&mut self, at: usize, key: &str, message: String) {
        self.warnings.push(Found { at: Some(at), key: key.to_owned(), message });
    }

    /// Makes a fault for the octet `at` without noting it.
    pub(super) fn fault(&self, at: usize, key: &str, message: &str) -> Fault {
        let line = self.line(at);
        let column = self.characters(self.lines[line - 1], at) + 1;
        let (key, message) = (key.to_owned(), message.to_owned());
        Fault { file: self.file.clone(), line, column, key, message }
    }

    /// The line that holds the octet `at`, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    /// The text of a line, counted from 1, with its end.
    pub(super) fn line_text(&self, line: usize) -> &'t str {
        let start = self.lines[line - 1];
        &self.text[start..self.lines.get(line).copied().unwrap_or(self.text.len())]
    }

    /// Number of lines.
    pub(super) fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// The file, as it was named.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The faults sorted by position, those of one position in the order they were found.
    pub(super) fn into_faults(mut self) -> Faults {
        let found = std::mem::take(&mut self.found);
        Faults { faults: self.placed(found) }
    }

    /// The warnings, sorted like faults; none is left.
    pub(super) fn take_warnings(&mut self) -> Vec<Fault> {
        let warnings = std::mem::take(&mut self.warnings);
        self.placed(warnings)
    }

    /// What was found, sorted, with lines and columns.
    fn placed(&self, mut found: Vec<Found>) -> Vec<Fault> {
        found.sort_by_key(|found| found.at);
        let mut faults = Vec::with_capacity(found.len());
        // columns are counted on from the fault before: a long line is not read again each time
        let (mut last_line, mut last_at, mut column) = (0, 0, 0);
        for Found { at, key, message } in found {
            let line = at.map_or(0, |at| self.line(at));
            if let Some(at) = at {
                if line != last_line {
                    (last_line, last_at, column) = (line, self.lines[line - 1], 1);
                }
                column += self.characters(last_at, at);
                last_at = at;
            }
            faults.push(Fault { file: self.file.clone(), line, column, key, message });
        }
        faults
    }

    /// Number of characters that begin between two octets of the text.
    fn characters(&self, start: usize, end: usize) -> usize {
        let octets = self.text.as_bytes().get(start..end).unwrap_or_default();
        // octets of the form 10xxxxxx continue a character
        octets.iter().filter(|&&b| b & 0xc0 != 0x80).count()
    }
}
