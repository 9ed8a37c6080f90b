//! One number for what a zone's rules say, to compare two relays by.
//!
//! Each rule is hashed by itself and the hashes are added, so that neither the order of a file's
//! lines nor the way a version was reached matters. It is for finding a difference between two
//! hosts that trust each other, not against somebody who makes rules up to fit a sum.

use std::fmt::{self, Write as _};

use ipnet::IpNet;

use crate::policy::action::{Action, ActionCode};
use crate::policy::rules::ZoneRules;
use crate::policy::trigger::TriggerKind;

/// The hash FNV-1a of Fowler, Noll and Vo, 64 bits: start and factor.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const FACTOR: u64 = 0x0000_0100_0000_01b3;

/// One rule's hash while it is made.
struct Fnv(u64);

impl Fnv {
    fn add(&mut self, octets: &[u8]) {
        for octet in octets {
            self.0 = (self.0 ^ u64::from(*octet)).wrapping_mul(FACTOR);
        }
    }
}

impl fmt::Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

/// The sum over all rules. A million of them take some tens of milliseconds: not for a serving
/// thread.
pub(super) fn of(rules: &ZoneRules) -> u64 {
    let names = TriggerKind::ALL.into_iter().flat_map(|kind| {
        rules.by_name(kind).map(move |(name, code)| {
            let mut hash = begun(kind);
            hash.add(name);
            (hash, code)
        })
    });
    let prefixes = rules.prefixes.iter().map(|(kind, prefix, code)| {
        let mut hash = begun(*kind);
        add_prefix(&mut hash, prefix);
        (hash, *code)
    });
    let ended = |(mut hash, code): (Fnv, ActionCode)| {
        add_action(&mut hash, code, rules);
        hash.0
    };
    names.chain(prefixes).map(ended).fold(0, u64::wrapping_add)
}

fn begun(kind: TriggerKind) -> Fnv {
    let mut hash = Fnv(START);
    hash.add(&[kind as u8]);
    hash
}

fn add_prefix(hash: &mut Fnv, prefix: &IpNet) {
    // no hash refuses a text
    let _ = write!(hash, "{prefix}");
}

/// Local data counts by its records: its number depends on the order of the file.
fn add_action(hash: &mut Fnv, code: ActionCode, rules: &ZoneRules) {
    let action = code.action();
    hash.add(action.as_str().as_bytes());
    let Action::Data(number) = action else { return };
    for record in rules.data.get(number as usize).map_or(&[][..], |data| data.records()) {
        hash.add(&record.rtype.to_be_bytes());
        hash.add(&record.ttl.to_be_bytes());
        hash.add(&record.rdata);
    }
}

#[cfg(test)]
mod tests {
    use crate::rpz;

    const HEAD: &str = "$TTL 60\n@ SOA localhost. root.localhost. 7 3600 600 86400 60\n\
                        @ NS localhost.\n";

    fn sum(lines: &[&str]) -> u64 {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("block.rpz");
        std::fs::write(&file, format!("{HEAD}{}\n", lines.join("\n"))).unwrap();
        let origin = "block.test".parse().unwrap();
        let limits = rpz::Limits::default();
        rpz::load(&file, &origin, rpz::Form::Zone, &limits).unwrap().checksum()
    }

    #[test]
    fn the_order_does_not_matter_and_everything_else_does() {
        let lines = [
            "a.example CNAME .",
            "b.example A 192.0.2.1",
            "32.1.2.0.192.rpz-ip CNAME *.",
            "c A 192.0.2.2",
        ];
        let all = sum(&lines);
        let mut back = lines;
        back.reverse();
        assert_eq!(sum(&back), all);
        for (from, to) in [
            ("a.example", "aa.example"),
            ("CNAME .", "CNAME *."),
            ("192.0.2.1", "192.0.2.3"),
            ("32.1.2", "32.2.2"),
            ("rpz-ip", "rpz-client-ip"),
        ] {
            let changed = lines.map(|line| line.replacen(from, to, 1));
            assert_ne!(changed, lines, "{from} occurs");
            let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
            assert_ne!(sum(&changed), all, "{from} to {to}");
        }
        assert_ne!(sum(&lines[1..]), all);
        assert_eq!(sum(&[]), 0);
    }
}
