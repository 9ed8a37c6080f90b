//! Step 1: who may ask, and what is a query. The one place where a packet becomes accepted.

use super::reply::bare;
use super::snapshot::{Outside, Snapshot};
use super::{Asked, Waiting};
use crate::clock::{Moment, wall_millis};
use crate::dns::compose::{Composer, ReplyForm};
use crate::dns::ede::{Ede, code};
use crate::dns::query::{Fault, Query};
use crate::dns::{HEADER, flag, rcode, rtype, u16_at};
use crate::listener::{Source, Step, Transport};
use crate::metrics::{Cells, Counter};
use crate::zones::notify::Receipt;

/// A packet that goes no further, and what is sent back.
pub(super) enum Refusal<'q> {
    /// Too short, or a response: never answered.
    Silence,
    /// Outside the access list, and the setting says to say nothing.
    Dropped,
    /// Not readable as a query: the code, and the end of the question if there is one.
    Unreadable(u16, Option<usize>),
    /// Readable, but not served: the code and why.
    NotServed(&'q Query, u16, Option<Ede<'static>>),
}

/// Judges a packet by access list, header, class, type and EDNS version, in this order.
pub(super) fn admit<'q>(
    snap: &Snapshot,
    source: Source,
    read: Result<&'q Query, Fault>,
) -> Result<Asked<'q>, Refusal<'q>> {
    if matches!(read, Err(Fault::Silent)) {
        return Err(Refusal::Silence);
    }
    let Some(permit) = snap.acl.admit(source.client.ip()) else {
        return Err(match (snap.outside, read) {
            (Outside::Drop, _) => Refusal::Dropped,
            (Outside::Refused, Ok(query)) => {
                let ede = Ede::new(code::PROHIBITED, "this client may not ask here");
                Refusal::NotServed(query, rcode::REFUSED, Some(ede))
            }
            (Outside::Refused, Err(_)) => Refusal::Unreadable(rcode::REFUSED, None),
        });
    };
    let query = read.map_err(|fault| match fault {
        Fault::Silent => Refusal::Silence,
        // from nobody's primary; those of primaries went to the desk
        Fault::Notify => Refusal::Unreadable(rcode::REFUSED, None),
        Fault::Answer { rcode, question_end } => Refusal::Unreadable(rcode, question_end),
    })?;
    if query.edns.is_some_and(|edns| edns.version > 0) {
        return Err(Refusal::NotServed(query, rcode::BADVERS, None));
    }
    if !query.is_internet() || matches!(query.question.rtype, rtype::AXFR | rtype::IXFR) {
        return Err(Refusal::NotServed(query, rcode::REFUSED, None));
    }
    Ok(Asked { query, source, arrived: Moment::now(), permit })
}

/// A NOTIFY from a primary goes to the desk, whatever the access list says. `None`: no zone
/// listens to this source, and it is judged as every stranger.
pub(super) fn notify(
    snap: &Snapshot,
    source: Source,
    packet: &[u8],
    cells: &Cells,
    buf: &mut [u8],
) -> Option<Step<Box<Waiting>>> {
    let from = source.client.ip();
    if !snap.notify.listens_to(from) {
        return None;
    }
    let (len, end, of_notify) = match snap.notify.receive(packet, from, wall_millis() / 1000, buf) {
        Receipt::Taken(len) => (len, Counter::Answered, Some(Counter::Notified)),
        Receipt::Refused(len) => (len, Counter::Refused, Some(Counter::NotifyRefused)),
        Receipt::Malformed(len) => (len, Counter::Malformed, None),
        Receipt::Silence => {
            cells.count(Counter::Malformed);
            return Some(Step::Silence);
        }
    };
    cells.count(end);
    of_notify.into_iter().for_each(|counter| cells.count(counter));
    Some(Step::Reply(len))
}

/// What a datagram longer than any query is: an answer never, otherwise a format error.
pub(super) fn cut_off(packet: &[u8]) -> Fault {
    match u16_at(packet, 2) {
        Some(flags) if flags & flag::QR == 0 && packet.len() >= HEADER => {
            Fault::Answer { rcode: rcode::FORMERR, question_end: None }
        }
        _ => Fault::Silent,
    }
}

impl Refusal<'_> {
    /// Counts the refusal and writes what goes back.
    pub(super) fn answer(
        self,
        snap: &Snapshot,
        source: Source,
        packet: &[u8],
        cells: &Cells,
        buf: &mut [u8],
    ) -> Step<Box<Waiting>> {
        match self {
            Refusal::Silence => {
                cells.count(Counter::Malformed);
                Step::Silence
            }
            Refusal::Dropped => {
                cells.count(Counter::Refused);
                Step::Silence
            }
            Refusal::Unreadable(code, question_end) => {
                cells.count(counter(code));
                Step::Reply(bare(buf, packet, code, question_end))
            }
            Refusal::NotServed(query, code, ede) => {
                cells.count(counter(code));
                let form = match source.transport {
                    Transport::Udp => ReplyForm::udp(Some(query), snap.payload),
                    Transport::Tcp => ReplyForm::stream(snap.payload),
                };
                Step::Reply(Composer::reply(buf, query, form, code, ede).finish())
            }
        }
    }
}

fn counter(code: u16) -> Counter {
    if code == rcode::REFUSED { Counter::Refused } else { Counter::Malformed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_needs_a_header_for_a_reply() {
        let formerr = Fault::Answer { rcode: rcode::FORMERR, question_end: None };
        assert_eq!(cut_off(&[0; HEADER]), formerr);
        assert_eq!(cut_off(&[0; HEADER - 1]), Fault::Silent);
        assert_eq!(cut_off(&[0; 3]), Fault::Silent);
        assert_eq!(cut_off(&[0x80; HEADER]), Fault::Silent);
    }
}
