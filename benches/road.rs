//! Times the road in process, without sockets: `cargo bench --bench road`, or with words that
//! choose lines of the table by their text: `cargo bench --bench road -- cached blocked`.
//!
//! A second table, by the word `policy`, has what policy adds to queries that no rule acts on.
//!
//! Every figure is the middle one of several rounds, on one core: from a packet in memory to its
//! reply in memory, or to the point where an upstream would be asked. The names come from a
//! seeded generator, so that two runs ask the same; compare figures inside one run.

mod dice;

use std::collections::HashSet;
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use culvert::acl::Acl;
use culvert::cache::{Cache, Entry, Freshness};
use culvert::clock::Moment;
use culvert::dns::answer::Answer;
use culvert::dns::name::Name;
use culvert::dns::question::Question;
use culvert::dns::{rcode, rtype};
use culvert::listener::{Handler, Source, Step, Transport};
use culvert::metrics::Counters;
use culvert::pipeline::local::{self, LocalNames};
use culvert::pipeline::{Keeper, Outside, Road, Routes, Snapshot};
use culvert::policy::rules::ZoneRules;
use culvert::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use culvert::policy::stage::Place;
use culvert::report::{Destination, Format, Writer};
use culvert::rpz;
use culvert::upstream::{Kind, Settings as UpstreamSettings, Upstream};

use dice::Dice;

/// Sizes of the policies.
const RULES: [usize; 3] = [0, 1_000, 1_000_000];
/// Names in the cache.
const CACHED: usize = 100_000;
/// Queries of a round.
const QUERIES: usize = 200_000;
const ROUNDS: usize = 7;
/// Names of one kind that are asked for, the cached ones apart.
const ASKED: usize = 10_000;
/// Octets of a reply buffer, as the listener has it for UDP.
const BUFFER: usize = 4_096;
/// An alias chain: the name that is asked for, and where its three links lead.
const CHAIN: [&str; 4] =
    ["www.shop.example", "shop.cdn.example", "eu.cdn.example", "edge7.cdn.example"];
const INSIDE: &str = "192.168.1.20:50000";
const OUTSIDE: &str = "203.0.113.5:50000";
/// Header flag: recursion desired.
const RD: u16 = 0x0100;
/// An OPT record: 1,232 octets, no option.
const OPT: [u8; 11] = [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let mut lines: Vec<Line> = Vec::new();
    for (column, rules) in RULES.into_iter().enumerate() {
        let world = World::new(rules);
        for case in world.cases() {
            if !words.is_empty() && !words.iter().any(|word| case.what.contains(word.as_str())) {
                continue;
            }
            for edns in [false, true] {
                let nanos = world.time(&case, edns);
                let at = lines.iter().position(|l| l.what == case.what && l.edns == edns);
                let at = at.unwrap_or_else(|| {
                    lines.push(Line { what: case.what, edns, nanos: [None; RULES.len()] });
                    lines.len() - 1
                });
                lines[at].nanos[column] = Some(nanos);
            }
        }
        world.writer.stop();
    }
    if !lines.is_empty() {
        print(&lines);
    }
    if words.is_empty() || words.iter().any(|word| word == "policy") {
        policy_cost();
    }
}

/// Policies whose cost is looked at: what, zones, names in all, prefixes of the first zone.
const POLICIES: [(&str, usize, usize, usize); 6] = [
    ("no zone", 0, 0, 0),
    ("1 zone, 1 M names", 1, 1_000_000, 0),
    ("4 zones, 1 M names", 4, 1_000_000, 0),
    ("64 zones, 1 M names", 64, 1_000_000, 0),
    ("1 zone, 10,000 IP rules", 1, 0, 10_000),
    ("64 zones, 1 M names, 10,000 IP", 64, 1_000_000, 10_000),
];

/// Queries that no rule acts on, under one policy after the other.
fn policy_cost() {
    println!("\nns per query that no rule acts on, without EDNS; anew: the first time that a");
    println!("kept answer is judged under a generation of policy; chain: 3 links; miss: to");
    println!("the asking");
    let heads = ["cached", "anew", "chain", "anew", "miss"].map(|head| format!("{head:>9}"));
    println!("{:<35}{}", "policy", heads.concat());
    for (what, zones, names, prefixes) in POLICIES {
        let mut dice = Dice(1);
        let mut policy = Vec::new();
        for zone in 0..zones {
            let mut listed = Listed::new(&mut dice, names / zones);
            if zone == 0 {
                listed.list_addresses(prefixes);
            }
            policy.push(listed.zone(&format!("z{zone}.rpz"), false));
        }
        let world = World::of(&mut dice, policy.clone());
        let case = |what, names, wanted| Case {
            what,
            names,
            flags: RD,
            client: INSIDE,
            excess: &[],
            wanted,
        };
        let one = Wanted::Reply(rcode::NOERROR, 1);
        let cached = case("cached", &world.cached[..], one);
        let chains = case("chain", &world.chains, Wanted::Reply(rcode::NOERROR, 4));
        let figures = [
            world.time(&cached, false),
            world.time_anew(&cached, &policy),
            world.time(&chains, false),
            world.time_anew(&chains, &policy),
            world.time(&case("miss", &world.unknown, Wanted::Asking), false),
        ];
        let cells = figures.map(|nanos| format!("{nanos:>9.0}"));
        println!("{what:<35}{}", cells.concat());
        world.writer.stop();
    }
}

/// One line of the table.
struct Line {
    what: &'static str,
    edns: bool,
    nanos: [Option<f64>; RULES.len()],
}

fn print(lines: &[Line]) {
    println!("ns per query; zones are two, each with half of the rules");
    let heads = RULES.map(|rules| format!("{:>14}", format!("{rules} rules")));
    println!("{:<30} {:>4} {}", "query", "EDNS", heads.join(" "));
    for line in lines {
        let edns = if line.edns { "yes" } else { "no" };
        let cell = |nanos: Option<f64>| nanos.map_or("-".to_owned(), |n| format!("{n:.0}"));
        let cells = line.nanos.map(|nanos| format!("{:>14}", cell(nanos)));
        println!("{:<30} {edns:>4} {}", line.what, cells.join(" "));
    }
}

/// One kind of query.
struct Case<'w> {
    what: &'static str,
    /// Asked in turn.
    names: &'w [String],
    flags: u16,
    client: &'static str,
    /// Octets behind the last record, where none should be.
    excess: &'static [u8],
    wanted: Wanted,
}

/// What a query must lead to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    /// A reply with this code and so many records in its answer section.
    Reply(u16, u16),
    /// An upstream is asked.
    Asking,
}

/// A road under one policy, its cache filled.
struct World {
    road: Road,
    writer: Writer,
    cached: Vec<String>,
    chain: Vec<String>,
    /// Names at the head of such chains.
    chains: Vec<String>,
    special: Vec<String>,
    localhost: Vec<String>,
    unknown: Vec<String>,
    /// Blocked names of the zone that is logged, and of the one that is not.
    logged: Vec<String>,
    blocked: Vec<String>,
    /// Names with an address of the zone's own; not logged.
    data: Vec<String>,
}

impl World {
    /// Two zones, each with half of the rules.
    fn new(rules: usize) -> World {
        let mut dice = Dice(1);
        let (mut policy, logged) = (Vec::new(), Listed::new(&mut dice, rules / 2));
        let quiet = Listed::new(&mut dice, rules / 2);
        if rules > 0 {
            policy.push(logged.zone("logged.rpz", true));
            policy.push(quiet.zone("quiet.rpz", false));
        }
        let mut world = World::of(&mut dice, policy);
        (world.logged, world.blocked, world.data) = (logged.blocked, quiet.blocked, quiet.data);
        world
    }

    /// A road under these zones, its cache filled with names that the dice make.
    fn of(dice: &mut Dice, policy: Vec<(ZoneSettings, Arc<ZoneRules>)>) -> World {
        let cache = Arc::new(Cache::new(Default::default(), 1));
        let upstream = nobody(&cache);
        let policy = PolicySet::build(Parts::of_zones(1, policy), None);
        let judge = policy.judge([192, 168, 1, 20].into(), true);
        let place = Place { first: true, own: false };
        // short names come up twice, some of them in a zone
        let is_free = |text: &String| !judge.stage(&name(text), place).acts();
        let mut free = |count: usize| -> Vec<String> {
            std::iter::repeat_with(|| dice.text()).filter(is_free).take(count).collect()
        };
        let cached = free(CACHED);
        let kept: HashSet<&String> = cached.iter().collect();
        let unknown = free(ASKED).into_iter().filter(|name| !kept.contains(name)).collect();
        for name in &cached {
            keep(&cache, upstream.id(), &[name]);
        }
        keep(&cache, upstream.id(), &CHAIN);
        let chains: Vec<String> = (0..ASKED).map(|i| format!("w{i}.shop.example")).collect();
        for name in &chains {
            keep(&cache, upstream.id(), &[name, CHAIN[1], CHAIN[2], CHAIN[3]]);
        }
        let destination = Destination::File("/dev/null".into());
        let writer = Writer::start("bench".to_owned(), destination, Format::Json, false)
            .expect("a thread can be started");
        let snapshot = snapshot(policy, upstream);
        let counters = Arc::new(Counters::new(1));
        World {
            road: Road::new(snapshot, cache, counters, writer.reporter()),
            writer,
            cached,
            chain: vec![CHAIN[0].to_owned()],
            chains,
            special: (0..ASKED).map(|_| format!("{}.test", dice.label())).collect(),
            localhost: vec!["localhost".to_owned()],
            unknown,
            logged: Vec::new(),
            blocked: Vec::new(),
            data: Vec::new(),
        }
    }

    fn cases(&self) -> Vec<Case<'_>> {
        use Wanted::{Asking, Reply};
        let one = Reply(rcode::NOERROR, 1);
        let absent = Reply(rcode::NXDOMAIN, 0);
        let case = |what, names, wanted| {
            let (flags, client, excess): (_, _, &[u8]) = (RD, INSIDE, &[]);
            Case { what, names, flags, client, excess, wanted }
        };
        let refused = Reply(rcode::REFUSED, 0);
        let outside = case("refused, outside the list", &self.unknown[..], refused);
        let no_recursion = case("refused, RD=0", &self.unknown, refused);
        let excess = case("format error", &self.unknown, Reply(rcode::FORMERR, 0));
        let mut cases = vec![
            case("cached, 1,000 names", &self.cached[..1_000], one),
            case("cached, 100,000 names", &self.cached, one),
            case("cached, chain of 3 links", &self.chain, Reply(rcode::NOERROR, 4)),
            case("miss, up to the asking", &self.unknown, Asking),
            case("special name, NXDOMAIN", &self.special, absent),
            case("special name, localhost", &self.localhost, one),
            Case { client: OUTSIDE, ..outside },
            Case { flags: 0, ..no_recursion },
            Case { excess: &[0], ..excess },
        ];
        if !self.blocked.is_empty() {
            cases.extend([
                case("blocked, NXDOMAIN, logged", &self.logged[..], absent),
                case("blocked, NXDOMAIN", &self.blocked, absent),
                case("local data, A", &self.data, one),
            ]);
        }
        cases
    }

    /// Nanoseconds for each query of a kind, each asked once after a new generation of the same
    /// zones was published.
    fn time_anew(&self, case: &Case<'_>, policy: &[(ZoneSettings, Arc<ZoneRules>)]) -> f64 {
        let packets: Vec<Vec<u8>> =
            case.names.iter().map(|name| packet(name, case, false)).collect();
        let client: SocketAddr = case.client.parse().expect("an address");
        let source = Source { client, transport: Transport::Udp, worker: 0 };
        let mut reply = [0; BUFFER];
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let mut snapshot = Snapshot::clone(&self.road.snapshot());
            let parts = Parts::of_zones(snapshot.policy.generation + 1, policy.to_vec());
            snapshot.policy = Arc::new(PolicySet::build(parts, Some(&snapshot.policy)));
            self.road.publish(snapshot);
            let round = self.road.round();
            let start = Instant::now();
            for packet in &packets {
                let packet = black_box(&packet[..]);
                black_box(self.road.receive(&round, source, packet, true, &mut reply));
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / packets.len() as f64);
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// Nanoseconds for each query of a kind.
    fn time(&self, case: &Case<'_>, edns: bool) -> f64 {
        let packets: Vec<Vec<u8>> =
            case.names.iter().map(|name| packet(name, case, edns)).collect();
        let client: SocketAddr = case.client.parse().expect("an address");
        let source = Source { client, transport: Transport::Udp, worker: 0 };
        let round = self.road.round();
        let mut reply = [0; BUFFER];
        for packet in packets.iter().take(1_000) {
            let step = self.road.receive(&round, source, packet, true, &mut reply);
            let got = match step {
                Step::Reply(_) => Wanted::Reply(
                    u16::from(reply[3] & 0xf),
                    u16::from_be_bytes([reply[6], reply[7]]),
                ),
                Step::Later(_) => Wanted::Asking,
                Step::Silence => panic!("{}: silence", case.what),
            };
            assert_eq!(got, case.wanted, "{}", case.what);
        }
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            for packet in packets.iter().cycle().take(QUERIES) {
                let packet = black_box(&packet[..]);
                black_box(self.road.receive(&round, source, packet, true, &mut reply));
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / QUERIES as f64);
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

/// A query for the address of `name`.
fn packet(text: &str, case: &Case<'_>, edns: bool) -> Vec<u8> {
    let mut out = vec![0x12, 0x34];
    out.extend(case.flags.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 0, 0, u8::from(edns)]);
    out.extend(name(text).as_wire());
    out.extend([0, 1, 0, 1]);
    if edns {
        out.extend(OPT);
    }
    out.extend(case.excess);
    out
}

/// An upstream that is never asked: port 9 discards.
fn nobody(cache: &Arc<Cache>) -> Arc<Upstream> {
    let kind = Kind::Plain { servers: vec![SocketAddr::from(([127, 0, 0, 1], 9))] };
    let settings = UpstreamSettings { name: "nobody".to_owned(), kind, max_in_flight: 100 };
    let sink = Arc::new(Keeper { cache: Arc::clone(cache) });
    Upstream::build(0, settings, None, 1, sink).expect("plain DNS needs no files")
}

fn snapshot(policy: PolicySet, upstream: Arc<Upstream>) -> Snapshot {
    let networks = ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "127.0.0.0/8", "fc00::/7"];
    let networks = networks.map(|network| network.parse().expect("a network"));
    let settings = local::Settings { hosts: Vec::new(), special: true, canary_domain: true };
    Snapshot {
        acl: Arc::new(Acl::new(networks)),
        outside: Outside::Refused,
        payload: 1_232,
        policy: Arc::new(policy),
        svcb_hints: true,
        min_ns_dots: 1,
        break_dnssec: true,
        wait: false,
        negative_soa: true,
        local: Arc::new(LocalNames::new(&settings)),
        routes: Arc::new(Routes::new(upstream)),
        notify: Arc::default(),
    }
}

/// Caches an address for the first of `names`, which are the links of a chain.
fn keep(cache: &Cache, upstream: usize, names: &[impl AsRef<str>]) {
    let question = Question::plain(name(names[0].as_ref()), rtype::A);
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, names.len() as u8, 0, 0, 0, 0];
    message.extend(question.name.as_wire());
    message.extend([0, 1, 0, 1]);
    let mut owner = 12;
    for target in &names[1..] {
        let target = name(target.as_ref());
        message.extend([0xc0, owner, 0, 5, 0, 1, 0, 0, 14, 16, 0, target.len() as u8]);
        owner = message.len() as u8;
        message.extend(target.as_wire());
    }
    message.extend([0xc0, owner, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]);
    let answer = Answer::receive(&question, &message).expect("a good answer");
    let (freshness, now) = (Freshness::default(), Moment::now());
    let entry = Entry::new(Arc::new(answer), freshness, true, cache.settings(), now);
    cache.store(upstream, &question, &Arc::new(entry));
}

/// A made-up policy zone: nine names of ten do not exist, one gets an address; 30 of 100 are
/// listed with all names below them too.
struct Listed {
    text: String,
    blocked: Vec<String>,
    data: Vec<String>,
}

impl Listed {
    fn new(dice: &mut Dice, rules: usize) -> Listed {
        let text = "$TTL 60\n@ SOA ns.rpz. host.rpz. 1 3600 600 86400 60\n@ NS ns.rpz.\n";
        let mut out = Listed { text: text.to_owned(), blocked: Vec::new(), data: Vec::new() };
        let mut written = 0;
        while written < rules {
            let name = dice.text();
            let (is_data, is_wild) = (dice.below(10) == 0, dice.below(100) < 30);
            let action = if is_data { "A 192.0.2.7" } else { "CNAME ." };
            out.text.push_str(&format!("{name} {action}\n"));
            if is_wild {
                out.text.push_str(&format!("*.{name} {action}\n"));
            }
            written += 1 + usize::from(is_wild);
            let names = if is_data { &mut out.data } else { &mut out.blocked };
            if names.len() < ASKED {
                names.push(name);
            }
        }
        out
    }

    /// Adds addresses of which none is in an answer.
    fn list_addresses(&mut self, count: usize) {
        for i in 1..=count {
            let [a, b, c, d] = (i as u32).wrapping_mul(0x9e37_79b9).to_be_bytes();
            self.text.push_str(&format!("32.{d}.{c}.{b}.{a}.rpz-ip CNAME .\n"));
        }
    }

    fn zone(&self, origin: &str, log: bool) -> (ZoneSettings, Arc<ZoneRules>) {
        let origin = name(origin);
        let limits = rpz::Limits::default();
        let (text, file) = (self.text.as_bytes(), Path::new("made-up"));
        let rules = rpz::parse(text, file, &origin, rpz::Form::Zone, &limits);
        let settings = ZoneSettings {
            name: origin,
            mode: Mode::Enforce,
            action: Override::Given,
            recursive_only: false,
            add_soa: true,
            max_ttl: 5,
            ede: Some(15),
            ede_text: "".into(),
            remote: false,
            log,
        };
        (settings, Arc::new(rules.expect("a good zone")))
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("the generator writes names")
}
