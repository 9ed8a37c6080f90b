//! Record types: numbers that matter here, and names for people.

use hickory_proto::rr::RecordType;

/// IPv4 address.
pub const A: u16 = 1;
/// Name server.
pub const NS: u16 = 2;
/// Alias.
pub const CNAME: u16 = 5;
/// Start of authority.
pub const SOA: u16 = 6;
/// Reverse name.
pub const PTR: u16 = 12;
/// Text.
pub const TXT: u16 = 16;
/// IPv6 address.
pub const AAAA: u16 = 28;
/// Alias of a subtree (RFC 6672).
pub const DNAME: u16 = 39;
/// EDNS pseudo record (RFC 6891).
pub const OPT: u16 = 41;
/// Delegation signer.
pub const DS: u16 = 43;
/// Signature.
pub const RRSIG: u16 = 46;
/// Denial of existence.
pub const NSEC: u16 = 47;
/// Zone key.
pub const DNSKEY: u16 = 48;
/// Hashed denial of existence.
pub const NSEC3: u16 = 50;
/// Service binding (RFC 9460).
pub const SVCB: u16 = 64;
/// Service binding for the web (RFC 9460).
pub const HTTPS: u16 = 65;
/// Transaction signature (RFC 8945).
pub const TSIG: u16 = 250;
/// Incremental zone transfer.
pub const IXFR: u16 = 251;
/// Full zone transfer.
pub const AXFR: u16 = 252;
/// Obsolete mail query types that a resolver has no answer to.
pub const MAILB: u16 = 253;
/// See [`MAILB`].
pub const MAILA: u16 = 254;
/// Every type (RFC 8482).
pub const ANY: u16 = 255;

/// Mnemonic of a type, or `TYPE65400` (RFC 3597).
pub fn text(rtype: u16) -> String {
    match RecordType::from(rtype) {
        RecordType::Unknown(n) => format!("TYPE{n}"),
        RecordType::ZERO => "TYPE0".to_owned(),
        known => known.to_string(),
    }
}

/// Type of a mnemonic, in any case, or of `TYPE65400`.
pub fn parse(text: &str) -> Option<u16> {
    let upper = text.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse().ok();
    }
    upper.parse::<RecordType>().ok().map(u16::from)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_and_numbers() {
        for (number, name) in [(1, "A"), (28, "AAAA"), (65, "HTTPS"), (65400, "TYPE65400")] {
            assert_eq!(super::text(number), name);
            assert_eq!(super::parse(name), Some(number));
        }
        assert_eq!(super::parse("aaaa"), Some(28));
        assert_eq!(super::parse("nonsense"), None);
    }
}
