//! Exceptions and the suspension of policy: changed by commands, ended by time.
//!
//! ```text
//!   command ─► Book ─► renew_policy: in force ─► save, on a thread of its own ─► reply
//!   every 250 ms: exceptions that are over by wall time, a suspension by the monotonic clock
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{MissedTickBehavior, interval};

use super::{Basis, Relay, Trouble, assemble, free, off_thread};
use crate::admin::exceptions::{Changed, Shown, Suspended};
use crate::clock::{self, Moment};
use crate::limits;
use crate::zones::exceptions::{Book, ExceptionFile, Wish, in_words, reason};

/// The exceptions and where they are kept.
pub(super) struct Ledger {
    file: ExceptionFile,
    /// Locked while a change is made and put into force: one at a time. Locked before everything
    /// else, and never while the file is written.
    book: Mutex<Book>,
    /// One writer of the file at a time.
    saving: Arc<AsyncMutex<()>>,
}

/// A suspension of policy.
#[derive(Clone, Debug)]
pub(super) struct Suspension {
    /// When it ends: no jump of the wall clock makes it longer.
    until: Moment,
    /// The same as wall time when it began, in milliseconds since 1970.
    wall: u64,
    owner: String,
    reason: String,
}

/// How far the wall clock may run from the monotonic one before the end is shown anew, in
/// milliseconds.
const DRIFT: u64 = 2000;

impl Suspension {
    /// The suspension in the form of the doors.
    pub(super) fn shown(&self) -> Suspended {
        let left = self.until.since(Moment::now());
        let wall = clock::wall_millis().saturating_add(left.as_millis() as u64);
        let until = if wall.abs_diff(self.wall) > DRIFT { wall } else { self.wall };
        let (owner, reason) = (self.owner.clone(), self.reason.clone());
        Suspended { until: clock::rfc3339(until), owner, reason }
    }
}

impl Ledger {
    /// What the state folder keeps.
    pub(super) fn load(folder: &std::path::Path) -> Ledger {
        let (file, book) = ExceptionFile::load(folder, clock::wall_millis());
        Ledger { file, book: Mutex::new(book), saving: Arc::default() }
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Relay {
    /// Lets a name through or blocks it. The error says what is wrong with the wish.
    pub(super) async fn except(
        self: &Arc<Self>,
        wish: Wish,
        owner: &str,
    ) -> Result<Changed, String> {
        let put = {
            let mut book = self.ledger.book();
            let put = book.put(&wish, owner, clock::wall_millis())?;
            self.enforce(&book);
            put
        };
        tracing::info!(event = "exception-made", "{}", in_words(&put.made));
        if let Some(old) = &put.replaced {
            tracing::info!("replaced by exception {}: {}", put.made.id, in_words(old));
        }
        let saved = self.save().await;
        let mut notes = self.what_keeps_it_from_acting();
        if let Err(fault) = &saved {
            notes.push(format!(
                "IT WILL NOT OUTLIVE A RESTART, since it could not be saved: {fault}; mend that, \
                 and the next change of an exception saves them all."
            ));
        }
        Ok(Changed {
            exception: Some(Shown::of(&put.made)),
            gone: put.replaced.iter().map(|old| Shown::of(old)).collect(),
            saved: saved.is_ok(),
            notes,
        })
    }

    /// Takes exceptions back. The error names numbers that there are none of.
    pub(super) async fn unexcept(
        self: &Arc<Self>,
        ids: &[u64],
        owner: &str,
    ) -> Result<Changed, String> {
        let gone = {
            let mut book = self.ledger.book();
            let gone = book.remove(ids)?;
            self.enforce(&book);
            gone
        };
        for exception in &gone {
            tracing::info!(
                event = "exception-removed", %owner,
                "removed by {owner}: {}",
                in_words(exception)
            );
        }
        let saved = self.save().await;
        let note = saved.as_ref().err().map(|fault| {
            format!(
                "A RESTART BRINGS BACK WHAT WAS REMOVED, since that could not be saved: {fault}; \
                 mend that, and the next change of an exception saves them all."
            )
        });
        Ok(Changed {
            exception: None,
            gone: gone.iter().map(|old| Shown::of(old)).collect(),
            saved: saved.is_ok(),
            notes: note.into_iter().collect(),
        })
    }

    /// All exceptions.
    pub(super) fn shown_exceptions(&self) -> Vec<Shown> {
        self.ledger.book().list().iter().map(|exception| Shown::of(exception)).collect()
    }

    /// Lets no zone and no exception act for a while. Gives the suspension and the one it
    /// replaces; the error says what is wrong with the wish.
    pub(super) fn suspend(
        &self,
        millis: u64,
        why: &str,
        owner: &str,
    ) -> Result<(Suspended, Option<Suspended>), String> {
        let reason = reason(why)?;
        let length = Duration::from_millis(millis);
        if length.is_zero() || length > limits::SUSPENSION_LONGEST {
            return Err(format!(
                "policy is suspended for at most {} hours at a time; for longer, set mode = \
                 \"monitor\" in [response_policy] and reload",
                limits::SUSPENSION_LONGEST.as_secs() / 3600
            ));
        }
        let wall = clock::wall_millis().saturating_add(millis);
        let owner = owner.to_owned();
        let suspension = Suspension { until: Moment::now() + length, wall, owner, reason };
        let shown = suspension.shown();
        let mut before = None;
        self.renew(|current| before = current.suspension.replace(suspension));
        let Suspended { until, owner, reason } = &shown;
        tracing::warn!(
            event = "policy-suspended", %owner,
            "POLICY IS SUSPENDED until {until} by {owner}: {reason}"
        );
        Ok((shown, before.map(|before| before.shown())))
    }

    /// Ends a suspension before its time; gives what it was.
    pub(super) fn resume(&self, owner: &str) -> Option<Suspended> {
        self.end_suspension(&format!("it was ended by {owner}"))
    }

    fn end_suspension(&self, how: &str) -> Option<Suspended> {
        let was = self.lock().suspension.as_ref().map(Suspension::shown)?;
        self.renew(|current| current.suspension = None);
        let Suspended { owner, reason, .. } = &was;
        tracing::warn!(
            event = "policy-resumed", %owner,
            "policy acts again; the suspension by {owner} is over: {how} ({reason})"
        );
        Some(was)
    }

    fn end_what_is_over(self: &Arc<Self>) {
        let (over, next_end) = {
            let current = self.lock();
            let over = current.suspension.as_ref().is_some_and(|s| s.until <= Moment::now());
            (over, current.exceptions.next_end())
        };
        if over {
            self.end_suspension("its time is up");
        }
        let now = clock::wall_millis();
        if next_end.is_none_or(|end| end > now) {
            return;
        }
        let ended = {
            let mut book = self.ledger.book();
            let ended = book.end(now);
            self.enforce(&book);
            ended
        };
        for exception in ended {
            tracing::info!(
                event = "exception-ended",
                "ended by its time: {}",
                in_words(&exception)
            );
        }
        let relay = Arc::clone(self);
        // what is over is dropped at a start anyway; a fault is logged in there
        tokio::spawn(async move { relay.save().await });
    }

    /// What makes a new exception idle, in words.
    fn what_keeps_it_from_acting(&self) -> Vec<String> {
        let current = self.lock();
        if let Some(suspension) = &current.suspension {
            let until = suspension.shown().until;
            return vec![format!("Policy is suspended until {until}: it acts from then on.")];
        }
        if assemble::monitor_only(&current.settings) {
            let text = "The relay only watches (mode in [response_policy] is \"monitor\"): no \
                        exception acts, its matches are logged.";
            return vec![text.to_owned()];
        }
        Vec::new()
    }

    /// Puts a book into force.
    fn enforce(&self, book: &Book) {
        let exceptions = book.exceptions();
        self.renew(|current| current.exceptions = exceptions);
    }

    /// Publishes the next generation upon the zones that are there.
    fn renew(&self, change: impl FnOnce(&mut super::Current)) {
        let (old, generation) = self.renew_policy(Basis::Same, change);
        tracing::info!(
            event = "generation",
            generation,
            "policy generation {generation} is in force"
        );
        std::thread::spawn(move || free(old));
    }

    /// Writes the book as it is by then. A fault is logged, and given as a text that names the
    /// file.
    async fn save(self: &Arc<Self>) -> Result<(), String> {
        let turn = Arc::clone(&self.ledger.saving).lock_owned().await;
        let relay = Arc::clone(self);
        let saved = off_thread(move || {
            // held by the thread: whoever waits for it may be gone before a slow disk is done
            let _turn = turn;
            let book = relay.ledger.book().clone();
            relay.ledger.file.save(&book).map_err(Trouble::System)
        });
        let saved = saved.await.map_err(|trouble| trouble.to_string());
        if let Err(fault) = &saved {
            tracing::error!(
                "{fault}: the exceptions in force will not outlive a restart; the next change of \
                 an exception saves them all"
            );
        }
        saved
    }
}

/// Ends exceptions and suspensions whose time is up, until dropped.
pub(super) async fn end_by_time(relay: Arc<Relay>) {
    let mut looks = interval(limits::WATCH_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        relay.end_what_is_over();
    }
}
