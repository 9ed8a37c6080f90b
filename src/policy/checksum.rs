//! One number for what a zone's rules say, to compare two relays by.
//!
//! Each rule is hashed by itself and the hashes are added, so that neither the order of a file's
//! lines nor the way a version was reached matters. It is for finding a difference between two
//! hosts that trust each other, not against somebody who makes rules up to fit a sum.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::quality::FixedState;

use crate::policy::action::{Action, ActionCode};
use crate::policy::rules::ZoneRules;
use crate::policy::trigger::TriggerKind;

/// The same on all hosts that run the same version of this program.
const HASHER: FixedState = FixedState::with_seed(0);

/// The sum over all rules. A million of them take some tens of milliseconds: not for a serving
/// thread.
pub(super) fn of(rules: &ZoneRules) -> u64 {
    let names = TriggerKind::ALL.into_iter().flat_map(|kind| {
        rules.by_name(kind).map(move |(name, code)| hash(kind, name, code, rules))
    });
    let prefixes =
        rules.prefixes.iter().map(|(kind, prefix, code)| hash(*kind, prefix, *code, rules));
    names.chain(prefixes).fold(0, u64::wrapping_add)
}

/// One rule. Local data counts by its records: its number depends on the order of the file.
fn hash(kind: TriggerKind, trigger: impl Hash, code: ActionCode, rules: &ZoneRules) -> u64 {
    let mut hasher = HASHER.build_hasher();
    hasher.write_u8(kind as u8);
    trigger.hash(&mut hasher);
    match code.action() {
        Action::Data(number) => {
            let records = rules.data.get(number as usize).map(|data| data.records());
            records.hash(&mut hasher);
        }
        fixed => fixed.hash(&mut hasher),
    }
    hasher.finish()
}
