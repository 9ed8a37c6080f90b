//! One query over all zones, judged by plain loops: internet-draft dnsop-dns-rpz-00 section 5,
//! rule by rule. It shares no look-up with `policy::stage` and `policy::tables`.
//!
//! ```text
//!   for each name of the chain          the first name with a rule that acts ends it
//!     an exception                      ahead of every zone
//!     for each zone in the view's order
//!       for each kind in its order
//!         the best rule                 exact, closest wildcard; longest prefix, first owner
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::names;
use crate::dns::name::Name;
use crate::limits;
use crate::policy::action::{Action, ActionCode, CnameTarget, LocalData};
use crate::policy::exceptions::Exception;
use crate::policy::names::ActionCode as Code;
use crate::policy::rules::{NameIter, ZoneRules};
use crate::policy::set::{Mode, Override, Parts, ZoneSettings};
use crate::policy::spelling;
use crate::policy::stage::Evidence;
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;

/// Who asks, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The client's address.
    pub client: IpAddr,
    /// RD is set.
    pub recursive: bool,
}

/// What is known about a name beyond its spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Addresses in the answer for the name.
    pub addresses: Vec<IpAddr>,
    /// Names of its servers and of those of its ancestors.
    pub servers: Vec<Name>,
    /// Addresses of those servers.
    pub server_addresses: Vec<IpAddr>,
}

/// One name of the alias chain; the first one is the query's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The name.
    pub name: Name,
    /// It is one of the operator's own.
    pub own: bool,
    /// What is known about it.
    pub facts: Facts,
}

/// A rule that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// Place of the name in the chain, from 0.
    pub link: usize,
    /// Place of the zone in the configuration, from 0; `None`: an exception.
    pub zone: Option<usize>,
    /// What the rule looked at.
    pub trigger: TriggerKind,
    /// What it does, the zone's override included.
    pub action: Action,
    /// Its owner as written, without the zone's name.
    pub owner: String,
}

/// What becomes of a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The rule that acts.
    pub acts: Option<Ruling>,
    /// The rules that only log: one a zone, by the order of names and then of zones.
    pub watching: Vec<Ruling>,
}

/// The judge of one generation of policy.
pub struct QueryOracle<'p> {
    parts: &'p Parts,
    zones: Vec<Zone<'p>>,
}

/// A zone with its rules sorted into trees of names and a list of prefixes.
struct Zone<'p> {
    settings: &'p ZoneSettings,
    rules: &'p ZoneRules,
    names: BTreeMap<Name, Code>,
    servers: BTreeMap<Name, Code>,
}

/// A matching rule of one zone: what it does, its owner, the name that it looked at.
struct Match {
    code: Code,
    owner: String,
    seen: Option<Name>,
}

impl Evidence for Facts {
    fn each_address(&self, each: &mut dyn FnMut(IpAddr)) {
        self.addresses.iter().copied().for_each(each);
    }

    fn each_server(&self, each: &mut dyn FnMut(&Name)) {
        self.servers.iter().for_each(each);
    }

    fn each_server_address(&self, each: &mut dyn FnMut(IpAddr)) {
        self.server_addresses.iter().copied().for_each(each);
    }
}

impl<'p> QueryOracle<'p> {
    /// The judge by these parts; what they say of monitor and ignored triggers counts.
    pub fn new(parts: &'p Parts) -> QueryOracle<'p> {
        let zones = parts.zones.iter().take(limits::POLICY_ZONES);
        let zones = zones.map(|(settings, rules)| Zone {
            settings,
            rules,
            names: tree(rules.by_name(TriggerKind::Qname)),
            servers: tree(rules.by_name(TriggerKind::Nsdname)),
        });
        QueryOracle { parts, zones: zones.collect() }
    }

    /// Judges a query whose alias chain is known as far as `chain` goes.
    pub fn judge(&self, asked: &Asked, chain: &[Link]) -> Verdict {
        let mut verdict = Verdict::default();
        for (place, link) in chain.iter().enumerate() {
            // the root is never rewritten
            if link.name.is_root() {
                continue;
            }
            self.watch(asked, place, link, &mut verdict.watching);
            verdict.acts = self.act(asked, place, link);
            if verdict.acts.is_some() {
                break;
            }
        }
        verdict
    }

    /// The rule that acts on one name.
    fn act(&self, asked: &Asked, place: usize, link: &Link) -> Option<Ruling> {
        if !self.parts.monitor
            && let Some(ruling) = self.exception(asked, place, link)
        {
            return Some(ruling);
        }
        let order = self.order(asked.client);
        let enforcing = order.iter().filter(|zone| self.mode(**zone) == Mode::Enforce);
        enforcing.copied().find_map(|zone| self.best(asked, place, link, zone))
    }

    /// The rules that only log, of zones and exceptions that have not spoken yet.
    fn watch(&self, asked: &Asked, place: usize, link: &Link, heard: &mut Vec<Ruling>) {
        let is_new = |heard: &[Ruling], zone| heard.iter().all(|ruling| ruling.zone != zone);
        if self.parts.monitor && is_new(heard, None) {
            heard.extend(self.exception(asked, place, link));
        }
        for zone in self.order(asked.client) {
            if self.mode(zone) == Mode::Monitor && is_new(heard, Some(zone)) {
                heard.extend(self.best(asked, place, link, zone));
            }
        }
    }

    /// The best rule of one zone on one name.
    fn best(&self, asked: &Asked, place: usize, link: &Link, number: usize) -> Option<Ruling> {
        let zone = self.zones.get(number)?;
        if zone.settings.recursive_only && !asked.recursive {
            return None;
        }
        for kind in TriggerKind::ALL {
            // the client's address counts once; what it rules has nothing to do with the name
            let looks = match kind {
                TriggerKind::ClientIp => place == 0,
                _ => !(link.own && zone.settings.remote),
            };
            if !looks || self.parts.ignored.contains(&kind) {
                continue;
            }
            let found = match kind {
                TriggerKind::ClientIp => zone.by_address(kind, &[asked.client]),
                TriggerKind::Qname => zone.by_name(&link.name),
                TriggerKind::Ip => zone.by_address(kind, &link.facts.addresses),
                TriggerKind::Nsdname => zone.by_server(&link.facts.servers),
                TriggerKind::Nsip => zone.by_address(kind, &link.facts.server_addresses),
            };
            if let Some(found) = found {
                let action = zone.action(found.code, found.seen.as_ref());
                let owner = found.owner;
                return Some(Ruling {
                    link: place,
                    zone: Some(number),
                    trigger: kind,
                    action,
                    owner,
                });
            }
        }
        None
    }

    /// The nearest exception, of those the one with fewest clients, of those the newest.
    fn exception(&self, asked: &Asked, place: usize, link: &Link) -> Option<Ruling> {
        let name = &link.name;
        let holds = |exception: &&Exception| {
            let named =
                exception.name == *name || (exception.subtree && name.is_within(&exception.name));
            named && exception.clients.is_none_or(|clients| clients.contains(&asked.client))
        };
        let rank = |exception: &&Exception| {
            let narrow = exception.clients.map(|clients| clients.prefix_len());
            (exception.name.label_count(), narrow, exception.since, exception.id)
        };
        let all = self.parts.exceptions.list().iter().map(|exception| &**exception);
        let exception = all.filter(holds).max_by_key(rank)?;
        let owner = match (exception.name == *name, exception.name.is_root()) {
            (true, _) => name.to_string(),
            (false, true) => "*".to_owned(),
            (false, false) => format!("*.{}", exception.name),
        };
        Some(Ruling {
            link: place,
            zone: None,
            trigger: TriggerKind::Qname,
            action: exception.verdict.action(),
            owner,
        })
    }

    /// The zones of the client's view, in their order.
    fn order(&self, client: IpAddr) -> Vec<usize> {
        let all = || (0..self.zones.len()).collect();
        let mut longest: Option<(u8, &Group)> = None;
        for group in &self.parts.groups {
            let nets = group.clients.iter().filter(|net| net.contains(&client));
            for net in nets {
                if longest.is_none_or(|(len, _)| net.prefix_len() > len) {
                    longest = Some((net.prefix_len(), group));
                }
            }
        }
        let listed = longest.and_then(|(_, group)| group.zones.as_ref());
        listed.map_or_else(all, |zones| {
            zones.iter().copied().filter(|zone| *zone < self.zones.len()).collect()
        })
    }

    /// The mode that is in force: with everything monitored, zones that would act watch.
    fn mode(&self, zone: usize) -> Mode {
        match self.zones.get(zone).map(|zone| zone.settings.mode) {
            Some(Mode::Enforce) if self.parts.monitor => Mode::Monitor,
            Some(mode) => mode,
            None => Mode::Off,
        }
    }
}

impl Zone<'_> {
    fn by_name(&self, name: &Name) -> Option<Match> {
        let (owner, code) = names::covering(&self.names, name)?;
        Some(Match { code, owner: owner.to_string(), seen: Some(*name) })
    }

    /// The matched server whose name comes last in canonical order.
    fn by_server(&self, servers: &[Name]) -> Option<Match> {
        let covered = |server: &Name| names::covering(&self.servers, server).is_some();
        let last = servers.iter().copied().filter(covered).max()?;
        let (owner, code) = names::covering(&self.servers, &last)?;
        Some(Match { code, owner: format!("{owner}.rpz-nsdname"), seen: Some(last) })
    }

    /// The longest prefix over any of the addresses, IPv4 lengths counting 96 more; of equal
    /// ones the smaller owner in wire form; of equal owners the rule that was read first.
    fn by_address(&self, kind: TriggerKind, addresses: &[IpAddr]) -> Option<Match> {
        let mut best: Option<(u32, String, Code)> = None;
        for (_, net, code) in self.rules.prefixes.iter().filter(|(other, ..)| *other == kind) {
            if !addresses.iter().any(|address| net.contains(address)) {
                continue;
            }
            let (length, owner) = (whole_length(net), owner_of(kind, net));
            let better = best.as_ref().is_none_or(|(other, written, _)| {
                length > *other || (length == *other && wire(&owner) < wire(written))
            });
            if better {
                best = Some((length, owner, code.as_u32()));
            }
        }
        best.map(|(_, owner, code)| Match { code, owner, seen: None })
    }

    /// What a rule does: the override, or its own action, where an alias to the very name that
    /// was looked at is the old spelling of passthru.
    fn action(&self, code: Code, seen: Option<&Name>) -> Action {
        match &self.settings.action {
            Override::Action(action) => return *action,
            Override::Cname(_) => return Action::Data(0),
            Override::Given => {}
        }
        let action = ActionCode::from_u32(code).action();
        let data = match action {
            Action::Data(place) => self.rules.data.get(place as usize),
            _ => None,
        };
        match (data.and_then(LocalData::cname), seen) {
            (Some(CnameTarget::Literal(target)), Some(seen)) if target == seen => Action::Passthru,
            _ => action,
        }
    }
}

/// The rules by owner; the first one counts, and the root can own none.
fn tree(rules: NameIter<'_>) -> BTreeMap<Name, Code> {
    let mut tree = BTreeMap::new();
    for (owner, code) in rules {
        if let Ok(owner) = Name::from_wire(owner)
            && !owner.is_root()
        {
            tree.entry(owner).or_insert(code.as_u32());
        }
    }
    tree
}

fn whole_length(net: &IpNet) -> u32 {
    let ahead = if net.addr().is_ipv4() { 96 } else { 0 };
    ahead + u32::from(net.prefix_len())
}

fn owner_of(kind: TriggerKind, net: &IpNet) -> String {
    spelling::prefix(&net.trunc()) + spelling::suffix(kind)
}

/// The owner in wire form, each label behind its length.
fn wire(owner: &str) -> Vec<u8> {
    let label = |label: &str| [&[label.len() as u8], label.as_bytes()].concat();
    owner.split('.').flat_map(label).collect()
}
