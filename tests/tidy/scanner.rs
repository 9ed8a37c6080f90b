//! Enough of Rust's spelling to judge files by: comments and literals, words, paths, items.

use std::ops::Range;

/// A Rust file and what the rules look at.
pub struct Source {
    /// From the repository's root.
    pub path: String,
    pub text: String,
    /// The text with comments and the insides of literals blanked, octet for octet.
    pub code: String,
    /// Items behind `#[cfg(test)]`.
    pub tests: Vec<Range<usize>>,
}

/// A word, `::`, or one other character of code.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    pub at: usize,
    pub text: &'a str,
}

impl Token<'_> {
    pub fn is_word(&self) -> bool {
        self.text.starts_with(is_word_char)
    }
}

impl Source {
    pub fn new(path: &str, text: &str) -> Source {
        let code = blanked(text);
        let tests = test_items(&tokens(&code));
        Source { path: path.to_owned(), text: text.to_owned(), code, tests }
    }

    pub fn tokens(&self) -> Vec<Token<'_>> {
        tokens(&self.code)
    }

    /// The room below `src`.
    pub fn room(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// How many modules deep the file is: 1 for a room. `x_tests.rs` is the module `x::tests`.
    pub fn depth(&self) -> usize {
        let folders = self.path.matches('/').count();
        folders + usize::from(self.path.ends_with("_tests.rs"))
            - usize::from(self.path.ends_with("/mod.rs"))
    }

    pub fn in_tests(&self, at: usize) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.contains("/tests/")
            || self.tests.iter().any(|part| part.contains(&at))
    }

    pub fn fault(&self, at: usize, text: &str) -> String {
        let line = 1 + self.text[..at].matches('\n').count();
        format!("{}:{line}: {text}", self.path)
    }
}

pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Blanks comments and what is inside literals; line ends and quotes stay.
fn blanked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut in_word = false;
    while let Some(next) = text[out.len()..].chars().next() {
        let rest = &text[out.len()..];
        match comment_or_literal(rest, in_word) {
            Some((inside, end)) => {
                out.push_str(&rest[..inside.start]);
                let hidden = rest[inside.clone()].bytes();
                out.extend(hidden.map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
                out.push_str(&rest[inside.end..end]);
                in_word = false;
            }
            None => {
                out.push(next);
                in_word = is_word_char(next);
            }
        }
    }
    out
}

/// A comment or literal at the start of `rest`: what of it is blanked, and where it ends.
fn comment_or_literal(rest: &str, in_word: bool) -> Option<(Range<usize>, usize)> {
    if rest.starts_with("//") {
        let end = rest.find('\n').unwrap_or(rest.len());
        return Some((0..end, end));
    }
    if rest.starts_with("/*") {
        let end = end_of_block_comment(rest);
        return Some((0..end, end));
    }
    if rest.starts_with('"') || is_char_literal(rest) {
        let end = end_of_quoted(rest);
        return Some((1..end - 1, end));
    }
    let raw = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix));
    let after = raw.filter(|_| !in_word)?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let (close, start) = (format!("\"{}", &after[..hashes]), rest.len() - inside.len());
    let len = inside.find(&close)?;
    Some((start..start + len, start + len + close.len()))
}

fn end_of_block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let mark = rest.as_bytes().get(at..at + 2);
        match mark {
            Some(b"/*") => depth += 1,
            Some(b"*/") => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn is_char_literal(rest: &str) -> bool {
    let mut chars = rest.chars();
    chars.next() == Some('\'') && (chars.next() == Some('\\') || chars.next() == Some('\''))
}

/// The octet behind the quote that closes the one at the start.
fn end_of_quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if rest.starts_with(c) => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

pub fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = code[at..].chars().next() {
        let rest = &code[at..];
        let len = match first {
            _ if is_word_char(first) => rest.find(|c| !is_word_char(c)).unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            found.push(Token { at, text: &rest[..len] });
        }
        at += len;
    }
    found
}

pub fn text_at<'a>(tokens: &[Token<'a>], i: usize) -> &'a str {
    tokens.get(i).map_or("", |token| token.text)
}

/// The text of the string literal that begins at this token.
pub fn literal<'a>(source: &'a Source, tokens: &[Token<'_>], i: usize) -> Option<&'a str> {
    let (open, close) = (tokens.get(i)?, tokens.get(i + 1)?);
    (open.text == "\"" && close.text == "\"").then(|| &source.text[open.at + 1..close.at])
}

/// The brace that closes the one at `open`.
fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text {
            "{" => depth += 1,
            "}" if depth == 1 => return i,
            "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len() - 1
}

/// Where an item ends: its body's closing brace, or the semicolon before any body.
fn end_of_item(tokens: &[Token<'_>], start: usize) -> (usize, bool) {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(start) {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth -= 1,
            "{" if depth == 0 => return (closing(tokens, i), true),
            ";" if depth == 0 => return (i, false),
            _ => {}
        }
    }
    (tokens.len() - 1, false)
}

fn test_items(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
    let starts = (0..tokens.len()).filter(|i| (0..7).all(|j| text_at(tokens, i + j) == mark[j]));
    starts.map(|i| tokens[i].at..tokens[end_of_item(tokens, i).0].at + 1).collect()
}

/// Functions that have a body: name, and everything from `fn` to the closing brace.
pub fn functions<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, Range<usize>)> {
    let starts = tokens.windows(2).enumerate().filter(|(_, w)| w[0].text == "fn" && w[1].is_word());
    let with_body = starts.filter_map(|(i, pair)| {
        let (end, body) = end_of_item(tokens, i);
        body.then(|| (pair[1].text, pair[0].at..tokens[end].at + 1))
    });
    with_body.collect()
}

/// Modules written out within a file.
pub fn inline_modules(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let starts =
        (0..tokens.len()).filter(|&i| text_at(tokens, i) == "mod" && text_at(tokens, i + 2) == "{");
    starts.map(|i| tokens[i].at..tokens[closing(tokens, i + 2)].at).collect()
}

/// Every path in the code, groups written out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
pub fn paths<'a>(tokens: &[Token<'a>]) -> Vec<Vec<Token<'a>>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let end = match tokens[i].text {
            "use" => path_tree(tokens, i + 1, &[], &mut found),
            _ if tokens[i].is_word() && text_at(tokens, i + 1) == "::" => {
                path_tree(tokens, i, &[], &mut found)
            }
            _ => i,
        };
        i = end.max(i + 1);
    }
    found
}

/// Reads one path, or a group of them, behind `prefix`; gives the token behind it.
fn path_tree<'a>(
    tokens: &[Token<'a>],
    mut i: usize,
    prefix: &[Token<'a>],
    found: &mut Vec<Vec<Token<'a>>>,
) -> usize {
    let mut path = prefix.to_vec();
    while let Some(token) = tokens.get(i) {
        if token.text == "{" {
            i += 1;
            while !["}", ""].contains(&text_at(tokens, i)) {
                i = match text_at(tokens, i) {
                    "as" => i + 2,
                    _ => path_tree(tokens, i, &path, found).max(i + 1),
                };
            }
            return i + 1;
        }
        if !token.is_word() && token.text != "*" {
            break;
        }
        path.push(*token);
        i += 1;
        if text_at(tokens, i) != "::" {
            break;
        }
        i += 1;
    }
    if path.len() > prefix.len() {
        found.push(path);
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "a(\"// \\\" b\", 'c', '\\'', r#\"d\" e\"#) /* f /* g */ h */ + i<'j>; // k";
        let code = blanked(text);
        assert_eq!(code.len(), text.len());
        let words: Vec<&str> =
            tokens(&code).iter().filter(|t| t.is_word()).map(|t| t.text).collect();
        assert_eq!(words, ["a", "r", "i", "j"]);
        assert_eq!(blanked("\"ü\n\" b'x' br\"y\""), "\"  \n\" b' ' br\" \"");
    }

    #[test]
    fn paths_are_written_out() {
        let text =
            "use {a, b::{c as x, d::*, e::{self, f},},}; fn g(h: &::i::J<k::L>) { m::<N>() }";
        let found: Vec<String> = paths(&tokens(text))
            .iter()
            .map(|path| path.iter().map(|t| t.text).collect::<Vec<_>>().join("::"))
            .collect();
        let expected = ["a", "b::c", "b::d::*", "b::e::self", "b::e::f", "i::J", "k::L", "m"];
        assert_eq!(found, expected);
    }
}
