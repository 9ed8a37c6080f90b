//! How often things may be done again: hedges, sends of one question, connects. Pure.

use std::time::{Duration, Instant};

use super::limits;

/// Hedges are paid for by ordinary questions, so that they stay a small share of them.
#[derive(Debug)]
pub(super) struct HedgeBudget {
    /// In hundredths of a hedge, so that counting is exact.
    credit: u32,
}

impl HedgeBudget {
    /// A few hedges are allowed from the start.
    pub(super) fn new() -> Self {
        HedgeBudget { credit: 100 * limits::HEDGE_BURST }
    }

    /// A question was asked.
    pub(super) fn question(&mut self) {
        self.credit = (self.credit + limits::HEDGE_PERCENT).min(100 * limits::HEDGE_BURST);
    }

    /// One hedge, if there is credit for it.
    pub(super) fn take(&mut self) -> bool {
        let enough = self.credit >= 100;
        if enough {
            self.credit -= 100;
        }
        enough
    }
}

/// How often one question was sent, to each backend and in all (RFC 9520 section 3.1).
#[derive(Debug)]
pub(super) struct Sends {
    by_backend: Box<[u8]>,
    total: u8,
}

impl Sends {
    /// Nothing sent to any of `backends` backends yet.
    pub(super) fn new(backends: usize) -> Self {
        Sends { by_backend: vec![0; backends].into(), total: 0 }
    }

    /// Notes one send, and gives it its number.
    pub(super) fn count(&mut self, backend: usize) -> u8 {
        self.by_backend[backend] += 1;
        self.total += 1;
        self.total
    }

    /// How often the backend got the question.
    pub(super) fn of(&self, backend: usize) -> u8 {
        self.by_backend[backend]
    }

    /// Another send to the backend is within the bounds. One that is down gets a single
    /// repetition: for what was in flight when its connections died.
    pub(super) fn allows(&self, backend: usize, up: bool) -> bool {
        let most = if up { limits::SENDS_PER_BACKEND } else { limits::SENDS_WHILE_DOWN };
        self.total < limits::SENDS_TOTAL && self.by_backend[backend] < most
    }
}

/// Tokens that come back with time, for connects: `rate` a second, at most `burst` at once.
#[derive(Debug)]
pub(super) struct ConnectBudget {
    tokens: f64,
    burst: f64,
    filled: Instant,
}

impl ConnectBudget {
    /// Full at the start.
    pub(super) fn new(now: Instant, burst: u32) -> Self {
        ConnectBudget { tokens: f64::from(burst), burst: f64::from(burst), filled: now }
    }

    /// One connect, if it is allowed now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let enough = self.fill(now) >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// A connect that led to service costs nothing: a backend that closes connections after
    /// some requests is not one that refuses them.
    pub(super) fn give_back(&mut self, now: Instant) {
        self.tokens = (self.fill(now) + 1.0).min(self.burst);
    }

    /// How long until one connect is allowed.
    pub(super) fn wait(&mut self, now: Instant) -> Duration {
        let missing = (1.0 - self.fill(now)).max(0.0);
        Duration::from_secs_f64(missing / limits::CONNECTS_PER_SECOND)
    }

    fn fill(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + passed * limits::CONNECTS_PER_SECOND).min(self.burst);
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hedges_stay_a_small_share_of_the_questions() {
        let mut budget = HedgeBudget::new();
        let mut hedges = 0;
        for _ in 0..10_000 {
            budget.question();
            hedges += u32::from(budget.take());
        }
        assert!(hedges <= 200 + limits::HEDGE_BURST, "{hedges}");
        assert!(hedges >= 200, "{hedges}");
    }

    #[test]
    fn sends_are_bounded_for_each_backend_and_in_all() {
        let mut sends = Sends::new(4);
        for _ in 0..limits::SENDS_PER_BACKEND {
            assert!(sends.allows(0, true));
            sends.count(0);
        }
        assert!(!sends.allows(0, true));
        for _ in 0..limits::SENDS_WHILE_DOWN {
            assert!(sends.allows(1, false));
            sends.count(1);
        }
        assert!(!sends.allows(1, false), "a backend that is down gets one repetition");
        assert!(sends.allows(1, true));
        sends.count(2);
        assert!(!sends.allows(3, true), "the total is bounded, too");
    }

    #[test]
    fn connects_are_two_a_second() {
        let start = Instant::now();
        let mut budget = ConnectBudget::new(start, 2);
        let mut connects = 0;
        for ms in 0..10_000 {
            connects += u32::from(budget.take(start + Duration::from_millis(ms)));
        }
        assert!((20..=22).contains(&connects), "{connects}");
        let now = start + Duration::from_secs(10);
        while budget.take(now) {}
        let wait = budget.wait(now);
        assert!(wait > Duration::ZERO);
        assert!(budget.take(now + wait));
    }

    #[test]
    fn useful_connections_cost_nothing() {
        let now = Instant::now();
        let mut budget = ConnectBudget::new(now, 2);
        for _ in 0..100 {
            assert!(budget.take(now));
            budget.give_back(now);
        }
    }
}
