//! The table as documents: the commented template and `docs/CONFIG.md`.

use super::table::{Missing, SECTIONS, Section, Setting, Status, settings_of};

/// Longest line of the template, in characters.
const WIDTH: usize = 90;

/// `etc/culvert.template.toml`: every section and key with its help and its default.
///
/// Keys stand behind a `#` without a space, prose behind a `#` with one: to give a key another
/// value, take its `#` away, and that of the header above it.
pub fn template() -> String {
    let mut out = String::from(
        "# Every setting of Culvert with its default. Copy what you need into culvert.toml, or\n\
         # into a file of your own in culvert.d/, which is read after it and wins: take the \"#\"\n\
         # in front of a key away, and that in front of its [section].\n\
         # `culvert check` tells whether the result is good. The manual is docs/CONFIG.md.\n",
    );
    for section in SECTIONS {
        if !section.path.is_empty() {
            out.push('\n');
            prose(&mut out, &remark(section.help, section.status));
            out.push_str(&format!("#{}\n", section.header()));
        }
        for setting in settings_of(section.path) {
            out.push('\n');
            prose(&mut out, setting.help);
            let (note, value) = match setting.missing {
                Missing::Default(value) => {
                    (format!("{}.", capital(&setting.kind.describe())), value)
                }
                Missing::Means(what, example) => {
                    let kind = capital(&setting.kind.describe());
                    (format!("{kind}. Without it: {what}."), example)
                }
                Missing::Fault(example) => {
                    (format!("{}. Must be given.", capital(&setting.kind.describe())), example)
                }
            };
            prose(&mut out, &note);
            out.push_str(&format!("#{} = {value}\n", setting.key()));
        }
        if section.path == "local.hosts" {
            out.push_str("#\"printer.corp.example\" = [\"10.0.0.9\"]\n");
        }
    }
    out
}

/// `docs/CONFIG.md`.
pub fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for section in SECTIONS {
        out.push_str(&match section.path {
            "" => "\n## At the top\n\n".to_owned(),
            _ => format!("\n## `{}`\n\n{}\n\n", section.header(), section_text(section)),
        });
        let mut settings = settings_of(section.path).peekable();
        if settings.peek().is_none() {
            out.truncate(out.trim_end().len());
            out.push('\n');
            continue;
        }
        out.push_str("| Key | Takes | Default | Meaning |\n|---|---|---|---|\n");
        for setting in settings {
            out.push_str(&row(setting));
        }
    }
    out
}

const INTRODUCTION: &str = "\
# Configuration

Culvert reads `/etc/culvert/culvert.toml`, in [TOML](https://toml.io), and then the drop-ins
beside it, `/etc/culvert/culvert.d/*.toml`. The smallest useful file is one `[[upstream]]`:

```toml
[[upstream]]
url = \"https://doh.example/dns-query\"
addresses = [\"192.0.2.1\", \"192.0.2.2\"]
```

- `culvert check` finds every fault of all files in one go, with file, line, column, key and the
  nearest known key. It runs the code that the start and the reload run: what it accepts starts.
- Unknown keys are faults. What is accepted but probably not meant is a warning: `culvert check`
  tells it, the start and the reload log it.
- Durations and sizes carry units: `\"200ms\"`, `\"30s\"`, `\"1h30m\"`, `\"1d\"`; `\"64 MiB\"`,
  `\"10MB\"`.
- Relative paths start at the folder of the main file, in drop-ins too.
- Lists are lists even with one entry: `[\"192.0.2.1\"]`. No entry may occur twice.
- The path of a URL is a secret, and so is what a key signs with. Neither is in any message, log
  or metric.
- All files together have at most 1 MiB, and a list at most 4096 entries.
- An upstream must not be one of our own listeners. With \"interfaces:PORT\" or a wildcard address
  this covers all loopback addresses, and at the start the addresses of the host.

`etc/culvert.template.toml` has the same settings as a file to copy from. Both are made from the
program's own table of settings.

## Drop-ins

The folder of drop-ins has the main file's name with `.d` at its end: `culvert.d` belongs to
`culvert.toml`. Its files are read in the order of their names (`10-site.toml` before
`20-guests.toml`). Hidden files, names that do not end in `.toml` and folders are passed over; the
folder may be missing, and has at most 64 files. A fault in a drop-in is as fatal as one in the
main file, and each file is checked by itself, also where a later one replaces what it says.

- Sections that there is one of (`[server]`, `[cache]`, `[log]` and so on): key by key, the later
  file wins. A list is replaced as a whole. `[local.hosts]` goes name by name.
- `[[upstream]]`, `[[group]]` and `[[tsig]]` by `name`, `[[policy]]` by `zone`: a section with the
  name of one in an earlier file takes its place, as a whole; nothing of the earlier one is left.
  Others follow behind in order.
- `[[route]]`: all of them hold.

Within one file a name is given once. `culvert config show` prints what holds in the end, and the
file and line each value comes from. `culvert init` asks for the service and the networks of this
site and writes `culvert.d/10-site.toml`.
";

fn section_text(section: &Section) -> String {
    remark(section.help, section.status)
}

/// One line of a section's table.
fn row(setting: &Setting) -> String {
    let default = match setting.missing {
        Missing::Default(value) => format!("`{value}`"),
        Missing::Means(what, _) => what.to_owned(),
        Missing::Fault(_) => "must be given".to_owned(),
    };
    let (key, kind, help) = (setting.key(), setting.kind.describe(), setting.help);
    format!("| `{key}` | {kind} | {default} | {help} |\n")
}

/// The help, with a remark if this version does not have the thing.
fn remark(help: &str, status: Status) -> String {
    match status {
        Status::NotYet(reason) if !reason.is_empty() => {
            format!("{help} Not yet in this version: {reason}.")
        }
        Status::NotYet(_) | Status::Ready => help.to_owned(),
    }
}

/// Adds a paragraph of comment lines.
fn prose(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

/// The text with a capital letter in front.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// One section of the manual page culvert.toml(5).
#[derive(Debug)]
pub struct Chapter {
    /// The header as it stands in the file; empty for the file's top.
    pub header: String,
    /// What the section is for.
    pub help: String,
    /// Its keys.
    pub keys: Vec<Entry>,
}

/// One key of the manual page culvert.toml(5).
#[derive(Debug)]
pub struct Entry {
    /// The key within its section.
    pub key: &'static str,
    /// What it takes, in words.
    pub takes: String,
    /// What holds without it, as a sentence; a value of TOML stands between backquotes.
    pub without: String,
    /// What it does.
    pub help: &'static str,
}

/// All sections with their keys, for the manual page culvert.toml(5).
pub fn chapters() -> Vec<Chapter> {
    let entry = |setting: &'static Setting| Entry {
        key: setting.key(),
        takes: setting.kind.describe(),
        without: match setting.missing {
            Missing::Default(value) => format!("Default: `{value}`."),
            Missing::Means(what, _) => format!("Without it: {what}."),
            Missing::Fault(_) => "Must be given.".to_owned(),
        },
        help: setting.help,
    };
    let chapter = |section: &'static Section| Chapter {
        header: if section.path.is_empty() { String::new() } else { section.header() },
        help: section_text(section),
        keys: settings_of(section.path).map(entry).collect(),
    };
    SECTIONS.iter().map(chapter).collect()
}
