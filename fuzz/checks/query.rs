//! A client's packet on the road: read, judged by a policy of all triggers, answered from the
//! cache, from local names or by a rule, refused, or sent on.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use culvert::acl::Acl;
use culvert::cache::{Cache, Entry, Freshness};
use culvert::clock::Moment;
use culvert::dns::answer::Answer;
use culvert::dns::compose::{Composer, ReplyForm, bare_reply, upstream_query};
use culvert::dns::name::Name;
use culvert::dns::query::{Fault, Query};
use culvert::dns::question::Question;
use culvert::dns::record::{Records, skip_name};
use culvert::dns::tsig::{Algorithm, Key};
use culvert::dns::{HEADER, rcode, rtype};
use culvert::listener::{Handler, Source, Step, Transport};
use culvert::metrics::{Counter, Counters};
use culvert::pipeline::local::{self, LocalNames};
use culvert::pipeline::{Keeper, Outside, Road, Routes, Snapshot};
use culvert::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use culvert::report::{Destination, Format, Writer};
use culvert::rpz;
use culvert::upstream::{Kind, Settings as UpstreamSettings, Upstream};
use culvert::zones::notify::Desk;
use culvert::zones::{Primary, Transfer};

const INSIDE: &str = "10.0.0.1:5353";
/// Outside the access list, and a primary of two zones.
const PRIMARY: &str = "203.0.113.5:5353";
/// Octets of a reply buffer, as the listener has it over UDP and over TCP.
const BUFFERS: [usize; 2] = [4_096, 65_535];
const PAYLOAD: u16 = 1_232;
/// The rules: short names, which a fuzzer meets often.
const ZONE: &str = "\
$TTL 60
@ SOA a. b. 1 1h 15m 1d 60
a CNAME .
*.a CNAME *.
b CNAME rpz-passthru.
c CNAME rpz-drop.
d CNAME rpz-tcp-only.
e A 192.0.2.1
e AAAA 2001:db8::1
e TXT \"one\" \"two\"
e HTTPS 1 . alpn=h2 ipv4hint=192.0.2.7
f CNAME *.garden.test.
g CNAME h.
24.0.2.0.192.rpz-ip CNAME .
32.9.0.0.10.rpz-client-ip CNAME rpz-drop.
";

struct World {
    road: Road,
    _writer: Writer,
}

static WORLD: LazyLock<World> = LazyLock::new(World::new);

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((switches, packet)) = octets.split_first() else { return };
    read(packet);
    let client = match switches & 3 {
        0 => PRIMARY,
        1 => "10.0.0.9:5353",
        _ => INSIDE,
    };
    let client: SocketAddr = client.parse().expect("an address");
    let whole = switches & 4 == 0;
    for transport in [Transport::Udp, Transport::Tcp] {
        let source = Source { client, transport, worker: 0 };
        let first = travel(source, packet, whole);
        // what the cache noted at the first pass changes nothing
        assert_eq!(travel(source, packet, whole), first);
    }
}

/// The way of one packet: the reply, nothing, or `None` where an upstream would be asked.
fn travel(source: Source, packet: &[u8], whole: bool) -> Option<Vec<u8>> {
    let road = &WORLD.road;
    let tcp = source.transport == Transport::Tcp;
    let mut reply = vec![0; BUFFERS[usize::from(tcp)]];
    let step = road.receive(&road.round(), source, packet, whole, &mut reply);
    assert_eq!(road.counters().sum(Counter::Panics), 0, "a panic that the road caught");
    match step {
        Step::Later(_) => None,
        Step::Silence => Some(Vec::new()),
        Step::Reply(len) => {
            reply.truncate(len);
            fits(&reply, packet, tcp);
            Some(reply)
        }
    }
}

/// A reply is one, for this query, whole, and no longer than the client takes.
fn fits(reply: &[u8], packet: &[u8], tcp: bool) {
    assert!(reply.len() >= HEADER && packet.len() >= HEADER);
    assert_eq!(packet[2] & 0x80, 0, "a reply to a reply");
    assert_eq!(reply[..2], packet[..2], "another id");
    assert_eq!(reply[2] & 0xf8, packet[2] & 0x78 | 0x80, "no reply, or another opcode");
    let edns = Query::read(packet).ok().and_then(|query| query.edns);
    let most = match tcp {
        true => usize::from(u16::MAX),
        false => usize::from(edns.map_or(512, |edns| edns.payload.min(PAYLOAD))),
    };
    assert!(reply.len() <= most, "{} octets of {most}", reply.len());
    let questions = u16::from_be_bytes([reply[4], reply[5]]);
    let mut at = HEADER;
    if questions == 1 {
        at = skip_name(reply, at).expect("a question") + 4;
        assert_eq!(reply[HEADER..at], packet[HEADER..at], "another question, or in other case");
    }
    let mut records = Records::new(reply, at);
    assert!(records.by_ref().all(|record| record.is_ok()), "{reply:02x?}");
    assert_eq!(records.position(), reply.len(), "octets behind the last record");
}

/// Reading alone, also into a query that held another, and what is made of it.
fn read(packet: &[u8]) {
    let mut reply = [0; 512];
    let query = match Query::read(packet) {
        Ok(query) => query,
        Err(Fault::Answer { rcode, question_end }) => {
            // the listener's buffer holds every question
            let len = bare_reply(&mut reply, packet, rcode, question_end);
            assert!(len <= packet.len());
            return;
        }
        Err(Fault::Silent | Fault::Notify) => return,
    };
    let mut again = Query::blank();
    let _ = again.set(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01X\x00\x00\x01\x00\x01");
    if again.set(packet).is_ok() {
        assert_eq!(again.question, query.question);
        let (mut one, mut two) = ([0; 255], [0; 255]);
        query.put_cased_name(&mut one);
        Query::read(packet).expect("it was read before").put_cased_name(&mut two);
        assert_eq!(one, two);
    }
    let form = ReplyForm::udp(Some(&query), PAYLOAD);
    let len = Composer::reply(&mut reply, &query, form, rcode::SERVFAIL, None).finish();
    assert!(len <= form.limit);
    for pad in [None, Some(128)] {
        let sent = upstream_query(&query.question, 0, PAYLOAD, pad);
        assert!(pad.is_none_or(|pad| sent.len().is_multiple_of(pad)));
        let back = Query::read(&sent).expect("our own queries can be read");
        assert_eq!(back.question, query.question);
    }
}

impl World {
    fn new() -> World {
        let cache = Arc::new(Cache::new(Default::default(), 1));
        let upstream = nobody(&cache);
        keep(&cache, upstream.id(), &["h"], [192, 0, 1, 1]);
        keep(&cache, upstream.id(), &["i", "j", "k"], [192, 0, 1, 1]);
        keep(&cache, upstream.id(), &["l", "a"], [192, 0, 1, 1]);
        keep(&cache, upstream.id(), &["m", "n"], [192, 0, 2, 1]);
        let destination = Destination::File("/dev/null".into());
        let writer = Writer::start("fuzz".to_owned(), destination, Format::Json, false)
            .expect("a thread can be started");
        let road =
            Road::new(snapshot(upstream), cache, Arc::new(Counters::new(1)), writer.reporter());
        World { road, _writer: writer }
    }
}

/// An upstream that is never asked: port 9 discards.
fn nobody(cache: &Arc<Cache>) -> Arc<Upstream> {
    let kind = Kind::Plain { servers: vec![SocketAddr::from(([127, 0, 0, 1], 9))] };
    let settings = UpstreamSettings { name: "nobody".to_owned(), kind, max_in_flight: 100 };
    let sink = Arc::new(Keeper { cache: Arc::clone(cache) });
    Upstream::build(0, settings, None, 1, sink).expect("plain DNS needs no files")
}

fn snapshot(upstream: Arc<Upstream>) -> Snapshot {
    let inside = ["10.0.0.0/8".parse().expect("a network")];
    let settings = local::Settings { hosts: Vec::new(), special: true, canary_domain: true };
    Snapshot {
        acl: Arc::new(Acl::new(inside)),
        outside: Outside::Refused,
        payload: PAYLOAD,
        policy: Arc::new(PolicySet::build(Parts::of_zones(1, vec![zone()]), None)),
        svcb_hints: true,
        min_ns_dots: 1,
        break_dnssec: true,
        wait: false,
        negative_soa: true,
        local: Arc::new(LocalNames::new(&settings)),
        routes: Arc::new(Routes::new(upstream)),
        notify: Arc::new(desk()),
    }
}

/// NOTIFYs for `a`, and signed ones for `b`, from the address outside.
fn desk() -> Desk {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let post = |(zone, key): (&str, Option<Key>)| {
        let address = PRIMARY.parse().expect("an address");
        let primaries = vec![Primary { address, tls_name: None }];
        let transfer =
            Transfer { primaries, key: key.map(Arc::new), notify_from: Vec::new(), ca: None };
        (name(zone), transfer, Arc::default())
    };
    let secret = [7; 32].into();
    let key = Key { name: name("k"), algorithm: Algorithm::Sha256, secret };
    Desk::new([("a", None), ("b", Some(key))].map(post))
}

fn zone() -> (ZoneSettings, Arc<culvert::policy::rules::ZoneRules>) {
    let origin: Name = "rpz.test".parse().expect("a name");
    let (limits, file) = (rpz::Limits::default(), Path::new("fuzz"));
    let rules = rpz::parse(ZONE.as_bytes(), file, &origin, rpz::Form::Zone, &limits);
    let settings = ZoneSettings {
        name: origin,
        mode: Mode::Enforce,
        action: Override::Given,
        recursive_only: false,
        add_soa: true,
        max_ttl: 5,
        ede: Some(15),
        ede_text: "blocked".into(),
        remote: false,
        log: true,
    };
    (settings, Arc::new(rules.expect("a good zone")))
}

/// Caches an address behind a chain of aliases.
fn keep(cache: &Cache, upstream: usize, names: &[&str], address: [u8; 4]) {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let question = Question::plain(name(names[0]), rtype::A);
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, names.len() as u8, 0, 0, 0, 0];
    message.extend(question.name.as_wire());
    message.extend([0, 1, 0, 1]);
    let mut owner = 12;
    for target in &names[1..] {
        let target = name(target);
        message.extend([0xc0, owner, 0, 5, 0, 1, 0, 9, 0, 0, 0, target.len() as u8]);
        owner = message.len() as u8;
        message.extend(target.as_wire());
    }
    message.extend([0xc0, owner, 0, 1, 0, 1, 0, 9, 0, 0, 0, 4]);
    message.extend(address);
    let answer = Answer::receive(&question, &message).expect("a good answer");
    let (freshness, now) = (Freshness::default(), Moment::now());
    let entry = Entry::new(Arc::new(answer), freshness, true, cache.settings(), now);
    cache.store(upstream, &question, &Arc::new(entry));
}
