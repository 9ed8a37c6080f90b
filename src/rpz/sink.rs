//! What the readers of text hand their records to: the intake that makes rules of them, or one
//! that only looks for something.

use std::sync::Arc;

use crate::rpz::intake::{Intake, Refusal};
use crate::rpz::owner::Reason;

/// A taker of the records of one zone, in the order of its text.
pub(super) trait Sink {
    /// What comes next begins on this line, of which `text` is what is written.
    fn begin(&mut self, line: u32, text: &[u8]);

    /// What began on an earlier line goes on with this one.
    fn go_on(&mut self, _text: &[u8]) {}

    /// What comes next stands in this file; `None` is the zone's own.
    fn at_file(&mut self, file: Option<Arc<str>>);

    /// A record of class IN: see [`Intake::record`].
    fn record(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Result<(), Refusal>;

    /// Something that is no rule by its nature.
    fn unused(&mut self) {}

    /// Something that is no record; `owner` is text for the message.
    fn skip(&mut self, _owner: String, _reason: Reason) {}

    /// A record with a good owner (canonical wire, absolute) and something else wrong.
    fn skip_owner(&mut self, _owner: &[u8], _reason: Reason) {}

    /// True once the zone's SOA was seen.
    fn has_soa(&self) -> bool;

    /// True if the rest of the text is of no interest.
    fn is_done(&self) -> bool {
        false
    }
}

impl Sink for Intake {
    #[inline]
    fn begin(&mut self, line: u32, _text: &[u8]) {
        self.at_line(line);
    }

    fn at_file(&mut self, file: Option<Arc<str>>) {
        Intake::at_file(self, file);
    }

    #[inline]
    fn record(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) -> Result<(), Refusal> {
        Intake::record(self, owner, rtype, ttl, rdata)
    }

    fn unused(&mut self) {
        Intake::unused(self);
    }

    fn skip(&mut self, owner: String, reason: Reason) {
        Intake::skip(self, owner, reason);
    }

    fn skip_owner(&mut self, owner: &[u8], reason: Reason) {
        Intake::skip_owner(self, owner, reason);
    }

    fn has_soa(&self) -> bool {
        Intake::has_soa(self)
    }
}
