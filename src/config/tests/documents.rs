//! The template and the manual agree with the table, and the installed files load.

use std::path::{Path, PathBuf};

use crate::config::table::{Missing, SECTIONS, SETTINGS, settings_of};
use crate::config::walk::default;
use crate::config::{PolicySource, Site, load, markdown, template};

fn at_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Compares a document with what the table makes of it; `CULVERT_WRITE=1` writes it instead.
fn compare(path: &str, made: &str) {
    let path = at_root(path);
    if std::env::var_os("CULVERT_WRITE").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let same = found == made;
    assert!(same, "{} is out of date: test again with CULVERT_WRITE=1", path.display());
}

#[test]
fn the_template_is_up_to_date() {
    compare("etc/culvert.template.toml", &template());
}

#[test]
fn the_manual_is_up_to_date() {
    compare("docs/CONFIG.md", &markdown());
}

#[test]
fn both_documents_have_every_key_and_default() {
    let (template, markdown) = (template(), markdown());
    assert!(template.lines().all(|line| line.starts_with('#') || line.is_empty()));
    for section in SECTIONS.iter().filter(|section| !section.path.is_empty()) {
        let of = |text: &str, header: &str, next: &str| {
            let start = text.find(header).expect(header) + header.len();
            let end = text[start..].find(next).map_or(text.len(), |end| start + end);
            text[start..end].to_owned()
        };
        let in_template = of(&template, &format!("\n#{}\n", section.header()), "\n#[");
        let in_markdown = of(&markdown, &format!("\n## `{}`\n", section.header()), "\n## ");
        for setting in settings_of(section.path) {
            let key = setting.key();
            assert!(in_template.contains(&format!("\n#{key} = ")), "{}", setting.path);
            assert!(in_markdown.contains(&format!("\n| `{key}` | ")), "{}", setting.path);
            if let Missing::Default(value) = setting.missing {
                assert!(in_template.contains(&format!("\n#{key} = {value}\n")), "{key}");
                assert!(in_markdown.contains(&format!(" | `{value}` | ")), "{key}");
            }
            assert!(!setting.help.contains('|') && !setting.kind.describe().contains('|'));
        }
    }
    assert!(template.contains("\n#version = 1\n") && markdown.contains("\n| `version` | "));
}

/// The line without its `#`, if that stands right before a key or header.
fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(key) if !key.is_empty() && !key.starts_with(' ') => key,
        _ => line,
    }
}

#[test]
fn the_template_uncommented_has_known_keys_with_good_values() {
    let text: String = template().lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let faults = crate::config::parse(&text, &at_root("etc/culvert.toml")).unwrap_err();
    let left: Vec<String> = faults
        .as_slice()
        .iter()
        .filter(|fault| !fault.message.starts_with("not yet in this version"))
        .map(|fault| format!("{} {}", fault.key, fault.message.split(';').next().unwrap()))
        .collect();
    // what cannot all be given at one time, and the file that is only an example
    assert_eq!(
        left,
        [
            "upstream[].servers an upstream has either `url` or `servers`",
            "route[].upstream no [[upstream]] is named \"corp\"",
            "policy[].url zone block.local comes one way only: by `file`, `primaries` or `url`",
            "tsig[].secret a key has either `secret_file` or `secret`",
        ]
    );
}

#[test]
fn the_table_is_sound() {
    for (index, setting) in SETTINGS.iter().enumerate() {
        let path = setting.path;
        assert!(SECTIONS.iter().any(|section| section.path == setting.section()), "{path}");
        assert!(SETTINGS[..index].iter().all(|earlier| earlier.path != path), "{path} twice");
        assert!(!setting.help.is_empty() && setting.help.ends_with('.'), "{path}");
        if let Missing::Default(_) = setting.missing {
            assert!(default(setting).is_some(), "{path} has a default that is not good");
        }
    }
}

#[test]
fn the_installed_file_loads() {
    let installed = std::fs::read_to_string(at_root("etc/culvert.toml")).unwrap();
    let zone_file = at_root("etc/rpz/test.rpz");
    let here = installed.replace("/usr/share/culvert/rpz/test.rpz", zone_file.to_str().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("culvert.toml");
    std::fs::write(&file, here).unwrap();
    let settings = load(&file).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(settings.warnings, []);
    assert_eq!(settings.upstreams.len(), 1);
    assert_eq!(settings.upstreams[0].name, Site::UPSTREAM);
    let zones: Vec<String> = settings.policies.iter().map(|p| p.zone.to_string()).collect();
    assert_eq!(zones, ["test.culvert"]);
    assert_eq!(settings.policies[0].source, PolicySource::File(zone_file));
    assert_eq!(settings.canary.blocked[0].to_string(), "blocked.culvert.test");

    // everything that is commented out is good, too, but for the files that are not there
    let all: String = installed.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    let faults = crate::config::parse(&all, &file).unwrap_err();
    let keys: Vec<&str> = faults.as_slice().iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["policy[].file", "policy[].file", "tsig[].secret_file"], "{faults}");
    assert!(faults.as_slice().iter().all(|f| f.message.contains("does not exist")), "{faults}");
}
