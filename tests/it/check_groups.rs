//! What a configuration with groups says but probably does not mean is told, and runs all the
//! same.

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::process::run;
use crate::harness::relay::PROGRAM;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::A;
use crate::harness::{eventually, secs};
use std::process::{Command, Output};

const LEFT_OUT: &str = "group guests leaves out allow.local, a zone from a file of this host; add \
                        it to policies if its rules should hold for these clients";
const GUESTS: &str = "[[group]]\nname = \"guests\"\nclients = [\"127.0.0.9\"]\n";

fn zones(conf: Conf) -> Conf {
    conf.policy("allow.local", "good.example.com CNAME rpz-passthru.")
        .policy("block.local", "bad.example.com CNAME .")
}

/// Saves the configuration and checks it: what went to each of the two outputs.
#[track_caller]
fn check(conf: &Conf, more: &[&str]) -> (String, String) {
    conf.save();
    let mut command = Command::new(PROGRAM);
    command.args(["check", "--config"]).arg(conf.file()).args(more);
    let Output { status, stdout, stderr } = run(&mut command, secs(15));
    let [out, err] = [stdout, stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(status.success(), "{status}\n{out}{err}");
    (out, err)
}

/// The text in one line with single blanks, as before it was wrapped.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Number of the first line of the configuration that begins so.
fn line_of(conf: &Conf, begin: &str) -> usize {
    let text = conf.text();
    let found = text.lines().position(|line| line.starts_with(begin));
    1 + found.expect("the configuration has the line")
}

#[test]
fn check_warns_of_an_own_zone_that_a_group_leaves_out() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = zones(Conf::before(&tls, &[&backend]))
        .with(&format!("{GUESTS}policies = [\"block.local\"]"));
    let (file, line) = (conf.file(), line_of(&conf, "policies ="));

    let (out, err) = check(&conf, &[]);
    assert!(out.contains("good; 1 upstream, 2 policy zones, 1 warning\n"), "{out}");
    let place = format!("{}:{line}:12: group[].policies:", file.display());
    assert!(unwrapped(&out).ends_with(&format!("warning: {place} {LEFT_OUT}")), "{out}");
    let long = |line: &&str| line.chars().count() > 80 && !line.contains("culvert.toml");
    assert_eq!(out.lines().find(long), None);
    assert_eq!(err, "");

    let (out, _) = check(&conf, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).expect("one JSON object");
    let expected = serde_json::json!([{
        "file": file, "line": line, "column": 12, "key": "group[].policies", "message": LEFT_OUT,
    }]);
    assert_eq!(json["warnings"], expected, "{json:#}");
    assert_eq!(json["zones"].as_array().map(Vec::len), Some(2), "{json:#}");
}

#[test]
fn check_warns_of_groups_without_filter_and_without_clients() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = zones(Conf::before(&tls, &[&backend]))
        .with(&format!("{GUESTS}policies = []"))
        .with("[[group]]\nname = \"far\"\nclients = [\"192.0.2.0/24\"]");
    let out = unwrapped(&check(&conf, &[]).0);
    assert!(out.contains("2 warnings"), "{out}");
    assert!(out.contains("clients of group guests are not filtered"), "{out}");
    assert!(out.contains("group far is never served"), "{out}");
}

#[test]
fn check_is_silent_where_all_is_meant() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = zones(Conf::before(&tls, &[&backend]))
        .with(&format!("{GUESTS}policies = [\"block.local\", \"allow.local\"]"));
    assert!(!check(&conf, &[]).0.contains("warning"));
    let json: serde_json::Value =
        serde_json::from_str(&check(&conf, &["--json"]).0).expect("one JSON object");
    assert_eq!(json["warnings"], serde_json::json!([]));
}

#[test]
fn start_and_reload_log_the_warnings_and_serve() {
    let group = format!("{GUESTS}policies = [\"block.local\"]");
    let mut stage = Stage::with(|conf| zones(conf).with(&group));
    let times = |stage: &Stage| stage.relay.stderr().matches(LEFT_OUT).count();
    eventually("the start logs the warning", secs(5), || times(&stage) == 1);
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");

    let said = stage.relay.tell(&["reload"]);
    assert!(said.contains("1 warning, told by culvert check"), "{said}");
    eventually("the reload logs it too", secs(5), || times(&stage) == 2);

    let all = group.replace("\"block.local\"", "\"block.local\", \"allow.local\"");
    stage.relay.conf.sections = stage.relay.conf.sections.replace(&group, &all);
    stage.relay.conf.save();
    let said = stage.relay.tell(&["reload"]);
    assert!(!said.contains("warning"), "{said}");
    assert_eq!(times(&stage), 2);
}
