//! The ordinary line of a policy zone: `owner [TTL] [IN] CNAME|A|AAAA data`, nothing else.
//!
//! No allocation and one look at each octet. Whatever is out of the ordinary is declined
//! and read again, slowly, by the careful reader; both must come to the same record.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::rpz::name_text::{NameBuf, is_blank};
use crate::rpz::rdata::rtype;

/// What a line said besides its owner and its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FastLine {
    /// The TTL, if the line has one.
    pub(super) ttl: Option<u32>,
    /// The record type.
    pub(super) rtype: u16,
}

/// Reads a line without its line end. The owner goes to `owner` as an absolute lower-case
/// name, the record data to `rdata`. After `None` both hold rubbish.
#[inline]
pub(super) fn read(
    line: &[u8],
    origin: &[u8],
    owner: &mut NameBuf,
    rdata: &mut NameBuf,
) -> Option<FastLine> {
    let end = owner.read_fast::<true>(line, 0, origin)?;
    if end == 0 {
        return None;
    }
    let (mut token, mut at) = next_token(line, end);
    let mut ttl = None;
    if token.first()?.is_ascii_digit() {
        ttl = Some(number(token)?);
        (token, at) = next_token(line, at);
    }
    if token.eq_ignore_ascii_case(b"IN") {
        (token, at) = next_token(line, at);
    }
    let rtype = if token.eq_ignore_ascii_case(b"CNAME") {
        at = target(line, skip_blanks(line, at), origin, rdata)?;
        rtype::CNAME
    } else if token.eq_ignore_ascii_case(b"A") {
        (token, at) = next_token(line, at);
        let address: Ipv4Addr = str::from_utf8(token).ok()?.parse().ok()?;
        rdata.set(&address.octets());
        rtype::A
    } else if token.eq_ignore_ascii_case(b"AAAA") {
        (token, at) = next_token(line, at);
        let address: Ipv6Addr = str::from_utf8(token).ok()?.parse().ok()?;
        rdata.set(&address.octets());
        rtype::AAAA
    } else {
        return None;
    };
    (skip_blanks(line, at) == line.len()).then_some(FastLine { ttl, rtype })
}

/// Reads the target of a CNAME at `at`; the two commonest ones need no loop.
#[inline]
fn target(line: &[u8], at: usize, origin: &[u8], rdata: &mut NameBuf) -> Option<usize> {
    match line.get(at..)? {
        [b'.', rest @ ..] if rest.first().is_none_or(|&b| is_blank(b)) => {
            rdata.set(&[0]);
            Some(at + 1)
        }
        [b'*', b'.', rest @ ..] if rest.first().is_none_or(|&b| is_blank(b)) => {
            rdata.set(&[1, b'*', 0]);
            Some(at + 2)
        }
        [] => None,
        _ => rdata.read_fast::<false>(line, at, origin),
    }
}

/// The token at or after `at`, and where it ends; empty at the end of the line.
#[inline]
fn next_token(line: &[u8], at: usize) -> (&[u8], usize) {
    let start = skip_blanks(line, at);
    let rest = &line[start..];
    let len = rest.iter().position(|&b| is_blank(b)).unwrap_or(rest.len());
    (&rest[..len], start + len)
}

/// The first place from `at` on that is not blank.
#[inline]
fn skip_blanks(line: &[u8], at: usize) -> usize {
    let rest = &line[at..];
    at + rest.iter().position(|&b| !is_blank(b)).unwrap_or(rest.len())
}

/// A TTL of plain digits that is valid as it is (RFC 2181 section 8).
#[inline]
fn number(token: &[u8]) -> Option<u32> {
    if token.len() > 9 {
        return None;
    }
    token.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_and_declined() {
        let origin = b"\x01z\x00";
        let read = |line: &str| {
            let (mut owner, mut rdata) = (NameBuf::new(), NameBuf::new());
            let fast = read(line.as_bytes(), origin, &mut owner, &mut rdata)?;
            Some((owner.wire().to_vec(), fast.ttl, fast.rtype, rdata.wire().to_vec()))
        };
        let owner = b"\x01a\x01b\x01z\x00".to_vec();
        for (line, ttl, rtype, rdata) in [
            ("A.b CNAME .", None, 5, &[0][..]),
            ("a.B\t60 in cname\t*. ", Some(60), 5, b"\x01*\x00"),
            ("a.b.z. IN CNAME Rpz-Drop.", None, 5, b"\x08Rpz-Drop\x00"),
            ("a.b 0 CNAME *.G", Some(0), 5, b"\x01*\x01G\x01z\x00"),
            ("a.b A 192.0.2.1", None, 1, &[192, 0, 2, 1]),
            ("a.b AAAA ::1", None, 28, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        ] {
            assert_eq!(read(line), Some((owner.clone(), ttl, rtype, rdata.to_vec())), "{line}");
        }
        for line in [
            "",
            " a CNAME .",
            "a",
            "a CNAME",
            "a CNAME . x",
            "a CNAME . ;x",
            "a CNAME ..",
            "a CNAME .x",
            "a CNAME *.*.",
            "a 1h CNAME .",
            "a CH CNAME .",
            "a TXT x",
            "a A 1.2.3",
            "a A 01.2.3.4",
            "a IN 60 CNAME .",
            "@ CNAME .",
            "$TTL 60",
            "a 9999999999 CNAME .",
            r"a\046 CNAME .",
            "a CNAME (.)",
            "a\0 CNAME .",
            "a CNAME .\r",
            "a A 1.2.3.4 5",
        ] {
            // a second star is a label like any other
            let taken = line == "a CNAME *.*.";
            assert_eq!(read(line).is_some(), taken, "{line:?}");
        }
    }
}
