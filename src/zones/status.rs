//! State of a zone, in the form of the doors.

use serde::Serialize;

use crate::policy::set::Mode;
use crate::policy::trigger::TriggerKind;

/// State of one zone, for people.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneStatus {
    /// Zone name.
    pub zone: String,
    /// Where it comes from.
    pub source: String,
    /// Which way it comes.
    pub kind: SourceKind,
    /// How it stands.
    pub state: ZoneState,
    /// What its rules may do, the relay's own switch included.
    pub mode: Mode,
    /// Serial of its SOA.
    pub serial: u32,
    /// Rules it holds.
    pub rules: usize,
    /// One number for what its rules say, in whatever order: 16 hexadecimal digits. A zone that
    /// is transferred has none: its serial says as much.
    pub checksum: Option<String>,
    /// Rules by trigger, in the order of precedence.
    pub triggers: Vec<(TriggerKind, u64)>,
    /// Records that are no usable rules.
    pub skipped: u64,
    /// The first of them, in words.
    pub skipped_first: Vec<String>,
    /// Rules that an earlier one of the same trigger makes void.
    pub duplicates: u64,
    /// Seconds since these rules came: from the file, the primary or the web.
    pub age_s: u64,
    /// Why a newer version is not in force, if there is one that cannot be.
    pub error: Option<String>,
    /// What is wrong with it, in words; each is an alarm.
    pub alarms: Vec<String>,
    /// What only a zone from elsewhere has.
    pub supply: Option<SupplyStatus>,
    /// Who made a monitor zone enforce, and when (RFC 3339), by `culvert zone promote`.
    pub promoted: Option<Promoted>,
}

/// Which way a zone comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A file.
    File,
    /// A zone transfer.
    Transfer,
    /// A download.
    Download,
}

/// How a zone stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ZoneState {
    /// Its newest version is in force, and it is in touch with its source.
    Current,
    /// It was never loaded: nothing is judged by it.
    Waiting,
    /// An older version is in force, because the newest cannot be taken.
    Kept,
    /// A newer version waits for `culvert zone accept`.
    Held,
    /// Without contact for longer than its alarm allows.
    Stale,
    /// Without contact for longer than its SOA allows; its rules go on.
    Expired,
    /// The same, and its rules do not act.
    Withdrawn,
}

/// What only a zone from elsewhere has. Times are RFC 3339.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SupplyStatus {
    /// When the source was last asked.
    pub last_try: Option<String>,
    /// Whom, and how it went: `192.0.2.53: AXFR, serial 7, 1,000 rules` or the fault.
    pub last_outcome: Option<String>,
    /// The last try failed.
    pub failed: bool,
    /// Tries in a row that failed.
    pub failures: u32,
    /// When the source last answered that this version is its newest.
    pub last_contact: Option<String>,
    /// When the next try is due.
    pub next_try: Option<String>,
    /// When the rules expire by the SOA (RFC 1035 section 3.3.13); a download has none.
    pub expires: Option<String>,
    /// A try is going on: what it has done so far.
    pub busy: Option<String>,
    /// The version that is held.
    pub held: Option<HeldStatus>,
    /// When the last good copy was saved.
    pub saved: Option<String>,
    /// Why it could not be saved.
    pub save_error: Option<String>,
    /// Whole transfers, incremental ones, downloads that were taken.
    pub whole: u64,
    /// Incremental transfers that were taken.
    pub incremental: u64,
    /// Tries that failed, since the start.
    pub failed_total: u64,
    /// NOTIFYs that were listened to.
    pub notified: u64,
}

/// A version that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeldStatus {
    /// Its serial.
    pub serial: u32,
    /// Its rules.
    pub rules: usize,
    /// Since when.
    pub since: String,
    /// Why.
    pub reasons: Vec<String>,
}

/// Who promoted a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Promoted {
    /// When, RFC 3339.
    pub since: String,
    /// Who.
    pub by: String,
}
