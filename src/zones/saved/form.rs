//! The form of an image: the rules of one zone as octets, in the shape that they have in memory.
//!
//! ```text
//!   magic, version
//!   zone name, identity of its source, when the rules came, how many they are
//!   SOA, what was skipped
//!   local data        sets of records by number
//!   prefixes
//!   NSDNAME rules     blocks of an arena
//!   QNAME rules       blocks of an arena, or the buckets of a record store
//!   checksum of all of it
//! ```
//!
//! Buckets and the hash that places owners in them belong to the format: if they change, the
//! version must.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use super::fault::Why;
use super::octets::{Flaw, Reader, Writer};
use super::{Identity, Saved};
use crate::dns::name::{self, Name};
use crate::dns::rtype;
use crate::limits;
use crate::policy::action::{Action, ActionCode, LocalData, LocalRecord};
use crate::policy::local_data::DataList;
use crate::policy::records::RecordStore;
use crate::policy::rules::{
    AddressRule, Counts, NameRules, RuleArena, Skipped, SkippedRecord, Soa, ZoneRules,
};
use crate::policy::trigger::TriggerKind;

/// How each image begins.
pub(super) const MAGIC: [u8; 8] = *b"CULVERTZ";
/// The version that is written, and the only one that is read.
pub(super) const VERSION: u32 = 1;

/// QNAME rules in an arena, or with all records.
const LISTED: u8 = 0;
const KEPT: u8 = 1;

/// Least octets of parts of which there are many.
mod least {
    pub(super) const SKIPPED: u64 = 9;
    pub(super) const SET: u64 = 2;
    pub(super) const PREFIX: u64 = 11;
    pub(super) const BLOCK: u64 = 4;
}

// ── out ─────────────────────────────────────────────────────────────────────────────────────

/// Writes the image of a zone.
pub(super) fn write(saved: &Saved<'_>, into: impl Write) -> io::Result<()> {
    let rules = saved.rules;
    let mut out = Writer::new(into);
    out.put(&MAGIC)?;
    out.put(&VERSION.to_le_bytes())?;
    out.short(rules.origin.as_wire())?;
    out.put(&saved.identity.octets())?;
    out.put(&saved.came.to_le_bytes())?;
    out.put(&(rules.len() as u64).to_le_bytes())?;
    out.put(&rules.soa.ttl.to_le_bytes())?;
    out.short(&rules.soa.rdata)?;
    put_skipped(&mut out, &rules.skipped)?;
    put_data(&mut out, &rules.data)?;
    put_prefixes(&mut out, &rules.prefixes)?;
    put_blocks(&mut out, rules.nsdnames.blocks())?;
    match &rules.names {
        NameRules::Listed(arena) => {
            out.put(&[LISTED])?;
            put_blocks(&mut out, arena.blocks())?;
        }
        NameRules::Kept(records) => {
            out.put(&[KEPT])?;
            out.put(&records.seed().to_le_bytes())?;
            out.count(records.kinds().len())?;
            for (rtype, ttl) in records.kinds() {
                out.put(&rtype.to_le_bytes())?;
                out.put(&ttl.to_le_bytes())?;
            }
            put_blocks(&mut out, records.buckets())?;
        }
    }
    out.finish()
}

fn put_skipped(out: &mut Writer<impl Write>, skipped: &Skipped) -> io::Result<()> {
    out.put(&skipped.total.to_le_bytes())?;
    out.put(&skipped.unused.to_le_bytes())?;
    let first = &skipped.first[..skipped.first.len().min(limits::SAVED_REASONS)];
    out.count(first.len())?;
    for record in first {
        out.put(&[u8::from(record.file.is_some())])?;
        out.short(record.file.as_deref().unwrap_or_default().as_bytes())?;
        out.put(&record.line.to_le_bytes())?;
        out.short(record.owner.as_bytes())?;
        out.short(record.reason.as_bytes())?;
    }
    Ok(())
}

fn put_data(out: &mut Writer<impl Write>, data: &DataList) -> io::Result<()> {
    out.count(data.len())?;
    for set in data.iter() {
        let count = u16::try_from(set.records().len());
        out.put(&count.map_err(io::Error::other)?.to_le_bytes())?;
        for record in set.records() {
            out.put(&record.rtype.to_le_bytes())?;
            out.put(&record.ttl.to_le_bytes())?;
            out.short(&record.rdata)?;
        }
    }
    Ok(())
}

fn put_prefixes(out: &mut Writer<impl Write>, prefixes: &[AddressRule]) -> io::Result<()> {
    out.count(prefixes.len())?;
    for (kind, net, code) in prefixes {
        let family = if net.addr().is_ipv4() { 4 } else { 6 };
        out.put(&[*kind as u8, family, net.prefix_len()])?;
        match net.addr() {
            IpAddr::V4(address) => out.put(&address.octets())?,
            IpAddr::V6(address) => out.put(&address.octets())?,
        }
        out.put(&code.as_u32().to_le_bytes())?;
    }
    Ok(())
}

fn put_blocks<'a>(
    out: &mut Writer<impl Write>,
    blocks: impl ExactSizeIterator<Item = &'a [u8]>,
) -> io::Result<()> {
    out.count(blocks.len())?;
    for block in blocks {
        out.long(block)?;
    }
    Ok(())
}

// ── in ──────────────────────────────────────────────────────────────────────────────────────

/// What an image holds.
pub(super) struct Image {
    pub(super) rules: ZoneRules,
    pub(super) identity: Identity,
    pub(super) came: u64,
}

impl From<Flaw> for Why {
    fn from(flaw: Flaw) -> Why {
        match flaw {
            Flaw::Io(error) => Why::Unreadable(error),
            Flaw::Short => Why::Damaged("it is cut short"),
            Flaw::Odd(what) => Why::Damaged(what),
        }
    }
}

/// Reads an image of this many octets.
pub(super) fn read(
    from: impl Read,
    octets: u64,
    zone: &Name,
    max_rules: usize,
) -> Result<Image, Why> {
    let mut from = Reader::new(from, octets);
    if from.array()? != MAGIC {
        return Err(Why::Foreign);
    }
    match from.u32()? {
        VERSION => {}
        other => return Err(Why::Format(other)),
    }
    let name = Name::from_wire(&from.short()?).map_err(|_| Why::Damaged("its zone has no name"))?;
    if name != *zone {
        return Err(Why::OtherZone(name.to_string()));
    }
    let identity = Identity::from_octets(&from.array()?);
    let identity = identity.ok_or(Why::Damaged("the kind of its source is unknown"))?;
    let came = from.u64()?;
    let count = from.u64()?;
    // the rest of a file that is too much need not be read
    if count > max_rules as u64 {
        return Err(Why::TooManyRules(count, max_rules));
    }
    let mut rules = ZoneRules::none(name);
    rules.soa = soa(&mut from)?;
    rules.skipped = skipped(&mut from)?;
    rules.data = data(&mut from)?;
    let mut tally = Tally { counts: Counts::default(), sets: rules.data.len(), stray: false };
    rules.prefixes = Arc::new(prefixes(&mut from, &mut tally)?);
    rules.nsdnames = Arc::new(arena(&mut from, TriggerKind::Nsdname, &mut tally)?);
    rules.names = names(&mut from, &mut tally)?;
    from.finish()?;
    rules.counts = tally.counts;
    if tally.stray {
        return Err(Why::Damaged("a rule has local data that is not there"));
    }
    if rules.len() as u64 != count || tally.counts.total() != count {
        return Err(Why::Damaged("the number of its rules is another than it says"));
    }
    Ok(Image { rules, identity, came })
}

/// Counts rules as they come in.
struct Tally {
    counts: Counts,
    /// How many sets of local data there are.
    sets: usize,
    /// A rule refers to one that is not there.
    stray: bool,
}

impl Tally {
    #[inline]
    fn note(&mut self, kind: TriggerKind, code: ActionCode) {
        let action = code.action();
        if let Action::Data(number) = action {
            self.stray |= number as usize >= self.sets;
        }
        self.counts.note(kind, action);
    }
}

fn soa(from: &mut Reader<impl Read>) -> Result<Soa, Flaw> {
    let (ttl, rdata) = (from.u32()?, from.short()?);
    let after = |octets: &[u8]| octets.get(name::wire_len(octets)?..).map(<[u8]>::len);
    let names = after(&rdata).and_then(|rest| after(&rdata[rdata.len() - rest..]));
    match Soa::from_rdata(ttl, &rdata) {
        Some(soa) if names == Some(20) => Ok(soa),
        _ => Err(Flaw::Odd("its SOA is none")),
    }
}

fn skipped(from: &mut Reader<impl Read>) -> Result<Skipped, Flaw> {
    let mut skipped = Skipped { total: from.u64()?, unused: from.u64()?, first: Vec::new() };
    for _ in 0..from.count(least::SKIPPED)? {
        let (has_file, file) = (from.u8()? == 1, from.text()?);
        let (line, owner, reason) = (from.u32()?, from.text()?, from.text()?);
        let file = has_file.then(|| file.into());
        skipped.first.push(SkippedRecord { file, line, owner, reason: reason.into() });
    }
    match skipped.first.len() as u64 <= skipped.total.min(limits::SAVED_REASONS as u64) {
        true => Ok(skipped),
        false => Err(Flaw::Odd("it gives more reasons than it can have")),
    }
}

fn data(from: &mut Reader<impl Read>) -> Result<DataList, Flaw> {
    let mut data = DataList::default();
    for _ in 0..from.count(least::SET)? {
        let mut records = Vec::new();
        for _ in 0..from.u16()? {
            let (rtype, ttl, rdata) = (from.u16()?, from.u32()?, from.short()?);
            if rtype == rtype::CNAME && Name::from_wire(&rdata).is_err() {
                return Err(Flaw::Odd("an alias leads to what is no name"));
            }
            records.push(LocalRecord { rtype, ttl, rdata: rdata.into() });
        }
        data.push(LocalData::new(records));
    }
    Ok(data)
}

fn prefixes(from: &mut Reader<impl Read>, tally: &mut Tally) -> Result<Vec<AddressRule>, Flaw> {
    let mut prefixes = Vec::new();
    for _ in 0..from.count(least::PREFIX)? {
        let [kind, family, bits] = from.array()?;
        let address = match family {
            4 => IpAddr::V4(Ipv4Addr::from(from.array::<4>()?)),
            6 => IpAddr::V6(Ipv6Addr::from(from.array::<16>()?)),
            _ => return Err(Flaw::Odd("a rule has an address of no known family")),
        };
        let code = ActionCode::from_u32(from.u32()?);
        let kind = TriggerKind::ALL.get(usize::from(kind)).filter(|kind| kind.is_address());
        let net = IpNet::new(address, bits).ok().filter(|net| net.trunc() == *net && bits > 0);
        let (Some(&kind), Some(net)) = (kind, net) else {
            return Err(Flaw::Odd("a rule has an address that is no prefix"));
        };
        tally.note(kind, code);
        prefixes.push((kind, net, code));
    }
    Ok(prefixes)
}

fn arena(
    from: &mut Reader<impl Read>,
    kind: TriggerKind,
    tally: &mut Tally,
) -> Result<RuleArena, Flaw> {
    let mut blocks = Vec::new();
    for _ in 0..from.count(least::BLOCK)? {
        let count = from.count(1)?;
        blocks.push(from.octets(count)?);
    }
    let arena = RuleArena::from_blocks(blocks, |code| tally.note(kind, code));
    arena.ok_or(Flaw::Odd("its rules cannot be read"))
}

fn names(from: &mut Reader<impl Read>, tally: &mut Tally) -> Result<NameRules, Flaw> {
    match from.u8()? {
        LISTED => arena(from, TriggerKind::Qname, tally).map(NameRules::Listed),
        KEPT => store(from, tally).map(NameRules::Kept),
        _ => Err(Flaw::Odd("the kind of its rules is unknown")),
    }
}

fn store(from: &mut Reader<impl Read>, tally: &mut Tally) -> Result<RecordStore, Flaw> {
    let seed = from.u64()?;
    let mut kinds = Vec::new();
    for _ in 0..from.count(6)? {
        kinds.push((from.u16()?, from.u32()?));
    }
    let mut buckets = Vec::new();
    for _ in 0..from.count(least::BLOCK)? {
        let count = from.count(1)?;
        buckets.push(from.shared(count)?);
    }
    let store = RecordStore::from_raw(seed, &kinds, buckets);
    let store = store.ok_or(Flaw::Odd("its records cannot be read"))?;
    for (_, code) in store.rules() {
        tally.note(TriggerKind::Qname, code);
    }
    Ok(store)
}
