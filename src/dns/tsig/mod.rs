//! Transaction signatures (TSIG, RFC 8945), over the octets of messages as they are.
//!
//! ```text
//!   a request of ours ──► sign_request ─► its MAC ─► Sequence: each envelope of the answer
//!   a request to us ────► check_request ─► Request ─► sign_answer
//!                                      └─► RequestFault ─► answer_fault
//!                 record   the TSIG record: found, read, written
//!                 hash     HMAC, and what goes into it
//! ```
//!
//! Nobody here has a clock: `now` is given, in seconds since 1970.

mod hash;
mod record;
mod request;
mod sequence;
#[cfg(test)]
mod tests;

use std::fmt;

use super::name::Name;

pub use self::request::{Request, RequestFault, answer_fault, check_request, sign_answer};
pub use self::sequence::{Fault, PeerFault, Sequence, sign_request};

/// How far the clocks of both sides may be apart, in seconds, as we say it to the other side
/// (RFC 8945 section 10 recommends this).
pub const FUDGE: u16 = 300;
/// Most envelopes in a row that need no signature (RFC 8945 section 5.3.1).
pub const MAX_UNSIGNED: u32 = 99;

/// Error codes in a TSIG record (RFC 8945 section 3).
pub mod error {
    /// The MAC is not right.
    pub const BADSIG: u16 = 16;
    /// The key is not known, or has another algorithm.
    pub const BADKEY: u16 = 17;
    /// The clocks are too far apart.
    pub const BADTIME: u16 = 18;
    /// The MAC is cut too short.
    pub const BADTRUNC: u16 = 22;
}

/// The hash below the HMAC (RFC 8945 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// hmac-md5.sig-alg.reg.int: broken, for old primaries only.
    Md5,
    /// hmac-sha1: weak, for old primaries only.
    Sha1,
    /// hmac-sha256.
    Sha256,
    /// hmac-sha384.
    Sha384,
    /// hmac-sha512.
    Sha512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] =
        [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];

    /// The short name, as an operator writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "hmac-md5",
            Algorithm::Sha1 => "hmac-sha1",
            Algorithm::Sha256 => "hmac-sha256",
            Algorithm::Sha384 => "hmac-sha384",
            Algorithm::Sha512 => "hmac-sha512",
        }
    }

    /// The algorithm of this name, in any case, with or without a closing dot: the short name,
    /// or for MD5 also the long one.
    pub fn parse(text: &str) -> Option<Algorithm> {
        let text = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        match &*text {
            "hmac-md5.sig-alg.reg.int" => Some(Algorithm::Md5),
            short => Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str() == short),
        }
    }

    /// Its name in messages, in wire form.
    pub fn wire(self) -> &'static [u8] {
        match self {
            Algorithm::Md5 => b"\x08hmac-md5\x07sig-alg\x03reg\x03int\0",
            Algorithm::Sha1 => b"\x09hmac-sha1\0",
            Algorithm::Sha256 => b"\x0bhmac-sha256\0",
            Algorithm::Sha384 => b"\x0bhmac-sha384\0",
            Algorithm::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// Octets of a whole MAC.
    pub fn mac_len(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }

    /// Octets of the shortest MAC that may be sent (RFC 8945 section 5.2.2.1).
    pub fn shortest_mac(self) -> usize {
        (self.mac_len() / 2).max(10)
    }

    /// True for those that should not be used any more (RFC 8945 section 6, table 3).
    pub fn is_weak(self) -> bool {
        matches!(self, Algorithm::Md5 | Algorithm::Sha1)
    }
}

/// A key that two servers share. Its secret is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// The key's name: both sides must use the same.
    pub name: Name,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// The secret itself, out of its base64.
    pub secret: Box<[u8]>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} {})", self.name, self.algorithm.as_str())
    }
}

/// The MAC of a message: what the signature of the answer to it builds on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mac(Box<[u8]>);

impl Mac {
    /// Its octets.
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}
