//! An upstream's answer: kept as received, with notes on where things are.
//!
//! The bytes stay the upstream's own but for the OPT record, which is hop by hop and taken off.
//! Everything a reply needs later is noted once, when the answer comes in: the offsets of the
//! TTL fields, the links of the alias chain, how long the answer lives.

use std::fmt;

use super::compose::Composer;
use super::ede::Ede;
use super::edns::{self, Edns};
use super::name::Name;
use super::question::Question;
use super::record::{Record, Records, Section, names_in_rdata, read_name};
use super::{CLASS_IN, HEADER, flag, opcode, rcode, rtype, u16_at, u32_at};

/// Most links of an alias chain that are followed; longer chains are malformed.
pub const MAX_LINKS: usize = 32;

/// A checked answer without its OPT record.
#[derive(Debug)]
pub struct Answer {
    message: Box<[u8]>,
    question_end: usize,
    ttls: Box<[u16]>,
    links: Box<[Link]>,
    rcode: u16,
    lifetime: Option<u32>,
    negative: bool,
    ede: Option<(u16, Box<str>)>,
}

/// One step of the alias chain: the CNAME, and the DNAME it was made from (RFC 6672).
#[derive(Clone, Copy, Debug)]
struct Link {
    cname: u16,
    dname: Option<u16>,
}

/// Why bytes are no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerFault {
    /// Shorter than a header.
    Short,
    /// QR is not set.
    NotResponse,
    /// The opcode is not QUERY.
    Opcode,
    /// The question is not repeated.
    NoQuestion,
    /// Another question is repeated.
    OtherQuestion,
    /// The records cannot be walked.
    Malformed,
}

impl fmt::Display for AnswerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnswerFault::Short => "the answer is shorter than a DNS header",
            AnswerFault::NotResponse => "the answer is not marked as a response",
            AnswerFault::Opcode => "the answer has another opcode",
            AnswerFault::NoQuestion => "the answer does not repeat the question",
            AnswerFault::OtherQuestion => "the answer is for another question",
            AnswerFault::Malformed => "the answer is not a well-formed DNS message",
        })
    }
}

impl std::error::Error for AnswerFault {}

impl From<super::record::Malformed> for AnswerFault {
    fn from(_: super::record::Malformed) -> Self {
        AnswerFault::Malformed
    }
}

impl Answer {
    /// Checks a message against the question it should answer and takes it in. The id is not
    /// looked at; octets behind the last record are dropped.
    pub fn receive(question: &Question, message: &[u8]) -> Result<Answer, AnswerFault> {
        let question_end = check_head(question, message)?;
        let mut kept = Vec::new();
        let mut opt: Option<Record> = None;
        let mut rebuild = false;
        let mut records = Records::new(message, question_end);
        for record in &mut records {
            let record = record?;
            check_names(message, &record)?;
            rebuild |= opt.is_some();
            if record.rtype == rtype::OPT {
                // one, and only there (RFC 6891 section 6.1.1)
                if opt.is_some() || record.section != Section::Additional {
                    return Err(AnswerFault::Malformed);
                }
                opt = Some(record);
            } else if is_unasked_dnssec(question, &record) {
                rebuild = true;
            } else {
                kept.push(record);
            }
        }
        let end = opt.as_ref().map_or(records.position(), |opt| opt.start);
        let edns = opt.as_ref().map(|opt| Edns::from_fields(opt.class, opt.ttl));
        let ede = opt.and_then(|opt| first_ede(&message[opt.rdata]));
        let mut own = if rebuild {
            rebuilt(message, question_end, &kept).ok_or(AnswerFault::Malformed)?
        } else {
            let mut own = message[..end].to_vec();
            let additional = kept.iter().filter(|r| r.section == Section::Additional).count();
            own[10..12].copy_from_slice(&(additional as u16).to_be_bytes());
            own
        };
        own[..2].fill(0);
        if rebuild {
            kept = Records::new(&own, question_end).collect::<Result<_, _>>()?;
        }
        let upper = edns.map_or(0, |e| u16::from(e.extended_rcode) << 4);
        let mut answer = Answer::noted(question, own, question_end, &kept, upper)?;
        answer.ede = ede;
        Ok(answer)
    }

    /// Notes what replies need later. `upper` has the extended bits of the response code.
    fn noted(
        question: &Question,
        message: Vec<u8>,
        question_end: usize,
        records: &[Record],
        upper: u16,
    ) -> Result<Answer, AnswerFault> {
        let (links, last) = chain(question, &message, records)?;
        let ttls = records.iter().filter_map(|r| u16::try_from(r.ttl_at).ok()).collect();
        let flags = u16_at(&message, 2).unwrap_or(0);
        let rcode = upper | flags & 0xf;
        let in_answer = || records.iter().filter(|r| r.section == Section::Answer);
        let answered = in_answer().any(|r| {
            (r.rtype == question.rtype || question.rtype == rtype::ANY)
                && read_name(&message, r.start).is_ok_and(|(owner, _)| owner == last)
        });
        let negative = rcode == rcode::NXDOMAIN || (rcode == rcode::NOERROR && !answered);
        let chain_ttl = in_answer().map(|r| sane_ttl(r.ttl)).min();
        let lifetime = match (rcode, negative) {
            (rcode::NOERROR, false) => chain_ttl,
            (rcode::NOERROR | rcode::NXDOMAIN, true) => {
                negative_ttl(&message, records).map(|ttl| ttl.min(chain_ttl.unwrap_or(u32::MAX)))
            }
            _ => None,
        };
        Ok(Answer {
            message: message.into(),
            question_end,
            ttls,
            links: links.into(),
            rcode,
            lifetime,
            negative,
            ede: None,
        })
    }

    /// The message: id 0, no OPT record.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Offset behind the question.
    pub fn question_end(&self) -> usize {
        self.question_end
    }

    /// Response code, extended bits included.
    pub fn rcode(&self) -> u16 {
        self.rcode
    }

    /// TC was set.
    pub fn truncated(&self) -> bool {
        self.flags() & flag::TC != 0
    }

    /// AD was set: the upstream vouches for the data (RFC 4035 section 3.2.3).
    pub fn authentic(&self) -> bool {
        self.flags() & flag::AD != 0
    }

    /// NXDOMAIN, or no record of the asked type (RFC 2308).
    pub fn negative(&self) -> bool {
        self.negative
    }

    /// How long the answer may be kept, in seconds: the smallest TTL of the answer section, or
    /// the negative TTL of RFC 2308 section 5. `None`: not to be kept.
    pub fn ttl(&self) -> Option<u32> {
        self.lifetime
    }

    /// One stage of the alias chain, counted from the question's name, carries DNSSEC records:
    /// signatures of its own alias or data, or at the end the proof that there are none.
    pub fn is_signed_at(&self, stage: usize) -> bool {
        let Some(name) = self.name_at(stage) else { return false };
        let last = stage == self.links.len();
        let dname = self.links.get(stage).and_then(|link| self.record_at(link.dname?));
        let dname = dname.and_then(|r| Some(read_name(&self.message, r.start).ok()?.0));
        self.records().any(|record| match (record.section, record.rtype) {
            (Section::Answer, rtype::RRSIG) => {
                let owner = read_name(&self.message, record.start).ok().map(|(owner, _)| owner);
                owner == Some(name) || (owner.is_some() && owner == dname)
            }
            (Section::Authority, rtype::RRSIG | rtype::NSEC | rtype::NSEC3) => {
                last && self.negative
            }
            _ => false,
        })
    }

    /// The name of a stage: the question's, then what each link leads to.
    fn name_at(&self, stage: usize) -> Option<Name> {
        match stage.checked_sub(1) {
            None => Some(read_name(&self.message, HEADER).ok()?.0),
            Some(link) => self.link_target(link),
        }
    }

    /// The extended error that the upstream gave, if any.
    pub fn ede(&self) -> Option<Ede<'_>> {
        self.ede.as_ref().map(|(code, text)| Ede::new(*code, text))
    }

    /// Offsets of all TTL fields.
    pub(super) fn ttl_fields(&self) -> &[u16] {
        &self.ttls
    }

    /// All records, in order.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        Records::new(&self.message, self.question_end).map_while(Result::ok)
    }

    /// Number of links in the alias chain.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// Name that link `i` (counted from 0) leads to.
    pub fn link_target(&self, i: usize) -> Option<Name> {
        let record = self.record_at(self.links.get(i)?.cname)?;
        Some(read_name(&self.message, record.rdata.start).ok()?.0)
    }

    /// Records of link `i`: the DNAME, if there is one, then the CNAME.
    pub fn link_records(&self, i: usize) -> impl Iterator<Item = Record> + '_ {
        let link = self.links.get(i);
        let offsets = [link.and_then(|l| l.dname), link.map(|l| l.cname)];
        offsets.into_iter().flatten().filter_map(|at| self.record_at(at))
    }

    /// Memory that the answer takes, in octets.
    pub fn weight(&self) -> usize {
        size_of::<Answer>()
            + self.message.len()
            + self.ttls.len() * 2
            + self.links.len() * size_of::<Link>()
            + self.ede.as_ref().map_or(0, |(_, text)| text.len())
    }

    fn flags(&self) -> u16 {
        u16_at(&self.message, 2).unwrap_or(0)
    }

    fn record_at(&self, start: u16) -> Option<Record> {
        self.records().find(|r| r.start == usize::from(start))
    }
}

/// The owner, and names in the data that compression may have touched, can be read without
/// looking behind the record: what follows the last one is dropped. What other types hold is
/// nobody's business here.
fn check_names(message: &[u8], record: &Record) -> Result<(), super::record::Malformed> {
    let so_far = message.get(..record.rdata.end).ok_or(super::record::Malformed)?;
    read_name(so_far, record.start)?;
    let (skip, names) = names_in_rdata(record.rtype);
    let mut at = record.rdata.start + skip;
    for _ in 0..names {
        at = read_name(so_far, at)?.1;
    }
    Ok(())
}

/// Checks header and question; gives the offset behind the question.
fn check_head(question: &Question, message: &[u8]) -> Result<usize, AnswerFault> {
    if message.len() < HEADER {
        return Err(AnswerFault::Short);
    }
    let flags = u16_at(message, 2).unwrap_or(0);
    if flags & flag::QR == 0 {
        return Err(AnswerFault::NotResponse);
    }
    if (flags >> 11 & 0xf) as u8 != opcode::QUERY {
        return Err(AnswerFault::Opcode);
    }
    match u16_at(message, 4) {
        Some(1) => {}
        Some(0) => return Err(AnswerFault::NoQuestion),
        _ => return Err(AnswerFault::Malformed),
    }
    let (name, end) = read_name(message, HEADER).map_err(|_| AnswerFault::Malformed)?;
    let field = |at| u16_at(message, at).ok_or(AnswerFault::Malformed);
    let same =
        name == question.name && field(end)? == question.rtype && field(end + 2)? == CLASS_IN;
    if same { Ok(end + 4) } else { Err(AnswerFault::OtherQuestion) }
}

/// DNSSEC records that a client without DO must not get unless it asked for the type
/// (RFC 4035 section 3.2.1).
fn is_unasked_dnssec(question: &Question, record: &Record) -> bool {
    !question.dnssec_ok
        && matches!(record.rtype, rtype::RRSIG | rtype::NSEC | rtype::NSEC3)
        && record.rtype != question.rtype
        && question.rtype != rtype::ANY
}

/// A TTL with the top bit set counts as zero (RFC 2181 section 8).
fn sane_ttl(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}

/// The lesser of the TTL and the minimum field of the SOA in authority (RFC 2308 section 5).
fn negative_ttl(message: &[u8], records: &[Record]) -> Option<u32> {
    let soa = records.iter().find(|r| r.section == Section::Authority && r.rtype == rtype::SOA)?;
    let minimum = u32_at(message, soa.rdata.end.checked_sub(4)?)?;
    Some(sane_ttl(soa.ttl).min(sane_ttl(minimum)))
}

/// Follows the alias chain from the question's name; gives its links and its last name.
fn chain(
    question: &Question,
    message: &[u8],
    records: &[Record],
) -> Result<(Vec<Link>, Name), AnswerFault> {
    let mut at = question.name;
    let mut links = Vec::new();
    if matches!(question.rtype, rtype::CNAME | rtype::ANY | rtype::DNAME) {
        return Ok((links, at));
    }
    let aliases: Vec<(&Record, Name)> = records
        .iter()
        .filter(|r| r.section == Section::Answer)
        .filter(|r| r.rtype == rtype::CNAME || r.rtype == rtype::DNAME)
        .map(|r| Ok((r, read_name(message, r.start)?.0)))
        .collect::<Result<_, super::name::NameError>>()
        .map_err(|_| AnswerFault::Malformed)?;
    while let Some((cname, _)) =
        aliases.iter().find(|(r, owner)| r.rtype == rtype::CNAME && *owner == at)
    {
        if links.len() == MAX_LINKS {
            return Err(AnswerFault::Malformed);
        }
        let dname = aliases
            .iter()
            .find(|(r, owner)| r.rtype == rtype::DNAME && at != *owner && at.is_within(owner));
        let offset = |r: &Record| u16::try_from(r.start).map_err(|_| AnswerFault::Malformed);
        links.push(Link {
            cname: offset(cname)?,
            dname: dname.map(|(r, _)| offset(r)).transpose()?,
        });
        let target = read_name(message, cname.rdata.start).map_err(|_| AnswerFault::Malformed)?.0;
        at = target;
    }
    Ok((links, at))
}

/// The first extended error among the options, as code and printable text.
fn first_ede(rdata: &[u8]) -> Option<(u16, Box<str>)> {
    let data = edns::options(rdata)
        .map_while(Result::ok)
        .find_map(|(code, data)| (code == edns::EDE).then_some(data))?;
    let text = String::from_utf8_lossy(data.get(2..)?);
    let text: String = text.chars().filter(|c| !c.is_control()).take(128).collect();
    Some((u16_at(data, 0)?, text.into()))
}

/// The message with only these records, names written out in full. For the rare answers whose
/// OPT is not the last record, or that carry DNSSEC records nobody asked for.
fn rebuilt(message: &[u8], question_end: usize, records: &[Record]) -> Option<Vec<u8>> {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut out = Composer::copy_head(&mut buffer, &message[..question_end])?;
    for record in records {
        out.copy_record(message, record, record.ttl);
    }
    let len = out.finish_whole()?;
    buffer.truncate(len);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::compose::upstream_query;

    fn response(question: &Question, records: &[(Section, &str, u16, u32, &[u8])]) -> Vec<u8> {
        let query = upstream_query(question, 7, 1232, None);
        let end = HEADER + question.name.len() + 4;
        let mut buffer = vec![0; 4096];
        let mut head = query[..end].to_vec();
        head[2] |= 0x80;
        let mut out = Composer::copy_head(&mut buffer, &head).unwrap();
        for (section, owner, rtype, ttl, rdata) in records {
            let owner: Name = owner.parse().unwrap();
            out.record(*section, &owner, *rtype, *ttl, rdata);
        }
        let len = out.finish_whole().unwrap();
        buffer.truncate(len);
        buffer
    }

    fn wire(name: &str) -> Vec<u8> {
        name.parse::<Name>().unwrap().as_wire().to_vec()
    }

    #[test]
    fn a_name_does_not_run_into_what_is_dropped() {
        let q = Question::plain("a.b".parse().unwrap(), rtype::HTTPS);
        let mut m = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
        m.extend(b"\x01a\x01b\x00\x00\x41\x00\x01");
        // the owner points to the last octet of the class: a label of one octet, then one of 20
        m.extend(b"\xc0\x14\x00\x81\x00\x01\x00\x00\x02\x01\x00\x06\x00\x50\x00\x00\x00\x00");
        let end = m.len();
        m.extend([0; 5]);
        assert!(read_name(&m, 21).is_ok() && read_name(&m[..end], 21).is_err());
        assert_eq!(Answer::receive(&q, &m).unwrap_err(), AnswerFault::Malformed);
    }

    #[test]
    fn a_code_with_upper_bits_keeps_nothing() {
        let q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let address = (Section::Answer, "a.test", 1, 300, &[192, 0, 2, 1][..]);
        for (low, upper, wanted) in
            [(rcode::NOERROR, 0, Some(300)), (rcode::NOERROR, 1, None), (rcode::NXDOMAIN, 1, None)]
        {
            let mut m = response(&q, &[address]);
            m[3] |= low as u8;
            m[11] += 1;
            m.extend([0, 0, 41, 4, 208, upper, 0, 0, 0, 0, 0]);
            let a = Answer::receive(&q, &m).unwrap();
            assert_eq!(a.rcode(), u16::from(upper) << 4 | low);
            assert_eq!((a.ttl(), a.negative()), (wanted, false));
        }
    }

    #[test]
    fn chain_ttl_and_links_are_noted() {
        use Section::Answer as An;
        let q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let m = response(
            &q,
            &[
                (An, "b.test", 5, 60, &wire("c.test")),
                (An, "a.test", 5, 300, &wire("b.test")),
                (An, "c.test", 1, 120, &[192, 0, 2, 1]),
            ],
        );
        let a = Answer::receive(&q, &m).unwrap();
        assert_eq!((a.link_count(), a.ttl(), a.negative()), (2, Some(60), false));
        assert_eq!(a.link_target(0).unwrap().to_string(), "b.test");
        assert_eq!(a.link_target(1).unwrap().to_string(), "c.test");
        assert_eq!(a.link_records(0).next().unwrap().ttl, 300);
        assert_eq!(a.ttl_fields().len(), 3);
    }

    #[test]
    fn negative_ttl_is_that_of_rfc_2308() {
        let q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let mut soa = [wire("ns.test"), wire("host.test")].concat();
        soa.extend([0; 16]);
        soa.extend(30u32.to_be_bytes());
        let m = response(&q, &[(Section::Authority, "test", 6, 900, &soa)]);
        let a = Answer::receive(&q, &m).unwrap();
        assert_eq!((a.negative(), a.ttl()), (true, Some(30)));
        assert_eq!(Answer::receive(&q, &response(&q, &[])).unwrap().ttl(), None);
    }

    #[test]
    fn opt_is_taken_off_wherever_it_stands() {
        use Section::{Additional, Answer as An};
        let q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let ede = [0, 15, 0, 6, 0, 22, b'o', b'h', 27, b'!'];
        let records: [(_, &str, u16, u32, &[u8]); 3] = [
            (An, "a.test", 1, 60, &[192, 0, 2, 1]),
            (Additional, ".", rtype::OPT, 0, &ede),
            (Additional, "ns.test", 1, 60, &[192, 0, 2, 2]),
        ];
        for n in [2, 3] {
            let a = Answer::receive(&q, &response(&q, &records[..n])).unwrap();
            assert_eq!(a.records().count(), n - 1);
            assert!(a.records().all(|r| r.rtype != rtype::OPT));
            assert_eq!(a.ede(), Some(Ede::new(22, "oh!")));
        }
    }

    #[test]
    fn unasked_signatures_go_asked_ones_stay() {
        let mut q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let records: [(_, &str, u16, u32, &[u8]); 2] = [
            (Section::Answer, "a.test", 1, 60, &[192, 0, 2, 1]),
            (Section::Answer, "a.test", rtype::RRSIG, 60, &[0; 20]),
        ];
        let a = Answer::receive(&q, &response(&q, &records)).unwrap();
        assert!(a.records().count() == 1 && !a.is_signed_at(0));
        q.dnssec_ok = true;
        let a = Answer::receive(&q, &response(&q, &records)).unwrap();
        assert!(a.records().count() == 2 && a.is_signed_at(0) && !a.is_signed_at(1));
    }

    #[test]
    fn wrong_answers_are_named() {
        let q = Question::plain("a.test".parse().unwrap(), rtype::A);
        let good = response(&q, &[(Section::Answer, "a.test", 1, 60, &[192, 0, 2, 1])]);
        let edit = |f: &dyn Fn(&mut Vec<u8>)| {
            let mut m = good.clone();
            f(&mut m);
            Answer::receive(&q, &m).err()
        };
        assert_eq!(edit(&|m| m[2] &= 0x7f), Some(AnswerFault::NotResponse));
        assert_eq!(edit(&|m| m[2] |= 0x28), Some(AnswerFault::Opcode));
        assert_eq!(edit(&|m| m[5] = 0), Some(AnswerFault::NoQuestion));
        assert_eq!(edit(&|m| m[13] = b'x'), Some(AnswerFault::OtherQuestion));
        assert_eq!(edit(&|m| m.truncate(11)), Some(AnswerFault::Short));
        assert_eq!(edit(&|m| m.truncate(m.len() - 1)), Some(AnswerFault::Malformed));
        assert_eq!(edit(&|m| m[13] = b'A'), None);
        assert_eq!(edit(&|m| m.extend([1, 2, 3])), None);
    }
}
