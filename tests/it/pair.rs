//! `culvert pair compare`: two relays that should be the same.

use crate::harness::conf::Conf;
use crate::harness::plain::{Manner, Plain};
use crate::harness::process::{LOCAL, free_port};
use crate::harness::relay::Relay;
use serde_json::Value;
use std::process::Output;

const RULES: &str = "bad.example.com CNAME .\nworse.example.com A 192.0.2.1";

fn conf(server: &Plain) -> Conf {
    Conf::new().plain("corp", &[server.address]).policy("block.local", RULES)
}

fn compared(relay: &Relay, peer: &str, args: &[&str]) -> Output {
    relay.command(&[&["pair", "compare", peer], args].concat())
}

/// What differs, as zone and thing.
#[track_caller]
fn differences(here: &Relay, there: &Relay) -> Vec<String> {
    let output = compared(here, &there.conf.status.to_string(), &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["same"] == true, output.status.code() == Some(0), "{report:#}");
    let rows = report["rows"].as_array().expect("a list").iter();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    rows.filter(|row| row["found"] != "same")
        .map(|row| format!("{} {} {}", text(&row["zone"]), text(&row["what"]), text(&row["found"])))
        .map(|row| row.trim().to_owned())
        .collect()
}

#[test]
fn two_relays_with_the_same_configuration_agree() {
    let server = Plain::start(Manner::Right);
    let mut other = conf(&server);
    other.log = "hits = \"stderr\"\n".to_owned();
    let (here, there) = (conf(&server).start(), other.server("workers = 1").start());
    assert_eq!(differences(&here, &there), Vec::<String>::new());
    let output = compared(&here, &there.conf.status.to_string(), &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("\nThe two relays agree.\n"), "{text}");
    assert!(text.contains("\nzone block.local\n  mode "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn every_difference_is_named_and_ends_when_it_is_mended() {
    let server = Plain::start(Manner::Right);
    let (here, there) = (conf(&server).start(), conf(&server).start());
    here.tell(&["allow", "bad.example.com", "--reason", "ticket 7"]);
    let exceptions = ["exceptions differs", "allow bad.example.com differs"];
    assert_eq!(differences(&here, &there), exceptions);
    let metrics = |relay: &Relay| {
        let text = relay.http("/metrics").1;
        let infos = text.lines().filter(|line| line.contains("_info{hash="));
        infos.map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, theirs) = (metrics(&here), metrics(&there));
    assert_eq!((ours.len(), &ours[0]), (2, &theirs[0]), "the same configuration");
    assert_ne!(ours[1], theirs[1], "other exceptions");
    there.tell(&["allow", "bad.example.com", "--reason", "ticket 7, there too"]);
    assert_eq!(differences(&here, &there), Vec::<String>::new());

    there.tell(&["policy", "suspend", "--for", "1m", "--reason", "looking for a fault"]);
    assert_eq!(differences(&here, &there), ["policy differs"]);
    there.tell(&["policy", "resume"]);

    // another rule in the place of one, the serial as it was
    there.conf.write_zone("block.local", 1, &RULES.replace("192.0.2.1", "192.0.2.2"));
    there.reload();
    let just_now = differences(&here, &there);
    assert_eq!(just_now, ["block.local checksum on-its-way"]);
    there.conf.write_zone("block.local", 1, RULES);
    there.reload();

    let text = there.conf.text().replace("[cache]\n", "[cache]\nstale = \"0s\"\n");
    std::fs::write(there.conf.file(), text).expect("a file is written");
    there.reload();
    assert_eq!(differences(&here, &there), ["configuration differs"]);
    let output = compared(&here, &there.conf.status.to_string(), &[]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.ends_with("\nThe two relays DIFFER in 1 thing.\n"), "{text}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_relay_that_cannot_be_asked_is_told_from_one_that_differs() {
    let server = Plain::start(Manner::Right);
    let relay = conf(&server).start();
    for (peer, part) in [
        (free_port(LOCAL).to_string(), "nothing listens there; set status.listen"),
        ("no such host".to_owned(), "HOST[:PORT]"),
        (relay.address.to_string(), &relay.address.to_string()),
    ] {
        let output = compared(&relay, &peer, &[]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), text.contains(part)), (Some(2), true), "{peer}: {text}");
    }
    let nobody = relay.conf.folder().join("none.sock").display().to_string();
    let own = relay.conf.status.to_string();
    let output = compared(&relay, &own, &["--control", &nobody]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn no_secret_is_in_what_a_peer_is_shown() {
    let server = Plain::start(Manner::Right);
    let nobody = free_port(LOCAL);
    let secret = "aHVzaCwgaHVzaCwgbXkgc2VjcmV0IHNlY3JldCEhISE=";
    let with = |secret: &str| {
        conf(&server).with(&format!(
            "[[tsig]]\nname = \"vendor-key\"\nsecret = \"{secret}\"\n\n[[policy]]\nzone = \
             \"feed.local\"\nprimaries = [\"{nobody}\"]\ntsig = \"vendor-key\"\nmode = \"monitor\""
        ))
    };
    let here = with(secret).start();
    let there = with(&secret.replace("bXkgc2Vj", "bXkgc2Vk")).start();
    assert_eq!(differences(&here, &there), ["configuration differs"], "a secret counts");
    let shown = here.http("/status").1 + &here.http("/metrics").1;
    assert!(!shown.contains(&secret[..20]) && !shown.contains("hush"), "{shown}");
}
