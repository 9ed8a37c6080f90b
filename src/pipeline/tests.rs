//! The road without sockets: zones that are awaited, and NOTIFYs at its gate.

use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::acl::Acl;
use crate::cache::Freshness;
use crate::dns::answer::Answer;
use crate::dns::edns;
use crate::dns::question::Question;
use crate::dns::record::{Records, read_name};
use crate::dns::{HEADER, rtype, u16_at};
use crate::policy::exceptions::{Exception, Exceptions, Verdict};
use crate::policy::rules::ZoneRules;
use crate::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;
use crate::report::{Destination, Format, Writer};
use crate::rpz;
use crate::upstream::{Kind, Settings, Upstream};
use crate::zones::notify::{Bell, Desk};
use crate::zones::{Primary, Transfer};
use local::LocalNames;

const INSIDE: &str = "192.168.1.20";
const GUEST: &str = "192.168.9.1";
const PRIMARY: &str = "203.0.113.53";
const STRANGER: &str = "203.0.113.5";
/// Not ready: SERVFAIL with extended error 14.
const NOT_READY: Said = Said::Code(rcode::SERVFAIL, Some(code::NOT_READY));

/// What comes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// A reply with this code and extended error.
    Code(u16, Option<u16>),
    Silence,
    /// An upstream is asked.
    Asks,
}

/// A road and what holds its threads.
struct Scene {
    road: Road,
    upstream: Arc<Upstream>,
    writer: Option<Writer>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.stop();
        }
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Zones `0.rpz`, `1.rpz` and so on of these rules; the second one comes from elsewhere.
fn parts(rules: &[&str]) -> Parts {
    let zone = |(i, rules): (usize, &&str)| {
        let origin = name(&format!("{i}.rpz"));
        let text = format!("$TTL 60\n@ SOA ns.rpz. host.rpz. 1 3600 600 86400 60\n{rules}\n");
        let (limits, form) = (rpz::Limits::default(), rpz::Form::Zone);
        let rules = match rules.is_empty() {
            true => ZoneRules::none(origin),
            false => rpz::parse(text.as_bytes(), Path::new("t"), &origin, form, &limits).unwrap(),
        };
        let settings = ZoneSettings {
            name: origin,
            mode: Mode::Enforce,
            action: Override::Given,
            recursive_only: false,
            add_soa: false,
            max_ttl: 5,
            ede: None,
            ede_text: "".into(),
            remote: i == 1,
            log: false,
        };
        (settings, Arc::new(rules))
    };
    Parts::of_zones(1, rules.iter().enumerate().map(zone).collect())
}

/// A zone ahead, the awaited one, and one behind.
fn awaiting() -> Parts {
    let rules = ["ahead.example CNAME .\nlocalhost CNAME .", "", "behind.example CNAME ."];
    Parts { awaited: 0b10, ..parts(&rules) }
}

fn by_hand(verdict: Verdict, text: &str, id: u64) -> Arc<Exception> {
    Arc::new(Exception {
        id,
        verdict,
        name: name(text),
        subtree: true,
        clients: None,
        owner: "test".to_owned(),
        reason: "test".to_owned(),
        since: 0,
        until: None,
    })
}

/// A road under this policy; `corp.example` has a route of its own.
fn scene(parts: Parts, notify: Desk) -> Scene {
    let cache = Arc::new(Cache::new(Default::default(), 1));
    let kind = Kind::Plain { servers: vec![([127, 0, 0, 1], 9).into()] };
    let settings = Settings { name: "nobody".to_owned(), kind, max_in_flight: 10 };
    let sink = Arc::new(Keeper { cache: Arc::clone(&cache) });
    let upstream = Upstream::build(0, settings, None, 1, sink).unwrap();
    let mut routes = Routes::new(Arc::clone(&upstream));
    routes.add(&name("corp.example"), Arc::clone(&upstream), false);
    let hosts = vec![(name("printer.example"), vec![ip("192.168.1.9")])];
    let local = local::Settings { hosts, special: true, canary_domain: true };
    let snapshot = Snapshot {
        acl: Arc::new(Acl::new(["192.168.0.0/16".parse().unwrap()])),
        outside: Outside::Refused,
        payload: 1_232,
        policy: Arc::new(PolicySet::build(parts, None)),
        svcb_hints: true,
        min_ns_dots: 1,
        break_dnssec: true,
        wait: false,
        negative_soa: true,
        local: Arc::new(LocalNames::new(&local)),
        routes: Arc::new(routes),
        notify: Arc::new(notify),
    };
    let file = Destination::File("/dev/null".into());
    let writer = Writer::start("test".to_owned(), file, Format::Json, false).unwrap();
    let counters = Arc::new(Counters::new(1));
    let road = Road::new(snapshot, cache, counters, writer.reporter());
    Scene { road, upstream, writer: Some(writer) }
}

impl Scene {
    fn send(&self, packet: &[u8], from: &str, transport: Transport) -> (Said, Vec<u8>) {
        let source = Source { client: (ip(from), 50_000).into(), transport, worker: 0 };
        let mut reply = vec![0; 4_096];
        match self.road.receive(&self.road.round(), source, packet, true, &mut reply) {
            Step::Reply(len) => {
                reply.truncate(len);
                (Said::Code(u16_at(&reply, 2).unwrap() & 0xf, ede(&reply)), reply)
            }
            Step::Silence => (Said::Silence, Vec::new()),
            Step::Later(_) => (Said::Asks, Vec::new()),
        }
    }

    fn ask_from(&self, client: &str, text: &str) -> Said {
        self.send(&query(text, true), client, Transport::Udp).0
    }

    fn ask(&self, text: &str) -> Said {
        self.ask_from(INSIDE, text)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.road.counters().sum(counter)
    }

    /// Caches an address of a name.
    fn keep(&self, text: &str, address: [u8; 4]) {
        let question = Question::plain(name(text), rtype::A);
        let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        message.extend(question.name.as_wire());
        message.extend([0, 1, 0, 1, 0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4]);
        message.extend(address);
        let answer = Arc::new(Answer::receive(&question, &message).unwrap());
        let cache = self.road.cache();
        let fresh = Freshness::default();
        let entry = Entry::new(answer, fresh, true, cache.settings(), Moment::now());
        cache.store(self.upstream.id(), &question, &Arc::new(entry));
    }
}

/// A query for an address, with EDNS.
fn query(text: &str, recursive: bool) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, u8::from(recursive), 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend(name(text).as_wire());
    packet.extend([0, 1, 0, 1]);
    packet.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet
}

fn notify(zone: &str) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(name(zone).as_wire());
    packet.extend([0, 6, 0, 1]);
    packet
}

/// The extended error in a reply.
fn ede(reply: &[u8]) -> Option<u16> {
    let (_, end) = read_name(reply, HEADER).ok()?;
    let mut records = Records::new(reply, end + 4).map_while(Result::ok);
    let opt = records.find(|record| record.rtype == rtype::OPT)?;
    let mut options = edns::options(&reply[opt.rdata]).map_while(Result::ok);
    options.find(|(code, _)| *code == edns::EDE).and_then(|(_, data)| u16_at(data, 0))
}

// ── a zone that was never loaded ────────────────────────────────────────────────────────────

#[test]
fn queries_wait_for_a_zone_that_was_never_loaded() {
    let scene = scene(awaiting(), Desk::default());
    for text in ["any.example", "behind.example", "www.ahead.example", "corp.example.net"] {
        assert_eq!(scene.ask(text), NOT_READY, "{text}");
    }
    // what a zone ahead says, and what zones from elsewhere leave alone
    for (text, said) in [
        ("ahead.example", Said::Code(rcode::NXDOMAIN, None)),
        ("localhost", Said::Code(rcode::NXDOMAIN, None)),
        ("www.localhost", Said::Code(rcode::NOERROR, None)),
        ("printer.example", Said::Code(rcode::NOERROR, None)),
        ("host.local", Said::Code(rcode::NXDOMAIN, None)),
        ("www.corp.example", Said::Asks),
        (".", Said::Asks),
    ] {
        assert_eq!(scene.ask(text), said, "{text}");
    }
    assert_eq!((scene.count(Counter::NotReady), scene.count(Counter::ServFail)), (4, 4));
    let (_, reply) = scene.send(&query("any.example", true), INSIDE, Transport::Tcp);
    assert_eq!(reply[6..10], [0; 4], "no records");
}

#[test]
fn a_zone_is_awaited_only_where_its_rules_would_act() {
    let asks = |parts: Parts| scene(parts, Desk::default()).ask("any.example") == Said::Asks;
    assert!(!asks(awaiting()));
    assert!(asks(Parts { awaited: 0, ..awaiting() }));
    assert!(asks(Parts { monitor: true, ..awaiting() }));
    for mode in [Mode::Monitor, Mode::Off] {
        let mut parts = awaiting();
        parts.zones[1].0.mode = mode;
        assert!(asks(parts), "{mode:?}");
    }
    let mut parts = awaiting();
    parts.zones[1].0.recursive_only = true;
    let picky = scene(parts, Desk::default());
    let (said, _) = picky.send(&query("any.example", false), INSIDE, Transport::Udp);
    assert_eq!((said, picky.ask("any.example")), (Said::Code(rcode::REFUSED, None), NOT_READY));
}

#[test]
fn groups_wait_for_their_own_zones() {
    let group = |zones: &[usize]| Group {
        name: "guests".to_owned(),
        clients: vec!["192.168.9.0/24".parse().unwrap()],
        zones: Some(zones.to_vec()),
    };
    let with = |zones| Parts { groups: vec![group(zones)], ..awaiting() };
    let without = scene(with(&[0, 2]), Desk::default());
    assert_eq!(without.ask_from(GUEST, "any.example"), Said::Asks);
    assert_eq!(without.ask("any.example"), NOT_READY);
    // in an order of its own
    let last = scene(with(&[2, 1, 0]), Desk::default());
    assert_eq!(last.ask_from(GUEST, "behind.example"), Said::Code(rcode::NXDOMAIN, None));
    assert_eq!(last.ask_from(GUEST, "ahead.example"), NOT_READY);
}

#[test]
fn exceptions_come_before_a_zone_that_is_awaited() {
    let made =
        vec![by_hand(Verdict::Block, "bad.example", 1), by_hand(Verdict::Allow, "good.example", 2)];
    let parts = Parts { exceptions: Arc::new(Exceptions::new(made)), ..awaiting() };
    let scene = scene(parts, Desk::default());
    assert_eq!(scene.ask("www.bad.example"), Said::Code(rcode::NXDOMAIN, Some(code::BLOCKED)));
    assert_eq!(scene.ask("www.good.example"), Said::Asks);
    scene.keep("good.example", [192, 0, 2, 1]);
    assert_eq!(scene.ask("good.example"), Said::Code(rcode::NOERROR, None));
}

#[test]
fn a_zone_ahead_that_looks_at_addresses_is_still_heard() {
    let rules = ["24.0.2.0.192.rpz-ip CNAME .", "", ""];
    let scene = scene(Parts { awaited: 0b10, ..parts(&rules) }, Desk::default());
    scene.keep("listed.example", [192, 0, 2, 7]);
    scene.keep("clean.example", [198, 51, 100, 7]);
    assert_eq!(scene.ask("listed.example"), Said::Code(rcode::NXDOMAIN, None));
    for _ in 0..2 {
        assert_eq!(scene.ask("clean.example"), NOT_READY, "it is not remembered as clean");
    }
    assert_eq!(scene.ask("unknown.example"), Said::Asks);
}

#[test]
fn an_explanation_names_the_zone_that_is_awaited() {
    let scene = scene(awaiting(), Desk::default());
    scene.keep("behind.example", [192, 0, 2, 7]);
    let asking = explain::Asking {
        name: name("behind.example"),
        rtype: rtype::A,
        client: ip(INSIDE),
        tcp: false,
        dnssec_ok: false,
        recursion_desired: true,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(scene.road.explain(&asking));
    assert_eq!(told.verdict.outcome, "not-ready");
    assert_eq!(
        told.verdict.sentence,
        "behind.example A for 192.168.1.20 fails: SERVFAIL, zone 1.rpz was never loaded, and \
         queries wait for it"
    );
    assert!(told.undo == Some(explain::Undo::Command("culvert zone refresh 1.rpz".to_owned())));
    let awaited: Vec<bool> = told.policy.zones.iter().map(|zone| zone.awaited).collect();
    assert_eq!(awaited, [false, true, false]);
    let lost = told.way[0].matches[0].lost.as_deref();
    assert_eq!(lost, Some("zone 1.rpz comes first, and it is not loaded yet"));
    assert_eq!(scene.count(Counter::NotReady), 0, "an explanation is no query");
}

#[test]
fn what_is_blocked_by_names_alone() {
    let rules = [
        "allowed.bad.example CNAME rpz-passthru.\ntcp.example CNAME rpz-tcp-only.",
        "",
        "bad.example CNAME .\n*.bad.example CNAME *.\ngarden.example CNAME garden.test.\n\
         24.0.2.0.192.rpz-ip CNAME .\n8.0.0.0.127.rpz-client-ip CNAME .",
    ];
    let everybody = vec![by_hand(Verdict::Allow, "bad.example", 1)];
    let parts = Parts {
        exceptions: Arc::new(Exceptions::new(everybody)),
        ignored: vec![TriggerKind::Nsip],
        ..parts(&rules)
    };
    for monitor in [false, true] {
        let set = PolicySet::build(Parts { monitor, ..parts.clone() }, None);
        let blocks = |text| set.blocks(&name(text));
        for text in ["bad.example", "www.bad.example", "garden.example"] {
            assert!(blocks(text), "{text}, monitor {monitor}");
        }
        for text in ["allowed.bad.example", "tcp.example", "good.example", "."] {
            assert!(!blocks(text), "{text}, monitor {monitor}");
        }
    }
    let mut watching = parts.clone();
    watching.zones[2].0.mode = Mode::Monitor;
    assert!(!PolicySet::build(watching, None).blocks(&name("bad.example")));
}

// ── NOTIFY ──────────────────────────────────────────────────────────────────────────────────

fn desk(bell: &Arc<Bell>) -> Desk {
    let primary = Primary { address: (ip(PRIMARY), 53).into(), tls_name: None };
    let transfer =
        Transfer { primaries: vec![primary], key: None, notify_from: Vec::new(), ca: None };
    Desk::new([(name("feed.example"), transfer, Arc::clone(bell))])
}

#[test]
fn a_primary_is_no_client_and_may_notify_all_the_same() {
    let bell = Arc::default();
    let scene = scene(parts(&[""]), desk(&bell));
    let refused = Said::Code(rcode::REFUSED, None);
    for transport in [Transport::Udp, Transport::Tcp] {
        let (said, reply) = scene.send(&notify("feed.example"), PRIMARY, transport);
        assert_eq!((said, reply[2]), (Said::Code(rcode::NOERROR, None), 0xa4));
        let (said, _) = scene.send(&query("any.example", true), PRIMARY, transport);
        assert_eq!(said, Said::Code(rcode::REFUSED, Some(code::PROHIBITED)));
        let (said, _) = scene.send(&notify("other.example"), PRIMARY, transport);
        assert_eq!(said, Said::Code(rcode::NOTAUTH, None));
        for nobody in [STRANGER, INSIDE] {
            let (said, _) = scene.send(&notify("feed.example"), nobody, transport);
            assert_eq!(said, refused, "{nobody}");
        }
    }
    assert_eq!(bell.taken(), 2);
    let counts = [Counter::Notified, Counter::NotifyRefused, Counter::Answered, Counter::Refused]
        .map(|counter| scene.count(counter));
    assert_eq!(counts, [2, 2, 2, 8]);
    assert_eq!(scene.count(Counter::Received), counts[2] + counts[3]);
    let welcome = [PRIMARY, INSIDE, STRANGER].map(|client| scene.road.welcomes(ip(client)));
    assert_eq!(welcome, [true, true, false]);
}

#[test]
fn strangers_get_no_answer_where_the_operator_says_so() {
    let bell = Arc::default();
    let scene = scene(parts(&[""]), desk(&bell));
    let snapshot = Snapshot { outside: Outside::Drop, ..(*scene.road.snapshot()).clone() };
    scene.road.publish(snapshot);
    let (said, _) = scene.send(&notify("feed.example"), STRANGER, Transport::Udp);
    assert_eq!(said, Said::Silence);
    let (said, _) = scene.send(&notify("feed.example"), PRIMARY, Transport::Udp);
    assert_eq!(said, Said::Code(rcode::NOERROR, None));
    assert_eq!(bell.taken(), 1);
}
