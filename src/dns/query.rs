//! A client's query: read once, strictly, into a form without references to the packet.

use super::edns::{Edns, check_query_options};
use super::name::{MAX_NAME, Name};
use super::question::Question;
use super::record::{Records, Section};
use super::{CLASS_IN, HEADER, flag, opcode, rcode, rtype, u16_at};

/// A query that can be judged: opcode QUERY, one question, well formed.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// The client's id.
    pub id: u16,
    /// Flags as received (see [`flag`]).
    pub flags: u16,
    /// What is asked; `dnssec_ok` and `checking_disabled` as the client set them.
    pub question: Question,
    /// The question's class.
    pub class: u16,
    /// What the client's OPT said, if it sent one.
    pub edns: Option<Edns>,
    /// Which octets of the name came in upper case; all zero for most queries.
    upper: [u32; 8],
}

/// A packet that is no query to judge, with what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Too short for a header, or a response: nothing is ever sent back.
    Silent,
    /// Answered with this code; the question is echoed if `question_end` is set.
    Answer {
        /// Response code.
        rcode: u16,
        /// Offset behind the question, if it could be read.
        question_end: Option<usize>,
    },
    /// A NOTIFY: judged by the zones' own rule.
    Notify,
}

impl Query {
    /// Reads a packet.
    pub fn read(packet: &[u8]) -> Result<Query, Fault> {
        let mut query = Query::blank();
        query.set(packet)?;
        Ok(query)
    }

    /// A query to be set; it asks for nothing.
    #[inline]
    pub fn blank() -> Query {
        let question = Question::plain(Name::ROOT, 0);
        Query { id: 0, flags: 0, question, class: 0, edns: None, upper: [0; 8] }
    }

    /// Becomes what a packet asks; after an error it is anything. In place: moving a query that
    /// was just put together stalls the processor.
    #[inline]
    pub fn set(&mut self, packet: &[u8]) -> Result<(), Fault> {
        let field = |at| u16_at(packet, at).ok_or(Fault::Silent);
        let (id, flags, qdcount) = (field(0)?, field(2)?, field(4)?);
        if packet.len() < HEADER || flags & flag::QR != 0 {
            return Err(Fault::Silent);
        }
        match (flags >> 11 & 0xf) as u8 {
            opcode::QUERY => {}
            opcode::NOTIFY => return Err(Fault::Notify),
            opcode::UPDATE => return Err(answer(rcode::REFUSED)),
            _ => return Err(answer(rcode::NOTIMP)),
        }
        if qdcount != 1 {
            return Err(answer(rcode::FORMERR));
        }
        let name_end = self.set_name(packet).ok_or(answer(rcode::FORMERR))?;
        let fixed = |at| u16_at(packet, at).ok_or(answer(rcode::FORMERR));
        let (rtype, class) = (fixed(name_end)?, fixed(name_end + 2)?);
        let question_end = name_end + 4;
        let formerr = Fault::Answer { rcode: rcode::FORMERR, question_end: Some(question_end) };
        let edns = tail(packet, question_end, rtype).ok_or(formerr)?;
        (self.id, self.flags, self.class, self.edns) = (id, flags, class, edns);
        self.question.rtype = rtype;
        self.question.dnssec_ok = edns.is_some_and(|e| e.dnssec_ok);
        self.question.checking_disabled = flags & flag::CD != 0;
        Ok(())
    }

    /// The name of the question; gives the offset behind it. Compression is not possible here:
    /// there is nothing in front to point to.
    #[inline]
    fn set_name(&mut self, packet: &[u8]) -> Option<usize> {
        let mut end = HEADER;
        loop {
            let len = *packet.get(end)? as usize;
            end += len + 1;
            if len == 0 {
                break;
            }
            if end - HEADER >= MAX_NAME {
                return None;
            }
        }
        let wire = packet.get(HEADER..end)?;
        self.question.name.set_wire(wire).ok()?;
        if wire != self.question.name.as_wire() {
            for (i, _) in wire.iter().enumerate().filter(|(_, octet)| octet.is_ascii_uppercase()) {
                self.upper[i / 32] |= 1 << (i % 32);
            }
        }
        Some(end)
    }

    /// Writes the question's name in the case it came in, wire form, to the front of `out`.
    pub fn put_cased_name(&self, out: &mut [u8]) {
        let wire = self.question.name.as_wire();
        out[..wire.len()].copy_from_slice(wire);
        if self.upper == [0; 8] {
            return;
        }
        for (i, octet) in out[..wire.len()].iter_mut().enumerate() {
            if self.upper[i / 32] >> (i % 32) & 1 != 0 {
                octet.make_ascii_uppercase();
            }
        }
    }

    /// RD: the client wants recursion.
    pub fn recursion_desired(&self) -> bool {
        self.flags & flag::RD != 0
    }

    /// True if the client cares for AD: it set AD or DO (RFC 6840 section 5.7).
    pub fn wants_authentic_data(&self) -> bool {
        self.flags & flag::AD != 0 || self.question.dnssec_ok
    }

    /// True for class IN.
    pub fn is_internet(&self) -> bool {
        self.class == CLASS_IN
    }
}

fn answer(rcode: u16) -> Fault {
    Fault::Answer { rcode, question_end: None }
}

/// What stands behind the question: at most one OPT, no answer or authority records (but for the
/// SOA of an IXFR), no octet too many. `None` is a format error.
fn tail(packet: &[u8], question_end: usize, qtype: u16) -> Option<Option<Edns>> {
    // the common cases: nothing more, or counts that no packet of this kind has
    let (answers, authorities) = (u16_at(packet, 6)?, u16_at(packet, 8)?);
    if answers != 0
        || authorities > u16::from(qtype == rtype::IXFR)
        || qtype == rtype::OPT
        || qtype == rtype::TSIG
    {
        return None;
    }
    let mut edns = None;
    let mut records = Records::new(packet, question_end);
    let mut signed = false;
    for record in &mut records {
        let record = record.ok()?;
        // a TSIG must be the last record (RFC 8945 section 5.1)
        if signed {
            return None;
        }
        match record.rtype {
            rtype::OPT => {
                let root = packet[record.start] == 0;
                if edns.is_some() || !root || record.section != Section::Additional {
                    return None;
                }
                check_query_options(&packet[record.rdata.clone()]).ok()?;
                edns = Some(Edns::from_fields(record.class, record.ttl));
            }
            rtype::TSIG => signed = true,
            _ => {}
        }
    }
    (records.position() == packet.len()).then_some(edns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(flags: u16, counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
        let mut p = vec![0x12, 0x34];
        p.extend(flags.to_be_bytes());
        for c in counts {
            p.extend(c.to_be_bytes());
        }
        p.extend(rest);
        p
    }

    const Q: &[u8] = b"\x03wWw\x07eXample\x00\x00\x01\x00\x01";
    const OPT: &[u8] = b"\x00\x00\x29\x10\x00\x00\x00\x80\x00\x00\x00";

    #[test]
    fn a_query_with_edns_is_read() {
        let p = packet(0x0110, [1, 0, 0, 1], &[Q, OPT].concat());
        let q = Query::read(&p).unwrap();
        assert_eq!(q.id, 0x1234);
        assert_eq!(q.question.name.to_string(), "www.example");
        let mut cased = [0; 13];
        q.put_cased_name(&mut cased);
        assert_eq!(&cased, b"\x03wWw\x07eXample\x00");
        assert!(q.question.dnssec_ok && q.question.checking_disabled && q.recursion_desired());
        assert_eq!(q.edns.unwrap().payload, 4096);
    }

    #[test]
    fn what_is_no_query() {
        let formerr = |end| Fault::Answer { rcode: rcode::FORMERR, question_end: end };
        let end = Some(12 + Q.len());
        let cases: Vec<(Vec<u8>, Fault)> = vec![
            (vec![], Fault::Silent),
            (vec![0; 11], Fault::Silent),
            (packet(0x8100, [1, 0, 0, 0], Q), Fault::Silent),
            (packet(0, [0; 4], &[]), formerr(None)),
            (packet(0, [2, 0, 0, 0], &[Q, Q].concat()), formerr(None)),
            (packet(0, [1, 0, 0, 0], &Q[..5]), formerr(None)),
            (packet(0, [1, 0, 0, 0], &[Q, &[0]].concat()), formerr(end)),
            (packet(0, [1, 0, 0, 2], &[Q, OPT, OPT].concat()), formerr(end)),
            (packet(0, [1, 65535, 0, 0], Q), formerr(end)),
            (packet(0, [1, 0, 1, 0], Q), formerr(end)),
            (packet(0, [1, 0, 0, 0], b"\xc0\x0c\x00\x01\x00\x01"), formerr(None)),
            (packet(1 << 11, [1, 0, 0, 0], Q), answer(rcode::NOTIMP)),
            (packet(4 << 11, [1, 0, 0, 0], Q), Fault::Notify),
            (packet(5 << 11, [1, 0, 0, 0], Q), answer(rcode::REFUSED)),
        ];
        for (bytes, fault) in cases {
            assert_eq!(Query::read(&bytes).unwrap_err(), fault, "{bytes:02x?}");
        }
    }
}
