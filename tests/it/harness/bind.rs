//! BIND as a primary of records that a test has in its hands.

use super::authority::{Authority, Plan, Program};
use super::tls::Tls;
use super::tsig::Key;
use super::wire::Record;
use std::fmt::Write as _;

/// named with one zone, which tells nobody of new versions. Transfers need the key, if there is
/// one.
pub struct Bind(pub Authority);

impl Bind {
    /// Starts with this version.
    #[track_caller]
    pub fn start(
        tls: &Tls,
        zone: &str,
        key: Option<&Key>,
        serial: u32,
        records: &[Record],
    ) -> Bind {
        let plan = Plan { tls, zone, key, tell: None };
        Bind(Authority::start(Program::Bind, &plan, serial, &text(records)))
    }

    /// Publishes another version; named works out the changes.
    #[track_caller]
    pub fn publish(&self, serial: u32, records: &[Record]) {
        self.0.publish(serial, &text(records));
    }
}

impl std::ops::Deref for Bind {
    type Target = Authority;

    fn deref(&self) -> &Authority {
        &self.0
    }
}

/// Lines of a master file in which all data is in the generic form (RFC 3597 section 5).
fn text(records: &[Record]) -> String {
    let mut out = String::new();
    for record in records {
        let Record { name, rtype, ttl, rdata, .. } = record;
        let _ = write!(out, "{name}. {ttl} IN TYPE{rtype} \\# {} ", rdata.len());
        for octet in rdata {
            let _ = write!(out, "{octet:02x}");
        }
        out.push('\n');
    }
    out
}
