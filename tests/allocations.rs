//! What the road answers at once takes no memory from the heap: cached answers, what policy and
//! local names say, and refusals. An allocator that counts for each thread proves it.
//!
//! A miss, which becomes a task, may allocate; so may the writer of the hit log, a thread of its
//! own. If a test fails, its message shows where the first piece of memory was taken.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use culvert::acl::Acl;
use culvert::cache::{Cache, Entry, Failed, Freshness};
use culvert::clock::Moment;
use culvert::dns::answer::Answer;
use culvert::dns::name::Name;
use culvert::dns::question::Question;
use culvert::dns::{flag, rcode, rtype};
use culvert::listener::{Handler, Source, Step, Transport};
use culvert::metrics::Counters;
use culvert::pipeline::local::{self, LocalNames};
use culvert::pipeline::{Keeper, Outside, Road, Routes, Snapshot};
use culvert::policy::rules::ZoneRules;
use culvert::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use culvert::report::{Destination, Format, Writer};
use culvert::rpz;
use culvert::upstream::{Kind, Settings as UpstreamSettings, Upstream};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// An allocator that counts what one thread takes while it is asked to.
#[allow(unsafe_code)]
mod counting {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::backtrace::Backtrace;
    use std::cell::{Cell, RefCell};

    pub(super) struct Counting;

    thread_local! {
        // neither needs memory to be made
        static TAKEN: Cell<Option<usize>> = const { Cell::new(None) };
        static FIRST: RefCell<Option<Backtrace>> = const { RefCell::new(None) };
    }

    // SAFETY: every call goes on to the system's allocator with the caller's own arguments, and
    // what that gives goes back unchanged, so its guarantees are ours. `note` neither unwinds nor
    // counts itself: a thread that is at its end is let pass, and counting is off meanwhile.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            note();
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
            // SAFETY: `memory` came from `System` with this `layout`.
            unsafe { System.dealloc(memory, layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            note();
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            note();
            // SAFETY: `memory` came from `System` with this `layout`, `size` is the caller's.
            unsafe { System.realloc(memory, layout, size) }
        }
    }

    fn note() {
        let Ok(Some(taken)) = TAKEN.try_with(|cell| cell.take()) else { return };
        if taken == 0 {
            let _ = FIRST.try_with(|first| {
                *first.borrow_mut() = Some(Backtrace::force_capture());
            });
        }
        let _ = TAKEN.try_with(|cell| cell.set(Some(taken + 1)));
    }

    /// How often `work` takes memory on this thread, and where it does so first.
    pub(super) fn count(work: impl FnOnce()) -> (usize, Option<Backtrace>) {
        FIRST.with(|first| first.borrow_mut().take());
        TAKEN.with(|cell| cell.set(Some(0)));
        work();
        let taken = TAKEN.with(|cell| cell.take());
        (taken.unwrap_or(0), FIRST.with(|first| first.borrow_mut().take()))
    }
}

const INSIDE: &str = "192.168.1.20:50000";
const OUTSIDE: &str = "203.0.113.5:50000";
/// An alias chain: the name that is asked for, and where its three links lead.
const CHAIN: [&str; 4] = ["www.shop.example", "shop.cdn.example", "eu.cdn.example", "e7.example"];
/// A chain whose second link leads to a name with a rule.
const LISTED_CHAIN: [&str; 4] =
    ["ok.example", "still.ok.example", "no.blocked.example", "e9.example"];

const POLICY: &str = "$TTL 60
@ SOA ns.rpz. host.rpz. 1 3600 600 86400 60
@ NS ns.rpz.
blocked.example CNAME .
*.blocked.example CNAME .
empty.example CNAME *.
garden.example CNAME e7.example.
*.garden.example CNAME *.walled.example.
data.example A 192.0.2.7
data.example A 192.0.2.8
pass.example CNAME rpz-passthru.
drop.example CNAME rpz-drop.
tcp.example CNAME rpz-tcp-only.
";
const WATCHING: &str = "$TTL 60
@ SOA ns.rpz. host.rpz. 1 3600 600 86400 60
@ NS ns.rpz.
blocked.example CNAME .
watched.example CNAME .
e7.example CNAME .
";

/// A road with policy, cache, hosts and special names, whose upstream is never asked.
struct Stage {
    road: Road,
    writer: Writer,
}

/// One query and what must come of it.
struct Ask {
    packet: Vec<u8>,
    whole: bool,
    client: &'static str,
    transport: Transport,
}

impl Ask {
    fn new(name: &str, rtype: u16) -> Ask {
        let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(self::name(name).as_wire());
        packet.extend(rtype.to_be_bytes());
        packet.extend([0, 1]);
        Ask { packet, whole: true, client: INSIDE, transport: Transport::Udp }
    }

    fn a(name: &str) -> Ask {
        Ask::new(name, rtype::A)
    }

    /// With an OPT record of this version; `dnssec` sets DO.
    fn edns(mut self, version: u8, dnssec: bool) -> Ask {
        self.packet[11] = 1;
        let flags = if dnssec { 0x80 } else { 0 };
        self.packet.extend([0, 0, 41, 4, 208, 0, version, flags, 0, 0, 0]);
        self
    }

    /// With `edit` made to the packet.
    fn with(mut self, edit: impl FnOnce(&mut Vec<u8>)) -> Ask {
        edit(&mut self.packet);
        self
    }

    fn tcp(self) -> Ask {
        Ask { transport: Transport::Tcp, ..self }
    }

    fn outside(self) -> Ask {
        Ask { client: OUTSIDE, ..self }
    }
}

impl Stage {
    fn new() -> Stage {
        let cache = Arc::new(Cache::new(Default::default(), 1));
        let kind = Kind::Plain { servers: vec![SocketAddr::from(([127, 0, 0, 1], 9))] };
        let settings = UpstreamSettings { name: "nobody".to_owned(), kind, max_in_flight: 10 };
        let sink = Arc::new(Keeper { cache: Arc::clone(&cache) });
        let upstream = Upstream::build(0, settings, None, 1, sink).unwrap();
        for names in [&CHAIN[..], &LISTED_CHAIN[..], &CHAIN[3..]] {
            keep(&cache, names, Moment::now());
        }
        for alone in ["plain.example", "pass.example", "watched.example", "tcp.example"] {
            keep(&cache, &[alone], Moment::now());
        }
        keep(&cache, &["www.garden.example.walled.example"], Moment::now());
        let soon = Moment::now() + std::time::Duration::from_secs(3_600);
        // the clock starts at a day, so this one is a day old and stale
        keep(&cache, &["stale.example"], Moment::from_millis(0));
        for failed in ["stale.example", "failed.example"] {
            let question = Question::plain(name(failed), rtype::A);
            cache.store_failure(0, &question, Failed::Transport(23), soon);
        }
        let zones = vec![
            zone("watching.rpz", WATCHING, Mode::Monitor),
            zone("policy.rpz", POLICY, Mode::Enforce),
        ];
        let destination = Destination::File("/dev/null".into());
        let writer = Writer::start("test".to_owned(), destination, Format::Json, true).unwrap();
        let hosts = vec![(name("printer.example"), vec!["192.168.1.9".parse().unwrap()])];
        let settings = local::Settings { hosts, special: true, canary_domain: true };
        let snapshot = Snapshot {
            acl: Arc::new(Acl::new(["192.168.0.0/16".parse().unwrap()])),
            outside: Outside::Refused,
            payload: 1_232,
            policy: Arc::new(PolicySet::build(Parts::of_zones(1, zones), None)),
            svcb_hints: true,
            min_ns_dots: 1,
            break_dnssec: true,
            wait: false,
            negative_soa: true,
            local: Arc::new(LocalNames::new(&settings)),
            routes: Arc::new(Routes::new(upstream)),
            notify: Arc::default(),
        };
        let counters = Arc::new(Counters::new(1));
        Stage { road: Road::new(snapshot, cache, counters, writer.reporter()), writer }
    }

    /// What a query leads to: code and number of answers, or `None` for silence.
    fn ask(&self, ask: &Ask, reply: &mut [u8]) -> Option<(u16, u16)> {
        let client = ask.client.parse().unwrap();
        let source = Source { client, transport: ask.transport, worker: 0 };
        let round = self.road.round();
        match self.road.receive(&round, source, &ask.packet, ask.whole, reply) {
            Step::Reply(_) => {
                let answers = u16::from_be_bytes([reply[6], reply[7]]);
                Some((u16::from(reply[3] & 0xf), answers))
            }
            Step::Silence => None,
            Step::Later(_) => panic!("an upstream would be asked"),
        }
    }
}

/// Asks each query a few times, with and without what it takes, and wants no memory taken.
fn takes_nothing(asks: Vec<(Ask, Option<(u16, u16)>)>) {
    let stage = Stage::new();
    let mut reply = vec![0; 4_096];
    let mut faults = String::new();
    for (i, (ask, wanted)) in asks.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(stage.ask(ask, &mut reply), *wanted, "query {i}");
        }
        let (taken, first) = counting::count(|| {
            for _ in 0..10 {
                stage.ask(ask, &mut reply);
            }
        });
        if let Some(first) = first {
            faults +=
                &format!("query {i}: {taken} times in 10 queries, first at\n{}", ours(&first));
        }
    }
    stage.writer.stop();
    assert!(faults.is_empty(), "memory was taken\n{faults}");
}

/// The lines of a backtrace that name code of this package, innermost first.
fn ours(trace: &std::backtrace::Backtrace) -> String {
    let text = trace.to_string();
    let own = |line: &&str| line.trim_start().starts_with("at ./src/");
    text.lines().filter(own).map(|line| format!("{line}\n")).collect()
}

fn zone(origin: &str, text: &str, mode: Mode) -> (ZoneSettings, Arc<ZoneRules>) {
    let origin = name(origin);
    let limits = rpz::Limits::default();
    let rules =
        rpz::parse(text.as_bytes(), Path::new("test"), &origin, rpz::Form::Zone, &limits).unwrap();
    let settings = ZoneSettings {
        name: origin,
        mode,
        action: Override::Given,
        recursive_only: false,
        add_soa: true,
        max_ttl: 5,
        ede: Some(15),
        ede_text: "".into(),
        remote: false,
        log: true,
    };
    (settings, Arc::new(rules))
}

/// Caches an address for the first of `names`, which are the links of a chain.
fn keep(cache: &Cache, names: &[&str], at: Moment) {
    let question = Question::plain(name(names[0]), rtype::A);
    for dnssec_ok in [false, true] {
        let question = Question { dnssec_ok, ..question };
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, names.len() as u8, 0, 0, 0, 0];
        message.extend(question.name.as_wire());
        message.extend([0, 1, 0, 1]);
        let mut owner = 12;
        for target in names[1..].iter().map(|target| name(target)) {
            message.extend([0xc0, owner, 0, 5, 0, 1, 0, 0, 14, 16, 0, target.len() as u8]);
            owner = message.len() as u8;
            message.extend(target.as_wire());
        }
        message.extend([0xc0, owner, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]);
        let answer = Arc::new(Answer::receive(&question, &message).unwrap());
        let entry = Entry::new(answer, Freshness::default(), true, cache.settings(), at);
        cache.store(0, &question, &Arc::new(entry));
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

const fn some(code: u16, answers: u16) -> Option<(u16, u16)> {
    Some((code, answers))
}

const OK: u16 = rcode::NOERROR;
const NX: u16 = rcode::NXDOMAIN;

#[test]
fn the_counter_counts_this_thread_only() {
    let (taken, first) = counting::count(|| drop(std::hint::black_box(Box::new(7))));
    assert!(taken == 1 && first.is_some());
    let (go, wait) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            go.wait();
            drop(std::hint::black_box(vec![0; 1_000]));
            wait.wait();
        });
        let (taken, _) = counting::count(|| {
            go.wait();
            wait.wait();
        });
        assert_eq!(taken, 0);
    });
}

#[test]
fn cached_answers() {
    let odd_case = |packet: &mut Vec<u8>| packet[13].make_ascii_uppercase();
    takes_nothing(vec![
        (Ask::a("plain.example"), some(OK, 1)),
        (Ask::a("plain.example").with(odd_case).edns(0, false), some(OK, 1)),
        (Ask::a("plain.example").edns(0, true), some(OK, 1)),
        (Ask::new("plain.example", rtype::ANY), some(OK, 1)),
        (Ask::a("plain.example").tcp(), some(OK, 1)),
        (Ask::a("watched.example"), some(OK, 1)),
        (Ask::a("pass.example"), some(OK, 1)),
    ]);
}

#[test]
fn a_cached_alias_chain() {
    takes_nothing(vec![
        (Ask::a(CHAIN[0]), some(OK, 4)),
        (Ask::a(CHAIN[0]).edns(0, false), some(OK, 4)),
        (Ask::a(CHAIN[0]).edns(0, true).tcp(), some(OK, 4)),
    ]);
}

#[test]
fn stale_answers_and_cached_failures() {
    takes_nothing(vec![
        (Ask::a("stale.example"), some(OK, 1)),
        (Ask::a("stale.example").edns(0, false), some(OK, 1)),
        (Ask::a("failed.example"), some(rcode::SERVFAIL, 0)),
        (Ask::a("failed.example").edns(0, false), some(rcode::SERVFAIL, 0)),
    ]);
}

#[test]
fn blocked_names() {
    takes_nothing(vec![
        (Ask::a("blocked.example"), some(NX, 0)),
        (Ask::a("blocked.example").edns(0, true), some(NX, 0)),
        (Ask::new("any.thing.blocked.example", rtype::HTTPS), some(NX, 0)),
        (Ask::a("empty.example"), some(OK, 0)),
        (Ask::a("empty.example").edns(0, false).tcp(), some(OK, 0)),
        (Ask::a("drop.example"), None),
        (Ask::a("tcp.example"), some(OK, 0)),
        (Ask::a("tcp.example").tcp(), some(OK, 1)),
    ]);
}

#[test]
fn a_blocked_link_of_a_chain() {
    takes_nothing(vec![
        (Ask::a(LISTED_CHAIN[0]), some(NX, 2)),
        (Ask::a(LISTED_CHAIN[0]).edns(0, false), some(NX, 2)),
    ]);
}

#[test]
fn local_data_and_gardens() {
    takes_nothing(vec![
        (Ask::a("data.example"), some(OK, 2)),
        (Ask::a("data.example").edns(0, false), some(OK, 2)),
        (Ask::new("data.example", rtype::AAAA), some(OK, 0)),
        (Ask::a("garden.example"), some(OK, 2)),
        (Ask::a("www.garden.example").edns(0, false), some(OK, 2)),
    ]);
}

#[test]
fn special_names_and_hosts() {
    takes_nothing(vec![
        (Ask::a("printer.test"), some(NX, 0)),
        (Ask::a("printer.test").edns(0, false), some(NX, 0)),
        (Ask::new("9.9.9.10.in-addr.arpa", rtype::PTR), some(NX, 0)),
        (Ask::a("localhost"), some(OK, 1)),
        (Ask::new("localhost", rtype::TXT), some(OK, 0)),
        (Ask::new("_dns.resolver.arpa", 64), some(OK, 0)),
        (Ask::a("fileserver"), some(OK, 0)),
        (Ask::a("printer.example"), some(OK, 1)),
        (Ask::new("printer.example", rtype::AAAA), some(OK, 0)),
        (Ask::new("9.1.168.192.in-addr.arpa", rtype::PTR), some(OK, 1)),
    ]);
}

#[test]
fn format_errors() {
    let cut = Ask { whole: false, ..Ask::a("plain.example") };
    takes_nothing(vec![
        (Ask::a("plain.example").with(|packet| packet.push(0)), some(rcode::FORMERR, 0)),
        (Ask::a("plain.example").with(|packet| packet[5] = 0), some(rcode::FORMERR, 0)),
        (Ask::a("plain.example").with(|packet| packet.truncate(20)), some(rcode::FORMERR, 0)),
        (Ask::a("plain.example").with(|packet| packet.truncate(5)), None),
        (Ask::a("plain.example").with(|packet| packet[2] |= 0x80), None),
        (Ask::a("plain.example").with(|packet| packet[2] |= 0x10), some(rcode::NOTIMP, 0)),
        (cut, some(rcode::FORMERR, 0)),
    ]);
}

#[test]
fn refusals() {
    let refused = some(rcode::REFUSED, 0);
    let chaos = |packet: &mut Vec<u8>| *packet.last_mut().unwrap() = 3;
    let recursion = |packet: &mut Vec<u8>| packet[2] &= !((flag::RD >> 8) as u8);
    takes_nothing(vec![
        (Ask::a("plain.example").outside(), refused),
        (Ask::a("plain.example").edns(0, false).outside(), refused),
        (Ask::a("plain.example").with(|packet| packet.push(0)).outside(), refused),
        (Ask::a("plain.example").with(|packet| packet[2] |= 0x28), refused),
        (Ask::a("plain.example").with(chaos), refused),
        (Ask::new("plain.example", rtype::AXFR), refused),
        // a flood of NOTIFYs from nobody's primary costs nothing
        (Ask::new("plain.example", rtype::SOA).with(|packet| packet[2] |= 0x20).outside(), refused),
        (Ask::a("unknown.example").with(recursion), refused),
        (Ask::a("unknown.example").with(recursion).edns(0, false), refused),
        // BADVERS, its lower four bits
        (Ask::a("plain.example").edns(1, false), some(rcode::BADVERS & 0xf, 0)),
    ]);
}
