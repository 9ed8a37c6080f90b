//! Batches over real sockets on loopback, and faults that are scripted.

use std::collections::VecDeque;
use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::super::socket::{self, BindOptions};
use super::*;

fn server(addr: &str) -> (UdpSocket, u16) {
    let socket = socket::udp(addr.parse().unwrap(), &BindOptions::default()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn client(addr: &str) -> UdpSocket {
    let socket = UdpSocket::bind(addr).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Receives one batch, waiting until there is one.
fn receive(inbound: &mut Inbound, socket: &UdpSocket) -> usize {
    for _ in 0..10_000 {
        match inbound.receive(socket.as_fd()) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result.unwrap(),
        }
    }
    panic!("nothing arrived");
}

fn text(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 100];
    let (length, from) = socket.recv_from(&mut buffer).unwrap();
    (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
}

fn queue(outbound: &mut Outbound, data: &[u8], to: SocketAddr, from: Local) {
    outbound.buffer()[..data.len()].copy_from_slice(data);
    outbound.push(data.len(), to, from);
}

fn os_error(code: libc::c_int) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(code))
}

#[test]
fn both_directions_can_go_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<Inbound>();
    is_send::<Outbound>();
}

#[test]
fn replies_leave_from_the_address_that_was_asked() {
    let (server, port) = server("0.0.0.0:0");
    let client = client("127.0.0.1:0");
    let asked = ["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|ip| ip.parse().unwrap());
    let mut inbound = Inbound::new();
    let mut outbound = Outbound::new();
    for (i, ip) in asked.iter().enumerate() {
        client.send_to(&[b'a' + i as u8], (*ip, port)).unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < asked.len() {
        for i in 0..receive(&mut inbound, &server) {
            let query = inbound.get(i);
            assert_eq!(query.from, client.local_addr().unwrap());
            assert!(query.to.interface > 0 && !query.truncated);
            seen.push(query.to.addr.unwrap());
            queue(&mut outbound, query.data, query.from, query.to);
        }
    }
    assert_eq!(seen, asked);
    assert_eq!(outbound.send(server.as_fd()), Sent { sent: 3, failed: 0 });
    assert!(outbound.is_empty());
    let expected: [(&str, IpAddr); 3] = [("a", asked[0]), ("b", asked[1]), ("c", asked[2])];
    for (data, ip) in expected {
        assert_eq!(text(&client), (data.to_owned(), SocketAddr::new(ip, port)));
    }

    let from = Local { addr: Some(asked[1]), interface: 0 };
    send_one(server.as_fd(), b"later", client.local_addr().unwrap(), from).unwrap();
    assert_eq!(text(&client), ("later".to_owned(), SocketAddr::new(asked[1], port)));
}

#[test]
fn ipv6_works_the_same_way() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let (server, port) = server("[::]:0");
    let client = client("[::1]:0");
    client.send_to(b"six", ("::1", port)).unwrap();
    let mut inbound = Inbound::new();
    assert_eq!(receive(&mut inbound, &server), 1);
    let query = inbound.get(0);
    assert_eq!((query.data, query.from), (&b"six"[..], client.local_addr().unwrap()));
    assert_eq!(query.to.addr, Some("::1".parse().unwrap()));
    let mut outbound = Outbound::new();
    queue(&mut outbound, b"reply", query.from, query.to);
    assert_eq!(outbound.send(server.as_fd()), Sent { sent: 1, failed: 0 });
    assert_eq!(
        text(&client),
        ("reply".to_owned(), SocketAddr::new([0, 0, 0, 0, 0, 0, 0, 1].into(), port))
    );
    send_one(server.as_fd(), b"one", query.from, query.to).unwrap();
    assert_eq!(text(&client).0, "one");
}

#[test]
fn more_than_a_batch_arrives_in_order() {
    let (server, port) = server("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    for i in 0..BATCH as u8 + 8 {
        client.send_to(&[i; 3], ("127.0.0.1", port)).unwrap();
    }
    let mut inbound = Inbound::new();
    let mut seen = Vec::new();
    while seen.len() < BATCH + 8 {
        let count = receive(&mut inbound, &server);
        assert!((1..=BATCH).contains(&count));
        seen.extend((0..count).map(|i| inbound.get(i).data.to_vec()));
    }
    let expected: Vec<_> = (0..BATCH as u8 + 8).map(|i| vec![i; 3]).collect();
    assert_eq!(seen, expected);
    let nothing = inbound.receive(server.as_fd()).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_long_datagram_is_cut_and_marked() {
    let (server, port) = server("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    let mut inbound = Inbound::new();
    for (size, kept, cut) in [(5000, 4096, true), (4096, 4096, false), (0, 0, false)] {
        client.send_to(&vec![7; size], ("127.0.0.1", port)).unwrap();
        assert_eq!(receive(&mut inbound, &server), 1);
        let query = inbound.get(0);
        assert_eq!((query.data.len(), query.truncated), (kept, cut), "{size} bytes");
    }
}

#[test]
#[should_panic(expected = "index out of bounds")]
fn a_datagram_of_an_earlier_batch_cannot_be_read() {
    let (server, port) = server("127.0.0.1:0");
    client("127.0.0.1:0").send_to(b"old", ("127.0.0.1", port)).unwrap();
    let mut inbound = Inbound::new();
    assert_eq!(receive(&mut inbound, &server), 1);
    inbound.receive(server.as_fd()).unwrap_err();
    inbound.get(0);
}

#[test]
fn a_reply_that_fails_does_not_stop_the_next() {
    let (server, _) = server("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    let good = client.local_addr().unwrap();
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let portless = "127.0.0.1:0".parse().unwrap();
    let other_family = "[::1]:53".parse().unwrap();
    let not_ours = Local { addr: Some("192.0.2.55".parse().unwrap()), interface: 0 };
    let mut outbound = Outbound::new();
    queue(&mut outbound, b"to a closed port", closed, Local::ANY);
    queue(&mut outbound, b"first", good, Local::ANY);
    queue(&mut outbound, b"to port 0", portless, Local::ANY);
    queue(&mut outbound, b"second", good, Local::ANY);
    queue(&mut outbound, b"from elsewhere", good, not_ours);
    queue(&mut outbound, b"to IPv6", other_family, Local::ANY);
    queue(&mut outbound, b"third", good, Local::ANY);
    assert_eq!(outbound.len(), 7);
    assert_eq!(outbound.send(server.as_fd()), Sent { sent: 4, failed: 3 });
    for data in ["first", "second", "third"] {
        assert_eq!(text(&client).0, data);
    }
    send_one(server.as_fd(), b"", portless, Local::ANY).unwrap_err();
}

#[test]
fn a_full_batch_is_sent_whole_and_can_be_filled_again() {
    let (server, _) = server("127.0.0.1:0");
    let client = client("127.0.0.1:0");
    let to = client.local_addr().unwrap();
    let mut outbound = Outbound::new();
    assert_eq!(outbound.send(server.as_fd()), Sent::default());
    for round in 0..2 {
        for i in 0..BATCH {
            assert!(!outbound.is_full());
            assert_eq!(outbound.buffer().len(), UDP_REPLY_MAX);
            queue(&mut outbound, format!("{round} {i}").as_bytes(), to, Local::ANY);
        }
        assert!(outbound.is_full());
        assert_eq!(outbound.send(server.as_fd()), Sent { sent: BATCH, failed: 0 });
        for i in 0..BATCH {
            assert_eq!(text(&client).0, format!("{round} {i}"));
        }
    }
}

#[test]
fn late_news_of_an_earlier_send_does_not_end_receiving() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(closed).unwrap();
    socket.send(b"refused").unwrap();
    // A connected socket is told of the refusal; ours are not connected and mostly are not.
    let nothing = Inbound::new().receive(socket.as_fd()).unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn stepping_over_errors_is_bounded_and_real_errors_pass() {
    let mut script = VecDeque::from([os_error(libc::ECONNREFUSED), os_error(libc::EINTR), Ok(3)]);
    assert_eq!(step_over_pending_errors(|| script.pop_front().unwrap()).unwrap(), 3);
    let mut calls = 0;
    let endless = step_over_pending_errors(|| {
        calls += 1;
        os_error(libc::ENETDOWN)
    });
    assert_eq!((endless.unwrap(), calls), (0, PENDING_ERRORS_MAX));
    let broken = step_over_pending_errors(|| os_error(libc::EBADF)).unwrap_err();
    assert_eq!(broken.raw_os_error(), Some(libc::EBADF));
}

/// Runs `send_all` over 6 messages with scripted kernel answers; also returns where each call
/// started and how often it waited.
fn scripted(answers: Vec<io::Result<usize>>, room: &[bool]) -> (Sent, Vec<usize>, usize) {
    let (mut answers, mut starts, mut waits) = (answers.into_iter(), Vec::new(), 0);
    let send = |at| {
        starts.push(at);
        answers.next().unwrap()
    };
    let writable = || {
        waits += 1;
        room[waits - 1]
    };
    let sent = send_all(6, send, writable);
    (sent, starts, waits)
}

#[test]
fn a_full_send_buffer_is_waited_for_and_then_given_up() {
    let full = || os_error(libc::EAGAIN);
    let (sent, starts, waits) = scripted(vec![Ok(2), full(), Ok(4)], &[true]);
    assert_eq!((sent, starts, waits), (Sent { sent: 6, failed: 0 }, vec![0, 2, 2], 1));

    let refused = os_error(libc::EPERM);
    let answers = vec![Ok(2), refused, full(), Ok(1), full()];
    let (sent, starts, waits) = scripted(answers, &[true, false]);
    assert_eq!((sent, starts, waits), (Sent { sent: 3, failed: 3 }, vec![0, 2, 3, 3, 4], 2));
}

#[test]
fn interruptions_repeat_and_failures_skip_one() {
    let answers = vec![os_error(libc::EINTR), Ok(1), os_error(libc::EMSGSIZE), Ok(0), Ok(99)];
    let (sent, starts, waits) = scripted(answers, &[]);
    assert_eq!((sent, starts, waits), (Sent { sent: 4, failed: 2 }, vec![0, 0, 1, 2, 3], 0));
}

#[test]
fn waiting_for_room_ends_at_once_if_there_is_some_or_no_time() {
    let (server, _) = server("127.0.0.1:0");
    assert!(wait_writable(server.as_fd(), Duration::from_secs(10)));
    assert!(!wait_writable(server.as_fd(), Duration::ZERO));

    // A stream whose peer reads nothing takes only so much.
    let (full, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    full.set_nonblocking(true).unwrap();
    while io::Write::write(&mut &full, &[0; 65536]).is_ok() {}
    assert!(!wait_writable(full.as_fd(), Duration::from_micros(1)));
}
