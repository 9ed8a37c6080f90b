//! Where the relay is meant to answer otherwise than BIND, and why. `docs/RPZ.md` lists the same.

use super::differ::{Difference, Heard};
use super::world::INCOMPLETE;
use super::zones::{Override, Setting};
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
    pub named: Vec<String>,
    /// What the relay logged: `MODE TRIGGER ACTION RULE ZONE`.
    pub relay: Vec<String>,
}

/// All of them. A difference that none explains fails the test.
pub const DEVIATIONS: [Deviation; 14] = [
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
        what: "a rule with an unknown rpz- action is ignored under an override too",
        why: "what is no rule has no action to replace",
        explains: override_of_a_reserved_action,
    },
    Deviation {
        what: "a rule that is ignored does not stop a wildcard either",
        why: "what is no rule is no name of the zone's tree",
        explains: ignored_below_a_wildcard,
    },
    Deviation {
        what: "ANY on a rule's alias gets the alias only",
        why: "the draft's reply to ANY is the rule's records; BIND follows some aliases",
        explains: |seen| {
            let Heard::Answer { rcode: "NOERROR", links: ours, rest, .. } = &seen.difference.relay
            else {
                return false;
            };
            let theirs = links(&seen.difference.reference);
            let any = seen.difference.question.qtype == ANY;
            any && !ours.is_empty() && rest.is_empty() && theirs.starts_with(ours)
        },
    },
    Deviation {
        what: "a rewritten answer has no signatures, those of its unaltered links included",
        why: "nobody can validate the whole, and a part of a proof proves nothing",
        explains: |seen| {
            let Heard::Answer { rcode, links, rest, cut } = &seen.difference.reference else {
                return false;
            };
            let bare = Heard::Answer {
                rcode,
                cut: *cut,
                links: links.clone(),
                rest: rest.iter().filter(|r| !r.contains(". RRSIG ")).cloned().collect(),
            };
            bare == seen.difference.relay && enforced(seen).is_some()
        },
    },
    Deviation {
        what: "without wait, a rule by client, name or server acts although the upstream fails",
        why: "nothing is known that could overrule it; with wait = true the failure stays",
        explains: |seen| {
            let by = enforced(seen).map(|hit| hit.trigger);
            is_rcode(&seen.difference.reference, "SERVFAIL")
                && !seen.setting.wait
                && by.is_some_and(|by| by != "IP")
        },
    },
    Deviation {
        what: "an address rule that a later zone repeats keeps its place",
        why: "draft 5.1 and 5.4; of two zones with one block BIND may see the later one only",
        explains: repeated_in_a_later_zone,
    },
    Deviation {
        what: "an address rule of a watching zone takes no part",
        why: "BIND looks for other zones' blocks in the wrong place after such a match",
        explains: |seen| {
            let Some(hit) = enforced(seen) else { return false };
            let suffix = match hit.trigger {
                "IP" => ".rpz-ip ",
                "NSIP" => ".rpz-nsip ",
                "CLIENT-IP" => ".rpz-client-ip ",
                _ => return false,
            };
            let before = seen.setting.zones.iter().take_while(|zone| zone.name != hit.zone);
            let mut watching = before.filter(|zone| zone.action == Override::Monitor);
            watching.any(|zone| zone.rules.iter().any(|r| r.to_lowercase().contains(suffix)))
        },
    },
    Deviation {
        what: "without RD, a chain that the cache holds is whole",
        why: "BIND's cache may hold the first links only, and it answers with those",
        explains: |seen| {
            let Difference { question, reference, relay } = seen.difference;
            let Heard::Answer { rcode: "NOERROR", links: cut, rest, .. } = reference else {
                return false;
            };
            !question.recursive && rest.is_empty() && links(relay).starts_with(cut)
        },
    },
    Deviation {
        what: "without RD, name servers are looked up all the same",
        why: "RD=0 would be a way round; BIND judges by the servers that its cache happens to hold",
        explains: |seen| {
            // the same question with RD may have met another rule
            let by_server = |line: &String| {
                line.starts_with("enforce NSDNAME ") || line.starts_with("enforce NSIP ")
            };
            !seen.difference.question.recursive && seen.relay.iter().any(by_server)
        },
    },
    Deviation {
        what: "a question without RD that something must be asked for is refused",
        why: "the relay has no data of its own to refer to; a remembered failure is SERVFAIL",
        explains: |seen| {
            let relay = &seen.difference.relay;
            let failed = is_rcode(relay, "REFUSED") || is_rcode(relay, "SERVFAIL");
            !seen.difference.question.recursive && failed
        },
    },
    Deviation {
        what: "a chain that fails or goes round fails as a whole",
        why: "a DoH service answers the chain or not; BIND fetches and judges link by link",
        explains: |seen| {
            let Difference { question, reference, relay } = seen.difference;
            let all = links(reference).iter().chain(links(relay));
            let mut names = all.map(String::as_str).chain([question.name.as_str()]);
            names.any(|name| INCOMPLETE.iter().any(|i| name.to_lowercase().contains(i)))
        },
    },
    Deviation {
        what: "a rule's alias that leads back to the name it acts on leads to the truth",
        why: "no policy behind a rule's alias; BIND leaves out links of the way back",
        explains: |seen| {
            let owners = links(&seen.difference.relay).iter();
            let owners: Vec<_> = owners.filter_map(|l| Some(l.split_once(". CNAME ")?.0)).collect();
            let again = |(at, owner): (usize, &&str)| owners[..at].contains(owner);
            enforced(seen).is_some() && owners.iter().enumerate().any(again)
        },
    },
];

/// A hit of the relay that acted.
struct Hit<'a> {
    trigger: &'a str,
    /// The rule's owner below its zone.
    owner: &'a str,
    zone: &'a str,
}

fn enforced<'a>(seen: &'a Seen) -> Option<Hit<'a>> {
    seen.relay.iter().find_map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let ["enforce", trigger, _, rule, zone] = words[..] else { return None };
        Some(Hit { trigger, owner: rule.strip_suffix(zone)?.trim_end_matches('.'), zone })
    })
}

/// The relay hit by a wildcard that a rule without a known action stands below.
fn ignored_below_a_wildcard(seen: &Seen) -> bool {
    let Some(hit) = enforced(seen) else { return false };
    let Some(parent) = hit.owner.strip_prefix('*') else { return false };
    let zone = seen.setting.zones.iter().find(|zone| zone.name == hit.zone);
    let ignored = |rule: &String| {
        let rule = rule.to_lowercase();
        let (owner, data) = rule.split_once(' ').unwrap_or_default();
        is_reserved(data) && owner.ends_with(&parent.to_lowercase())
    };
    zone.is_some_and(|zone| zone.rules.iter().any(ignored))
}

/// The relay hit by an address rule that a later zone repeats.
fn repeated_in_a_later_zone(seen: &Seen) -> bool {
    let zones = &seen.setting.zones;
    let Some(hit) = enforced(seen).filter(|h| ["IP", "NSIP"].contains(&h.trigger)) else {
        return false;
    };
    let same = |rule: &String| {
        rule.split(' ').next().is_some_and(|owner| owner.eq_ignore_ascii_case(hit.owner))
    };
    let later = zones.iter().skip_while(|zone| zone.name != hit.zone).skip(1);
    later.flat_map(|zone| &zone.rules).any(same)
}

/// named hit in a zone with an action of its own, where the question's name has a reserved one.
fn override_of_a_reserved_action(seen: &Seen) -> bool {
    let name = seen.difference.question.name.to_lowercase();
    let reserved = |rule: &String| {
        let rule = rule.to_lowercase();
        rule.split_once(' ').is_some_and(|(owner, data)| owner == name && is_reserved(data))
    };
    seen.setting.zones.iter().any(|zone| {
        let via = format!(".{}", zone.name);
        let hit = seen.named.iter().any(|l| l.contains(" QNAME ") && l.contains(&via));
        hit && zone.action != Override::Given && zone.rules.iter().any(reserved)
    })
}

fn is_reserved(data: &str) -> bool {
    ["cname rpz-later.", "cname x.rpz-drop."].contains(&data)
}

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
