//! A zone's rules as the text of a master file, piece by piece.
//!
//! ```text
//!   $ORIGIN block.test.
//!   @ 60 IN SOA ...
//!   zone with its records ─► each record as it came
//!   file or list ──────────► apex NS; each rule as a policy zone spells it
//! ```

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::RandomState;

use crate::dns::name::MAX_NAME;
use crate::dns::rtype;
use crate::policy::action::{Action, ActionCode};
use crate::policy::records::{Owner, RecordStore};
use crate::policy::rules::{NameRules, RulePlace, ZoneRules};
use crate::policy::spelling;
use crate::policy::trigger::TriggerKind;
use crate::rpz::record_text::{push_absolute, push_data, push_relative};

/// Most octets of one piece.
const PIECE: usize = 64 << 10;

/// The text of a zone in pieces of at most 64 KiB, ASCII only. Together they are a master file
/// with the SOA first; name servers' checkers take it as far as the zone itself is in order.
///
/// A zone that came by transfer is given with all its records but those of DNSSEC. Of a file or
/// a list, the rules are given, under the SOA's TTL where they have none of their own. Rules that
/// an earlier one at the same trigger makes void are left out, since a name can have one CNAME
/// only.
pub struct Dump {
    rules: Arc<ZoneRules>,
    step: Step,
    /// Written and not given out.
    text: String,
    /// Hashes of the triggers so far, where there may be two rules at one.
    seen: HashSet<u64, RandomState>,
    hasher: RandomState,
}

/// What is to be written next.
#[derive(Clone, Copy)]
enum Step {
    Head,
    Records(RecordPlace),
    Names(TriggerKind, RulePlace),
    Prefixes(usize),
    End,
}

/// A record of a store: numbers of its bucket, of its owner there, and of itself.
#[derive(Clone, Copy, Default)]
struct RecordPlace {
    bucket: usize,
    owner: usize,
    record: usize,
}

impl Dump {
    /// A dump of these rules from the beginning.
    pub fn new(rules: Arc<ZoneRules>) -> Dump {
        Dump {
            rules,
            step: Step::Head,
            text: String::new(),
            seen: HashSet::default(),
            hasher: RandomState::default(),
        }
    }

    fn is_full(&self) -> bool {
        self.text.len() >= PIECE
    }

    /// Writes until a piece is full, or the next step is due.
    fn write_on(&mut self) {
        let rules = Arc::clone(&self.rules);
        self.step = match (self.step, &rules.names) {
            (Step::Head, names) => self.head(&rules, names),
            (Step::Records(place), NameRules::Kept(store)) => self.records(store, place),
            (Step::Names(TriggerKind::Qname, place), NameRules::Listed(arena)) => {
                let mut walk = arena.walk_from(place);
                match self.names(&rules, TriggerKind::Qname, &mut walk) {
                    true => Step::Names(TriggerKind::Qname, walk.place()),
                    false => Step::Names(TriggerKind::Nsdname, rules.nsdnames.iter().place()),
                }
            }
            (Step::Names(kind, place), _) => {
                let mut walk = rules.nsdnames.walk_from(place);
                match self.names(&rules, kind, &mut walk) {
                    true => Step::Names(kind, walk.place()),
                    false => Step::Prefixes(0),
                }
            }
            (Step::Prefixes(place), _) => self.prefixes(&rules, place),
            (Step::Records(_) | Step::End, _) => Step::End,
        };
    }

    fn head(&mut self, rules: &ZoneRules, names: &NameRules) -> Step {
        self.text.push_str("$ORIGIN ");
        push_absolute(rules.origin.as_wire(), &mut self.text);
        self.text.push('\n');
        self.record(&[], "", rules.soa.ttl, rtype::SOA, &rules.soa.rdata);
        match names {
            NameRules::Kept(_) => Step::Records(RecordPlace::default()),
            NameRules::Listed(arena) => {
                self.record(&[], "", rules.soa.ttl, rtype::NS, b"\x09localhost\x00");
                Step::Names(TriggerKind::Qname, arena.iter().place())
            }
        }
    }

    /// All records of the zone but its SOA.
    fn records(&mut self, store: &RecordStore, mut place: RecordPlace) -> Step {
        while let Some(bucket) = store.bucket(place.bucket) {
            for owner in store.owners_in(bucket).skip(place.owner) {
                place.record += self.owner(&owner, place.record);
                if self.is_full() {
                    return Step::Records(place);
                }
                (place.owner, place.record) = (place.owner + 1, 0);
            }
            (place.bucket, place.owner) = (place.bucket + 1, 0);
        }
        Step::End
    }

    /// The records of an owner from one of them on, as far as there is room: how many.
    fn owner(&mut self, owner: &Owner<'_>, from: usize) -> usize {
        let mut written = 0;
        for record in owner.records.clone().skip(from) {
            if self.is_full() {
                break;
            }
            self.record(owner.labels, "", record.ttl, record.rtype, record.rdata);
            written += 1;
        }
        written
    }

    /// Rules on names. True if there may be more.
    fn names<'a>(
        &mut self,
        rules: &ZoneRules,
        kind: TriggerKind,
        walk: &mut impl Iterator<Item = (&'a [u8], ActionCode)>,
    ) -> bool {
        while !self.is_full() {
            let Some((name, code)) = walk.next() else { return false };
            let labels = name.split_last().map_or(name, |(_, labels)| labels);
            let suffix = spelling::suffix(kind);
            if !self.seen.insert(self.hasher.hash_one((kind, labels))) {
                continue;
            }
            if labels.len() + suffix.len() + rules.origin.len() > MAX_NAME {
                self.text.push_str("; too long a name for a rule of this zone: ");
                push_relative(labels, &mut self.text);
                self.text.push('\n');
                continue;
            }
            self.rule(rules, code, labels, suffix);
        }
        true
    }

    fn prefixes(&mut self, rules: &ZoneRules, mut place: usize) -> Step {
        while let Some((kind, net, code)) = rules.prefixes.get(place) {
            if self.is_full() {
                return Step::Prefixes(place);
            }
            place += 1;
            let owner = spelling::prefix(net) + spelling::suffix(*kind);
            if !self.seen.insert(self.hasher.hash_one((kind, net))) {
                continue;
            }
            if owner.len() + 1 + rules.origin.len() > MAX_NAME {
                let _ = writeln!(self.text, "; too long a name for a rule of this zone: {owner}");
                continue;
            }
            // the text has no dot in a label and nothing to escape
            let labels: Vec<u8> = owner
                .split('.')
                .flat_map(|label| std::iter::once(label.len() as u8).chain(label.bytes()))
                .collect();
            self.rule(rules, *code, &labels, "");
        }
        Step::End
    }

    /// A rule as a policy zone spells it (internet-draft dnsop-dns-rpz-00 section 3).
    fn rule(&mut self, rules: &ZoneRules, code: ActionCode, labels: &[u8], suffix: &str) {
        let target: &[u8] = match code.action() {
            Action::Nxdomain => b"\x00",
            Action::Nodata => b"\x01*\x00",
            Action::Passthru => b"\x0crpz-passthru\x00",
            Action::Drop => b"\x08rpz-drop\x00",
            Action::TcpOnly => b"\x0crpz-tcp-only\x00",
            Action::Data(index) => {
                let data = rules.data.get(index as usize);
                for record in data.into_iter().flat_map(|data| data.records()) {
                    self.record(labels, suffix, record.ttl, record.rtype, &record.rdata);
                }
                return;
            }
        };
        self.record(labels, suffix, rules.soa.ttl, rtype::CNAME, target);
    }

    /// A line; the labels are in front of `suffix`, which is in front of the zone's name.
    fn record(&mut self, labels: &[u8], suffix: &str, ttl: u32, rtype: u16, rdata: &[u8]) {
        push_relative(labels, &mut self.text);
        let _ = write!(self.text, "{suffix} {ttl} IN "); // writing to a String cannot fail
        push_data(rtype, rdata, &mut self.text);
        self.text.push('\n');
    }
}

impl Iterator for Dump {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        while !self.is_full() && !matches!(self.step, Step::End) {
            self.write_on();
        }
        if self.text.is_empty() {
            return None;
        }
        // ASCII: there is a boundary everywhere
        let rest = self.text.split_off(self.text.len().min(PIECE));
        Some(std::mem::replace(&mut self.text, rest).into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;
    use crate::rpz::tests::in_order;
    use crate::rpz::{Form, Limits, made_up, parse};
    use std::path::Path;

    fn text(rules: ZoneRules) -> String {
        let pieces: Vec<Vec<u8>> = Dump::new(Arc::new(rules)).collect();
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE));
        let full = pieces.iter().filter(|piece| piece.len() == PIECE).count();
        assert!(full + 1 >= pieces.len(), "only the last piece is not full");
        String::from_utf8(pieces.concat()).unwrap()
    }

    /// The rules in words, sorted; of those at one trigger the first.
    fn in_force(rules: &ZoneRules) -> Vec<String> {
        let trigger = |rule: &str| rule.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" ");
        let mut seen = HashSet::new();
        let mut all = in_order(rules);
        all.retain(|rule| seen.insert(trigger(rule)));
        all.sort_unstable();
        all
    }

    #[test]
    fn rules_of_a_file_in_their_spelling() {
        let zone = "$TTL 60\n@ SOA Ns.test. . 7 3600 600 86400 60\nBad.Example CNAME .\n\
                    Bad.example CNAME *.\n*.x CNAME rpz-drop.\n9\\@ 5 A 192.0.2.1\n\
                    9\\@ 6 TXT \"a b\"\nns.rpz-nsdname CNAME bad.\n\
                    24.0.2.0.192.rpz-ip CNAME rpz-tcp-only.\n16.zz.rpz-nsip CNAME rpz-passthru.\n";
        assert_eq!(
            text(made_up::listed(zone)),
            "$ORIGIN rpz.test.\n@ 60 IN SOA Ns.test. . 7 3600 600 86400 60\n\
             @ 60 IN NS localhost.\nbad.example 60 IN CNAME .\n*.x 60 IN CNAME rpz-drop.\n\
             9\\@ 5 IN A 192.0.2.1\n9\\@ 6 IN TXT \"a b\"\n\
             ns.rpz-nsdname 60 IN CNAME bad.\n24.0.2.0.192.rpz-ip 60 IN CNAME rpz-tcp-only.\n\
             16.zz.rpz-nsip 60 IN CNAME rpz-passthru.\n"
        );
    }

    #[test]
    fn what_is_dumped_is_read_as_the_same_rules() {
        let mut rng = fastrand::Rng::with_seed(23);
        for round in 0..400 {
            let zone = made_up::text(&mut rng, if round % 100 == 99 { 6_000 } else { 40 });
            for rules in [made_up::listed(&zone), made_up::gathered(&zone)] {
                let (want, soa) = (in_force(&rules), rules.soa.clone());
                let dumped = text(rules);
                let again = made_up::listed(&dumped);
                let got = in_force(&again);
                let odd = got.iter().zip(&want).find(|(got, want)| got != want);
                assert_eq!((odd, got.len(), again.soa), (None, want.len(), soa), "{zone}");
            }
        }
    }

    #[test]
    fn records_of_a_transfer_come_back_one_and_all() {
        let mut rng = fastrand::Rng::with_seed(29);
        for _ in 0..200 {
            let rules = made_up::gathered(&made_up::text(&mut rng, 60));
            let all = |rules: &ZoneRules| {
                let owners = rules.records().unwrap().iter();
                let mut all: Vec<_> = owners
                    .flat_map(|owner| {
                        let labels = owner.labels.to_vec();
                        owner
                            .records
                            .map(move |r| (labels.clone(), r.rtype, r.ttl, r.rdata.to_vec()))
                    })
                    .collect();
                all.sort_unstable();
                all
            };
            let want = all(&rules);
            let again = made_up::gathered(&text(rules));
            assert_eq!(all(&again), want);
        }
    }

    #[test]
    fn lists_and_names_that_are_too_long() {
        let origin: Name = "list.test".parse().unwrap();
        let label = "a".repeat(60);
        // fits as it is, and not with the wildcard that covers what is below
        let long = format!("{label}.{label}.{label}.{}", "b".repeat(59));
        let list = format!("bad.example\n{long}\n");
        let form = Form::Domains { subdomains: true };
        let read = |text: &str, form| {
            parse(text.as_bytes(), Path::new("l"), &origin, form, &Limits::default()).unwrap()
        };
        let rules = read(&list, form);
        let want = in_force(&rules);
        let dumped = text(rules);
        assert!(dumped.contains("\n*.bad.example 60 IN CNAME .\n"), "{dumped}");
        assert_eq!(in_force(&read(&dumped, Form::Zone)), want);

        let mut names = crate::policy::rules::RuleArena::default();
        names.push(
            &[&[63; 64][..], &[63; 64], &[63; 64], &[60; 61]].concat(),
            ActionCode::from_u32(0),
        );
        let mut rules = ZoneRules::none(origin);
        rules.names = names.into();
        assert!(text(rules).contains("\n; too long a name for a rule of this zone: ????"));
    }
}
