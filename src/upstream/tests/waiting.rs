//! Those who wait: joined, shed, gone, or hit by a fault of our own.

use super::server::{Act, Server};
use super::*;

const SOON: Duration = Duration::from_millis(50);

fn slow_server() -> impl Future<Output = Server> {
    Server::new(|_| Act::After(SOON, Box::new(Act::Answer)))
}

#[tokio::test]
async fn equal_questions_are_asked_once() {
    let backend = slow_server().await;
    let (upstream, cache) = build(doh(&[backend.address]).1);
    let q = question("www.example");
    let outcomes = futures_util::future::join_all((0..100).map(|i| upstream.ask(&q, i))).await;
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(backend.request_count(), 1);
    assert_eq!(upstream.status().joined, 99);
    assert_eq!(cache.count("www.example", true), 1);
}

#[tokio::test]
async fn the_oldest_question_is_given_up_when_there_are_too_many() {
    let backend = Server::new(|seen| match seen.name().as_str() {
        "2.example" => Act::After(SOON, Box::new(Act::Answer)),
        _ => Act::Silence,
    })
    .await;
    let (_, mut settings) = doh(&[backend.address]);
    settings.max_in_flight = 2;
    let (upstream, cache) = build(settings);
    let names: Vec<_> = (0..3).map(|i| question(&format!("{i}.example"))).collect();
    let mut asks: Vec<_> = names.iter().map(|q| Box::pin(upstream.ask(q, 0))).collect();
    for ask in &mut asks {
        begin(ask).await;
    }
    let last = asks.pop().unwrap();
    let _second = asks.pop().unwrap();
    assert_eq!(asks.pop().unwrap().await.unwrap_err(), Failure::Shed);
    assert!(last.await.is_ok());
    assert_eq!(upstream.status().shed, 1);
    assert_eq!(cache.count("0.example", false), 1);
}

#[tokio::test]
async fn a_client_that_leaves_harms_nobody() {
    let backend = slow_server().await;
    let (upstream, cache) = build(doh(&[backend.address]).1);
    let q = question("www.example");
    let mut first = Box::pin(upstream.ask(&q, 0));
    begin(&mut first).await;
    let mut second = Box::pin(upstream.ask(&q, 0));
    begin(&mut second).await;
    drop(first);
    assert!(second.await.is_ok());
    let gone = question("gone.example");
    let mut ask = Box::pin(upstream.ask(&gone, 0));
    begin(&mut ask).await;
    drop(ask);
    until("the answer reaches the cache", || cache.count("gone.example", true) == 1).await;
    assert_eq!(upstream.status().in_flight, 0);
}

#[tokio::test]
async fn a_panic_costs_one_question_and_frees_its_name() {
    let backend = slow_server().await;
    let (upstream, cache) = build(doh(&[backend.address]).1);
    cache.panics.store(true, Relaxed);
    let q = question("www.example");
    let (first, joined) = tokio::join!(upstream.ask(&q, 0), upstream.ask(&q, 0));
    assert_eq!(first.unwrap_err(), Failure::Panicked);
    assert_eq!(joined.unwrap_err(), Failure::Panicked);
    assert!(upstream.ask(&q, 0).await.is_ok());
    assert_eq!(upstream.status().in_flight, 0);
}

#[tokio::test]
async fn a_slow_try_is_repeated_elsewhere_and_its_late_answer_is_kept() {
    let late = Duration::from_millis(900);
    let slow = Server::new(move |_| Act::After(late, Box::new(Act::Answer))).await;
    let good = Server::good().await;
    let (mut doh, _) = doh(&[slow.address]);
    doh.standby = vec![good.address];
    let (upstream, cache) = build(settings(Kind::Doh(doh)));
    let fetched = upstream.ask(&question("www.example"), 0).await.unwrap();
    assert_eq!(fetched.backend, good.address);
    until("the late answer comes", || cache.count("www.example", true) == 2).await;
    assert_eq!(upstream.status().late, 1);
    assert_eq!(upstream.status().state, "up", "one slow answer proves nothing");
}

#[tokio::test]
async fn hedges_are_few() {
    let backend = [
        Server::new(|seen| match seen.number % 10 {
            5 => Act::After(SOON * 4, Box::new(Act::Answer)),
            _ => Act::Answer,
        })
        .await,
        Server::good().await,
    ];
    let upstream = upstream(&[&backend[0], &backend[1]]);
    assert_eq!(load(&upstream, 400, 2, || {}).await, []);
    let sent: u64 = upstream.status().backends.iter().map(|b| b.sent).sum();
    assert!(upstream.status().hedged <= 8 + u64::from(limits::HEDGE_BURST));
    assert!(sent <= 500, "{sent}");
}

#[tokio::test]
async fn silence_ends_with_a_failure_in_time() {
    let backend = Server::new(|_| Act::Silence).await;
    let (upstream, cache) = build(doh(&[backend.address]).1);
    let asked = Instant::now();
    let failure = upstream.ask(&question("www.example"), 0).await.unwrap_err();
    assert_eq!(failure, Failure::Timeout);
    assert!(asked.elapsed() < Duration::from_secs(4));
    assert!(backend.request_count() <= usize::from(limits::SENDS_PER_BACKEND));
    assert_eq!(backend.connections(), 1, "PINGs are answered, the path is alive");
    assert_eq!(cache.count("www.example", false), 1);
}

#[test]
fn workers_on_runtimes_of_their_own_share_everything() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let serving = runtime();
    let backend = serving.block_on(Server::good());
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    let server = std::thread::spawn(move || serving.block_on(stopped.notified()));
    let cache = Arc::new(Cache::default());
    let settings = doh(&[backend.address]).1;
    let upstream = Upstream::build(0, settings, None, 3, cache).unwrap();
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let upstream = &upstream;
            scope.spawn(move || {
                runtime().block_on(async {
                    for i in 0..200 {
                        let q = question(&format!("n{i}.example"));
                        assert!(upstream.ask(&q, worker).await.is_ok());
                    }
                });
            });
        }
    });
    assert!(backend.connections() <= 3);
    assert!(backend.request_count() <= 600);
    stop.notify_one();
    server.join().unwrap();
}
