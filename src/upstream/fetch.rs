//! One question, from the first try to the last late answer. This is the place where nothing
//! may get lost.
//!
//! ```text
//!   launch ──► tries in flight ──► a try ends:   good answer          → done
//!                 ▲        │                     SERVFAIL, REFUSED, TC → ask another, keep it
//!                 │        │                     fault                → retry elsewhere, or here
//!                 │        └─────► time passes:  p95                  → hedge, within a budget
//!                 │                              3 x p95              → PING, repeat elsewhere
//!                 └──────────────────────────────                        the slow one runs on
//!   after the answer: tries still in flight run on for a while; good late answers are kept
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::sleep_until;

use super::backend::Backend;
use super::budget::Sends;
use super::connection::{Connection, StreamPermit};
use super::failure::{Class, Failure, Fault};
use super::health::Event;
use super::join::Slot;
use super::select::{self, Candidate};
use super::{Fetched, Outcome, Upstream, doh, limits, locked, plain};
use crate::dns::answer::Answer;
use crate::dns::{compose, rcode};

/// The task of one question: fills the slot, then waits for late answers.
pub(super) async fn run(upstream: Arc<Upstream>, slot: Arc<Slot>, pool: usize) {
    let guard = Guard { upstream: &upstream, slot: &slot, filled: false };
    let wire = Wire::new(&upstream, &slot);
    let mut fetch = Fetch::new(&upstream, &slot, &wire, pool);
    let outcome = tokio::select! {
        biased;
        () = slot.shed.notified() => {
            upstream.counts.shed.fetch_add(1, Relaxed);
            Err(Failure::Shed)
        }
        outcome = fetch.answer() => outcome,
    };
    guard.fill(outcome);
    fetch.run_out().await;
}

/// Fills the slot even if the fetch panics or its runtime ends: waiters are never left alone,
/// and the name is free again.
struct Guard<'a> {
    upstream: &'a Upstream,
    slot: &'a Arc<Slot>,
    filled: bool,
}

impl Guard<'_> {
    fn fill(mut self, outcome: Outcome) {
        self.upstream.sink.received(self.upstream.id, &self.slot.question, &outcome);
        self.upstream.joins.leave(self.slot, outcome);
        self.filled = true;
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.upstream.joins.leave(self.slot, Err(Failure::Panicked));
        }
    }
}

/// What all tries of a question need.
struct Wire<'a> {
    upstream: &'a Upstream,
    slot: &'a Slot,
    /// The padded message with id 0; empty for plain DNS, where each try has its own id.
    message: Bytes,
}

impl<'a> Wire<'a> {
    fn new(upstream: &'a Upstream, slot: &'a Slot) -> Self {
        let message = match upstream.urls {
            Some(_) => doh_message(&slot.question),
            None => Bytes::new(),
        };
        Wire { upstream, slot, message }
    }
}

/// A question as it is sent over DoH: id 0 (RFC 8484 section 4.1), padded (RFC 8467).
pub(super) fn doh_message(q: &crate::dns::question::Question) -> Bytes {
    compose::upstream_query(q, 0, u16::MAX, Some(limits::PADDING_BLOCK)).into()
}

/// One question's tries and what came of them.
struct Fetch<'a> {
    upstream: &'a Upstream,
    slot: &'a Slot,
    wire: &'a Wire<'a>,
    pool: usize,
    tries: FuturesUnordered<Pin<Box<dyn Future<Output = Ended> + Send + 'a>>>,
    running: Vec<Running>,
    sends: Sends,
    /// Lanes that another one may have to be compared with: slow, SERVFAIL or REFUSED.
    doubtful: Vec<usize>,
    /// Who gave the good answer.
    winner: Option<usize>,
    hedge_at: Option<Instant>,
    /// When a repetition that waits for a PING is looked at again.
    repeat_at: Option<Instant>,
    /// An answer that is not good, but better than none.
    fallback: Option<Arc<Fetched>>,
    /// When that has to do.
    fallback_at: Option<Instant>,
    last_fault: Option<Fault>,
}

/// A try in flight, as the loop sees it.
struct Running {
    number: u8,
    lane: usize,
    started: Instant,
    slow_at: Option<Instant>,
    /// The connection it is on; unknown while one is being opened.
    connection: Option<Arc<Connection>>,
}

/// A try that ended.
struct Ended {
    number: u8,
    lane: usize,
    /// Path of the URL that was used.
    path: usize,
    /// The connection had served before.
    reused: bool,
    took: Duration,
    result: Result<Fetched, Fault>,
}

/// Why a try is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    First,
    /// The one before failed; the same backend may be asked again.
    Retry {
        here: bool,
    },
    /// The one before is slow.
    Slow,
    Hedge,
    /// The answer before was a SERVFAIL, REFUSED or truncated.
    SecondOpinion,
}

impl<'a> Fetch<'a> {
    fn new(upstream: &'a Upstream, slot: &'a Slot, wire: &'a Wire<'a>, pool: usize) -> Self {
        Fetch {
            upstream,
            slot,
            wire,
            pool,
            tries: FuturesUnordered::new(),
            running: Vec::with_capacity(2),
            sends: Sends::new(upstream.lanes.len()),
            doubtful: Vec::new(),
            winner: None,
            hedge_at: None,
            repeat_at: None,
            fallback: None,
            fallback_at: None,
            last_fault: None,
        }
    }

    /// Asks until there is an answer, nobody is left to ask, or the time is over.
    async fn answer(&mut self) -> Outcome {
        locked(&self.upstream.hedges).question();
        if self.launch(Why::First) {
            self.plan_hedge();
        }
        let deadline = self.slot.started + limits::FETCH_DEADLINE;
        loop {
            if self.tries.is_empty() {
                return self.nothing_left();
            }
            let wake = self.next_wake(deadline);
            let done = tokio::select! {
                biased;
                Some(ended) = self.tries.next() => self.ended(ended),
                () = sleep_until(wake.into()) => self.time_passed(deadline),
            };
            if let Some(outcome) = done {
                return outcome;
            }
        }
    }

    /// Lets the tries that are still in flight end by themselves: resetting them would look
    /// like an attack to the backend, and their answers are worth keeping. One that is late is
    /// noticed as before, or a hedge would hide a dead path.
    async fn run_out(&mut self) {
        let end = Instant::now() + limits::ABANDONED_TRY;
        while !self.tries.is_empty() {
            let slow = self.running.iter().filter_map(|r| r.slow_at).min();
            let wake = slow.unwrap_or(end).min(end);
            tokio::select! {
                biased;
                Some(ended) = self.tries.next() => self.ended_late(ended),
                () = sleep_until(wake.into()) => {
                    if Instant::now() >= end {
                        return;
                    }
                    self.mark_slow(Instant::now());
                }
            }
        }
    }

    fn ended_late(&mut self, ended: Ended) {
        self.running.retain(|r| r.number != ended.number);
        let backend = &self.upstream.lanes[ended.lane].backend;
        match ended.result {
            Ok(fetched) => {
                let good = worth(&fetched.answer) == Worth::Good;
                backend.answered(ended.took, good);
                if good {
                    self.upstream.counts.late.fetch_add(1, Relaxed);
                    let (id, q) = (self.upstream.id, &self.slot.question);
                    self.upstream.sink.received(id, q, &Ok(Arc::new(fetched)));
                }
            }
            Err(fault) => backend.try_failed(&fault),
        }
    }

    // ── a try ends ──

    fn ended(&mut self, ended: Ended) -> Option<Outcome> {
        let started = self.running.iter().position(|r| r.number == ended.number);
        if let Some(i) = started {
            self.running.swap_remove(i);
        }
        match ended.result {
            Ok(fetched) => self.answered(ended.lane, ended.path, ended.took, fetched),
            Err(ref fault) => {
                let fault = fault.clone();
                self.failed(&ended, fault);
                None
            }
        }
    }

    fn answered(
        &mut self,
        lane: usize,
        path: usize,
        took: Duration,
        fetched: Fetched,
    ) -> Option<Outcome> {
        let worth = worth(&fetched.answer);
        self.upstream.lanes[lane].path_is_good(path);
        self.upstream.lanes[lane].backend.answered(took, worth == Worth::Good);
        if worth == Worth::Good {
            self.compare_with(lane);
            return Some(Ok(Arc::new(fetched)));
        }
        if worth == Worth::Refused {
            self.doubtful.push(lane);
        }
        // between two poor answers the first one is kept, a truncated one goes first
        let better = match &self.fallback {
            Some(kept) => worth > self::worth(&kept.answer),
            None => true,
        };
        let first = self.fallback.is_none();
        if better {
            self.fallback = Some(Arc::new(fetched));
        }
        // one second opinion on a failure; for an answer that fits, everybody is asked
        let ask = self.tries.is_empty() && (first || worth == Worth::Truncated);
        if ask {
            self.launch(Why::SecondOpinion);
        }
        // nobody else needs to hurry, but nobody is waited for as long as without an answer
        let patience =
            self.running.iter().map(|r| self.upstream.lanes[r.lane].backend.try_timeout());
        match patience.max() {
            Some(patience) => self.fallback_at = Some(Instant::now() + patience),
            None => return self.fallback.take().map(Ok),
        }
        None
    }

    fn failed(&mut self, ended: &Ended, fault: Fault) {
        let lane = &self.upstream.lanes[ended.lane];
        self.last_fault = Some(fault.clone());
        if let Fault::WrongPath(status) = fault
            && lane.next_path(&self.upstream.settings.name, ended.path, status)
        {
            lane.backend.counts.failed.fetch_add(1, Relaxed);
            if self.sends.allows(ended.lane, lane.backend.is_up()) {
                self.start(ended.lane, Why::Retry { here: true });
            } else {
                self.launch(Why::Retry { here: false });
            }
            return;
        }
        lane.backend.try_failed(&fault);
        // others are still at it: they are the retry
        if !self.tries.is_empty() && self.running.iter().any(|r| r.slow_at.is_some()) {
            return;
        }
        let here = match fault {
            Fault::NotProcessed | Fault::Reset(_) | Fault::Http2(_) => true,
            Fault::Broken | Fault::PathDead => ended.reused || lane.backend.endpoint().is_none(),
            Fault::Status(500..) | Fault::Unanswered => true,
            _ => false,
        };
        self.launch(Why::Retry { here });
    }

    /// This lane answered: those that did worse with the same question are told.
    fn compare_with(&mut self, good: usize) {
        self.winner = Some(good);
        self.doubtful.sort_unstable();
        self.doubtful.dedup();
        for &lane in self.doubtful.iter().filter(|&&lane| lane != good) {
            self.upstream.lanes[lane].backend.report(Event::Overtaken(self.slot.name_hash));
        }
    }

    fn nothing_left(&mut self) -> Outcome {
        if let Some(fallback) = self.fallback.take() {
            return Ok(fallback);
        }
        Err(match self.last_fault.take() {
            Some(fault) if !(fault.class() == Class::Own && self.upstream.all_down()) => {
                Failure::Transport(fault)
            }
            _ => Failure::NoBackend,
        })
    }

    // ── time passes ──

    fn next_wake(&self, deadline: Instant) -> Instant {
        let slow = self.running.iter().filter_map(|r| r.slow_at);
        slow.chain(self.hedge_at)
            .chain(self.fallback_at)
            .chain(self.repeat_at)
            .chain([deadline])
            .min()
            .unwrap_or(deadline)
    }

    fn time_passed(&mut self, deadline: Instant) -> Option<Outcome> {
        let now = Instant::now();
        if self.fallback_at.is_some_and(|at| at <= now) || now >= deadline {
            let late = self.fallback.take().map(Ok);
            return Some(late.unwrap_or(Err(Failure::Timeout)));
        }
        if self.hedge_at.is_some_and(|at| at <= now) {
            self.hedge_at = None;
            self.hedge();
        }
        let again = self.repeat_at.take_if(|at| *at <= now).is_some();
        for _ in 0..self.mark_slow(now).max(usize::from(again)) {
            self.repeat(now);
        }
        None
    }

    /// Sends the question once more because an answer is late.
    fn repeat(&mut self, now: Instant) {
        // with an answer at hand, however poor, there is no need to hurry
        let lane = match self.fallback {
            None => self.choose(Why::Slow, now),
            Some(_) => None,
        };
        let Some(lane) = lane else { return };
        let same = self.running.iter().filter(|r| r.lane == lane);
        let doubt = same.filter_map(|r| r.connection.as_ref()?.in_doubt()).max();
        match doubt {
            // nobody else to ask, and a connection that may be dead: the PING decides. Either
            // the connection ends, and its tries with it, or the question is sent once more.
            Some(wait) => self.repeat_at = Some(now + wait),
            None => self.start(lane, Why::Slow),
        }
    }

    /// Tries that passed their time-out make a PING due and put their backend in doubt. Tells
    /// how many there are.
    fn mark_slow(&mut self, now: Instant) -> usize {
        let mut count = 0;
        for running in &mut self.running {
            if running.slow_at.is_none_or(|at| at > now) {
                continue;
            }
            running.slow_at = None;
            count += 1;
            let backend = &self.upstream.lanes[running.lane].backend;
            backend.slow(now - running.started);
            if let Some(connection) = &running.connection {
                connection.suspect();
            }
            match self.winner {
                Some(winner) if winner != running.lane => {
                    backend.report(Event::Overtaken(self.slot.name_hash));
                }
                Some(_) => {}
                None => self.doubtful.push(running.lane),
            }
        }
        count
    }

    /// A hedge is worth it only if another backend can take it.
    fn plan_hedge(&mut self) {
        let Some(running) = self.running.first() else { return };
        if self.upstream.lanes.len() > 1 {
            let p95 = self.upstream.lanes[running.lane].backend.p95();
            self.hedge_at = p95.map(|p95| running.started + p95.max(limits::HEDGE_MIN));
        }
    }

    fn hedge(&mut self) {
        let now = Instant::now();
        let lonely = self.running.len() == 1 && self.fallback.is_none();
        let other = self.choose(Why::Hedge, now).is_some();
        if lonely && other && locked(&self.upstream.hedges).take() && self.launch(Why::Hedge) {
            self.upstream.counts.hedged.fetch_add(1, Relaxed);
        }
    }

    // ── a try begins ──

    /// Starts a try where it does best; false if there is nobody to ask.
    fn launch(&mut self, why: Why) -> bool {
        let lane = self.choose(why, Instant::now());
        if let Some(lane) = lane {
            self.start(lane, why);
        }
        lane.is_some()
    }

    fn choose(&self, why: Why, now: Instant) -> Option<usize> {
        let mut candidates: Vec<Candidate> = Vec::with_capacity(self.upstream.lanes.len());
        for (i, lane) in self.upstream.lanes.iter().enumerate() {
            let backend = &lane.backend;
            let up = backend.is_up();
            let tried = self.sends.of(i) > 0;
            // a backend gets the question again only where that promises something
            let again = match why {
                Why::First => true,
                Why::Retry { here } => here,
                Why::Slow => self.may_repeat(i),
                Why::Hedge | Why::SecondOpinion => false,
            };
            let allowed = self.sends.allows(i, up)
                && (!tried || again)
                && (up || !matches!(why, Why::Hedge | Why::SecondOpinion));
            candidates.push(Candidate {
                standby: lane.standby,
                up,
                settled: backend.is_settled(now),
                barred: !allowed || backend.is_barred(now),
                full: backend.is_full(self.pool),
                tried,
                cost: backend.cost(now),
            });
        }
        select::choose(&candidates, |n| fastrand::usize(..n))
    }

    /// A slow try is repeated on the same backend only if its connection is open: a handshake
    /// that hangs is not helped by another one who waits for it.
    fn may_repeat(&self, lane: usize) -> bool {
        let backend = &self.upstream.lanes[lane].backend;
        let open = |r: &Running| r.lane != lane || r.connection.is_some();
        backend.endpoint().is_none() || self.running.iter().all(open)
    }

    fn start(&mut self, lane: usize, why: Why) {
        let backend = self.upstream.lanes[lane].backend.clone();
        let number = self.sends.count(lane);
        backend.counts.sent.fetch_add(1, Relaxed);
        if matches!(why, Why::Retry { .. } | Why::Slow) {
            backend.counts.retried.fetch_add(1, Relaxed);
        }
        let now = Instant::now();
        let permit = backend.stream_now(self.pool);
        // each repetition on one backend waits twice as long
        let again = u32::from(self.sends.of(lane) - 1);
        self.running.push(Running {
            number,
            lane,
            started: now,
            slow_at: Some(now + backend.try_timeout() * 2u32.pow(again)),
            connection: permit.as_ref().map(|permit| permit.connection().clone()),
        });
        let job = Try { number, lane, backend, permit, pool: self.pool };
        self.tries.push(Box::pin(job.run(self.wire)));
    }
}

/// One try at one backend.
struct Try {
    number: u8,
    lane: usize,
    backend: Arc<Backend>,
    permit: Option<StreamPermit>,
    pool: usize,
}

impl Try {
    async fn run(mut self, wire: &Wire<'_>) -> Ended {
        let full = wire.upstream.urls.is_none() && self.backend.is_full(self.pool);
        let _in_flight = self.backend.enter();
        let lane = &wire.upstream.lanes[self.lane];
        let path = lane.path.load(Relaxed);
        let mut started = Instant::now();
        let mut reused = false;
        let result = match &wire.upstream.urls {
            None if full => Err(Fault::Busy),
            None => plain::exchange(self.backend.address, &wire.slot.question)
                .await
                .map(|answer| Fetched::plain(answer, self.backend.address)),
            Some(urls) => match self.permit().await {
                Err(fault) => Err(fault),
                Ok(permit) => {
                    // what connecting took says nothing about answering
                    started = Instant::now();
                    reused = permit.reused;
                    let request = urls.request(path, wire.message.len());
                    doh::exchange(&permit, request, wire.message.clone()).await.and_then(|reply| {
                        read_answer(&wire.slot.question, &reply, self.backend.address)
                    })
                }
            },
        };
        let took = started.elapsed();
        Ended { number: self.number, lane: self.lane, path, reused, took, result }
    }

    async fn permit(&mut self) -> Result<StreamPermit, Fault> {
        match self.permit.take() {
            Some(permit) => Ok(permit),
            None => self.backend.stream(self.pool).await,
        }
    }
}

/// Takes the DNS message out of a reply.
pub(super) fn read_answer(
    q: &crate::dns::question::Question,
    reply: &doh::Reply,
    backend: std::net::SocketAddr,
) -> Result<Fetched, Fault> {
    let answer = Answer::receive(q, &reply.body).map_err(Fault::Answer)?;
    Ok(Fetched {
        answer: Arc::new(answer),
        age: reply.age,
        max_age: reply.max_age,
        no_store: reply.no_store,
        backend,
        plain: false,
    })
}

/// What an answer is worth, in rising order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// SERVFAIL or REFUSED: another backend may know better.
    Refused,
    /// Cut, which has no place over DoH or TCP.
    Truncated,
    /// Anything else is the answer.
    Good,
}

fn worth(answer: &Answer) -> Worth {
    match answer.rcode() {
        rcode::SERVFAIL | rcode::REFUSED => Worth::Refused,
        _ if answer.truncated() => Worth::Truncated,
        _ => Worth::Good,
    }
}
