//! What can go wrong, in words: a fault belongs to one try or one connection, a failure to a
//! whole question.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::dns::answer::AnswerFault;

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No backend is up, and none could be tried.
    NoBackend,
    /// Every try failed; this is the last one's fault.
    Transport(Fault),
    /// The time for the question was over before an answer came.
    Timeout,
    /// Too many questions were waiting, and this one was the oldest.
    Shed,
    /// A fault in this program ended the look-up.
    Panicked,
}

impl Failure {
    /// The extended DNS error that tells the client (RFC 8914): 22 nothing reachable,
    /// 23 network error, 0 for what is this server's own doing.
    pub fn ede(&self) -> u16 {
        match self {
            Failure::NoBackend => 22,
            Failure::Transport(_) | Failure::Timeout => 23,
            Failure::Shed | Failure::Panicked => 0,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoBackend => f.write_str("no backend of the upstream is up"),
            Failure::Transport(fault) => fmt::Display::fmt(fault, f),
            Failure::Timeout => f.write_str("no backend answered in time"),
            Failure::Shed => f.write_str("too many questions were waiting for the upstream"),
            Failure::Panicked => f.write_str("internal fault while asking the upstream"),
        }
    }
}

impl std::error::Error for Failure {}

/// What went wrong with one try or one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No TCP connection.
    Connect(io::ErrorKind),
    /// TCP or TLS was not ready in time.
    Handshake(Stage),
    /// TLS refused, by us or by the backend.
    Tls(TlsFault),
    /// The connection ended with an HTTP/2 error.
    Http2(h2::Reason),
    /// The connection ended while answers were due on it.
    Broken,
    /// Nothing arrived on the open connection any more, a PING was not answered either.
    PathDead,
    /// The backend said that it did not look at the request.
    NotProcessed,
    /// The backend reset the request.
    Reset(h2::Reason),
    /// The connection is alive, but answers do not come.
    Unanswered,
    /// HTTP 401, 403 or 404.
    WrongPath(u16),
    /// HTTP 429 or 503, and what Retry-After said.
    Limited(u16, Option<Duration>),
    /// Any other status that is not 2xx.
    Status(u16),
    /// The answer is not `application/dns-message`.
    ContentType,
    /// The answer is longer than a DNS message can be.
    TooLarge,
    /// The answer is no answer to the question.
    Answer(AnswerFault),
    /// Other questions fail or time out here while the peers answer them.
    Worse,
    /// All streams are in use.
    Busy,
    /// This program ran out of file descriptors or ports.
    NoSocket,
    /// Connecting again must wait a little.
    ConnectLimit,
    /// The connecting task ended without a word.
    Internal,
}

/// How far a handshake got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP did not connect.
    Tcp,
    /// TCP did, TLS did not.
    Tls,
}

/// Why TLS was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    NotYetValid,
    /// The certificate is for other names.
    WrongName,
    /// Nobody we trust signed the certificate.
    UnknownCa,
    /// HTTP/2 was not agreed on.
    NoHttp2,
    /// The backend speaks no TLS 1.2 or 1.3.
    Version,
    /// Anything else, in the TLS library's words.
    Other(String),
}

/// What a fault says about the health of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The way to it or its process is broken. Counted once for each connection.
    Connection,
    /// It answers, but not with service: wrong path or HTTP errors.
    Sick,
    /// It asked to be left alone.
    Limited,
    /// One request went wrong; others may do well.
    Request,
    /// Nothing: our own bounds were reached.
    Own,
}

impl Fault {
    /// What the fault says about the backend.
    pub(super) fn class(&self) -> Class {
        match self {
            Fault::Connect(_)
            | Fault::Handshake(_)
            | Fault::Tls(_)
            | Fault::Http2(_)
            | Fault::Broken
            | Fault::PathDead
            | Fault::Unanswered => Class::Connection,
            Fault::WrongPath(_) | Fault::Status(_) => Class::Sick,
            Fault::Limited(..) => Class::Limited,
            Fault::NotProcessed
            | Fault::Reset(_)
            | Fault::ContentType
            | Fault::TooLarge
            | Fault::Answer(_)
            | Fault::Worse => Class::Request,
            Fault::Busy | Fault::NoSocket | Fault::ConnectLimit | Fault::Internal => Class::Own,
        }
    }

    /// The backend certainly cannot be used now: one such fault is proof enough if another
    /// backend is up.
    pub(super) fn is_proof(&self) -> bool {
        matches!(self, Fault::Tls(_) | Fault::PathDead)
            || matches!(self, Fault::Connect(io::ErrorKind::ConnectionRefused))
    }

    /// The fault for an error of a socket that was to be opened. Want of file descriptors or
    /// ports is our own.
    pub(super) fn of_socket(error: &io::Error) -> Fault {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let own = matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
            || error.kind() == io::ErrorKind::AddrNotAvailable;
        if own { Fault::NoSocket } else { Fault::Connect(error.kind()) }
    }

    /// The fault for an error that a stream of a connection ended with.
    pub(super) fn of_stream(error: &h2::Error) -> Fault {
        match error.reason() {
            _ if error.is_io() => Fault::Broken,
            Some(h2::Reason::REFUSED_STREAM) if error.is_remote() => Fault::NotProcessed,
            Some(_) if error.is_go_away() && error.is_remote() => Fault::NotProcessed,
            Some(reason) if error.is_reset() => Fault::Reset(reason),
            Some(reason) => Fault::Http2(reason),
            None => Fault::Broken,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Connect(io::ErrorKind::ConnectionRefused) => f.write_str("connection refused"),
            Fault::Connect(kind) => write!(f, "cannot connect: {kind}"),
            Fault::Handshake(Stage::Tcp) => f.write_str("no TCP connection in time"),
            Fault::Handshake(Stage::Tls) => f.write_str("TLS handshake not finished in time"),
            Fault::Tls(fault) => write!(f, "TLS: {fault}"),
            Fault::Http2(reason) => write!(f, "HTTP/2 connection ended: {reason}"),
            Fault::Broken => f.write_str("connection broke"),
            Fault::PathDead => f.write_str("connection went silent, PING not answered"),
            Fault::NotProcessed => f.write_str("backend refused the request unread"),
            Fault::Reset(reason) => write!(f, "backend reset the request: {reason}"),
            Fault::Unanswered => f.write_str("backend does not answer questions"),
            Fault::WrongPath(status) => {
                write!(f, "HTTP {status}: wrong or retired path, or not provisioned yet")
            }
            Fault::Limited(status, None) => write!(f, "HTTP {status}: asked to slow down"),
            Fault::Limited(status, Some(wait)) => {
                write!(f, "HTTP {status}: asked to wait {} s", wait.as_secs())
            }
            Fault::Status(status) => write!(f, "HTTP {status}: {}", status_meaning(*status)),
            Fault::ContentType => f.write_str("answer is not application/dns-message"),
            Fault::TooLarge => f.write_str("answer is longer than 65,535 octets"),
            Fault::Answer(fault) => fmt::Display::fmt(fault, f),
            Fault::Worse => f.write_str("fails questions that its peers answer"),
            Fault::Busy => f.write_str("all streams are in use"),
            Fault::NoSocket => f.write_str("no file descriptor or port left (LimitNOFILE?)"),
            Fault::ConnectLimit => f.write_str("not connecting again so soon"),
            Fault::Internal => f.write_str("internal fault while connecting"),
        }
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TlsFault::Expired => "certificate has expired",
            TlsFault::NotYetValid => "certificate is not valid yet (is this host's clock right?)",
            TlsFault::WrongName => "certificate is for another name",
            TlsFault::UnknownCa => "certificate is not signed by a trusted CA",
            TlsFault::NoHttp2 => "backend does not offer HTTP/2 (ALPN h2)",
            TlsFault::Version => "backend offers neither TLS 1.2 nor TLS 1.3",
            TlsFault::Other(words) => words,
        })
    }
}

/// What an HTTP status means to the operator of a DoH service.
pub(super) fn status_meaning(status: u16) -> &'static str {
    match status {
        200..=299 => "answered",
        300..=399 => "redirects are not followed; check the URL",
        401 | 403 | 404 => "wrong or retired path, or not provisioned yet",
        405 => "the service does not take POST",
        413 => "the service finds the question too long",
        415 => "the service does not take application/dns-message",
        429 => "too many requests",
        400..=499 => "the service does not like the request",
        503 => "the service is not available now",
        _ => "the service is out of order",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_their_extended_error() {
        assert_eq!(Failure::NoBackend.ede(), 22);
        assert_eq!(Failure::Transport(Fault::Broken).ede(), 23);
        assert_eq!(Failure::Timeout.ede(), 23);
        assert_eq!(Failure::Shed.ede(), 0);
    }

    #[test]
    fn words_name_the_cause() {
        let fault = Fault::Tls(TlsFault::WrongName);
        assert_eq!(fault.to_string(), "TLS: certificate is for another name");
        let words = Fault::WrongPath(404).to_string();
        assert_eq!(words, "HTTP 404: wrong or retired path, or not provisioned yet");
    }

    #[test]
    fn one_refused_connection_is_proof_and_one_slow_one_is_not() {
        assert!(Fault::Connect(io::ErrorKind::ConnectionRefused).is_proof());
        assert!(!Fault::Connect(io::ErrorKind::TimedOut).is_proof());
        assert!(!Fault::Handshake(Stage::Tcp).is_proof());
    }
}
