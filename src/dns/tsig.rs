//! Transaction signatures (TSIG, RFC 8945): keys and algorithms.

use std::fmt;

use super::name::Name;

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
