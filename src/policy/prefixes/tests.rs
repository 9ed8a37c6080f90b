//! The table against written cases and an obvious matcher; the order of ties against owners
//! that are really written out.

use super::*;
use proptest::prelude::*;
use std::cmp::Ordering;

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A table of rules in text form, and what it refused.
fn table(rules: &[(u8, &str, ActionCode)]) -> (PrefixTable, Vec<(u8, String)>) {
    let mut refused = Vec::new();
    let rules = rules.iter().map(|&(zone, prefix, action)| (zone, net(prefix), action));
    let table = PrefixTable::build(rules, &mut |zone, prefix| {
        refused.push((zone, prefix.to_string()));
    });
    (table, refused)
}

/// The rule of a zone over an address, as text.
fn longest(table: &PrefixTable, zone: u8, asked: &str) -> Option<String> {
    table.longest(zone, address(asked)).map(|rule| format!("{} {}", rule.prefix, rule.action))
}

/// The rules that a table must have taken, each looked at for each question.
struct Naive(Vec<(u8, IpNet, ActionCode)>);

impl Naive {
    /// Takes the first rule of a zone and prefix; the others come back.
    fn new(rules: &[(u8, IpNet, ActionCode)]) -> (Naive, Vec<(u8, IpNet)>) {
        let (mut taken, mut refused) = (Naive(Vec::new()), Vec::new());
        for &(zone, prefix, action) in rules {
            let prefix = prefix.trunc();
            if zone >= MAX_ZONES || taken.get(zone, &prefix).is_some() {
                refused.push((zone, prefix));
            } else {
                taken.0.push((zone, prefix, action));
            }
        }
        (taken, refused)
    }

    fn get(&self, zone: u8, prefix: &IpNet) -> Option<ActionCode> {
        let same = |rule: &&(u8, IpNet, ActionCode)| rule.0 == zone && rule.1 == prefix.trunc();
        self.0.iter().find(same).map(|rule| rule.2)
    }

    fn zones(&self, asked: IpAddr) -> u64 {
        let over = self.0.iter().filter(|rule| rule.1.contains(&asked));
        over.fold(0, |mask, rule| mask | 1 << rule.0)
    }

    fn longest(&self, zone: u8, asked: IpAddr) -> Option<PrefixRule> {
        let over = self.0.iter().filter(|rule| rule.0 == zone && rule.1.contains(&asked));
        let longest = over.max_by_key(|rule| rule.1.prefix_len());
        longest.map(|&(_, prefix, action)| PrefixRule { prefix, action })
    }

    fn prefixes(&self) -> std::collections::BTreeSet<IpNet> {
        self.0.iter().map(|rule| rule.1).collect()
    }
}

/// First and last address of a prefix, and the neighbours outside.
fn edges(prefix: &IpNet) -> Vec<IpAddr> {
    match prefix {
        IpNet::V4(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            all.map(|bits| std::net::Ipv4Addr::from_bits(bits).into()).to_vec()
        }
        IpNet::V6(net) => {
            let (first, last) = (net.network().to_bits(), net.broadcast().to_bits());
            let all = [first, last, first.wrapping_sub(1), last.wrapping_add(1)];
            all.map(|bits| std::net::Ipv6Addr::from_bits(bits).into()).to_vec()
        }
    }
}

/// Holds the table of `rules` against the naive matcher, for `asked` and every edge.
fn hold(rules: &[(u8, IpNet, ActionCode)], asked: &[IpAddr]) {
    let mut refused = Vec::new();
    let table = PrefixTable::build(rules.iter().copied(), &mut |zone, prefix| {
        refused.push((zone, prefix.trunc()));
    });
    let (naive, mut wanted) = Naive::new(rules);
    refused.sort();
    wanted.sort();
    assert_eq!(refused, wanted);
    let prefixes = naive.prefixes();
    assert_eq!(table.len(), prefixes.len());
    assert_eq!(table.is_empty(), naive.0.is_empty());
    assert_eq!(table.present(), naive.0.iter().fold(0, |mask, rule| mask | 1 << rule.0));
    let edges = prefixes.iter().flat_map(edges);
    for asked in asked.iter().copied().chain(edges) {
        assert_eq!(table.zones(asked), naive.zones(asked), "{asked}");
        for zone in 0..=MAX_ZONES {
            assert_eq!(table.longest(zone, asked), naive.longest(zone, asked), "{zone} {asked}");
        }
    }
    // each prefix in each zone, also one bit shorter and longer than it is
    for prefix in &prefixes {
        let len = prefix.prefix_len();
        for len in [len.saturating_sub(1), len, len + 1] {
            let Ok(near) = IpNet::new(prefix.addr(), len) else { continue };
            for zone in 0..=MAX_ZONES {
                assert_eq!(table.get(zone, &near), naive.get(zone, &near), "{zone} {near}");
            }
        }
    }
}

/// An address of a family. Of many, only a few bits on top and at the end differ, so that
/// prefixes meet; some are anywhere, and IPv6 has mapped ones.
fn any_address() -> impl Strategy<Value = IpAddr> {
    let close = |bits: u32| bits & 0xe000_0007;
    prop_oneof![
        4 => any::<u32>().prop_map(move |bits| IpAddr::V4(close(bits).into())),
        2 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())),
        4 => any::<u32>().prop_map(move |bits| {
            let (top, end) = (close(bits) & !7, close(bits) & 7);
            IpAddr::V6((u128::from(top) << 96 | u128::from(end)).into())
        }),
        1 => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into())),
        2 => any::<u32>().prop_map(move |bits| {
            IpAddr::V6(std::net::Ipv4Addr::from_bits(close(bits)).to_ipv6_mapped())
        }),
    ]
}

/// A prefix of any length, host bits set or not; the ends of the scale are common.
fn any_prefix() -> impl Strategy<Value = IpNet> {
    let len = prop_oneof![8 => 0..=128_u8, 1 => Just(0), 1 => Just(128), 2 => 0..=8_u8];
    (any_address(), len).prop_map(|(address, len)| {
        let len = if address.is_ipv4() { len % 33 } else { len };
        IpNet::new(address, len).unwrap()
    })
}

fn any_rules(zones: u8, most: usize) -> impl Strategy<Value = Vec<(u8, IpNet, ActionCode)>> {
    prop::collection::vec((0..zones, any_prefix(), 0..3_u32), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn finds_what_the_naive_matcher_finds(
        few in any_rules(2, 40),
        many in any_rules(MAX_ZONES + 1, 150),
        asked in prop::collection::vec(any_address(), 0..40),
    ) {
        hold(&few, &asked);
        hold(&many, &asked);
    }

    #[test]
    fn ties_are_settled_as_the_written_owners_are(a in any_prefix(), b in any_prefix()) {
        prop_assert_eq!(precedence(&a, &b), by_owner(&a, &b));
        prop_assert_eq!(precedence(&b, &a), by_owner(&a, &b).reverse());
        // the same length, which is where the spelling counts
        if let Ok(b) = IpNet::new(b.addr(), a.prefix_len()) {
            prop_assert_eq!(precedence(&a, &b), by_owner(&a, &b));
        }
    }

    #[test]
    fn words_that_look_alike_are_settled_too(
        a in prop::array::uniform8(prop::sample::select(&[0, 0, 0, 1, 0xfe, 0xff, 0x100][..])),
        b in prop::array::uniform8(prop::sample::select(&[0, 0, 0, 1, 0xfe, 0xff, 0x100][..])),
    ) {
        let [a, b] = [a, b].map(|words: [u16; 8]| IpNet::from(IpAddr::from(words)));
        prop_assert_eq!(precedence(&a, &b), by_owner(&a, &b));
    }
}

#[test]
fn nothing_covers_without_rules() {
    let empty = PrefixTable::empty();
    for asked in ["0.0.0.0", "255.255.255.255", "::", "ffff::ffff"] {
        assert_eq!((empty.zones(address(asked)), longest(&empty, 0, asked)), (0, None));
    }
    assert!(empty.is_empty());
    assert_eq!((empty.len(), empty.present()), (0, 0));
    assert_eq!(empty.get(0, &net("0.0.0.0/0")), None);
    assert_eq!(empty.bytes(), size_of::<PrefixTable>());
}

#[test]
fn the_longest_prefix_of_each_zone() {
    let (table, refused) = table(&[
        (0, "10.0.0.0/8", 1),
        (0, "10.1.0.0/16", 2),
        (1, "10.1.2.0/24", 3),
        (63, "0.0.0.0/0", 4),
        (2, "10.1.0.0/16", 5),
    ]);
    assert_eq!(refused, []);
    assert_eq!(table.zones(address("10.1.2.3")), 1 << 63 | 0b111);
    assert_eq!(table.zones(address("10.1.3.0")), 1 << 63 | 0b101);
    assert_eq!(table.zones(address("9.255.255.255")), 1 << 63);
    assert_eq!(longest(&table, 0, "10.1.2.3").unwrap(), "10.1.0.0/16 2");
    assert_eq!(longest(&table, 0, "10.2.0.0").unwrap(), "10.0.0.0/8 1");
    assert_eq!(longest(&table, 2, "10.1.2.3").unwrap(), "10.1.0.0/16 5");
    assert_eq!(longest(&table, 63, "10.1.2.3").unwrap(), "0.0.0.0/0 4");
    assert_eq!(longest(&table, 1, "10.1.3.0"), None);
    assert_eq!(longest(&table, 64, "10.1.3.0"), None);
    assert_eq!((table.len(), table.present()), (4, 1 << 63 | 0b111));
}

#[test]
fn the_families_stay_apart() {
    let rules = [(0, "192.0.2.0/24", 1), (1, "::ffff:192.0.2.0/120", 2), (2, "::/16", 3)];
    let (table, _) = table(&rules);
    assert_eq!(table.zones(address("192.0.2.7")), 0b001);
    assert_eq!(table.zones(address("::ffff:192.0.2.7")), 0b110);
    assert_eq!(longest(&table, 1, "::ffff:192.0.2.7").unwrap(), "::ffff:192.0.2.0/120 2");
    assert_eq!(table.get(0, &net("::ffff:192.0.2.0/120")), None);
}

#[test]
fn later_rules_and_unknown_zones_are_refused() {
    let (table, mut refused) = table(&[
        (3, "10.0.0.0/8", 1),
        (3, "10.0.0.0/9", 2),
        (3, "10.0.0.0/8", 3),
        (4, "10.0.0.0/8", 4),
        (64, "10.0.0.0/8", 5),
        (3, "10.9.9.9/8", 6),
        (255, "::/0", 7),
    ]);
    refused.sort();
    let wanted = [(3, "10.0.0.0/8"), (3, "10.0.0.0/8"), (64, "10.0.0.0/8"), (255, "::/0")];
    assert_eq!(refused, wanted.map(|(zone, prefix)| (zone, prefix.to_string())));
    assert_eq!(table.get(3, &net("10.0.0.0/8")), Some(1));
    assert_eq!(table.get(4, &net("10.255.0.0/8")), Some(4));
    assert_eq!(table.get(3, &net("10.0.0.0/9")), Some(2));
    assert_eq!(table.get(4, &net("10.0.0.0/9")), None);
    assert_eq!(table.get(3, &net("10.0.0.0/10")), None);
    assert_eq!(table.len(), 2);
}

#[test]
fn every_length_around_one_address() {
    // all of them start at the same place, so that each look-up climbs as far as it can
    for last in ["0.0.0.0", "255.255.255.255", "::", "ffff:ffff::"] {
        let last = address(last);
        let most = if last.is_ipv4() { 32 } else { 128 };
        let nets = (0..=most).map(|len| IpNet::new(last, len).unwrap().trunc());
        let rules: Vec<_> = nets.map(|net| (net.prefix_len() % 64, net, 9)).collect();
        hold(&rules, &[last]);
    }
}

#[test]
fn a_large_table_goes_by_its_index() {
    // crowds at both ends of the index and in one cell of it, little in between
    let mut rules = Vec::new();
    for i in 0..700_u32 {
        for (start, len) in [(i, 32), (u32::MAX - i, 32), (0x0a00_0000 + i * 16, 28)] {
            let prefix = IpNet::new(IpAddr::V4(start.into()), len).unwrap();
            rules.push(((i % 5) as u8, prefix, i % 7));
        }
    }
    rules.push((6, net("8.0.0.0/5"), 1));
    let (naive, _) = Naive::new(&rules);
    let table = PrefixTable::build(rules.iter().copied(), &mut |zone, prefix| {
        panic!("refused: {zone} {prefix}");
    });
    let mut asked: Vec<u32> = (0..32).map(|bit| 1 << bit).collect();
    asked.extend((0..256).map(|i| i << 24 | 77));
    asked.extend((0..710).flat_map(|i| [i, u32::MAX - i, 0x0a00_0000 + i * 16 + 3]));
    for asked in asked {
        let asked = IpAddr::V4(asked.into());
        assert_eq!(table.zones(asked), naive.zones(asked), "{asked}");
        for zone in 0..7 {
            assert_eq!(table.longest(zone, asked), naive.longest(zone, asked), "{asked}");
        }
    }
}

#[test]
fn an_index_skips_what_all_prefixes_share() {
    for around in ["2001:db8::", "::", "ffff:ffff::", "10.20.0.0", "0.0.0.0", "255.255.0.0"] {
        let place = |i: u32| match address(around) {
            IpAddr::V4(start) => IpAddr::V4((start.to_bits() + i * 8).into()),
            IpAddr::V6(start) => IpAddr::V6((start.to_bits() + (u128::from(i) << 70)).into()),
        };
        let len = if place(0).is_ipv4() { 29 } else { 60 };
        let rules = (1..100).map(|i| (0, IpNet::new(place(i), len).unwrap().trunc(), i));
        let mut rules: Vec<_> = rules.collect();
        let outside = ["::1", "2001:db7:ffff::", "2001:db9::", "8000::", "ffff:ffff:ffff::"];
        let outside = outside.into_iter().chain(["0.0.0.1", "10.19.255.255", "10.21.0.0"]);
        let outside: Vec<_> = outside.chain(["255.255.255.255"]).map(address).collect();
        hold(&rules, &outside);
        rules.push((1, IpNet::new(place(0), 7).unwrap().trunc(), 7));
        hold(&rules, &outside);
    }
    // nothing but lengths tells them apart: all bits are shared
    let rules: Vec<_> =
        (0..=128).map(|len| (0, IpNet::new(address("::"), len).unwrap(), 1)).collect();
    hold(&rules, &[address("::"), address("::1"), address("8000::")]);
}

#[test]
fn a_prefix_takes_few_octets() {
    let rules = (0..10_000_u32).map(|i| {
        let start = i.wrapping_mul(0x9e37_79b9);
        (0, IpNet::from(IpAddr::V4(start.into())), 1)
    });
    let table = PrefixTable::build(rules, &mut |_, _| ());
    let each = table.bytes() as f64 / table.len() as f64;
    assert!((20.0..30.0).contains(&each), "{each} octets a prefix");
}

#[test]
fn ties_by_hand() {
    // the winner first
    for (a, b, owners) in [
        ("10.8.0.1/32", "10.7.0.9/32", ["32.1.0.8.10", "32.9.0.7.10"]),
        ("10.0.0.9/32", "10.0.0.10/32", ["32.9.0.0.10", "32.10.0.0.10"]),
        ("10.0.0.2/32", "1.0.0.3/32", ["32.2.0.0.10", "32.3.0.0.1"]),
        ("9.0.0.0/8", "10.0.0.0/8", ["8.0.0.0.9", "8.0.0.0.10"]),
        // longer first, whatever the names
        ("10.7.0.9/32", "10.8.0.0/31", ["32.9.0.7.10", "31.0.0.8.10"]),
        ("10.0.0.0/8", "0.0.0.0/0", ["8.0.0.0.10", "0.0.0.0.0"]),
        ("2001:db8::9/128", "10.0.0.0/8", ["128.9.zz.db8.2001", "8.0.0.0.10"]),
        ("10.0.0.0/8", "2001:db8::/103", ["8.0.0.0.10", "103.zz.db8.2001"]),
        // an IPv4 length counts 96 more, and has fewer digits than the IPv6 one
        ("10.0.0.9/32", "2001:db8::1/128", ["32.9.0.0.10", "128.1.zz.db8.2001"]),
        ("0.0.0.0/0", "::/96", ["0.0.0.0.0", "96.zz"]),
        ("2001:db8::1/128", "2001:db8::2/128", ["128.1.zz.db8.2001", "128.2.zz.db8.2001"]),
        ("2001:db8::f/128", "2001:db8::10/128", ["128.f.zz.db8.2001", "128.10.zz.db8.2001"]),
        ("2001::ff/128", "2001::100/128", ["128.ff.zz.2001", "128.100.zz.2001"]),
        // zz has two characters, and is the greatest such label
        ("2:3:4:5:6:7:ff:1/128", "2::1/128", ["128.1.ff.7.6.5.4.3.2", "128.1.zz.2"]),
        ("2::1/128", "2:3:4:5:6:7:100:1/128", ["128.1.zz.2", "128.1.100.7.6.5.4.3.2"]),
        ("8:7:6:5:4:3:0:1/128", "2::1/128", ["128.1.0.3.4.5.6.7.8", "128.1.zz.2"]),
        // where one address ends, the other one has the shorter label: rpz-ip is longest
        ("ffff::1/128", "::1/128", ["128.1.zz.ffff", "128.1.zz"]),
        // of equal runs the one written last is zz
        ("8::5:4:0:0:1/128", "8::5:4:1:0:1/128", ["128.1.0.0.4.5.zz.8", "128.1.0.1.4.5.zz.8"]),
        // but a longer one goes before it
        ("::4:0:0:0/128", "8:0:0:5:4::/128", ["128.0.0.0.4.zz", "128.zz.4.5.0.0.8"]),
    ] {
        let (a, b) = (net(a), net(b));
        assert_eq!([written(&a), written(&b)], owners);
        assert_eq!(precedence(&a, &b), Ordering::Less, "{a} {b}");
        assert_eq!(precedence(&b, &a), Ordering::Greater, "{a} {b}");
        assert_eq!(precedence(&a, &a), Ordering::Equal);
    }
    assert_eq!(precedence(&net("10.0.0.1/8"), &net("10.0.0.2/8")), Ordering::Equal);
}

/// The address part of an owner, in text.
fn written(prefix: &IpNet) -> String {
    let prefix = prefix.trunc();
    let mut labels: Vec<String> = match prefix.addr() {
        IpAddr::V4(address) => address.octets().map(|octet| octet.to_string()).to_vec(),
        IpAddr::V6(address) => address.segments().map(|word| format!("{word:x}")).to_vec(),
    };
    labels.reverse();
    if prefix.addr().is_ipv6() {
        // longest runs first, and of one length those that are written last
        let runs = (2..=8_usize).rev().flat_map(|run| (0..=8 - run).rev().map(move |at| (at, run)));
        let zero = |&(at, run): &(usize, usize)| labels[at..at + run].iter().all(|l| l == "0");
        if let Some((at, run)) = runs.into_iter().find(zero) {
            labels.splice(at..at + run, ["zz".to_string()]);
        }
    }
    format!("{}.{}", prefix.prefix_len(), labels.join("."))
}

/// The order of two rules by their whole owners in wire form.
fn by_owner(a: &IpNet, b: &IpNet) -> Ordering {
    let whole =
        |net: &IpNet| u32::from(net.prefix_len()) + if net.addr().is_ipv4() { 96 } else { 0 };
    let wire = |net: &IpNet| {
        let owner = written(net) + ".rpz-ip.block.test";
        let label = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        owner.split('.').flat_map(label).collect::<Vec<u8>>()
    };
    whole(b).cmp(&whole(a)).then_with(|| wire(a).cmp(&wire(b)))
}
