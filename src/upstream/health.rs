//! Is a backend in service? Pure: events with their time in, changes and due times out.
//!
//! ```text
//!                 connection faults, HTTP errors: `fall` in a row
//!                 requests that fail, or that only peers answer: by share
//!        ┌────┐ ────────────────────────────────────────────────────────► ┌──────┐
//!        │ up │                                                           │ down │──┐ probe,
//!        └────┘ ◄──────────────────────────────────────────────────────── └──────┘◄─┘ back-off
//!                 `rise` good probes, or an answer while no backend is up
//! ```
//!
//! Ordinary traffic is the first witness. Probes are sent while a backend is down, and while it
//! is up but lets several tries in a row go unanswered. A time-out or SERVFAIL counts only if a
//! peer answered the same question, so that a client that asks for dead names proves nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::failure::{Class, Fault};
use super::limits;

/// What happened with a backend.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// It answered a question well.
    Answered,
    /// A try or a connection failed.
    Failed(Fault),
    /// A peer answered a question (this is its name's hash) that went wrong or slow here.
    Overtaken(u64),
    /// A try passed its time-out; nothing is proven yet.
    Slow,
    /// A probe ended.
    Probed(Result<(), Fault>),
}

/// What the backend's peers are doing, and a random number for jitter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around {
    /// Another backend of the upstream is up.
    pub(super) others_up: bool,
    /// The smallest share of failures among the peers that are up and were tried enough.
    pub(super) peer_share: Option<f32>,
    /// From 0 to below 1.
    pub(super) roll: f32,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Out of service.
    Down,
    /// In service again.
    Up,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The backend went down; so many changes before went unlogged.
    Down(Fault, u32),
    /// The backend is up again after so long; so many changes before went unlogged.
    Up(Duration, u32),
}

/// Why it is down: decides how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// Connections or requests fail: probed often.
    Transport,
    /// The service itself refuses: probed less and less often.
    Sick,
    /// It asked for a pause: not asked before its end.
    Limited,
    /// Worse than its peers although probes are answered: out for a fixed time.
    Worse,
}

/// The state of one backend.
#[derive(Debug)]
pub(super) struct Health {
    up: bool,
    since: Instant,
    ever_down: bool,
    cause: Cause,
    last_fault: Option<(Fault, Instant)>,
    faults_in_row: u32,
    slow_in_row: u32,
    bad_probes: u32,
    good_probes: u32,
    pause: Duration,
    next_probe: Option<Instant>,
    barred_until: Option<Instant>,
    limited_in_row: u32,
    worse_in_row: u32,
    window: Window,
    log: Log,
}

impl Health {
    /// Up until something else is known.
    pub(super) fn new(now: Instant) -> Self {
        Health {
            up: true,
            since: now,
            ever_down: false,
            cause: Cause::Transport,
            last_fault: None,
            faults_in_row: 0,
            slow_in_row: 0,
            bad_probes: 0,
            good_probes: 0,
            pause: limits::PROBE_PAUSE_MIN,
            next_probe: None,
            barred_until: None,
            limited_in_row: 0,
            worse_in_row: 0,
            window: Window::default(),
            log: Log::default(),
        }
    }

    /// In service.
    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Since when it is in its present state.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// From when on a backend that came back is preferred again.
    pub(super) fn settled_at(&self) -> Instant {
        if self.ever_down { self.since + limits::FAIL_BACK_HOLD } else { self.since }
    }

    /// Until when nothing at all may be sent to it.
    pub(super) fn barred_until(&self) -> Option<Instant> {
        self.barred_until
    }

    /// When the next probe is due, if one is.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.next_probe
    }

    /// At least one probe was good since it went down.
    pub(super) fn is_recovering(&self) -> bool {
        !self.up && self.good_probes > 0
    }

    /// The last thing that went wrong, and when.
    pub(super) fn last_fault(&self) -> Option<&(Fault, Instant)> {
        self.last_fault.as_ref()
    }

    /// Share of the recent tries that failed; `None` if there were too few.
    pub(super) fn share(&self, now: Instant) -> Option<f32> {
        let sum = self.window.sum(now);
        (sum.tries >= limits::SHARE_PEER_TRIES)
            .then(|| (sum.hard + sum.soft) as f32 / sum.tries as f32)
    }

    /// The settings that made it sick are changed: look again at once.
    pub(super) fn look_again(&mut self, now: Instant) {
        if !self.up && self.cause == Cause::Sick {
            self.pause = limits::PROBE_PAUSE_MIN;
            self.next_probe = Some(now);
        }
    }

    /// A line that must be logged now, if any: changes come at most every ten seconds.
    pub(super) fn due_line(&mut self, now: Instant) -> Option<Line> {
        self.log.due(now)
    }

    /// When to ask for a line that is held back.
    pub(super) fn line_due_at(&self) -> Option<Instant> {
        self.log.held.as_ref().and(self.log.last).map(|last| last + limits::STATE_LINE_PAUSE)
    }

    /// Takes in one event.
    pub(super) fn on(&mut self, now: Instant, event: Event, around: Around) -> Option<Change> {
        match event {
            Event::Answered => self.answered(now, around),
            Event::Failed(fault) => self.failed(now, fault, around),
            Event::Overtaken(name) => self.overtaken(now, name, around),
            Event::Slow => {
                self.slow_in_row += 1;
                if self.up && self.slow_in_row >= limits::SLOW_BEFORE_PROBE {
                    self.next_probe.get_or_insert(now);
                }
                None
            }
            Event::Probed(Ok(())) => self.probed_well(now),
            Event::Probed(Err(fault)) => self.probed_badly(now, fault, around),
        }
    }

    fn answered(&mut self, now: Instant, around: Around) -> Option<Change> {
        self.faults_in_row = 0;
        self.slow_in_row = 0;
        self.window.push(now, Kind::Good);
        if self.up {
            return None;
        }
        // with nothing better up, one answer ends the outage
        (!around.others_up).then(|| self.rise(now))
    }

    fn failed(&mut self, now: Instant, fault: Fault, around: Around) -> Option<Change> {
        let class = fault.class();
        if class == Class::Own {
            return None;
        }
        self.last_fault = Some((fault.clone(), now));
        match class {
            Class::Own => None,
            Class::Limited => self.limited(now, fault, around),
            Class::Request => {
                self.window.push(now, Kind::Hard);
                let sum = self.window.sum(now);
                let most = sum.hard * 2 > sum.tries && sum.tries >= limits::SHARE_HARD_TRIES;
                if most { self.fall(now, Cause::Transport, fault, around) } else { None }
            }
            Class::Connection | Class::Sick => {
                self.faults_in_row += 1;
                let proof = fault.is_proof() && around.others_up;
                if self.faults_in_row < limits::FALL && !proof {
                    return None;
                }
                let sick = class == Class::Sick;
                let cause = if sick { Cause::Sick } else { Cause::Transport };
                self.fall(now, cause, fault, around)
            }
        }
    }

    /// The backend asked for a pause: it gets it, whatever its peers do.
    fn limited(&mut self, now: Instant, fault: Fault, around: Around) -> Option<Change> {
        let Fault::Limited(_, wait) = fault else { return None };
        let wait = wait.unwrap_or_else(|| {
            // doubles with each time; half of it is jitter
            let most = limits::OWN_BACK_OFF_MIN * 2u32.pow(self.limited_in_row.min(6) + 1);
            let most = most.min(limits::OWN_BACK_OFF_MAX);
            most.mul_f32(0.5 + around.roll / 2.0).max(limits::OWN_BACK_OFF_MIN)
        });
        // asked to wait for no time at all, it is still not asked in a tight loop
        let until = now + wait.max(limits::OWN_BACK_OFF_MIN);
        if self.barred_until.is_none_or(|old| old <= now) {
            self.limited_in_row += 1;
        }
        self.barred_until = Some(self.barred_until.map_or(until, |old| old.max(until)));
        let change = self.fall(now, Cause::Limited, fault, around);
        self.cause = Cause::Limited;
        self.next_probe = self.barred_until;
        change
    }

    fn overtaken(&mut self, now: Instant, name: u64, around: Around) -> Option<Change> {
        self.window.push(now, Kind::Soft(name));
        if !self.up {
            return None;
        }
        let sum = self.window.sum(now);
        let bad = sum.hard + sum.soft;
        let enough = sum.tries >= limits::SHARE_TRIES && sum.names >= limits::SHARE_NAMES;
        if !enough || bad * 2 <= sum.tries {
            return None;
        }
        // half as many failures is clearly fewer; without a peer nothing is proven
        let share = bad as f32 / sum.tries as f32;
        let peer = around.peer_share.filter(|_| around.others_up)?;
        if peer * 2.0 > share {
            return None;
        }
        self.last_fault = Some((Fault::Worse, now));
        self.fall(now, Cause::Worse, Fault::Worse, around)
    }

    fn probed_well(&mut self, now: Instant) -> Option<Change> {
        self.faults_in_row = 0;
        self.slow_in_row = 0;
        self.bad_probes = 0;
        self.next_probe = None;
        if self.up {
            return None;
        }
        self.good_probes += 1;
        let rise = if self.cause == Cause::Limited { 1 } else { limits::RISE };
        if self.good_probes >= rise {
            return Some(self.rise(now));
        }
        self.next_probe = Some(now + limits::PROBE_REPEAT);
        None
    }

    fn probed_badly(&mut self, now: Instant, fault: Fault, around: Around) -> Option<Change> {
        self.good_probes = 0;
        if fault.class() == Class::Own {
            self.next_probe = Some(now + limits::PROBE_PAUSE_MIN);
            return None;
        }
        if fault.class() == Class::Limited {
            self.last_fault = Some((fault.clone(), now));
            return self.limited(now, fault, around);
        }
        self.last_fault = Some((fault.clone(), now));
        if self.up {
            self.bad_probes += 1;
            if self.bad_probes >= limits::FALL {
                return self.fall(now, Cause::Transport, fault, around);
            }
            self.next_probe = Some(now + limits::PROBE_REPEAT);
            return None;
        }
        // what it fails with now decides how often it is asked
        self.cause = match fault.class() {
            Class::Sick => Cause::Sick,
            _ => Cause::Transport,
        };
        self.schedule(now, around);
        None
    }

    fn fall(&mut self, now: Instant, cause: Cause, fault: Fault, around: Around) -> Option<Change> {
        if !self.up {
            return None;
        }
        self.log.change(Held::Down(fault), self.since);
        self.up = false;
        self.ever_down = true;
        // long in service: what was before does not count any more
        if now.saturating_duration_since(self.since) > limits::WORSE_FORGET {
            self.worse_in_row = 0;
        }
        self.since = now;
        self.cause = cause;
        self.good_probes = 0;
        self.bad_probes = 0;
        self.pause = limits::PROBE_PAUSE_MIN;
        self.window = Window::default();
        self.schedule(now, around);
        Some(Change::Down)
    }

    fn rise(&mut self, now: Instant) -> Change {
        self.log.change(Held::Up, self.since);
        self.up = true;
        self.since = now;
        self.faults_in_row = 0;
        self.slow_in_row = 0;
        self.bad_probes = 0;
        self.good_probes = 0;
        self.next_probe = None;
        self.barred_until = None;
        self.window = Window::default();
        if self.cause != Cause::Limited {
            self.limited_in_row = 0;
        }
        Change::Up
    }

    /// Sets the next probe; the pause grows from one to the next.
    fn schedule(&mut self, now: Instant, around: Around) {
        let most = match self.cause {
            Cause::Transport => limits::PROBE_PAUSE_MAX,
            Cause::Sick => limits::PROBE_PAUSE_SICK,
            Cause::Limited => limits::OWN_BACK_OFF_MAX,
            Cause::Worse => {
                let pause = limits::WORSE_PAUSE * 2u32.pow(self.worse_in_row.min(4));
                self.worse_in_row += 1;
                self.next_probe = Some(now + pause);
                return;
            }
        };
        // jitter only shortens, so that the longest pause stays the bound of a recovery
        let pause = self.pause.min(most).mul_f32(0.75 + around.roll / 4.0);
        self.next_probe = Some(now + pause);
        self.pause = (self.pause * 3 / 2).min(most);
    }
}

/// What became of one try.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Good,
    /// The request failed here, whatever others do.
    Hard,
    /// A peer did better with the name of this hash.
    Soft(u64),
}

/// The last tries, bounded in number and age.
#[derive(Debug, Default)]
struct Window {
    tries: VecDeque<(Instant, Kind)>,
}

/// Sums over a window.
struct Sum {
    tries: usize,
    hard: usize,
    soft: usize,
    names: usize,
}

impl Window {
    fn push(&mut self, now: Instant, kind: Kind) {
        if self.tries.len() >= limits::SHARE_WINDOW {
            self.tries.pop_front();
        }
        self.tries.push_back((now, kind));
    }

    fn sum(&self, now: Instant) -> Sum {
        let mut sum = Sum { tries: 0, hard: 0, soft: 0, names: 0 };
        let mut names = [0u64; limits::SHARE_WINDOW];
        for (at, kind) in &self.tries {
            if now.saturating_duration_since(*at) > limits::SHARE_AGE {
                continue;
            }
            sum.tries += 1;
            match kind {
                Kind::Good => {}
                Kind::Hard => sum.hard += 1,
                Kind::Soft(name) => {
                    sum.soft += 1;
                    if !names[..sum.names].contains(name) {
                        names[sum.names] = *name;
                        sum.names += 1;
                    }
                }
            }
        }
        sum
    }
}

/// Keeps state lines apart from each other.
#[derive(Debug, Default)]
struct Log {
    last: Option<Instant>,
    /// The state that was logged last.
    logged_down: bool,
    down_since: Option<Instant>,
    held: Option<Held>,
    suppressed: u32,
}

#[derive(Debug)]
enum Held {
    Down(Fault),
    Up,
}

impl Log {
    /// A change happened; the state before began at `since`.
    fn change(&mut self, held: Held, since: Instant) {
        if matches!(held, Held::Up) {
            self.down_since = Some(since);
        }
        if self.held.replace(held).is_some() {
            self.suppressed += 1;
        }
    }

    fn due(&mut self, now: Instant) -> Option<Line> {
        let open =
            self.last.is_none_or(|last| now.duration_since(last) >= limits::STATE_LINE_PAUSE);
        if !open {
            return None;
        }
        let held = self.held.take()?;
        let down = matches!(held, Held::Down(_));
        if down == self.logged_down {
            // it is back where the last line said it is
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        self.logged_down = down;
        let suppressed = std::mem::take(&mut self.suppressed);
        Some(match held {
            Held::Down(fault) => Line::Down(fault, suppressed),
            Held::Up => {
                let since = self.down_since.unwrap_or(now);
                Line::Up(now.saturating_duration_since(since), suppressed)
            }
        })
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
