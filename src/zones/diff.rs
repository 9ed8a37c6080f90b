//! What tells two versions of a zone's rules apart.
//!
//! ```text
//!   old rules ─► a mark each: trigger, meaning, place ─┐ sorted, side by side ─► counts, and the
//!   new rules ─► a mark each: trigger, meaning, place ─┘                places of the first ones
//!   the rules once more, as far as those places ─► the same in words
//! ```
//!
//! A mark takes 16 octets, so that a difference costs little beside the rules themselves.

use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use ipnet::IpNet;
use serde::Serialize;

use crate::dns::name::write_wire;
use crate::limits;
use crate::policy::action::{Action, ActionCode, LocalRecord};
use crate::policy::rules::ZoneRules;
use crate::policy::spelling;
use crate::policy::trigger::TriggerKind;
use crate::rpz;

/// What tells two versions of a zone apart. Of several rules at one trigger the first counts, as
/// it does for queries; the order of records in local data does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The zone's name.
    pub zone: String,
    /// Serial of the old version.
    pub old_serial: u32,
    /// Serial of the new version.
    pub new_serial: u32,
    /// Rules of the old version.
    pub old_rules: u64,
    /// Rules of the new version.
    pub new_rules: u64,
    /// Triggers that only the new version has.
    pub added: u64,
    /// Triggers that only the old version has.
    pub removed: u64,
    /// Triggers of both, with another action or other data.
    pub changed: u64,
    /// The first of `added`, at most [`limits::DIFF_EXAMPLES`]: the owner as it is written, and
    /// what it does, as in `bad.example NXDOMAIN`. Printable ASCII.
    pub first_added: Vec<String>,
    /// The first of `removed`, in the same form.
    pub first_removed: Vec<String>,
    /// The first of `changed`, as in `bad.example NXDOMAIN -> PASSTHRU`.
    pub first_changed: Vec<String>,
}

impl Difference {
    /// Compares two versions of one zone. Takes about the time of sorting the rules of both: not
    /// for a serving thread.
    pub fn between(old: &ZoneRules, new: &ZoneRules) -> Difference {
        let mut out = Difference {
            zone: new.origin.to_string(),
            old_serial: old.soa.serial,
            new_serial: new.soa.serial,
            old_rules: old.len() as u64,
            new_rules: new.len() as u64,
            ..Difference::default()
        };
        let hasher = RandomState::default();
        let same = same_buckets(old, new);
        let same = same.as_deref();
        let (old_marks, new_marks) = (marks(old, same, &hasher), marks(new, same, &hasher));
        let (mut added, mut removed) = (First::default(), First::default());
        let mut changed = First::default();
        side_by_side(&old_marks, &new_marks, |pair| match pair {
            (Some(a), Some(b)) if a.meaning == b.meaning => {}
            (Some(a), Some(b)) => changed.note(a.place, b.place),
            (Some(a), None) => removed.note(a.place, a.place),
            (None, Some(b)) => added.note(b.place, b.place),
            (None, None) => {}
        });
        drop((old_marks, new_marks));
        (out.added, out.removed, out.changed) = (added.total, removed.total, changed.total);
        let places = [added, removed, changed].map(First::places);
        out.tell((old, new), same, places);
        out
    }

    /// True if both versions do the same.
    pub fn is_empty(&self) -> bool {
        self.added == 0 && self.removed == 0 && self.changed == 0
    }

    /// Puts the first ones into words, by their places in the old and the new version.
    fn tell(
        &mut self,
        (old, new): (&ZoneRules, &ZoneRules),
        same: Option<&[bool]>,
        [added, removed, changed]: [Vec<(u32, u32)>; 3],
    ) {
        let of_old = removed.iter().chain(&changed).map(|(place, _)| *place);
        let of_new = added.iter().chain(&changed).map(|(_, place)| *place);
        let old = in_words(old, same, of_old.collect());
        let new = in_words(new, same, of_new.collect());
        let whole = |told: &[Told], place: u32| {
            told.iter()
                .find(|rule| rule.place == place)
                .map(|rule| rule.owner.clone() + &rule.action)
        };
        self.first_added = added.iter().filter_map(|(_, place)| whole(&new, *place)).collect();
        self.first_removed = removed.iter().filter_map(|(place, _)| whole(&old, *place)).collect();
        let both = changed.iter().filter_map(|(before, after)| {
            let after = new.iter().find(|rule| rule.place == *after)?;
            Some(format!("{} ->{}", whole(&old, *before)?, after.action))
        });
        self.first_changed = both.collect();
    }
}

/// What a rule compares.
enum Trigger<'a> {
    /// Wire labels without the root label.
    Name(TriggerKind, &'a [u8]),
    Prefix(TriggerKind, IpNet),
}

/// A rule in little: enough to find it in the other version and to see whether it is the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    /// Hash of the trigger.
    trigger: u64,
    /// Its place among the rules, in their order.
    place: u32,
    /// The fixed action, or a hash of the data: two sets look equal by chance once in 2^31.
    meaning: u32,
}

/// The rules of a zone in their order, but not those of the buckets that are left out.
fn rules<'a>(
    zone: &'a ZoneRules,
    same: Option<&'a [bool]>,
) -> impl Iterator<Item = (Trigger<'a>, ActionCode)> {
    let names: Box<dyn Iterator<Item = (&[u8], ActionCode)>> = match (zone.records(), same) {
        (Some(store), Some(same)) => {
            let touched = store.buckets().zip(same).filter(|(_, same)| !**same);
            let owners = touched.flat_map(|(bucket, _)| store.owners_in(bucket));
            Box::new(owners.filter_map(|owner| Some((owner.labels, owner.code?))))
        }
        _ => Box::new(zone.by_name(TriggerKind::Qname).map(labels)),
    };
    let servers = zone.by_name(TriggerKind::Nsdname).map(labels);
    let servers = servers.map(|(name, code)| (Trigger::Name(TriggerKind::Nsdname, name), code));
    let names = names.map(|(name, code)| (Trigger::Name(TriggerKind::Qname, name), code));
    let prefixes = zone.prefixes.iter();
    let prefixes = prefixes.map(|(kind, net, code)| (Trigger::Prefix(*kind, *net), *code));
    names.chain(servers).chain(prefixes)
}

/// The wire name of a rule without its root label.
fn labels((wire, code): (&[u8], ActionCode)) -> (&[u8], ActionCode) {
    (wire.split_last().map_or(wire, |(_, labels)| labels), code)
}

/// Which buckets are the same in both versions: all that is in them is. `None` if the two are
/// not laid out alike.
fn same_buckets(old: &ZoneRules, new: &ZoneRules) -> Option<Vec<bool>> {
    let (old, new) = (old.records()?, new.records()?);
    let kinds = old.kinds().len().min(new.kinds().len());
    let alike = old.seed() == new.seed()
        && old.buckets().len() == new.buckets().len()
        // a version adds kinds, so that the numbers of the others stay
        && old.kinds().get(..kinds) == new.kinds().get(..kinds);
    let pairs = || old.buckets().zip(new.buckets());
    alike.then(|| pairs().map(|(a, b)| std::ptr::eq(a, b) || a == b).collect())
}

/// The marks of all rules that count, sorted.
fn marks(zone: &ZoneRules, same: Option<&[bool]>, hasher: &RandomState) -> Vec<Mark> {
    let mut data = vec![0; zone.data.len()];
    let mut marks = Vec::new();
    for (place, (trigger, code)) in (0..).zip(rules(zone, same)) {
        let trigger = match trigger {
            Trigger::Name(kind, name) => hasher.hash_one((kind, name)),
            Trigger::Prefix(kind, net) => hasher.hash_one((kind, net)),
        };
        marks.push(Mark { trigger, place, meaning: meaning(zone, code, &mut data, hasher) });
    }
    marks.sort_unstable();
    marks.dedup_by_key(|mark| mark.trigger);
    marks
}

/// What a code says; `known` holds what was found out about data already, 0 for nothing.
fn meaning(zone: &ZoneRules, code: ActionCode, known: &mut [u32], hasher: &RandomState) -> u32 {
    /// Set for data, so that no fixed action looks like it.
    const DATA: u32 = 1 << 31;
    let Action::Data(index) = code.action() else { return code.as_u32() };
    let (Some(known), Some(set)) = (known.get_mut(index as usize), zone.data.get(index as usize))
    else {
        return DATA;
    };
    if *known == 0 {
        let mut records: Vec<&LocalRecord> = set.records().iter().collect();
        records.sort_unstable_by_key(|record| (record.rtype, &record.rdata, record.ttl));
        *known = hasher.hash_one(records) as u32 | DATA;
    }
    *known
}

/// Walks two sorted lists, giving what both have as pairs.
fn side_by_side(old: &[Mark], new: &[Mark], mut each: impl FnMut((Option<&Mark>, Option<&Mark>))) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    while let Some(least) = old.peek().into_iter().chain(new.peek()).map(|mark| mark.trigger).min()
    {
        let is_least = |mark: &&Mark| mark.trigger == least;
        each((old.next_if(is_least), new.next_if(is_least)));
    }
}

/// Counts, and keeps the first by their places.
#[derive(Default)]
struct First {
    total: u64,
    first: BinaryHeap<(u32, u32)>,
}

impl First {
    fn note(&mut self, old: u32, new: u32) {
        self.total += 1;
        self.first.push((old, new));
        if self.first.len() > limits::DIFF_EXAMPLES {
            self.first.pop();
        }
    }

    fn places(self) -> Vec<(u32, u32)> {
        self.first.into_sorted_vec()
    }
}

/// A rule in words.
struct Told {
    place: u32,
    owner: String,
    /// With a blank in front.
    action: String,
}

/// The rules at these places.
fn in_words(zone: &ZoneRules, same: Option<&[bool]>, mut places: Vec<u32>) -> Vec<Told> {
    places.sort_unstable();
    let mut places = places.into_iter().peekable();
    let mut told = Vec::new();
    for (place, (trigger, code)) in (0..).zip(rules(zone, same)) {
        match places.peek() {
            None => break,
            Some(next) if *next > place => continue,
            Some(_) => places.next(),
        };
        told.push(Told { place, owner: owner(&trigger), action: action(zone, code) });
    }
    told
}

/// The owner relative to the zone, as it is written there.
fn owner(trigger: &Trigger<'_>) -> String {
    match trigger {
        Trigger::Name(kind, labels) => {
            let mut out = String::new();
            let _ = write_wire(&[labels, &[0][..]].concat(), &mut out); // to a String
            out + spelling::suffix(*kind)
        }
        Trigger::Prefix(kind, net) => spelling::prefix(net) + spelling::suffix(*kind),
    }
}

/// What a rule does, data included, with a blank in front.
fn action(zone: &ZoneRules, code: ActionCode) -> String {
    let action = code.action();
    let mut out = format!(" {action}");
    let Action::Data(index) = action else { return out };
    for record in zone.data.get(index as usize).iter().flat_map(|set| set.records()) {
        let data = rpz::data_text(record.rtype, &record.rdata);
        let _ = write!(out, "{}{data}", if out.len() > " Local-Data".len() { ", " } else { " " });
        if out.len() > limits::WRITTEN_TEXT {
            out.truncate(limits::WRITTEN_TEXT - 3);
            out.push_str("...");
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpz::{Dump, Edit, Form, Limits, made_up, parse};
    use std::path::Path;
    use std::sync::Arc;

    fn zone(serial: u32, lines: &str) -> ZoneRules {
        let text = format!("$TTL 60\n@ SOA . . {serial} 1 1 1 1\n@ NS localhost.\n{lines}");
        let origin = "rpz.test".parse().unwrap();
        parse(text.as_bytes(), Path::new("z"), &origin, Form::Zone, &Limits::default()).unwrap()
    }

    #[test]
    fn told_in_words() {
        let old = zone(
            7,
            "same.example CNAME .\ngone.example CNAME *.\nturned.example CNAME .\n\
             garden A 192.0.2.1\ngarden A 192.0.2.2\nns.x.rpz-nsdname CNAME rpz-drop.\n\
             24.0.2.0.192.rpz-ip CNAME .\nshuffled A 192.0.2.3\nshuffled TXT \"a b\"\n",
        );
        let new = zone(
            8,
            "shuffled TXT \"a b\"\nshuffled A 192.0.2.3\nsame.example CNAME .\n\
             turned.example CNAME rpz-passthru.\ngarden A 192.0.2.1\nns.x.rpz-nsdname CNAME .\n\
             32.1.2.0.192.rpz-client-ip CNAME .\n*.new.example CNAME *.garden.test.\n\
             same.example CNAME rpz-drop.\n",
        );
        let told = Difference::between(&old, &new);
        assert_eq!((&*told.zone, told.old_serial, told.new_serial), ("rpz.test", 7, 8));
        assert_eq!((told.old_rules, told.new_rules), (7, 8));
        assert_eq!((told.added, told.removed, told.changed), (2, 2, 3));
        assert_eq!(
            told.first_added,
            [
                "*.new.example Local-Data CNAME *.garden.test.",
                "32.1.2.0.192.rpz-client-ip NXDOMAIN"
            ]
        );
        assert_eq!(told.first_removed, ["gone.example NODATA", "24.0.2.0.192.rpz-ip NXDOMAIN"]);
        assert_eq!(
            told.first_changed,
            [
                "turned.example NXDOMAIN -> PASSTHRU",
                "garden Local-Data A 192.0.2.1, A 192.0.2.2 -> Local-Data A 192.0.2.1",
                "ns.x.rpz-nsdname DROP -> NXDOMAIN",
            ]
        );
        assert!(Difference::between(&new, &new).is_empty() && !told.is_empty());
    }

    #[test]
    fn all_are_counted_and_the_first_named() {
        let many = |from: u32, to: u32, what: &str| -> String {
            (from..to).map(|n| format!("n{n} {what}\n")).collect()
        };
        let old = zone(1, &many(0, 2_000, "CNAME ."));
        let new = zone(1, &(many(500, 1_000, "CNAME *.") + &many(1_000, 4_000, "CNAME .")));
        let told = Difference::between(&old, &new);
        assert_eq!((told.added, told.removed, told.changed), (2_000, 500, 500));
        let first = |list: &[String]| (list.len(), list[0].clone(), list[19].clone());
        assert_eq!(
            first(&told.first_added),
            (20, "n2000 NXDOMAIN".into(), "n2019 NXDOMAIN".into())
        );
        assert_eq!(first(&told.first_removed), (20, "n0 NXDOMAIN".into(), "n19 NXDOMAIN".into()));
        let turned = |n: u32| format!("n{n} NXDOMAIN -> NODATA");
        assert_eq!(first(&told.first_changed), (20, turned(500), turned(519)));
    }

    #[test]
    fn versions_of_a_transfer_are_compared_by_what_they_do() {
        let mut rng = fastrand::Rng::with_seed(47);
        // the order is that of the layout, and so is the choice of the first
        let told = |difference: Difference| {
            let sorted = |mut list: Vec<String>| {
                list.sort_unstable();
                (list.len() < limits::DIFF_EXAMPLES).then_some(list)
            };
            let Difference { added, removed, changed, .. } = difference;
            let lists = [difference.first_added, difference.first_removed];
            ((added, removed, changed), lists.map(sorted), sorted(difference.first_changed))
        };
        let mut by_bucket = 0;
        for round in 0..200 {
            let most = if round % 50 == 0 { 2_000 } else { 30 };
            let old = Arc::new(made_up::gathered(&made_up::text(&mut rng, most)));
            let new = Arc::new(changed(&old, &mut rng));
            by_bucket += usize::from(same_buckets(&old, &new).is_some_and(|b| b.contains(&true)));
            // the same once more, laid out in another way
            let text: Vec<u8> = Dump::new(Arc::clone(&new)).flatten().collect();
            let again = made_up::gathered(&String::from_utf8(text).unwrap());
            assert!(same_buckets(&old, &again).is_none());
            assert!(Difference::between(&new, &again).is_empty());
            let between = told(Difference::between(&old, &new));
            assert_eq!(between, told(Difference::between(&old, &again)));
        }
        assert!(by_bucket > 2, "{by_bucket}");
    }

    /// A later version of a transferred zone: a few records less, a few more.
    fn changed(old: &Arc<ZoneRules>, rng: &mut fastrand::Rng) -> ZoneRules {
        let mut edit = Edit::of(old, 10_000).unwrap();
        let absolute = |labels: &[u8]| [labels, old.origin.as_wire()].concat();
        for owner in old.records().unwrap().iter() {
            for record in owner.records.clone() {
                if rng.u32(..20) == 0 {
                    edit.remove(&absolute(owner.labels), record.rtype, record.rdata).unwrap();
                }
            }
        }
        for n in 0..rng.u8(..9) {
            // within the number of examples
            edit.add(&absolute(&[1, b'0' + n]), 1, 60, &[192, 0, 2, n]).unwrap();
        }
        edit.finish().unwrap()
    }

    #[test]
    fn long_data_is_cut() {
        let lines: String = (0..99).map(|n| format!("x TXT \"text number {n}\"\n")).collect();
        let told = Difference::between(&zone(1, ""), &zone(2, &lines));
        let first = &told.first_added[0];
        assert_eq!(first.len(), 1 + limits::WRITTEN_TEXT);
        assert!(
            first.starts_with("x Local-Data TXT \"text number 0\", TXT") && first.ends_with("...")
        );
    }
}
