//! Records of a policy zone in, rules out. Both ways a zone can arrive, as text and by
//! transfer, end here.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::dns::name::{MAX_NAME, Name, write_wire};
use crate::policy::action::{Action, ActionCode};
use crate::policy::rules::{Counts, RuleArena, Skipped, SkippedRecord, Soa, ZoneRules};
use crate::policy::trigger::TriggerKind;
use crate::rpz::local_data::{Added, Place, Shelf};
use crate::rpz::owner::{self, Owner, Reason, Relative, Trigger};
use crate::rpz::rdata::{self, Meaning, TypeUse, rtype};

/// Why a whole zone is refused, seen from its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no SOA at the zone's name.
    NoSoa(String),
    /// The first SOA is that of another zone.
    OtherZone {
        /// The owner of the SOA.
        found: String,
        /// The zone that was expected.
        wanted: String,
    },
    /// The SOA's data is not that of a SOA.
    BadSoa,
    /// There are more rules than this.
    TooManyRules(usize),
    /// There are more records than this, whether or not they are rules.
    TooManyRecords(usize),
}

impl Refusal {
    /// The first SOA has this owner, in wire form.
    pub(super) fn other_zone(owner: &[u8], origin: &Name) -> Refusal {
        Refusal::OtherZone { found: absolute(owner), wanted: absolute(origin.as_wire()) }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSoa(zone) => write!(
                f,
                "there is no SOA record for {zone}; a policy zone needs one, is the file cut short?"
            ),
            Refusal::OtherZone { found, wanted } => write!(
                f,
                "this is the SOA of {found}, not of {wanted}; correct the zone's name in the \
                 configuration, or name the right file"
            ),
            Refusal::BadSoa => f.write_str("the SOA record cannot be read"),
            Refusal::TooManyRules(max) => write!(
                f,
                "the zone has more than {max} rules; raise its limit if that is meant to be"
            ),
            Refusal::TooManyRecords(max) => write!(
                f,
                "the zone has more than {max} records, which is too much for the rules that it \
                 may have; raise its limit of rules if that is meant to be"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Takes the records of one zone and makes rules of them.
///
/// A record that is no good is skipped and noted; only a [`Refusal`] costs the zone.
pub struct Intake {
    origin: Name,
    max_rules: usize,
    soa: Option<Soa>,
    names: RuleArena,
    nsdnames: RuleArena,
    prefixes: Vec<(TriggerKind, IpNet, ActionCode)>,
    counts: Counts,
    shelf: Shelf,
    skipped: Skipped,
    /// The files that were included; place 0 is the zone's own file.
    files: Vec<Option<Arc<str>>>,
    place: Place,
    key: Vec<u8>,
}

impl Intake {
    /// An intake for the zone `origin` that refuses more than `max_rules` rules.
    pub fn new(origin: Name, max_rules: usize) -> Intake {
        Intake {
            origin,
            max_rules,
            soa: None,
            names: RuleArena::default(),
            nsdnames: RuleArena::default(),
            prefixes: Vec::new(),
            counts: Counts::default(),
            shelf: Shelf::default(),
            skipped: Skipped::default(),
            files: vec![None],
            place: Place::default(),
            key: Vec::new(),
        }
    }

    /// An intake for some records of the zone, whose SOA is known: for other SOA records there is
    /// no excuse.
    pub(super) fn of_part(origin: Name) -> Intake {
        Intake { soa: Some(Soa::default()), ..Intake::new(origin, usize::MAX) }
    }

    /// The line that the next records stand on, for messages.
    #[inline]
    pub fn at_line(&mut self, line: u32) {
        self.place.line = line;
    }

    /// The next records come from this file; `None` is the zone's own.
    pub fn at_file(&mut self, file: Option<Arc<str>>) {
        let known = self.files.iter().position(|other| *other == file);
        let index = known.unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        self.place.file = index as u32;
    }

    /// Takes a record of class IN. `owner` is an absolute name in canonical wire form,
    /// `rdata` is checked wire data with uncompressed names, `ttl` is in seconds.
    #[inline]
    pub fn record(
        &mut self,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Refusal> {
        let Some(relative) = owner::relative(owner, self.origin.as_wire()) else {
            return self.outside(owner, rtype);
        };
        let usage = rdata::use_of(rtype);
        if relative.labels.is_empty() || usage != TypeUse::Rule {
            return self.no_rule(relative, rtype, usage, ttl, rdata);
        }
        match self.rule(relative, rtype, ttl, rdata) {
            Ok(()) if self.len() > self.max_rules => Err(Refusal::TooManyRules(self.max_rules)),
            Ok(()) => Ok(()),
            Err(reason) => {
                self.skip_at(relative.labels, reason);
                Ok(())
            }
        }
    }

    /// Notes something that is no record at all; `owner` is text for the message.
    pub fn skip(&mut self, owner: String, reason: Reason) {
        let place = self.place;
        self.note(place, owner, reason);
    }

    /// Counts something that is no rule by its nature.
    pub fn unused(&mut self) {
        self.skipped.unused += 1;
    }

    /// Notes a record with a good owner (canonical wire, absolute) and something else wrong.
    pub fn skip_owner(&mut self, owner: &[u8], reason: Reason) {
        match owner::relative(owner, self.origin.as_wire()) {
            Some(relative) => self.skip_at(relative.labels, reason),
            None => self.skip(absolute(owner), reason),
        }
    }

    /// Number of rules so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.names.len() + self.nsdnames.len() + self.prefixes.len() + self.shelf.len()
    }

    /// True if there is no rule yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first skipped record, if there is no rule so far but something was skipped.
    pub(super) fn nothing_but_faults(&self) -> Option<&SkippedRecord> {
        self.skipped.first.first().filter(|_| self.is_empty())
    }

    /// True once the zone's SOA is in.
    pub fn has_soa(&self) -> bool {
        self.soa.is_some()
    }

    /// All records are in.
    pub fn finish(mut self) -> Result<ZoneRules, Refusal> {
        let soa = self.soa.take().ok_or_else(|| Refusal::NoSoa(absolute(self.origin.as_wire())))?;
        self.drop_shadowed_data();
        let (data, owners) = self.shelf.finish();
        for owner in owners {
            let action = Action::Data(owner.data);
            let Some(trigger) = trigger_of(owner.key) else { continue };
            self.counts.note(trigger.kind(), action);
            match trigger {
                Trigger::Name(TriggerKind::Nsdname, labels) => {
                    self.nsdnames.push(labels, action.into());
                }
                Trigger::Name(_, labels) => self.names.push(labels, action.into()),
                Trigger::Prefix(kind, net) => self.prefixes.push((kind, net, action.into())),
            }
        }
        self.prefixes.shrink_to_fit();
        let mut rules = ZoneRules::none(self.origin);
        (rules.soa, rules.skipped, rules.counts) = (soa, self.skipped, self.counts);
        (rules.names, rules.nsdnames) = (self.names.into(), Arc::new(self.nsdnames));
        (rules.prefixes, rules.data) = (Arc::new(self.prefixes), data.into_iter().collect());
        rules.included = self.files.into_iter().flatten().collect();
        Ok(rules)
    }

    /// A record that can be a rule: which one.
    #[inline]
    fn rule(
        &mut self,
        relative: Relative<'_>,
        rtype: u16,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Reason> {
        let owner = owner::read(relative)?;
        if rtype == rtype::CNAME {
            match rdata::cname(rdata, owner.written) {
                Meaning::Fixed(action) => return self.plain(&owner, action),
                Meaning::Reserved(reason) => return Err(reason),
                Meaning::Data => {}
            }
        }
        write_key(&owner.trigger, &mut self.key);
        match self.shelf.add(&self.key, self.place, rtype, ttl, rdata) {
            Added::Refused(reason) => Err(reason),
            Added::First | Added::More => Ok(()),
        }
    }

    /// A rule without data. Whether the same trigger has one already is not asked here.
    #[inline]
    fn plain(&mut self, owner: &Owner<'_>, action: Action) -> Result<(), Reason> {
        if self.shelf.len() > 0 {
            write_key(&owner.trigger, &mut self.key);
            if self.shelf.holds(&self.key) {
                return Err("the name has local data already, which comes first".into());
            }
        }
        let code = ActionCode::from(action);
        match owner.trigger {
            Trigger::Name(TriggerKind::Nsdname, labels) => self.nsdnames.push(labels, code),
            Trigger::Name(_, labels) => self.names.push(labels, code),
            Trigger::Prefix(kind, net) => self.prefixes.push((kind, net, code)),
        }
        self.counts.note(owner.trigger.kind(), action);
        Ok(())
    }

    /// A record at the apex, or of a type that makes no rule.
    fn no_rule(
        &mut self,
        relative: Relative<'_>,
        rtype: u16,
        usage: TypeUse,
        ttl: u32,
        rdata: &[u8],
    ) -> Result<(), Refusal> {
        let apex = relative.labels.is_empty();
        let reason = match usage {
            TypeUse::Soa if apex => return self.soa(ttl, rdata),
            TypeUse::Soa if self.soa.is_none() => {
                let found = [relative.labels, self.origin.as_wire()].concat();
                return self.outside(&found, rtype);
            }
            TypeUse::Ns if apex => None,
            TypeUse::Unused => None,
            TypeUse::Rule => Some("data at the zone's own name is no rule"),
            TypeUse::Soa => Some("a SOA belongs to the zone's own name only"),
            TypeUse::Ns => Some("NS is no policy action, and a policy zone has no delegations"),
            TypeUse::No(reason) => Some(reason),
        };
        match reason {
            None => self.skipped.unused += 1,
            Some(reason) => self.skip_at(relative.labels, reason.into()),
        }
        Ok(())
    }

    /// A record that is not in the zone. If it is the first SOA, this is another zone.
    fn outside(&mut self, owner: &[u8], rtype: u16) -> Result<(), Refusal> {
        if rtype == rtype::SOA && self.soa.is_none() {
            return Err(Refusal::other_zone(owner, &self.origin));
        }
        self.skip(absolute(owner), outside(&self.origin));
        Ok(())
    }

    fn soa(&mut self, ttl: u32, rdata: &[u8]) -> Result<(), Refusal> {
        let soa = read_soa(ttl, rdata)?;
        match &self.soa {
            None => self.soa = Some(soa),
            // a dump of a transfer ends with the SOA once more
            Some(first) if first.rdata == soa.rdata => self.skipped.unused += 1,
            Some(_) => self.skip_at(&[], "a second SOA that differs from the first".into()),
        }
        Ok(())
    }

    /// Local data that came behind a rule without data at the same trigger: the rule stays.
    fn drop_shadowed_data(&mut self) {
        if self.shelf.len() == 0 {
            return;
        }
        let mut lost = Vec::new();
        let mut key = std::mem::take(&mut self.key);
        let names = self.names.iter().map(|(name, _)| (TriggerKind::Qname, name));
        let nsdnames = self.nsdnames.iter().map(|(name, _)| (TriggerKind::Nsdname, name));
        for (kind, name) in names.chain(nsdnames) {
            write_key(&Trigger::Name(kind, &name[..name.len() - 1]), &mut key);
            lost.extend(self.shelf.withdraw(&key).map(|gone| (key.clone(), gone)));
        }
        for &(kind, net, _) in &self.prefixes {
            write_key(&Trigger::Prefix(kind, net), &mut key);
            lost.extend(self.shelf.withdraw(&key).map(|gone| (key.clone(), gone)));
        }
        for (key, (place, records)) in lost {
            let owner = trigger_of(&key).map(|trigger| trigger.owner_text());
            let reason = "local data beside a rule without data, which came first";
            self.note(place, owner.unwrap_or_default(), reason.into());
            self.skipped.total += records as u64 - 1;
        }
    }

    /// Notes a record by its labels in front of the zone's name.
    fn skip_at(&mut self, labels: &[u8], reason: Reason) {
        let owner = if labels.is_empty() { "@".to_owned() } else { owner::text(labels) };
        self.skip(owner, reason);
    }

    fn note(&mut self, place: Place, owner: String, reason: Reason) {
        let file = self.files.get(place.file as usize).cloned().flatten();
        self.skipped.note(|| SkippedRecord { file, line: place.line, owner, reason });
    }
}

/// A SOA's fields from its data (RFC 1035 section 3.3.13).
pub(super) fn read_soa(ttl: u32, rdata: &[u8]) -> Result<Soa, Refusal> {
    Soa::from_rdata(ttl, rdata).ok_or(Refusal::BadSoa)
}

/// Why a record outside the zone is skipped.
pub(super) fn outside(origin: &Name) -> Reason {
    format!("outside the zone {}", absolute(origin.as_wire())).into()
}

/// A wire name as absolute text.
pub(super) fn absolute(wire: &[u8]) -> String {
    let mut text = String::new();
    let _ = write_wire(wire, &mut text); // writing to a String cannot fail
    if !text.ends_with('.') || text.ends_with("\\.") {
        text.push('.');
    }
    text
}

/// The bytes that stand for a trigger in the shelf: kind, then the labels, or the address
/// and the length.
#[inline]
pub(super) fn write_key(trigger: &Trigger<'_>, key: &mut Vec<u8>) {
    key.clear();
    key.reserve(MAX_NAME + 1);
    key.push(trigger.kind() as u8);
    match trigger {
        Trigger::Name(_, labels) => key.extend_from_slice(labels),
        Trigger::Prefix(_, IpNet::V4(net)) => {
            key.extend_from_slice(&net.addr().octets());
            key.push(net.prefix_len());
        }
        Trigger::Prefix(_, IpNet::V6(net)) => {
            key.extend_from_slice(&net.addr().octets());
            key.push(net.prefix_len());
        }
    }
}

/// The way back from a key.
fn trigger_of(key: &[u8]) -> Option<Trigger<'_>> {
    let (&kind, rest) = key.split_first()?;
    let kind = *TriggerKind::ALL.get(kind as usize)?;
    if !kind.is_address() {
        return Some(Trigger::Name(kind, rest));
    }
    let (&bits, address) = rest.split_last()?;
    let net = if let Ok(octets) = <[u8; 4]>::try_from(address) {
        IpNet::V4(Ipv4Net::new(Ipv4Addr::from(octets), bits).ok()?)
    } else {
        let octets = <[u8; 16]>::try_from(address).ok()?;
        IpNet::V6(Ipv6Net::new(Ipv6Addr::from(octets), bits).ok()?)
    };
    Some(Trigger::Prefix(kind, net))
}
