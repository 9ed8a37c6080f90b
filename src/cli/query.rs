//! One question to a DNS server, as a client of it asks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout};

use crate::dns::answer::Answer;
use crate::dns::compose::upstream_query;
use crate::dns::question::Question;
use crate::dns::{flag, rcode, rtype};

/// The payload size that the question announces, and room for an answer over UDP, in octets.
const PAYLOAD: u16 = 1232;
/// A packet may get lost: the question is sent so many times in the time there is.
const SENDS: u32 = 3;

/// The way to ask.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) tcp: bool,
    /// RD: an upstream may be asked.
    pub(super) recursion: bool,
}

/// What came back.
pub(super) struct Reply {
    pub(super) rcode: u16,
    /// The code of the extended error (RFC 8914).
    pub(super) ede: Option<u16>,
    /// Our own address.
    pub(super) client: IpAddr,
    took: Duration,
}

impl Reply {
    pub(super) fn millis(&self) -> f64 {
        self.took.as_secs_f64() * 1e3
    }

    /// The code, and the extended error if there is one.
    pub(super) fn in_words(&self) -> String {
        let ede = self.ede.map_or_else(String::new, |code| format!(" with extended error {code}"));
        format!("{}{ede}", rcode::text(self.rcode))
    }
}

/// Asks for the addresses (A) of a name, until `end`.
pub(super) async fn ask(
    server: SocketAddr,
    name: &str,
    asked: Asked,
    end: Instant,
) -> Result<Reply, String> {
    let name = name.parse().map_err(|e| format!("{name}: {e}"))?;
    let question = Question::plain(name, rtype::A);
    let mut query = upstream_query(&question, fastrand::u16(..), PAYLOAD, None);
    if !asked.recursion {
        query[2] &= !((flag::RD >> 8) as u8);
    }
    let begun = Instant::now();
    let (answer, client) = match asked.tcp {
        true => over_tcp(server, &question, &query).await,
        false => over_udp(server, &question, &query, (end - begun) / SENDS).await,
    }
    .map_err(|e| format!("{server}: {e}"))?;
    Ok(Reply {
        rcode: answer.rcode(),
        ede: answer.ede().map(|ede| ede.code),
        client: client.ip().to_canonical(),
        took: begun.elapsed(),
    })
}

async fn over_udp(
    server: SocketAddr,
    question: &Question,
    query: &[u8],
    pause: Duration,
) -> std::io::Result<(Answer, SocketAddr)> {
    let socket = UdpSocket::bind(any(server)).await?;
    socket.connect(server).await?;
    let mut buffer = [0; PAYLOAD as usize];
    // the caller ends it
    loop {
        socket.send(query).await?;
        let again = Instant::now() + pause.max(Duration::from_millis(10));
        while let Ok(received) = timeout(again - Instant::now(), socket.recv(&mut buffer)).await {
            let message = &buffer[..received?];
            if let Some(answer) = answer(question, query, message) {
                return Ok((answer, socket.local_addr()?));
            }
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    question: &Question,
    query: &[u8],
) -> std::io::Result<(Answer, SocketAddr)> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = (query.len() as u16).to_be_bytes().to_vec();
    framed.extend(query);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    let wrong = || std::io::Error::other("what came back is no answer to the question");
    let answer = answer(question, query, &message).ok_or_else(wrong)?;
    Ok((answer, stream.local_addr()?))
}

/// The answer in a message, if it is one to this query.
fn answer(question: &Question, query: &[u8], message: &[u8]) -> Option<Answer> {
    let same_id = message.get(..2) == query.get(..2);
    Answer::receive(question, message).ok().filter(|_| same_id)
}

/// Any address of ours, of the server's family.
pub(super) fn any(server: SocketAddr) -> SocketAddr {
    match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
