//! Changes while running: nothing is lost, nothing is applied by halves.

use crate::harness::backend::{Backend, PATH};
use crate::harness::client::Tcp;
use crate::harness::conf::Conf;
use crate::harness::flood::Flood;
use crate::harness::plain::{Manner, Plain};
use crate::harness::process::{LOCAL, free_port};
use crate::harness::stage::{Stage, assert_right};
use crate::harness::tls::Tls;
use crate::harness::wire::{A, Query, Record};
use crate::harness::{eventually, secs};
use std::fmt::Write as _;

#[test]
fn sighup_and_the_command_do_the_same() {
    let mut stage = Stage::with(|conf| conf.policy("block.local", "one.example.com CNAME ."));
    stage.relay.conf.local = "[local.hosts]\n\"new.example.com\" = [\"10.0.0.1\"]\n".into();
    stage.relay.conf.save();
    stage.relay.process.signal("HUP");
    eventually("SIGHUP is done", secs(5), || {
        stage.relay.ask("new.example.com", A).data(A) == ["10.0.0.1"]
    });
    stage.relay.conf.local = "[local.hosts]\n\"new.example.com\" = [\"10.0.0.2\"]\n".into();
    stage.relay.conf.save();
    stage.relay.reload();
    assert_eq!(stage.relay.ask("new.example.com", A).data(A), ["10.0.0.2"]);
    assert_eq!(stage.relay.ask("one.example.com", A).rcode(), "NXDOMAIN");
}

#[test]
fn reloads_under_load_lose_nothing_and_keep_the_listeners() {
    let mut rules = String::new();
    for n in 0..20_000 {
        writeln!(rules, "d{n}.example.net CNAME .").expect("a String takes all");
    }
    let mut stage = Stage::with(|conf| conf.policy("block.local", &rules));
    let mut tcp = stage.relay.connect();
    assert_right(&tcp.ask(&Query::new("before.example.com", A)), "before.example.com");
    let flood = Flood::of(stage.relay.address, 300, "example.com").start();
    for n in 2..8 {
        flood.until_more(100);
        write!(rules, "e{n}.example.net CNAME .").expect("a String takes all");
        rules.push('\n');
        stage.relay.conf.write_zone("block.local", n, &rules);
        stage.relay.conf.response_policy = format!("max_ttl = \"{n}s\"\n");
        stage.relay.conf.save();
        if n % 2 == 0 {
            stage.relay.process.signal("HUP");
        } else {
            stage.relay.reload();
        }
    }
    flood.until_more(100);
    flood.finish().assert_all_right();
    assert_right(&tcp.ask(&Query::new("after.example.com", A)), "after.example.com");
    eventually("the last version is in force", secs(5), || {
        stage.relay.ask("e7.example.net", A).rcode() == "NXDOMAIN"
    });
    assert_eq!(stage.relay.zone("block.local")["serial"], 7);
    assert_right(&stage.relay.ask("before.example.com", A), "before.example.com");
    assert_eq!(stage.backend.asked("before.example.com"), 1, "the cache was kept");
    assert!(stage.backend.seen().handshakes <= 4, "the connections were kept");
}

#[test]
fn listeners_come_and_go_while_others_stay() {
    let mut stage = Stage::new();
    let second = free_port(LOCAL);
    let flood = Flood::of(stage.relay.address, 200, "example.com").start();
    flood.until_more(50);
    stage.relay.conf.listen.push(second.to_string());
    stage.relay.conf.save();
    stage.relay.reload();
    let mut tcp = Tcp::to(second);
    assert_right(&tcp.ask(&Query::new("www.example.com", A)), "www.example.com");
    flood.until_more(50);
    stage.relay.conf.listen.pop();
    stage.relay.conf.save();
    stage.relay.reload();
    eventually("the second listener is gone", secs(8), || {
        std::net::TcpStream::connect_timeout(&second, secs(1)).is_err()
    });
    flood.until_more(50);
    flood.finish().assert_all_right();
}

#[test]
fn a_bad_configuration_changes_nothing_and_is_told() {
    let mut stage = Stage::with(|conf| conf.policy("block.local", "bad.example.com CNAME ."));
    let good = stage.relay.conf.sections.clone();
    for broken in ["[[policy]]\nzone = 5", "[[upstrem]]\nname = \"x\"", "this is no TOML"] {
        stage.relay.conf.sections = format!("{good}\n{broken}\n");
        stage.relay.conf.allow = vec!["192.0.2.0/24".into()];
        stage.relay.conf.save();
        let output = stage.relay.command(&["reload"]);
        assert!(!output.status.success(), "{broken}");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(text.contains("culvert.toml:"), "file and line: {text}");
        assert_eq!(stage.relay.ask("bad.example.com", A).rcode(), "NXDOMAIN", "{broken}");
        assert_right(&stage.relay.ask("www.example.com", A), "www.example.com");
        stage.relay.process.signal("HUP");
        assert_eq!(stage.relay.ask("bad.example.com", A).rcode(), "NXDOMAIN", "{broken}");
    }
    assert!(stage.relay.process.is_running());
}

#[test]
fn a_backend_leaves_and_another_comes_under_load() {
    let tls = Tls::new();
    let backends: Vec<_> = (0..3).map(|_| Backend::start(&tls)).collect();
    let of = |numbers: [usize; 2]| {
        let addresses = numbers.map(|n| backends[n].address);
        Conf::new().service(&tls, PATH, &addresses).sections
    };
    let mut relay = Conf::before(&tls, &[&backends[0], &backends[1]]).start();
    let flood = Flood::of(relay.address, 300, "example.com").start();
    flood.until_more(200);
    relay.conf.sections = of([1, 2]);
    relay.conf.save();
    relay.reload();
    flood.until_more(300);
    let before = backends[0].asked_below("example.com");
    flood.until_more(200);
    assert_eq!(backends[0].asked_below("example.com"), before, "the first one is left alone");
    flood.finish().assert_all_right();
    assert!(backends[2].asked_below("example.com") > 0, "the third one is used");
}

#[test]
fn zones_come_and_go_and_change_places() {
    let (deny, allow) = ("x.example.com CNAME .", "x.example.com CNAME rpz-passthru.");
    let mut stage = Stage::with(|conf| conf.policy("deny.local", deny));
    assert_eq!(stage.relay.ask("x.example.com", A).rcode(), "NXDOMAIN");
    let service =
        stage.relay.conf.sections.split("[[policy]]").next().unwrap_or_default().to_owned();
    let with = |zones: &[&str], conf: &mut Conf| {
        conf.sections.clone_from(&service);
        for zone in zones {
            let file = conf.zone_file(zone);
            write!(conf.sections, "[[policy]]\nzone = \"{zone}\"\nfile = \"{}\"\n", file.display())
                .expect("a String takes all");
        }
        conf.save();
    };
    stage.relay.conf.write_zone("allow.local", 1, allow);
    with(&["allow.local", "deny.local"], &mut stage.relay.conf);
    stage.relay.reload();
    assert_right(&stage.relay.ask("x.example.com", A), "x.example.com");
    with(&["deny.local", "allow.local"], &mut stage.relay.conf);
    stage.relay.reload();
    assert_eq!(stage.relay.ask("x.example.com", A).rcode(), "NXDOMAIN");
    with(&[], &mut stage.relay.conf);
    stage.relay.reload();
    assert_right(&stage.relay.ask("x.example.com", A), "x.example.com");
    let status = stage.relay.status();
    assert_eq!(status["zones"].as_array().map(Vec::len), Some(0), "{status:#}");
}

#[test]
fn answers_of_an_upstream_that_left_are_not_given_for_another() {
    let tls = Tls::new();
    let (backend, old, new) =
        (Backend::start(&tls), Plain::start(Manner::Right), Plain::start(Manner::Right));
    let name = "wiki.corp.example.net";
    old.add(&[Record::a(name, 3600, "10.1.1.1")]);
    new.add(&[Record::a(name, 3600, "10.2.2.2")]);
    backend.add(&[Record::a(name, 3600, "192.0.2.3")]);
    let routed = |upstream: &str, server: &Plain| {
        Conf::before(&tls, &[&backend])
            .plain(upstream, &[server.address])
            .route(&["corp.example.net"], upstream)
    };
    let mut relay = routed("old", &old).start();
    assert_eq!(relay.ask(name, A).data(A), ["10.1.1.1"]);
    let steps = [
        ("another upstream", routed("new", &new), "10.2.2.2"),
        ("the first one again", routed("old", &old), "10.1.1.1"),
        ("other servers under its name", routed("old", &new), "10.2.2.2"),
        ("no route", Conf::before(&tls, &[&backend]), "192.0.2.3"),
        ("a route again", routed("new", &new), "10.2.2.2"),
    ];
    for (what, conf, address) in steps {
        relay.conf.sections = conf.sections;
        relay.conf.save();
        relay.reload();
        assert_eq!(relay.ask(name, A).data(A), [address], "{what}");
        assert_eq!(relay.ask(name, A).data(A), [address], "{what}, from the cache");
    }
}

#[test]
fn all_addresses_and_one_of_them_change_places_under_load() {
    let mut stage = Stage::with(|conf| {
        let port = conf.address.port();
        Conf { listen: vec![format!("0.0.0.0:{port}")], ..conf }
    });
    let own = stage.relay.address;
    let any = format!("0.0.0.0:{}", own.port());
    let flood = Flood::of(own, 300, "example.com").start();
    for listen in [own.to_string(), any, own.to_string()] {
        flood.until_more(100);
        stage.relay.conf.listen = vec![listen.clone()];
        stage.relay.conf.save();
        stage.relay.reload();
        flood.until_more(100);
        let reply = stage.relay.tcp(&Query::new("www.example.com", A));
        assert_right(&reply, "www.example.com");
        let status = stage.relay.status();
        let listeners = status["listeners"].as_array().expect("a list");
        assert_eq!(listeners.len(), 1, "{listeners:#?}");
        let one = &listeners[0];
        assert_eq!(one["address"], *listen, "{one:#}");
        assert_eq!((&one["udp"], &one["tcp"]), (&"listening".into(), &"listening".into()));
    }
    flood.until_more(100);
    flood.finish().assert_all_right();
}

#[test]
fn a_reload_says_which_zone_is_bad_and_takes_the_rest() {
    let mut stage = Stage::with(|conf| {
        conf.policy("good.local", "one.example.com CNAME .")
            .policy("bad.local", "old.example.com CNAME .")
    });
    stage.relay.conf.local = "[local.hosts]\n\"new.example.com\" = [\"10.0.0.1\"]\n".into();
    stage.relay.conf.save();
    stage.relay.conf.write_zone("good.local", 2, "two.example.com CNAME .");
    // SOA on line 3, NS on line 4.
    stage.relay.conf.write_zone("bad.local", 2, "fresh.example.com CNAME .\nx TXT ( \"open\"");
    let output = stage.relay.command(&["reload"]);
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("bad.local.rpz:6"), "file and line: {said}");
    assert!(!said.contains("good.local.rpz"), "{said}");
    let blocked = |name: &str| stage.relay.ask(name, A).rcode() == "NXDOMAIN";
    assert_eq!(stage.relay.ask("new.example.com", A).data(A), ["10.0.0.1"], "the hosts");
    assert!(blocked("two.example.com") && !blocked("one.example.com"), "the good zone");
    assert!(blocked("old.example.com") && !blocked("fresh.example.com"), "the bad one is kept");

    stage.relay.conf.write_zone("bad.local", 3, "fresh.example.com CNAME .");
    stage.relay.reload();
    assert!(blocked("fresh.example.com") && !blocked("old.example.com"));
}
