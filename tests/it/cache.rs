//! What is remembered, for how long, and what is given when the service fails.

use crate::harness::script::Script;
use crate::harness::stage::{Stage, assert_failed, assert_right};
use crate::harness::wire::{A, CD, EDE, Message, Query, RD, RRSIG, Record, TXT};
use crate::harness::world::{NEGATIVE_TTL, TTL};
use crate::harness::{eventually, millis, secs};

/// A stage whose backend knows `brief.example.com` for one second.
fn brief(change: impl FnOnce(crate::harness::conf::Conf) -> crate::harness::conf::Conf) -> Stage {
    let stage = Stage::with(change);
    stage.backend.add(&[Record::a("brief.example.com", 1, "192.0.2.1")]);
    stage
}

/// Asks until the cached second is over, that is, until the answer is no fresh one any more.
#[track_caller]
fn until_not_fresh(stage: &Stage, name: &str) -> Message {
    let mut last = None;
    eventually("the answer is no longer fresh", secs(8), || {
        let reply = stage.relay.ask(name, A);
        let fresh = reply.extended_errors().is_empty() && reply.rcode() != "SERVFAIL";
        last = Some(reply);
        !fresh
    });
    last.expect("asked at least once")
}

#[test]
fn ttls_count_down_and_the_backend_is_asked_once() {
    let stage = Stage::new();
    assert_eq!(stage.relay.ask("www.example.com", A).ttl(), TTL);
    eventually("the TTL counts down", secs(5), || {
        let ttl = stage.relay.ask("www.example.com", A).ttl();
        assert!((TTL - 8..=TTL).contains(&ttl), "{ttl}");
        ttl <= TTL - 2
    });
    assert_eq!(stage.backend.asked("www.example.com"), 1);
    assert!(stage.relay.count("/cache/entries") >= 1);
    assert!(stage.relay.count("/cache/hits") >= 1);
}

#[test]
fn an_answer_ends_with_its_ttl() {
    let stage = brief(|conf| conf);
    assert_eq!(stage.relay.ask("brief.example.com", A).data(A), ["192.0.2.1"]);
    stage.backend.world(|w| w.forget("brief.example.com"));
    stage.backend.add(&[Record::a("brief.example.com", 1, "192.0.2.2")]);
    eventually("the new answer is fetched", secs(5), || {
        stage.relay.ask("brief.example.com", A).data(A) == ["192.0.2.2"]
    });
}

#[test]
fn the_smallest_ttl_of_an_answer_counts() {
    let stage = Stage::new();
    stage.backend.add(&[Record::cname("alias.example.com", 1, "target.example.com")]);
    assert_eq!(stage.relay.ask("alias.example.com", A).answers.len(), 2);
    eventually("the whole answer is fetched again", secs(5), || {
        stage.relay.ask("alias.example.com", A);
        stage.backend.asked("alias.example.com") == 2
    });
}

#[test]
fn answers_of_ttl_zero_are_for_now_only() {
    let stage = Stage::new();
    stage.backend.add(&[Record::a("now.example.com", 0, "192.0.2.1")]);
    for n in 1..=3 {
        assert_eq!(stage.relay.ask("now.example.com", A).ttl(), 0);
        assert_eq!(stage.backend.asked("now.example.com"), n);
    }
}

#[test]
fn negative_answers_are_kept_as_their_soa_says() {
    let stage = Stage::new();
    stage.backend.world(|w| w.remove("none.example.com"));
    for (name, qtype, rcode) in
        [("none.example.com", A, "NXDOMAIN"), ("www.example.com", TXT, "NOERROR")]
    {
        for _ in 0..3 {
            let reply = stage.relay.ask(name, qtype);
            assert_eq!((reply.rcode(), reply.answers.len()), (rcode, 0), "{name}");
            assert_eq!(Message::soa_owners(&reply.authority), ["example.com"], "{name}");
            assert!(reply.authority[0].ttl <= NEGATIVE_TTL, "{name}");
        }
        assert_eq!(stage.backend.asked(name), 1, "{name}");
    }
    // Without a SOA nobody knows for how long.
    stage.backend.set_for(
        "nosoa.example.com",
        Script::changed(|m| {
            m.answers.clear();
            m.authority.clear();
        }),
    );
    stage.relay.ask("nosoa.example.com", A);
    assert_eq!(stage.relay.ask("nosoa.example.com", A).answers.len(), 0);
}

#[test]
fn a_stale_answer_is_better_than_none() {
    let stage = brief(|conf| conf);
    stage.backend.add(&[Record::soa("gone.example.com", 1, 1)]);
    stage.backend.set_for(
        "gone.example.com",
        Script::changed(|m| {
            m.flags |= 3;
            m.answers.clear();
            m.authority = vec![Record::soa("example.com", 1, 1)];
        }),
    );
    stage.relay.ask("brief.example.com", A);
    stage.relay.ask("gone.example.com", A);
    stage.backend.die();
    let stale = until_not_fresh(&stage, "brief.example.com");
    assert_eq!((stale.rcode(), stale.data(A)), ("NOERROR", vec!["192.0.2.1".into()]));
    assert_eq!(stale.extended_errors(), [3], "a stale answer (RFC 8914)");
    assert!((1..=30).contains(&stale.ttl()), "RFC 8767 section 4: {}", stale.ttl());
    let stale = until_not_fresh(&stage, "gone.example.com");
    assert_eq!((stale.rcode(), stale.extended_errors()), ("NXDOMAIN", vec![19]));
    assert_failed(&stage.relay.ask("never-seen.example.com", A), &[22, 23]);

    stage.backend.revive();
    stage.backend.add(&[Record::a("brief.example.com", 1, "192.0.2.2")]);
    eventually("fresh answers are back", secs(40), || {
        let reply = stage.relay.ask("brief.example.com", A);
        reply.extended_errors().is_empty() && reply.data(A).len() == 2
    });
}

#[test]
fn stale_answers_can_be_switched_off() {
    let stage = brief(|conf| conf.cache("stale = \"0s\""));
    stage.relay.ask("brief.example.com", A);
    stage.backend.die();
    assert_failed(&until_not_fresh(&stage, "brief.example.com"), &[13, 22, 23]);
}

#[test]
fn a_stale_answer_comes_before_the_clients_patience_ends() {
    let stage = brief(|conf| conf);
    stage.relay.ask("brief.example.com", A);
    stage.backend.set(Script::Hang);
    let stale = until_not_fresh(&stage, "brief.example.com");
    assert_eq!((stale.rcode(), stale.extended_errors()), ("NOERROR", vec![3]));
}

#[test]
fn one_names_servfail_is_not_hidden_by_a_stale_answer() {
    let stage = brief(|conf| conf);
    stage.relay.ask("brief.example.com", A);
    stage.backend.set_for("brief.example.com", Script::servfail());
    assert_eq!(until_not_fresh(&stage, "brief.example.com").rcode(), "SERVFAIL");
}

#[test]
fn failures_are_remembered_shortly() {
    let stage = Stage::new();
    stage.backend.set_for("broken.example.com", Script::servfail());
    for n in 0..4 {
        let reply = stage.relay.ask("broken.example.com", A);
        assert_eq!(reply.rcode(), "SERVFAIL");
        if n > 0 {
            assert_eq!(reply.extended_errors(), [13], "a cached error (RFC 8914)");
        }
    }
    let sends = stage.backend.asked("broken.example.com");
    assert!(sends <= 3, "{sends} sends");
    stage.backend.set_for("broken.example.com", Script::Answer);
    eventually("the failure is forgotten", secs(10), || {
        stage.relay.ask("broken.example.com", A).rcode() == "NOERROR"
    });
}

#[test]
fn http_says_how_old_an_answer_is_and_whether_to_keep_it() {
    let stage = Stage::new();
    let with = |name: &'static str, value: &str| Script::Headers(vec![(name, value.to_owned())]);
    stage.backend.set_for("aged.example.com", with("age", "100"));
    stage.backend.set_for("ancient.example.com", with("age", "100000"));
    stage.backend.set_for("secret.example.com", with("cache-control", "no-store"));
    stage.backend.set_for("short.example.com", with("cache-control", "public, max-age=10"));
    stage.backend.set_for("long.example.com", with("cache-control", "max-age=90000"));
    stage.backend.set_for("odd.example.com", with("cache-control", "max-age=-3, \"x"));
    let ttl = |name: &str| stage.relay.ask(name, A).ttl();
    assert_eq!(ttl("aged.example.com"), TTL - 100);
    assert_eq!(ttl("ancient.example.com"), 0);
    assert_eq!(ttl("long.example.com"), TTL, "never above the records' own");
    assert!(ttl("short.example.com") <= 10);
    assert!(ttl("odd.example.com") <= TTL);
    for n in 1..=2 {
        assert_right(&stage.relay.ask("secret.example.com", A), "secret.example.com");
        assert_eq!(stage.backend.asked("secret.example.com"), n, "not kept");
    }
}

#[test]
fn case_is_echoed_and_does_not_split_the_cache() {
    let stage = Stage::new();
    for name in ["www.example.com", "WWW.EXAMPLE.COM", "wWw.eXaMpLe.CoM"] {
        // The client compares the question with its own, case included.
        assert_right(&stage.relay.ask(name, A), name);
    }
    assert_eq!(stage.backend.asked("www.example.com"), 1);
}

#[test]
fn do_and_cd_have_entries_of_their_own() {
    let stage = Stage::new();
    stage.backend.world(|w| w.sign("www.example.com"));
    let query = || Query::new("www.example.com", A);
    let forms = [query(), query().dnssec_ok(), query().flags(RD | CD)];
    for _ in 0..2 {
        for (n, form) in forms.iter().enumerate() {
            let reply = stage.relay.udp(form);
            let signed = reply.answers.iter().any(|r| r.rtype == RRSIG);
            assert_eq!((reply.rcode(), signed), ("NOERROR", n == 1));
        }
    }
    assert_eq!(stage.backend.asked("www.example.com"), 3);
}

#[test]
fn only_the_question_is_kept_not_what_came_along() {
    let stage = Stage::new();
    stage.backend.set_for(
        "bait.example.com",
        Script::changed(|m| {
            m.authority.push(Record::new("example.com", 300, 2, b"\x02ns\x04evil\x00".to_vec()));
            m.additional.push(Record::a("victim.example.com", 300, "192.0.2.66"));
            m.answers.push(Record::a("victim.example.com", 300, "192.0.2.66"));
        }),
    );
    stage.relay.ask("bait.example.com", A);
    stage.relay.ask("bait.example.com", A);
    assert_right(&stage.relay.ask("victim.example.com", A), "victim.example.com");
}

#[test]
fn the_operator_can_look_at_the_cache_and_flush_it() {
    let stage = Stage::new();
    let names = ["www.example.com", "a.sub.example.com", "b.sub.example.com", "sub.example.com"];
    let ask_all = || names.iter().for_each(|name| assert_right(&stage.relay.ask(name, A), name));
    let asked = || names.map(|name| stage.backend.asked(name));
    ask_all();
    let shown = stage.relay.tell(&["cache", "show", "www.example.com"]);
    assert!(shown.contains("www.example.com"), "{shown}");
    assert!(shown.contains('A'), "{shown}");
    ask_all();
    assert_eq!(asked(), [1, 1, 1, 1]);
    stage.relay.tell(&["cache", "flush", "www.example.com"]);
    ask_all();
    assert_eq!(asked(), [2, 1, 1, 1]);
    stage.relay.tell(&["cache", "flush", "sub.example.com", "--subtree"]);
    ask_all();
    assert_eq!(asked(), [2, 2, 2, 2]);
}

#[test]
fn joined_waiters_share_a_failure_and_not_a_grudge() {
    let stage = Stage::new();
    stage.backend.set_for("late.example.com", Script::Delay(millis(800)));
    let query = Query::new("late.example.com", A);
    let clients: Vec<_> = (0..10).map(|_| stage.relay.client()).collect();
    clients.iter().for_each(|client| client.send(&query.bytes()));
    stage.backend.kill_connections();
    for client in &clients {
        let bytes = client.receive(crate::harness::PATIENCE).expect("an answer to each");
        assert_right(&Message::read(&bytes).expect("well formed"), "late.example.com");
    }
}

#[test]
fn the_books_balance_while_many_wait_for_one_name() {
    let stage = Stage::doing(Script::Hang);
    let query = Query::new("silent.example.com", A);
    let clients: Vec<_> = (0..300).map(|_| stage.relay.client()).collect();
    clients.iter().for_each(|client| client.send(&query.bytes()));
    let books = || {
        let queries = stage.relay.status()["queries"].clone();
        let part = |key: &str| queries[key].as_u64().expect("a number");
        let ended = ["answered", "dropped_by_policy", "refused", "malformed"];
        (part("received"), ended.map(part).iter().sum::<u64>(), part("in_flight"))
    };
    let mut last = books();
    eventually("all 300 wait", secs(3), || {
        last = books();
        last.2 == 300
    });
    assert_eq!(last, (300, 0, 300), "received, ended, in flight");
    for client in &clients {
        let bytes = client.receive(crate::harness::PATIENCE).expect("an answer to each");
        assert_eq!(crate::harness::client::checked(&query, &bytes).rcode(), "SERVFAIL");
    }
    stage.relay.assert_books_balance();
    assert_eq!(books(), (300, 300, 0), "received, ended, in flight");
}

#[test]
fn a_ttl_with_the_top_bit_set_is_zero() {
    let stage = Stage::new();
    // RFC 2181 section 8.
    stage.backend.add(&[Record::a("top.example.com", 0x8000_0005, "192.0.2.1")]);
    for n in 1..=2 {
        let reply = stage.relay.ask("top.example.com", A);
        assert_eq!((reply.ttl(), reply.data(A)), (0, vec!["192.0.2.1".into()]));
        assert_eq!(stage.backend.asked("top.example.com"), n, "it is not kept");
    }
    // Beside one with an honest TTL, each is shown as its own.
    stage.backend.add(&[
        Record::cname("alias.example.com", 300, "aim.example.com"),
        Record::a("aim.example.com", u32::MAX, "192.0.2.2"),
    ]);
    let ttls: Vec<_> =
        stage.relay.ask("alias.example.com", A).answers.iter().map(|r| r.ttl).collect();
    assert_eq!(ttls, [300, 0]);
}

#[test]
fn a_remembered_failure_keeps_the_backends_own_reason() {
    let stage = Stage::new();
    let bogus = Script::changed(|m| {
        m.flags = m.flags & !15 | 2;
        m.answers.clear();
        // 6: DNSSEC bogus (RFC 8914 section 4.7).
        m.edns.get_or_insert_default().options = vec![(EDE, vec![0, 6])];
    });
    stage.backend.set_for("bogus.example.com", bogus);
    let first = stage.relay.ask("bogus.example.com", A);
    assert_eq!((first.rcode(), first.extended_errors()), ("SERVFAIL", vec![6]), "{first:?}");
    let sends = stage.backend.asked("bogus.example.com");
    let second = stage.relay.ask("bogus.example.com", A);
    assert_eq!((second.rcode(), second.extended_errors()), ("SERVFAIL", vec![6]), "{second:?}");
    assert_eq!(stage.backend.asked("bogus.example.com"), sends, "it was remembered");
}
