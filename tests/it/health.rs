//! `culvert healthcheck`: what makes a relay unfit to serve, and what does not.

use crate::harness::conf::Conf;
use crate::harness::feed::last_heard;
use crate::harness::plain::{Manner, Plain};
use crate::harness::process::{LOCAL, free_port, run};
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::wire::{A, Query};
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::process::{Command, Output};
use std::time::Instant;

const CANARY: &str = "[canary]\nresolves = [\"www.example.com\"]\nblocked = [\"bad.example.com\"]";
const RULES: &str = "bad.example.com CNAME .";

/// A relay with both kinds of canary, before one plain server.
fn conf(server: &Plain) -> Conf {
    Conf::new().plain("corp", &[server.address]).policy("block.local", RULES).with(CANARY)
}

struct Seen {
    code: Option<i32>,
    checks: Vec<Value>,
}

impl Seen {
    fn of(output: Output) -> Seen {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let report: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text} {output:?}"));
        let checks = report["checks"].as_array().expect("a list").clone();
        let code = output.status.code();
        assert_eq!(report["healthy"] == true, code == Some(0), "{report:#}");
        Seen { code, checks }
    }

    /// The checks that failed, with their reasons.
    fn failed(&self) -> Vec<String> {
        let failed = self.checks.iter().filter(|check| check["ok"] != true);
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        failed.map(|check| format!("{}: {}", text(&check["check"]), text(&check["told"]))).collect()
    }

    /// Asserts that it is unhealthy for this one reason.
    #[track_caller]
    fn assert_failed(&self, check: &str, reason: &str) {
        let failed = self.failed();
        let right = failed.len() == 1 && failed[0].starts_with(check);
        assert!(right && failed[0].contains(reason), "{check} {reason}: {failed:#?}");
        assert_eq!(self.code, Some(1));
    }
}

fn look(relay: &Relay, args: &[&str]) -> Seen {
    Seen::of(relay.command(&[&["healthcheck", "--json"], args].concat()))
}

#[test]
fn a_relay_that_serves_is_healthy_and_says_so_briefly() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    let seen = look(&relay, &[]);
    assert_eq!((seen.code, seen.failed()), (Some(0), vec![]));
    assert_eq!(seen.checks.len(), 6, "{:#?}", seen.checks);
    let text = relay.tell(&["healthcheck"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), *lines.last().unwrap()), (7, "healthy"), "{text}");
    assert!(lines[..6].iter().all(|line| line.starts_with("ok   ")), "{text}");
    assert!(text.contains("\nok   blocks bad.example.com: NXDOMAIN by block.local\n"), "{text}");
    assert!(text.contains("\nok   upstream corp: 1 of 1 backend up\n"), "{text}");
    assert!(text.contains("\nok   policy zones: 1 zone in force\n"), "{text}");
    assert_eq!(relay.tell(&["healthcheck", "--quiet"]), "");
    let address = relay.address.to_string();
    assert_eq!(look(&relay, &["--address", &address]).code, Some(0));
}

#[test]
fn a_dead_upstream_is_noticed_at_once_though_the_cache_still_answers() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    assert_eq!(look(&relay, &[]).code, Some(0));
    server.set(Manner::Silent);
    // nobody else asks: the relay itself has no reason yet to think badly of its server
    let begun = Instant::now();
    let seen = look(&relay, &[]);
    assert!(begun.elapsed() < secs(4), "{:?}", begun.elapsed());
    let failed = seen.failed();
    assert!(failed.iter().any(|f| f.starts_with("resolves www.example.com")), "{failed:#?}");
    server.set(Manner::Right);
    eventually("it is healthy again", secs(30), || look(&relay, &[]).code == Some(0));
}

#[test]
fn without_names_that_must_resolve_the_state_of_the_upstream_counts() {
    let server = Plain::start(Manner::Right);
    let relay = Conf::new().plain("corp", &[server.address]).start();
    assert_eq!(look(&relay, &[]).code, Some(0));
    server.set(Manner::Silent);
    let mut asked = 0;
    eventually("the relay knows that its server is gone", secs(30), || {
        asked += 1;
        relay.client().send(&Query::new(&format!("n{asked}.example.com"), A).bytes());
        relay.backend(server.address)["state"] != "up"
    });
    look(&relay, &[]).assert_failed("upstream corp", "none of 1 backend is up");
}

#[test]
fn a_name_that_does_not_resolve_is_unhealthy() {
    let server = Plain::start(Manner::Right);
    server.world(|world| world.remove("www.example.com"));
    let relay = conf(&server).start();
    look(&relay, &[]).assert_failed("resolves www.example.com", "NXDOMAIN, though it must resolve");
    let output = relay.command(&["healthcheck", "--quiet"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert_eq!(output.stderr.len(), 0, "{output:?}");
}

#[test]
fn a_name_that_is_not_blocked_is_unhealthy_unless_an_operator_wants_it_so() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    relay.tell(&["allow", "bad.example.com", "--reason", "a mistake"]);
    look(&relay, &[]).assert_failed("blocks bad.example.com", "is not blocked");
    relay.tell(&["policy", "suspend", "--for", "1m", "--reason", "looking for a fault"]);
    let seen = look(&relay, &[]);
    assert_eq!((seen.code, seen.failed()), (Some(0), vec![]));
    let told = format!("{:?}", seen.checks);
    assert!(told.contains("not looked at: policy is suspended until"), "{told}");

    let watching = conf(&server).response_policy("mode = \"monitor\"").start();
    let seen = look(&watching, &[]);
    assert_eq!((seen.code, seen.failed()), (Some(0), vec![]));
    assert!(format!("{:?}", seen.checks).contains("only watches"), "{:?}", seen.checks);
}

#[test]
fn zones_that_never_came_or_are_too_old_are_unhealthy() {
    let server = Plain::start(Manner::Right);
    let nobody = free_port(LOCAL).to_string();
    let feed = |lines: &str| {
        format!("[[policy]]\nzone = \"feed.local\"\nprimaries = [\"{nobody}\"]\n{lines}")
    };
    let relay = conf(&server).with(&feed("")).start();
    let seen = look(&relay, &[]);
    assert!(seen.failed().iter().any(|f| f.starts_with("zone feed.local: was never loaded")));
    // one that only watches keeps nobody from serving
    let relay = conf(&server).with(&feed("mode = \"monitor\"")).start();
    let seen = look(&relay, &[]);
    assert_eq!((seen.code, seen.failed()), (Some(0), vec![]));
}

#[test]
fn the_age_that_is_allowed_can_be_set() {
    use crate::harness::feed::blocks;
    use crate::harness::primary::Primary;
    let server = Plain::start(Manner::Right);
    let primary = Primary::start("feed.local");
    primary.version(1, &blocks("feed.local", &["worse.example.com"]));
    let conf = conf(&server).transferred("feed.local", primary.address, "alarm_after = 0");
    let relay = conf.start();
    relay.until_blocks("worse.example.com");
    assert_eq!(look(&relay, &["--max-age", "1h"]).code, Some(0));
    relay.until_saved("feed.local");
    let conf = relay.stopped();
    drop(primary);
    last_heard(&conf.copy_of("feed.local"), secs(2 * 3600));
    let relay = conf.start();
    assert_eq!(look(&relay, &["--max-age", "3h"]).code, Some(0));
    look(&relay, &["--max-age", "1h"]).assert_failed("zone feed.local", "--max-age is 60 min");
}

#[test]
fn a_strict_access_list_is_named() {
    let server = Plain::start(Manner::Right);
    let mut conf = conf(&server);
    conf.allow = vec!["192.0.2.0/24".into()];
    let relay = conf.start();
    let failed = look(&relay, &[]).failed();
    let reason = "answers over UDP: 127.0.0.1 is not in server.allow";
    assert!(failed.iter().any(|f| f.starts_with(reason)), "{failed:#?}");
}

#[test]
fn without_the_control_socket_answers_still_count_and_zones_fail() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    let elsewhere = relay.conf.folder().join("none.sock");
    let seen = look(&relay, &["--control", &elsewhere.display().to_string()]);
    seen.assert_failed("policy zones", "no relay answers here");
    assert_eq!(seen.checks.len(), 5, "{:#?}", seen.checks);
}

#[test]
fn a_file_that_broke_since_the_start_does_not_make_the_relay_unhealthy() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    let control = relay.conf.folder().join("control.sock").display().to_string();
    std::fs::write(relay.conf.file(), "[server\n").expect("a file is written");
    assert_eq!(look(&relay, &["--control", &control]).code, Some(0));
}

#[test]
fn a_dead_or_frozen_relay_is_unhealthy_in_time() {
    let server = Plain::start(Manner::Right);
    let mut relay = conf(&server).start();
    relay.process.signal("STOP");
    let begun = Instant::now();
    let seen = look(&relay, &["--timeout", "1s"]);
    assert!(begun.elapsed() < secs(3), "{:?}", begun.elapsed());
    assert_eq!(seen.code, Some(1));
    assert!(seen.failed().iter().any(|f| f.contains("no reply on the control socket")));
    relay.process.signal("KILL");
    relay.process.signal("CONT");
    relay.process.wait(secs(5));
    let seen = look(&relay, &["--timeout", "500ms"]);
    assert_eq!((seen.code, seen.failed().len()), (Some(1), seen.checks.len()));
}

#[test]
fn wrong_use_is_told_from_bad_health() {
    for args in [&["--timeout", "0s"][..], &["--address", "localhost"], &["--quiet", "--json"]] {
        let mut command = Command::new(PROGRAM);
        command.arg("healthcheck").args(args);
        let output = run(&mut command, secs(20));
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
}
