//! Where the relay is meant to answer otherwise than BIND, and why. `docs/RPZ.md` lists the same.

use super::differ::{Difference, Heard};

/// One deviation: what it is, why it is right, and which differences it explains.
pub struct Deviation {
    pub what: &'static str,
    pub why: &'static str,
    pub explains: fn(&Difference, &[String]) -> bool,
}

/// All of them. A difference that none explains fails the test.
pub const DEVIATIONS: [Deviation; 1] = [Deviation {
    what: "an alias to an unknown rpz- name is no action",
    why: "the draft reserves these names; a literal alias to one can only fail",
    explains: |difference, _| {
        links(&difference.reference).iter().any(|link| {
            let top = link.trim_end_matches('.').rsplit(['.', ' ']).next();
            top.is_some_and(|label| label.starts_with("rpz-"))
        })
    },
}];

fn links(heard: &Heard) -> &[String] {
    match heard {
        Heard::Answer { links, .. } => links,
        _ => &[],
    }
}
