//! The owner of a rule, read as a trigger.
//!
//! Source: internet-draft dnsop-dns-rpz-00 section 4, and what BIND accepts. The suffix
//! counts only as the last label before the zone's name. Addresses must be spelled in the
//! one canonical way, because BIND finds a rule by printing the address and comparing.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::dns::name::write_wire;
use crate::policy::spelling;
use crate::policy::trigger::TriggerKind;

/// Why something is no rule, in words for the operator.
pub(super) type Reason = Cow<'static, str>;

/// What a rule compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger<'a> {
    /// A name: canonical wire labels without the root label.
    Name(TriggerKind, &'a [u8]),
    /// A prefix with its host bits zero.
    Prefix(TriggerKind, IpNet),
}

impl Trigger<'_> {
    /// The kind of trigger.
    pub(super) fn kind(&self) -> TriggerKind {
        match self {
            Trigger::Name(kind, _) | Trigger::Prefix(kind, _) => *kind,
        }
    }

    /// The owner that means this trigger, relative to the zone.
    pub(super) fn owner_text(&self) -> String {
        let written = match self {
            Trigger::Name(_, labels) => text(labels),
            Trigger::Prefix(_, net) => spelling::prefix(net),
        };
        written + spelling::suffix(self.kind())
    }
}

/// An owner taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner<'a> {
    /// What the rule compares.
    pub(super) trigger: Trigger<'a>,
    /// The labels in front of the `rpz-` suffix (all of them for QNAME).
    pub(super) written: &'a [u8],
}

/// An absolute name cut at the zone's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relative<'a> {
    /// Labels in front of the zone's name, without a root label.
    pub(super) labels: &'a [u8],
    /// Where the last of them starts.
    last: usize,
}

/// Cuts `origin` off `name`, both canonical wire names; `None` if `name` is outside.
#[inline]
pub(super) fn relative<'a>(name: &'a [u8], origin: &[u8]) -> Option<Relative<'a>> {
    let cut = name.len().checked_sub(origin.len())?;
    if name[cut..] != *origin {
        return None;
    }
    let (mut at, mut last) = (0, 0);
    while at < cut {
        last = at;
        at += name[at] as usize + 1;
    }
    (at == cut).then_some(Relative { labels: &name[..cut], last })
}

/// Wire labels without a root label as relative text.
pub(super) fn text(labels: &[u8]) -> String {
    let mut out = String::new();
    let _ = write_wire(&[labels, &[0]].concat(), &mut out); // writing to a String cannot fail
    out
}

/// Reads the owner of a rule. The apex (no labels at all) is the caller's business.
#[inline]
pub(super) fn read(name: Relative<'_>) -> Result<Owner<'_>, Reason> {
    let (written, suffix) = name.labels.split_at(name.last);
    let kind = match suffix.get(1..) {
        Some(label) if label.starts_with(b"rpz-") => suffix_kind(label),
        _ => None,
    };
    let Some(kind) = kind else {
        let trigger = Trigger::Name(TriggerKind::Qname, name.labels);
        return Ok(Owner { trigger, written: name.labels });
    };
    let trigger = if kind.is_address() {
        Trigger::Prefix(kind, prefix(written)?)
    } else if written.is_empty() {
        return Err("too short: a name is missing in front of rpz-nsdname".into());
    } else {
        Trigger::Name(kind, written)
    };
    Ok(Owner { trigger, written })
}

/// The four suffixes; any other `rpz-` label is part of an ordinary name.
fn suffix_kind(label: &[u8]) -> Option<TriggerKind> {
    Some(match label {
        b"rpz-client-ip" => TriggerKind::ClientIp,
        b"rpz-ip" => TriggerKind::Ip,
        b"rpz-nsdname" => TriggerKind::Nsdname,
        b"rpz-nsip" => TriggerKind::Nsip,
        _ => return None,
    })
}

/// True for a last label that makes an owner something else than a query name.
pub(super) fn is_suffix(label: &[u8]) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"rpz-"))
        && suffix_kind(&label.to_ascii_lowercase()).is_some()
}

/// Reads `<prefix>.<reversed address>`.
fn prefix(labels: &[u8]) -> Result<IpNet, Reason> {
    let mut rest = labels;
    let mut parts: Vec<&[u8]> = Vec::with_capacity(9);
    while let Some((&len, tail)) = rest.split_first() {
        let Some((label, tail)) = tail.split_at_checked(len as usize) else { break };
        parts.push(label);
        rest = tail;
        if parts.len() > 9 {
            return Err("too many labels for an address".into());
        }
    }
    let [bits, address @ ..] = &parts[..] else {
        return Err("too short: a prefix length and an address are missing".into());
    };
    let bits = prefix_length(bits)?;
    let has_z = address.iter().any(|label| label.contains(&b'z'));
    let net = if address.len() == 4 && !has_z { v4(bits, address)? } else { v6(bits, address)? };
    if net.addr() != net.network() {
        let right = spelling::prefix(&net.trunc());
        return Err(format!("the address has bits beyond its prefix; write {right}").into());
    }
    let right = spelling::prefix(&net);
    if !right.split('.').map(str::as_bytes).eq(parts.iter().copied()) {
        return Err(format!("not the canonical spelling; write {right}").into());
    }
    Ok(net)
}

/// The first label, 1 to 128.
fn prefix_length(label: &[u8]) -> Result<u8, Reason> {
    match number(label, 10) {
        None => Err("the first label is no prefix length".into()),
        Some(0) => Err("a prefix length of 0 is not allowed".into()),
        Some(n) => match u8::try_from(n) {
            Ok(bits) if bits <= 128 => Ok(bits),
            _ => Err("the prefix length is above 128".into()),
        },
    }
}

/// Four octets, the last one first.
fn v4(bits: u8, labels: &[&[u8]]) -> Result<IpNet, Reason> {
    if bits > 32 {
        return Err("the prefix length of an IPv4 address is above 32".into());
    }
    let mut octets = [0; 4];
    for (octet, label) in octets.iter_mut().rev().zip(labels) {
        let value = number(label, 10).ok_or("an IPv4 octet is no decimal number")?;
        *octet = u8::try_from(value).map_err(|_| "an IPv4 octet is above 255")?;
    }
    net(IpAddr::V4(Ipv4Addr::from(octets)), bits)
}

/// Eight words, the last one first, or fewer with one `zz` for a run of zeros.
fn v6(bits: u8, labels: &[&[u8]]) -> Result<IpNet, Reason> {
    let mut words = Vec::with_capacity(8);
    let mut compressed = false;
    for label in labels {
        if *label == b"zz" {
            if compressed {
                return Err("zz may stand only once in an address".into());
            }
            let zeros = 9_usize.saturating_sub(labels.len());
            if zeros < 2 {
                return Err("zz stands for at least two zero words".into());
            }
            compressed = true;
            words.resize(words.len() + zeros, 0);
            continue;
        }
        let value = number(label, 16).ok_or("an IPv6 word is no hexadecimal number")?;
        words.push(u16::try_from(value).map_err(|_| "an IPv6 word is above ffff")?);
    }
    words.reverse();
    let Ok(words) = <[u16; 8]>::try_from(words) else {
        return Err("an address has 4 decimal octets, or 8 hexadecimal words (or zz)".into());
    };
    let address = Ipv6Addr::from(words);
    if let (true, Some(v4)) = (bits >= 96, address.to_ipv4_mapped()) {
        return match net(IpAddr::V4(v4), bits - 96) {
            Ok(net) if bits > 96 => {
                let right = spelling::prefix(&net.trunc());
                Err(format!("an IPv4 address in IPv6 form; write {right}").into())
            }
            _ => Err("an IPv6 form of all IPv4 addresses".into()),
        };
    }
    net(IpAddr::V6(address), bits)
}

/// A prefix whose length was checked against its family.
fn net(address: IpAddr, bits: u8) -> Result<IpNet, Reason> {
    IpNet::new(address, bits).map_err(|_| "the prefix length is out of range".into())
}

/// A number of up to 6 digits. Leading zeros pass here and fail as not canonical.
fn number(label: &[u8], radix: u32) -> Option<u32> {
    if label.is_empty() || label.len() > 6 {
        return None;
    }
    label.iter().try_fold(0, |sum, &b| Some(sum * radix + (b as char).to_digit(radix)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::name::Name;

    /// The trigger of an owner as text: kind and prefix or name, or the reason against it.
    fn trigger(owner: &str) -> Result<String, String> {
        let name: Name = owner.parse().unwrap();
        let relative = relative(name.as_wire(), Name::ROOT.as_wire()).unwrap();
        let trigger = read(relative).map_err(|reason| reason.to_string())?.trigger;
        assert_eq!(trigger.owner_text(), owner.to_ascii_lowercase());
        match trigger {
            Trigger::Prefix(kind, net) => Ok(format!("{kind} {net}")),
            Trigger::Name(kind, labels) => {
                let wire = [labels, &[0]].concat();
                Ok(format!("{kind} {}", Name::from_wire(&wire).unwrap()))
            }
        }
    }

    #[test]
    fn good_owners() {
        for (owner, wanted) in [
            ("Bad.Example", "QNAME bad.example"),
            ("*.bad.example", "QNAME *.bad.example"),
            ("*", "QNAME *"),
            ("a.*.b", "QNAME a.*.b"),
            ("32.8.0.3.10.rpz-ip.n1.t2", "QNAME 32.8.0.3.10.rpz-ip.n1.t2"),
            ("x.rpz-foo", "QNAME x.rpz-foo"),
            ("rpz-passthru", "QNAME rpz-passthru"),
            ("ns.example.rpz-nsdname", "NSDNAME ns.example"),
            ("*.example.RPZ-nsdname", "NSDNAME *.example"),
            ("24.0.2.0.192.rpz-ip", "IP 192.0.2.0/24"),
            ("32.1.2.0.192.rpz-client-ip", "CLIENT-IP 192.0.2.1/32"),
            ("8.0.0.0.10.rpz-nsip", "NSIP 10.0.0.0/8"),
            ("1.0.0.0.128.rpz-ip", "IP 128.0.0.0/1"),
            ("48.zz.1.db8.2001.rpz-ip", "IP 2001:db8:1::/48"),
            ("48.ZZ.1.DB8.2001.rpz-ip", "IP 2001:db8:1::/48"),
            ("128.57.zz.101.db8.2001.rpz-ip", "IP 2001:db8:101::57/128"),
            ("128.8.7.6.5.4.3.2.1.rpz-ip", "IP 1:2:3:4:5:6:7:8/128"),
            ("128.8.7.6.5.0.3.2.1.rpz-ip", "IP 1:2:3:0:5:6:7:8/128"),
            ("128.zz.rpz-ip", "IP ::/128"),
            ("128.1.zz.rpz-ip", "IP ::1/128"),
            ("1.zz.8000.rpz-ip", "IP 8000::/1"),
            ("16.zz.rpz-ip", "IP ::/16"),
            // equal runs: the last as written is the one compressed
            ("128.1.0.0.4.5.zz.8.rpz-ip", "IP 8::5:4:0:0:1/128"),
            ("128.1.0.0.4.5.6.zz.rpz-ip", "IP ::6:5:4:0:0:1/128"),
            // but a longer one goes first
            ("128.zz.4.5.0.0.8.rpz-ip", "IP 8:0:0:5:4::/128"),
            // four labels with zz among them are IPv6
            ("128.1.zz.2.3.rpz-ip", "IP 3:2::1/128"),
            // mapped, but a prefix shorter than 96 is a real IPv6 block
            ("95.0.0.fffe.zz.rpz-ip", "IP ::fffe:0:0/95"),
        ] {
            assert_eq!(trigger(owner).as_deref(), Ok(wanted), "{owner}");
        }
    }

    #[test]
    fn bad_owners_and_why() {
        for (owner, reason) in [
            ("rpz-ip", "too short"),
            ("rpz-nsdname", "too short"),
            ("32.rpz-ip", "an address has 4"),
            ("0.0.0.0.0.rpz-ip", "a prefix length of 0"),
            ("33.1.2.0.192.rpz-ip", "the prefix length of an IPv4 address is above 32"),
            ("129.1.zz.rpz-ip", "the prefix length is above 128"),
            ("999999999.1.zz.rpz-ip", "the first label is no prefix length"),
            ("x.1.2.0.192.rpz-ip", "the first label is no prefix length"),
            ("+24.0.2.0.192.rpz-ip", "the first label is no prefix length"),
            ("24.1.2.0.192.rpz-ip", "the address has bits beyond its prefix; write 24.0.2.0.192"),
            ("32.256.2.0.192.rpz-ip", "an IPv4 octet is above 255"),
            ("32.a.2.0.192.rpz-ip", "an IPv4 octet is no decimal"),
            ("32.01.2.0.192.rpz-ip", "not the canonical spelling; write 32.1.2.0.192"),
            ("032.1.2.0.192.rpz-ip", "not the canonical spelling; write 32.1.2.0.192"),
            ("32.2.0.192.rpz-ip", "an address has 4"),
            ("32.1.1.2.0.192.rpz-ip", "an address has 4"),
            ("128.10000.zz.rpz-ip", "an IPv6 word is above ffff"),
            ("128.x.zz.rpz-ip", "an IPv6 word is no hexadecimal"),
            ("128.zzz.rpz-ip", "an IPv6 word is no hexadecimal"),
            ("128.1.zz.2.zz.rpz-ip", "zz may stand only once"),
            ("128.01.zz.rpz-ip", "not the canonical spelling; write 128.1.zz"),
            ("128.1.0.0.0.0.0.0.0.rpz-ip", "not the canonical spelling; write 128.1.zz"),
            ("128.1.zz.0.8.rpz-ip", "not the canonical spelling; write 128.1.zz.8"),
            ("128.8.7.6.5.zz.3.2.1.rpz-ip", "zz stands for at least two"),
            ("128.1.zz.4.5.0.0.8.rpz-ip", "not the canonical spelling; write 128.1.0.0.4.5.zz.8"),
            ("64.1.zz.rpz-ip", "the address has bits beyond its prefix; write 64.zz"),
            ("128.102.304.ffff.zz.rpz-ip", "an IPv4 address in IPv6 form; write 32.2.1.4.3"),
            ("112.0.102.ffff.zz.rpz-nsip", "an IPv4 address in IPv6 form; write 16.0.0.2.1"),
            ("96.0.0.ffff.zz.rpz-ip", "an IPv6 form of all IPv4 addresses"),
            ("128.1.2.3.4.5.6.7.8.9.rpz-ip", "too many labels"),
        ] {
            match trigger(owner) {
                Ok(got) => panic!("{owner} became {got}"),
                Err(why) => assert!(why.starts_with(reason), "{owner}: {why}"),
            }
        }
    }

    #[test]
    fn every_printed_prefix_reads_back() {
        let mut state = 1_u64;
        for round in 0..2_000 {
            // a small generator is enough: few bits set, so that runs of zeros are common
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(round);
            let words: [u16; 8] =
                std::array::from_fn(|i| if state >> (20 + i) & 1 == 0 { 0 } else { i as u16 + 9 });
            for (address, max) in [
                (IpAddr::from(words), 128),
                (IpAddr::from((state as u32 & 0xff00_00ff).to_be_bytes()), 32),
            ] {
                let bits = 1 + (state >> 33) as u8 % max;
                let net = IpNet::new(address, bits).unwrap().trunc();
                let owner = format!("{}.rpz-ip", spelling::prefix(&net));
                assert_eq!(trigger(&owner).unwrap(), format!("IP {net}"), "{owner}");
            }
        }
    }

    #[test]
    fn cut_at_the_zone() {
        let wire = |text: &str| text.parse::<Name>().unwrap();
        let zone = wire("rpz.test");
        let (inside, apex) = (wire("a.b.rpz.test"), wire("rpz.test"));
        let cut = relative(inside.as_wire(), zone.as_wire()).unwrap();
        assert_eq!((cut.labels, cut.last), (&b"\x01a\x01b"[..], 2));
        assert!(relative(apex.as_wire(), zone.as_wire()).unwrap().labels.is_empty());
        for outside in ["test", "xrpz.test", "a.other", "."] {
            assert_eq!(relative(wire(outside).as_wire(), zone.as_wire()), None, "{outside}");
        }
    }
}
