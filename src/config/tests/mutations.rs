//! Broken files give faults or settings, never a panic, and never a secret.

use std::path::Path;

use super::load;
use crate::config::files::Text;
use crate::config::{Faults, Settings, judged};

const VALID: &str = r#"version = 1
[server]
listen = ["interfaces:53", "192.0.2.1:53", "[2001:db8::1]:53"]
allow = ["10.0.0.0/8", "::1", "onlink"]
tcp_idle = "1m30s"
[[upstream]]
name = "service"
url = "https://doh.example/dns-query{?dns}"
addresses = ["192.0.2.80", "[2001:db8::2]:444"]
[[upstream]]
name = "corp"
servers = ["10.0.0.53"]
[[route]]
zones = ["corp.example"]
upstream = "corp"
[[group]]
name = "guests"
clients = ["192.168.50.0/24", "2001:db8:50::/64"]
policies = []
upstream = "corp"
[[tsig]]
name = "vendor-key"
secret = "aHVzaCwgaHVzaCwgbXkgc2VjcmV0IHNlY3JldCEhISE="
[[policy]]
zone = "feed.example"
primaries = ["192.0.2.53:5353", "tls://[2001:db8::53]#dns.example"]
tsig = "vendor-key"
notify_from = ["192.0.2.0/24"]
[[policy]]
zone = "list.example"
url = "https://lists.example/hidden-list"
sha256 = "https://lists.example/hidden-sum"
refresh = "1h"
[local.hosts]
"printer.corp.example" = ["10.0.0.9"]
[cache]
size = "64 MiB"
[canary]
blocked = ["bad.example"]
[log]
hits = "journal"
[status]
listen = "127.0.0.1:8053"
"#;

/// Pieces that a mutation puts in: of TOML, of the kinds of values, of other scripts.
const PIECES: &[&str] = &[
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r\n",
    "\r",
    "\\",
    "\\u0000",
    "é",
    "日本",
    "\u{1f600}",
    "\u{feff}",
    "0",
    "-1",
    "99999999999999999999",
    "1e9",
    "0x",
    "true",
    "1979-05-27",
    "inf",
    "any",
    "%",
    ":",
    "/",
    "https://",
    "@",
    "..",
    "[server]\n",
    "[[policy]]\n",
    "zone = \"a\"\n",
    "[upstream]\n",
    "\u{0}",
    "\t",
    "d",
    "ms",
    "\u{301}",
];

/// A small generator of numbers (xorshift), so that every run sees the same files.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    /// The good file with some changes.
    fn mutated(&mut self) -> String {
        let mut text = VALID.to_owned();
        for _ in 0..=self.below(4) {
            let (a, b) = (self.place(&text), self.place(&text));
            let (start, end) = (a.min(b), a.max(b));
            match self.below(4) {
                0 => text.insert_str(start, PIECES[self.below(PIECES.len())]),
                1 if end - start < 40 => text.replace_range(start..end, ""),
                2 if end - start < 200 => text = format!("{}{}", &text[..end], &text[start..]),
                _ => text.insert_str(end, PIECES[self.below(PIECES.len())]),
            }
        }
        text
    }

    /// A place between two characters.
    fn place(&mut self, text: &str) -> usize {
        let mut at = self.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// What the two files say together.
fn load_both(main: &str, drop_in: &str) -> Result<Settings, Faults> {
    let files = [("culvert.toml", main), ("culvert.d/x.toml", drop_in)];
    judged(Path::new("culvert.toml"), &files.map(|(name, text)| Text::new(Path::new(name), text)))
}

#[test]
fn mutated_drop_ins_never_panic() {
    assert!(load_both(VALID, VALID).is_err_and(|faults| faults.to_string().contains("route")));
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut refused = [0; 2];
    for _ in 0..1000 {
        let (text, other) = (numbers.mutated(), numbers.mutated());
        let cut = numbers.place(&text);
        for (main, drop_in) in [(&text[..cut], &text[cut..]), (&text[..], &other[..])] {
            let Err(faults) = load_both(main, drop_in) else { continue };
            for fault in faults.as_slice() {
                let file = usize::from(fault.file != "culvert.toml");
                refused[file] += 1;
                let lines = [main, drop_in][file].lines().count();
                assert!(fault.line <= lines + 1, "{fault}\n{main}\n----\n{drop_in}");
            }
            let shown = faults.to_string();
            for secret in ["dns-query", "hidden", "aHVzaCwg"] {
                assert!(!shown.contains(secret), "{faults}\n{main}\n----\n{drop_in}");
            }
        }
    }
    assert!(refused.iter().all(|count| *count > 1000), "{refused:?}");
}

#[test]
fn mutated_files_never_panic() {
    assert!(load(VALID).is_ok());
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut refused = 0;
    for _ in 0..3000 {
        let text = numbers.mutated();
        if let Err(faults) = load(&text) {
            refused += 1;
            let list = faults.as_slice();
            assert!(!list.is_empty());
            assert!(list.is_sorted_by_key(|fault| (fault.line, fault.column)));
            assert!(list.iter().all(|fault| fault.line <= text.lines().count() + 1), "{faults}");
            let shown = faults.to_string();
            for secret in ["dns-query", "hidden", "aHVzaCwg"] {
                assert!(!shown.contains(secret), "{faults}\n{text}");
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn truncated_files_never_panic() {
    for (at, _) in VALID.char_indices() {
        let _ = load(&VALID[..at]);
    }
}

#[test]
fn deep_and_long_files_never_panic() {
    let deep = 100_000;
    for text in [
        format!("{}a = 1\n", "a.".repeat(deep)),
        format!("[{}a]\n", "a.".repeat(deep)),
        format!("a = {}{}\n", "[".repeat(deep), "]".repeat(deep)),
        format!("a = {}1{}\n", "{a = ".repeat(deep), "}".repeat(deep)),
        format!("[local.hosts]\n{}a = 1\n", "a.".repeat(70)),
        format!("{} = 1\n", "k".repeat(deep)),
        "[[upstream]]\n".repeat(5000),
        "x = 1\n".repeat(5000),
        "[[[\n".repeat(5000),
        format!("[server]\nallow = [{}]\n", "\"10.0.0.0/8\",".repeat(4097)),
    ] {
        assert!(load(&text).is_err());
    }
}
