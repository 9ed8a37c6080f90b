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
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use super::download::Resolver;
use super::look::{Brought, Missed, look};
use super::remote::{Awaited, Held, Look, Order, Remote, State};
use super::saved::{self, Identity, Saved};
use super::source::Source;
use super::timers::Times;
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
    /// Puts a version into force and notes that with [`Remote::entered`], unless the gate holds
    /// it. The error says why it cannot be.
    fn offer(
        &self,
        zone: Name,
        rules: Arc<ZoneRules>,
        offer: Offer,
    ) -> Later<Result<Verdict, String>>;
    /// A zone acts that did not, or the other way round, with the same rules.
    fn renew(&self) -> Later<()>;
    /// Who finds the addresses of a list's host.
    fn resolver(&self) -> Arc<dyn Resolver>;
    /// Where last good copies are kept.
    fn state_folder(&self) -> PathBuf;
}

/// How a version is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The gate judges it, if the rules in force are still those with this id that the source
    /// was asked for news of.
    New(Option<u64>),
    /// It was held, and is taken now whatever the gate says.
    Accepted,
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
        /// It is nothing but the loss of rules.
        only_loss: bool,
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
            let orders = self.wait().await;
            let whole = orders.iter().any(|order| order.look == Look::Whole);
            let mut looking = pin!(self.look_and_take(whole));
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
    }

    fn name(&self) -> Name {
        self.source.settings.name
    }

    /// Waits until a look is due.
    async fn wait(&self) -> Vec<Order> {
        loop {
            self.chores().await;
            let due = {
                let mut state = self.remote.lock();
                let now = Moment::now();
                // one that came during the last look counts too
                let taken = self.remote.bell.taken();
                if std::mem::replace(&mut state.notified, taken) != taken {
                    state.timers.notified(now);
                }
                let due = state.timers.due();
                if due <= now {
                    // what is ordered from here on leads to another look
                    state.timers.begun(now);
                    return std::mem::take(&mut state.orders);
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
    async fn look_and_take(&self, whole: bool) -> Result<String, String> {
        {
            let mut state = self.remote.lock();
            state.told.last_try = Some(clock::wall_millis());
            state.told.busy = Some("asking".to_owned());
        }
        let over = self.enforcer.in_force(&self.name()).map(|(rules, _)| rules.id());
        let outcome = match look(self, whole).await {
            Ok(brought) => self.take(brought, Offer::New(over)).await.map_err(Missed::from),
            Err(missed) => Err(missed),
        };
        let retry_after = outcome.as_ref().err().and_then(|missed| missed.retry_after);
        let outcome = outcome.map_err(|missed| missed.text);
        self.note(&outcome, retry_after);
        outcome
    }

    /// The source was heard; what is new is offered.
    async fn take(&self, brought: Brought, offer: Offer) -> Result<String, String> {
        let was_withdrawn = std::mem::take(&mut self.remote.lock().withdrawn);
        let taken = match brought {
            Brought::UpToDate { times, text } => {
                self.heard(times);
                Ok((text, false))
            }
            Brought::Version { rules, text, incremental, validators } => {
                let taken = self.offer(Arc::from(rules), text, incremental, offer).await;
                if let (Ok(_), Some(validators)) = (&taken, validators) {
                    self.remote.lock().validators = validators;
                }
                taken
            }
        };
        if was_withdrawn && !matches!(taken, Ok((_, true))) {
            self.enforcer.renew().await;
        }
        taken.map(|(text, _)| text)
    }

    /// Offers a version. Gives what came of it, and whether it is in force.
    async fn offer(
        &self,
        rules: Arc<ZoneRules>,
        text: String,
        incremental: bool,
        offer: Offer,
    ) -> Result<(String, bool), String> {
        let times = self.source.times(&rules.soa);
        let verdict = self.enforcer.offer(self.name(), Arc::clone(&rules), offer).await?;
        self.heard(times);
        let name = self.name();
        Ok(match verdict {
            Verdict::InForce { generation, warnings } => {
                tracing::info!("policy zone {name}: {text}; generation {generation} is in force");
                for warning in &warnings {
                    tracing::warn!("policy zone {name}: {warning}");
                }
                super::loaded::log_skipped(&self.source, &rules);
                let mut state = self.remote.lock();
                let counted = match incremental {
                    true => &mut state.told.incremental,
                    false => &mut state.told.whole,
                };
                *counted += 1;
                (text, true)
            }
            Verdict::Held { reasons, only_loss } => {
                let why = reasons.join("; ");
                tracing::error!(
                    "policy zone {name}: {text}: HELD, the version before stays in force: {why}; \
                     see culvert zone diff {name}, and take it with culvert zone accept {name}"
                );
                let (since, wall) = (Moment::now(), clock::wall_millis());
                let held = Held { rules, reasons, only_loss, since, wall };
                self.remote.lock().held = Some(held);
                (format!("{text}; held: {why}"), false)
            }
        })
    }

    /// The source answered, and what it has is known.
    fn heard(&self, times: Times) {
        let mut state = self.remote.lock();
        state.timers.contact(Moment::now(), times);
        state.told.last_contact = Some(clock::wall_millis());
        state.told.newer = None;
        state.saving.contact = true;
    }

    /// Keeps what a look came to, and tells the log of faults that are new.
    fn note(&self, outcome: &Result<String, String>, retry_after: Option<Duration>) {
        let mut state = self.remote.lock();
        let told = &mut state.told;
        told.busy = None;
        let (text, new) = match outcome {
            Ok(text) => (text, told.failures > 0),
            Err(text) => (text, told.last_outcome.as_ref() != Some(text)),
        };
        match outcome {
            Ok(_) if new => tracing::info!("policy zone {}: {text}", self.remote.name),
            Err(_) if new => tracing::warn!("policy zone {}: {text}", self.remote.name),
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
            let open = matches!(state.awaited, Awaited::Until(Some(until)) if until <= now);
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
                "policy zone {name}: no version has come in time; queries are answered WITHOUT it \
                 from now on"
            );
        }
        if withdraw {
            tracing::error!("policy zone {name}: it has expired; its rules do not act any more");
        }
        if open || withdraw {
            self.enforcer.renew().await;
        }
        if let Some(held) = accept {
            let text = format!("serial {} was held long enough", held.rules.soa.serial);
            if let Err(fault) = self.offer(held.rules, text, false, Offer::Accepted).await {
                tracing::error!("policy zone {name}: {fault}");
            }
        }
        self.save().await;
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

    /// Waits until a chore may be due.
    async fn next_chore(&self) {
        let next = {
            let state = self.remote.lock();
            let open = match state.awaited {
                Awaited::Until(until) => until,
                _ => None,
            };
            let (expiry, held) = (self.withdrawal(&state), self.hold_end(&state));
            let save = (state.saving.rules || state.saving.contact)
                .then(|| state.saving.not_before.unwrap_or(Moment::now()));
            [open, expiry, held, save].into_iter().flatten().min()
        };
        match next {
            Some(next) => sleep_until(next).await,
            None => std::future::pending().await,
        }
    }

    /// Saves the rules in force, or that the source was heard, if that is due.
    async fn save(&self) {
        let wanted = {
            let mut state = self.remote.lock();
            let now = Moment::now();
            if state.saving.not_before.is_some_and(|moment| moment > now) {
                return;
            }
            let rules = std::mem::take(&mut state.saving.rules);
            let contact = std::mem::take(&mut state.saving.contact);
            if !rules && !contact {
                return;
            }
            state.saving.not_before = Some(now + limits::SAVE_PAUSE);
            rules
        };
        let Some((rules, came)) = self.enforcer.in_force(&self.name()) else { return };
        let (folder, source) = (self.enforcer.state_folder(), self.source.clone());
        let remote = Arc::clone(&self.remote);
        // a panic in there is told by the hook, and the next version is saved again
        let _ = tokio::task::spawn_blocking(move || {
            save_copy(&folder, &source, &remote, &rules, came, wanted);
        })
        .await;
    }
}

/// Where last good copies are, within the state folder.
pub(super) fn saved_in(state: &Path) -> PathBuf {
    state.join("zones")
}

/// Writes a last good copy, or only that its source was heard.
pub(super) fn save_copy(
    folder: &Path,
    source: &Source,
    remote: &Remote,
    rules: &Arc<ZoneRules>,
    came: u64,
    whole: bool,
) {
    let _one_at_a_time = remote.pen.lock().unwrap_or_else(PoisonError::into_inner);
    let heard = remote.lock().told.last_contact.unwrap_or(came);
    let name = &source.settings.name;
    let contact = UNIX_EPOCH + Duration::from_millis(heard);
    let folder = saved_in(folder);
    let saved = if whole {
        let identity = Identity::of(&source.origin, source.form);
        let copy = Saved { rules, identity, came, contact };
        saved::save(&folder, &copy).map_err(|fault| fault.to_string())
    } else {
        let path = saved::path_of(&folder, name);
        let touched = saved::touch_contact(&path, contact);
        touched.map_err(|fault| format!("{}: {fault}", path.display()))
    };
    let mut state = remote.lock();
    match saved {
        Ok(()) => {
            if state.saving.error.take().is_some() {
                tracing::info!("policy zone {name}: its last good copy is saved again");
            }
            if whole {
                state.saving.saved = Some(clock::wall_millis());
            }
        }
        Err(text) => {
            if state.saving.error.as_ref() != Some(&text) {
                tracing::error!(
                    "policy zone {name}: {text}; its rules act, but would not outlive a restart"
                );
            }
            state.saving.error = Some(text);
            // tried again, at its time
            state.saving.rules |= whole;
            state.saving.contact |= !whole;
        }
    }
}

async fn sleep_until(moment: Moment) {
    tokio::time::sleep(moment.since(Moment::now())).await;
}
