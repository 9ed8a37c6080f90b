//! One question over plain DNS: UDP from a random port with a random id, and TCP where the
//! answer is truncated (RFC 1035 section 4.2, RFC 5452, RFC 7766).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use rustls::crypto::{CryptoProvider, ring};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::failure::{Fault, Stage};
use super::limits;
use crate::dns::answer::{Answer, AnswerFault};
use crate::dns::compose;
use crate::dns::question::Question;

/// Asks once. Waits for an answer as long as the caller lets it, at most a few seconds.
pub(super) async fn exchange(server: SocketAddr, q: &Question) -> Result<Answer, Fault> {
    let limit = limits::PLAIN_TRY_MAX;
    let over_udp = timeout(limit, udp(server, q)).await.map_err(|_| Fault::Unanswered)??;
    if !over_udp.truncated() {
        return Ok(over_udp);
    }
    timeout(limits::PLAIN_TCP_MAX, tcp(server, q)).await.map_err(|_| Fault::Unanswered)?
}

/// Over UDP. What does not fit the question is somebody else's and is passed over.
async fn udp(server: SocketAddr, q: &Question) -> Result<Answer, Fault> {
    let lost = |error: io::Error| Fault::of_socket(&error);
    let socket = socket(server).await.map_err(lost)?;
    let id = random();
    let query = compose::upstream_query(q, id, limits::PLAIN_PAYLOAD, None);
    socket.send(&query).await.map_err(lost)?;
    let mut buf = vec![0; limits::PLAIN_BUFFER];
    loop {
        let length = socket.recv(&mut buf).await.map_err(lost)?;
        let message = &buf[..length];
        if message.get(..2) != Some(&id.to_be_bytes()[..]) {
            continue;
        }
        match Answer::receive(q, message) {
            Ok(answer) => return Ok(answer),
            Err(AnswerFault::Short | AnswerFault::NotResponse | AnswerFault::OtherQuestion) => {}
            Err(fault) => return Err(Fault::Answer(fault)),
        }
    }
}

/// A connected socket: only the server's packets arrive, and an ICMP error is seen.
async fn socket(server: SocketAddr) -> io::Result<UdpSocket> {
    let any = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    for _ in 0..limits::PLAIN_PORT_TRIES {
        let port = random().max(1024);
        if let Ok(socket) = UdpSocket::bind((any, port)).await {
            socket.connect(server).await?;
            return Ok(socket);
        }
    }
    // the system's choice is random as well, from a smaller range
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Over TCP, one question on one connection.
async fn tcp(server: SocketAddr, q: &Question) -> Result<Answer, Fault> {
    let mut stream = timeout(limits::HANDSHAKE, TcpStream::connect(server))
        .await
        .map_err(|_| Fault::Handshake(Stage::Tcp))?
        .map_err(|error| Fault::of_socket(&error))?;
    let broken = |_: io::Error| Fault::Broken;
    stream.set_nodelay(true).map_err(broken)?;
    let id = random();
    let query = compose::upstream_query(q, id, limits::PLAIN_PAYLOAD, None);
    // length and message in one write (RFC 7766 section 8)
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await.map_err(broken)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await.map_err(broken)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).await.map_err(broken)?;
    if message.get(..2) != Some(&id.to_be_bytes()[..]) {
        return Err(Fault::Answer(AnswerFault::OtherQuestion));
    }
    Answer::receive(q, &message).map_err(Fault::Answer)
}

/// A number that cannot be guessed from earlier ones (RFC 5452 section 4.5); if the system has
/// no randomness to give, from the ordinary generator.
fn random() -> u16 {
    static PROVIDER: LazyLock<CryptoProvider> = LazyLock::new(ring::default_provider);
    let mut bytes = [0; 2];
    match PROVIDER.secure_random.fill(&mut bytes) {
        Ok(()) => u16::from_be_bytes(bytes),
        Err(_) => fastrand::u16(..),
    }
}
