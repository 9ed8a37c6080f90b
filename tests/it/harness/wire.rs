//! DNS messages as the tests write and read them: small, strict and independent of the program.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU16, Ordering};

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const CNAME: u16 = 5;
pub const SOA: u16 = 6;
pub const PTR: u16 = 12;
pub const MX: u16 = 15;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const DNAME: u16 = 39;
pub const OPT: u16 = 41;
pub const RRSIG: u16 = 46;
pub const HTTPS: u16 = 65;
pub const AXFR: u16 = 252;
pub const ANY: u16 = 255;

/// Header bits as they stand in the second 16-bit word (RFC 1035 section 4.1.1).
pub const QR: u16 = 0x8000;
pub const AA: u16 = 0x0400;
pub const TC: u16 = 0x0200;
pub const RD: u16 = 0x0100;
pub const RA: u16 = 0x0080;
pub const Z: u16 = 0x0040;
pub const AD: u16 = 0x0020;
pub const CD: u16 = 0x0010;

/// EDNS option codes (RFC 8914, 8467, 7871, 7873).
pub const EDE: u16 = 15;
pub const PADDING: u16 = 12;
pub const CLIENT_SUBNET: u16 = 8;
pub const COOKIE: u16 = 10;

/// A query under construction: one question, RD=1 and an OPT of 1,232 octets unless changed.
#[derive(Clone)]
pub struct Query {
    pub id: u16,
    pub flags: u16,
    pub name: Vec<u8>,
    pub qtype: u16,
    pub class: u16,
    pub edns: Option<Edns>,
}

/// The OPT record of a query or of a reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    pub size: u16,
    pub version: u8,
    pub flags: u16,
    pub extended_rcode: u8,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Query {
    pub fn new(name: &str, qtype: u16) -> Query {
        static NEXT: AtomicU16 = AtomicU16::new(0x1234);
        let id = NEXT.fetch_add(7, Ordering::Relaxed);
        let edns = Some(Edns { size: 1232, ..Edns::default() });
        Query { id, flags: RD, name: name_bytes(name), qtype, class: 1, edns }
    }

    pub fn id(mut self, id: u16) -> Query {
        self.id = id;
        self
    }

    /// Replaces all header bits.
    pub fn flags(mut self, flags: u16) -> Query {
        self.flags = flags;
        self
    }

    pub fn class(mut self, class: u16) -> Query {
        self.class = class;
        self
    }

    pub fn no_edns(mut self) -> Query {
        self.edns = None;
        self
    }

    pub fn size(mut self, size: u16) -> Query {
        self.edns.get_or_insert_default().size = size;
        self
    }

    pub fn dnssec_ok(mut self) -> Query {
        self.edns.get_or_insert_default().flags |= 0x8000;
        self
    }

    pub fn option(mut self, code: u16, data: &[u8]) -> Query {
        self.edns.get_or_insert_default().options.push((code, data.to_vec()));
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = header(self.id, self.flags, [1, 0, 0, u16::from(self.edns.is_some())]);
        out.extend(&self.name);
        out.extend(self.qtype.to_be_bytes());
        out.extend(self.class.to_be_bytes());
        if let Some(edns) = &self.edns {
            out.extend(edns.bytes());
        }
        out
    }
}

impl Edns {
    pub fn bytes(&self) -> Vec<u8> {
        let mut options = Vec::new();
        for (code, data) in &self.options {
            options.extend(code.to_be_bytes());
            options.extend((data.len() as u16).to_be_bytes());
            options.extend(data);
        }
        let mut out = vec![0];
        out.extend(OPT.to_be_bytes());
        out.extend(self.size.to_be_bytes());
        out.extend([self.extended_rcode, self.version]);
        out.extend(self.flags.to_be_bytes());
        out.extend((options.len() as u16).to_be_bytes());
        out.extend(options);
        out
    }
}

/// One record. `rdata` holds names uncompressed, also after reading.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    pub name: String,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub rdata: Vec<u8>,
}

impl Record {
    pub fn new(name: &str, ttl: u32, rtype: u16, rdata: Vec<u8>) -> Record {
        Record { name: name.to_owned(), rtype, class: 1, ttl, rdata }
    }

    pub fn a(name: &str, ttl: u32, address: &str) -> Record {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        Record::new(name, ttl, A, address.octets().to_vec())
    }

    pub fn aaaa(name: &str, ttl: u32, address: &str) -> Record {
        let address: Ipv6Addr = address.parse().expect("an IPv6 address");
        Record::new(name, ttl, AAAA, address.octets().to_vec())
    }

    pub fn cname(name: &str, ttl: u32, target: &str) -> Record {
        Record::new(name, ttl, CNAME, name_bytes(target))
    }

    pub fn txt(name: &str, ttl: u32, text: &str) -> Record {
        let mut rdata = vec![text.len() as u8];
        rdata.extend(text.as_bytes());
        Record::new(name, ttl, TXT, rdata)
    }

    /// A start of authority whose minimum, and so its negative TTL, is `minimum` seconds.
    pub fn soa(name: &str, ttl: u32, minimum: u32) -> Record {
        let mut rdata = name_bytes(&format!("ns.{name}"));
        rdata.extend(name_bytes(&format!("host.{name}")));
        for number in [1u32, 3600, 600, 86400, minimum] {
            rdata.extend(number.to_be_bytes());
        }
        Record::new(name, ttl, SOA, rdata)
    }

    /// The data in master-file form for the types the tests compare, else in hexadecimal.
    pub fn data(&self) -> String {
        let d = &self.rdata;
        match self.rtype {
            A if d.len() == 4 => Ipv4Addr::new(d[0], d[1], d[2], d[3]).to_string(),
            AAAA => match <[u8; 16]>::try_from(&d[..]) {
                Ok(octets) => Ipv6Addr::from(octets).to_string(),
                Err(_) => hex(d),
            },
            NS | CNAME | PTR | DNAME => read_name(d, 0).map_or_else(|_| hex(d), |(name, _)| name),
            TXT if !d.is_empty() => String::from_utf8_lossy(&d[1..]).into_owned(),
            _ => hex(d),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = name_bytes(&self.name);
        out.extend(self.rtype.to_be_bytes());
        out.extend(self.class.to_be_bytes());
        out.extend(self.ttl.to_be_bytes());
        out.extend((self.rdata.len() as u16).to_be_bytes());
        out.extend(&self.rdata);
        out
    }
}

/// A whole message: what the scripted backends send and what every client receives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    pub id: u16,
    pub flags: u16,
    /// The question's name with its case, its type and class; none if QDCOUNT is 0.
    pub question: Option<(String, u16, u16)>,
    pub answers: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    pub edns: Option<Edns>,
}

impl Message {
    pub fn bytes(&self) -> Vec<u8> {
        let sections = [&self.answers, &self.authority, &self.additional];
        let [an, ns, ar] = sections.map(|s| s.len() as u16);
        let questions = u16::from(self.question.is_some());
        let counts = [questions, an, ns, ar + u16::from(self.edns.is_some())];
        let mut out = header(self.id, self.flags, counts);
        let mut owner = Vec::new();
        if let Some((name, qtype, class)) = &self.question {
            owner = name_bytes(name);
            out.extend(&owner);
            out.extend(qtype.to_be_bytes());
            out.extend(class.to_be_bytes());
        }
        for record in sections.into_iter().flatten() {
            let bytes = record.bytes();
            match bytes.strip_prefix(&owner[..]) {
                Some(rest) if owner.len() > 1 => {
                    out.extend([0xC0, 12]);
                    out.extend(rest);
                }
                _ => out.extend(bytes),
            }
        }
        out.extend(self.edns.iter().flat_map(Edns::bytes));
        out
    }

    /// Reads a message; whatever is not exactly one well-formed message is an error.
    pub fn read(bytes: &[u8]) -> Result<Message, String> {
        let word = |at: usize| {
            bytes.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]])).ok_or("cut short")
        };
        let mut message = Message { id: word(0)?, flags: word(2)?, ..Message::default() };
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        let mut at = 12;
        for n in 0..counts[0] {
            let (name, next) = read_name(bytes, at)?;
            let question = (name, word(next)?, word(next + 2)?);
            at = next + 4;
            if n > 0 {
                return Err("more than one question".into());
            }
            message.question = Some(question);
        }
        for (section, count) in counts[1..].iter().enumerate() {
            for _ in 0..*count {
                let (record, next) = read_record(bytes, at)?;
                at = next;
                match (record.rtype, section) {
                    (OPT, 2) if message.edns.is_none() => message.edns = Some(read_edns(&record)?),
                    (OPT, _) => return Err("an OPT record where none may be".into()),
                    (_, 0) => message.answers.push(record),
                    (_, 1) => message.authority.push(record),
                    _ => message.additional.push(record),
                }
            }
        }
        if at != bytes.len() {
            return Err(format!("{} octets behind the message", bytes.len() - at));
        }
        Ok(message)
    }

    /// The response code by name, the upper bits of the OPT record included.
    pub fn rcode(&self) -> &'static str {
        let high = self.edns.as_ref().map_or(0, |e| u16::from(e.extended_rcode));
        rcode_name(high << 4 | (self.flags & 15))
    }

    pub fn has(&self, bit: u16) -> bool {
        self.flags & bit != 0
    }

    /// The data of every answer record of one type, sorted.
    pub fn data(&self, rtype: u16) -> Vec<String> {
        let set: BTreeSet<_> =
            self.answers.iter().filter(|r| r.rtype == rtype).map(Record::data).collect();
        set.into_iter().collect()
    }

    /// The TTL of the first answer record; a reply without one fails the test.
    pub fn ttl(&self) -> u32 {
        self.answers.first().unwrap_or_else(|| panic!("no answer record in {self:?}")).ttl
    }

    /// The codes of all extended errors (RFC 8914).
    pub fn extended_errors(&self) -> Vec<u16> {
        let options = self.edns.iter().flat_map(|e| &e.options);
        options
            .filter(|(code, data)| *code == EDE && data.len() >= 2)
            .map(|(_, data)| u16::from_be_bytes([data[0], data[1]]))
            .collect()
    }

    /// Owner names of the SOA records in one section.
    pub fn soa_owners(section: &[Record]) -> Vec<String> {
        section.iter().filter(|r| r.rtype == SOA).map(|r| r.name.to_lowercase()).collect()
    }
}

/// Twelve header octets with any counts.
pub fn header(id: u16, flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [id, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes).collect()
}

/// Wire form of a name in text form; `\.` and `\DDD` escapes are understood.
pub fn name_bytes(text: &str) -> Vec<u8> {
    let mut labels: Vec<Vec<u8>> = vec![Vec::new()];
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let first = rest.next().expect("something behind the backslash");
                let escaped = if first.is_ascii_digit() {
                    let digits = [first, rest.next().unwrap_or(0), rest.next().unwrap_or(0)];
                    digits.iter().fold(0u16, |n, d| n * 10 + u16::from(d - b'0')) as u8
                } else {
                    first
                };
                labels.last_mut().expect("one label at least").push(escaped);
            }
            other => labels.last_mut().expect("one label at least").push(other),
        }
    }
    let mut out = Vec::new();
    for label in labels.iter().filter(|l| !l.is_empty()) {
        out.push(label.len() as u8);
        out.extend(label);
    }
    out.push(0);
    out
}

fn read_name(bytes: &[u8], start: usize) -> Result<(String, usize), String> {
    let (mut text, mut at, mut end, mut hops) = (String::new(), start, None, 0);
    loop {
        let length = usize::from(*bytes.get(at).ok_or("name cut short")?);
        match length {
            0 => {
                return Ok((text, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + length).ok_or("label cut short")?;
                if !text.is_empty() {
                    text.push('.');
                }
                for byte in label {
                    match byte {
                        b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
                        33..=126 => text.push(char::from(*byte)),
                        other => write!(text, "\\{other:03}").expect("a String takes all"),
                    }
                }
                at += 1 + length;
            }
            0xC0.. => {
                let low = *bytes.get(at + 1).ok_or("pointer cut short")?;
                end.get_or_insert(at + 2);
                hops += 1;
                at = (length & 0x3F) << 8 | usize::from(low);
                if hops > 100 {
                    return Err("a pointer loop".into());
                }
            }
            other => return Err(format!("label type {other:#x}")),
        }
    }
}

fn read_record(bytes: &[u8], at: usize) -> Result<(Record, usize), String> {
    let (name, at) = read_name(bytes, at)?;
    let fixed = bytes.get(at..at + 10).ok_or("record cut short")?;
    let word = |i: usize| u16::from_be_bytes([fixed[i], fixed[i + 1]]);
    let (rtype, length) = (word(0), usize::from(word(8)));
    let (from, to) = (at + 10, at + 10 + length);
    let raw = bytes.get(from..to).ok_or("record data cut short")?;
    let rdata = match rtype {
        NS | CNAME | PTR | DNAME => name_bytes(&read_name(bytes, from)?.0),
        MX if length > 2 => [&raw[..2], &name_bytes(&read_name(bytes, from + 2)?.0)].concat(),
        SOA => {
            let (first, next) = read_name(bytes, from)?;
            let (second, next) = read_name(bytes, next)?;
            let numbers = bytes.get(next..to).ok_or("SOA cut short")?;
            [name_bytes(&first), name_bytes(&second), numbers.to_vec()].concat()
        }
        _ => raw.to_vec(),
    };
    let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    Ok((Record { name, rtype, class: word(2), ttl, rdata }, to))
}

fn read_edns(record: &Record) -> Result<Edns, String> {
    let [extended_rcode, version, high, low] = record.ttl.to_be_bytes();
    let flags = u16::from_be_bytes([high, low]);
    let (mut options, mut rest) = (Vec::new(), &record.rdata[..]);
    while !rest.is_empty() {
        let head = rest.get(..4).ok_or("option cut short")?;
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let data = rest.get(4..4 + length).ok_or("option data cut short")?;
        options.push((u16::from_be_bytes([head[0], head[1]]), data.to_vec()));
        rest = &rest[4 + length..];
    }
    if !record.name.is_empty() {
        return Err("the OPT record's owner is not the root".into());
    }
    Ok(Edns { size: record.class, version, flags, extended_rcode, options })
}

fn rcode_name(code: u16) -> &'static str {
    match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        9 => "NOTAUTH",
        16 => "BADVERS",
        _ => "another rcode",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all");
        text
    })
}
