//! One owner of a store as octets.
//!
//! ```text
//!   entry   | length | labels, lower case, root label | code | number of records | records |
//!   record  | kind | length of the data | data |
//!
//!   code      1 octet; 254: no QNAME rule; 255 and four octets
//!   number    1 octet; 255 and four octets
//!   kind      place in the store's list of kinds; 255, two octets of type, four of TTL
//!   length    1 octet; 255 and two octets
//! ```
//!
//! Long forms are there for what the short ones cannot say, and for nothing else. Numbers are
//! little-endian. A reader ends at the first octet that does not fit.

use std::cmp::Ordering;
use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::dns::name::{MAX_LABEL, MAX_NAME};
use crate::policy::action::ActionCode;

use super::{MAX_KINDS, Owner};

/// Type and TTL of a record; the TTL in seconds.
pub type Kind = (u16, u32);

/// In place of a code: the records are no QNAME rule.
const NO_RULE: u8 = 254;
/// In place of a short form: the long one follows.
const LONG: u8 = 255;

/// A record without its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Record type.
    pub rtype: u16,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Record data in wire form, names uncompressed, at most 65,535 octets.
    pub rdata: &'a [u8],
}

impl Record<'_> {
    /// The order of an owner's records: CNAME first, then by type and data, the case of a name
    /// that is the whole data left aside. The TTL does not count: records that are equal here are
    /// one record (RFC 2181 section 5).
    pub fn order(&self, other: &Record<'_>) -> Ordering {
        let first = |rtype: u16| (rtype != CNAME, rtype);
        first(self.rtype).cmp(&first(other.rtype)).then_with(|| {
            if !is_name(self.rtype) {
                return self.rdata.cmp(other.rdata);
            }
            let own = self.rdata.iter().map(u8::to_ascii_lowercase);
            own.cmp(other.rdata.iter().map(u8::to_ascii_lowercase))
        })
    }
}

/// Type code of CNAME (RFC 1035 section 3.2.2).
const CNAME: u16 = 5;

/// NS, CNAME, PTR, DNAME: the data is one name, and names are equal whatever their case.
fn is_name(rtype: u16) -> bool {
    matches!(rtype, 2 | CNAME | 12 | 39)
}

/// True if a store can hold a record with this owner and data: the owner is a canonical name of
/// at most 255 octets with its root label, the data has at most 65,535.
#[inline]
pub fn fits(labels: &[u8], rdata: &[u8]) -> bool {
    is_owner(labels) && rdata.len() <= usize::from(u16::MAX)
}

#[inline]
fn is_owner(labels: &[u8]) -> bool {
    let mut rest = labels;
    while let Some((&len, tail)) = rest.split_first() {
        let len = usize::from(len);
        if len == 0 || len > MAX_LABEL || len > tail.len() {
            return false;
        }
        rest = tail.get(len..).unwrap_or_default();
    }
    // lengths of labels are no letters
    labels.len() < MAX_NAME && !labels.iter().any(u8::is_ascii_uppercase)
}

/// An owner as it is found in its bucket.
#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    /// All its octets.
    pub(super) raw: &'a [u8],
    /// The owner with root label.
    pub(super) wire: &'a [u8],
    pub(super) code: Option<ActionCode>,
    /// Number of records.
    pub(super) count: u32,
    records: &'a [u8],
}

impl<'a> Entry<'a> {
    /// The owner without root label.
    #[inline]
    pub(super) fn labels(&self) -> &'a [u8] {
        self.wire.split_last().map_or(&[], |(_, labels)| labels)
    }

    pub(super) fn owner(&self, kinds: &'a [Kind]) -> Owner<'a> {
        let records = Records { left: self.count, rest: self.records, kinds };
        Owner { labels: self.labels(), code: self.code, records }
    }
}

/// Walk through a bucket.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn of(bucket: &'a [u8]) -> Entries<'a> {
        Entries { rest: bucket }
    }

    /// All octets were read.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'a>> {
        let (&len, rest) = self.rest.split_first()?;
        let (wire, rest) = rest.split_at_checked(usize::from(len))?;
        let (code, rest) = read_code(rest)?;
        let (count, records) = read_count(rest)?;
        let mut rest = records;
        for _ in 0..count {
            let (_, _, tail) = read_record(rest)?;
            rest = tail;
        }
        let raw = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Entry { raw, wire, code, count, records })
    }
}

/// The records of an owner.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    left: u32,
    rest: &'a [u8],
    kinds: &'a [Kind],
}

impl Records<'_> {
    /// How many are left.
    pub fn len(&self) -> usize {
        self.left as usize
    }

    /// True if none is left.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (record, rest) = cut_record(self.rest, self.kinds)?;
        self.rest = rest;
        Some(record)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // what is collected takes no more room than it needs
        (self.len(), Some(self.len()))
    }
}

/// A kind as a record has it.
enum KindAt {
    Place(u8),
    Here(Kind),
}

#[inline]
fn read_code(octets: &[u8]) -> Option<(Option<ActionCode>, &[u8])> {
    let (&short, rest) = octets.split_first()?;
    match short {
        NO_RULE => Some((None, rest)),
        LONG => {
            let (long, rest) = rest.split_first_chunk()?;
            let code = u32::from_le_bytes(*long);
            (code >= u32::from(NO_RULE)).then(|| (Some(ActionCode::from_u32(code)), rest))
        }
        short => Some((Some(ActionCode::from_u32(short.into())), rest)),
    }
}

#[inline]
fn read_count(octets: &[u8]) -> Option<(u32, &[u8])> {
    match octets.split_first()? {
        (0, _) => None,
        (&LONG, rest) => {
            let (long, rest) = rest.split_first_chunk()?;
            let count = u32::from_le_bytes(*long);
            (count >= u32::from(LONG)).then_some((count, rest))
        }
        (&short, rest) => Some((short.into(), rest)),
    }
}

#[inline]
fn read_record(octets: &[u8]) -> Option<(KindAt, &[u8], &[u8])> {
    let (&place, mut rest) = octets.split_first()?;
    let mut kind = KindAt::Place(place);
    if place == LONG {
        let (rtype, tail) = rest.split_first_chunk()?;
        let (ttl, tail) = tail.split_first_chunk()?;
        kind = KindAt::Here((u16::from_le_bytes(*rtype), u32::from_le_bytes(*ttl)));
        rest = tail;
    }
    let (&short, mut rest) = rest.split_first()?;
    let mut len = usize::from(short);
    if short == LONG {
        let (long, tail) = rest.split_first_chunk()?;
        len = usize::from(u16::from_le_bytes(*long));
        if len < usize::from(LONG) {
            return None;
        }
        rest = tail;
    }
    let (rdata, rest) = rest.split_at_checked(len)?;
    Some((kind, rdata, rest))
}

/// The record that octets begin with, and what follows it.
#[inline]
pub(super) fn cut_record<'a>(octets: &'a [u8], kinds: &[Kind]) -> Option<(Record<'a>, &'a [u8])> {
    let (kind, rdata, rest) = read_record(octets)?;
    let (rtype, ttl) = match kind {
        KindAt::Place(place) => *kinds.get(usize::from(place))?,
        KindAt::Here(kind) => kind,
    };
    Some((Record { rtype, ttl, rdata }, rest))
}

/// True if the octets of an entry are what [`write`] would have made of it. `sorted` are the
/// kinds once more.
pub(super) fn is_canonical(entry: &Entry<'_>, kinds: &[Kind], sorted: &[Kind]) -> bool {
    let Some((0, labels)) = entry.wire.split_last() else { return false };
    if !is_owner(labels) {
        return false;
    }
    let mut rest = entry.records;
    let mut before: Option<Record<'_>> = None;
    for _ in 0..entry.count {
        let Some((kind, rdata, tail)) = read_record(rest) else { return false };
        let kind = match kind {
            KindAt::Place(place) => kinds.get(usize::from(place)).copied(),
            // a kind goes into the list while there is room
            KindAt::Here(kind) => {
                let full = kinds.len() == MAX_KINDS && sorted.binary_search(&kind).is_err();
                full.then_some(kind)
            }
        };
        let Some((rtype, ttl)) = kind else { return false };
        let record = Record { rtype, ttl, rdata };
        if before.is_some_and(|before| before.order(&record) != Ordering::Less) {
            return false;
        }
        (before, rest) = (Some(record), tail);
    }
    true
}

/// The list of kinds while records are written.
pub(super) struct Kinds {
    pub(super) list: Vec<Kind>,
    places: HashMap<Kind, u8, RandomState>,
    /// The last one looked for: most records of a zone are of one kind.
    last: Option<(Kind, u8)>,
}

impl Kinds {
    pub(super) fn of(list: &[Kind]) -> Kinds {
        let places = list.iter().copied().zip(0..).collect();
        Kinds { list: list.to_vec(), places, last: None }
    }

    /// The place of a kind, which is noted if there is room.
    #[inline]
    pub(super) fn place(&mut self, kind: Kind) -> Option<u8> {
        if let Some((last, place)) = self.last
            && last == kind
        {
            return Some(place);
        }
        let place = match self.places.get(&kind) {
            Some(&place) => place,
            None if self.list.len() < MAX_KINDS => {
                let place = self.list.len() as u8;
                self.list.push(kind);
                self.places.insert(kind, place);
                place
            }
            None => return None,
        };
        self.last = Some((kind, place));
        Some(place)
    }
}

/// Writes an entry. The records are in their order, without doubles.
pub(super) fn write<'r>(
    out: &mut Vec<u8>,
    kinds: &mut Kinds,
    labels: &[u8],
    code: Option<ActionCode>,
    records: impl ExactSizeIterator<Item = Record<'r>>,
) {
    debug_assert!(is_owner(labels) && records.len() > 0);
    out.push(labels.len() as u8 + 1);
    out.extend_from_slice(labels);
    out.push(0);
    match code.map(ActionCode::as_u32) {
        None => out.push(NO_RULE),
        Some(short) if short < u32::from(NO_RULE) => out.push(short as u8),
        Some(long) => {
            out.push(LONG);
            out.extend_from_slice(&long.to_le_bytes());
        }
    }
    if records.len() < usize::from(LONG) {
        out.push(records.len() as u8);
    } else {
        out.push(LONG);
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
    }
    for record in records {
        write_record(out, kinds, &record);
    }
}

/// Writes a record without its owner.
#[inline]
pub(super) fn write_record(out: &mut Vec<u8>, kinds: &mut Kinds, record: &Record<'_>) {
    debug_assert!(record.rdata.len() <= usize::from(u16::MAX));
    match kinds.place((record.rtype, record.ttl)) {
        Some(place) => out.push(place),
        None => {
            out.push(LONG);
            out.extend_from_slice(&record.rtype.to_le_bytes());
            out.extend_from_slice(&record.ttl.to_le_bytes());
        }
    }
    if record.rdata.len() < usize::from(LONG) {
        out.push(record.rdata.len() as u8);
    } else {
        out.push(LONG);
        out.extend_from_slice(&(record.rdata.len() as u16).to_le_bytes());
    }
    out.extend_from_slice(record.rdata);
}
