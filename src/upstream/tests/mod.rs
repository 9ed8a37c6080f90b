//! The room against backends that misbehave, all on 127.0.0.1. Waits are for conditions, not
//! for times; the few time-outs that must pass are the room's own.

mod doh;
mod health;
mod plain;
mod server;
mod tls;
mod waiting;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::*;

/// Remembers what reaches the cache.
#[derive(Default)]
struct Cache {
    seen: Mutex<Vec<(Question, bool)>>,
    panics: AtomicBool,
}

impl AnswerSink for Cache {
    fn received(&self, _upstream: usize, q: &Question, outcome: &Outcome) {
        assert!(!self.panics.swap(false, Relaxed), "the sink was told to panic");
        locked(&self.seen).push((*q, outcome.is_ok()));
    }
}

impl Cache {
    /// How often an outcome for the name came, good or bad.
    fn count(&self, name: &str, good: bool) -> usize {
        let q = question(name);
        locked(&self.seen).iter().filter(|seen| **seen == (q, good)).count()
    }
}

fn question(name: &str) -> Question {
    Question::plain(name.parse().unwrap(), 1)
}

/// Settings of a service with these backends and the tests' CA.
fn doh(addresses: &[SocketAddr]) -> (DohSettings, Settings) {
    let doh = DohSettings {
        host: server::HOST.to_owned(),
        port: 443,
        paths: vec![Path::new(1, "/dns-query").unwrap()],
        addresses: addresses.to_vec(),
        standby: Vec::new(),
        ca: Some(ca_file()),
    };
    (doh.clone(), settings(Kind::Doh(doh)))
}

fn settings(kind: Kind) -> Settings {
    Settings { name: "service".to_owned(), kind, max_in_flight: 10_000 }
}

fn ca_file() -> PathBuf {
    server::authority().file.clone()
}

fn build(settings: Settings) -> (Arc<Upstream>, Arc<Cache>) {
    let cache = Arc::new(Cache::default());
    (Upstream::build(0, settings, None, 1, cache.clone()).unwrap(), cache)
}

/// An upstream for these DoH backends.
fn upstream(backends: &[&server::Server]) -> Arc<Upstream> {
    let addresses: Vec<_> = backends.iter().map(|b| b.address).collect();
    build(doh(&addresses).1).0
}

/// Waits until the condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks `count` names, `at_once` of them at a time; calls `event` before the one in the middle.
/// Returns the failures.
async fn load(
    upstream: &Arc<Upstream>,
    count: usize,
    at_once: usize,
    event: impl FnOnce(),
) -> Vec<Failure> {
    let next = AtomicUsize::new(0);
    let event = Mutex::new(Some(event));
    let failures = Mutex::new(Vec::new());
    let ask = async || {
        loop {
            let i = next.fetch_add(1, Relaxed);
            if i >= count {
                return;
            }
            if i == count / 2 {
                let event = locked(&event).take();
                event.into_iter().for_each(|event| event());
            }
            let q = question(&format!("n{i}.example"));
            if let Err(failure) = upstream.ask(&q, 0).await {
                locked(&failures).push(failure);
            }
        }
    };
    futures_util::future::join_all((0..at_once).map(|_| ask())).await;
    failures.into_inner().unwrap()
}

/// Runs the prober beside a test.
fn keep_healthy(upstream: &Arc<Upstream>) -> impl Drop + use<> {
    struct Prober(tokio::task::JoinHandle<()>);
    impl Drop for Prober {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    Prober(tokio::spawn(upstream.clone().keep_healthy()))
}

/// Polls a future once, so that it has begun.
async fn begin<F: Future + Unpin>(future: &mut F) {
    let ended = futures_util::poll!(future);
    assert!(ended.is_pending(), "it ended at once");
}
