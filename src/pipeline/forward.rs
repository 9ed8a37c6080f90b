//! Step 5: asking upstreams, within the client's deadline.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::explain::Notes;
use super::outcome::Outcome;
use super::reply::Page;
use super::{Asked, Judged, Pass, Road};
use crate::cache::{Cache, Entry, Failed, Freshness};
use crate::clock::Moment;
use crate::dns::ede::code;
use crate::dns::question::Question;
use crate::dns::rcode;
use crate::limits;
use crate::metrics::Counter;
use crate::upstream::{self, AnswerSink, Failure, Fetched, Upstream};

/// What has to be asked.
#[allow(clippy::large_enum_variant)] // one for each query that waits, and behind a box
pub enum Need {
    /// The answer itself, or a part of it.
    Truth(Wanted),
    /// Name servers and their addresses, for policy.
    Servers(Vec<Wanted>),
}

/// One question, and whom to ask it.
pub struct Wanted {
    pub(super) upstream: Arc<Upstream>,
    pub(super) question: Question,
}

/// What one query has learned from upstreams, whether or not it may be cached.
#[derive(Default)]
pub(super) struct Known {
    outcomes: Vec<(usize, Question, Result<Arc<Entry>, u16>)>,
    /// The upstream takes so long that a stale answer is better.
    pub(super) slow: bool,
    /// Look-ups that were for the answer itself.
    truths: usize,
    /// Look-ups of name servers and their addresses.
    pub(super) server_lookups: usize,
    /// Until when those are waited for, once there were some.
    servers_until: Option<Instant>,
    /// That time is over: what is missing is no match.
    pub(super) servers_late: bool,
    /// The last judgement could not look at all name servers.
    pub(super) unverified: Cell<bool>,
    /// Where a judgement that is only to be explained is noted, instead of in the hit log.
    pub(super) notes: Option<Box<Notes>>,
}

impl Known {
    /// What a judgement knows that is only to be explained: nothing yet.
    pub(super) fn to_be_explained() -> Known {
        Known { notes: Some(Box::default()), ..Known::default() }
    }

    /// An answer, or the extended error of a failure.
    pub(super) fn get(&self, id: usize, question: &Question) -> Option<&Result<Arc<Entry>, u16>> {
        let mut all = self.outcomes.iter();
        all.find(|(i, q, _)| *i == id && q == question).map(|(_, _, outcome)| outcome)
    }

    /// True if an upstream gave this very answer to this query.
    pub(super) fn was_fetched(&self, entry: &Arc<Entry>) -> bool {
        let mut answers = self.outcomes.iter().filter_map(|(.., outcome)| outcome.as_ref().ok());
        answers.any(|answer| Arc::ptr_eq(answer, entry))
    }

    /// True if an upstream was asked for the answer itself.
    pub(super) fn has_asked(&self) -> bool {
        self.truths > 0
    }
}

/// The order to wait for no upstream any more.
#[derive(Default)]
pub(super) struct Hurry {
    ordered: AtomicBool,
    told: Notify,
}

impl Hurry {
    fn order(&self) {
        self.ordered.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    async fn ordered(&self) {
        // first to listen, then to look: an order in between is heard
        let told = self.told.notified();
        if !self.ordered.load(Ordering::Acquire) {
            told.await;
        }
    }
}

impl Road {
    /// Asks, judges again, and asks once more where that calls for it (a garden's target, ANY's
    /// second type), until there is a reply. Always ends before the client gives up.
    pub(super) async fn forward(&self, asked: &Asked<'_>, need: Box<Need>) -> Option<Vec<u8>> {
        let mut known = Known::default();
        // no room is taken while nothing is there to be written
        let mut buf = Vec::new();
        let room = Page::room(asked, self.snapshot().payload);
        let pass = |known: &Known| {
            buf.resize(room, 0);
            match self.judge_now(asked, known, &mut buf) {
                Judged::Ask(next) => Err(next),
                judged => Ok(judged),
            }
        };
        if let Some(judged) = self.ask_until(asked, *need, &mut known, pass).await {
            return self.sent(asked, &known, judged, &buf);
        }
        let snap = self.snapshot();
        let len = Page::new(&snap, asked, Moment::now(), &mut buf).too_many_look_ups();
        self.sent(asked, &known, Judged::Reply(len, Outcome::Failed), &buf)
    }

    /// Asks what a pass lacks until it lacks nothing, and gives what it came to; `None` if that
    /// needs more look-ups than one query may make.
    pub(super) async fn ask_until<T>(
        &self,
        asked: &Asked<'_>,
        mut need: Need,
        known: &mut Known,
        mut pass: impl FnMut(&Known) -> Result<T, Box<Need>>,
    ) -> Option<T> {
        let spent = Moment::now().since(asked.arrived);
        let at = |limit: std::time::Duration| Instant::now() + limit.saturating_sub(spent);
        let deadline = at(limits::ANSWER_DEADLINE - limits::ANSWER_MARGIN);
        let slow = at(limits::STALE_AFTER);
        while known.truths < limits::LOOKUPS_PER_QUERY + limits::JUDGED_ANEW {
            match need {
                Need::Servers(wanted) => self.ask_servers(asked, wanted, known, deadline).await,
                Need::Truth(Wanted { upstream, question }) => {
                    let asking = upstream.ask(&question, asked.source.worker);
                    tokio::pin!(asking);
                    let mut said = None;
                    if !known.slow {
                        said = self.within(slow, &mut asking).await;
                        if said.is_none() {
                            // the upstream goes on; a stale answer is given meanwhile, if there
                            // is one
                            known.slow = true;
                            if let Ok(ended) = pass(known) {
                                return Some(ended);
                            }
                        }
                    }
                    if said.is_none() {
                        said = self.within(deadline, &mut asking).await;
                    }
                    let outcome = said.map_or(Err(code::NETWORK_ERROR), |said| self.taken(said));
                    known.outcomes.push((upstream.id(), question, outcome));
                    known.truths += 1;
                }
            }
            match pass(known) {
                Ok(ended) => return Some(ended),
                Err(next) => need = *next,
            }
        }
        None
    }

    /// Waits for an upstream, unless the relay gives up waiting.
    async fn within<T>(&self, until: Instant, asking: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            said = timeout_at(until, asking) => said.ok(),
            () = self.hurry.ordered() => None,
        }
    }

    /// Answers whoever waits for an upstream with what there is: from now on nobody waits.
    pub fn wait_no_more(&self) {
        self.hurry.order();
    }

    /// Looks up name servers, several at a time, and waits for them as long as a query may wait
    /// for that. What takes longer goes on in the background and fills the cache.
    async fn ask_servers(
        &self,
        asked: &Asked<'_>,
        wanted: Vec<Wanted>,
        known: &mut Known,
        deadline: Instant,
    ) {
        let first = Instant::now() + limits::SERVER_WAIT;
        let until = (*known.servers_until.get_or_insert(first)).min(deadline);
        let worker = asked.source.worker;
        known.server_lookups += wanted.len();
        let mut asking = futures_util::stream::iter(wanted)
            .map(move |Wanted { upstream, question }| async move {
                let said = upstream.ask(&question, worker).await;
                (upstream.id(), question, said)
            })
            .buffer_unordered(limits::SERVER_LOOKUPS_AT_ONCE);
        loop {
            match timeout_at(until, asking.next()).await {
                Ok(Some((id, question, said))) => {
                    let outcome = match self.taken(said) {
                        // many of them are held at a time; the cache may have it all the same
                        Ok(entry) if entry.answer.message().len() > limits::SERVER_ANSWER => {
                            Err(code::OTHER)
                        }
                        outcome => outcome,
                    };
                    known.outcomes.push((id, question, outcome));
                }
                Ok(None) => return,
                Err(_) => break,
            }
        }
        known.servers_late = true;
        if let Ok(place) = Arc::clone(&self.background).try_acquire_owned() {
            tokio::spawn(async move {
                let rest = asking.for_each(|_| std::future::ready(()));
                // late is late: the cache has what came
                let _ = timeout(limits::SERVER_BACKGROUND, rest).await;
                drop(place);
            });
        }
    }

    /// A pass from the start, under the snapshot in force now.
    fn judge_now(&self, asked: &Asked<'_>, known: &Known, buf: &mut [u8]) -> Judged {
        let snap = self.snapshot();
        known.unverified.set(false);
        self.judge(Pass::new(&snap, asked, known, Moment::now()), buf)
    }

    fn sent(
        &self,
        asked: &Asked<'_>,
        known: &Known,
        judged: Judged,
        buf: &[u8],
    ) -> Option<Vec<u8>> {
        if known.unverified.get() {
            self.counters.worker(asked.source.worker).count(Counter::Unverified);
        }
        match judged {
            Judged::Reply(len, outcome) => {
                self.ended(asked, outcome, &buf[..len]);
                Some(buf[..len].to_vec())
            }
            Judged::Silence(outcome) => {
                self.ended(asked, outcome, &[]);
                None
            }
            Judged::Ask(_) => None,
        }
    }

    fn taken(&self, said: upstream::Outcome) -> Result<Arc<Entry>, u16> {
        match said {
            Ok(fetched) => Ok(Arc::new(entry(&fetched, &self.cache))),
            Err(failure) => Err(failure.ede()),
        }
    }
}

fn entry(fetched: &Fetched, cache: &Cache) -> Entry {
    let freshness =
        Freshness { age: fetched.age, max_age: fetched.max_age, no_store: fetched.no_store };
    let answer = Arc::clone(&fetched.answer);
    Entry::new(answer, freshness, !fetched.plain, cache.settings(), Moment::now())
}

/// Puts what upstreams say into the cache, before anyone who waits for it wakes, and late
/// answers that nobody waits for any more.
pub struct Keeper {
    /// The cache to fill.
    pub cache: Arc<Cache>,
}

impl AnswerSink for Keeper {
    fn received(&self, upstream: usize, question: &Question, outcome: &upstream::Outcome) {
        let now = Moment::now();
        match outcome {
            Ok(fetched) => match fetched.answer.rcode() {
                rcode::NOERROR | rcode::NXDOMAIN => {
                    let entry = Arc::new(entry(fetched, &self.cache));
                    self.cache.store(upstream, question, &entry);
                }
                _ => {
                    let failed = Failed::Answer(Arc::clone(&fetched.answer));
                    let until = now + limits::SERVFAIL_KEPT;
                    self.cache.store_failure(upstream, question, failed, until);
                }
            },
            // our own doing: says nothing about the name
            Err(Failure::Shed | Failure::Panicked) => {}
            Err(failure) => {
                let failed = Failed::Transport(failure.ede());
                self.cache.store_failure(upstream, question, failed, now + limits::FAILURE_KEPT);
            }
        }
    }
}
