//! `culvert zones` and `culvert zone`: what the operator sees of policy zones, and does to them.

use crate::harness::conf::Conf;
use crate::harness::process::run;
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::stage::Stage;
use crate::harness::wire::A;
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::process::Command;

const RULES: &str = "bad.example.com CNAME .\n*.bad.example.com CNAME .\n\
                     32.1.2.0.192.rpz-ip CNAME *.\nlocal.example.com A 192.0.2.77\n\
                     local.example.com TXT \"a \\\"text\\\" of; its own\"";

fn zones(conf: Conf) -> Conf {
    conf.policy("block.local", RULES).policy_with(
        "watch.local",
        "seen.example.com CNAME .\nfree.example.com CNAME rpz-passthru.",
        "mode = \"monitor\"",
    )
}

/// A command with `--json`, which has to succeed.
#[track_caller]
fn json(relay: &Relay, args: &[&str]) -> Value {
    let text = relay.tell(&[args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("JSON ({e}): {text}"))
}

/// What a command that has to fail says.
#[track_caller]
fn refusal(relay: &Relay, args: &[&str]) -> String {
    let output = relay.command(args);
    assert!(!output.status.success(), "{args:?} is refused: {output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn zones_are_listed_and_shown() {
    let stage = Stage::with(zones);
    let text = stage.relay.tell(&["zones"]);
    let lines: Vec<&str> = text.lines().collect();
    let fields = |line: usize| lines[line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(fields(0), ["ZONE", "MODE", "STATE", "SERIAL", "RULES", "AGE", "NEXT"]);
    assert_eq!(fields(1)[..5], ["block.local", "enforce", "current", "1", "4"], "{text}");
    assert_eq!(fields(3)[..5], ["watch.local", "monitor", "current", "1", "2"], "{text}");
    assert_eq!(lines.len(), 5, "{text}");
    let all = json(&stage.relay, &["zones"]);
    assert_eq!(all["zones"], stage.relay.status()["zones"]);
    assert_eq!(
        (&all["zones"][0]["kind"], &all["zones"][0]["supply"]),
        (&"file".into(), &Value::Null)
    );

    let text = stage.relay.tell(&["zone", "show", "BLOCK.local."]);
    assert!(text.starts_with("block.local\n  source        /"), "{text}");
    assert!(text.contains("\n  rules         4: QNAME 3, IP 1\n"), "{text}");
    let one = json(&stage.relay, &["zone", "show", "block.local"]);
    assert_eq!(one["zone"], all["zones"][0]);
}

#[test]
fn a_zone_that_is_not_there_is_not_taken_for_another() {
    let stage = Stage::with(zones);
    let why = "no policy zone is blok.local; did you mean \"block.local\"?\n";
    for command in
        ["show", "refresh", "retransfer", "reload", "diff", "accept", "promote", "report"]
    {
        assert_eq!(refusal(&stage.relay, &["zone", command, "blok.local"]), why, "{command}");
    }
    assert_eq!(refusal(&stage.relay, &["zone", "dump", "blok.local"]), why);
    let other = refusal(&stage.relay, &["zone", "show", "feed.vendor.example"]);
    assert!(other.ends_with("there are: block.local, watch.local\n"), "{other}");
    let none = refusal(&stage.relay, &["zone", "show", "a..b"]);
    assert!(none.starts_with("a..b: "), "{none}");
    let reply = stage.relay.command(&["zone", "show", "blok.local", "--json"]);
    let reply: Value = serde_json::from_slice(&reply.stdout).expect("JSON");
    assert_eq!(reply["error"], why.trim_end());
}

#[test]
fn a_file_is_read_again_when_it_is_asked_for() {
    let stage = Stage::with(zones);
    let file = stage.relay.conf.zone_file("block.local");
    let before = std::fs::metadata(&file).and_then(|meta| meta.modified()).expect("a time");
    let said = stage.relay.tell(&["zone", "refresh", "block.local"]);
    assert_eq!(said, "zone block.local: serial 1, its file has not changed\n");
    // a change that the file's own data do not show
    let text = std::fs::read_to_string(&file).expect("the zone");
    std::fs::write(&file, text.replace(" 1 3600", " 2 3600").replace("bad.", "bat.")).expect("new");
    let open = std::fs::File::options().write(true).open(&file).expect("the zone");
    open.set_modified(before).expect("an old time");
    drop(open);
    let generation = stage.relay.count("/generation");
    let said = stage.relay.tell(&["zone", "reload", "block.local"]);
    assert!(said.starts_with("zone block.local: serial 2, 4 rules, in generation "), "{said}");
    assert_eq!(stage.relay.ask("bat.example.com", A).rcode(), "NXDOMAIN");
    assert!(stage.relay.count("/generation") > generation);
    let log = stage.relay.stderr_with("its file is read again, as");
    assert!(log.contains("policy zone block.local: its file is read again, as root"), "{log}");

    std::fs::write(&file, "no zone ( \n").expect("a bad one");
    let said = refusal(&stage.relay, &["zone", "reload", "block.local"]);
    assert!(said.starts_with("zone block.local keeps its old rules: /"), "{said}");
    assert_eq!(stage.relay.ask("bat.example.com", A).rcode(), "NXDOMAIN");
    let told = stage.relay.tell(&["zones"]);
    assert!(told.contains("kept") && told.contains("A NEWER VERSION IS NOT IN FORCE"), "{told}");
}

#[test]
fn a_dump_is_the_zone_in_force() {
    let stage = Stage::with(zones);
    let text = stage.relay.tell(&["zone", "dump", "block.local"]);
    assert!(
        !text.contains("; end of the zone's text"),
        "the last line is none of the zone: {text}"
    );
    let file = stage.relay.conf.folder().join("dump.rpz");
    let name = file.display().to_string();
    std::fs::write(&file, "an older one").expect("written");
    assert_eq!(stage.relay.tell(&["zone", "dump", "block.local", &name]), "");
    assert_eq!(std::fs::read_to_string(&file).expect("the dump"), text);
    let mut check = Command::new(PROGRAM);
    check.args(["check-zone", &name, "--zone", "block.local", "--json"]);
    let output = run(&mut check, secs(20));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&found["serial"], &found["rules"]), (&1.into(), &4.into()), "{found:#}\n{text}");
    assert!(output.status.success(), "{output:?}");

    // nothing is left of a dump that cannot be written
    let said = refusal(&stage.relay, &["zone", "dump", "blok.local", &name]);
    assert!(said.starts_with("no policy zone is blok.local"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).expect("the dump"), text);
    let folder = stage.relay.conf.folder();
    let left = std::fs::read_dir(folder).expect("a folder").flatten();
    let left: Vec<_> =
        left.map(|e| e.file_name()).filter(|n| n.display().to_string().contains(".new")).collect();
    assert!(left.is_empty(), "{left:?}");
    let said =
        refusal(&stage.relay, &["zone", "dump", "block.local", &folder.display().to_string()]);
    assert!(said.contains("is no regular file"), "{said}");
    let said = refusal(&stage.relay, &["zone", "dump", "block.local", "/proc/none/dump"]);
    assert!(said.starts_with("/proc/none/dump."), "{said}");
}

#[test]
fn a_long_dump_holds_nobody_up() {
    let rules: String = (0..60_000).map(|n| format!("d{n}.example.com CNAME .\n")).collect();
    let stage = Stage::with(|conf| conf.policy("block.local", &rules));
    // a reader that takes its time
    let control = stage.relay.conf.folder().join("control.sock");
    let mut slow = std::os::unix::net::UnixStream::connect(control).expect("the control socket");
    slow.set_read_timeout(Some(secs(20))).expect("a time-out");
    use std::io::{Read, Write};
    slow.write_all(b"{\"command\":\"zone-dump\",\"zone\":\"block.local\"}\n").expect("sent");
    let mut head = [0; 28];
    slow.read_exact(&mut head).expect("the first line");
    assert_eq!(stage.relay.ask("d1.example.com", A).rcode(), "NXDOMAIN");
    let whole = stage.relay.tell(&["zone", "dump", "block.local"]);
    assert!(whole.matches(" CNAME .\n").count() >= 60_000, "{} octets", whole.len());
    let mut rest = String::new();
    slow.read_to_string(&mut rest).expect("the rest");
    let end = format!("; end of the zone's text: {} octets\n", whole.len());
    assert!(rest.ends_with(&end), "{}", rest.lines().last().unwrap_or_default());
}

#[test]
fn a_zone_that_only_watches_has_a_report() {
    let stage = Stage::with(zones);
    for name in ["seen.example.com", "seen.example.com", "free.example.com", "bad.example.com"] {
        stage.relay.ask(name, A);
    }
    let report = || json(&stage.relay, &["zone", "report", "watch.local"]);
    eventually("both queries are counted", secs(5), || report()["queries"] == 2);
    let counted = report();
    assert_eq!(counted["names"][0]["what"], "seen.example.com", "{counted:#}");
    let text = stage.relay.tell(&["zone", "report", "watch.local"]);
    assert!(text.contains("it would have acted on 2\n  queries."), "{text}");
    assert!(text.ends_with("To let it act: culvert zone promote watch.local\n"), "{text}");
    let said = refusal(&stage.relay, &["zone", "report", "block.local"]);
    assert!(said.contains("mode = \"monitor\""), "{said}");
}

#[test]
fn a_file_is_not_held_and_not_transferred() {
    let stage = Stage::with(zones);
    for command in ["diff", "accept"] {
        let said = refusal(&stage.relay, &["zone", command, "block.local"]);
        assert_eq!(said, "zone block.local comes from a file: no version of it is ever held\n");
    }
    let said = refusal(&stage.relay, &["zone", "retransfer", "block.local"]);
    assert!(said.ends_with("to read the file again: culvert zone reload block.local\n"), "{said}");
    let metrics = stage.relay.http("/metrics").1;
    assert!(metrics.contains("culvert_zone_alarms{zone=\"block.local\"} 0"), "{metrics}");
    assert!(!metrics.contains("culvert_zone_held{"), "only zones from elsewhere: {metrics}");
}
