//! A DoH backend that does what the test tells it, in a thread with a runtime of its own.

use super::process::{LOCAL, free_port};
use super::script::{Asked, Script};
use super::tls::{Shown, Tls};
use super::wire::{Message, Record};
use super::world::World;
use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The path of the service; the tests look for it where it must not be.
pub const PATH: &str = "/secret-org-7f3a/fragment";

/// How far a new connection gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Greeting {
    #[default]
    Normal,
    /// TLS is done, then nothing.
    SilentAfterTls,
    /// TCP accepts, then nothing.
    SilentAfterAccept,
    /// TCP accepts and resets at once.
    Reset,
}

/// How a backend starts.
pub struct Setup {
    pub address: SocketAddr,
    pub shown: Shown,
    pub alpn: &'static [&'static str],
    pub versions: &'static [&'static rustls::SupportedProtocolVersion],
    pub max_streams: u32,
    pub greeting: Greeting,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            address: free_port(LOCAL),
            shown: Shown::Right,
            alpn: &["h2"],
            versions: rustls::ALL_VERSIONS,
            max_streams: 1000,
            greeting: Greeting::Normal,
        }
    }
}

/// One request as it arrived.
#[derive(Clone)]
pub struct Request {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub query: Message,
}

impl Request {
    /// The name asked for.
    fn name(&self) -> &str {
        self.query.question.as_ref().map_or("", |(name, ..)| name)
    }
}

/// Everything a backend saw so far.
#[derive(Clone, Default)]
pub struct Seen {
    /// TCP connections accepted.
    pub accepted: usize,
    /// TLS handshakes finished.
    pub handshakes: usize,
    /// Requests in order.
    pub requests: Vec<Request>,
}

struct State {
    script: Script,
    by_name: HashMap<String, Script>,
    by_path: HashMap<String, Script>,
    greeting: Greeting,
    tls: Arc<rustls::ServerConfig>,
    goaway_after: Option<usize>,
    world: World,
    seen: Seen,
}

/// Orders to the running thread. The numbers count how often the order was given.
#[derive(Clone, Copy, Default)]
struct Orders {
    stop: bool,
    deaf: bool,
    kills: u32,
    freezes: u32,
}

/// A running backend; dropping it ends the thread and closes every connection.
pub struct Backend {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    orders: watch::Sender<Orders>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Backend {
    /// A healthy backend on 127.0.0.1.
    pub fn start(tls: &Tls) -> Backend {
        Backend::with(tls, Setup::default())
    }

    pub fn with(tls: &Tls, setup: Setup) -> Backend {
        let state = Arc::new(Mutex::new(State {
            script: Script::Answer,
            by_name: HashMap::new(),
            by_path: HashMap::new(),
            greeting: setup.greeting,
            tls: tls.server(setup.shown, setup.alpn, setup.versions),
            goaway_after: None,
            world: World::default(),
            seen: Seen::default(),
        }));
        let (orders, received) = watch::channel(Orders::default());
        let listener = listen(setup.address);
        let (inner, address, limit) = (state.clone(), setup.address, setup.max_streams);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime for the backend");
            runtime.block_on(serve(inner, received, address, listener, limit));
        });
        Backend { address, state, orders, thread: Some(thread) }
    }

    /// From now on every request gets this script.
    pub fn set(&self, script: Script) {
        self.lock().script = script;
    }

    /// From now on requests for this name get this script, whatever the others get.
    pub fn set_for(&self, name: &str, script: Script) {
        self.lock().by_name.insert(name.to_lowercase(), script);
    }

    /// From now on requests for this path get this script, whatever the name.
    pub fn set_path(&self, path: &str, script: Script) {
        self.lock().by_path.insert(path.to_owned(), script);
    }

    /// Adds records to what the backend knows.
    pub fn add(&self, records: &[Record]) {
        self.lock().world.add(records);
    }

    /// Changes what the backend knows.
    pub fn world(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.lock().world);
    }

    /// New connections see this certificate.
    pub fn show(&self, tls: &Tls, shown: Shown) {
        self.lock().tls = tls.server(shown, &["h2"], rustls::ALL_VERSIONS);
    }

    /// Each connection is closed by GOAWAY(NO_ERROR) after as many streams.
    pub fn goaway_after(&self, streams: usize) {
        self.lock().goaway_after = Some(streams);
    }

    /// Open connections neither read nor write any more; the sockets stay open.
    pub fn black_hole(&self) {
        self.orders.send_modify(|o| o.freezes += 1);
    }

    /// Open connections end with a TCP reset.
    pub fn kill_connections(&self) {
        self.orders.send_modify(|o| o.kills += 1);
    }

    /// What a killed process looks like: connections reset, new ones refused.
    pub fn die(&self) {
        self.orders.send_modify(|o| {
            o.kills += 1;
            o.deaf = true;
        });
        // every connection holds a receiver; what is left is the listener's
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        let dead = || {
            self.orders.receiver_count() <= 1 && std::net::TcpStream::connect(self.address).is_err()
        };
        while !dead() {
            assert!(std::time::Instant::now() < deadline, "the backend does not die");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The listener comes back after [`Backend::die`].
    pub fn revive(&self) {
        self.orders.send_modify(|o| o.deaf = false);
    }

    pub fn seen(&self) -> Seen {
        self.lock().seen.clone()
    }

    /// How often this name was asked for, whatever the type and the case.
    pub fn asked(&self, name: &str) -> usize {
        let state = self.lock();
        state.seen.requests.iter().filter(|r| r.name().eq_ignore_ascii_case(name)).count()
    }

    /// How often names with this ending were asked for.
    pub fn asked_below(&self, suffix: &str) -> usize {
        let state = self.lock();
        state.seen.requests.iter().filter(|r| r.name().ends_with(suffix)).count()
    }

    /// The last request for this name; its absence fails the test.
    #[track_caller]
    pub fn request(&self, name: &str) -> Request {
        let state = self.lock();
        let mut latest = state.seen.requests.iter().rev();
        let found = latest.find(|r| r.name().eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("the backend was never asked for {name}")).clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.orders.send_modify(|o| o.stop = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

fn listen(address: SocketAddr) -> std::net::TcpListener {
    let listener = super::process::bound(|| std::net::TcpListener::bind(address));
    listener.set_nonblocking(true).expect("a listener can be non-blocking");
    listener
}

async fn serve(
    state: Arc<Mutex<State>>,
    mut orders: watch::Receiver<Orders>,
    address: SocketAddr,
    first: std::net::TcpListener,
    limit: u32,
) {
    let into = |l| TcpListener::from_std(l).expect("a runtime is running");
    let mut listener = Some(into(first));
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accepted => {
                let Ok((tcp, _)) = accepted else { continue };
                lock(&state).seen.accepted += 1;
                tokio::spawn(connection(state.clone(), orders.clone(), tcp, limit));
            }
            changed = orders.changed() => {
                let now = *orders.borrow_and_update();
                if changed.is_err() || now.stop {
                    return;
                }
                if now.deaf {
                    listener = None;
                } else if listener.is_none() {
                    listener = Some(into(listen(address)));
                }
            }
        }
    }
}

/// Serves one connection until it ends by itself or by an order.
async fn connection(
    state: Arc<Mutex<State>>,
    mut orders: watch::Receiver<Orders>,
    tcp: TcpStream,
    limit: u32,
) {
    let began = *orders.borrow_and_update();
    let _ = tcp.set_nodelay(true);
    let Ok(tcp) = tcp.into_std() else { return };
    let (Ok(twin), Ok(tcp)) = (tcp.try_clone(), TcpStream::from_std(tcp)) else { return };
    let gate = Gate { tcp, orders: orders.clone(), began: began.freezes };
    // Closing with a linger time of zero sends a reset.
    let reset = || socket2::SockRef::from(&twin).set_linger(Some(Duration::ZERO));
    if lock(&state).greeting == Greeting::Reset {
        let _ = reset();
        return;
    }
    tokio::select! {
        _ = talk(state, gate, limit) => {}
        _ = orders.wait_for(|now| now.kills > began.kills) => {
            let _ = reset();
        }
    }
}

async fn talk(state: Arc<Mutex<State>>, gate: Gate, limit: u32) -> Option<()> {
    let (greeting, tls) = {
        let state = lock(&state);
        (state.greeting, state.tls.clone())
    };
    if greeting == Greeting::SilentAfterAccept {
        return std::future::pending().await;
    }
    let stream = tokio_rustls::TlsAcceptor::from(tls).accept(gate).await.ok()?;
    lock(&state).seen.handshakes += 1;
    if greeting == Greeting::SilentAfterTls {
        return std::future::pending().await;
    }
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(limit).max_concurrent_reset_streams(100_000);
    let mut h2 = builder.handshake::<_, Bytes>(stream).await.ok()?;
    let mut streams = 0;
    while let Some(accepted) = h2.accept().await {
        let (request, respond) = accepted.ok()?;
        streams += 1;
        if lock(&state).goaway_after.is_some_and(|after| streams == after) {
            h2.graceful_shutdown();
        }
        tokio::spawn(exchange(state.clone(), request, respond));
    }
    Some(())
}

async fn exchange(
    state: Arc<Mutex<State>>,
    request: http::Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
) -> Option<()> {
    let (head, mut incoming) = request.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = incoming.data().await {
        let chunk = chunk.ok()?;
        incoming.flow_control().release_capacity(chunk.len()).ok()?;
        body.extend(chunk);
    }
    let query = Message::read(&body).unwrap_or_default();
    let name = query.question.as_ref().map_or(String::new(), |(n, ..)| n.to_lowercase());
    let path = head.uri.path_and_query().map_or("", |p| p.as_str()).to_owned();
    let (script, answer) = {
        let mut state = lock(&state);
        let by_path = state.by_path.get(&path).cloned();
        let (headers, query) = (head.headers, query.clone());
        state.seen.requests.push(Request { path, headers, body, query: query.clone() });
        let by_name = || state.by_name.get(&name).unwrap_or(&state.script).clone();
        let mut script = by_path.unwrap_or_else(by_name);
        while let Script::Every(n, inner) = script {
            let due = state.seen.requests.len().is_multiple_of(n);
            script = if due { *inner } else { Script::Answer };
        }
        (script, state.world.answer(&query))
    };
    perform(script, Asked { query: &query, answer }, respond).await
}

async fn perform(script: Script, asked: Asked<'_>, mut respond: SendResponse<Bytes>) -> Option<()> {
    let right = || asked.answer.bytes();
    let dns = "application/dns-message";
    match script {
        Script::Answer | Script::Every(..) => send(respond, 200, Some(dns), &[], right()),
        Script::Body(make) => send(respond, 200, Some(dns), &[], make(asked)),
        Script::Headers(fields) => send(respond, 200, Some(dns), &fields, right()),
        Script::ContentType(kind) => send(respond, 200, kind, &[], right()),
        Script::Status(code, fields) => {
            send(respond, code, Some("text/plain"), &fields, b"not for you".to_vec())
        }
        Script::CutBody(n) => {
            let bytes = right();
            send(respond, 200, Some(dns), &[], bytes[..n.min(bytes.len())].to_vec())
        }
        Script::BigBody(n) => {
            let mut bytes = right();
            bytes.resize(n, 0);
            send(respond, 200, Some(dns), &[], bytes)
        }
        Script::EndlessBody => {
            let mut out = respond.send_response(head(200, Some(dns), &[]), false).ok()?;
            out.send_data(right().into(), false).ok()?;
            loop {
                out.reserve_capacity(16_384);
                let n = std::future::poll_fn(|cx| out.poll_capacity(cx)).await?.ok()?;
                out.send_data(vec![0; n].into(), false).ok()?;
            }
        }
        Script::SlowDrip => {
            let mut out = respond.send_response(head(200, Some(dns), &[]), false).ok()?;
            for byte in right() {
                out.send_data(vec![byte].into(), false).ok()?;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            out.send_data(Bytes::new(), true).ok()
        }
        Script::Delay(time) => {
            tokio::time::sleep(time).await;
            send(respond, 200, Some(dns), &[], right())
        }
        Script::Hang => std::future::pending().await,
        Script::Reset(reason) => {
            respond.send_reset(reason);
            Some(())
        }
    }
}

fn send(
    mut respond: SendResponse<Bytes>,
    status: u16,
    kind: Option<&str>,
    fields: &[(&'static str, String)],
    body: Vec<u8>,
) -> Option<()> {
    let mut out = respond.send_response(head(status, kind, fields), false).ok()?;
    out.send_data(body.into(), true).ok()
}

fn head(status: u16, kind: Option<&str>, fields: &[(&'static str, String)]) -> Response<()> {
    let mut head = Response::builder().status(status);
    if let Some(kind) = kind {
        head = head.header("content-type", kind);
    }
    for (name, value) in fields {
        head = head.header(*name, value);
    }
    head.body(()).expect("a valid response head")
}

/// A TCP stream that can be frozen: reads and writes stay pending, the socket stays open.
struct Gate {
    tcp: TcpStream,
    orders: watch::Receiver<Orders>,
    began: u32,
}

impl Gate {
    fn is_frozen(&self) -> bool {
        self.orders.borrow().freezes > self.began
    }
}

impl AsyncRead for Gate {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gate {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        if self.is_frozen() {
            return Poll::Pending;
        }
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
