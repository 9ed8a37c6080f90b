//! The ledger of an explanation: names as they are judged, the rules that cover them, and why
//! those that did not act lost.

use std::net::IpAddr;
use std::sync::Arc;

use super::told::*;
use super::words::{self, Ended};
use super::{Asking, Decided, Won};
use crate::dns::name::Name;
use crate::dns::{rcode, rtype};
use crate::limits;
use crate::pipeline::local::LocalAnswer;
use crate::policy::account::{Lost, Near, Winner, lost_alone, lost_to};
use crate::policy::action::Action;
use crate::policy::exceptions::Exception;
use crate::policy::set::{Mode, Override, PolicySet, Zone};
use crate::policy::spelling;
use crate::policy::stage::{Evidence, Hit, Matched, Stage};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::View;
use crate::rpz::Wanted;

/// What has been found so far.
pub(super) struct Ledger<'a> {
    asking: &'a Asking,
    set: &'a Arc<PolicySet>,
    view: View,
    decided: Decided,
    way: Vec<Step>,
    pub(super) truth: Option<Truth>,
    pub(super) spares_signed: bool,
    /// The client is not in the access list.
    pub(super) outside: bool,
    /// There is no relay: nothing was asked.
    pub(super) offline: bool,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(asking: &'a Asking, set: &'a Arc<PolicySet>, decided: Decided) -> Ledger<'a> {
        let view = set.judge(asking.client.to_canonical(), asking.recursion_desired).view().clone();
        Ledger {
            asking,
            set,
            view,
            decided,
            way: Vec::new(),
            truth: None,
            spares_signed: false,
            outside: false,
            offline: false,
        }
    }

    /// The name of the chain that was judged last.
    pub(super) fn link(&self) -> usize {
        self.decided.link
    }

    /// It was clear what happens before an answer was looked for.
    pub(super) fn at_once(&self) -> bool {
        let decided = &self.decided;
        (decided.won.is_some() || decided.awaited.is_some()) && !decided.by_answer
    }

    /// The relay does not look for an answer: the rule says what goes back.
    pub(super) fn needs_no_truth(&self) -> bool {
        let by_itself = |won: &Won| match won.action {
            Action::Passthru => false,
            Action::TcpOnly => !self.asking.tcp,
            _ => true,
        };
        self.at_once() && self.decided.won.as_ref().is_none_or(by_itself)
    }

    /// Adds a name with all rules that cover it. `otherwise` is why no rule may act there.
    pub(super) fn step(
        &mut self,
        stage: &Stage<'_>,
        evidence: &dyn Evidence,
        own: bool,
        otherwise: Option<Lost>,
    ) {
        let link = self.way.len();
        let mut matches = Vec::new();
        stage.each_match(evidence, &mut |hit| {
            let won = link == self.decided.link
                && self.decided.won.as_ref().is_some_and(|won| won.is(&hit));
            let lost = if won { None } else { Some(self.why(&hit, link, otherwise.as_ref())) };
            let by_hand = hit.exception.is_some();
            matches.push(told(&hit, won, lost));
            if by_hand {
                matches.extend(self.other_exceptions(stage.name()));
            }
        });
        let mut step = Step {
            name: stage.name().to_string(),
            reached: link <= self.decided.link,
            own,
            exempt: otherwise == Some(Lost::Signed),
            addresses: Vec::new(),
            servers: Vec::new(),
            server_addresses: Vec::new(),
            servers_known: "all",
            looked: self.looked(stage, link == 0),
            matches,
            judged: *stage.name(),
        };
        let looks = |kind| stage.looking(kind) != 0;
        if looks(TriggerKind::Ip) {
            evidence.each_address(&mut |address| keep(&mut step.addresses, address));
        }
        if looks(TriggerKind::Nsdname) || looks(TriggerKind::Nsip) {
            evidence.each_server(&mut |name| keep(&mut step.servers, name.to_string()));
        }
        if looks(TriggerKind::Nsip) {
            evidence.each_server_address(&mut |ip| keep(&mut step.server_addresses, ip));
        }
        self.way.push(step);
    }

    /// How many of the last name's servers were looked at.
    pub(super) fn servers_known(&mut self, known: &'static str) {
        if let Some(step) = self.way.last_mut() {
            step.servers_known = known;
        }
    }

    /// Zones that look at a name, by trigger.
    fn looked(&self, stage: &Stage<'_>, first: bool) -> Vec<Looked> {
        let kinds = TriggerKind::ALL.into_iter();
        kinds
            .filter(|kind| first || *kind != TriggerKind::ClientIp)
            .filter_map(|trigger| {
                let zones = stage.looking(trigger);
                let mut numbers = self.view.order();
                numbers.retain(|zone| zones >> zone & 1 == 1);
                let named = numbers.iter().filter_map(|zone| self.zone(*zone));
                let zones: Vec<_> = named.map(|zone| zone.settings.name.to_string()).collect();
                (!zones.is_empty()).then_some(Looked { trigger, zones, numbers })
            })
            .collect()
    }

    fn zone(&self, number: u8) -> Option<&Arc<Zone>> {
        self.set.zones().get(usize::from(number))
    }

    /// Why a match did not act.
    fn why(&self, hit: &Hit<'_>, link: usize, otherwise: Option<&Lost>) -> Lost {
        if let Some(lost) = lost_alone(hit, self.set.only_watches()) {
            return lost;
        }
        if let Some(zone) = self.decided.awaited {
            return Lost::Awaited(zone);
        }
        match &self.decided.won {
            _ if otherwise == Some(&Lost::Signed) => Lost::Signed,
            Some(won) if link > self.decided.link => Lost::Ended(won.name),
            Some(won) if link == self.decided.link => lost_to(&won.as_winner(), hit),
            _ => otherwise.cloned().unwrap_or(Lost::Unseen),
        }
    }

    /// Exceptions that would hold if another did not come first.
    fn other_exceptions(&self, name: &Name) -> Vec<Match> {
        let client = self.asking.client.to_canonical();
        let mut all = self.set.exceptions().matching(name, client);
        let Some(first) = all.next() else { return Vec::new() };
        let lost = Lost::OtherException(first.id).to_string();
        all.take(limits::NEAR_RULES)
            .map(|exception| Match {
                zone: crate::policy::exceptions::ZONE.to_owned(),
                trigger: TriggerKind::Qname,
                owner: scope(exception),
                action: exception.verdict.action().as_str(),
                matched: name.to_string(),
                won: false,
                lost: Some(lost.clone()),
                exception: Some(exception.id),
                by: None,
            })
            .collect()
    }

    /// The whole explanation.
    pub(super) fn finish(self, ended: Ended) -> Explanation {
        let asking = self.asking;
        let client = asking.client.to_canonical();
        let rule = self.decided.won.as_ref().map(rule);
        let said = words::Said {
            asking,
            client,
            ended: &ended,
            rule: rule.as_ref(),
            won: self.decided.won.as_ref(),
            awaited: self.decided.awaited.as_ref(),
            link: self.decided.link,
            truth: self.truth.as_ref(),
            outside: self.outside,
            in_group: self.view.group.is_some(),
            offline: self.offline,
        };
        let (sentence, undo) = (said.sentence(), said.undo());
        let policy = self.policy();
        Explanation {
            name: asking.name.to_string(),
            qtype: rtype::text(asking.rtype),
            client,
            transport: if asking.tcp { "tcp" } else { "udp" },
            recursion_desired: asking.recursion_desired,
            dnssec_ok: asking.dnssec_ok,
            verdict: Verdict {
                sentence,
                outcome: ended.outcome,
                rcode: ended.rcode.map(rcode::text),
                truncated: ended.truncated,
                answer: ended.answer,
            },
            rule,
            undo,
            policy,
            truth: self.truth,
            way: self.way,
            set: Arc::clone(self.set),
        }
    }

    fn policy(&self) -> Policy {
        let set = self.set;
        let order = self.view.order();
        let zones = order.iter().filter_map(|number| Some((*number, self.zone(*number)?)));
        let others = set.zones().iter().zip(0u8..).filter(|(_, number)| !order.contains(number));
        Policy {
            generation: (!self.offline).then_some(set.generation),
            mode: if set.only_watches() { Mode::Monitor } else { Mode::Enforce },
            suspended: None,
            group: self.view.group.as_ref().map(ToString::to_string),
            zones: zones
                .map(|(number, zone)| ZoneInOrder {
                    zone: zone.settings.name.to_string(),
                    serial: zone.rules.soa.serial,
                    mode: zone.settings.mode,
                    rules: zone.rules.len(),
                    awaited: set.is_awaited(number),
                    recursive_only: zone.settings.recursive_only && !self.asking.recursion_desired,
                })
                .collect(),
            other_zones: others.map(|(zone, _)| zone.settings.name.to_string()).collect(),
            ignored: set.ignored().collect(),
            exceptions: set.exceptions().list().len(),
            spares_signed: self.spares_signed,
        }
    }
}

impl Won {
    fn is(&self, hit: &Hit<'_>) -> bool {
        let id = |exception: Option<&Arc<Exception>>| exception.map(|exception| exception.id);
        Arc::ptr_eq(&self.zone, hit.zone)
            && self.trigger == hit.trigger
            && id(self.exception.as_ref()) == id(hit.exception)
    }

    fn as_winner(&self) -> Winner<'_> {
        Winner {
            zone: &self.zone.settings.name,
            trigger: self.trigger,
            matched: &self.matched,
            exception: self.exception.as_ref().map(|exception| exception.id),
        }
    }
}

impl Explanation {
    /// Adds the rules that cover a name behind the one that their zone chose. Walks through all
    /// rules of the zones that were looked at: not for a serving thread.
    pub fn look_closer(&mut self) {
        let set = Arc::clone(&self.set);
        for step in &mut self.way {
            let mut found = Vec::new();
            for looked in &step.looked {
                let addresses = match looked.trigger {
                    TriggerKind::ClientIp => &vec![self.client],
                    TriggerKind::Nsip => &step.server_addresses,
                    _ => &step.addresses,
                };
                for number in &looked.numbers {
                    let Some(zone) = set.zones().get(usize::from(*number)) else { continue };
                    let known = |m: &&Match| {
                        m.zone == zone.settings.name.to_string() && m.trigger == looked.trigger
                    };
                    let chosen = step.matches.iter().find(known);
                    let near = near(zone, looked.trigger, &step.judged, addresses, chosen);
                    let told = |near: Near| behind(zone, looked.trigger, &step.judged, &near);
                    found.extend(near.into_iter().map(told));
                }
            }
            for new in found {
                let same = |m: &Match| (m.zone == new.zone) && m.trigger == new.trigger;
                let at = step.matches.iter().rposition(same).map_or(step.matches.len(), |i| i + 1);
                step.matches.insert(at, new);
            }
        }
    }
}

/// Rules of one zone behind its choice.
fn near(
    zone: &Zone,
    trigger: TriggerKind,
    name: &Name,
    addresses: &[IpAddr],
    chosen: Option<&Match>,
) -> Vec<Near> {
    match (trigger, chosen.and_then(|chosen| chosen.by)) {
        (TriggerKind::Qname, _) => zone.rules.near_names(trigger, name),
        (_, Some(Matched::Address(_, net))) => zone.rules.near_prefixes(trigger, addresses, &net),
        _ => Vec::new(),
    }
}

fn behind(zone: &Zone, trigger: TriggerKind, name: &Name, near: &Near) -> Match {
    let own = matches!(near.matched, Matched::Name(_)).then_some(name);
    Match {
        zone: zone.settings.name.to_string(),
        trigger,
        owner: spelling::owner(trigger, name, &near.matched),
        action: zone.effective(near.code.as_u32(), own).as_str(),
        matched: subject(name, &near.matched),
        won: false,
        lost: Some(near.lost.to_string()),
        exception: None,
        by: Some(near.matched),
    }
}

impl Truth {
    /// Nothing but where it is from.
    pub(super) fn from(source: &'static str) -> Truth {
        Truth {
            source,
            upstream: None,
            section: None,
            ttl_left: None,
            rcode: None,
            answer: Vec::new(),
            failure: None,
            not_needed: false,
        }
    }

    /// A name that is answered here.
    pub(super) fn local(local: &LocalAnswer<'_>) -> Truth {
        let section = Some(local.section());
        let rcode = Some(rcode::text(local.rcode));
        Truth { section, rcode, ..Truth::from(if local.is_host { "hosts" } else { "special" }) }
    }
}

fn keep<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.len() < limits::EXPLAINED_RECORDS && !list.contains(&item) {
        list.push(item);
    }
}

fn told(hit: &Hit<'_>, won: bool, lost: Option<Lost>) -> Match {
    Match {
        zone: hit.zone.settings.name.to_string(),
        trigger: hit.trigger,
        owner: match hit.exception {
            Some(exception) => scope(exception),
            None => spelling::owner(hit.trigger, &hit.name, &hit.matched),
        },
        action: hit.action.as_str(),
        matched: subject(&hit.name, &hit.matched),
        won,
        lost: lost.map(|lost| lost.to_string()),
        exception: hit.exception.map(|exception| exception.id),
        by: Some(hit.matched),
    }
}

/// The name or address that a rule looked at.
fn subject(name: &Name, matched: &Matched) -> String {
    match matched {
        Matched::Name(_) => name.to_string(),
        Matched::Server(server, _) => server.to_string(),
        Matched::Address(address, _) => address.to_string(),
    }
}

/// What an exception is for.
fn scope(exception: &Exception) -> String {
    let below = if exception.subtree { " and below" } else { "" };
    let clients = exception.clients.map_or(String::new(), |net| format!(", for {net}"));
    format!("{}{below}{clients}", exception.name)
}

fn rule(won: &Won) -> Rule {
    let wanted = match &won.matched {
        _ if won.exception.is_some() => None,
        Matched::Name(owner) => spelling::trigger_name(&won.name, *owner),
        Matched::Server(server, owner) => spelling::trigger_name(server, *owner),
        Matched::Address(..) => None,
    };
    let wanted = match (&won.matched, wanted) {
        (Matched::Address(_, net), _) => Some(Wanted::Prefix(won.trigger, *net)),
        (_, Some(name)) => Some(Wanted::Name(won.trigger, name)),
        _ => None,
    };
    Rule {
        zone: won.zone.settings.name.to_string(),
        serial: won.zone.rules.soa.serial,
        trigger: won.trigger,
        owner: match &won.exception {
            Some(exception) => scope(exception),
            None => spelling::owner(won.trigger, &won.name, &won.matched),
        },
        action: won.word,
        overridden: won.zone.settings.action != Override::Given,
        name: won.name.to_string(),
        matched: subject(&won.name, &won.matched),
        exception: won.exception.as_deref().map(ByHand::of),
        place: None,
        wanted,
    }
}
