//! Secrets are nowhere, whatever goes wrong.

use super::{Feed, LONG};
use crate::harness::eventually;
use crate::harness::primary::Fault;
use crate::harness::process::run;
use crate::harness::relay::Relay;
use crate::harness::secs;
use crate::harness::stage::Stage;
use crate::harness::tls::Tls;
use crate::harness::tsig::{Hash, Key};
use crate::harness::web::{Page, Web};
use std::path::Path;
use std::process::Command;

const PATH: &str = "/lists/k3y-of-the-customer/block.txt?token=t0ken-of-the-customer";

/// All files below a folder but those that the test itself wrote secrets into.
fn texts_below(folder: &Path, into: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let name = path.display().to_string();
        if path.is_dir() {
            texts_below(&path, into);
        } else if path.is_file() && !name.ends_with(".toml") {
            let octets = std::fs::read(&path).unwrap_or_default();
            into.push((name, String::from_utf8_lossy(&octets).into_owned()));
        }
    }
}

/// What all commands say.
fn commands(relay: &Relay) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let mut tell = |what: &str, args: &[&str]| {
        let output = relay.command(args);
        let text = [output.stdout, output.stderr].concat();
        told.push((what.to_owned(), String::from_utf8_lossy(&text).into_owned()));
    };
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["zones"],
        &["zones", "--json"],
        &["check"],
        &["check", "--json"],
        &["explain", "x.example.com"],
    ] {
        tell(&args.join(" "), args);
    }
    for zone in ["good.rpz", "bad.rpz", "web.rpz"] {
        for order in ["show", "refresh", "retransfer", "diff", "accept", "report"] {
            tell(&format!("{order} {zone}"), &["zone", order, zone]);
            tell(&format!("{order} {zone} --json"), &["zone", order, zone, "--json"]);
        }
    }
    told
}

/// What is said of a configuration that is wrong next to its secrets.
fn refusals(relay: &mut Relay, key: &Key, url: &str) -> Vec<(String, String)> {
    let mut told = Vec::new();
    let good = relay.conf.sections.clone();
    for broken in [
        good.replace(&key.base64(), &format!("{}!", key.base64())),
        good.replace("hmac-sha512", "hmac-sha7"),
        good.replace(url, &url.replace("https", "http")),
        good.replace("secret = ", "secrets = "),
    ] {
        assert_ne!(broken, good);
        relay.conf.sections = broken;
        relay.conf.save();
        for args in [&["check"][..], &["reload"]] {
            let output = relay.command(args);
            assert!(!output.status.success(), "{args:?}: {}", relay.conf.sections);
            let text = [output.stdout, output.stderr].concat();
            told.push((format!("{args:?}"), String::from_utf8_lossy(&text).into_owned()));
        }
    }
    told
}

#[test]
fn no_secret_is_told() {
    let tls = Tls::new();
    let web = Web::start(&tls);
    web.set(PATH, Page::status(403, &[]));
    let key = Key::new("transfer.key", Hash::Sha256);
    let other = Key::new("other.key", Hash::Sha512);
    let feeds = [Feed::new("good").signed(key.clone()), Feed::new("bad").signed(other.clone())];
    let url = web.url(PATH);
    let list = format!(
        "[[policy]]\nzone = \"web.rpz\"\nurl = \"{url}\"\nformat = \"domains\"\n\
         addresses = [\"127.0.0.1\"]\nca = \"{}\"\nsha256 = \"{url}.sum\"",
        tls.ca().display()
    );
    feeds[1].script(|s| s.fault = Some(Fault::OtherKey(key.clone())));
    let mut stage = Stage::with(|conf| {
        feeds.iter().fold(conf.with(&list), |conf, feed| conf.with(&feed.section()))
    });
    let relay = &mut stage.relay;
    eventually("the good one is there", LONG, || relay.zone("good.rpz")["serial"] == 1);
    for zone in ["bad.rpz", "web.rpz"] {
        eventually("the bad ones are told of", LONG, || {
            relay.zone(zone)["supply"]["failed"] == true
        });
    }
    let mut told = commands(relay);
    told.extend(refusals(relay, &key, &url));
    let id = relay.process.id().to_string();
    let ps = run(Command::new("ps").args(["-ww", "e", "-o", "args", "-p", &id]), secs(10));
    told.push(("ps".to_owned(), String::from_utf8_lossy(&ps.stdout).into_owned()));
    told.push(("metrics".to_owned(), relay.http("/metrics").1));
    told.push(("log".to_owned(), relay.stderr()));
    texts_below(relay.conf.folder(), &mut told);

    let plain = |key: &Key| String::from_utf8(key.secret.clone()).expect("made of text");
    let secrets = [
        key.base64(),
        other.base64(),
        plain(&key),
        plain(&other),
        "k3y-of-the-customer".to_owned(),
        "t0ken-of-the-customer".to_owned(),
    ];
    assert!(told.iter().any(|(what, _)| what.contains("good.rpz.zone")), "saved copies too");
    for (what, text) in &told {
        assert!(!text.is_empty() || what.ends_with(".log"), "{what}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{what} tells {secret}: {text}");
        }
    }
}
