//! Counters: cells per worker, summed when somebody asks.
//!
//! A worker adds to its own cells only, with a plain load and store; nothing is shared on the
//! query's road. The list of counters below is the whole of what is counted there, with the
//! help texts that `docs/METRICS.md` and `/metrics` show.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $variant:ident => $name:literal,)+) => {
        /// What is counted on the query's road.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[doc = $help])+ $variant,)+ }

        impl Counter {
            /// All counters, in the order of the enum.
            pub const ALL: &'static [Counter] = &[$(Counter::$variant,)+];

            /// Name in status and metrics, without prefix and suffix.
            pub fn name(self) -> &'static str {
                match self { $(Counter::$variant => $name,)+ }
            }

            /// What it counts.
            pub fn help(self) -> &'static str {
                match self { $(Counter::$variant => concat!($($help),+).trim_ascii(),)+ }
            }
        }
    };
}

counters! {
    /// Packets and TCP messages received.
    Received => "received",
    /// Queries answered, with whatever code.
    Answered => "answered",
    /// Queries left without an answer by a DROP rule.
    DroppedByPolicy => "dropped_by_policy",
    /// Queries refused: outside the access list, or not supported here.
    Refused => "refused",
    /// Packets that are no well-formed query: answered FORMERR, NOTIMP or BADVERS, or ignored.
    Malformed => "malformed",
    /// Answers from the cache.
    CacheHits => "cache_hits",
    /// Look-ups that had to ask an upstream.
    CacheMisses => "cache_misses",
    /// Stale answers given because the upstream failed or was slow.
    Stale => "stale",
    /// Answers made here: hosts, special names.
    Local => "local",
    /// Answers changed or withheld by policy.
    Blocked => "blocked",
    /// Matches of rules that only watch.
    Monitored => "monitored",
    /// Answers given though not all name servers could be looked up, so that NSDNAME and NSIP
    /// rules may have been missed.
    Unverified => "unverified",
    /// Answers with SERVFAIL that Culvert itself made.
    ServFail => "servfail",
    /// Queries answered SERVFAIL because a policy zone that they wait for was never loaded.
    NotReady => "not_ready",
    /// Queries answered SERVFAIL at once because too many were waiting.
    Overload => "overload",
    /// UDP answers cut to fit, with TC set.
    Truncated => "truncated",
    /// Queries that came over TCP.
    Tcp => "tcp",
    /// NOTIFY messages that were taken: they come from a zone's primary, signed as they must be.
    Notified => "notified",
    /// NOTIFY messages of primaries that were refused: for a zone that is not theirs, or not
    /// signed with its key.
    NotifyRefused => "notify_refused",
    /// Queries that ended in a panic and got SERVFAIL.
    Panics => "panics",
    /// Replies that the system refused to send.
    SendErrors => "send_errors",
    /// TCP connections closed at a limit.
    TcpRefused => "tcp_refused",
    /// Queries that began to wait for an upstream.
    WaitsBegun => "waits_begun",
    /// Queries that ended to wait for an upstream.
    WaitsEnded => "waits_ended",
}

const COUNTERS: usize = Counter::ALL.len();

/// One worker's counters. Only that worker's thread adds to them.
#[repr(align(128))]
pub struct Cells([AtomicU64; COUNTERS]);

impl Cells {
    /// Adds one.
    #[inline]
    pub fn count(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        // one writer: a load and a store do, without a locked instruction
        let cell = &self.0[counter as usize];
        cell.store(cell.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}

/// The counters of all workers.
pub struct Counters(Box<[Cells]>);

impl Counters {
    /// Counters for this many workers, all zero.
    pub fn new(workers: usize) -> Counters {
        let zero = || Cells(std::array::from_fn(|_| AtomicU64::new(0)));
        Counters((0..workers.max(1)).map(|_| zero()).collect())
    }

    /// Cells of one worker.
    #[inline]
    pub fn worker(&self, worker: usize) -> &Cells {
        &self.0[worker % self.0.len()]
    }

    /// Sum over the workers.
    pub fn sum(&self, counter: Counter) -> u64 {
        self.0.iter().map(|cells| cells.0[counter as usize].load(Ordering::Relaxed)).sum()
    }

    /// Queries waiting for an upstream now.
    pub fn in_flight(&self) -> u64 {
        let ended = self.sum(Counter::WaitsEnded);
        self.sum(Counter::WaitsBegun).saturating_sub(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_add_up() {
        let counters = Counters::new(2);
        counters.worker(0).count(Counter::Answered);
        counters.worker(1).add(Counter::Answered, 4);
        counters.worker(1).count(Counter::WaitsBegun);
        assert_eq!(counters.sum(Counter::Answered), 5);
        assert_eq!((counters.sum(Counter::Refused), counters.in_flight()), (0, 1));
        assert_eq!(Counter::Answered.help(), "Queries answered, with whatever code.");
    }
}
