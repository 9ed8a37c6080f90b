//! Names let through or blocked by hand, and policy that is suspended.

use crate::harness::client::Udp;
use crate::harness::process::{loopback, run};
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, Message, Query, Record, name_bytes};
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::process::Command;

const BAD: &str = "bad.example.com";
const RULES: &str = "bad.example.com CNAME .\n*.bad.example.com CNAME .";

fn stage() -> Stage {
    Stage::with(|conf| conf.policy("block.local", RULES))
}

#[track_caller]
fn assert_blocked(reply: &Message) {
    assert_eq!((reply.rcode(), reply.answers.len()), ("NXDOMAIN", 0), "{reply:?}");
    assert_eq!(reply.extended_errors(), [15], "{reply:?}");
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
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The relay is ended and started again, on the same folders.
#[track_caller]
fn restarted(stage: Stage, between: impl FnOnce(&std::path::Path)) -> Stage {
    let Stage { relay, backend, tls } = stage;
    let Relay { mut process, conf, .. } = relay;
    process.signal("TERM");
    assert_eq!(process.wait(secs(8)).code(), Some(0));
    std::fs::remove_file(conf.folder().join("notify.sock")).expect("the old socket goes");
    between(&conf.folder().join("state"));
    Stage { relay: conf.start(), backend, tls }
}

#[test]
fn an_exception_waits_for_no_truth() {
    let stage =
        Stage::with(|conf| conf.policy("block.local", RULES).response_policy("wait = true"));
    assert_blocked(&stage.relay.ask(BAD, A));
    assert_eq!(stage.backend.asked(BAD), 1, "with wait the truth comes before a rule");
    stage.relay.tell(&["block", "other.example.com", "--reason", "r"]);
    assert_blocked(&stage.relay.ask("other.example.com", A));
    assert_eq!(stage.backend.asked("other.example.com"), 0);
}

#[test]
fn allow_is_the_truth_from_the_next_answer_on_until_its_end() {
    let stage = stage();
    assert_blocked(&stage.relay.ask(BAD, A));
    let reply = stage.relay.tell(&["allow", BAD, "--for", "30m", "--reason", "ticket 7"]);
    assert_right(&stage.relay.ask(BAD, A), BAD);
    assert_right(&stage.relay.ask("www.bad.example.com", A), "www.bad.example.com");
    let words = reply.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["Exception 1: bad.example.com and everything below it", "for everybody, until 2"] {
        assert!(words.contains(part), "{part}: {reply}");
    }
    assert!(reply.ends_with("To take it back: culvert exceptions remove 1\n"), "{reply}");

    // the same scope again replaces it, whatever it did; the name itself only is another one
    let exact = ["allow", BAD, "--exact", "--reason", "only this"];
    assert!(json(&stage.relay, &exact)["gone"].as_array().is_some_and(Vec::is_empty));
    let number = stage.relay.count("/generation");
    let short = ["allow", BAD, "--for", "1200ms", "--reason", "for a moment"];
    let changed = json(&stage.relay, &short);
    assert_eq!((&changed["gone"][0]["id"], &changed["exception"]["id"]), (&1.into(), &3.into()));
    assert_eq!(changed["saved"], true);
    stage.relay.tell(&["exceptions", "remove", "2"]);
    eventually("the exception ends by itself", secs(5), || {
        stage.relay.ask(BAD, A).rcode() == "NXDOMAIN"
    });
    assert_eq!(stage.relay.count("/generation"), number + 3, "made, removed, ended");
    assert_eq!(json(&stage.relay, &["exceptions"])["exceptions"], Value::Array(Vec::new()));
    assert_eq!(stage.backend.asked(BAD), 1, "the truth was cached");
    let log = stage.relay.stderr_with("ended by its time");
    let ended = "ended by its time: exception 3, allow bad.example.com and below for everybody";
    for part in ["exception 1, allow", "replaced by exception 3: exception 1", ended, "ticket 7"] {
        assert!(log.contains(part), "{part}: {log}");
    }
}

#[test]
fn block_bites_a_cached_name_at_once_and_its_end_gives_it_back() {
    let stage = stage();
    let (parent, name) = ("shop.example.net", "www.shop.example.net");
    assert_right(&stage.relay.ask(name, A), name);
    assert_right(&stage.relay.ask(parent, A), parent);
    stage.relay.tell(&["block", parent, "--exact", "--reason", "abuse"]);
    assert_blocked(&stage.relay.ask(parent, A));
    assert_right(&stage.relay.ask(name, A), name);
    stage.relay.tell(&["block", parent, "--reason", "abuse"]);
    assert_blocked(&stage.relay.ask(name, A));
    stage.relay.tell(&["exceptions", "remove", "1", "2"]);
    assert_right(&stage.relay.ask(name, A), name);
    assert_eq!(stage.backend.asked(name), 1, "from the cache");
}

#[test]
fn every_match_names_the_owner_and_the_reason() {
    let stage = stage();
    stage.relay.tell(&["allow", BAD, "--reason", "ticket 7"]);
    stage.relay.tell(&["block", "good.example.com", "--reason", "abuse"]);
    let owner = json(&stage.relay, &["exceptions"])["exceptions"][0]["owner"].clone();
    for _fresh_or_cached in 0..2 {
        assert_right(&stage.relay.ask("www.bad.example.com", A), "www.bad.example.com");
        assert_blocked(&stage.relay.ask("good.example.com", A));
    }
    for (hit, n) in stage.relay.hits(4).iter().zip(0..) {
        let (rule, action, reason) = match n % 2 {
            0 => ("*.bad.example.com.exceptions.culvert", "PASSTHRU", "ticket 7"),
            _ => ("good.example.com.exceptions.culvert", "NXDOMAIN", "abuse"),
        };
        assert_eq!((&hit["rule"], &hit["action"]), (&rule.into(), &action.into()), "{hit}");
        assert_eq!((&hit["reason"], &hit["owner"]), (&reason.into(), &owner), "{hit}");
        assert_eq!(hit["mode"], "enforce");
    }
}

#[test]
fn a_scope_of_clients_is_kept_to() {
    let stage = stage();
    let ask = |last: u8, name: &str| {
        Udp::from(loopback(last), stage.relay.address).ask(&Query::new(name, A))
    };
    stage.relay.tell(&["allow", BAD, "--client", "127.0.0.8/30", "--reason", "a laboratory"]);
    stage.relay.tell(&["block", "*", "--client", "127.0.0.99", "--reason", "quarantine"]);
    assert_right(&ask(9, BAD), BAD);
    assert_blocked(&ask(13, BAD));
    assert_right(&ask(13, "www.example.com"), "www.example.com");
    assert_blocked(&ask(99, "www.example.com"));
    stage.relay.tell(&["allow", ".", "--client", "127.0.0.99", "--reason", "a test of zones"]);
    assert_right(&ask(99, BAD), BAD);
}

#[test]
fn exceptions_beat_zones_of_every_trigger() {
    const NS: u16 = 2;
    let names = ["name.example.com", "address.example.com", "www.sold.test-zone.net", "a.b.net"];
    let stage = Stage::with(|conf| {
        conf.policy(
            "block.local",
            "name.example.com CNAME .
             32.66.2.0.192.rpz-ip CNAME .
             ns.evil.example.org.rpz-nsdname CNAME .
             32.77.2.0.192.rpz-nsip CNAME .
             32.7.0.0.127.rpz-client-ip CNAME .",
        )
    });
    stage.backend.add(&[Record::a("address.example.com", 300, "192.0.2.66")]);
    let ns = |zone: &str, server: &str| Record::new(zone, 300, NS, name_bytes(server));
    stage.backend.add(&[ns("sold.test-zone.net", "ns.evil.example.org")]);
    stage.backend.add(&[ns("b.net", "ns.b.net")]);
    stage.backend.add(&[Record::a("ns.b.net", 300, "192.0.2.77")]);
    let seventh = || Udp::from(loopback(7), stage.relay.address);
    for name in names {
        eventually(&format!("{name} is blocked"), secs(5), || {
            stage.relay.ask(name, A).rcode() == "NXDOMAIN"
        });
        stage.relay.tell(&["allow", name, "--reason", "ticket 7"]);
        let reply = stage.relay.ask(name, A);
        assert_eq!((reply.rcode(), reply.answers.len()), ("NOERROR", 1), "{name}: {reply:?}");
        let by_client = seventh().ask(&Query::new(name, A));
        assert_eq!(by_client.rcode(), "NOERROR", "{name}: {by_client:?}");
        stage.relay.tell(&["block", name, "--reason", "back"]);
        assert_blocked(&stage.relay.ask(name, A));
    }
    assert_blocked(&seventh().ask(&Query::new("www.example.com", A)));
}

#[test]
fn exceptions_outlive_a_restart_and_what_is_over_does_not() {
    let stage = stage();
    stage.relay.tell(&["allow", "www.bad.example.com", "--for", "1h", "--reason", "a week"]);
    stage.relay.tell(&["allow", "x.bad.example.com", "--for", "700ms", "--reason", "a moment"]);
    stage.relay.tell(&["policy", "suspend", "--for", "1h", "--reason", "looking"]);
    let both = json(&stage.relay, &["exceptions"])["exceptions"].clone();
    let (before, ends) = (both[0].clone(), both[1]["until"].as_str().expect("a time").to_owned());
    let mut stage = restarted(stage, |_| {
        let now = || culvert::clock::rfc3339(culvert::clock::wall_millis());
        eventually("the short one's time is up", secs(5), || now() > ends);
    });
    assert_right(&stage.relay.ask("www.bad.example.com", A), "www.bad.example.com");
    assert_blocked(&stage.relay.ask("x.bad.example.com", A));
    assert_blocked(&stage.relay.ask(BAD, A));
    let all = json(&stage.relay, &["exceptions"])["exceptions"].clone();
    assert_eq!(all, Value::Array(vec![before]));
    stage.relay.reload();
    assert_right(&stage.relay.ask("www.bad.example.com", A), "www.bad.example.com");
    let changed = json(&stage.relay, &["block", "a.example.com", "--reason", "next"]);
    assert_eq!(changed["exception"]["id"], 3, "numbers are not used again");

    stage = restarted(stage, |state| {
        std::fs::write(state.join("exceptions.json"), "{\"version\":1,\"next\":").expect("damage");
    });
    assert_blocked(&stage.relay.ask("www.bad.example.com", A));
    let log = stage.relay.stderr_with("ERROR");
    let line = log.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
    assert!(
        line.contains("exceptions.json is damaged") && line.contains("make them anew"),
        "{log}"
    );
    let aside = line.split("now ").nth(1).and_then(|rest| rest.split(';').next());
    let kept = std::fs::read_to_string(aside.expect("its new name")).expect("it is kept");
    assert_eq!(kept, "{\"version\":1,\"next\":");
    stage.relay.tell(&["allow", BAD, "--reason", "anew"]);
    let stage = restarted(stage, |_| ());
    assert_right(&stage.relay.ask(BAD, A), BAD);
}

#[test]
fn without_a_place_to_keep_them_exceptions_act_and_say_so() {
    let stage = stage();
    let state = stage.relay.conf.folder().join("state");
    std::fs::remove_dir_all(&state).expect("the folder goes");
    std::fs::write(&state, "in the way").expect("a file takes its place");
    let reply = stage.relay.tell(&["allow", BAD, "--reason", "ticket 7"]);
    assert!(reply.contains("IT WILL NOT OUTLIVE A RESTART"), "{reply}");
    assert!(reply.contains("exceptions.json"), "{reply}");
    assert_right(&stage.relay.ask(BAD, A), BAD);
    stage.relay.stderr_with("will not outlive a restart");
    let changed = json(&stage.relay, &["allow", "b.example.com", "--reason", "x"]);
    assert_eq!(changed["saved"], false);
    std::fs::remove_file(&state).expect("the file goes");
    let changed = json(&stage.relay, &["allow", "c.example.com", "--reason", "x"]);
    assert_eq!(changed["saved"], true, "{changed}");
    let stage = restarted(stage, |_| ());
    assert_right(&stage.relay.ask(BAD, A), BAD);
}

#[test]
fn a_suspension_is_loud_and_ends_by_itself() {
    let stage = stage();
    stage.relay.tell(&["block", "good.example.com", "--reason", "abuse"]);
    let reply = stage.relay.tell(&["policy", "suspend", "--for", "1h", "--reason", "an outage"]);
    assert!(reply.contains("A restart of the relay ends") && reply.contains("policy resume"));
    for name in [BAD, "good.example.com"] {
        assert_right(&stage.relay.ask(name, A), name);
    }
    for hit in stage.relay.hits(2) {
        assert_eq!(hit["mode"], "monitor", "{hit}");
    }
    let status = stage.relay.status();
    assert_eq!(status["suspended"]["reason"], "an outage", "{status:#}");
    assert_eq!(status["exceptions"]["block"], 1);
    assert_eq!(stage.relay.zone("block.local")["mode"], "monitor");
    let text = stage.relay.tell(&["status"]);
    let line = text.lines().nth(2).unwrap_or_default();
    assert!(
        line.starts_with("POLICY IS SUSPENDED until 2") && line.ends_with("an outage"),
        "{text}"
    );
    let metrics = stage.relay.http("/metrics").1;
    for sample in [
        "culvert_policy_suspended 1",
        "culvert_exceptions{verdict=\"allow\"} 0",
        "culvert_exceptions{verdict=\"block\"} 1",
    ] {
        assert!(metrics.contains(sample), "{sample}: {metrics}");
    }
    // a reload does not end it, nor does a new zone file
    stage.relay.reload();
    assert_right(&stage.relay.ask(BAD, A), BAD);
    let told = stage.relay.tell(&["allow", BAD, "--reason", "meanwhile"]);
    assert!(told.contains("Policy is suspended until"), "{told}");
    stage.relay.tell(&["exceptions", "remove", "2"]);

    assert!(stage.relay.tell(&["policy", "resume"]).contains("Policy acts again"));
    assert_blocked(&stage.relay.ask(BAD, A));
    assert_eq!(stage.relay.tell(&["policy", "resume"]), "policy was not suspended\n");

    stage.relay.tell(&["policy", "suspend", "--for", "1h", "--reason", "first"]);
    let second = ["policy", "suspend", "--for", "800ms", "--reason", "second"];
    assert_eq!(json(&stage.relay, &second)["replaced"]["reason"], "first");
    eventually("the second one ends", secs(5), || stage.relay.ask(BAD, A).rcode() == "NXDOMAIN");
    assert!(stage.relay.status()["suspended"].is_null());
    assert!(stage.relay.http("/metrics").1.contains("culvert_policy_suspended 0"));
    let log = stage.relay.stderr_with("its time is up");
    let lines = log.lines().filter(|line| line.contains("WARN") && line.contains("policy"));
    let over: Vec<_> = lines.filter(|line| line.contains("acts again")).collect();
    assert_eq!(over.len(), 2, "{log}");
    assert!(over[0].contains("ended by") && over[1].contains("its time is up"), "{over:?}");
    assert_eq!(log.matches("POLICY IS SUSPENDED until").count(), 3, "{log}");
}

#[test]
fn the_owner_is_who_ran_the_command() {
    let stage = stage();
    let tell = |sudo_user: Option<&str>, name: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["allow", name, "--reason", "r", "--json", "--config"]);
        command.arg(stage.relay.conf.file()).env_remove("SUDO_USER");
        command.envs(sudo_user.map(|user| ("SUDO_USER", user)));
        let text = String::from_utf8(run(&mut command, secs(20)).stdout).expect("UTF-8");
        let reply: Value = serde_json::from_str(&text).expect("JSON");
        reply["exception"]["owner"].as_str().unwrap_or_default().to_owned()
    };
    let id = |what: &str| {
        let output = run(Command::new("id").arg(what), secs(5)).stdout;
        String::from_utf8_lossy(&output).trim().to_owned()
    };
    let me = run(Command::new("id").arg("-un"), secs(5)).stdout;
    let me = String::from_utf8_lossy(&me).trim().to_owned();
    assert_eq!(tell(None, "a.example.com"), me);
    let by_sudo = if id("-u") == "0" { format!("{me} (sudo by anna)") } else { me.clone() };
    assert_eq!(tell(Some("anna"), "b.example.com"), by_sudo, "taken from root only");
    assert_eq!(tell(Some("a\u{1b}[2Jb"), "c.example.com"), me);
}

#[test]
fn wishes_that_cannot_be_meant_are_refused_in_words() {
    let stage = stage();
    let relay = &stage.relay;
    for (args, part) in [
        (&["allow", "bücher.example", "--reason", "r"][..], "A-label"),
        (&["allow", "*", "--reason", "r"], "--client"),
        (&["block", ".", "--reason", "r"], "--client"),
        (&["allow", "a.example", "--for", "30", "--reason", "r"], "no unit"),
        (&["allow", "a.example", "--client", "10.1.2.3/8", "--reason", "r"], "10.0.0.0/8"),
        (&["allow", "a.example", "--reason", "two\nlines"], "control characters"),
        (&["allow", "a.example"], "--reason"),
        (&["exceptions", "remove", "7"], "no exception 7"),
        (&["policy", "suspend", "--for", "25h", "--reason", "r"], "at most 24 hours"),
        (&["policy", "suspend", "--for", "1h", "--reason", " "], "reason is empty"),
    ] {
        let said = refusal(relay, args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    assert_eq!(relay.tell(&["exceptions"]), "no exceptions\n");
    assert!(relay.status()["suspended"].is_null());
    relay.tell(&["allow", BAD, "--reason", "ticket 7", "--client", "10.0.0.0/8"]);
    let table = relay.tell(&["exceptions"]);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
    for part in ["bad.example.com and below", "10.0.0.0/8", "for good", "ticket 7"] {
        assert!(table.contains(part), "{part}: {table}");
    }
}
