//! What a scripted primary does, right and wrong, and what it was asked.

use super::super::tsig::Key;
use std::time::Duration;

/// How the primary answers a request for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ixfr {
    /// Version by version.
    Steps,
    /// From the asker's version to the newest in one step.
    Condensed,
    /// With the whole zone.
    Whole,
    /// With this response code.
    Code(u16),
    /// With its SOA and nothing more, also where it has a newer version.
    LoneSoa,
    /// Not at all.
    Close,
}

/// How a transfer goes wrong. Answers about the SOA are always right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends after so many octets.
    CutAfter(usize),
    /// Nothing comes after so many messages.
    StallAfter(usize),
    /// So much time lies between two messages.
    Drip(Duration),
    /// Records without end behind the first SOA.
    Endless,
    NoSoaFirst,
    /// The last SOA does not come; the connection stays open.
    NoEnd,
    /// The last SOA has another serial.
    EndDiffers,
    /// A record behind the last SOA, in the same message.
    AfterTheEnd,
    /// A record of a name outside the zone, in the middle.
    Stranger,
    /// A record whose owner is a pointer to itself.
    PointerLoop,
    /// Octets behind the last record of each message.
    Garbage,
    OtherQuestion,
    OtherId,
    /// This message, counted from 0, has this response code.
    CodeAt(usize, u16),
    /// Signed with this key.
    OtherKey(Key),
    /// Only so many octets of each MAC are sent.
    MacCut(usize),
    /// Nothing is signed.
    Unsigned,
    LastUnsigned,
    /// An octet of this message, counted from 0, is changed after it was signed.
    Changed(usize),
}

/// What the primary does.
#[derive(Clone, Debug)]
pub struct Script {
    /// Requests must be signed with it, and answers are.
    pub key: Option<Key>,
    /// The primary's clock is so many seconds ahead of ours.
    pub clock: i64,
    /// It takes requests whose clock differs, as few do.
    pub any_clock: bool,
    pub ixfr: Ixfr,
    /// Records in one message.
    pub per_message: usize,
    /// The question stands in the first message only.
    pub one_question: bool,
    /// The first, the last and each of so many messages is signed.
    pub sign_every: usize,
    /// Refresh, retry, expire, minimum.
    pub timers: [u32; 4],
    /// The serial that it tells when asked for its SOA; `None`: the newest version's.
    pub told_serial: Option<u32>,
    /// Every request is answered with this code.
    pub refuse: Option<u16>,
    /// The connection is closed after each answer.
    pub closes: bool,
    pub fault: Option<Fault>,
    /// The fault is in answers to requests for changes only.
    pub changes_only: bool,
    /// Requests are read and not answered.
    pub silent: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            key: None,
            clock: 0,
            any_clock: false,
            ixfr: Ixfr::Steps,
            per_message: 100,
            one_question: false,
            sign_every: 1,
            timers: [3600, 600, 86_400, 60],
            told_serial: None,
            refuse: None,
            closes: false,
            fault: None,
            changes_only: false,
            silent: false,
        }
    }
}

/// How often the primary was asked what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub connections: usize,
    pub soa: usize,
    pub axfr: usize,
    pub ixfr: usize,
    /// Requests whose signature was missing or wrong.
    pub unsigned: usize,
    /// Transfers that go on now.
    pub transfers: usize,
    /// The most that ever went on at one time.
    pub at_once: usize,
}
