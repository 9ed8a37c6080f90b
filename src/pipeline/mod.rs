//! The query's road: THE ORDER in which a query is judged, in one file.
//!
//! ```text
//! listener::{udp,tcp}
//!    │ packet, client, address asked
//!    ▼
//!  receive ── 1 admit            access list, header, opcode, class  ─► refuse, formerr, silence
//!    │                           NOTIFY of a primary                 ─► zones::notify
//!    │
//!  judge ──── 2 query policy     exceptions, CLIENT-IP and QNAME rules: what matches already,
//!    │                           if nothing unknown could still win               ─► act
//!    │        3 local            hosts, special names                             ─► local answer
//!    │        4 look up          cache; what this query has fetched already
//!    │                           nothing there ─► Ask ─► finish: 5 forward, then judge again
//!    │        6 response policy  each name of the alias chain, fresh or cached: QNAME, then
//!    │                           IP, NSDNAME, NSIP                                ─► act
//!    │        7 reply            id, case, TTLs, EDNS, EDE, truncation
//!    ▼        8 outcome          counters, hit log
//!  reply or silence
//! ```
//!
//! `judge` is one synchronous pass under one snapshot. A query that had to ask an upstream is
//! judged again from the start under the snapshot that is current then, so every answer is
//! explained by exactly one generation of policy, the one in force when it leaves.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use tokio::sync::Semaphore;

use crate::acl::Permit;
use crate::cache::{Cache, Entry};
use crate::clock::Moment;
use crate::dns::ede::{Ede, code};
use crate::dns::name::Name;
use crate::dns::query::{Fault, Query};
use crate::dns::rcode;
use crate::limits;
use crate::listener::{Handler, Source, Step, Transport};
use crate::metrics::{Counter, Counters};
use crate::policy::action::Action;
use crate::policy::set::Mode;
use crate::policy::stage::{Hit, Judge, Place as Standing, Stage};
use crate::report::Reporter;

mod act;
mod admit;
mod evidence;
pub mod explain;
mod forward;
pub mod local;
mod lookup;
mod outcome;
mod reply;
mod snapshot;
mod verdict;

use act::Acted;
use evidence::{Facts, Reached};
use forward::Known;
pub use forward::{Keeper, Need, Wanted};
use lookup::Lacking;
use outcome::Outcome;
use reply::Page;
use snapshot::Route;
pub use snapshot::{Outside, Routes, Snapshot};

/// The road. One for all workers; it holds nothing that a query could wait for.
pub struct Road {
    live: ArcSwap<Snapshot>,
    cache: Arc<Cache>,
    counters: Arc<Counters>,
    reporter: Reporter,
    /// Places for look-ups of name servers that nobody waits for any more.
    background: Arc<Semaphore>,
    /// The same for zones that only watch, so that they take none from those that act.
    overheard: Arc<Semaphore>,
    /// When the log last told of name servers that could not be looked up.
    unverified_line: Mutex<Option<Moment>>,
    /// The relay is about to end.
    hurry: forward::Hurry,
}

/// A query that was admitted.
#[derive(Clone, Copy)]
struct Asked<'q> {
    query: &'q Query,
    source: Source,
    arrived: Moment,
    /// Proof that the access list was asked.
    permit: Permit,
}

/// One pass of judgement: under which snapshot, of which query, with what is known, and when.
#[derive(Clone, Copy)]
struct Pass<'p> {
    snap: &'p Snapshot,
    asked: &'p Asked<'p>,
    known: &'p Known,
    now: Moment,
    /// The client's view of policy.
    judge: Judge<'p>,
}

impl<'p> Pass<'p> {
    fn new(snap: &'p Snapshot, asked: &'p Asked<'p>, known: &'p Known, now: Moment) -> Pass<'p> {
        let recursive = asked.query.recursion_desired();
        let judge = snap.policy.judge(asked.source.client.ip(), recursive);
        Pass { snap, asked, known, now, judge }
    }

    /// Where a name goes.
    fn route(&self, name: &Name) -> Route<'p> {
        self.snap.routes.find(name, self.judge.view().number)
    }

    /// A name of an answer's chain, judged by what is known at once: 0 is the query's own.
    fn stage(&self, entry: &Entry, link: usize) -> Option<Stage<'p>> {
        let question = &self.asked.query.question.name;
        let name = match link.checked_sub(1) {
            None => *question,
            Some(link) => entry.answer.link_target(link)?,
        };
        // data from outside is never the operator's own, whatever name it bears
        let own =
            self.route(question).is_sheltered() && (link == 0 || self.route(&name).is_sheltered());
        // the client counts once, at the first name that policy may look at (as BIND has it)
        let first = (0..link).all(|before| self.is_exempt(entry, before));
        Some(self.judge.stage(&name, Standing { first, own }))
    }

    /// DNSSEC shelters a name of an answer's chain from policy.
    fn is_exempt(&self, entry: &Entry, link: usize) -> bool {
        let asks = !self.snap.break_dnssec && self.asked.query.question.dnssec_ok;
        asks && entry.answer.is_signed_at(link)
    }
}

/// Where one pass of judgement ends.
enum Judged {
    /// So many octets of the reply buffer.
    Reply(usize, Outcome),
    /// Nothing is sent.
    Silence(Outcome),
    /// An upstream has to be asked first.
    Ask(Box<Need>),
}

/// A query on its way to an upstream.
pub struct Waiting {
    query: Query,
    source: Source,
    arrived: Moment,
    permit: Permit,
    need: Box<Need>,
    place: Place,
}

/// A waiting query's place among those in flight, given back when it ends, however it does.
struct Place {
    counters: Arc<Counters>,
    worker: usize,
}

impl Place {
    fn take(counters: &Arc<Counters>, worker: usize) -> Place {
        counters.worker(worker).count(Counter::WaitsBegun);
        Place { counters: Arc::clone(counters), worker }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // a query ends on the worker that took it in
        self.counters.worker(self.worker).count(Counter::WaitsEnded);
    }
}

/// Zones that only watch.
fn watching(snapshot: &Snapshot) -> Vec<Name> {
    let zones = snapshot.policy.zones().iter().map(|zone| &zone.settings);
    zones.filter(|zone| zone.mode == Mode::Monitor).map(|zone| zone.name).collect()
}

impl Road {
    /// A road under a first snapshot.
    pub fn new(
        snapshot: Snapshot,
        cache: Arc<Cache>,
        counters: Arc<Counters>,
        reporter: Reporter,
    ) -> Road {
        reporter.watch(&watching(&snapshot));
        Road {
            live: ArcSwap::from_pointee(snapshot),
            cache,
            counters,
            reporter,
            background: Arc::new(Semaphore::new(limits::SERVER_BACKGROUND_QUERIES)),
            overheard: Arc::new(Semaphore::new(limits::SERVER_BACKGROUND_QUERIES)),
            unverified_line: Mutex::new(None),
            hurry: forward::Hurry::default(),
        }
    }

    /// Publishes a snapshot: the very next judgement is made under it.
    pub fn publish(&self, snapshot: Snapshot) {
        // first, so that no hit comes before its count
        self.reporter.watch(&watching(&snapshot));
        self.live.store(Arc::new(snapshot));
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.live.load_full()
    }

    /// The cache.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// The counters.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The hit log's near end.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Steps 2 to 4 and 6 to 8 with what is at hand. The order of this function is the order of
    /// judgement.
    fn judge(&self, pass: Pass<'_>, buf: &mut [u8]) -> Judged {
        let Pass { snap, asked, known, .. } = pass;
        let query = asked.query;
        let name = &query.question.name;
        let mut page = Page::new(snap, asked, pass.now, buf);

        // 2 query policy
        let route = pass.route(name);
        let local = snap.local.answer(&query.question, route.is_own);
        let own = route.is_sheltered() || local.as_ref().is_some_and(|l| l.is_host);
        let mut stage = pass.judge.stage(name, Standing { first: true, own });
        let reached = local.as_ref().map_or(Reached::Query, Reached::Local);
        let facts = Facts { road: self, pass, name: *name, reached };
        if local.is_some() {
            stage.see_addresses(&facts);
        }
        let waits = snap.waits_for_truth(&query.question);
        let at_once = stage.is_excepted() || (stage.is_decided() && !waits);
        if (at_once || local.is_some())
            && let Some(judged) = self.decide(&mut page, &stage, &facts)
        {
            return judged;
        }

        // 3 local
        if let Some(local) = &local {
            let len = page.local(local);
            return self.clean(pass, reached, Judged::Reply(len, Outcome::Local));
        }

        // 4 look up
        let truth = match self.look_up(pass, &query.question) {
            Ok(truth) => truth,
            Err(lacking) => return self.ask_or_refuse(pass, lacking, &mut page),
        };
        let Some(entry) = truth.usable() else {
            // a failure has no addresses: what matched before decides, or a server in a zone
            // ahead, unless truth comes first
            if !waits && stage.is_contested() {
                if let Err(need) = self.see_servers(&mut stage, &facts) {
                    return Judged::Ask(need);
                }
                if let Some(judged) = self.decide(&mut page, &stage, &facts) {
                    return judged;
                }
            }
            let judged = Judged::Reply(page.truth(&truth), truth.outcome(known));
            return self.clean(pass, Reached::Query, judged);
        };

        // 6 response policy
        if (stage.is_contested() || !verdict::is_clean(&pass, entry))
            && let Some(judged) = self.judge_answer(pass, &mut page, entry)
        {
            return judged;
        }

        // 7 reply
        let outcome = truth.outcome(known);
        let judged = Judged::Reply(page.truth(&truth), outcome);
        self.clean(pass, Reached::Stage(entry, entry.answer.link_count()), judged)
    }

    /// Step 6: the names of the chain one after the other, each by all its triggers. `None`: no
    /// rule acts.
    fn judge_answer(
        &self,
        pass: Pass<'_>,
        page: &mut Page<'_>,
        entry: &Arc<Entry>,
    ) -> Option<Judged> {
        let (mut servers, mut lost) = (false, false);
        for link in 0..=entry.answer.link_count() {
            let mut stage = pass.stage(entry, link)?;
            let reached = Reached::Stage(entry, link);
            let facts = Facts { road: self, pass, name: *stage.name(), reached };
            stage.see_addresses(&facts);
            if pass.is_exempt(entry, link) && !stage.is_excepted() {
                continue;
            }
            match self.see_servers(&mut stage, &facts) {
                Ok(seen) => servers |= seen,
                Err(need) => return Some(Judged::Ask(need)),
            }
            if let Some(judged) = self.decide(page, &stage, &facts) {
                return Some(judged);
            }
            // what matched went away before it could be told: an entry of the cache that ended
            lost |= stage.acts();
        }
        if !lost && !pass.known.unverified.get() {
            verdict::note_clean(&pass, entry, servers);
        }
        None
    }

    /// What a name comes to by what is known: a zone is awaited, or a rule acts. Answers that are
    /// made here wait for no zone.
    fn decide(&self, page: &mut Page<'_>, stage: &Stage<'_>, facts: &Facts<'_>) -> Option<Judged> {
        let Facts { pass, reached, .. } = *facts;
        if !matches!(reached, Reached::Local(_))
            && let Some(zone) = stage.awaited()
        {
            let ede = Ede::new(code::NOT_READY, "a policy zone is not loaded yet");
            let len = page.code(rcode::SERVFAIL, Some(ede));
            let judged = self.clean(pass, reached, Judged::Reply(len, Outcome::NotReady));
            if let Some(notes) = &pass.known.notes {
                notes.note_awaited(zone.settings.name);
            }
            return Some(judged);
        }
        let hit = stage.hit(facts)?;
        Some(self.act(pass, page, &hit, reached))
    }

    /// Applies the rule that won.
    fn act(
        &self,
        pass: Pass<'_>,
        page: &mut Page<'_>,
        hit: &Hit<'_>,
        reached: Reached<'_>,
    ) -> Judged {
        let tcp = pass.asked.source.transport == Transport::Tcp;
        let behind = reached.behind();
        let acted = match hit.action {
            Action::Nxdomain => page.negative(hit, behind, rcode::NXDOMAIN),
            Action::Nodata => page.negative(hit, behind, rcode::NOERROR),
            Action::Drop => Acted::silence(),
            Action::TcpOnly if !tcp => page.come_over_tcp(),
            Action::TcpOnly | Action::Passthru => match reached {
                Reached::Local(local) => Acted::reply(page.local(local), Outcome::Local),
                _ => match self.look_up(pass, &pass.asked.query.question) {
                    Ok(truth) => Acted::reply(page.truth(&truth), truth.outcome(pass.known)),
                    Err(lacking) => return self.ask_or_refuse(pass, lacking, page),
                },
            },
            Action::Data(_) => match self.local_data(pass, page, hit, behind) {
                Ok(acted) => acted,
                Err(need) => return Judged::Ask(need),
            },
        };
        self.log_hits(pass, reached, Some((hit, acted.policy_word(hit))));
        acted.judged()
    }

    /// Ends a judgement in which no rule acted; those that watch are still heard.
    fn clean(&self, pass: Pass<'_>, reached: Reached<'_>, judged: Judged) -> Judged {
        self.log_hits(pass, reached, None);
        judged
    }

    /// Asks an upstream, unless the client does not want recursion.
    fn ask_or_refuse(&self, pass: Pass<'_>, lacking: Lacking, page: &mut Page<'_>) -> Judged {
        if let Some(need) = lacking {
            return Judged::Ask(need);
        }
        let judged = Judged::Reply(page.code(rcode::REFUSED, None), Outcome::Refused);
        self.clean(pass, Reached::Query, judged)
    }
}

impl Handler for Road {
    type Round = Arc<Snapshot>;
    type Later = Box<Waiting>;

    fn round(&self) -> Arc<Snapshot> {
        self.live.load_full()
    }

    fn receive(
        &self,
        snap: &Arc<Snapshot>,
        source: Source,
        packet: &[u8],
        whole: bool,
        reply: &mut [u8],
    ) -> Step<Box<Waiting>> {
        let judged = std::panic::catch_unwind(AssertUnwindSafe(|| {
            self.receive_unguarded(snap, source, packet, whole, reply)
        }));
        judged.unwrap_or_else(|_| self.after_panic(source, packet, reply))
    }

    async fn finish(&self, waiting: Box<Waiting>) -> Option<Vec<u8>> {
        let cells = self.counters.worker(waiting.source.worker);
        let Waiting { query, source, arrived, permit, need, place } = *waiting;
        let asked = Asked { query: &query, source, arrived, permit };
        let finished = AssertUnwindSafe(self.forward(&asked, need)).catch_unwind().await;
        let reply = finished.unwrap_or_else(|_| {
            cells.count(Counter::Panics);
            let mut buf = vec![0; 512];
            let snap = self.snapshot();
            let len = Page::new(&snap, &asked, Moment::now(), &mut buf).code(rcode::SERVFAIL, None);
            buf.truncate(len);
            self.ended(&asked, Outcome::Failed, &buf);
            Some(buf)
        });
        drop(place);
        reply
    }

    fn welcomes(&self, client: std::net::IpAddr) -> bool {
        // a primary is let in for its NOTIFYs; each query of it is judged all the same
        let snap = self.live.load();
        snap.acl.admit(client).is_some() || snap.notify.listens_to(client)
    }

    fn not_sent(&self, worker: usize, replies: usize) {
        self.counters.worker(worker).add(Counter::SendErrors, replies as u64);
    }

    fn turned_away(&self, worker: usize) {
        self.counters.worker(worker).count(Counter::TcpRefused);
    }
}

impl Road {
    fn receive_unguarded(
        &self,
        snap: &Snapshot,
        source: Source,
        packet: &[u8],
        whole: bool,
        reply: &mut [u8],
    ) -> Step<Box<Waiting>> {
        let cells = self.counters.worker(source.worker);
        cells.count(Counter::Received);
        if source.transport == Transport::Tcp {
            cells.count(Counter::Tcp);
        }
        // 1 admit
        let mut query = Query::blank();
        let read = if whole { query.set(packet) } else { Err(admit::cut_off(packet)) };
        if matches!(read, Err(Fault::Notify))
            && let Some(taken) = admit::notify(snap, source, packet, cells, reply)
        {
            return taken;
        }
        let asked = match admit::admit(snap, source, read.map(|()| &query)) {
            Ok(asked) => asked,
            Err(refusal) => return refusal.answer(snap, source, packet, cells, reply),
        };
        let known = Known::default();
        let pass = Pass::new(snap, &asked, &known, asked.arrived);
        let judged = self.judge(pass, reply);
        if known.unverified.get() && !matches!(judged, Judged::Ask(_)) {
            cells.count(Counter::Unverified);
        }
        match judged {
            Judged::Reply(len, outcome) => {
                self.ended(&asked, outcome, &reply[..len]);
                Step::Reply(len)
            }
            Judged::Silence(outcome) => {
                self.ended(&asked, outcome, &[]);
                Step::Silence
            }
            Judged::Ask(need) => {
                cells.count(Counter::CacheMisses);
                if self.counters.in_flight() >= limits::WAITING {
                    return self.overloaded(snap, &asked, reply);
                }
                let place = Place::take(&self.counters, source.worker);
                let Asked { permit, arrived, .. } = asked;
                let waiting = Waiting { query, source, arrived, permit, need, place };
                Step::Later(Box::new(waiting))
            }
        }
    }

    /// Too many queries wait already: one more would only take memory from the others.
    fn overloaded(
        &self,
        snap: &Snapshot,
        asked: &Asked<'_>,
        reply: &mut [u8],
    ) -> Step<Box<Waiting>> {
        self.counters.worker(asked.source.worker).count(Counter::Overload);
        let ede = Ede::new(code::OTHER, "too many queries are waiting");
        let len = Page::new(snap, asked, asked.arrived, reply).code(rcode::SERVFAIL, Some(ede));
        self.ended(asked, Outcome::Failed, &reply[..len]);
        Step::Reply(len)
    }

    /// One query's panic costs that query a SERVFAIL and nothing else.
    fn after_panic(&self, source: Source, packet: &[u8], reply: &mut [u8]) -> Step<Box<Waiting>> {
        let cells = self.counters.worker(source.worker);
        cells.count(Counter::Panics);
        if packet.len() < crate::dns::HEADER {
            cells.count(Counter::Malformed);
            return Step::Silence;
        }
        cells.count(Counter::ServFail);
        cells.count(Counter::Answered);
        Step::Reply(crate::dns::compose::bare_reply(reply, packet, rcode::SERVFAIL, None))
    }
}

#[cfg(test)]
mod tests;
