//! TCP or TLS to a primary, and messages behind their lengths. A primary that sends nothing,
//! too slowly, or without end is left.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, ClientConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::failure::Why;
use crate::limits::transfer as limits;
use crate::upstream;

/// How long a primary is waited for. The bounds are those of [`limits`]; tests have less time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until TCP is connected, and again until TLS is.
    pub connect: Duration,
    /// Between two complete messages.
    pub stall: Duration,
    /// Until the answer about the SOA is there.
    pub soa_answer: Duration,
    /// Until something follows a lone SOA.
    pub lone_soa: Duration,
    /// In this much time of waiting `pace_octets` must come.
    pub pace_window: Duration,
    /// See `pace_window`.
    pub pace_octets: u64,
    /// Until the transfer is complete.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: limits::CONNECT,
            stall: limits::STALL,
            soa_answer: limits::SOA_ANSWER,
            lone_soa: limits::LONE_SOA,
            pace_window: limits::PACE_WINDOW,
            pace_octets: limits::PACE_OCTETS,
            longest: limits::LONGEST,
        }
    }
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection to a primary.
pub(super) struct Stream {
    wire: BufReader<Box<dyn Wire>>,
    patience: Patience,
    message: Vec<u8>,
    began: Instant,
    /// Octets of messages and their lengths.
    received: u64,
    max_bytes: u64,
    /// Time spent waiting and octets received in the current window.
    waited: Duration,
    came: u64,
}

impl Stream {
    /// Connects to `address`, and over TLS if there is a name for its certificate.
    pub(super) async fn connect(
        address: SocketAddr,
        tls: Option<(&str, &Arc<ClientConfig>)>,
        patience: Patience,
        max_bytes: u64,
    ) -> Result<Stream, Why> {
        let tcp = timeout(patience.connect, TcpStream::connect(address))
            .await
            .map_err(|_| Why::ConnectTimeOut)?
            .map_err(|error| Why::Connect(error.to_string()))?;
        // a request is one write; without this, TLS may wait for a packet to fill up
        tcp.set_nodelay(true).map_err(|error| Why::Connect(error.to_string()))?;
        let wire: Box<dyn Wire> = match tls {
            Some((name, config)) => Box::new(
                timeout(patience.connect, handshake(tcp, name, config))
                    .await
                    .map_err(|_| Why::Tls("the handshake takes too long".to_owned()))??,
            ),
            None => Box::new(tcp),
        };
        Ok(Stream {
            wire: BufReader::with_capacity(limits::MESSAGE, wire),
            patience,
            message: Vec::new(),
            began: Instant::now(),
            received: 0,
            max_bytes,
            waited: Duration::ZERO,
            came: 0,
        })
    }

    /// A new answer begins: octets and time are counted from here.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
        (self.received, self.waited, self.came) = (0, Duration::ZERO, 0);
    }

    /// Octets of the answer so far, the lengths of messages included.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Sends one message, its length in front.
    pub(super) async fn send(&mut self, message: &[u8]) -> Result<(), Why> {
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(message);
        let sent = async {
            self.wire.write_all(&framed).await?;
            self.wire.flush().await
        };
        match timeout(self.patience.stall, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(broken(&error)),
            Err(_) => Err(Why::Stalled),
        }
    }

    /// The next message, which must be complete within `limit`.
    pub(super) async fn message(&mut self, limit: Duration) -> Result<&[u8], Why> {
        let start = Instant::now();
        let left = self.patience.longest.saturating_sub(self.began.elapsed());
        let read = timeout(limit.min(left), self.read()).await;
        self.waited += start.elapsed();
        match read {
            Ok(result) => result?,
            Err(_) if self.began.elapsed() >= self.patience.longest => return Err(Why::TooLong),
            Err(_) => return Err(Why::Stalled),
        }
        self.keeps_pace()?;
        Ok(&self.message)
    }

    async fn read(&mut self) -> Result<(), Why> {
        let length = self.wire.read_u16().await.map_err(|error| broken(&error))?;
        let octets = u64::from(length) + 2;
        if self.received + octets > self.max_bytes {
            return Err(Why::TooManyOctets(self.max_bytes));
        }
        self.message.resize(usize::from(length), 0);
        self.wire.read_exact(&mut self.message).await.map_err(|error| broken(&error))?;
        self.received += octets;
        self.came += octets;
        Ok(())
    }

    /// A primary that sends just enough not to stall does not keep us for ever.
    fn keeps_pace(&mut self) -> Result<(), Why> {
        if self.waited < self.patience.pace_window {
            return Ok(());
        }
        let came = std::mem::take(&mut self.came);
        let seconds = std::mem::take(&mut self.waited).as_secs();
        if came < self.patience.pace_octets {
            return Err(Why::TooSlow { octets: came, seconds });
        }
        Ok(())
    }
}

/// The connection ended: in good order, or not.
fn broken(error: &io::Error) -> Why {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Why::Cut,
        _ => match tls_error(error) {
            Some(error) => Why::Tls(in_words(error)),
            None => Why::Broken(error.to_string()),
        },
    }
}

async fn handshake(
    tcp: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Why> {
    let name = upstream::server_name(name).map_err(|error| Why::Tls(error.to_string()))?;
    let stream = TlsConnector::from(config.clone()).connect(name, tcp).await;
    let stream = stream
        .map_err(|error| Why::Tls(tls_error(&error).map_or_else(|| error.to_string(), in_words)))?;
    // RFC 9103 section 7.1 has the protocol agreed on
    let agreed = stream.get_ref().1.alpn_protocol();
    match agreed.is_some_and(|agreed| config.alpn_protocols.iter().any(|ours| ours == agreed)) {
        true => Ok(stream),
        false => Err(Why::Tls(NO_DOT.to_owned())),
    }
}

const NO_DOT: &str = "it does not offer DNS over TLS (ALPN dot)";

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>()
}

/// What a refusal means to the operator.
fn in_words(error: &rustls::Error) -> String {
    use CertificateError as C;
    let words = match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            C::Expired | C::ExpiredContext { .. } => "its certificate has expired",
            C::NotValidYet | C::NotValidYetContext { .. } => {
                "its certificate is not valid yet (is this host's clock right?)"
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                "its certificate is for another name"
            }
            C::UnknownIssuer | C::BadSignature => {
                "its certificate is not signed by a trusted CA (see `ca`)"
            }
            other => return format!("its certificate is refused: {other}"),
        },
        rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol) => NO_DOT,
        other => return other.to_string(),
    };
    words.to_owned()
}
