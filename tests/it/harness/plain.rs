//! A scripted plain DNS server on UDP and TCP: the faults that real servers do not show on order.

use super::process::{LOCAL, free_port};
use super::wire::{Message, Record, TC};
use super::world::World;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a UDP query; TCP always gets the right answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Right,
    /// TC and no records, so that the asker comes over TCP.
    Truncated,
    /// Wrong id first, then a wrong question, then the right answer, all from the right port.
    ForgedFirst,
    Silent,
}

/// A running server with two threads.
pub struct Plain {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

struct Shared {
    manner: Mutex<Manner>,
    world: Mutex<World>,
    udp: AtomicUsize,
    tcp: AtomicUsize,
    stop: AtomicBool,
    queries: Mutex<Vec<(Message, SocketAddr)>>,
}

impl Plain {
    pub fn start(manner: Manner) -> Plain {
        let address = free_port(LOCAL);
        let udp = super::process::bound(|| UdpSocket::bind(address));
        let tcp = super::process::bound(|| TcpListener::bind(address));
        udp.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
        tcp.set_nonblocking(true).expect("a listener can be non-blocking");
        let shared = Arc::new(Shared {
            manner: Mutex::new(manner),
            world: Mutex::default(),
            udp: AtomicUsize::new(0),
            tcp: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            queries: Mutex::default(),
        });
        let (one, two) = (shared.clone(), shared.clone());
        let threads = vec![
            std::thread::spawn(move || one.over_udp(&udp)),
            std::thread::spawn(move || two.over_tcp(&tcp)),
        ];
        Plain { address, shared, threads }
    }

    pub fn add(&self, records: &[Record]) {
        self.shared.world.lock().expect("no thread panics").add(records);
    }

    /// Changes what the server knows.
    pub fn world(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.shared.world.lock().expect("no thread panics"));
    }

    pub fn set(&self, manner: Manner) {
        *self.shared.manner.lock().expect("no thread panics") = manner;
    }

    /// Queries that came over UDP and over TCP.
    pub fn asked(&self) -> (usize, usize) {
        (self.shared.udp.load(Ordering::SeqCst), self.shared.tcp.load(Ordering::SeqCst))
    }

    /// Every query so far with the address it came from.
    pub fn queries(&self) -> Vec<(Message, SocketAddr)> {
        self.shared.queries.lock().expect("no thread panics").clone()
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn over_udp(&self, socket: &UdpSocket) {
        let mut buffer = [0; 4096];
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
            let Some(answer) = self.answer(&buffer[..length], from) else { continue };
            self.udp.fetch_add(1, Ordering::SeqCst);
            let manner = *self.manner.lock().expect("no thread panics");
            let mut packets = vec![answer.clone()];
            match manner {
                Manner::Right => {}
                Manner::Truncated => {
                    packets[0].flags |= TC;
                    packets[0].answers.clear();
                }
                Manner::ForgedFirst => {
                    packets = forged(&answer).into_iter().chain(packets).collect()
                }
                Manner::Silent => continue,
            }
            for packet in packets {
                let _ = socket.send_to(&packet.bytes(), from);
            }
        }
    }

    fn over_tcp(&self, listener: &TcpListener) {
        while !self.stop.load(Ordering::SeqCst) {
            let Ok((mut stream, from)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            let _ = stream.set_nonblocking(false);
            let _ = stream.set_read_timeout(Some(Duration::from_millis(300)));
            let mut length = [0; 2];
            while stream.read_exact(&mut length).is_ok() {
                let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
                if stream.read_exact(&mut bytes).is_err() {
                    break;
                }
                let Some(answer) = self.answer(&bytes, from) else { break };
                self.tcp.fetch_add(1, Ordering::SeqCst);
                let _ = stream.write_all(&super::client::framed(&answer.bytes()));
            }
        }
    }

    fn answer(&self, bytes: &[u8], from: SocketAddr) -> Option<Message> {
        let query = Message::read(bytes).ok()?;
        self.queries.lock().expect("no thread panics").push((query.clone(), from));
        Some(self.world.lock().expect("no thread panics").answer(&query))
    }
}

/// Two replies that an attacker, or a confused server, might send.
fn forged(answer: &Message) -> [Message; 2] {
    let poison = |m: &mut Message| {
        let name = m.question.as_ref().map_or("", |(n, ..)| n);
        m.answers = vec![Record::a(name, 300, "192.0.2.66")];
    };
    let mut other_id = answer.clone();
    other_id.id ^= 0x5555;
    poison(&mut other_id);
    let mut other_question = answer.clone();
    if let Some((name, ..)) = &mut other_question.question {
        *name = "somebody.example.org".into();
    }
    poison(&mut other_question);
    [other_id, other_question]
}
