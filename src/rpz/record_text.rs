//! Records back into the text of a master file (RFC 1035 section 5.1).
//!
//! Types that people read are written as they know them; all others, and data that is not what
//! its type says, in the generic form of RFC 3597 section 5, which every reader takes.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::dns::name::{MAX_NAME, wire_len, write_wire};
use crate::dns::rtype;

/// Mail exchange (RFC 1035 section 3.3.9).
const MX: u16 = 15;
/// Location of a service (RFC 2782).
const SRV: u16 = 33;

/// Type and data of a record as a master file has them, printable ASCII: `A 192.0.2.1`.
pub fn data_text(code: u16, rdata: &[u8]) -> String {
    let mut out = String::new();
    push_data(code, rdata, &mut out);
    out
}

/// Appends the type and the data of a record: `CNAME *.`, `TYPE65400 \# 2 abcd`.
pub(super) fn push_data(code: u16, rdata: &[u8], out: &mut String) {
    let start = out.len();
    if push_known(code, rdata, out).is_none() {
        out.truncate(start);
        push_generic(code, rdata, out);
    }
}

/// Appends a canonical wire name, root label included, with its closing dot.
pub(super) fn push_absolute(wire: &[u8], out: &mut String) {
    let _ = write_wire(wire, out); // writing to a String cannot fail
    if wire.len() > 1 {
        out.push('.');
    }
}

/// Appends labels without a root label as a name relative to the zone; none: `@`.
pub(super) fn push_relative(labels: &[u8], out: &mut String) {
    if labels.is_empty() {
        return out.push('@');
    }
    let mut wire = [0; MAX_NAME];
    let Some([front @ .., _root]) = wire.get_mut(..=labels.len()) else { return };
    front.copy_from_slice(labels);
    let _ = write_wire(&wire, out); // writing to a String cannot fail
}

/// `None`: the type is written in generic form, or the data is not what the type says. Then
/// something may have been appended all the same.
fn push_known(code: u16, rdata: &[u8], out: &mut String) -> Option<()> {
    let _ = match code {
        rtype::A => write!(out, "A {}", Ipv4Addr::from(<[u8; 4]>::try_from(rdata).ok()?)),
        rtype::AAAA => write!(out, "AAAA {}", Ipv6Addr::from(<[u8; 16]>::try_from(rdata).ok()?)),
        rtype::TXT => return push_strings(rdata, out),
        rtype::SOA => return push_soa(rdata, out),
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME | MX | SRV => {
            return push_numbers_and_name(code, rdata, out);
        }
        _ => return None,
    };
    Some(())
}

/// Data that is a name, behind as many numbers as the type has.
fn push_numbers_and_name(code: u16, rdata: &[u8], out: &mut String) -> Option<()> {
    let (mnemonic, numbers) = match code {
        rtype::NS => ("NS", 0),
        rtype::CNAME => ("CNAME", 0),
        rtype::PTR => ("PTR", 0),
        rtype::DNAME => ("DNAME", 0),
        MX => ("MX", 1),
        _ => ("SRV", 3),
    };
    out.push_str(mnemonic);
    let (numbers, name) = rdata.split_at_checked(2 * numbers)?;
    for number in numbers.as_chunks().0 {
        let _ = write!(out, " {}", u16::from_be_bytes(*number)); // to a String
    }
    out.push(' ');
    push_name(name, out)?.is_empty().then_some(())
}

fn push_soa(rdata: &[u8], out: &mut String) -> Option<()> {
    out.push_str("SOA ");
    let rest = push_name(rdata, out)?;
    out.push(' ');
    let numbers: [u8; 20] = push_name(rest, out)?.try_into().ok()?;
    for number in numbers.as_chunks().0 {
        let _ = write!(out, " {}", u32::from_be_bytes(*number)); // to a String
    }
    Some(())
}

/// Appends the uncompressed name at the start of `data`, its case kept; gives what is behind.
fn push_name<'a>(data: &'a [u8], out: &mut String) -> Option<&'a [u8]> {
    let (name, rest) = data.split_at_checked(wire_len(data)?)?;
    push_absolute(name, out);
    Some(rest)
}

/// Character strings (RFC 1035 section 3.3.14), each in quotes.
fn push_strings(rdata: &[u8], out: &mut String) -> Option<()> {
    out.push_str("TXT");
    let mut rest = rdata;
    while let Some((&len, tail)) = rest.split_first() {
        let (text, tail) = tail.split_at_checked(usize::from(len))?;
        rest = tail;
        out.push_str(" \"");
        for &octet in text {
            let _ = match octet {
                b'"' | b'\\' => write!(out, "\\{}", char::from(octet)),
                b' '..=b'~' => write!(out, "{}", char::from(octet)),
                _ => write!(out, "\\{octet:03}"),
            };
        }
        out.push('"');
    }
    (!rdata.is_empty()).then_some(())
}

fn push_generic(code: u16, rdata: &[u8], out: &mut String) {
    let _ = write!(out, "TYPE{code} \\# {}", rdata.len()); // to a String
    if !rdata.is_empty() {
        out.push(' ');
    }
    for octet in rdata {
        let _ = write!(out, "{octet:02x}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_of_every_kind() {
        let soa = b"\x02Ns\x00\x00\0\0\0\x07\0\0\x0e\x10\0\0\0\x05\0\x09\x3a\x80\0\0\0\x3c";
        for (code, rdata, wanted) in [
            (1, &[192, 0, 2, 1][..], "A 192.0.2.1"),
            (1, &[192, 0, 2], "TYPE1 \\# 3 c00002"),
            (28, &[0; 16], "AAAA ::"),
            (5, b"\x00", "CNAME ."),
            (5, b"\x01*\x00", "CNAME *."),
            (5, b"\x06Garden\x03a.b\x01\x00\x00", "CNAME Garden.a\\.b.\\000."),
            (5, b"\x06Gar", "TYPE5 \\# 4 06476172"),
            (5, b"\x00\x00", "TYPE5 \\# 2 0000"),
            (15, b"\x00\x0a\x01@\x00", "MX 10 \\@."),
            (33, b"\x00\x01\x00\x02\x01\xbb\x01s\x00", "SRV 1 2 443 s."),
            (33, b"\x00\x01", "TYPE33 \\# 2 0001"),
            (16, b"\x03a\"b\x00\x03\\ \xff", "TXT \"a\\\"b\" \"\" \"\\\\ \\255\""),
            (16, b"\x04ab", "TYPE16 \\# 3 046162"),
            (16, b"", "TYPE16 \\# 0"),
            (6, soa, "SOA Ns. . 7 3600 5 604800 60"),
            (65400, b"\xab\xcd", "TYPE65400 \\# 2 abcd"),
        ] {
            let mut out = String::new();
            push_data(code, rdata, &mut out);
            assert_eq!(out, wanted);
        }
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[63; 64], &[0]].concat();
        let mut out = String::new();
        push_data(5, &longest, &mut out);
        assert!(out.starts_with("TYPE5 \\# 257 3f"), "{out}");
    }

    #[test]
    fn owners() {
        for (labels, wanted) in [
            (&b""[..], "@"),
            (b"\x01*\x03bad", "*.bad"),
            (b"\x01@", "\\@"),
            (b"\x04$TTL", "\\$TTL"),
            (b"\x03a b\x019", "a\\032b.9"),
        ] {
            let mut out = String::new();
            push_relative(labels, &mut out);
            assert_eq!(out, wanted);
        }
        let longest = [&[63; 64][..], &[63; 64], &[63; 64], &[61; 62]].concat();
        let mut out = String::new();
        push_relative(&longest, &mut out);
        assert_eq!(out.len(), 63 * 3 + 3 + 61);
    }
}
