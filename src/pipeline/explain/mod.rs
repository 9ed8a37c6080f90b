//! Why a client gets an answer: the road itself is walked, and what it meets is written down.
//!
//! ```text
//!   Asking ─► a packet ─► admit ─► judge ──► Notes     where it ended, and the rule that acted
//!                                    │ Ask                (in the place of the hit log)
//!                                    └► ask_until ─► judge again, as every query does
//!   then, under the same snapshot:   survey ─► Step    each name, every rule that covers it
//!                                                      account says why the others lost
//!   off the serving threads:   look_closer ─► rules behind those that their zones chose
//! ```
//!
//! The verdict is that of `judge` and the reply is the one it wrote. An explanation is no query:
//! it is neither counted nor logged. What it has to ask goes to the usual upstream, and fills the
//! cache as every answer does.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::admit::{self, Refusal};
use super::evidence::{Facts, Reached};
use super::forward::{Known, Need};
use super::lookup;
use super::outcome::{Blocked, Outcome};
use super::reply::Page;
use super::{Asked, Judged, Pass, Road, Snapshot, Standing};
use crate::clock::Moment;
use crate::dns::name::Name;
use crate::dns::query::Query;
use crate::dns::record::{Records, Section, skip_name};
use crate::dns::{HEADER, flag, rcode, text, u16_at};
use crate::limits;
use crate::listener::{Source, Transport};
use crate::policy::account::Lost;
use crate::policy::action::Action;
use crate::policy::exceptions::Exception;
use crate::policy::set::Zone;
use crate::policy::stage::{Hit, Matched, NoEvidence};
use crate::policy::trigger::TriggerKind;

mod offline;
mod steps;
mod told;
mod words;

pub use offline::Given;
pub use told::*;

use steps::Ledger;
use words::Ended;

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Asking {
    /// The name.
    pub name: Name,
    /// The type.
    pub rtype: u16,
    /// Who asks. IPv4-mapped addresses are taken for what they map.
    pub client: IpAddr,
    /// Over TCP.
    pub tcp: bool,
    /// The client sets DO.
    pub dnssec_ok: bool,
    /// The client sets RD.
    pub recursion_desired: bool,
}

/// Where a judgement ended.
#[derive(Default)]
pub(super) struct Decided {
    /// The name of the chain that was judged last.
    link: usize,
    /// It had come to an answer.
    by_answer: bool,
    /// The rule that acted.
    won: Option<Won>,
    /// The zone that the answer waits for.
    awaited: Option<Name>,
}

/// The rule that acted.
struct Won {
    zone: Arc<Zone>,
    trigger: TriggerKind,
    action: Action,
    /// What it did, in BIND's words.
    word: &'static str,
    name: Name,
    matched: Matched,
    exception: Option<Arc<Exception>>,
}

impl Won {
    fn of(hit: &Hit<'_>, word: &'static str) -> Won {
        Won {
            zone: Arc::clone(hit.zone),
            trigger: hit.trigger,
            action: hit.action,
            word,
            name: hit.name,
            matched: hit.matched,
            exception: hit.exception.cloned(),
        }
    }
}

/// What a judgement tells in the place of the hit log.
#[derive(Default)]
pub(super) struct Notes(RefCell<Option<Decided>>);

impl Notes {
    /// A judgement came so far, and this rule acted.
    pub(super) fn note(&self, reached: Reached<'_>, acted: Option<(&Hit<'_>, &'static str)>) {
        let (link, by_answer) = match reached {
            Reached::Query | Reached::Local(_) => (0, false),
            Reached::Stage(_, link) => (link, true),
        };
        let won = acted.map(|(hit, word)| Won::of(hit, word));
        self.0.replace(Some(Decided { link, by_answer, won, awaited: None }));
    }

    /// What it came to is that this zone is awaited.
    pub(super) fn note_awaited(&self, zone: Name) {
        if let Some(decided) = self.0.borrow_mut().as_mut() {
            decided.awaited = Some(zone);
        }
    }
}

impl Asking {
    /// The query that such a client sends.
    fn packet(&self) -> Vec<u8> {
        let flags = if self.recursion_desired { flag::RD } else { 0 };
        let mut packet = vec![0; HEADER];
        packet[2..4].copy_from_slice(&flags.to_be_bytes());
        packet[5] = 1;
        packet[11] = 1;
        packet.extend_from_slice(self.name.as_wire());
        packet.extend_from_slice(&self.rtype.to_be_bytes());
        packet.extend_from_slice(&crate::dns::CLASS_IN.to_be_bytes());
        // root, OPT, payload, code and version, DO, no options (RFC 6891 section 6.1.2)
        let [high, low] = limits::upstream::PLAIN_PAYLOAD.to_be_bytes();
        let flags = if self.dnssec_ok { 0x80 } else { 0 };
        packet.extend_from_slice(&[0, 0, 41, high, low, 0, 0, flags, 0, 0, 0]);
        packet
    }

    fn source(&self) -> Source {
        let transport = if self.tcp { Transport::Tcp } else { Transport::Udp };
        Source { client: SocketAddr::new(self.client.to_canonical(), 0), transport, worker: 0 }
    }
}

impl Road {
    /// Explains what a client gets that asks this now. Takes no longer than an answer may.
    pub async fn explain(&self, asking: &Asking) -> Explanation {
        let packet = asking.packet();
        let mut query = Query::blank();
        let read = query.set(&packet).map(|()| &query);
        let snap = self.snapshot();
        let asked = match admit::admit(&snap, asking.source(), read) {
            Ok(asked) => asked,
            Err(refusal) => return refused(asking, &snap, &refusal),
        };
        let mut known = Known::to_be_explained();
        let mut buf = vec![0; Page::room(&asked, snap.payload)];
        let mut pass = |known: &Known| self.explain_now(asking, &asked, known, &mut buf);
        let explained = match pass(&known) {
            Ok(explanation) => Some(explanation),
            Err(need) => self.ask_until(&asked, *need, &mut known, pass).await,
        };
        explained.unwrap_or_else(|| {
            let snap = self.snapshot();
            let len = Page::new(&snap, &asked, Moment::now(), &mut buf).too_many_look_ups();
            let ended = Ended::of_reply("failed", &buf[..len]);
            let mut ledger = Ledger::new(asking, &snap.policy, Decided::default());
            ledger.spares_signed = !snap.break_dnssec;
            ledger.finish(ended)
        })
    }

    /// One pass: the judgement, and under the same snapshot all that it met. `Err`: this has to
    /// be asked first.
    fn explain_now(
        &self,
        asking: &Asking,
        asked: &Asked<'_>,
        known: &Known,
        buf: &mut [u8],
    ) -> Result<Explanation, Box<Need>> {
        let snap = self.snapshot();
        known.unverified.set(false);
        let pass = Pass::new(&snap, asked, known, Moment::now());
        let judged = self.judge(pass, buf);
        let noted = known.notes.as_ref().and_then(|notes| notes.0.take());
        let decided = noted.unwrap_or_default();
        let acted = decided.won.as_ref().map(|won| won.action);
        let mut ended = match judged {
            Judged::Ask(need) => return Err(need),
            Judged::Reply(len, outcome) => Ended::of_reply(word(outcome, acted), &buf[..len]),
            Judged::Silence(outcome) => Ended::silent(word(outcome, acted)),
        };
        // the upstream's own failure is passed on as it is
        if ended.rcode == Some(rcode::SERVFAIL) && decided.awaited.is_none() {
            ended.outcome = "failed";
        }
        let mut ledger = Ledger::new(asking, &snap.policy, decided);
        ledger.spares_signed = !snap.break_dnssec;
        self.survey(pass, &mut ledger)?;
        Ok(ledger.finish(ended))
    }

    /// Every name that the judgement met or would have met, and the rules that cover it.
    fn survey(&self, pass: Pass<'_>, ledger: &mut Ledger<'_>) -> Result<(), Box<Need>> {
        let question = &pass.asked.query.question;
        let name = question.name;
        let route = pass.route(&name);
        let own = route.is_sheltered();
        if let Some(local) = pass.snap.local.answer(question, route.is_own) {
            let own = own || local.is_host;
            let mut stage = pass.judge.stage(&name, Standing { first: true, own });
            let facts = Facts { road: self, pass, name, reached: Reached::Local(&local) };
            stage.see_addresses(&facts);
            ledger.truth = Some(Truth::local(&local));
            ledger.step(&stage, &facts, own, None);
            return Ok(());
        }
        let looked = match self.look_up(pass, question) {
            Ok(looked) => Some(looked),
            Err(Some(need)) => return Err(need),
            Err(None) => None,
        };
        ledger.truth =
            looked.as_ref().map(|looked| self.truth(pass, looked, ledger.needs_no_truth()));
        let Some(entry) = looked.as_ref().and_then(lookup::Truth::usable) else {
            let otherwise = if looked.is_some() { Lost::Failure } else { Lost::NotAtHand };
            let stage = pass.judge.stage(&name, Standing { first: true, own });
            ledger.step(&stage, &NoEvidence, own, Some(otherwise));
            return Ok(());
        };
        for link in 0..=entry.answer.link_count() {
            let Some(mut stage) = pass.stage(entry, link) else { break };
            let reached = Reached::Stage(entry, link);
            let facts = Facts { road: self, pass, name: *stage.name(), reached };
            stage.see_addresses(&facts);
            let exempt = pass.is_exempt(entry, link);
            // the relay asks for servers up to where it came, and not at all if that was clear
            // before there was an answer
            let asks = !exempt && link <= ledger.link() && !ledger.at_once();
            let wanted = |kind| stage.open(kind) | stage.watched(kind) != 0;
            let asks = asks && (wanted(TriggerKind::Nsdname) || wanted(TriggerKind::Nsip));
            let whole = self.survey_servers(&mut stage, &facts, asks)?;
            let route = pass.route(stage.name());
            let own = own && route.is_sheltered();
            ledger.step(&stage, &facts, own, exempt.then_some(Lost::Signed));
            ledger.servers_known(match (whole, asks) {
                (true, _) => "all",
                (false, true) => "some",
                (false, false) => "not-needed",
            });
        }
        Ok(())
    }

    /// What is known of the question itself.
    fn truth(&self, pass: Pass<'_>, looked: &lookup::Truth, not_needed: bool) -> Truth {
        let name = &pass.asked.query.question.name;
        let upstream = Some(pass.route(name).upstream.settings().name.clone());
        const ITS_OWN: &str = "it answered with a failure of its own";
        let (source, entry) = match looked {
            lookup::Truth::Answer { entry, .. } if looked.usable().is_none() => {
                let rcode = Some(rcode::text(entry.answer.rcode()));
                return Truth { upstream, rcode, failure: Some(ITS_OWN), ..Truth::from("failure") };
            }
            lookup::Truth::Answer { entry, stale: true } => ("stale", entry),
            lookup::Truth::Answer { entry, .. } if pass.known.was_fetched(entry) => {
                ("upstream", entry)
            }
            lookup::Truth::Answer { entry, .. } => ("cache", entry),
            lookup::Truth::Failed(code, answer) => {
                let failure = match answer {
                    Some(_) => ITS_OWN,
                    None => words::failure(*code),
                };
                let rcode = rcode::text(answer.as_ref().map_or(rcode::SERVFAIL, |a| a.rcode()));
                let (rcode, failure) = (Some(rcode), Some(failure));
                return Truth { upstream, rcode, failure, ..Truth::from("failure") };
            }
        };
        let shown = entry.ttl(pass.now);
        let record = |r: crate::dns::record::Record| {
            text::record(entry.answer.message(), &r, shown.shown(r.ttl))
        };
        let records = entry.answer.records().filter(|r| r.section == Section::Answer);
        Truth {
            upstream,
            ttl_left: Some(entry.left(pass.now)),
            rcode: Some(rcode::text(entry.answer.rcode())),
            answer: records.take(limits::EXPLAINED_RECORDS).map(record).collect(),
            not_needed: not_needed && source == "upstream",
            ..Truth::from(source)
        }
    }
}

/// The outcome's word for explanations.
fn word(outcome: Outcome, acted: Option<Action>) -> &'static str {
    match (outcome, acted) {
        (Outcome::Failed, _) => "failed",
        (Outcome::NotReady, _) => "not-ready",
        (Outcome::Refused, _) => "refused",
        (Outcome::Dropped, _) => "dropped",
        (Outcome::Blocked(Blocked::LocalData), _) => "data",
        (Outcome::Blocked(Blocked::Garden), _) => "garden",
        (Outcome::Blocked(Blocked::TcpOnly), _) => "tcp-only",
        (Outcome::Blocked(Blocked::Nxdomain | Blocked::Nodata), _) => "blocked",
        (Outcome::Local | Outcome::Cached | Outcome::Forwarded | Outcome::Stale, Some(_)) => {
            "allowed"
        }
        (Outcome::Local, None) => "local",
        (Outcome::Cached | Outcome::Forwarded | Outcome::Stale, None) => "clean",
    }
}

/// Who is not admitted sees no policy at all.
fn refused(asking: &Asking, snap: &Snapshot, refusal: &Refusal<'_>) -> Explanation {
    let mut ledger = Ledger::new(asking, &snap.policy, Decided::default());
    ledger.spares_signed = !snap.break_dnssec;
    ledger.outside = snap.acl.admit(asking.client.to_canonical()).is_none();
    let code = match refusal {
        Refusal::Silence | Refusal::Dropped => return ledger.finish(Ended::silent("refused")),
        Refusal::Unreadable(code, _) | Refusal::NotServed(_, code, _) => *code,
    };
    ledger.finish(Ended { rcode: Some(code), ..Ended::silent("refused") })
}

impl Ended {
    /// A reply was written.
    fn of_reply(outcome: &'static str, reply: &[u8]) -> Ended {
        let flags = u16_at(reply, 2).unwrap_or(0);
        // the reply repeats the question
        let question_end = skip_name(reply, HEADER).map_or(reply.len(), |end| end + 4);
        let records = Records::new(reply, question_end).map_while(Result::ok);
        let records = records.take_while(|record| record.section == Section::Answer);
        let answer = records
            .take(limits::EXPLAINED_RECORDS)
            .map(|record| text::record(reply, &record, record.ttl))
            .collect();
        let truncated = flags & flag::TC != 0;
        Ended { outcome, rcode: Some(flags & 0xf), truncated, answer }
    }
}
