//! What lasts of a zone from elsewhere, whichever generation is in force: its timers, what is
//! held, what is known of its source, and what the operator asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::download::Validators;
use super::notify::Bell;
use super::saved::Identity;
use super::source::Care;
use super::status::{HeldStatus, SupplyStatus, ZoneState};
use super::timers::{Age, Timers, Times};
use crate::clock::{self, Moment};
use crate::dns::name::Name;
use crate::limits::supply as limits;
use crate::policy::rules::ZoneRules;

/// A zone from elsewhere, shared by its keeper, the doors and the generations of zones.
pub struct Remote {
    /// The zone's name.
    pub(super) name: Name,
    /// Rung by NOTIFY and by orders.
    pub(super) bell: Arc<Bell>,
    state: Mutex<State>,
}

/// What a keeper knows.
pub(super) struct State {
    pub(super) timers: Timers,
    /// NOTIFYs that had come when the last look began.
    pub(super) heeded: u64,
    /// Some version came: a saved copy, or one from the source.
    pub(super) loaded: bool,
    pub(super) awaited: Awaited,
    /// Past its expire time, and the operator wants it to end then.
    pub(super) withdrawn: bool,
    pub(super) held: Option<Held>,
    /// What the server of which list said of the version that is in force or held.
    pub(super) validators: Option<(Identity, Validators)>,
    pub(super) orders: Vec<Order>,
    pub(super) saving: Saving,
    pub(super) told: Told,
}

/// Whether queries wait for the first version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// They do not, and never did.
    No,
    /// They fail, and have since then.
    Since(Moment),
    /// They waited in vain, and are answered without the zone.
    InVain,
}

/// A version that waits for the operator.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) rules: Arc<ZoneRules>,
    pub(super) reasons: Vec<String>,
    /// It is held for its loss of rules and nothing else.
    pub(super) only_loss: bool,
    pub(super) since: Moment,
    /// The same as wall time, in milliseconds since 1970.
    pub(super) wall: u64,
}

/// What is to be done about the saved copy.
#[derive(Clone, Debug, Default)]
pub(super) struct Saving {
    /// The rules in force are not the ones that are saved.
    pub(super) rules: bool,
    /// The source was heard since that was noted on the disk.
    pub(super) contact: bool,
    /// Not before.
    pub(super) not_before: Option<Moment>,
    /// Wall time of the last good copy, in milliseconds since 1970.
    pub(super) saved: Option<u64>,
    pub(super) error: Option<String>,
}

impl Saving {
    /// When something is to be written, if anything is.
    pub(super) fn due(&self) -> Option<Moment> {
        (self.rules || self.contact).then(|| self.not_before.unwrap_or(Moment::now()))
    }

    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.due().is_some_and(|due| due <= now)
    }

    /// All of it is tried again at its time: the file may be gone altogether.
    pub(super) fn failed(&mut self, why: &str) {
        self.error = Some(why.to_owned());
        self.rules = true;
    }
}

/// What people are told; wall times in milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    pub(super) last_try: Option<u64>,
    pub(super) last_outcome: Option<String>,
    pub(super) failures: u32,
    /// The source has this newer serial, and it could not be had.
    pub(super) newer: Option<u32>,
    pub(super) last_contact: Option<u64>,
    pub(super) busy: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) whole: u64,
    pub(super) incremental: u64,
    pub(super) failed_total: u64,
}

/// What an operator wants of a zone's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Is there a newer version?
    Check,
    /// All of it anew, whatever its serial.
    Whole,
}

/// An operator who waits.
pub(super) struct Order {
    pub(super) look: Look,
    pub(super) done: oneshot::Sender<Result<String, String>>,
}

impl Remote {
    /// A zone of which nothing is known; its first look is due at once.
    pub(super) fn new(name: Name) -> Remote {
        Remote::with(name, Timers::new(Moment::now(), None, fastrand::u64(..)), None)
    }

    /// A zone of which a saved copy is there, that came and whose source was heard then (wall
    /// times in milliseconds since 1970).
    pub(super) fn saved(name: Name, times: Times, came: u64, heard: u64) -> Remote {
        let since = std::time::Duration::from_millis(clock::wall_millis().saturating_sub(heard));
        let timers = Timers::new(Moment::now(), Some((times, since)), fastrand::u64(..));
        let remote = Remote::with(name, timers, Some(came));
        {
            let mut state = remote.lock();
            state.loaded = true;
            state.told.last_contact = Some(heard);
        }
        remote
    }

    fn with(name: Name, timers: Timers, saved: Option<u64>) -> Remote {
        let state = State {
            timers,
            heeded: 0,
            loaded: false,
            awaited: Awaited::No,
            withdrawn: false,
            held: None,
            validators: None,
            orders: Vec::new(),
            saving: Saving { saved, ..Saving::default() },
            told: Told::default(),
        };
        Remote { name, bell: Arc::default(), state: Mutex::new(state) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries fail until the first version is there, or until the operator's patience is over.
    pub(super) fn await_first(&self) {
        self.lock().awaited = Awaited::Since(Moment::now());
    }

    /// Queries that this zone would judge fail now.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.lock().awaited, Awaited::Since(_))
    }

    /// Its rules are too old, and do not act if the operator wants that.
    pub(super) fn is_withdrawn(&self) -> bool {
        self.lock().withdrawn
    }

    /// Withdraws the zone if it has expired by now.
    pub(super) fn withdraw_expired(&self) {
        let mut state = self.lock();
        if state.timers.state(Moment::now(), 0) == Age::Expired {
            state.withdrawn = true;
            tracing::error!(
                event = "zone-expired", zone = %self.name,
                "policy zone {}: it has expired; its rules do not act any more",
                self.name
            );
        }
    }

    /// Asks for a look at the source; what it brought comes back.
    pub fn order(&self, look: Look) -> oneshot::Receiver<Result<String, String>> {
        let (done, waiting) = oneshot::channel();
        let mut state = self.lock();
        state.orders.push(Order { look, done });
        state.timers.wanted(Moment::now());
        drop(state);
        self.bell.wake();
        waiting
    }

    /// What a look does right now, for those who watch.
    pub(super) fn busy(&self, text: String) {
        self.lock().told.busy = Some(text);
    }

    /// The version that is held, and why.
    pub fn held(&self) -> Option<(Arc<ZoneRules>, Vec<String>)> {
        let state = self.lock();
        state.held.as_ref().map(|held| (Arc::clone(&held.rules), held.reasons.clone()))
    }

    /// True if this very version is held.
    pub fn holds(&self, rules: &Arc<ZoneRules>) -> bool {
        self.lock().held.as_ref().is_some_and(|held| Arc::ptr_eq(&held.rules, rules))
    }

    /// Its configuration is another now, and a keeper of its own begins: it looks at once.
    pub fn reconfigured(&self) {
        self.lock().timers.wanted(Moment::now());
    }

    /// A version is held. What is held for its loss alone has been since a version before it was:
    /// a source that has a new version every hour must not put off `hold_max` for ever.
    pub fn hold(&self, rules: Arc<ZoneRules>, reasons: Vec<String>, only_loss: bool) {
        let mut state = self.lock();
        let before = state.held.take().filter(|held| held.only_loss && only_loss);
        let before = before.map(|held| (held.since, held.wall));
        let (since, wall) = before.unwrap_or_else(|| (Moment::now(), clock::wall_millis()));
        state.held = Some(Held { rules, reasons, only_loss, since, wall });
    }

    /// A version is in force now: none is held any more, and it is to be saved.
    pub fn entered(&self, warnings: Vec<String>) {
        let mut state = self.lock();
        state.loaded = true;
        state.awaited = Awaited::No;
        state.saving.rules = true;
        state.told.warnings = warnings;
        state.told.newer = None;
        // what was held is this one, or older
        state.held = None;
        drop(state);
        // the keeper saves it, and did perhaps not bring it
        self.bell.wake();
    }

    /// What is not on the disk yet: the rules (true), or only that the source was heard. Who
    /// takes it writes it.
    pub(super) fn take_unsaved(&self) -> Option<bool> {
        let saving = &mut self.lock().saving;
        let (rules, contact) = (saving.rules, saving.contact);
        (saving.rules, saving.contact) = (false, false);
        if !rules && !contact {
            return None;
        }
        saving.not_before = Some(Moment::now() + limits::SAVE_PAUSE);
        Some(rules)
    }

    /// How the zone stands.
    pub(super) fn state(&self, care: &Care) -> ZoneState {
        let state = self.lock();
        let age = state.timers.state(Moment::now(), care.alarm_after);
        match age {
            _ if !state.loaded => ZoneState::Waiting,
            Age::Expired if state.withdrawn && care.withdraw => ZoneState::Withdrawn,
            Age::Expired => ZoneState::Expired,
            _ if state.held.is_some() => ZoneState::Held,
            Age::Stale => ZoneState::Stale,
            // while a newer version is on its way nothing is wrong
            Age::Fresh if state.told.newer.is_some() && state.told.failures > 0 => ZoneState::Kept,
            Age::Fresh => ZoneState::Current,
        }
    }

    /// What the doors show.
    pub(super) fn status(&self) -> SupplyStatus {
        let (now, wall) = (Moment::now(), clock::wall_millis());
        let at = |moment: Moment| match moment.since(now).as_millis() as u64 {
            0 => wall.saturating_sub(now.since(moment).as_millis() as u64),
            left => wall.saturating_add(left),
        };
        let state = self.lock();
        let told = &state.told;
        let shown = |millis: Option<u64>| millis.map(clock::rfc3339);
        SupplyStatus {
            last_try: shown(told.last_try),
            last_outcome: told.last_outcome.clone(),
            failed: told.failures > 0,
            failures: told.failures,
            last_contact: shown(told.last_contact),
            next_try: shown(told.busy.is_none().then(|| at(state.timers.due()))),
            expires: shown(state.timers.expiry().map(at).filter(|_| state.loaded)),
            busy: told.busy.clone(),
            held: state.held.as_ref().map(|held| HeldStatus {
                serial: held.rules.soa.serial,
                rules: held.rules.len(),
                since: clock::rfc3339(held.wall),
                reasons: held.reasons.clone(),
            }),
            saved: shown(state.saving.saved),
            save_error: state.saving.error.clone(),
            whole: told.whole,
            incremental: told.incremental,
            failed_total: told.failed_total,
            notified: self.bell.taken(),
        }
    }

    /// What is wrong with the zone, in words. `zone_state` is what [`Remote::state`] says.
    pub(super) fn alarms(&self, zone_state: ZoneState) -> Vec<String> {
        let state = self.lock();
        let last = state.told.last_outcome.as_deref().unwrap_or("it was not asked yet");
        let heard = state.told.last_contact.map(clock::rfc3339);
        let heard = heard.unwrap_or_else(|| "never".to_owned());
        let of_state = match zone_state {
            ZoneState::Waiting if matches!(state.awaited, Awaited::Since(_)) => {
                format!("queries fail until its first version is there; the last try: {last}")
            }
            ZoneState::Waiting => {
                format!("no version has come yet, so nothing is judged by it; the last try: {last}")
            }
            ZoneState::Stale => {
                format!("its source was last heard {heard}; its rules go on; the last try: {last}")
            }
            ZoneState::Expired => format!(
                "expired, its source was last heard {heard}; its rules go on; the last try: {last}"
            ),
            ZoneState::Withdrawn => format!(
                "expired, its source was last heard {heard}; its rules do NOT act (expired = \
                 \"withdraw\"); the last try: {last}"
            ),
            ZoneState::Kept => format!("its newest version cannot be taken: {last}"),
            ZoneState::Held | ZoneState::Current => String::new(),
        };
        let held = state.held.as_ref().map(|held| {
            format!(
                "serial {} is held: {}; look at it with culvert zone diff {name}, take it with \
                 culvert zone accept {name}",
                held.rules.soa.serial,
                held.reasons.join("; "),
                name = self.name
            )
        });
        let unsaved = state
            .saving
            .error
            .as_ref()
            .map(|error| format!("its newest version would not outlive a restart: {error}"));
        let of_state = Some(of_state).filter(|text| !text.is_empty());
        let warnings = state.told.warnings.iter().cloned();
        of_state.into_iter().chain(held).chain(unsaved).chain(warnings).collect()
    }
}
