//! What one loaded policy zone holds before it is frozen into the matcher.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;

use crate::dns::name::{Name, wire_len};
use crate::policy::action::{Action, ActionCode};
use crate::policy::checksum;
use crate::policy::local_data::{DataIndex, DataList};
use crate::policy::records::{RecordStore, StoreRules};
use crate::policy::trigger::TriggerKind;
use crate::policy::version::{self, Change, Handover};

/// Size of one block of a [`RuleArena`], in octets.
const BLOCK: usize = 1 << 20;
/// Codes from here on take four more octets in a [`RuleArena`].
const LONG_CODE: u8 = u8::MAX;
/// QNAME rules that a change may hold however small its zone is.
const SMALL_CHANGE: usize = 1_000;
/// How many skipped records are kept with their reasons; the rest are only counted.
pub const SKIPPED_KEPT: usize = 1_000;

/// The rules of one policy zone, as they were found.
///
/// Two rules on one trigger may both be here; which one counts is the matcher's business
/// (the first).
#[derive(Debug)]
pub struct ZoneRules {
    /// The zone's name.
    pub origin: Name,
    /// The zone's SOA record.
    pub soa: Soa,
    /// QNAME rules by trigger name (relative to the origin; the wildcard label is kept).
    pub names: NameRules,
    /// NSDNAME rules by trigger name. Versions share them as long as they stay the same.
    pub nsdnames: Arc<RuleArena>,
    /// Client-IP, IP and NSIP rules; host bits are zero. Shared like the above.
    pub prefixes: Arc<Vec<AddressRule>>,
    /// What the indexes of [`Action::Data`] mean.
    pub data: DataList,
    /// Records that became no rule.
    pub skipped: Skipped,
    /// How many rules of which kind there are.
    pub counts: Counts,
    /// Files that the zone's own file includes.
    pub included: Vec<Arc<str>>,
    /// Tells these rules from all others of this process.
    id: u64,
    /// What differs from the version before, if these were made by a change.
    change: Handover<Change>,
    /// These rules were made by a change, so that more of them are to be expected.
    is_edited: bool,
    /// For the next change of the local data.
    index: Handover<DataIndex>,
    /// What the rules say, in one number, once somebody asked.
    checksum: OnceLock<u64>,
}

/// One rule that compares addresses.
pub type AddressRule = (TriggerKind, IpNet, ActionCode);

impl ZoneRules {
    /// A zone without rules.
    pub fn none(origin: Name) -> ZoneRules {
        ZoneRules {
            id: version::next_id(),
            change: Handover::default(),
            is_edited: false,
            index: Handover::default(),
            checksum: OnceLock::new(),
            origin,
            soa: Soa::default(),
            names: NameRules::default(),
            nsdnames: Arc::default(),
            prefixes: Arc::default(),
            data: DataList::default(),
            skipped: Skipped::default(),
            counts: Counts::default(),
            included: Vec::new(),
        }
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.names.len() + self.nsdnames.len() + self.prefixes.len()
    }

    /// True if the zone has no rule (its SOA may still be fine).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rules on names of a kind, QNAME or NSDNAME; none of any other.
    pub fn by_name(&self, kind: TriggerKind) -> NameIter<'_> {
        match kind {
            TriggerKind::Qname => self.names.iter(),
            TriggerKind::Nsdname => NameIter::Listed(self.nsdnames.iter()),
            _ => NameIter::Listed(RuleIter::default()),
        }
    }

    /// What all rules do, rule by rule.
    pub fn codes(&self) -> impl Iterator<Item = ActionCode> {
        let names = TriggerKind::ALL.into_iter().flat_map(|kind| self.by_name(kind));
        names.map(|(_, code)| code).chain(self.prefixes.iter().map(|(.., code)| *code))
    }

    /// The zone's records, if they were kept.
    pub fn records(&self) -> Option<&RecordStore> {
        match &self.names {
            NameRules::Listed(_) => None,
            NameRules::Kept(records) => Some(records),
        }
    }

    /// Tells these rules from all others of this process.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// These rules were made by a change of earlier ones.
    pub fn is_edited(&self) -> bool {
        self.is_edited
    }

    /// Notes that these rules are a change of earlier ones. A change that is worth less than a
    /// fresh start is forgotten: it would only take memory.
    pub fn set_change(&mut self, change: Change) {
        let worth =
            2 * (change.removed.len() + change.put.len()) <= self.names.len() + SMALL_CHANGE;
        (self.change, self.is_edited) = (Handover::new(worth.then_some(change)), true);
    }

    /// Takes what differs from the rules with this id, if that is known and nobody has taken it.
    pub(super) fn take_change(&self, since: u64) -> Option<Change> {
        self.change.take_if(|change| change.since == since)
    }

    /// Leaves the index of the local data for the next change.
    pub fn leave_index(&mut self, index: Option<DataIndex>) {
        self.index = Handover::new(index);
    }

    /// One number for what the rules say, in whatever order. Made when it is first asked for,
    /// which takes some tens of milliseconds a million rules: for the thread that loads them,
    /// when they are complete.
    pub fn checksum(&self) -> u64 {
        *self.checksum.get_or_init(|| checksum::of(self))
    }

    /// The same, if it was made already.
    pub fn known_checksum(&self) -> Option<u64> {
        self.checksum.get().copied()
    }

    /// Takes what [`ZoneRules::leave_index`] left, if nobody has done so yet.
    pub fn take_index(&self) -> Option<DataIndex> {
        self.index.take()
    }

    /// Heap in octets, give or take what the allocator adds.
    pub fn bytes(&self) -> usize {
        self.names.bytes()
            + self.nsdnames.bytes()
            + self.prefixes.capacity() * size_of::<AddressRule>()
            + self.data.bytes()
    }
}

/// The QNAME rules of a zone.
#[derive(Debug)]
pub enum NameRules {
    /// As they were found, of a file or a list.
    Listed(RuleArena),
    /// With all records of the zone, of a transfer.
    Kept(RecordStore),
}

impl NameRules {
    /// The rules: wire name with root label, and code.
    pub fn iter(&self) -> NameIter<'_> {
        match self {
            NameRules::Listed(arena) => NameIter::Listed(arena.iter()),
            NameRules::Kept(records) => NameIter::Kept(records.rules()),
        }
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        match self {
            NameRules::Listed(arena) => arena.len(),
            NameRules::Kept(records) => records.totals().rules,
        }
    }

    /// True if there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Heap in octets.
    pub fn bytes(&self) -> usize {
        match self {
            NameRules::Listed(arena) => arena.bytes(),
            NameRules::Kept(records) => records.bytes(),
        }
    }
}

impl Default for NameRules {
    fn default() -> NameRules {
        NameRules::Listed(RuleArena::default())
    }
}

impl From<RuleArena> for NameRules {
    fn from(arena: RuleArena) -> NameRules {
        NameRules::Listed(arena)
    }
}

/// Walk through the rules on names of one kind: wire name with root label, and code.
#[derive(Clone, Debug)]
pub enum NameIter<'a> {
    /// Rules as they were found.
    Listed(RuleIter<'a>),
    /// Rules with the zone's records.
    Kept(StoreRules<'a>),
}

impl<'a> Iterator for NameIter<'a> {
    type Item = (&'a [u8], ActionCode);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            NameIter::Listed(rules) => rules.next(),
            NameIter::Kept(rules) => rules.next(),
        }
    }
}

/// The fields of a SOA record that a zone's life depends on (RFC 1035 section 3.3.13).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soa {
    /// Time to live of the record itself, in seconds.
    pub ttl: u32,
    /// Version of the zone; compared as RFC 1982 says.
    pub serial: u32,
    /// Seconds between looks at the primary.
    pub refresh: u32,
    /// Seconds until the next try after one that failed.
    pub retry: u32,
    /// Seconds without contact after which the zone counts as expired.
    pub expire: u32,
    /// Upper bound for the life of negative answers, in seconds (RFC 2308 section 4).
    pub minimum: u32,
    /// The whole record data in wire form, names uncompressed, their case kept.
    pub rdata: Box<[u8]>,
}

impl Soa {
    /// The fields of a record with this data in wire form, names uncompressed; `None` if it is
    /// too short for them.
    pub fn from_rdata(ttl: u32, rdata: &[u8]) -> Option<Soa> {
        let (numbers, []) = rdata.last_chunk::<20>()?.as_chunks() else { return None };
        let [serial, refresh, retry, expire, minimum] =
            <[[u8; 4]; 5]>::try_from(numbers).ok()?.map(u32::from_be_bytes);
        Some(Soa { ttl, serial, refresh, retry, expire, minimum, rdata: rdata.into() })
    }
}

/// Names with their actions, packed one after the other: about 3 octets more than the text
/// of the name. Only to be filled and walked through, not to be searched.
///
/// ```text
///  | length | wire name, lower case, with root label | code < 255, or 255 and four octets |
/// ```
#[derive(Debug, Default)]
pub struct RuleArena {
    blocks: Vec<Vec<u8>>,
    len: usize,
}

impl RuleArena {
    /// Appends a rule. `labels` is the trigger name in canonical wire form *without* the
    /// root label, at most 254 octets; the empty slice is the root.
    #[inline]
    pub fn push(&mut self, labels: &[u8], code: ActionCode) {
        debug_assert!(labels.len() < 255, "a name has at most 255 octets");
        let need = labels.len() + 7;
        if self.blocks.last().is_none_or(|block| block.len() + need > BLOCK) {
            // the first block grows with a small zone, later ones come whole
            let room = if self.blocks.is_empty() { need } else { BLOCK };
            self.blocks.push(Vec::with_capacity(room));
        }
        let Some(block) = self.blocks.last_mut() else { return };
        block.push(labels.len() as u8 + 1);
        block.extend_from_slice(labels);
        match u8::try_from(code.as_u32()) {
            Ok(short) if short < LONG_CODE => block.extend_from_slice(&[0, short]),
            _ => {
                block.extend_from_slice(&[0, LONG_CODE]);
                block.extend_from_slice(&code.as_u32().to_le_bytes());
            }
        }
        self.len += 1;
    }

    /// An arena from what [`RuleArena::blocks`] gave. `each` gets every code in turn. `None` if
    /// there is anything in the blocks but rules on names: from the result, all else here works.
    pub fn from_blocks(
        blocks: Vec<Vec<u8>>,
        mut each: impl FnMut(ActionCode),
    ) -> Option<RuleArena> {
        let mut len = 0;
        for block in &blocks {
            let mut walk = RuleIter { blocks: [].iter(), rest: block };
            for (name, code) in walk.by_ref() {
                if !is_owner(name) {
                    return None;
                }
                each(code);
                len += 1;
            }
            // the walk ends early at what is no rule
            if !walk.rest.is_empty() {
                return None;
            }
        }
        Some(RuleArena { blocks, len })
    }

    /// The octets of the arena in their order.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.blocks.iter().map(Vec::as_slice)
    }

    /// The rules from a place on that [`RuleIter::place`] gave for this arena.
    pub fn walk_from(&self, place: RulePlace) -> RuleIter<'_> {
        let RulePlace { blocks, octets } = place;
        let (done, left) = self.blocks.split_at(self.blocks.len().saturating_sub(blocks));
        let open = done.last().map_or(&[][..], Vec::as_slice);
        let rest = open.get(open.len().saturating_sub(octets)..).unwrap_or_default();
        RuleIter { blocks: left.iter(), rest }
    }

    /// The rules in the order they were pushed: wire name with root label, and code.
    pub fn iter(&self) -> RuleIter<'_> {
        RuleIter { blocks: self.blocks.iter(), rest: &[] }
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap in octets.
    pub fn bytes(&self) -> usize {
        self.blocks.iter().map(Vec::capacity).sum()
    }
}

impl<'a> IntoIterator for &'a RuleArena {
    type Item = (&'a [u8], ActionCode);
    type IntoIter = RuleIter<'a>;

    fn into_iter(self) -> RuleIter<'a> {
        self.iter()
    }
}

/// Walk through a [`RuleArena`].
#[derive(Clone, Debug, Default)]
pub struct RuleIter<'a> {
    blocks: std::slice::Iter<'a, Vec<u8>>,
    rest: &'a [u8],
}

/// Where a [`RuleIter`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RulePlace {
    /// Blocks that were not begun.
    blocks: usize,
    /// What is left of the one that was.
    octets: usize,
}

impl RuleIter<'_> {
    /// Where the walk stands, to go on from there.
    pub fn place(&self) -> RulePlace {
        RulePlace { blocks: self.blocks.len(), octets: self.rest.len() }
    }
}

impl<'a> Iterator for RuleIter<'a> {
    type Item = (&'a [u8], ActionCode);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        while self.rest.is_empty() {
            self.rest = self.blocks.next()?;
        }
        let (&len, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(len as usize)?;
        let (&short, rest) = rest.split_first()?;
        if short < LONG_CODE {
            self.rest = rest;
            return Some((name, ActionCode::from_u32(u32::from(short))));
        }
        let (long, rest) = rest.split_first_chunk()?;
        self.rest = rest;
        Some((name, ActionCode::from_u32(u32::from_le_bytes(*long))))
    }
}

/// True for a canonical wire name that a rule can have: with its root label, not the root.
fn is_owner(wire: &[u8]) -> bool {
    wire.len() > 1 && wire_len(wire) == Some(wire.len()) && !wire.iter().any(u8::is_ascii_uppercase)
}

/// Number of rules by trigger and by action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    table: [[u64; Action::KINDS]; TriggerKind::ALL.len()],
}

impl Counts {
    /// Counts one more rule.
    #[inline]
    pub fn note(&mut self, kind: TriggerKind, action: Action) {
        self.table[kind as usize][action.kind()] += 1;
    }

    /// Counts one rule less.
    pub fn take_back(&mut self, kind: TriggerKind, action: Action) {
        let count = &mut self.table[kind as usize][action.kind()];
        *count = count.saturating_sub(1);
    }

    /// Rules with this trigger.
    pub fn by_trigger(&self, kind: TriggerKind) -> u64 {
        self.table[kind as usize].iter().sum()
    }

    /// Rules with this kind of action; all local data counts as one kind.
    pub fn by_action(&self, action: Action) -> u64 {
        self.table.iter().map(|row| row[action.kind()]).sum()
    }

    /// All rules.
    pub fn total(&self) -> u64 {
        self.table.iter().flatten().sum()
    }
}

/// Records of a zone that became no rule.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    /// How many should have been rules but could not be read as such.
    pub total: u64,
    /// How many are no rules by their nature: the apex NS set, DNSSEC records.
    pub unused: u64,
    /// The first [`SKIPPED_KEPT`] of `total`.
    pub first: Vec<SkippedRecord>,
}

/// One record that should have been a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRecord {
    /// The file, if it is not the zone's own but one that it includes.
    pub file: Option<Arc<str>>,
    /// Line number from 1; 0 if the zone came without lines.
    pub line: u32,
    /// The record's owner in text form, printable ASCII only.
    pub owner: String,
    /// What is wrong, in words.
    pub reason: Cow<'static, str>,
}

impl Skipped {
    /// Counts a record and keeps it if there is room; `record` is called only then.
    pub fn note(&mut self, record: impl FnOnce() -> SkippedRecord) {
        self.total += 1;
        if self.first.len() < SKIPPED_KEPT {
            self.first.push(record());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arena_gives_back_what_was_pushed() {
        let mut arena = RuleArena::default();
        assert_eq!(arena.iter().next(), None);
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62]].concat();
        let codes = [0, 4, 254, 255, 256, u32::MAX];
        let mut wanted = Vec::new();
        for i in 0..60_000_u32 {
            let labels = match i % 1000 {
                0 => longest.clone(),
                1 => Vec::new(),
                n => [&[4][..], &(n + i).to_be_bytes()].concat(),
            };
            let code = ActionCode::from_u32(codes[i as usize % codes.len()]);
            arena.push(&labels, code);
            wanted.push(([labels, vec![0]].concat(), code));
        }
        assert_eq!(arena.len(), wanted.len());
        assert!(arena.iter().eq(wanted.iter().map(|(name, code)| (&name[..], *code))));
    }

    #[test]
    fn a_plain_rule_takes_few_octets() {
        let mut arena = RuleArena::default();
        for i in 0..400_000_u32 {
            let label = format!("host{i:08}");
            let wire = [&[12][..], label.as_bytes(), b"\x07example\x03com"].concat();
            arena.push(&wire, ActionCode::from(Action::Nxdomain));
        }
        // 25 octets of labels and 3 of packing
        let each = arena.bytes() as f64 / arena.len() as f64;
        assert!((28.0..31.0).contains(&each), "{each} octets a rule");
    }

    #[test]
    fn counts_and_skips_add_up() {
        let mut counts = Counts::default();
        counts.note(TriggerKind::Qname, Action::Nxdomain);
        counts.note(TriggerKind::Qname, Action::Data(7));
        counts.note(TriggerKind::Nsip, Action::Data(8));
        assert_eq!(counts.by_trigger(TriggerKind::Qname), 2);
        assert_eq!(counts.by_action(Action::Data(0)), 2);
        assert_eq!(counts.total(), 3);
        let mut skipped = Skipped::default();
        let record = |line| SkippedRecord {
            file: None,
            line,
            owner: "x".into(),
            reason: Cow::Borrowed("no"),
        };
        for line in 0..5_000 {
            skipped.note(|| record(line));
        }
        assert_eq!((skipped.total, skipped.first.len()), (5_000, SKIPPED_KEPT));
        assert_eq!(skipped.first[999], record(999));
    }
}
