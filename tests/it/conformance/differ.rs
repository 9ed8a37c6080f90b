//! Asks two servers the same and tells where their answers differ.

use super::oracle::Server;
use super::zones::Question;
use crate::harness::client::{Tcp, Udp};
use crate::harness::millis;
use crate::harness::wire::{
    CD, CNAME, DNAME, MX, Message, NS, PTR, Query, RD, RRSIG, Record, SOA, TC,
};
use socket2::{Domain, Type};
use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Questions that are under way at one time.
const AT_ONCE: usize = 24;

/// What a client hears, in a form that two servers can be compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    Silence,
    /// Not a message, or one for another question.
    Broken(String),
    /// TC and no record; the response code beside it is anybody's.
    Cut,
    Answer {
        rcode: &'static str,
        cut: bool,
        /// Aliases in their order.
        links: Vec<String>,
        /// All other answer records, in no order.
        rest: BTreeSet<String>,
    },
}

impl Heard {
    pub fn is_answer(&self) -> bool {
        matches!(self, Heard::Answer { rcode: "NOERROR", .. })
    }

    fn of(query: &Query, bytes: &[u8]) -> Heard {
        let asked = Message::read(&query.bytes()).expect("the question is well formed");
        let reply = match Message::read(bytes) {
            Ok(reply) if reply.id == asked.id && reply.question == asked.question => reply,
            Ok(reply) => return Heard::Broken(format!("for {:?}", reply.question)),
            Err(why) => return Heard::Broken(why),
        };
        if reply.has(TC) && reply.answers.is_empty() {
            return Heard::Cut;
        }
        let is_link = |r: &&Record| [CNAME, DNAME].contains(&r.rtype);
        Heard::Answer {
            rcode: reply.rcode(),
            cut: reply.has(TC),
            links: reply.answers.iter().filter(is_link).map(shown).collect(),
            rest: reply.answers.iter().filter(|r| !is_link(r)).map(shown).collect(),
        }
    }
}

/// One record; of a signature only what it covers.
fn shown(record: &Record) -> String {
    let owner = record.name.to_lowercase();
    let data = match record.rtype {
        RRSIG => format!("{:?}", &record.rdata[..2.min(record.rdata.len())]),
        CNAME | DNAME | NS | PTR => record.data().to_lowercase(),
        // Their names may be compressed against the question and so take its case.
        SOA | MX => {
            let rdata = record.rdata.to_ascii_lowercase();
            Record { rdata, ..record.clone() }.data()
        }
        _ => record.data(),
    };
    format!("{owner}. {} {data}", type_word(record.rtype))
}

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Heard::Silence => f.write_str("silence"),
            Heard::Broken(why) => write!(f, "a broken message: {why}"),
            Heard::Cut => f.write_str("TC"),
            Heard::Answer { rcode, cut, links, rest } => {
                write!(f, "{rcode}{}", if *cut { " TC" } else { "" })?;
                links.iter().chain(rest).try_for_each(|record| write!(f, " | {record}"))
            }
        }
    }
}

impl Question {
    /// An ordinary question for an A record, from an address that no rule knows.
    pub fn plain(name: &str) -> Question {
        Question {
            name: name.to_owned(),
            qtype: 1,
            from: IpAddr::V4(Ipv4Addr::new(127, 78, 0, 1)),
            tcp: false,
            recursive: true,
            checking_disabled: false,
            dnssec_ok: false,
            edns: true,
        }
    }

    fn query(&self) -> Query {
        let flag = |on: bool, bit: u16| if on { bit } else { 0 };
        let flags = flag(self.recursive, RD) | flag(self.checking_disabled, CD);
        let query = Query::new(&self.name, self.qtype).flags(flags);
        match (self.edns, self.dnssec_ok) {
            (false, _) => query.no_edns(),
            (true, false) => query,
            (true, true) => query.dnssec_ok(),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}. {} from {}", self.name, type_word(self.qtype), self.from)?;
        let marks = [
            (self.tcp, " +tcp"),
            (!self.recursive, " +norecurse"),
            (self.checking_disabled, " +cd"),
            (self.dnssec_ok, " +dnssec"),
            (!self.edns, " +noedns"),
        ];
        marks.iter().filter(|(on, _)| *on).try_for_each(|(_, word)| f.write_str(word))
    }
}

/// How a server is asked.
#[derive(Clone, Copy)]
pub struct Ask {
    pub server: Server,
    /// Silence for this long is silence.
    pub limit: Duration,
    pub tries: usize,
}

impl Ask {
    pub fn heard(&self, question: &Question) -> Heard {
        let query = question.query();
        let (bytes, to) = (query.bytes(), self.server.for_client(question.from));
        for _ in 0..self.tries {
            let came = if question.tcp {
                let mut client = match connection(question.from, to) {
                    Ok(stream) => Tcp { stream },
                    Err(why) => return Heard::Broken(format!("no connection: {why}")),
                };
                client.send(&bytes);
                client.receive(self.limit)
            } else {
                let client = Udp::from(question.from, to);
                client.send(&bytes);
                client.receive(self.limit)
            };
            if let Some(came) = came {
                return Heard::of(&query, &came);
            }
        }
        Heard::Silence
    }
}

/// A TCP connection from this address, if the server still lives.
fn connection(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect_timeout(&to.into(), millis(5000))?;
    Ok(socket.into())
}

/// A question that two servers answer differently.
#[derive(Clone, Debug)]
pub struct Difference {
    pub question: Question,
    pub reference: Heard,
    pub relay: Heard,
}

impl Difference {
    /// The name asked for and those that aliases led to.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let links = [&self.reference, &self.relay].into_iter().flat_map(|heard| match heard {
            Heard::Answer { links, .. } => &links[..],
            _ => &[],
        });
        let mut targets: Vec<_> = links.filter_map(|l| Some(l.split_once(". CNAME ")?.1)).collect();
        targets.sort_unstable();
        targets.dedup();
        std::iter::once(self.question.name.as_str()).chain(targets)
    }
}

/// Asks both servers everything, and what differs once more, alone.
pub fn differences(reference: Server, relay: Server, questions: &[Question]) -> Vec<Difference> {
    let both = |question: &Question, limit, tries| {
        let ask = |server| Ask { server, limit, tries }.heard(question);
        let difference =
            Difference { question: question.clone(), reference: ask(reference), relay: ask(relay) };
        (difference.reference != difference.relay).then_some(difference)
    };
    let all_of = |questions: &[Question]| {
        let next = AtomicUsize::new(0);
        let worker = || {
            let mine = std::iter::from_fn(|| questions.get(next.fetch_add(1, Ordering::Relaxed)));
            mine.filter_map(|q| both(q, millis(1000), 1)).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
            let found = workers.into_iter().flat_map(|w| w.join().expect("an asking thread ends"));
            found.collect::<Vec<_>>()
        })
    };
    // Questions without RD come last: they are answered from what the others left behind.
    let (with, without): (Vec<_>, Vec<_>) = questions.iter().cloned().partition(|q| q.recursive);
    let mut suspects = all_of(&with);
    suspects.extend(all_of(&without));
    suspects.sort_by(|a, b| a.question.cmp(&b.question));
    suspects.iter().filter_map(|s| both(&s.question, millis(1500), 2)).collect()
}

/// A record type as people write it.
pub fn type_word(rtype: u16) -> String {
    let words = [
        (1, "A"),
        (2, "NS"),
        (5, "CNAME"),
        (6, "SOA"),
        (12, "PTR"),
        (15, "MX"),
        (16, "TXT"),
        (28, "AAAA"),
        (33, "SRV"),
        (DNAME, "DNAME"),
        (43, "DS"),
        (46, "RRSIG"),
        (47, "NSEC"),
        (65, "HTTPS"),
        (255, "ANY"),
        (257, "CAA"),
    ];
    let word = words.iter().find(|(number, _)| *number == rtype);
    word.map_or_else(|| format!("TYPE{rtype}"), |(_, word)| (*word).to_owned())
}
