//! What is odd about a zone that can be loaded: rules that are void, that hide others, that add
//! nothing.
//!
//! ```text
//!   names, nsdnames ──> audit_names: one sorted walk through the tree ─┐
//!   prefixes ─────────> one sorted walk through nested prefixes ───────┼─> Audit
//!   skipped, counts, SOA ──────────────────────────────────────────────┘
//! ```
//!
//! Time is that of a sort. Memory for the while is about that of the rules once more.

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::IpNet;
use serde::Serialize;

use crate::dns::name::Name;
use crate::limits;
use crate::policy::action::{Action, ActionCode};
use crate::policy::rules::ZoneRules;
use crate::policy::trigger::TriggerKind;
use crate::rpz::find::{Wanted, Written, find_rules};
use crate::rpz::owner::Trigger;
use crate::rpz::{Form, Limits, ZoneError, audit_names};

/// Findings of one kind: all are counted, the first are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Findings<T> {
    /// How many there are.
    pub total: u64,
    /// The first of them, at most [`limits::AUDIT_EXAMPLES`].
    pub first: Vec<T>,
}

impl<T> Default for Findings<T> {
    fn default() -> Findings<T> {
        Findings { total: 0, first: Vec::new() }
    }
}

impl<T> Findings<T> {
    /// Counts one; `example` is called only if there is room for it.
    pub(super) fn note(&mut self, example: impl FnOnce() -> T) {
        self.total += 1;
        if self.first.len() < limits::AUDIT_EXAMPLES {
            self.first.push(example());
        }
    }

    /// True if nothing was found.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

/// All that is to be said about a zone. Owners are relative to the zone, with `rpz-` suffix.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The zone's name.
    pub zone: String,
    /// Serial of its SOA.
    pub serial: u32,
    /// Rules, void ones too.
    pub rules: u64,
    /// Rules by trigger; triggers without rules are left out.
    pub by_trigger: BTreeMap<&'static str, u64>,
    /// Rules by action; actions without rules are left out.
    pub by_action: BTreeMap<&'static str, u64>,
    /// Records that became no rule although they should.
    pub skipped: Findings<SkippedAt>,
    /// Records that are no rules by their nature.
    pub unused: u64,
    /// Rules that are void because of an earlier one with another action at the same trigger.
    pub conflicts: Findings<Double>,
    /// Rules that are void because of an earlier one that does the same.
    pub duplicates: Findings<Double>,
    /// Names that a wildcard does not cover because some rule stands below them.
    pub hidden: Findings<Hidden>,
    /// Exact rules below a wildcard: names below theirs have no rule.
    pub bare: Findings<Bare>,
    /// Rules that could be left out.
    pub redundant: Findings<Redundant>,
}

/// A record that became no rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SkippedAt {
    /// The file, if the zone's own file includes it.
    pub file: Option<String>,
    /// Line from 1.
    pub line: u32,
    /// Its owner, or its text in a list; printable ASCII.
    pub owner: String,
    /// What is wrong.
    pub reason: String,
}

/// A second rule at one trigger; the first counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Double {
    /// The kind of trigger.
    pub trigger: TriggerKind,
    /// The owner of both.
    pub owner: String,
    /// What the first does.
    pub in_force: Action,
    /// What the later one would do.
    pub void: Action,
    /// All records at the trigger; empty before [`Audit::locate`].
    pub written: Vec<Written>,
    /// The trigger, to look for.
    #[serde(skip)]
    pub wanted: Wanted,
}

/// An empty non-terminal (RFC 4592 section 2.2.2): a name without a rule that exists because
/// of a rule below it, so that wildcards above cover neither it nor what else is below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hidden {
    /// The kind of trigger.
    pub trigger: TriggerKind,
    /// The name that is not covered.
    pub name: String,
    /// The wildcard that does not cover it.
    pub wildcard: String,
    /// A rule that makes the name exist.
    pub because: String,
}

/// A name with a rule, but without one for the names below it, which a wildcard above does not
/// cover (RFC 4592 section 3.3.1: the closest encloser is the name itself).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bare {
    /// The kind of trigger.
    pub trigger: TriggerKind,
    /// The owner of the rule.
    pub name: String,
    /// The wildcard that does not cover the names below.
    pub wildcard: String,
}

/// A rule that could be left out, together with the other redundant ones: a wider rule does the
/// same. (With IP and NSIP triggers the longer prefix still outranks others between that match
/// another address of the same answer.)
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Redundant {
    /// The kind of trigger.
    pub trigger: TriggerKind,
    /// The owner of the rule.
    pub owner: String,
    /// The owner of the wider rule.
    pub covered_by: String,
    /// What both do.
    pub action: Action,
}

/// Looks through a zone. A million rules take about a second.
pub fn audit(rules: &ZoneRules) -> Audit {
    let count = |(name, rules): (&'static str, u64)| (rules > 0).then_some((name, rules));
    let kinds = TriggerKind::ALL.map(|kind| (kind.as_str(), rules.counts.by_trigger(kind)));
    let actions = [
        Action::Nxdomain,
        Action::Nodata,
        Action::Passthru,
        Action::Drop,
        Action::TcpOnly,
        Action::Data(0),
    ];
    let actions = actions.map(|action| (action.as_str(), rules.counts.by_action(action)));
    let skipped = rules.skipped.first.iter().take(limits::AUDIT_EXAMPLES);
    let skipped = skipped.map(|record| SkippedAt {
        file: record.file.as_ref().map(ToString::to_string),
        line: record.line,
        owner: record.owner.clone(),
        reason: record.reason.to_string(),
    });
    let mut audit = Audit {
        zone: rules.origin.to_string(),
        serial: rules.soa.serial,
        rules: rules.len() as u64,
        by_trigger: kinds.into_iter().filter_map(count).collect(),
        by_action: actions.into_iter().filter_map(count).collect(),
        skipped: Findings { total: rules.skipped.total, first: skipped.collect() },
        unused: rules.skipped.unused,
        conflicts: Findings::default(),
        duplicates: Findings::default(),
        hidden: Findings::default(),
        bare: Findings::default(),
        redundant: Findings::default(),
    };
    audit_names::walk(TriggerKind::Qname, rules, &mut audit);
    audit_names::walk(TriggerKind::Nsdname, rules, &mut audit);
    prefixes(&rules.prefixes, &mut audit);
    audit
}

impl Audit {
    /// True if no record was skipped and no rule contradicts another.
    pub fn is_clean(&self) -> bool {
        self.skipped.is_empty() && self.conflicts.is_empty()
    }

    /// Fills in where the conflicts and duplicates stand that were kept, by one more pass through
    /// the file that was audited. Blocks.
    pub fn locate(&mut self, path: &Path, form: Form, limits: &Limits) -> Result<(), ZoneError> {
        let doubles = || self.conflicts.first.iter().chain(&self.duplicates.first);
        let wanted: Vec<Wanted> = doubles().map(|double| double.wanted.clone()).collect();
        let Ok(origin) = self.zone.parse::<Name>() else { return Ok(()) };
        if wanted.is_empty() {
            return Ok(());
        }
        let found = find_rules(path, &origin, form, limits, &wanted)?;
        let doubles = self.conflicts.first.iter_mut().chain(&mut self.duplicates.first);
        for (double, written) in doubles.zip(found) {
            double.written = written;
        }
        Ok(())
    }

    /// Notes a rule at a trigger that has one already.
    pub(super) fn double(&mut self, trigger: Trigger<'_>, in_force: ActionCode, void: ActionCode) {
        let list = if in_force == void { &mut self.duplicates } else { &mut self.conflicts };
        list.note(|| Double {
            trigger: trigger.kind(),
            owner: trigger.owner_text(),
            in_force: in_force.action(),
            void: void.action(),
            written: Vec::new(),
            wanted: match trigger {
                Trigger::Prefix(kind, net) => Wanted::Prefix(kind, net),
                Trigger::Name(kind, labels) => {
                    let name = Name::from_wire(&[labels, &[0]].concat());
                    Wanted::Name(kind, name.unwrap_or(Name::ROOT))
                }
            },
        });
    }
}

/// Looks through the rules on addresses.
fn prefixes(rules: &[(TriggerKind, IpNet, ActionCode)], audit: &mut Audit) {
    let mut sorted: Vec<(TriggerKind, IpNet, usize)> =
        rules.iter().enumerate().map(|(place, (kind, net, _))| (*kind, *net, place)).collect();
    // a wider prefix comes before those inside it, and an earlier rule before a later one
    sorted.sort_unstable_by_key(|(kind, net, place)| (*kind, net.addr(), net.prefix_len(), *place));
    let mut around: Vec<(TriggerKind, IpNet, ActionCode)> = Vec::new();
    for (kind, net, place) in sorted {
        let code = rules[place].2;
        while around.last().is_some_and(|(k, wider, _)| *k != kind || !wider.contains(&net)) {
            around.pop();
        }
        match around.last() {
            Some((_, same, first)) if *same == net => {
                audit.double(Trigger::Prefix(kind, net), *first, code);
                continue;
            }
            Some((_, wider, other)) if *other == code => audit.redundant.note(|| Redundant {
                trigger: kind,
                owner: Trigger::Prefix(kind, net).owner_text(),
                covered_by: Trigger::Prefix(kind, *wider).owner_text(),
                action: code.action(),
            }),
            _ => {}
        }
        around.push((kind, net, code));
    }
}
