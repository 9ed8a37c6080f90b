//! The `[[group]]` sections: clients with policy zones or an upstream of their own, and what
//! about them is probably not meant.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ipnet::IpNet;

use super::address::Allow;
use super::convert::At;
use super::fault::Report;
use super::policies::Policies;
use super::resolve::{Resolver, advice, is_reserved, values};
use super::settings::{Group, Mode, Policy};
use super::spelling::quote;
use super::upstreams::Upstreams;
use super::walk::Part;
use crate::dns::name::Name;
use crate::limits;

/// The group that has a network, and where it says so.
struct Owner {
    group: String,
    at: usize,
}

/// Reads the sections. Those without a fault come back; if there is none, one for each section.
pub(super) fn resolve(
    parts: &[Part],
    policies: &Policies,
    upstreams: &Upstreams,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<Group> {
    if let Some(part) = parts.get(limits::GROUPS) {
        let message = format!("there are more than {} groups", limits::GROUPS);
        resolver.report.add(part.at, "group[]", message);
    }
    let known = Known::of(policies);
    let mut names: HashMap<String, usize> = HashMap::new();
    let mut owners: HashMap<IpNet, Owner> = HashMap::new();
    let mut out = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        resolver.required(part, "name");
        resolver.required(part, "clients");
        let name: Option<String> = part.given("name");
        if let Some(first) = name.clone().and_then(|name| names.insert(name, part.at("name"))) {
            let place = resolver.report.place(first, part.at("name"));
            resolver.fault(part, "name", format!("the name is taken already, on {place}"));
        }
        let name = name.unwrap_or_else(|| format!("number {}", index + 1));
        let clients = clients(part, &name, &mut owners, resolver);
        let policies = part.given("policies").map(|zones| known.indexes(part, zones, resolver));
        let upstream: Option<String> = part.given("upstream");
        let upstream = upstream.and_then(|name| resolver.upstream(part, &name, upstreams));
        out.push(Group { name, clients, policies, upstream });
    }
    out
}

/// The networks of one group, each of which no other group has.
fn clients(
    part: &Part,
    group: &str,
    owners: &mut HashMap<IpNet, Owner>,
    resolver: &mut Resolver<'_, '_>,
) -> Vec<IpNet> {
    let networks: Vec<At<IpNet>> = part.given("clients").unwrap_or_default();
    for &At { at, value } in &networks {
        match owners.entry(value) {
            Entry::Vacant(free) => {
                free.insert(Owner { group: group.to_owned(), at });
            }
            Entry::Occupied(taken) => {
                let Owner { group: other, at: first } = taken.get();
                let place = resolver.report.place(*first, at);
                let message = format!(
                    "{value} is in group {group} here and in group {other} on {place}; \
                     take it out of one"
                );
                resolver.report.add(at, part.key("clients"), message);
            }
        }
    }
    values(networks)
}

/// The zones that a group can name.
struct Known {
    /// Position of each zone in the file; of a zone that is given twice the first one.
    places: HashMap<Name, usize>,
    /// The names as text, in order.
    texts: Vec<String>,
    /// True if that is all of them.
    complete: bool,
}

impl Known {
    fn of(policies: &Policies) -> Known {
        let mut places = HashMap::new();
        for (index, zone) in policies.zones.iter().enumerate() {
            places.entry(*zone).or_insert(index);
        }
        let texts = policies.zones.iter().map(Name::to_string).collect();
        Known { places, texts, complete: policies.zones_known }
    }

    /// Where the zones of a group stand, in the group's order.
    fn indexes(
        &self,
        part: &Part,
        zones: Vec<At<Name>>,
        resolver: &mut Resolver<'_, '_>,
    ) -> Vec<usize> {
        let mut out = Vec::with_capacity(zones.len());
        for At { at, value: zone } in zones {
            let message = match self.places.get(&zone) {
                // one that has this name as a [[policy]] is answered there
                Some(&index) => {
                    out.push(index);
                    continue;
                }
                None if is_reserved(&zone) => {
                    "exceptions come first in every group by themselves; take it out".to_owned()
                }
                None if !self.complete => continue,
                None => {
                    let zone = zone.to_string();
                    let advice = advice(&zone, &self.texts);
                    format!("no [[policy]] has the zone {}; {advice}", quote(&zone))
                }
            };
            resolver.report.add(at, part.key("policies"), message);
        }
        out
    }
}

/// Tells what is probably not meant in groups that have no fault; `parts` are their sections.
pub(super) fn warn(
    parts: &[Part],
    groups: &[Group],
    policies: &[Policy],
    allow: &[Allow],
    report: &mut Report<'_>,
) {
    for (part, group) in parts.iter().zip(groups) {
        let name = &group.name;
        if !group.clients.iter().any(|clients| may_be_served(clients, allow)) {
            let message = format!(
                "group {name} is never served: all its clients are outside server.allow; add \
                 their networks there"
            );
            report.warn(part.at("clients"), part.key("clients"), message);
        }
        let Some(listed) = &group.policies else { continue };
        let (at, key) = (part.at("policies"), part.key("policies"));
        if listed.is_empty() {
            let message = format!(
                "clients of group {name} are not filtered: the list is empty; without the key \
                 they have all policy zones"
            );
            report.warn(at, key, message);
            continue;
        }
        // feeds are left out on purpose, the operator's own rules by mistake; a zone that is off
        // has no say anyway
        let left_out = |(index, policy): &(usize, &Policy)| {
            !policy.source.is_remote() && policy.mode != Mode::Off && !listed.contains(index)
        };
        for (_, policy) in policies.iter().enumerate().filter(left_out) {
            let message = format!(
                "group {name} leaves out {}, a zone from a file of this host; add it to \
                 policies if its rules should hold for these clients",
                policy.zone
            );
            report.warn(at, key, message);
        }
    }
}

/// True unless the file alone shows that no client of this network is on the access list.
fn may_be_served(clients: &IpNet, allow: &[Allow]) -> bool {
    allow.iter().any(|entry| match entry {
        // two prefixes have addresses in common only if one holds the other
        Allow::Prefix(prefix) => prefix.contains(clients) || clients.contains(prefix),
        Allow::OnLink => matches!(clients, IpNet::V6(_)),
        Allow::Any => true,
    })
}
