//! DNS over TCP: framing, pipelining, patience and its end.

use crate::harness::client::{Tcp, checked, framed};
use crate::harness::process::loopback;
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, Message, Query, Record, TXT};
use crate::harness::{PATIENCE, eventually, millis, secs};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("n{n}.example.com")).collect()
}

#[test]
fn a_slow_name_does_not_hold_up_a_cached_one_behind_it() {
    let stage = Stage::new();
    assert_right(&stage.relay.ask("fast.example.com", A), "fast.example.com");
    stage.backend.set_for("slow.example.com", Script::Delay(millis(700)));
    let (slow, fast) = (Query::new("slow.example.com", A), Query::new("fast.example.com", A));
    let mut tcp = stage.relay.connect();
    tcp.send(&slow.bytes());
    tcp.send(&fast.bytes());
    assert_right(&tcp.answer_to(&fast), "fast.example.com");
    assert_right(&tcp.answer_to(&slow), "slow.example.com");
}

#[test]
fn pipelined_questions_are_all_answered_in_whatever_order() {
    let stage = Stage::new();
    stage.backend.set(Script::Every(3, Box::new(Script::Delay(millis(100)))));
    let queries: Vec<_> = names(100).iter().map(|n| Query::new(n, A)).collect();
    let mut tcp = stage.relay.connect();
    let segment: Vec<u8> = queries.iter().flat_map(|q| framed(&q.bytes())).collect();
    tcp.send_raw(&segment);
    let mut waiting: Vec<_> = queries.iter().collect();
    for _ in 0..queries.len() {
        let bytes = tcp.receive(PATIENCE).expect("an answer to each question");
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        let place = waiting.iter().position(|q| q.id == id).expect("an answer to one of ours");
        let query = waiting.remove(place);
        let reply = checked(query, &bytes);
        let (name, ..) = reply.question.clone().expect("a question");
        assert_right(&reply, &name);
    }
}

#[test]
fn a_message_may_come_byte_by_byte() {
    let stage = Stage::new();
    let mut tcp = stage.relay.connect();
    let query = Query::new("bytes.example.com", A);
    for byte in framed(&query.bytes()) {
        tcp.send_raw(&[byte]);
    }
    assert_right(&tcp.answer_to(&query), "bytes.example.com");
}

#[test]
fn half_a_close_still_gets_every_answer() {
    let stage = Stage::new();
    stage.backend.set(Script::Delay(millis(200)));
    let mut tcp = stage.relay.connect();
    for name in names(5) {
        tcp.send(&Query::new(&name, A).bytes());
    }
    tcp.half_close();
    let mut seen: Vec<String> = Vec::new();
    while let Some(bytes) = tcp.receive(PATIENCE) {
        let reply = Message::read(&bytes).expect("a well-formed answer");
        let (name, ..) = reply.question.clone().expect("a question");
        assert_right(&reply, &name);
        seen.push(name);
    }
    seen.sort();
    assert_eq!(seen, names(5));
    tcp.expect_close(secs(2));
}

#[test]
fn wrong_lengths_close_the_connection_or_get_formerr() {
    let stage = Stage::with(|conf| conf.server("tcp_receive = \"1s\""));
    for bytes in [&[0, 0][..], &[0, 5, 1, 2, 3, 4, 5], &[0xFF, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8]] {
        let mut tcp = stage.relay.connect();
        tcp.send_raw(bytes);
        if let Some(reply) = tcp.receive(millis(300)) {
            assert_eq!(reply[3] & 15, 1, "FORMERR for {bytes:02x?}");
        } else {
            let start = std::time::Instant::now();
            while !tcp.is_closed() {
                assert!(start.elapsed() < secs(4), "still open after {bytes:02x?}");
            }
        }
    }
    assert_right(&stage.relay.tcp(&Query::new("www.example.com", A)), "www.example.com");
}

#[test]
fn a_query_that_never_ends_is_given_up() {
    let stage = Stage::with(|conf| conf.server("tcp_receive = \"1s\"\ntcp_idle = \"30s\""));
    let mut tcp = stage.relay.connect();
    let bytes = framed(&Query::new("www.example.com", A).bytes());
    tcp.send_raw(&bytes[..10]);
    tcp.expect_close(secs(4));
}

#[test]
fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let stage = Stage::with(|conf| conf.server("tcp_idle = \"1s\""));
    let mut idle = stage.relay.connect();
    let mut busy = stage.relay.connect();
    stage.backend.set_for("late.example.com", Script::Delay(millis(1500)));
    let late = Query::new("late.example.com", A);
    busy.send(&late.bytes());
    idle.expect_close(secs(4));
    assert_right(&busy.answer_to(&late), "late.example.com");
    busy.expect_close(secs(4));
}

#[test]
fn one_client_cannot_take_all_connections() {
    let stage = Stage::with(|conf| conf.server("tcp_per_client = 5\ntcp_connections = 20"));
    let mut greedy: Vec<_> = (0..8).map(|_| Tcp::from(loopback(7), stage.relay.address)).collect();
    eventually("three of eight are closed", secs(3), || {
        greedy.iter_mut().map(|tcp| usize::from(tcp.is_closed())).sum::<usize>() == 3
    });
    let mut other = Tcp::from(loopback(8), stage.relay.address);
    assert_right(&other.ask(&Query::new("www.example.com", A)), "www.example.com");
}

#[test]
fn a_connection_ends_cleanly_after_its_share_of_queries() {
    let stage = Stage::with(|conf| conf.server("tcp_queries = 10"));
    let mut tcp = stage.relay.connect();
    for name in names(10) {
        assert_right(&tcp.ask(&Query::new(&name, A)), &name);
    }
    tcp.expect_close(secs(4));
}

#[test]
fn a_client_that_does_not_read_is_closed_and_others_are_served() {
    let stage = Stage::new();
    let record = |n| Record::txt("big.example.com", 300, &format!("record {n:030}"));
    stage.backend.add(&(0..1000).map(record).collect::<Vec<_>>());
    let query = Query::new("big.example.com", TXT);
    assert_eq!(stage.relay.tcp(&query).answers.len(), 1000);
    let mut lazy = stage.relay.connect();
    // 500 answers of 50,000 octets: far more than the sockets' buffers hold.
    lazy.stream.set_nonblocking(true).expect("a socket can be non-blocking");
    lazy.send_raw(&framed(&query.bytes()).repeat(500));
    for name in names(20) {
        assert_right(&stage.relay.tcp(&Query::new(&name, A)), &name);
    }
    let memory = stage.relay.process.memory();
    assert!(memory < 200 << 20, "500 answers are not kept for it: {memory} octets");
    eventually("the relay gives the connection up", secs(15), || {
        stage.relay.count("/tcp_connections") == 0
    });
}

#[test]
fn the_largest_answer_arrives_whole() {
    let stage = Stage::new();
    // Header 12, question 23, record 12 and its data, OPT 11: 65,535 in all.
    let data = vec![0xAB; 65_535 - 12 - 23 - 12 - 11];
    stage.backend.add(&[Record::new("large.example.com", 300, 65_400, data.clone())]);
    let query = Query::new("large.example.com", 65_400);
    let mut tcp = stage.relay.connect();
    tcp.send(&query.bytes());
    let bytes = tcp.receive(PATIENCE).expect("an answer");
    assert_eq!(bytes.len(), 65_535);
    assert_eq!(checked(&query, &bytes).answers[0].rdata, data);
}

#[test]
fn resets_leave_no_trace() {
    let stage = Stage::new();
    stage.backend.set_for("slow.example.com", Script::Delay(millis(100)));
    let before = stage.relay.process.open_files();
    for _ in 0..200 {
        // Another address than the last client's: the limit per client is not the point here.
        let mut tcp = Tcp::from(loopback(7), stage.relay.address);
        tcp.send(&Query::new("slow.example.com", A).bytes());
        let socket = socket2::SockRef::from(&tcp.stream);
        socket.set_linger(Some(secs(0))).expect("a linger time can be set");
    }
    eventually("all descriptors are back", secs(10), || {
        let open = stage.relay.count("/tcp_connections");
        open == 0 && stage.relay.process.open_files() <= before + 4
    });
    assert_right(&stage.relay.tcp(&Query::new("www.example.com", A)), "www.example.com");
}

#[test]
fn ten_thousand_questions_on_one_connection_and_then_the_end() {
    let stage = Stage::new();
    let query = Query::new("www.example.com", A);
    assert_right(&stage.relay.udp(&query), "www.example.com");
    let before = stage.relay.process.memory();
    let mut tcp = stage.relay.connect();
    let mut sender = Tcp { stream: tcp.stream.try_clone().expect("a second handle") };
    let bytes = framed(&query.bytes()).repeat(100);
    let sending = std::thread::spawn(move || (0..105).for_each(|_| sender.send_raw(&bytes)));
    let mut answers = 0;
    while let Some(bytes) = tcp.receive(PATIENCE) {
        assert_eq!(bytes[..2], query.id.to_be_bytes());
        answers += 1;
    }
    sending.join().expect("the sender ends");
    assert_eq!(answers, 10_000, "server.tcp_queries");
    let grown = stage.relay.process.memory().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} octets more");
}
