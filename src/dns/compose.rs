//! Messages that Culvert makes itself: replies to clients, queries to upstreams.

use super::answer::Answer;
use super::ede::Ede;
use super::edns;
use super::name::Name;
use super::query::Query;
use super::question::Question;
use super::record::{Record, Section, names_in_rdata, read_name};
use super::{CLASS_IN, HEADER, flag, rcode, rtype, u16_at};

/// Longest explanation sent with an extended error, in octets.
const EDE_TEXT_MAX: usize = 160;
/// Compression pointer to the question's name.
const QUESTION_POINTER: [u8; 2] = [0xc0, HEADER as u8];

/// What every reply of a listener has in common.
#[derive(Clone, Copy, Debug)]
pub struct ReplyForm {
    /// Longest reply in octets, over this transport and to this client.
    pub limit: usize,
    /// UDP payload size that Culvert itself advertises.
    pub payload: u16,
}

impl ReplyForm {
    /// Over UDP: what the client can take (512 without EDNS), at most `payload`
    /// (RFC 9715 section 3).
    pub fn udp(query: Option<&Query>, payload: u16) -> Self {
        let client = query.and_then(|q| q.edns).map_or(512, |e| e.payload);
        ReplyForm { limit: usize::from(client.min(payload)), payload }
    }

    /// Over a stream: whatever fits a length prefix.
    pub fn stream(payload: u16) -> Self {
        ReplyForm { limit: usize::from(u16::MAX), payload }
    }
}

/// How the TTLs of a kept answer look on the way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// As received, at least `min`, at most `max`, less the seconds since: never below zero.
    Aged {
        /// Seconds since the answer was received.
        elapsed: u32,
        /// Lower bound of the received TTL.
        min: u32,
        /// Upper bound of the received TTL.
        max: u32,
    },
    /// Every TTL the same: for stale answers (RFC 8767 section 4).
    Fixed(u32),
}

impl Ttl {
    /// The TTL to show for one that was received as `ttl`.
    pub fn shown(self, ttl: u32) -> u32 {
        match self {
            Ttl::Aged { elapsed, min, max } => {
                // the top bit makes it zero (RFC 2181 section 8)
                let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
                ttl.max(min).min(max).saturating_sub(elapsed)
            }
            Ttl::Fixed(ttl) => ttl,
        }
    }
}

/// The OPT record of a reply.
#[derive(Clone, Copy, Debug)]
struct Opt<'a> {
    payload: u16,
    dnssec_ok: bool,
    extended_rcode: u8,
    ede: Option<Ede<'a>>,
}

impl<'a> Opt<'a> {
    /// In a reply only if the query had one (RFC 6891 section 6.1.1).
    fn for_reply(query: &Query, form: ReplyForm, rcode: u16, ede: Option<Ede<'a>>) -> Option<Self> {
        query.edns?;
        Some(Opt {
            payload: form.payload,
            dnssec_ok: query.question.dnssec_ok,
            extended_rcode: (rcode >> 4) as u8,
            ede: ede.map(|e| Ede { text: cut(e.text), ..e }),
        })
    }

    /// The record as it fits into `room` octets: the explanation goes first. On a stream the
    /// whole record goes next, since nothing larger comes after TCP. `None`: truncate.
    fn that_fits(opt: Option<Self>, room: Option<usize>, form: ReplyForm) -> Option<Option<Self>> {
        let (room, Some(whole)) = (room?, opt) else {
            return Some(None);
        };
        let plain = Opt { ede: None, ..whole };
        match () {
            () if whole.len() <= room => Some(Some(whole)),
            () if plain.len() <= room => Some(Some(plain)),
            () if form.limit == usize::from(u16::MAX) => Some(None),
            () => None,
        }
    }

    fn len(&self) -> usize {
        11 + self.ede.map_or(0, |e| 6 + e.text.len())
    }

    /// Writes the record; `buf` has room for `len()` octets at `at`.
    fn write(&self, buf: &mut [u8], at: usize) -> usize {
        let mut w = Writer { buf, at };
        w.put(&[0]);
        w.u16(rtype::OPT);
        w.u16(self.payload);
        w.put(&[self.extended_rcode, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
        w.u16((self.len() - 11) as u16);
        if let Some(ede) = self.ede {
            w.u16(edns::EDE);
            w.u16(2 + ede.text.len() as u16);
            w.u16(ede.code);
            w.put(ede.text.as_bytes());
        }
        w.at
    }
}

/// Cuts a text at a character boundary.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(EDE_TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Writes big-endian numbers into a slice that is known to be long enough.
struct Writer<'b> {
    buf: &'b mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.buf[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u16(&mut self, n: u16) {
        self.put(&n.to_be_bytes());
    }
}

/// Builds a message section by section in a caller's buffer. What does not fit turns the whole
/// message into a truncated one: header with TC, question, OPT.
pub struct Composer<'b, 'e> {
    buf: &'b mut [u8],
    len: usize,
    limit: usize,
    question_end: usize,
    counts: [u16; 3],
    full: bool,
    opt: Option<Opt<'e>>,
}

impl<'b, 'e> Composer<'b, 'e> {
    /// Starts a reply of our own: AA clear, RA set, RD and CD copied, AD clear.
    /// `buf` must hold the header, the question and an OPT with the longest text
    /// (512 octets do).
    pub fn reply(
        buf: &'b mut [u8],
        query: &Query,
        form: ReplyForm,
        rcode: u16,
        ede: Option<Ede<'e>>,
    ) -> Self {
        let opt = Opt::for_reply(query, form, rcode, ede);
        write_header(buf, query, query.flags & (flag::RD | flag::CD) | flag::RA | rcode & 0xf);
        let len = write_question(buf, query);
        let limit = form.limit.min(buf.len()) - opt.as_ref().map_or(0, Opt::len);
        Composer { buf, len, limit, question_end: len, counts: [0; 3], full: false, opt }
    }

    /// Starts with header and question of another message; no OPT is added.
    pub(super) fn copy_head(buf: &'b mut [u8], head: &[u8]) -> Option<Self> {
        let len = head.len();
        buf.get_mut(..len)?.copy_from_slice(head);
        let limit = buf.len();
        let counts = [0; 3];
        Some(Composer { buf, len, limit, question_end: len, counts, full: false, opt: None })
    }

    /// Appends a record of class IN; sections must come in their order. The owner is compressed
    /// if it is the question's name.
    pub fn record(&mut self, section: Section, owner: &Name, rtype: u16, ttl: u32, rdata: &[u8]) {
        let fixed = self.owner(owner).and_then(|()| self.fixed(rtype, CLASS_IN, ttl));
        let Some(len_at) = fixed else {
            return self.overflow();
        };
        if self.put(rdata).is_none() || self.close(section, len_at).is_none() {
            self.overflow();
        }
    }

    /// Appends a record owned by the question's name in the case the client wrote it.
    pub fn own_record(&mut self, section: Section, rtype: u16, ttl: u32, rdata: &[u8]) {
        let fixed = self.put(&QUESTION_POINTER).and_then(|()| self.fixed(rtype, CLASS_IN, ttl));
        let Some(len_at) = fixed else {
            return self.overflow();
        };
        if self.put(rdata).is_none() || self.close(section, len_at).is_none() {
            self.overflow();
        }
    }

    /// Appends a record of another message, its names written out.
    pub fn copy_record(&mut self, message: &[u8], record: &Record, ttl: u32) {
        if self.try_copy(message, record, ttl).is_none() {
            self.overflow();
        }
    }

    fn try_copy(&mut self, message: &[u8], record: &Record, ttl: u32) -> Option<()> {
        let (owner, _) = read_name(message, record.start).ok()?;
        self.owner(&owner)?;
        let len_at = self.fixed(record.rtype, record.class, ttl)?;
        let (skip, names) = names_in_rdata(record.rtype);
        let mut at = record.rdata.start;
        if names > 0 {
            self.put(message.get(at..at + skip)?)?;
            at += skip;
            for _ in 0..names {
                let (name, next) = read_name(message, at).ok()?;
                self.put(name.as_wire())?;
                at = next;
            }
        }
        self.put(message.get(at..record.rdata.end)?)?;
        self.close(record.section, len_at)
    }

    /// Ends the message and gives its length. If something did not fit: TC and no records.
    pub fn finish(mut self) -> usize {
        if self.full {
            self.cut_off();
        }
        self.counts_and_opt()
    }

    /// Ends the message as an empty one with TC, whatever is in it: the client shall come back
    /// over TCP.
    pub fn finish_truncated(mut self) -> usize {
        self.cut_off();
        self.counts_and_opt()
    }

    /// Ends the message if all of it fitted.
    pub(super) fn finish_whole(mut self) -> Option<usize> {
        if self.full { None } else { Some(self.counts_and_opt()) }
    }

    fn cut_off(&mut self) {
        self.len = self.question_end;
        self.counts = [0; 3];
        self.buf[2] |= (flag::TC >> 8) as u8;
    }

    fn counts_and_opt(&mut self) -> usize {
        let mut counts = self.counts;
        if let Some(opt) = self.opt {
            self.len = opt.write(self.buf, self.len);
            counts[2] += 1;
        }
        for (i, count) in counts.into_iter().enumerate() {
            self.buf[6 + 2 * i..8 + 2 * i].copy_from_slice(&count.to_be_bytes());
        }
        self.len
    }

    fn owner(&mut self, owner: &Name) -> Option<()> {
        let asked = &self.buf[HEADER..self.question_end.saturating_sub(4)];
        if asked.eq_ignore_ascii_case(owner.as_wire()) {
            return self.put(&QUESTION_POINTER);
        }
        self.put(owner.as_wire())
    }

    /// Type, class, TTL and a length to be filled in; gives the offset of the length.
    fn fixed(&mut self, rtype: u16, class: u16, ttl: u32) -> Option<usize> {
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&rtype.to_be_bytes());
        fixed[2..4].copy_from_slice(&class.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        self.put(&fixed)?;
        Some(self.len - 2)
    }

    fn close(&mut self, section: Section, len_at: usize) -> Option<()> {
        let rdlength = u16::try_from(self.len - len_at - 2).ok()?;
        self.buf[len_at..len_at + 2].copy_from_slice(&rdlength.to_be_bytes());
        let count = &mut self.counts[section as usize];
        *count = count.checked_add(1)?;
        Some(())
    }

    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        if self.full || end > self.limit {
            return None;
        }
        self.buf[self.len..end].copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn overflow(&mut self) {
        self.full = true;
    }
}

fn write_header(buf: &mut [u8], query: &Query, flags: u16) {
    buf[..HEADER].fill(0);
    buf[..2].copy_from_slice(&query.id.to_be_bytes());
    buf[2..4].copy_from_slice(&(flags | flag::QR).to_be_bytes());
    buf[5] = 1;
}

fn write_question(buf: &mut [u8], query: &Query) -> usize {
    let mut w = Writer { buf, at: HEADER };
    query.put_cased_name(&mut w.buf[HEADER..]);
    w.at += query.question.name.len();
    w.u16(query.question.rtype);
    w.u16(query.class);
    w.at
}

/// How a kept answer is to be given.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// What happens to its TTLs.
    pub ttl: Ttl,
    /// Whether AD may pass: never for a plain upstream.
    pub may_be_authentic: bool,
    /// Our own extended error; without one the upstream's passes on.
    pub ede: Option<Ede<'a>>,
}

/// Writes a kept answer as the reply to `query`: the upstream's bytes with id, flags, the
/// question in its own case, TTLs and OPT patched. Gives the length. `buf` must be as long as
/// `form.limit`.
pub fn kept_answer(
    buf: &mut [u8],
    query: &Query,
    form: ReplyForm,
    answer: &Answer,
    given: Given<'_>,
) -> usize {
    // extended codes mean the hop to the upstream; the client sees a failure
    let rcode = if answer.rcode() > 0xf { rcode::SERVFAIL } else { answer.rcode() };
    let message = answer.message();
    let len = message.len();
    let room = form.limit.min(buf.len());
    let opt = Opt::for_reply(query, form, rcode, given.ede.or(answer.ede()));
    let Some(opt) = Opt::that_fits(opt, room.checked_sub(len), form) else {
        return Composer::reply(buf, query, form, rcode, given.ede).finish_truncated();
    };
    buf[..len].copy_from_slice(message);
    buf[..2].copy_from_slice(&query.id.to_be_bytes());
    let mut flags = query.flags & (flag::RD | flag::CD) | flag::QR | flag::RA | rcode;
    if answer.truncated() {
        flags |= flag::TC;
    }
    if given.may_be_authentic && answer.authentic() && query.wants_authentic_data() {
        flags |= flag::AD;
    }
    buf[2..4].copy_from_slice(&flags.to_be_bytes());
    query.put_cased_name(&mut buf[HEADER..]);
    // ANY is looked up as another type, and answered under its own (RFC 8482)
    let qtype_at = HEADER + query.question.name.len();
    buf[qtype_at..qtype_at + 2].copy_from_slice(&query.question.rtype.to_be_bytes());
    for &at in answer.ttl_fields() {
        let field = &mut buf[usize::from(at)..usize::from(at) + 4];
        let ttl = u32::from_be_bytes([field[0], field[1], field[2], field[3]]);
        field.copy_from_slice(&given.ttl.shown(ttl).to_be_bytes());
    }
    let Some(opt) = opt else { return len };
    let additional = u16_at(buf, 10).unwrap_or(0).saturating_add(1);
    buf[10..12].copy_from_slice(&additional.to_be_bytes());
    opt.write(buf, len)
}

/// A reply that carries nothing but a code, to a packet that could not be read as a query: its
/// id and opcode, and the question if it could be read.
pub fn bare_reply(buf: &mut [u8], packet: &[u8], rcode: u16, question_end: Option<usize>) -> usize {
    let end = question_end.unwrap_or(HEADER);
    buf[..end].copy_from_slice(&packet[..end]);
    // opcode and RD stay, everything else of the query's flags goes
    let flags = u16_at(packet, 2).unwrap_or(0) & (0x7800 | flag::RD);
    buf[2..4].copy_from_slice(&(flags | flag::QR | rcode & 0xf).to_be_bytes());
    buf[4..HEADER].fill(0);
    buf[5] = u8::from(question_end.is_some());
    end
}

/// A query for an upstream: RD set, DO and CD of the question, an OPT of our own with `payload`
/// as size and nothing of the client's. With `pad`, a padding option (RFC 7830) makes its length
/// a multiple of that (RFC 8467: 128).
pub fn upstream_query(q: &Question, id: u16, payload: u16, pad: Option<usize>) -> Vec<u8> {
    let cd = if q.checking_disabled { flag::CD } else { 0 };
    let mut out = Vec::with_capacity(2 * pad.unwrap_or(256));
    out.extend(id.to_be_bytes());
    out.extend((flag::RD | cd).to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 0, 0, 1]);
    out.extend(q.name.as_wire());
    out.extend(q.rtype.to_be_bytes());
    out.extend(CLASS_IN.to_be_bytes());
    out.push(0);
    out.extend(rtype::OPT.to_be_bytes());
    out.extend(payload.to_be_bytes());
    out.extend([0, 0, if q.dnssec_ok { 0x80 } else { 0 }, 0]);
    let Some(block) = pad else {
        out.extend([0, 0]);
        return out;
    };
    let bare = out.len() + 2 + 4;
    let padding = bare.next_multiple_of(block) - bare;
    out.extend((padding as u16 + 4).to_be_bytes());
    out.extend(edns::PADDING.to_be_bytes());
    out.extend((padding as u16).to_be_bytes());
    out.resize(out.len() + padding, 0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, edns: Option<u16>) -> Query {
        let mut packet = upstream_query(
            &Question::plain(name.parse().unwrap(), rtype::A),
            0xbeef,
            edns.unwrap_or(0),
            None,
        );
        if edns.is_none() {
            packet.truncate(packet.len() - 11);
            packet[11] = 0;
        }
        packet[13] = packet[13].to_ascii_uppercase();
        Query::read(&packet).unwrap()
    }

    fn answer(q: &Query, addresses: usize) -> Answer {
        let mut buf = vec![0; 65535];
        let mut out = Composer::reply(&mut buf, q, ReplyForm::stream(1232), 0, None);
        for i in 0..addresses {
            let ip = (i as u32).to_be_bytes();
            out.own_record(Section::Answer, rtype::A, 300, &ip);
        }
        let len = out.finish();
        Answer::receive(&q.question, &buf[..len]).unwrap()
    }

    #[test]
    fn padding_fills_blocks() {
        for labels in 1..60 {
            let name = vec!["ab"; labels].join(".").parse().unwrap();
            let q = upstream_query(&Question::plain(name, 1), 0, 65535, Some(128));
            assert_eq!(q.len() % 128, 0);
            assert!(Query::read(&q).is_ok());
        }
    }

    #[test]
    fn a_kept_answer_is_patched_not_rewritten() {
        let q = query("www.example", Some(4096));
        let kept = answer(&q, 2);
        let mut buf = vec![0; 4096];
        let given = Given {
            ttl: Ttl::Aged { elapsed: 100, min: 0, max: 250 },
            may_be_authentic: true,
            ede: None,
        };
        let len = kept_answer(&mut buf, &q, ReplyForm::udp(Some(&q), 1232), &kept, given);
        let got = Answer::receive(&q.question, &buf[..len]).unwrap();
        assert_eq!(&buf[..2], &[0xbe, 0xef]);
        assert_eq!(&buf[12..17], b"\x03Www\x07");
        assert_eq!(got.ttl(), Some(150));
        assert_eq!(got.records().count(), 2);
    }

    #[test]
    fn what_does_not_fit_is_truncated_whole() {
        for (edns, addresses, tc) in
            [(None, 31, true), (None, 30, false), (Some(4096), 75, true), (Some(4096), 74, false)]
        {
            let q = query("www.example", edns);
            let kept = answer(&q, addresses);
            let mut buf = vec![0; 1232];
            let given = Given { ttl: Ttl::Fixed(30), may_be_authentic: false, ede: None };
            let form = ReplyForm::udp(Some(&q), 1232);
            let len = kept_answer(&mut buf, &q, form, &kept, given);
            let got = Answer::receive(&q.question, &buf[..len]).unwrap();
            assert_eq!(got.truncated(), tc, "{edns:?} {addresses}");
            assert_eq!(got.records().count(), if tc { 0 } else { addresses });
            assert!(len <= form.limit);
        }
    }

    #[test]
    fn ede_goes_only_to_clients_with_edns() {
        for edns in [None, Some(1232)] {
            let q = query("www.example", edns);
            let mut buf = vec![0; 512];
            let form = ReplyForm::udp(Some(&q), 1232);
            let ede = Some(Ede::new(15, "blocked"));
            let len = Composer::reply(&mut buf, &q, form, rcode::NXDOMAIN, ede).finish();
            let got = Answer::receive(&q.question, &buf[..len]).unwrap();
            assert_eq!(got.ede(), edns.map(|_| Ede::new(15, "blocked")));
            assert_eq!(got.rcode(), rcode::NXDOMAIN);
        }
    }
}
