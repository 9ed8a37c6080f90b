//! A DoH backend that speaks HTTP/2 frame by frame, for what no HTTP/2 library lets one send.

use super::process::{LOCAL, free_port};
use super::tls::{Shown, Tls};
use super::wire::Message;
use super::world::World;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// `:status: 200` and `content-type: application/dns-message` in HPACK (RFC 7541).
const HEAD: &[u8] = b"\x88\x0f\x10\x17application/dns-message";
/// Honest answers take this long, so that streams overlap.
const PAUSE: Duration = Duration::from_millis(30);

/// What the server does once a request is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Honest,
    /// GOAWAY(NO_ERROR) that names a last stream below this request's, then the end.
    GoAwayBelow,
    /// A header block that never ends.
    ContinuationFlood,
    /// DATA frames without data.
    EmptyDataFlood,
    PingFlood,
    SettingsFlood,
    /// An index into a header table that has no such entry.
    BadHeaders,
    /// A frame far above SETTINGS_MAX_FRAME_SIZE.
    OversizeFrame,
    /// The answer, and then more DATA on the finished stream.
    DataAfterEnd,
    /// Text that is no HTTP/2 at all, in place of SETTINGS.
    NoHttp2,
}

/// What the server counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub connections: usize,
    pub requests: usize,
    /// Connections that are over.
    pub ended: usize,
    /// Streams opened above a limit that the client had acknowledged.
    pub above_limit: usize,
    /// The most streams open at once.
    pub most_open: usize,
    /// The last stream limit that a client acknowledged.
    pub limit_acknowledged: Option<u32>,
}

struct State {
    manner: Manner,
    counts: Counts,
    world: World,
}

/// A running server; dropping it ends the thread and closes every connection.
pub struct Frames {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    limit: watch::Sender<u32>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Frames {
    pub fn start(tls: &Tls, manner: Manner) -> Frames {
        let address = free_port(LOCAL);
        let counts = Counts::default();
        let state = Arc::new(Mutex::new(State { manner, counts, world: World::default() }));
        let (limit, limits) = watch::channel(1000);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let config = tls.server(Shown::Right, &["h2"], rustls::ALL_VERSIONS);
        let listener = super::process::bound(|| std::net::TcpListener::bind(address));
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let inner = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime for the server").block_on(async {
                tokio::select! {
                    _ = serve(inner, limits, listener, config) => {}
                    _ = stopped => {}
                }
            });
        });
        Frames { address, state, limit, stop: Some(stop), thread: Some(thread) }
    }

    pub fn set(&self, manner: Manner) {
        lock(&self.state).manner = manner;
    }

    /// Sends SETTINGS_MAX_CONCURRENT_STREAMS on every connection, open or new.
    pub fn max_streams(&self, limit: u32) {
        self.limit.send_replace(limit);
    }

    pub fn counts(&self) -> Counts {
        lock(&self.state).counts
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

async fn serve(
    state: Arc<Mutex<State>>,
    limits: watch::Receiver<u32>,
    listener: std::net::TcpListener,
    config: Arc<rustls::ServerConfig>,
) {
    let listener = TcpListener::from_std(listener).expect("a runtime is running");
    while let Ok((tcp, _)) = listener.accept().await {
        let (state, limits) = (state.clone(), limits.clone());
        let acceptor = tokio_rustls::TlsAcceptor::from(config.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            lock(&state).counts.connections += 1;
            let mut connection = Connection {
                stream,
                state: state.clone(),
                bodies: HashMap::new(),
                due: VecDeque::new(),
                announced: VecDeque::new(),
                limit: u32::MAX,
            };
            let _ = connection.run(limits).await;
            lock(&state).counts.ended += 1;
        });
    }
}

struct Connection {
    stream: TlsStream<TcpStream>,
    state: Arc<Mutex<State>>,
    bodies: HashMap<u32, Vec<u8>>,
    due: VecDeque<(Instant, u32, Vec<u8>)>,
    /// Limits sent and not acknowledged yet.
    announced: VecDeque<u32>,
    /// The limit that the client has acknowledged.
    limit: u32,
}

impl Connection {
    async fn run(&mut self, mut limits: watch::Receiver<u32>) -> std::io::Result<()> {
        if lock(&self.state).manner == Manner::NoHttp2 {
            let text = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
            self.stream.write_all(text).await?;
            return self.stream.flush().await;
        }
        let limit = *limits.borrow_and_update();
        self.announce(limit).await?;
        let (mut input, mut started) = (Vec::new(), false);
        loop {
            let next = self.due.front().map_or(Instant::now() + PAUSE, |(at, ..)| *at);
            tokio::select! {
                read = self.stream.read_buf(&mut input) => {
                    if read? == 0 {
                        return Ok(());
                    }
                }
                _ = limits.changed() => {
                    let limit = *limits.borrow_and_update();
                    self.announce(limit).await?;
                }
                _ = tokio::time::sleep_until(next) => {}
            }
            if !started && input.len() >= PREFACE.len() {
                input.drain(..PREFACE.len());
                started = true;
            }
            while let Some(length) = started.then(|| frame_length(&input)).flatten() {
                let frame: Vec<u8> = input.drain(..length).collect();
                self.frame(frame[3], frame[4], number(&frame[5..9]), &frame[9..]).await?;
            }
            while self.due.front().is_some_and(|(at, ..)| *at <= Instant::now()) {
                let (_, id, body) = self.due.pop_front().expect("looked at above");
                self.answer(id, body).await?;
            }
            self.stream.flush().await?;
        }
    }

    async fn announce(&mut self, limit: u32) -> std::io::Result<()> {
        self.announced.push_back(limit);
        let setting = [&[0, 3][..], &limit.to_be_bytes()].concat();
        self.send(SETTINGS, 0, 0, &setting).await?;
        self.stream.flush().await
    }

    async fn send(&mut self, kind: u8, flags: u8, id: u32, body: &[u8]) -> std::io::Result<()> {
        let length = (body.len() as u32).to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend(body);
        self.stream.write_all(&frame).await
    }

    async fn frame(&mut self, kind: u8, flags: u8, id: u32, body: &[u8]) -> std::io::Result<()> {
        match kind {
            HEADERS => {
                self.bodies.insert(id, Vec::new());
                let open = self.bodies.len() + self.due.len();
                let counts = &mut lock(&self.state).counts;
                counts.most_open = counts.most_open.max(open);
                counts.above_limit += usize::from(open > self.limit as usize);
            }
            DATA => {
                let padding = if flags & 8 != 0 { 1 + usize::from(body[0]) } else { 0 };
                let from = usize::from(padding > 0);
                let part = &body[from..body.len() - (padding - from)];
                self.bodies.entry(id).or_default().extend(part);
                let window = (body.len() as u32).to_be_bytes();
                if !body.is_empty() {
                    self.send(WINDOW_UPDATE, 0, 0, &window).await?;
                }
            }
            RST_STREAM => {
                self.bodies.remove(&id);
                self.due.retain(|(_, other, _)| *other != id);
            }
            SETTINGS if flags & ACK == 0 => self.send(SETTINGS, ACK, 0, &[]).await?,
            SETTINGS => {
                if let Some(limit) = self.announced.pop_front() {
                    self.limit = limit;
                    lock(&self.state).counts.limit_acknowledged = Some(limit);
                }
            }
            PING if flags & ACK == 0 => self.send(PING, ACK, 0, body).await?,
            _ => {}
        }
        if matches!(kind, DATA | HEADERS)
            && flags & END_STREAM != 0
            && let Some(body) = self.bodies.remove(&id)
        {
            self.due.push_back((Instant::now() + PAUSE, id, body));
            lock(&self.state).counts.requests += 1;
        }
        Ok(())
    }

    async fn answer(&mut self, id: u32, body: Vec<u8>) -> std::io::Result<()> {
        let (manner, reply) = {
            let state = lock(&self.state);
            let query = Message::read(&body).unwrap_or_default();
            (state.manner, state.world.answer(&query).bytes())
        };
        match manner {
            Manner::Honest | Manner::NoHttp2 => {
                self.send(HEADERS, END_HEADERS, id, HEAD).await?;
                self.send(DATA, END_STREAM, id, &reply).await
            }
            Manner::GoAwayBelow => {
                let last = id.saturating_sub(2).to_be_bytes();
                self.send(GOAWAY, 0, 0, &[&last[..], &[0; 4]].concat()).await?;
                self.stream.flush().await?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            Manner::ContinuationFlood => {
                self.send(HEADERS, 0, id, HEAD).await?;
                // A literal header field without indexing: x: y.
                self.flood(CONTINUATION, 0, id, &[0, 1, b'x', 1, b'y']).await
            }
            Manner::EmptyDataFlood => {
                self.send(HEADERS, END_HEADERS, id, HEAD).await?;
                self.flood(DATA, 0, id, &[]).await
            }
            Manner::PingFlood => self.flood(PING, 0, 0, &[9; 8]).await,
            Manner::SettingsFlood => self.flood(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]).await,
            Manner::BadHeaders => self.send(HEADERS, END_HEADERS, id, &[0xFF, 0x80, 0x7F]).await,
            Manner::OversizeFrame => self.send(DATA, END_STREAM, id, &vec![0; 3_000_000]).await,
            Manner::DataAfterEnd => {
                self.send(HEADERS, END_HEADERS, id, HEAD).await?;
                self.send(DATA, END_STREAM, id, &reply).await?;
                self.send(DATA, 0, id, &reply).await
            }
        }
    }

    /// The same frame until the other side ends the connection, for three seconds at most.
    async fn flood(&mut self, kind: u8, flags: u8, id: u32, body: &[u8]) -> std::io::Result<()> {
        let end = Instant::now() + Duration::from_secs(3);
        while Instant::now() < end {
            for _ in 0..64 {
                let sent = self.send(kind, flags, id, body);
                tokio::time::timeout_at(end, sent).await??;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err(std::io::ErrorKind::TimedOut.into())
    }
}

/// The length of the first whole frame in `input`.
fn frame_length(input: &[u8]) -> Option<usize> {
    let head = input.get(..9)?;
    let length = 9 + number(&[0, head[0], head[1], head[2]]) as usize;
    (input.len() >= length).then_some(length)
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & 0x7FFF_FFFF
}
