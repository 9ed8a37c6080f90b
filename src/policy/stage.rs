//! The judgement of one name: the query's own, or one that its alias chain leads to.
//!
//! ```text
//!   client, RD ─► judge() ─► Judge          the view, and the zones that count
//!   a name     ─► stage() ─► CLIENT-IP (at the first name), QNAME
//!                            see_addresses() IP          what the answer holds
//!                            see_servers()   NSDNAME, NSIP
//!                 open(kind) ─► zones that could still beat what has matched so far
//!                 awaited()  ─► a zone ahead that was never loaded: nothing acts behind it
//!                 hit()      ─► the rule that acts: first zone, then first kind, then the
//!                               longest prefix or the nearest name
//! ```
//!
//! Source: internet-draft dnsop-dns-rpz-00 section 5, and BIND.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::action::Action;
use super::exceptions::Exception;
use super::names::{Found, NameRule};
use super::prefixes::precedence;
use super::set::{PolicySet, Zone};
use super::trigger::TriggerKind;
use super::view::View;
use crate::dns::name::Name;

/// A rule that matched.
#[derive(Clone, Copy, Debug)]
pub struct Hit<'s> {
    /// The zone it stands in.
    pub zone: &'s Arc<Zone>,
    /// What it looked at.
    pub trigger: TriggerKind,
    /// What it does, the zone's override included.
    pub action: Action,
    /// The name that was judged.
    pub name: Name,
    /// What made the rule match.
    pub matched: Matched,
    /// The exception that stands for the rule.
    pub exception: Option<&'s Arc<Exception>>,
}

/// What made a rule match.
#[allow(clippy::large_enum_variant)] // on the stack and in the log's own slots
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matched {
    /// The name that was judged.
    Name(Owner),
    /// The name of one of its servers.
    Server(Name, Owner),
    /// An address, by the longest prefix over it.
    Address(IpAddr, IpNet),
}

/// Which owner covers a name: its last labels, or `*` under them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Labels of the owner that belong to the name, counted from the right.
    pub labels: u8,
    /// The owner begins with `*`.
    pub wildcard: bool,
}

/// What is known about a name beyond its spelling. Each may be walked through more than once.
pub trait Evidence {
    /// Addresses in the answer for the name.
    fn each_address(&self, each: &mut dyn FnMut(IpAddr));
    /// Names of the servers of the name and of its ancestors.
    fn each_server(&self, each: &mut dyn FnMut(&Name));
    /// Addresses of those servers.
    fn each_server_address(&self, each: &mut dyn FnMut(IpAddr));
}

/// Nothing is known.
pub struct NoEvidence;

impl Evidence for NoEvidence {
    fn each_address(&self, _: &mut dyn FnMut(IpAddr)) {}
    fn each_server(&self, _: &mut dyn FnMut(&Name)) {}
    fn each_server_address(&self, _: &mut dyn FnMut(IpAddr)) {}
}

/// Calls its argument with one address after the other.
type Walk<'w> = &'w mut dyn FnMut(&mut dyn FnMut(IpAddr));

/// One query's judge: the client's view, and the zones in it that look at the query.
#[derive(Clone, Copy)]
pub struct Judge<'s> {
    set: &'s PolicySet,
    view: &'s View,
    client: IpAddr,
    zones: u64,
}

/// Where a name stands in the chain, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// It is the first name that policy looks at, as a rule the query's own: the client's
    /// address counts here.
    pub first: bool,
    /// It is one of the operator's own: zones from elsewhere leave it alone, but for their
    /// CLIENT-IP rules, which look at the client.
    pub own: bool,
}

/// All rules that match one name.
pub struct Stage<'s> {
    judge: Judge<'s>,
    name: Name,
    found: Option<Found<'s>>,
    exception: Option<&'s Arc<Exception>>,
    /// Zones that look at the name.
    zones: u64,
    /// Zones that match, by kind of trigger.
    matches: [u64; TriggerKind::ALL.len()],
}

/// Rules that only log and have spoken for a query already: each does once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Heard {
    zones: u64,
    exception: bool,
}

impl PolicySet {
    /// True if a name is blocked for everybody by QNAME rules alone: the rule that wins neither
    /// lets it through nor only sends it to TCP. Exceptions made by hand are left out. Zones that
    /// only watch count where all of policy does.
    pub fn blocks(&self, name: &Name) -> bool {
        let Some(view) = self.views().first() else { return false };
        let counts = if self.only_watches() { self.watching } else { self.enforcing };
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let judge = Judge { set: self, view, client, zones: counts & view.zones() };
        let stage = judge.stage(name, Place { first: false, own: false });
        let winner = view.first(stage.matched());
        let hit = winner.and_then(|zone| stage.hit_by(zone, TriggerKind::Qname, &NoEvidence));
        hit.is_some_and(|hit| !matches!(hit.action, Action::Passthru | Action::TcpOnly))
    }

    /// The judge of a client's query. Without `recursive` (RD=0), zones that want recursion are
    /// left out.
    #[inline]
    pub fn judge(&self, client: IpAddr, recursive: bool) -> Judge<'_> {
        let view = self.views.of(client);
        let mut zones = (self.enforcing | self.watching) & view.zones();
        if !recursive {
            zones &= !self.recursive_only;
        }
        Judge { set: self, view, client, zones }
    }
}

impl<'s> Judge<'s> {
    /// The client's view.
    pub fn view(&self) -> &'s View {
        self.view
    }

    /// Judges a name by what is known at once. The root is never rewritten.
    pub fn stage(&self, name: &Name, place: Place) -> Stage<'s> {
        let set = self.set;
        let zones = if place.own { self.zones & !set.remote } else { self.zones };
        let mut stage = Stage {
            judge: *self,
            name: *name,
            found: None,
            exception: None,
            zones,
            matches: [0; TriggerKind::ALL.len()],
        };
        if name.is_root() {
            stage.zones = 0;
            return stage;
        }
        stage.exception = set.exceptions().find(name, self.client);
        if place.first && self.zones & set.present[TriggerKind::ClientIp as usize] != 0 {
            let matched = set.tables.clients.zones(self.client) & self.zones;
            stage.matches[TriggerKind::ClientIp as usize] = matched;
        }
        if zones & set.present[TriggerKind::Qname as usize] != 0 {
            let found = set.tables.names.find(name);
            stage.matches[TriggerKind::Qname as usize] = zones & found.zones();
            stage.found = Some(found);
        }
        stage
    }
}

impl<'s> Stage<'s> {
    /// The name that is judged.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Takes in the addresses of the answer.
    pub fn see_addresses(&mut self, evidence: &dyn Evidence) {
        self.see(TriggerKind::Ip, |stage, matched| {
            let table = &stage.judge.set.tables.addresses;
            evidence.each_address(&mut |address| *matched |= table.zones(address));
        });
    }

    /// Takes in the servers of the name and of its ancestors.
    pub fn see_servers(&mut self, evidence: &dyn Evidence) {
        self.see(TriggerKind::Nsdname, |stage, matched| {
            let table = &stage.judge.set.tables.nsdnames;
            evidence.each_server(&mut |name| *matched |= table.find(name).zones());
        });
        self.see(TriggerKind::Nsip, |stage, matched| {
            let table = &stage.judge.set.tables.servers;
            evidence.each_server_address(&mut |address| *matched |= table.zones(address));
        });
    }

    fn see(&mut self, kind: TriggerKind, look: impl FnOnce(&Self, &mut u64)) {
        let wanted = self.zones & self.judge.set.present[kind as usize];
        if wanted != 0 {
            let mut matched = 0;
            look(self, &mut matched);
            self.matches[kind as usize] = matched & wanted;
        }
    }

    /// Zones whose rules act and, by a trigger of this kind, could still beat what has matched
    /// so far: those ahead of the winner, or of an awaited zone, or all. In one zone kinds are
    /// asked in their order.
    pub fn open(&self, kind: TriggerKind) -> u64 {
        let set = self.judge.set;
        if self.is_excepted() {
            return 0;
        }
        let rivals = self.zones & set.enforcing & set.present[kind as usize];
        if rivals == 0 {
            return 0;
        }
        match self.judge.view.first(self.matched() & set.enforcing | self.zones & set.awaited) {
            Some(zone) => rivals & self.judge.view.ahead_of(zone),
            None => rivals,
        }
    }

    /// True if nothing that is still unknown could change the outcome.
    pub fn is_decided(&self) -> bool {
        let later = [TriggerKind::Ip, TriggerKind::Nsdname, TriggerKind::Nsip];
        later.iter().all(|kind| self.open(*kind) == 0)
    }

    /// Zones that only watch and have rules of this kind.
    pub fn watched(&self, kind: TriggerKind) -> u64 {
        self.zones & self.judge.set.watching & self.judge.set.present[kind as usize]
    }

    /// True if an exception decides, which nothing comes before: no truth, no signature.
    pub fn is_excepted(&self) -> bool {
        self.exception.is_some() && self.judge.set.exceptions_act
    }

    /// The zone that the answer waits for: it was never loaded, and no rule of a zone ahead of it
    /// acts, as far as is known.
    #[inline]
    pub fn awaited(&self) -> Option<&'s Arc<Zone>> {
        let set = self.judge.set;
        let awaited = self.zones & set.awaited;
        if awaited == 0 || self.is_excepted() {
            return None;
        }
        let first = self.judge.view.first(self.matched() & set.enforcing | awaited)?;
        let zone = set.zones().get(usize::from(first))?;
        (awaited >> first & 1 == 1).then_some(zone)
    }

    /// True if a rule acts or a zone is awaited, as far as is known.
    pub fn is_contested(&self) -> bool {
        self.acts() || self.awaited().is_some()
    }

    /// True if some rule matches that acts, or would if no zone were awaited.
    pub fn acts(&self) -> bool {
        let set = self.judge.set;
        self.is_excepted() || self.matched() & set.enforcing != 0
    }

    /// The rule that acts, as far as is known, unless a zone is awaited.
    pub fn hit(&self, evidence: &dyn Evidence) -> Option<Hit<'s>> {
        let set = self.judge.set;
        if set.exceptions_act
            && let Some(hit) = self.excepted()
        {
            return Some(hit);
        }
        let mut left = self.matched() & set.enforcing;
        while let Some(zone) = self.judge.view.first(left) {
            let hit = self.hit_in(zone, evidence);
            if hit.is_some() {
                return hit;
            }
            // the evidence went away meanwhile: an entry of the cache that ended
            left &= !(1 << zone);
        }
        None
    }

    /// Matches in zones that only watch, also behind the winner; those that were heard before
    /// are left out.
    pub fn watching(
        &self,
        heard: &mut Heard,
        evidence: &dyn Evidence,
        each: &mut dyn FnMut(Hit<'s>),
    ) {
        let set = self.judge.set;
        if !set.exceptions_act
            && !heard.exception
            && let Some(hit) = self.excepted()
        {
            heard.exception = true;
            each(hit);
        }
        let mut left = self.matched() & set.watching & !heard.zones;
        heard.zones |= left;
        while let Some(zone) = self.judge.view.first(left) {
            left &= !(1 << zone);
            if let Some(hit) = self.hit_in(zone, evidence) {
                each(hit);
            }
        }
    }

    /// The exception for the name, as a hit.
    pub fn excepted(&self) -> Option<Hit<'s>> {
        let exception = self.exception?;
        let labels = exception.name.label_count() as u8;
        let owner = Owner { labels, wildcard: usize::from(labels) < self.name.label_count() };
        Some(Hit {
            zone: &self.judge.set.exception_zone,
            trigger: TriggerKind::Qname,
            action: exception.verdict.action(),
            name: self.name,
            matched: Matched::Name(owner),
            exception: Some(exception),
        })
    }

    /// The match of one zone by one kind of trigger.
    pub fn hit_by(&self, zone: u8, kind: TriggerKind, evidence: &dyn Evidence) -> Option<Hit<'s>> {
        let (code, matched) = match kind {
            TriggerKind::Qname => {
                let (code, owner) = owned(self.found.as_ref()?.rule(zone)?);
                (code, Matched::Name(owner))
            }
            TriggerKind::ClientIp => {
                self.longest(kind, zone, &mut |each| each(self.judge.client))?
            }
            TriggerKind::Ip => self.longest(kind, zone, &mut |each| evidence.each_address(each))?,
            TriggerKind::Nsip => {
                self.longest(kind, zone, &mut |each| evidence.each_server_address(each))?
            }
            TriggerKind::Nsdname => self.last_server(zone, evidence)?,
        };
        let own = match &matched {
            Matched::Name(_) => Some(&self.name),
            Matched::Server(name, _) => Some(name),
            Matched::Address(..) => None,
        };
        let zone = self.judge.set.zones().get(usize::from(zone))?;
        let action = zone.effective(code, own);
        Some(Hit { zone, trigger: kind, action, name: self.name, matched, exception: None })
    }

    /// Zones that look at the name by one kind of trigger: those that act, and those that watch.
    pub fn looking(&self, kind: TriggerKind) -> u64 {
        self.zones & self.judge.set.present[kind as usize]
    }

    /// Every zone's match by every kind of trigger, as far as is known: the exception first, then
    /// zones in the view's order, in each the kinds in theirs. The first one whose zone acts is
    /// what [`Stage::hit`] gives.
    pub fn each_match(&self, evidence: &dyn Evidence, each: &mut dyn FnMut(Hit<'s>)) {
        self.excepted().into_iter().for_each(&mut *each);
        for zone in self.judge.view.order() {
            let kinds = TriggerKind::ALL.iter().filter(|k| self.matches(**k) >> zone & 1 == 1);
            kinds.filter_map(|kind| self.hit_by(zone, *kind, evidence)).for_each(&mut *each);
        }
    }

    /// Zones that match by one kind of trigger.
    pub fn matches(&self, kind: TriggerKind) -> u64 {
        self.matches[kind as usize]
    }

    fn hit_in(&self, zone: u8, evidence: &dyn Evidence) -> Option<Hit<'s>> {
        let kinds = TriggerKind::ALL.iter().filter(|k| self.matches[**k as usize] >> zone & 1 == 1);
        kinds.copied().find_map(|kind| self.hit_by(zone, kind, evidence))
    }

    fn matched(&self) -> u64 {
        self.matches.iter().fold(0, |all, kind| all | kind)
    }

    /// The longest prefix over all addresses; of equal ones that which comes first in BIND's
    /// order of owners.
    fn longest(&self, kind: TriggerKind, zone: u8, walk: Walk<'_>) -> Option<(u32, Matched)> {
        let table = self.judge.set.tables.prefixes(kind);
        let mut best: Option<(u32, IpNet, IpAddr)> = None;
        walk(&mut |address| {
            if let Some(rule) = table.longest(zone, address)
                && best.is_none_or(|(_, prefix, _)| precedence(&rule.prefix, &prefix).is_lt())
            {
                best = Some((rule.action, rule.prefix, address));
            }
        });
        best.map(|(code, prefix, address)| (code, Matched::Address(address, prefix)))
    }

    /// The server name that decides: the last one in canonical order (draft section 5.5).
    fn last_server(&self, zone: u8, evidence: &dyn Evidence) -> Option<(u32, Matched)> {
        let table = &self.judge.set.tables.nsdnames;
        let mut best: Option<(u32, Name, Owner)> = None;
        evidence.each_server(&mut |name| {
            if let Some(rule) = table.find(name).rule(zone)
                && best.is_none_or(|(_, other, _)| *name > other)
            {
                let (code, owner) = owned(rule);
                best = Some((code, *name, owner));
            }
        });
        best.map(|(code, name, owner)| (code, Matched::Server(name, owner)))
    }
}

fn owned(rule: NameRule) -> (u32, Owner) {
    (rule.action, Owner { labels: rule.labels, wildcard: rule.wildcard })
}
