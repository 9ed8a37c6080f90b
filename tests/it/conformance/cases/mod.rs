//! Written cases: a small policy, a small truth, one question, what comes back, and who says so.
//!
//! Answers are written in short: `NXDOMAIN`, `NODATA` and so on, `TC` for the empty cut reply,
//! `silence`; aliases as `> target` (`>> target` for a DNAME), other records as `TYPE data`, in
//! that order and with single blanks. NOERROR is not written before records.

mod actions;
mod chains;
mod gardens;
mod groups;
mod hints;
mod lists;
mod monitor;
mod overrides;
mod precedence;
mod questions;
mod servers;
mod spelling;

use crate::harness::backend::{Backend, PATH};
use crate::harness::client::{Over, Tcp, Udp, checked};
use crate::harness::conf::Conf;
use crate::harness::process::{LOCAL, free_port};
use crate::harness::script::Script;
use crate::harness::stage::Stage;
use crate::harness::tls::Tls;
use crate::harness::wire::{
    A, AAAA, ANY, CNAME, DNAME, HTTPS, MX, Message, NS, Query, Record, SOA, TC, TXT, name_bytes,
};
use crate::harness::{PATIENCE, millis};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const SVCB: u16 = 64;
const UNKNOWN: u16 = 65_400;

/// One case under construction.
pub struct Case {
    source: &'static str,
    zones: Vec<(String, String)>,
    lists: Vec<(String, String)>,
    settings: Vec<String>,
    sections: Vec<String>,
    records: Vec<Record>,
    absent: Vec<String>,
    signed: Vec<String>,
    scripts: Vec<(String, Script)>,
    question: (String, u16),
    from: IpAddr,
    over: Over,
    change: fn(Query) -> Query,
}

impl Case {
    /// A case that this source asks for.
    pub fn new(source: &'static str) -> Case {
        Case {
            source,
            zones: Vec::new(),
            lists: Vec::new(),
            settings: Vec::new(),
            sections: Vec::new(),
            records: Vec::new(),
            absent: Vec::new(),
            signed: Vec::new(),
            scripts: Vec::new(),
            question: (String::new(), A),
            from: IpAddr::V4(Ipv4Addr::new(127, 77, 0, 1)),
            over: Over::Udp,
            change: |query| query,
        }
    }

    /// The next policy zone: `one.rpz`, then `two.rpz`, `three.rpz`.
    pub fn zone(self, rules: &str) -> Case {
        self.zone_with("", rules)
    }

    /// The same with lines of its `[[policy]]` table.
    pub fn zone_with(mut self, lines: &str, rules: &str) -> Case {
        self.zones.push((lines.to_owned(), rules.to_owned()));
        self
    }

    /// A policy zone from a file in another format than RPZ.
    pub fn list(self, format: &str, text: &str) -> Case {
        self.list_with(format, "", text)
    }

    /// The same with lines of its `[[policy]]` table.
    pub fn list_with(mut self, format: &str, lines: &str, text: &str) -> Case {
        self.lists.push((format!("format = \"{format}\"\n{lines}"), text.to_owned()));
        self
    }

    /// A line of `[response_policy]`.
    pub fn set(mut self, line: &str) -> Case {
        self.settings.push(line.to_owned());
        self
    }

    /// More tables.
    pub fn with(mut self, section: &str) -> Case {
        self.sections.push(section.to_owned());
        self
    }

    /// Records of the truth, one a line. A name without any has a made-up address.
    pub fn data(mut self, lines: &str) -> Case {
        self.records.extend(lines.lines().filter(|l| !l.trim().is_empty()).map(record));
        self
    }

    /// A name that does not exist.
    pub fn absent(mut self, name: &str) -> Case {
        self.absent.push(name.to_owned());
        self
    }

    /// A name whose answers have signatures, for those who ask with DO.
    pub fn signed(mut self, name: &str) -> Case {
        self.signed.push(name.to_owned());
        self
    }

    /// What the upstream does when it is asked for a name.
    pub fn script(mut self, name: &str, script: Script) -> Case {
        self.scripts.push((name.to_owned(), script));
        self
    }

    /// `NAME TYPE`, the question.
    pub fn ask(mut self, question: &str) -> Case {
        let (name, rtype) = question.split_once(' ').expect("a name and a type");
        self.question = (name.trim_end_matches('.').to_owned(), number(rtype));
        self
    }

    /// The client's address.
    pub fn from(mut self, address: &str) -> Case {
        self.from = address.parse().expect("an address");
        self
    }

    pub fn tcp(mut self) -> Case {
        self.over = Over::Tcp;
        self
    }

    /// The query with a change.
    pub fn query(mut self, change: fn(Query) -> Query) -> Case {
        self.change = change;
        self
    }

    /// Asks twice, so that the second answer may come from the cache; both must be this one.
    #[track_caller]
    pub fn gives(self, expected: &str) -> Stage {
        let (source, question, change) = (self.source, self.question.clone(), self.change);
        let (from, over) = (self.from, self.over);
        let stage = self.stage();
        for which in ["first", "second"] {
            let query = change(Query::new(&question.0, question.1));
            let limit = if expected == "silence" { millis(300) } else { PATIENCE };
            let bytes = match over {
                Over::Udp => {
                    let client = Udp::from(from, stage.relay.address);
                    client.send(&query.bytes());
                    client.receive(limit)
                }
                Over::Tcp => {
                    let mut client = Tcp::from(from, stage.relay.address);
                    client.send(&query.bytes());
                    client.receive(limit)
                }
            };
            let came = bytes.map(|bytes| checked(&query, &bytes));
            let heard = came.as_ref().map_or("silence".into(), |reply| short(&question.0, reply));
            assert!(
                heard == expected,
                "{source}\n  expected  {expected}\n  heard     {heard} ({which})\n  {came:?}"
            );
        }
        stage
    }

    /// A running relay and its backend.
    #[track_caller]
    pub fn stage(self) -> Stage {
        let tls = Tls::new();
        let backend = Backend::start(&tls);
        let ip = if self.from.is_ipv4() { LOCAL } else { Ipv6Addr::LOCALHOST.into() };
        let mut conf = Conf::listening(free_port(ip)).service(&tls, PATH, &[backend.address]);
        let names = ["one.rpz", "two.rpz", "three.rpz"];
        for (name, (lines, rules)) in names.iter().zip(&self.zones) {
            conf = conf.policy_with(name, rules, lines);
        }
        for (n, (lines, text)) in self.lists.iter().enumerate() {
            let file = conf.folder().join(format!("list{n}"));
            std::fs::write(&file, text).expect("a list is written");
            let file = file.display();
            conf = conf
                .with(&format!("[[policy]]\nzone = \"list{n}.rpz\"\nfile = \"{file}\"\n{lines}"));
        }
        conf = self.settings.iter().fold(conf, |conf, line| conf.response_policy(line));
        conf = self.sections.iter().fold(conf, |conf, section| conf.with(section));
        backend.add(&self.records);
        backend.world(|world| {
            self.absent.iter().for_each(|name| world.remove(name));
            self.signed.iter().for_each(|name| world.sign(name));
        });
        for (name, script) in self.scripts {
            backend.set_for(&name, script);
        }
        Stage { relay: conf.start(), backend, tls }
    }
}

/// A reply in short; a record whose owner does not continue the chain is marked with `!`.
fn short(name: &str, reply: &Message) -> String {
    if reply.has(TC) && reply.answers.is_empty() {
        return "TC".into();
    }
    let (mut text, mut rest, mut owner) = (String::new(), Vec::new(), name.to_lowercase());
    for record in &reply.answers {
        let stray = if record.name.to_lowercase() == owner { "" } else { "!" };
        match record.rtype {
            DNAME => write!(text, " >> {}", record.data()).expect("a String takes all"),
            CNAME => {
                owner = record.data().to_lowercase();
                write!(text, " >{stray} {owner}").expect("a String takes all");
            }
            rtype => rest.push(format!("{stray}{}", shown(rtype, record))),
        }
    }
    rest.sort();
    let wanted = reply.question.as_ref().map_or(0, |(_, qtype, _)| *qtype);
    let links_are_data = !text.is_empty() && [CNAME, DNAME, ANY].contains(&wanted);
    let code = match reply.rcode() {
        "NOERROR" if rest.is_empty() && !links_are_data => "NODATA",
        "NOERROR" => "",
        code => code,
    };
    let parts = [code.to_owned(), text.trim().to_owned(), rest.join(" ")];
    parts.iter().filter(|p| !p.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}

fn shown(rtype: u16, record: &Record) -> String {
    match TYPES.iter().find(|(_, number)| *number == rtype) {
        Some((word @ ("A" | "AAAA" | "TXT" | "NS"), _)) => format!("{word} {}", record.data()),
        Some((word, _)) => (*word).to_owned(),
        None => format!("TYPE{rtype}"),
    }
}

const TYPES: [(&str, u16); 13] = [
    ("A", A),
    ("AAAA", AAAA),
    ("ANY", ANY),
    ("CNAME", CNAME),
    ("DNAME", DNAME),
    ("HTTPS", HTTPS),
    ("MX", MX),
    ("NS", NS),
    ("RRSIG", 46),
    ("SOA", SOA),
    ("SVCB", SVCB),
    ("TXT", TXT),
    ("TYPE65400", UNKNOWN),
];

fn number(rtype: &str) -> u16 {
    let found = TYPES.iter().find(|(word, _)| *word == rtype);
    found.unwrap_or_else(|| panic!("no type {rtype}")).1
}

/// `NAME TYPE DATA` as a record. The data of HTTPS and SVCB is one address, a hint.
fn record(line: &str) -> Record {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("a name, a type and data: {line}"));
    let (name, rtype, data) = (next().trim_end_matches('.'), next(), next());
    match rtype {
        "A" => Record::a(name, 300, data),
        "AAAA" => Record::aaaa(name, 300, data),
        "TXT" => Record::txt(name, 300, data),
        "HTTPS" | "SVCB" => Record::new(name, 300, number(rtype), hint(data)),
        "MX" => Record::new(name, 300, MX, [&[0, 10][..], &name_bytes(data)].concat()),
        other => Record::new(name, 300, number(other), name_bytes(data)),
    }
}

/// Priority 1, the owner itself as the target, and ipv4hint or ipv6hint (RFC 9460 section 7.3).
fn hint(address: &str) -> Vec<u8> {
    let (key, octets) = match address.parse().expect("an address") {
        IpAddr::V4(four) => (4, four.octets().to_vec()),
        IpAddr::V6(six) => (6, six.octets().to_vec()),
    };
    [&[0, 1, 0, 0, key, 0, octets.len() as u8][..], &octets].concat()
}
