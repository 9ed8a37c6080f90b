//! Lists on the web: one fetch over HTTPS, and the rules made of what came.
//!
//! ```text
//!   fetch ─► target     the URL, and where a redirect leads
//!            addresses  the operator's own, for the list's host only; else the resolver's
//!            connect    TCP and TLS, the host's name checked
//!            exchange   one request, the answer's head
//!            body       the list: stall, pace, gzip, size
//!            checksum   the list's octets against a sum that was given or is published
//!     └─► NotModified, or the text ─► rules ─► ZoneRules
//! ```
//!
//! A fetch keeps no state: what it must know of the last one, its caller keeps and hands in.
//! Every fault says whose it is. Of a URL only the host is shown, since paths may be secrets.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{Checksum, Download, Source};
use crate::limits::download as limits;
use crate::policy::rules::ZoneRules;
use crate::rpz::{self, Limits, ZoneError};

mod body;
mod checksum;
mod connect;
mod errand;
mod exchange;
mod failure;
mod target;

pub use failure::{Failure, Fault, Mismatch, Piece};

use errand::Errand;

/// Finds the addresses of a list's host where the operator gave none.
pub trait Resolver: Send + Sync {
    /// The addresses of `host`, or in words why there are none.
    fn addresses<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>>;
}

/// What a server said about the version of a list, to ask later whether there is a newer one
/// (RFC 9110 section 8.8). They belong to one URL, and are of use only as long as the rules made
/// of that version are there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// ETag.
    pub etag: Option<String>,
    /// Last-Modified.
    pub last_modified: Option<String>,
}

/// What a fetch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The version that was known is still the newest.
    NotModified,
    /// A list.
    List {
        /// Its octets, unpacked.
        text: Vec<u8>,
        /// What to ask with next time.
        validators: Validators,
    },
}

/// How much a fetch may take, and how patient it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most octets of the list, unpacked.
    pub max_bytes: u64,
    /// For TCP, and as much again for TLS.
    pub connect: Duration,
    /// From the request to the end of the answer's head.
    pub head: Duration,
    /// Without an octet of the body.
    pub stall: Duration,
    /// In each span of this length ...
    pub window: Duration,
    /// ... so many octets of the body must arrive.
    pub window_octets: u64,
    /// For everything.
    pub whole: Duration,
}

impl Bounds {
    /// The patience of [`crate::limits::download`] for a list of at most so many octets.
    pub fn of(max_bytes: u64) -> Bounds {
        Bounds {
            max_bytes,
            connect: limits::CONNECT,
            head: limits::HEAD,
            stall: limits::STALL,
            window: limits::WINDOW,
            window_octets: limits::WINDOW_OCTETS,
            whole: limits::WHOLE,
        }
    }
}

/// Fetches a list, of at most `max_bytes` octets when unpacked, unless `known` is still its
/// newest version. Its checksum, if it has one, is that of the octets as they are once the
/// transport's packing (Content-Encoding) is undone: of the file that its publisher hashed. A
/// published checksum is fetched after the list, by the same rules.
///
/// Reads the file of roots anew each time: not for a serving thread.
pub async fn fetch(
    list: &Download,
    known: &Validators,
    resolver: &dyn Resolver,
    max_bytes: u64,
) -> Result<Fetched, Failure> {
    fetch_within(list, known, resolver, &Bounds::of(max_bytes)).await
}

/// As [`fetch`], with a patience of its own.
pub async fn fetch_within(
    list: &Download,
    known: &Validators,
    resolver: &dyn Resolver,
    bounds: &Bounds,
) -> Result<Fetched, Failure> {
    let errand = Errand::new(list, resolver, bounds)?;
    let whole = async {
        let fetched = errand.list(known).await?;
        if let (Fetched::List { text, .. }, Some(sum)) = (&fetched, &list.sha256) {
            let wanted = match sum {
                Checksum::Fixed(sum) => *sum,
                Checksum::At(url) => errand.checksum(url).await?,
            };
            checksum::compare(text, wanted).map_err(|fault| errand.failure(fault))?;
        }
        Ok(fetched)
    };
    let in_time = tokio::time::timeout(bounds.whole, whole).await;
    in_time.unwrap_or_else(|_| Err(errand.failure(Fault::TooLong(bounds.whole))))
}

/// Makes rules of a list's text. A list has no serial of its own and gets the time it was changed
/// by its server, else the time now; a zone file keeps that of its SOA. Blocks, for seconds with
/// millions of rules.
pub fn rules(
    text: &[u8],
    validators: &Validators,
    source: &Source,
) -> Result<ZoneRules, ZoneError> {
    let limits = Limits {
        max_rules: source.max_rules,
        max_bytes: source.care.max_bytes,
        ..Limits::default()
    };
    let modified = validators.seconds(SystemTime::now());
    let name = source.origin.to_string();
    let zone = &source.settings.name;
    rpz::parse_as_of(modified, text, Path::new(&name), zone, source.form, &limits)
}

impl Validators {
    /// When the list was changed, in seconds since 1970; never later than now.
    fn seconds(&self, now: SystemTime) -> u32 {
        let said = self.last_modified.as_deref();
        let said = said.and_then(|date| httpdate::parse_http_date(date).ok());
        let when = said.map_or(now, |said| said.min(now));
        // beyond 32 bits it goes round, as serials do (RFC 1982)
        when.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_as_old_as_its_server_says() {
        let now = UNIX_EPOCH + Duration::from_secs(2_000_000_000);
        let at = |date: &str| {
            let last_modified = Some(date.to_owned());
            Validators { etag: None, last_modified }.seconds(now)
        };
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), 784_111_777);
        assert_eq!(at("Sat, 06 Nov 2094 08:49:37 GMT"), 2_000_000_000, "the server's clock is off");
        assert_eq!(at("yesterday"), 2_000_000_000);
        assert_eq!(Validators::default().seconds(now), 2_000_000_000);
    }

    #[test]
    fn validators_are_kept_as_json() {
        let kept = Validators { etag: Some("\"7\"".into()), last_modified: None };
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(serde_json::from_str::<Validators>(&text).unwrap(), kept);
    }

    #[test]
    fn a_fetch_may_move_between_threads() {
        fn is_send<T: Send>(_: impl FnOnce(&'static Download, &'static dyn Resolver) -> T) {}
        static NONE: Validators = Validators { etag: None, last_modified: None };
        is_send(|list, resolver| fetch(list, &NONE, resolver, 1));
    }
}
