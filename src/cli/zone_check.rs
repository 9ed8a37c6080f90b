//! `culvert check-zone`: what is wrong or odd in the file of a policy zone.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{EXIT_CONFIG, print};
use crate::dns::name::Name;
use crate::limits;
use crate::rpz::{self, Audit, Double, Findings, Form, Limits, ZoneError};

/// Findings of one kind that are shown; `--json` has more.
const SHOWN: usize = 20;
/// Lines of one rule that are shown.
const LINES_SHOWN: usize = 4;
/// Width of the output.
const COLUMNS: usize = 80;

/// What to look at.
#[derive(clap::Args)]
#[command(after_help = "Exit status: 0 nothing wrong, 1 skipped records or conflicts, \
                        78 the file cannot be loaded.")]
pub(super) struct Asked {
    /// The zone's file
    file: PathBuf,
    /// Name of the zone; otherwise that of its SOA, or the file's
    #[arg(long, value_name = "NAME")]
    zone: Option<String>,
    /// How the file is written
    #[arg(long, value_enum, default_value = "rpz")]
    format: Format,
    /// The names of a list stand for all names below them too
    #[arg(long)]
    subdomains: bool,
    /// Print JSON: up to 1000 findings of each kind
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A zone file
    Rpz,
    /// One domain name a line
    Domains,
    /// A hosts file
    Hosts,
}

impl Asked {
    fn form(&self) -> Form {
        let subdomains = self.subdomains;
        match self.format {
            Format::Rpz => Form::Zone,
            Format::Domains => Form::Domains { subdomains },
            Format::Hosts => Form::Hosts { subdomains },
        }
    }
}

/// Reads the file as a start would and tells what there is to say about it.
pub(super) fn run(asked: &Asked) -> ExitCode {
    match examine(asked) {
        Ok(audit) => {
            let text = if asked.json { as_json(asked, &audit) } else { in_words(asked, &audit) };
            print(&text);
            if audit.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(fault) => {
            if asked.json {
                let (file, line) = (fault.file.display().to_string(), fault.line);
                let fault = json!({ "file": file, "line": line, "message": fault.reason });
                print(&format!("{}\n", json!({ "faults": [fault] })));
            } else {
                eprintln!("{fault}");
            }
            ExitCode::from(EXIT_CONFIG)
        }
    }
}

fn examine(asked: &Asked) -> Result<Audit, ZoneError> {
    let (file, form, limits) = (&asked.file, asked.form(), Limits::default());
    let zone = zone_name(asked, &limits)?;
    let rules = rpz::load(file, &zone, form, &limits)?;
    let mut audit = rpz::audit(&rules);
    drop(rules);
    audit.locate(file, form, &limits)?;
    Ok(audit)
}

/// The name that was given, or that of the SOA, or the file's own without its ending.
fn zone_name(asked: &Asked, limits: &Limits) -> Result<Name, ZoneError> {
    let fail = |reason| ZoneError { file: asked.file.clone(), line: None, reason };
    if let Some(text) = &asked.zone {
        return text.parse().map_err(|err| fail(format!("--zone {text}: {err}")));
    }
    if asked.format == Format::Rpz
        && let Some(name) = rpz::zone_name(&asked.file, limits)?
    {
        return Ok(name);
    }
    let stem = asked.file.file_stem().and_then(|stem| stem.to_str());
    let name = stem.and_then(|stem| stem.parse::<Name>().ok()).filter(|name| !name.is_root());
    name.ok_or_else(|| fail("the zone has no name; give it one with --zone NAME".into()))
}

fn as_json(asked: &Asked, audit: &Audit) -> String {
    let mut value = json!(audit);
    if let Value::Object(object) = &mut value {
        object.insert("file".into(), json!(asked.file.display().to_string()));
        object.insert("clean".into(), json!(audit.is_clean()));
    }
    format!("{value}\n")
}

fn in_words(asked: &Asked, audit: &Audit) -> String {
    let mut page = Page::default();
    let name = asked.file.display();
    let (zone, serial, rules) = (&audit.zone, audit.serial, audit.rules);
    page.text(0, &format!("{name}: zone {zone}, serial {serial}, {}", count(rules, "rule")));
    for counts in [&audit.by_trigger, &audit.by_action] {
        let counts: Vec<String> = counts.iter().map(|(what, n)| format!("{what} {n}")).collect();
        if !counts.is_empty() {
            page.text(2, &counts.join(", "));
        }
    }
    if audit.unused > 0 {
        page.text(2, &format!("records that are no rules by their nature: {}", audit.unused));
    }
    page.section("Skipped: records that are no usable rules", &audit.skipped, |page, skip| {
        let file = skip.file.as_ref().map_or(String::new(), |file| format!("{file}, "));
        page.text(2, &format!("{file}line {}: {}", skip.line, skip.owner));
        page.text(4, &skip.reason);
    });
    let title = "Conflicts: the first rule counts, a later one says something else";
    page.section(title, &audit.conflicts, |page, double| {
        page.text(2, &format!("{}: {}, not {}", double.owner, double.in_force, double.void));
        page.places(&asked.file, double);
    });
    let title = "Duplicates: the first rule counts, a later one says the same";
    page.section(title, &audit.duplicates, |page, double| {
        page.text(2, &format!("{}: {}", double.owner, double.in_force));
        page.places(&asked.file, double);
    });
    let title = "Hidden: names that a wildcard does not cover, because a rule stands below them \
                 (RFC 4592); write rules for the name and a wildcard of its own";
    page.section(title, &audit.hidden, |page, hidden| {
        page.text(2, &format!("{}: not covered by {}", hidden.name, hidden.wildcard));
        page.text(4, &format!("because of {}", hidden.because));
    });
    let title = "Without a wildcard: rules below a wildcard, which does not cover the names below \
                 theirs (RFC 4592)";
    page.section(title, &audit.bare, |page, bare| {
        page.text(2, &format!("*.{}: not covered by {}", bare.name, bare.wildcard));
    });
    let title = "Redundant: a wider rule does the same, these could be left out";
    page.section(title, &audit.redundant, |page, rule| {
        let text = format!("{}: {} does {} too", rule.owner, rule.covered_by, rule.action);
        page.text(2, &text);
    });
    if !page.has_sections {
        page.text(0, "\nNothing is wrong.");
    }
    page.out
}

fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Text for a terminal of [`COLUMNS`].
#[derive(Default)]
struct Page {
    out: String,
    has_sections: bool,
}

impl Page {
    /// One paragraph, all lines of it indented; words that are longer than a line are cut.
    fn text(&mut self, indent: usize, text: &str) {
        let text = match text.strip_prefix('\n') {
            Some(text) => {
                self.out.push('\n');
                text
            }
            None => text,
        };
        let mut column = 0;
        for word in text.split(' ') {
            let letters: Vec<char> = word.chars().collect();
            for (i, part) in letters.chunks(COLUMNS - indent).enumerate() {
                if column > 0 && (i > 0 || column + 1 + part.len() > COLUMNS) {
                    self.out.push('\n');
                    column = 0;
                }
                if column == 0 {
                    self.out.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                } else {
                    self.out.push(' ');
                    column += 1;
                }
                self.out.extend(part);
                column += part.len();
            }
        }
        self.out.push('\n');
    }

    /// Findings of one kind, if there are any.
    fn section<T>(&mut self, title: &str, found: &Findings<T>, show: impl Fn(&mut Page, &T)) {
        if found.is_empty() {
            return;
        }
        self.has_sections = true;
        self.text(0, &format!("\n{title}: {}", found.total));
        for finding in found.first.iter().take(SHOWN) {
            show(self, finding);
        }
        let more = found.total.saturating_sub(SHOWN as u64);
        if more > 0 {
            let rest = if found.total > limits::AUDIT_EXAMPLES as u64 {
                format!("the first {}", limits::AUDIT_EXAMPLES)
            } else {
                "the rest".to_owned()
            };
            self.text(2, &format!("and {more} more (--json shows {rest})"));
        }
    }

    /// The lines of two rules at one trigger.
    fn places(&mut self, file: &Path, double: &Double) {
        for written in double.written.iter().take(LINES_SHOWN) {
            let other = (written.file != file).then(|| format!("{}, ", written.file.display()));
            let other = other.unwrap_or_default();
            self.text(4, &format!("{other}line {}: {}", written.line, written.text));
        }
        let more = double.written.len().saturating_sub(LINES_SHOWN);
        if more > 0 {
            self.text(4, &format!("and {more} more"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(file: &Path, format: Format) -> Asked {
        Asked { file: file.to_owned(), zone: None, format, subdomains: true, json: false }
    }

    #[test]
    fn text_keeps_to_its_columns() {
        let mut page = Page::default();
        page.text(4, &format!("{} {} {}", "a".repeat(70), "bb cc", "d".repeat(200)));
        let lines: Vec<&str> = page.out.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= COLUMNS && line.starts_with("    ")));
        assert_eq!(lines[0].len(), 4 + 70 + 6);
        assert_eq!(page.out.matches('d').count(), 200);
        let mut page = Page::default();
        page.text(0, "\nx  y");
        assert_eq!(page.out, "\nx y\n");
    }

    #[test]
    fn names_of_zones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("block.list.txt");
        let ask = |text: &str, format| {
            std::fs::write(&path, text).unwrap();
            let name = zone_name(&asked(&path, format), &Limits::default());
            name.map(|name| name.to_string()).map_err(|err| err.reason)
        };
        assert_eq!(ask("a.example\n", Format::Domains).unwrap(), "block.list");
        assert_eq!(ask("x. SOA . . 1 1 1 1 1\n", Format::Rpz).unwrap(), "x");
        assert_eq!(ask("@ SOA . . 1 1 1 1 1\n", Format::Rpz).unwrap(), "block.list");
        assert!(ask("a.example\n", Format::Rpz).unwrap_err().contains("\"domains\""));
        let named = Asked { zone: Some("a..b".into()), ..asked(&path, Format::Rpz) };
        let refused = zone_name(&named, &Limits::default()).unwrap_err();
        assert_eq!(refused.reason, "--zone a..b: the name has an empty label");
    }

    #[test]
    fn long_lists_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("many.txt");
        let show = |lines: usize| {
            std::fs::write(&path, "a.example\n".repeat(lines)).unwrap();
            let asked = asked(&path, Format::Domains);
            in_words(&asked, &examine(&asked).unwrap())
        };
        let text = show(12);
        assert!(text.contains("says the same: 22\n"), "{text}");
        assert!(text.contains("  and 2 more (--json shows the rest)\n"), "{text}");
        assert!(text.contains("    line 4: a.example\n    and 8 more\n"), "{text}");
        assert!(show(700).contains("and 1378 more (--json shows the first 1000)\n"));
        assert!(show(1).ends_with("\nNothing is wrong.\n"));
    }
}
