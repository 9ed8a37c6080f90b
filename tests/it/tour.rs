//! The tour of `culvert explain` in `docs/RPZ.md`: what it prints there is what is printed now,
//! and the story it tells is what clients get.

use crate::explain::{asked, assert_consistent, explain, said};
use crate::harness::document;
use crate::harness::stage::Stage;
use crate::harness::wire::{A, NS, Query, Record, name_bytes};
use serde_json::Value;
use std::path::Path;

const DOCUMENT: &str = "docs/RPZ.md";
/// Where the document has its policy files.
const FOLDER: &str = "/etc/culvert/rpz";

/// Files of the example, as the document shows them.
const FILES: [(&str, &str); 4] =
    [("allow.rpz", ALLOW), ("feed.rpz", FEED), ("block.txt", BLOCK), ("guests.rpz", GUESTS)];

const ALLOW: &str = "\
$ORIGIN allow.local.
$TTL 60
@  SOA  localhost. hostmaster.localhost. 3 3600 600 86400 60
@  NS   localhost.
; our partner works, whatever others say
*.partner.example  CNAME  rpz-passthru.
";

const FEED: &str = "\
$ORIGIN feed.vendor.example.
$TTL 60
@  SOA  localhost. hostmaster.localhost. 4711 3600 600 86400 60
@  NS   localhost.
; names
login.bank.example      CNAME  .
files.partner.example   CNAME  .
*.tracker.example       CNAME  *.
ok.cdn.tracker.example  CNAME  rpz-passthru.
; addresses in the answer: 203.0.113.0/24 and 198.51.100.7
24.0.113.0.203.rpz-ip   CNAME  *.
32.7.100.51.198.rpz-ip  CNAME  .
; a name server, and name servers in 192.0.2.0/24
ns.bulletproof.example.rpz-nsdname  CNAME  .
24.0.2.0.192.rpz-nsip   CNAME  .
";

const BLOCK: &str = "\
# our own list: one name a line, with all names below it
ads.example
chat.example
";

const GUESTS: &str = "\
$ORIGIN guests.local.
$TTL 60
@  SOA  localhost. hostmaster.localhost. 1 3600 600 86400 60
@  NS   localhost.
; a camera that shall reach nobody
32.66.0.0.127.rpz-client-ip  CNAME  .
";

const SECTIONS: &str = r#"[[policy]]
zone = "allow.local"
file = "/etc/culvert/rpz/allow.rpz"

[[policy]]
zone = "feed.vendor.example"
file = "/etc/culvert/rpz/feed.rpz"

[[policy]]
zone = "block.local"
file = "/etc/culvert/rpz/block.txt"
format = "domains"

[[policy]]
zone = "guests.local"
file = "/etc/culvert/rpz/guests.rpz"

[[group]]
name = "guests"
clients = ["127.0.0.64/26"]
policies = ["guests.local", "feed.vendor.example"]
"#;

/// Names, their servers, and what is true of them.
fn truth() -> Vec<Record> {
    let served = |zone: &str, server: &str| Record::new(zone, 300, NS, name_bytes(server));
    let domains = ["bank", "shop", "partner", "tracker", "mirror", "clean", "ads", "hoster"];
    let mut records: Vec<Record> =
        domains.iter().map(|d| served(&format!("{d}.example"), "ns.hoster.example")).collect();
    records.extend([
        Record::a("ns.hoster.example", 300, "198.51.100.53"),
        Record::a("login.bank.example", 300, "198.51.100.1"),
        Record::cname("www.shop.example", 300, "eu.tracker.example"),
        Record::a("eu.tracker.example", 300, "198.51.100.2"),
        Record::a("cdn.tracker.example", 300, "198.51.100.3"),
        Record::a("files.partner.example", 300, "198.51.100.4"),
        Record::a("get.mirror.example", 300, "203.0.113.9"),
        Record::a("get.mirror.example", 300, "198.51.100.7"),
        Record::a("www.cheap.example", 300, "198.51.100.5"),
        served("cheap.example", "ns.bulletproof.example"),
        Record::a("ns.bulletproof.example", 300, "198.51.100.54"),
        Record::a("www.odd.example", 300, "198.51.100.6"),
        served("odd.example", "ns.odd.example"),
        Record::a("ns.odd.example", 300, "192.0.2.53"),
        Record::a("www.clean.example", 300, "198.51.100.8"),
        Record::a("cdn.ads.example", 300, "198.51.100.9"),
    ]);
    records
}

/// The relay of the tour.
fn stage() -> Stage {
    let stage = Stage::with(|conf| {
        let folder = conf.folder().join("rpz");
        std::fs::create_dir(&folder).expect("a folder is made");
        for (file, text) in FILES {
            std::fs::write(folder.join(file), text).expect("a policy file is written");
        }
        let folder = folder.display().to_string();
        conf.with(&SECTIONS.replace(FOLDER, &folder))
    });
    stage.backend.add(&truth());
    stage
}

/// One question of the tour.
struct Step {
    /// Its part of the document.
    part: &'static str,
    name: &'static str,
    client: &'static str,
    /// Beginnings of the sections that the document shows; no entry: all.
    shows: &'static [&'static str],
    /// Outcome and code.
    verdict: [&'static str; 2],
    /// Trigger, zone, file and the beginning of the rule's line; nothing if no rule acts.
    rule: Option<[&'static str; 4]>,
    /// A name or address that the rule matched, and what is said of a match that lost.
    story: [&'static str; 2],
}

const ANYBODY: &str = "127.0.0.1";
const NAMES: &[&str] = &["To undo", "The rule", "Name"];
const FEED_ZONE: &str = "feed.vendor.example";

const STEPS: [Step; 10] = [
    Step {
        part: "name",
        name: "login.bank.example",
        client: ANYBODY,
        shows: &[],
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["QNAME", FEED_ZONE, "feed.rpz", "login.bank.example "]),
        story: ["login.bank.example", ""],
    },
    Step {
        part: "alias",
        name: "www.shop.example",
        client: ANYBODY,
        shows: &["To undo", "The rule", "Name", "The answer"],
        verdict: ["blocked", "NOERROR"],
        rule: Some(["QNAME", FEED_ZONE, "feed.rpz", "*.tracker.example "]),
        story: ["eu.tracker.example", ""],
    },
    Step {
        part: "hole",
        name: "cdn.tracker.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["clean", "NOERROR"],
        rule: None,
        story: ["", "cdn.tracker.example exists in the zone (rule ok.cdn.tracker.example)"],
    },
    Step {
        part: "passthru",
        name: "files.partner.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["allowed", "NOERROR"],
        rule: Some(["QNAME", "allow.local", "allow.rpz", "*.partner.example "]),
        story: ["files.partner.example", "zone allow.local stands ahead"],
    },
    Step {
        part: "client",
        name: "files.partner.example",
        client: "127.0.0.66",
        shows: &["To undo", "The rule", "The query", "Policy", "Name"],
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["CLIENT-IP", "guests.local", "guests.rpz", "32.66.0.0.127.rpz-client-ip "]),
        story: ["127.0.0.66", "zone guests.local stands ahead"],
    },
    Step {
        part: "address",
        name: "get.mirror.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["IP", FEED_ZONE, "feed.rpz", "32.7.100.51.198.rpz-ip "]),
        story: ["198.51.100.7", "a longer prefix matches: 198.51.100.7/32"],
    },
    Step {
        part: "server",
        name: "www.cheap.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["NSDNAME", FEED_ZONE, "feed.rpz", "ns.bulletproof.example.rpz-nsdname "]),
        story: ["ns.bulletproof.example", ""],
    },
    Step {
        part: "server-address",
        name: "www.odd.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["NSIP", FEED_ZONE, "feed.rpz", "24.0.2.0.192.rpz-nsip "]),
        story: ["192.0.2.53", ""],
    },
    Step {
        part: "clean",
        name: "www.clean.example",
        client: ANYBODY,
        shows: &["Name", "The answer"],
        verdict: ["clean", "NOERROR"],
        rule: None,
        story: ["", ""],
    },
    Step {
        part: "list",
        name: "cdn.ads.example",
        client: ANYBODY,
        shows: NAMES,
        verdict: ["blocked", "NXDOMAIN"],
        rule: Some(["QNAME", "block.local", "block.txt", "ads.example"]),
        story: ["cdn.ads.example", ""],
    },
];

#[test]
fn the_tour_shows_what_is_printed_and_what_clients_get() {
    let stage = stage();
    let mut parts = vec![("tour:configuration".to_owned(), block("toml", SECTIONS))];
    for (file, text) in FILES {
        parts.push((format!("tour:{file}"), block("", text)));
    }
    for step in &STEPS {
        let shown = step.walk(&stage);
        parts.push((format!("tour:{}", step.part), shown));
    }
    parts.extend(exception(&stage, &STEPS[STEPS.len() - 1]));
    let long = parts.iter().flat_map(|(_, text)| text.lines()).find(|l| l.chars().count() > 80);
    assert_eq!(long, None, "the document fits a terminal");
    document::hold(DOCUMENT, &parts);
}

impl Step {
    /// Asks why, then asks; gives what the document shows.
    #[track_caller]
    fn walk(&self, stage: &Stage) -> String {
        let mut args = vec![self.name];
        if self.client != ANYBODY {
            args.extend(["--client", self.client]);
        }
        let words = stage.relay.tell(&[&["explain"], &args[..]].concat());
        let told = self.told_and_true(stage);
        let [outcome, code] = self.verdict;
        assert_eq!(told["verdict"]["outcome"], outcome, "{told:#}");
        assert_eq!(told["verdict"]["rcode"], code, "{told:#}");
        let [matched, lost] = self.story;
        match self.rule {
            None => assert!(told["rule"].is_null(), "{told:#}"),
            Some(rule) => assert_rule(&told["rule"], rule, matched),
        }
        let matches = told["way"].as_array().into_iter().flatten();
        let mut matches = matches.flat_map(|s| s["matches"].as_array().into_iter().flatten());
        let reason = |m: &Value| m["lost"].as_str().unwrap_or_default().contains(lost);
        assert!(lost.is_empty() || matches.any(reason), "{lost}: {told:#}");
        let command = format!("culvert explain {}", args.join(" "));
        shown(stage, &command, &chosen(&words, self.shows))
    }

    /// The explanation, which is what the client gets.
    #[track_caller]
    fn told_and_true(&self, stage: &Stage) -> Value {
        let told = explain(stage, &[self.name, "--client", self.client]);
        let real = asked(stage, self.client, &Query::new(self.name, A), false, false);
        assert_eq!(said(&told), real, "{told:#}");
        assert_consistent(&told);
        told
    }
}

/// The rule is the one that stands in the file, on that line.
#[track_caller]
fn assert_rule(told: &Value, [trigger, zone, file, begins]: [&str; 4], matched: &str) {
    assert_eq!(told["trigger"], trigger, "{told:#}");
    assert_eq!(told["zone"], zone, "{told:#}");
    assert_eq!(told["matched"], matched, "{told:#}");
    let (_, text) = FILES.iter().find(|(name, _)| *name == file).expect("a file of the tour");
    let found = text.lines().zip(1..).find(|(line, _)| line.starts_with(begins));
    let (line, number) = found.expect("a line of the file");
    let written = &told["place"]["written"];
    assert_eq!(written.as_array().map(Vec::len), Some(1), "{told:#}");
    let path = written[0]["file"].as_str().expect("a path");
    assert_eq!(Path::new(path).file_name().and_then(|n| n.to_str()), Some(file), "{told:#}");
    assert_eq!(written[0]["line"], number, "{told:#}");
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = written[0]["text"].as_str().unwrap_or_default();
    assert_eq!(words(text), words(line), "{told:#}");
}

/// The blocked name is let through by hand, and that is taken back.
fn exception(stage: &Stage, step: &Step) -> Vec<(String, String)> {
    let reason = "the shop needs it";
    let made = stage.relay.tell(&["allow", step.name, "--for", "30m", "--reason", reason]);
    let command = format!("culvert allow {} --for 30m --reason \"{reason}\"", step.name);
    let allow = shown(stage, &command, &made);
    let words = stage.relay.tell(&["explain", step.name]);
    let told = step.told_and_true(stage);
    assert_eq!(told["verdict"]["outcome"], "allowed", "{told:#}");
    assert_eq!(told["rule"]["exception"]["id"], 1, "{told:#}");
    assert_eq!(told["undo"]["command"], "culvert exceptions remove 1", "{told:#}");
    let command = format!("culvert explain {}", step.name);
    let explained = shown(stage, &command, &chosen(&words, NAMES));
    let removed = stage.relay.tell(&["exceptions", "remove", "1"]);
    let owner = told["rule"]["exception"]["owner"].as_str().expect("who made it");
    let explained = explained.replace(&format!("by          {owner}"), "by          root");
    let removed = by_root(&removed, owner);
    let remove = shown(stage, "culvert exceptions remove 1", &removed);
    let told = step.told_and_true(stage);
    assert_eq!(told["verdict"]["outcome"], step.verdict[0], "{told:#}");
    [("allow", allow), ("allowed", explained), ("remove", remove)]
        .map(|(name, text)| (format!("tour:{name}"), text))
        .into()
}

/// The sentence, and sections that begin like this; the others are three dots.
fn chosen(words: &str, shows: &[&str]) -> String {
    let mut sections = words.trim_end().split("\n\n");
    let mut out = sections.next().unwrap_or_default().to_owned();
    let mut dots = false;
    for section in sections {
        let wanted = shows.is_empty() || shows.iter().any(|show| section.starts_with(show));
        match (wanted, dots) {
            (true, _) => out = format!("{out}\n\n{section}"),
            (false, false) => out.push_str("\n\n..."),
            (false, true) => {}
        }
        dots = !wanted;
    }
    out
}

/// A command and what it printed, without what differs from run to run.
fn shown(stage: &Stage, command: &str, printed: &str) -> String {
    let folder = stage.relay.conf.folder().join("rpz").display().to_string();
    let text = printed.replace(&folder, FOLDER);
    block("", &format!("$ {command}\n{}", settled(&text)))
}

fn block(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```", text.trim_end())
}

/// Numbers and times that differ from run to run are made the same.
fn settled(text: &str) -> String {
    // the last word, which may stand on the line before
    let (mut before, mut end) = ("", false);
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let mut out = Vec::with_capacity(words.len());
        for (at, word) in words.iter().enumerate() {
            let number = word.trim_start_matches('(').parse::<u32>().ok();
            // the truth of the tour lives for 300 s, of which some may have passed
            let lives = number.is_some_and(|n| (200..=300).contains(&n));
            out.push(match (before, words.get(at + 1)) {
                ("generation", _) if number.is_some() => "1".to_owned(),
                // a list has the time of its file
                ("serial", _) if word.len() >= 10 => {
                    format!("1795311000{}", word.trim_start_matches(char::is_numeric))
                }
                (_, Some(&("IN" | "s"))) if lives => "300".to_owned(),
                _ => same_time(word, end),
            });
            before = if word.is_empty() { before } else { word };
            end = before == "until" || end && before != "since";
        }
        lines.push(out.join(" "));
    }
    lines.join("\n")
}

/// Days and times of day, in place of others of their form; an end is half an hour later.
fn same_time(word: &str, end: bool) -> String {
    let form: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let time = if end { "10:00:00Z" } else { "09:30:00Z" };
    for (as_form, settled) in [("0000-00-00", "2026-11-22"), ("00:00:00Z", time)] {
        if let Some(rest) = form.strip_prefix(as_form) {
            return format!("{settled}{rest}");
        }
    }
    word.to_owned()
}

/// A paragraph that names who did it, as it is printed if that was root.
fn by_root(paragraph: &str, owner: &str) -> String {
    let words = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = words.replace(&format!("by {owner}:"), "by root:");
    let (mut out, mut column) = (String::new(), 0);
    for word in words.split(' ') {
        let width = word.chars().count();
        if column + 1 + width > 80 {
            out.push_str("\n  ");
            column = 2;
        } else if column > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out
}
