//! Values as they are shown to people (`culvert config show`): what is secret is left out.

use std::fmt;

use serde::Serialize;
use toml::de::DeValue;

use super::table::Kind;
use super::url;

/// What stands for a secret, or for the part of a URL that is one.
pub(super) const HIDDEN: &str = "...";

/// A value of the configuration without its secrets. `Display` writes it as TOML, on one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// `true` or `false`.
    Flag(bool),
    /// An integer.
    Number(u64),
    /// A string.
    Text(String),
    /// A list of strings.
    List(Vec<String>),
}

impl Shown {
    /// A value of a key that takes this kind. One that does not fit is hidden as a whole: it
    /// might be a secret in the wrong place.
    pub(super) fn of(kind: &Kind, value: &DeValue<'_>) -> Shown {
        match value {
            DeValue::Boolean(flag) => Shown::Flag(*flag),
            DeValue::Integer(number) => {
                let number = u64::from_str_radix(number.as_str(), number.radix());
                number.map_or_else(|_| Shown::Text(HIDDEN.to_owned()), Shown::Number)
            }
            DeValue::String(text) => Shown::Text(without_secret(kind, text)),
            DeValue::Array(entries) => {
                let texts = entries.iter().map(|entry| entry.get_ref().as_str());
                let show = |text: Option<&str>| without_secret(kind, text.unwrap_or(HIDDEN));
                Shown::List(texts.map(show).collect())
            }
            _ => Shown::Text(HIDDEN.to_owned()),
        }
    }
}

/// The text as far as it may be shown.
fn without_secret(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Base64 => HIDDEN.to_owned(),
        Kind::UrlPaths => format!("/{HIDDEN}"),
        Kind::Url | Kind::ListUrl => url::without_path(text, HIDDEN),
        Kind::Checksum if text.contains("://") => url::without_path(text, HIDDEN),
        _ => text.to_owned(),
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Flag(flag) => write!(f, "{flag}"),
            Shown::Number(number) => write!(f, "{number}"),
            Shown::Text(text) => f.write_str(&quoted(text)),
            Shown::List(texts) => {
                let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
                write!(f, "[{}]", texts.join(", "))
            }
        }
    }
}

/// A basic string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: &Kind, text: &str) -> String {
        let value = DeValue::parse(text).unwrap();
        Shown::of(kind, value.get_ref()).to_string()
    }

    #[test]
    fn secrets_are_left_out() {
        for (kind, text, expected) in [
            (Kind::Url, r#""https://h.example:444/hush?x""#, r#""https://h.example:444/...""#),
            (Kind::Url, r#""https://[2001:db8::1]/hush""#, r#""https://[2001:db8::1]/...""#),
            (Kind::ListUrl, r#""https://h.example/hush""#, r#""https://h.example/...""#),
            (Kind::Url, r#""https://h.example""#, r#""https://h.example""#),
            (Kind::Url, r#""hush""#, r#""...""#),
            (Kind::Checksum, r#""https://h.example/hush""#, r#""https://h.example/...""#),
            (Kind::Checksum, r#""abc""#, r#""abc""#),
            (Kind::UrlPaths, r#"["/hush", "/hush2"]"#, r#"["/...", "/..."]"#),
            (Kind::Base64, r#""aHVzaA==""#, r#""...""#),
        ] {
            assert_eq!(shown(&kind, text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_toml_on_one_line() {
        assert_eq!(shown(&Kind::Bool, "true"), "true");
        assert_eq!(shown(&Kind::Integer { min: 0, max: 9_000 }, "0x1_0"), "16");
        let list = "[\n  'a\\b', # why\n  \"c\\\"\\td\",\n]";
        let kind = Kind::Names { min: 0 };
        assert_eq!(shown(&kind, list), r#"["a\\b", "c\"\u0009d"]"#);
        assert_eq!(shown(&kind, "[]"), "[]");
        assert_eq!(shown(&kind, "{ a = 1 }"), r#""...""#);
    }
}
