//! Answers, and requests that go wrong one by one.

use super::server::{self, Act, Proxy, Server};
use super::*;

const TYPE: (&str, &str) = ("content-type", "application/dns-message");

#[tokio::test]
async fn a_question_is_asked_as_the_rfcs_want_it_and_answered() {
    let backend = Server::new(|seen| {
        let headers = vec![TYPE, ("age", "100"), ("cache-control", "max-age=200")];
        Act::Http(200, headers, server::answer(&seen.body, 0, 0, 1))
    })
    .await;
    let (upstream, cache) = build(doh(&[backend.address]).1);
    let fetched = upstream.ask(&question("www.example"), 0).await.unwrap();
    assert_eq!((fetched.age, fetched.max_age, fetched.no_store), (100, Some(200), false));
    assert_eq!((fetched.backend, fetched.plain), (backend.address, false));
    assert_eq!(fetched.answer.ttl(), Some(300));
    let seen = &backend.requests()[0];
    assert_eq!(seen.head.method, "POST");
    assert_eq!(seen.head.uri, "https://doh.test/dns-query");
    assert_eq!(seen.head.headers["content-type"], "application/dns-message");
    assert_eq!(seen.head.headers["accept"], "application/dns-message");
    assert_eq!(&seen.body[..2], [0, 0]);
    assert_eq!(seen.body.len() % 128, 0);
    assert_eq!(seen.name(), "www.example");
    assert_eq!(cache.count("www.example", true), 1);
}

#[tokio::test]
async fn one_connection_serves_many_questions_at_once() {
    let backend = Server::good().await;
    let upstream = upstream(&[&backend]);
    assert_eq!(load(&upstream, 500, 50, || {}).await, []);
    assert_eq!((backend.connections(), backend.request_count()), (1, 500));
    let status = upstream.status();
    assert_eq!((status.state, status.in_flight, status.path), ("up", 0, Some(1)));
    let backend = &status.backends[0];
    assert_eq!((backend.sent, backend.answered, backend.connections), (500, 500, 1));
    assert!(backend.p95_ms.is_some());
    assert!(serde_json::to_string(&status).unwrap().contains(r#""state":"up""#));
}

#[tokio::test]
async fn a_killed_backend_costs_no_question() {
    let (first, second) = (Server::good().await, Server::good().await);
    let upstream = upstream(&[&first, &second]);
    assert_eq!(load(&upstream, 600, 20, || first.kill()).await, []);
    assert!(first.request_count() > 0);
    let status = upstream.status();
    assert_eq!(status.backends[0].state, BackendState::Down, "{status:?}");
}

#[tokio::test]
async fn a_stopped_backend_costs_no_question() {
    let (first, second) = (Server::good().await, Server::good().await);
    let proxy = Proxy::new(first.address).await;
    let (upstream, _) = build(doh(&[proxy.address, second.address]).1);
    assert_eq!(load(&upstream, 600, 20, || proxy.freeze()).await, []);
    assert!(first.request_count() > 0);
}

#[tokio::test]
async fn a_dead_path_is_found_and_its_questions_are_rescued() {
    let backend = Server::good().await;
    let proxy = Proxy::new(backend.address).await;
    let (upstream, _) = build(doh(&[proxy.address]).1);
    assert_eq!(load(&upstream, 40, 4, || {}).await, []);
    proxy.freeze_open();
    let asked = Instant::now();
    assert_eq!(load(&upstream, 20, 20, || {}).await, []);
    assert!(asked.elapsed() < limits::FETCH_DEADLINE);
    assert_eq!(backend.connections(), 2, "{:?}", upstream.status());
    let error = upstream.status().backends[0].last_error.clone().unwrap();
    assert!(error.contains("PING"), "{error}");
}

#[tokio::test]
async fn dead_paths_to_all_backends_at_once_are_survived() {
    let backends = [Server::good().await, Server::good().await];
    let proxies = [Proxy::new(backends[0].address).await, Proxy::new(backends[1].address).await];
    let (upstream, _) = build(doh(&[proxies[0].address, proxies[1].address]).1);
    let lose = || proxies.iter().for_each(Proxy::freeze_open);
    assert_eq!(load(&upstream, 200, 20, lose).await, []);
    assert!(backends.iter().any(|backend| backend.connections() == 2));
}

#[tokio::test]
async fn a_refused_stream_is_asked_again() {
    let backend = Server::new(|seen| match seen.number % 10 {
        3 => Act::Reset(h2::Reason::REFUSED_STREAM),
        _ => Act::Answer,
    })
    .await;
    let upstream = upstream(&[&backend]);
    assert_eq!(load(&upstream, 200, 10, || {}).await, []);
    assert!(backend.request_count() <= 230);
    assert_eq!(backend.connections(), 1);
    assert!(!upstream.all_down());
}

#[tokio::test]
async fn resets_without_end_are_a_quick_failure_and_take_the_backend_down() {
    let backend = Server::new(|_| Act::Reset(h2::Reason::INTERNAL_ERROR)).await;
    let upstream = upstream(&[&backend]);
    let failures = load(&upstream, 1, 1, || {}).await;
    let reset = Fault::Reset(h2::Reason::INTERNAL_ERROR);
    assert_eq!(failures, [Failure::Transport(reset)]);
    assert!(backend.request_count() <= usize::from(limits::SENDS_PER_BACKEND));
    load(&upstream, 10, 1, || {}).await;
    assert!(upstream.all_down());
}

#[tokio::test]
async fn connections_that_end_in_good_order_cost_nothing() {
    let backend = Server::new(|seen| match seen.number % 50 {
        49 => Act::GoAway,
        _ => Act::Answer,
    })
    .await;
    let upstream = upstream(&[&backend]);
    assert_eq!(load(&upstream, 500, 10, || {}).await, []);
    assert!((9..=14).contains(&backend.connections()), "{}", backend.connections());
    assert!(!upstream.all_down());
}

#[tokio::test]
async fn the_peers_stream_limit_is_kept() {
    let tls = server::good_tls();
    let any = "127.0.0.1:0".parse().unwrap();
    let wait = Duration::from_millis(2);
    let backend =
        Server::start(tls, any, 1, move |_| Act::After(wait, Box::new(Act::Answer))).await;
    let upstream = upstream(&[&backend]);
    // the first question brings the peer's SETTINGS
    assert_eq!(load(&upstream, 1, 1, || {}).await, []);
    assert_eq!(load(&upstream, 60, 30, || {}).await, []);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn bad_answers_are_not_passed_on() {
    type Make = fn(&[u8]) -> Act;
    let cases: [(&str, Make); 7] = [
        ("dns-message", |query| {
            Act::Http(200, vec![("content-type", "text/html")], server::answer(query, 0, 0, 1))
        }),
        ("dns-message", |query| Act::Http(200, vec![], server::answer(query, 0, 0, 1))),
        ("header", |query| Act::Http(200, vec![TYPE], query[..8].to_vec())),
        ("response", |query| Act::Http(200, vec![TYPE], query.to_vec())),
        ("another question", |query| {
            let mut message = server::answer(query, 0, 0, 1);
            message[13] ^= 1;
            Act::Http(200, vec![TYPE], message)
        }),
        ("well-formed", |query| {
            let mut message = server::answer(query, 0, 0, 1);
            message.truncate(message.len() - 3);
            Act::Http(200, vec![TYPE], message)
        }),
        ("redirect", |_| Act::Http(301, vec![("location", "https://127.0.0.1/")], vec![])),
    ];
    for (words, make) in cases {
        let bad = Server::new(move |seen| make(&seen.body)).await;
        let alone = upstream(&[&bad]);
        let failure = load(&alone, 1, 1, || {}).await.remove(0);
        assert!(failure.to_string().contains(words), "{failure}");
        let good = Server::good().await;
        let with_peer = upstream(&[&bad, &good]);
        assert_eq!(load(&with_peer, 20, 2, || {}).await, [], "{words}");
    }
}

#[tokio::test]
async fn parameters_of_the_content_type_are_tolerated() {
    let backend = Server::new(|seen| {
        let headers = vec![("content-type", "application/dns-message; charset=x")];
        Act::Http(201, headers, server::answer(&seen.body, 0, 0, 1))
    })
    .await;
    assert_eq!(load(&upstream(&[&backend]), 1, 1, || {}).await, []);
}

#[tokio::test]
async fn bodies_end_at_the_longest_message() {
    let long = Server::new(|_| Act::Http(200, vec![TYPE], vec![0; 70_000])).await;
    let announced =
        Server::new(|_| Act::Http(200, vec![TYPE, ("content-length", "70000")], vec![0; 70_000]))
            .await;
    let endless = Server::new(|_| Act::Endless).await;
    for backend in [&long, &announced, &endless] {
        let failures = load(&upstream(&[backend]), 1, 1, || {}).await;
        assert_eq!(failures, [Failure::Transport(Fault::TooLarge)]);
    }
    let largest = Server::new(|seen| {
        let mut message = server::answer(&seen.body, 0, 0, 4000);
        message.resize(limits::BODY_MAX, 0);
        Act::Http(200, vec![TYPE], message)
    })
    .await;
    let fetched = upstream(&[&largest]).ask(&question("www.example"), 0).await.unwrap();
    assert_eq!(fetched.answer.records().count(), 4000);
}

#[tokio::test]
async fn a_servfail_is_checked_with_another_backend() {
    let sick = Server::new(|_| Act::Rcode(2)).await;
    let good = Server::good().await;
    let both = upstream(&[&sick, &good]);
    for i in 0..10 {
        let fetched = both.ask(&question(&format!("n{i}.example")), 0).await.unwrap();
        assert_eq!(fetched.answer.rcode(), 0);
    }
    let alone = upstream(&[&sick]);
    let fetched = alone.ask(&question("www.example"), 0).await.unwrap();
    assert_eq!(fetched.answer.rcode(), 2, "with no other opinion it is the answer");
}

#[tokio::test]
async fn a_truncated_answer_is_the_last_resort() {
    let cut = [Server::new(|_| Act::Truncated).await, Server::new(|_| Act::Truncated).await];
    let good = Server::good().await;
    let mixed = upstream(&[&cut[0], &cut[1], &good]);
    for i in 0..5 {
        let fetched = mixed.ask(&question(&format!("n{i}.example")), 0).await.unwrap();
        assert!(!fetched.answer.truncated());
    }
    let all_cut = upstream(&[&cut[0], &cut[1]]);
    assert!(all_cut.ask(&question("www.example"), 0).await.unwrap().answer.truncated());
}

#[tokio::test]
async fn a_look_for_the_operator_shows_everything_but_the_path() {
    let backend = Server::good().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let addresses = [backend.address, closed];
    let (upstream, _) = build(doh(&addresses).1);
    let mut reports = upstream.probe_each(&question("www.example")).await;
    let text = serde_json::to_string(&reports).unwrap();
    assert!(!text.contains("dns-query"), "{text}");
    let refused = reports.pop().unwrap();
    assert_eq!(refused.error.as_deref(), Some("connection refused"));
    let report = reports.pop().unwrap();
    assert_eq!(report.error, None);
    assert_eq!(report.certificate.as_deref(), Some("valid for doh.test"));
    assert_eq!(report.tls_version.as_deref(), Some("TLSv1_3"));
    assert_eq!((report.alpn.as_deref(), report.status), (Some("h2"), Some(200)));
    assert_eq!((report.rcode.as_deref(), report.ttl), (Some("NOERROR"), Some(300)));
    assert_eq!(report.first_address, Some("192.0.0.0".parse().unwrap()));
}
