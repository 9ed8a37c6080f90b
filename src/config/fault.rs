//! What is wrong with a configuration file, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// One fault of the configuration file, or something in it that is probably not meant.
///
/// The message is a text and not an enum, because nobody but the operator acts on it: it says
/// what is wrong and what to write instead. It never holds the path of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// The file of the configuration that has it, as it was named.
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

/// All faults of a configuration, file by file in the order of their positions; never empty.
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

/// Collects faults while files are being looked at, and turns offsets into lines and columns.
///
/// The files stand one behind the other as if they were one text: an offset says which file is
/// meant, too.
#[derive(Default)]
pub(super) struct Report<'t> {
    /// In the order of their offsets. There is one before anything is noted.
    sources: Vec<Source<'t>>,
    found: Vec<Found>,
    warnings: Vec<Found>,
}

/// One file.
struct Source<'t> {
    file: String,
    text: &'t str,
    /// Where it begins in the text of all files.
    base: usize,
    /// Offsets at which lines start, in the text of all files.
    lines: Vec<usize>,
}

impl<'t> Source<'t> {
    fn new(file: &Path, text: &'t str, base: usize) -> Source<'t> {
        let starts = text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).map(|at| base + at).collect();
        Source { file: file.display().to_string(), text, base, lines }
    }

    /// The line that holds the octet `at`, counted from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|&start| start <= at)
    }

    /// Number of characters that begin between two octets.
    fn characters(&self, start: usize, end: usize) -> usize {
        let range = start.saturating_sub(self.base)..end.saturating_sub(self.base);
        let octets = self.text.as_bytes().get(range).unwrap_or_default();
        // octets of the form 10xxxxxx continue a character
        octets.iter().filter(|&&b| b & 0xc0 != 0x80).count()
    }
}

/// A fault whose line and column are not counted yet.
struct Found {
    /// Index of its file.
    source: usize,
    /// The octet of the text; `None` for faults of the whole file.
    at: Option<usize>,
    key: String,
    message: String,
}

impl<'t> Report<'t> {
    /// One more file; what it says stands from the given offset on.
    pub(super) fn add_source(&mut self, file: &Path, text: &'t str) -> usize {
        // one octet lies between two files: the end of a file is not the next one's beginning
        let base = self.sources.last().map_or(0, |last| last.base + last.text.len() + 1);
        self.sources.push(Source::new(file, text, base));
        base
    }

    /// Index of the file that holds the octet `at`.
    fn source_index(&self, at: usize) -> usize {
        self.sources.partition_point(|source| source.base <= at).saturating_sub(1)
    }

    fn source(&self, at: usize) -> &Source<'t> {
        &self.sources[self.source_index(at)]
    }

    /// A fault at the octet `at` of the text.
    pub(super) fn add(&mut self, at: usize, key: &str, message: impl Into<String>) {
        let source = self.source_index(at);
        let (key, message) = (key.to_owned(), message.into());
        self.found.push(Found { source, at: Some(at), key, message });
    }

    /// A fault of the first file that has no place in its text.
    pub(super) fn whole_file(&mut self, key: &str, message: impl Into<String>) {
        let (key, message) = (key.to_owned(), message.into());
        self.found.push(Found { source: 0, at: None, key, message });
    }

    /// The same of a file that was added last.
    pub(super) fn whole_last_file(&mut self, message: impl Into<String>) {
        let source = self.sources.len() - 1;
        let (key, message) = (String::new(), message.into());
        self.found.push(Found { source, at: None, key, message });
    }

    /// Something at the octet `at` that is accepted, but probably not meant.
    pub(super) fn warn(&mut self, at: usize, key: &str, message: String) {
        let source = self.source_index(at);
        self.warnings.push(Found { source, at: Some(at), key: key.to_owned(), message });
    }

    /// Makes a fault for the octet `at` without noting it.
    pub(super) fn fault(&self, at: usize, key: &str, message: &str) -> Fault {
        let source = self.source(at);
        let line = source.line(at);
        let column = source.characters(source.lines[line - 1], at) + 1;
        let (key, message) = (key.to_owned(), message.to_owned());
        Fault { file: source.file.clone(), line, column, key, message }
    }

    /// The line that holds the octet `at` in its file, counted from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.source(at).line(at)
    }

    /// Where the octet `at` is, for a message about the octet `here`: "line 3", or "line 3 of
    /// FILE" if that is another file.
    pub(super) fn place(&self, at: usize, here: usize) -> String {
        let source = self.source(at);
        let line = source.line(at);
        if self.source_index(here) == self.source_index(at) {
            return format!("line {line}");
        }
        format!("line {line} of {}", source.file)
    }

    /// The text of a line, counted from 1, of the file that holds the octet `at`; with its end.
    pub(super) fn line_text(&self, at: usize, line: usize) -> &'t str {
        let source = self.source(at);
        let start = source.lines[line - 1] - source.base;
        let end = source.lines.get(line).map_or(source.text.len(), |end| end - source.base);
        &source.text[start..end]
    }

    /// Number of lines of the file that holds the octet `at`.
    pub(super) fn line_count(&self, at: usize) -> usize {
        self.source(at).lines.len()
    }

    /// The first file, as it was named.
    pub(super) fn file(&self) -> &str {
        &self.sources[0].file
    }

    /// The file that holds the octet `at`, as it was named.
    pub(super) fn file_of(&self, at: usize) -> &str {
        &self.source(at).file
    }

    /// All files, as they were named, in order.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.sources.iter().map(|source| PathBuf::from(&source.file)).collect()
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
        found.sort_by_key(|found| (found.source, found.at));
        let mut faults = Vec::with_capacity(found.len());
        // columns are counted on from the fault before: a long line is not read again each time
        let (mut last_start, mut last_at, mut column) = (usize::MAX, 0, 0);
        for Found { source, at, key, message } in found {
            let source = &self.sources[source];
            let line = at.map_or(0, |at| source.line(at));
            if let Some(at) = at {
                let start = source.lines[line - 1];
                if start != last_start {
                    (last_start, last_at, column) = (start, start, 1);
                }
                column += source.characters(last_at, at);
                last_at = at;
            }
            let column = if at.is_some() { column } else { 0 };
            faults.push(Fault { file: source.file.clone(), line, column, key, message });
        }
        faults
    }
}
