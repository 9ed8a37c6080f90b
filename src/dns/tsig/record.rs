//! The TSIG record: where it stands, what it says, how it is written (RFC 8945 section 4.2).

use super::super::name::Name;
use super::super::record::{Malformed, Record, Records, Section, read_name, skip_name};
use super::super::{HEADER, rtype, u16_at};
use super::{Algorithm, Key};

const CLASS_ANY: u16 = 255;

/// What a TSIG record says.
#[derive(Clone, Debug)]
pub(super) struct Tsig<'a> {
    /// Offset of the record in its message: what is before it is signed.
    pub(super) start: usize,
    pub(super) name: Name,
    pub(super) algorithm: Name,
    /// When it was signed, in seconds since 1970; 48 bits.
    pub(super) signed: u64,
    /// Seconds that the clocks may be apart.
    pub(super) fudge: u16,
    pub(super) mac: &'a [u8],
    /// The message's id when it was signed.
    pub(super) id: u16,
    pub(super) error: u16,
    pub(super) other: &'a [u8],
}

impl<'a> Tsig<'a> {
    /// The TSIG record of a message, which must be the last one and end the message; `None` if
    /// there is none.
    pub(super) fn find(message: &'a [u8]) -> Result<Option<Tsig<'a>>, Malformed> {
        let mut at = HEADER;
        for _ in 0..u16_at(message, 4).ok_or(Malformed)? {
            at = skip_name(message, at)? + 4;
        }
        let mut records = Records::new(message, at);
        let mut last = None;
        while let Some(record) = records.next().transpose()? {
            if last.is_some() {
                return Err(Malformed);
            }
            last = (record.rtype == rtype::TSIG).then_some(record);
        }
        match last {
            Some(record) if record.rdata.end != message.len() => Err(Malformed),
            Some(record) => Tsig::read(message, &record).map(Some),
            None => Ok(None),
        }
    }

    fn read(message: &'a [u8], record: &Record) -> Result<Tsig<'a>, Malformed> {
        let at_its_place =
            record.section == Section::Additional && record.class == CLASS_ANY && record.ttl == 0;
        if !at_its_place {
            return Err(Malformed);
        }
        let (name, _) = read_name(message, record.start)?;
        let (algorithm, at) = read_name(message, record.rdata.start)?;
        let mut fields = Fields(message.get(at..record.rdata.end).ok_or(Malformed)?);
        let tsig = Tsig {
            start: record.start,
            name,
            algorithm,
            signed: seconds(fields.take(6)?),
            fudge: fields.number()?,
            mac: fields.counted()?,
            id: fields.number()?,
            error: fields.number()?,
            other: fields.counted()?,
        };
        if fields.0.is_empty() { Ok(tsig) } else { Err(Malformed) }
    }

    /// Made with this key: name and algorithm are the same.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.name == key.name && self.algorithm.as_wire() == key.algorithm.wire()
    }

    /// The clocks agree as far as the signer wants them to (section 5.2.3).
    pub(super) fn is_timely(&self, now: u64) -> bool {
        self.signed.abs_diff(now) <= u64::from(self.fudge)
    }

    /// When it was signed, as it stands in the message.
    pub(super) fn signed_wire(&self) -> [u8; 6] {
        wire_seconds(self.signed)
    }

    /// Key and algorithm as people name them.
    pub(super) fn key_text(&self) -> String {
        let known = Algorithm::ALL.into_iter().find(|a| a.wire() == self.algorithm.as_wire());
        match known {
            Some(algorithm) => format!("{} {}", self.name, algorithm.as_str()),
            None => format!("{} {}", self.name, self.algorithm),
        }
    }

    /// Appends the record with this MAC, and counts it. A message that has no room for one more
    /// record is none of ours.
    pub(super) fn append(&self, message: &mut Vec<u8>, mac: &[u8]) {
        let data = self.algorithm.len() + 6 + 2 + 2 + mac.len() + 2 + 2 + 2 + self.other.len();
        message.extend(self.name.as_wire());
        message.extend(rtype::TSIG.to_be_bytes());
        message.extend(CLASS_ANY.to_be_bytes());
        message.extend([0; 4]);
        message.extend((data as u16).to_be_bytes());
        message.extend(self.algorithm.as_wire());
        message.extend(self.signed_wire());
        message.extend(self.fudge.to_be_bytes());
        message.extend((mac.len() as u16).to_be_bytes());
        message.extend(mac);
        message.extend(self.id.to_be_bytes());
        message.extend(self.error.to_be_bytes());
        message.extend((self.other.len() as u16).to_be_bytes());
        message.extend(self.other);
        if let Some(count) = message.get_mut(HEADER - 2..HEADER) {
            let counted = u16_at(count, 0).unwrap_or(0).saturating_add(1);
            count.copy_from_slice(&counted.to_be_bytes());
        }
    }
}

/// Seconds since 1970 in 48 bits, as signatures have them.
pub(super) fn wire_seconds(seconds: u64) -> [u8; 6] {
    let [_, _, octets @ ..] = seconds.to_be_bytes();
    octets
}

/// The number in up to 8 octets.
pub(super) fn seconds(octets: &[u8]) -> u64 {
    octets.iter().take(8).fold(0, |n, octet| n << 8 | u64::from(*octet))
}

/// Fields of the record's data, taken from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, octets: usize) -> Result<&'a [u8], Malformed> {
        let (field, rest) = self.0.split_at_checked(octets).ok_or(Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn number(&mut self) -> Result<u16, Malformed> {
        u16_at(self.take(2)?, 0).ok_or(Malformed)
    }

    fn counted(&mut self) -> Result<&'a [u8], Malformed> {
        let octets = self.number()?;
        self.take(usize::from(octets))
    }
}
