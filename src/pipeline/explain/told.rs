//! What an explanation holds: plain data, with stable names for JSON.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use crate::clock;
use crate::dns::name::Name;
use crate::policy::exceptions::{Exception, Verdict as Ruling};
use crate::policy::set::{Mode, PolicySet};
use crate::policy::stage::Matched;
use crate::policy::trigger::TriggerKind;
use crate::rpz;
use crate::zones::Place;

/// Why a client gets an answer.
#[derive(Serialize)]
pub struct Explanation {
    /// The name asked for.
    pub name: String,
    /// The type asked for.
    pub qtype: String,
    /// Who asks.
    pub client: IpAddr,
    /// `udp` or `tcp`.
    pub transport: &'static str,
    /// RD: the client wants recursion.
    pub recursion_desired: bool,
    /// DO: the client wants DNSSEC records.
    pub dnssec_ok: bool,
    /// What the client gets, and why.
    pub verdict: Verdict,
    /// The rule or the exception that decided.
    pub rule: Option<Rule>,
    /// What undoes it.
    pub undo: Option<Undo>,
    /// Under which policy.
    pub policy: Policy,
    /// What is true without policy, and where that is known from; nothing if it is not known.
    pub truth: Option<Truth>,
    /// The names that were judged, in their order, and all rules that cover them.
    pub way: Vec<Step>,
    /// The policy itself, for a closer look.
    #[serde(skip)]
    pub(super) set: Arc<PolicySet>,
}

/// What a client gets.
#[derive(Serialize)]
pub struct Verdict {
    /// All of it in one sentence.
    pub sentence: String,
    /// `clean`, `allowed`, `blocked`, `data` (the rule's own), `garden`, `tcp-only`, `dropped`,
    /// `local`, `failed`, `not-ready` (a policy zone is awaited) or `refused`.
    pub outcome: &'static str,
    /// The response code; nothing if there is no reply.
    pub rcode: Option<String>,
    /// TC is set: the client shall come over TCP.
    pub truncated: bool,
    /// The records of the answer section, the first [`EXPLAINED_RECORDS`] of them.
    ///
    /// [`EXPLAINED_RECORDS`]: crate::limits::EXPLAINED_RECORDS
    pub answer: Vec<String>,
}

/// The rule that decided.
#[derive(Serialize)]
pub struct Rule {
    /// The zone it stands in.
    pub zone: String,
    /// Serial of the zone's SOA.
    pub serial: u32,
    /// What it looks at.
    pub trigger: TriggerKind,
    /// Its owner without the zone's name.
    pub owner: String,
    /// What it does, in BIND's words, the zone's own setting included.
    pub action: &'static str,
    /// The zone's setting replaces what the rule says.
    pub overridden: bool,
    /// The name at which it matched: the one asked for, or one of its aliases.
    pub name: String,
    /// The name or address that matched.
    pub matched: String,
    /// The exception that it is.
    pub exception: Option<ByHand>,
    /// Where it is written.
    pub place: Option<Place>,
    /// How it is found in the zone's file.
    #[serde(skip)]
    pub wanted: Option<rpz::Wanted>,
}

/// An exception, for people.
#[derive(Serialize)]
pub struct ByHand {
    /// Its number.
    pub id: u64,
    /// What it does.
    pub verdict: Ruling,
    /// The name it is for.
    pub name: String,
    /// It holds for names below `name` too.
    pub subtree: bool,
    /// The clients it is for; nothing: everybody.
    pub clients: Option<String>,
    /// Who made it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it was made, RFC 3339.
    pub since: String,
    /// When it ends, RFC 3339; nothing: never.
    pub until: Option<String>,
}

impl ByHand {
    /// The words of an exception.
    pub(super) fn of(exception: &Exception) -> ByHand {
        ByHand {
            id: exception.id,
            verdict: exception.verdict,
            name: exception.name.to_string(),
            subtree: exception.subtree,
            clients: exception.clients.map(|net| net.to_string()),
            owner: exception.owner.clone(),
            reason: exception.reason.clone(),
            since: clock::rfc3339(exception.since),
            until: exception.until.map(clock::rfc3339),
        }
    }
}

/// What undoes a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Undo {
    /// A command.
    Command(String),
    /// A section or key of the configuration.
    Configuration(String),
}

/// Under which policy a judgement was made.
#[derive(Serialize)]
pub struct Policy {
    /// Its generation; nothing if it is made up for a question.
    pub generation: Option<u64>,
    /// `monitor`: nothing acts.
    pub mode: Mode,
    /// Policy is suspended by hand: nothing acts.
    pub suspended: Option<Suspension>,
    /// The client's group.
    pub group: Option<String>,
    /// The zones that judge the client, in their order.
    pub zones: Vec<ZoneInOrder>,
    /// Zones that do not judge the client's group.
    pub other_zones: Vec<String>,
    /// Triggers that zones have, but that are switched off.
    pub ignored: Vec<TriggerKind>,
    /// Number of exceptions.
    pub exceptions: usize,
    /// DNSSEC shelters signed answers from policy, for clients that set DO.
    pub spares_signed: bool,
}

/// A suspension of all policy.
#[derive(Serialize)]
pub struct Suspension {
    /// When it ends, RFC 3339.
    pub until: String,
    /// Who suspended it.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// A zone in the client's order.
#[derive(Serialize)]
pub struct ZoneInOrder {
    /// Its name.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// What its rules may do.
    pub mode: Mode,
    /// Rules it holds.
    pub rules: usize,
    /// It was never loaded, and queries wait for it.
    pub awaited: bool,
    /// It leaves this query alone, for the client does not want recursion.
    pub recursive_only: bool,
}

/// What is true without policy.
#[derive(Serialize)]
pub struct Truth {
    /// `upstream`, `cache`, `stale`, `hosts`, `special` or `failure`.
    pub source: &'static str,
    /// The upstream asked, now or before.
    pub upstream: Option<String>,
    /// The configuration's section, for local names.
    pub section: Option<&'static str>,
    /// Seconds that the cache keeps it.
    pub ttl_left: Option<u32>,
    /// Response code.
    pub rcode: Option<String>,
    /// Records of the answer section.
    pub answer: Vec<String>,
    /// Why there is none.
    pub failure: Option<&'static str>,
    /// The relay itself did not need it; it was asked for the explanation only.
    pub not_needed: bool,
}

/// One name of the way.
#[derive(Serialize)]
pub struct Step {
    /// The name that was judged.
    pub name: String,
    /// The relay came here; otherwise policy had ended before.
    pub reached: bool,
    /// It is the operator's own: zones from elsewhere leave it alone.
    pub own: bool,
    /// DNSSEC shelters it.
    pub exempt: bool,
    /// Addresses that IP rules were held against.
    pub addresses: Vec<IpAddr>,
    /// Servers that NSDNAME rules were held against.
    pub servers: Vec<String>,
    /// Addresses that NSIP rules were held against.
    pub server_addresses: Vec<IpAddr>,
    /// How many of the servers were looked at: `all`, `some` (the others could not be looked up
    /// in time), or `not-needed` (the verdict does not depend on them: what was at hand).
    pub servers_known: &'static str,
    /// Which zones looked at it by which triggers.
    pub looked: Vec<Looked>,
    /// The rules that cover it.
    pub matches: Vec<Match>,
    #[serde(skip)]
    pub(super) judged: Name,
}

/// Zones with rules of one trigger.
#[derive(Serialize)]
pub struct Looked {
    /// The trigger.
    pub trigger: TriggerKind,
    /// The zones, in the client's order.
    pub zones: Vec<String>,
    /// Their places in the set.
    #[serde(skip)]
    pub(super) numbers: Vec<u8>,
}

/// A rule that covers a name.
#[derive(Serialize)]
pub struct Match {
    /// The zone it stands in.
    pub zone: String,
    /// What it looks at.
    pub trigger: TriggerKind,
    /// Its owner without the zone's name.
    pub owner: String,
    /// What it would do, or did.
    pub action: &'static str,
    /// The name or address that matched.
    pub matched: String,
    /// It decided.
    pub won: bool,
    /// Why it did not.
    pub lost: Option<String>,
    /// The exception that it is.
    pub exception: Option<u64>,
    #[serde(skip)]
    pub(super) by: Option<Matched>,
}
