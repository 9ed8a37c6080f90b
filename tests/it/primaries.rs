//! Zones from real primaries: BIND, NSD, Knot DNS and PowerDNS Authoritative publish versions and
//! say so, the relay takes them, and what it enforces is what they serve.

use crate::harness::authority::{Authority, Plan, Program, master_file};
use crate::harness::client::Tcp;
use crate::harness::conf::{Conf, list};
use crate::harness::process::run;
use crate::harness::relay::Relay;
use crate::harness::stage::Stage;
use crate::harness::tls::{HOST, Tls};
use crate::harness::tsig::{Chain, Hash, Key, Signature, Stamp};
use crate::harness::wire::{A, AXFR, Message, NS, Query, Record, SOA, TXT, name_bytes};
use crate::harness::world::address_of;
use crate::harness::{eventually, secs};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

const ZONE: &str = "feed.example";
const PROGRAMS: [Program; 4] = [Program::Bind, Program::Nsd, Program::Knot, Program::PowerDns];

fn key(hash: Hash) -> Key {
    Key::new("transfer.key", hash)
}

/// Rules for a range of names.
fn names(range: std::ops::Range<u32>, ttl: u32) -> String {
    range.fold(String::new(), |mut out, n| {
        let _ = writeln!(out, "bad{n}.example.net {ttl} CNAME .");
        out
    })
}

/// The section of a zone that comes from these primaries, and its key's.
fn section(key: Option<&Key>, primaries: &[String], more: &str) -> String {
    let mut out = format!("[[policy]]\nzone = \"{ZONE}\"\nprimaries = {}\n", list(primaries));
    if let Some(Key { name, hash, .. }) = key {
        let _ = writeln!(out, "tsig = \"{name}\"\n{more}\n[[tsig]]\nname = \"{name}\"");
        let hash = hash.name();
        let secret = key.map(Key::base64).unwrap_or_default();
        let _ = writeln!(out, "algorithm = \"{hash}\"\nsecret = \"{secret}\"");
    } else {
        let _ = writeln!(out, "{more}");
    }
    out
}

/// A relay that has the zone from one primary.
struct Scene {
    primary: Authority,
    stage: Stage,
    _tls: Tls,
}

impl Scene {
    /// The relay starts without a copy.
    #[track_caller]
    fn start(program: Program, key: Option<&Key>, over_tls: bool, records: &str) -> Scene {
        let tls = Tls::new();
        let mut primary = None;
        let stage = Stage::with(|conf| {
            let plan = Plan { tls: &tls, zone: ZONE, key, tell: Some(conf.address) };
            let started = Authority::start(program, &plan, 1, records);
            let conf = conf.with(&match over_tls {
                true => {
                    let ca = format!("ca = \"{}\"", tls.ca().display());
                    section(key, &[format!("tls://{}#{HOST}", started.tls)], &ca)
                }
                false => section(key, &[started.address.to_string()], ""),
            });
            primary = Some(started);
            conf
        });
        Scene { primary: primary.expect("it was started"), stage, _tls: tls }
    }

    /// As [`Scene::start`]; the first version is in force.
    #[track_caller]
    fn new(program: Program, key: Option<&Key>, records: &str) -> Scene {
        let scene = Scene::start(program, key, false, records);
        until_serial(&scene.stage.relay, 1);
        scene
    }

    /// The next version is published and taken, with nobody but the primary's NOTIFY to say so.
    #[track_caller]
    fn publish(&self, serial: u32, records: &str) {
        self.primary.publish(serial, records);
        until_serial(&self.stage.relay, serial);
    }

    /// What is enforced is what is served, record by record.
    #[track_caller]
    fn assert_same(&self, key: Option<&Key>) {
        let folder = tempfile::tempdir().expect("a folder");
        let dump = folder.path().join("dump");
        self.stage.relay.tell(&["zone", "dump", ZONE, &dump.display().to_string()]);
        let served = folder.path().join("served");
        std::fs::write(&served, axfr(self.primary.address, key)).expect("written");
        let (ours, theirs) = (compiled(&dump), compiled(&served));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours, theirs);
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// One zone as `culvert zone show` tells of it.
#[track_caller]
fn shown(relay: &Relay) -> Value {
    let text = relay.tell(&["zone", "show", ZONE, "--json"]);
    let value: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
    value["zone"].clone()
}

#[track_caller]
fn until_serial(relay: &Relay, serial: u32) {
    eventually(&format!("serial {serial} is in force"), secs(30), || {
        let zone = shown(relay);
        zone["serial"] == serial && zone["state"] == "current"
    });
}

/// Transfers that were taken: whole ones, changes.
#[track_caller]
fn taken(relay: &Relay) -> (u64, u64) {
    let supply = &shown(relay)["supply"];
    let count = |what: &str| supply[what].as_u64().expect("a number");
    (count("whole"), count("incremental"))
}

/// All of the zone as dig prints it.
#[track_caller]
fn axfr(server: SocketAddr, key: Option<&Key>) -> Vec<u8> {
    let mut dig = Command::new("dig");
    dig.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
    if let Some(Key { name, hash, .. }) = key {
        let secret = key.map(Key::base64).unwrap_or_default();
        dig.args(["-y", &format!("{}:{name}:{secret}", hash.name())]);
    }
    let output = run(dig.args(["+onesoa", "+nocomments", ZONE, "AXFR"]), secs(20));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let records = text.lines().filter(|line| !line.contains("\tTSIG\t"));
    let records: Vec<_> = records.flat_map(|line| [line, "\n"]).collect();
    records.concat().into_bytes()
}

/// A zone in BIND's own spelling, one record a line, without those of DNSSEC.
#[track_caller]
fn compiled(file: &Path) -> Vec<String> {
    let mut command = Command::new("named-compilezone");
    command.args(["-q", "-i", "none", "-k", "ignore", "-s", "full", "-o", "-", ZONE]).arg(file);
    let output = run(&mut command, secs(20));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let dnssec = ["RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY"];
    let kept = |line: &&str| {
        let rtype = line.split_whitespace().nth(3);
        !line.starts_with(';') && !rtype.is_some_and(|rtype| dnssec.contains(&rtype))
    };
    let mut lines: Vec<String> = text.lines().filter(kept).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

// ── versions, one after another ─────────────────────────────────────────────────────────────

/// A version of the zone, and what clients get by it.
struct Step {
    records: String,
    answers: &'static [(&'static str, &'static str)],
}

const FIRST: &str = "\
*.wild.example.net 60 CNAME *.
let.bad1.example.net CNAME rpz-passthru.
local.example.net 300 A 192.0.2.77
local.example.net 300 TXT \"a \\\"text\\\" of; its own\" two
*.garden.example.net 60 CNAME www.walled.example.org.
32.9.2.0.192.rpz-ip 60 CNAME .
ns.evil.example.org.rpz-nsdname 60 CNAME .
";

/// Wildcard, address and local data are others.
const SECOND: &str = "\
*.new.example.net 60 CNAME *.
let.bad1.example.net CNAME rpz-passthru.
local.example.net 300 A 192.0.2.78
local.example.net 300 A 192.0.2.79
local.example.net 300 AAAA 2001:db8::78
*.garden.example.net 60 CNAME www.walled.example.org.
24.0.2.0.192.rpz-ip 60 CNAME *.
*.evil.example.org.rpz-nsdname 60 CNAME .
";

/// Other TTLs, and nothing else but a name's rule.
const THIRD: &str = "\
*.new.example.net 61 CNAME *.
let.bad1.example.net 3600 CNAME .
local.example.net 2 A 192.0.2.78
local.example.net 2 A 192.0.2.79
local.example.net 300 AAAA 2001:db8::78
*.garden.example.net 86400 CNAME www.walled.example.org.
24.0.2.0.192.rpz-ip 60 CNAME *.
*.evil.example.org.rpz-nsdname 1 CNAME .
";

/// Nothing is left of most of it.
const FOURTH: &str = "\
local.example.net 2 A 192.0.2.79
bad5.example.net 60 A 192.0.2.5
";

fn steps() -> [Step; 6] {
    let step = |records: String, more: &str, answers| Step { records: records + more, answers };
    const OLD: &[(&str, &str)] = &[
        ("bad7.example.net", "NXDOMAIN"),
        ("bad3005.example.net", "open"),
        ("let.bad1.example.net", "open"),
        ("x.wild.example.net", "NOERROR"),
        ("x.new.example.net", "open"),
        ("local.example.net", "192.0.2.77"),
        ("www.byip.example.net", "NXDOMAIN"),
        ("www.byns.example.net", "NXDOMAIN"),
    ];
    [
        step(names(0..3000, 60), FIRST, OLD),
        step(
            names(10..3010, 60),
            SECOND,
            &[
                ("bad7.example.net", "open"),
                ("bad3005.example.net", "NXDOMAIN"),
                ("x.wild.example.net", "open"),
                ("x.new.example.net", "NOERROR"),
                ("local.example.net", "192.0.2.78 192.0.2.79"),
                ("www.byip.example.net", "NOERROR"),
                ("www.byns.example.net", "NXDOMAIN"),
            ],
        ),
        step(
            names(10..500, 61) + &names(500..3010, 60),
            THIRD,
            &[("let.bad1.example.net", "NXDOMAIN"), ("local.example.net", "192.0.2.78 192.0.2.79")],
        ),
        step(
            names(10..3010, 60),
            FOURTH,
            &[
                ("bad5.example.net", "192.0.2.5"),
                ("x.new.example.net", "open"),
                ("local.example.net", "192.0.2.79"),
                ("www.byip.example.net", "192.0.2.9"),
                ("www.byns.example.net", "open"),
            ],
        ),
        step(
            names(600..3600, 60),
            SECOND,
            &[
                ("bad599.example.net", "open"),
                ("bad3599.example.net", "NXDOMAIN"),
                ("bad5.example.net", "open"),
            ],
        ),
        step(names(0..3000, 60), FIRST, OLD),
    ]
}

impl Step {
    #[track_caller]
    fn assert_enforced(&self, relay: &Relay) {
        for (name, wanted) in self.answers {
            let reply = relay.ask(name, A);
            let data = reply.data(A);
            let told = if data.is_empty() { reply.rcode().to_owned() } else { data.join(" ") };
            let wanted = if *wanted == "open" { address_of(name) } else { (*wanted).to_owned() };
            assert_eq!(told, wanted, "{name}");
        }
    }
}

/// Version after version comes by NOTIFY, as changes where the program can tell them.
#[track_caller]
fn follows(program: Program, key: Option<&Key>) {
    let all = steps();
    // signatures make no difference to what changes do
    let steps = if key.is_some() { &all[..] } else { &all[..3] };
    let scene = Scene::new(program, key, &steps[0].records);
    let relay = &scene.stage.relay;
    scene.stage.backend.add(&[
        Record::a("www.byip.example.net", 300, "192.0.2.9"),
        Record::new("byns.example.net", 300, NS, name_bytes("ns.evil.example.org")),
    ]);
    for (serial, step) in (1..).zip(steps) {
        if serial > 1 {
            scene.publish(serial, &step.records);
        }
        step.assert_enforced(relay);
        scene.assert_same(key);
        if serial == 1 {
            let texts = relay.ask("local.example.net", TXT).data(TXT);
            assert_eq!(texts, ["a \"text\" of; its own\u{3}two"]);
        }
    }
    let (versions, updates) = (steps.len() as u64, steps.len() as u64 - 1);
    let changes = program != Program::PowerDns;
    let expected = if changes { (1, updates) } else { (versions, 0) };
    assert_eq!(taken(relay), expected, "{:#}", shown(relay));
    let zone = shown(relay);
    assert!(zone["supply"]["notified"].as_u64() >= Some(updates), "{zone:#}");
    assert_eq!(zone["supply"]["failed_total"], 0, "{zone:#}");
}

#[test]
fn bind_with_a_key() {
    follows(Program::Bind, Some(&key(Hash::Sha256)));
}

#[test]
fn bind_without_a_key() {
    follows(Program::Bind, None);
}

#[test]
fn nsd_with_a_key() {
    follows(Program::Nsd, Some(&key(Hash::Sha512)));
}

#[test]
fn nsd_without_a_key() {
    follows(Program::Nsd, None);
}

#[test]
fn knot_with_a_key() {
    follows(Program::Knot, Some(&key(Hash::Sha384)));
}

#[test]
fn knot_without_a_key() {
    follows(Program::Knot, None);
}

#[test]
fn powerdns_with_a_key() {
    follows(Program::PowerDns, Some(&key(Hash::Sha256)));
}

#[test]
fn powerdns_without_a_key() {
    follows(Program::PowerDns, None);
}

// ── keys ────────────────────────────────────────────────────────────────────────────────────

/// The relay goes on with another key, or the right one again.
#[track_caller]
fn with_key(relay: &mut Relay, old: &Key, new: &Key) {
    let [before, after] = [old, new].map(|key| format!("\"{}\"", key.name));
    let named = relay.conf.sections.replace(&before, &after);
    relay.conf.sections = named.replace(&old.base64(), &new.base64());
    relay.conf.save();
    relay.reload();
}

/// What an operator is told of a look that fails.
#[track_caller]
fn refused(relay: &Relay) -> String {
    let output = relay.command(&["zone", "refresh", ZONE]);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// With a key that the primary does not take, the old rules stay, and the fault is named.
#[track_caller]
fn wrong_keys(program: Program) {
    let right = key(Hash::Sha256);
    let mut scene = Scene::new(program, Some(&right), &names(0..10, 60));
    let other_secret = Key { secret: b"another secret, as long as this".to_vec(), ..right.clone() };
    let other_name = Key { name: "stranger.key".to_owned(), ..right.clone() };
    let relay = &mut scene.stage.relay;
    let mut before = &right;
    for (serial, key, said) in [(2, &other_secret, "BADSIG"), (4, &other_name, "BADKEY")] {
        with_key(relay, before, key);
        scene.primary.publish(serial, &names(10..20, 60));
        let words = refused(relay);
        // PowerDNS gives no reason
        let named = if program == Program::PowerDns { "NOTAUTH" } else { said };
        assert!(words.contains(named), "{program:?}: {words}");
        let log = relay.stderr_with("a NOTIFY from 127.0.0.1 is refused: BADSIG");
        assert!(!log.contains(&key.base64()) && !log.contains(&right.base64()), "{log}");
        let zone = shown(relay);
        assert_eq!((&zone["serial"], &zone["supply"]["failed"]), (&1.into(), &true.into()));
        let outcome = zone["supply"]["last_outcome"].to_string();
        assert!(outcome.contains(named), "{outcome}");
        assert_eq!(relay.ask("bad1.example.net", A).rcode(), "NXDOMAIN");
        before = key;
    }
    with_key(relay, before, &right);
    relay.tell(&["zone", "refresh", ZONE]);
    until_serial(relay, 4);
    assert_eq!(relay.ask("bad15.example.net", A).rcode(), "NXDOMAIN");
    // and signed NOTIFYs are listened to again
    scene.publish(5, &names(20..30, 60));
}

#[test]
fn a_wrong_key_and_bind() {
    wrong_keys(Program::Bind);
}

#[test]
fn a_wrong_key_and_nsd() {
    wrong_keys(Program::Nsd);
}

#[test]
fn a_wrong_key_and_knot() {
    wrong_keys(Program::Knot);
}

#[test]
fn a_wrong_key_and_powerdns() {
    wrong_keys(Program::PowerDns);
}

/// The relay has every message of a long transfer checked. That none goes without a signature is
/// what these programs do, and no more than RFC 8945 section 5.3.1 lets them.
#[test]
fn each_message_of_a_long_transfer_is_signed() {
    let (tls, key) = (Tls::new(), key(Hash::Sha256));
    for program in PROGRAMS {
        let plan = Plan { tls: &tls, zone: ZONE, key: Some(&key), tell: None };
        let primary = Authority::start(program, &plan, 1, &names(0..12_000, 60));
        let (messages, signed) = signatures(primary.address, &key);
        assert!(messages > 10, "{program:?}: {messages} messages");
        assert_eq!(signed, messages, "{program:?}");
    }
}

/// How many messages a whole transfer has, and how many of them are signed.
#[track_caller]
fn signatures(server: SocketAddr, key: &Key) -> (usize, usize) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    let request = Query::new(ZONE, AXFR).no_edns().flags(0).bytes();
    let stamp = Stamp { time: now, ..Stamp::default() };
    let mut tcp = Tcp::to(server);
    tcp.send(&Chain::request(key).sign(&request, &stamp));
    let (mut messages, mut signed, mut ends) = (0, 0, 0);
    while ends < 2 {
        let bytes = tcp.receive(secs(10)).expect("the transfer goes on");
        messages += 1;
        signed += usize::from(Signature::of(&bytes).is_some());
        let message = Message::read(&bytes).expect("a message");
        assert_eq!(message.rcode(), "NOERROR");
        ends += message.answers.iter().filter(|record| record.rtype == SOA).count();
    }
    (messages, signed)
}

// ── other primaries, other ways ─────────────────────────────────────────────────────────────

#[test]
fn the_second_primary_serves_when_the_first_is_down() {
    let (tls, key) = (Tls::new(), key(Hash::Sha256));
    let conf = Conf::new();
    let plan = Plan { tls: &tls, zone: ZONE, key: Some(&key), tell: Some(conf.address) };
    let old = names(0..2_000, 60) + FIRST;
    let first = Authority::start(Program::Knot, &plan, 1, &old);
    let second = Authority::start(Program::Nsd, &plan, 1, &old);
    let addresses = [first.address.to_string(), second.address.to_string()];
    let supply = section(Some(&key), &addresses, "");
    let stage = Stage::with(|other| {
        let conf = Conf { address: conf.address, listen: conf.listen, ..other };
        conf.with(&supply)
    });
    until_serial(&stage.relay, 1);
    let outcome = |relay: &Relay| shown(relay)["supply"]["last_outcome"].to_string();
    assert!(outcome(&stage.relay).contains(&addresses[0]), "{}", outcome(&stage.relay));
    drop(first);
    second.publish(2, &(names(100..2_100, 60) + SECOND));
    until_serial(&stage.relay, 2);
    assert!(outcome(&stage.relay).contains(&addresses[1]), "{}", outcome(&stage.relay));
    // what one program served whole fits the changes of the other
    assert_eq!(taken(&stage.relay), (1, 1));
    let scene = Scene { primary: second, stage, _tls: tls };
    scene.assert_same(Some(&key));
    let Scene { primary, stage, .. } = scene;
    let address = primary.address.to_string();
    drop(primary);
    let words = refused(&stage.relay);
    for address in [&addresses[0], &address] {
        assert!(words.contains(&format!("{address}: {ZONE}: cannot connect")), "{words}");
    }
    assert_eq!(stage.relay.ask("bad2050.example.net", A).rcode(), "NXDOMAIN");
}

/// RFC 9103; NOTIFY comes over plain UDP.
#[test]
fn bind_over_tls() {
    let key = key(Hash::Sha256);
    let scene = Scene::start(Program::Bind, Some(&key), true, &(names(0..2_000, 60) + FIRST));
    until_serial(&scene.stage.relay, 1);
    scene.assert_same(Some(&key));
    scene.publish(2, &(names(500..2_500, 60) + SECOND));
    scene.assert_same(Some(&key));
    assert_eq!(taken(&scene.stage.relay), (1, 1));
}

/// NSD 4.6 does not choose the ALPN token that RFC 9103 section 7.1 wants of a primary.
#[test]
fn nsd_over_tls_is_named_as_what_it_is() {
    let scene = Scene::start(Program::Nsd, None, true, &names(0..10, 60));
    eventually("the fault is told", secs(30), || {
        let outcome = shown(&scene.stage.relay)["supply"]["last_outcome"].to_string();
        outcome.contains("TLS: it does not offer DNS over TLS (ALPN dot)")
    });
}

// ── signed zones ────────────────────────────────────────────────────────────────────────────

/// A whole zone as dnssec-signzone makes it.
#[track_caller]
fn signed(folder: &Path, serial: u32, records: &str) -> String {
    std::fs::write(folder.join("plain"), master_file(ZONE, serial, records)).expect("written");
    let mut sign = Command::new("dnssec-signzone");
    sign.current_dir(folder).args(["-S", "-P", "-q", "-z", "-o", ZONE, "-f", "signed", "plain"]);
    let output = run(&mut sign, secs(20));
    assert!(output.status.success(), "{output:?}");
    std::fs::read_to_string(folder.join("signed")).expect("a signed zone")
}

/// Signatures come, are others in every version, and go; they are no part of the rules.
#[test]
fn a_zone_that_is_signed_for_a_while() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut keys = Command::new("dnssec-keygen");
    keys.current_dir(folder.path()).args(["-q", "-a", "ECDSAP256SHA256", "-f", "KSK", ZONE]);
    assert!(run(&mut keys, secs(20)).status.success());
    let (old, new) = (names(0..50, 60) + FIRST, names(20..70, 60) + SECOND);
    let scene = Scene::new(Program::Nsd, None, &old);
    for (serial, records) in [(2, &old), (3, &new)] {
        scene.primary.publish_file(serial, &signed(folder.path(), serial, records));
        until_serial(&scene.stage.relay, serial);
        scene.assert_same(None);
    }
    let served = axfr(scene.primary.address, None);
    assert!(String::from_utf8_lossy(&served).contains("RRSIG"), "the zone is signed");
    let dump = scene.stage.relay.tell(&["zone", "dump", ZONE]);
    assert!(!dump.contains("RRSIG") && !dump.contains("TYPE46"), "signatures are left out");
    assert_eq!(shown(&scene.stage.relay)["rules"], 57, "{:#}", shown(&scene.stage.relay));
    scene.publish(4, &old);
    scene.assert_same(None);
    assert_eq!(taken(&scene.stage.relay), (1, 3));
}
