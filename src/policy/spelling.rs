//! How the owner of a rule is spelled, for logs and explanations.
//!
//! Source: internet-draft dnsop-dns-rpz-00 section 4, and BIND's canonical form of addresses.

use std::net::IpAddr;

use ipnet::IpNet;

use super::stage::{Matched, Owner};
use super::trigger::TriggerKind;
use crate::dns::name::{Name, NameBuilder};

/// The label between a trigger and the zone's name; empty for QNAME.
pub fn suffix(kind: TriggerKind) -> &'static str {
    match kind {
        TriggerKind::ClientIp => ".rpz-client-ip",
        TriggerKind::Qname => "",
        TriggerKind::Ip => ".rpz-ip",
        TriggerKind::Nsdname => ".rpz-nsdname",
        TriggerKind::Nsip => ".rpz-nsip",
    }
}

/// The owner of the rule as it is written in its zone, without the zone's name.
pub fn owner(kind: TriggerKind, name: &Name, matched: &Matched) -> String {
    let written = match matched {
        Matched::Name(owner) => covering(name, *owner),
        Matched::Server(server, owner) => covering(server, *owner),
        Matched::Address(_, net) => prefix(net),
    };
    written + suffix(kind)
}

/// The owner as BIND logs it: made from what matched, so that a wildcard does not show.
pub fn owner_matched(kind: TriggerKind, name: &Name, matched: &Matched) -> String {
    let written = match matched {
        Matched::Name(_) => name.to_string(),
        Matched::Server(server, _) => server.to_string(),
        Matched::Address(_, net) => prefix(net),
    };
    written + suffix(kind)
}

/// The name that a rule on names is written for, a leading `*` kept; `None` if that would be too
/// long a name.
pub fn trigger_name(name: &Name, owner: Owner) -> Option<Name> {
    let kept = name.suffix(usize::from(owner.labels));
    if !owner.wildcard {
        return Some(kept);
    }
    let mut star = NameBuilder::new();
    star.push_label(b"*").ok()?;
    star.finish().join(&kept).ok()
}

/// The canonical spelling of a prefix, without the label behind it: `24.0.2.0.192`.
pub fn prefix(net: &IpNet) -> String {
    let bits = net.prefix_len();
    match net.addr() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{bits}.{d}.{c}.{b}.{a}")
        }
        IpAddr::V6(address) => {
            let mut words = address.segments();
            words.reverse();
            let run = longest_zero_run(&words);
            let mut out = bits.to_string();
            for (i, word) in words.iter().enumerate() {
                if i == run.start && !run.is_empty() {
                    out.push_str(".zz");
                }
                if !run.contains(&i) {
                    out.push_str(&format!(".{word:x}"));
                }
            }
            out
        }
    }
}

fn covering(name: &Name, owner: Owner) -> String {
    let kept = name.suffix(usize::from(owner.labels));
    match (owner.wildcard, kept.is_root()) {
        (true, true) => "*".to_owned(),
        (true, false) => format!("*.{kept}"),
        (false, _) => kept.to_string(),
    }
}

/// The longest run of two or more zero words; of equal ones the last as written.
fn longest_zero_run(words: &[u16; 8]) -> std::ops::Range<usize> {
    let mut best = 0..0;
    let mut start = 0;
    for (i, &word) in words.iter().enumerate() {
        if word != 0 {
            start = i + 1;
        } else if i + 1 - start >= best.len().max(2) {
            best = start..i + 1;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_as_written_and_as_logged() {
        let name: Name = "www.bad.example".parse().unwrap();
        let wild = Matched::Name(Owner { labels: 2, wildcard: true });
        assert_eq!(owner(TriggerKind::Qname, &name, &wild), "*.bad.example");
        assert_eq!(owner_matched(TriggerKind::Qname, &name, &wild), "www.bad.example");
        let written = |labels, wildcard| trigger_name(&name, Owner { labels, wildcard }).unwrap();
        assert_eq!(written(2, true), "*.bad.example".parse().unwrap());
        assert_eq!(written(3, false), name);
        assert_eq!(written(0, true), "*".parse().unwrap());
        let server = "ns.evil.test".parse().unwrap();
        let root = Matched::Server(server, Owner { labels: 0, wildcard: true });
        assert_eq!(owner(TriggerKind::Nsdname, &name, &root), "*.rpz-nsdname");
        assert_eq!(owner_matched(TriggerKind::Nsdname, &name, &root), "ns.evil.test.rpz-nsdname");
        let net = "192.0.2.0/24".parse().unwrap();
        let address = Matched::Address("192.0.2.9".parse().unwrap(), net);
        assert_eq!(owner(TriggerKind::Ip, &name, &address), "24.0.2.0.192.rpz-ip");
    }
}
