//! What the scripted backends know: every name has an address, some have more.

use super::wire::{A, AA, AAAA, AD, ANY, CNAME, Edns, Message, QR, RA, RD, RRSIG, Record};
use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The TTL of the addresses that are made from names.
pub const TTL: u32 = 300;
/// The negative TTL of names without the type asked for.
pub const NEGATIVE_TTL: u32 = 60;

/// Records by name, with an address made from the name where nothing else is written down.
#[derive(Default)]
pub struct World {
    records: HashMap<(String, u16), Vec<Record>>,
    absent: HashSet<String>,
    signed: HashSet<String>,
}

impl World {
    /// Adds records; a name with any record of its own has no made-up address any more.
    pub fn add(&mut self, records: &[Record]) {
        for record in records {
            let key = (record.name.to_lowercase(), record.rtype);
            self.records.entry(key).or_default().push(record.clone());
        }
    }

    /// Takes away all records of a name.
    pub fn forget(&mut self, name: &str) {
        self.records.retain(|(owner, _), _| owner != &name.to_lowercase());
    }

    /// From now on the name does not exist.
    pub fn remove(&mut self, name: &str) {
        self.absent.insert(name.to_lowercase());
    }

    /// From now on answers for the name carry an RRSIG if DO is set, and AD.
    pub fn sign(&mut self, name: &str) {
        self.signed.insert(name.to_lowercase());
    }

    /// The whole answer to a query, as an honest resolver would give it.
    pub fn answer(&self, query: &Message) -> Message {
        let (name, qtype, _) = query.question.clone().unwrap_or_default();
        let dnssec_ok = query.edns.as_ref().is_some_and(|e| e.flags & 0x8000 != 0);
        let mut reply = Message {
            id: query.id,
            flags: QR | RA | (query.flags & (RD | super::wire::CD)),
            question: query.question.clone(),
            edns: query.edns.as_ref().map(|_| Edns {
                size: 1232,
                flags: if dnssec_ok { 0x8000 } else { 0 },
                ..Edns::default()
            }),
            ..Message::default()
        };
        let mut owner = name.clone();
        for _ in 0..16 {
            match self.find(&owner, CNAME) {
                Some(links) if qtype != CNAME => {
                    reply.answers.extend(links.iter().cloned());
                    owner = links[0].data();
                }
                _ => break,
            }
        }
        reply.answers.extend(self.records_of(&owner, qtype));
        if self.absent.contains(&owner.to_lowercase()) {
            reply.flags |= 3;
        }
        if reply.answers.iter().all(|r| r.rtype == CNAME) && qtype != CNAME {
            reply.authority.push(Record::soa(&parent(&owner), NEGATIVE_TTL, NEGATIVE_TTL));
        }
        if self.signed.contains(&name.to_lowercase()) {
            reply.flags |= AD;
            if dnssec_ok {
                reply.answers.push(Record::new(&name, TTL, RRSIG, signature(qtype)));
            }
        }
        debug_assert!(!reply.has(AA));
        reply
    }

    fn records_of(&self, owner: &str, qtype: u16) -> Vec<Record> {
        if let Some(records) = self.find(owner, qtype) {
            return records.to_vec();
        }
        let lower = owner.to_lowercase();
        let known = self.records.keys().any(|(name, _)| *name == lower);
        if known && qtype == ANY {
            let all = self.records.iter().filter(|((name, _), _)| *name == lower);
            return all.flat_map(|(_, records)| records.clone()).collect();
        }
        match qtype {
            _ if known || self.absent.contains(&lower) => Vec::new(),
            A | ANY => vec![Record::a(owner, TTL, &address_of(owner))],
            AAAA => vec![Record::aaaa(owner, TTL, &address6_of(owner))],
            _ => Vec::new(),
        }
    }

    fn find(&self, owner: &str, rtype: u16) -> Option<&[Record]> {
        self.records.get(&(owner.to_lowercase(), rtype)).map(Vec::as_slice)
    }
}

/// The made-up IPv4 address of a name: 10.x.y.z.
pub fn address_of(name: &str) -> String {
    let [.., x, y, z] = hash(name).to_be_bytes();
    Ipv4Addr::new(10, x, y, z).to_string()
}

/// The made-up IPv6 address of a name: fd00::x.
pub fn address6_of(name: &str) -> String {
    let h = hash(name);
    Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 1, (h >> 16) as u16, h as u16 | 1).to_string()
}

/// FNV-1a over the lower-case name.
fn hash(name: &str) -> u32 {
    let bytes = name.bytes().map(|b| b.to_ascii_lowercase());
    bytes.fold(0x811C_9DC5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

fn parent(name: &str) -> String {
    name.split_once('.').map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// An RRSIG that has the right shape and signs nothing.
fn signature(covered: u16) -> Vec<u8> {
    let mut rdata = covered.to_be_bytes().to_vec();
    rdata.extend([13, 3]);
    rdata.extend(TTL.to_be_bytes());
    rdata.extend(4_000_000_000u32.to_be_bytes());
    rdata.extend(1_700_000_000u32.to_be_bytes());
    rdata.extend([0x30, 0x39]);
    rdata.extend(super::wire::name_bytes("example.com"));
    rdata.extend([7; 64]);
    rdata
}
