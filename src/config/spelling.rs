//! Small texts of the file: names, words of a choice, and how a value is quoted in a message.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::dns::name::Name;
use crate::sys::accounts::is_shown;

/// Most characters of a value that a message shows.
const QUOTED: usize = 60;
/// How alike two words must be (Jaro-Winkler) for one to be offered instead of the other.
const ALIKE: f64 = 0.85;

/// The value in quotation marks, safe to show: shortened, control characters escaped, and cut
/// where it might be a URL, whose path is a secret.
pub(super) fn quote(text: &str) -> String {
    if text.contains('@') {
        return "\"…\"".to_owned();
    }
    let end = text.find(['/', '?', '#']).filter(|&at| {
        // the length of a prefix is no secret
        let tail = &text[at + 1..];
        !(text[at..].starts_with('/') && tail.len() <= 3 && tail.parse::<u8>().is_ok())
    });
    shorten(&text[..end.unwrap_or(text.len())], end.is_some())
}

/// A file's path in quotation marks; cut like any other value if it is in truth a URL.
pub(super) fn quote_path(text: &str) -> String {
    if text.contains("://") { quote(text) } else { shorten(text, false) }
}

/// The text in quotation marks, escaped, with an ellipsis if some of it is `missing`.
fn shorten(text: &str, missing: bool) -> String {
    let shown: String = text.chars().take(QUOTED).collect();
    let ellipsis = if missing || shown.len() < text.len() { "…" } else { "" };
    // quotation marks and control characters are escaped, other scripts stay readable
    format!("\"{}{ellipsis}\"", shown.escape_debug())
}

/// The known word that is most like `word`, if one is like it at all.
pub(super) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    // a key of a hundred characters is nobody's slip of the pen
    let word: String = word.chars().take(QUOTED).collect::<String>().to_ascii_lowercase();
    let scored = known.into_iter().map(|known| (strsim::jaro_winkler(&word, known), known));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(score, _)| *score >= ALIKE);
    best.map(|(_, known)| known)
}

/// What to say about a word that is not among the known ones.
pub(super) fn not_among(word: &str, known: &[&str]) -> String {
    let list: Vec<String> = known.iter().map(|known| format!("\"{known}\"")).collect();
    let mut out = format!("{} is not one of {}", quote(word), list.join(", "));
    if let Some(nearest) = nearest(word, known.iter().copied()) {
        out.push_str(&format!("; did you mean \"{nearest}\"?"));
    }
    out
}

/// A domain name in ASCII; always absolute, the closing dot may be left out.
pub(super) fn domain(text: &str) -> Result<Name, String> {
    if !text.is_ascii() {
        return Err(format!("{} is not ASCII; write the xn-- form of the name", quote(text)));
    }
    if text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok() {
        let cure = "for a reverse zone write for example \"2.0.192.in-addr.arpa\"";
        return Err(format!("{} is an address, not a domain name; {cure}", quote(text)));
    }
    if text.contains("://") || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("{} is not a domain name", quote(text)));
    }
    text.parse().map_err(|error| format!("{} is not a domain name: {error}", quote(text)))
}

/// A short name of the operator's own choice, fit for metrics and logs.
pub(super) fn label(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(text.to_owned());
    }
    let cure = "use 1 to 64 letters, digits, \".\", \"_\" or \"-\"";
    Err(format!("{} cannot be a name here; {cure}", quote(text)))
}

/// The name of a group, or nothing.
pub(super) fn group(text: &str) -> Result<String, String> {
    if text.is_empty() || is_shown(text) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is no name of a group", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_cuts_what_may_be_secret() {
        assert_eq!(quote("10.0.0.1/8"), "\"10.0.0.1/8\"");
        assert_eq!(quote("https://doh.example/secret"), "\"https:…\"");
        assert_eq!(quote("doh.example/secret"), "\"doh.example…\"");
        assert_eq!(quote("doh.example?token=secret"), "\"doh.example…\"");
        assert_eq!(quote("https://me:secret@doh.example"), "\"…\"");
        assert_eq!(quote("/8/secret"), "\"…\"");
        assert_eq!(quote("a\u{1b}[31m\"b"), "\"a\\u{1b}[31m\\\"b\"");
        assert_eq!(quote(&"é".repeat(100)), format!("\"{}…\"", "é".repeat(60)));
        assert_eq!(quote_path("/etc/culvert/ca.pem"), "\"/etc/culvert/ca.pem\"");
        assert_eq!(quote_path("https://lists.example/secret"), "\"https:…\"");
    }

    #[test]
    fn nearest_words() {
        let known = ["listen", "allow", "workers"];
        assert_eq!(nearest("listn", known), Some("listen"));
        assert_eq!(nearest("LISTEN", known), Some("listen"));
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("zzz", known), None);
        // a short word is not meant by every word that begins with it
        assert_eq!(nearest("cache", ["ca"]), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn domains() {
        assert_eq!(domain("Corp.Example.").unwrap().to_string(), "corp.example");
        assert_eq!(domain("0/25.2.0.192.in-addr.arpa").unwrap().label_count(), 6);
        for bad in ["", "a..b", "a b", "münchen.example", "10.0.0.0/8", "192.0.2.1", "::1"] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }
}
