//! The rules on names, walked through as the tree that RFC 4592 sees in them.
//!
//! A name's key is its labels from the right, each behind its length; the `*` in front of a
//! wildcard is a label of length 0. So keys sorted as octets are the tree in order: a name, its
//! wildcard, then what is below it.
//!
//! ```text
//!   example        7example              rule      ─┐ on the stack while names
//!   *.example      7example 0            rule       │ below them come
//!   y.example      7example 1y           no rule   ─┤ hidden from *.example
//!   x.y.example    7example 1y 1x        rule      ─┘
//! ```

use crate::dns::name::MAX_LABELS;
use crate::policy::action::ActionCode;
use crate::policy::rules::ZoneRules;
use crate::policy::trigger::TriggerKind;
use crate::rpz::audit::{Audit, Bare, Hidden, Redundant};
use crate::rpz::owner::Trigger;

/// A rule, its name being an octet range of all keys.
#[derive(Clone, Copy)]
struct Rule {
    start: usize,
    len: u8,
    place: u32,
    code: ActionCode,
}

/// A name that exists, while what is below it is walked through.
struct Node {
    /// Octets of the key that are this name.
    end: usize,
    /// What the rule of the name itself does.
    exact: Option<ActionCode>,
    /// What the wildcard directly below it does.
    wildcard: Option<ActionCode>,
    /// Octets of the key that are the nearest name above with a wildcard, if no rule stands
    /// between.
    above: Option<usize>,
    /// The first rule at or below the name.
    first: usize,
    /// What all rules at and below the name do, if it is one thing.
    same: Option<ActionCode>,
}

/// Rules at and below one name that a wildcard makes redundant.
struct Surplus {
    rules: std::ops::Range<usize>,
    /// Octets of their keys that are the name with the wildcard.
    above: usize,
}

struct Walk<'a> {
    kind: TriggerKind,
    keys: &'a [u8],
    /// Sorted, one for each name.
    rules: Vec<Rule>,
    /// The path to the name at hand; the first is the root.
    stack: Vec<Node>,
    surplus: Vec<Surplus>,
    audit: &'a mut Audit,
}

/// Looks through the rules of one kind.
pub(super) fn walk(kind: TriggerKind, zone: &ZoneRules, audit: &mut Audit) {
    let octets = zone.by_name(kind).map(|(wire, _)| wire.len()).sum();
    let mut keys = Vec::with_capacity(octets);
    let mut rules = Vec::new();
    for (place, (wire, code)) in zone.by_name(kind).enumerate() {
        let start = keys.len();
        push_key(wire, &mut keys);
        let len = (keys.len() - start) as u8; // a name has at most 255 octets
        rules.push(Rule { start, len, place: place as u32, code });
    }
    let key = |rule: &Rule| &keys[rule.start..rule.start + rule.len as usize];
    rules.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.place.cmp(&b.place)));
    rules.dedup_by(|later, first| {
        let same = key(later) == key(first);
        if same {
            audit.double(Trigger::Name(kind, &labels(key(first))), first.code, later.code);
        }
        same
    });
    let root = Node { end: 0, exact: None, wildcard: None, above: None, first: 0, same: None };
    let stack = vec![root];
    Walk { kind, keys: &keys, rules, stack, surplus: Vec::new(), audit }.run();
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        let mut before: &[u8] = &[];
        for at in 0..self.rules.len() {
            let key = self.key(at);
            let (name, is_wildcard) = match key.strip_suffix(&[0]) {
                Some(name) => (name, true),
                None => (key, false),
            };
            let shared = before.iter().zip(name).take_while(|(a, b)| a == b).count();
            while self.stack.last().is_some_and(|node| node.end > shared) {
                self.leave(at);
            }
            self.enter(at, name, is_wildcard);
            before = name;
        }
        while self.stack.len() > 1 {
            self.leave(self.rules.len());
        }
        self.tell_surplus();
    }

    fn key(&self, at: usize) -> &'a [u8] {
        let rule = &self.rules[at];
        &self.keys[rule.start..rule.start + rule.len as usize]
    }

    /// Puts the names on the stack that a rule's owner adds to it.
    fn enter(&mut self, at: usize, name: &[u8], is_wildcard: bool) {
        let (code, key) = (self.rules[at].code, self.key(at));
        let mut end = self.stack.last().map_or(0, |node| node.end);
        while end < name.len() {
            let label = end;
            end += name[label] as usize + 1;
            let above = self.stack.last().and_then(|parent| match parent.wildcard {
                Some(_) => Some(parent.end),
                // that rule is told itself; below it nothing else stands in a wildcard's way
                None if parent.exact.is_some() => None,
                None => parent.above,
            });
            let exact = (end == name.len() && !is_wildcard).then_some(code);
            // a name's own rule sorts before all below it: without one now, it has none
            if let (None, Some(above)) = (exact, above)
                && !is_star(&name[label..end])
            {
                self.audit.hidden.note(|| Hidden {
                    trigger: self.kind,
                    name: owner(self.kind, &name[..end]),
                    wildcard: wildcard(self.kind, &name[..above]),
                    because: owner(self.kind, key),
                });
            }
            self.stack.push(Node {
                end,
                exact,
                wildcard: None,
                above,
                first: at,
                same: Some(code),
            });
        }
        if is_wildcard && let Some(node) = self.stack.last_mut() {
            node.wildcard = Some(code);
            node.same = node.same.filter(|same| *same == code);
        }
    }

    /// Takes the last name from the stack; `at` is the first rule that is not below it.
    fn leave(&mut self, at: usize) {
        let Some(node) = self.stack.pop() else { return };
        let Some(parent) = self.stack.last_mut() else { return };
        let key = &self.keys[self.rules[node.first].start..][..node.end];
        // without all its rules the name would not exist, and the wildcard would cover it; below
        // a `*` that is taken literally the wildcard's own name stays in the way
        if parent.wildcard.is_some() && parent.wildcard == node.same && !is_star(&key[parent.end..])
        {
            while self.surplus.last().is_some_and(|inner| inner.rules.start >= node.first) {
                self.surplus.pop();
            }
            self.surplus.push(Surplus { rules: node.first..at, above: parent.end });
        }
        parent.same = parent.same.filter(|same| Some(*same) == node.same);
        if let (Some(_), None, Some(above)) = (node.exact, node.wildcard, node.above) {
            self.audit.bare.note(|| Bare {
                trigger: self.kind,
                name: owner(self.kind, key),
                wildcard: wildcard(self.kind, &key[..above]),
            });
        }
    }

    fn tell_surplus(&mut self) {
        for Surplus { rules, above } in std::mem::take(&mut self.surplus) {
            for at in rules {
                let key = self.key(at);
                self.audit.redundant.note(|| Redundant {
                    trigger: self.kind,
                    owner: owner(self.kind, key),
                    covered_by: wildcard(self.kind, &key[..above]),
                    action: self.rules[at].code.action(),
                });
            }
        }
    }
}

/// True for the part of a key that is a `*` inside a name.
fn is_star(part: &[u8]) -> bool {
    part == b"\x01*"
}

/// Appends the key of a wire name.
fn push_key(wire: &[u8], keys: &mut Vec<u8>) {
    let mut starts = [0_u8; MAX_LABELS];
    let (mut count, mut at) = (0, 0);
    while let Some(&len @ 1..) = wire.get(at)
        && let Some(start) = starts.get_mut(count)
    {
        *start = at as u8; // a name has at most 255 octets
        count += 1;
        at += len as usize + 1;
    }
    let mut end = at;
    for &start in starts[..count].iter().rev() {
        let label = &wire[usize::from(start)..end];
        end = start.into();
        if end == 0 && is_star(label) {
            keys.push(0);
        } else {
            keys.extend_from_slice(label);
        }
    }
}

/// The labels of a key in their usual order, without root label.
fn labels(key: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = key;
    while let Some(&len) = rest.first() {
        let (part, behind) = rest.split_at(rest.len().min(len as usize + 1));
        parts.push(if len == 0 { b"\x01*" } else { part });
        rest = behind;
    }
    parts.reverse();
    parts.concat()
}

/// The owner of a rule with this key.
fn owner(kind: TriggerKind, key: &[u8]) -> String {
    Trigger::Name(kind, &labels(key)).owner_text()
}

/// The owner of the wildcard directly below a name.
fn wildcard(kind: TriggerKind, key: &[u8]) -> String {
    owner(kind, &[key, &[0]].concat())
}
