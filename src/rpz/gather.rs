//! A whole zone transfer in, rules out: the records in any order, all of them kept.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::dns::name::Name;
use crate::limits;
use crate::policy::action::ActionCode;
use crate::policy::local_data::{DataIndex, DataList};
use crate::policy::records::{self, Builder, Record};
use crate::policy::rules::{
    AddressRule, Counts, NameRules, RuleArena, SKIPPED_KEPT, Skipped, SkippedRecord, Soa, ZoneRules,
};
use crate::policy::trigger::TriggerKind;
use crate::rpz::intake::{Refusal, absolute, outside, read_soa};
use crate::rpz::owner::{self, Reason, Trigger};
use crate::rpz::rdata::{self, TypeUse, rtype};
use crate::rpz::reading::{self, Reading};

/// Takes the records of a whole zone and makes rules of them.
///
/// What the records of an owner mean is what they mean in a file; only that of two CNAMEs at one
/// owner the smaller one counts here. Records that are no rules are kept all the same, because a
/// later change may take them away; except those of DNSSEC and those outside the zone, which are
/// only counted.
pub struct Gather {
    origin: Name,
    max_rules: usize,
    soa: Option<Soa>,
    records: Builder,
    skipped: Skipped,
}

/// What has become of the owners so far.
#[derive(Default)]
struct Made {
    rules: usize,
    counts: Counts,
    data: DataList,
    index: DataIndex,
    nsdnames: RuleArena,
    prefixes: Vec<AddressRule>,
}

impl Gather {
    /// Takes the zone `origin` with at most `max_rules` rules, and four times as many records.
    pub fn new(origin: Name, max_rules: usize) -> Gather {
        // nobody must be able to send owners that all fall into one bucket
        Gather::seeded(origin, max_rules, RandomState::new().build_hasher().finish())
    }

    pub(super) fn seeded(origin: Name, max_rules: usize, seed: u64) -> Gather {
        let (records, skipped) = (Builder::new(seed), Skipped::default());
        Gather { origin, max_rules, soa: None, records, skipped }
    }

    /// Takes a record of class IN. `owner` is an absolute name in canonical wire form, `rdata` is
    /// wire data with uncompressed names, `ttl` is in seconds. The zone's SOA comes before any
    /// other SOA.
    #[inline]
    pub fn record(
        &mut self,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Refusal> {
        match sort(owner, rtype, rdata, &self.origin) {
            Place::Kept(_) if rtype == rtype::SOA && self.soa.is_none() => {
                return Err(Refusal::other_zone(owner, &self.origin));
            }
            Place::Kept(labels) => self.records.push(labels, &Record { rtype, ttl, rdata }),
            Place::Soa => return self.soa(ttl, rdata),
            Place::Unused => self.skipped.unused += 1,
            Place::Outside if rtype == rtype::SOA && self.soa.is_none() => {
                return Err(Refusal::other_zone(owner, &self.origin));
            }
            Place::Outside => self.skip(absolute(owner), outside(&self.origin)),
        }
        let most = most_records(self.max_rules);
        if self.records.len() > most { Err(Refusal::TooManyRecords(most)) } else { Ok(()) }
    }

    /// Records that are kept so far.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True if no record is kept yet.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Heap in octets.
    pub fn bytes(&self) -> usize {
        self.records.bytes()
    }

    /// All records are in. Takes most of the time that a zone costs, so not on a serving thread.
    pub fn finish(self) -> Result<ZoneRules, Refusal> {
        let Gather { origin, max_rules, soa, records, mut skipped } = self;
        let soa = soa.ok_or_else(|| Refusal::NoSoa(absolute(origin.as_wire())))?;
        let mut made = Made::default();
        let store = records.finish(|labels, records| {
            let mut read = reading::read(&origin, labels, records);
            let room = SKIPPED_KEPT - skipped.first.len();
            skipped.first.extend(read.first.drain(..room.min(read.first.len())));
            read.count(&mut made.counts, &mut skipped);
            let code = made.take(read);
            if made.rules > max_rules { Err(Refusal::TooManyRules(max_rules)) } else { Ok(code) }
        })?;
        let mut rules = ZoneRules::none(origin);
        (rules.soa, rules.skipped, rules.counts) = (soa, skipped, made.counts);
        (rules.names, rules.data) = (NameRules::Kept(store), made.data);
        made.prefixes.shrink_to_fit();
        (rules.nsdnames, rules.prefixes) = (Arc::new(made.nsdnames), Arc::new(made.prefixes));
        rules.leave_index(Some(made.index));
        Ok(rules)
    }

    fn soa(&mut self, ttl: u32, rdata: &[u8]) -> Result<(), Refusal> {
        let soa = read_soa(ttl, rdata)?;
        match &self.soa {
            None => self.soa = Some(soa),
            // a transfer ends with the SOA once more
            Some(first) if first.rdata == soa.rdata => {}
            Some(_) => {
                self.skip("@".to_owned(), "a second SOA that differs from the first".into());
            }
        }
        Ok(())
    }

    fn skip(&mut self, owner: String, reason: Reason) {
        self.skipped.note(|| SkippedRecord { file: None, line: 0, owner, reason });
    }
}

impl Made {
    /// Puts the rule of an owner where it belongs; its code, if it is a QNAME rule.
    #[inline]
    fn take(&mut self, read: Reading<'_>) -> Option<ActionCode> {
        let (trigger, does) = read.rule?;
        self.rules += 1;
        let code = does.code(&mut self.data, &mut self.index);
        match trigger {
            Trigger::Name(TriggerKind::Nsdname, labels) => self.nsdnames.push(labels, code),
            Trigger::Name(..) => return Some(code),
            Trigger::Prefix(kind, net) => self.prefixes.push((kind, net, code)),
        }
        None
    }
}

/// What is done with a record of a transfer.
pub(super) enum Place<'a> {
    /// It is kept under these labels.
    Kept(&'a [u8]),
    /// It is the zone's SOA.
    Soa,
    /// It belongs to DNSSEC, whose records nobody asks for: counted only.
    Unused,
    /// It is not in the zone, or no record at all: counted only.
    Outside,
}

/// Says what is done with a record.
#[inline]
pub(super) fn sort<'a>(owner: &'a [u8], rtype: u16, rdata: &[u8], origin: &Name) -> Place<'a> {
    let Some(relative) = owner::relative(owner, origin.as_wire()) else { return Place::Outside };
    match rdata::use_of(rtype) {
        TypeUse::Unused => Place::Unused,
        TypeUse::Soa if relative.labels.is_empty() => Place::Soa,
        _ if records::fits(relative.labels, rdata) => Place::Kept(relative.labels),
        _ => Place::Outside,
    }
}

/// Most records of a zone that may have so many rules.
pub fn most_records(max_rules: usize) -> usize {
    let (each, more) = limits::TRANSFER_RECORDS;
    max_rules.saturating_mul(each).saturating_add(more)
}
