//! Made-up policies and queries. All names and addresses come from few, so that they meet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::choices::Choices;
use super::query::{Asked, Facts, Link};
use crate::dns::name::{Name, NameBuilder};
use crate::limits;
use crate::policy::action::{Action, ActionCode, LocalData, LocalRecord};
use crate::policy::exceptions::{Exception, Exceptions, Verdict};
use crate::policy::rules::{RuleArena, ZoneRules};
use crate::policy::set::{Mode, Override, Parts, ZoneSettings};
use crate::policy::trigger::TriggerKind;
use crate::policy::view::Group;

const LABELS: [&[u8]; 5] = [b"a", b"b", b"c", b"*", b"d"];
/// Most labels of a name.
const DEPTH: usize = 4;
/// Most rules of a zone.
const RULES: usize = 14;
/// Most names of a chain.
const CHAIN: usize = 4;
const FIXED: [Action; 5] =
    [Action::Nxdomain, Action::Nodata, Action::Passthru, Action::Drop, Action::TcpOnly];
/// Types of local records: CNAME (RFC 1035 section 3.2.2) and A (section 3.4.1).
const CNAME: u16 = 5;
const A: u16 = 1;

/// A policy, and a query that it judges.
pub struct World {
    /// What the policy is made of.
    pub parts: Parts,
    /// Who asks.
    pub asked: Asked,
    /// The names that are judged, with what is known about each.
    pub chain: Vec<Link>,
}

impl World {
    /// The world that the choices make.
    pub fn new(choices: &mut Choices<'_>) -> World {
        let parts = parts(choices);
        let asked = Asked { client: address(choices), recursive: !choices.once_in(4) };
        let links = 1 + choices.below(CHAIN);
        let mut link =
            |_| Link { name: name(choices), own: choices.once_in(4), facts: facts(choices) };
        let chain = (0..links).map(&mut link).collect();
        World { parts, asked, chain }
    }
}

/// A policy.
pub fn parts(choices: &mut Choices<'_>) -> Parts {
    // seldom more zones than are taken
    let count = match choices.below(32) {
        0 => 0,
        1 => limits::POLICY_ZONES + 2,
        few => 1 + few % 6,
    };
    let zones: Vec<_> = (0..count).map(|i| (settings(choices, i), zone(choices))).collect();
    let groups = (0..choices.below(4)).map(|i| group(choices, i, count)).collect();
    let ignored = TriggerKind::ALL.into_iter().filter(|_| choices.once_in(24)).collect();
    Parts {
        generation: 1,
        zones,
        groups,
        exceptions: exceptions(choices),
        monitor: choices.once_in(8),
        ignored,
    }
}

/// The next generation of a policy: something about it is not as before.
pub fn change(choices: &mut Choices<'_>, parts: &mut Parts) {
    parts.generation += 1;
    let count = parts.zones.len();
    let place = choices.below(count);
    match choices.below(9) {
        0 => parts.exceptions = exceptions(choices),
        1 => parts.groups = (0..choices.below(4)).map(|i| group(choices, i, count)).collect(),
        2 => parts.monitor = !parts.monitor,
        3 => parts.zones.push((settings(choices, count), zone(choices))),
        4 if count > 0 => drop(parts.zones.remove(place)),
        5 if count > 0 => parts.zones.swap(0, place),
        6 if count > 0 => parts.zones[place].1 = zone(choices),
        7 if count > 0 => {
            let rules = Arc::clone(&parts.zones[place].1);
            parts.zones[choices.below(count)].1 = rules;
        }
        _ if count > 0 => parts.zones[place].0 = settings(choices, place),
        _ => {}
    }
}

/// What may be known about a name.
pub fn facts(choices: &mut Choices<'_>) -> Facts {
    let mut few = || choices.below(4);
    let (addresses, servers, server_addresses) = (few(), few(), few());
    Facts {
        addresses: (0..addresses).map(|_| address(choices)).collect(),
        servers: (0..servers).map(|_| name(choices)).collect(),
        server_addresses: (0..server_addresses).map(|_| address(choices)).collect(),
    }
}

/// A name of few labels; seldom the root.
pub fn name(choices: &mut Choices<'_>) -> Name {
    let mut name = NameBuilder::new();
    let labels = if choices.once_in(32) { 0 } else { 1 + choices.below(DEPTH) };
    for _ in 0..labels {
        let label = LABELS[choices.below(LABELS.len())];
        // four labels of one octet fit
        if name.push_label(label).is_err() {
            break;
        }
    }
    name.finish()
}

/// An address; a few bits of it are free, spread over what owners spell out.
pub fn address(choices: &mut Choices<'_>) -> IpAddr {
    let bits = choices.below(256) as u8;
    let (high, middle, low) = (bits >> 6, bits >> 4 & 3, bits & 7);
    if choices.once_in(3) {
        let top = [0x2001, 0x2001, 0, 0x8000][usize::from(high)];
        let mapped = if top == 0 && middle == 3 { 0xffff } else { u16::from(middle) };
        Ipv6Addr::new(top, 0, 0, 0, 0, mapped, u16::from(middle), u16::from(low)).into()
    } else {
        Ipv4Addr::new(10 + high, 0, middle * 9, low * 3).into()
    }
}

/// A prefix over such an address; its host bits may be set.
fn prefix(choices: &mut Choices<'_>) -> IpNet {
    let address = address(choices);
    let lengths: &[u8] = match address {
        IpAddr::V4(_) => &[32, 32, 30, 24, 16, 8, 6, 0],
        IpAddr::V6(_) => &[128, 128, 126, 112, 96, 32, 1, 0],
    };
    let length = lengths[choices.below(lengths.len())];
    IpNet::new(address, length).unwrap_or(IpNet::from(address))
}

/// The rules of one zone.
fn zone(choices: &mut Choices<'_>) -> Arc<ZoneRules> {
    let mut rules = ZoneRules::none(Name::ROOT);
    let (mut names, mut servers, mut prefixes) =
        (RuleArena::default(), RuleArena::default(), Vec::new());
    for _ in 0..choices.below(RULES + 1) {
        let kind = TriggerKind::ALL[choices.below(TriggerKind::ALL.len())];
        let action = match FIXED.get(choices.below(FIXED.len() + 2)) {
            Some(action) => *action,
            None => {
                rules.data.push(data(choices));
                Action::Data(rules.data.len() as u32 - 1)
            }
        };
        let code = ActionCode::from(action);
        match kind {
            TriggerKind::Qname | TriggerKind::Nsdname => {
                let owner = name(choices);
                if owner.is_root() {
                    continue;
                }
                let labels = &owner.as_wire()[..owner.len() - 1];
                let tree = match kind {
                    TriggerKind::Qname => &mut names,
                    _ => &mut servers,
                };
                tree.push(labels, code);
            }
            kind => prefixes.push((kind, prefix(choices).trunc(), code)),
        }
        rules.counts.note(kind, action);
    }
    rules.names = names.into();
    (rules.nsdnames, rules.prefixes) = (Arc::new(servers), Arc::new(prefixes));
    Arc::new(rules)
}

/// An alias, often to a name that is asked for, or an address.
fn data(choices: &mut Choices<'_>) -> LocalData {
    let record = if choices.once_in(3) {
        LocalRecord { rtype: A, ttl: 5, rdata: [192, 0, 2, 1].into() }
    } else {
        LocalRecord { rtype: CNAME, ttl: 5, rdata: name(choices).as_wire().into() }
    };
    LocalData::new(vec![record])
}

fn settings(choices: &mut Choices<'_>, number: usize) -> ZoneSettings {
    let label = format!("zone{number}");
    let mode = match choices.below(8) {
        0 => Mode::Off,
        1 | 2 => Mode::Monitor,
        _ => Mode::Enforce,
    };
    let action = match choices.below(12) {
        0 => Override::Cname(data(choices)),
        1 => Override::Action(FIXED[choices.below(FIXED.len())]),
        _ => Override::Given,
    };
    ZoneSettings {
        name: Name::from_wire(&[&[label.len() as u8], label.as_bytes(), &[0]].concat())
            .unwrap_or(Name::ROOT),
        mode,
        action,
        recursive_only: choices.once_in(3),
        add_soa: false,
        max_ttl: 5,
        ede: None,
        ede_text: Arc::from(""),
        remote: choices.once_in(2),
        log: true,
    }
}

/// A group of clients; some list a zone twice, or one that is not there.
fn group(choices: &mut Choices<'_>, number: usize, zones: usize) -> Group {
    let clients = (0..choices.below(4)).map(|_| prefix(choices)).collect();
    let listed = choices.below(6);
    let listed = (0..listed).map(|_| choices.below(zones + 2)).collect();
    let zones = if choices.once_in(4) { None } else { Some(listed) };
    Group { name: format!("group{number}"), clients, zones }
}

fn exceptions(choices: &mut Choices<'_>) -> Arc<Exceptions> {
    let count = if choices.once_in(3) { choices.below(10) } else { 0 };
    let mut list: Vec<Arc<Exception>> = Vec::new();
    for id in 0..count {
        let verdict = if choices.once_in(2) { Verdict::Allow } else { Verdict::Block };
        // several for one name: fewer clients and later times decide
        let again = list.last().filter(|_| choices.once_in(2)).map(|last| last.name);
        list.push(Arc::new(Exception {
            id: id as u64,
            verdict,
            name: again.unwrap_or_else(|| name(choices)),
            subtree: !choices.once_in(3),
            clients: choices.once_in(2).then(|| prefix(choices)),
            owner: String::new(),
            reason: String::new(),
            since: choices.below(3) as u64,
            until: None,
        }));
    }
    Arc::new(Exceptions::new(list))
}
