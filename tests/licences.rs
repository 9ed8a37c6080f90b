//! `debian/copyright` names every crate that is linked into the program.
//!
//! ```text
//!   Cargo.lock ─ cargo tree ─► crates that the program holds, on each of our machines
//!                                │ holders: their LICENSE files, else their authors,
//!                                │          or what packaging/holders.toml says
//!   packaging/copyright.in ──────┴─► debian/copyright
//! ```
//!
//! With `CULVERT_WRITE=1` the file is written instead of compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The machines that there is a package for.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
/// The line of the hand-written file that stands for the crates.
const MARK: &str = "@CRATES@\n";
/// How a licence file begins that names a holder, after signs of comments.
const COPYRIGHT: &str = "Copyright ";

/// A crate, by its name and version.
type Key = (String, String);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    license: Option<String>,
    copyright: Vec<String>,
}

#[test]
fn every_linked_crate_is_in_the_copyright_file() {
    let path = at_root("debian/copyright");
    let made = read("packaging/copyright.in").replace(MARK, &paragraphs());
    if std::env::var_os("CULVERT_WRITE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let (made_lines, found_lines) = (lines(&made), lines(&found));
    let missing: Vec<_> = made_lines.difference(&found_lines).collect();
    let stale: Vec<_> = found_lines.difference(&made_lines).collect();
    assert!(
        made == found,
        "debian/copyright is out of date: test again with CULVERT_WRITE=1, and read what changed\n\
         missing: {missing:#?}\nstale: {stale:#?}"
    );
}

#[test]
fn every_licence_has_its_text_and_every_text_its_use() {
    let text = read("debian/copyright");
    let mut used = BTreeSet::new();
    let mut given = BTreeSet::new();
    for paragraph in text.split("\n\n") {
        let licence = paragraph.lines().find_map(|line| line.strip_prefix("License: "));
        let Some(licence) = licence else { continue };
        if paragraph.starts_with("License: ") {
            assert!(paragraph.lines().count() > 2, "{licence} has no text");
            given.insert(licence.to_owned());
        } else {
            assert!(paragraph.contains("\nCopyright: "), "no holder: {paragraph}");
            used.extend(words_of(licence));
        }
    }
    assert!(given.len() > 5, "{given:?}");
    assert_eq!(used, given);
}

#[test]
fn holders_are_read_from_licence_files() {
    let read = |line| holder(line);
    assert_eq!(read("Copyright (c) 2014 Alex Crichton").as_deref(), Some("2014 Alex Crichton"));
    assert_eq!(
        read("// Copyright 2015-2016 Brian Smith.").as_deref(),
        Some("2015-2016 Brian Smith")
    );
    assert_eq!(
        read("Copyright © 2020-2024 Unicode, Inc.").as_deref(),
        Some("2020-2024 Unicode, Inc.")
    );
    assert_eq!(read("Copyright (c) [2021] [A B]").as_deref(), Some("2021 A B"));
    assert_eq!(read("Copyright (c) 2021, X. All rights reserved.").as_deref(), Some("2021 X"));
    for no_holder in [
        "copyright notice that is included in or attached to the work",
        "Copyright [yyyy] [name of copyright owner]",
        "Copyright (c) 2016--2017",
        "COPYRIGHT AND PERMISSION NOTICE",
        "Copyright License. Subject to the terms",
    ] {
        assert_eq!(read(no_holder), None, "{no_holder}");
    }
}

// ── paragraphs ──────────────────────────────────────────────────────────────────────────────

/// One paragraph for all crates with the same holders and licence.
fn paragraphs() -> String {
    let told: BTreeMap<String, Told> = toml::from_str(&read("packaging/holders.toml")).unwrap();
    let (linked, packages) = (linked(), packages());
    for name in told.keys() {
        assert!(linked.iter().any(|(linked, _)| linked == name), "holders.toml: {name} is unused");
    }
    let mut groups: BTreeMap<(Vec<String>, String), Vec<String>> = BTreeMap::new();
    for key in &linked {
        let package = &packages[key];
        let told = told.get(&key.0);
        let licence = told.and_then(|told| told.license.clone());
        let licence = licence.unwrap_or_else(|| debian_licence(package));
        let holders = told.map_or_else(|| holders(package), |told| told.copyright.clone());
        let files = format!("vendor/{}-{}/*", key.0, key.1);
        groups.entry((holders, licence)).or_default().push(files);
    }
    let mut out: Vec<String> = groups
        .into_iter()
        .map(|((holders, licence), files)| {
            let (files, holders) = (files.join("\n "), holders.join("\n "));
            format!("Files: {files}\nCopyright: {holders}\nLicense: {licence}\n")
        })
        .collect();
    out.sort();
    out.join("\n") + "\n"
}

/// The licence in the words of Debian's format.
fn debian_licence(package: &Value) -> String {
    let name = package["name"].as_str().unwrap();
    let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name}: no licence"));
    let licence = licence.replace(" / ", "/").replace('/', " OR ");
    assert!(!licence.contains('('), "{name}: {licence}: say it in packaging/holders.toml");
    let words = licence.split(' ').map(|word| match word {
        "OR" => "or",
        "AND" => "and",
        "WITH" => "with",
        "LLVM-exception" => "LLVM exception",
        "MIT" => "Expat",
        other => other,
    });
    words.collect::<Vec<&str>>().join(" ")
}

/// The single licences of a licence field.
fn words_of(licence: &str) -> Vec<String> {
    let plain = licence.replace(',', "").replace(" and ", " or ");
    plain.split(" or ").map(str::to_owned).collect()
}

/// Who holds the rights: what the licence files say, else the authors.
fn holders(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap();
    let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut found: Vec<String> = Vec::new();
    for file in files.iter().filter(|file| is_licence(file) && file.is_file()) {
        let text = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
        found.extend(text.lines().filter_map(holder));
    }
    if found.is_empty() {
        let authors = package["authors"].as_array().unwrap();
        found.extend(authors.iter().filter_map(Value::as_str).map(str::to_owned));
    }
    found.sort();
    found.dedup();
    assert!(!found.is_empty(), "{name} names no holder: say it in packaging/holders.toml");
    found
}

fn is_licence(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
    ["LICENSE", "LICENCE", "COPYRIGHT", "COPYING", "NOTICE"].iter().any(|w| name.starts_with(w))
}

/// The holder that a line of a licence file names.
fn holder(line: &str) -> Option<String> {
    let line = line.trim_start_matches([' ', '/', '#', '*']).strip_prefix(COPYRIGHT)?;
    let marked = ["(c) ", "(C) ", "© "].iter().find_map(|mark| line.strip_prefix(mark));
    let begins_with_year = line.starts_with(|c: char| c.is_ascii_digit());
    let text = match marked {
        Some(text) => text,
        None if begins_with_year || names_somebody(line) => line,
        None => return None,
    };
    let text = text.replace(['[', ']'], "").replace("All rights reserved.", "");
    let text = text.trim().trim_end_matches(['.', ',']);
    // "Inc." keeps its full stop
    let text = if text.ends_with(" Inc") { format!("{text}.") } else { text.to_owned() };
    let (years, rest) = match text.split_once(", ") {
        Some((years, rest)) if years.chars().all(|c| c.is_ascii_digit() || c == '-') => {
            (format!("{years} "), rest.to_owned())
        }
        _ => (String::new(), text),
    };
    let named = rest.chars().any(char::is_alphabetic) && !rest.contains("yyyy");
    named.then(|| format!("{years}{rest}"))
}

/// "Copyright Mozilla Foundation", and not a sentence about copyright.
fn names_somebody(rest: &str) -> bool {
    let ends = ["contributors", "Contributors", "Foundation", "Developers", "Authors"];
    ends.iter().any(|end| rest.ends_with(end))
}

// ── crates ──────────────────────────────────────────────────────────────────────────────────

/// The crates that are linked into the program. Macros are among them, since what they write is
/// compiled in; what they themselves are made of is not.
fn linked() -> BTreeSet<Key> {
    let mut found = BTreeSet::new();
    for target in TARGETS {
        let tree = cargo(&[
            "tree",
            "--edges",
            "normal",
            "--no-dedupe",
            "--prefix",
            "depth",
            "--target",
            target,
        ]);
        let mut macro_at = usize::MAX;
        for line in tree.lines().filter(|line| !line.is_empty()) {
            let digits = line.chars().take_while(char::is_ascii_digit).count();
            let depth: usize = line[..digits].parse().unwrap();
            if depth > macro_at {
                continue;
            }
            macro_at = if line.contains("(proc-macro)") { depth } else { usize::MAX };
            let mut words = line[digits..].split(' ');
            let name = words.next().unwrap().to_owned();
            let version = words.next().unwrap().trim_start_matches('v').to_owned();
            if depth > 0 {
                found.insert((name, version));
            }
        }
    }
    assert!(found.len() > 50, "{} crates", found.len());
    found
}

/// What cargo knows of every crate.
fn packages() -> BTreeMap<Key, Value> {
    let mut found = BTreeMap::new();
    for target in TARGETS {
        let told = cargo(&["metadata", "--format-version", "1", "--filter-platform", target]);
        let mut told: Value = serde_json::from_str(&told).unwrap();
        for package in told["packages"].as_array_mut().unwrap() {
            let text = |key: &str| package[key].as_str().unwrap().to_owned();
            found.insert((text("name"), text("version")), package.take());
        }
    }
    found
}

fn cargo(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--locked")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "cargo {}: {complaint}", arguments[0]);
    String::from_utf8(out.stdout).unwrap()
}

// ── files ───────────────────────────────────────────────────────────────────────────────────

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at_root(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
