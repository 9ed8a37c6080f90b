//! A list means what it says: a name stands for all names below it, whatever else is listed.
//!
//! In a policy zone it would not: there a longer rule makes the names above it exist, and a name
//! that exists stops the wildcard over it (RFC 4592 section 3.3.1). With `bad.example` and
//! `a.b.bad.example` as rules, `b.bad.example` would pass. So entries that another one covers
//! with the same action are left out, and where one with an action of its own stays, the names
//! between get the rules of what covers them.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::policy::action::ActionCode;
use crate::policy::rules::{NameRules, RuleArena, ZoneRules};
use crate::policy::trigger::TriggerKind;

/// A wildcard label in front of a wire name.
const STAR: &[u8] = b"\x01*";

type Codes<'a> = HashMap<&'a [u8], ActionCode, RandomState>;

/// The entries of a list: what is said of a name, and of the names below it.
struct Entries<'a> {
    exact: Codes<'a>,
    below: Codes<'a>,
}

/// Rules that may be added for each entry of a list, and for a list however short. Real lists
/// need next to none; a hostile one could have 250 of 255 octets made of each line.
const ADDED: (usize, usize) = (8, 1_000);

/// Makes every name of a list stand for the names below it. Gives the number of entries that
/// were left out because another one covers them. `Err`: that takes more rules than
/// `max_rules`, or than such a list is worth, and `rules` are of no use any more.
pub(super) fn close(rules: &mut ZoneRules, max_rules: usize) -> Result<u64, String> {
    let names = std::mem::take(&mut rules.names);
    let entries = Entries::of(&names);
    if entries.below.is_empty() {
        rules.names = names;
        return Ok(0);
    }
    let most = ADDED.0.saturating_mul(names.len()).saturating_add(ADDED.1);
    let most = most.min(max_rules.saturating_sub(names.len()));
    let mut closed = Closed::default();
    if !entries.needed(&mut closed, most) {
        return Err(format!(
            "names with an address of their own stand so far below others that more than {most} \
             rules were needed for the names between; set subdomains = false or shorten the list"
        ));
    }
    let mut left_out = 0;
    for (owner, code) in names.iter() {
        let name = owner.strip_prefix(STAR).unwrap_or(owner);
        if entries.is_covered(name) && !closed.kept.contains(name) {
            left_out += 1;
            rules.counts.take_back(TriggerKind::Qname, code.action());
        } else {
            closed.names.push(&owner[..owner.len() - 1], code);
        }
    }
    for (owner, code) in closed.between {
        closed.names.push(&owner[..owner.len() - 1], code);
        rules.counts.note(TriggerKind::Qname, code.action());
    }
    rules.names = closed.names.into();
    Ok(left_out)
}

/// What becomes of a list.
#[derive(Default)]
struct Closed<'a> {
    names: RuleArena,
    /// Entries that are covered and stay all the same, as something stands below them.
    kept: HashSet<&'a [u8], RandomState>,
    /// Names above entries, and all names above those, that have been looked at.
    seen: HashSet<&'a [u8], RandomState>,
    /// Rules for names between an entry that stays and the one that covers it.
    between: HashMap<Vec<u8>, ActionCode, RandomState>,
}

impl<'a> Entries<'a> {
    fn of(names: &'a NameRules) -> Entries<'a> {
        let mut entries = Entries { exact: Codes::default(), below: Codes::default() };
        for (owner, code) in names.iter() {
            // of two entries for one name the first counts, as in the matcher
            match owner.strip_prefix(STAR) {
                Some(name) => entries.below.entry(name).or_insert(code),
                None => entries.exact.entry(owner).or_insert(code),
            };
        }
        entries
    }

    /// What the nearest entry above says of a name.
    fn cover(&self, name: &[u8]) -> Option<ActionCode> {
        ancestors(name).find_map(|above| self.below.get(above).copied())
    }

    /// All that is said of a name is said by an entry above it too.
    fn is_covered(&self, name: &[u8]) -> bool {
        self.cover(name).is_some_and(|code| {
            let same = |codes: &Codes| codes.get(name).is_none_or(|own| *own == code);
            same(&self.exact) && same(&self.below)
        })
    }

    /// What it takes so that entries with an action of their own stop nothing. False: that is
    /// more than `most` rules.
    fn needed(&self, closed: &mut Closed<'a>, most: usize) -> bool {
        for &name in self.exact.keys().chain(self.below.keys()) {
            let Some(code) = self.cover(name) else { continue };
            if self.is_covered(name) {
                continue;
            }
            self.fill(name, code, closed);
            for above in ancestors(name) {
                if !closed.seen.insert(above) {
                    break;
                }
                let Some(code) = self.cover(above) else { continue };
                if self.exact.contains_key(above) || self.below.contains_key(above) {
                    closed.kept.insert(above);
                }
                self.fill(above, code, closed);
            }
            if closed.between.len() > most {
                return false;
            }
        }
        true
    }

    /// What is not said of a name itself, or of those below it, is said by what covers it.
    fn fill(&self, name: &'a [u8], code: ActionCode, closed: &mut Closed<'a>) {
        if !self.exact.contains_key(name) {
            closed.between.insert(name.to_vec(), code);
        }
        if !self.below.contains_key(name) {
            closed.between.insert([STAR, name].concat(), code);
        }
    }
}

/// The names above a wire name, nearest first, without the root.
fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(parent(name), |above| parent(above))
}

/// The name without its first label; `None` for names directly under the root.
fn parent(name: &[u8]) -> Option<&[u8]> {
    let rest = name.get(usize::from(*name.first()?) + 1..)?;
    (rest.len() > 1).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;
    use crate::policy::names::NameTable;
    use crate::policy::names::NameWriter;

    fn code(n: u32) -> ActionCode {
        ActionCode::from_u32(n)
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn closed(list: &[(String, u32)]) -> (ZoneRules, u64) {
        let mut rules = ZoneRules::none(name("list.test"));
        let mut names = RuleArena::default();
        for (owner, code) in list {
            let owner = name(owner);
            let code = ActionCode::from_u32(*code);
            names.push(&owner.as_wire()[..owner.len() - 1], code);
            rules.counts.note(TriggerKind::Qname, code.action());
        }
        rules.names = names.into();
        let left_out = close(&mut rules, 20_000).unwrap();
        (rules, left_out)
    }

    fn table(rules: &ZoneRules) -> NameTable {
        let all = rules.names.iter().map(|(owner, code)| (0, owner, code.as_u32()));
        NameWriter::freeze(all, 0, &mut |_, _| panic!("no rule is there twice"))
    }

    /// What a list says of a name: its own entry, or the nearest one above that reaches down.
    fn meant(list: &[(String, u32)], asked: &str) -> Option<u32> {
        let said = |owner: &str| list.iter().find(|(o, _)| o == owner).map(|(_, code)| *code);
        let above = |at: usize| said(&format!("*.{}", &asked[at + 1..]));
        said(asked).or_else(|| asked.match_indices('.').find_map(|(at, _)| above(at)))
    }

    #[test]
    fn a_longer_entry_opens_no_hole() {
        let list: Vec<_> = ["bad.example", "*.bad.example", "a.b.bad.example", "*.a.b.bad.example"]
            .map(|owner| (owner.to_owned(), 0))
            .into();
        let (rules, left_out) = closed(&list);
        assert_eq!((rules.len(), left_out, rules.counts.total()), (2, 2, 2));
        let found = table(&rules).find(&name("b.bad.example")).rule(0).map(|r| r.action);
        assert_eq!(found, Some(0));
    }

    #[test]
    fn a_list_does_not_grow_into_much_more_than_itself() {
        let mut rules = ZoneRules::none(name("list.test"));
        let mut names = RuleArena::default();
        names.push(name("*.a").as_wire().strip_suffix(b"\0").unwrap(), code(0));
        for n in 1..=2000_u32 {
            let labels: String = (0..100).map(|at| format!("{}.", n >> (at % 12) & 1)).collect();
            let deep = name(&format!("n{n}.{labels}a"));
            names.push(&deep.as_wire()[..deep.len() - 1], code(n));
        }
        rules.names = names.into();
        let fault = close(&mut rules, 20_000_000).unwrap_err();
        assert!(fault.contains("more than 17008 rules"), "{fault}");
    }

    #[test]
    fn random_lists_mean_what_they_say() {
        let mut rng = fastrand::Rng::with_seed(11);
        let mut draw = |deepest| {
            let labels = 1 + rng.usize(0..deepest);
            let labels: Vec<_> = (0..labels).map(|_| ["a", "b", "c"][rng.usize(0..3)]).collect();
            (labels.join("."), rng.u32(0..20))
        };
        for _ in 0..400 {
            let mut list: Vec<(String, u32)> = Vec::new();
            for _ in 0..12 {
                let (owner, dice) = draw(5);
                // mostly one action, as in real lists; some entries reach down, some do not
                let code = if dice < 15 { 0 } else { dice };
                let mut add = |owner: String| {
                    if list.iter().all(|(o, _)| *o != owner) {
                        list.push((owner, code));
                    }
                };
                if dice % 5 > 0 {
                    add(format!("*.{owner}"));
                }
                if dice % 7 > 0 {
                    add(owner);
                }
            }
            let (rules, _) = closed(&list);
            assert_eq!(rules.counts.total() as usize, rules.len());
            let table = table(&rules);
            for _ in 0..60 {
                let (asked, _) = draw(7);
                let got = table.find(&name(&asked)).rule(0).map(|rule| rule.action);
                assert_eq!(got, meant(&list, &asked), "{asked} of {list:?}");
            }
        }
    }
}
