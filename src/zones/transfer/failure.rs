//! Why a transfer failed: whose fault it is, and what to do.

use std::fmt;

use super::framing::{Fault, Stop};
use crate::dns::{rcode, tsig};

/// A transfer, or a look at a primary's SOA, that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub why: Why,
    /// The primary, as the operator wrote it.
    primary: Box<str>,
    /// The zone.
    zone: Box<str>,
    /// Changes were asked for.
    changes: bool,
}

/// Why a transfer failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// TCP did not connect, in the system's words.
    Connect(String),
    /// TCP was not connected in time.
    ConnectTimeOut,
    /// TLS failed.
    Tls(String),
    /// The primary is to be spoken to over TLS, and no roots were given.
    NoRoots,
    /// The connection broke, in the system's words.
    Broken(String),
    /// The primary closed the connection in the middle.
    Cut,
    /// No complete message for too long.
    Stalled,
    /// Too few octets in this many seconds.
    TooSlow {
        /// Octets that came.
        octets: u64,
        /// In so many seconds.
        seconds: u64,
    },
    /// The transfer takes too long in all.
    TooLong,
    /// More octets than the zone may have, which is this many.
    TooManyOctets(u64),
    /// The primary refuses, with this response code.
    Refused(u16),
    /// The primary has no changes for us, but may have the whole zone.
    NoChanges(NoChanges),
    /// The signature of the answer, or what the primary says about ours.
    Signature(tsig::Fault),
    /// The answer is not one that can be taken.
    Answer(Fault),
    /// What happened in the middle of a transfer.
    Within {
        /// Records that had come, the one at fault included.
        records: u64,
        /// What happened.
        why: Box<Why>,
    },
}

/// How a primary says that it has no changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoChanges {
    /// With a response code: NOTIMP, FORMERR, REFUSED, SERVFAIL.
    Rcode(u16),
    /// With the SOA of its version and nothing else.
    LoneSoa,
    /// It closed the connection without an answer.
    Closed,
}

impl Failure {
    pub(super) fn new(primary: String, zone: String, why: Why) -> Failure {
        Failure { why, primary: primary.into(), zone: zone.into(), changes: false }
    }

    /// The same, where changes were asked for.
    pub(super) fn among_changes(self) -> Failure {
        Failure { changes: true, ..self }
    }

    /// Changes were asked for, and the same primary may well give the whole zone: it has no
    /// changes, they do not fit, are too many, or are no good.
    pub fn whole_may_help(&self) -> bool {
        let no_good = match self.why.cause() {
            Why::NoChanges(_) | Why::TooManyOctets(_) => true,
            Why::Answer(fault) => !matches!(
                fault,
                Fault::Backwards { .. }
                    | Fault::Undefined { .. }
                    | Fault::Stopped(Stop::Refused(_))
                    | Fault::Rcode(_)
            ),
            _ => false,
        };
        self.changes && no_good
    }
}

impl Why {
    /// With the number of records that had come, if there were any.
    pub(super) fn within(self, records: u64) -> Why {
        match records {
            0 => self,
            records => Why::Within { records, why: Box::new(self) },
        }
    }

    /// What happened, wherever it did.
    pub fn cause(&self) -> &Why {
        match self {
            Why::Within { why, .. } => why.cause(),
            other => other,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { why, primary, zone, .. } = self;
        match why {
            Why::Refused(code) => write_refusal(f, primary, zone, *code),
            Why::Signature(fault) => write!(f, "{primary}: {zone}: {fault}"),
            Why::Within { records, why } => match **why {
                Why::Cut => write!(
                    f,
                    "{primary} cut the transfer of {zone} off after {records} records: look at \
                     its log"
                ),
                Why::Answer(Fault::Stopped(_)) => write!(f, "{primary}: {zone}: {why}"),
                Why::Answer(_) => write!(f, "{primary}: {zone}: record {records}: {why}"),
                _ => write!(f, "{primary}: {zone}: after {records} records: {why}"),
            },
            other => write!(f, "{primary}: {zone}: {other}"),
        }
    }
}

fn write_refusal(f: &mut fmt::Formatter<'_>, primary: &str, zone: &str, code: u16) -> fmt::Result {
    match code {
        rcode::REFUSED => write!(
            f,
            "{primary} refuses the transfer of {zone}: allow this host's address or key there"
        ),
        rcode::NOTAUTH => write!(
            f,
            "{primary} answers NOTAUTH for {zone}: it does not serve this zone, or our key is not \
             the one it has"
        ),
        rcode::SERVFAIL => write!(
            f,
            "{primary} answers SERVFAIL for {zone}: it has no good copy of the zone itself; look \
             at its log"
        ),
        rcode::NXDOMAIN => write!(f, "{primary} does not serve {zone}: check the zone's name"),
        code => write!(f, "{primary} answers {} for {zone}", rcode::text(code)),
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Connect(error) => {
                write!(f, "cannot connect: {error}: is the primary up, and TCP let through?")
            }
            Why::ConnectTimeOut => {
                f.write_str("cannot connect: no answer: is the primary up, and TCP let through?")
            }
            Why::Tls(words) => write!(f, "TLS: {words}"),
            Why::NoRoots => f.write_str("TLS: there are no roots to check certificates with"),
            Why::Broken(error) => write!(f, "the connection broke: {error}"),
            Why::Cut => f.write_str("the primary closed the connection without an answer"),
            Why::Stalled => f.write_str("the primary sends nothing more: it has stalled"),
            Why::TooSlow { octets, seconds } => {
                write!(f, "the primary is too slow: {octets} octets in {seconds} s")
            }
            Why::TooLong => f.write_str("the transfer takes too long"),
            Why::TooManyOctets(most) => {
                write!(f, "more than {most} octets: if that is right, raise the zone's `max_bytes`")
            }
            Why::Refused(code) => write!(f, "the primary answers {}", rcode::text(*code)),
            Why::NoChanges(NoChanges::Rcode(code)) => {
                write!(f, "the primary has no IXFR: it answers {}", rcode::text(*code))
            }
            Why::NoChanges(NoChanges::LoneSoa) => {
                f.write_str("the primary has no IXFR from our serial: it sends its SOA only")
            }
            Why::NoChanges(NoChanges::Closed) => {
                f.write_str("the primary has no IXFR: it closes the connection")
            }
            Why::Signature(fault) => fault.fmt(f),
            Why::Answer(fault) => match fault {
                Fault::NoSoa => f.write_str(
                    "the primary is not authoritative for the zone: check the zone's name, and \
                     that the primary has loaded it",
                ),
                Fault::Backwards { .. } | Fault::Undefined { .. } => {
                    write!(f, "{fault}; `culvert zone retransfer` takes it anyway")
                }
                Fault::TooMany(_) => {
                    write!(f, "{fault}: if that is right, raise the zone's `max_rules`")
                }
                fault => fault.fmt(f),
            },
            Why::Within { records, why } => write!(f, "after {records} records: {why}"),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(why: Why) -> String {
        Failure::new("192.0.2.53".to_owned(), "feed.example".to_owned(), why).to_string()
    }

    #[test]
    fn failures_say_whose_fault_and_what_to_do() {
        for (why, expected) in [
            (
                Why::Refused(rcode::REFUSED),
                "192.0.2.53 refuses the transfer of feed.example: allow this host's address or \
                 key there",
            ),
            (
                Why::Cut.within(812),
                "192.0.2.53 cut the transfer of feed.example off after 812 records: look at its \
                 log",
            ),
            (
                Why::Answer(Fault::Chain { expected: 7, got: 9 }).within(2),
                "192.0.2.53: feed.example: record 2: changes begin at serial 9 and not at 7",
            ),
            (
                Why::Stalled.within(5),
                "192.0.2.53: feed.example: after 5 records: the primary sends nothing more: it \
                 has stalled",
            ),
        ] {
            assert_eq!(words(why), expected);
        }
    }
}
