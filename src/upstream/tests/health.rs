//! Backends that go down, come back, or ask to be left alone.

use super::server::{self, Act, Proxy, Server};
use super::*;

#[tokio::test]
async fn a_wrong_path_makes_way_for_the_next() {
    let backend = Server::new(|seen| match seen.head.uri.path() {
        "/new" => Act::Answer,
        _ => Act::Http(404, vec![], vec![]),
    })
    .await;
    let (mut doh, _) = doh(&[backend.address]);
    doh.paths = vec![Path::new(1, "/old").unwrap(), Path::new(2, "/new").unwrap()];
    let (upstream, _) = build(settings(Kind::Doh(doh)));
    assert_eq!(load(&upstream, 50, 10, || {}).await, []);
    assert_eq!(upstream.status().path, Some(2));
    assert!(backend.request_count() <= 60, "the good path is remembered");
}

#[tokio::test]
async fn only_wrong_paths_are_a_fault_with_its_meaning() {
    let backend = Server::new(|_| Act::Http(403, vec![], vec![])).await;
    let upstream = upstream(&[&backend]);
    let failures = load(&upstream, 3, 1, || {}).await;
    assert_eq!(failures[0], Failure::Transport(Fault::WrongPath(403)));
    assert!(upstream.all_down());
    let error = upstream.status().backends[0].last_error.clone().unwrap();
    assert_eq!(error, "HTTP 403: wrong or retired path, or not provisioned yet");
}

#[tokio::test]
async fn a_backend_that_asks_for_a_pause_gets_it() {
    let busy = Server::new(|_| Act::Http(429, vec![("retry-after", "7")], vec![])).await;
    let good = Server::good().await;
    let both = upstream(&[&busy, &good]);
    let _prober = keep_healthy(&both);
    assert_eq!(load(&both, 1, 1, || {}).await, []);
    until("the busy one is asked", || busy.request_count() > 0 || ask_one_more(&both)).await;
    let asked = busy.request_count();
    assert_eq!(load(&both, 200, 10, || {}).await, []);
    assert_eq!(busy.request_count(), asked);
    let alone = upstream(&[&busy]);
    load(&alone, 1, 1, || {}).await;
    let asked = busy.request_count();
    assert_eq!(load(&alone, 5, 1, || {}).await, vec![Failure::NoBackend; 5]);
    assert_eq!(busy.request_count(), asked, "not even if nobody else is there");
}

/// Starts one more question; never true.
fn ask_one_more(upstream: &Arc<Upstream>) -> bool {
    let upstream = upstream.clone();
    let q = question(&format!("r{}.example", fastrand::u32(..)));
    tokio::spawn(async move { upstream.ask(&q, 0).await });
    false
}

#[tokio::test]
async fn server_errors_take_a_backend_out() {
    let sick = Server::new(|_| Act::Http(500, vec![], vec![])).await;
    let good = Server::good().await;
    let upstream = upstream(&[&sick, &good]);
    assert_eq!(load(&upstream, 60, 4, || {}).await, []);
    assert_eq!(upstream.status().state, "degraded");
    assert!(sick.request_count() <= 10);
}

#[tokio::test]
async fn a_half_dead_backend_is_found_by_comparison() {
    let half = Server::new(|seen| match seen.name().as_str() {
        "." => Act::Answer,
        _ => Act::Rcode(2),
    })
    .await;
    let good = Server::new(|_| Act::After(Duration::from_millis(2), Box::new(Act::Answer))).await;
    let upstream = upstream(&[&half, &good]);
    let _prober = keep_healthy(&upstream);
    for i in 0..200 {
        let fetched = upstream.ask(&question(&format!("n{i}.example")), 0).await.unwrap();
        assert_eq!(fetched.answer.rcode(), 0);
    }
    assert_eq!(upstream.status().backends[0].state, BackendState::Down);
    assert!(half.request_count() <= 20, "{}", half.request_count());
}

#[tokio::test]
async fn names_that_fail_everywhere_lower_nobody() {
    let (first, second) = (Server::new(|_| Act::Rcode(2)).await, Server::good().await);
    let third = Server::new(|_| Act::Rcode(2)).await;
    let both = upstream(&[&first, &third]);
    for i in 0..60 {
        let fetched = both.ask(&question(&format!("n{i}.example")), 0).await.unwrap();
        assert_eq!(fetched.answer.rcode(), 2);
    }
    assert_eq!(both.status().state, "up");
    drop(second);
}

#[tokio::test]
async fn an_outage_ends_with_the_backend_s_return() {
    let backend = Server::good().await;
    let proxy = Proxy::new(backend.address).await;
    let (upstream, _) = build(doh(&[proxy.address]).1);
    let _prober = keep_healthy(&upstream);
    assert_eq!(load(&upstream, 10, 2, || {}).await, []);
    backend.kill();
    // the proxy's connection to nowhere ends, and new ones fail
    drop(proxy);
    until("the backend is down", || {
        ask_one_more(&upstream);
        upstream.all_down()
    })
    .await;
    let asked = Instant::now();
    let failure = upstream.ask(&question("www.example"), 0).await.unwrap_err();
    assert!(asked.elapsed() < limits::FETCH_DEADLINE, "{failure}");
    let address = upstream.status().backends[0].address;
    let back = Server::start(server::good_tls(), address, 100, |_| Act::Answer).await;
    until("the backend is up", || !upstream.all_down()).await;
    assert_eq!(load(&upstream, 10, 2, || {}).await, []);
    assert!(back.request_count() >= 10);
}

#[tokio::test]
async fn a_thawed_backend_comes_back() {
    let (first, second) = (Server::good().await, Server::good().await);
    let proxy = Proxy::new(first.address).await;
    let (upstream, _) = build(doh(&[proxy.address, second.address]).1);
    let _prober = keep_healthy(&upstream);
    assert_eq!(load(&upstream, 40, 4, || {}).await, []);
    proxy.freeze();
    let state = || upstream.status().backends[0].state;
    until("the frozen one is down", || {
        ask_one_more(&upstream);
        state() == BackendState::Down
    })
    .await;
    proxy.thaw();
    until("the thawed one is up", || state() == BackendState::Up).await;
}

#[tokio::test]
async fn standby_takes_over_and_nothing_is_lost() {
    let (first, spare) = (Server::good().await, Server::good().await);
    let (mut doh, _) = doh(&[first.address]);
    doh.standby = vec![spare.address];
    let (upstream, _) = build(settings(Kind::Doh(doh)));
    assert_eq!(load(&upstream, 20, 2, || {}).await, []);
    assert_eq!(spare.request_count(), 0);
    assert_eq!(load(&upstream, 100, 4, || first.kill()).await, []);
    assert!(spare.request_count() > 0);
}

#[tokio::test]
async fn refused_connections_are_not_tried_in_a_tight_loop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let accepted = count.clone();
    let rejecting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            accepted.fetch_add(1, Relaxed);
            drop(stream);
        }
    });
    let (upstream, _) = build(doh(&[address]).1);
    let _prober = keep_healthy(&upstream);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(load(&upstream, 10, 10, || {}).await.len(), 10);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(count.load(Relaxed) <= 7, "{count:?}");
    rejecting.abort();
}

#[tokio::test]
async fn a_reload_keeps_what_did_not_change() {
    let (first, second, third) = (Server::good().await, Server::good().await, Server::good().await);
    let (doh, old) = doh(&[first.address, second.address]);
    let (upstream, cache) = build(old.clone());
    assert_eq!(load(&upstream, 100, 10, || {}).await, []);
    let connections = first.connections();
    let again = Upstream::build(0, old, Some(&upstream), 1, cache.clone()).unwrap();
    assert!(Arc::ptr_eq(&again, &upstream));
    let mut changed = doh;
    changed.addresses = vec![first.address, third.address];
    let changed = settings(Kind::Doh(changed));
    let new = Upstream::build(0, changed, Some(&upstream), 1, cache).unwrap();
    drop((again, upstream));
    assert!(new.status().backends[0].answered > 0, "counters go on");
    assert_eq!(load(&new, 100, 10, || {}).await, []);
    assert_eq!(first.connections(), connections);
    assert!(third.request_count() > 0);
}
