//! Lists of domain names and hosts files, read as policy zones.
//!
//! ```text
//!   domains   NAME | .NAME | *.NAME   [# comment]     name: name CNAME .
//!   hosts     ADDRESS NAME [NAME...]  [# comment]     block: as above; else: name A ADDRESS
//! ```
//!
//! Every line becomes the records that a zone file would have, under a SOA that is made up, so
//! that nothing behind the reader knows the difference. A line that is no good is skipped.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::dns::name::{MAX_NAME, Name};
use crate::rpz::intake::Refusal;
use crate::rpz::lines::{Room, Text};
use crate::rpz::list_name;
use crate::rpz::name_text::{NameBuf, is_blank, printable};
use crate::rpz::owner::Reason;
use crate::rpz::rdata::rtype;
use crate::rpz::sink::Sink;
use crate::rpz::{Limits, ZoneError};

/// TTL of the local data of a hosts file, and of the SOA; in seconds.
const LIST_TTL: u32 = 60;
/// Refresh, retry, expire and minimum of the SOA, in seconds.
const SOA_TIMES: [u32; 4] = [3_600, 600, 604_800, 60];
/// Primary and mailbox of the SOA: names that lead nowhere (RFC 6761 sections 6.3 and 6.4).
const SOA_NAMES: &[u8] = b"\x09localhost\x00\x06nobody\x07invalid\x00";
/// The data of a CNAME that means NXDOMAIN.
const NXDOMAIN: &[u8] = &[0];

/// Names that hosts files have for the host itself and for groups of hosts: no policy.
const CUSTOMARY: [&[u8]; 17] = [
    b"localhost",
    b"localhost.localdomain",
    b"localhost4",
    b"localhost4.localdomain4",
    b"localhost6",
    b"localhost6.localdomain6",
    b"local",
    b"broadcasthost",
    b"ip6-localhost",
    b"ip6-loopback",
    b"ip6-localnet",
    b"ip6-mcastprefix",
    b"ip6-allnodes",
    b"ip6-allrouters",
    b"ip6-allhosts",
    b"0.0.0.0",
    b"255.255.255.255",
];

/// What the lines of a list are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One name.
    Domains,
    /// An address and names.
    Hosts,
}

/// Reads the lines of a list into `sink`. With `subdomains`, every name stands for all names
/// below it too.
pub(super) fn scan<S: Sink>(
    text: Text<'_>,
    (kind, subdomains): (Kind, bool),
    origin: &Name,
    limits: &Limits,
    sink: S,
) -> Result<S, ZoneError> {
    let mut reader = Reader { sink, origin: *origin, kind, subdomains, owner: NameBuf::new() };
    reader.run(text, limits)?;
    Ok(reader.sink)
}

struct Reader<S> {
    sink: S,
    origin: Name,
    kind: Kind,
    subdomains: bool,
    owner: NameBuf,
}

/// Which names a written name stands for.
#[derive(Clone, Copy)]
struct Reach {
    itself: bool,
    below: bool,
}

/// What an address in front of names says.
enum Said {
    Block,
    Address(IpAddr),
    Nothing(Reason),
}

impl<S: Sink> Reader<S> {
    fn run(&mut self, mut text: Text<'_>, limits: &Limits) -> Result<(), ZoneError> {
        let mut room = Room::new(limits);
        let mut line = Vec::new();
        let soa = soa(text.modified);
        let taken = self.sink.record(self.origin.as_wire(), rtype::SOA, LIST_TTL, &soa);
        taken.map_err(|refusal| text.fail(refusal.to_string()))?;
        while !self.sink.is_done() && text.next(&mut line, &mut room)? {
            self.sink.begin(text.number, &line);
            let content = content(&line);
            let taken = match self.kind {
                _ if content.is_empty() => Ok(()),
                Kind::Domains => self.domain(content),
                Kind::Hosts => self.host(content),
            };
            taken.map_err(|refusal| text.fail(refusal.to_string()))?;
        }
        Ok(())
    }

    /// A line of a list of domains.
    #[inline]
    fn domain(&mut self, line: &[u8]) -> Result<(), Refusal> {
        let (word, rest) = first_word(line);
        let (name, reach) = match word {
            [b'*', b'.', name @ ..] => (name, Reach { itself: false, below: true }),
            [b'.', name @ ..] => (name, Reach { itself: true, below: true }),
            name => (name, Reach { itself: true, below: self.subdomains }),
        };
        let read = list_name::read(name, self.origin.as_wire(), &mut self.owner);
        if let Err(reason) = more_than_a_name(word, rest).map_or(read, Err) {
            self.sink.skip(printable(line), reason);
            return Ok(());
        }
        self.records(word, reach, rtype::CNAME, NXDOMAIN)
    }

    /// A line of a hosts file.
    fn host(&mut self, line: &[u8]) -> Result<(), Refusal> {
        // here a `#` needs no blank in front of it
        let end = line.iter().position(|&b| b == b'#').unwrap_or(line.len());
        let (address, mut rest) = first_word(&line[..end]);
        let said = said(address);
        if rest.is_empty() {
            let reason = match said {
                Said::Nothing(_) => {
                    "no address in front of the name; for one name a line set format = \"domains\""
                }
                _ => "no name behind the address",
            };
            self.sink.skip(printable(line), reason.into());
        }
        while !rest.is_empty() {
            let word;
            (word, rest) = first_word(rest);
            self.named(word, &said)?;
        }
        Ok(())
    }

    /// One name of a line of a hosts file.
    fn named(&mut self, word: &[u8], said: &Said) -> Result<(), Refusal> {
        let bare = word.strip_suffix(b".").unwrap_or(word);
        if CUSTOMARY.iter().any(|name| name.eq_ignore_ascii_case(bare)) {
            self.sink.unused();
            return Ok(());
        }
        let reason = match said {
            Said::Nothing(reason) => Err(reason.clone()),
            _ => list_name::read(word, self.origin.as_wire(), &mut self.owner),
        };
        if let Err(reason) = reason {
            self.sink.skip(printable(word), reason);
            return Ok(());
        }
        let reach = Reach { itself: true, below: self.subdomains };
        match said {
            Said::Address(IpAddr::V4(ip)) => self.records(word, reach, rtype::A, &ip.octets()),
            Said::Address(IpAddr::V6(ip)) => self.records(word, reach, rtype::AAAA, &ip.octets()),
            _ => self.records(word, reach, rtype::CNAME, NXDOMAIN),
        }
    }

    /// Hands on the records of the name in `self.owner`.
    #[inline]
    fn records(
        &mut self,
        word: &[u8],
        reach: Reach,
        rtype: u16,
        rdata: &[u8],
    ) -> Result<(), Refusal> {
        let name = self.owner.wire();
        if reach.itself {
            self.sink.record(name, rtype, LIST_TTL, rdata)?;
        }
        if reach.below {
            let mut below = [0; MAX_NAME];
            let Some(place) = below.get_mut(..name.len() + 2) else {
                let reason = "the name is too long for a wildcard in front of it";
                self.sink.skip(printable(word), reason.into());
                return Ok(());
            };
            place[..2].copy_from_slice(b"\x01*");
            place[2..].copy_from_slice(name);
            self.sink.record(place, rtype, LIST_TTL, rdata)?;
        }
        Ok(())
    }
}

/// A line without the blanks around it; empty if it is a comment.
#[inline]
fn content(line: &[u8]) -> &[u8] {
    let start = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    let end = line.iter().rposition(|&b| !is_blank(b)).map_or(start, |last| last + 1);
    match &line[start..end] {
        [b'#' | b';' | b'!', ..] => &[],
        content => content,
    }
}

/// The first word of a line that begins with one, and what comes behind the blanks.
#[inline]
fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&b| is_blank(b)).unwrap_or(line.len());
    let (word, rest) = line.split_at(end);
    let start = rest.iter().position(|&b| !is_blank(b)).unwrap_or(rest.len());
    (word, &rest[start..])
}

/// What is wrong with a line of a list of domains that has something behind its first word.
#[inline]
fn more_than_a_name(word: &[u8], rest: &[u8]) -> Option<Reason> {
    match rest.first() {
        None | Some(b'#') => None,
        Some(_) if matches!(said(word), Said::Nothing(_)) => {
            Some("more than one word; a list of domains has one name a line".into())
        }
        Some(_) => Some("an address and a name; for a hosts file set format = \"hosts\"".into()),
    }
}

/// Reads the address of a hosts file.
#[inline]
fn said(word: &[u8]) -> Said {
    if word == b"0.0.0.0" || word == b"127.0.0.1" {
        return Said::Block;
    }
    match str::from_utf8(word).ok().and_then(|word| word.parse().ok()) {
        Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED | Ipv4Addr::LOCALHOST))
        | Some(IpAddr::V6(Ipv6Addr::UNSPECIFIED | Ipv6Addr::LOCALHOST)) => Said::Block,
        Some(address) => Said::Address(address),
        None => Said::Nothing(format!("`{}` is no address", printable(word)).into()),
    }
}

/// The data of a SOA with this serial.
fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = SOA_NAMES.to_vec();
    rdata.extend_from_slice(&serial.to_be_bytes());
    rdata.extend(SOA_TIMES.iter().flat_map(|time| time.to_be_bytes()));
    rdata
}

/// Lines that are looked at to tell a list from a zone file.
const GUESS_LINES: u32 = 20;

/// A look at the first lines of what should be a zone file.
#[derive(Debug, Default)]
pub(super) struct Guess {
    seen: u32,
    domains: u32,
    hosts: u32,
}

impl Guess {
    /// Takes the next line.
    #[inline]
    pub(super) fn look_at(&mut self, line: &[u8]) {
        if self.seen < GUESS_LINES {
            self.weigh(content(line));
        }
    }

    fn weigh(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        self.seen += 1;
        let (word, rest) = first_word(line);
        let is_address = !matches!(said(word), Said::Nothing(_));
        let name = word.strip_prefix(b"*.").unwrap_or(word);
        let name = name.strip_prefix(b".").unwrap_or(name);
        let read = |name| list_name::read(name, Name::ROOT.as_wire(), &mut NameBuf::new());
        if is_address && !rest.is_empty() {
            self.hosts += 1;
        } else if more_than_a_name(word, rest).is_none()
            && name.contains(&b'.')
            && read(name).is_ok()
        {
            self.domains += 1;
        }
    }

    /// What most lines look like, and the key that has them read so; `None` for a zone file.
    pub(super) fn list(&self) -> Option<(&'static str, &'static str)> {
        if self.hosts > self.seen / 2 {
            return Some(("a hosts file", "format = \"hosts\""));
        }
        (self.domains > self.seen / 2).then_some(("a list of domain names", "format = \"domains\""))
    }
}
