//! TCP (RFC 7766): pipelining, answers out of order and written together, finite limits.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::kept::{Ending, Leave, Life};
use super::ports::Busy;
use super::{Handler, Settings, Source, Step, Transport, unmapped};
use crate::sys::socket::{end_handshakes, end_listening};
use crate::{dns, limits};

/// Longest message: what a 16-bit length can say.
const MESSAGE: usize = u16::MAX as usize;
/// Answers gathered before one write.
const GATHERED: usize = 64 << 10;
/// Octets asked for in one read, at least.
const READ: usize = 2048;

thread_local! {
    /// Room for one reply; a worker answers one message at a time.
    static REPLY: RefCell<Box<[u8]>> = RefCell::new(vec![0; MESSAGE].into());
}

/// Connections in total and per client, shared by all workers.
#[derive(Debug, Default)]
pub struct TcpLimits {
    open: Mutex<Open>,
    /// Octets of answers made by tasks that wait to be written.
    held: AtomicUsize,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    strangers: usize,
    per_client: HashMap<IpAddr, usize>,
}

impl TcpLimits {
    /// Connections open now.
    pub fn open(&self) -> usize {
        self.lock().total
    }

    /// A place for a connection, or none. Strangers share a small part of the places, so that
    /// they cannot keep out those who may ask.
    fn admit(
        self: &Arc<Self>,
        client: IpAddr,
        stranger: bool,
        settings: &Settings,
    ) -> Option<Admitted> {
        let mut open = self.lock();
        let host = host(client);
        let mine = open.per_client.get(&host).copied().unwrap_or(0);
        let places =
            if stranger { settings.tcp_connections / 16 + 1 } else { settings.tcp_connections };
        let taken = if stranger { open.strangers } else { open.total - open.strangers };
        if mine >= settings.tcp_per_client || taken >= places {
            return None;
        }
        open.total += 1;
        open.strangers += usize::from(stranger);
        open.per_client.insert(host, mine + 1);
        Some(Admitted { limits: Arc::clone(self), host, stranger })
    }

    /// Room for an answer that waits to be written. False: there is none.
    fn hold(&self, len: usize) -> bool {
        let held = self.held.fetch_add(len, Ordering::Relaxed) + len;
        if held > limits::TCP_HELD_IN_ALL {
            self.held.fetch_sub(len, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn let_go(&self, len: usize) {
        self.held.fetch_sub(len, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place within the limits, given back on drop.
struct Admitted {
    limits: Arc<TcpLimits>,
    host: IpAddr,
    stranger: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.limits.lock();
        open.total -= 1;
        open.strangers -= usize::from(self.stranger);
        if let Some(mine) = open.per_client.get_mut(&self.host) {
            *mine -= 1;
            if *mine == 0 {
                open.per_client.remove(&self.host);
            }
        }
    }
}

/// What counts as one client: an address, of IPv6 the network that one host can fill.
fn host(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}

/// What all connections of a worker share.
pub(super) struct Shared {
    pub(super) limits: Arc<TcpLimits>,
    pub(super) settings: watch::Receiver<Settings>,
    pub(super) busy: Busy,
}

/// Accepts connections on one socket to the end of its life.
pub(super) async fn serve<H: Handler>(
    socket: std::net::TcpListener,
    worker: usize,
    handler: Arc<H>,
    mut life: Life,
    shared: Shared,
) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let door = Door { worker, handler, ending: life.ending.clone(), shared };
    let leave = tokio::select! {
        leave = life.over() => leave,
        never = door.accept_all(&listener) => never,
    };
    if leave == Leave::Empty {
        // a listener that is closed resets connections that nobody has accepted
        if let Err(e) = end_handshakes(listener.as_fd()) {
            tracing::debug!("a listener that is closed may lose who connects this moment: {e}");
        }
        let _ = timeout(limits::TCP_LAST_ACCEPT, door.accept_all(&listener)).await;
        // a duplicate that the store did not let go of must not stand in the way of others
        let _ = end_listening(listener.as_fd());
    }
    Ok(())
}

/// Where connections of one listener come in.
struct Door<H> {
    worker: usize,
    handler: Arc<H>,
    ending: watch::Receiver<Ending>,
    shared: Shared,
}

impl<H: Handler> Door<H> {
    /// Accepts connections for ever.
    async fn accept_all(&self, listener: &TcpListener) -> Leave {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => self.admit(stream, unmapped(peer)),
                // out of descriptors or memory: the ones we have must end first
                Err(_) => sleep(limits::ACCEPT_BACK_OFF).await,
            }
        }
    }

    /// Serves a connection in a task of its own, if there is a place for it.
    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        let Shared { limits, settings, busy } = &self.shared;
        let mut settings = *settings.borrow();
        let stranger = !self.handler.welcomes(client.ip());
        if stranger {
            // one refusal, and goodbye
            settings.tcp_queries = 1;
            settings.tcp_idle = settings.tcp_idle.min(settings.tcp_receive);
        }
        let Some(admitted) = limits.admit(client.ip(), stranger, &settings) else {
            self.handler.turned_away(self.worker);
            return;
        };
        let source = Source { client, transport: Transport::Tcp, worker: self.worker };
        let connection = Connection {
            source,
            handler: Arc::clone(&self.handler),
            settings,
            limits: Arc::clone(limits),
            held: Arc::default(),
        };
        let (ending, busy) = (self.ending.clone(), busy.clone());
        tokio::spawn(async move {
            connection.serve(stream, ending).await;
            drop((admitted, busy));
        });
    }
}

struct Connection<H> {
    source: Source,
    handler: Arc<H>,
    settings: Settings,
    limits: Arc<TcpLimits>,
    held: Arc<Held>,
}

/// Answers of one connection that wait to be written.
#[derive(Default)]
struct Held {
    octets: AtomicUsize,
    /// The client lets too many wait.
    too_many: Notify,
}

impl<H: Handler> Connection<H> {
    /// Reads queries until the client is done, too slow or at its limit, then waits for what is
    /// in flight to be answered and written. At the end of serving, what has arrived or is on
    /// its way is answered first.
    async fn serve(self, stream: TcpStream, mut ending: watch::Receiver<Ending>) {
        let (mut reader, writer) = stream.into_split();
        let (replies, queue) = mpsc::channel(limits::TCP_WRITE_QUEUE);
        let writing = tokio::spawn(write_all(writer, queue));
        self.read_all(&mut reader, replies, &mut ending).await;
        // ends when the last sender of a reply is gone, or the client does not read
        let _ = writing.await;
        tokio::select! {
            () = linger(&mut reader, limits::TCP_LINGER) => return,
            () = over(&mut ending) => {}
        }
        linger(&mut reader, limits::TCP_LAST_LINGER).await;
    }

    async fn read_all(
        &self,
        reader: &mut OwnedReadHalf,
        replies: mpsc::Sender<Vec<u8>>,
        ending: &mut watch::Receiver<Ending>,
    ) {
        let in_flight = Arc::new(Semaphore::new(limits::TCP_IN_FLIGHT));
        let mut frames = Frames::default();
        let mut left = self.settings.tcp_queries;
        let mut quiet_since = Instant::now();
        // the end of serving has come: this is the end of reading
        let mut last_call = None;
        while left > 0 && last_call.is_none_or(|end| Instant::now() < end) {
            let limit = match frames.begun {
                Some(begun) => begun + self.settings.tcp_receive,
                None => quiet_since + self.settings.tcp_idle,
            };
            let awaited = frames.begun.is_some() || left == self.settings.tcp_queries;
            let limit = match last_call {
                None => limit,
                Some(end) if awaited => limit.min(end),
                Some(end) => end.min(Instant::now() + limits::TCP_LAST_LOOK),
            };
            frames.bytes.reserve(READ);
            let read = tokio::select! {
                read = reader.read_buf(&mut frames.bytes) => read,
                () = tokio::time::sleep_until(limit) => {
                    let waiting = in_flight.available_permits() < limits::TCP_IN_FLIGHT;
                    if last_call.is_some() {
                        // both may have come at a time
                        reader.try_read_buf(&mut frames.bytes)
                    } else if frames.begun.is_none() && waiting {
                        // not idle: it waits for us
                        quiet_since = Instant::now();
                        continue;
                    } else {
                        return;
                    }
                }
                () = replies.closed() => return,
                () = self.held.too_many.notified() => return,
                () = over(ending), if last_call.is_none() => {
                    last_call = Some(Instant::now() + limits::TCP_LAST_QUERY);
                    continue;
                }
            };
            if !matches!(read, Ok(1..)) {
                return;
            }
            quiet_since = Instant::now();
            if !self.answer_frames(&mut frames, &mut left, &in_flight, &replies).await {
                return;
            }
        }
    }

    /// Answers every whole message that has arrived. False: the writer is gone.
    async fn answer_frames(
        &self,
        frames: &mut Frames,
        left: &mut u64,
        in_flight: &Arc<Semaphore>,
        replies: &mpsc::Sender<Vec<u8>>,
    ) -> bool {
        let mut chunk = Vec::new();
        while *left > 0 && frames.is_whole() {
            // first a place, then the query: what is not read yet is nobody's, and waits unasked
            let Ok(permit) = Arc::clone(in_flight).acquire_owned().await else { return false };
            let Some(range) = frames.next() else { break };
            *left -= 1;
            // no header: whoever sends that does not speak DNS
            let is_dns = range.len() >= dns::HEADER;
            if let Some(later) = self.answer(&frames.bytes[range], &mut chunk) {
                self.answer_later(later, permit, replies.clone());
            }
            if !is_dns {
                let _ = replies.send(chunk).await;
                return false;
            }
            if chunk.len() >= GATHERED && replies.send(std::mem::take(&mut chunk)).await.is_err() {
                return false;
            }
        }
        frames.compact();
        chunk.is_empty() || replies.send(chunk).await.is_ok()
    }

    /// Answers one message at once, behind what is in `chunk`, or says that it takes a while.
    fn answer(&self, packet: &[u8], chunk: &mut Vec<u8>) -> Option<H::Later> {
        REPLY.with_borrow_mut(|reply| {
            let round = self.handler.round();
            match self.handler.receive(&round, self.source, packet, true, reply) {
                Step::Reply(len) => {
                    chunk.extend((len as u16).to_be_bytes());
                    chunk.extend(&reply[..len]);
                    None
                }
                Step::Silence => None,
                Step::Later(later) => Some(later),
            }
        })
    }

    fn answer_later(
        &self,
        later: H::Later,
        permit: OwnedSemaphorePermit,
        replies: mpsc::Sender<Vec<u8>>,
    ) {
        let (handler, worker) = (Arc::clone(&self.handler), self.source.worker);
        let (limits, held) = (Arc::clone(&self.limits), Arc::clone(&self.held));
        tokio::spawn(async move {
            if let Some(reply) = handler.finish(later).await {
                let mut framed = Vec::with_capacity(2 + reply.len());
                framed.extend((reply.len() as u16).to_be_bytes());
                framed.extend(reply);
                let len = framed.len();
                let mine = held.octets.fetch_add(len, Ordering::Relaxed) + len;
                let fits = mine <= limits::TCP_HELD && limits.hold(len);
                if !fits {
                    // it asks faster than it reads
                    held.too_many.notify_one();
                    handler.not_sent(worker, 1);
                } else {
                    if replies.send(framed).await.is_err() {
                        handler.not_sent(worker, 1);
                    }
                    limits.let_go(len);
                }
                held.octets.fetch_sub(len, Ordering::Relaxed);
            }
            drop(permit);
        });
    }
}

/// Octets that have arrived, cut into messages.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    at: usize,
    /// When the first octet of a message that is not whole was seen.
    begun: Option<Instant>,
}

impl Frames {
    /// A whole message has arrived.
    fn is_whole(&self) -> bool {
        match &self.bytes[self.at..] {
            rest @ [high, low, ..] => {
                rest.len() >= 2 + usize::from(u16::from_be_bytes([*high, *low]))
            }
            _ => false,
        }
    }

    /// Where the next whole message is.
    fn next(&mut self) -> Option<std::ops::Range<usize>> {
        let rest = &self.bytes[self.at..];
        let len = match rest {
            [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => return None,
        };
        if rest.len() < 2 + len {
            return None;
        }
        let start = self.at + 2;
        self.at = start + len;
        self.begun = None;
        Some(start..self.at)
    }

    /// Drops what was answered, so that memory is bounded by one message and one read.
    fn compact(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
        if self.bytes.is_empty() {
            self.begun = None;
            if self.bytes.capacity() > MESSAGE {
                self.bytes = Vec::new();
            }
        } else {
            self.begun.get_or_insert_with(Instant::now);
        }
    }
}

/// Reads on for a while after the last answer: closing with unread octets would reset the
/// connection and take answers with it that the client has not read yet.
async fn linger(reader: &mut OwnedReadHalf, limit: Duration) {
    let mut scratch = [0; READ];
    let rest = async { while matches!(reader.read(&mut scratch).await, Ok(1..)) {} };
    // a client that goes on sending is cut off here
    let _ = timeout(limit, rest).await;
}

/// Waits until serving ends.
async fn over(ending: &mut watch::Receiver<Ending>) {
    // whoever would tell is gone: that is an end, too
    let _ = ending.wait_for(|ending| *ending != Ending::NotYet).await;
}

/// Writes replies, all that are ready in one go, until every sender is gone. A client that does
/// not read is given up.
async fn write_all(mut writer: OwnedWriteHalf, mut replies: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut chunk) = replies.recv().await {
        while chunk.len() < GATHERED {
            match replies.try_recv() {
                Ok(more) => chunk.extend(more),
                Err(_) => break,
            }
        }
        match timeout(limits::TCP_WRITE_STALL, writer.write_all(&chunk)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
    let _ = timeout(limits::TCP_WRITE_STALL, writer.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_however_they_arrive() {
        let mut frames = Frames::default();
        let stream = [0, 2, 7, 8, 0, 0, 0, 1, 9];
        let mut seen = Vec::new();
        for byte in stream {
            frames.bytes.push(byte);
            while let Some(range) = frames.next() {
                seen.push(frames.bytes[range].to_vec());
            }
            frames.compact();
        }
        assert_eq!(seen, [vec![7, 8], vec![], vec![9]]);
        assert!(frames.bytes.is_empty() && frames.begun.is_none());
        frames.bytes.push(0);
        frames.compact();
        assert!(frames.begun.is_some());
    }

    #[test]
    fn places_are_given_back() {
        let settings = Settings {
            tcp_connections: 3,
            tcp_per_client: 2,
            tcp_idle: std::time::Duration::ZERO,
            tcp_receive: std::time::Duration::ZERO,
            tcp_queries: 1,
        };
        let limits = Arc::new(TcpLimits::default());
        let [a, b]: [IpAddr; 2] = ["192.0.2.1", "192.0.2.2"].map(|ip| ip.parse().unwrap());
        let first = limits.admit(a, false, &settings).unwrap();
        let _second = limits.admit(a, false, &settings).unwrap();
        assert!(limits.admit(a, false, &settings).is_none());
        let _third = limits.admit(b, false, &settings).unwrap();
        assert!(limits.admit(b, false, &settings).is_none());
        let stranger = limits.admit("192.0.2.9".parse().unwrap(), true, &settings);
        assert!(stranger.is_some(), "strangers have places of their own");
        assert!(limits.admit("192.0.2.8".parse().unwrap(), true, &settings).is_none());
        drop((first, stranger));
        assert!(limits.admit(b, false, &settings).is_some());
        assert_eq!(limits.open(), 2);
    }
}
