//! DNS over TCP: framing, pipelining, patience and its end.

use crate::harness::client::{Tcp, checked, framed};
use crate::harness::conf::Conf;
use crate::harness::process::loopback;
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::wire::{A, Message, Query, Record, TC, TXT};
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

#[test]
fn the_largest_answer_comes_before_the_opt_record() {
    let stage = Stage::new();
    // Octets that are left for an OPT of 11.
    for (spare, has_opt) in [(0, false), (10, false), (11, true)] {
        // Header 12, question 25, record 12 and its data.
        let data = vec![0xCD; 65_535 - 12 - 25 - 12 - spare];
        let name = format!("large{spare:02}.example.com");
        stage.backend.add(&[Record::new(&name, 300, 65_400, data.clone())]);
        stage.backend.set_for(&name, Script::changed(|m| m.edns = None));
        for fresh_or_cached in 0..2 {
            let query = Query::new(&name, 65_400);
            let mut tcp = stage.relay.connect();
            tcp.send(&query.bytes());
            let bytes = tcp.receive(PATIENCE).expect("an answer");
            let what = format!("{spare} octets to spare ({fresh_or_cached})");
            let expected = 65_535 - spare + if has_opt { 11 } else { 0 };
            assert_eq!(bytes.len(), expected, "{what}");
            let reply = checked(&query, &bytes);
            assert_eq!(reply.answers[0].rdata, data, "{what}");
            assert!(!reply.has(TC), "{what}");
            assert_eq!(reply.edns.is_some(), has_opt, "{what}");
        }
    }
}

#[test]
fn blocked_names_behind_many_silent_ones_are_answered_in_the_end() {
    let stage = Stage::with(|conf| conf.policy("block.local", "*.bad.example.com CNAME ."));
    stage.backend.set(Script::Hang);
    let silent = (0..200).map(|n| format!("n{n}.example.com"));
    let blocked = (0..100).map(|n| format!("n{n}.bad.example.com"));
    let queries: Vec<_> =
        silent.chain(blocked).zip(1..).map(|(name, id)| Query::new(&name, A).id(id)).collect();
    let segment: Vec<u8> = queries.iter().flat_map(|q| framed(&q.bytes())).collect();
    let mut tcp = stage.relay.connect();
    tcp.send_raw(&segment);
    // What is not read yet is nobody's: it is not counted as received either.
    let mut books = (0, 0, 0);
    eventually("as many wait as one connection may have under way", secs(3), || {
        let queries = stage.relay.status()["queries"].clone();
        let part = |key: &str| queries[key].as_u64().expect("a number");
        let ended = ["answered", "dropped_by_policy", "refused", "malformed"];
        books = (part("received"), ended.map(part).iter().sum(), part("in_flight"));
        assert_eq!(books.0, books.1 + books.2, "received, ended, in flight: {queries:#}");
        books.2 == 128
    });
    assert_eq!(books, (128, 0, 128), "received, ended, in flight");
    let mut waiting: Vec<_> = queries.iter().collect();
    while !waiting.is_empty() {
        let bytes = tcp.receive(PATIENCE).expect("an answer to each question");
        let id = u16::from_be_bytes([bytes[0], bytes[1]]);
        let place = waiting.iter().position(|q| q.id == id).expect("an answer to one of ours");
        let reply = checked(waiting.remove(place), &bytes);
        let expected = if id <= 200 { "SERVFAIL" } else { "NXDOMAIN" };
        assert_eq!(reply.rcode(), expected, "{reply:?}");
    }
    stage.relay.assert_books_balance();
    assert_eq!(stage.relay.count("/queries/received"), 300);
}

#[test]
fn strangers_cannot_keep_a_client_out() {
    let stage = Stage::with(|conf| {
        let patient = "tcp_idle = \"60s\"\ntcp_receive = \"60s\"";
        let few = "tcp_connections = 32\ntcp_per_client = 32";
        let conf = conf.server(patient).server(few);
        Conf { allow: vec!["127.0.0.1/32".into()], ..conf }
    });
    let mut strangers: Vec<_> =
        (10..50).map(|last| Tcp::from(loopback(last), stage.relay.address)).collect();
    // 32 / 16 + 1 places for all strangers together.
    eventually("all strangers but three are closed", secs(10), || {
        strangers.iter_mut().map(|tcp| usize::from(tcp.is_closed())).sum::<usize>() == 37
    });
    let mut clients = Vec::new();
    for name in names(32) {
        let mut client = Tcp::from(loopback(1), stage.relay.address);
        assert_right(&client.ask(&Query::new(&name, A)), &name);
        clients.push(client);
    }
    assert_eq!(stage.relay.count("/tcp_connections"), 32 + 3);
    let query = Query::new("www.example.com", A);
    let refused: Vec<_> = strangers
        .iter_mut()
        .filter_map(|tcp| {
            tcp.send(&query.bytes());
            Some(checked(&query, &tcp.receive(secs(2))?).rcode())
        })
        .collect();
    assert_eq!(refused, ["REFUSED"; 3], "those three may ask, and are told");
    eventually("one refusal, and goodbye", secs(5), || stage.relay.count("/tcp_connections") == 32);
}
