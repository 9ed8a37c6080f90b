//! Restarts: what comes while one process ends and the next begins waits in the sockets.

use crate::harness::backend::Backend;
use crate::harness::client::{Tcp, Udp, checked, framed};
use crate::harness::conf::Conf;
use crate::harness::flood::Flood;
use crate::harness::pid_one::PidOne;
use crate::harness::process::{LOCAL, free_port, loopback};
use crate::harness::script::Script;
use crate::harness::stage::assert_right;
use crate::harness::tls::Tls;
use crate::harness::wire::{A, Message, Query};
use crate::harness::{PATIENCE, eventually, millis};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

/// A backend, and a configuration before it that listens at these addresses.
fn before_a_backend(listen: &[SocketAddr], workers: usize) -> (Tls, Backend, Conf) {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).server(&format!("workers = {workers}"));
    let listen_at = listen.iter().map(SocketAddr::to_string).collect();
    (tls, backend, Conf { address: listen[0], listen: listen_at, ..conf })
}

/// Clients that ask over a TCP connection each time, one after the other.
struct Callers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<(usize, usize)>>,
}

impl Callers {
    const COUNT: usize = 4;

    fn start(server: SocketAddr) -> Callers {
        let stop = Arc::new(AtomicBool::new(false));
        let caller = |number| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let (mut asked, mut lost) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let name = format!("t{asked}.caller{number}.example.com");
                    asked += 1;
                    lost += usize::from(call(server, &name).is_none());
                    std::thread::sleep(millis(20));
                }
                (asked, lost)
            })
        };
        let threads = (0..Callers::COUNT).map(caller).collect();
        Callers { stop, threads }
    }

    /// How many questions there were, and how many got no answer.
    fn finish(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.threads.into_iter().map(|thread| thread.join().expect("it ends"));
        counts.fold((0, 0), |(asked, lost), (a, l)| (asked + a, lost + l))
    }
}

fn call(server: SocketAddr, name: &str) -> Option<Message> {
    let query = Query::new(name, A);
    let mut stream = Tcp::to(server);
    stream.send(&query.bytes());
    let reply = checked(&query, &stream.receive(PATIENCE)?);
    assert_right(&reply, name);
    Some(reply)
}

#[test]
fn a_restart_under_load_loses_no_query() {
    let address = free_port(LOCAL);
    let (_tls, _backend, conf) = before_a_backend(&[address], 2);
    let mut manager = PidOne::of(conf);
    assert_eq!(manager.ask("start")["passed"], 0);
    let names = manager.names();
    let stem = |kind| format!("culvert.{kind}.127.0.0.1_{}", address.port());
    let expected: Vec<String> =
        ["tcp", "udp"].iter().flat_map(|k| [0, 1].map(|n| format!("{}.{n}", stem(k)))).collect();
    assert_eq!(names, expected);

    let (load, callers) =
        (Flood::of(address, 400, "load.example.com").start(), Callers::start(address));
    load.until_answered(100);
    for _ in 0..3 {
        let restarted = manager.ask("restart TERM");
        assert_eq!(restarted["passed"], 4, "{restarted}");
        load.until_more(100);
    }
    load.finish().assert_all_right();
    let (asked, lost) = callers.finish();
    assert!(asked > 20 && lost == 0, "{lost} of {asked} lost over TCP:\n{}", manager.log());
    assert_eq!(manager.names(), expected, "the same sockets all the time");
    let listener = manager.listener(address);
    assert_eq!(listener["taken_over"], 4);
    assert!(listener["receive_buffer"].as_u64() > Some(100_000), "{listener}");
    assert!(manager.culvert(&["status"]).contains("listening, buffer "));
}

#[test]
fn a_kill_loses_at_most_what_was_being_answered() {
    let address = free_port(LOCAL);
    let (_tls, _backend, conf) = before_a_backend(&[address], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    let (load, callers) =
        (Flood::of(address, 400, "load.example.com").start(), Callers::start(address));
    load.until_answered(200);
    manager.ask("signal KILL");
    // without the store, 200 queries and more would be gone
    std::thread::sleep(millis(500));
    assert_eq!(manager.ask("start")["passed"], 4);
    load.until_more(200);
    let report = load.finish();
    assert_eq!(report.wrong, [""; 0]);
    assert!(report.lost.len() < 60, "{} of {} lost", report.lost.len(), report.sent);
    let (asked, lost) = callers.finish();
    assert!(asked > 20 && lost <= Callers::COUNT, "{lost} of {asked} lost over TCP");
}

#[test]
fn an_address_that_is_dropped_over_a_restart_answers_what_waits_there_and_is_closed() {
    let [stays, goes] = [free_port(loopback(2)), free_port(loopback(3))];
    let (_tls, _backend, conf) = before_a_backend(&[stays, goes], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    assert_eq!(manager.names().len(), 8);
    manager.ask("signal TERM");

    let query = |n: u16| Query::new(&format!("waits{n}.example.com"), A).id(n);
    let clients: Vec<Udp> = (0..20).map(|_| Udp::to(goes)).collect();
    for (n, client) in (0u16..).zip(&clients) {
        client.send(&query(n).bytes());
    }
    let mut callers: Vec<Tcp> = (0..6).map(|_| Tcp::to(goes)).collect();
    // half of them ask only when the next process is there
    for caller in &mut callers[..3] {
        caller.send(&query(77).bytes());
    }
    manager.conf.listen = vec![stays.to_string()];
    manager.conf.save();
    assert_eq!(manager.ask("start")["passed"], 8);
    for caller in &mut callers[3..] {
        caller.send(&query(77).bytes());
    }
    for (n, client) in (0u16..).zip(&clients) {
        let bytes = client.receive(PATIENCE).unwrap_or_else(|| panic!("no answer to query {n}"));
        assert_right(&checked(&query(n), &bytes), &format!("waits{n}.example.com"));
    }
    for caller in &mut callers {
        assert_right(&caller.answer_to(&query(77)), "waits77.example.com");
    }
    let names = manager.names();
    assert!(names.len() == 4 && names.iter().all(|n| n.contains("127.0.0.2_")), "{names:?}");
    eventually("nobody holds the address any more", PATIENCE, || UdpSocket::bind(goes).is_ok());
    assert!(call(stays, "stays.example.com").is_some());
}

#[test]
fn another_number_of_workers_leaves_no_socket_unread() {
    let address = free_port(LOCAL);
    let (_tls, _backend, mut conf) = before_a_backend(&[address], 4);
    conf.server = "workers = 4\n".into();
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    let load = |suffix: &str| Flood::of(address, 200, suffix).start();
    // eight clients each: some of them belong to a socket that goes
    let loads = ["a", "b", "c"].map(|n| load(&format!("{n}.example.com")));
    let callers = Callers::start(address);
    loads.iter().for_each(|load| load.until_answered(50));
    for (workers, passed) in [(1, 8), (3, 2), (2, 6)] {
        manager.conf.server = format!("workers = {workers}\n");
        manager.conf.save();
        assert_eq!(manager.ask("restart TERM")["passed"], passed);
        assert_eq!(manager.names().len(), 2 * workers, "{:?}", manager.names());
        loads.iter().for_each(|load| load.until_more(100));
    }
    for load in loads {
        load.finish().assert_all_right();
    }
    let (asked, lost) = callers.finish();
    assert!(asked > 20 && lost == 0, "{lost} of {asked} lost over TCP:\n{}", manager.log());
}

#[test]
fn an_address_dropped_by_a_reload_leaves_the_store_and_may_come_back() {
    let [stays, comes] = [free_port(loopback(2)), free_port(loopback(3))];
    let (_tls, _backend, conf) = before_a_backend(&[stays, comes], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    for _ in 0..3 {
        manager.conf.listen = vec![stays.to_string()];
        manager.conf.save();
        manager.culvert(&["reload"]);
        let names = manager.names();
        assert!(names.len() == 4 && names.iter().all(|n| n.contains("127.0.0.2_")), "{names:?}");
        manager.conf.listen = vec![stays.to_string(), comes.to_string()];
        manager.conf.save();
        manager.culvert(&["reload"]);
        assert_eq!(manager.names().len(), 8);
        assert!(call(comes, "back.example.com").is_some());
    }
}

#[test]
fn sockets_of_a_unit_are_served_by_all_workers_and_stay_its_own() {
    let address = free_port(LOCAL);
    let (_tls, _backend, conf) = before_a_backend(&[address], 3);
    let mut manager = PidOne::of(conf);
    manager.socket("udp", address, "");
    manager.socket("tcp", address, "");
    let started = manager.ask("start");
    assert_eq!(manager.listener(address)["taken_over"], 2);
    let sockets = std::fs::read_dir(format!("/proc/{}/fd", started["pid"])).expect("it runs");
    let sockets = sockets.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    let sockets: Vec<_> = sockets.filter(|s| s.to_string_lossy().starts_with("socket:")).collect();
    // of each one for every worker, and the one that was passed
    let copies = sockets.iter().filter(|s| sockets.iter().filter(|t| t == s).count() == 4).count();
    assert_eq!(copies, 8, "{sockets:?}");

    let (load, callers) =
        (Flood::of(address, 400, "load.example.com").start(), Callers::start(address));
    load.until_answered(100);
    manager.ask("restart TERM");
    load.until_more(200);
    load.finish().assert_all_right();
    let (asked, lost) = callers.finish();
    assert!(asked > 20 && lost == 0, "{lost} of {asked} lost over TCP:\n{}", manager.log());
    assert_eq!(manager.names(), [""; 0], "what the unit has needs no store");
}

#[test]
fn what_cannot_be_served_is_told() {
    let [address, elsewhere] = [free_port(LOCAL), free_port(loopback(4))];
    let (_tls, _backend, conf) = before_a_backend(&[address], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("file odd");
    manager.socket("udp", elsewhere, "reuse");
    manager.ask("start");
    let odd = "the descriptor \"odd\" that was passed to us is ignored: not a socket";
    let unread = format!("UDP socket \"dns.socket\" at {elsewhere}, which server.listen does not");
    let told = |manager: &PidOne, text: &str| manager.log().matches(text).count();
    let both = || told(&manager, odd) == 1 && told(&manager, &unread) == 1;
    eventually("both are told", PATIENCE, both);
    assert!(manager.listener(elsewhere)["udp"].to_string().contains("nobody reads it"));
    assert!(call(address, "www.example.com").is_some());
    Udp::to(elsewhere).expect_silence(&Query::new("www.example.com", A).bytes());

    manager.conf.listen.push(elsewhere.to_string());
    manager.conf.save();
    manager.culvert(&["reload"]);
    assert_right(&Udp::to(elsewhere).ask(&Query::new("w.example.com", A)), "w.example.com");
    manager.conf.listen.pop();
    manager.conf.save();
    manager.culvert(&["reload"]);
    eventually("it is told again", PATIENCE, || told(&manager, &unread) == 2);
}

#[test]
fn the_store_lets_go_of_what_nobody_can_serve() {
    let address = free_port(LOCAL);
    let (_tls, _backend, conf) = before_a_backend(&[address], 1);
    let mut manager = PidOne::of(conf);
    let spoilt = format!("culvert.udp.127.0.0.1_{}.7", address.port());
    manager.ask(&format!("file {spoilt}"));
    assert_eq!(manager.ask("start")["passed"], 1);
    let names = manager.names();
    assert!(names.len() == 2 && !names.contains(&spoilt), "{names:?}");
    assert!(call(address, "www.example.com").is_some());
}

#[test]
fn a_query_that_is_arriving_at_the_stop_is_read_and_answered() {
    let address = free_port(LOCAL);
    let (_tls, _backend, conf) = before_a_backend(&[address], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    let query = Query::new("half.example.com", A);
    let bytes = framed(&query.bytes());
    let mut early: Vec<Tcp> = (0..4).map(|_| Tcp::to(address)).collect();
    // one has asked before, two have begun, one has said nothing yet
    assert_right(&early[0].ask(&query), "half.example.com");
    for caller in &mut early[..3] {
        caller.send_raw(&bytes[..7]);
    }
    let open = |manager: &PidOne| manager.culvert(&["status", "--json"]);
    let accepted = || open(&manager).contains("\"tcp_connections\":4");
    eventually("all are accepted", PATIENCE, accepted);
    manager.tell("signal TERM");
    for caller in &mut early[..3] {
        caller.send_raw(&bytes[7..]);
    }
    early[3].send_raw(&bytes);
    for caller in &mut early {
        assert_right(&caller.answer_to(&query), "half.example.com");
    }
    let ended = manager.outcome();
    assert!(ended["end"].as_f64() < Some(2.0), "{ended}");
}

#[test]
fn an_upstream_that_hangs_does_not_hold_up_the_next_process() {
    let address = free_port(LOCAL);
    let (_tls, backend, conf) = before_a_backend(&[address], 2);
    let mut manager = PidOne::of(conf);
    manager.ask("start");
    backend.set(Script::Hang);
    let query = Query::new("hangs.example.com", A);
    let client = Udp::to(address);
    client.send(&query.bytes());
    eventually("the backend is asked", PATIENCE, || backend.asked("hangs.example.com") > 0);

    let told = Instant::now();
    manager.ask("signal TERM");
    let took = told.elapsed();
    // whoever waits would be told after four seconds; in that time the sockets fill up
    assert!(took < millis(2500), "the process went on for {took:?}");
    let reply = checked(&query, &client.receive(PATIENCE).expect("an answer at the end"));
    assert_eq!((reply.rcode(), reply.extended_errors()), ("SERVFAIL", vec![23]), "{reply:?}");
}
