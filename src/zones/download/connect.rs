//! A secured connection to one address of a host.

use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Fault;
use crate::upstream::{self, Stage, TlsFault};

/// Connects, and proves the host's name; `patience` for TCP, and as much again for TLS.
pub(super) async fn connect(
    address: SocketAddr,
    name: ServerName<'static>,
    tls: &TlsConnector,
    patience: Duration,
) -> Result<TlsStream<TcpStream>, Fault> {
    let tcp = timeout(patience, TcpStream::connect(address))
        .await
        .map_err(|_| Fault::Handshake(Stage::Tcp))?
        .map_err(|error| Fault::Connect(error.to_string()))?;
    timeout(patience, tls.connect(name, tcp))
        .await
        .map_err(|_| Fault::Handshake(Stage::Tls))?
        .map_err(|error| match upstream::handshake_fault(&error) {
            upstream::Fault::Tls(TlsFault::NoHttp2) => {
                Fault::Tls(TlsFault::Other("the host does not offer HTTP/1.1 (ALPN)".to_owned()))
            }
            upstream::Fault::Tls(fault) => Fault::Tls(fault),
            _ => Fault::Connect(format!("the connection ended in the TLS handshake: {error}")),
        })
}
