//! The client of zone transfers against a scripted primary: what is right is taken, and of what
//! is not nothing, with the reason named.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::harness::bind::Bind;
use crate::harness::client::Over;
use crate::harness::primary::{Fault, Ixfr, Primary, Script};
use crate::harness::process::LOCAL;
use crate::harness::tls::{HOST, Shown, Tls};
use crate::harness::tsig::{BADKEY, BADSIG, BADTIME, Hash, Key};
use crate::harness::wire::{Message, QR, Record};
use crate::harness::{millis, secs};
use culvert::dns::name::Name;
use culvert::dns::tsig;
use culvert::upstream::client_config;
use culvert::zones::Primary as Target;
use culvert::zones::transfer::framing;
use culvert::zones::transfer::{
    Ask, Failure, Fetched, NoChanges, Patience, Rr, Session, Soa, Stop, Taker, Why, serial,
};

const ZONE: &str = "feed.example";

/// Puts a zone together: `owner data` of each record, and the last SOA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Copy {
    serial: u32,
    records: BTreeSet<String>,
}

fn line(rr: &Rr<'_>) -> String {
    format!("{} {} {} {:02x?}", rr.owner, rr.ttl, rr.rtype, rr.rdata)
}

impl Taker for Copy {
    fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.records.clear();
        self.soa(soa)
    }

    fn changes(&mut self) -> Result<(), Stop> {
        Ok(())
    }

    fn remove(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        let there = self.records.remove(&line(rr));
        if there { Ok(()) } else { Err(Stop::Misfit(format!("{} is not there", rr.owner))) }
    }

    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop> {
        let new = self.records.insert(line(rr));
        if new { Ok(()) } else { Err(Stop::Misfit(format!("{} is there already", rr.owner))) }
    }

    fn soa(&mut self, soa: &Rr<'_>) -> Result<(), Stop> {
        self.serial = Soa::read(soa.rdata).expect("an SOA").serial;
        Ok(())
    }
}

/// A client of one primary.
struct Client {
    target: Target,
    ask: Ask<'static>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

impl Client {
    fn of(primary: &Primary) -> Client {
        Client::to(primary.address)
    }

    fn to(address: SocketAddr) -> Client {
        let ask = Ask {
            zone: ZONE.parse().expect("a name"),
            key: None,
            tls: None,
            max_bytes: 16 << 20,
            max_records: 100_000,
            patience: Patience::default(),
            now: &now,
        };
        Client { target: Target { address, tls_name: None }, ask }
    }

    /// With little patience for a primary that says nothing.
    fn hasty(mut self) -> Client {
        (self.ask.patience.stall, self.ask.patience.lone_soa) = (millis(500), millis(300));
        self
    }

    fn key(mut self, key: &Key) -> Client {
        self.ask.key = Some(Arc::new(library_key(key)));
        self
    }

    fn tls(mut self, tls: &Tls) -> Client {
        self.target.tls_name = Some(HOST.to_owned());
        self.ask.tls = Some(client_config(Some(&tls.ca()), b"dot").expect("a good CA file"));
        self
    }

    /// Asks for the SOA, then transfers over the same connection into a copy of `have`.
    fn fetch(&self, have: Option<&Copy>) -> Result<(Fetched, Copy), Failure> {
        bounded(async {
            let mut session = Session::connect(&self.target, &self.ask).await?;
            session.serial().await?;
            let mut copy = have.cloned().unwrap_or_default();
            let fetched = session.fetch(have.map(|copy| copy.serial), &mut copy).await?;
            Ok((fetched, copy))
        })
    }

    /// The whole zone, which must come.
    #[track_caller]
    fn whole(&self) -> Copy {
        let (fetched, copy) = self.fetch(None).unwrap_or_else(|failure| panic!("{failure}"));
        assert!(matches!(fetched, Fetched::Whole { .. }), "{fetched:?}");
        copy
    }

    /// No transfer may succeed; gives what is said about it.
    #[track_caller]
    fn refused(&self, have: Option<&Copy>) -> Failure {
        self.fetch(have).map(|(fetched, _)| fetched).expect_err("nothing may be accepted")
    }
}

fn library_key(key: &Key) -> tsig::Key {
    let algorithm = tsig::Algorithm::parse(key.hash.name()).expect("a known algorithm");
    let name: Name = key.name.parse().expect("a name");
    tsig::Key { name, algorithm, secret: key.secret[..].into() }
}

fn bounded<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limited = async { tokio::time::timeout(secs(20), future).await };
    runtime.expect("a runtime").block_on(limited).expect("every transfer ends by itself")
}

fn rule(n: u32) -> Record {
    Record::cname(&format!("bad{n}.test.{ZONE}"), 60, ".")
}

fn rules(range: std::ops::Range<u32>) -> Vec<Record> {
    range.map(rule).collect()
}

/// A primary with 250 rules in three messages, serial 1.
fn primary() -> Primary {
    let primary = Primary::start(ZONE);
    primary.version(1, &rules(0..250));
    primary
}

#[track_caller]
fn says(failure: &Failure, words: &str) {
    let text = failure.to_string();
    assert!(text.contains(words), "{words:?} is not in {text:?}");
    assert!(text.contains("127.0.0.1") && text.contains(ZONE), "{text}");
}

#[test]
fn a_whole_zone_in_messages_of_any_size() {
    let primary = primary();
    let client = Client::of(&primary);
    let first = client.whole();
    assert_eq!((first.serial, first.records.len()), (1, 250));
    for (per_message, one_question) in [(1, false), (1, true), (7, true), (1_000, false)] {
        primary.script(|s| (s.per_message, s.one_question) = (per_message, one_question));
        assert_eq!(client.whole(), first);
    }
    let asked = primary.asked();
    assert_eq!((asked.connections, asked.soa, asked.axfr, asked.ixfr), (5, 5, 5, 0));
}

#[test]
fn the_soa_says_when_to_come_again() {
    let primary = primary();
    primary.script(|s| s.timers = [7200, 900, 604_800, 30]);
    let client = Client::of(&primary);
    let soa = bounded(serial(&client.target, &client.ask)).expect("an SOA");
    let expected = Soa { serial: 1, refresh: 7200, retry: 900, expire: 604_800, minimum: 30 };
    assert_eq!(soa, expected);
}

#[test]
fn changes_lead_to_what_a_whole_transfer_gives() {
    let primary = primary();
    let client = Client::of(&primary);
    let old = client.whole();
    primary.version(2, &rules(10..260));
    primary.version(3, &[rules(10..100), rules(150..400)].concat());
    let new = client.whole();
    assert_eq!(new.records.len(), 340);
    for ixfr in [Ixfr::Steps, Ixfr::Condensed, Ixfr::Whole] {
        for per_message in [1, 3, 1_000] {
            primary.script(|s| (s.ixfr, s.per_message) = (ixfr, per_message));
            let (fetched, copy) = client.fetch(Some(&old)).expect("a good transfer");
            assert_eq!(copy, new);
            let whole = matches!(fetched, Fetched::Whole { serial: 3, .. });
            let changes = matches!(fetched, Fetched::Changes { serial: 3, .. });
            assert_eq!((whole, changes), (ixfr == Ixfr::Whole, ixfr != Ixfr::Whole));
        }
    }
    // nothing newer, and a version that the primary has forgotten
    assert_eq!(client.fetch(Some(&new)).expect("an answer").0, Fetched::UpToDate);
    primary.forget();
    primary.script(|s| s.ixfr = Ixfr::Steps);
    assert_eq!(client.fetch(Some(&old)).expect("a good transfer").1, new);
}

#[test]
fn a_primary_without_changes_may_have_all() {
    let primary = primary();
    let client = Client::of(&primary);
    let old = client.whole();
    primary.version(2, &rules(0..240));
    for (ixfr, expected) in [
        (Ixfr::Code(4), NoChanges::Rcode(4)),
        (Ixfr::Code(1), NoChanges::Rcode(1)),
        (Ixfr::Code(5), NoChanges::Rcode(5)),
        (Ixfr::Code(2), NoChanges::Rcode(2)),
        (Ixfr::LoneSoa, NoChanges::LoneSoa),
        (Ixfr::Close, NoChanges::Closed),
    ] {
        primary.script(|s| s.ixfr = ixfr);
        let failure = Client::of(&primary).hasty().refused(Some(&old));
        assert_eq!(failure.why, Why::NoChanges(expected));
        assert!(failure.whole_may_help());
        assert_eq!(client.whole().serial, 2);
    }
    // changes to a zone that is not ours
    primary.script(|s| s.ixfr = Ixfr::Steps);
    let other = Copy { serial: 1, ..Copy::default() };
    let failure = client.refused(Some(&other));
    says(&failure, "is not there");
    assert!(failure.whole_may_help());
}

#[test]
fn a_primary_that_closes_after_each_answer() {
    let primary = primary();
    primary.script(|s| s.closes = true);
    assert_eq!(Client::of(&primary).whole().records.len(), 250);
    assert_eq!(primary.asked().connections, 2);
}

#[test]
fn serials_in_a_circle() {
    let primary = Primary::start(ZONE);
    let client = Client::of(&primary);
    primary.version(u32::MAX, &rules(0..10));
    let old = client.whole();
    primary.version(2, &rules(5..15));
    let (fetched, copy) = client.fetch(Some(&old)).expect("the circle closes");
    assert!(matches!(fetched, Fetched::Changes { serial: 2, .. }));
    primary.version(1, &rules(0..3));
    says(&client.refused(Some(&copy)), "serial 1 is older than ours, 2: it went backwards");
    primary.version(0x8000_0002, &rules(0..3));
    let failure = client.refused(Some(&copy));
    says(&failure, "serial 2147483650 is 2^31 away from ours, 2");
    says(&failure, "culvert zone retransfer");
    assert!(!failure.whole_may_help());
    // by force it can be taken
    assert_eq!(client.whole().serial, 0x8000_0002);
}

/// One that does not wait long where nothing will come.
fn client_for(primary: &Primary, fault: &Fault) -> Client {
    let client = Client::of(primary);
    let silent = matches!(fault, Fault::StallAfter(_) | Fault::NoEnd);
    if silent { client.hasty() } else { client }
}

#[test]
fn bad_frames() {
    let primary = primary();
    Client::of(&primary).whole();
    for (fault, words) in [
        (Fault::CutAfter(5_000), "cut the transfer of feed.example off after 100 records"),
        (Fault::CutAfter(1), "closed the connection without an answer"),
        (Fault::StallAfter(1), "after 100 records: the primary sends nothing more"),
        (Fault::StallAfter(0), "stalled"),
        (Fault::NoEnd, "after 251 records: the primary sends nothing more"),
        (Fault::EndDiffers, "record 252: the SOA at the end (serial 30583)"),
        (Fault::NoSoaFirst, "record 1: the answer does not begin with the zone's SOA"),
        (Fault::AfterTheEnd, "record 253: records follow the SOA"),
        (Fault::Stranger, "record 2: stranger.elsewhere.test is not in the zone"),
        (Fault::PointerLoop, "cannot be read"),
        (Fault::Garbage, "cannot be read"),
        (Fault::OtherQuestion, "answers another question"),
        (Fault::OtherId, "no answer to our request"),
        (Fault::CodeAt(0, 2), "SERVFAIL"),
        (Fault::CodeAt(1, 2), "record 100: the primary says SERVFAIL"),
        (Fault::CodeAt(2, 5), "record 200: the primary says REFUSED"),
    ] {
        primary.script(|s| s.fault = Some(fault.clone()));
        let client = client_for(&primary, &fault);
        says(&client.refused(None), words);
        // the same where changes were asked for
        primary.script(|s| s.ixfr = Ixfr::Whole);
        let had = Copy { serial: 0, ..Copy::default() };
        client.refused(Some(&had));
    }
}

#[test]
fn bad_changes() {
    let primary = primary();
    let client = Client::of(&primary);
    let old = client.whole();
    primary.version(2, &rules(100..300));
    for (fault, words) in [
        (Fault::CutAfter(4_000), "cut the transfer"),
        (Fault::NoEnd, "sends nothing more"),
        (Fault::EndDiffers, "changes begin at serial 30583 and not at 2"),
        (Fault::AfterTheEnd, "records follow the SOA"),
        (Fault::CodeAt(1, 2), "SERVFAIL"),
    ] {
        let whole = matches!(fault, Fault::EndDiffers | Fault::AfterTheEnd);
        let client = client_for(&primary, &fault);
        primary.script(|s| s.fault = Some(fault));
        let failure = client.refused(Some(&old));
        says(&failure, words);
        assert_eq!(failure.whole_may_help(), whole, "{failure}");
        assert!(!client.refused(None).whole_may_help());
    }
}

#[test]
fn limits() {
    let primary = primary();
    let mut client = Client::of(&primary);
    client.ask.max_records = 251;
    let failure = client.refused(None);
    assert_eq!(failure.why.cause(), &Why::Answer(framing::Fault::TooMany(251)));
    client.ask.max_records = 252;
    client.whole();
    client.ask.max_bytes = 5_000;
    says(&client.refused(None), "more than 5000 octets");
    client.ask.max_bytes = 1 << 20;
    client.ask.max_records = 1 << 20;
    primary.script(|s| s.fault = Some(Fault::Endless));
    says(&client.refused(None), "more than 1048576 octets");
}

#[test]
fn drips_are_too_slow() {
    let primary = primary();
    primary.script(|s| (s.per_message, s.fault) = (1, Some(Fault::Drip(millis(60)))));
    let mut client = Client::of(&primary);
    client.ask.patience.pace_window = millis(500);
    let failure = client.refused(None);
    assert!(matches!(failure.why.cause(), Why::TooSlow { octets: 1..1_000, .. }), "{failure}");
    client.ask.patience.pace_window = secs(300);
    client.ask.patience.longest = millis(500);
    let failure = client.refused(None);
    assert_eq!(failure.why.cause(), &Why::TooLong, "{failure}");
    // slow, but with enough in it
    client.ask.patience = Patience { pace_window: millis(500), ..Patience::default() };
    client.ask.patience.pace_octets = 100;
    primary.script(|s| s.per_message = 25);
    client.whole();
}

#[test]
fn refusals_say_what_to_do() {
    let primary = primary();
    let client = Client::of(&primary);
    for (code, words) in [
        (5, "refuses the transfer of feed.example: allow this host's address or key there"),
        (9, "does not serve this zone"),
        (2, "answers SERVFAIL"),
    ] {
        primary.script(|s| s.refuse = Some(code));
        let failure = client.refused(None);
        says(&failure, words);
        assert_eq!(failure.why, Why::Refused(code));
    }
    let other = Primary::start("other.example");
    other.version(1, &[]);
    says(&Client::of(&other).refused(None), "does not serve this zone");
    let gone = Client::of(&primary);
    drop(primary);
    says(&gone.refused(None), "cannot connect");
}

/// A primary with a key, and a client that has it too.
fn signed(hash: Hash) -> (Primary, Client) {
    let (primary, key) = (primary(), Key::new("transfer.key", hash));
    let client = Client::of(&primary).key(&key);
    primary.script(|s| s.key = Some(key));
    (primary, client)
}

#[test]
fn signed_transfers() {
    for hash in Hash::ALL {
        let (primary, client) = signed(hash);
        let plain = client.whole();
        assert_eq!(plain.records.len(), 250);
        for (per_message, sign_every) in [(1, 1), (1, 100), (2, 7), (1_000, 1)] {
            primary.script(|s| (s.per_message, s.sign_every) = (per_message, sign_every));
            assert_eq!(client.whole(), plain);
        }
        primary.version(2, &rules(5..255));
        let (fetched, copy) = client.fetch(Some(&plain)).expect("a good transfer");
        assert!(matches!(fetched, Fetched::Changes { serial: 2, .. }));
        assert_eq!(copy, client.whole());
        assert_eq!(primary.asked().unsigned, 0);
    }
}

/// What is said about a signed transfer in three messages that is spoilt in this way.
#[track_caller]
fn spoilt(words: &str, spoil: impl FnOnce(&mut Script)) {
    let (primary, client) = signed(Hash::Sha256);
    primary.script(spoil);
    says(&client.refused(None), words);
}

#[test]
fn bad_signatures() {
    let other = |name: &str, hash| Some(Fault::OtherKey(Key::new(name, hash)));
    let mut secret = Key::new("transfer.key", Hash::Sha256);
    secret.secret[0] ^= 1;
    spoilt("BADSIG", |s| s.fault = Some(Fault::OtherKey(secret)));
    spoilt("BADKEY: the primary signed with other.key hmac-sha256", |s| {
        s.fault = other("other.key", Hash::Sha256);
    });
    spoilt("BADKEY: the primary signed with transfer.key hmac-sha1", |s| {
        s.fault = other("transfer.key", Hash::Sha1);
    });
    spoilt("BADTRUNC: the signature is cut to 12 octets", |s| s.fault = Some(Fault::MacCut(12)));
    spoilt("the answer is not signed", |s| s.fault = Some(Fault::Unsigned));
    spoilt("the last message is not signed", |s| s.fault = Some(Fault::LastUnsigned));
    spoilt("BADSIG", |s| s.fault = Some(Fault::Changed(2)));
    // an octet of a message that only the next signature vouches for
    spoilt("BADSIG", |s| (s.sign_every, s.fault) = (100, Some(Fault::Changed(1))));
    // 251 messages of which one in 150 is signed
    spoilt("more than 99 messages in a row", |s| (s.per_message, s.sign_every) = (1, 150));
    spoilt("more than 99 messages in a row", |s| (s.per_message, s.sign_every) = (1, 101));
}

#[test]
fn clocks_and_keys_that_differ() {
    for (ahead, side) in [(302, "ahead"), (-302, "behind")] {
        spoilt(&format!("s {side}"), |s| (s.clock, s.any_clock) = (ahead, true));
        spoilt("the primary says BADTIME: the primary's clock shows 20", |s| s.clock = ahead);
    }
    let (primary, client) = signed(Hash::Sha256);
    primary.script(|s| s.clock = 290);
    client.whole();
    primary.script(|s| s.key = Some(Key::new("other.key", Hash::Sha256)));
    says(&client.refused(None), "the primary says BADKEY");
    primary.script(|s| s.key = Some(Key::new("transfer.key", Hash::Sha512)));
    says(&client.refused(None), "the primary says BADKEY");
    let mut key = Key::new("transfer.key", Hash::Sha256);
    key.secret.push(1);
    primary.script(|s| s.key = Some(key));
    says(&client.refused(None), "the primary says BADSIG");
    // one of both has no key
    primary.script(|s| s.key = None);
    says(&client.refused(None), "the answer is not signed");
    primary.script(|s| s.key = Some(Key::new("transfer.key", Hash::Sha256)));
    says(&Client::of(&primary).refused(None), "refuses the transfer");
}

#[test]
fn over_tls() {
    let tls = Tls::new();
    let primary = Primary::over_tls(ZONE, &tls, Shown::Right);
    primary.version(1, &rules(0..250));
    let client = Client::of(&primary).tls(&tls);
    assert_eq!(client.whole().records.len(), 250);
    primary.script(|s| s.fault = Some(Fault::CutAfter(6_000)));
    says(&client.refused(None), "cut the transfer");
    for (shown, words) in [
        (Shown::WrongName, "its certificate is for another name"),
        (Shown::Expired, "its certificate has expired"),
        (Shown::NotYetValid, "its certificate is not valid yet"),
        (Shown::OtherAuthority, "not signed by a trusted CA"),
        (Shown::SelfSigned, "TLS: "),
    ] {
        let primary = Primary::over_tls(ZONE, &tls, shown);
        primary.version(1, &rules(0..5));
        says(&Client::of(&primary).tls(&tls).refused(None), words);
    }
    for alpn in [&["h2"][..], &[]] {
        let primary = Primary::with_alpn(ZONE, &tls, Shown::Right, alpn);
        primary.version(1, &rules(0..5));
        let failure = Client::of(&primary).tls(&tls).refused(None);
        says(&failure, "it does not offer DNS over TLS (ALPN dot)");
    }
    // a primary that does not speak TLS
    let plain = Primary::start(ZONE);
    says(&Client::of(&plain).tls(&tls).refused(None), "TLS: ");
}

#[test]
fn bind_as_the_primary() {
    let tls = Tls::new();
    for key in [None, Some(Key::new("transfer.key", Hash::Sha512))] {
        let bind = Bind::start(&tls, ZONE, key.as_ref(), 1, &rules(0..20_000));
        let to = |address, over_tls: bool| {
            let client = Client::to(address);
            let client = key.iter().fold(client, Client::key);
            if over_tls { client.tls(&tls) } else { client }
        };
        let clients = [to(bind.address, false), to(bind.tls, true)];
        let old = clients[0].whole();
        // the rules, the NS and its address
        assert_eq!((old.serial, old.records.len()), (1, 20_002));
        assert_eq!(clients[1].whole(), old);
        assert_eq!(clients[0].fetch(Some(&old)).expect("an answer").0, Fetched::UpToDate);
        bind.publish(2, &rules(100..20_050));
        bind.publish(7, &rules(200..20_100));
        for client in &clients {
            let (fetched, copy) = client.fetch(Some(&old)).expect("a good transfer");
            assert!(matches!(fetched, Fetched::Changes { serial: 7, .. }), "{fetched:?}");
            assert_eq!(copy, client.whole());
            assert_eq!(copy.records.len(), 19_902);
        }
        // from a version that it never had
        let unknown = Copy { serial: 5, ..Copy::default() };
        let (fetched, copy) = clients[0].fetch(Some(&unknown)).expect("a good transfer");
        assert!(matches!(fetched, Fetched::Whole { serial: 7, .. }), "{fetched:?}");
        assert_eq!(copy, clients[0].whole());
        if let Some(key) = &key {
            says(&Client::to(bind.address).refused(None), "refuses the transfer");
            let other = Key::new("other.key", Hash::Sha512);
            says(&Client::to(bind.address).key(&other).refused(None), "says BADKEY");
            let secret = b"another secret".to_vec();
            let other = Key { secret, ..key.clone() };
            says(&Client::to(bind.address).key(&other).refused(None), "says BADSIG");
            let mut late = Client::to(bind.address).key(key);
            late.ask.now = &|| now() - 3600;
            says(&late.refused(None), "says BADTIME: the primary's clock shows 20");
            says(&late.refused(None), "s ahead");
        }
        let mut other = Client::to(bind.address);
        other.ask.zone = "elsewhere.example".parse().expect("a name");
        let text = other.refused(None).to_string();
        assert!(text.contains("refuses the transfer of elsewhere.example"), "{text}");
    }
}

/// Answers one NOTIFY over UDP as the library checks and signs it; gives where it listens.
fn listener(key: tsig::Key, clock: i64) -> (SocketAddr, std::thread::JoinHandle<()>) {
    let socket = UdpSocket::bind((LOCAL, 0)).expect("a socket");
    socket.set_read_timeout(Some(secs(5))).expect("a time-out");
    let address = socket.local_addr().expect("an address");
    let answer = move || {
        let mut buffer = [0; 4096];
        let (length, from) = socket.recv_from(&mut buffer).expect("a NOTIFY");
        let packet = &buffer[..length];
        let now = now().saturating_add_signed(clock);
        let mut answer = Message::read(packet).expect("a message");
        (answer.answers, answer.additional) = (Vec::new(), Vec::new());
        answer.flags |= QR;
        let checked = tsig::check_request(packet, &key, now);
        answer.flags |= checked.as_ref().err().map_or(0, |fault| fault.rcode());
        let mut bytes = answer.bytes();
        match checked {
            Ok(request) => tsig::sign_answer(&mut bytes, &key, now, &request.mac),
            Err(fault) => tsig::answer_fault(&mut bytes, packet, &fault, &key, now),
        }
        socket.send_to(&bytes, from).expect("an answer is sent");
    };
    (address, std::thread::spawn(answer))
}

#[test]
fn a_signed_notify_and_its_answer() {
    let primary = primary();
    for hash in Hash::ALL {
        let key = Key::new("notify.key", hash);
        let wrong = Key { secret: b"another secret".to_vec(), ..key.clone() };
        let stranger = Key::new("stranger.key", hash);
        for (used, clock, code, error) in [
            (Some(&key), 0, "NOERROR", None),
            (Some(&key), 290, "NOERROR", None),
            (Some(&key), 302, "NOTAUTH", Some(BADTIME)),
            (Some(&key), -302, "NOTAUTH", Some(BADTIME)),
            (Some(&wrong), 0, "NOTAUTH", Some(BADSIG)),
            (Some(&stranger), 0, "NOTAUTH", Some(BADKEY)),
            (None, 0, "REFUSED", None),
        ] {
            let (address, thread) = listener(library_key(&key), clock);
            let told = primary.notify(address, Over::Udp, 7, used).expect("an answer");
            thread.join().expect("the listener answers");
            assert_eq!(told.message.rcode(), code);
            let signature = told.signature;
            let is_signed = signature.as_ref().is_some_and(|s| !s.mac.is_empty());
            assert_eq!(signature.as_ref().map_or(0, |s| s.error), error.unwrap_or(0));
            assert_eq!(signature.is_some(), used.is_some());
            let may_be_signed = matches!(error, None | Some(BADTIME)) && used.is_some();
            assert_eq!((is_signed, told.is_right), (may_be_signed, may_be_signed));
            let other = if error == Some(BADTIME) { 6 } else { 0 };
            assert_eq!(signature.map_or(0, |s| s.other.len()), other);
        }
    }
}
