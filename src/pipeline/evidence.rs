//! What is known about a name beyond its spelling: the addresses in its answer, and its name
//! servers, which are looked up like any other name.
//!
//! ```text
//!   www.example.com ─► NS of www.example.com, example.com (those with min_ns_dots dots)
//!                        └► each server's name ─► NSDNAME
//!                             └► its A and AAAA ─► NSIP
//! ```
//!
//! Bounded: [`limits::SERVER_LOOKUPS`] look-ups for one query, of which [`limits::SERVER_ZONES`]
//! at most are for sets of servers. Answers come from the cache where they are there, so a
//! look-up is shared by all names of a zone and by all clients.

use std::net::IpAddr;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::forward::{Need, Wanted};
use super::local::LocalAnswer;
use super::lookup::Truth;
use super::reply::Behind;
use super::{Pass, Road};
use crate::cache::Entry;
use crate::dns::name::Name;
use crate::dns::question::Question;
use crate::dns::rtype;
use crate::limits;
use crate::policy::stage::{Evidence, Stage};
use crate::policy::trigger::TriggerKind;

/// How far a judgement came: what was at hand when it ended.
#[derive(Clone, Copy)]
pub(super) enum Reached<'e> {
    /// The query itself.
    Query,
    /// An answer that is made here.
    Local(&'e LocalAnswer<'e>),
    /// An answer, and the name of its chain that was judged last: 0 is the query's own.
    Stage(&'e Arc<Entry>, usize),
}

impl<'e> Reached<'e> {
    /// The answer whose chain led to the name that was judged last, and the link that did.
    pub(super) fn behind(self) -> Behind<'e> {
        match self {
            Reached::Stage(entry, stage) => Some((entry, stage.checked_sub(1)?)),
            Reached::Query | Reached::Local(_) => None,
        }
    }
}

/// The evidence for one name.
pub(super) struct Facts<'f> {
    pub(super) road: &'f Road,
    pub(super) pass: Pass<'f>,
    pub(super) name: Name,
    /// Where the name's addresses are.
    pub(super) reached: Reached<'f>,
}

impl Evidence for Facts<'_> {
    fn each_address(&self, each: &mut dyn FnMut(IpAddr)) {
        match self.reached {
            Reached::Query => {}
            Reached::Local(local) => local.each_address(self.pass.asked.query.question.rtype, each),
            // they belong to the last name of the chain
            Reached::Stage(entry, stage) if stage == entry.answer.link_count() => {
                entry.answer.each_address(self.pass.snap.svcb_hints, each);
            }
            Reached::Stage(..) => {}
        }
    }

    fn each_server(&self, each: &mut dyn FnMut(&Name)) {
        self.road.walk_servers(self.pass, &self.name, each, None);
    }

    fn each_server_address(&self, each: &mut dyn FnMut(IpAddr)) {
        self.road.walk_servers(self.pass, &self.name, &mut |_| (), Some(each));
    }
}

/// What a walk over a name's servers lacked.
#[derive(Default)]
pub(super) struct Lacks {
    /// Look-ups that have not been made.
    missing: Vec<Wanted>,
    /// Some failed, or there are more than may be made.
    incomplete: bool,
}

/// The look-ups that one walk may still make.
struct Budget(usize);

impl Budget {
    fn spend(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

impl Road {
    /// Takes in a name's servers, if zones that act and could still win look at them, and tells
    /// whether they did. `Err`: these have to be looked up first.
    pub(super) fn see_servers(
        &self,
        stage: &mut Stage<'_>,
        facts: &Facts<'_>,
    ) -> Result<bool, Box<Need>> {
        let (names, addresses) = (stage.open(TriggerKind::Nsdname), stage.open(TriggerKind::Nsip));
        if names | addresses == 0 {
            return Ok(false);
        }
        let known = facts.pass.known;
        let mut lacks = self.lacking_servers(facts, addresses != 0);
        // no use in waiting for an upstream that is down; what is cached is given at once
        lacks.leave_out(|wanted| wanted.upstream.all_down());
        let left = limits::SERVER_LOOKUPS.saturating_sub(known.server_lookups);
        if !known.servers_late && left > 0 && !lacks.missing.is_empty() {
            lacks.missing.truncate(left);
            return Err(Box::new(Need::Servers(lacks.missing)));
        }
        if lacks.incomplete || !lacks.missing.is_empty() {
            self.note_unverified(facts);
        }
        stage.see_servers(facts);
        Ok(true)
    }

    /// For an explanation: takes in a name's servers for all zones that look at them, also those
    /// that could not win. With `ask`, `Err` says what has to be looked up first, within what
    /// one query may. `false`: some could not be looked at.
    pub(super) fn survey_servers(
        &self,
        stage: &mut Stage<'_>,
        facts: &Facts<'_>,
        ask: bool,
    ) -> Result<bool, Box<Need>> {
        let addresses = stage.looking(TriggerKind::Nsip) != 0;
        if !addresses && stage.looking(TriggerKind::Nsdname) == 0 {
            return Ok(true);
        }
        let mut lacks = self.lacking_servers(facts, addresses);
        let left = limits::SERVER_LOOKUPS.saturating_sub(facts.pass.known.server_lookups);
        let may_ask = ask && !facts.pass.known.servers_late;
        if may_ask && left > 0 && !lacks.missing.is_empty() {
            lacks.missing.truncate(left);
            return Err(Box::new(Need::Servers(lacks.missing)));
        }
        stage.see_servers(facts);
        Ok(!lacks.incomplete && lacks.missing.is_empty())
    }

    /// For zones that only watch: takes in what is at hand, and notes what is not.
    pub(super) fn overhear_servers(
        &self,
        stage: &mut Stage<'_>,
        facts: &Facts<'_>,
        lacks: &mut Lacks,
    ) {
        let addresses = stage.watched(TriggerKind::Nsip);
        if stage.watched(TriggerKind::Nsdname) | addresses == 0 {
            return;
        }
        let more = self.lacking_servers(facts, addresses != 0);
        more.missing.into_iter().for_each(|wanted| lacks.want(wanted));
        stage.see_servers(facts);
    }

    /// For zones that only watch: has looked up what was not at hand. The client's query neither
    /// waits for it nor changes by it, and it costs no more than what zones that act may ask for.
    pub(super) fn look_up_behind(&self, pass: Pass<'_>, mut lacks: Lacks) {
        lacks.leave_out(|wanted| wanted.upstream.all_down());
        lacks.missing.truncate(limits::SERVER_LOOKUPS);
        // without RD nobody is asked for what cannot change the answer
        if lacks.missing.is_empty() || !pass.asked.query.recursion_desired() {
            return;
        }
        let Ok(place) = Arc::clone(&self.overheard).try_acquire_owned() else { return };
        let worker = pass.asked.source.worker;
        let asking = futures_util::stream::iter(lacks.missing)
            .map(move |Wanted { upstream, question }| async move {
                // the cache has what came
                let _ = upstream.ask(&question, worker).await;
            })
            .buffer_unordered(limits::SERVER_LOOKUPS_AT_ONCE);
        tokio::spawn(async move {
            let all = asking.for_each(|()| std::future::ready(()));
            let _ = timeout(limits::SERVER_BACKGROUND, all).await;
            drop(place);
        });
    }

    /// What is not at hand about a name's servers, and with `addresses` about theirs.
    fn lacking_servers(&self, facts: &Facts<'_>, addresses: bool) -> Lacks {
        let mut ignored = |_: IpAddr| ();
        let each_address: Option<&mut dyn FnMut(IpAddr)> =
            if addresses { Some(&mut ignored) } else { None };
        self.walk_servers(facts.pass, &facts.name, &mut |_| (), each_address)
    }

    /// Walks over the servers of a name and of its ancestors, as far as is known without asking.
    fn walk_servers(
        &self,
        pass: Pass<'_>,
        name: &Name,
        each: &mut dyn FnMut(&Name),
        addresses: Option<&mut dyn FnMut(IpAddr)>,
    ) -> Lacks {
        let mut lacks = Lacks::default();
        let mut budget = Budget(limits::SERVER_LOOKUPS);
        let mut found = [const { None }; limits::SERVER_ZONES];
        let (least, most) = (pass.snap.min_ns_dots + 1, name.label_count());
        lacks.incomplete = most >= least + limits::SERVER_ZONES;
        // from the top: labels that a client puts in front crowd nothing out, and no set of
        // servers hides the one of another zone
        for (labels, found) in (least..=most).zip(&mut found) {
            let zone = name.suffix(labels);
            *found = self.server_data(pass, zone, rtype::NS, &mut budget, &mut lacks);
            if let Some(found) = found {
                // no server at all (RFC 7505 has the like for mail)
                found.answer.each_server(&mut |server| {
                    if !server.is_root() {
                        each(server);
                    }
                });
            }
        }
        let Some(each_address) = addresses else { return lacks };
        for found in found.iter().flatten() {
            found.answer.each_server(&mut |server| {
                if server.is_root() {
                    return;
                }
                for rtype in [rtype::A, rtype::AAAA] {
                    let found = self.server_data(pass, *server, rtype, &mut budget, &mut lacks);
                    if let Some(found) = found {
                        found.answer.each_address(false, &mut *each_address);
                    }
                }
            });
        }
        lacks
    }

    /// The answer to one look-up, if it is at hand and no alias.
    fn server_data(
        &self,
        pass: Pass<'_>,
        name: Name,
        rtype: u16,
        budget: &mut Budget,
        lacks: &mut Lacks,
    ) -> Option<Arc<Entry>> {
        if !budget.spend() {
            lacks.incomplete = true;
            return None;
        }
        let question = Question::plain(name, rtype);
        match self.look_up_one(pass, &question) {
            Ok(Truth::Answer { entry, .. }) => match entry.answer.rcode() {
                crate::dns::rcode::NOERROR | crate::dns::rcode::NXDOMAIN => {
                    (entry.answer.link_count() == 0).then_some(entry)
                }
                _ => {
                    lacks.incomplete = true;
                    None
                }
            },
            Ok(Truth::Failed(..)) => {
                lacks.incomplete = true;
                None
            }
            Err(lacking) => {
                // without RD the answer must be at hand; what policy has to know of it need not
                let wanted = match lacking.map(|need| *need) {
                    Some(Need::Truth(wanted)) => wanted,
                    _ => Wanted { upstream: Arc::clone(pass.route(&name).upstream), question },
                };
                lacks.want(wanted);
                None
            }
        }
    }

    /// The answer goes out though a rule may have been missed; told once in a while.
    fn note_unverified(&self, facts: &Facts<'_>) {
        if facts.pass.known.unverified.replace(true) || facts.pass.known.notes.is_some() {
            return;
        }
        let now = facts.pass.now;
        let mut last = self.unverified_line.lock().unwrap_or_else(|e| e.into_inner());
        if last.is_some_and(|last| now.since(last) < limits::SERVER_LINE_PAUSE) {
            return;
        }
        *last = Some(now);
        tracing::warn!(
            "name servers of names in {} could not all be looked up: NSDNAME and NSIP rules did \
             not match there (counted as unverified)",
            facts.name.suffix(2)
        );
    }
}

impl Lacks {
    /// Gives up some look-ups.
    fn leave_out(&mut self, given_up: impl Fn(&Wanted) -> bool) {
        let before = self.missing.len();
        self.missing.retain(|wanted| !given_up(wanted));
        self.incomplete |= self.missing.len() < before;
    }

    fn want(&mut self, wanted: Wanted) {
        let same = |other: &Wanted| {
            other.question == wanted.question && Arc::ptr_eq(&other.upstream, &wanted.upstream)
        };
        if !self.missing.iter().any(same) {
            self.missing.push(wanted);
        }
    }
}
