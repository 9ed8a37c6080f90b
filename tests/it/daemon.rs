//! The daemon as a service manager and an operator meet it: start, stop, words and exit codes.

use crate::harness::backend::{Backend, PATH};
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, free_port, run};
use crate::harness::relay::{PROGRAM, Relay};
use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, Query};
use crate::harness::{eventually, millis, secs};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};

/// Runs `culvert ARGS --config FILE` without a daemon.
fn culvert(conf: &Conf, args: &[&str]) -> (bool, String) {
    conf.save();
    let mut command = Command::new(PROGRAM);
    command.args(args).arg("--config").arg(conf.file());
    let Output { status, stdout, stderr } = run(&mut command, secs(15));
    (status.success(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// A relay with a query under way at a backend that takes its time.
fn with_a_query_under_way(script: Script) -> (Stage, crate::harness::client::Udp, Query) {
    let stage = Stage::doing(script);
    let (client, query) = (stage.relay.client(), Query::new("www.example.com", A));
    client.send(&query.bytes());
    eventually("the query is under way", secs(5), || stage.backend.asked("www.example.com") > 0);
    (stage, client, query)
}

#[test]
fn the_service_manager_is_told_of_every_step() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let mut relay: Relay = Conf::before(&tls, &[&backend]).launch(&[("WATCHDOG_USEC", "600000")]);
    let ready = relay.notified("READY=1", secs(20));
    assert!(ready.is_some(), "READY=1 comes:\n{}", relay.stderr());
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
    for _ in 0..3 {
        assert!(relay.notified("WATCHDOG=1", secs(5)).is_some(), "the watchdog is fed");
    }
    relay.process.signal("HUP");
    let reloading = relay.notified("RELOADING=1", secs(5)).expect("RELOADING=1 comes");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading:?}");
    assert!(relay.notified("READY=1", secs(5)).is_some(), "READY=1 comes after the reload");
    relay.process.signal("TERM");
    assert!(relay.notified("STOPPING=1", secs(5)).is_some(), "STOPPING=1 comes");
    let status = relay.process.wait(secs(8));
    assert_eq!(status.code(), Some(0), "{}", relay.stderr());
}

#[test]
fn ready_means_that_the_first_answer_is_right() {
    for _ in 0..3 {
        let stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
        assert_eq!(stage.relay.ask("bad.example.com", A).rcode(), "NXDOMAIN");
    }
}

#[test]
fn sigterm_answers_what_is_under_way() {
    let (mut stage, client, query) = with_a_query_under_way(Script::Delay(millis(900)));
    stage.relay.process.signal("TERM");
    let bytes = client.receive(secs(5)).expect("the query is answered");
    assert_right(&crate::harness::client::checked(&query, &bytes), "www.example.com");
    assert_eq!(stage.relay.process.wait(secs(8)).code(), Some(0));
}

#[test]
fn sigterm_does_not_wait_for_ever_and_a_second_signal_not_at_all() {
    let (mut stage, ..) = with_a_query_under_way(Script::Hang);
    stage.relay.process.signal("TERM");
    stage.relay.process.wait(secs(8));

    let (mut stage, ..) = with_a_query_under_way(Script::Hang);
    stage.relay.process.signal("TERM");
    assert!(stage.relay.notified("STOPPING=1", secs(5)).is_some());
    stage.relay.process.signal("TERM");
    stage.relay.process.wait(millis(1500));
}

#[test]
fn a_stop_loses_no_line_of_the_hit_log() {
    let mut stage = Stage::with(|conf| conf.policy("block.local", "*.example.com CNAME ."));
    for n in 0..200 {
        stage.relay.ask(&format!("n{n}.example.com"), A);
    }
    stage.relay.process.signal("TERM");
    assert_eq!(stage.relay.process.wait(secs(8)).code(), Some(0));
    assert_eq!(stage.relay.hit_lines().len(), 200);
}

#[test]
fn a_bad_configuration_is_refused_alike_by_check_and_start() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let good = || Conf::before(&tls, &[&backend]);
    let with = |section: &str, lines: &str| good().with(&format!("[[{section}]]\n{lines}"));
    let own = good();
    let itself = own.address;
    let rows = [
        (good().server("listn = [\"127.0.0.1:53\"]"), "listen", "the nearest known key"),
        (
            with("upstream", "url = \"http://doh.test/\"\naddresses = [\"127.0.0.1\"]"),
            "https",
            "no plain HTTP",
        ),
        (good().server("udp_payload = 70000"), "udp_payload", "the range"),
        (
            with("route", "zones = [\"a.example\"]\nupstream = \"nobody\""),
            "nobody",
            "an unknown upstream",
        ),
        (with("policy", "zone = \"a..b\"\nfile = \"x\""), "zone", "a bad name"),
        (good().with("a = = b"), "culvert.toml:", "no TOML"),
        (Conf::new(), "upstream", "no upstream"),
        (own.plain("me", &[itself]), "own listener", "a loop"),
        (Conf { allow: vec!["any".into()], ..good() }, "allow_any", "an open resolver"),
    ];
    for (conf, word, what) in rows {
        let (checked, said) = culvert(&conf, &["check"]);
        assert!(!checked, "{what} is refused by check: {said}");
        assert!(said.contains(word), "{what}: {said}");
        let (ran, told) = culvert(&conf, &["run"]);
        assert!(!ran, "{what} is refused by run: {told}");
        assert!(told.contains(word), "{what}: {told}");
    }
    let two = good().server("listn = []").with("[[policyy]]");
    let (_, said) = culvert(&two, &["check"]);
    assert!(said.contains("listn") && said.contains("policyy"), "all faults in one go: {said}");
    assert_eq!(said.matches("culvert.toml:").count(), 2, "each with file and line: {said}");
    assert_eq!(backend.seen().accepted, 0);
}

#[test]
fn check_leaves_no_trace() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).policy("block.local", "bad.example.com CNAME .");
    conf.save();
    let names = || {
        let mut all = Vec::new();
        for folder in [conf.folder().to_path_buf(), conf.folder().join("state")] {
            let entries = std::fs::read_dir(folder).expect("the folder is there");
            all.extend(entries.map(|e| e.expect("an entry").path()));
        }
        all.sort();
        all
    };
    let before = names();
    let (checked, said) = culvert(&conf, &["check"]);
    assert!(checked, "{said}");
    assert_eq!(names(), before);
    assert_eq!(backend.seen().accepted, 0, "nobody is asked");
}

#[test]
fn check_names_a_bad_line_of_a_zone() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]).policy("block.local", "x TXT ( \"never closed\"");
    let (checked, said) = culvert(&conf, &["check"]);
    assert!(!checked, "{said}");
    assert!(said.contains("block.local.rpz:"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_told_in_one_line() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]);
    let _holder = std::net::UdpSocket::bind(conf.address).expect("the port is free");
    let address = conf.address.to_string();
    let (ran, said) = culvert(&conf, &["run"]);
    assert!(!ran, "{said}");
    let errors = said.lines().filter(|l| l.contains("ERROR") && l.contains(&address));
    assert_eq!(errors.count(), 1, "{said}");
}

#[test]
fn the_control_socket_is_private_and_commands_without_a_daemon_say_so() {
    let stage = Stage::new();
    let path = stage.relay.conf.folder().join("control.sock");
    let metadata = std::fs::symlink_metadata(&path).expect("the control socket is there");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o007, 0, "nothing for others");
    let conf = Conf::before(&stage.tls, &[&stage.backend]);
    for args in [&["status"][..], &["reload"], &["cache", "flush", "x.example.com"]] {
        let (done, said) = culvert(&conf, args);
        assert!(!done && said.contains("control.sock"), "{args:?}: {said}");
    }
}

#[test]
fn a_killed_daemon_starts_again_at_once() {
    let mut stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    stage.relay.process.signal("KILL");
    stage.relay.process.wait(secs(5));
    // The stale control socket is no obstacle.
    std::fs::remove_file(stage.relay.conf.folder().join("notify.sock")).expect("the test's own");
    let Relay { conf, .. } = stage.relay;
    let relay = conf.start();
    assert_eq!(relay.ask("bad.example.com", A).rcode(), "NXDOMAIN");
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
    assert_eq!(relay.status()["zones"][0]["rules"], 1);
}

#[test]
fn probe_says_which_backend_is_well() {
    let tls = Tls::new();
    let (good, bad) = (Backend::start(&tls), Backend::start(&tls));
    let relay = Conf::before(&tls, &[&good, &bad]).start();
    let (first, second) = (good.address.to_string(), bad.address.to_string());
    let said = relay.tell(&["probe"]);
    assert!(said.contains(&first) && said.contains(&second), "{said}");
    bad.set(Script::status(404));
    let output = relay.command(&["probe"]);
    assert!(output.status.success(), "one that answers is enough");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let (well, ill) = said.split_once(&second).expect("both are named");
    assert!(!well.contains("404") && ill.contains("404"), "{said}");
    assert!(!said.contains(PATH), "the path is secret: {said}");
    good.set(Script::status(404));
    assert_eq!(relay.command(&["probe"]).status.code(), Some(1), "none answers");
}

#[test]
fn the_query_log_is_switched_on_and_off() {
    let mut stage = Stage::new();
    stage.relay.ask("quiet.example.com", A);
    stage.relay.tell(&["log", "queries", "on"]);
    stage.relay.ask("logged.example.com", A);
    eventually("the query is logged", secs(5), || {
        stage.relay.hit_lines().iter().any(|l| l.contains("logged.example.com"))
    });
    stage.relay.tell(&["log", "queries", "off"]);
    stage.relay.ask("silent.example.com", A);
    stage.relay.process.signal("TERM");
    assert_eq!(stage.relay.process.wait(secs(8)).code(), Some(0), "all lines are written");
    let lines = stage.relay.hit_lines().join("\n");
    assert!(
        !lines.contains("quiet.example.com") && !lines.contains("silent.example.com"),
        "{lines}"
    );
}

#[test]
fn a_taken_status_port_does_not_stop_dns() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let conf = Conf::before(&tls, &[&backend]);
    let _holder = std::net::TcpListener::bind(conf.status).expect("the port is free");
    let mut relay = conf.launch(&[]);
    // Either it serves, or it says plainly why it does not start.
    let ready = relay.notified("READY=1", secs(5)).is_some();
    if ready {
        assert_right(&relay.ask("www.example.com", A), "www.example.com");
    } else {
        assert_ne!(relay.process.wait(secs(5)).code(), Some(0));
    }
    assert!(relay.stderr().contains(&relay.conf.status.to_string()), "{}", relay.stderr());
}

#[test]
fn a_second_daemon_on_the_same_files_does_not_start() {
    let stage = Stage::new();
    let text = stage.relay.conf.text();
    let other = stage.relay.conf.folder().join("other.toml");
    let (port, status) = (free_port(LOCAL).to_string(), free_port(LOCAL).to_string());
    let text = text.replace(&stage.relay.address.to_string(), &port);
    std::fs::write(&other, text.replace(&stage.relay.conf.status.to_string(), &status))
        .expect("a file is written");
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(&other);
    let output = run(&mut command, secs(15));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("control.sock"), "{said}");
    assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
    assert!(stage.relay.status().is_object(), "the first one's control socket still works");
}

#[test]
fn nonsense_on_the_control_socket_is_harmless() {
    let stage = Stage::new();
    let path = stage.relay.conf.folder().join("control.sock");
    let connect = || UnixStream::connect(&path).expect("the control socket accepts");
    let silent: Vec<_> = (0..10).map(|_| connect()).collect();
    for bytes in [&b"\n"[..], b"{}\n", b"{\"command\":\"obey\"}\n", b"\xff\x00\n", &[b'['; 1 << 20]]
    {
        let mut stream = connect();
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(Some(secs(10))).expect("a time-out can be set");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(!text.contains("received"), "no status for nonsense: {text}");
    }
    assert!(stage.relay.status().is_object());
    drop(silent);
}

#[test]
fn the_watchdog_is_fed_whatever_the_access_list_and_the_addresses_say() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let strict = Conf::before(&tls, &[&backend]).server("outside = \"drop\"");
    let strict = Conf { allow: vec!["192.0.2.0/24".into()], ..strict };
    let elsewhere = Conf::before(&tls, &[&backend]);
    let (here, port) = (elsewhere.address.to_string(), elsewhere.address.port());
    // An address that is bound and that this host does not have.
    let elsewhere = Conf { listen: vec![format!("192.0.2.77:{port}"), here], ..elsewhere };
    for (conf, what) in [(strict, "a strict access list"), (elsewhere, "an absent address")] {
        let relay = conf.launch(&[("WATCHDOG_USEC", "600000")]);
        assert!(relay.notified("READY=1", secs(20)).is_some(), "{what}:\n{}", relay.stderr());
        for _ in 0..3 {
            let fed = relay.notified("WATCHDOG=1", secs(5)).is_some();
            assert!(fed, "{what}: the watchdog is fed\n{}", relay.stderr());
        }
    }
}

/// A relay whose hit log goes to a standard error that nobody reads, and that is full.
fn with_a_full_log(tls: &Tls, backend: &Backend, hits: &str) -> (Relay, std::io::PipeReader) {
    let conf = Conf::before(tls, &[backend]).policy("block.local", "*.bad.example.com CNAME .");
    let log = format!("hits = \"{hits}\"\nformat = \"json\"\n");
    let (unread, stderr) = std::io::pipe().expect("a pipe");
    let relay = Conf { log, ..conf }.launch_set(|command| {
        command.stderr(stderr.try_clone().expect("the pipe's end is shared"));
    });
    assert!(relay.notified("READY=1", secs(20)).is_some(), "READY=1 comes");
    // A pipe holds 64 KiB, a line has more than 100 octets: some 600 of them fill it.
    for n in 0..2000 {
        let reply = relay.ask(&format!("n{n}.bad.example.com"), A);
        assert_eq!(reply.rcode(), "NXDOMAIN", "hits to {hits}: query {n}");
    }
    (relay, unread)
}

#[test]
fn a_log_that_nobody_reads_holds_up_no_answer() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    for hits in ["stderr", "journal"] {
        let (relay, _unread) = with_a_full_log(&tls, &backend, hits);
        // What the daemon itself has to say is no obstacle either.
        backend.die();
        assert_eq!(relay.ask("lost.example.com", A).rcode(), "SERVFAIL");
        relay.reload();
        backend.revive();
        let mut n = 0;
        eventually("names are forwarded again", secs(40), || {
            n += 1;
            relay.ask(&format!("{hits}{n}.example.com"), A).rcode() == "NOERROR"
        });
        for n in 0..20 {
            assert_eq!(relay.ask(&format!("m{n}.bad.example.com"), A).rcode(), "NXDOMAIN");
            let name = format!("m{n}.{hits}.example.com");
            assert_right(&relay.ask(&name, A), &name);
        }
        relay.assert_books_balance();
    }
}

#[test]
fn a_log_that_nobody_reads_does_not_keep_the_daemon_from_ending() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    for hits in ["stderr", "journal"] {
        let (mut relay, _unread) = with_a_full_log(&tls, &backend, hits);
        relay.process.signal("TERM");
        relay.process.wait(secs(8));
    }
}

#[test]
fn a_reload_leaves_the_query_log_as_it_was_switched_by_hand() {
    for (written, by_hand) in [(false, "on"), (true, "off")] {
        let mut stage = Stage::with(|mut conf| {
            conf.log += &format!("queries = {written}\n");
            conf
        });
        let logs = |relay: &Relay| relay.status()["log"]["queries"] == true;
        assert_eq!(logs(&stage.relay), written);
        stage.relay.tell(&["log", "queries", by_hand]);
        assert_eq!(logs(&stage.relay), !written, "by hand");
        stage.relay.conf.local = "[local.hosts]\n\"new.example.com\" = [\"10.0.0.1\"]\n".into();
        stage.relay.conf.save();
        stage.relay.process.signal("HUP");
        eventually("SIGHUP is done", secs(5), || {
            stage.relay.ask("new.example.com", A).data(A) == ["10.0.0.1"]
        });
        stage.relay.reload();
        assert_eq!(logs(&stage.relay), !written, "after SIGHUP and the command");
        // A new word in the configuration counts again.
        for word in [!written, written] {
            stage.relay.conf.log = stage
                .relay
                .conf
                .log
                .replace(&format!("queries = {}", !word), &format!("queries = {word}"));
            stage.relay.conf.save();
            stage.relay.reload();
            assert_eq!(logs(&stage.relay), word, "as the configuration newly says");
        }
    }
}
