//! From one TOML value to one typed value, by the kind that the table declares.

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::address::{self, Address, Allow, Listen};
use super::quantity::{self, no_unit, show_duration, show_size};
use super::settings::{
    Action, Checksum, Ede, Enforcement, Expired, Hits, LogFormat, Mode, Outside, Primary,
    UntilLoaded, ZoneFormat,
};
use super::spelling::{self, nearest, not_among, quote};
use super::table::{ACTIONS, ALGORITHMS, Kind};
use super::tsig::{self, Octets};
use super::url::{self, Secret, Url};
use crate::dns::name::Name;
use crate::dns::tsig::Algorithm;

/// Most entries of any list.
const MAX_LIST: usize = 4096;
/// Longest path of a file, in octets (PATH_MAX of Linux, its closing zero not counted).
const MAX_FILE_PATH: usize = 4095;

/// What is wrong with a value, and at which octet of its file.
pub(super) type Complaints = Vec<(usize, String)>;

/// An entry of a list and the octet of the text of all files where it stands.
#[derive(Clone)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A value that fits its kind.
pub(super) enum Value {
    Bool(bool),
    Integer(u64),
    Text(String),
    Choice(usize),
    Duration(Duration),
    Path(PathBuf),
    Name(Name),
    Names(Vec<At<Name>>),
    Listen(Vec<At<Listen>>),
    Allow(Vec<At<Allow>>),
    Networks(Vec<At<IpNet>>),
    Addresses(Vec<At<Address>>),
    Url(Url),
    UrlPaths(Vec<At<Secret>>),
    Primaries(Vec<At<Primary>>),
    Checksum(Checksum),
    Base64(Octets),
    Status(Option<SocketAddr>),
    Action(Action),
    Hits(Hits),
    UntilLoaded(UntilLoaded),
}

/// Types that a setting can be read as.
pub(super) trait FromValue: Sized {
    /// `None` if the value is of another kind.
    fn from_value(value: &Value) -> Option<Self>;
}

macro_rules! from_value {
    ($($variant:ident: $type:ty,)+) => { $(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<$type> {
                match value {
                    Value::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        }
    )+ };
}

from_value! {
    Bool: bool,
    Integer: u64,
    Text: String,
    Duration: Duration,
    Path: PathBuf,
    Name: Name,
    Names: Vec<At<Name>>,
    Listen: Vec<At<Listen>>,
    Allow: Vec<At<Allow>>,
    Networks: Vec<At<IpNet>>,
    Addresses: Vec<At<Address>>,
    Url: Url,
    UrlPaths: Vec<At<Secret>>,
    Primaries: Vec<At<Primary>>,
    Checksum: Checksum,
    Base64: Octets,
    Status: Option<SocketAddr>,
    Action: Action,
    Hits: Hits,
    UntilLoaded: UntilLoaded,
}

macro_rules! from_choice {
    ($($type:ty),+) => { $(
        impl FromValue for $type {
            fn from_value(value: &Value) -> Option<$type> {
                match value {
                    Value::Choice(index) => <$type>::ALL.get(*index).copied(),
                    _ => None,
                }
            }
        }
    )+ };
}

from_choice!(Outside, Mode, Ede, Enforcement, Expired, LogFormat, ZoneFormat);

impl FromValue for Algorithm {
    fn from_value(value: &Value) -> Option<Algorithm> {
        let Value::Choice(index) = value else { return None };
        Algorithm::ALL.into_iter().find(|known| ALGORITHMS.get(*index) == Some(&known.as_str()))
    }
}

/// Reads a value. What does not fit is complained about; of a list the good entries remain.
/// The value's file begins at the octet `base` of the text of all files.
pub(super) fn convert(
    kind: &Kind,
    value: &Spanned<DeValue<'_>>,
    base: usize,
    out: &mut Complaints,
) -> Option<Value> {
    match *kind {
        Kind::Bool => bool(value, out).map(Value::Bool),
        Kind::Integer { min, max } => integer(value, min, max, out).map(Value::Integer),
        Kind::Group => leaf(value, out, spelling::group).map(Value::Text),
        Kind::Label => leaf(value, out, spelling::label).map(Value::Text),
        Kind::Choice(words) => leaf(value, out, |text| choice(text, words)).map(Value::Choice),
        Kind::Duration { min, max } => {
            quantity(value, "30s", out, |text| duration(text, min, max, false)).map(Value::Duration)
        }
        Kind::Ttl { min, max } => {
            quantity(value, "30s", out, |text| duration(text, min, max, true)).map(Value::Duration)
        }
        Kind::Size { min, max } => {
            quantity(value, "64 MiB", out, |text| size(text, min, max)).map(Value::Integer)
        }
        Kind::Path => leaf(value, out, path).map(Value::Path),
        Kind::Name => leaf(value, out, spelling::domain).map(Value::Name),
        Kind::Names { min } => list(value, min, base, out, spelling::domain).map(Value::Names),
        Kind::Listen => list(value, 1, base, out, address::listen).map(Value::Listen),
        Kind::Allow => list(value, 0, base, out, address::allow).map(Value::Allow),
        Kind::Networks { min } => {
            list(value, min, base, out, address::clients).map(Value::Networks)
        }
        Kind::Addresses { min } => {
            list(value, min, base, out, address::address).map(Value::Addresses)
        }
        Kind::Url => leaf(value, out, url::url).map(Value::Url),
        Kind::UrlPaths => list(value, 1, base, out, url::url_path).map(Value::UrlPaths),
        Kind::Primaries => list(value, 1, base, out, address::primary).map(Value::Primaries),
        Kind::ListUrl => leaf(value, out, url::list_url).map(Value::Url),
        Kind::Checksum => leaf(value, out, url::checksum).map(Value::Checksum),
        Kind::Base64 => leaf(value, out, tsig::base64).map(Value::Base64),
        Kind::Status => leaf(value, out, address::status).map(Value::Status),
        Kind::Action => leaf(value, out, action).map(Value::Action),
        Kind::Hits => leaf(value, out, hits).map(Value::Hits),
        Kind::UntilLoaded => leaf(value, out, until_loaded).map(Value::UntilLoaded),
    }
}

/// The type of a value with its article.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value that is one string.
fn leaf<T>(
    value: &Spanned<DeValue<'_>>,
    out: &mut Complaints,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    let at = value.span().start;
    let result = match value.get_ref() {
        DeValue::String(text) => read(text),
        other => Err(format!("a string is needed, not {}", type_of(other))),
    };
    result.map_err(|message| out.push((at, message))).ok()
}

/// A string with a unit; an integer gets the advice to add one.
fn quantity<T>(
    value: &Spanned<DeValue<'_>>,
    example: &str,
    out: &mut Complaints,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<T> {
    match value.get_ref() {
        DeValue::Integer(number) => {
            out.push((value.span().start, no_unit(number.as_str(), example)));
            None
        }
        _ => leaf(value, out, read),
    }
}

/// A list of strings: each entry once, at least `min` and at most `MAX_LIST` of them.
fn list<T: Eq + Hash + Clone>(
    value: &Spanned<DeValue<'_>>,
    min: usize,
    base: usize,
    out: &mut Complaints,
    read: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<At<T>>> {
    let at = value.span().start;
    let DeValue::Array(entries) = value.get_ref() else {
        let cure = if value.get_ref().is_str() { "; put it in [ ]" } else { "" };
        let found = type_of(value.get_ref());
        out.push((at, format!("a list of strings is needed, not {found}{cure}")));
        return None;
    };
    if entries.len() < min {
        out.push((at, "the list is empty; give at least one entry".to_owned()));
    }
    if entries.len() > MAX_LIST {
        out.push((at, format!("the list has more than {MAX_LIST} entries")));
        return None;
    }
    let mut seen = HashSet::new();
    let mut good = Vec::new();
    for entry in entries {
        let at = entry.span().start;
        let Some(value) = leaf(entry, out, &read) else { continue };
        if seen.insert(value.clone()) {
            good.push(At { at: base + at, value });
        } else {
            out.push((at, "this entry is in the list already; take it out".to_owned()));
        }
    }
    Some(good)
}

fn bool(value: &Spanned<DeValue<'_>>, out: &mut Complaints) -> Option<bool> {
    let found = match value.get_ref() {
        DeValue::Boolean(value) => return Some(*value),
        DeValue::String(text) if matches!(text.as_ref(), "true" | "false") => {
            "a string; take the quotation marks away"
        }
        other => type_of(other),
    };
    out.push((value.span().start, format!("true or false is needed, not {found}")));
    None
}

fn integer(value: &Spanned<DeValue<'_>>, min: u64, max: u64, out: &mut Complaints) -> Option<u64> {
    let at = value.span().start;
    let number = match value.get_ref() {
        DeValue::Integer(number) => number,
        other => {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let quoted = other.as_str().is_some_and(digits);
            let cure = if quoted { "; take the quotation marks away" } else { "" };
            out.push((at, format!("an integer is needed, not {}{cure}", type_of(other))));
            return None;
        }
    };
    match to_u64(number).filter(|number| (min..=max).contains(number)) {
        Some(number) => Some(number),
        None if min == max => {
            out.push((at, format!("must be {min}")));
            None
        }
        None => {
            let number = quote(number.as_str());
            let number = number.trim_matches('"');
            out.push((at, format!("{number} is out of range; {min} to {max} is allowed")));
            None
        }
    }
}

/// `None` if the number is negative or larger than any range here.
fn to_u64(number: &DeInteger<'_>) -> Option<u64> {
    u64::from_str_radix(number.as_str(), number.radix()).ok()
}

fn choice(text: &str, words: &[&str]) -> Result<usize, String> {
    words.iter().position(|word| *word == text).ok_or_else(|| not_among(text, words))
}

fn duration(text: &str, min: Duration, max: Duration, whole: bool) -> Result<Duration, String> {
    let length = quantity::duration(text)?;
    if length < min || length > max {
        let range = format!("{} to {}", show_duration(min), show_duration(max));
        return Err(format!("{} is out of range; {range} is allowed", quote(text)));
    }
    if whole && length.subsec_nanos() != 0 {
        return Err(format!("{} is not a number of whole seconds", quote(text)));
    }
    Ok(length)
}

fn size(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let octets = quantity::size(text)?;
    if octets < min || octets > max {
        let range = format!("{} to {}", show_size(min), show_size(max));
        return Err(format!("{} is out of range; {range} is allowed", quote(text)));
    }
    Ok(octets)
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.contains("://") {
        return Err(format!("{} is a URL; a path is needed", quote(text)));
    }
    if text.is_empty() || text.len() > MAX_FILE_PATH || text.contains('\0') {
        return Err("the path is empty, too long, or has a zero octet".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn action(text: &str) -> Result<Action, String> {
    Ok(match text {
        "given" => Action::Given,
        "passthru" => Action::Passthru,
        "drop" => Action::Drop,
        "tcp-only" => Action::TcpOnly,
        "nxdomain" => Action::Nxdomain,
        "nodata" => Action::Nodata,
        _ => match text.strip_prefix("cname:") {
            Some(target) => Action::Cname(spelling::domain(target)?),
            None => return Err(format!("{} (or \"cname:NAME\")", not_among(text, ACTIONS))),
        },
    })
}

fn hits(text: &str) -> Result<Hits, String> {
    match text {
        "journal" => return Ok(Hits::Journal),
        "stderr" => return Ok(Hits::Stderr),
        _ => {}
    }
    // without this a slip of the pen would become a file's name
    if !text.contains('/') {
        let mut message = format!(
            "{} is neither \"journal\" nor \"stderr\" nor a path with a \"/\"",
            quote(text)
        );
        if let Some(nearest) = nearest(text, ["journal", "stderr"]) {
            message.push_str(&format!("; did you mean \"{nearest}\"?"));
        }
        return Err(message);
    }
    path(text).map(Hits::File)
}

fn until_loaded(text: &str) -> Result<UntilLoaded, String> {
    if text == "servfail" {
        return Ok(UntilLoaded::Servfail);
    }
    match text.strip_prefix("open-after-").map(quantity::duration) {
        Some(Ok(length)) => Ok(UntilLoaded::OpenAfter(length)),
        _ => {
            let cure = "write \"servfail\" or for example \"open-after-30s\"";
            Err(format!("{} is not known here; {cure}", quote(text)))
        }
    }
}
