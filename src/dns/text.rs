//! Records in text form, for people who look into the cache.

use std::fmt::Write as _;

use hickory_proto::rr::Record as Decoded;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::name::Name;
use super::record::{Record, read_name};
use super::rtype;

/// Owner, TTL, type and data of a record, in the form of a master file (RFC 1035 section 5.1).
/// Data that cannot be decoded is given in the generic form of RFC 3597 section 5.
pub fn record(message: &[u8], record: &Record, ttl: u32) -> String {
    let owner = read_name(message, record.start).map_or(Name::ROOT, |(name, _)| name);
    let data = u16::try_from(record.start).ok().and_then(|start| {
        let mut decoder = BinDecoder::new(message).clone(start);
        Decoded::read(&mut decoder).ok().map(|decoded| decoded.data.to_string())
    });
    let data = data.unwrap_or_else(|| generic(&message[record.rdata.clone()]));
    let dot = if owner.is_root() { "" } else { "." };
    let printable: String = data.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{owner}{dot} {ttl} IN {} {printable}", rtype::text(record.rtype))
}

fn generic(rdata: &[u8]) -> String {
    let mut out = format!("\\# {}", rdata.len());
    if !rdata.is_empty() {
        out.push(' ');
    }
    for byte in rdata {
        // writing to a String cannot fail
        let _ = write!(out, "{byte:02x}");
    }
    out
}
