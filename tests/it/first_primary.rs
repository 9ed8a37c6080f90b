//! "Policy from a primary, in five minutes" in `docs/OPERATING.md`: the pieces of configuration
//! there are run, and what is printed there is what is printed now.

use crate::harness::conf::Conf;
use crate::harness::document;
use crate::harness::primary::Primary as Scripted;
use crate::harness::process::{LOCAL, Process, free_port, run};
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::stage::Stage;
use crate::harness::tools::dig;
use crate::harness::tsig::{Hash, Key};
use crate::harness::wire::{A, Record};
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const DOCUMENT: &str = "docs/OPERATING.md";
const ZONE: &str = "rpz.corp.example";

/// On the primary; 192.0.2.1 is the relay.
const NAMED: &str = r#"include "/etc/bind/relay.key";

zone "rpz.corp.example" {
    type primary;
    file "/etc/bind/rpz.corp.example";
    ixfr-from-differences yes;
    allow-transfer { key "relay.key"; };
    notify explicit;
    also-notify { 192.0.2.1 key "relay.key"; };
};
"#;

const RULES: &str = "\
$TTL 300
@  SOA  localhost. hostmaster.corp.example. 1 3600 600 604800 60
@  NS   localhost.
bad.example       CNAME  .
*.bad.example     CNAME  .
";

/// The same two lines later.
const CHANGED: &str = "\
worse.example     CNAME  .
*.worse.example   CNAME  .
";

/// On the relay; 192.0.2.53 is the primary.
const RELAY: &str = r#"[[policy]]
zone = "rpz.corp.example"
primaries = ["192.0.2.53"]
tsig = "relay.key"

[[tsig]]
name = "relay.key"
secret_file = "/etc/culvert/relay.key"
"#;

/// A list from the web.
const LIST: &str = r#"[[policy]]
zone = "ads.corp.example"
url = "https://lists.example/ads.txt"
format = "domains"
"#;

/// A primary as the document has it, and what its ports and folder are in truth.
struct Primary {
    address: SocketAddr,
    control: SocketAddr,
    folder: tempfile::TempDir,
    _process: Process,
}

impl Primary {
    #[track_caller]
    fn start(relay: SocketAddr) -> Primary {
        let folder = tempfile::tempdir().expect("a folder for named");
        let (address, control) = (free_port(LOCAL), free_port(LOCAL));
        let dir = folder.path().display().to_string();
        for (key, file) in [("relay.key", "relay.key"), ("rndc-key", "rndc.key")] {
            let output = run(Command::new("tsig-keygen").arg(key), secs(20));
            assert!(output.status.success(), "{output:?}");
            let path = folder.path().join(file);
            std::fs::write(&path, output.stdout).expect("a key is written");
            let only_us = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, only_us).expect("a key is kept secret");
        }
        std::fs::write(folder.path().join(ZONE), RULES).expect("the zone is written");
        let port = format!("127.0.0.1 port {}", relay.port());
        let pieces = NAMED.replace("/etc/bind", &dir).replace("192.0.2.1", &port);
        let conf = format!(
            "options {{ directory \"{dir}\"; pid-file none; session-keyfile \"{dir}/session\";\n\
             listen-on port {} {{ {LOCAL}; }}; listen-on-v6 {{ none; }}; recursion no;\n\
             dnssec-validation no; }};\ninclude \"{dir}/rndc.key\";\n\
             controls {{ inet {LOCAL} port {} allow {{ {LOCAL}; }} keys {{ rndc-key; }}; }};\n\
             {pieces}",
            address.port(),
            control.port(),
        );
        let file = folder.path().join("named.conf");
        std::fs::write(&file, conf).expect("a configuration is written");
        let program = Path::new("/usr/sbin/named");
        let mut process = Process::start("named", program, folder.path(), |command| {
            command.args(["-f", "-g", "-n", "1", "-c"]).arg(&file);
        });
        process.until_connects(address);
        Primary { address, control, folder, _process: process }
    }

    /// Two more rules; gives what rndc prints.
    #[track_caller]
    fn change(&self) -> String {
        let text = RULES.replace(" 1 3600", " 2 3600") + CHANGED;
        std::fs::write(self.folder.path().join(ZONE), text).expect("the zone is written");
        let mut rndc = Command::new("rndc");
        rndc.arg("-k").arg(self.folder.path().join("rndc.key"));
        rndc.args(["-s", "127.0.0.1", "-p", &self.control.port().to_string(), "reload", ZONE]);
        let output = run(&mut rndc, secs(20));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// What a relay prints, without what differs from run to run.
struct Page<'a> {
    relay: &'a Relay,
    primary: SocketAddr,
}

impl Page<'_> {
    fn shown(&self, command: &str, printed: &str) -> String {
        let text = printed.replace(&self.primary.to_string(), "192.0.2.53");
        let file = self.relay.conf.file().display().to_string();
        let text = text.replace(&file, "/etc/culvert/culvert.toml");
        let lines: Vec<String> = text.lines().map(settled).collect();
        block("", &format!("$ {command}\n{}", lines.join("\n")))
    }

    #[track_caller]
    fn told(&self, args: &str) -> String {
        let words: Vec<&str> = args.split(' ').collect();
        self.shown(&format!("culvert {args}"), &self.relay.tell(&words))
    }

    /// The code and the extended error that a client gets.
    #[track_caller]
    fn asked(&self, name: &str) -> String {
        let printed = dig(self.relay.address, &[name]).text;
        let kept = |line: &&str| line.contains("status") || line.contains("EDE");
        let lines: Vec<&str> = printed.lines().filter(kept).collect();
        let command = format!("dig @192.0.2.1 {name} | grep -E 'status|EDE'");
        self.shown(&command, &lines.join("\n"))
    }
}

#[track_caller]
fn until_serial(relay: &Relay, serial: u32) {
    eventually("the version is in force", secs(30), || relay.zone(ZONE)["serial"] == serial);
}

#[track_caller]
fn hold(parts: &[(&str, String)]) {
    let parts: Vec<_> =
        parts.iter().map(|(name, text)| (format!("primary:{name}"), text.clone())).collect();
    document::hold(DOCUMENT, &parts);
}

#[test]
fn policy_from_a_primary_in_five_minutes() {
    let mut primary = None;
    let stage = Stage::with(|conf| {
        let started = Primary::start(conf.address);
        let folder = started.folder.path().display().to_string();
        let sections = RELAY.replace("/etc/culvert", &folder);
        let sections = sections.replace("192.0.2.53", &started.address.to_string());
        primary = Some(started);
        conf.with(&sections)
    });
    let primary = primary.expect("it was started");
    stage.backend.add(&[Record::a("worse.example", 300, "198.51.100.7")]);
    let page = Page { relay: &stage.relay, primary: primary.address };
    until_serial(page.relay, 1);
    let mut parts = vec![
        ("named", block("", NAMED)),
        ("rules", block("", RULES)),
        ("relay", block("toml", RELAY)),
        ("check", page.told("check")),
        ("zones", page.told("zones")),
        ("dig", page.asked("www.bad.example")),
        ("changed", block("", CHANGED)),
    ];
    let printed = primary.change();
    parts.push(("reload", page.shown(&format!("rndc reload {ZONE}"), &printed)));
    until_serial(page.relay, 2);
    assert_eq!(page.relay.zone(ZONE)["supply"]["incremental"], 1);
    parts.push(("show", page.told(&format!("zone show {ZONE}"))));
    parts.push(("explain", page.told("explain worse.example")));
    hold(&parts);
}

/// A primary of many rules loses most of them.
#[test]
fn a_version_that_is_held() {
    let rules = |count: u32| -> Vec<Record> {
        let name = |n| format!("bad{n}.example.{ZONE}");
        (0..count).map(|n| Record::cname(&name(n), 300, ".")).collect()
    };
    let primary = Scripted::start(ZONE);
    primary.version(2026112201, &rules(12_000));
    let stage = Stage::with(|conf| {
        let address = primary.address;
        conf.with(&format!("[[policy]]\nzone = \"{ZONE}\"\nprimaries = [\"{address}\"]\n"))
    });
    let page = Page { relay: &stage.relay, primary: primary.address };
    until_serial(page.relay, 2026112201);
    primary.version(2026112202, &rules(4_000));
    page.relay.tell(&["zone", "refresh", ZONE]);
    eventually("it is held", secs(30), || page.relay.zone(ZONE)["state"] == "held");
    let held = page.told("zones");
    // which of the rules are shown is chance
    let diff = page.told(&format!("zone diff {ZONE}"));
    let (rules, lines): (Vec<&str>, Vec<&str>) =
        diff.lines().partition(|line| line.starts_with("  bad"));
    assert_eq!(rules.len(), 20, "{diff}");
    let diff = lines.join("\n").replace("  and ", "  bad4032.example NXDOMAIN\n  ...\n  and ");
    let accept = page.told(&format!("zone accept {ZONE}"));
    let parts = [("held", held), ("diff", diff), ("accept", accept)];
    until_serial(page.relay, 2026112202);
    hold(&parts);
}

/// The secret of a key is not the same on both sides, at a first start.
#[test]
fn a_key_that_is_wrong() {
    let primary = Scripted::start(ZONE);
    primary.version(1, &[Record::cname(&format!("bad.example.{ZONE}"), 300, ".")]);
    primary.script(|script| script.key = Some(Key::new("relay.key", Hash::Sha256)));
    let stage = Stage::with(|conf| {
        let address = primary.address;
        let other = Key::new("another.key", Hash::Sha256);
        conf.with(&format!(
            "[[policy]]\nzone = \"{ZONE}\"\nprimaries = [\"{address}\"]\ntsig = \"relay.key\"\n\
             [[tsig]]\nname = \"relay.key\"\nsecret = \"{}\"\n",
            other.base64()
        ))
    });
    let page = Page { relay: &stage.relay, primary: primary.address };
    eventually("the fault is told", secs(20), || page.relay.tell(&["zones"]).contains("BADSIG"));
    hold(&[("key", page.told("zones"))]);
}

#[test]
fn a_list_from_the_web() {
    let conf = Conf::new().plain("service", &[free_port(LOCAL)]).with(LIST);
    conf.save();
    let mut check = Command::new(PROGRAM);
    let output = run(check.args(["check", "--config"]).arg(conf.file()), secs(20));
    assert!(output.status.success(), "{output:?}");
    hold(&[("list", block("toml", LIST))]);
}

/// A zone that watches, and then acts.
#[test]
fn from_monitor_to_enforce() {
    let primary = Scripted::start(ZONE);
    primary.version(1, &[Record::cname(&format!("bad.example.{ZONE}"), 300, ".")]);
    let stage = Stage::with(|conf| {
        let address = primary.address;
        conf.with(&format!(
            "[[policy]]\nzone = \"{ZONE}\"\nprimaries = [\"{address}\"]\nmode = \"monitor\"\n"
        ))
    });
    let page = Page { relay: &stage.relay, primary: primary.address };
    until_serial(page.relay, 1);
    page.relay.ask("bad.example", A);
    page.relay.ask("good.example", A);
    let report = ["zone", "report", ZONE];
    eventually("the query is counted", secs(20), || {
        let text = page.relay.tell(&[&report[..], &["--json"]].concat());
        let told: Value = serde_json::from_str(&text).expect("JSON");
        told["queries"] == 1
    });
    let parts = [
        ("report", page.told(&report.join(" "))),
        ("promote", page.told(&format!("zone promote {ZONE}"))),
    ];
    assert_eq!(page.relay.ask("bad.example", A).rcode(), "NXDOMAIN");
    hold(&parts);
}

fn block(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```", text.trim_end())
}

/// Times, ages, ids and users that differ from run to run are made the same.
fn settled(line: &str) -> String {
    let front = |length: usize, back: &str| format!("{}{back}", &line[..length]);
    let words: Vec<&str> = line.split_whitespace().collect();
    let line = match words[..] {
        [ZONE, _, "waiting", ..] => front(line.len() - 7, "    2 s"),
        [ZONE, "enforce" | "monitor", ..] => front(line.len() - 15, "    2 s  56 min"),
        ["age", ..] => front(16, "2 s"),
        ["last", "try" | "contact", ..] | ["saved", ..] => {
            front(16, "2026-11-22 09:30:00Z, 2 s ago")
        }
        ["next", "try", ..] => front(16, "2026-11-22 10:26:00Z, in 56 min"),
        ["expires", ..] => front(16, "2026-11-29 09:30:00Z, in 6 d"),
        // primaries tell of the version that they start with too, if the relay is there by then
        ["heard", _] => front(line.len() - 1, "1"),
        [";;", "->>HEADER<<-", ..] => front(line.find("id: ").expect("an id"), "id: 8133"),
        _ => line.to_owned(),
    };
    same_times(&by_root(&line))
}

/// Who gave an order, as it is printed if that was root.
fn by_root(line: &str) -> String {
    for did in ["accepted by ", "promoted by "] {
        if let Some((front, back)) = line.split_once(did)
            && let Some((_, back)) = back.split_once(';')
        {
            return format!("{front}{did}root;{back}");
        }
    }
    line.to_owned()
}

/// All times of one form are the same time.
fn same_times(line: &str) -> String {
    const TIMES: [&str; 2] = ["2026-11-22 09:30:00Z", "2026-11-22T09:30:00.000Z"];
    let form = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
    };
    let mut out = line.to_owned();
    for time in TIMES {
        // all other text in these lines is ASCII, and a time is as long as another
        let at: Vec<usize> = form(line).match_indices(&form(time)).map(|(at, _)| at).collect();
        for at in at {
            // the end of what the rules are good for is another day
            if !line.contains("next try") && !line.contains("expires") {
                out.replace_range(at..at + time.len(), time);
            }
        }
    }
    out
}
