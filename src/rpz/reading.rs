//! All records of one owner, read as a rule: the same rule that they would be in a file.

use crate::dns::name::Name;
use crate::limits;
use crate::policy::action::{Action, ActionCode, LocalData, LocalRecord};
use crate::policy::local_data::{DataIndex, DataList};
use crate::policy::records::Record;
use crate::policy::rules::{Counts, Skipped, SkippedRecord, ZoneRules};
use crate::rpz::intake::Intake;
use crate::rpz::owner::{self, Reason, Trigger};
use crate::rpz::rdata::{self, Meaning, TypeUse, rtype};

/// What the records of an owner are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading<'a> {
    /// The rule, if they are one.
    pub(super) rule: Option<(Trigger<'a>, Does)>,
    /// Records that should have been a rule.
    pub(super) skipped: u64,
    /// Records that are no rules by their nature.
    pub(super) unused: u64,
    /// The first of those that were skipped.
    pub(super) first: Vec<SkippedRecord>,
}

/// What a rule does.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// One of the fixed actions.
    Fixed(Action),
    /// It answers with these records.
    Data(Vec<LocalRecord>),
}

impl Does {
    /// The code of the action; local data gets its number in `list`.
    pub(super) fn code(&self, list: &mut DataList, index: &mut DataIndex) -> ActionCode {
        match self {
            Does::Fixed(action) => (*action).into(),
            Does::Data(records) => Action::Data(index.take(list, records)).into(),
        }
    }

    /// The action, whatever the number of its local data.
    pub(super) fn action(&self) -> Action {
        match self {
            Does::Fixed(action) => *action,
            Does::Data(_) => Action::Data(0),
        }
    }
}

impl Reading<'_> {
    fn none() -> Reading<'static> {
        Reading { rule: None, skipped: 0, unused: 0, first: Vec::new() }
    }

    fn skip(labels: &[u8], reason: Reason) -> Reading<'static> {
        Reading { skipped: 1, first: vec![skipped(labels, reason)], ..Reading::none() }
    }

    /// Counts what was read.
    pub(super) fn count(&self, counts: &mut Counts, skipped: &mut Skipped) {
        if let Some((trigger, does)) = &self.rule {
            counts.note(trigger.kind(), does.action());
        }
        skipped.total += self.skipped;
        skipped.unused += self.unused;
    }

    /// Counts no longer what was read.
    pub(super) fn take_back(&self, counts: &mut Counts, skipped: &mut Skipped) {
        if let Some((trigger, does)) = &self.rule {
            counts.take_back(trigger.kind(), does.action());
        }
        skipped.total = skipped.total.saturating_sub(self.skipped);
        skipped.unused = skipped.unused.saturating_sub(self.unused);
    }
}

/// A record that was skipped, by its labels in front of the zone's name.
fn skipped(labels: &[u8], reason: Reason) -> SkippedRecord {
    SkippedRecord { file: None, line: 0, owner: owner_text(labels), reason }
}

/// An owner in messages.
pub(super) fn owner_text(labels: &[u8]) -> String {
    if labels.is_empty() { "@".to_owned() } else { owner::text(labels) }
}

/// Reads the records of an owner, which are in the order of [`Record::order`] and without
/// doubles. `labels` are canonical, in front of the zone's name.
#[inline]
pub(super) fn read<'a>(origin: &Name, labels: &'a [u8], records: &[Record<'_>]) -> Reading<'a> {
    match records {
        // nearly all owners of nearly all zones
        [record] if !labels.is_empty() && rdata::use_of(record.rtype) == TypeUse::Rule => {
            read_one(labels, record)
        }
        _ => read_all(origin, labels, records),
    }
}

/// Reads a record of its own that can be a rule.
fn read_one<'a>(labels: &'a [u8], record: &Record<'_>) -> Reading<'a> {
    let Some(relative) = owner::relative(labels, &[]) else { return Reading::none() };
    let owner = match owner::read(relative) {
        Ok(owner) => owner,
        Err(reason) => return Reading::skip(labels, reason),
    };
    let meaning = match record.rtype {
        rtype::CNAME => rdata::cname(record.rdata, owner.written),
        _ => Meaning::Data,
    };
    let does = match meaning {
        Meaning::Fixed(action) => Does::Fixed(action),
        Meaning::Reserved(reason) => return Reading::skip(labels, reason),
        Meaning::Data => {
            let (rtype, ttl, rdata) = (record.rtype, record.ttl, record.rdata.into());
            Does::Data(vec![LocalRecord { rtype, ttl, rdata }])
        }
    };
    Reading { rule: Some((owner.trigger, does)), ..Reading::none() }
}

/// Reads any records, by the intake that reads files.
fn read_all<'a>(origin: &Name, labels: &'a [u8], records: &[Record<'_>]) -> Reading<'a> {
    let absolute = [labels, origin.as_wire()].concat();
    let mut intake = Intake::of_part(*origin);
    for record in records.iter().take(limits::OWNER_RECORDS) {
        if let Err(fault) = intake.record(&absolute, record.rtype, record.ttl, record.rdata) {
            intake.skip(owner_text(labels), fault.to_string().into());
        }
    }
    let Ok(rules) = intake.finish() else { return Reading::none() };
    let trigger = owner::relative(labels, &[]).and_then(|relative| owner::read(relative).ok());
    let does = rules.codes().next().map(|code| does(&rules, code));
    let rule = trigger.zip(does).map(|(owner, does)| (owner.trigger, does));
    let mut skips = rules.skipped.clone();
    for _ in rules.codes().skip(1) {
        skips.note(|| skipped(labels, "a CNAME beside another one, which comes first".into()));
    }
    for _ in records.iter().skip(limits::OWNER_RECORDS) {
        skips.note(|| {
            skipped(labels, format!("more than {} records", limits::OWNER_RECORDS).into())
        });
    }
    Reading { rule, skipped: skips.total, unused: skips.unused, first: skips.first }
}

/// What a rule of these does.
fn does(rules: &ZoneRules, code: ActionCode) -> Does {
    match code.action() {
        Action::Data(number) => {
            let records = rules.data.get(number as usize).map(LocalData::records);
            Does::Data(records.unwrap_or_default().to_vec())
        }
        fixed => Does::Fixed(fixed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(text: &str) -> Vec<u8> {
        let name: Name = text.parse().unwrap();
        name.as_wire()[..name.len() - 1].to_vec()
    }

    fn wire(text: &str) -> Vec<u8> {
        // case kept, unlike `Name`
        let labels = text.split('.').filter(|label| !label.is_empty());
        let mut wire: Vec<u8> =
            labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
        wire.push(0);
        wire
    }

    const OWNERS: [&str; 11] = [
        "a.b",
        "*.a",
        "rpz-ip",
        "32.1.2.0.192.rpz-ip",
        "33.1.2.0.192.rpz-client-ip",
        "24.1.2.0.192.rpz-nsip",
        "128.1.zz.db8.2001.rpz-nsip",
        "ns.test.rpz-nsdname",
        "rpz-nsdname",
        "rpz-drop",
        "x.rpz-foo",
    ];
    const TARGETS: [&str; 9] = [
        ".",
        "*.",
        "rpz-drop.",
        "RPZ-Passthru.",
        "a.B.",
        "x.rpz-drop.",
        "rpz-x.",
        "*.garden.test.",
        "32.1.2.0.192.",
    ];

    #[test]
    fn one_record_alone_is_read_as_by_the_intake() {
        let origin: Name = "rpz.test".parse().unwrap();
        for owner in OWNERS {
            let labels = labels(owner);
            for target in TARGETS {
                let rdata = wire(target);
                let record = Record { rtype: rtype::CNAME, ttl: 5, rdata: &rdata };
                let fast = read(&origin, &labels, &[record]);
                assert_eq!(fast, read_all(&origin, &labels, &[record]), "{owner} {target}");
            }
            for rtype in [1, 16, 28, 65] {
                let record = Record { rtype, ttl: 5, rdata: &[1; 4] };
                let fast = read(&origin, &labels, &[record]);
                assert_eq!(fast, read_all(&origin, &labels, &[record]), "{owner} {rtype}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_single_record_is_read_as_by_the_intake(
            owner in prop::collection::vec("[a-c*0-9]{1,3}|rpz-(ip|nsip|nsdname|drop)|zz", 1..7),
            target in prop::collection::vec("[a-cA-C*0-9]{1,3}|rpz-(drop|x)|RPZ-TCP-only", 0..4),
            same in any::<bool>(),
            rtype in prop::sample::select(vec![1_u16, 5, 5, 5, 16, 28]),
        ) {
            let origin: Name = "rpz.test".parse().unwrap();
            let labels = labels(&owner.join("."));
            let target = if same { &owner[..owner.len() - 1] } else { &target[..] };
            let rdata = wire(&target.join("."));
            let record = Record { rtype, ttl: 7, rdata: &rdata };
            prop_assert_eq!(
                read(&origin, &labels, &[record]),
                read_all(&origin, &labels, &[record])
            );
        }
    }

    #[test]
    fn one_rule_an_owner() {
        let origin: Name = "rpz.test".parse().unwrap();
        let labels = labels("a.b");
        let (root, drop, garden) = (wire("."), wire("rpz-drop."), wire("*.garden."));
        let cname = |rdata| Record { rtype: rtype::CNAME, ttl: 5, rdata };
        let a = Record { rtype: 1, ttl: 5, rdata: &[192, 0, 2, 1] };
        let told = |records: &[Record<'_>]| {
            let read = read(&origin, &labels, records);
            (read.rule.map(|(_, does)| does.action()), read.skipped, read.first.len())
        };
        assert_eq!(told(&[cname(&root), cname(&drop)]), (Some(Action::Nxdomain), 1, 1));
        assert_eq!(told(&[cname(&root), cname(&garden)]), (Some(Action::Nxdomain), 1, 1));
        assert_eq!(told(&[cname(&root), a]), (Some(Action::Nxdomain), 1, 1));
        assert_eq!(told(&[cname(&garden), a]), (Some(Action::Data(0)), 1, 1));
        let ns = Record { rtype: 2, ttl: 5, rdata: &[0] };
        assert_eq!(told(&[a, ns]), (Some(Action::Data(0)), 1, 1));
        assert_eq!(told(&[ns]), (None, 1, 1));
        let apex = read(&origin, &[], &[a, ns]);
        assert_eq!((apex.rule, apex.skipped, apex.unused), (None, 1, 1));
        assert_eq!(apex.first[0].owner, "@");
    }

    #[test]
    fn an_owner_with_endless_records_costs_little() {
        let origin: Name = "rpz.test".parse().unwrap();
        let octets: Vec<[u8; 4]> = (0..200_000_u32).map(u32::to_be_bytes).collect();
        let records = octets.iter().map(|rdata| Record { rtype: 1, ttl: 5, rdata });
        let records: Vec<Record<'_>> = records.collect();
        let read = read(&origin, b"\x01a", &records);
        let Some((_, Does::Data(data))) = read.rule else { panic!("{:?}", read.rule) };
        assert_eq!((data.len(), read.skipped, read.first.len()), (1_000, 199_000, 1_000));
    }
}
