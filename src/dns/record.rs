//! One walk over the records of a message, in place and without allocation.

use std::ops::Range;

use super::name::{MAX_LABEL, MAX_LABELS, Name, NameBuilder, NameError};
use super::{HEADER, u16_at, u32_at};

/// Section of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// Answer section.
    Answer,
    /// Authority section.
    Authority,
    /// Additional section.
    Additional,
}

/// One record, as offsets into its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Section it stands in.
    pub section: Section,
    /// Offset of the owner name.
    pub start: usize,
    /// Record type.
    pub rtype: u16,
    /// Class field (the payload size in an OPT record).
    pub class: u16,
    /// Offset of the TTL field; type and class stand in the four octets before it.
    pub ttl_at: usize,
    /// TTL field in seconds, as received.
    pub ttl: u32,
    /// Where the record data is; its end is the end of the record.
    pub rdata: Range<usize>,
}

/// The message is not well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl From<NameError> for Malformed {
    fn from(_: NameError) -> Self {
        Malformed
    }
}

/// Iterator over the records behind the question. Fused after an error.
pub struct Records<'a> {
    message: &'a [u8],
    at: usize,
    left: [u16; 3],
}

impl<'a> Records<'a> {
    /// Starts behind the question, at `at`, with the counts of the header.
    pub fn new(message: &'a [u8], at: usize) -> Self {
        let count = |i| u16_at(message, i).unwrap_or(0);
        Records { message, at, left: [count(6), count(8), count(10)] }
    }

    /// Offset behind the last record that was read.
    pub fn position(&self) -> usize {
        self.at
    }

    fn read(&mut self, section: Section) -> Result<Record, Malformed> {
        let start = self.at;
        let fixed = skip_name(self.message, start)?;
        let field = |at| u16_at(self.message, at).ok_or(Malformed);
        let (rtype, class) = (field(fixed)?, field(fixed + 2)?);
        let ttl = u32_at(self.message, fixed + 4).ok_or(Malformed)?;
        let rdata = fixed + 10..fixed + 10 + field(fixed + 8)? as usize;
        if rdata.end > self.message.len() {
            return Err(Malformed);
        }
        self.at = rdata.end;
        Ok(Record { section, start, rtype, class, ttl_at: fixed + 4, ttl, rdata })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let i = self.left.iter().position(|&n| n > 0)?;
        self.left[i] -= 1;
        let section = [Section::Answer, Section::Authority, Section::Additional][i];
        let record = self.read(section);
        if record.is_err() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

/// Offset behind the name at `at`, which is not decompressed. Label types other than plain
/// labels and pointers are refused (RFC 6891 section 5).
pub fn skip_name(message: &[u8], mut at: usize) -> Result<usize, NameError> {
    loop {
        let len = *message.get(at).ok_or(NameError::Short)?;
        match len {
            0 => return Ok(at + 1),
            1..=63 => at += 1 + len as usize,
            0xc0.. => {
                return if at + 2 <= message.len() { Ok(at + 2) } else { Err(NameError::Short) };
            }
            _ => return Err(NameError::Label),
        }
    }
}

/// Reads the name at `at`, following pointers, and gives the offset behind it.
///
/// Every pointer must point further back than the piece of name it ends, so the walk ends; and
/// no honest name needs more pointers than it can have labels.
pub fn read_name(message: &[u8], at: usize) -> Result<(Name, usize), NameError> {
    let mut out = NameBuilder::new();
    let mut pos = at;
    let mut floor = at;
    let mut end = None;
    let mut hops = 0;
    loop {
        let len = *message.get(pos).ok_or(NameError::Short)? as usize;
        match len {
            0 => return Ok((out.finish(), end.unwrap_or(pos + 1))),
            1..=MAX_LABEL => {
                out.push_label(message.get(pos + 1..pos + 1 + len).ok_or(NameError::Short)?)?;
                pos += 1 + len;
            }
            0xc0.. => {
                let low = *message.get(pos + 1).ok_or(NameError::Short)? as usize;
                let target = (len & 0x3f) << 8 | low;
                end.get_or_insert(pos + 2);
                hops += 1;
                if target >= floor || target < HEADER || hops > MAX_LABELS {
                    return Err(NameError::Pointer);
                }
                floor = target;
                pos = target;
            }
            _ => return Err(NameError::Label),
        }
    }
}

/// Where names stand in the data of types whose names may be compressed or followed
/// (RFC 1035 section 3.3, RFC 3597 section 4): octets in front, number of names.
/// What comes behind the names is plain data.
pub fn names_in_rdata(rtype: u16) -> (usize, usize) {
    match rtype {
        // NS MD MF CNAME MB MG MR PTR DNAME
        2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => (0, 1),
        // SOA MINFO RP
        6 | 14 | 17 => (0, 2),
        // MX AFSDB RT KX
        15 | 18 | 21 | 36 => (2, 1),
        // PX
        26 => (2, 2),
        // SRV
        33 => (6, 1),
        _ => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_only_go_back() {
        let mut message = vec![0u8; HEADER];
        message.extend(b"\x01a\x01b\x00"); // at 12
        message.extend(b"\x01c\xc0\x0c"); // at 17
        message.extend(b"\xc0\x11"); // at 21
        message.extend(b"\xc0\x17"); // at 23: itself
        message.extend(b"\xc0\x1b\x00"); // at 25: forward
        message.extend(b"\xc0\x05"); // into the header
        assert_eq!(read_name(&message, 17).unwrap(), ("c.a.b".parse().unwrap(), 21));
        assert_eq!(read_name(&message, 21).unwrap(), ("c.a.b".parse().unwrap(), 23));
        for bad in [23, 25, 28] {
            assert_eq!(read_name(&message, bad), Err(NameError::Pointer), "{bad}");
        }
        // a chain of pointers, each one further back
        let mut chain = vec![0u8; HEADER];
        chain.extend(b"\x01a\x00");
        for i in 0..200u16 {
            let to = if i == 0 { 12 } else { 15 + 2 * (i - 1) };
            chain.extend((0xc000 | to).to_be_bytes());
        }
        assert!(read_name(&chain, 15 + 2 * 126).is_ok());
        assert_eq!(read_name(&chain, 15 + 2 * 127), Err(NameError::Pointer));
        // a label that runs into its own pointer again and again
        let mut ring = vec![0u8; HEADER];
        ring.extend(b"\x01a\xc0\x0c");
        assert_eq!(read_name(&ring, 12), Err(NameError::Pointer));
    }

    #[test]
    fn reserved_label_types_are_refused() {
        for first in [0x40, 0x80, 0xbf] {
            let mut message = vec![0u8; HEADER];
            message.extend([first, 0, 0]);
            assert_eq!(read_name(&message, 12), Err(NameError::Label));
            assert_eq!(skip_name(&message, 12), Err(NameError::Label));
        }
    }
}
