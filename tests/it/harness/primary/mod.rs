//! A scripted primary: it holds versions of one zone, gives its SOA, all of it or what changed,
//! over TCP or TLS, signed or not, says NOTIFY, and misbehaves as told.
//!
//! ```text
//!   version(serial, records) ─┬► versions ─► SOA, AXFR, IXFR (steps or condensed)
//!   change(serial, ...) ──────┘
//!                                             │ records   Fault: ends, chains, strangers
//!                                             ▼
//!                                          messages       Fault: ids, questions, codes
//!                                             │
//!                                          signatures     Fault: keys, clocks, cuts, gaps
//!                                             ▼
//!   script(|s| ...)                        connection     Fault: cuts, stalls, drips, no end
//! ```

mod script;
mod versions;

pub use script::{Asked, Fault, Ixfr, Script};

use super::client::{Over, framed};
use super::process::{LOCAL, bound, free_port};
use super::tls::{Shown, Tls};
use super::tsig::{BADTIME, Chain, Hash, Key, Signature, Stamp, with_record};
use super::wire::{AA, AXFR, Message, QR, Record, SOA, header, name_bytes};
use super::{millis, secs};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use versions::Versions;

pub const IXFR: u16 = 251;
const NOTIFY: u16 = 4 << 11;
const NOTAUTH: u16 = 9;

/// A running primary for one zone. It ends with its handle.
pub struct Primary {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<std::thread::JoinHandle<()>>,
}

struct Shared {
    zone: String,
    script: Mutex<Script>,
    versions: Mutex<Versions>,
    asked: Mutex<Asked>,
    looks: Mutex<Vec<Instant>>,
    stop: AtomicBool,
    tls: Option<Arc<rustls::ServerConfig>>,
}

/// A lock that a failing test may have left behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

impl Primary {
    /// Over TCP.
    pub fn start(zone: &str) -> Primary {
        Primary::run(zone, None)
    }

    /// Over TLS, with this certificate for [`super::tls::HOST`].
    pub fn over_tls(zone: &str, tls: &Tls, shown: Shown) -> Primary {
        Primary::with_alpn(zone, tls, shown, &["dot"])
    }

    /// Over TLS, for these protocols.
    pub fn with_alpn(zone: &str, tls: &Tls, shown: Shown, alpn: &[&str]) -> Primary {
        Primary::run(zone, Some(tls.server(shown, alpn, rustls::ALL_VERSIONS)))
    }

    fn run(zone: &str, tls: Option<Arc<rustls::ServerConfig>>) -> Primary {
        let address = free_port(LOCAL);
        let listener = bound(|| TcpListener::bind(address));
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let shared = Arc::new(Shared {
            zone: zone.to_owned(),
            script: Mutex::default(),
            versions: Mutex::default(),
            asked: Mutex::default(),
            looks: Mutex::default(),
            stop: AtomicBool::new(false),
            tls,
        });
        let own = shared.clone();
        let listener = Some(std::thread::spawn(move || own.listen(&listener)));
        Primary { address, shared, listener }
    }

    /// Publishes a version: all records but the SOA. The newest is the last one given.
    pub fn version(&self, serial: u32, records: &[Record]) {
        locked(&self.shared.versions).push(serial, records.to_vec());
    }

    /// Publishes a version by what it has less and more than the one before it: what a large zone
    /// with many versions would cost too much without.
    pub fn change(&self, serial: u32, gone: Vec<Record>, come: Vec<Record>) {
        locked(&self.shared.versions).push_change(serial, gone, come);
    }

    /// All records of the newest version but its SOA, in no order.
    pub fn records(&self) -> Vec<Record> {
        let versions = locked(&self.shared.versions).clone();
        versions.newest().map(|at| versions.records(at)).unwrap_or_default()
    }

    /// Forgets all versions but the newest.
    pub fn forget(&self) {
        locked(&self.shared.versions).forget();
    }

    /// Changes what it does, from the next request on.
    pub fn script(&self, change: impl FnOnce(&mut Script)) {
        change(&mut locked(&self.shared.script));
    }

    pub fn asked(&self) -> Asked {
        *locked(&self.shared.asked)
    }

    /// When it was asked for its SOA.
    pub fn looks(&self) -> Vec<Instant> {
        locked(&self.shared.looks).clone()
    }

    /// Says NOTIFY (RFC 1996) to `server` with this serial, signed with `key` or not at all;
    /// gives the answer, if one comes within a second.
    pub fn notify(
        &self,
        server: SocketAddr,
        over: Over,
        serial: u32,
        key: Option<&Key>,
    ) -> Option<Told> {
        let message = Message {
            id: serial as u16 ^ 0x5a5a,
            flags: NOTIFY | AA,
            question: Some((self.shared.zone.clone(), SOA, 1)),
            answers: vec![self.shared.soa(serial)],
            ..Message::default()
        };
        let mut bytes = message.bytes();
        let mut mac = Vec::new();
        if let Some(key) = key {
            let stamp = Stamp { time: self.shared.now(), ..Stamp::default() };
            let mut chain = Chain::request(key);
            bytes = chain.sign(&bytes, &stamp);
            mac = chain.mac().to_vec();
        }
        let answer = match over {
            Over::Udp => udp(self.address, server, &bytes)?,
            Over::Tcp => tcp(server, &bytes)?,
        };
        let signature = Signature::of(&answer);
        let right = |s: &Signature| key.is_some_and(|key| s.answers(key, &mac));
        let is_right = signature.as_ref().is_some_and(right);
        let message = Message::read(&answer).expect("the answer to NOTIFY is a message");
        Some(Told { message, signature, is_right })
    }
}

/// What came back for a NOTIFY.
pub struct Told {
    pub message: Message,
    pub signature: Option<Signature>,
    /// The signature is right.
    pub is_right: bool,
}

impl Drop for Primary {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn udp(own: SocketAddr, server: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((own.ip(), 0)).expect("a client socket");
    socket.set_read_timeout(Some(secs(1))).expect("a time-out");
    socket.send_to(bytes, server).expect("a packet is sent");
    let mut buffer = vec![0; 65_535];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}

fn tcp(server: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&server, secs(1)).ok()?;
    stream.set_read_timeout(Some(secs(1))).expect("a time-out");
    stream.write_all(&framed(bytes)).ok()?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).ok()?;
    Some(answer)
}

/// A connection over TCP or TLS.
trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

/// Why a connection is given up: the peer closed it, the script says so, or the test is over.
struct Closed;

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Closed {
        Closed
    }
}

impl Shared {
    fn listen(self: &Arc<Shared>, listener: &TcpListener) {
        let mut connections = Vec::new();
        while !self.stopped() {
            match listener.accept() {
                Ok((stream, _)) => {
                    locked(&self.asked).connections += 1;
                    let own = self.clone();
                    connections.push(std::thread::spawn(move || own.serve(stream)));
                }
                Err(_) => std::thread::sleep(millis(5)),
            }
        }
        for connection in connections {
            let _ = connection.join();
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_nodelay(true);
        // reads end often to see whether the test is over; writes end when nobody reads
        let _ = stream.set_read_timeout(Some(millis(20)));
        let _ = stream.set_write_timeout(Some(secs(5)));
        let mut wire: Box<dyn Wire> = match &self.tls {
            Some(config) => {
                let Ok(tls) = rustls::ServerConnection::new(config.clone()) else { return };
                Box::new(rustls::StreamOwned::new(tls, stream))
            }
            None => Box::new(stream),
        };
        while self.exchange(&mut *wire).is_ok() {}
    }

    /// One request and its answer.
    fn exchange(&self, wire: &mut dyn Wire) -> Result<(), Closed> {
        let mut length = [0; 2];
        self.read(wire, &mut length)?;
        let mut request = vec![0; usize::from(u16::from_be_bytes(length))];
        self.read(wire, &mut request)?;
        let script = locked(&self.script).clone();
        self.answer(wire, &request, &script)?;
        if script.closes { Err(Closed) } else { Ok(()) }
    }

    /// Fills the buffer, however often the clock of a read runs out.
    fn read(&self, wire: &mut dyn Wire, mut buffer: &mut [u8]) -> Result<(), Closed> {
        while !buffer.is_empty() {
            if self.stopped() {
                return Err(Closed);
            }
            match wire.read(buffer) {
                Ok(0) => return Err(Closed),
                Ok(n) => buffer = &mut buffer[n..],
                Err(e) if is_pause(e.kind()) => {}
                Err(_) => return Err(Closed),
            }
        }
        Ok(())
    }

    fn answer(&self, wire: &mut dyn Wire, bytes: &[u8], script: &Script) -> Result<(), Closed> {
        let request = Message::read(bytes).map_err(|_| Closed)?;
        let (_, qtype, _) = request.question.clone().ok_or(Closed)?;
        {
            let mut asked = locked(&self.asked);
            match qtype {
                SOA => asked.soa += 1,
                AXFR => asked.axfr += 1,
                IXFR => asked.ixfr += 1,
                _ => return Err(Closed),
            }
        }
        if qtype == SOA {
            locked(&self.looks).push(Instant::now());
        }
        if script.silent {
            return self.idle(wire);
        }
        let chain = match self.chain(bytes, &request, script) {
            Ok(chain) => chain,
            Err(refusal) => return Ok(wire.write_all(&framed(&refusal))?),
        };
        let known = request.question.as_ref().is_some_and(|(name, ..)| {
            name.eq_ignore_ascii_case(&self.zone) && locked(&self.versions).newest().is_some()
        });
        let code = if known { script.refuse } else { Some(NOTAUTH) };
        if let Some(code) = code {
            let answer = Message { flags: QR | code, ..reply(&request) };
            return self.send(wire, vec![answer.bytes()], chain, script, &None);
        }
        if qtype == SOA {
            let newest = locked(&self.versions).newest_serial();
            let soa = self.soa(script.told_serial.unwrap_or(newest));
            let answer = Message { answers: vec![soa], ..reply(&request) };
            return self.send(wire, vec![answer.bytes()], chain, script, &None);
        }
        {
            let mut asked = locked(&self.asked);
            asked.transfers += 1;
            asked.at_once = asked.at_once.max(asked.transfers);
        }
        let done = self.transfer(wire, &request, chain, script);
        locked(&self.asked).transfers -= 1;
        done
    }

    /// The signatures of the answer, or the refusal of the request's.
    fn chain(
        &self,
        bytes: &[u8],
        request: &Message,
        script: &Script,
    ) -> Result<Option<Chain>, Vec<u8>> {
        let Some(key) = &script.key else { return Ok(None) };
        let refusal = Message { flags: QR | NOTAUTH, ..reply(request) }.bytes();
        let now = self.now();
        let Some(signature) = Signature::of(bytes) else {
            locked(&self.asked).unsigned += 1;
            return Err(Message { flags: QR | 5, ..reply(request) }.bytes());
        };
        let error = match signature.fault(key, now) {
            Some(BADTIME) if script.any_clock => None,
            other => other,
        };
        let Some(error) = error else {
            let key = match &script.fault {
                Some(Fault::OtherKey(other)) => other,
                _ => key,
            };
            return Ok(Some(Chain::answer(key, &signature.mac)));
        };
        locked(&self.asked).unsigned += 1;
        let mut stamp = Stamp { time: signature.time, error, ..Stamp::default() };
        if error == BADTIME {
            stamp.other = now.to_be_bytes()[2..].to_vec();
            return Err(Chain::answer(key, &signature.mac).sign(&refusal, &stamp));
        }
        let hash = signature.hash.unwrap_or(Hash::Sha256);
        Err(with_record(&refusal, &signature.name, hash, &stamp, &[]))
    }

    fn transfer(
        &self,
        wire: &mut dyn Wire,
        request: &Message,
        chain: Option<Chain>,
        script: &Script,
    ) -> Result<(), Closed> {
        let since = asked_since(request);
        let mut script = script.clone();
        if script.changes_only && since.is_none() {
            script.fault = None;
        }
        let script = &script;
        let records = match since {
            None => self.whole(),
            Some(since) => match script.ixfr {
                Ixfr::Code(code) => {
                    let answer = Message { flags: QR | code, ..reply(request) };
                    return self.send(wire, vec![answer.bytes()], chain, script, &None);
                }
                Ixfr::Close => return Err(Closed),
                Ixfr::LoneSoa => self.whole().into_iter().take(1).collect(),
                Ixfr::Whole => self.whole(),
                Ixfr::Steps => self.changes(since, false),
                Ixfr::Condensed => self.changes(since, true),
            },
        };
        let records = self.misframed(records, &script.fault);
        if script.fault == Some(Fault::Endless) {
            return self.endless(wire, request, chain, script, &records);
        }
        let messages = messages(request, &records, script);
        self.send(wire, messages, chain, script, &script.fault)
    }

    /// The newest version between its SOAs.
    fn whole(&self) -> Vec<Record> {
        let versions = locked(&self.versions).clone();
        let Some(newest) = versions.newest() else { return Vec::new() };
        let soa = self.soa(versions.newest_serial());
        let mut out = vec![soa.clone()];
        out.append(&mut versions.records(newest));
        out.push(soa);
        out
    }

    /// From the version with this serial to the newest; all of it if that version is not known.
    fn changes(&self, since: u32, condensed: bool) -> Vec<Record> {
        let versions = locked(&self.versions).clone();
        let Some(steps) = versions.steps(since, condensed) else { return self.whole() };
        let newest = self.soa(versions.newest_serial());
        let mut out = vec![newest.clone()];
        if steps.is_empty() {
            return out;
        }
        for step in steps {
            out.push(self.soa(step.from));
            out.extend(step.gone);
            out.push(self.soa(step.to));
            out.extend(step.come);
        }
        out.push(newest);
        out
    }

    fn misframed(&self, mut records: Vec<Record>, fault: &Option<Fault>) -> Vec<Record> {
        let last = records.len() - 1;
        match fault {
            Some(Fault::NoSoaFirst) => drop(records.remove(0)),
            Some(Fault::NoEnd | Fault::Endless) => drop(records.pop()),
            Some(Fault::EndDiffers) => records[last] = self.soa(0x7777),
            Some(Fault::AfterTheEnd) => {
                records.push(Record::a(&format!("late.{}", self.zone), 60, "192.0.2.9"));
            }
            Some(Fault::Stranger) => {
                records.insert(1, Record::a("stranger.elsewhere.test", 60, "192.0.2.9"));
            }
            _ => {}
        }
        records
    }

    /// Records of ever new names until nobody reads them.
    fn endless(
        &self,
        wire: &mut dyn Wire,
        request: &Message,
        mut chain: Option<Chain>,
        script: &Script,
        first: &[Record],
    ) -> Result<(), Closed> {
        let mut records = first.to_vec();
        for n in 0u64.. {
            for message in messages(request, &records, script) {
                wire.write_all(&framed(&self.signed(message, chain.as_mut(), script, true)))?;
            }
            if self.stopped() {
                break;
            }
            let name = |i: usize| format!("n{n}-{i}.{}", self.zone);
            records = (0..100).map(|i| Record::a(&name(i), 60, "192.0.2.1")).collect();
        }
        Err(Closed)
    }

    /// Signs and sends messages, as far as the fault lets them go.
    fn send(
        &self,
        wire: &mut dyn Wire,
        messages: Vec<Vec<u8>>,
        mut chain: Option<Chain>,
        script: &Script,
        fault: &Option<Fault>,
    ) -> Result<(), Closed> {
        let count = messages.len();
        let mut sent = 0;
        for (i, message) in messages.into_iter().enumerate() {
            let is_signed = match fault {
                Some(Fault::Unsigned) => false,
                Some(Fault::LastUnsigned) if i > 0 && i + 1 == count => false,
                _ => i == 0 || i + 1 == count || i % script.sign_every == 0,
            };
            let mut bytes = self.signed(message, chain.as_mut(), script, is_signed);
            match fault {
                Some(Fault::Changed(at)) if *at == i => bytes[40] ^= 1,
                Some(Fault::StallAfter(at)) if *at == i => return self.idle(wire),
                Some(Fault::Drip(pause)) => self.pause(*pause)?,
                _ => {}
            }
            let mut bytes = framed(&bytes);
            if let Some(Fault::CutAfter(octets)) = fault
                && sent + bytes.len() > *octets
            {
                bytes.truncate(octets - sent);
                wire.write_all(&bytes)?;
                wire.flush()?;
                return Err(Closed);
            }
            sent += bytes.len();
            wire.write_all(&bytes)?;
        }
        Ok(wire.flush()?)
    }

    fn signed(
        &self,
        message: Vec<u8>,
        chain: Option<&mut Chain>,
        script: &Script,
        sign: bool,
    ) -> Vec<u8> {
        let cut = match script.fault {
            Some(Fault::MacCut(octets)) => Some(octets),
            _ => None,
        };
        match chain {
            Some(chain) if sign => {
                chain.sign(&message, &Stamp { time: self.now(), cut, ..Stamp::default() })
            }
            Some(chain) => {
                chain.skip(&message);
                message
            }
            None => message,
        }
    }

    /// Says nothing more until the asker leaves.
    fn idle(&self, wire: &mut dyn Wire) -> Result<(), Closed> {
        wire.flush()?;
        self.read(wire, &mut [0; 1])?;
        Err(Closed)
    }

    fn pause(&self, pause: Duration) -> Result<(), Closed> {
        let start = Instant::now();
        while start.elapsed() < pause {
            if self.stopped() {
                return Err(Closed);
            }
            std::thread::sleep(pause.min(millis(10)));
        }
        Ok(())
    }

    /// The clock of the primary, in seconds since 1970.
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        since.as_secs().saturating_add_signed(locked(&self.script).clock)
    }

    fn soa(&self, serial: u32) -> Record {
        let timers = locked(&self.script).timers;
        let mut rdata = name_bytes(&format!("ns.{}", self.zone));
        rdata.extend(name_bytes(&format!("hostmaster.{}", self.zone)));
        for number in [serial].iter().chain(&timers) {
            rdata.extend(number.to_be_bytes());
        }
        Record::new(&self.zone, 300, SOA, rdata)
    }
}

fn is_pause(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// The serial in the authority section of a request for changes.
fn asked_since(request: &Message) -> Option<u32> {
    let soa = request.authority.first().filter(|record| record.rtype == SOA)?;
    let numbers = &soa.rdata[soa.rdata.len() - 20..];
    Some(u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
}

/// An authoritative answer to the request, without records.
fn reply(request: &Message) -> Message {
    let (id, question) = (request.id, request.question.clone());
    Message { id, flags: QR | AA, question, ..Message::default() }
}

/// The records in messages, some of them spoilt.
fn messages(request: &Message, records: &[Record], script: &Script) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for (i, part) in records.chunks(script.per_message).enumerate() {
        let mut message = Message { answers: part.to_vec(), ..reply(request) };
        if script.one_question && i > 0 {
            message.question = None;
        }
        match script.fault {
            Some(Fault::OtherQuestion) => {
                message.question = Some(("other.test".to_owned(), AXFR, 1));
            }
            Some(Fault::OtherId) => message.id ^= 1,
            Some(Fault::CodeAt(at, code)) if at == i => message.flags |= code,
            _ => {}
        }
        let mut bytes = message.bytes();
        match script.fault {
            Some(Fault::Garbage) => bytes.extend(b"garbage"),
            Some(Fault::PointerLoop) => {
                let counts = [1, 0, 0, 0];
                bytes.splice(..12, header(message.id, message.flags, counts));
                bytes[7] = 1;
                let question = message.question.as_ref().map_or(0, |q| name_bytes(&q.0).len() + 4);
                bytes.truncate(12 + question);
                let own = 0xc000 | bytes.len() as u16;
                bytes.extend(own.to_be_bytes());
                bytes.extend([0, 6, 0, 1, 0, 0, 0, 0, 0, 0]);
            }
            _ => {}
        }
        out.push(bytes);
    }
    out
}
