//! The answerer's side: a signed request to us, and our answer (RFC 8945 sections 5.2 and 5.3).

use std::fmt;

use super::hash::Digest;
use super::record::{Tsig, wire_seconds};
use super::sequence::of_our_own;
use super::{Key, Mac, error};
use crate::dns::rcode;

/// A request whose signature is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the answer's signature builds on.
    pub mac: Mac,
    /// Length of the request without its TSIG record.
    pub end: usize,
}

/// Why a request is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestFault {
    /// It carries no signature.
    Unsigned,
    /// The record cannot be read, is not the last one, or has a MAC of an impossible length.
    Garbled,
    /// Another key or algorithm.
    BadKey,
    /// The MAC is not right.
    BadSig,
    /// The clocks are too far apart.
    BadTime {
        /// When it was signed, in seconds since 1970.
        signed: u64,
        /// Our clock.
        now: u64,
    },
}

impl RequestFault {
    /// Response code of the answer that tells it (RFC 8945 section 5.2).
    pub fn rcode(self) -> u16 {
        match self {
            RequestFault::Unsigned => rcode::REFUSED,
            RequestFault::Garbled => rcode::FORMERR,
            _ => rcode::NOTAUTH,
        }
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestFault::Unsigned => f.write_str("it is not signed, but the zone has a key"),
            RequestFault::Garbled => f.write_str("its signature record cannot be read"),
            RequestFault::BadKey => {
                f.write_str("BADKEY: it is signed with another key or algorithm than the zone's")
            }
            RequestFault::BadSig => f.write_str("BADSIG: its signature is not right"),
            RequestFault::BadTime { signed, now } => {
                let apart = signed.abs_diff(*now);
                let side = if signed < now { "behind" } else { "ahead of" };
                write!(f, "BADTIME: its sender's clock is {apart} s {side} ours")
            }
        }
    }
}

impl std::error::Error for RequestFault {}

/// Checks a request that must be signed with `key`.
pub fn check_request(packet: &[u8], key: &Key, now: u64) -> Result<Request, RequestFault> {
    let tsig = Tsig::find(packet).map_err(|_| RequestFault::Garbled)?;
    let tsig = tsig.ok_or(RequestFault::Unsigned)?;
    if !tsig.is_of(key) {
        return Err(RequestFault::BadKey);
    }
    if !(key.algorithm.shortest_mac()..=key.algorithm.mac_len()).contains(&tsig.mac.len()) {
        return Err(RequestFault::Garbled);
    }
    let mut digest = Digest::new(key);
    digest.message(packet, &tsig);
    digest.variables(&tsig);
    if !digest.is(tsig.mac) {
        return Err(RequestFault::BadSig);
    }
    if !tsig.is_timely(now) {
        return Err(RequestFault::BadTime { signed: tsig.signed, now });
    }
    Ok(Request { mac: Mac(tsig.mac.into()), end: tsig.start })
}

/// Signs the answer to a request that had this MAC: appends the record and counts it.
pub fn sign_answer(message: &mut Vec<u8>, key: &Key, now: u64, request: &Mac) {
    of_our_own(message, key, now).sign(message, key, Some(request.as_octets()));
}

/// Appends to the answer what is wrong with the signature of `packet` (RFC 8945 section 5.3.2);
/// the answer has its response code already. Whom we share no secret with gets no signature, and
/// one whose clock is off gets our time, signed.
pub fn answer_fault(
    message: &mut Vec<u8>,
    packet: &[u8],
    fault: &RequestFault,
    key: &Key,
    now: u64,
) {
    let code = match fault {
        RequestFault::Unsigned | RequestFault::Garbled => return,
        RequestFault::BadKey => error::BADKEY,
        RequestFault::BadSig => error::BADSIG,
        RequestFault::BadTime { .. } => error::BADTIME,
    };
    let Ok(Some(request)) = Tsig::find(packet) else { return };
    let ours = wire_seconds(now);
    let mut tsig = Tsig { error: code, other: &[], ..of_our_own(message, key, request.signed) };
    match fault {
        RequestFault::BadTime { .. } => {
            tsig.other = &ours;
            tsig.sign(message, key, Some(request.mac));
        }
        _ => {
            (tsig.name, tsig.algorithm) = (request.name, request.algorithm);
            tsig.append(message, &[]);
        }
    }
}
