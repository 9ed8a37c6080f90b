//! The words of DNS that every other room speaks. The only room that knows hickory-proto.
//!
//! ```text
//!   packet from a client ──► query::Query       who asks what, with which EDNS
//!   message of an upstream ─► answer::Answer    kept as received; where its TTLs, links, OPT are
//!   reply to a client ◄───── compose::Composer  header, question in its own case, records, OPT
//!                 record::Records  one walk over the records of any message
//!                 name::Name       canonical names;  rtype  their types in text
//!                 edns, ede        options in both directions
//!                 tsig             signatures of messages between servers
//! ```
//!
//! Messages are looked at in place and patched, never decoded and encoded again: an odd record
//! must not cost an answer, and compression must not get lost.

mod addresses;
pub mod answer;
pub mod compose;
pub mod ede;
pub mod edns;
pub mod name;
pub mod query;
pub mod question;
pub mod record;
pub mod rtype;
pub mod suffix;
pub mod text;
pub mod tsig;

/// Octets of a message header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// Class IN.
pub const CLASS_IN: u16 = 1;

/// Header flag bits as they stand in octets 2 and 3 of a message.
pub mod flag {
    /// Message is a response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Authentic data (RFC 4035).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035).
    pub const CD: u16 = 0x0010;
}

/// Operation codes (RFC 1035, 1996, 2136).
pub mod opcode {
    /// Standard query.
    pub const QUERY: u8 = 0;
    /// Zone change notification.
    pub const NOTIFY: u8 = 4;
    /// Dynamic update.
    pub const UPDATE: u8 = 5;
}

/// Response codes, extended ones included (RFC 1035, 6891).
pub mod rcode {
    /// No error.
    pub const NOERROR: u16 = 0;
    /// The query could not be read.
    pub const FORMERR: u16 = 1;
    /// The server failed.
    pub const SERVFAIL: u16 = 2;
    /// The name does not exist.
    pub const NXDOMAIN: u16 = 3;
    /// The kind of query is not supported.
    pub const NOTIMP: u16 = 4;
    /// Refused by policy.
    pub const REFUSED: u16 = 5;
    /// Not authoritative, or not authorized (RFC 2136, RFC 8945).
    pub const NOTAUTH: u16 = 9;
    /// EDNS version not supported.
    pub const BADVERS: u16 = 16;

    /// Name of a response code for people.
    pub fn text(code: u16) -> String {
        let name = match code {
            NOERROR => "NOERROR",
            FORMERR => "FORMERR",
            SERVFAIL => "SERVFAIL",
            NXDOMAIN => "NXDOMAIN",
            NOTIMP => "NOTIMP",
            REFUSED => "REFUSED",
            6 => "YXDOMAIN",
            NOTAUTH => "NOTAUTH",
            BADVERS => "BADVERS",
            other => return format!("RCODE{other}"),
        };
        name.to_owned()
    }
}

/// Big-endian 16-bit number at `at`, if it is there.
#[inline]
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// Big-endian 32-bit number at `at`, if it is there.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
