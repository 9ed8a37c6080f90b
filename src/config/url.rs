//! The URL of a DNS-over-HTTPS service or of a list. No message here shows the URL, for its path
//! is a secret.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use data_encoding::HEXLOWER_PERMISSIVE;

use super::settings::Checksum;

/// Longest path with its query part, in octets.
const MAX_PATH: usize = 2048;

/// A text that must not show up in logs, messages or dumps: both `Debug` and `Display` hide it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// An `https` URL taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// Lower case; an IPv6 literal without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query; `None` if the URL ends with the host.
    pub(super) path: Option<Secret>,
}

impl Url {
    /// The URL in one piece.
    pub(super) fn whole(&self) -> Secret {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let path = self.path.as_ref().map_or("/", Secret::expose);
        Secret::new(format!("https://{host}{port}{path}"))
    }
}

/// A URL's scheme, host and port, with `hidden` for its path; `hidden` alone if it is no good URL.
pub(super) fn without_path(text: &str, hidden: &str) -> String {
    let Ok(mut url) = url(text) else { return hidden.to_owned() };
    let has_path = url.path.take().is_some();
    let whole = url.whole();
    let front = whole.expose().trim_end_matches('/');
    if has_path { format!("{front}/{hidden}") } else { front.to_owned() }
}

/// Reads `https://host[:port][/path[?query]]`, with or without the template part `{?dns}` of
/// RFC 8484 section 4.1.1.
pub(super) fn url(text: &str) -> Result<Url, String> {
    taken_apart(text, "plain http would show every query; write https://")
}

/// Reads the URL of a list, which has a path.
pub(super) fn list_url(text: &str) -> Result<Url, String> {
    let url = taken_apart(text, "plain http can be changed on its way; write https://")?;
    match url.path {
        Some(_) => Ok(url),
        None => Err("the URL needs a path behind its host: \"https://host/path\"".to_owned()),
    }
}

/// Reads a SHA-256 checksum, or the URL where it is published.
pub(super) fn checksum(text: &str) -> Result<Checksum, String> {
    if text.contains("://") {
        return list_url(text).map(|url| Checksum::At(url.whole()));
    }
    let octets = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    let octets: Option<[u8; 32]> = octets.and_then(|octets| octets.try_into().ok());
    octets.map(Checksum::Fixed).ok_or_else(|| {
        "a SHA-256 checksum has 64 hexadecimal digits; give those, or an https URL".to_owned()
    })
}

/// Reads a URL; `plain_http` is what to say about one that is not encrypted.
fn taken_apart(text: &str, plain_http: &str) -> Result<Url, String> {
    const SCHEME: &str = "https://";
    let scheme = text.get(..SCHEME.len()).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return Err(match text.get(..7) {
            Some(plain) if plain.eq_ignore_ascii_case("http://") => plain_http.to_owned(),
            _ => "a URL is needed: \"https://host/path\"".to_owned(),
        });
    }
    let rest = &text[SCHEME.len()..];
    let end = rest.find(['/', '?', '#', '{']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (host, port) = authority_parts(authority)?;
    let path = match strip_template(tail) {
        "" => None,
        tail if tail.starts_with('/') => Some(url_path(tail)?),
        _ => return Err("the URL needs a path behind its host: \"https://host/path\"".to_owned()),
    };
    Ok(Url { host, port, path })
}

/// Reads the path of a URL with its query part, if it has one.
pub(super) fn url_path(text: &str) -> Result<Secret, String> {
    let text = strip_template(text);
    if !text.starts_with('/') {
        return Err("a path begins with \"/\"".to_owned());
    }
    if text.len() > MAX_PATH {
        return Err(format!("the path is longer than {MAX_PATH} octets"));
    }
    if text.contains('#') {
        return Err("a fragment (\"#...\") is never sent; leave it out".to_owned());
    }
    if text.contains(['{', '}']) {
        let cure = "of templates only \"{?dns}\" at the end is known, and may be left out";
        return Err(format!("the path has a \"{{\" or \"}}\"; {cure}"));
    }
    // RFC 3986 section 3.3 and 3.4
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&b);
    let escapes = text.split('%').skip(1);
    let escaped = |tail: &str| tail.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.bytes().all(fits) || !escapes.into_iter().all(escaped) {
        return Err("the path has a character that must be written as %XX".to_owned());
    }
    Ok(Secret::new(text))
}

/// The text without the template's variable at its end.
fn strip_template(text: &str) -> &str {
    text.strip_suffix("{?dns}").or_else(|| text.strip_suffix("{&dns}")).unwrap_or(text)
}

/// Host and port of `host`, `host:port` or `[v6]:port`.
fn authority_parts(text: &str) -> Result<(String, u16), String> {
    if text.contains('@') {
        return Err("a user or password in the URL is not supported; take it out".to_owned());
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (host, tail) = inner.split_once(']').ok_or("the \"[\" has no \"]\"")?;
            let host: Ipv6Addr =
                host.parse().map_err(|_| "what stands in brackets is no IPv6 address")?;
            (host.to_string(), tail.strip_prefix(':').or(tail.is_empty().then_some("443")))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host_name(host)?, Some(port)),
            None => (host_name(text)?, Some("443")),
        },
    };
    let port = port.filter(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let port = port.and_then(|port| port.parse().ok()).filter(|port| *port != 0);
    Ok((host, port.ok_or("the URL's port must be 1 to 65535")?))
}

/// A host name or an IPv4 address, in lower case and without a closing dot.
pub(super) fn host_name(text: &str) -> Result<String, String> {
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if host.is_empty() {
        return Err("the URL has no host: \"https://host/path\"".to_owned());
    }
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host);
    }
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // a last label of digits alone would be read as an address elsewhere
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    if host.len() > 253 || !host.split('.').all(good) || host.rsplit('.').next().is_some_and(number)
    {
        let cure = "names of other scripts go in their xn-- form, IPv6 in brackets";
        return Err(format!("the URL's host is neither a host name nor an address; {cure}"));
    }
    Ok(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, u16, Option<String>) {
        let url = url(text).unwrap();
        (url.host, url.port, url.path.map(|path| path.expose().to_owned()))
    }

    #[test]
    fn good_urls() {
        let dns = Some("/dns-query".to_owned());
        for (text, host, port) in [
            ("https://dns.example/dns-query", "dns.example", 443),
            ("HTTPS://DNS.Example./dns-query{?dns}", "dns.example", 443),
            ("https://dns.example:8443/dns-query", "dns.example", 8443),
            ("https://192.0.2.1/dns-query", "192.0.2.1", 443),
            ("https://[2001:DB8::1]/dns-query", "2001:db8::1", 443),
            ("https://[2001:db8::1]:444/dns-query", "2001:db8::1", 444),
        ] {
            assert_eq!(parts(text), (host.to_owned(), port, dns.clone()), "{text}");
        }
        assert_eq!(parts("https://h.example/a?k=v{&dns}").2.as_deref(), Some("/a?k=v"));
        assert_eq!(parts("https://h.example").2, None);
        assert_eq!(parts("https://h.example/").2.as_deref(), Some("/"));
    }

    #[test]
    fn bad_urls_are_refused_without_being_shown() {
        for text in [
            "",
            "secret",
            "http://h.example/secret",
            "https:///secret",
            "https://h.example:0/secret",
            "https://h.example:99999/secret",
            "https://h.example:/secret",
            "https://h.example:+1/secret",
            "https://me:secret@h.example/secret",
            "https://h.example/secret#x",
            "https://h.example/secret{x}",
            "https://h.example/secret x",
            "https://h.example/secret%4",
            "https://h.example/secret\u{e9}",
            "https://m\u{fc}nchen.example/secret",
            "https://h..example/secret",
            "https://-h.example/secret",
            "https://1.2.3/secret",
            "https://[::1/secret",
            "https://[::1]x/secret",
            "https://[dns]/secret",
            "https://h.example?secret",
            "\u{20ac}\u{20ac}\u{20ac}secret",
        ] {
            let message = url(text).expect_err(text);
            assert!(!message.contains("secret"), "{message}");
        }
        assert!(url(&format!("https://h.example/{}", "a".repeat(3000))).is_err());
    }

    #[test]
    fn secrets_stay_hidden() {
        let url = url("https://h.example/org/fragment").unwrap();
        let shown = format!("{url:?} {url:#?} {}", url.path.clone().unwrap());
        assert!(!shown.contains("org") && !shown.contains("fragment"), "{shown}");
        assert_eq!(url.path.unwrap().expose(), "/org/fragment");
    }
}
