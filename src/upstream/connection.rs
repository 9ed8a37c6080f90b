//! One HTTP/2 connection to one backend: opened, used by many requests at once, watched, and
//! given up as soon as its path is dead.
//!
//! ```text
//!   requests ── StreamPermit ──► Connection ── Life ──► Driver (a task of its own)
//!               one for each     sender        flags    reads, writes, PINGs; drops the
//!               stream, counted                         connection when PINGs stay unanswered
//! ```
//!
//! Dropping the h2 connection fails all its streams at once, which is what rescues their
//! questions. A connection that nobody holds any more closes by itself when its last stream
//! has ended.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use h2::client::SendRequest;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Sleep, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{Fault, Stage, TlsFault};
use super::limits;
use super::tls::{Trust, handshake_fault};

/// Where a DoH backend is and how it proves itself.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) name: ServerName<'static>,
    pub(super) trust: Arc<Trust>,
}

/// A connection that takes requests.
pub(super) struct Connection {
    sender: SendRequest<Bytes>,
    life: Arc<Life>,
    /// When it has to be replaced.
    retire_at: Instant,
    /// Tells the pool's waiters that a stream is free again.
    room: Arc<Room>,
}

/// What requests and the connection's own task share.
struct Life {
    base: Instant,
    /// No new streams: it ended, or is told to.
    closed: AtomicBool,
    ping_wanted: AtomicBool,
    /// Milliseconds after `base` at which the last octets arrived.
    heard_ms: AtomicU64,
    /// How often octets arrived.
    arrivals: AtomicU64,
    rtt_us: AtomicU32,
    in_flight: AtomicUsize,
    /// Streams that may be in flight, by the peer's settings and our own bound.
    most_streams: AtomicUsize,
    opened: AtomicU32,
    answered: AtomicU32,
    /// Milliseconds after `base` at which the last answer came.
    answered_ms: AtomicU64,
    slow_in_row: AtomicU32,
    waker: AtomicWaker,
}

/// Those who wait for a free stream.
#[derive(Default)]
pub(super) struct Room {
    pub(super) waiting: AtomicUsize,
    pub(super) free: Notify,
}

/// The right to open one stream; given back when dropped.
pub(super) struct StreamPermit {
    connection: Arc<Connection>,
    /// The connection served other requests before.
    pub(super) reused: bool,
}

/// A secured byte stream to a backend, and how long its parts took.
pub(super) struct Secured {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) tcp: Duration,
    pub(super) tls: Duration,
}

/// Connects and proves the backend's name, by `deadline`. No HTTP is spoken yet.
pub(super) async fn secure(endpoint: &Endpoint, deadline: Instant) -> Result<Secured, Fault> {
    let started = Instant::now();
    let tcp = timeout_at(deadline.into(), TcpStream::connect(endpoint.address))
        .await
        .map_err(|_| Fault::Handshake(Stage::Tcp))?
        .map_err(|error| Fault::of_socket(&error))?;
    tcp.set_nodelay(true).map_err(|error| Fault::of_socket(&error))?;
    let connected = Instant::now();
    let connector = TlsConnector::from(endpoint.trust.config.clone());
    let stream = timeout_at(deadline.into(), connector.connect(endpoint.name.clone(), tcp))
        .await
        .map_err(|_| Fault::Handshake(Stage::Tls))?
        .map_err(|error| handshake_fault(&error))?;
    // a backend without ALPN lets the handshake pass; HTTP/2 must be agreed on all the same
    if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(Fault::Tls(TlsFault::NoHttp2));
    }
    Ok(Secured { stream, tcp: connected - started, tls: connected.elapsed() })
}

/// Starts HTTP/2 on a secured stream. The driver must be run for anything to move.
pub(super) async fn start(
    secured: Secured,
    room: Arc<Room>,
) -> Result<(Arc<Connection>, Driver), Fault> {
    let now = Instant::now();
    let life = Arc::new(Life {
        base: now,
        closed: AtomicBool::new(false),
        ping_wanted: AtomicBool::new(false),
        heard_ms: AtomicU64::new(0),
        arrivals: AtomicU64::new(0),
        rtt_us: AtomicU32::new(secured.tcp.as_micros().min(u128::from(u32::MAX)) as u32),
        in_flight: AtomicUsize::new(0),
        most_streams: AtomicUsize::new(limits::STREAMS_UNTIL_SETTINGS),
        opened: AtomicU32::new(0),
        answered: AtomicU32::new(0),
        answered_ms: AtomicU64::new(0),
        slow_in_row: AtomicU32::new(0),
        waker: AtomicWaker::new(),
    });
    let heard = Heard { stream: secured.stream, life: life.clone() };
    let (sender, mut connection) = h2::client::Builder::new()
        .enable_push(false)
        .initial_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_header_list_size(limits::HEADER_LIST_MAX)
        .initial_max_send_streams(limits::STREAMS_UNTIL_SETTINGS)
        // Late answers to streams that we reset count as errors of the peer; with h2's own
        // limit a backend that wakes up after a stall would cost us the connection.
        .max_local_error_reset_streams(None)
        .handshake(heard)
        .await
        .map_err(|error| Fault::of_stream(&error))?;
    let ping = connection.ping_pong().ok_or(Fault::Internal)?;
    let jitter = 0.9 + fastrand::f32() / 5.0;
    let retire_at = now + limits::CONNECTION_AGE.mul_f32(jitter);
    let driver = Driver {
        connection,
        ping,
        life: life.clone(),
        room: room.clone(),
        outstanding: None,
        watch: None,
    };
    Ok((Arc::new(Connection { sender, life, retire_at, room }), driver))
}

impl Connection {
    /// A stream on this connection, or why there is none.
    pub(super) fn permit(self: &Arc<Self>) -> Result<StreamPermit, NoStream> {
        let life = &self.life;
        if self.is_over() {
            return Err(NoStream::Over);
        }
        // h2 would queue what is above the peer's limit without a bound; so we count ourselves
        let most = life.most_streams.load(Relaxed);
        let taken = life.in_flight.fetch_update(Relaxed, Relaxed, |n| (n < most).then_some(n + 1));
        if taken.is_err() {
            return Err(NoStream::Full);
        }
        life.opened.fetch_add(1, Relaxed);
        let reused = life.answered.load(Relaxed) > 0;
        let idle = life.now_ms().saturating_sub(life.heard_ms.load(Relaxed));
        if u128::from(idle) > limits::IDLE_BEFORE_PING.as_millis() {
            // a path that died in silence is found out with the first request, not after it
            self.want_ping();
        }
        Ok(StreamPermit { connection: self.clone(), reused })
    }

    /// Takes no new requests: ended, too old, or too many streams.
    pub(super) fn is_over(&self) -> bool {
        self.life.closed.load(Relaxed)
            || self.life.opened.load(Relaxed) >= limits::STREAMS_PER_LIFE
            || Instant::now() >= self.retire_at
    }

    /// Every stream that the peer allows is in use.
    pub(super) fn is_full(&self) -> bool {
        self.life.in_flight.load(Relaxed) >= self.life.most_streams.load(Relaxed)
    }

    /// A request is overdue: find out whether the path is alive. A connection that answers
    /// PINGs but no requests at all is replaced.
    pub(super) fn suspect(&self) {
        let slow = self.life.slow_in_row.fetch_add(1, Relaxed) + 1;
        let quiet = self.life.now_ms().saturating_sub(self.life.answered_ms.load(Relaxed));
        let long = u128::from(quiet) >= limits::QUIET_BEFORE_REPLACED.as_millis();
        if slow >= limits::SLOW_BEFORE_REPLACED && long {
            self.retire();
        }
        self.want_ping();
    }

    /// A PING is due.
    pub(super) fn want_ping(&self) {
        if !self.life.ping_wanted.swap(true, Relaxed) {
            self.life.waker.wake();
        }
    }

    /// How long until it is known whether the path is alive; `None` if nothing speaks against
    /// it. What is sent before may be lost.
    pub(super) fn in_doubt(&self) -> Option<Duration> {
        self.life.ping_wanted.load(Relaxed).then(|| self.life.patience())
    }

    /// No new requests from now on; those in flight go on.
    pub(super) fn retire(&self) {
        self.life.closed.store(true, Relaxed);
    }

    /// Questions that were answered on it.
    pub(super) fn answered(&self) -> u32 {
        self.life.answered.load(Relaxed)
    }
}

/// Why a connection has no stream to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoStream {
    /// All are in use.
    Full,
    /// The connection takes no new ones any more.
    Over,
}

impl StreamPermit {
    /// A handle for one request.
    pub(super) fn sender(&self) -> SendRequest<Bytes> {
        self.connection.sender.clone()
    }

    /// The connection.
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The request was answered, well or not.
    pub(super) fn answered(&self) {
        let life = &self.connection.life;
        life.answered.fetch_add(1, Relaxed);
        life.answered_ms.store(life.now_ms(), Relaxed);
        life.slow_in_row.store(0, Relaxed);
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.connection.life.in_flight.fetch_sub(1, Relaxed);
        let room = &self.connection.room;
        if room.waiting.load(Relaxed) > 0 {
            room.free.notify_one();
        }
    }
}

impl Life {
    fn now_ms(&self) -> u64 {
        self.base.elapsed().as_millis() as u64
    }

    /// How long silence is borne once a PING is out.
    fn patience(&self) -> Duration {
        let rtt = Duration::from_micros(u64::from(self.rtt_us.load(Relaxed)));
        (3 * rtt).clamp(limits::PING_PATIENCE_MIN, limits::PING_PATIENCE_MAX)
    }
}

/// The task of one connection. Ends with it, and says why: `None` is a quiet end.
pub(super) struct Driver {
    connection: h2::client::Connection<Heard, Bytes>,
    ping: h2::PingPong,
    life: Arc<Life>,
    room: Arc<Room>,
    /// When the PING was sent that is not answered yet; h2 allows one at a time.
    outstanding: Option<Instant>,
    watch: Option<Watch>,
}

/// Something must be heard before the timer ends.
struct Watch {
    arrivals_before: u64,
    due: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Future for Driver {
    type Output = Option<Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Fault>> {
        let this = &mut *self;
        this.life.waker.register(cx.waker());
        if let Poll::Ready(end) = Pin::new(&mut this.connection).poll(cx) {
            this.life.closed.store(true, Relaxed);
            let busy = this.life.in_flight.load(Relaxed) > 0;
            return Poll::Ready(match end {
                Ok(()) => busy.then_some(Fault::Broken),
                Err(error) => ended_badly(&error, busy),
            });
        }
        let most = this.connection.max_concurrent_send_streams();
        let most = most.min(limits::STREAMS_PER_CONNECTION);
        if this.life.most_streams.swap(most, Relaxed) < most {
            // who found the connection full before the peer's settings were there goes on at once
            this.room.free.notify_waiters();
        }
        this.poll_pong(cx);
        if this.life.ping_wanted.load(Relaxed) && this.watch.is_none() {
            this.send_ping();
        }
        match this.poll_watch(cx) {
            Poll::Ready(()) => {
                this.life.closed.store(true, Relaxed);
                Poll::Ready(Some(Fault::PathDead))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Driver {
    fn poll_pong(&mut self, cx: &mut Context<'_>) {
        let Some(sent) = self.outstanding else { return };
        if let Poll::Ready(Ok(_)) = self.ping.poll_pong(cx) {
            self.outstanding = None;
            let took = sent.elapsed().as_micros().min(u128::from(u32::MAX)) as u32;
            let old = self.life.rtt_us.load(Relaxed);
            let new = u64::from(old) * 7 / 8 + u64::from(took) / 8;
            self.life.rtt_us.store(new as u32, Relaxed);
        }
    }

    fn send_ping(&mut self) {
        if self.outstanding.is_none() && self.ping.send_ping(h2::Ping::opaque()).is_ok() {
            self.outstanding = Some(Instant::now());
        }
        let due = Instant::now() + self.life.patience();
        self.watch = Some(Watch {
            arrivals_before: self.life.arrivals.load(Relaxed),
            due,
            timer: Box::pin(tokio::time::sleep_until(due.into())),
        });
    }

    /// Ready when nothing was heard in time: the path is dead.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.life.patience();
        let Some(watch) = &mut self.watch else { return Poll::Pending };
        loop {
            let heard = self.life.arrivals.load(Relaxed) > watch.arrivals_before;
            if heard || self.outstanding.is_none() {
                self.watch = None;
                self.life.ping_wanted.store(false, Relaxed);
                return Poll::Pending;
            }
            ready!(watch.timer.as_mut().poll(cx));
            let now = Instant::now();
            if now.duration_since(watch.due) < limits::LATE_TIMER {
                return Poll::Ready(());
            }
            // this whole thread stood still: the silence may be our own
            watch.due = now + patience;
            watch.timer.as_mut().reset(watch.due.into());
        }
    }
}

/// The fault of a connection that ended with an error.
fn ended_badly(error: &h2::Error, busy: bool) -> Option<Fault> {
    match error.reason() {
        // the peer takes its leave in good order
        Some(h2::Reason::NO_ERROR) => None,
        Some(reason) => Some(Fault::Http2(reason)),
        None => busy.then_some(Fault::Broken),
    }
}

/// A stream that notes when something arrived. Vectored writes must pass through: h2 writes
/// many frames at once.
pub(super) struct Heard {
    stream: TlsStream<TcpStream>,
    life: Arc<Life>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.life.heard_ms.store(self.life.now_ms(), Relaxed);
            self.life.arrivals.fetch_add(1, Relaxed);
        }
        result
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
