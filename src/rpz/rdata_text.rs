//! Record data in text form into wire form, for the entries that the fast line declines.
//!
//! The work is done by the `domain` crate's zone file reader, which gets one entry at a time:
//! it stops for good at its first error, and a bad record must cost that record only. Its
//! types do not leave this file.

use std::str::FromStr;

use bytes::Bytes;
use domain::base::iana::{Class, Rtype};
use domain::base::rdata::{ComposeRecordData, ParseAnyRecordData, RecordData};
use domain::base::{Name as DomainName, ParsedName};
use domain::dep::octseq::Parser;
use domain::rdata::AllRecordData;
use domain::zonefile::inplace::{Entry as Scanned, Zonefile};

use crate::dns::name::{Name, write_wire};
use crate::rpz::entry::{Entry, Token};
use crate::rpz::owner::Reason;
use crate::rpz::rdata::rtype;

/// Types whose data has names in it, where `@` is the current origin: NS, CNAME, SOA, PTR,
/// MINFO, MX, RP, AFSDB, RT, PX, SRV, NAPTR, KX, DNAME, SVCB, HTTPS.
const WITH_NAMES: [u16; 16] = [2, 5, 6, 12, 14, 15, 17, 18, 21, 26, 33, 35, 36, 39, 64, 65];

/// A type by its mnemonic or as `TYPE123` (RFC 3597 section 5).
pub(super) fn record_type(text: &[u8]) -> Option<u16> {
    let text = str::from_utf8(text).ok()?;
    Rtype::from_str(text).ok().map(Rtype::to_int)
}

/// A class by its mnemonic or as `CLASS123`; `IN` is 1.
pub(super) fn class(text: &[u8]) -> Option<u16> {
    let text = str::from_utf8(text).ok()?;
    Class::from_str(text).ok().map(Class::to_int)
}

/// Seconds: plain digits, or numbers with the units w, d, h, m and s (`1h30m`). More than
/// RFC 2181 section 8 allows counts as 0; more than 32 bits is no time.
pub(super) fn seconds(text: &[u8]) -> Option<u32> {
    let (mut total, mut number) = (0_u32, None);
    for &octet in text {
        let unit = match octet.to_ascii_lowercase() {
            b'0'..=b'9' => {
                let digit = u32::from(octet - b'0');
                number = Some(number.unwrap_or(0_u32).checked_mul(10)?.checked_add(digit)?);
                continue;
            }
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        total = total.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    if text.is_empty() {
        return None;
    }
    total = total.checked_add(number.unwrap_or(0))?;
    Some(if total > i32::MAX as u32 { 0 } else { total })
}

/// The data of a record: the tokens of `entry` behind the type, which stands at `type_at`.
pub(super) fn to_wire(
    entry: &Entry,
    type_at: usize,
    code: u16,
    origin: &Name,
) -> Result<Vec<u8>, Reason> {
    let text = one_line(entry, type_at + 1, code, origin)?;
    let mut zone = Zonefile::from(&text[..]);
    let origin = DomainName::from_octets(Bytes::copy_from_slice(origin.as_wire()));
    zone.set_origin(origin.map_err(|err| err.to_string())?);
    zone.set_default_class(Class::IN);
    let record = match zone.next_entry() {
        Ok(Some(Scanned::Record(record))) => record,
        Ok(_) => return Err("the record has no data".into()),
        Err(err) => return Err(explain(code, &err.to_string())),
    };
    let mut wire = Vec::new();
    if record.data().compose_rdata(&mut wire).is_err() || wire.len() > usize::from(u16::MAX) {
        return Err("the record data is too long".into());
    }
    if reads_back(code, &wire) { Ok(wire) } else { Err("malformed record data".into()) }
}

/// The entry as the one line that the reader is given.
fn one_line(entry: &Entry, from: usize, code: u16, origin: &Name) -> Result<Vec<u8>, Reason> {
    let mut line = format!(". 0 IN TYPE{code}").into_bytes();
    for (i, token) in entry.tokens(from).enumerate() {
        if !token.glued || i == 0 {
            line.push(b' ');
        }
        // the four times of a SOA may have units (RFC 1035 knows none, everybody else does)
        if code == rtype::SOA && (3..7).contains(&i) {
            let value = seconds(token.text).ok_or("a SOA time is no number of seconds")?;
            line.extend_from_slice(value.to_string().as_bytes());
        } else if token.text == b"@" && !token.quoted && WITH_NAMES.contains(&code) {
            let mut name = String::new();
            let _ = write_wire(origin.as_wire(), &mut name); // writing to a String cannot fail
            line.extend_from_slice(name.trim_end_matches('.').as_bytes());
            line.push(b'.');
        } else {
            push_token(&mut line, token);
        }
    }
    line.push(b'\n');
    Ok(line)
}

/// Octets beyond printable ASCII go in as `\DDD`, which the reader wants.
fn push_token(line: &mut Vec<u8>, token: Token<'_>) {
    let quote: &[u8] = if token.quoted { b"\"" } else { b"" };
    line.extend_from_slice(quote);
    let mut octets = token.text.iter().copied();
    while let Some(octet) = octets.next() {
        let (escape, octet) = match octet {
            b'\\' => (true, octets.next()),
            octet => (false, Some(octet)),
        };
        match octet {
            Some(octet @ 0x20..=0x7e) => {
                line.extend_from_slice(if escape { b"\\" } else { b"" });
                line.push(octet);
            }
            Some(octet) => line.extend_from_slice(format!("\\{octet:03}").as_bytes()),
            None => line.push(b'\\'),
        }
    }
    line.extend_from_slice(quote);
}

/// The reader's message without its line and column, which mean nothing here.
fn explain(code: u16, message: &str) -> Reason {
    let text = message.split_once(": ").map_or(message, |(_, text)| text);
    let known = Rtype::from_int(code);
    if text.starts_with("unknown record type") {
        return format!("{known} data can be read only in the form `\\# length hex`").into();
    }
    format!("bad {known} data: {text}").into()
}

/// Data of a known type must parse, to the last octet, and compose to the same octets: the
/// form `\# length hex` can hold anything, and the reader lets empty labels pass.
fn reads_back(code: u16, wire: &[u8]) -> bool {
    let mut parser = Parser::from_ref(wire);
    type Any<'a> = AllRecordData<&'a [u8], ParsedName<&'a [u8]>>;
    let parsed = Any::parse_any_rdata(Rtype::from_int(code), &mut parser);
    let Ok(data) = parsed else { return false };
    let mut again = Vec::with_capacity(wire.len());
    parser.remaining() == 0
        && data.rtype().to_int() == code
        && data.compose_rdata(&mut again).is_ok()
        && again == wire
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(line: &str) -> Result<Vec<u8>, String> {
        let mut entry = Entry::default();
        entry.begin(line.as_bytes(), 1);
        let code = record_type(entry.token(0).unwrap().text).unwrap();
        let origin = "rpz.test".parse().unwrap();
        to_wire(&entry, 0, code, &origin).map_err(|reason| reason.to_string())
    }

    #[test]
    fn data_in_many_forms() {
        for (line, wanted) in [
            ("A 192.0.2.1", &[192, 0, 2, 1][..]),
            ("CNAME Rpz-Drop.", b"\x08Rpz-Drop\x00"),
            ("CNAME a", b"\x01a\x03rpz\x04test\x00"),
            ("CNAME @", b"\x03rpz\x04test\x00"),
            (r"CNAME a\046\@.", b"\x03a.@\x00"),
            ("CNAME b\u{fc}.", b"\x03b\xc3\xbc\x00"),
            (r"TYPE5 \# 3 012a00", b"\x01*\x00"),
            ("type65400 \\# 2 abcd", b"\xab\xcd"),
            ("TXT @ \"a b;\" \u{fc} \\\u{fc}", b"\x01@\x04a b;\x02\xc3\xbc\x02\xc3\xbc"),
            ("MX 10 @", b"\x00\x0a\x03rpz\x04test\x00"),
            ("SRV 1 2 3 x.", b"\x00\x01\x00\x02\x00\x03\x01x\x00"),
            (r#"HTTPS 1 . alpn="h2,h3""#, b"\x00\x01\x00\x00\x01\x00\x06\x02h2\x02h3"),
            (
                "SOA . . 1 1d 1h30m 2W 60",
                b"\0\0\0\0\0\x01\0\x01\x51\x80\0\0\x15\x18\0\x12\x75\0\0\0\0\x3c",
            ),
        ] {
            assert_eq!(wire(line).as_deref(), Ok(wanted), "{line}");
        }
    }

    #[test]
    fn bad_data_and_why() {
        for (line, reason) in [
            ("A 192.0.2", "bad A data"),
            ("A", "bad A data"),
            ("A 192.0.2.1 x", "bad A data: trailing tokens"),
            (r"A \# 3 c00002", "malformed"),
            (r"CNAME \# 2 c000", "malformed"),
            (r"CNAME \# 3 000000", "malformed"),
            (r"CNAME a\300.", "bad CNAME data"),
            ("CNAME a..b.", "malformed"),
            ("MX 10 a..b.", "malformed"),
            ("CNAME a b", "bad CNAME data"),
            ("LOC 51 30 N 0 0 W 1m", "LOC data can be read only in the form"),
            ("TYPE65400 x", "TYPE65400 data can be read only in the form"),
            ("SOA . . 1 x 1 1 1", "a SOA time"),
            ("TXT", "bad TXT data"),
        ] {
            match wire(line) {
                Ok(wire) => panic!("{line} became {wire:?}"),
                Err(why) => assert!(why.starts_with(reason), "{line}: {why}"),
            }
        }
    }

    #[test]
    fn times() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("300", Some(300)),
            ("1h30m", Some(5_400)),
            ("1W2D", Some(777_600)),
            ("1h5", Some(3_605)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", Some(0)),
            ("4294967296", None),
            ("9999w", None),
            ("h", None),
            ("1x", None),
            ("", None),
            ("-1", None),
        ] {
            assert_eq!(seconds(text.as_bytes()), wanted, "{text}");
        }
        assert_eq!((class(b"in"), class(b"CH"), class(b"CLASS1")), (Some(1), Some(3), Some(1)));
        assert_eq!((record_type(b"aaaa"), record_type(b"TYPE28")), (Some(28), Some(28)));
        assert_eq!((record_type(b"NOPE"), class(b"60")), (None, None));
    }
}
