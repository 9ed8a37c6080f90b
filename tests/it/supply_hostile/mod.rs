//! The whole relay against primaries that do wrong: nothing of theirs is used, what was in force
//! stays in force, the fault is named, and the next good version is taken by itself.

mod blame;
mod fallback;
mod limits;
mod notify;
mod pace;
mod reloads;
mod secrets;
mod serials;

use crate::harness::client::Over;
use crate::harness::primary::{Primary, Script};
use crate::harness::relay::Relay;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tsig::Key;
use crate::harness::wire::{A, Record};
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// How long a busy machine may take for what takes a moment.
const LONG: Duration = secs(30);
/// Rules of a version unless a test says otherwise: more than fit into two messages.
const RULES: u32 = 250;

/// A zone and its primary. Every version has a rule of its own, its mark.
struct Feed {
    zone: String,
    primary: Primary,
    key: Option<Key>,
    /// What the relay asks before its primary.
    before: Vec<SocketAddr>,
    /// More lines of the zone's section.
    lines: String,
}

impl Feed {
    /// Serial 1 is there.
    fn new(tag: &str) -> Feed {
        let zone = format!("{tag}.rpz");
        let primary = Primary::start(&zone);
        let feed = Feed { zone, primary, key: None, before: Vec::new(), lines: String::new() };
        feed.publish(1, 3);
        feed
    }

    fn with(self, line: &str) -> Feed {
        Feed { lines: format!("{}{line}\n", self.lines), ..self }
    }

    /// Both sides sign.
    fn signed(self, key: Key) -> Feed {
        self.script(|s| s.key = Some(key.clone()));
        Feed { key: Some(key), ..self }
    }

    fn script(&self, change: impl FnOnce(&mut Script)) {
        self.primary.script(change);
    }

    /// It does right again.
    fn heal(&self) {
        self.script(|s| *s = Script { key: self.key.clone(), ..Script::default() });
    }

    /// Publishes a version with so many rules, the mark among them.
    fn publish(&self, serial: u32, rules: u32) {
        let rule = |name: &str| Record::cname(&format!("{name}.{}", self.zone), 60, ".");
        let mut records = vec![rule(&self.mark(serial))];
        records.extend((1..rules).map(|n| rule(&format!("r{n}.{}.example.com", self.tag()))));
        self.primary.version(serial, &records);
    }

    fn tag(&self) -> &str {
        self.zone.trim_end_matches(".rpz")
    }

    /// A name that only this version blocks.
    fn mark(&self, serial: u32) -> String {
        format!("s{serial}.{}.example.com", self.tag())
    }

    /// Its `[[policy]]`, and its `[[tsig]]` if there is a key.
    fn section(&self) -> String {
        let primaries: Vec<String> =
            self.before.iter().chain([&self.primary.address]).map(|a| format!("\"{a}\"")).collect();
        let mut text = format!(
            "[[policy]]\nzone = \"{}\"\nprimaries = [{}]\n{}",
            self.zone,
            primaries.join(", "),
            self.lines
        );
        if let Some(key) = &self.key {
            text.push_str(&format!("tsig = \"{}\"\n{}", key.name, key_section(key)));
        }
        text
    }

    /// Tells the relay that the zone has changed.
    #[track_caller]
    fn notify(&self, relay: &Relay) {
        let told = self.primary.notify(relay.address, Over::Udp, 2, self.key.as_ref());
        assert_eq!(told.expect("an answer").message.rcode(), "NOERROR");
    }

    fn is_in_force(&self, relay: &Relay, serial: u32) -> bool {
        relay.ask(&self.mark(serial), A).rcode() == "NXDOMAIN"
    }

    #[track_caller]
    fn until_in_force(&self, relay: &Relay, serial: u32) {
        let what = format!("serial {serial} of {} is in force", self.zone);
        eventually(&what, LONG, || self.is_in_force(relay, serial));
    }

    /// The old version is in force, and nothing of the new one.
    #[track_caller]
    fn assert_kept(&self, relay: &Relay, old: u32, new: u32) {
        assert!(self.is_in_force(relay, old), "serial {old} of {} is in force", self.zone);
        let reply = relay.ask(&self.mark(new), A);
        assert_right(&reply, &self.mark(new));
        let zone = relay.zone(&self.zone);
        assert_eq!(zone["serial"], old, "{zone:#}");
    }

    /// What a look at the primary came to, and whether it was good.
    #[track_caller]
    fn refresh(&self, relay: &Relay) -> (bool, String) {
        self.order(relay, "refresh")
    }

    #[track_caller]
    fn order(&self, relay: &Relay, order: &str) -> (bool, String) {
        let output = relay.command(&["zone", order, &self.zone]);
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    fn supply(&self, relay: &Relay) -> Value {
        relay.zone(&self.zone)["supply"].clone()
    }
}

fn key_section(key: &Key) -> String {
    format!(
        "[[tsig]]\nname = \"{}\"\nalgorithm = \"{}\"\nsecret = \"{}\"\n",
        key.name,
        key.hash.name(),
        key.base64()
    )
}

/// A relay with these zones, serial 1 of each in force.
#[track_caller]
fn stage<'f>(feeds: impl IntoIterator<Item = &'f Feed>) -> Stage {
    let feeds: Vec<&Feed> = feeds.into_iter().collect();
    let section = |conf: crate::harness::conf::Conf, feed: &&Feed| conf.with(&feed.section());
    let stage = Stage::with(|conf| feeds.iter().fold(conf, section));
    for feed in feeds {
        feed.until_in_force(&stage.relay, 1);
    }
    stage
}
