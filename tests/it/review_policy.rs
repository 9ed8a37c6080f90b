//! Policy as somebody meets it who looks for a way round, and while it changes under load.

use crate::harness::client::{Over, Udp, ask};
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{
    A, AAAA, AD, ANY, CD, CLIENT_SUBNET, HTTPS, MX, Message, NS, PTR, Query, RD, RRSIG, Record,
    SOA, TXT, name_bytes,
};
use crate::harness::world::address_of;
use crate::harness::{eventually, secs};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const ZONE: &str = "block.local";
/// The server of the domain that is not wanted, and its address.
const SERVER: &str = "ns1.hoster.net";
const SERVER_IP: &str = "198.51.100.2";
const BY_SERVER: [&str; 2] =
    ["ns1.hoster.net.rpz-nsdname CNAME .", "32.2.100.51.198.rpz-nsip CNAME ."];

/// `bad.net` and everything below it are served by [`SERVER`].
fn add_server(stage: &Stage, ttl: u32) {
    stage.backend.add(&[
        Record::new("bad.net", ttl, NS, name_bytes(SERVER)),
        Record::a(SERVER, ttl, SERVER_IP),
    ]);
}

/// A name of so many labels below `suffix`.
fn deep(labels: usize, suffix: &str) -> String {
    (0..labels).map(|n| format!("{}.", n % 10)).collect::<String>() + suffix
}

#[track_caller]
fn assert_nxdomain(reply: &Message, what: &str) {
    assert_eq!((reply.rcode(), reply.answers.len()), ("NXDOMAIN", 0), "{what}: {reply:?}");
}

#[test]
fn a_long_name_does_not_hide_who_serves_it() {
    for rule in BY_SERVER {
        let stage = Stage::with(|conf| conf.policy(ZONE, rule));
        add_server(&stage, 300);
        for labels in [1, 33, 70, 120] {
            let name = deep(labels, "bad.net");
            stage.backend.add(&[Record::a(&name, 300, "192.0.2.7")]);
            assert_nxdomain(&stage.relay.ask(&name, A), &format!("{rule}, {labels} labels"));
        }
    }
}

#[test]
fn many_servers_above_do_not_hide_one_below_and_the_other_way_round() {
    for (crowded, served) in [("bad.net", "www.bad.net"), ("www.bad.net", "bad.net")] {
        let stage = Stage::with(|conf| conf.policy(ZONE, BY_SERVER[0]));
        let crowd = (0..60).map(|n| format!("s{n}.crowd.net"));
        let crowd: Vec<_> =
            crowd.map(|server| Record::new(crowded, 300, NS, name_bytes(&server))).collect();
        stage.backend.add(&crowd);
        stage.backend.add(&[
            Record::new(served, 300, NS, name_bytes(SERVER)),
            Record::a("www.bad.net", 300, "192.0.2.7"),
        ]);
        assert_nxdomain(&stage.relay.ask("www.bad.net", A), crowded);
    }
}

#[test]
fn without_recursion_a_kept_answer_is_judged_by_its_servers_too() {
    for rule in BY_SERVER {
        let stage = Stage::with(|conf| conf.policy(ZONE, rule));
        // the answer stays in the cache, what is known of its servers does not
        add_server(&stage, 0);
        stage.backend.add(&[Record::a("www.bad.net", 300, "192.0.2.7")]);
        let query = || Query::new("www.bad.net", A);
        assert_nxdomain(&stage.relay.udp(&query()), rule);
        assert_nxdomain(&stage.relay.udp(&query().flags(0)), &format!("{rule}, RD=0"));
        let asked = stage.backend.seen().requests.into_iter().filter_map(|r| r.query.question);
        let asked = asked.filter(|(name, qtype, _)| (name.as_str(), *qtype) == ("www.bad.net", A));
        assert_eq!(asked.count(), 1, "from the cache");
    }
}

/// A zone that only watches, and an alias chain of ten names with many labels each.
fn watched_chain() -> Stage {
    let rules = BY_SERVER.join("\n");
    let stage = Stage::with(|conf| conf.policy_with(ZONE, &rules, "mode = \"monitor\""));
    let link = |n: usize| deep(20, &format!("link{n}.example.net"));
    let links: Vec<_> = (0..10).map(|n| Record::cname(&link(n), 300, &link(n + 1))).collect();
    stage.backend.add(&links);
    stage.backend.add(&[Record::cname("www.example.com", 300, &link(0))]);
    stage.backend.add(&[Record::a(&link(10), 300, "192.0.2.7")]);
    stage
}

/// Different questions that the backend saw: one that is slow is sent once more, and the relay
/// asks a slow backend for the root to see how it is.
fn questions(stage: &Stage) -> usize {
    let all = stage.backend.seen().requests.into_iter().filter_map(|r| r.query.question);
    let named = all.filter(|(name, ..)| !matches!(name.as_str(), "" | "."));
    named.map(|(name, qtype, _)| (name, qtype)).collect::<BTreeSet<_>>().len()
}

/// Questions that the relay waits for.
fn in_flight(stage: &Stage) -> u64 {
    stage.relay.status()["upstreams"][0]["in_flight"].as_u64().expect("a number")
}

#[test]
fn a_zone_that_watches_asks_no_more_than_one_that_acts() {
    let stage = watched_chain();
    assert_eq!(stage.relay.tcp(&Query::new("www.example.com", A)).data(A), ["192.0.2.7"]);
    eventually("all look-ups are made", secs(5), || questions(&stage) > 64);
    eventually("none is under way", secs(5), || in_flight(&stage) == 0);
    assert_eq!(questions(&stage), 1 + 64, "questions for one query");
}

#[test]
fn a_zone_that_watches_has_16_look_ups_in_flight_and_keeps_nobody_waiting() {
    let stage = watched_chain();
    stage.backend.set(Script::Hang);
    for name in ["www.example.com", "other.example.com"] {
        stage.backend.set_for(name, Script::Answer);
    }
    assert_eq!(stage.relay.tcp(&Query::new("www.example.com", A)).data(A), ["192.0.2.7"]);
    // the address and the servers of the name itself, which are answered, and those in flight
    eventually("servers are looked up", secs(5), || questions(&stage) >= 2 + 16);
    // those that hang do not end, so the relay's own count has all that were begun
    assert_eq!(in_flight(&stage), 16);
    assert_eq!(questions(&stage), 2 + 16, "questions in flight");
    assert_right(&stage.relay.ask("other.example.com", A), "other.example.com");
}

#[test]
fn what_an_exception_blocks_may_be_remembered_for_a_moment() {
    let stage = Stage::new();
    stage.relay.tell(&["block", "www.example.com", "--reason", "abuse"]);
    let reply = stage.relay.ask("www.example.com", A);
    assert_nxdomain(&reply, "blocked");
    let soa: Vec<_> = reply.authority.iter().map(|r| (r.rtype, r.ttl)).collect();
    assert_eq!(soa, [(SOA, 5)], "{reply:?}");
}

#[test]
fn clients_of_an_exception_are_not_written_in_a_form_that_nobody_has() {
    let stage = Stage::new();
    for client in ["::ffff:127.0.0.1", "::ffff:127.0.0.0/104"] {
        let args = ["block", "www.example.com", "--client", client, "--reason", "abuse"];
        let output = stage.relay.command(&args);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.contains("127.0.0."), "{client}: {output:?}");
    }
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
}

// ── every form of a question, for every kind of rule ───────────────────────────────────────

/// What a rule looks at: the rule, and whether it needs an answer to look at.
const EVERY_KIND: [(&str, bool); 5] = [
    ("8.0.0.0.127.rpz-client-ip CNAME .", false),
    ("www.bad.net CNAME .", false),
    ("32.66.113.0.203.rpz-ip CNAME .", true),
    (BY_SERVER[0], true),
    (BY_SERVER[1], true),
];
/// The address of the name that is blocked.
const BAD_IP: [u8; 4] = [203, 0, 113, 66];
const SVCB: u16 = 64;
const DS: u16 = 43;

fn add_bad(stage: &Stage) {
    let name = "www.bad.net";
    let ip = Ipv4Addr::from(BAD_IP).to_string();
    // priority 1, the owner itself, ipv4hint (RFC 9460)
    let hint = [&[0, 1, 0, 0, 4, 0, 4][..], &BAD_IP].concat();
    stage.backend.add(&[
        Record::a(name, 300, &ip),
        Record::txt(name, 300, "the truth"),
        Record::new(name, 300, HTTPS, hint.clone()),
        Record::new(name, 300, SVCB, hint),
        Record::new(name, 300, PTR, name_bytes("the.truth.net")),
    ]);
    stage.backend.world(|w| w.sign(name));
}

/// All forms of one question.
fn forms(name: &str, qtype: u16) -> Vec<(String, Query)> {
    let mut out = Vec::new();
    for flags in [RD, RD | CD, RD | AD | CD, 0, CD] {
        let plain = Query::new(name, qtype).flags(flags);
        let subnet = plain.clone().option(CLIENT_SUBNET, &[0, 1, 24, 0, 192, 0, 2]);
        let forms = [plain.clone(), plain.clone().no_edns(), plain.dnssec_ok(), subnet];
        for (form, query) in ["EDNS", "no EDNS", "DO", "ECS"].into_iter().zip(forms) {
            out.push((format!("{name} {qtype} {flags:#x} {form}"), query));
        }
    }
    out
}

#[test]
fn no_form_of_a_question_is_a_way_round_any_kind_of_rule() {
    let types = [A, AAAA, ANY, RRSIG, DS, HTTPS, SVCB, PTR, TXT, MX, NS, SOA, 65_400];
    for (rule, by_answer) in EVERY_KIND {
        let stage = Stage::with(|conf| conf.policy(ZONE, rule));
        add_server(&stage, 300);
        add_bad(&stage);
        for over in [Over::Udp, Over::Tcp] {
            for (name, qtype) in
                ["www.bad.net", "WwW.bAd.NET"].into_iter().flat_map(|n| types.map(|t| (n, t)))
            {
                for (what, query) in forms(name, qtype) {
                    let reply = ask(over, stage.relay.address, &query);
                    let what = format!("{rule}: {what} {over:?}");
                    // what is not at hand is not fetched without RD, and nothing is told
                    let untold = query.flags & RD == 0 && by_answer && reply.rcode() == "REFUSED";
                    if untold {
                        assert!(reply.answers.is_empty(), "{what}: {reply:?}");
                        continue;
                    }
                    let has_address = [A, ANY, HTTPS, SVCB].contains(&qtype);
                    if rule.contains("rpz-ip") && !has_address {
                        let told = reply.answers.iter().any(|r| r.rdata.ends_with(&BAD_IP));
                        assert!(!told, "{what}: {reply:?}");
                        continue;
                    }
                    assert_nxdomain(&reply, &what);
                }
            }
        }
    }
}

#[test]
fn no_form_of_a_question_is_a_way_round_an_exception() {
    let stage = Stage::new();
    add_bad(&stage);
    assert_eq!(stage.relay.ask("www.bad.net", A).answers.len(), 1);
    stage.relay.tell(&["block", "bad.net", "--reason", "abuse"]);
    for over in [Over::Udp, Over::Tcp] {
        for qtype in [A, AAAA, ANY, RRSIG, DS, HTTPS, SVCB, PTR, TXT] {
            for (what, query) in forms("WwW.bAd.NET", qtype) {
                assert_nxdomain(&ask(over, stage.relay.address, &query), &what);
            }
        }
    }
}

#[test]
fn a_failure_carries_nothing_past_policy() {
    let rules = "32.66.113.0.203.rpz-ip CNAME .\nevil.example.net CNAME .";
    let stage = Stage::with(|conf| conf.policy(ZONE, rules));
    stage.backend.add(&[Record::a("evil.example.net", 300, "203.0.113.66")]);
    for code in [2, 4, 5, 6] {
        let name = format!("code{code}.example.com");
        stage.backend.add(&[Record::cname(&name, 300, "evil.example.net")]);
        let script = Script::changed(move |m| m.flags = m.flags & !15 | code);
        stage.backend.set_for(&name, script);
        for _fresh_or_kept in 0..2 {
            let reply = stage.relay.ask(&name, A);
            assert_ne!(reply.rcode(), "NOERROR", "{reply:?}");
            let told = reply.answers.iter().any(|r| r.rdata.ends_with(&BAD_IP));
            assert!(!told, "{name}: {reply:?}");
        }
    }
}

// ── changes under load ─────────────────────────────────────────────────────────────────────

/// One answer: when it was asked for, when it came, and its address; empty for NXDOMAIN.
struct Told {
    asked: Instant,
    came: Instant,
    address: String,
}

/// A client that asks the same question again and again.
struct Asking {
    /// Dropped to end it.
    stop: Sender<()>,
    answers: Arc<AtomicUsize>,
    thread: JoinHandle<Vec<Told>>,
}

impl Asking {
    fn start(server: SocketAddr, name: &'static str) -> Asking {
        let (stop, stopped) = channel::<()>();
        let answers = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&answers);
        let thread = std::thread::spawn(move || {
            let client = Udp::to(server);
            let mut all = Vec::new();
            // a pause between two questions, unless it is to end
            let pause = Duration::from_micros(300);
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let asked = Instant::now();
                // fails if nothing comes
                let reply = client.ask(&Query::new(name, A));
                let came = Instant::now();
                let address = match (reply.rcode(), reply.data(A).as_slice()) {
                    ("NXDOMAIN", []) => String::new(),
                    ("NOERROR", [address]) => address.clone(),
                    _ => panic!("{name}: {reply:?}"),
                };
                all.push(Told { asked, came, address });
                count.fetch_add(1, Ordering::Relaxed);
            }
            all
        });
        Asking { stop, answers, thread }
    }

    /// Waits for a few more answers.
    fn until_more(&self) {
        let enough = self.answers.load(Ordering::Relaxed) + 5;
        eventually("answers come", secs(5), || self.answers.load(Ordering::Relaxed) >= enough);
    }

    fn finish(self) -> Vec<Told> {
        drop(self.stop);
        self.thread.join().expect("every question was answered")
    }
}

/// What was right from when to when: each value may be given from its beginning on, and its
/// predecessor must not be given once it is said to be in force.
#[derive(Default)]
struct Versions(Mutex<Vec<(Instant, Option<Instant>, String)>>);

impl Versions {
    fn begins(&self, address: &str) {
        self.0.lock().expect("a list").push((Instant::now(), None, address.to_owned()));
    }

    fn is_in_force(&self) {
        if let Some((_, done, _)) = self.0.lock().expect("a list").last_mut() {
            *done = Some(Instant::now());
        }
    }

    /// Every answer belongs to a version that was in force at some moment while it was asked for.
    #[track_caller]
    fn assert_hold(&self, all: &[Told]) {
        let versions = self.0.lock().expect("a list");
        for told in all {
            let is_done =
                |v: &(Instant, Option<Instant>, String)| v.1.is_some_and(|done| done < told.asked);
            let first = versions.iter().rposition(is_done).unwrap_or(0);
            let begun = versions.iter().filter(|v| v.0 < told.came).count();
            let right = &versions[first..begun];
            assert!(
                right.iter().any(|(.., address)| *address == told.address),
                "{:?} is no version of {:?}",
                told.address,
                right.iter().map(|v| &v.2).collect::<Vec<_>>()
            );
        }
        let used = versions.iter().filter(|v| all.iter().any(|told| told.address == v.2)).count();
        assert!(used * 2 > versions.len(), "the load saw {used} of {} versions", versions.len());
    }
}

/// Rules by which `name` has this address, none, or its own.
fn rule(name: &str, address: &str) -> String {
    match address {
        "" => format!("{name} CNAME ."),
        truth if truth == address_of(name) => "unrelated.example.org CNAME .".to_owned(),
        address => format!("{name} A {address}"),
    }
}

#[test]
fn a_new_generation_holds_for_the_very_next_answer_under_load() {
    const NAME: &str = "www.example.com";
    let stage = Stage::with(|conf| conf.policy(ZONE, "unrelated.example.org CNAME ."));
    let versions = Versions::default();
    versions.begins(&address_of(NAME));
    versions.is_in_force();
    stage.backend.add(&[Record::new("example.com", 300, NS, name_bytes(SERVER))]);
    // kept before the rule comes
    assert_right(&stage.relay.ask(NAME, A), NAME);
    let asking: Vec<_> = (0..4).map(|_| Asking::start(stage.relay.address, NAME)).collect();
    for serial in 2..20 {
        let address = match serial % 3 {
            0 => address_of(NAME),
            1 => String::new(),
            _ => format!("192.0.2.{serial}"),
        };
        versions.begins(&address);
        // also by what a kept answer remembers to be clean of
        let [a, b, c, d] = address_of(NAME).parse::<Ipv4Addr>().expect("an address").octets();
        let rules = match (serial % 3, serial % 2) {
            (1, 0) => format!("32.{d}.{c}.{b}.{a}.rpz-ip CNAME ."),
            (1, _) => "*.rpz-nsdname CNAME .".to_owned(),
            _ => rule(NAME, &address),
        };
        stage.relay.conf.write_zone(ZONE, serial, &rules);
        stage.relay.reload();
        versions.is_in_force();
        asking.iter().for_each(Asking::until_more);
    }
    // the same by hand
    for _ in 0..5 {
        versions.begins("");
        stage.relay.tell(&["block", NAME, "--reason", "abuse"]);
        versions.is_in_force();
        versions.begins(&address_of(NAME));
        stage.relay.tell(&["allow", NAME, "--reason", "a mistake"]);
        versions.is_in_force();
    }
    for asking in asking {
        versions.assert_hold(&asking.finish());
    }
    let asked = stage.backend.seen().requests.into_iter().filter_map(|r| r.query.question);
    let asked = asked.filter(|(name, qtype, _)| (name.as_str(), *qtype) == (NAME, A)).count();
    assert_eq!(asked, 1, "all from the cache, which kept the truth");
}

#[test]
fn two_zones_and_the_configuration_change_at_once_under_load() {
    const ONE: &str = "one.example.com";
    const TWO: &str = "two.example.com";
    let mut stage = Stage::with(|conf| {
        conf.policy("first.local", &rule(ONE, "192.0.2.1"))
            .policy("second.local", &rule(TWO, "198.51.100.1"))
    });
    let (ones, twos) = (Versions::default(), Versions::default());
    let ask = |name| Asking::start(stage.relay.address, name);
    let asking = [ask(ONE), ask(TWO), ask(ONE), ask(TWO), ask("three.example.com")];
    for n in 1..15_u8 {
        let (one, two) = (format!("192.0.2.{n}"), format!("198.51.100.{n}"));
        ones.begins(&one);
        twos.begins(&two);
        // either zone has a word on both names; the first one's counts
        let both = format!("{}\n{}", rule(TWO, &two), rule(ONE, "203.0.113.1"));
        stage.relay.conf.write_zone("first.local", n.into(), &rule(ONE, &one));
        stage.relay.conf.write_zone("second.local", n.into(), &both);
        stage.relay.conf.response_policy = format!("max_ttl = \"{}s\"\n", n % 7 + 1);
        stage.relay.conf.save();
        match n % 3 {
            0 => {
                stage.relay.process.signal("HUP");
                eventually("both are in force", secs(10), || {
                    let is = |name, address: &str| stage.relay.ask(name, A).data(A) == [address];
                    is(ONE, &one) && is(TWO, &two)
                });
            }
            _ => stage.relay.reload(),
        }
        ones.is_in_force();
        twos.is_in_force();
        let reply = stage.relay.ask(ONE, A);
        assert_eq!((reply.data(A), reply.ttl()), (vec![one], u32::from(n % 7 + 1)), "{reply:?}");
    }
    for (told, n) in asking.into_iter().map(Asking::finish).zip(0..) {
        match n {
            4 => assert!(told.iter().all(|t| t.address == address_of("three.example.com"))),
            n if n % 2 == 0 => ones.assert_hold(&told),
            _ => twos.assert_hold(&told),
        }
    }
    for zone in ["first.local", "second.local"] {
        assert_eq!(stage.relay.zone(zone)["serial"], 14);
    }
}

#[test]
fn commands_files_and_reloads_do_not_undo_each_other() {
    const ROUNDS: usize = 12;
    let stage = Stage::with(|conf| conf.policy(ZONE, "first.example.net CNAME ."));
    let relay = &stage.relay;
    let made = |n: usize| format!("made{n}.example.com");
    let gone = |n: usize| format!("gone{n}.example.com");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..ROUNDS {
                relay.tell(&["block", &made(n), "--reason", "abuse"]);
                relay.tell(&["block", &gone(n), "--for", "300ms", "--reason", "for a moment"]);
            }
        });
        scope.spawn(|| (0..ROUNDS).for_each(|_| relay.reload()));
        scope.spawn(|| {
            for n in 0..ROUNDS {
                relay.tell(&["policy", "suspend", "--for", "1h", "--reason", "a test"]);
                let words = relay.tell(&["policy", "resume"]);
                assert!(words.contains("acts again"), "round {n}: {words}");
            }
        });
        scope.spawn(|| {
            for n in 0..ROUNDS {
                let rules = format!("zone{n}.example.net CNAME .");
                let serial = n as u32 + 2;
                relay.conf.write_zone(ZONE, serial, &rules);
                eventually("the file is loaded", secs(5), || relay.zone(ZONE)["serial"] == serial);
            }
        });
    });
    let last = format!("zone{}.example.net", ROUNDS - 1);
    eventually("the last file is in force", secs(10), || relay.ask(&last, A).rcode() == "NXDOMAIN");
    eventually("what has an end has ended", secs(10), || {
        (0..ROUNDS).all(|n| relay.ask(&gone(n), A).data(A) == [address_of(&gone(n))])
    });
    for n in 0..ROUNDS {
        assert_nxdomain(&relay.ask(&made(n), A), &made(n));
    }
    assert_right(&relay.ask("first.example.net", A), "first.example.net");
    let kept = relay.conf.folder().join("state/exceptions.json");
    eventually("the file holds what is in force", secs(5), || {
        let text = std::fs::read_to_string(&kept).unwrap_or_default();
        (0..ROUNDS).all(|n| text.contains(&made(n)) && !text.contains(&gone(n)))
    });
}
