//! Domain names in canonical form: uncompressed wire format, lower case, stored inline.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Longest name in octets, the root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// Longest label in octets (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Most labels a name can have, the root label not counted.
pub const MAX_LABELS: usize = 127;

/// A domain name: lower case, uncompressed, ending in the root label. No heap.
///
/// Comparison and hashing are those of the wire bytes, which makes them
/// case-insensitive as RFC 4343 asks.
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX_NAME],
}

/// Why bytes or text are no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A label is longer than 63 octets, or has a reserved label type.
    Label,
    /// The name is longer than 255 octets.
    TooLong,
    /// The bytes end inside the name.
    Short,
    /// A compression pointer loops, points forward, or is not allowed here.
    Pointer,
    /// An empty label in the middle of a name in text form.
    EmptyLabel,
    /// A `\` escape that is not followed by one character or three digits up to 255.
    Escape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Label => "a label is longer than 63 octets",
            NameError::TooLong => "the name is longer than 255 octets",
            NameError::Short => "the name is cut short",
            NameError::Pointer => "a compression pointer is not valid here",
            NameError::EmptyLabel => "the name has an empty label",
            NameError::Escape => "the name has a bad \\ escape",
        })
    }
}

impl std::error::Error for NameError {}

impl Name {
    /// The root.
    pub const ROOT: Name = Name { len: 1, bytes: [0; MAX_NAME] };

    /// Reads an uncompressed name that fills `wire` exactly; upper case becomes lower case.
    pub fn from_wire(wire: &[u8]) -> Result<Name, NameError> {
        let mut out = Name::ROOT;
        out.set_wire(wire)?;
        Ok(out)
    }

    /// Becomes the uncompressed name that fills `wire` exactly; after an error it is anything.
    /// In place: moving a name that was just put together stalls the processor.
    #[inline]
    pub fn set_wire(&mut self, wire: &[u8]) -> Result<(), NameError> {
        let mut at = 0;
        loop {
            let len = *wire.get(at).ok_or(NameError::Short)? as usize;
            if len == 0 {
                break;
            }
            if len > MAX_LABEL {
                return Err(NameError::Label);
            }
            at += 1 + len;
        }
        if at + 1 != wire.len() || wire.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.bytes[..wire.len()].copy_from_slice(wire);
        // lengths are below 64, and no letter is
        self.bytes[..wire.len()].make_ascii_lowercase();
        self.len = wire.len() as u8;
        Ok(())
    }

    /// The wire form, root label included: 1 to 255 octets.
    #[inline]
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// Length of the wire form in octets.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a name is never empty: the root label is there
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True for the root.
    #[inline]
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// Labels from the left, the root label not counted.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: self.as_wire() }
    }

    /// Number of labels, the root label not counted.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; the root's parent is the root.
    pub fn parent(&self) -> Name {
        let first = self.bytes[0] as usize;
        if first == 0 {
            return *self;
        }
        Name::from_valid(&self.as_wire()[first + 1..])
    }

    /// True if `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        let Some(skip) = self.len().checked_sub(ancestor.len()) else {
            return false;
        };
        self.as_wire()[skip..] == *ancestor.as_wire() && self.is_boundary(skip)
    }

    /// The part of the name in front of `ancestor`, as a name of its own
    /// (`a.b.example` before `example` is `a.b`); `None` if it is not within.
    pub fn strip_suffix(&self, ancestor: &Name) -> Option<Name> {
        if !self.is_within(ancestor) {
            return None;
        }
        let keep = self.len() - ancestor.len();
        let mut out = Name::ROOT;
        out.bytes[..keep].copy_from_slice(&self.bytes[..keep]);
        out.bytes[keep] = 0;
        out.len = keep as u8 + 1;
        Some(out)
    }

    /// `self` with `suffix` appended, or `TooLong`.
    pub fn join(&self, suffix: &Name) -> Result<Name, NameError> {
        let head = self.len() - 1;
        let len = head + suffix.len();
        if len > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut out = Name::ROOT;
        out.bytes[..head].copy_from_slice(&self.bytes[..head]);
        out.bytes[head..len].copy_from_slice(suffix.as_wire());
        out.len = len as u8;
        Ok(out)
    }

    /// The last `labels` labels of the name (all of it if it has fewer).
    pub fn suffix(&self, labels: usize) -> Name {
        let skip = self.label_count().saturating_sub(labels);
        let mut rest = self.as_wire();
        for _ in 0..skip {
            rest = &rest[rest[0] as usize + 1..];
        }
        Name::from_valid(rest)
    }

    /// True if the leftmost label is `*`.
    pub fn is_wildcard(&self) -> bool {
        self.len > 2 && self.bytes[0] == 1 && self.bytes[1] == b'*'
    }

    /// Offset `at` is the start of a label (or of the root label).
    fn is_boundary(&self, at: usize) -> bool {
        let mut pos = 0;
        while pos < at {
            pos += self.bytes[pos] as usize + 1;
        }
        pos == at
    }

    /// For bytes that are known to be a valid lower-case name.
    #[inline]
    fn from_valid(wire: &[u8]) -> Name {
        let mut out = Name::ROOT;
        out.bytes[..wire.len()].copy_from_slice(wire);
        out.len = wire.len() as u8;
        out
    }
}

/// Builds a name label by label, from the left.
#[derive(Clone, Copy)]
pub struct NameBuilder {
    len: usize,
    bytes: [u8; MAX_NAME],
}

impl Default for NameBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl NameBuilder {
    /// A builder that holds nothing yet; finished now, it would be the root.
    pub fn new() -> Self {
        NameBuilder { len: 0, bytes: [0; MAX_NAME] }
    }

    /// Appends a label of 1 to 63 octets, lower-casing ASCII letters.
    #[inline]
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() || label.len() > MAX_LABEL {
            return Err(NameError::Label);
        }
        // one octet stays free for the root label
        if self.len + 1 + label.len() + 1 > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.bytes[self.len] = label.len() as u8;
        let at = self.len + 1;
        self.bytes[at..at + label.len()].copy_from_slice(label);
        self.bytes[at..at + label.len()].make_ascii_lowercase();
        self.len = at + label.len();
        Ok(())
    }

    /// Ends the name with the root label.
    pub fn finish(mut self) -> Name {
        self.bytes[self.len] = 0;
        Name { len: self.len as u8 + 1, bytes: self.bytes }
    }
}

/// Iterator over labels from the left.
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let len = self.rest[0] as usize;
        if len == 0 {
            return None;
        }
        let (label, rest) = self.rest[1..].split_at(len);
        self.rest = rest;
        Some(label)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.as_wire() == other.as_wire()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_wire().hash(state);
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Canonical DNS order: by labels from the right (RFC 4034 section 6.1).
impl Ord for Name {
    fn cmp(&self, other: &Name) -> std::cmp::Ordering {
        let (mine, theirs) = (self.label_count(), other.label_count());
        // labels are counted anew each time: names are short, and nothing is taken from the heap
        for i in 1..=mine.min(theirs) {
            let order = self.labels().nth(mine - i).cmp(&other.labels().nth(theirs - i));
            if order.is_ne() {
                return order;
            }
        }
        mine.cmp(&theirs)
    }
}

/// Absolute form without the closing dot (the root is `.`), special octets escaped as in
/// RFC 1035 section 5.1: printable ASCII only, so it is safe in logs and terminals.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(self.as_wire(), f)
    }
}

/// Writes an uncompressed wire name in text form, its case kept.
pub fn write_wire(wire: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    if wire.first().is_none_or(|&len| len == 0) {
        return f.write_char('.');
    }
    for (i, label) in (Labels { rest: wire }).enumerate() {
        if i > 0 {
            f.write_char('.')?;
        }
        for &b in label {
            match b {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    f.write_char('\\')?;
                    f.write_char(b as char)?;
                }
                0x21..=0x7e => f.write_char(b as char)?,
                _ => write!(f, "\\{b:03}")?,
            }
        }
    }
    Ok(())
}

/// Length of the uncompressed name at the start of `octets`, root label included; `None` if there
/// is no name of at most [`MAX_NAME`] octets.
pub fn wire_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let len = usize::from(*octets.get(at)?);
        at += len + 1;
        if len > MAX_LABEL || at > MAX_NAME {
            return None;
        }
        if len == 0 {
            return Some(at);
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text form, always taken as absolute; the closing dot may be left out.
impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Name, NameError> {
        if text == "." {
            return Ok(Name::ROOT);
        }
        let mut out = NameBuilder::new();
        let mut label = [0u8; MAX_LABEL];
        let mut n = 0;
        let mut bytes = text.bytes();
        let mut open = false;
        while let Some(b) = bytes.next() {
            let octet = match b {
                b'.' => {
                    if n == 0 {
                        return Err(NameError::EmptyLabel);
                    }
                    out.push_label(&label[..n])?;
                    n = 0;
                    open = false;
                    continue;
                }
                b'\\' => escape(&mut bytes)?,
                other => other,
            };
            if n == MAX_LABEL {
                return Err(NameError::Label);
            }
            label[n] = octet;
            n += 1;
            open = true;
        }
        if open {
            out.push_label(&label[..n])?;
        } else if text.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        Ok(out.finish())
    }
}

/// The octet behind a `\`: a character, or three decimal digits (RFC 1035 section 5.1).
fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = bytes.next().ok_or(NameError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit).ok_or(NameError::Escape)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::Escape)
}

impl serde::Serialize for Name {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        let n = name("WWW.Example.COM.");
        assert_eq!(n.as_wire(), b"\x03www\x07example\x03com\x00");
        assert_eq!(n.to_string(), "www.example.com");
        assert_eq!(Name::from_wire(b"\x03wWw\x07example\x03cOm\x00").unwrap(), n);
        assert_eq!(name(".").to_string(), ".");
        assert_eq!(name(r"a\.b\000\\.x").labels().next().unwrap(), b"a.b\0\\");
        assert_eq!(name(r"a\.b\000\\.x").to_string(), r"a\.b\000\\.x");
    }

    #[test]
    fn limits_hold() {
        let label = "a".repeat(63);
        assert!(label.parse::<Name>().is_ok());
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::Label));
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(name(&longest).len(), 255);
        let over = format!("{label}.{label}.{label}.{}", "b".repeat(62));
        assert_eq!(over.parse::<Name>(), Err(NameError::TooLong));
        assert_eq!(name(&vec!["a"; 127].join(".")).label_count(), 127);
        for bad in ["", "a..b", ".a", r"a\25", r"a\256"] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn relations() {
        let n = name("a.b.example");
        assert!(n.is_within(&name("example")) && n.is_within(&n) && n.is_within(&Name::ROOT));
        assert!(!name("bexample").is_within(&name("example")));
        // the suffix bytes agree, but not at a label boundary
        assert!(!Name::from_wire(b"\x05x\x01b\x00\x01\x00").is_ok_and(|n| n.is_within(&name("b"))));
        assert_eq!(n.parent(), name("b.example"));
        assert_eq!(n.strip_suffix(&name("example")).unwrap(), name("a.b"));
        assert_eq!(n.suffix(2), name("b.example"));
        assert_eq!(name("a.b").join(&name("example")).unwrap(), n);
        assert!(name("a.z").cmp(&name("b.a")) == std::cmp::Ordering::Greater);
    }
}
