//! `docs/RPZ.md` and the tests that it names: they exist, and the deviations are all there.

use super::deviations::DEVIATIONS;
use crate::harness::document;
use std::collections::BTreeSet;
use std::path::Path;

const MANUAL: &str = "docs/RPZ.md";
const CASES: &str = "tests/it/conformance/cases";

#[test]
fn the_manual_has_every_deviation() {
    let mut table = "| What Culvert does | Why |\n|---|---|\n".to_owned();
    for deviation in &DEVIATIONS {
        assert!(!deviation.what.contains('|') && !deviation.why.contains('|'));
        table += &format!("| {} | {} |\n", deviation.what, deviation.why);
    }
    document::hold(MANUAL, &[("deviations".to_owned(), table)]);
}

#[test]
fn tests_in_the_tables_of_the_manual_exist() {
    let tests = known_tests();
    let manual = without_blocks(&document::read(MANUAL));
    let (mut in_table, mut count) = (false, 0);
    for line in manual.lines() {
        in_table = line.ends_with("| Tests |") || in_table && line.starts_with('|');
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        for name in quoted(last).filter(|_| in_table) {
            assert!(tests.contains(name), "{MANUAL} names `{name}`, which is no test: {line}");
            count += 1;
        }
    }
    assert!(count > 10, "the tables of {MANUAL} have a column of tests");
}

/// Tests are named in the text too, among settings and counters.
#[test]
fn names_in_the_text_of_the_manual_exist() {
    let tests = known_tests();
    let others = document::read("docs/CONFIG.md") + &document::read("docs/METRICS.md");
    let manual = without_blocks(&document::read(MANUAL));
    let like_a_name = |name: &&str| {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        name.contains('_') && name.chars().all(letters)
    };
    let mut count = 0;
    for name in quoted(&manual).filter(like_a_name) {
        let known = tests.contains(name) || others.contains(&format!("`{name}`"));
        assert!(known, "{MANUAL} names `{name}`: neither a test, a setting nor a counter");
        count += 1;
    }
    assert!(count > 20, "{MANUAL} names its tests");
}

/// What stands between back quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The text without its blocks of code.
fn without_blocks(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Functions of the black-box tests, and the files of written cases.
fn known_tests() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in [CASES, "tests/it/conformance", "tests/it"] {
        for file in std::fs::read_dir(root.join(folder)).expect("the folder is there") {
            let path = file.expect("an entry of the folder").path();
            if path.extension().is_none_or(|ending| ending != "rs") {
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            known.insert(stem);
            let text = std::fs::read_to_string(&path).expect("a source file");
            let parts = text.split("#[test]\n").skip(1);
            let names = parts.filter_map(|part| part.trim_start().strip_prefix("fn "));
            known.extend(names.filter_map(|name| Some(name.split_once('(')?.0.to_owned())));
        }
    }
    known
}
