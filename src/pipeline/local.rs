//! Names that are answered here: hosts of the configuration, and names that must not leave.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::dns::compose::Composer;
use crate::dns::name::{MAX_NAME, Name, NameBuilder};
use crate::dns::question::Question;
use crate::dns::record::Section;
use crate::dns::suffix::SuffixMap;
use crate::dns::{rcode, rtype};

/// TTL of hosts entries, in seconds: short, they are edited by hand.
const HOSTS_TTL: u32 = 60;
/// TTL of special names and of their SOA (RFC 6303 section 3).
const SPECIAL_TTL: u32 = 10_800;

/// Whom to ask about them: nobody.
const MAILBOX: &[u8; 16] = b"\x06nobody\x07invalid\x00";
/// Longest SOA data of a local zone, in octets: two names and five numbers.
const SOA_MAX: usize = MAX_NAME + MAILBOX.len() + 20;

/// Top-level and other domains that exist nowhere on the Internet: RFC 6761, 6762, 7686, 8375,
/// and `internal`, which ICANN has set aside.
const NOWHERE: &[&str] = &["local", "onion", "invalid", "test", "internal", "home.arpa"];

/// Reverse domains of addresses that have no owner on the Internet (RFC 6303 section 4).
const PRIVATE_REVERSE: &[&str] = &[
    "10.in-addr.arpa",
    "168.192.in-addr.arpa",
    "0.in-addr.arpa",
    "127.in-addr.arpa",
    "254.169.in-addr.arpa",
    "2.0.192.in-addr.arpa",
    "100.51.198.in-addr.arpa",
    "113.0.203.in-addr.arpa",
    "255.255.255.255.in-addr.arpa",
    "d.f.ip6.arpa",
    "8.e.f.ip6.arpa",
    "9.e.f.ip6.arpa",
    "a.e.f.ip6.arpa",
    "b.e.f.ip6.arpa",
    "8.b.d.0.1.0.0.2.ip6.arpa",
];

/// Where this does not exist, browsers keep to the network's resolver.
const CANARY: &str = "use-application-dns.net";

/// What a special domain's names are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    /// The loopback addresses (RFC 6761 section 6.3).
    Localhost,
    /// The name does not exist.
    Nowhere,
    /// The name exists and has nothing (`resolver.arpa`, RFC 9462 section 6.4).
    Nothing,
}

/// What the configuration says about local names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Names and their addresses.
    pub hosts: Vec<(Name, Vec<IpAddr>)>,
    /// Special names are answered here.
    pub special: bool,
    /// `use-application-dns.net` does not exist, so that browsers keep to this resolver.
    pub canary_domain: bool,
}

type Table<T> = HashMap<Name, T, foldhash::fast::RandomState>;

/// The tables made of it.
pub struct LocalNames {
    hosts: Table<Vec<IpAddr>>,
    reverse: Table<Vec<Name>>,
    special: SuffixMap<Special>,
    single_labels: bool,
}

/// A local answer: its code, its records, and the SOA's owner if it is negative.
pub struct LocalAnswer<'l> {
    /// Response code.
    pub rcode: u16,
    /// It is an entry of the operator's own hosts table.
    pub is_host: bool,
    found: Data<'l>,
    zone: Name,
    negative_ttl: u32,
}

enum Data<'l> {
    Addresses(&'l [IpAddr]),
    Names(&'l [Name]),
    None,
}

/// Loopback addresses, as `localhost` has them.
const LOOPBACK: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];

impl LocalNames {
    /// Tables for these settings.
    pub fn new(settings: &Settings) -> LocalNames {
        let mut special = SuffixMap::default();
        let mut reverse: Table<Vec<Name>> = Table::default();
        let mut hosts: Table<Vec<IpAddr>> = Table::default();
        if settings.special {
            fill_special(&mut special);
            for ip in LOOPBACK {
                reverse.insert(reverse_name(ip), vec![literal("localhost")]);
            }
        }
        if settings.canary_domain {
            special.insert(&literal(CANARY), Special::Nowhere);
        }
        for (name, addresses) in &settings.hosts {
            hosts.entry(*name).or_default().extend(addresses);
            for ip in addresses {
                reverse.entry(reverse_name(*ip)).or_default().push(*name);
            }
        }
        LocalNames { hosts, reverse, special, single_labels: settings.special }
    }

    /// The answer, if the name is answered here. Names with a route of their own are looked up
    /// among the hosts only.
    pub fn answer(&self, question: &Question, routed: bool) -> Option<LocalAnswer<'_>> {
        let (name, rtype) = (&question.name, question.rtype);
        let answer = |rcode, found, zone, negative_ttl| {
            Some(LocalAnswer { rcode, is_host: false, found, zone, negative_ttl })
        };
        // what a person edits must not be remembered for hours
        let host = |found, zone| {
            let (rcode, negative_ttl) = (rcode::NOERROR, HOSTS_TTL);
            Some(LocalAnswer { rcode, is_host: true, found, zone, negative_ttl })
        };
        let found = |found, zone| answer(rcode::NOERROR, found, zone, SPECIAL_TTL);
        if !self.hosts.is_empty()
            && let Some(addresses) = self.hosts.get(name)
        {
            return host(Data::Addresses(addresses), *name);
        }
        if name.as_wire().ends_with(b"\x04arpa\0")
            && let Some(names) = self.reverse.get(name)
        {
            return host(Data::Names(names), *name);
        }
        if routed {
            return None;
        }
        if let Some((special, labels)) = self.special.find(name) {
            // the DS of a domain is its parent's data: validating clients need the real one
            let zone = name.suffix(labels);
            return match special {
                _ if rtype == rtype::DS && zone == *name => None,
                Special::Localhost => found(Data::Addresses(&LOOPBACK), zone),
                Special::Nothing => found(Data::None, zone),
                Special::Nowhere => answer(rcode::NXDOMAIN, Data::None, zone, SPECIAL_TTL),
            };
        }
        // a bare host name must not leave; NXDOMAIN would prune a top-level domain (RFC 8020)
        let stays = matches!(rtype, rtype::A | rtype::AAAA | rtype::HTTPS | rtype::ANY);
        if self.single_labels && stays && name.label_count() == 1 {
            return found(Data::None, *name);
        }
        None
    }
}

impl LocalAnswer<'_> {
    /// Where the configuration says so.
    pub fn section(&self) -> &'static str {
        let browsers: Name = literal(CANARY);
        match (self.is_host, &self.found) {
            (true, Data::Names(names)) if **names == [literal("localhost")] => "[local] special",
            (true, _) => "[local.hosts]",
            (false, _) if self.zone == browsers => "[local] canary_domain",
            (false, _) => "[local] special",
        }
    }

    /// The name whose entry it is, or the domain that is special.
    pub fn zone(&self) -> &Name {
        &self.zone
    }

    /// Addresses of the asked type, if this is a host's entry.
    pub fn each_address(&self, qtype: u16, each: &mut dyn FnMut(IpAddr)) {
        if let (true, Data::Addresses(addresses)) = (self.is_host, &self.found) {
            let wanted = |ip: &IpAddr| match qtype {
                rtype::A => ip.is_ipv4(),
                rtype::AAAA => ip.is_ipv6(),
                other => other == rtype::ANY,
            };
            addresses.iter().copied().filter(wanted).for_each(each);
        }
    }

    /// Writes the records; a SOA in authority if there are none.
    pub fn write(&self, owner: &Name, qtype: u16, out: &mut Composer<'_, '_>) {
        let any = qtype == rtype::ANY;
        let mut written = 0;
        match self.found {
            Data::Addresses(addresses) => {
                for ip in addresses {
                    let (rtype, v4, v6);
                    let rdata: &[u8] = match ip {
                        IpAddr::V4(ip) => {
                            (rtype, v4) = (rtype::A, ip.octets());
                            &v4
                        }
                        IpAddr::V6(ip) => {
                            (rtype, v6) = (rtype::AAAA, ip.octets());
                            &v6
                        }
                    };
                    if any || qtype == rtype {
                        out.record(Section::Answer, owner, rtype, HOSTS_TTL, rdata);
                        written += 1;
                    }
                }
            }
            Data::Names(names) if any || qtype == rtype::PTR => {
                for name in names {
                    out.record(Section::Answer, owner, rtype::PTR, HOSTS_TTL, name.as_wire());
                    written += 1;
                }
            }
            Data::Names(_) | Data::None => {}
        }
        if written == 0 {
            let (soa, len) = soa_rdata(&self.zone, self.negative_ttl);
            let ttl = self.negative_ttl;
            out.record(Section::Authority, &self.zone, rtype::SOA, ttl, &soa[..len]);
        }
    }
}

/// The SOA of a zone that exists here only (RFC 6303 section 3): its own name as primary. On the
/// stack, with its length.
fn soa_rdata(zone: &Name, minimum: u32) -> ([u8; SOA_MAX], usize) {
    let mut rdata = [0; SOA_MAX];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        rdata[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    put(zone.as_wire());
    put(MAILBOX);
    for n in [1, 3600, 1200, 604_800, minimum] {
        put(&n.to_be_bytes());
    }
    (rdata, len)
}

fn fill_special(special: &mut SuffixMap<Special>) {
    special.insert(&literal("localhost"), Special::Localhost);
    special.insert(&literal("resolver.arpa"), Special::Nothing);
    for name in NOWHERE.iter().chain(PRIVATE_REVERSE) {
        special.insert(&literal(name), Special::Nowhere);
    }
    // 172.16/12 and 100.64/10 (RFC 7793)
    let twelve = (16..=31).map(|n| format!("{n}.172.in-addr.arpa"));
    let shared = (64..=127).map(|n| format!("{n}.100.in-addr.arpa"));
    for name in twelve.chain(shared) {
        special.insert(&literal(&name), Special::Nowhere);
    }
    // :: and ::1
    for ip in [std::net::Ipv6Addr::UNSPECIFIED, std::net::Ipv6Addr::LOCALHOST] {
        special.insert(&reverse_name(ip.into()), Special::Nowhere);
    }
}

fn literal(text: &str) -> Name {
    text.parse().expect("the names in this file are valid")
}

/// The reverse name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(ip: IpAddr) -> Name {
    let mut out = NameBuilder::new();
    let mut push = |label: &[u8]| {
        out.push_label(label).expect("reverse names have at most 74 octets");
    };
    match ip {
        IpAddr::V4(ip) => {
            for octet in ip.octets().iter().rev() {
                push(octet.to_string().as_bytes());
            }
            push(b"in-addr");
        }
        IpAddr::V6(ip) => {
            for octet in ip.octets().iter().rev() {
                for nibble in [octet & 0xf, octet >> 4] {
                    push(&[b"0123456789abcdef"[usize::from(nibble)]]);
                }
            }
            push(b"ip6");
        }
    }
    push(b"arpa");
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> LocalNames {
        LocalNames::new(&Settings {
            hosts: vec![
                (literal("printer.corp.example"), vec!["10.0.0.9".parse().unwrap()]),
                (literal("six.example"), vec!["2001:db8::6".parse().unwrap()]),
            ],
            special: true,
            canary_domain: true,
        })
    }

    /// Code and number of data records, or nothing if the name is not local.
    fn ask(name: &str, rtype: u16, routed: bool) -> Option<(u16, usize)> {
        let names = names();
        let question = Question::plain(literal(name), rtype);
        let answer = names.answer(&question, routed)?;
        let data = match answer.found {
            Data::Addresses(a) => a.iter().filter(|ip| ip.is_ipv4() == (rtype == rtype::A)).count(),
            Data::Names(n) => n.len(),
            Data::None => 0,
        };
        Some((answer.rcode, data))
    }

    #[test]
    fn what_stays_and_what_leaves() {
        let (ok, nx) = (rcode::NOERROR, rcode::NXDOMAIN);
        for (name, rtype, answer) in [
            ("printer.corp.example", rtype::A, Some((ok, 1))),
            ("printer.corp.example", rtype::AAAA, Some((ok, 0))),
            ("9.0.0.10.in-addr.arpa", rtype::PTR, Some((ok, 1))),
            ("localhost", rtype::A, Some((ok, 1))),
            ("a.localhost", rtype::AAAA, Some((ok, 1))),
            ("1.0.0.127.in-addr.arpa", rtype::PTR, Some((ok, 1))),
            ("8.0.0.10.in-addr.arpa", rtype::PTR, Some((nx, 0))),
            ("1.16.172.in-addr.arpa", rtype::PTR, Some((nx, 0))),
            ("1.32.172.in-addr.arpa", rtype::PTR, None),
            ("1.127.100.in-addr.arpa", rtype::PTR, Some((nx, 0))),
            ("1.d.f.ip6.arpa", rtype::PTR, Some((nx, 0))),
            ("host.local", rtype::A, Some((nx, 0))),
            ("local", rtype::DS, None),
            ("x.home.arpa", rtype::TXT, Some((nx, 0))),
            ("home.arpa", rtype::DS, None),
            ("_dns.resolver.arpa", 64, Some((ok, 0))),
            ("intranet", rtype::A, Some((ok, 0))),
            ("com", rtype::HTTPS, Some((ok, 0))),
            ("com", rtype::DS, None),
            ("com", rtype::NS, None),
            (".", rtype::A, None),
            ("use-application-dns.net", rtype::A, Some((nx, 0))),
            ("example.com", rtype::A, None),
        ] {
            assert_eq!(ask(name, rtype, false), answer, "{name} {rtype}");
        }
        assert_eq!(ask("8.0.0.10.in-addr.arpa", rtype::PTR, true), None);
        assert_eq!(ask("printer.corp.example", rtype::A, true), Some((ok, 1)));
    }

    #[test]
    fn reverse_names() {
        let reverse = |ip: &str| reverse_name(ip.parse().unwrap()).to_string();
        assert_eq!(reverse("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert!(reverse("2001:db8::1").starts_with("1.0.0.0."));
        assert!(reverse("2001:db8::1").ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"));
    }
}
