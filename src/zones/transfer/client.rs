//! One primary, asked for its SOA and for a transfer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use super::failure::{Failure, NoChanges, Why};
use super::framing::{Asked, Ended, Fault, Framing, Progress, Soa, Taker, read_serial};
use super::request;
use super::stream::{Patience, Stream};
use crate::dns::name::Name;
use crate::dns::rcode;
use crate::dns::tsig::{self, Key, Sequence, sign_request};
use crate::zones::Primary;

/// What is asked for, and within which bounds.
pub struct Ask<'a> {
    /// The zone.
    pub zone: Name,
    /// What requests are signed with; answers then must be, too.
    pub key: Option<Arc<Key>>,
    /// For primaries over TLS; see [`crate::upstream::client_config`], with the protocol `dot`.
    pub tls: Option<Arc<ClientConfig>>,
    /// Most octets of one transfer.
    pub max_bytes: u64,
    /// Most records of one transfer, SOAs included.
    pub max_records: u64,
    /// How long the primary is waited for.
    pub patience: Patience,
    /// The clock for signatures: seconds since 1970.
    pub now: &'a (dyn Fn() -> u64 + Send + Sync),
}

/// A transfer that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The primary has nothing newer than what we have; the taker got nothing.
    UpToDate,
    /// The whole zone came.
    Whole {
        /// Its serial.
        serial: u32,
        /// Records that came, the SOA at both ends included.
        records: u64,
        /// Octets that came.
        bytes: u64,
    },
    /// Changes to what we have came.
    Changes {
        /// The serial they lead to.
        serial: u32,
        /// Records that came, all SOAs included.
        records: u64,
        /// Octets that came.
        bytes: u64,
    },
}

impl fmt::Display for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fetched::UpToDate => f.write_str("nothing newer"),
            Fetched::Whole { serial, records, .. } => {
                write!(f, "AXFR, serial {serial}, {records} records")
            }
            Fetched::Changes { serial, records, .. } => {
                write!(f, "IXFR, serial {serial}, {records} records")
            }
        }
    }
}

/// The SOA of the zone at this primary, over a connection of its own.
pub async fn serial(primary: &Primary, ask: &Ask<'_>) -> Result<Soa, Failure> {
    Session::connect(primary, ask).await?.serial().await
}

/// Transfers the zone from this primary over a connection of its own: with `have`, what is newer
/// than this serial; otherwise all of it. What the taker got counts only if there is no failure.
pub async fn fetch(
    primary: &Primary,
    ask: &Ask<'_>,
    have: Option<u32>,
    taker: &mut dyn Taker,
) -> Result<Fetched, Failure> {
    Session::connect(primary, ask).await?.fetch(have, taker).await
}

/// A connection to a primary, for the SOA and then the transfer.
pub struct Session<'a> {
    primary: &'a Primary,
    ask: &'a Ask<'a>,
    stream: Stream,
    /// Something was asked over this connection.
    used: bool,
}

impl<'a> Session<'a> {
    /// Connects, and checks the certificate if it is spoken to over TLS.
    pub async fn connect(primary: &'a Primary, ask: &'a Ask<'a>) -> Result<Session<'a>, Failure> {
        let stream = connect(primary, ask).await.map_err(|why| told(primary, ask, why))?;
        Ok(Session { primary, ask, stream, used: false })
    }

    /// The SOA that the primary has now.
    pub async fn serial(&mut self) -> Result<Soa, Failure> {
        self.soa().await.map_err(|why| told(self.primary, self.ask, why))
    }

    /// Transfers the zone; see [`fetch`]. Of no use after a failure.
    pub async fn fetch(
        &mut self,
        have: Option<u32>,
        taker: &mut dyn Taker,
    ) -> Result<Fetched, Failure> {
        let asked = have.map_or(Asked::Whole, Asked::Since);
        self.transfer(asked, taker).await.map_err(|why| {
            let failure = told(self.primary, self.ask, why);
            if have.is_some() { failure.among_changes() } else { failure }
        })
    }

    async fn soa(&mut self) -> Result<Soa, Why> {
        let id = fastrand::u16(..);
        self.stream.begin();
        let signed = self.send(request::soa(&self.ask.zone, id)).await?;
        let mut check = Check::new(self.ask, signed);
        let message = self.stream.message(self.ask.patience.soa_answer).await?;
        let checked = check.message(message).and_then(|()| check.finish());
        let read = || read_serial(message, id, &self.ask.zone).map_err(Why::Answer);
        checked.and_then(|()| read()).map_err(|why| match why {
            Why::Answer(Fault::Rcode(code)) => Why::Refused(code),
            other => other,
        })
    }

    async fn transfer(&mut self, asked: Asked, taker: &mut dyn Taker) -> Result<Fetched, Why> {
        let reused = self.used;
        match self.attempt(asked, taker).await {
            // some primaries close after one answer, and that is no fault
            Err(Why::Cut | Why::Broken(_) | Why::NoChanges(NoChanges::Closed)) if reused => {
                self.stream = connect(self.primary, self.ask).await?;
                self.attempt(asked, taker).await
            }
            other => other,
        }
    }

    async fn attempt(&mut self, asked: Asked, taker: &mut dyn Taker) -> Result<Fetched, Why> {
        let id = fastrand::u16(..);
        self.stream.begin();
        let signed = self.send(request::transfer(&self.ask.zone, id, asked)).await?;
        let mut check = Check::new(self.ask, signed);
        let mut framing = Framing::new(self.ask.zone, id, asked, self.ask.max_records);
        loop {
            let limit = self.limit(&framing);
            let step = match self.stream.message(limit).await {
                Ok(message) => read(message, &mut check, &mut framing, taker),
                Err(why) => Err(why),
            };
            let progress = step.map_err(|why| in_its_place(why, asked, &framing))?;
            if let Progress::Done(ended) = progress {
                check.finish()?;
                return Ok(self.fetched(ended, &framing));
            }
        }
    }

    /// How long the next message may take.
    fn limit(&self, framing: &Framing) -> Duration {
        let patience = &self.ask.patience;
        if framing.is_lone_soa() { patience.lone_soa } else { patience.stall }
    }

    /// Sends a request, signed if there is a key; gives what its answer is checked with.
    async fn send(&mut self, mut message: Vec<u8>) -> Result<Option<Sequence>, Why> {
        let key = self.ask.key.clone();
        let signed = key.map(|key| {
            let mac = sign_request(&mut message, &key, (self.ask.now)());
            Sequence::new(key, mac)
        });
        self.used = true;
        self.stream.send(&message).await?;
        Ok(signed)
    }

    fn fetched(&self, ended: Ended, framing: &Framing) -> Fetched {
        let (records, bytes) = (framing.records(), self.stream.received());
        match ended {
            Ended::UpToDate => Fetched::UpToDate,
            Ended::Whole(serial) => Fetched::Whole { serial, records, bytes },
            Ended::Changes(serial) => Fetched::Changes { serial, records, bytes },
        }
    }
}

async fn connect(primary: &Primary, ask: &Ask<'_>) -> Result<Stream, Why> {
    let tls = match (&primary.tls_name, &ask.tls) {
        (Some(name), Some(config)) => Some((&**name, config)),
        (Some(_), None) => return Err(Why::NoRoots),
        (None, _) => None,
    };
    Stream::connect(primary.address, tls, ask.patience, ask.max_bytes).await
}

fn told(primary: &Primary, ask: &Ask<'_>, why: Why) -> Failure {
    Failure::new(primary.to_string(), ask.zone.to_string(), why)
}

/// One message of a transfer: first whether it is the primary's, then what it says.
fn read(
    message: &[u8],
    check: &mut Check<'_>,
    framing: &mut Framing,
    taker: &mut dyn Taker,
) -> Result<Progress, Why> {
    check.message(message)?;
    framing.message(message, taker).map_err(Why::Answer)
}

/// The signatures of one answer; nothing to check without a key.
struct Check<'a> {
    signed: Option<Sequence>,
    now: &'a (dyn Fn() -> u64 + Send + Sync),
    first: bool,
}

impl<'a> Check<'a> {
    fn new(ask: &Ask<'a>, signed: Option<Sequence>) -> Check<'a> {
        Check { signed, now: ask.now, first: true }
    }

    fn message(&mut self, message: &[u8]) -> Result<(), Why> {
        let first = std::mem::take(&mut self.first);
        let Some(sequence) = &mut self.signed else { return Ok(()) };
        match sequence.check(message, (self.now)()) {
            Ok(_) => Ok(()),
            // a primary that refuses often does not sign that, and there is nothing to believe
            Err(tsig::Fault::Unsigned) if first && code(message) != rcode::NOERROR => {
                Err(Why::Answer(Fault::Rcode(code(message))))
            }
            Err(fault) => Err(Why::Signature(fault)),
        }
    }

    fn finish(&self) -> Result<(), Why> {
        match &self.signed {
            Some(sequence) => sequence.finish().map_err(Why::Signature),
            None => Ok(()),
        }
    }
}

/// The response code in the header.
fn code(message: &[u8]) -> u16 {
    message.get(3).map_or(0, |octet| u16::from(octet & 0xf))
}

/// What a failure means at this place in the answer.
fn in_its_place(why: Why, asked: Asked, framing: &Framing) -> Why {
    let records = framing.records();
    let changes = matches!(asked, Asked::Since(_));
    match why {
        Why::Stalled | Why::Cut if framing.is_lone_soa() => Why::NoChanges(NoChanges::LoneSoa),
        Why::Cut if changes && records == 0 => Why::NoChanges(NoChanges::Closed),
        Why::Answer(Fault::Rcode(code)) if records == 0 => match code {
            rcode::FORMERR | rcode::SERVFAIL | rcode::NOTIMP | rcode::REFUSED if changes => {
                Why::NoChanges(NoChanges::Rcode(code))
            }
            code => Why::Refused(code),
        },
        why => why.within(records),
    }
}
