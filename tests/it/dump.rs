//! Dumped rules under the eyes of BIND's own tools.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use culvert::dns::name::Name;
use culvert::policy::rules::ZoneRules;
use culvert::rpz::{Dump, Form, Gather, Limits, parse};

use crate::harness::process::run;
use crate::harness::secs;

const ZONE: &str = "rpz.test";

/// All triggers, actions and kinds of data, and names that need escapes.
const RULES: &str = r#"$TTL 60
@ SOA Ns.test. host\.master.test. 7 3600 600 86400 60
@ NS localhost.
bad.example CNAME .
*.bad.example CNAME *.
let.example CNAME rpz-passthru.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
*.garden.example CNAME *.Garden.test.
a\.b\000.9\@.\$ttl CNAME q\;\(\)\"\\.\032x.
local.example 300 A 192.0.2.1
local.example 300 A 192.0.2.2
local.example AAAA 2001:db8::ffff
local.example TXT "a b" "" "\"\\;\255" @
local.example 0 MX 10 \@.mail.test.
local.example SRV 0 65535 443 s.test.
local.example PTR p.test.
local.example HTTPS 1 . alpn="h2,h3" ipv4hint=192.0.2.7
local.example CAA 0 issue "ca.test"
local.example TYPE65400 \# 3 abcdef
empty.example TYPE65400 \# 0
ns.evil.rpz-nsdname CNAME .
*.evil.rpz-nsdname A 192.0.2.9
24.0.2.0.192.rpz-ip CNAME .
128.57.zz.101.db8.2001.rpz-ip CNAME rpz-drop.
8.0.0.0.10.rpz-nsip CNAME .
32.1.2.0.192.rpz-client-ip TXT "you"
"#;

fn origin() -> Name {
    ZONE.parse().expect("a name")
}

fn read(text: &str, form: Form) -> ZoneRules {
    let limits = Limits::default();
    parse(text.as_bytes(), Path::new("made-up"), &origin(), form, &limits).expect("a good zone")
}

/// Writes a dump of the rules into a file.
fn dumped(rules: ZoneRules, folder: &Path) -> PathBuf {
    let file = folder.join("dump");
    let text: Vec<u8> = Dump::new(Arc::new(rules)).flatten().collect();
    std::fs::write(&file, text).expect("written");
    file
}

/// Runs one of BIND's checkers, which must not look anything up: what it printed.
#[track_caller]
fn checked(program: &str, args: &[&str], file: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["-i", "local", "-k", "ignore"]).args(args).arg(ZONE).arg(file);
    let output = run(&mut command, secs(20));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let dump = std::fs::read_to_string(file).unwrap_or_default();
    assert!(output.status.success(), "{program}: {text}{errors}\n{dump}");
    text
}

/// The zone in BIND's own spelling, sorted by it.
#[track_caller]
fn compiled(file: &Path) -> Vec<String> {
    let text = checked("named-compilezone", &["-q", "-s", "full", "-o", "-"], file);
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_dump_is_the_zone_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let written = dir.path().join("written");
    std::fs::write(&written, RULES).expect("written");
    let dump = dumped(read(RULES, Form::Zone), dir.path());
    let text = checked("named-checkzone", &[], &dump);
    assert!(text.contains("loaded serial 7") && text.contains("OK"), "{text}");
    assert_eq!(compiled(&dump), compiled(&written));
}

#[test]
fn a_dump_of_a_list_is_a_zone() {
    let dir = tempfile::tempdir().expect("a folder");
    let list = "bad.example\n_x.worse.example # a comment\n";
    let dump = dumped(read(list, Form::Domains { subdomains: true }), dir.path());
    let text = checked("named-checkzone", &[], &dump);
    assert!(text.contains("OK"), "{text}");
    let lines = compiled(&dump);
    for owner in ["bad.example", "*.bad.example", "_x.worse.example", "*._x.worse.example"] {
        let found = lines.iter().filter(|line| line.starts_with(&format!("{owner}.{ZONE}.")));
        assert_eq!(found.count(), 1, "{owner}: {lines:#?}");
    }
    assert_eq!(lines.len(), 6, "{lines:#?}");
}

#[test]
fn a_dump_of_a_transfer_has_each_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let soa =
        b"\x02Ns\x04test\x00\x01@\x00\0\0\0\x09\0\0\x0e\x10\0\0\x02\x58\0\x01\x51\x80\0\0\0\x3c";
    let records: [(&str, u16, u32, &[u8], &str); 8] = [
        ("@", 6, 60, soa, "SOA Ns.test. \\@. 9 3600 600 86400 60"),
        ("@", 2, 3600, b"\x02ns\x04test\x00", "NS ns.test."),
        ("@", 16, 3600, b"\x04apex", "TXT apex"),
        ("*.bad.example", 5, 1, b"\x00", "CNAME ."),
        (r"a\.b.\$x", 1, 0, &[192, 0, 2, 1], "A 192.0.2.1"),
        (r"a\.b.\$x", 257, 0, b"\x00\x05issueca.test", "CAA 0 issue \"ca.test\""),
        ("x.rpz-nsdname", 65400, 7, b"\xab", "TYPE65400 \\# 1 ab"),
        ("24.1.2.0.192.rpz-ip", 5, 7, b"\x00", "CNAME ."),
    ];
    let mut gather = Gather::new(origin(), 100);
    let mut text = String::new();
    for (owner, rtype, ttl, rdata, written) in records {
        let name: Name = match owner {
            "@" => origin(),
            owner => owner.parse::<Name>().and_then(|name| name.join(&origin())).expect("a name"),
        };
        gather.record(name.as_wire(), rtype, ttl, rdata).expect("it is taken");
        text.push_str(&format!("{owner} {ttl} IN {written}\n"));
    }
    let rules = gather.finish().expect("a zone");
    assert_eq!(rules.skipped.total, 2, "the record at the apex and the odd prefix are no rules");
    let dump = dumped(rules, dir.path());
    assert!(checked("named-checkzone", &[], &dump).contains("loaded serial 9"));
    let written = dir.path().join("written");
    std::fs::write(&written, text).expect("written");
    assert_eq!(compiled(&dump), compiled(&written));
}
