//! The long life of a big zone: very many changes, and very large ones, while queries come in.
//!
//! By default the zone has 100,000 rules and changes 300 times; `make soak` runs the whole of it,
//! a million rules and a thousand changes (`CULVERT_SOAK=1000000x1000`).

use crate::harness::backend::Backend;
use crate::harness::conf::Conf;
use crate::harness::flood::{Flood, Running, said};
use crate::harness::primary::Primary;
use crate::harness::relay::Relay;
use crate::harness::tls::Tls;
use crate::harness::wire::{A, AAAA, CNAME, NS, Record, name_bytes};
use crate::harness::world::address_of;
use crate::harness::{eventually, secs};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ZONE: &str = "feed.local";
const TTL: u32 = 300;
/// Rules that stay as they are, so that the load knows what to expect of them.
const STEADY: usize = 2_000;
/// Names without a rule that the load asks for; they are cached.
const FREE: u64 = 500;
/// Queries a second.
const RATE: u32 = 2_000;
/// Changes of the zone that are one transfer: removals, additions, other actions.
const CHANGES: [usize; 3] = [40, 40, 20];
/// Octets that the allocator may keep between pieces of memory that are in use: each change
/// replaces some of them by others of another size. Of a million rules that is 5 to 10 MB after a
/// hundred changes, and no more after three thousand.
const GAPS: u64 = 4 << 20;
/// Octets of memory that each change of a large transfer may take while it is made.
const PER_CHANGE: u64 = 600;
/// No answer may take longer, whatever happens to the zone.
const LONGEST: Duration = Duration::from_secs(1);
/// How long a zone may take to come as a whole, on a slow machine in a development build.
const WHOLE: Duration = Duration::from_secs(180);

/// Rules of the zone, and how often it changes.
fn size() -> (usize, u32) {
    let given = std::env::var("CULVERT_SOAK").unwrap_or_else(|_| "100000x300".to_owned());
    let parts = given
        .split_once('x')
        .and_then(|(rules, changes)| Some((rules.parse().ok()?, changes.parse().ok()?)));
    let (rules, changes) = parts.expect("CULVERT_SOAK is RULESxCHANGES, as in 1000000x1000");
    assert!(rules >= 10 * STEADY && changes >= 20, "CULVERT_SOAK is too small to tell anything");
    (rules, changes)
}

/// One rule: its number makes its trigger, its turn its action.
#[derive(Clone, Copy)]
struct Rule {
    number: u64,
    turn: u64,
}

impl Rule {
    fn is_address(self) -> bool {
        self.number % 100 == 99
    }

    /// The address that an rpz-ip rule is about.
    fn address(self) -> Ipv4Addr {
        let [_, b, c, d] = ((self.number / 100) as u32).to_be_bytes();
        Ipv4Addr::new(172, 16 + b, c, d)
    }

    fn name(self) -> String {
        let n = self.number;
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 44;
        format!("d{mixed:x}-{n}.s{}.t{}", n % 4999, n % 37)
    }

    fn owner(self) -> String {
        if self.is_address() {
            let [a, b, c, d] = self.address().octets();
            return format!("32.{d}.{c}.{b}.{a}.rpz-ip");
        }
        if self.number % 5 < 2 { format!("*.{}", self.name()) } else { self.name() }
    }

    /// A name that the rule is about.
    fn asked(self) -> String {
        if self.is_address() {
            return format!(
                "to-{}.upstream.example.com",
                self.address().to_string().replace('.', "-")
            );
        }
        if self.number % 5 < 2 { format!("www.{}", self.name()) } else { self.name() }
    }

    fn kind(self) -> u64 {
        (self.number / 5 + self.turn * 7) % 20
    }

    fn data(self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, ((self.number + self.turn) % 200) as u8)
    }

    fn records(self) -> Vec<Record> {
        let owner = format!("{}.{ZONE}", self.owner());
        let alias = |target: &str| vec![Record::cname(&owner, TTL, target)];
        match self.kind() {
            0..14 => alias("."),
            14 | 15 => alias("*"),
            16 => alias("rpz-passthru"),
            kind => {
                let mut records = vec![Record::new(&owner, TTL, A, self.data().octets().to_vec())];
                if kind == 17 {
                    records.push(Record::aaaa(&owner, TTL, "2001:db8::17"));
                }
                records
            }
        }
    }

    /// What a query for the address of [`Rule::asked`] gets.
    fn expected(self) -> String {
        match self.kind() {
            0..14 => "NXDOMAIN".to_owned(),
            14 | 15 => String::new(),
            16 => self.unjudged(),
            _ => self.data().to_string(),
        }
    }

    /// What it would get without the rule.
    fn unjudged(self) -> String {
        if self.is_address() { self.address().to_string() } else { address_of(&self.asked()) }
    }
}

/// The zone as it should be, a primary that has it, and a relay that is to have it.
struct Soak {
    relay: Relay,
    primary: Primary,
    backend: Backend,
    rules: Vec<Rule>,
    next: u64,
    serial: u32,
    dice: fastrand::Rng,
    _tls: Tls,
}

impl Soak {
    fn new(count: usize) -> Soak {
        let rules: Vec<Rule> = (0..count as u64).map(|number| Rule { number, turn: 0 }).collect();
        let primary = Primary::start(ZONE);
        primary.script(|script| script.per_message = 400);
        let mut records = vec![Record::new(ZONE, TTL, NS, name_bytes("localhost"))];
        records.extend(rules.iter().flat_map(|rule| rule.records()));
        primary.version(1, &records);
        drop(records);
        let tls = Tls::new();
        let backend = Backend::start(&tls);
        let conf = Conf::before(&tls, &[&backend]).with(&format!(
            "[[policy]]\nzone = \"{ZONE}\"\nprimaries = [\"{}\"]\nlog = false\n\
             until_loaded = \"servfail\"\nmax_loss = 60",
            primary.address
        ));
        let relay = conf.start();
        let dice = fastrand::Rng::with_seed(20);
        let next = count as u64;
        let soak = Soak { relay, primary, backend, rules, next, serial: 1, dice, _tls: tls };
        soak.tell("before the zone", Instant::now());
        let start = Instant::now();
        eventually("the zone is in force", WHOLE, || soak.status()["state"] == "current");
        soak.tell("first transfer", start);
        assert_eq!(soak.status()["rules"], count, "{:#}", soak.status());
        soak
    }

    /// A line for those who run the soak, and a new peak of memory from here on. Gives the one so
    /// far, in octets.
    fn tell(&self, what: &str, since: Instant) -> u64 {
        let [now, peak] = [self.relay.process.memory(), self.relay.process.peak_memory()];
        let millis = since.elapsed().as_millis();
        let mega = |octets: u64| octets / 1_000_000;
        eprintln!("soak: {what}: {millis} ms, {} MB, at most {} MB", mega(now), mega(peak));
        self.relay.process.forget_peak();
        peak
    }

    /// A request over the control socket.
    #[track_caller]
    fn request(&self, request: &Value) -> Value {
        let path = self.relay.conf.folder().join("control.sock");
        let mut stream = UnixStream::connect(path).expect("the control socket");
        stream.set_read_timeout(Some(WHOLE)).expect("a time-out");
        stream.write_all(format!("{request}\n").as_bytes()).expect("the request is sent");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a reply");
        let reply: Value = serde_json::from_str(&line).expect("the reply is JSON");
        assert!(reply["error"].is_null(), "{request}: {reply}");
        reply
    }

    fn status(&self) -> Value {
        self.request(&json!({ "command": "zone", "zone": ZONE, "ask": "show" }))["zone"].take()
    }

    /// Brings the relay up to date, as `culvert zone refresh` or `retransfer` does.
    #[track_caller]
    fn refresh(&self, how: &str) {
        let ask = json!({ "refresh": how });
        let reply = self.request(&json!({ "command": "zone", "zone": ZONE, "ask": ask }));
        let text = reply["ok"].as_str().unwrap_or_default();
        if text.contains("it goes on") {
            eventually("the look is over", WHOLE, || self.status()["supply"]["busy"].is_null());
        }
        assert_eq!(self.status()["serial"], self.serial, "{text}");
    }

    /// Changes some rules, has the relay take that, and asks it about one of each sort.
    fn change(&mut self) {
        let [removals, additions, others] = CHANGES;
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        let mut asked = Vec::new();
        for n in 0..removals {
            let place = self.dice.usize(STEADY..self.rules.len());
            let rule = self.rules.swap_remove(place);
            gone.extend(rule.records());
            if n == 0 {
                asked.push((rule, rule.unjudged()));
            }
        }
        for n in 0..others {
            // one after the other, so that none is changed twice
            let span = (self.rules.len() - STEADY) / others;
            let rule = &mut self.rules[STEADY + n * span + self.dice.usize(..span)];
            gone.extend(rule.records());
            rule.turn += 1;
            come.extend(rule.records());
            if n == 0 {
                asked.push((*rule, rule.expected()));
            }
        }
        for n in 0..additions {
            let rule = Rule { number: self.next, turn: 0 };
            self.next += 1;
            come.extend(rule.records());
            self.rules.push(rule);
            if n == 0 || rule.is_address() {
                asked.push((rule, rule.expected()));
            }
        }
        // a record that is the same before and after has not changed
        let same: Vec<Record> = gone.iter().filter(|r| come.contains(r)).cloned().collect();
        gone.retain(|record| !same.contains(record));
        come.retain(|record| !same.contains(record));
        self.serial += 1;
        self.primary.change(self.serial, gone, come);
        self.refresh("check");
        asked.into_iter().for_each(|(rule, expected)| self.ask(rule, &expected));
    }

    #[track_caller]
    fn ask(&self, rule: Rule, expected: &str) {
        let name = rule.asked();
        if rule.is_address() {
            self.backend.add(&[Record::a(&name, TTL, &rule.address().to_string())]);
        }
        let reply = self.relay.ask(&name, A);
        let owner = rule.owner();
        assert_eq!(said(&reply), expected, "{name}, {owner}, serial {}: {reply:?}", self.serial);
    }

    /// Queries for rules that stay and for cached names, in turn.
    fn load(&self) -> Running {
        let steady = self.rules[..STEADY].iter().filter(|rule| !rule.is_address());
        let mut answers: Vec<(String, String)> =
            steady.map(|rule| (rule.asked(), rule.expected())).collect();
        let free = (0..FREE).map(|n| format!("free{n}.cached.example.com"));
        answers.extend(free.map(|name| (name.clone(), address_of(&name))));
        let names: Vec<String> = answers.iter().map(|(name, _)| name.clone()).collect();
        let answers: HashMap<String, String> = answers.into_iter().collect();
        let load = Flood {
            server: self.relay.address,
            rate: RATE,
            limit: secs(3600),
            name: Arc::new(move |n| names[n as usize * 7919 % names.len()].clone()),
            expected: Arc::new(move |name| answers[name].clone()),
        };
        let load = load.start();
        load.until_answered(u64::from(RATE));
        load
    }

    /// What the relay has, and what it should have: the lines of both, sorted.
    #[track_caller]
    fn assert_dump_is_the_zone(&self) {
        let file = self.relay.conf.folder().join("dump");
        self.relay.tell(&["zone", "dump", ZONE, &file.display().to_string()]);
        let text = std::fs::read_to_string(&file).expect("the dump");
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some(&*format!("$ORIGIN {ZONE}.")));
        let soa = lines.next().unwrap_or_default();
        assert!(soa.contains(&format!(" {} 3600 ", self.serial)), "{soa}");
        let mut dumped: Vec<&str> = lines.collect();
        dumped.sort_unstable();
        let mut wanted: Vec<String> = self.primary.records().iter().map(line).collect();
        wanted.sort_unstable();
        let odd = dumped.iter().zip(&wanted).find(|(dumped, wanted)| *dumped != wanted);
        assert_eq!(odd, None, "the first of them");
        assert_eq!(dumped.len(), wanted.len());
        let own: usize = self.rules.iter().map(|rule| rule.records().len()).sum();
        assert_eq!(wanted.len(), own + 1, "the primary has what the test means");
    }
}

/// A record of the zone as a line of a dump.
fn line(record: &Record) -> String {
    let owner = match record.name.strip_suffix(ZONE) {
        Some("") => "@",
        Some(owner) => owner.trim_end_matches('.'),
        None => panic!("{record:?} is not of the zone"),
    };
    let rtype = match record.rtype {
        A => "A",
        AAAA => "AAAA",
        NS => "NS",
        CNAME => "CNAME",
        other => panic!("no record of the zone has type {other}"),
    };
    let data = record.data();
    let dot = matches!(record.rtype, NS | CNAME) && data != ".";
    format!("{owner} {} IN {rtype} {data}{}", record.ttl, if dot { "." } else { "" })
}

/// The time within which so many of a hundred were answered, of those sent between two moments.
fn percentile(times: &[(Instant, Duration)], within: (Instant, Instant), share: usize) -> Duration {
    let own = times.iter().filter(|(sent, _)| (within.0..within.1).contains(sent));
    let mut own: Vec<Duration> = own.map(|(_, took)| *took).collect();
    own.sort_unstable();
    own.get(own.len() * share / 100).copied().unwrap_or_default()
}

/// Ends the load: everything was answered, rightly and in time.
#[track_caller]
fn assert_served(load: Running) -> Vec<(Instant, Duration)> {
    let report = load.finish();
    let few = |all: &[String]| all.iter().take(5).cloned().collect::<Vec<_>>();
    eprintln!("soak: {} queries, the slowest took {:?}", report.sent, report.longest);
    assert_eq!((few(&report.lost), few(&report.wrong)), (vec![], vec![]), "lost, wrong");
    assert_eq!((report.right, report.unasked), (report.sent, 0), "{:?}", report.by_rcode);
    assert!(report.longest < LONGEST, "{:?}", report.longest);
    report.times
}

#[test]
fn a_zone_that_changes_all_the_time_stays_exact_and_does_not_grow() {
    let (rules, changes) = size();
    let mut soak = Soak::new(rules);
    let load = soak.load();
    let mut after_ten = 0;
    let mut start = Instant::now();
    for n in 1..=changes {
        soak.change();
        if n == 10 {
            after_ten = soak.relay.process.memory();
        }
        if n == 10 || n % (changes / 10) == 0 {
            soak.tell(&format!("change {n}"), start);
            start = Instant::now();
        }
    }
    let most = after_ten + after_ten / 10 + GAPS;
    let what = format!("memory is within a tenth of {after_ten} octets, as after ten changes");
    eventually(&what, secs(10), || soak.relay.process.memory() <= most);
    assert_served(load);
    let supply = soak.status()["supply"].take();
    assert_eq!((&supply["incremental"], &supply["whole"]), (&changes.into(), &1.into()));
    soak.assert_dump_is_the_zone();
    let start = Instant::now();
    soak.refresh("whole");
    soak.tell("retransfer", start);
    soak.assert_dump_is_the_zone();
    // two copies of the zone while it comes, and one when it is there
    let most = after_ten + after_ten / 20;
    eventually("the old version is gone", secs(10), || soak.relay.process.memory() <= most);
}

#[test]
fn half_of_a_zone_goes_in_one_change_and_nobody_waits() {
    let (rules, _) = size();
    let mut soak = Soak::new(rules);
    // what the first change costs once only is not what is looked at here
    soak.change();
    let load = soak.load();
    let quiet = Instant::now();
    load.until_more(u64::from(4 * RATE));
    let gone = soak.rules.split_off(STEADY + (rules - STEADY) / 2);
    soak.serial += 1;
    let records = gone.iter().flat_map(|rule| rule.records()).collect();
    soak.primary.change(soak.serial, records, Vec::new());
    let start = Instant::now();
    let before = soak.relay.process.memory();
    soak.refresh("check");
    let end = Instant::now();
    let peak = soak.tell(&format!("{} rules less", gone.len()), start);
    let each = peak.saturating_sub(before) / gone.len() as u64;
    assert!(each < PER_CHANGE, "{each} octets of memory for each rule that went");
    load.until_more(u64::from(RATE));
    let times = assert_served(load);
    for share in [50, 99] {
        let [before, during] =
            [(quiet, start), (start, end)].map(|span| percentile(&times, span, share));
        eprintln!("soak: {share} of 100 within {before:?} before, {during:?} during the change");
    }
    let supply = soak.status()["supply"].take();
    assert_eq!((&supply["incremental"], &supply["whole"]), (&2.into(), &1.into()));
    for rule in gone.iter().filter(|rule| !rule.is_address()).step_by(gone.len() / 20) {
        soak.ask(*rule, &rule.unjudged());
    }
    soak.assert_dump_is_the_zone();
    // and it goes on
    soak.change();
    soak.tell("a change later", end);
    soak.assert_dump_is_the_zone();
}
