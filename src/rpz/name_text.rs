//! Names as a zone file writes them, into wire form with their case kept.

use crate::dns::name::{MAX_LABEL, MAX_NAME, NameError};

/// Table value of an octet that the fast reader does not handle.
const ODD: u8 = 0;
/// Table value of the dot between labels.
const DOT: u8 = 1;
/// Table value of blank and tab.
const BLANK: u8 = 2;

/// For each octet: one of the values above, or the octet itself in lower case.
const TABLE: [u8; 256] = {
    let mut table = [ODD; 256];
    let mut octet = 0x21;
    while octet < 256 {
        table[octet] = match octet as u8 {
            b'"' | b'$' | b'(' | b')' | b';' | b'@' | b'\\' | 0x7f => ODD,
            b'.' => DOT,
            other => other.to_ascii_lowercase(),
        };
        octet += 1;
    }
    table[b' ' as usize] = BLANK;
    table[b'\t' as usize] = BLANK;
    table
};

/// True for the two octets that part tokens.
#[inline]
pub(super) fn is_blank(octet: u8) -> bool {
    TABLE[octet as usize] == BLANK
}

/// Room for one name (or for the data of an address record); no heap.
#[derive(Clone)]
pub(super) struct NameBuf {
    len: usize,
    bytes: [u8; MAX_NAME],
}

impl NameBuf {
    /// Holds the root.
    pub(super) fn new() -> NameBuf {
        NameBuf { len: 1, bytes: [0; MAX_NAME] }
    }

    /// What is held: a wire name with its root label.
    #[inline]
    pub(super) fn wire(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Takes bytes as they are; more than a name can have are cut off.
    #[inline]
    pub(super) fn set(&mut self, bytes: &[u8]) {
        self.len = bytes.len().min(MAX_NAME);
        self.bytes[..self.len].copy_from_slice(&bytes[..self.len]);
    }

    /// Turns upper case into lower case.
    pub(super) fn fold(&mut self) {
        // length octets are below 64 and so are no letters
        self.bytes[..self.len].make_ascii_lowercase();
    }

    /// Reads a name that starts at `line[at]` and ends at a blank or at the end of the line,
    /// and says where it ended. `None` for everything out of the ordinary: escapes, errors,
    /// names too long. `FOLD` makes it lower case.
    #[inline]
    pub(super) fn read_fast<const FOLD: bool>(
        &mut self,
        line: &[u8],
        at: usize,
        origin: &[u8],
    ) -> Option<usize> {
        let (mut label, mut write, mut end) = (0, 1, line.len());
        for (i, &octet) in line.iter().enumerate().skip(at) {
            let folded = TABLE[octet as usize];
            if folded > BLANK {
                *self.bytes.get_mut(write)? = if FOLD { folded } else { octet };
            } else if folded == DOT {
                let len = write - label - 1;
                if len == 0 || len > MAX_LABEL || write >= MAX_NAME {
                    return None;
                }
                self.bytes[label] = len as u8;
                label = write;
            } else if folded == BLANK {
                end = i;
                break;
            } else {
                return None;
            }
            write += 1;
        }
        let len = write - label - 1;
        if len > MAX_LABEL || write == 1 {
            return None;
        }
        self.bytes[label] = len as u8;
        self.len = if len == 0 {
            write
        } else {
            self.bytes.get_mut(write..write + origin.len())?.copy_from_slice(origin);
            write + origin.len()
        };
        Some(end)
    }

    /// Reads a whole token as a name: relative to `origin` unless it ends in a dot; `@` is
    /// `origin` itself; escapes as in RFC 1035 section 5.1; any octet may stand for itself
    /// (RFC 2181 section 11).
    pub(super) fn read(&mut self, text: &[u8], origin: &[u8]) -> Result<(), NameError> {
        match text {
            b"." => {
                self.set(&[0]);
                return Ok(());
            }
            b"@" => {
                self.set(origin);
                return Ok(());
            }
            b"" => return Err(NameError::EmptyLabel),
            _ => {}
        }
        let (mut label, mut write, mut at) = (0, 1, 0);
        while let Some(&octet) = text.get(at) {
            at += 1;
            if octet == b'.' {
                if write == label + 1 {
                    return Err(NameError::EmptyLabel);
                }
                self.bytes[label] = (write - label - 1) as u8;
                label = write;
            } else {
                let octet = if octet == b'\\' { escaped(text, &mut at)? } else { octet };
                if write - label > MAX_LABEL {
                    return Err(NameError::Label);
                }
                *self.bytes.get_mut(write).ok_or(NameError::TooLong)? = octet;
            }
            write += 1;
            if write > MAX_NAME {
                return Err(NameError::TooLong);
            }
        }
        let len = write - label - 1;
        self.bytes[label] = len as u8;
        self.len = write;
        if len > 0 {
            let tail = self.bytes.get_mut(write..write + origin.len());
            tail.ok_or(NameError::TooLong)?.copy_from_slice(origin);
            self.len += origin.len();
        }
        Ok(())
    }
}

/// The octet behind a `\`; `at` moves past it.
fn escaped(text: &[u8], at: &mut usize) -> Result<u8, NameError> {
    let first = *text.get(*at).ok_or(NameError::Escape)?;
    *at += 1;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let rest = text.get(*at..*at + 2).ok_or(NameError::Escape)?;
    *at += 2;
    let digits = [first, rest[0], rest[1]];
    let value = digits
        .iter()
        .try_fold(0_u32, |sum, &b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')));
    value.and_then(|value| u8::try_from(value).ok()).ok_or(NameError::Escape)
}

/// A token made fit for a message: printable ASCII, at most 100 octets of it.
pub(super) fn printable(text: &[u8]) -> String {
    let mut out = text[..text.len().min(100)].escape_ascii().to_string();
    if text.len() > 100 {
        out.push_str("...");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;

    const ORIGIN: &[u8] = b"\x03rpz\x04test\x00";

    fn read(text: &str) -> Result<Vec<u8>, NameError> {
        let mut buf = NameBuf::new();
        buf.read(text.as_bytes(), ORIGIN).map(|()| buf.wire().to_vec())
    }

    fn fast(text: &str) -> Option<(Vec<u8>, usize)> {
        let mut buf = NameBuf::new();
        let end = buf.read_fast::<false>(text.as_bytes(), 0, ORIGIN)?;
        Some((buf.wire().to_vec(), end))
    }

    #[test]
    fn relative_and_absolute() {
        for (text, wire) in [
            ("a.B", &b"\x01a\x01B\x03rpz\x04test\x00"[..]),
            ("a.B.", b"\x01a\x01B\x00"),
            ("*", b"\x01*\x03rpz\x04test\x00"),
            ("_x-.-y", b"\x03_x-\x02-y\x03rpz\x04test\x00"),
            ("b\u{fc}cher", b"\x07b\xc3\xbccher\x03rpz\x04test\x00"),
        ] {
            assert_eq!(read(text).unwrap(), wire, "{text}");
            assert_eq!(fast(text), Some((wire.to_vec(), text.len())), "{text}");
            assert_eq!(fast(&format!("{text} CNAME")), Some((wire.to_vec(), text.len())));
        }
        assert_eq!(read("@").unwrap(), ORIGIN);
        assert_eq!(read(".").unwrap(), [0]);
        assert_eq!(read(r"a\.b\000\200").unwrap(), b"\x05a.b\x00\xc8\x03rpz\x04test\x00");
        assert_eq!(read(r"a\046b\..").unwrap(), b"\x04a.b.\x00");
        for odd in ["@", ".", "a..b", ".a", r"a\.b", "a;", "a\u{7f}", "a\r", ""] {
            assert_eq!(fast(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn limits() {
        let label = "a".repeat(63);
        for (text, wanted) in [
            ("a".repeat(64), Err(NameError::Label)),
            (format!("{}.", "a".repeat(64)), Err(NameError::Label)),
            ("a..b".into(), Err(NameError::EmptyLabel)),
            (".a".into(), Err(NameError::EmptyLabel)),
            (r"a\".into(), Err(NameError::Escape)),
            (r"a\25".into(), Err(NameError::Escape)),
            (r"a\2x5".into(), Err(NameError::Escape)),
            (r"a\300".into(), Err(NameError::Escape)),
            (format!("{label}.{label}.{label}.{}.", "b".repeat(61)), Ok(255)),
            (format!("{label}.{label}.{label}.{}.", "b".repeat(62)), Err(NameError::TooLong)),
            (format!("{label}.{label}.{label}.{label}.b."), Err(NameError::TooLong)),
            (format!("{label}.{label}.{label}.{}", "b".repeat(52)), Ok(255)),
            (format!("{label}.{label}.{label}.{}", "b".repeat(53)), Err(NameError::TooLong)),
        ] {
            assert_eq!(read(&text).map(|wire| wire.len()), wanted, "{text}");
            let quick = if text.contains('\\') { None } else { wanted.ok() };
            assert_eq!(fast(&text).map(|(wire, _)| wire.len()), quick, "{text}");
            if wanted.is_ok() {
                assert!(Name::from_wire(&read(&text).unwrap()).is_ok());
            }
        }
    }
}
