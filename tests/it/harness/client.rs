//! Clients that send any bytes, and check what every answer must fulfil.

use super::wire::{Message, QR, Query};
use super::{PATIENCE, eventually, millis, secs};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

/// How long a test listens for a packet that must not come.
const SILENCE: Duration = Duration::from_millis(250);

/// Which transport a table row is run over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    Udp,
    Tcp,
}

/// A UDP client with a socket of its own.
pub struct Udp {
    socket: UdpSocket,
    server: SocketAddr,
}

impl Udp {
    pub fn to(server: SocketAddr) -> Udp {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        Udp::from(any, server)
    }

    /// A client with this source address.
    pub fn from(ip: IpAddr, server: SocketAddr) -> Udp {
        let socket = UdpSocket::bind((ip, 0)).expect("a client socket");
        Udp { socket, server }
    }

    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.server).expect("the query is sent");
    }

    /// The next packet within `limit`; one from another address fails the test.
    #[track_caller]
    pub fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(limit)).expect("a time-out can be set");
        match self.socket.recv_from(&mut buffer) {
            Ok((length, source)) => {
                assert_eq!(source, self.server, "the answer comes from the address asked");
                buffer.truncate(length);
                Some(buffer)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(e) => panic!("receiving failed: {e}"),
        }
    }

    #[track_caller]
    pub fn ask(&self, query: &Query) -> Message {
        self.send(&query.bytes());
        let bytes = self.receive(PATIENCE);
        let bytes = bytes.unwrap_or_else(|| panic!("no answer to {:?}", shown(query)));
        checked(query, &bytes)
    }

    /// Nothing may come back for these bytes.
    #[track_caller]
    pub fn expect_silence(&self, bytes: &[u8]) {
        self.send(bytes);
        let got = self.receive(SILENCE);
        assert!(got.is_none(), "{bytes:02x?} must not be answered, got {got:02x?}");
    }
}

/// A TCP client with one connection.
pub struct Tcp {
    pub stream: TcpStream,
}

impl Tcp {
    #[track_caller]
    pub fn to(server: SocketAddr) -> Tcp {
        let stream = TcpStream::connect_timeout(&server, secs(5));
        Tcp::on(stream.unwrap_or_else(|e| panic!("no connection to {server}: {e}")))
    }

    /// A connection with this source address.
    #[track_caller]
    pub fn from(ip: IpAddr, server: SocketAddr) -> Tcp {
        let domain = if ip.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(ip, 0).into()).expect("a source address");
        socket.connect_timeout(&server.into(), secs(5)).expect("a connection");
        Tcp::on(socket.into())
    }

    fn on(stream: TcpStream) -> Tcp {
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Tcp { stream }
    }

    /// Sends one message with its length in front, in one write.
    pub fn send(&mut self, bytes: &[u8]) {
        self.send_raw(&framed(bytes));
    }

    /// Sends bytes as they are; a connection that the other side closed is no error here.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// The next message within `limit`; none if the connection ended or stayed silent.
    pub fn receive(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        self.fill(&mut length, Instant::now() + limit)?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        self.fill(&mut bytes, Instant::now() + limit)?;
        Some(bytes)
    }

    fn fill(&mut self, buffer: &mut [u8], end: Instant) -> Option<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let left = end.checked_duration_since(Instant::now())?.max(millis(1));
            self.stream.set_read_timeout(Some(left)).expect("a time-out can be set");
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) | Err(_) => return None,
                Ok(n) => filled += n,
            }
        }
        Some(())
    }

    #[track_caller]
    pub fn ask(&mut self, query: &Query) -> Message {
        self.send(&query.bytes());
        self.answer_to(query)
    }

    /// The next message, which has to be the answer to `query`.
    #[track_caller]
    pub fn answer_to(&mut self, query: &Query) -> Message {
        let bytes = self.receive(PATIENCE);
        let bytes = bytes.unwrap_or_else(|| panic!("no answer to {:?}", shown(query)));
        checked(query, &bytes)
    }

    /// The server has to close the connection within `limit`; what it still sends is discarded.
    #[track_caller]
    pub fn expect_close(&mut self, limit: Duration) {
        eventually("the server closes the connection", limit, || self.is_closed());
    }

    /// Whether the server closed the connection; waits a short moment for it.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_read_timeout(Some(millis(20))).expect("a time-out can be set");
        match self.stream.read(&mut [0; 4096]) {
            Ok(n) => n == 0,
            Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the sending side can be closed");
    }
}

/// A message with its length in front (RFC 1035 section 4.2.2).
pub fn framed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// One question over either transport, on a fresh socket.
#[track_caller]
pub fn ask(over: Over, server: SocketAddr, query: &Query) -> Message {
    match over {
        Over::Udp => Udp::to(server).ask(query),
        Over::Tcp => Tcp::to(server).ask(query),
    }
}

/// The octets that come back for any octets; none for silence, and for a closed connection.
pub fn exchange(over: Over, server: SocketAddr, bytes: &[u8], limit: Duration) -> Option<Vec<u8>> {
    match over {
        Over::Udp => {
            let client = Udp::to(server);
            client.send(bytes);
            client.receive(limit)
        }
        Over::Tcp => {
            let mut client = Tcp::to(server);
            client.send(bytes);
            client.receive(limit)
        }
    }
}

/// Reads a reply and checks what holds for every one: QR, the id, the question with its case.
#[track_caller]
pub fn checked(query: &Query, bytes: &[u8]) -> Message {
    let asked = Message::read(&query.bytes()).expect("the test's own query is well formed");
    let reply = Message::read(bytes);
    let reply = reply.unwrap_or_else(|e| panic!("{e} in the answer {bytes:02x?}"));
    assert!(reply.has(QR), "QR is set in {reply:?}");
    assert_eq!(reply.id, asked.id, "the id is the client's");
    assert_eq!(reply.question, asked.question, "the question is echoed with its case");
    reply
}

fn shown(query: &Query) -> Option<(String, u16, u16)> {
    Message::read(&query.bytes()).ok()?.question
}
