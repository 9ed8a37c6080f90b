//! The paper that goes with the program: manual pages and completion agree with it.
//!
//! ```text
//!   commands and flags (cli) ──┐   packaging/man/culvert.8.in ──────► packaging/man/culvert.8
//!                              ├─► packaging/completions/culvert.bash
//!   sections and keys (config) ┘   packaging/man/culvert.toml.5.in ─► packaging/man/culvert.toml.5
//! ```
//!
//! The `.in` files are written by hand; one line of each stands for the generated part. With
//! `CULVERT_WRITE=1` the documents are written instead of compared.

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Arg, Command};
use culvert::{cli, config};
use roff::{Inline, Roff, bold, italic, roman};

/// The line of an `.in` file that stands for the generated part.
const MARK: &str = ".\\\" @GENERATED@\n";
/// Widest help text, in columns.
const COLUMNS: usize = 80;

// ── the documents ───────────────────────────────────────────────────────────────────────────

#[test]
fn the_page_of_the_program_is_up_to_date() {
    compare("packaging/man/culvert.8", &page("culvert.8", &commands_as_roff()));
}

#[test]
fn the_page_of_the_configuration_is_up_to_date() {
    compare("packaging/man/culvert.toml.5", &page("culvert.toml.5", &settings_as_roff()));
}

#[test]
fn the_completion_is_up_to_date() {
    let mut script = Vec::new();
    clap_complete::generate(
        clap_complete::Shell::Bash,
        &mut cli::command(),
        "culvert",
        &mut script,
    );
    compare("packaging/completions/culvert.bash", &String::from_utf8(script).unwrap());
}

#[test]
fn the_pages_name_every_command_flag_section_and_key() {
    let program = plain(&read("packaging/man/culvert.8"));
    for command in commands() {
        let name = command.get_bin_name().unwrap();
        assert!(program.contains(&format!("\n.SS {}\n", quoted(name))), "{name}");
        for flag in command.get_arguments().filter_map(Arg::get_long) {
            assert!(program.contains(&format!("--{flag}")), "{name} --{flag}");
        }
    }
    let file = plain(&read("packaging/man/culvert.toml.5"));
    for chapter in config::chapters() {
        assert!(file.contains(&chapter.header), "{}", chapter.header);
        for entry in chapter.keys {
            assert!(file.contains(&format!("\n.TP\n{} (", entry.key)), "{}", entry.key);
        }
    }
}

/// What the hand-written parts say of commands is true of the program.
#[test]
fn hand_written_parts_name_commands_that_exist() {
    let known: Vec<String> =
        commands().iter().map(|command| command.get_bin_name().unwrap().to_owned()).collect();
    for page in ["culvert.8.in", "culvert.toml.5.in"] {
        let text = plain(&read(&format!("packaging/man/{page}")));
        let mut named = 0;
        for line in text.lines().filter_map(|line| line.strip_prefix("$ ")) {
            let Some(rest) = line.trim_start_matches("sudo ").strip_prefix("culvert ") else {
                continue;
            };
            named += 1;
            let words: Vec<&str> = rest.split(' ').take(2).collect();
            let one = format!("culvert {}", words[0]);
            let two = format!("culvert {}", words.join(" "));
            assert!(known.contains(&one) || known.contains(&two), "{page}: {line}");
        }
        assert!(named > 0, "{page} has no example");
    }
}

#[test]
fn every_help_is_whole_and_fits_the_screen() {
    for mut command in commands() {
        let name = command.get_bin_name().unwrap().to_owned();
        assert!(command.get_about().is_some(), "{name} does not say what it is for");
        for arg in command.get_arguments() {
            assert!(arg.get_help().is_some(), "{name}: {} has no help", arg.get_id());
            assert!(!arg.get_help().unwrap().to_string().ends_with('.'), "{name}: full stop");
        }
        for help in [command.render_help(), command.render_long_help()] {
            let text = help.to_string();
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS, "{name} --help: {line:?}");
            }
        }
    }
}

/// `man` formats both pages without a warning, and no line is wider than the screen.
#[test]
fn the_pages_are_formatted_without_warnings() {
    for name in ["culvert.8", "culvert.toml.5"] {
        let path = at_root(&format!("packaging/man/{name}"));
        let out = Process::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-rLL=78n", "-P-cbou"])
            .arg(&path)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .expect("groff formats the pages; on Debian it is in groff-base");
        let complaints = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success() && complaints.is_empty(), "{name}: {complaints}");
        let text = String::from_utf8_lossy(&out.stdout);
        assert!(text.lines().count() > 100, "{name} has {} lines", text.lines().count());
        for line in text.lines() {
            assert!(line.chars().count() <= COLUMNS, "{name}: {line:?}");
        }
    }
}

/// Bash, with the script read, offers what begins a word.
#[test]
fn bash_completes_commands_flags_and_words() {
    let offers = |words: &str| {
        let script = format!(
            "source packaging/completions/culvert.bash; COMP_WORDS=({words} ''); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             if [[ -n $1 ]]; then COMP_WORDS[COMP_CWORD]=$1; fi; \
             _culvert culvert \"$1\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[*]}}\""
        );
        move |begun: &str| {
            let out = Process::new("bash")
                .args(["--norc", "-c", &script, "bash", begun])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .output()
                .unwrap();
            assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        }
    };
    assert_eq!(offers("culvert")("check-"), "check-zone");
    assert_eq!(offers("culvert")("zone"), "zones zone");
    assert_eq!(offers("culvert zone")("re"), "refresh retransfer reload report");
    assert_eq!(offers("culvert allow")("--r"), "--reason");
    assert_eq!(offers("culvert explain --format")("h"), "hosts");
    assert_eq!(offers("culvert log queries")("o"), "on off");
    assert_eq!(offers("culvert")("nothing-like-it"), "");
}

#[test]
fn the_program_says_its_version() {
    let out = Process::new(env!("CARGO_BIN_EXE_culvert")).arg("--version").output().unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert_eq!(said, format!("culvert {}\n", culvert::daemon::version()));
    assert!(said.starts_with(concat!("culvert ", env!("CARGO_PKG_VERSION"))));
}

// ── culvert(8) ──────────────────────────────────────────────────────────────────────────────

/// All commands, those with commands below them left out, with their whole names.
fn commands() -> Vec<Command> {
    fn leaves(command: &Command, found: &mut Vec<Command>) {
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        let below: Vec<&Command> = below.collect();
        if below.is_empty() || !command.is_subcommand_required_set() {
            found.push(command.clone());
        }
        below.iter().for_each(|command| leaves(command, found));
    }
    let mut all = cli::command();
    all.build();
    let mut found = Vec::new();
    all.get_subcommands().filter(|c| c.get_name() != "help").for_each(|c| leaves(c, &mut found));
    assert!(found.len() > 20, "{} commands", found.len());
    found
}

fn commands_as_roff() -> String {
    let commands = commands();
    let status = commands.iter().find(|command| command.get_name() == "status").unwrap();
    let common: Vec<&Arg> = options(status).collect();
    let mut out = Roff::new();
    for command in &commands {
        let name = command.get_bin_name().unwrap();
        out.control("SS", [name]);
        out.text(usage(command));
        out.control("PP", []);
        out.text(marked(&sentence(&command.get_about().unwrap().to_string())));
        let own = options(command).filter(|arg| !common.iter().any(|other| same(arg, other)));
        for arg in command.get_positionals().chain(own) {
            out.control("TP", []);
            out.text(spelling(arg));
            out.text(marked(&explained(arg)));
        }
        if let Some(more) = command.get_after_help() {
            out.control("PP", []);
            out.text(marked(&more.to_string()));
        }
    }
    out.control("SH", ["COMMON OPTIONS"]);
    for arg in common {
        out.control("TP", []);
        out.text(spelling(arg));
        out.text(marked(&explained(arg)));
    }
    out.to_roff()
}

/// The flags that a page tells of; `--help` is told of once, by hand.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let hidden =
        |arg: &&Arg| arg.is_hide_set() || ["help", "version"].contains(&arg.get_id().as_str());
    command.get_opts().chain(flags(command)).filter(move |arg| !hidden(arg))
}

/// Flags without a value.
fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|arg| !arg.is_positional() && !arg.get_action().takes_values())
}

fn same(one: &Arg, other: &Arg) -> bool {
    let help = |arg: &Arg| arg.get_help().map(ToString::to_string);
    one.get_long() == other.get_long() && help(one) == help(other)
}

/// How a command is called.
fn usage(command: &Command) -> Vec<Inline> {
    let mut out = vec![bold(command.get_bin_name().unwrap())];
    for arg in options(command).chain(command.get_positionals()) {
        let (open, close) = if arg.is_required_set() { (" ", "") } else { (" [", "]") };
        out.push(roman(open));
        out.extend(spelling(arg));
        out.push(roman(format!("{}{close}", if takes_many(arg) { "..." } else { "" })));
    }
    out
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
}

/// A flag with its value, or the name of what stands alone.
fn spelling(arg: &Arg) -> Vec<Inline> {
    let value = arg.get_value_names().map(|names| names[0].to_string());
    let value = value.filter(|_| arg.is_positional() || arg.get_action().takes_values());
    match (arg.get_long(), value) {
        (Some(long), Some(value)) => vec![bold(format!("--{long}")), roman(" "), italic(value)],
        (Some(long), None) => vec![bold(format!("--{long}"))],
        (None, value) => vec![italic(value.unwrap_or_else(|| arg.get_id().to_string()))],
    }
}

/// What a flag or an argument means, with its values and its default.
fn explained(arg: &Arg) -> String {
    let mut text = sentence(&arg.get_help().unwrap().to_string());
    let takes_values = arg.is_positional() || arg.get_action().takes_values();
    let values: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|_| takes_values)
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        text.push_str(&format!(" One of {}.", values.join(", ")));
    }
    let default = arg.get_default_values().iter().filter(|_| takes_values);
    for value in default {
        text.push_str(&format!(" Default: `{}`.", value.to_string_lossy()));
    }
    text
}

/// A help text as a sentence: clap takes the full stop away.
fn sentence(text: &str) -> String {
    format!("{}.", text.trim_end_matches('.'))
}

// ── culvert.toml(5) ─────────────────────────────────────────────────────────────────────────

fn settings_as_roff() -> String {
    let mut out = Roff::new();
    for chapter in config::chapters() {
        if chapter.header.is_empty() {
            out.control("SS", ["At the top of the file"]);
        } else {
            out.control("SS", [chapter.header.as_str()]);
            out.text(marked(&chapter.help));
        }
        for entry in &chapter.keys {
            out.control("TP", []);
            out.text([bold(entry.key), roman(" ("), roman(entry.takes.as_str()), roman(")")]);
            out.text(marked(&format!("{} {}", entry.help, entry.without)));
        }
    }
    out.to_roff()
}

// ── both ────────────────────────────────────────────────────────────────────────────────────

/// What stands between backquotes is bold, and so are flags.
fn marked(text: &str) -> Vec<Inline> {
    let mut out = Vec::new();
    for (number, part) in text.split('`').enumerate() {
        if number % 2 == 1 {
            out.push(bold(part));
            continue;
        }
        for word in part.split_inclusive(' ') {
            let flag = word.trim_end_matches([' ', '.', ',', ':', ';']);
            if flag.starts_with("--") {
                out.push(bold(flag));
                out.push(roman(&word[flag.len()..]));
            } else {
                out.push(roman(word));
            }
        }
    }
    out
}

/// The hand-written page with the generated part and the version in it.
fn page(name: &str, generated: &str) -> String {
    let text = read(&format!("packaging/man/{name}.in"));
    assert_eq!(text.matches(MARK).count(), 1, "{name}.in has one line for the generated part");
    let note = format!(
        ".\\\" Made from {name}.in and the program: CULVERT_WRITE=1 cargo test --test paper\n"
    );
    let text = text.replace(MARK, generated).replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    note + &text
}

/// Roff text without fonts and escapes.
fn plain(roff: &str) -> String {
    let mut text = roff.to_owned();
    for (escape, meant) in
        [("\\fB", ""), ("\\fI", ""), ("\\fR", ""), ("\\-", "-"), ("\\(aq", "'"), ("\\e", "\\")]
    {
        text = text.replace(escape, meant);
    }
    text
}

fn quoted(name: &str) -> String {
    if name.contains(' ') { format!("\"{name}\"") } else { name.to_owned() }
}

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at_root(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Compares a document with what the program makes of it; `CULVERT_WRITE=1` writes it instead.
fn compare(path: &str, made: &str) {
    if std::env::var_os("CULVERT_WRITE").is_some() {
        // at one go: the other tests read these files meanwhile
        let fresh = at_root(&format!("{path}.new"));
        std::fs::write(&fresh, made).unwrap();
        std::fs::rename(&fresh, at_root(path)).unwrap();
    }
    let found = std::fs::read_to_string(at_root(path)).unwrap_or_default();
    assert!(found == made, "{path} is out of date: test again with CULVERT_WRITE=1");
}
