//! Where a policy zone comes from, and what the operator set for its supply.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::timers::Times;
use crate::dns::tsig::Key;
use crate::policy::rules::Soa;
use crate::policy::set::ZoneSettings;
use crate::rpz::Form;

/// One configured zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What its rules may do.
    pub settings: ZoneSettings,
    /// Where its rules are.
    pub origin: Origin,
    /// How they are spelled there; a transfer has no spelling.
    pub form: Form,
    /// A version with more rules is not taken.
    pub max_rules: usize,
    /// How its supply is watched over.
    pub care: Care,
}

/// Where a zone's rules are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of this host.
    File(PathBuf),
    /// Primaries that it is transferred from.
    Transfer(Transfer),
    /// A list on the web.
    Download(Download),
}

/// A zone that is transferred (RFC 5936, RFC 1995).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// The primaries in the order they are tried; never empty.
    pub primaries: Vec<Primary>,
    /// The key that both sides sign with (RFC 8945).
    pub key: Option<Arc<Key>>,
    /// Who may send NOTIFY besides the primaries (RFC 1996).
    pub notify_from: Vec<IpNet>,
    /// PEM file of the roots for primaries over TLS; `None`: the system's.
    pub ca: Option<PathBuf>,
}

/// One primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Primary {
    /// Its address.
    pub address: SocketAddr,
    /// The name on its certificate, if it is spoken to over TLS (RFC 9103).
    pub tls_name: Option<String>,
}

/// A list that is downloaded over HTTPS. Its paths may be secrets, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Download {
    /// The whole URL, https only.
    pub url: String,
    /// Addresses of its host; empty: they are looked up through the default upstream.
    pub addresses: Vec<SocketAddr>,
    /// PEM file of the roots; `None`: the system's.
    pub ca: Option<PathBuf>,
    /// What the list's octets must hash to.
    pub sha256: Option<Checksum>,
    /// Time between looks, before jitter.
    pub every: Duration,
}

/// A SHA-256 checksum, or where it is published.
#[derive(Clone, PartialEq, Eq)]
pub enum Checksum {
    /// The checksum itself.
    Fixed([u8; 32]),
    /// An https URL; the first 64 hexadecimal digits there are the checksum.
    At(String),
}

/// How a transferred or downloaded zone is watched over; a file needs none of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Care {
    /// Cold start without a saved copy: queries fail for this long, then the zone is done
    /// without. `None`: they fail until the zone is there.
    pub open_after: Option<Duration>,
    /// Past the SOA's expire time its rules do not act any more; otherwise they go on, with an
    /// alarm.
    pub withdraw: bool,
    /// A version that loses more than this share of the rules, in percent, is held; 100: none.
    pub max_loss: u8,
    /// A version held for its loss takes effect after this long; `None`: never by itself.
    pub hold_max: Option<Duration>,
    /// Without contact for this many times its refresh time, the zone raises an alarm; 0: never.
    pub alarm_after: u32,
    /// Most octets of one transfer or download.
    pub max_bytes: u64,
}

impl Default for Care {
    fn default() -> Care {
        Care {
            open_after: Some(Duration::from_secs(30)),
            withdraw: false,
            max_loss: 50,
            hold_max: None,
            alarm_after: 3,
            max_bytes: 1 << 30,
        }
    }
}

impl Source {
    /// When to look again: a transferred zone says so itself, for a list the operator does.
    pub(super) fn times(&self, soa: &Soa) -> Times {
        match &self.origin {
            Origin::Download(list) => Times::every(list.every),
            _ => Times::of_soa(soa),
        }
    }
}

impl Origin {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Origin::File(path) => Some(path),
            _ => None,
        }
    }

    /// True if the rules come from another host.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Origin::File(_))
    }
}

impl Transfer {
    /// True if a NOTIFY from this address is listened to, keys aside.
    pub fn hears(&self, from: IpAddr) -> bool {
        self.primaries.iter().any(|primary| primary.address.ip().to_canonical() == from)
            || self.notify_from.iter().any(|net| net.contains(&from))
    }
}

impl fmt::Display for Origin {
    /// As an operator knows it; of a URL only the host, since paths may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File(path) => path.display().fmt(f),
            Origin::Transfer(transfer) => {
                for (i, primary) in transfer.primaries.iter().enumerate() {
                    write!(f, "{}{primary}", if i == 0 { "" } else { ", " })?;
                }
                Ok(())
            }
            Origin::Download(download) => without_path(&download.url).fmt(f),
        }
    }
}

/// What may be shown of a URL.
fn without_path(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    format!("https://{}/...", rest.split(['/', '?', '#']).next().unwrap_or_default())
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Download { url, addresses, ca, sha256, every } = self;
        f.debug_struct("Download")
            .field("url", &without_path(url))
            .field("addresses", addresses)
            .field("ca", ca)
            .field("sha256", sha256)
            .field("every", every)
            .finish()
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checksum::Fixed(sum) => f.debug_tuple("Fixed").field(sum).finish(),
            Checksum::At(url) => f.debug_tuple("At").field(&without_path(url)).finish(),
        }
    }
}

impl fmt::Display for Primary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.tls_name, self.address.port()) {
            (Some(name), 853) => write!(f, "tls://{}#{name}", self.address.ip()),
            (Some(name), _) => write!(f, "tls://{}#{name}", self.address),
            (None, 53) => self.address.ip().fmt(f),
            (None, _) => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
impl Source {
    /// A zone of at most ten rules from one primary, for tests.
    pub(crate) fn example(primary: SocketAddr) -> Source {
        let name = "feed.test".parse().unwrap();
        Source {
            settings: ZoneSettings {
                name,
                mode: crate::policy::set::Mode::Enforce,
                action: crate::policy::set::Override::Given,
                recursive_only: false,
                add_soa: true,
                max_ttl: 5,
                ede: None,
                ede_text: "".into(),
                remote: true,
                log: true,
            },
            origin: Origin::Transfer(Transfer {
                primaries: vec![Primary { address: primary, tls_name: None }],
                key: None,
                notify_from: Vec::new(),
                ca: None,
            }),
            form: Form::Zone,
            max_rules: 10,
            care: Care::default(),
        }
    }
}
