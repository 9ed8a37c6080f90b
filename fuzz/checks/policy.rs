//! Octets make zones, groups, exceptions and a query, and then the generations that follow; the
//! fast judges and the slow ones must agree.

use culvert::policy::oracle::agreement;
use culvert::policy::oracle::choices::Choices;

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((first, rest)) = octets.split_first() else { return };
    let mut choices = Choices::new(rest);
    let compared = match first % 4 {
        0 => agreement::of_deltas(&mut choices),
        _ => agreement::of_queries(&mut choices),
    };
    if let Err(difference) = compared {
        panic!("{difference}");
    }
}
