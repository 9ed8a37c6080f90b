//! A DoH server that does as it is told, and a proxy that loses connections.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::locked;

/// The name in good certificates.
pub(super) const HOST: &str = "doh.test";

/// The tests' certificate authority.
pub(super) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pub(super) file: PathBuf,
    _dir: tempfile::TempDir,
}

/// The one that the tests' upstreams trust.
pub(super) fn authority() -> &'static Authority {
    static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
    &AUTHORITY
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "tests");
        let key = rcgen::KeyPair::generate().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: rcgen::Issuer::new(params, key), file, _dir: dir }
    }

    /// A server's TLS with a certificate for `names`, valid from and until these years.
    pub(super) fn tls(&self, names: &[&str], years: (i32, i32), alpn: &[&[u8]]) -> ServerConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// What the server does with a request.
pub(super) enum Act {
    /// A right answer with one address.
    Answer,
    /// A right answer with this response code.
    Rcode(u8),
    /// A right answer, cut.
    Truncated,
    /// Status, headers and body as given.
    Http(u16, Vec<(&'static str, &'static str)>, Vec<u8>),
    /// An endless body of the right type.
    Endless,
    /// Waits, then does the other thing.
    After(Duration, Box<Act>),
    /// Resets the stream.
    Reset(h2::Reason),
    /// Answers, and takes no more requests on this connection.
    GoAway,
    /// Never answers.
    Silence,
}

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Counted from 0 over all connections.
    pub(super) number: usize,
    pub(super) head: Arc<http::request::Parts>,
    pub(super) body: Bytes,
}

impl Seen {
    /// The name asked for.
    pub(super) fn name(&self) -> String {
        crate::dns::record::read_name(&self.body, 12).unwrap().0.to_string()
    }
}

type Script = dyn Fn(&Seen) -> Act + Send + Sync;

/// A DoH server on a port of its own. Ends when dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    script: Box<Script>,
    tls: TlsAcceptor,
    max_streams: u32,
    requests: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
}

impl Server {
    /// A good server.
    pub(super) async fn good() -> Server {
        Server::new(|_| Act::Answer).await
    }

    /// A server with a good certificate that follows the script.
    pub(super) async fn new(script: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Server {
        Server::start(good_tls(), "127.0.0.1:0".parse().unwrap(), 200, script).await
    }

    /// A server with all its choices.
    pub(super) async fn start(
        tls: ServerConfig,
        address: SocketAddr,
        max_streams: u32,
        script: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            tls: TlsAcceptor::from(Arc::new(tls)),
            max_streams,
            requests: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, shared.clone()));
        Server { address, shared, tasks: Mutex::new(tasks) }
    }

    /// The process is gone: listener and connections are closed.
    pub(super) fn kill(&self) {
        locked(&self.tasks).abort_all();
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        locked(&self.shared.requests).clone()
    }

    pub(super) fn request_count(&self) -> usize {
        locked(&self.shared.requests).len()
    }

    /// Connections that finished TLS.
    pub(super) fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }
}

pub(super) fn good_tls() -> ServerConfig {
    authority().tls(&[HOST], (2020, 2090), &[b"h2"])
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, shared.clone()));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let Ok(stream) = shared.tls.accept(stream).await else { return };
    shared.connections.fetch_add(1, Relaxed);
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(shared.max_streams);
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    let mut requests = JoinSet::new();
    let leaving = Arc::new(AtomicBool::new(false));
    while let Some(Ok((request, respond))) = connection.accept().await {
        requests.spawn(respond_to(request, respond, shared.clone(), leaving.clone()));
        // let the request be judged before the next one is accepted
        tokio::task::yield_now().await;
        if leaving.load(Relaxed) {
            connection.graceful_shutdown();
        }
    }
    requests.join_all().await;
}

async fn respond_to(
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
    leaving: Arc<AtomicBool>,
) {
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(part)) = body.data().await {
        let _ = body.flow_control().release_capacity(part.len());
        whole.extend_from_slice(&part);
    }
    let seen = {
        let mut requests = locked(&shared.requests);
        let number = requests.len();
        let seen = Seen { number, head: Arc::new(head), body: whole.into() };
        requests.push(seen.clone());
        seen
    };
    let mut act = (shared.script)(&seen);
    while let Act::After(wait, then) = act {
        tokio::time::sleep(wait).await;
        act = *then;
    }
    perform(act, &seen, respond, &leaving).await;
}

async fn perform(act: Act, seen: &Seen, mut respond: SendResponse<Bytes>, leaving: &AtomicBool) {
    let message = match act {
        Act::Answer => answer(&seen.body, 0, 0, 1),
        Act::GoAway => {
            leaving.store(true, Relaxed);
            answer(&seen.body, 0, 0, 1)
        }
        Act::Rcode(rcode) => answer(&seen.body, rcode, 0, 0),
        Act::Truncated => answer(&seen.body, 0, 0x02, 0),
        Act::Http(status, headers, body) => {
            return send(&mut respond, status, &headers, body).await;
        }
        Act::Endless => {
            let response = Response::builder().header("content-type", "application/dns-message");
            let mut body = respond.send_response(response.body(()).unwrap(), false).unwrap();
            while body.send_data(Bytes::from(vec![0; 8192]), false).is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return;
        }
        Act::Reset(reason) => return respond.send_reset(reason),
        Act::Silence => return std::future::pending().await,
        Act::After(..) => unreachable!("unwrapped before"),
    };
    send(&mut respond, 200, &[("content-type", "application/dns-message")], message).await;
}

async fn send(
    respond: &mut SendResponse<Bytes>,
    status: u16,
    headers: &[(&'static str, &'static str)],
    body: Vec<u8>,
) {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    if let Ok(mut stream) = respond.send_response(response.body(()).unwrap(), false) {
        let _ = stream.send_data(body.into(), true);
    }
}

/// A response to a query: its question, `count` addresses, no OPT.
pub(super) fn answer(query: &[u8], rcode: u8, flags: u8, count: u16) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&b| b == 0).unwrap() + 5;
    let mut out = query[..end].to_vec();
    out[2] |= 0x80 | flags;
    out[3] = 0x80 | rcode;
    out[6..8].copy_from_slice(&count.to_be_bytes());
    out[8..12].fill(0);
    for i in 0..count {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]);
        out.extend([192, 0, (i >> 8) as u8, i as u8]);
    }
    out
}

/// Forwards connections until it is told to lose them.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    state: Arc<ProxyState>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct ProxyState {
    accepted: AtomicUsize,
    /// Connections with a lower number carry nothing any more.
    frozen_below: AtomicUsize,
}

impl Proxy {
    pub(super) async fn new(target: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(ProxyState::default());
        let mut tasks = JoinSet::new();
        let shared = state.clone();
        tasks.spawn(async move {
            let mut pipes = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let number = shared.accepted.fetch_add(1, Relaxed);
                let far = TcpStream::connect(target).await.unwrap();
                near.set_nodelay(true).unwrap();
                far.set_nodelay(true).unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                pipes.spawn(pipe(near_in, far_out, number, shared.clone()));
                pipes.spawn(pipe(far_in, near_out, number, shared.clone()));
            }
        });
        Proxy { address, state, _tasks: tasks }
    }

    /// The connections that are open go silent; new ones work.
    pub(super) fn freeze_open(&self) {
        self.state.frozen_below.store(self.state.accepted.load(Relaxed), Relaxed);
    }

    /// All connections go silent, new ones are accepted and silent, like a stopped process.
    pub(super) fn freeze(&self) {
        self.state.frozen_below.store(usize::MAX, Relaxed);
    }

    /// New connections work again.
    pub(super) fn thaw(&self) {
        self.freeze_open();
    }
}

async fn pipe(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    number: usize,
    state: Arc<ProxyState>,
) {
    let mut buf = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buf).await {
        if number < state.frozen_below.load(Relaxed) {
            return std::future::pending().await;
        }
        if to.write_all(&buf[..length]).await.is_err() {
            return;
        }
    }
}
