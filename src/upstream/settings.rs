//! What an upstream is told by the configuration. Comparing two of these is how a reload finds
//! out what changed.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One upstream: a name, where it is, and how much may wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The operator's name for it; appears in logs, metrics and status.
    pub name: String,
    /// DoH or plain DNS, and the addresses.
    pub kind: Kind,
    /// Most questions in flight at once; beyond it the oldest is given up.
    pub max_in_flight: usize,
}

/// How an upstream is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DNS over HTTPS (RFC 8484) over HTTP/2.
    Doh(DohSettings),
    /// Plain DNS over UDP, and TCP where an answer is truncated (RFC 1035, RFC 7766).
    Plain {
        /// The servers, equal among each other.
        servers: Vec<SocketAddr>,
    },
}

/// A DoH service. Its host name is never looked up: the addresses are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DohSettings {
    /// Host of the URL: the name in the certificate and in `:authority`. May be an IP literal
    /// (IPv6 without brackets).
    pub host: String,
    /// Port of the URL; belongs to `:authority`.
    pub port: u16,
    /// Paths of the URL, tried in order.
    pub paths: Vec<Path>,
    /// Backends of the first choice.
    pub addresses: Vec<SocketAddr>,
    /// Backends that are used while no address of the first choice is up.
    pub standby: Vec<SocketAddr>,
    /// Certificates to trust instead of the system's.
    pub ca: Option<PathBuf>,
}

/// The path of a service's URL. It identifies the customer, so it is a secret: it can be sent,
/// but not printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Path {
    number: usize,
    secret: Box<str>,
}

impl Path {
    /// The path number `number` (counted from 1) of an upstream, as it stands in the URL.
    pub fn new(number: usize, path: &str) -> Result<Path, PathFault> {
        if !path.starts_with('/') {
            return Err(PathFault::NoSlash);
        }
        if path.contains(['?', '#']) {
            return Err(PathFault::Query);
        }
        http::uri::PathAndQuery::try_from(path).map_err(|_| PathFault::Character)?;
        Ok(Path { number, secret: path.into() })
    }

    /// Which path of the upstream it is, counted from 1.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The path itself, for the request only.
    pub(super) fn reveal(&self) -> &str {
        &self.secret
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {}", self.number)
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why text is no path of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It does not begin with a slash.
    NoSlash,
    /// It has a `?` or `#`; questions are sent by POST, a path is all that is needed.
    Query,
    /// A character that must be written as %XX.
    Character,
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PathFault::NoSlash => "the path of the URL must begin with \"/\"",
            PathFault::Query => "the URL must end with its path, without \"?\" and \"#\"",
            PathFault::Character => "the path of the URL has a character that must be written %XX",
        })
    }
}

impl std::error::Error for PathFault {}

/// Why an upstream cannot be set up. The operator can mend all of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// No backend address is given.
    NoAddress,
    /// No path is given.
    NoPath,
    /// The host is neither a DNS name nor an IP address.
    Host(String),
    /// The file with the certificates cannot be read.
    CaUnreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: String,
    },
    /// No usable certificate was found.
    NoRoots {
        /// Where they were looked for.
        place: String,
    },
    /// The TLS library refused the set-up.
    Tls(String),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetupError::NoAddress => f.write_str("the upstream has no address"),
            SetupError::NoPath => f.write_str("the upstream's URL has no path"),
            SetupError::Host(host) => {
                write!(f, "{host:?} is neither a host name nor an IP address")
            }
            SetupError::CaUnreadable { path, error } => {
                write!(f, "cannot read the CA file {}: {error}", path.display())
            }
            SetupError::NoRoots { place } => write!(
                f,
                "no usable CA certificate in {place}; install ca-certificates or set `ca`"
            ),
            SetupError::Tls(error) => write!(f, "TLS cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for SetupError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_never_printed() {
        let path = Path::new(2, "/customer/secret").unwrap();
        assert_eq!(format!("{path} {path:?}"), "path 2 path 2");
        assert_eq!(path.reveal(), "/customer/secret");
    }

    #[test]
    fn bad_paths_are_refused() {
        assert_eq!(Path::new(1, "dns-query"), Err(PathFault::NoSlash));
        assert_eq!(Path::new(1, "/dns-query{?dns}"), Err(PathFault::Query));
        assert_eq!(Path::new(1, "/a b"), Err(PathFault::Character));
    }
}
