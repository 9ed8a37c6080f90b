//! What the records of an answer mean: a whole zone, changes to one, or neither (RFC 5936
//! section 2.2, RFC 1995 section 4). Pure: messages in, records out.
//!
//! ```text
//!   Start ─SOA─► First ─────────────── any record ─► Whole ─── the same SOA ───► Done
//!     │            ├─ the SOA that we have ─► Removing ─ SOA ─► Adding ─ the same SOA ─┘
//!     │            │                              ▲               │
//!     │            └─ the same SOA: empty zone    └── next SOA ───┘
//!     └─ our own serial: Done, nothing is newer
//! ```

use std::fmt;

use super::serial::{Order, order};
use crate::dns::name::Name;
use crate::dns::record::{Record, Records, Section, names_in_rdata, read_name};
use crate::dns::{CLASS_IN, HEADER, flag, opcode, rcode, rtype, u16_at, u32_at};

/// One record of a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rr<'a> {
    /// Its owner.
    pub owner: &'a Name,
    /// Its type.
    pub rtype: u16,
    /// Its TTL in seconds, as received.
    pub ttl: u32,
    /// Its data. Names that may be compressed are written out, in lower case.
    pub rdata: &'a [u8],
}

/// What a start of authority says (RFC 1035 section 3.3.13). Times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Version of the zone.
    pub serial: u32,
    /// Time between looks at the primary.
    pub refresh: u32,
    /// The same after a look that failed.
    pub retry: u32,
    /// Without contact for this long, the zone should not be used any more.
    pub expire: u32,
    /// TTL of negative answers.
    pub minimum: u32,
}

impl Soa {
    /// From the data of a record, its names written out.
    pub fn read(rdata: &[u8]) -> Option<Soa> {
        let (_, at) = read_uncompressed(rdata, 0)?;
        let (_, at) = read_uncompressed(rdata, at)?;
        let numbers = rdata.get(at..).filter(|numbers| numbers.len() == 20)?;
        let number = |i: usize| u32_at(numbers, 4 * i);
        Some(Soa {
            serial: number(0)?,
            refresh: number(1)?,
            retry: number(2)?,
            expire: number(3)?,
            minimum: number(4)?,
        })
    }
}

/// The name at `at` and the offset behind it.
fn read_uncompressed(octets: &[u8], at: usize) -> Option<(Name, usize)> {
    let mut end = at;
    loop {
        let label = usize::from(*octets.get(end)?);
        end += 1 + label;
        if label == 0 {
            return Some((Name::from_wire(octets.get(at..end)?).ok()?, end));
        }
    }
}

/// Takes the records of a transfer, in their order. Either a whole zone comes or changes to one.
pub trait Taker: Send {
    /// A whole zone begins. Its SOA is this one and does not come again.
    fn whole(&mut self, soa: &Rr<'_>) -> Result<(), Stop>;
    /// Changes to the version that we have begin.
    fn changes(&mut self) -> Result<(), Stop>;
    /// This record goes. Only among changes; never an SOA.
    fn remove(&mut self, rr: &Rr<'_>) -> Result<(), Stop>;
    /// This record comes; never an SOA.
    fn add(&mut self, rr: &Rr<'_>) -> Result<(), Stop>;
    /// Among changes: the SOA of the version that the removals before it and the additions behind
    /// it lead to.
    fn soa(&mut self, soa: &Rr<'_>) -> Result<(), Stop>;
}

/// Why a taker wants no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The changes do not fit what we have: the whole zone is needed.
    Misfit(String),
    /// It cannot take this version, for this reason.
    Refused(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole zone (AXFR).
    Whole,
    /// What is newer than this serial (IXFR).
    Since(u32),
}

impl Asked {
    /// Its query type.
    pub fn rtype(self) -> u16 {
        match self {
            Asked::Whole => rtype::AXFR,
            Asked::Since(_) => rtype::IXFR,
        }
    }
}

/// How far the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More messages must come.
    More,
    /// The answer is complete.
    Done(Ended),
}

/// What an answer was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The primary has nothing newer.
    UpToDate,
    /// The whole zone, with this serial.
    Whole(u32),
    /// Changes that lead to this serial.
    Changes(u32),
}

/// Why an answer cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A message or record that cannot be read.
    Malformed,
    /// The message is no answer, or one to another request or kind of request.
    NotOurs,
    /// The message repeats another question than ours.
    OtherQuestion,
    /// TC is set, which has no meaning on a stream.
    Truncated,
    /// A response code that is not NOERROR.
    Rcode(u16),
    /// A message without records.
    Empty,
    /// The answer does not begin with an SOA of the zone.
    NoSoaFirst,
    /// The answer about the SOA has none, or is not authoritative.
    NoSoa,
    /// An SOA of another name.
    OtherSoa(String),
    /// A record of a name that is not in the zone.
    OutOfZone(String),
    /// A record of another class.
    Class(u16),
    /// A record of a type that no zone has.
    NoData(u16),
    /// The last SOA is not the first one again.
    EndDiffers {
        /// Serial of the first.
        first: u32,
        /// Serial of the last.
        last: u32,
    },
    /// Changes that do not begin where the ones before them ended, or not at our version.
    Chain {
        /// Where they should begin.
        expected: u32,
        /// Where they begin.
        got: u32,
    },
    /// Changes that lead back, or past the version they should lead to.
    LeadsBack {
        /// Where they begin.
        from: u32,
        /// Where they lead.
        to: u32,
    },
    /// The primary's version is older than ours.
    Backwards {
        /// Its serial.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// The primary's serial is 2^31 away from ours.
    Undefined {
        /// Its serial.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// Records behind the last SOA.
    AfterTheEnd,
    /// More records than may come.
    TooMany(u64),
    /// The taker wants no more.
    Stopped(Stop),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Fault {
        Fault::Stopped(stop)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    First,
    Whole,
    /// Behind the SOA of the version with this serial.
    Removing(u32),
    /// Behind the SOA of the version with this serial, which the additions complete.
    Adding(u32),
    Done(Ended),
}

/// The SOA that an answer begins with.
#[derive(Clone, Debug)]
struct Head {
    serial: u32,
    ttl: u32,
    rdata: Vec<u8>,
}

/// One answer that is being read.
#[derive(Debug)]
pub struct Framing {
    zone: Name,
    id: u16,
    asked: Asked,
    max_records: u64,
    state: State,
    head: Head,
    records: u64,
    /// Data of a record with its names written out.
    rdata: Vec<u8>,
}

impl Framing {
    /// For the answer to the request with this id. It may have `max_records` records, SOAs
    /// included.
    pub fn new(zone: Name, id: u16, asked: Asked, max_records: u64) -> Framing {
        let head = Head { serial: 0, ttl: 0, rdata: Vec::new() };
        let (state, rdata) = (State::Start, Vec::new());
        Framing { zone, id, asked, max_records, state, head, records: 0, rdata }
    }

    /// Records so far, SOAs included. After a fault in a record, its number counted from 1.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Changes were asked for, and nothing but the SOA of a newer version came: a primary that
    /// has no changes may say so in this way (RFC 1995 section 4), or the rest is on its way.
    pub fn is_lone_soa(&self) -> bool {
        self.state == State::First && matches!(self.asked, Asked::Since(_))
    }

    /// Reads the next message. After a fault, or the end, the answer is over.
    pub fn message(&mut self, message: &[u8], taker: &mut dyn Taker) -> Result<Progress, Fault> {
        let at = check_head(message, self.id, &self.zone, self.asked.rtype())?;
        let mut any = false;
        let mut records = Records::new(message, at);
        while let Some(record) = records.next().transpose().map_err(|_| Fault::Malformed)? {
            if record.section != Section::Answer {
                continue;
            }
            any = true;
            self.records += 1;
            self.record(message, &record, taker)?;
        }
        if records.position() != message.len() {
            return Err(Fault::Malformed);
        }
        match self.state {
            _ if !any => Err(Fault::Empty),
            State::Done(ended) => Ok(Progress::Done(ended)),
            _ => Ok(Progress::More),
        }
    }

    fn record(
        &mut self,
        message: &[u8],
        record: &Record,
        taker: &mut dyn Taker,
    ) -> Result<(), Fault> {
        match self.state {
            // whatever a primary adds to "nothing is newer" is not wanted
            State::Done(Ended::UpToDate) => return Ok(()),
            State::Done(_) => return Err(Fault::AfterTheEnd),
            _ if self.records > self.max_records => return Err(Fault::TooMany(self.max_records)),
            _ => {}
        }
        let mut rdata = std::mem::take(&mut self.rdata);
        let owner = read(message, record, &mut rdata)?;
        let rr = Rr { owner: &owner, rtype: record.rtype, ttl: record.ttl, rdata: &rdata };
        self.check(&rr, record.class)?;
        let taken = match rr.rtype {
            rtype::SOA => self.soa(&rr, taker),
            _ => self.data(&rr, taker),
        };
        self.rdata = rdata;
        taken
    }

    /// The record can be one of the zone.
    fn check(&self, rr: &Rr<'_>, class: u16) -> Result<(), Fault> {
        if class != CLASS_IN {
            return Err(Fault::Class(class));
        }
        if matches!(rr.rtype, 0 | rtype::OPT | 128..=255) {
            return Err(Fault::NoData(rr.rtype));
        }
        if rr.rtype == rtype::SOA && *rr.owner != self.zone {
            return Err(Fault::OtherSoa(rr.owner.to_string()));
        }
        if !rr.owner.is_within(&self.zone) {
            return Err(Fault::OutOfZone(rr.owner.to_string()));
        }
        Ok(())
    }

    fn data(&mut self, rr: &Rr<'_>, taker: &mut dyn Taker) -> Result<(), Fault> {
        match self.state {
            State::Start => return Err(Fault::NoSoaFirst),
            State::First => {
                self.begin_whole(taker)?;
                taker.add(rr)?;
            }
            State::Removing(_) => taker.remove(rr)?,
            State::Whole | State::Adding(_) => taker.add(rr)?,
            State::Done(_) => return Err(Fault::AfterTheEnd),
        }
        Ok(())
    }

    fn soa(&mut self, rr: &Rr<'_>, taker: &mut dyn Taker) -> Result<(), Fault> {
        let serial = Soa::read(rr.rdata).ok_or(Fault::Malformed)?.serial;
        let next = match (self.state, self.asked) {
            (State::Start, asked) => {
                self.head = Head { serial, ttl: rr.ttl, rdata: rr.rdata.to_vec() };
                first(asked, serial)?
            }
            (State::First, Asked::Since(ours)) if serial == ours => {
                taker.changes()?;
                State::Removing(serial)
            }
            (State::First, Asked::Since(ours)) if serial != self.head.serial => {
                return Err(Fault::Chain { expected: ours, got: serial });
            }
            (State::First, _) => {
                self.begin_whole(taker)?;
                self.end(rr, serial, Ended::Whole(serial))?
            }
            (State::Whole, _) => self.end(rr, serial, Ended::Whole(serial))?,
            (State::Removing(from), _) => {
                self.leads_on(from, serial)?;
                taker.soa(rr)?;
                State::Adding(serial)
            }
            (State::Adding(at), _) if serial != at => {
                return Err(Fault::Chain { expected: at, got: serial });
            }
            (State::Adding(_), _) if serial == self.head.serial => {
                self.end(rr, serial, Ended::Changes(serial))?
            }
            (State::Adding(_), _) => State::Removing(serial),
            (State::Done(_), _) => return Err(Fault::AfterTheEnd),
        };
        self.state = next;
        Ok(())
    }

    fn begin_whole(&mut self, taker: &mut dyn Taker) -> Result<(), Fault> {
        let Head { ttl, ref rdata, .. } = self.head;
        taker.whole(&Rr { owner: &self.zone, rtype: rtype::SOA, ttl, rdata })?;
        self.state = State::Whole;
        Ok(())
    }

    /// The last SOA must be the first one again.
    fn end(&self, rr: &Rr<'_>, last: u32, ended: Ended) -> Result<State, Fault> {
        match rr.rdata == self.head.rdata {
            true => Ok(State::Done(ended)),
            false => Err(Fault::EndDiffers { first: self.head.serial, last }),
        }
    }

    /// Each step of the changes leads forward, and none past the version they lead to.
    fn leads_on(&self, from: u32, to: u32) -> Result<(), Fault> {
        let within = matches!(order(to, self.head.serial), Order::Older | Order::Same);
        match order(to, from) == Order::Newer && within {
            true => Ok(()),
            false => Err(Fault::LeadsBack { from, to }),
        }
    }
}

/// What the first SOA says about what comes.
fn first(asked: Asked, theirs: u32) -> Result<State, Fault> {
    let Asked::Since(ours) = asked else { return Ok(State::First) };
    match order(theirs, ours) {
        Order::Newer => Ok(State::First),
        Order::Same => Ok(State::Done(Ended::UpToDate)),
        Order::Older => Err(Fault::Backwards { theirs, ours }),
        Order::Undefined => Err(Fault::Undefined { theirs, ours }),
    }
}

/// The SOA in the answer to a query for it.
pub fn read_serial(message: &[u8], id: u16, zone: &Name) -> Result<Soa, Fault> {
    let at = check_head(message, id, zone, rtype::SOA)?;
    if u16_at(message, 2).unwrap_or(0) & flag::AA == 0 {
        return Err(Fault::NoSoa);
    }
    let mut rdata = Vec::new();
    for record in Records::new(message, at) {
        let record = record.map_err(|_| Fault::Malformed)?;
        let wanted = record.section == Section::Answer
            && record.rtype == rtype::SOA
            && record.class == CLASS_IN;
        if wanted && read(message, &record, &mut rdata)? == *zone {
            return Soa::read(&rdata).ok_or(Fault::Malformed);
        }
    }
    Err(Fault::NoSoa)
}

/// The message is an answer to the request with this id and, as far as it says, this question;
/// gives the offset behind the question. Later messages may have none (RFC 5936 section 2.2.1).
fn check_head(message: &[u8], id: u16, zone: &Name, rtype: u16) -> Result<usize, Fault> {
    let field = |at| u16_at(message, at).ok_or(Fault::Malformed);
    let flags = field(2)?;
    let is_query = (flags >> 11 & 0xf) as u8 == opcode::QUERY;
    if field(0)? != id || flags & flag::QR == 0 || !is_query {
        return Err(Fault::NotOurs);
    }
    let code = flags & 0xf;
    if code != rcode::NOERROR {
        return Err(Fault::Rcode(code));
    }
    if flags & flag::TC != 0 {
        return Err(Fault::Truncated);
    }
    match field(4)? {
        0 => Ok(HEADER),
        1 => {
            let (name, end) = read_name(message, HEADER).map_err(|_| Fault::Malformed)?;
            let same = name == *zone && field(end)? == rtype && field(end + 2)? == CLASS_IN;
            if same { Ok(end + 4) } else { Err(Fault::OtherQuestion) }
        }
        _ => Err(Fault::Malformed),
    }
}

/// Owner and data of a record; names in the data that may be compressed are written out.
fn read(message: &[u8], record: &Record, rdata: &mut Vec<u8>) -> Result<Name, Fault> {
    // what is behind the record is not part of it
    let message = message.get(..record.rdata.end).ok_or(Fault::Malformed)?;
    let (owner, _) = read_name(message, record.start).map_err(|_| Fault::Malformed)?;
    rdata.clear();
    let (skip, names) = names_in_rdata(record.rtype);
    let mut at = record.rdata.start;
    if names > 0 {
        rdata.extend(message.get(at..at + skip).ok_or(Fault::Malformed)?);
        at += skip;
        for _ in 0..names {
            let (name, next) = read_name(message, at).map_err(|_| Fault::Malformed)?;
            rdata.extend(name.as_wire());
            at = next;
        }
        let behind = if record.rtype == rtype::SOA { 20 } else { 0 };
        if message.len() - at != behind {
            return Err(Fault::Malformed);
        }
    }
    rdata.extend(message.get(at..).ok_or(Fault::Malformed)?);
    Ok(owner)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Malformed => f.write_str("the message cannot be read"),
            Fault::NotOurs => f.write_str("the message is no answer to our request"),
            Fault::OtherQuestion => f.write_str("the message answers another question"),
            Fault::Truncated => f.write_str("the message is truncated (TC)"),
            Fault::Rcode(code) => write!(f, "the primary says {}", rcode::text(*code)),
            Fault::Empty => f.write_str("the message has no records"),
            Fault::NoSoaFirst => f.write_str("the answer does not begin with the zone's SOA"),
            Fault::NoSoa => {
                f.write_str("the answer has no SOA of the zone, or no authority for it")
            }
            Fault::OtherSoa(owner) => write!(f, "the SOA is that of {owner}"),
            Fault::OutOfZone(owner) => write!(f, "{owner} is not in the zone"),
            Fault::Class(class) => write!(f, "the record's class is {class}, not IN"),
            Fault::NoData(kind) => write!(f, "no zone has records of type {}", rtype::text(*kind)),
            Fault::EndDiffers { first, last } => write!(
                f,
                "the SOA at the end (serial {last}) is not the one at the beginning (serial \
                 {first}): the zone may have changed meanwhile"
            ),
            Fault::Chain { expected, got } => {
                write!(f, "changes begin at serial {got} and not at {expected}")
            }
            Fault::LeadsBack { from, to } => write!(f, "changes lead from serial {from} to {to}"),
            Fault::Backwards { theirs, ours } => write!(
                f,
                "the primary's serial {theirs} is older than ours, {ours}: it went backwards"
            ),
            Fault::Undefined { theirs, ours } => write!(
                f,
                "the primary's serial {theirs} is 2^31 away from ours, {ours}: neither is newer \
                 (RFC 1982)"
            ),
            Fault::AfterTheEnd => f.write_str("records follow the SOA that ends the zone"),
            Fault::TooMany(most) => write!(f, "more than {most} records"),
            Fault::Stopped(Stop::Misfit(why) | Stop::Refused(why)) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
