//! The gate: what is judged of a new version of a large zone before it takes effect.
//!
//! ```text
//!   old, new ─► loss of rules            held: more than max_loss percent
//!            ─► each rule of new, once   held: over everything, over a guarded name
//!                                        told: over top-level names, over our own hosts
//!            ─► each rule of old, once   what was there before was accepted before
//!   ─► Judgement: reasons, warnings
//! ```
//!
//! Only rules on names are looked at one by one: no prefix of a policy zone covers all addresses.
//! What a zone's override makes of a rule counts, and what is let through is no danger. The mode
//! of the zone does not matter, since one that only watches may be made to enforce later.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use crate::dns::name::{Name, write_wire};
use crate::limits::supply as limits;
use crate::policy::action::{Action, ActionCode};
use crate::policy::rules::ZoneRules;
use crate::policy::set::ZoneSettings;
use crate::policy::spelling;
use crate::policy::trigger::TriggerKind;

/// The trigger name that covers everything.
const ALL: &[u8] = b"\x01*\x00";

/// A name that no new rule may cover unseen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// The name.
    pub name: Name,
    /// Who guards it, for the operator: `guard`, or the route that names it.
    pub why: String,
}

/// How strict the gate is with one zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// Percent of the rules that a version may lose; 100 and more: all of them.
    pub max_loss: u8,
    /// Names that no new rule may cover.
    pub guarded: Vec<Guarded>,
    /// Hosts of the relay's own upstreams and sources.
    pub own_hosts: Vec<Name>,
}

/// What the gate says of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why it must not take effect by itself; empty: it may.
    pub held: Vec<Reason>,
    /// What the operator should know; it takes effect all the same.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// True if the version is held, and for nothing but its loss of rules.
    pub fn is_loss_only(&self) -> bool {
        let loss = |reason: &Reason| matches!(reason, Reason::Loss { .. });
        !self.held.is_empty() && self.held.iter().all(loss)
    }
}

/// Why a version is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It loses too many rules.
    Loss {
        /// Rules of the version before.
        from: usize,
        /// Rules of the new one.
        to: usize,
        /// The setting, in percent.
        max_loss: u8,
    },
    /// A rule covers every name.
    Everything {
        /// The rule's owner without the zone's name.
        rule: String,
    },
    /// A rule covers a guarded name.
    Guarded {
        /// The rule's owner without the zone's name.
        rule: String,
        /// The name.
        name: String,
        /// Who guards it.
        why: String,
        /// Further guarded names that it covers.
        more: usize,
    },
    /// So many more rules cover guarded names.
    More(usize),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Loss { from, to, max_loss } => {
                let lost = from.saturating_sub(*to);
                write!(
                    f,
                    "it loses {} of {} rules ({} %), and max_loss is {max_loss} %",
                    Number(lost),
                    Number(*from),
                    percent(lost, *from)
                )
            }
            Reason::Everything { rule } => write!(f, "its rule {rule} covers every name there is"),
            Reason::Guarded { rule, name, why, more } => {
                write!(f, "its rule {rule} covers {name}")?;
                match more {
                    0 => {}
                    1 => f.write_str(" and 1 more guarded name")?,
                    more => write!(f, " and {} more guarded names", Number(*more))?,
                }
                write!(f, " ({why})")
            }
            Reason::More(more) => {
                write!(f, "{} more of its rules cover guarded names", Number(*more))
            }
        }
    }
}

/// What a rule with a certain owner covers.
#[derive(Default)]
struct Covered<'g> {
    guarded: Vec<&'g Guarded>,
    own_hosts: Vec<&'g Name>,
}

/// Trigger names that need a look, in wire form.
type Table<'g> = HashMap<Box<[u8]>, Covered<'g>, foldhash::fast::RandomState>;

/// Rules of one version that need a look. Of rules with one owner the first counts.
#[derive(Default)]
struct Findings<'t> {
    /// By owner: the rule acts. In order, so that messages are the same in every run.
    listed: BTreeMap<&'t [u8], bool>,
    /// NSDNAME rules over everything: the first acts.
    servers: Option<bool>,
    /// Rules over top-level names that act: the first of them, and how many there are.
    top_level: Vec<Box<[u8]>>,
    top_levels: usize,
}

impl Gate {
    /// Judges a version against the one in force, if there is one. Zones that are small before
    /// and after are not judged at all. Walks through all rules of both at most once; a million
    /// take a few dozen milliseconds.
    pub fn judge(
        &self,
        old: Option<&ZoneRules>,
        new: &ZoneRules,
        settings: &ZoneSettings,
    ) -> Judgement {
        let mut judgement = Judgement::default();
        let before = old.map_or(0, ZoneRules::len);
        if before.max(new.len()) <= limits::GATE_FROM {
            return judgement;
        }
        judgement.held.extend(self.loss(before, new.len()));
        if before > 0 && new.len() > before.saturating_mul(2) {
            judgement.warnings.push(format!(
                "it grows from {} to {} rules",
                Number(before),
                Number(new.len())
            ));
        }
        let table = self.table();
        let found = Findings::of(&table, new, settings);
        if !found.is_empty() {
            let known = old.map(|old| Findings::of(&table, old, settings)).unwrap_or_default();
            found.tell(&table, &known, &mut judgement);
        }
        judgement
    }

    fn loss(&self, from: usize, to: usize) -> Option<Reason> {
        let lost = from.saturating_sub(to) as u128;
        let too_many = lost * 100 > from as u128 * u128::from(self.max_loss);
        too_many.then_some(Reason::Loss { from, to, max_loss: self.max_loss })
    }

    /// All owners whose rules cover a name that matters: the name itself, `*` under it, and `*`
    /// under each of its ancestors but the root, which has a reason of its own.
    fn table(&self) -> Table<'_> {
        let mut table = Table::default();
        for guarded in &self.guarded {
            for owner in covering(&guarded.name) {
                table.entry(owner).or_default().guarded.push(guarded);
            }
        }
        for host in &self.own_hosts {
            for owner in covering(host) {
                table.entry(owner).or_default().own_hosts.push(host);
            }
        }
        table.entry(ALL.into()).or_default();
        table
    }
}

/// Owners of rules that cover a name, or all that is below it.
fn covering(name: &Name) -> Vec<Box<[u8]>> {
    let mut owners = vec![Box::from(name.as_wire())];
    let mut parent = *name;
    while !parent.is_root() {
        owners.push([b"\x01*", parent.as_wire()].concat().into());
        parent = parent.parent();
    }
    owners
}

impl<'t> Findings<'t> {
    /// What one walk over a version's rules finds.
    fn of(table: &'t Table<'_>, rules: &ZoneRules, settings: &ZoneSettings) -> Findings<'t> {
        let mut found = Findings::default();
        for (owner, code) in rules.names.iter() {
            if let Some((owner, _)) = table.get_key_value(owner) {
                let acts = || acts(rules, settings, owner, code);
                found.listed.entry(owner).or_insert_with(acts);
            }
            if is_top_level(owner) && acts(rules, settings, owner, code) {
                found.top_levels += 1;
                if found.top_level.len() < limits::GATE_TOP_LEVEL {
                    found.top_level.push(owner.into());
                }
            }
        }
        for (owner, code) in rules.nsdnames.iter().filter(|(owner, _)| *owner == ALL) {
            found.servers.get_or_insert_with(|| acts(rules, settings, owner, code));
        }
        found
    }

    fn is_empty(&self) -> bool {
        self.listed.is_empty() && self.servers.is_none() && self.top_levels == 0
    }

    /// Tells what was not so before.
    fn tell(&self, table: &Table<'_>, known: &Findings<'_>, judgement: &mut Judgement) {
        let is_new = |owner: &[u8]| known.listed.get(owner) != Some(&true);
        let new = self.listed.iter().filter(|(owner, acts)| **acts && is_new(owner));
        let (mut guarded, mut hosts) = (Vec::new(), Vec::new());
        for (owner, _) in new {
            let rule = text(owner);
            if **owner == *ALL {
                judgement.held.push(Reason::Everything { rule });
                continue;
            }
            let Some(covered) = table.get(*owner) else { continue };
            if let [first, more @ ..] = &covered.guarded[..] {
                let (name, why) = (first.name.to_string(), first.why.clone());
                guarded.push(Reason::Guarded { rule: rule.clone(), name, why, more: more.len() });
            }
            if let Some(host) = covered.own_hosts.first() {
                hosts.push(format!("its rule {rule} covers {host}, which this relay itself asks"));
            }
        }
        if self.servers == Some(true) && known.servers != Some(true) {
            let rule = text(ALL) + spelling::suffix(TriggerKind::Nsdname);
            judgement.held.push(Reason::Everything { rule });
        }
        let more = guarded.len().saturating_sub(limits::GATE_NAMED);
        guarded.truncate(limits::GATE_NAMED);
        judgement.held.append(&mut guarded);
        if more > 0 {
            judgement.held.push(Reason::More(more));
        }
        hosts.truncate(limits::GATE_NAMED);
        judgement.warnings.append(&mut hosts);
        judgement.warnings.extend(self.new_top_levels(known));
    }

    /// Rules over top-level names, if there are some that were not there before.
    fn new_top_levels(&self, known: &Findings<'_>) -> Option<String> {
        let old: HashSet<&[u8]> = known.top_level.iter().map(|owner| &**owner).collect();
        let mut new = self.top_level.iter().filter(|owner| !old.contains(&***owner)).peekable();
        new.peek()?;
        let named: Vec<String> = new.take(limits::GATE_NAMED).map(|owner| text(owner)).collect();
        let (all, named) = (Number(self.top_levels), named.join(", "));
        Some(format!("it has {all} rules over top-level names, new ones among them: {named}"))
    }
}

/// A single label, or `*` under one.
fn is_top_level(owner: &[u8]) -> bool {
    let single = |wire: &[u8]| match wire.first() {
        Some(&len @ 1..) => wire.len() == usize::from(len) + 2,
        _ => false,
    };
    match owner.strip_prefix(b"\x01*") {
        Some(parent) => single(parent),
        None => single(owner),
    }
}

/// The rule changes an answer: it is no passthru, its zone's override included.
fn acts(rules: &ZoneRules, settings: &ZoneSettings, owner: &[u8], code: ActionCode) -> bool {
    // an alias to the very owner lets that name through
    let name = Name::from_wire(owner).ok();
    settings.effective(&rules.data, code.as_u32(), name.as_ref()) != Action::Passthru
}

fn text(owner: &[u8]) -> String {
    let mut text = String::new();
    // a string takes all that is written
    let _ = write_wire(owner, &mut text);
    text
}

fn percent(part: usize, whole: usize) -> u128 {
    part as u128 * 100 / (whole.max(1) as u128)
}

/// A number with commas between thousands.
struct Number(usize);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
