//! What a DoH backend may do to us, and what the client must and must never see then.

use crate::harness::backend::{Backend, Greeting, PATH, Setup};
use crate::harness::client::Udp;
use crate::harness::conf::Conf;
use crate::harness::flood::Flood;
use crate::harness::script::Script;
use crate::harness::stage::{Pair, Stage, assert_failed, assert_right};
use crate::harness::tls::{Shown, Tls};
use crate::harness::wire::{A, Message, PADDING, QR, Query, TC};
use crate::harness::{PATIENCE, eventually, millis, secs};
use h2::Reason;

/// No upstream in reach, or the transport failed (RFC 8914).
const UNREACHABLE: &[u16] = &[22, 23];

static TLS_1_2: [&rustls::SupportedProtocolVersion; 1] = [&rustls::version::TLS12];

type Row = (&'static str, Script);

fn field(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

fn http_failures() -> Vec<Row> {
    let later = |value| Script::Status(503, field("retry-after", value));
    vec![
        ("403", Script::status(403)),
        ("404", Script::status(404)),
        ("500", Script::status(500)),
        ("429", Script::status(429)),
        ("503 and seven seconds", later("7")),
        ("503 and a date", later("Wed, 21 Oct 2037 07:28:00 GMT")),
        ("503 and a negative number", later("-5")),
        ("503 and a huge number", later("1000000000")),
        ("503 and a word", later("tomorrow")),
        ("a redirect", Script::Status(301, field("location", "https://elsewhere.test/"))),
        ("a 2xx with a text", Script::status(203)),
    ]
}

fn content_failures() -> Vec<Row> {
    vec![
        ("text/html", Script::ContentType(Some("text/html"))),
        ("no content type", Script::ContentType(None)),
        ("another question", Script::wrong_question()),
        ("a query", Script::not_a_response()),
        ("another opcode", Script::other_opcode()),
        ("no question", Script::no_question()),
        ("a cut body", Script::CutBody(20)),
        ("an empty body", Script::CutBody(0)),
        ("70,000 octets", Script::BigBody(70_000)),
        ("ten million octets", Script::BigBody(10_000_000)),
    ]
}

fn transport_failures() -> Vec<Row> {
    vec![
        ("REFUSED_STREAM", Script::Reset(Reason::REFUSED_STREAM)),
        ("INTERNAL_ERROR", Script::Reset(Reason::INTERNAL_ERROR)),
        ("ENHANCE_YOUR_CALM", Script::Reset(Reason::ENHANCE_YOUR_CALM)),
        ("nothing at all", Script::Hang),
        ("an answer drop by drop", Script::SlowDrip),
        ("a body without end", Script::EndlessBody),
    ]
}

/// One relay and one backend per row, all rows at once.
fn each(rows: Vec<Row>, check: impl Fn(&str, Script) + Sync) {
    std::thread::scope(|scope| {
        let check = &check;
        for (name, script) in rows {
            let thread = std::thread::Builder::new().name(format!("row: {name}"));
            let run = move || check(name, script);
            thread.spawn_scoped(scope, run).expect("a thread per row");
        }
    });
}

/// Alone, a bad backend makes SERVFAIL with a reason, in time, and is forgiven later.
fn alone(_: &str, script: Script) {
    let stage = Stage::doing(script);
    let before = stage.relay.process.memory();
    for name in ["one.example.com", "two.example.com"] {
        assert_failed(&stage.relay.ask(name, A), UNREACHABLE);
        assert!(stage.backend.asked(name) <= 3, "three sends at most (RFC 9520)");
    }
    let grown = stage.relay.process.memory().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} octets more");
    stage.backend.set(Script::Answer);
}

/// Beside a good backend, a bad one is not seen by any client.
fn beside(name: &str, script: Script) {
    let pair = Pair::new();
    pair.first.set(script);
    for n in 0..12 {
        let name = format!("n{n}.{}.example.com", name.len());
        assert_right(&pair.relay.ask(&name, A), &name);
        assert!(pair.first.asked(&name) <= 3, "three sends at most (RFC 9520)");
    }
}

#[test]
fn http_failures_are_no_answers() {
    each(http_failures(), alone);
}

#[test]
fn wrong_content_is_no_answer() {
    each(content_failures(), alone);
}

#[test]
fn a_failing_transport_is_told_in_time() {
    each(transport_failures(), alone);
}

#[test]
fn a_good_backend_makes_up_for_http_failures() {
    each(http_failures(), beside);
}

#[test]
fn a_good_backend_makes_up_for_wrong_content() {
    each(content_failures(), beside);
}

#[test]
fn a_good_backend_makes_up_for_a_failing_transport() {
    each(transport_failures(), beside);
}

#[test]
fn a_backend_that_recovers_is_used_again() {
    let stage = Stage::doing(Script::status(500));
    assert_failed(&stage.relay.ask("before.example.com", A), UNREACHABLE);
    stage.backend.set(Script::Answer);
    let mut n = 0;
    eventually("the backend is used again", secs(10), || {
        n += 1;
        stage.relay.ask(&format!("n{n}.example.com"), A).rcode() == "NOERROR"
    });
}

#[test]
fn harmless_oddities_are_forgiven() {
    let rows = vec![
        ("an id", Script::id_not_zero()),
        ("a charset", Script::ContentType(Some("application/dns-message; charset=utf-8"))),
        ("capital letters", Script::ContentType(Some("Application/DNS-Message"))),
        ("another 2xx", Script::Headers(field("server", "odd"))),
        ("a late answer", Script::Delay(millis(600))),
    ];
    each(rows, |_, script| {
        let stage = Stage::doing(script);
        for n in 0..3 {
            let name = format!("n{n}.example.com");
            assert_right(&stage.relay.ask(&name, A), &name);
        }
    });
}

#[test]
fn a_request_is_as_rfc_8484_and_8467_want_it() {
    let stage = Stage::new();
    for name in ["a.example.com", "a-much-longer-name.with.several.labels.example.com"] {
        assert_right(&stage.relay.ask(name, A), name);
        let request = stage.backend.request(name);
        assert_eq!(request.path, PATH);
        for field in ["accept", "content-type"] {
            assert_eq!(request.headers[field], "application/dns-message", "{field}");
        }
        assert_eq!(request.body.len() % 128, 0, "padded to 128 octets");
        let edns = request.query.edns.expect("an OPT record");
        assert!(edns.options.iter().any(|(code, _)| *code == PADDING));
        assert_eq!(request.query.id, 0);
        assert!(request.headers.get("cookie").is_none());
    }
}

#[test]
fn the_clients_do_and_cd_go_upstream() {
    let stage = Stage::new();
    stage.relay.udp(&Query::new("do.example.com", A).dnssec_ok());
    let sent = stage.backend.request("do.example.com").query;
    assert_eq!(sent.edns.expect("an OPT record").flags, 0x8000);
    let cd = crate::harness::wire::CD;
    let reply = stage.relay.udp(&Query::new("cd.example.com", A).flags(0x0100 | cd));
    assert!(reply.has(cd), "CD is copied");
    assert!(stage.backend.request("cd.example.com").query.has(cd));
}

#[test]
fn a_cut_answer_over_doh_is_asked_elsewhere_and_never_kept() {
    let pair = Pair::new();
    pair.first.set(Script::truncated());
    for n in 0..10 {
        let name = format!("n{n}.example.com");
        assert_right(&pair.relay.ask(&name, A), &name);
    }
    let stage = Stage::doing(Script::truncated());
    let reply = stage.relay.ask("cut.example.com", A);
    assert!(reply.has(TC) || reply.rcode() == "SERVFAIL", "{reply:?}");
    assert!(reply.answers.is_empty());
    stage.backend.set(Script::Answer);
    eventually("the cut answer is not kept", secs(8), || {
        stage.relay.ask("cut.example.com", A).answers.len() == 1
    });
}

#[test]
fn a_backend_that_asks_for_peace_gets_it() {
    let pair = Pair::new();
    pair.first.set(Script::Status(503, field("retry-after", "7")));
    let mut n = 0;
    eventually("the first backend said 503", secs(10), || {
        n += 1;
        let name = format!("n{n}.example.com");
        assert_right(&pair.relay.ask(&name, A), &name);
        pair.first.asked_below("example.com") > 0
    });
    // Both workers may have had a query on the way.
    eventually("what was on the way has ended", secs(5), || {
        let status = pair.relay.status();
        status["upstreams"][0]["in_flight"] == 0
            && pair.relay.backend(pair.first.address)["state"] != "up"
    });
    let before = pair.first.seen().requests.len();
    let flood = Flood::of(pair.relay.address, 100, "peace.example.com").start();
    flood.until_answered(300);
    flood.finish().assert_all_right();
    assert_eq!(pair.first.asked_below("peace.example.com"), 0);
    let probes = pair.first.seen().requests.len() - before;
    assert!(probes <= 1, "{probes} requests in three of seven seconds");
    assert_eq!(pair.relay.backend(pair.second.address)["state"], "up");
    assert_ne!(pair.relay.backend(pair.first.address)["state"], "up");
}

#[test]
fn goaway_after_each_hundred_streams_costs_nothing() {
    let stage = Stage::new();
    stage.backend.goaway_after(100);
    let flood = Flood::of(stage.relay.address, 500, "example.com").start();
    flood.until_answered(1000);
    flood.finish().assert_all_right();
    let seen = stage.backend.seen();
    let allowed = seen.requests.len() * 12 / 1000 + 4;
    assert!(seen.handshakes <= allowed, "{} for {}", seen.handshakes, seen.requests.len());
}

#[test]
fn refused_streams_are_repeated() {
    let stage = Stage::new();
    stage.backend.set(Script::Every(10, Box::new(Script::Reset(Reason::REFUSED_STREAM))));
    let flood = Flood::of(stage.relay.address, 300, "example.com").start();
    flood.until_answered(600);
    let report = flood.finish();
    report.assert_all_right();
    let sent = stage.backend.asked_below("example.com") as u64;
    assert!(sent * 100 <= report.sent * 115, "{sent} requests for {} names", report.sent);
}

#[test]
fn a_certificate_that_is_not_right_gets_no_query() {
    let rows = [
        Shown::WrongName,
        Shown::Expired,
        Shown::NotYetValid,
        Shown::OtherAuthority,
        Shown::SelfSigned,
    ];
    for shown in rows {
        let tls = Tls::new();
        let bad = Backend::with(&tls, Setup { shown, ..Setup::default() });
        let relay = Conf::before(&tls, &[&bad]).start();
        assert_failed(&relay.ask("www.example.com", A), UNREACHABLE);
        assert_eq!((bad.seen().requests.len(), bad.seen().handshakes), (0, 0), "{shown:?}");
        let entry = relay.backend(bad.address);
        let reason = entry["last_error"].as_str().unwrap_or_default().to_lowercase();
        assert!(reason.contains("cert"), "{shown:?}: the status names the reason: {entry:#}");

        let good = Backend::start(&tls);
        let relay = Conf::before(&tls, &[&bad, &good]).start();
        for n in 0..4 {
            let name = format!("n{n}.example.com");
            assert_right(&relay.ask(&name, A), &name);
        }
    }
}

#[test]
fn h2_is_not_spoken_where_it_was_not_agreed_on() {
    // With TLS 1.3 the test's server would lose its alert behind its first flight.
    let rows = [(&[][..], rustls::ALL_VERSIONS), (&["http/1.1"], &TLS_1_2)];
    for (alpn, versions) in rows {
        let tls = Tls::new();
        let backend = Backend::with(&tls, Setup { alpn, versions, ..Setup::default() });
        let relay = Conf::before(&tls, &[&backend]).start();
        assert_failed(&relay.ask("www.example.com", A), UNREACHABLE);
        assert_eq!(backend.seen().requests.len(), 0, "{alpn:?}");
        let entry = relay.backend(backend.address);
        let reason = entry["last_error"].as_str().unwrap_or_default().to_lowercase();
        let named = ["alpn", "http/2", "h2"].iter().any(|w| reason.contains(w));
        assert!(named || reason.contains("application protocol"), "{alpn:?}: {entry:#}");
    }
}

#[test]
fn tls_1_2_is_enough() {
    let tls = Tls::new();
    let backend = Backend::with(&tls, Setup { versions: &TLS_1_2, ..Setup::default() });
    let relay = Conf::before(&tls, &[&backend]).start();
    assert_right(&relay.ask("www.example.com", A), "www.example.com");
}

#[test]
fn a_renewed_certificate_needs_no_restart() {
    let stage = Stage::new();
    assert_right(&stage.relay.ask("before.example.com", A), "before.example.com");
    stage.backend.show(&stage.tls, Shown::Right);
    stage.backend.kill_connections();
    assert_right(&stage.relay.ask("renewed.example.com", A), "renewed.example.com");

    // A new authority: its file replaced, a reload, nothing else.
    let other = Tls::new();
    stage.backend.show(&other, Shown::Right);
    std::fs::copy(other.ca(), stage.tls.ca()).expect("the authority's file is replaced");
    stage.relay.reload();
    stage.backend.kill_connections();
    let mut n = 0;
    eventually("the new authority is trusted", secs(8), || {
        n += 1;
        stage.relay.ask(&format!("n{n}.example.com"), A).rcode() == "NOERROR"
    });
}

#[test]
fn a_redirect_is_not_followed() {
    let (tls, stage) = (Tls::new(), Stage::new());
    let elsewhere = Backend::start(&tls);
    for code in [301, 302, 307, 308] {
        let target = format!("https://{}/{code}", elsewhere.address);
        stage.backend.set(Script::Status(code, field("location", &target)));
        let name = format!("r{code}.example.com");
        assert_eq!(stage.relay.ask(&name, A).rcode(), "SERVFAIL", "{code}");
    }
    assert_eq!(elsewhere.seen().accepted, 0);
}

#[test]
fn a_retired_path_is_replaced_by_the_next_one() {
    let tls = Tls::new();
    let backend = Backend::start(&tls);
    let mut conf = Conf::before(&tls, &[&backend]);
    conf.sections = conf.sections.replace("ca = ", "paths = [\"/new\", \"/old\"]\nca = ");
    backend.set_path("/new", Script::status(404));
    let relay = conf.start();
    for n in 0..6 {
        let name = format!("n{n}.example.com");
        assert_right(&relay.ask(&name, A), &name);
    }
    assert_eq!(backend.request("n5.example.com").path, "/old");
    backend.set_path("/old", Script::status(403));
    let mut n = 10;
    eventually("the URL's own path comes last", secs(8), || {
        n += 1;
        relay.ask(&format!("n{n}.example.com"), A).rcode() == "NOERROR"
    });
    assert_eq!(backend.request(&format!("n{n}.example.com")).path, PATH);
}

#[test]
fn standby_addresses_wait_for_their_turn() {
    let tls = Tls::new();
    let (main, spare) = (Backend::start(&tls), Backend::start(&tls));
    let mut conf = Conf::before(&tls, &[&main]);
    let line = format!("standby = [\"{}\"]\nca = ", spare.address);
    conf.sections = conf.sections.replace("ca = ", &line);
    let relay = conf.start();
    for n in 0..10 {
        let name = format!("n{n}.example.com");
        assert_right(&relay.ask(&name, A), &name);
    }
    assert_eq!(spare.asked_below("example.com"), 0, "not while an address is up");
    main.die();
    for n in 10..20 {
        let name = format!("n{n}.example.com");
        assert_right(&relay.ask(&name, A), &name);
    }
    assert!(spare.asked_below("example.com") >= 9);
}

#[test]
fn silence_at_the_door_is_answered_in_time() {
    for greeting in [Greeting::SilentAfterTls, Greeting::SilentAfterAccept] {
        let tls = Tls::new();
        let silent = Backend::with(&tls, Setup { greeting, ..Setup::default() });
        let relay = Conf::before(&tls, &[&silent]).server("workers = 1").start();
        let queries: Vec<_> =
            (0..20).map(|n| Query::new(&format!("n{n}.example.com"), A)).collect();
        let clients: Vec<_> = queries.iter().map(|_| Udp::to(relay.address)).collect();
        for (client, query) in clients.iter().zip(&queries) {
            client.send(&query.bytes());
        }
        for (client, query) in clients.iter().zip(&queries) {
            let bytes = client.receive(PATIENCE).expect("an answer to each, in time");
            let reply = crate::harness::client::checked(query, &bytes);
            assert_failed(&reply, &[13, 22, 23]);
        }
        let opened = silent.seen().accepted;
        assert!(opened <= 6, "{opened} connections for twenty queries in four seconds");

        let good = Backend::start(&tls);
        let relay = Conf::before(&tls, &[&silent, &good]).start();
        for n in 0..6 {
            let name = format!("n{n}.example.com");
            assert_right(&relay.ask(&name, A), &name);
        }
    }
}

#[test]
fn a_backend_that_resets_is_not_hammered() {
    let tls = Tls::new();
    let setup = Setup { greeting: Greeting::Reset, ..Setup::default() };
    let resetting = Backend::with(&tls, setup);
    let good = Backend::start(&tls);
    let relay = Conf::before(&tls, &[&resetting, &good]).server("workers = 1").start();
    let flood = Flood::of(relay.address, 100, "example.com").start();
    flood.until_answered(300);
    flood.finish().assert_all_right();
    let tried = resetting.seen().accepted;
    assert!((1..=10).contains(&tried), "{tried} connections in three seconds");
}

#[test]
fn one_question_of_many_clients_is_one_request() {
    let stage = Stage::new();
    stage.backend.set(Script::Delay(millis(400)));
    let query = Query::new("popular.example.com", A);
    let clients: Vec<_> = (0..200).map(|_| stage.relay.client()).collect();
    for client in &clients {
        client.send(&query.bytes());
    }
    for client in &clients {
        let bytes = client.receive(PATIENCE).expect("an answer to each");
        assert_right(&Message::read(&bytes).expect("well formed"), "popular.example.com");
    }
    assert_eq!(stage.backend.asked("popular.example.com"), 1);
}

#[test]
fn a_client_that_leaves_does_not_poison_the_name_for_others() {
    let stage = Stage::new();
    stage.backend.set_for("shared.example.com", Script::Delay(millis(500)));
    let query = Query::new("shared.example.com", A);
    let mut leaver = stage.relay.connect();
    leaver.send(&query.bytes());
    eventually("the leaver's question went upstream", secs(3), || {
        stage.backend.asked("shared.example.com") == 1
    });
    let waiter = stage.relay.client();
    waiter.send(&query.bytes());
    socket2::SockRef::from(&leaver.stream).set_linger(Some(secs(0))).expect("a linger time");
    drop(leaver);
    let bytes = waiter.receive(PATIENCE).expect("the waiter is answered");
    assert_right(&Message::read(&bytes).expect("well formed"), "shared.example.com");
    assert_right(&stage.relay.ask("shared.example.com", A), "shared.example.com");
}

#[test]
fn slow_answers_are_hedged_within_a_budget() {
    let pair = Pair::new();
    // Enough quiet traffic for an estimate of what is usual.
    let warm = Flood::of(pair.relay.address, 200, "warm.example.com").start();
    warm.until_answered(200);
    warm.finish().assert_all_right();
    pair.first.set(Script::Every(5, Box::new(Script::Delay(secs(3)))));
    let flood = Flood::of(pair.relay.address, 150, "slow.example.com").start();
    flood.until_answered(500);
    let report = flood.finish();
    report.assert_all_right();
    let sent =
        pair.first.asked_below("slow.example.com") + pair.second.asked_below("slow.example.com");
    assert!(sent as u64 * 100 <= report.sent * 130, "{sent} requests for {} names", report.sent);
}

#[test]
fn a_backend_that_fails_only_real_names_is_left() {
    let pair = Pair::new();
    pair.first.set(Script::Body(std::sync::Arc::new(|mut asked| {
        let name = asked.query.question.as_ref().map_or("", |(n, ..)| n);
        if name.ends_with("example.com") {
            asked.answer.answers.clear();
            asked.answer.flags = QR | 0x0180 | 2;
        }
        asked.answer.bytes()
    })));
    let mut failed = 0;
    for n in 0..100 {
        let name = format!("n{n}.example.com");
        let reply = pair.relay.ask(&name, A);
        failed += usize::from(reply.rcode() == "SERVFAIL");
        assert!(n < 80 || reply.rcode() == "NOERROR", "still in use after {n} queries");
    }
    assert!(failed <= 20, "{failed} of 100 failed");
}

#[test]
fn the_backends_own_servfail_is_passed_on() {
    let stage = Stage::new();
    stage.backend.set_for("broken.example.com", Script::servfail());
    let reply = stage.relay.ask("broken.example.com", A);
    assert_eq!((reply.rcode(), reply.answers.len()), ("SERVFAIL", 0));
    // One broken name says nothing about the others.
    for n in 0..10 {
        let name = format!("n{n}.example.com");
        assert_right(&stage.relay.ask(&name, A), &name);
    }
    assert_eq!(stage.relay.backend(stage.backend.address)["state"], "up");
}
