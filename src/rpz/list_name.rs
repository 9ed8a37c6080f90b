//! A name as lists of domains and hosts files write it: letters, digits, `-`, `_` and dots; no
//! escapes, no wildcards.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::rpz::name_text::NameBuf;
use crate::rpz::owner::{self, Reason};

/// What only the filter lists of ad blockers have.
const FILTER_MARKS: [&[u8]; 6] = [b"||", b"@@", b"##", b"#@", b"^", b"$"];

/// Reads a name, which may end in a dot, as one below `origin`, lower case, into `into`.
#[inline]
pub(super) fn read(text: &[u8], origin: &[u8], into: &mut NameBuf) -> Result<(), Reason> {
    let bare = text.strip_suffix(b".").unwrap_or(text);
    let is_good = bare.iter().all(|&octet| is_host_octet(octet))
        && !bare.ends_with(b".")
        && !is_address(bare)
        && !owner::is_suffix(last_label(bare))
        && into.read_fast::<true>(bare, 0, origin) == Some(bare.len());
    if is_good { Ok(()) } else { Err(fault(bare, origin, into)) }
}

/// Why a text is no name.
#[cold]
fn fault(text: &[u8], origin: &[u8], into: &mut NameBuf) -> Reason {
    let has = |mark: &[u8]| text.windows(mark.len()).any(|part| part == mark);
    let odd = text.iter().find(|&&octet| !is_host_octet(octet));
    let address = str::from_utf8(text).ok();
    match odd {
        _ if text.is_empty() => "there is no name".into(),
        _ if address.is_some_and(|text| text.parse::<IpAddr>().is_ok()) => {
            "an address; a list has names".into()
        }
        _ if address.is_some_and(|text| text.parse::<IpNet>().is_ok()) => {
            "an address prefix; a list has names".into()
        }
        _ if FILTER_MARKS.iter().any(|mark| has(mark)) => {
            "filter syntax of ad blockers, which is no domain name".into()
        }
        Some(b'/') => "a URL or a path; a list has names".into(),
        _ if has(b"://") => "a URL; a list has names".into(),
        Some(0x80..) => "not ASCII; write the name in its ASCII form (xn--...)".into(),
        Some(b'*') => "`*` can only stand in front of a name of a list of domains, as `*.`".into(),
        Some(octet) => format!("`{}` is no character of a name", octet.escape_ascii()).into(),
        None if owner::is_suffix(last_label(text)) => {
            "the last label is that of a trigger, which takes a zone file".into()
        }
        None => match into.read(text, origin) {
            Err(err) => err.to_string().into(),
            Ok(()) => "the name has an empty label".into(),
        },
    }
}

/// Letters, digits and what host names have besides (underscores are common in service names).
#[inline]
fn is_host_octet(octet: u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_')
}

/// True for an IPv4 address; those of IPv6 have characters that names have not.
#[inline]
fn is_address(text: &[u8]) -> bool {
    let ends = [text.first(), text.last()];
    ends.iter().all(|end| end.is_some_and(u8::is_ascii_digit))
        && str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv4Addr>().is_ok())
}

#[inline]
fn last_label(text: &[u8]) -> &[u8] {
    text.iter().rposition(|&octet| octet == b'.').map_or(text, |dot| &text[dot + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: &[u8] = b"\x03rpz\x04test\x00";

    #[test]
    fn names_and_what_is_none() {
        let read = |text: &str| {
            let mut name = NameBuf::new();
            read(text.as_bytes(), ORIGIN, &mut name).map(|()| name.wire().to_vec())
        };
        let good = b"\x01a\x05_b-3x\x03rpz\x04test\x00".to_vec();
        for text in ["a._b-3x", "A._B-3x.", "a._b-3X"] {
            assert_eq!(read(text), Ok(good.clone()), "{text}");
        }
        assert_eq!(read("1.2.3"), Ok(b"\x011\x012\x013\x03rpz\x04test\x00".to_vec()));
        let long = format!("{}.example", "a".repeat(64));
        let longest = format!("{0}.{0}.{0}.{0}", "a".repeat(63));
        for (text, wanted) in [
            ("", "there is no name"),
            (".", "there is no name"),
            ("a..", "the name has an empty label"),
            ("a..b", "the name has an empty label"),
            (&long, "a label is longer than 63 octets"),
            (&longest, "the name is longer than 255 octets"),
            ("192.0.2.1", "an address; a list has names"),
            ("192.0.2.1.", "an address; a list has names"),
            ("2001:db8::1", "an address; a list has names"),
            ("192.0.2.0/24", "an address prefix; a list has names"),
            ("||ads.example^", "filter syntax of ad blockers, which is no domain name"),
            ("@@||ads.example", "filter syntax of ad blockers, which is no domain name"),
            ("ads.example##.x", "filter syntax of ad blockers, which is no domain name"),
            ("ads.example/x", "a URL or a path; a list has names"),
            ("https://ads.example/x", "a URL; a list has names"),
            ("b\u{fc}cher.example", "not ASCII; write the name in its ASCII form (xn--...)"),
            ("a.*.b", "`*` can only stand in front of a name of a list of domains, as `*.`"),
            ("ads.example:80", "`:` is no character of a name"),
            (r"a\.b", r"`\\` is no character of a name"),
            ("a\0b", r"`\x00` is no character of a name"),
            ("32.1.0.0.10.RPZ-IP", "the last label is that of a trigger, which takes a zone file"),
        ] {
            assert_eq!(read(text).unwrap_err(), wanted, "{text}");
        }
        assert!(read("x.rpz-foo").is_ok() && read("rpz-").is_ok());
    }
}
