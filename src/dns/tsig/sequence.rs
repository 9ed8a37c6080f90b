//! The asker's side: a signed request, and an answer of many envelopes (RFC 8945 section 5.3).

use std::fmt;
use std::sync::Arc;

use super::super::name::Name;
use super::super::u16_at;
use super::hash::Digest;
use super::record::{Tsig, seconds};
use super::{FUDGE, Key, MAX_UNSIGNED, Mac, error};
use crate::clock::rfc3339;

/// Why an answer is not to be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first envelope carries no signature.
    Unsigned,
    /// More than 99 envelopes in a row carry none.
    UnsignedTooLong,
    /// The last envelope carries none.
    UnsignedAtTheEnd,
    /// The record cannot be read, is not the last one, or is not alone.
    Garbled,
    /// Signed with another key or algorithm, which is named.
    BadKey(String),
    /// The MAC is not right: another secret, or something was changed on the way.
    BadSig,
    /// The MAC has only this many octets.
    BadTrunc(usize),
    /// The clocks are too far apart.
    BadTime {
        /// When the peer signed it, in seconds since 1970.
        signed: u64,
        /// Our clock.
        now: u64,
        /// Seconds that the peer allows.
        fudge: u16,
    },
    /// The peer finds fault with our request.
    Peer(PeerFault),
}

/// What the peer says is wrong with our signature. It cannot always sign that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerFault {
    /// It does not know the key, or not with this algorithm.
    BadKey,
    /// The MAC is not right: the secrets differ.
    BadSig,
    /// The clocks are too far apart.
    BadTime {
        /// Its clock, in seconds since 1970, if it tells.
        theirs: Option<u64>,
        /// Ours.
        ours: u64,
    },
    /// Another error code.
    Other(u16),
}

/// Signs a request at `now`: appends the record and counts it. The MAC is needed to check the
/// answer.
pub fn sign_request(message: &mut Vec<u8>, key: &Key, now: u64) -> Mac {
    let tsig = of_our_own(message, key, now);
    tsig.sign(message, key, None)
}

/// A record for a message of our own that has none yet.
pub(super) fn of_our_own(message: &[u8], key: &Key, now: u64) -> Tsig<'static> {
    Tsig {
        start: message.len(),
        name: key.name,
        algorithm: Name::from_wire(key.algorithm.wire()).unwrap_or(Name::ROOT),
        signed: now,
        fudge: FUDGE,
        mac: &[],
        id: u16_at(message, 0).unwrap_or(0),
        error: 0,
        other: &[],
    }
}

impl Tsig<'_> {
    /// Signs the message, which has no TSIG record yet, and appends this one.
    pub(super) fn sign(&self, message: &mut Vec<u8>, key: &Key, request: Option<&[u8]>) -> Mac {
        let mut digest = match request {
            Some(mac) => Digest::after(key, mac),
            None => Digest::new(key),
        };
        digest.octets(message);
        digest.variables(self);
        let mac = digest.finish();
        self.append(message, mac.as_octets());
        mac
    }
}

/// Checks the envelopes of one answer, in their order. After a fault it is of no more use.
pub struct Sequence {
    key: Arc<Key>,
    /// Holds the MAC before, and the envelopes since that carry none.
    digest: Digest,
    /// Nothing was checked yet.
    first: bool,
    /// Envelopes since the last signed one.
    unsigned: u32,
}

impl Sequence {
    /// For the answer to the request that was signed with this MAC.
    pub fn new(key: Arc<Key>, request: Mac) -> Sequence {
        let digest = Digest::after(&key, request.as_octets());
        Sequence { key, digest, first: true, unsigned: 0 }
    }

    /// Checks the next envelope; gives its length without the TSIG record. One without a
    /// signature is good only once a later one is.
    pub fn check(&mut self, message: &[u8], now: u64) -> Result<usize, Fault> {
        let Some(tsig) = Tsig::find(message).map_err(|_| Fault::Garbled)? else {
            self.unsigned(message)?;
            return Ok(message.len());
        };
        if tsig.error != 0 {
            return Err(Fault::Peer(PeerFault::of(&tsig, now)));
        }
        if !tsig.is_of(&self.key) {
            return Err(Fault::BadKey(tsig.key_text()));
        }
        let octets = tsig.mac.len();
        if octets > self.key.algorithm.mac_len() {
            return Err(Fault::Garbled);
        }
        if octets < self.key.algorithm.shortest_mac() {
            return Err(Fault::BadTrunc(octets));
        }
        let next = Digest::after(&self.key, tsig.mac);
        let mut digest = std::mem::replace(&mut self.digest, next);
        digest.message(message, &tsig);
        if self.first {
            digest.variables(&tsig)
        } else {
            digest.timers(&tsig)
        }
        if !digest.is(tsig.mac) {
            return Err(Fault::BadSig);
        }
        if !tsig.is_timely(now) {
            return Err(Fault::BadTime { signed: tsig.signed, now, fudge: tsig.fudge });
        }
        self.first = false;
        self.unsigned = 0;
        Ok(tsig.start)
    }

    fn unsigned(&mut self, message: &[u8]) -> Result<(), Fault> {
        if self.first {
            return Err(Fault::Unsigned);
        }
        if self.unsigned >= MAX_UNSIGNED {
            return Err(Fault::UnsignedTooLong);
        }
        self.unsigned += 1;
        self.digest.octets(message);
        Ok(())
    }

    /// The answer is complete: its last envelope must have been signed.
    pub fn finish(&self) -> Result<(), Fault> {
        match (self.first, self.unsigned) {
            (true, _) => Err(Fault::Unsigned),
            (false, 0) => Ok(()),
            (false, _) => Err(Fault::UnsignedAtTheEnd),
        }
    }
}

impl PeerFault {
    fn of(tsig: &Tsig<'_>, now: u64) -> PeerFault {
        match tsig.error {
            error::BADKEY => PeerFault::BadKey,
            error::BADSIG => PeerFault::BadSig,
            error::BADTIME => {
                let theirs = (tsig.other.len() == 6).then(|| seconds(tsig.other));
                PeerFault::BadTime { theirs, ours: now }
            }
            other => PeerFault::Other(other),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Unsigned => f.write_str(
                "the answer is not signed, but this zone has a key: have the primary use the key \
                 for this host",
            ),
            Fault::UnsignedTooLong => write!(
                f,
                "more than {MAX_UNSIGNED} messages in a row are not signed (RFC 8945 section \
                 5.3.1): the primary is at fault"
            ),
            Fault::UnsignedAtTheEnd => f.write_str(
                "the last message is not signed: the primary is at fault, or the answer was cut",
            ),
            Fault::Garbled => f.write_str(
                "the signature record cannot be read or is not the last record: the primary is \
                 at fault",
            ),
            Fault::BadKey(used) => write!(
                f,
                "BADKEY: the primary signed with {used}: configure the same key and algorithm on \
                 both sides"
            ),
            Fault::BadSig => f.write_str(
                "BADSIG: the signature is not right: the secrets differ, or the answer was \
                 changed on the way",
            ),
            Fault::BadTrunc(octets) => write!(
                f,
                "BADTRUNC: the signature is cut to {octets} octets: have the primary send whole \
                 ones"
            ),
            Fault::BadTime { signed, now, fudge } => {
                write_clocks(f, Some(*signed), *now)?;
                write!(f, ", more than the {fudge} s allowed: set the one that is wrong")
            }
            Fault::Peer(fault) => fault.fmt(f),
        }
    }
}

impl fmt::Display for PeerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerFault::BadKey => f.write_str(
                "the primary says BADKEY: it does not know this key by this name and algorithm; \
                 configure the same on both sides",
            ),
            PeerFault::BadSig => f.write_str(
                "the primary says BADSIG: the secret of the key is not the same on both sides",
            ),
            PeerFault::BadTime { theirs, ours } => {
                f.write_str("the primary says ")?;
                write_clocks(f, *theirs, *ours)?;
                f.write_str(": set the one that is wrong")
            }
            PeerFault::Other(error::BADTRUNC) => {
                f.write_str("the primary says BADTRUNC: it wants longer signatures than there are")
            }
            PeerFault::Other(code) => write!(f, "the primary says TSIG error {code}"),
        }
    }
}

/// `BADTIME: the primary's clock shows ..., ours ..., N s apart`.
fn write_clocks(f: &mut fmt::Formatter<'_>, theirs: Option<u64>, ours: u64) -> fmt::Result {
    let shown = |seconds: u64| rfc3339(seconds.saturating_mul(1000));
    match theirs {
        Some(theirs) => {
            let (apart, side) =
                (theirs.abs_diff(ours), if theirs < ours { "behind" } else { "ahead" });
            let (theirs, ours) = (shown(theirs), shown(ours));
            write!(
                f,
                "BADTIME: the primary's clock shows {theirs}, ours {ours}: it is {apart} s {side}"
            )
        }
        None => write!(f, "BADTIME: its clock and ours, which shows {}, differ", shown(ours)),
    }
}

impl std::error::Error for Fault {}
