//! Why a fetch brought nothing: whose fault it is, and what to do. A URL's path is never shown.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::upstream::{Stage, TlsFault};

/// Why a fetch brought nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was being fetched.
    pub piece: Piece,
    /// The host that was asked, which may be one that a redirect led to.
    pub host: String,
    /// The address that was asked, of several the last.
    pub at: Option<SocketAddr>,
    /// What went wrong.
    pub fault: Fault,
}

/// What was being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// The list.
    List,
    /// The page with its checksum.
    Checksum,
}

/// What can go wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operator's URL cannot be used.
    Url,
    /// TLS cannot be set up on this side: the file of roots, say.
    Setup(String),
    /// The host's address is not known, and why.
    Resolve(String),
    /// There is no connection, and why.
    Connect(String),
    /// TCP or TLS was not ready in time.
    Handshake(Stage),
    /// TLS was refused.
    Tls(TlsFault),
    /// What came is not HTTP, or its head is beyond all bounds.
    Http(String),
    /// No answer's head within this time.
    NoAnswer(Duration),
    /// An HTTP status that brings nothing.
    Status(u16),
    /// HTTP 429 or 503, and how long to wait if the host said so.
    Busy(u16, Option<Duration>),
    /// One redirect after the other.
    Redirects,
    /// A redirect that leads nowhere.
    BadRedirect,
    /// A redirect away from https.
    PlainRedirect,
    /// HTTP 304, though no version was known.
    Unasked,
    /// The body is packed in a way that was not asked for.
    Packing,
    /// The gzip of the body is damaged or cut.
    Garbled,
    /// More than so many octets.
    TooLarge(u64),
    /// The connection ended before the body did.
    Cut,
    /// Nothing of the body came for so long.
    Stalled(Duration),
    /// So few octets of the body came in so long a time.
    TooSlow(u64, Duration),
    /// All together took longer than this.
    TooLong(Duration),
    /// There was nothing in it.
    Empty,
    /// The page has no checksum.
    NoChecksum,
    /// The list is not the one that the checksum is of.
    Mismatch(Box<Mismatch>),
}

/// Two SHA-256 checksums that should be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// That of the list.
    pub found: [u8; 32],
    /// That of the configuration, or as published.
    pub wanted: [u8; 32],
}

impl Failure {
    /// How long the host asked to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.fault {
            Fault::Busy(_, wait) => wait,
            _ => None,
        }
    }
}

impl Fault {
    /// Another address of the same host may do better.
    pub(super) fn is_of_the_address(&self) -> bool {
        match self {
            Fault::Connect(_)
            | Fault::Handshake(_)
            | Fault::Tls(_)
            | Fault::Http(_)
            | Fault::NoAnswer(_)
            | Fault::Garbled
            | Fault::Cut
            | Fault::Stalled(_)
            | Fault::TooSlow(..) => true,
            Fault::Status(code) => *code >= 500,
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.piece == Piece::Checksum {
            f.write_str("the checksum of the list: ")?;
        }
        if !self.host.is_empty() {
            f.write_str(&self.host)?;
            if let Some(at) = self.at.filter(|at| at.ip().to_string() != self.host) {
                write!(f, " ({at})")?;
            }
            f.write_str(": ")?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_up = "is the host up, and may this one reach it?";
        match self {
            Fault::Url => f.write_str("the URL cannot be used; write \"https://host/path\""),
            Fault::Setup(why) => write!(f, "TLS cannot be set up on this host: {why}"),
            Fault::Resolve(why) => {
                write!(f, "its address cannot be looked up: {why}; `addresses` does without")
            }
            Fault::Connect(why) => write!(f, "no connection: {why}; {is_up}"),
            Fault::Handshake(Stage::Tcp) => write!(f, "no TCP connection in time; {is_up}"),
            Fault::Handshake(Stage::Tls) => f.write_str("TLS handshake not finished in time"),
            Fault::Tls(fault) => write!(f, "TLS: {fault}"),
            Fault::Http(why) => write!(f, "the host's answer is not good HTTP: {why}"),
            Fault::NoAnswer(limit) => write!(f, "the host did not answer within {}", Time(*limit)),
            Fault::Status(code) => write!(f, "HTTP {code}: {}", status_meaning(*code)),
            Fault::Busy(code, None) => write!(f, "HTTP {code}: the host asks to come later"),
            Fault::Busy(code, Some(wait)) => {
                write!(f, "HTTP {code}: the host asks to come again in {}", Time(*wait))
            }
            Fault::Redirects => {
                f.write_str("the host redirects again and again; set `url` to where the list is")
            }
            Fault::BadRedirect => f.write_str("the host redirects to nowhere"),
            Fault::PlainRedirect => {
                f.write_str("the host redirects to what is not https; that is not followed")
            }
            Fault::Unasked => f.write_str("the host calls unchanged what was asked for in full"),
            Fault::Packing => f.write_str("the host packed the list in a way nobody asked for"),
            Fault::Garbled => f.write_str("the gzip of the answer is damaged or cut short"),
            Fault::TooLarge(limit) => {
                write!(f, "longer than {limit} octets; raise the limit if it may be")
            }
            Fault::Cut => f.write_str("the connection ended before the answer did"),
            Fault::Stalled(limit) => write!(f, "nothing came for {}; given up", Time(*limit)),
            Fault::TooSlow(octets, span) => {
                write!(f, "only {octets} octets came in {}; given up", Time(*span))
            }
            Fault::TooLong(limit) => write!(f, "not finished within {}; given up", Time(*limit)),
            Fault::Empty => {
                f.write_str("the list is empty; if that is meant, it needs a comment in it")
            }
            Fault::NoChecksum => f.write_str("the page has no 64 hexadecimal digits"),
            Fault::Mismatch(sums) => sums.fmt(f),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, wanted) = (Hex(&self.found), Hex(&self.wanted));
        write!(
            f,
            "the list's SHA-256 checksum is {found}, and should be {wanted}: one of them is not \
             the newest, or the list was tampered with"
        )
    }
}

/// What an HTTP status means to the operator of a list.
fn status_meaning(status: u16) -> &'static str {
    match status {
        401 | 403 => "the host refuses; is the path right, and the subscription valid?",
        404 | 410 => "there is no such list; has it moved? correct `url`",
        400..=499 => "the host does not like the request; is `url` right?",
        500..=599 => "the host is out of order",
        _ => "an answer that brings no list",
    }
}

/// A time in words, short ones in milliseconds.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            0 => write!(f, "{} ms", self.0.as_millis()),
            seconds => write!(f, "{seconds} s"),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
