//! Where the relay is meant to answer otherwise than BIND, and why. `docs/RPZ.md` lists the same.

use super::differ::{Difference, Heard};
use super::zones::Setting;
use crate::harness::wire::ANY;
use std::fmt;

/// One deviation: what it is, why it is right, and which differences it explains.
pub struct Deviation {
    pub what: &'static str,
    pub why: &'static str,
    pub explains: fn(&Seen) -> bool,
}

/// A difference and all that is known about it.
pub struct Seen<'a> {
    pub difference: &'a Difference,
    pub setting: &'a Setting,
    /// What named logged about the question: `rpz TRIGGER ACTION rewrite ... via OWNER`.
    pub named: &'a [String],
    /// What the relay logged: `MODE TRIGGER ACTION RULE ZONE`.
    pub relay: Vec<String>,
}

/// All of them. A difference that none explains fails the test.
pub const DEVIATIONS: [Deviation; 4] = [
    Deviation {
        what: "an alias to an unknown rpz- name is no action",
        why: "the draft reserves these names; a literal alias to one can only fail",
        explains: |seen| {
            links(&seen.difference.reference).iter().any(|link| {
                let top = link.trim_end_matches('.').rsplit(['.', ' ']).next();
                top.is_some_and(|label| label.starts_with("rpz-"))
            })
        },
    },
    Deviation {
        what: "ANY gets the addresses only",
        why: "RFC 8482 section 4.1; policy holds for what is given",
        explains: |seen| {
            let Difference { question, reference, relay } = seen.difference;
            let (Heard::Answer { links: a, rest: all, .. }, Heard::Answer { links: b, rest, .. }) =
                (reference, relay)
            else {
                return false;
            };
            question.qtype == ANY && a == b && !rest.is_empty() && rest.is_subset(all)
        },
    },
    Deviation {
        what: "without wait, a rule by client or name acts although the upstream fails",
        why: "nothing is known that could overrule it; with wait = true the failure stays",
        explains: |seen| {
            let acted = |line: &String| {
                line.starts_with("enforce CLIENT-IP ") || line.starts_with("enforce QNAME ")
            };
            is_rcode(&seen.difference.reference, "SERVFAIL")
                && !seen.setting.wait
                && seen.relay.iter().any(acted)
        },
    },
    Deviation {
        what: "a question without RD that something must be asked for is refused",
        why: "the relay has no data of its own to refer to",
        explains: |seen| {
            !seen.difference.question.recursive && is_rcode(&seen.difference.relay, "REFUSED")
        },
    },
];

fn links(heard: &Heard) -> &[String] {
    match heard {
        Heard::Answer { links, .. } => links,
        _ => &[],
    }
}

fn is_rcode(heard: &Heard, code: &str) -> bool {
    matches!(heard, Heard::Answer { rcode, .. } if *rcode == code)
}

impl fmt::Display for Seen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { question, reference, relay } = self.difference;
        write!(f, "  {question}\n     named: {reference}\n     relay: {relay}")?;
        self.named.iter().try_for_each(|line| write!(f, "\n     named says {line}"))?;
        self.relay.iter().try_for_each(|line| write!(f, "\n     relay says {line}"))
    }
}
