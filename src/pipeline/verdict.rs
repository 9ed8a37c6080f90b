//! What a kept answer remembers of its judgement: that no rule acts on it.
//!
//! Names of the chain, addresses and servers are the same for every client of a view, so a kept
//! answer is looked at once for each generation of policy. What depends on the client, its
//! address and the query's own name, is asked anew each time.
//!
//! ```text
//!   | generation, 23 bits | view, 10 | RD, 1 | good until, in seconds, 30 |
//! ```

use super::Pass;
use crate::cache::Entry;
use crate::clock::Moment;
use crate::limits;

/// Bits of each part, from the right.
const UNTIL: u32 = 30;
const VIEW: u32 = 10;
const GENERATION: u32 = 23;

/// An answer is known to be clean for a query like this.
#[inline]
pub(super) fn is_clean(pass: &Pass<'_>, entry: &Entry) -> bool {
    let note = entry.note();
    note >> UNTIL == key(pass) && seconds(pass.now) < note & mask(UNTIL)
}

/// Notes that an answer is clean. If its name servers were looked at, not for long: they change
/// on their own.
pub(super) fn note_clean(pass: &Pass<'_>, entry: &Entry, servers: bool) {
    // an exception for some clients only is no matter of the view
    if pass.snap.policy.exceptions().has_scopes() {
        return;
    }
    let until = match servers {
        true => seconds(pass.now + limits::SERVERS_TRUSTED),
        false => mask(UNTIL),
    };
    entry.set_note(key(pass) << UNTIL | until);
}

/// Never zero, as the generation in force never is, up to its width.
fn key(pass: &Pass<'_>) -> u64 {
    let generation = pass.snap.policy.generation & mask(GENERATION);
    let view = pass.judge.view().number as u64 & mask(VIEW);
    let recursive = u64::from(pass.asked.query.recursion_desired());
    (generation << VIEW | view) << 1 | recursive
}

/// Seconds on the monotonic clock; the last value is kept for "no end".
fn seconds(moment: Moment) -> u64 {
    let origin = Moment::from_millis(0);
    u64::from(moment.seconds_since(origin)).min(mask(UNTIL) - 1)
}

const fn mask(bits: u32) -> u64 {
    (1 << bits) - 1
}

// a view's number fits, everybody's view included
const _: () = assert!(limits::GROUPS < 1 << VIEW);
