//! What makes two configurations the same for a pair of relays, and what does not.

use std::path::Path;

use crate::config::{fingerprint, load, parse};

const BOTH: &str = r#"
[server]
name = "dns-a"
listen = ["interfaces:53", "192.0.2.53:53"]
allow = ["10.0.0.0/8"]
state = "/var/lib/a"
control = "/run/a.sock"
workers = 2
[log]
hits = "stderr"
[status]
listen = "192.0.2.11:8053"
allow = ["192.0.2.12"]
[[upstream]]
url = "https://doh.example/hidden-path"
addresses = ["192.0.2.1"]
ca = "ca.pem"
[[tsig]]
name = "vendor-key"
secret = "aHVzaCwgaHVzaCwgbXkgc2VjcmV0IHNlY3JldCEhISE="
[[policy]]
zone = "block.example"
file = "block.rpz"
[[policy]]
zone = "feed.example"
primaries = ["192.0.2.53:5353"]
tsig = "vendor-key"
[[policy]]
zone = "list.example"
url = "https://lists.example/hidden-list"
sha256 = "https://lists.example/hidden-sum"
format = "domains"
[canary]
blocked = ["bad.example"]
"#;

/// The fingerprint of a text in a folder of its own, with these trusted roots.
fn of(text: &str, roots: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", roots);
    write("block.rpz", "");
    write("other.rpz", "");
    let file: &Path = &folder.path().join("culvert.toml");
    fingerprint(&parse(text, file).unwrap_or_else(|faults| panic!("{faults}")))
}

fn changed(from: &str, to: &str) -> String {
    let text = BOTH.replacen(from, to, 1);
    assert_ne!(text, BOTH, "{from} is in the text");
    of(&text, "roots")
}

#[test]
fn what_is_a_hosts_own_does_not_count() {
    let both = of(BOTH, "roots");
    assert!(both.len() == 16 && both.bytes().all(|b| b.is_ascii_hexdigit()), "{both}");
    for (from, to) in [
        ("dns-a", "dns-b"),
        ("\"interfaces:53\", ", ""),
        ("/var/lib/a", "/var/lib/b"),
        ("/run/a", "/run/b"),
        ("workers = 2", "workers = 4"),
        ("\"stderr\"", "\"journal\"\nqueries = true"),
        ("192.0.2.11:8053", "192.0.2.12:8053"),
        ("allow = [\"192.0.2.12\"]", "allow = [\"192.0.2.11\"]"),
        ("block.rpz", "other.rpz"),
        ("\n[[policy]]", "\n\n# where it stands does not matter\n[[policy]]"),
    ] {
        assert_eq!(changed(from, to), both, "{from} to {to}");
    }
}

#[test]
fn it_does_not_count_which_file_says_it() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("culvert.toml");
    let text = "[[upstream]]\nurl = \"https://doh.example/x\"\naddresses = [\"192.0.2.1\"]\n";
    let whole = format!("{text}[cache]\nsize = \"5 MiB\"\n");
    std::fs::write(&main, &whole).unwrap();
    let of_one = fingerprint(&load(&main).unwrap());
    std::fs::write(&main, text).unwrap();
    std::fs::create_dir(folder.path().join("culvert.d")).unwrap();
    std::fs::write(folder.path().join("culvert.d/a.toml"), "[cache]\nsize = \"5 MiB\"\n").unwrap();
    assert_eq!(fingerprint(&load(&main).unwrap()), of_one);
}

#[test]
fn what_acts_counts_and_secrets_too() {
    let both = of(BOTH, "roots");
    for (from, to) in [
        ("10.0.0.0/8", "10.0.0.0/9"),
        ("doh.example", "doh2.example"),
        ("hidden-path", "other-path"),
        ("addresses = [\"192.0.2.1\"]", "addresses = [\"192.0.2.2\"]"),
        ("ca = \"ca.pem\"\n", ""),
        ("bXkgc2Vj", "bXkgc2Vk"),
        ("hidden-list", "other-list"),
        ("hidden-sum", "other-sum"),
        ("192.0.2.53:5353", "192.0.2.54:5353"),
        ("file = \"block.rpz\"", "file = \"block.rpz\"\nmode = \"monitor\""),
        ("bad.example", "worse.example"),
    ] {
        assert_ne!(changed(from, to), both, "{from} to {to}");
    }
    assert_ne!(of(BOTH, "other roots"), both);
}
