//! When a zone's source is looked at, and how old the zone is: a pure state machine. Moments in,
//! moments out (RFC 1035 section 3.3.13, RFC 1034 section 4.3.5).
//!
//! ```text
//!   new ─► due ─► begun ─┬─► contact   in a refresh time, less up to a tenth
//!            ▲           └─► failed    1 s, doubled each time, up to the SOA's retry or 5 min
//!            └─ notified, wanted       brought forward
//!
//!   time since contact ─► Fresh ─► Stale (alarm_after x refresh) ─► Expired (SOA expire)
//! ```

use std::time::Duration;

use crate::clock::Moment;
use crate::limits::supply as limits;
use crate::policy::rules::Soa;

/// A refresh time is shortened by up to one part in so many, so that zones do not stay in step.
const JITTER: u32 = 10;

/// The times of one zone, each within its bounds: a hostile SOA can neither stop the looks nor
/// make them a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    refresh: Duration,
    retry: Duration,
    expire: Option<Duration>,
}

impl Times {
    /// What a transferred zone's SOA asks for.
    pub fn of_soa(soa: &Soa) -> Times {
        let seconds = |n: u32| Duration::from_secs(u64::from(n));
        let mut times = Times::every(seconds(soa.refresh));
        times.retry = seconds(soa.retry).clamp(limits::RETRY_MIN, limits::RETRY_MAX);
        // one missed look must not expire the zone: the first retries come before it
        let least = times.refresh + limits::RETRY_MAX;
        times.expire = Some(seconds(soa.expire).clamp(least, limits::EXPIRE_MAX));
        times
    }

    /// A download's: it is looked at every so often, and never expires.
    pub fn every(refresh: Duration) -> Times {
        let refresh = refresh.clamp(limits::REFRESH_MIN, limits::REFRESH_MAX);
        Times { refresh, retry: limits::RETRY_MAX, expire: None }
    }

    /// Time between looks that find nothing new.
    #[cfg(test)]
    fn refresh(&self) -> Duration {
        self.refresh
    }

    /// Longest pause after a look that failed.
    #[cfg(test)]
    fn retry(&self) -> Duration {
        self.retry
    }

    /// Time without contact after which the zone counts as expired; `None`: never.
    #[cfg(test)]
    fn expire(&self) -> Option<Duration> {
        self.expire
    }
}

/// How old a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Age {
    /// The source was heard lately enough.
    Fresh,
    /// Without contact for longer than the operator's alarm allows.
    Stale,
    /// Without contact for longer than the SOA allows.
    Expired,
}

/// The timers of one zone.
#[derive(Debug)]
pub struct Timers {
    times: Times,
    due: Moment,
    /// No look that only a NOTIFY asks for comes before this.
    not_before: Moment,
    /// A look has begun and not ended.
    busy: bool,
    /// Somebody asked for a look while one was going on.
    again: bool,
    /// Looks in a row that failed.
    failures: u32,
    /// The last contact: at this moment it was so long ago.
    contact: Option<(Moment, Duration)>,
    random: fastrand::Rng,
}

impl Timers {
    /// Timers at a start. `kept` is what the saved copy says: its times, and how long ago its
    /// source was last heard. Without one the first look is due at once; with one it is due
    /// within [`limits::FIRST_LOOKS`], however young the copy is. Equal seeds give equal jitter.
    pub fn new(now: Moment, kept: Option<(Times, Duration)>, seed: u64) -> Timers {
        let mut timers = Timers {
            times: Times::every(limits::REFRESH_MAX),
            due: now,
            not_before: now,
            busy: false,
            again: false,
            failures: 0,
            contact: None,
            random: fastrand::Rng::with_seed(seed),
        };
        if let Some((times, since)) = kept {
            timers.times = times;
            timers.contact = Some((now, since));
            timers.due = now + timers.up_to(limits::FIRST_LOOKS);
        }
        timers
    }

    /// When the next look is due. While a look goes on, this is when that one was.
    pub fn due(&self) -> Moment {
        self.due
    }

    /// True while a look goes on.
    #[cfg(test)]
    fn is_busy(&self) -> bool {
        self.busy
    }

    /// Looks in a row that failed.
    #[cfg(test)]
    fn failures(&self) -> u32 {
        self.failures
    }

    /// The zone's times, once they are known.
    #[cfg(test)]
    fn times(&self) -> Option<&Times> {
        self.contact.is_some().then_some(&self.times)
    }

    /// A look begins.
    pub fn begun(&mut self, now: Moment) {
        self.busy = true;
        self.not_before = now + limits::RETRY_MIN;
    }

    /// The source answered that the version here is its newest, or a newer one was taken. These
    /// are the times of that version.
    pub fn contact(&mut self, now: Moment, times: Times) {
        self.times = times;
        self.contact = Some((now, Duration::ZERO));
        self.failures = 0;
        let early = self.up_to(times.refresh / JITTER);
        self.ended(now, times.refresh - early);
    }

    /// A look failed. `asked` is how long the source wants to be left alone (HTTP's
    /// Retry-After); it is heeded up to one refresh time.
    pub fn failed(&mut self, now: Moment, asked: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let doubled = 1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX);
        let most = limits::RETRY_MIN.saturating_mul(doubled).min(self.times.retry);
        let pause = most - self.up_to(most / 2);
        let asked = asked.unwrap_or_default().min(self.times.refresh);
        self.ended(now, pause.max(limits::RETRY_MIN).max(asked));
    }

    /// A NOTIFY came: the next look is brought forward, but not to within
    /// [`limits::RETRY_MIN`] of the last one. One that comes during a look leads to another.
    pub fn notified(&mut self, now: Moment) {
        if self.busy {
            self.again = true;
        } else {
            self.due = self.due.min(now.max(self.not_before));
        }
    }

    /// The operator wants a look: at once, or soon after the one that goes on.
    pub fn wanted(&mut self, now: Moment) {
        if self.busy {
            self.again = true;
        } else {
            self.due = self.due.min(now);
        }
    }

    /// Time since the source was last heard; `None`: never, not even before the start.
    pub fn age_of_contact(&self, now: Moment) -> Option<Duration> {
        let (at, before) = self.contact?;
        Some(now.since(at).saturating_add(before))
    }

    /// When the zone expires if nothing is heard; `None`: never, or there is nothing yet that
    /// could.
    pub fn expiry(&self) -> Option<Moment> {
        let (at, before) = self.contact?;
        Some(at + self.times.expire?.saturating_sub(before))
    }

    /// How old the zone is. It is stale when the source was last heard more than `alarm_after`
    /// refresh times ago; 0: never. A zone that was never heard of is not old.
    pub fn state(&self, now: Moment, alarm_after: u32) -> Age {
        let Some(age) = self.age_of_contact(now) else { return Age::Fresh };
        if self.times.expire.is_some_and(|expire| age >= expire) {
            return Age::Expired;
        }
        let alarm = self.times.refresh.saturating_mul(alarm_after);
        if alarm_after > 0 && age > alarm { Age::Stale } else { Age::Fresh }
    }

    fn ended(&mut self, now: Moment, pause: Duration) {
        self.busy = false;
        self.not_before = now + limits::RETRY_MIN;
        self.due = now + pause;
        if std::mem::take(&mut self.again) {
            self.due = self.due.min(self.not_before);
        }
    }

    /// A random time up to this one, to the millisecond.
    fn up_to(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.random.u64(0..=most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_millis(86_400_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn soa(refresh: u32, retry: u32, expire: u32) -> Soa {
        Soa { refresh, retry, expire, ..Soa::default() }
    }

    fn times() -> Times {
        Times::of_soa(&soa(7200, 600, 86_400))
    }

    /// Pauses of so many looks in a row that fail.
    fn pauses(timers: &mut Timers, count: usize, mut now: Moment) -> Vec<Duration> {
        let mut pauses = Vec::new();
        for _ in 0..count {
            timers.begun(now);
            timers.failed(now, None);
            pauses.push(timers.due().since(now));
            now = timers.due();
        }
        pauses
    }

    #[test]
    fn hostile_times_are_brought_within_bounds() {
        let zero = Times::of_soa(&soa(0, 0, 0));
        assert_eq!((zero.refresh, zero.retry), (secs(10), secs(1)));
        assert_eq!(zero.expire, Some(secs(310)), "retries come before it expires");
        let most = Times::of_soa(&soa(u32::MAX, u32::MAX, u32::MAX));
        assert_eq!((most.refresh, most.retry), (secs(7 * 86_400), secs(300)));
        assert_eq!(most.expire, Some(secs(366 * 86_400)));
        assert_eq!(times(), Times { refresh: 2 * HOUR, retry: secs(300), expire: Some(24 * HOUR) });
        let list = Times::every(secs(1));
        assert_eq!((list.refresh(), list.retry(), list.expire()), (secs(10), secs(300), None));
    }

    #[test]
    fn a_cold_start_looks_at_once_and_a_warm_one_soon() {
        let cold = Timers::new(START, None, 1);
        assert_eq!((cold.due(), cold.age_of_contact(START)), (START, None));
        assert_eq!((cold.expiry(), cold.times()), (None, None));
        let due: Vec<Duration> = (0..60)
            .map(|seed| Timers::new(START, Some((times(), secs(0))), seed).due().since(START))
            .collect();
        assert!(due.iter().all(|due| *due <= limits::FIRST_LOOKS), "{due:?}");
        let early = due.iter().filter(|due| **due < limits::FIRST_LOOKS / 2).count();
        assert!((15..=45).contains(&early), "{early} of 60 in the first half");
    }

    #[test]
    fn age_counts_from_before_the_start() {
        let timers = Timers::new(START, Some((times(), 23 * HOUR)), 1);
        assert_eq!(timers.age_of_contact(START + HOUR / 2), Some(23 * HOUR + HOUR / 2));
        assert_eq!(timers.state(START, 3), Age::Stale);
        assert_eq!(timers.state(START, 0), Age::Fresh, "0 is never");
        assert_eq!(timers.expiry(), Some(START + HOUR));
        assert_eq!(timers.state(START + HOUR, 0), Age::Expired);
        // a copy from long ago, or from a clock that stood wrong
        let old = Timers::new(START, Some((times(), Duration::MAX)), 1);
        assert_eq!((old.state(START, 3), old.expiry()), (Age::Expired, Some(START)));
        let list = Timers::new(START, Some((Times::every(HOUR), Duration::MAX)), 1);
        assert_eq!((list.state(START, 3), list.expiry()), (Age::Stale, None));
        assert_eq!(list.state(START, u32::MAX), Age::Stale);
    }

    #[test]
    fn a_zone_is_stale_after_so_many_refresh_times_without_contact() {
        let mut timers = Timers::new(START, None, 1);
        assert_eq!(timers.state(START + 1000 * HOUR, 3), Age::Fresh, "never heard of");
        timers.contact(START, times());
        assert_eq!(timers.state(START + 6 * HOUR, 3), Age::Fresh);
        assert_eq!(timers.state(START + 6 * HOUR + secs(1), 3), Age::Stale);
        timers.contact(START + 7 * HOUR, times());
        assert_eq!(timers.state(START + 7 * HOUR, 3), Age::Fresh);
    }

    #[test]
    fn failures_back_off_to_the_retry_time_and_contact_forgets_them() {
        let mut timers = Timers::new(START, None, 7);
        timers.contact(START, Times::of_soa(&soa(7200, 60, 86_400)));
        let waited = pauses(&mut timers, 40, START);
        assert_eq!(waited[0], secs(1));
        for (i, pause) in waited.iter().enumerate() {
            let most = secs(60.min(1 << i.min(10)));
            assert!(*pause >= secs(1).max(most / 2) && *pause <= most, "{i}: {pause:?}");
        }
        assert!(waited[10..].windows(2).any(|w| w[0] != w[1]), "jitter");
        assert_eq!(timers.failures(), 40);
        timers.contact(START + HOUR, times());
        assert_eq!(pauses(&mut timers, 1, START + HOUR), [secs(1)]);
    }

    #[test]
    fn a_sources_wish_to_be_left_alone_is_heeded_within_reason() {
        let mut timers = Timers::new(START, Some((Times::every(HOUR), secs(0))), 1);
        timers.failed(START, Some(secs(600)));
        assert_eq!(timers.due(), START + secs(600));
        timers.failed(START, Some(Duration::MAX));
        assert_eq!(timers.due(), START + HOUR);
        timers.wanted(START);
        assert_eq!(timers.due(), START, "the operator knows better");
    }

    #[test]
    fn a_notify_brings_the_look_forward_but_not_to_the_last_one() {
        let mut timers = Timers::new(START, None, 1);
        timers.begun(START);
        timers.contact(START, times());
        timers.notified(START + secs(60));
        assert_eq!(timers.due(), START + secs(60));
        timers.notified(START + secs(61));
        assert_eq!(timers.due(), START + secs(60), "it does not put it off");
        let then = START + secs(60);
        timers.begun(then);
        timers.contact(then, times());
        timers.notified(then + Duration::from_millis(10));
        assert_eq!(timers.due(), then + secs(1));
        timers.wanted(then + Duration::from_millis(20));
        assert_eq!(timers.due(), then + Duration::from_millis(20));
    }

    #[test]
    fn a_notify_during_a_look_leads_to_another_one() {
        let mut timers = Timers::new(START, None, 1);
        timers.begun(START);
        assert!(timers.is_busy());
        for n in 0..1000 {
            timers.notified(START + Duration::from_millis(n));
        }
        let end = START + secs(30);
        timers.contact(end, times());
        assert_eq!(timers.due(), end + secs(1));
        timers.begun(end + secs(1));
        timers.contact(end + secs(1), times());
        assert!(timers.due() > end + HOUR, "once for all of them");
    }

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Begun,
        Contact(u32, u32, u32),
        Failed(Option<u64>),
        Notified,
        Wanted,
    }

    fn events() -> impl Strategy<Value = Vec<(u64, Event)>> {
        let number = || prop_oneof![Just(0), Just(u32::MAX), any::<u32>(), 1..100_000_u32];
        let event = prop_oneof![
            Just(Event::Begun),
            (number(), number(), number()).prop_map(|(a, b, c)| Event::Contact(a, b, c)),
            proptest::option::of(any::<u64>()).prop_map(Event::Failed),
            Just(Event::Notified),
            Just(Event::Wanted),
        ];
        let pause = prop_oneof![Just(0), 0..2_000_u64, 0..10_000_000_000_u64];
        proptest::collection::vec((pause, event), 1..60)
    }

    proptest! {
        #[test]
        fn a_look_is_always_due_within_bounds_and_never_a_flood(
            seed in any::<u64>(),
            age in proptest::option::of(any::<u32>()),
            events in events(),
        ) {
            let kept = age.map(|age| (times(), secs(u64::from(age))));
            let mut timers = Timers::new(START, kept, seed);
            let mut now = START;
            // the last look, if nobody's command may have asked for the next
            let mut last: Option<Moment> = None;
            for (pause, event) in events {
                now = now + Duration::from_millis(pause);
                match event {
                    Event::Begun => timers.begun(now),
                    Event::Contact(a, b, c) => timers.contact(now, Times::of_soa(&soa(a, b, c))),
                    Event::Failed(asked) => timers.failed(now, asked.map(Duration::from_secs)),
                    Event::Notified => timers.notified(now),
                    Event::Wanted => timers.wanted(now),
                }
                last = match event {
                    Event::Begun | Event::Contact(..) | Event::Failed(_) => Some(now),
                    Event::Notified => last,
                    Event::Wanted => None,
                };
                if !timers.is_busy() {
                    prop_assert!(timers.due() <= now + limits::REFRESH_MAX);
                    if let Some(last) = last {
                        prop_assert!(timers.due() >= last + limits::RETRY_MIN, "{event:?}");
                    }
                }
                if let Event::Contact(..) = event {
                    prop_assert_eq!(timers.age_of_contact(now), Some(Duration::ZERO));
                    prop_assert_eq!(timers.state(now, 1), Age::Fresh);
                    prop_assert_eq!(timers.failures(), 0);
                }
                // what is due comes before what expires, as far as contact is heard in time
                if let (Some(expiry), Some(_)) = (timers.expiry(), timers.times()) {
                    prop_assert_eq!(timers.state(expiry, 0), Age::Expired);
                }
            }
        }
    }
}
