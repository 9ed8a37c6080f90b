//! What is asked: the identity of a look-up for cache and upstream.

use super::name::Name;

/// A question of class IN, with the two bits that change what an upstream answers.
///
/// The case of the name is not part of it (RFC 4343).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Question {
    /// Name asked for.
    pub name: Name,
    /// Record type asked for.
    pub rtype: u16,
    /// EDNS DO: the client wants DNSSEC records (RFC 3225).
    pub dnssec_ok: bool,
    /// CD: the client does its own validation (RFC 4035).
    pub checking_disabled: bool,
}

impl Question {
    /// An ordinary question, without DO and CD.
    pub fn plain(name: Name, rtype: u16) -> Self {
        Question { name, rtype, dnssec_ok: false, checking_disabled: false }
    }
}
