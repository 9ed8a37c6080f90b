//! The account of a judgement: why a rule that covers a name did not act. It decides nothing: the
//! winner is the stage's own, and this says what stood in the way of the others.
//!
//! ```text
//!   Stage::each_match ─► all matches ─┬─► the one that acted
//!                                     └─► lost_to(winner) ─► Lost, in words
//!   ZoneRules::near   ─► rules behind the zone's own choice: under an exact name, above a
//!                        nearer `*`, hidden by a name that exists, shorter prefixes
//! ```

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::action::ActionCode;
use super::rules::{NameIter, ZoneRules};
use super::set::Mode;
use super::stage::{Hit, Matched, Owner};
use super::trigger::TriggerKind;
use crate::dns::name::Name;
use crate::limits;

/// Why a rule that covers a name did not act.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // made for people, a few at a time
pub enum Lost {
    /// Its zone only logs.
    Watches,
    /// Everything only logs.
    AllWatch,
    /// DNSSEC shelters the answer, and the client asks for DNSSEC.
    Signed,
    /// A rule acted at a name before this one.
    Ended(Name),
    /// An exception was made by hand.
    Exception(u64),
    /// Another exception is for a nearer name, a narrower network, or newer.
    OtherException(u64),
    /// This zone stands in front.
    ZoneAhead(Name),
    /// The first kind of trigger is stronger than the second.
    KindFirst(TriggerKind, TriggerKind),
    /// This prefix is longer.
    LongerPrefix(IpNet),
    /// This prefix is as long, and first in order.
    EqualPrefix(IpNet),
    /// The exact name has a rule.
    ExactFirst,
    /// A `*` nearer to the name has a rule.
    NearerWildcard,
    /// This server's name is the last in order.
    OtherServer(Name),
    /// The first name exists in the zone, for the second one is a rule's owner.
    Hidden(Name, Name),
    /// The upstream failed, and the answer had to be known first.
    Failure,
    /// The answer is not at hand, and the client wants nobody to be asked.
    NotAtHand,
    /// None of these: a kept answer was judged before, when it did not match.
    Unseen,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Watches => f.write_str("the zone only watches"),
            Lost::AllWatch => f.write_str("all policy only watches"),
            Lost::Signed => f.write_str("the answer is signed and the client asks for DNSSEC"),
            Lost::Ended(name) => write!(f, "the hit at {name} before ended policy"),
            Lost::Exception(id) => write!(f, "an exception comes first (number {id})"),
            Lost::OtherException(id) => write!(
                f,
                "exception {id} comes first: the nearer name, then the narrower network, then \
                 the newer one"
            ),
            Lost::ZoneAhead(zone) => write!(f, "zone {zone} stands ahead"),
            Lost::KindFirst(first, second) => {
                write!(f, "{first} comes before {second} within one zone")
            }
            Lost::LongerPrefix(net) => write!(f, "a longer prefix matches: {net}"),
            Lost::EqualPrefix(net) => write!(f, "of equal prefixes {net} is the first in order"),
            Lost::ExactFirst => f.write_str("an exact name comes before *."),
            Lost::NearerWildcard => f.write_str("a nearer * comes first"),
            Lost::OtherServer(name) => write!(f, "of several servers the last counts: {name}"),
            Lost::Hidden(name, owner) => {
                write!(f, "{name} exists in the zone (rule {owner}), so * above does not cover it")
            }
            Lost::Failure => f.write_str("the upstream failed, and the answer must be known first"),
            Lost::NotAtHand => {
                f.write_str("the answer is not at hand, and RD=0 forbids to ask for it")
            }
            Lost::Unseen => f.write_str("it did not match when the kept answer was judged"),
        }
    }
}

/// What a match is compared with: the rule that acted.
#[derive(Clone, Copy, Debug)]
pub struct Winner<'w> {
    /// Its zone's name.
    pub zone: &'w Name,
    /// What it looked at.
    pub trigger: TriggerKind,
    /// What made it match.
    pub matched: &'w Matched,
    /// The exception that it is, by number.
    pub exception: Option<u64>,
}

/// Why a match lost against the rule that acted at the same name.
pub fn lost_to(winner: &Winner<'_>, loser: &Hit<'_>) -> Lost {
    if let Some(id) = winner.exception {
        return Lost::Exception(id);
    }
    if *winner.zone != loser.zone.settings.name {
        return Lost::ZoneAhead(*winner.zone);
    }
    if winner.trigger != loser.trigger {
        return Lost::KindFirst(winner.trigger, loser.trigger);
    }
    match winner.matched {
        Matched::Name(owner) if owner.wildcard => Lost::NearerWildcard,
        Matched::Name(_) => Lost::ExactFirst,
        Matched::Server(name, _) => Lost::OtherServer(*name),
        Matched::Address(_, net) => match &loser.matched {
            Matched::Address(_, own) => shorter(own, net),
            _ => Lost::LongerPrefix(*net),
        },
    }
}

fn shorter(loser: &IpNet, winner: &IpNet) -> Lost {
    let length = |net: &IpNet| match net {
        IpNet::V4(net) => net.prefix_len() + 96,
        IpNet::V6(net) => net.prefix_len(),
    };
    match length(loser) < length(winner) {
        true => Lost::LongerPrefix(*winner),
        false => Lost::EqualPrefix(*winner),
    }
}

/// Why a match did not act although no rule won, or for a reason that lies in itself.
pub fn lost_alone(loser: &Hit<'_>, all_watch: bool) -> Option<Lost> {
    match loser.zone.settings.mode {
        _ if all_watch => Some(Lost::AllWatch),
        Mode::Monitor => Some(Lost::Watches),
        Mode::Enforce | Mode::Off => None,
    }
}

/// A rule that covers what was looked at, behind the one that its zone chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// What made it match, had it been chosen.
    pub matched: Matched,
    /// What it does, before the zone's override.
    pub code: ActionCode,
    /// Why it was not chosen.
    pub lost: Lost,
}

impl ZoneRules {
    /// Rules on names that cover `name`, without the one that counts; at most
    /// [`limits::NEAR_RULES`]. Walks through all rules of the zone: not for a serving thread.
    pub fn near_names(&self, kind: TriggerKind, name: &Name) -> Vec<Near> {
        let tree = Tree::around(name, self.by_name(kind));
        let labels = name.label_count();
        let mut near = Vec::new();
        for (depth, wildcard, code) in &tree.covering {
            let lost = match (wildcard, tree.exact, tree.encloser) {
                (false, ..) => continue,
                (true, true, _) => Lost::ExactFirst,
                (true, false, encloser) if *depth == encloser => continue,
                (true, false, _) if tree.chosen() => Lost::NearerWildcard,
                (true, false, encloser) => Lost::Hidden(name.suffix(encloser), tree.because),
            };
            let owner = Owner { labels: (*depth).min(labels) as u8, wildcard: *wildcard };
            near.push(Near { matched: Matched::Name(owner), code: *code, lost });
        }
        near.truncate(limits::NEAR_RULES);
        near
    }

    /// Rules on prefixes over these addresses, without `chosen`; at most
    /// [`limits::NEAR_RULES`]. Walks through all of them.
    pub fn near_prefixes(
        &self,
        kind: TriggerKind,
        addresses: &[IpAddr],
        chosen: &IpNet,
    ) -> Vec<Near> {
        let own = self.prefixes.iter().filter(|(k, net, _)| *k == kind && net != chosen);
        let covering = own.filter_map(|(_, net, code)| {
            let address = addresses.iter().find(|address| net.contains(*address))?;
            let matched = Matched::Address(*address, *net);
            Some(Near { matched, code: *code, lost: shorter(net, chosen) })
        });
        covering.take(limits::NEAR_RULES).collect()
    }
}

/// What a zone's tree holds on the way to one name.
struct Tree {
    /// Labels of the deepest name on the way that exists.
    encloser: usize,
    /// A rule whose owner makes it exist.
    because: Name,
    /// The name itself has a rule.
    exact: bool,
    /// Rules that cover the name if nothing is in between: labels without the `*`, whether there
    /// is one, action.
    covering: Vec<(usize, bool, ActionCode)>,
}

impl Tree {
    fn around(name: &Name, rules: NameIter<'_>) -> Tree {
        let labels = name.label_count();
        let suffixes: Vec<Name> = (0..=labels).map(|kept| name.suffix(kept)).collect();
        let by_wire: HashMap<&[u8], usize> =
            suffixes.iter().enumerate().map(|(kept, suffix)| (suffix.as_wire(), kept)).collect();
        let mut tree =
            Tree { encloser: 0, because: Name::ROOT, exact: false, covering: Vec::new() };
        for (owner, code) in rules {
            let wildcard = owner.starts_with(b"\x01*");
            let node = if wildcard { &owner[2..] } else { owner };
            let Some((depth, whole)) = deepest(node, &by_wire) else { continue };
            if depth > tree.encloser {
                tree.encloser = depth;
                tree.because = Name::from_wire(owner).unwrap_or(Name::ROOT);
            }
            if whole && (wildcard && depth < labels || !wildcard && depth == labels) {
                tree.exact |= !wildcard;
                // of two rules with one trigger the first counts
                if !tree.covering.iter().any(|known| (known.0, known.1) == (depth, wildcard)) {
                    tree.covering.push((depth, wildcard, code));
                }
            }
        }
        tree.covering.sort_by_key(|(depth, wildcard, _)| (std::cmp::Reverse(*depth), *wildcard));
        tree
    }

    /// A rule of the tree acts on the name.
    fn chosen(&self) -> bool {
        let nearest =
            |(depth, wildcard, _): &(usize, bool, ActionCode)| *wildcard && *depth == self.encloser;
        self.exact || self.covering.iter().any(nearest)
    }
}

/// Labels of the longest suffix that a wire name shares with the names in the table, and whether
/// that is the whole name.
fn deepest(wire: &[u8], suffixes: &HashMap<&[u8], usize>) -> Option<(usize, bool)> {
    let mut at = 0;
    while let Some(rest) = wire.get(at..) {
        if let Some(labels) = suffixes.get(rest) {
            return Some((*labels, at == 0));
        }
        at += 1 + usize::from(*rest.first()?);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::action::Action;
    use crate::policy::oracle::Oracle;
    use crate::policy::rules::RuleArena;
    use std::sync::Arc;

    /// A zone of these rules on names.
    fn zone(owners: &[Name]) -> (ZoneRules, Oracle) {
        let mut rules = ZoneRules::none("rpz.test".parse().unwrap());
        let mut oracle = Oracle::new();
        let code = ActionCode::from(Action::Nxdomain);
        let mut arena = RuleArena::default();
        for owner in owners {
            let wire = owner.as_wire();
            arena.push(&wire[..wire.len() - 1], code);
            oracle.add(0, owner, code.as_u32());
        }
        rules.names = arena.into();
        (rules, oracle)
    }

    fn random_name(rng: &mut fastrand::Rng, wild: bool) -> Name {
        let labels = (0..rng.usize(1..5)).map(|_| ["a", "b"][rng.usize(..2)].to_owned());
        let labels: Vec<String> = labels.collect();
        let star = (wild && rng.bool()).then(|| "*".to_owned());
        star.into_iter().chain(labels).collect::<Vec<_>>().join(".").parse().unwrap()
    }

    #[test]
    fn what_stands_behind_a_choice_is_never_the_choice() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..3000 {
            let owners: Vec<Name> =
                (0..rng.usize(0..8)).map(|_| random_name(&mut rng, true)).collect();
            let (rules, oracle) = zone(&owners);
            let name = random_name(&mut rng, false);
            let found = oracle.find(&name);
            let chosen = found.rule(0);
            let context = format!("{name} in {owners:?}: {chosen:?}");
            assert_eq!(
                Tree::around(&name, rules.names.iter()).chosen(),
                chosen.is_some(),
                "{context}"
            );
            let near = rules.near_names(TriggerKind::Qname, &name);
            // all wildcards above the name, without the one that was chosen
            let covers = |owner: &&Name| {
                owner.is_wildcard() && name.is_within(&owner.parent()) && name != owner.parent()
            };
            let mut all: Vec<_> = owners.iter().filter(covers).collect();
            all.sort_unstable();
            all.dedup();
            let by_wildcard = chosen.is_some_and(|rule| rule.wildcard);
            assert_eq!(near.len(), all.len() - usize::from(by_wildcard), "{context}: {near:?}");
            for near in &near {
                let Matched::Name(owner) = near.matched else { unreachable!() };
                let same = chosen.is_some_and(|rule| {
                    (rule.labels, rule.wildcard) == (owner.labels, owner.wildcard)
                });
                assert!(!same, "{context}: {near:?}");
                let hidden = matches!(near.lost, Lost::Hidden(..));
                assert_eq!(hidden, chosen.is_none(), "{context}: {near:?}");
            }
        }
    }

    #[test]
    fn shorter_prefixes_stand_behind_the_longest() {
        let mut rules = ZoneRules::none("rpz.test".parse().unwrap());
        let code = ActionCode::from(Action::Nxdomain);
        for net in ["192.0.2.0/24", "192.0.2.9/32", "192.0.2.8/32", "198.51.100.0/24"] {
            let prefixes = Arc::make_mut(&mut rules.prefixes);
            prefixes.push((TriggerKind::Ip, net.parse().unwrap(), code));
        }
        let seen = ["192.0.2.9".parse().unwrap(), "192.0.2.8".parse().unwrap()];
        let chosen = "192.0.2.9/32".parse().unwrap();
        let near = rules.near_prefixes(TriggerKind::Ip, &seen, &chosen);
        let lost: Vec<_> = near.iter().map(|near| near.lost.clone()).collect();
        assert_eq!(lost, [Lost::LongerPrefix(chosen), Lost::EqualPrefix(chosen)]);
        assert!(rules.near_prefixes(TriggerKind::Nsip, &seen, &chosen).is_empty());
    }
}
