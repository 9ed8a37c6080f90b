//! How long a backend takes: a moving average for choosing, a 95th percentile for time-outs.
//! Pure: durations in, durations out.

use std::time::Duration;

use super::limits;

/// Buckets of the histogram: quarter octaves from 64 µs, the last one open.
const BUCKETS: usize = 64;
/// Shortest latency that is told apart, in microseconds.
const FLOOR_US: u64 = 64;
/// All counts are halved after so many samples, so that old times fade.
const FADE_EVERY: u32 = 256;
/// Samples before a percentile means anything.
const ENOUGH: u32 = 8;

/// What was measured of one backend.
#[derive(Debug)]
pub(super) struct Latency {
    average_us: f64,
    counts: [u32; BUCKETS],
    total: u32,
    since_fade: u32,
    p95: Option<Duration>,
}

impl Latency {
    /// Nothing measured yet.
    pub(super) fn new() -> Self {
        Latency { average_us: 0.0, counts: [0; BUCKETS], total: 0, since_fade: 0, p95: None }
    }

    /// Takes in the time that one answer took.
    pub(super) fn record(&mut self, took: Duration) {
        let us = took.as_micros().clamp(1, u128::from(u32::MAX)) as u64;
        self.average_us = match self.total {
            0 => us as f64,
            _ => self.average_us + (us as f64 - self.average_us) / 8.0,
        };
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.since_fade += 1;
        if self.since_fade >= FADE_EVERY {
            self.fade();
        }
        // the percentile is needed often and changes slowly
        if self.total < 64 || self.since_fade.is_multiple_of(16) {
            self.p95 = self.percentile(95);
        }
    }

    /// A try was given up on after `waited`: at least so long, for choosing only.
    pub(super) fn overdue(&mut self, waited: Duration) {
        let us = waited.as_micros().min(u128::from(u32::MAX)) as f64;
        self.average_us = self.average_us.max(self.average_us + (us - self.average_us) / 8.0);
    }

    /// Moving average; `None` before the first answer.
    pub(super) fn average(&self) -> Option<Duration> {
        (self.average_us > 0.0).then(|| Duration::from_micros(self.average_us as u64))
    }

    /// Time within which 95 % of the answers come; `None` before enough is known.
    pub(super) fn p95(&self) -> Option<Duration> {
        self.p95
    }

    /// Answers later than the longest try time-out are the fault of a name or a fault of the
    /// backend, not its pace: they count only where they are the rule.
    fn percentile(&self, percent: u32) -> Option<Duration> {
        if self.total < ENOUGH {
            return None;
        }
        let edge = bucket(limits::TRY_TIMEOUT_MAX.as_micros() as u64) + 1;
        let usual: u32 = self.counts[..edge].iter().sum();
        let (counts, total) = match usual * 2 >= self.total {
            true => (&self.counts[..edge], usual),
            false => (&self.counts[..], self.total),
        };
        let wanted = (total * percent).div_ceil(100);
        let mut seen = 0;
        for (i, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_micros(upper_edge(i)));
            }
        }
        None
    }

    /// Halves the counts; what does not divide goes to the next bucket, so that a thin tail
    /// does not vanish.
    fn fade(&mut self) {
        self.since_fade = 0;
        let mut carry = 0;
        for count in &mut self.counts {
            let sum = *count + carry;
            carry = sum % 2;
            *count = sum / 2;
        }
        self.total = self.counts.iter().sum();
    }
}

/// How long a try may take before it is repeated elsewhere.
pub(super) fn try_timeout(p95: Option<Duration>, least: Duration) -> Duration {
    match p95 {
        Some(p95) => (3 * p95).clamp(least, limits::TRY_TIMEOUT_MAX),
        None => limits::TRY_TIMEOUT_UNKNOWN,
    }
}

/// Quarter octave that a time falls into.
fn bucket(us: u64) -> usize {
    let us = us.max(FLOOR_US);
    let octave = us.ilog2() - FLOOR_US.ilog2();
    // the two bits below the highest one
    let quarter = (us >> (us.ilog2() - 2)) & 3;
    ((octave as usize) * 4 + quarter as usize).min(BUCKETS - 1)
}

/// Longest time of a bucket in microseconds.
fn upper_edge(bucket: usize) -> u64 {
    let octave = FLOOR_US << (bucket / 4);
    octave + octave / 4 * (bucket as u64 % 4 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn every_time_lies_below_the_edge_of_its_bucket() {
        for us in (1..3_000_000).step_by(997) {
            let i = bucket(us);
            assert!(us <= upper_edge(i), "{us}");
            assert!(i == 0 || us >= upper_edge(i - 1), "{us}");
        }
        assert_eq!(bucket(u64::from(u32::MAX)), BUCKETS - 1);
    }

    #[test]
    fn percentile_needs_samples_and_follows_them() {
        let mut latency = Latency::new();
        for _ in 0..7 {
            latency.record(ms(10));
        }
        assert_eq!(latency.p95(), None);
        (0..100).for_each(|_| latency.record(ms(10)));
        let p95 = latency.p95().unwrap();
        assert!(p95 >= ms(10) && p95 < ms(13), "{p95:?}");
        (0..60).for_each(|_| latency.record(ms(800)));
        let p95 = latency.p95().unwrap();
        assert!(p95 >= ms(800) && p95 < ms(1100), "{p95:?}");
    }

    #[test]
    fn rare_very_late_answers_do_not_stretch_the_timeout() {
        let mut latency = Latency::new();
        for i in 0..500 {
            latency.record(if i % 5 == 0 { ms(3000) } else { ms(20) });
        }
        let timeout = try_timeout(latency.p95(), limits::TRY_TIMEOUT_MIN);
        assert!(timeout <= ms(110), "{timeout:?}");
    }

    #[test]
    fn a_backend_that_is_always_late_gets_the_longest_timeout() {
        let mut latency = Latency::new();
        (0..50).for_each(|_| latency.record(ms(2500)));
        assert_eq!(try_timeout(latency.p95(), limits::TRY_TIMEOUT_MIN), limits::TRY_TIMEOUT_MAX);
    }

    #[test]
    fn timeout_is_bounded_and_has_a_start_value() {
        assert_eq!(try_timeout(None, limits::TRY_TIMEOUT_MIN), limits::TRY_TIMEOUT_UNKNOWN);
        let (min, max) = (limits::TRY_TIMEOUT_MIN, limits::TRY_TIMEOUT_MAX);
        assert_eq!(try_timeout(Some(ms(1)), min), min);
        assert_eq!(try_timeout(Some(ms(200)), min), ms(600));
        assert_eq!(try_timeout(Some(ms(900)), min), max);
    }

    #[test]
    fn an_overdue_try_makes_a_backend_less_attractive_but_never_more() {
        let mut latency = Latency::new();
        latency.record(ms(10));
        latency.overdue(ms(100));
        let worse = latency.average().unwrap();
        assert!(worse > ms(20));
        latency.overdue(ms(1));
        assert_eq!(latency.average().unwrap(), worse);
    }
}
