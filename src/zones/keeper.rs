//! The keeper of one zone from elsewhere: waits, looks at the source, offers what is new, and
//! saves what was taken.
//!
//! ```text
//!   wait ── due by timers, NOTIFY, order ──► look ─► up to date ─► contact
//!    │                                        ├───► new version ─► offer ─► in force ─► save
//!    │ chores, also while a look goes on:     │                       └──► held
//!    │  open what waited in vain, withdraw    └───► fault ─► try again later
//!    │  what expired, take what was held
//!    └─ long enough, save
//! ```

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::FutureExt as _;

use super::download::Resolver;
use super::look::{Brought, Missed, Wish, look};
use super::remote::{Awaited, Held, Look, Order, Remote, State};
use super::saved::{self, Identity, Saved};
use super::source::Source;
use crate::clock::{self, Moment};
use crate::dns::name::Name;
use crate::limits::supply as limits;
use crate::policy::rules::ZoneRules;

/// A future that may be sent to another thread.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who puts versions of zones into force.
pub trait Enforcer: Send + Sync + 'static {
    /// The rules in force, and the wall time when they came, in milliseconds since 1970. `None`:
    /// none ever came, or there is no such zone any more.
    fn in_force(&self, zone: &Name) -> Option<(Arc<ZoneRules>, u64)>;
    /// Puts a version into force, or holds it if the gate says so, and notes either with the
    /// zone's [`Remote`]. The error says why neither can be: among others, that the zone has
    /// another source now, or other rules in force.
    fn offer(&self, offer: Offer) -> Later<Result<Verdict, String>>;
    /// Puts the version that is held into force, which must be this one still.
    fn accept(&self, rules: Arc<ZoneRules>) -> Later<Result<Verdict, String>>;
    /// A zone acts that did not, or the other way round, with the same rules.
    fn renew(&self) -> Later<()>;
    /// Who finds the addresses of a list's host.
    fn resolver(&self) -> Arc<dyn Resolver>;
    /// Where last good copies are kept.
    fn state_folder(&self) -> PathBuf;
}

/// A version that is offered.
pub struct Offer {
    /// The source that brought it.
    pub source: Source,
    /// The rules in force when the source was asked for news of them, by their id.
    pub over: Option<u64>,
    /// The version.
    pub rules: Arc<ZoneRules>,
}

/// What became of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in force.
    InForce {
        /// The generation of policy.
        generation: u64,
        /// What is odd about it, but holds nothing up.
        warnings: Vec<String>,
    },
    /// The old version stays in force.
    Held {
        /// Why.
        reasons: Vec<String>,
    },
}

/// Keeps one zone.
pub struct Keeper {
    /// The zone's configuration.
    pub source: Source,
    /// What lasts of it.
    pub remote: Arc<Remote>,
    /// Who puts its versions into force.
    pub enforcer: Arc<dyn Enforcer>,
}

impl Keeper {
    /// Runs until dropped.
    pub async fn run(self) {
        loop {
            // what is shared is behind locks, and whole after each of them
            if AssertUnwindSafe(self.round()).catch_unwind().await.is_err() {
                // the hook has told where
                self.note(&Err("it ended in a panic, which is our fault".to_owned()), None);
                tokio::time::sleep(limits::RETRY_MIN).await;
            }
        }
    }

    /// Waits for a look, and takes it.
    async fn round(&self) {
        let (orders, notified) = self.wait().await;
        let whole = orders.iter().any(|order| order.look == Look::Whole);
        let wish = Wish { whole, newer: notified || !orders.is_empty() };
        let mut looking = pin!(self.look_and_take(wish));
        let outcome = loop {
            tokio::select! {
                outcome = &mut looking => break outcome,
                () = self.next_chore() => self.chores().await,
            }
        };
        for order in orders {
            // who ordered it may have gone
            let _ = order.done.send(outcome.clone());
        }
    }

    fn name(&self) -> Name {
        self.source.settings.name
    }

    /// Waits until a look is due; who ordered it, and whether a NOTIFY came.
    async fn wait(&self) -> (Vec<Order>, bool) {
        loop {
            self.chores().await;
            let due = {
                let mut state = self.remote.lock();
                let (now, notified) = (Moment::now(), self.remote.bell.taken());
                // also those that came while the last look went on, or a copy was saved
                let is_news = state.heeded != notified;
                if is_news {
                    state.timers.notified(now);
                }
                let due = state.timers.due();
                if due <= now {
                    // what is ordered or notified from here on leads to another look
                    state.timers.begun(now);
                    state.heeded = notified;
                    return (std::mem::take(&mut state.orders), is_news);
                }
                due
            };
            tokio::select! {
                () = sleep_until(due) => {}
                () = self.next_chore() => {}
                () = self.remote.bell.rung() => {}
            }
        }
    }

    /// Looks at the source and takes what it has; what came of it, for people.
    async fn look_and_take(&self, wish: Wish) -> Result<String, String> {
        {
            let mut state = self.remote.lock();
            state.told.last_try = Some(clock::wall_millis());
            state.told.busy = Some("asking".to_owned());
        }
        let over = self.enforcer.in_force(&self.name()).map(|(rules, _)| rules.id());
        let outcome = match look(self, wish).await {
            Ok(brought) => self.take(brought, over).await.map_err(Missed::from),
            Err(missed) => Err(missed),
        };
        let retry_after = outcome.as_ref().err().and_then(|missed| missed.retry_after);
        let outcome = outcome.map_err(|missed| missed.text);
        self.note(&outcome, retry_after);
        outcome
    }

    /// The source was heard; what is new to the rules with this id is offered.
    async fn take(&self, brought: Brought, over: Option<u64>) -> Result<String, String> {
        let (times, text) = match brought {
            Brought::UpToDate { times, text } => (times, text),
            Brought::Version { rules, text, incremental, validators } => {
                let rules = Arc::from(rules);
                let source = self.source.clone();
                let offer = Offer { source, over, rules: Arc::clone(&rules) };
                let verdict = self.enforcer.offer(offer).await?;
                if let Some(validators) = validators {
                    let of = Identity::of(&self.source.origin, self.source.form);
                    self.remote.lock().validators = Some((of, validators));
                }
                (self.source.times(&rules.soa), self.tell(verdict, &rules, text, incremental))
            }
        };
        let was_withdrawn = {
            let mut state = self.remote.lock();
            state.timers.contact(Moment::now(), times);
            state.told.last_contact = Some(clock::wall_millis());
            state.told.newer = None;
            state.saving.contact = true;
            std::mem::take(&mut state.withdrawn)
        };
        if was_withdrawn && self.source.care.withdraw {
            self.enforcer.renew().await;
        }
        Ok(text)
    }

    /// Tells the log what became of a version; gives the short form.
    fn tell(&self, verdict: Verdict, rules: &ZoneRules, text: String, incremental: bool) -> String {
        let name = self.name();
        match verdict {
            Verdict::InForce { generation, warnings } => {
                tracing::info!(
                    event = "zone-version", zone = %name, generation,
                    "policy zone {name}: {text}; generation {generation} is in force"
                );
                for warning in &warnings {
                    tracing::warn!("policy zone {name}: {warning}");
                }
                super::loaded::log_skipped(&self.source, rules);
                let mut state = self.remote.lock();
                let counted = match incremental {
                    true => &mut state.told.incremental,
                    false => &mut state.told.whole,
                };
                *counted += 1;
                text
            }
            Verdict::Held { reasons } => {
                let why = reasons.join("; ");
                tracing::error!(
                    event = "zone-held", zone = %name,
                    "policy zone {name}: {text}: HELD, the version before stays in force: {why}; \
                     see culvert zone diff {name}, and take it with culvert zone accept {name}"
                );
                format!("{text}; held: {why}")
            }
        }
    }

    /// Keeps what a look came to, and tells the log of faults that are new.
    fn note(&self, outcome: &Result<String, String>, retry_after: Option<Duration>) {
        let mut state = self.remote.lock();
        let told = &mut state.told;
        told.busy = None;
        let (text, new) = match outcome {
            Ok(text) => (text, told.failures > 0),
            Err(text) => (text, !told.last_outcome.as_ref().is_some_and(|last| alike(last, text))),
        };
        match outcome {
            Ok(_) if new => {
                tracing::info!(
                    event = "zone-source", zone = %self.remote.name,
                    "policy zone {}: {text}",
                    self.remote.name
                )
            }
            Err(_) if new => {
                tracing::warn!(
                    event = "zone-failed", zone = %self.remote.name,
                    "policy zone {}: {text}",
                    self.remote.name
                )
            }
            _ => {}
        }
        told.last_outcome = Some(text.clone());
        if outcome.is_ok() {
            told.failures = 0;
        } else {
            told.failures = told.failures.saturating_add(1);
            told.failed_total += 1;
            state.timers.failed(Moment::now(), retry_after);
        }
    }

    /// What is to be done at its time, whether a look goes on or not.
    async fn chores(&self) {
        let now = Moment::now();
        let (open, withdraw, accept) = {
            let mut state = self.remote.lock();
            let open = self.opens(&state).is_some_and(|moment| moment <= now);
            if open {
                state.awaited = Awaited::InVain;
            }
            let withdraw = self.withdrawal(&state).is_some_and(|expiry| expiry <= now);
            state.withdrawn |= withdraw;
            let overdue = self.hold_end(&state).is_some_and(|end| end <= now);
            // not again at once, should it fail
            let held = state.held.as_mut().filter(|_| overdue);
            let accept = held.map(|held| {
                held.since = now;
                held.clone()
            });
            (open, withdraw, accept)
        };
        let name = self.name();
        if open {
            tracing::error!(
                event = "zone-open", zone = %name,
                "policy zone {name}: no version has come in time; queries are answered WITHOUT it \
                 from now on"
            );
        }
        if withdraw {
            tracing::error!(
                event = "zone-expired", zone = %name,
                "policy zone {name}: it has expired; its rules do not act any more"
            );
        }
        if open || withdraw {
            self.enforcer.renew().await;
        }
        if let Some(held) = accept {
            self.accept(held).await;
        }
        self.save().await;
    }

    /// When queries that wait for the first version are answered without it, if they wait.
    fn opens(&self, state: &State) -> Option<Moment> {
        match state.awaited {
            Awaited::Since(since) => Some(since + self.source.care.open_after?),
            Awaited::No | Awaited::InVain => None,
        }
    }

    /// When its rules are to be withdrawn, unless its source is heard before.
    fn withdrawal(&self, state: &State) -> Option<Moment> {
        let wanted = self.source.care.withdraw && state.loaded && !state.withdrawn;
        state.timers.expiry().filter(|_| wanted)
    }

    /// When what is held takes effect by itself.
    fn hold_end(&self, state: &State) -> Option<Moment> {
        let held = state.held.as_ref().filter(|held| held.only_loss)?;
        Some(held.since + self.source.care.hold_max?)
    }

    /// Takes a version that was held for as long as the operator wants it held at most.
    async fn accept(&self, held: Held) {
        let (name, serial) = (self.name(), held.rules.soa.serial);
        match self.enforcer.accept(held.rules).await {
            Ok(_) => tracing::warn!(
                event = "zone-hold-over", zone = %name, serial,
                "policy zone {name}: serial {serial} was held for hold_max and is in force now; it \
                 was held: {}",
                held.reasons.join("; ")
            ),
            Err(fault) => {
                tracing::error!(
                    event = "zone-held", zone = %name, serial,
                    "policy zone {name}: serial {serial} stays held: {fault}"
                );
            }
        }
    }

    /// Waits until a chore may be due.
    async fn next_chore(&self) {
        let next = {
            let state = self.remote.lock();
            let open = self.opens(&state);
            let (expiry, held) = (self.withdrawal(&state), self.hold_end(&state));
            [open, expiry, held, state.saving.due()].into_iter().flatten().min()
        };
        match next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Saves the rules in force, or that the source was heard, if that is due.
    async fn save(&self) {
        if !self.remote.lock().saving.is_due(Moment::now()) {
            return;
        }
        let (folder, source) = (self.enforcer.state_folder(), self.source.clone());
        let (enforcer, remote) = (Arc::clone(&self.enforcer), Arc::clone(&self.remote));
        let saving = tokio::task::spawn_blocking(move || {
            save_copy(&folder, &source, &remote, |zone| enforcer.in_force(zone));
        });
        if saving.await.is_err() {
            // the hook has told where
            self.remote.lock().saving.failed("saving it ended in a panic, which is our fault");
        }
    }
}

/// Where last good copies are, within the state folder.
pub(super) fn saved_in(state: &Path) -> PathBuf {
    state.join("zones")
}

/// Writes a last good copy, or only that its source was heard, if that is not on the disk yet.
pub(super) fn save_copy(
    folder: &Path,
    source: &Source,
    remote: &Remote,
    in_force: impl FnOnce(&Name) -> Option<(Arc<ZoneRules>, u64)>,
) {
    // first, so that who comes second finds nothing left to do, or what came meanwhile
    let _alone = saved::alone();
    let name = &source.settings.name;
    let Some(whole) = remote.take_unsaved() else { return };
    let Some((rules, came)) = in_force(name) else { return };
    let heard = remote.lock().told.last_contact.unwrap_or(came);
    let contact = UNIX_EPOCH + Duration::from_millis(heard);
    let folder = saved_in(folder);
    let path = saved::path_of(&folder, name);
    // somebody may have deleted the copy
    let whole = whole || !path.exists();
    let saved = if whole {
        let identity = Identity::of(&source.origin, source.form);
        let copy = Saved { rules: &rules, identity, came, contact };
        saved::save(&folder, &copy).map_err(|fault| fault.to_string())
    } else {
        let touched = saved::touch_contact(&path, contact);
        touched.map_err(|fault| format!("{}: {fault}", path.display()))
    };
    let saving = &mut remote.lock().saving;
    match saved {
        Ok(()) => {
            if saving.error.take().is_some() {
                tracing::info!(
                    event = "zone-saved", zone = %name,
                    "policy zone {name}: its last good copy is saved again"
                );
            }
            if whole {
                saving.saved = Some(clock::wall_millis());
            }
        }
        Err(text) => {
            if saving.error.as_ref() != Some(&text) {
                tracing::error!(
                    event = "zone-unsaved", zone = %name,
                    "policy zone {name}: {text}; its rules act, but would not outlive a restart"
                );
            }
            saving.failed(&text);
        }
    }
}

/// The same but for numbers: a clock that is off by another second is no news.
fn alike(a: &str, b: &str) -> bool {
    let words = |text: &str| text.split(|c: char| c.is_ascii_digit()).collect::<String>();
    words(a) == words(b)
}

async fn sleep_until(moment: Moment) {
    tokio::time::sleep(moment.since(Moment::now())).await;
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
