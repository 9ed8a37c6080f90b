//! What every integration test stands on.
//!
//! ```text
//!  clients ──UDP/TCP──▶ relay ─DoH──▶ backend  scripted, per request
//!  (own, dig, kdig,      │  ▲  ├DoH──▶ frames   scripted, per frame
//!   dnsperf, flood)      │  │  ├DoH──▶ peers    named, unbound, dnsdist
//!                        │  │  ├DNS──▶ plain    scripted
//!                        ▼  │  ├HTTPS▶ web      scripted pages
//!                        │  │  ├XFR──▶ primary  scripted, signs with tsig
//!                        │  │  └XFR──▶ authority  named, nsd, knotd, pdns_server
//!         hit log, metrics  control and notify sockets; pid_one keeps sockets over restarts
//! ```
//!
//! Every server has a folder, a port and a process of its own and ends with its handle, also
//! when the test panics. Every wait has a deadline.

pub mod authority;
pub mod backend;
pub mod bind;
pub mod client;
pub mod conf;
pub mod document;
pub mod feed;
pub mod flood;
pub mod frames;
pub mod peers;
pub mod pid_one;
pub mod plain;
pub mod primary;
pub mod process;
pub mod relay;
pub mod script;
pub mod stage;
pub mod tls;
pub mod tools;
pub mod tsig;
pub mod web;
pub mod wire;
pub mod world;

use std::time::{Duration, Instant};

/// The longest time the relay may take for any answer (its own bound is 4 s; the rest is for a
/// busy machine).
pub const PATIENCE: Duration = Duration::from_millis(5500);

/// Asks `ready` again and again until it says yes; fails the test after `limit`.
#[track_caller]
pub fn eventually(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Seconds, for short test lines.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Milliseconds, for short test lines.
pub const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}
