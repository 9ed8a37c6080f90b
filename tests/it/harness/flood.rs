//! A load generator: so many questions a second, each name once, every answer looked at.

use super::wire::{A, Message, Query};
use super::world::address_of;
use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the generator waits for the last answers.
const LAST: Duration = Duration::from_millis(5500);

/// What is sent, how fast, and what the right answer is.
pub struct Flood {
    pub server: SocketAddr,
    /// Questions a second.
    pub rate: u32,
    /// The longest time to send for.
    pub limit: Duration,
    /// Makes the n-th name.
    pub name: Arc<dyn Fn(u64) -> String + Send + Sync>,
    /// Makes what has to come back for a name: an address, the name of a response code, or nothing
    /// for NOERROR without an address.
    pub expected: Arc<dyn Fn(&str) -> String + Send + Sync>,
}

/// What came of a flood.
#[derive(Debug, Default)]
pub struct Report {
    pub sent: u64,
    pub by_rcode: BTreeMap<&'static str, u64>,
    /// Right answers.
    pub right: u64,
    /// All others, by name, with what was said.
    pub wrong: Vec<String>,
    /// A second answer to one question, or an answer to none.
    pub unasked: u64,
    pub lost: Vec<String>,
    pub longest: Duration,
    /// When each question was sent that was answered, and how long that took.
    pub times: Vec<(Instant, Duration)>,
}

impl Report {
    /// Every question got exactly one right answer, and there were some.
    #[track_caller]
    pub fn assert_all_right(&self) {
        assert!(self.sent > 50, "the load was really sent: {self:?}");
        assert_eq!(self.lost, [""; 0], "nothing is lost: {self:?}");
        assert_eq!(self.by_rcode, BTreeMap::from([("NOERROR", self.sent)]), "{self:?}");
        assert_eq!((self.right, self.unasked), (self.sent, 0), "{self:?}");
    }
}

/// A running flood.
pub struct Running {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    thread: JoinHandle<Report>,
}

impl Flood {
    /// Names `qN.<suffix>` with the addresses that the scripted backends make of them.
    pub fn of(server: SocketAddr, rate: u32, suffix: &str) -> Flood {
        let suffix = suffix.to_owned();
        Flood {
            server,
            rate,
            limit: Duration::from_secs(30),
            name: Arc::new(move |n| format!("q{n}.{suffix}")),
            expected: Arc::new(address_of),
        }
    }

    /// All names have this one address.
    pub fn expecting(mut self, address: &str) -> Flood {
        let address = address.to_owned();
        self.expected = Arc::new(move |_| address.clone());
        self
    }

    pub fn start(self) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let (seen, count) = (stop.clone(), answered.clone());
        let thread = std::thread::spawn(move || self.send_all(&seen, &count));
        Running { stop, answered, thread }
    }

    fn send_all(self, stop: &AtomicBool, answered: &AtomicU64) -> Report {
        let sockets: Vec<UdpSocket> = (0..8).map(|_| client_socket(self.server)).collect();
        let mut waiting: HashMap<(usize, u16), (String, Instant)> = HashMap::new();
        let mut report = Report::default();
        let start = Instant::now();
        let mut last = None;
        loop {
            let now = Instant::now();
            let sending = !stop.load(Ordering::Relaxed) && start.elapsed() < self.limit;
            let due = (start.elapsed().as_secs_f64() * f64::from(self.rate)) as u64;
            while sending && report.sent < due {
                let socket = report.sent as usize % sockets.len();
                let name = (self.name)(report.sent);
                let id = (report.sent / sockets.len() as u64) as u16;
                let _ = sockets[socket].send(&Query::new(&name, A).id(id).bytes());
                if let Some((name, _)) = waiting.insert((socket, id), (name, now)) {
                    report.lost.push(name);
                }
                report.sent += 1;
            }
            for (number, socket) in sockets.iter().enumerate() {
                self.collect(number, socket, &mut waiting, &mut report);
            }
            answered.store(report.right, Ordering::Relaxed);
            let end = *last.get_or_insert(now);
            if sending {
                last = None;
            } else if waiting.is_empty() || end.elapsed() > LAST {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        report.lost.extend(waiting.into_values().map(|(name, _)| name));
        report
    }

    fn collect(
        &self,
        number: usize,
        socket: &UdpSocket,
        waiting: &mut HashMap<(usize, u16), (String, Instant)>,
        report: &mut Report,
    ) {
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            let Ok(reply) = Message::read(&buffer[..length]) else {
                report.wrong.push("an unreadable answer".into());
                continue;
            };
            let Some((name, since)) = waiting.remove(&(number, reply.id)) else {
                report.unasked += 1;
                continue;
            };
            let took = since.elapsed();
            report.longest = report.longest.max(took);
            report.times.push((since, took));
            *report.by_rcode.entry(reply.rcode()).or_default() += 1;
            let same = reply.question.as_ref().is_some_and(|(asked, ..)| *asked == name);
            let expected = (self.expected)(&name);
            if same && said(&reply) == expected {
                report.right += 1;
            } else {
                report.wrong.push(format!("{name}: {:?}, not {expected:?}", said(&reply)));
            }
        }
    }
}

impl Running {
    /// Waits until as many right answers have come.
    #[track_caller]
    pub fn until_answered(&self, count: u64) {
        let limit = Duration::from_secs(20);
        super::eventually("the load is being answered", limit, || {
            self.answered.load(Ordering::Relaxed) >= count
        });
    }

    /// Waits until as many more right answers have come.
    #[track_caller]
    pub fn until_more(&self, count: u64) {
        self.until_answered(self.answered.load(Ordering::Relaxed) + count);
    }

    /// Ends the load, waits for the last answers and says what came of it.
    pub fn finish(self) -> Report {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the generator ends")
    }
}

/// What an answer about an address comes to: addresses, or the response code if it is an error.
pub fn said(reply: &Message) -> String {
    match reply.rcode() {
        "NOERROR" => reply.data(A).join(" "),
        error => error.to_owned(),
    }
}

fn client_socket(server: SocketAddr) -> UdpSocket {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).expect("a client socket");
    socket.connect(server).expect("a destination");
    socket.set_nonblocking(true).expect("a socket can be non-blocking");
    socket
}
