//! NOTIFY (RFC 1996): a primary says that a zone has changed.
//!
//! ```text
//!   packet, source ─► Desk::receive
//!       source      nobody's primary: REFUSED, whatever it asks about
//!       form        one question, SOA, class IN                     ─► FORMERR, NOTIMP
//!       zone        not one that this source speaks for             ─► NOTAUTH
//!       signature   as the zone's key wants it (RFC 8945)           ─► REFUSED, NOTAUTH
//!       good        NOERROR, and Bell::ring ─► the zone's keeper looks at the SOA
//! ```
//!
//! `server.allow` has no say: primaries are no clients. A zone with a key wants every NOTIFY
//! signed with it, though some servers take unsigned ones from a primary's address: over UDP
//! anybody can write that address. The serial in a NOTIFY is only a hint and is not looked at.
//!
//! A source learns nothing of zones that it does not speak for: they are answered as zones that
//! do not exist. Signatures are computed only for sources that a zone listens to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ipnet::IpNet;
use tokio::sync::Notify;

use super::source::Transfer;
use crate::acl::Acl;
use crate::dns::compose::bare_reply;
use crate::dns::name::Name;
use crate::dns::record::{Records, Section, read_name};
use crate::dns::tsig::{self, Algorithm, Key, Request, RequestFault};
use crate::dns::{CLASS_IN, HEADER, flag, opcode, rcode, rtype, u16_at};
use crate::limits;

/// Octets that every datagram may have (RFC 1035 section 4.2.1).
const SHORTEST_PAYLOAD: usize = 512;

/// Wakes the keeper of one zone. Rings that come before it looks are one.
#[derive(Debug, Default)]
pub struct Bell {
    taken: AtomicU64,
    refused: AtomicU64,
    /// When the log last told of one that was refused, in seconds since 1970.
    line: AtomicU64,
    wake: Notify,
}

impl Bell {
    /// Rings: the keeper that waits wakes, or does not begin to wait. Cheap from any thread.
    pub fn ring(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Wakes the keeper for another reason than a NOTIFY.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until it has rung since the last wait ended. For one keeper.
    pub async fn rung(&self) {
        self.wake.notified().await;
    }

    /// NOTIFYs that were taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// NOTIFYs for the zone whose signature was not as it must be.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts one that was refused, and says whether the log should tell of it.
    fn note_refused(&self, now: u64) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let last = self.line.load(Ordering::Relaxed);
        let quiet = now.abs_diff(last) < limits::supply::NOTIFY_LINE_PAUSE;
        let order = Ordering::Relaxed;
        !quiet && self.line.compare_exchange(last, now, order, order).is_ok()
    }
}

/// What became of a packet; each with the length of the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It is good, and the zone's keeper knows.
    Taken(usize),
    /// It is not listened to.
    Refused(usize),
    /// It cannot be read, or asks for something that no NOTIFY is for.
    Malformed(usize),
    /// No NOTIFY at all, or an answer to one: nothing is sent.
    Silence,
}

/// Where NOTIFYs are taken in. Immutable but for the bells, and cheap to ask.
#[derive(Debug)]
pub struct Desk {
    posts: HashMap<Name, Post, foldhash::fast::RandomState>,
    /// Everybody whom some zone listens to.
    sources: Acl,
    /// The key of zones without one: nobody's.
    no_key: Key,
}

#[derive(Debug)]
struct Post {
    transfer: Transfer,
    bell: Arc<Bell>,
}

impl Default for Desk {
    fn default() -> Desk {
        Desk::new([])
    }
}

impl Desk {
    /// A desk for these zones.
    pub fn new(posts: impl IntoIterator<Item = (Name, Transfer, Arc<Bell>)>) -> Desk {
        let post = |(name, transfer, bell)| (name, Post { transfer, bell });
        let posts: HashMap<_, _, _> = posts.into_iter().map(post).collect();
        let transfers = posts.values().map(|post: &Post| &post.transfer);
        let sources = Acl::new(transfers.flat_map(heard));
        let secret = Box::default();
        let no_key = Key { name: Name::ROOT, algorithm: Algorithm::Sha256, secret };
        Desk { posts, sources, no_key }
    }

    /// True if some zone listens to this address, IPv4-mapped ones unmapped.
    pub fn listens_to(&self, from: IpAddr) -> bool {
        self.sources.admit(from).is_some()
    }

    /// Takes in a packet from this address, which is no IPv4-mapped one. `now` is wall time in
    /// seconds since 1970; `reply` holds 4,096 octets at least.
    pub fn receive(&self, packet: &[u8], from: IpAddr, now: u64, reply: &mut [u8]) -> Receipt {
        let Some(flags) = u16_at(packet, 2).filter(|_| packet.len() >= HEADER) else {
            return Receipt::Silence;
        };
        if flags & flag::QR != 0 || (flags >> 11 & 0xf) as u8 != opcode::NOTIFY {
            return Receipt::Silence;
        }
        if !self.listens_to(from) {
            return Receipt::Refused(bare_reply(reply, packet, rcode::REFUSED, None));
        }
        let Some(notice) = Notice::read(packet) else {
            return Receipt::Malformed(bare_reply(reply, packet, rcode::FORMERR, None));
        };
        if notice.rtype != rtype::SOA || notice.class != CLASS_IN {
            return Receipt::Malformed(notice.answer(rcode::NOTIMP).put(reply));
        }
        let post = self.posts.get(&notice.zone).filter(|post| post.transfer.hears(from));
        let Some(post) = post else {
            return Receipt::Refused(notice.answer(rcode::NOTAUTH).put(reply));
        };
        let key = post.transfer.key.as_deref();
        match self.check(packet, key, now) {
            Ok(signed) => {
                post.bell.ring();
                let mut answer = notice.answer(rcode::NOERROR);
                if let (Some(request), Some(key)) = (signed, key) {
                    tsig::sign_answer(&mut answer.message, key, now, &request.mac);
                }
                Receipt::Taken(answer.put(reply))
            }
            Err(fault) => {
                if post.bell.note_refused(now) {
                    tell(&notice.zone, from, fault, key);
                }
                let mut answer = notice.answer(fault.rcode());
                let key = key.unwrap_or(&self.no_key);
                tsig::answer_fault(&mut answer.message, packet, &fault, key, now);
                Receipt::Refused(answer.put(reply))
            }
        }
    }

    /// Checks the signature. A zone without a key wants none: a signature that nobody here can
    /// check is one with an unknown key (RFC 8945 section 5.2.1).
    fn check(
        &self,
        packet: &[u8],
        key: Option<&Key>,
        now: u64,
    ) -> Result<Option<Request>, RequestFault> {
        match key {
            Some(key) => tsig::check_request(packet, key, now).map(Some),
            None => match tsig::check_request(packet, &self.no_key, now) {
                Err(RequestFault::Unsigned) => Ok(None),
                Err(RequestFault::Garbled) => Err(RequestFault::Garbled),
                _ => Err(RequestFault::BadKey),
            },
        }
    }
}

/// Addresses that a zone listens to.
fn heard(transfer: &Transfer) -> impl Iterator<Item = IpNet> {
    let primaries = transfer.primaries.iter().map(|p| IpNet::from(p.address.ip().to_canonical()));
    primaries.chain(transfer.notify_from.iter().copied())
}

fn tell(zone: &Name, from: IpAddr, fault: RequestFault, key: Option<&Key>) {
    let cure = match (fault, key) {
        (RequestFault::Unsigned, Some(key)) => {
            format!("have {from} sign NOTIFYs to this host with the key {}", key.name)
        }
        (RequestFault::BadTime { .. }, _) => {
            format!("set the clocks of this host and of {from}")
        }
        (_, None) => "give the zone the key that its primary uses, with tsig".to_owned(),
        (_, Some(key)) => {
            format!("the key {} must be the same here and on {from}", key.name)
        }
    };
    tracing::warn!(
        event = "notify-refused", %zone, client = %from,
        "policy zone {zone}: a NOTIFY from {from} is refused: {fault}; {cure}"
    );
}

/// A NOTIFY that can be read.
struct Notice<'p> {
    packet: &'p [u8],
    zone: Name,
    rtype: u16,
    class: u16,
    question_end: usize,
    /// It has an OPT record, so that the answer must have one (RFC 6891 section 6.1.1).
    edns: bool,
}

impl<'p> Notice<'p> {
    /// Reads a packet with a header: one question, records that can be walked through to the
    /// end, at most one OPT.
    fn read(packet: &'p [u8]) -> Option<Notice<'p>> {
        if u16_at(packet, 4)? != 1 {
            return None;
        }
        let (zone, name_end) = read_name(packet, HEADER).ok()?;
        let (rtype, class) = (u16_at(packet, name_end)?, u16_at(packet, name_end + 2)?);
        let question_end = name_end + 4;
        let mut records = Records::new(packet, question_end);
        let mut edns = false;
        for record in &mut records {
            let record = record.ok()?;
            if record.rtype == rtype::OPT {
                let root = packet.get(record.start) == Some(&0);
                if edns || !root || record.section != Section::Additional {
                    return None;
                }
                edns = true;
            }
        }
        let whole = records.position() == packet.len();
        whole.then_some(Notice { packet, zone, rtype, class, question_end, edns })
    }

    /// The answer with this code: the question as it came, AA if the NOTIFY is taken.
    fn answer(&self, code: u16) -> Answer {
        let mut message = vec![0; self.question_end];
        bare_reply(&mut message, self.packet, code, Some(self.question_end));
        if code == rcode::NOERROR
            && let Some(high) = message.get_mut(2)
        {
            *high |= (flag::AA >> 8) as u8;
        }
        if self.edns {
            let [high, low] = limits::upstream::PLAIN_PAYLOAD.to_be_bytes();
            message.extend_from_slice(&[0, 0, rtype::OPT as u8, high, low, 0, 0, 0, 0, 0, 0]);
            if let Some(additional) = message.get_mut(HEADER - 1) {
                *additional = 1;
            }
        }
        Answer { message, question_end: self.question_end }
    }
}

/// An answer on its way into the reply buffer.
struct Answer {
    message: Vec<u8>,
    question_end: usize,
}

impl Answer {
    /// Copies it. One that signatures with long names make longer than a datagram without EDNS
    /// may be goes without them, and says that it is cut (RFC 8945 section 5.3).
    fn put(mut self, reply: &mut [u8]) -> usize {
        if self.message.len() > SHORTEST_PAYLOAD {
            self.message.truncate(self.question_end);
            if let Some([flags, _, counts @ ..]) = self.message.get_mut(2..HEADER) {
                *flags |= (flag::TC >> 8) as u8;
                counts[2..].fill(0);
            }
        }
        let len = self.message.len().min(reply.len());
        reply[..len].copy_from_slice(&self.message[..len]);
        len
    }
}

#[cfg(test)]
#[path = "notify_tests.rs"]
mod tests;
