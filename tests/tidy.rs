//! The repository checks itself: floors, rooms, sizes, words and documents.
//!
//! ```text
//!   src, tests, benches ─► Source: text, code with comments and literals blanked, tokens
//!                             │
//!                             ▼
//!   Cargo.toml, docs ────► one function a rule ─► faults: "file:line: what is wrong; the cure"
//! ```
//!
//! Each rule is a function from a text to its faults. A test holds the repository to it, and the
//! tests at the end hand it seeded violations, so that it is seen to fail.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use culvert::metrics::Counter;

#[path = "tidy/scanner.rs"]
mod scanner;

use scanner::{Source, Token, functions, inline_modules, is_word_char, literal, paths, text_at};

/// The rooms, ground floor first. A room may use the floors below its own; on the top floor it
/// may also use the rooms named before it.
const FLOORS: [&[&str]; 9] = [
    &["clock", "limits", "metrics", "sys"],
    &["dns"],
    &["acl", "cache", "policy"],
    &["listener", "report", "rpz", "upstream"],
    &["zones"],
    &["pipeline"],
    &["admin", "config"],
    &["daemon"],
    &["demo", "cli", "main"],
];
const DECISIONS: usize = 2;
const TOP: usize = FLOORS.len() - 1;

/// Libraries that only these rooms may name.
const OWNERS: [(&str, &[&str]); 9] = [
    ("hickory_proto", &["dns"]),
    ("hmac", &["dns"]),
    ("md5", &["dns"]),
    ("sha1", &["dns"]),
    ("domain", &["rpz"]),
    ("h2", &["upstream", "demo"]),
    ("rustls", &["upstream", "zones", "demo"]),
    ("tokio_rustls", &["upstream", "zones", "demo"]),
    ("hyper", &["admin", "zones"]),
];

/// Rooms that may print; all others log.
const PRINTERS: [&str; 2] = ["cli", "demo"];

const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 700;
const FILE_LINES_WITH_TESTS: usize = 900;
const LINE_COLUMNS: usize = 100;

/// Names that say nothing of what a file holds.
const EMPTY_NAMES: [&str; 7] = ["util", "utils", "common", "helper", "helpers", "manager", "misc"];

/// Words that have no place in any file; put together so that this file is free of them.
const FORBIDDEN_WORDS: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("/wo", "rk/"),
    concat!("bash", "_jobs"),
    concat!("sub", "agent"),
    concat!("sha", "red/"),
];

/// Folders whose files documents name by their path.
const NAMED_FOLDERS: [&str; 8] =
    ["benches/", "debian/", "docs/", "etc/", "fuzz/", "packaging/", "src/", "tests/"];

// ── the repository ──────────────────────────────────────────────────────────────────────────

#[test]
fn imports_point_downward() {
    hold(rust_files(&["src"]).iter().flat_map(imports));
}

#[test]
fn every_room_has_its_floor() {
    hold(rooms_of_the_library(&Source::new("src/lib.rs", &read("src/lib.rs"))));
}

#[test]
fn libraries_stay_in_their_rooms() {
    hold(rust_files(&["src"]).iter().flat_map(libraries));
}

#[test]
fn unsafe_and_printing_stay_in_their_rooms() {
    hold(rust_files(&["src"]).iter().flat_map(room_words));
}

#[test]
fn nothing_panics_on_purpose() {
    hold(rust_files(&["src"]).iter().flat_map(panics));
}

#[test]
fn functions_and_files_are_short() {
    hold(rust_files(&["src", "tests", "benches"]).iter().flat_map(sizes));
}

#[test]
fn files_are_named_and_introduced() {
    hold(rust_files(&["src", "tests", "benches"]).iter().flat_map(names_and_openings));
}

#[test]
fn no_forbidden_word() {
    let faults = |path: &String| forbidden_words(path, &read_if_text(path).unwrap_or_default());
    hold(tracked_files().iter().flat_map(faults));
}

#[test]
fn every_metric_is_documented() {
    let exposition = Source::new("src/admin/exposition.rs", &read("src/admin/exposition.rs"));
    hold(metrics("docs/METRICS.md", &read("docs/METRICS.md"), &families(&exposition)));
}

#[test]
fn every_event_of_the_journal_is_documented() {
    hold(events("docs/JOURNAL.md", &read("docs/JOURNAL.md"), &rust_files(&["src"])));
}

#[test]
fn every_counter_is_counted() {
    let counters = Source::new("src/metrics/mod.rs", &read("src/metrics/mod.rs"));
    let mut users = rust_files(&["src"]);
    users.retain(|source| source.room() != "metrics");
    hold(uncounted(&counters, &users));
}

#[test]
fn every_dependency_says_what_for() {
    hold(dependencies(&read("Cargo.toml")));
}

#[test]
fn documents_name_files_that_exist() {
    let documents = tracked_files()
        .into_iter()
        .filter(|path| path == "README.md" || path.starts_with("docs/") && path.ends_with(".md"));
    hold(documents.flat_map(|path| named_paths(&path, &read(&path))));
}

/// Fails with all faults, one a line.
fn hold(faults: impl IntoIterator<Item = String>) {
    let faults: Vec<String> = faults.into_iter().collect();
    assert!(faults.is_empty(), "{} faults\n{}\n", faults.len(), faults.join("\n"));
}

// ── rules ───────────────────────────────────────────────────────────────────────────────────

/// Imports and paths go strictly downward.
fn imports(source: &Source) -> Vec<String> {
    let own = source.room();
    let Some(from) = floor(own) else {
        let fault = format!("{own} has no floor; enter it in the table of tests/tidy.rs");
        return if own == "lib" { Vec::new() } else { vec![source.fault(0, &fault)] };
    };
    let mut faults = Vec::new();
    let tokens = source.tokens();
    let inline = inline_modules(&tokens);
    for path in paths(&tokens) {
        let at = path[0].at;
        let depth = source.depth() + inline.iter().filter(|module| module.contains(&at)).count();
        let Some(room) = room_named(&path, depth) else { continue };
        let fault = match floor(room) {
            _ if room == own => continue,
            None => format!("`{room}` is no room; name the item by the room that defines it"),
            Some(to) if to < from || from == TOP && to == TOP && before(room, own) => continue,
            Some(to) => format!(
                "{own} (floor {from}) names {room} (floor {to}); move what both need to a lower \
                 floor, or pass it in from above"
            ),
        };
        faults.push(source.fault(at, &fault));
    }
    faults
}

/// The room that a path leads to from a module this deep below the crate's root, if it goes
/// through the root.
fn room_named<'a>(path: &[Token<'a>], depth: usize) -> Option<&'a str> {
    let climbs = path.iter().skip_while(|token| token.text == "self");
    let climbs = climbs.take_while(|token| token.text == "super").count();
    match path[0].text {
        "crate" | "culvert" => path.get(1).map(|token| token.text),
        _ if climbs > 0 && climbs >= depth => {
            path.iter().find(|t| !["self", "super"].contains(&t.text)).map(|token| token.text)
        }
        _ => None,
    }
}

fn floor(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn before(room: &str, other: &str) -> bool {
    let place = |wanted| FLOORS[TOP].iter().position(|room| *room == wanted);
    place(room) < place(other)
}

/// The library declares the rooms of the table, each below the comment with its floor.
fn rooms_of_the_library(lib: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let mut declared = BTreeSet::new();
    let mut heading = None;
    for (number, line) in lib.text.lines().enumerate() {
        if let Some(floor) = line.strip_prefix("// floor ") {
            heading = floor.parse().ok();
        }
        let module = line.strip_prefix("pub mod ").or(line.strip_prefix("mod "));
        let Some(room) = module.and_then(|rest| rest.strip_suffix(';')) else { continue };
        declared.insert(room);
        if floor(room).is_none() || floor(room) != heading {
            let fault = format!("{}:{}: {room} is not below its floor", lib.path, number + 1);
            faults.push(format!("{fault}; make this file and the table in tests/tidy.rs agree"));
        }
    }
    let missing = FLOORS.concat().into_iter().filter(|room| *room != "main");
    let missing = missing.filter(|room| !declared.contains(room));
    let cure = "declare it, or take it from the table in tests/tidy.rs";
    faults.extend(missing.map(|room| format!("{}:1: no room {room}; {cure}", lib.path)));
    faults
}

/// Libraries are named in the rooms that own them, and decisions do no I/O.
fn libraries(source: &Source) -> Vec<String> {
    let room = source.room();
    let mut faults = Vec::new();
    for path in paths(&source.tokens()) {
        let words: Vec<&str> = path.iter().map(|token| token.text).collect();
        let owner = OWNERS.iter().find(|(library, _)| *library == words[0]);
        if let Some((library, owners)) = owner
            && !owners.contains(&room)
        {
            let owners = owners.join(" and ");
            let fault = format!("{library} belongs to {owners}; ask that room for what you need");
            faults.push(source.fault(path[0].at, &fault));
        }
        if floor(room) == Some(DECISIONS) && does_io(&words) {
            let fault = format!(
                "{} in {room}, which only decides; take the data or the time as an argument",
                words.join("::")
            );
            faults.push(source.fault(path[0].at, &fault));
        }
    }
    faults
}

fn does_io(path: &[&str]) -> bool {
    let socket = |word: &&str| ["UdpSocket", "TcpStream", "TcpListener"].contains(word);
    matches!(path, ["tokio" | "fs", ..] | ["std", "fs" | "*", ..] | ["std", "net", "*"])
        || path.iter().any(socket)
}

/// `unsafe` in `sys`, printing in the commands.
fn room_words(source: &Source) -> Vec<String> {
    let room = source.room();
    let mut faults = Vec::new();
    let tokens = source.tokens();
    for (i, token) in tokens.iter().enumerate() {
        let fault = match token.text {
            "unsafe" if room != "sys" => "unsafe outside sys; give sys a safe function for it",
            "print" | "println" | "eprint" | "eprintln"
                if text_at(&tokens, i + 1) == "!" && !PRINTERS.contains(&room) =>
            {
                "only commands print; log with tracing, or return the text"
            }
            _ => continue,
        };
        faults.push(source.fault(token.at, fault));
    }
    faults
}

/// No panic on purpose outside tests, and `expect` states the invariant it stands on.
fn panics(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let tokens = source.tokens();
    for (i, token) in tokens.iter().enumerate() {
        if source.in_tests(token.at) {
            continue;
        }
        let next = text_at(&tokens, i + 1);
        let method = i > 0 && [".", "::"].contains(&tokens[i - 1].text) && next == "(";
        let fault = match token.text {
            "panic" | "todo" | "unimplemented" | "dbg" if next == "!" => {
                "a panic on purpose, or a left-over; return an error"
            }
            "unwrap" | "unwrap_err" if method => {
                "unwrap outside tests; return an error, or expect with the local invariant"
            }
            "expect" | "expect_err" if method && words_of_literal(source, &tokens, i + 2) < 3 => {
                "expect without its reason; give a literal that states the invariant in words"
            }
            _ => continue,
        };
        faults.push(source.fault(token.at, fault));
    }
    faults
}

/// Words of the string literal that begins at this token; 0 if there is none.
fn words_of_literal(source: &Source, tokens: &[Token<'_>], i: usize) -> usize {
    literal(source, tokens, i).map_or(0, |text| text.split_whitespace().count())
}

/// Functions, files and lines stay within what a reader can hold.
fn sizes(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, body) in functions(&source.tokens()) {
        let lines = source.code[body.clone()].lines().count();
        if lines > FUNCTION_LINES {
            let fault = format!("{name} has {lines} lines, the limit is {FUNCTION_LINES}; split");
            faults.push(source.fault(body.start, &fault));
        }
    }
    let all = source.text.lines().count();
    let in_tests = |part: &Range<usize>| source.text[part.clone()].lines().count();
    let own = all.saturating_sub(source.tests.iter().map(in_tests).sum());
    if own > FILE_LINES || all > FILE_LINES_WITH_TESTS {
        let fault = format!(
            "{own} lines and {all} with tests, the limits are {FILE_LINES} and \
             {FILE_LINES_WITH_TESTS}; split by what the parts are for"
        );
        faults.push(source.fault(0, &fault));
    }
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS {
            let fault = format!("{columns} columns, the limit is {LINE_COLUMNS}; break the line");
            faults.push(format!("{}:{}: {fault}", source.path, number + 1));
        }
    }
    faults
}

/// A file's name says what it holds, and its first line too.
fn names_and_openings(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let stems = source.path.split('/').map(|part| part.trim_end_matches(".rs"));
    for stem in stems.filter(|stem| EMPTY_NAMES.contains(stem)) {
        let fault = format!("`{stem}` says nothing; name it by what it holds");
        faults.push(source.fault(0, &fault));
    }
    if !source.text.starts_with("//!") {
        faults.push(source.fault(0, "no module doc; begin with `//!` and what the file is for"));
    }
    faults
}

/// Notes to self and paths of somebody's machine.
fn forbidden_words(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in FORBIDDEN_WORDS.iter().filter(|word| line.contains(**word)) {
            faults.push(format!("{path}:{}: contains {word:?}; do it or drop it", number + 1));
        }
    }
    faults
}

/// Counters and families stand in the document's tables, and nothing else does.
fn metrics(path: &str, document: &str, families: &[String]) -> Vec<String> {
    let mut known: Vec<(String, &str)> = families.iter().map(|f| (f.clone(), "")).collect();
    known.extend(Counter::ALL.iter().map(|c| (format!("queries_{}", c.name()), c.help())));
    let rows: Vec<(&str, &str)> = document
        .lines()
        .filter_map(|line| {
            let name = line.strip_prefix("| `culvert_")?.split_once("` |")?.0;
            let plain = name.chars().all(is_word_char);
            plain.then_some((name.strip_suffix("_total").unwrap_or(name), line))
        })
        .collect();
    let mut faults = Vec::new();
    for (name, help) in &known {
        match rows.iter().find(|(row, _)| row == name) {
            None => faults.push(format!("{path}:1: no row for culvert_{name}; write one")),
            Some((_, line)) if !line.contains(help) => {
                faults.push(format!("{path}:1: culvert_{name} lacks its help text; add {help:?}"));
            }
            Some(_) => {}
        }
    }
    for (row, _) in rows.iter().filter(|(row, _)| known.iter().all(|(name, _)| name != row)) {
        faults.push(format!("{path}:1: culvert_{row} is not served; drop the row"));
    }
    faults
}

/// The document's first table has a row for every event that the source logs, and for no other.
/// Hits and queries are no events of the daemon's own log and stand there, too.
fn events(path: &str, document: &str, sources: &[Source]) -> Vec<String> {
    let mut logged: BTreeSet<&str> = ["policy-hit", "query"].into();
    for source in sources {
        let parts = source.text.split("event = \"").skip(1);
        logged.extend(parts.filter_map(|part| part.split('"').next()));
    }
    let rows: BTreeSet<&str> = document
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0))
        .filter(|name| !name.starts_with("CULVERT_"))
        .collect();
    let missing = logged.difference(&rows).map(|name| format!("{path}:1: no row for {name}"));
    let extra = rows.difference(&logged).map(|name| format!("{path}:1: {name} is never logged"));
    missing.chain(extra).collect()
}

/// Every counter is counted somewhere outside tests.
fn uncounted(counters: &Source, users: &[Source]) -> Vec<String> {
    let counted = |name: &str| {
        users.iter().any(|user| {
            paths(&user.tokens()).iter().any(|path| {
                let words = path.windows(2).any(|w| w[0].text == "Counter" && w[1].text == name);
                words && !user.in_tests(path[0].at)
            })
        })
    };
    let names = Counter::ALL.iter().map(|counter| format!("{counter:?}"));
    let silent = names.filter(|name| !counted(name)).map(|name| {
        let at = counters.code.find(&format!("{name} =>")).unwrap_or_default();
        counters.fault(at, &format!("{name} is never counted; count it or remove it"))
    });
    silent.collect()
}

/// Names of the families that a file registers: a name and a help text side by side.
fn families(source: &Source) -> Vec<String> {
    let tokens = source.tokens();
    let name = |i| {
        let name = literal(source, &tokens, i)?;
        let side_by_side = text_at(&tokens, i + 2) == ",";
        literal(source, &tokens, i + 3)
            .filter(|help| side_by_side && help.contains(' '))
            .map(|_| name.to_owned())
    };
    (0..tokens.len()).filter_map(name).collect()
}

/// Every dependency has a sentence above it.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut inside = false;
    let mut above = "";
    for (number, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        }
        let entry = line.split_once('=').filter(|_| line.starts_with(is_word_char));
        if inside
            && let Some((name, _)) = entry
            && !is_sentence(above)
        {
            let cure = "say above it in one sentence what for, and what is switched off";
            faults.push(format!("Cargo.toml:{}: {}: {cure}", number + 1, name.trim()));
        }
        above = line;
    }
    faults
}

fn is_sentence(comment: &str) -> bool {
    let words = comment.strip_prefix("# ").unwrap_or_default();
    words.ends_with('.') && words.split_whitespace().count() >= 3
}

/// Paths that a document names lead somewhere.
fn named_paths(document: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let part_of_path = |c: char| is_word_char(c) || "./-*<>{".contains(c);
        for word in line.split(|c| !part_of_path(c)).map(|word| word.trim_end_matches('.')) {
            let named = NAMED_FOLDERS.iter().any(|folder| word.starts_with(folder));
            let pattern = word.contains(['*', '<', '{']);
            if named && !pattern && !root().join(word).exists() {
                let fault = format!("{document}:{}: {word} does not exist", number + 1);
                faults.push(format!("{fault}; correct the path or write the file"));
            }
        }
    }
    faults
}

// ── files ───────────────────────────────────────────────────────────────────────────────────

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `None` for a file that is gone or is no text.
fn read_if_text(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

fn rust_files(folders: &[&str]) -> Vec<Source> {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| walk(&root().join(folder), &mut files));
    files.retain(|path| path.ends_with(".rs"));
    assert!(files.len() > folders.len(), "no Rust files in {folders:?}");
    files.iter().map(|path| Source::new(path, &read(path))).collect()
}

/// What git tracks; without git, all there is.
fn tracked_files() -> Vec<String> {
    let listed = Command::new("git").arg("-C").arg(root()).args(["ls-files", "-z"]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let mut files: Vec<String> =
        String::from_utf8_lossy(&listed).split_terminator('\0').map(str::to_owned).collect();
    if files.is_empty() {
        walk(root(), &mut files);
    }
    files.retain(|path| !path.ends_with("Cargo.lock") && root().join(path).is_file());
    files
}

/// Files below a folder, by their path from the root.
fn walk(folder: &Path, files: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in
        entries.filter(|entry| entry.file_name() != "target" && entry.file_name() != ".git")
    {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, files);
        } else if let Some(path) = path.strip_prefix(root()).ok().and_then(Path::to_str) {
            files.push(path.to_owned());
        }
    }
    files.sort();
}

// ── seeded violations ───────────────────────────────────────────────────────────────────────

mod seeded {
    use super::*;

    /// No fault on any line.
    const CLEAN: [usize; 0] = [];

    /// Lines of the faults that a rule finds in a file.
    fn lines(rule: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
        let faults = rule(&Source::new(path, text));
        faults
            .iter()
            .map(|fault| fault.split(':').nth(1).and_then(|n| n.parse().ok()).expect("a line"))
            .collect()
    }

    #[test]
    fn upward_and_sideways_imports_are_seen() {
        let clean = "use crate::{clock, dns::name::Name};\nuse super::Entry;\n// crate::zones\n";
        assert_eq!(lines(imports, "src/cache/shard.rs", clean), CLEAN);
        assert_eq!(lines(imports, "src/attic.rs", clean), [1]);
        let bad = "use crate::zones::Zones;\nuse crate::{dns, policy::{self}, nowhere::X};\n\
                   fn f() -> crate::daemon::Relay {}\nmod tests {\nuse super::super::zones;\n}\n";
        assert_eq!(lines(imports, "src/cache/mod.rs", bad), [1, 2, 2, 3, 5]);
        assert_eq!(lines(imports, "src/policy/names/tests.rs", "use super::super::action;"), CLEAN);
        let climbs = "use super::super::super::{dns, zones};";
        assert_eq!(lines(imports, "src/policy/names/tests.rs", climbs), [1]);
        assert_eq!(lines(imports, "src/upstream/health_tests.rs", "use super::super::dns;"), CLEAN);
        assert_eq!(lines(imports, "src/cli/mod.rs", "use crate::demo;"), CLEAN);
        assert_eq!(lines(imports, "src/demo/mod.rs", "use crate::cli;"), [1]);
        assert_eq!(lines(imports, "src/main.rs", "fn main() { culvert::cli::main() }"), CLEAN);
        let lib = "// floor 0\npub mod clock;\npub mod dns;\npub mod attic;\n";
        let faults = rooms_of_the_library(&Source::new("src/lib.rs", lib));
        assert!(faults.len() > 2 && faults[0].contains(":3: dns"), "{faults:?}");
        assert!(faults[1].contains(":4: attic"), "{faults:?}");
    }

    #[test]
    fn words_in_the_wrong_room_are_seen() {
        let io = "use std::{fs, net::{IpAddr, UdpSocket}};\nuse tokio::time;\n";
        assert_eq!(lines(libraries, "src/policy/mod.rs", io), [1, 1, 2]);
        assert_eq!(lines(libraries, "src/zones/mod.rs", io), CLEAN);
        let owned = "use hickory_proto::rr::Name;\nuse {h2::client, domain::base};\nlet h2 = 1;\n";
        assert_eq!(lines(libraries, "src/daemon/mod.rs", owned), [1, 2, 2]);
        assert_eq!(lines(libraries, "src/upstream/doh.rs", "use h2; use rustls::X;"), CLEAN);
        let words = "// unsafe\n#[allow(unsafe_code)]\nunsafe { f(\"unsafe\") }\nprintln!();\n";
        assert_eq!(lines(room_words, "src/dns/mod.rs", words), [3, 4]);
        assert_eq!(lines(room_words, "src/sys/mod.rs", "unsafe {}"), CLEAN);
        assert_eq!(lines(room_words, "src/demo/tour.rs", "println!(); eprintln!();"), CLEAN);
    }

    #[test]
    fn panics_are_seen_outside_tests_only() {
        let bad = "a.unwrap();\nb.expect(\"short\");\nc.expect(why);\n\
                   d.expect(\"it was set above\");\npanic!();\ne.unwrap_or(1);\n\
                   #[cfg(test)]\nmod tests { fn f() { g.unwrap() } }\n";
        assert_eq!(lines(panics, "src/dns/mod.rs", bad), [1, 2, 3, 5]);
        assert_eq!(lines(panics, "src/dns/tests/name.rs", bad), CLEAN);
    }

    #[test]
    fn long_and_nameless_files_are_seen() {
        let body = |lines: usize| format!("//! x\nfn f(a: [u8; 2]) {{{}}}\n", "\n".repeat(lines));
        assert_eq!(lines(sizes, "src/a.rs", &body(69)), CLEAN);
        assert_eq!(lines(sizes, "src/a.rs", &body(70)), [2]);
        let brace = format!("fn f() {{ '{{'; \"{{\"; }}\n{}", "\n".repeat(80));
        assert_eq!(lines(sizes, "src/a.rs", &brace), CLEAN);
        assert_eq!(lines(sizes, "src/a.rs", &"\n".repeat(701)), [1]);
        let tested = |n| format!("#[cfg(test)]\nmod tests {{{}}}\n", "\n".repeat(n));
        assert_eq!(lines(sizes, "src/a.rs", &tested(800)), CLEAN);
        assert_eq!(lines(sizes, "src/a.rs", &tested(900)), [1]);
        assert_eq!(lines(sizes, "src/a.rs", &format!("\n// {}", "ü".repeat(98))), [2]);
        assert_eq!(lines(names_and_openings, "src/dns/util.rs", "//! x\n"), [1]);
        assert_eq!(lines(names_and_openings, "src/dns/name.rs", "use a;\n"), [1]);
    }

    #[test]
    fn documents_that_lie_are_seen() {
        let word = FORBIDDEN_WORDS[0];
        assert_eq!(forbidden_words("a.md", &format!("\nx {word}: y")).len(), 1);
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# For names of things.\n\
                        a = \"1\"\nb = \"1\"\n# Short.\nc = { version = \"1\" }\n";
        assert_eq!(dependencies(manifest).len(), 2);
        let text = "See `docs/METRICS.md`, `docs/NOWHERE.md`, src/lib.rs. And /etc/x, etc/*.toml.";
        assert_eq!(named_paths("README.md", text).len(), 1);
    }

    #[test]
    fn missing_and_stale_metrics_are_seen() {
        let source = Source::new(
            "x.rs",
            "gauge(\"a_b\", \"Some help\", 1); [(\"c\", \"More of it\")]; (\"label\", name)",
        );
        assert_eq!(families(&source), ["a_b", "c"]);
        let mut rows: Vec<String> = Counter::ALL
            .iter()
            .map(|c| format!("| `culvert_queries_{}_total` | {} |\n", c.name(), c.help()))
            .collect();
        assert_eq!(metrics("M.md", &rows.concat(), &[]), [""; 0]);
        rows[0] = "| `culvert_gone` | Nothing. |\n".to_owned();
        let faults = metrics("M.md", &rows.concat(), &families(&source));
        assert_eq!(faults.len(), 4, "{faults:?}");
        let user = |path, text: &str| [Source::new(path, text)];
        let silent = uncounted(&source, &user("src/a.rs", "f(Counter::Stale, Counter::Tcp)"));
        assert_eq!(silent.len(), Counter::ALL.len() - 2);
        let tested = uncounted(&source, &user("src/tests.rs", "f(Counter::Stale)"));
        assert_eq!(tested.len(), Counter::ALL.len());
    }

    #[test]
    fn events_without_a_row_and_rows_without_an_event_are_found() {
        let source = |text| [Source::new("src/daemon/mod.rs", text)];
        let table = "| `CULVERT_EVENT` | f |\n| `ready` | |\n| `policy-hit` | |\n| `query` | |\n";
        let one = r#"tracing::info!(event = "ready", "text");"#;
        assert_eq!(events("J.md", table, &source(one)), [""; 0]);
        let two = r#"tracing::info!(event = "gone", "text");"#;
        let faults = events("J.md", table, &source(two)).join("\n");
        assert!(
            faults.contains("no row for gone") && faults.contains("ready is never"),
            "{faults}"
        );
    }
}
