//! One logical entry of a zone file, which may span lines: parentheses, quotes, escapes and
//! comments are taken apart here, and line numbers kept (RFC 1035 section 5.1).

/// An entry cut into tokens; its memory is used again for the next entry.
#[derive(Default)]
pub(super) struct Entry {
    text: Vec<u8>,
    tokens: Vec<Span>,
    /// Line on which the entry began.
    pub(super) line: u32,
    /// The entry begins with a blank: it has the owner of the one before.
    pub(super) no_owner: bool,
    /// Why this entry cannot be a record, if something is wrong with its form.
    pub(super) fault: Option<&'static str>,
    /// A quote was open where the last line ended.
    pub(super) open_quote: bool,
    depth: u32,
}

/// A token inside the entry's text.
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
    quoted: bool,
    glued: bool,
}

/// A token: its octets with escapes as written, without quotes around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    /// The octets.
    pub(super) text: &'a [u8],
    /// It stood in quotes.
    pub(super) quoted: bool,
    /// No blank parts it from the token before (`key="value"`).
    pub(super) glued: bool,
}

impl Entry {
    /// Begins a new entry with its first line, given without line end.
    pub(super) fn begin(&mut self, line: &[u8], number: u32) {
        self.text.clear();
        self.tokens.clear();
        self.line = number;
        self.no_owner = line.first().is_some_and(|&b| b == b' ' || b == b'\t');
        self.fault = None;
        self.depth = 0;
        self.feed(line);
    }

    /// Adds a line.
    pub(super) fn feed(&mut self, line: &[u8]) {
        self.open_quote = false;
        let mut at = 0;
        let mut glued = false;
        while let Some(&octet) = line.get(at) {
            at += 1;
            match octet {
                b' ' | b'\t' => glued = false,
                b'(' => (self.depth, glued) = (self.depth.saturating_add(1), false),
                b')' if self.depth == 0 => self.blame("`)` without `(`"),
                b')' => (self.depth, glued) = (self.depth - 1, false),
                b';' => break,
                b'"' => {
                    at = self.quoted(line, at, glued);
                    glued = true;
                }
                _ => {
                    at = self.unquoted(line, at - 1, glued);
                    glued = true;
                }
            }
        }
    }

    /// True while a parenthesis is open: the entry goes on with the next line.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }

    /// Octets of text held so far.
    pub(super) fn len(&self) -> usize {
        self.text.len() + self.tokens.len() * size_of::<Span>()
    }

    /// Number of tokens.
    pub(super) fn count(&self) -> usize {
        self.tokens.len()
    }

    /// A token by its place.
    pub(super) fn token(&self, at: usize) -> Option<Token<'_>> {
        let span = self.tokens.get(at)?;
        let text = &self.text[span.start as usize..span.end as usize];
        Some(Token { text, quoted: span.quoted, glued: span.glued })
    }

    /// The tokens from a place on.
    pub(super) fn tokens(&self, from: usize) -> impl Iterator<Item = Token<'_>> {
        (from..self.count()).filter_map(|at| self.token(at))
    }

    /// Reads a quoted token whose opening quote stands before `start`.
    fn quoted(&mut self, line: &[u8], start: usize, glued: bool) -> usize {
        let mut at = start;
        loop {
            match line.get(at) {
                Some(b'"') => {
                    self.push(&line[start..at], true, glued);
                    return at + 1;
                }
                Some(b'\\') if at + 1 < line.len() => at += 2,
                Some(_) => at += 1,
                None => {
                    self.open_quote = true;
                    self.blame("a quote is not closed on its line");
                    self.push(&line[start..], true, glued);
                    return line.len();
                }
            }
        }
    }

    /// Reads a token without quotes that begins at `start`.
    fn unquoted(&mut self, line: &[u8], start: usize, glued: bool) -> usize {
        let mut at = start;
        while let Some(&octet) = line.get(at) {
            match octet {
                b' ' | b'\t' | b'(' | b')' | b';' | b'"' => break,
                b'\\' if at + 1 == line.len() => {
                    self.blame("the line ends with a `\\`");
                    at += 1;
                }
                b'\\' => at += 2,
                octet => {
                    if octet.is_ascii_control() {
                        self.blame("a control character; write it as \\DDD");
                    }
                    at += 1;
                }
            }
        }
        self.push(&line[start..at], false, glued);
        at
    }

    fn push(&mut self, text: &[u8], quoted: bool, glued: bool) {
        let start = self.text.len() as u32;
        self.text.extend_from_slice(text);
        self.tokens.push(Span { start, end: self.text.len() as u32, quoted, glued });
    }

    /// Keeps the first fault.
    fn blame(&mut self, fault: &'static str) {
        self.fault.get_or_insert(fault);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lines: &[&str]) -> Entry {
        let mut entry = Entry::default();
        entry.begin(lines[0].as_bytes(), 7);
        for line in &lines[1..] {
            assert!(entry.is_open());
            entry.feed(line.as_bytes());
        }
        assert!(!entry.is_open());
        entry
    }

    fn texts(entry: &Entry) -> Vec<&str> {
        entry.tokens(0).map(|token| str::from_utf8(token.text).unwrap()).collect()
    }

    #[test]
    fn tokens_over_lines() {
        let soa = entry(&["@ SOA a. b. ( 1 ; serial (", " 1h", "2 3) ; end"]);
        assert_eq!(texts(&soa), ["@", "SOA", "a.", "b.", "1", "1h", "2", "3"]);
        assert!(!soa.no_owner && soa.fault.is_none());
        let text = entry(&[r#" TXT "a;b \" c" d\ e;x"#]);
        assert_eq!(texts(&text), ["TXT", r#"a;b \" c"#, r"d\ e"]);
        assert!(text.no_owner && text.token(1).unwrap().quoted);
        let svcb = entry(&[r#"x HTTPS 1 . alpn="h2,h3" port=1"#]);
        let glued: Vec<bool> = svcb.tokens(0).map(|token| token.glued).collect();
        assert_eq!(glued, [false, false, false, false, false, true, false]);
        assert_eq!(entry(&["; only a comment"]).count(), 0);
        assert_eq!(entry(&["   "]).count(), 0);
        assert_eq!(texts(&entry(&["x(CNAME", ".)"])), ["x", "CNAME", "."]);
    }

    #[test]
    fn faults() {
        for (line, fault, quote) in [
            ("x TXT \"abc", Some("a quote is not closed on its line"), true),
            ("x TXT \"abc\\\"", Some("a quote is not closed on its line"), true),
            ("x CNAME . )", Some("`)` without `(`"), false),
            ("x CNAME .\\", Some("the line ends with a `\\`"), false),
            ("x CNAME .\r", Some("a control character; write it as \\DDD"), false),
            ("x CNAME . ; \"(", None, false),
        ] {
            let entry = entry(&[line]);
            assert_eq!((entry.fault, entry.open_quote), (fault, quote), "{line}");
        }
    }
}
