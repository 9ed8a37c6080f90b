//! A web server over TLS whose pages do what the test tells them, octet for octet.

use super::process::{LOCAL, free_port};
use super::tls::{HOST, Shown, Tls};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The name on the certificate of [`Shown::WrongName`]: another host that is trusted, too.
pub const OTHER_HOST: &str = "elsewhere.test";

/// What is done for one request.
#[derive(Clone)]
pub enum Step {
    Send(Vec<u8>),
    Pause(Duration),
    /// The same octets again and again until the other side has enough.
    Endless(Vec<u8>),
    /// Nothing more, and no end either.
    Hang,
    /// TCP ends without a word of TLS.
    Cut,
}

/// What is found under a path.
#[derive(Clone)]
pub enum Page {
    /// A list with an ETag and Last-Modified, packed for who takes gzip, and HTTP 304 for who has
    /// this version.
    List { text: Vec<u8>, etag: String },
    /// Octets as they go out.
    Raw(Vec<Step>),
}

impl Page {
    /// A well-kept list; another text is another version.
    pub fn list(text: impl AsRef<[u8]>) -> Page {
        let text = text.as_ref().to_vec();
        let sum = text.iter().fold(7_u64, |sum, &b| sum.wrapping_mul(31) ^ u64::from(b));
        Page::List { etag: format!("\"v{sum:x}\""), text }
    }

    /// 200 with a length and these octets.
    pub fn text(text: impl AsRef<[u8]>) -> Page {
        Page::answer(200, &[], text)
    }

    /// A status with these fields, a length and these octets.
    pub fn answer(status: u16, fields: &[(&str, &str)], text: impl AsRef<[u8]>) -> Page {
        Page::Raw(vec![Step::Send(answer(status, fields, text.as_ref()))])
    }

    /// A status and these fields.
    pub fn status(status: u16, fields: &[(&str, &str)]) -> Page {
        Page::answer(status, fields, "not for you\n")
    }

    pub fn redirect(status: u16, location: &str) -> Page {
        Page::status(status, &[("Location", location)])
    }

    /// 200 with these fields, then these steps.
    pub fn steps(fields: &[(&str, &str)], steps: impl IntoIterator<Item = Step>) -> Page {
        let head = Step::Send(head(200, fields));
        Page::Raw([head].into_iter().chain(steps).collect())
    }
}

/// A chunk of a body with Transfer-Encoding: chunked.
pub fn chunk(octets: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", octets.len()).as_bytes(), octets, b"\r\n"].concat()
}

pub fn gzip(octets: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(octets).and_then(|()| encoder.finish()).expect("memory takes all")
}

fn head(status: u16, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields: String =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("HTTP/1.1 {status} As Told\r\n{fields}\r\n").into_bytes()
}

fn answer(status: u16, fields: &[(&str, &str)], text: &[u8]) -> Vec<u8> {
    let length = text.len().to_string();
    let fields = [fields, &[("Content-Length", &length)]].concat();
    [&head(status, &fields), text].concat()
}

/// One request as it arrived; names of fields in lower case.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub fields: HashMap<String, String>,
}

impl Asked {
    /// A field's value, or nothing.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |value| value)
    }
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    asked: Vec<Asked>,
    handshakes: usize,
}

/// A running server; dropping it ends its thread and every connection.
pub struct Web {
    pub address: SocketAddr,
    /// The name on its certificate.
    pub host: &'static str,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Web {
    /// A server on 127.0.0.1 with the right certificate for [`HOST`], and no page yet.
    pub fn start(tls: &Tls) -> Web {
        Web::showing(tls, Shown::Right)
    }

    pub fn showing(tls: &Tls, shown: Shown) -> Web {
        let address = free_port(LOCAL);
        let listener = super::process::bound(|| std::net::TcpListener::bind(address));
        listener.set_nonblocking(true).expect("a listener can be non-blocking");
        let config = tls.server(shown, &["http/1.1"], rustls::ALL_VERSIONS);
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = oneshot::channel();
        let inner = state.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime for the web server");
            runtime.block_on(async {
                tokio::select! {
                    () = serve(inner, listener, config) => {}
                    _ = stopped => {}
                }
            });
        });
        let host = if shown == Shown::WrongName { OTHER_HOST } else { HOST };
        Web { address, host, state, stop: Some(stop), thread: Some(thread) }
    }

    /// From now on this is found under this path.
    pub fn set(&self, path: &str, page: Page) {
        self.lock().pages.insert(path.to_owned(), page);
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.host, self.address.port())
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.lock().asked.clone()
    }

    /// The last request; its absence fails the test.
    #[track_caller]
    pub fn last(&self) -> Asked {
        self.lock().asked.last().expect("the web server was asked").clone()
    }

    /// TLS handshakes that were finished.
    pub fn handshakes(&self) -> usize {
        self.lock().handshakes
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.take();
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
    listener: std::net::TcpListener,
    config: Arc<rustls::ServerConfig>,
) {
    let listener = TcpListener::from_std(listener).expect("a runtime is running");
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        let (state, acceptor) = (state.clone(), acceptor.clone());
        tokio::spawn(async move {
            let stream = acceptor.accept(tcp).await.ok()?;
            lock(&state).handshakes += 1;
            connection(&state, stream).await
        });
    }
}

type Stream = tokio_rustls::server::TlsStream<TcpStream>;

/// One request, its page, the end of the connection.
async fn connection(state: &Mutex<State>, mut stream: Stream) -> Option<()> {
    let asked = request(&mut stream).await?;
    let page = {
        let mut state = lock(state);
        state.asked.push(asked.clone());
        state.pages.get(&asked.path).cloned().unwrap_or_else(|| Page::status(404, &[]))
    };
    let steps = match page {
        Page::Raw(steps) => steps,
        Page::List { text, etag } => vec![Step::Send(list(&asked, &text, &etag))],
    };
    for step in steps {
        match step {
            Step::Send(octets) => stream.write_all(&octets).await.ok()?,
            Step::Pause(time) => {
                stream.flush().await.ok()?;
                tokio::time::sleep(time).await;
            }
            Step::Endless(octets) => loop {
                stream.write_all(&octets).await.ok()?;
            },
            Step::Hang => {
                stream.flush().await.ok()?;
                std::future::pending().await
            }
            Step::Cut => {
                stream.flush().await.ok()?;
                return stream.get_mut().0.shutdown().await.ok();
            }
        }
    }
    stream.shutdown().await.ok()
}

fn list(asked: &Asked, text: &[u8], etag: &str) -> Vec<u8> {
    let validators = [("ETag", etag), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")];
    if asked.field("if-none-match") == etag {
        return head(304, &validators);
    }
    if asked.field("accept-encoding").contains("gzip") {
        let fields = [&validators[..], &[("Content-Encoding", "gzip")]].concat();
        return answer(200, &fields, &gzip(text));
    }
    answer(200, &validators, text)
}

/// Reads a request's head; requests here have no body.
async fn request(stream: &mut Stream) -> Option<Asked> {
    let mut octets = Vec::new();
    while !octets.ends_with(b"\r\n\r\n") {
        octets.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(octets).ok()?;
    let mut lines = text.lines();
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let fields = lines.filter_map(|line| line.split_once(": "));
    let fields = fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    Some(Asked { path, fields })
}
