//! Made-up policy for a made-up world: zones with rules of every kind, and the questions.

use super::dice::Dice;
use super::world::{Profile, World, addresses4, addresses6, server_addresses, strange_addresses};
use crate::harness::wire::{A, AAAA, ANY, CNAME, HTTPS, MX, NS, PTR, SOA, TXT};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a zone does with the actions of its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    Given,
    Nxdomain,
    Nodata,
    Passthru,
    Drop,
    TcpOnly,
    Cname(&'static str),
    Monitor,
}

/// One policy zone.
#[derive(Clone, Debug)]
pub struct PolicyZone {
    pub name: String,
    pub action: Override,
    pub recursive_only: bool,
    /// Lines relative to the zone.
    pub rules: Vec<String>,
}

/// Policy, settings and questions of one seed.
pub struct Setting {
    pub zones: Vec<PolicyZone>,
    pub break_dnssec: bool,
    pub wait: bool,
    pub min_ns_dots: u8,
    pub questions: Vec<Question>,
}

/// One question as a client puts it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub name: String,
    pub qtype: u16,
    pub from: IpAddr,
    pub tcp: bool,
    pub recursive: bool,
    pub checking_disabled: bool,
    pub dnssec_ok: bool,
    pub edns: bool,
}

/// The addresses that questions come from.
pub const CLIENTS: [IpAddr; 6] = [
    IpAddr::V4(Ipv4Addr::new(127, 77, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(127, 77, 1, 2)),
    IpAddr::V4(Ipv4Addr::new(127, 77, 2, 1)),
    IpAddr::V4(Ipv4Addr::new(127, 77, 3, 3)),
    IpAddr::V4(Ipv4Addr::new(127, 77, 200, 9)),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

const SRV: u16 = 33;
const DS: u16 = 43;
const CAA: u16 = 257;
const UNKNOWN: u16 = 65_400;

/// The policy and the questions of a seed.
pub fn setting(profile: Profile, world: &World, seed: u64) -> Setting {
    let mut dice = Dice::new(&format!("{profile:?}"), seed);
    let count = [1, 2, 2, 3, 4, 5][dice.below(6)];
    let zones: Vec<_> = (0..count).map(|n| zone(&mut dice, profile, world, n)).collect();
    let questions = questions(&mut dice, profile, world, &zones);
    Setting {
        zones,
        break_dnssec: profile != Profile::Full || dice.percent(40),
        wait: dice.percent(70),
        min_ns_dots: u8::from(dice.percent(60)),
        questions,
    }
}

fn zone(dice: &mut Dice, profile: Profile, world: &World, number: usize) -> PolicyZone {
    let actions = [
        Override::Nxdomain,
        Override::Nodata,
        Override::Passthru,
        Override::Drop,
        Override::TcpOnly,
        Override::Cname("web.garden.gamma"),
        Override::Cname("*.each.garden.gamma"),
        Override::Monitor,
        Override::Monitor,
    ];
    let action = if dice.percent(30) { dice.from(&actions).clone() } else { Override::Given };
    let size = [8, 20, 45, 90][dice.below(4)];
    // named looks for the rest in the wrong place once a watching zone met an address.
    let blind = action == Override::Monitor && dice.percent(70);
    // One owner, one set of rules: both servers refuse an alias beside other data.
    let mut rules = BTreeMap::new();
    while rules.len() < size {
        let (owner, data) = rule(dice, profile, world);
        let by_address = ["ip", "nsip"].iter().any(|end| owner.to_lowercase().ends_with(end));
        let fits = owner.len() < 230 && !(blind && by_address);
        if fits {
            rules
                .entry(owner.to_lowercase())
                .or_insert_with(|| data.iter().map(|d| format!("{owner} {d}")).collect::<Vec<_>>());
        }
    }
    PolicyZone {
        name: format!("p{number}.rpz"),
        action,
        recursive_only: profile != Profile::Full || dice.percent(70),
        rules: rules.into_values().flatten().collect(),
    }
}

/// One rule: its owner under the zone's origin, and its records.
fn rule(dice: &mut Dice, profile: Profile, world: &World) -> (String, Vec<String>) {
    let name = dice.from(&world.names).clone();
    let servers = if profile.servers() { 1 } else { 0 };
    let junk = if profile.junk() { 1 } else { 0 };
    let weights = [30, 10, 8, 4, 26, 3, 12 * servers, 10 * servers, 10 * junk];
    let data = action(dice, &world.names);
    let owner = match dice.weighted(&weights) {
        0 => dice.recase(&name),
        1 => format!("*.{name}"),
        2 => above(dice, &name),
        3 => format!("be.low.{name}"),
        4 => format!("{}.rpz-ip", prefix(dice, profile, &addresses4(), &addresses6())),
        5 => format!("{}.rpz-client-ip", client(dice)),
        6 => format!("{}.rpz-nsdname", server(dice, world)),
        7 => {
            let (four, six) = server_addresses();
            format!("{}.rpz-nsip", prefix(dice, profile, &four, &six))
        }
        _ => return junk_rule(dice, name, data),
    };
    (owner, data)
}

/// An ancestor, most often with a wildcard below it.
fn above(dice: &mut Dice, name: &str) -> String {
    let star = if dice.percent(80) { "*." } else { "" };
    match name.split_once('.') {
        // An escaped dot is no place to cut.
        Some((_, rest)) if !name.contains('\\') => {
            let shorter = rest.split_once('.').map_or(rest, |(_, r)| r);
            format!("{star}{}", if dice.percent(60) { rest } else { shorter })
        }
        _ => format!("{star}{name}"),
    }
}

fn server(dice: &mut Dice, world: &World) -> String {
    let name = match dice.below(8) {
        0 => "alias.farm.alpha".to_owned(),
        1 => "ns.site1.beta".to_owned(),
        _ => dice.from(&world.servers).clone(),
    };
    let (_, parent) = name.split_once('.').expect("a server has a parent");
    let owner = if dice.percent(30) { format!("*.{parent}") } else { name };
    dice.recase(&owner)
}

fn client(dice: &mut Dice) -> String {
    match *dice.from(&CLIENTS) {
        IpAddr::V4(address) => {
            let length = [32, 32, 31, 24][dice.below(4)];
            four_labels(address, length)
        }
        IpAddr::V6(address) => six_labels(address, 128),
    }
}

/// A block around one of these addresses, in canonical spelling.
fn prefix(dice: &mut Dice, profile: Profile, four: &[Ipv4Addr], six: &[Ipv6Addr]) -> String {
    if dice.percent(65) {
        let lengths = [32, 32, 32, 32, 31, 30, 29, 25, 24, 24, 17, 16, 12, 8, 1];
        // A block of half the world would hold what only misspelt rules may be about.
        let lengths = &lengths[..lengths.len() - usize::from(profile.junk())];
        return four_labels(*dice.from(four), *dice.from(lengths));
    }
    let lengths = [128, 128, 128, 127, 124, 112, 96, 80, 64, 49, 48, 36, 32, 7];
    let (address, length) = (*dice.from(six), *dice.from(&lengths));
    // The reference keeps IPv4 at ::ffff:0:0/96, where short blocks around ::1 would meet it.
    let length = if address.segments()[0] == 0 { length.max(96) } else { length };
    six_labels(address, length)
}

/// `LENGTH.d.c.b.a` of the block of an address.
pub fn four_labels(address: Ipv4Addr, length: u32) -> String {
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let [a, b, c, d] = (u32::from(address) & mask).to_be_bytes();
    format!("{length}.{d}.{c}.{b}.{a}")
}

/// The same for IPv6: words from the last to the first, `zz` for the longest run of zeros.
pub fn six_labels(address: Ipv6Addr, length: u32) -> String {
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let words = Ipv6Addr::from(u128::from(address) & mask).segments();
    let (mut run, mut longest) = (0..0, 0..0);
    for (at, word) in words.iter().enumerate() {
        run = if *word != 0 { at + 1..at + 1 } else { run.start..at + 1 };
        if run.len() > longest.len() {
            longest = run.clone();
        }
    }
    let labels = words.iter().enumerate().filter_map(|(at, word)| match at {
        at if longest.len() < 2 || !longest.contains(&at) => Some(format!("{word:x}")),
        at if at == longest.start => Some("zz".to_owned()),
        _ => None,
    });
    let mut labels: Vec<_> = labels.collect();
    labels.push(length.to_string());
    labels.reverse();
    labels.join(".")
}

/// What a rule does: its records without the owner.
fn action(dice: &mut Dice, names: &[String]) -> Vec<String> {
    let n = 1 + dice.below(250);
    let one = |text: &str| vec![text.to_owned()];
    match dice.weighted(&[18, 14, 14, 4, 7, 10, 9, 3, 8, 6, 4, 1]) {
        0 => one("CNAME ."),
        1 => one("CNAME *."),
        2 => one(dice.one(&["CNAME rpz-passthru.", "CNAME RPZ-Passthru."])),
        3 => one("CNAME rpz-drop."),
        4 => one("CNAME rpz-tcp-only."),
        5 => vec![format!("A 127.10.0.{n}")],
        6 => {
            let sets = [
                format!("A 127.10.1.{n}"),
                format!("A 127.10.2.{n}"),
                format!("AAAA ::10:{n:x}"),
                format!("TXT \"rule {n}\""),
                format!("MX {n} mx.garden.gamma."),
            ];
            let count = 2 + dice.below(3);
            dice.some(&sets, count)
        }
        7 => vec![format!("SRV 0 0 {n} web.garden.gamma."), format!("CAA 0 issue \"ca{n}\"")],
        8 => vec![format!("CNAME {}.garden.gamma.", dice.one(&["web", "gate", "bare", "none"]))],
        9 => one("CNAME *.each.garden.gamma."),
        10 => vec![format!("CNAME {}.", dice.from(names))],
        _ => one("CNAME z.broken.gamma."),
    }
}

/// A rule that is no rule, or one in strange clothes.
fn junk_rule(dice: &mut Dice, name: String, data: Vec<String>) -> (String, Vec<String>) {
    // They are about addresses that no good rule is about: named 9.18 keeps in its tree what it
    // could parse, and hides shorter prefixes behind it. Not among them are three octets and
    // five, which it takes for words of IPv6 and keeps as ::/32, with all of IPv4 inside.
    const BAD: [&str; 18] = [
        "33.1.9.64.100.rpz-ip",
        "0.0.0.0.0.rpz-ip",
        "24.1.9.64.100.rpz-ip",
        "032.1.9.64.100.rpz-ip",
        "32.01.9.64.100.rpz-ip",
        "32.1.zz.9.64.100.rpz-ip",
        "32.257.9.64.100.rpz-ip",
        "x.1.9.64.100.rpz-ip",
        "32.1.9.64.100.rpz-client-ip.rpz-ip",
        "128.1.0.0.0.1.0.bad.3fff.rpz-ip",
        "128.1.zz.0.1.0.bad.3fff.rpz-ip",
        "129.1.zz.1.0.bad.3fff.rpz-ip",
        "128.zz.1.zz.bad.3fff.rpz-ip",
        "64.1.zz.1.0.bad.3fff.rpz-ip",
        "128.1.zz.1.0.0bad.3fff.rpz-ip",
        "128.g.zz.1.0.bad.3fff.rpz-ip",
        "rpz-ip",
        "rpz-client-ip",
    ];
    let good = six_labels(*dice.from(&strange_addresses()), 128);
    match dice.below(10) {
        0..=4 => ((*dice.from(&BAD)).to_owned(), data),
        5 => (format!("{}.RPZ-IP", good.to_uppercase()), data),
        6 => (format!("{name}.rpz-unknown"), data),
        7 => (format!("32.1.9.64.100.rpz-ip.{name}"), data),
        8 => (name, vec!["CNAME rpz-later.".into()]),
        _ => (name, vec!["CNAME x.rpz-drop.".into()]),
    }
}

fn questions(
    dice: &mut Dice,
    profile: Profile,
    world: &World,
    zones: &[PolicyZone],
) -> Vec<Question> {
    let types = [A, AAAA, TXT, MX, CNAME, HTTPS, NS, SOA, PTR, SRV, DS, CAA, UNKNOWN];
    let weights = [50, 18, 8, 5, 5, 3, 2, 2, 1, 3, 1, 2, 1];
    let mut all: Vec<Question> = Vec::new();
    for _ in 0..count() {
        let name = match dice.weighted(&[60, 8, 28, 2, 2]) {
            0 => dice.from(&world.names).clone(),
            1 => format!("{}{}", dice.one(&["q.", "q.r.", "be.", "low."]), dice.from(&world.names)),
            2 => owner_as_a_name(dice, zones),
            3 => dice.from(&world.servers).clone(),
            _ => dice.one(&["", "beta", "web.garden.gamma", "x.each.garden.gamma"]).to_owned(),
        };
        let question = Question {
            name: dice.recase(&name),
            qtype: types[dice.weighted(&weights)],
            from: *dice.from(&CLIENTS),
            tcp: dice.percent(10),
            recursive: true,
            checking_disabled: false,
            dnssec_ok: false,
            edns: true,
        };
        all.push(match profile {
            Profile::Full => unusual(dice, &all, question),
            // With rules by server, ANY makes named 9.18 fail an assertion (rpz_rrset_find).
            Profile::Junk if dice.percent(5) => any(dice, world, question),
            _ => question,
        });
    }
    all
}

/// A cache answers ANY with what it happens to have: only names that nothing else asks for.
fn any(dice: &mut Dice, world: &World, question: Question) -> Question {
    Question { name: dice.from(&world.whole).clone(), qtype: ANY, ..question }
}

fn count() -> usize {
    std::env::var("CULVERT_QUESTIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(300)
}

/// A name that a rule is about, or is just not about.
fn owner_as_a_name(dice: &mut Dice, zones: &[PolicyZone]) -> String {
    let zone = dice.from(zones);
    let rule = dice.from(&zone.rules);
    let owner = rule.split(' ').next().unwrap_or_default();
    match owner.strip_prefix("*.") {
        Some(parent) => format!("{}.{parent}", dice.one(&["w", "w.x", "*"])),
        None => owner.to_owned(),
    }
}

fn unusual(dice: &mut Dice, earlier: &[Question], mut question: Question) -> Question {
    match dice.weighted(&[64, 14, 8, 4, 10]) {
        0 => {}
        1 => question.dnssec_ok = true,
        2 => {
            if let Some(earlier) = dice.some(earlier, 1).pop() {
                question = Question { recursive: false, ..earlier };
            }
        }
        3 => question.checking_disabled = true,
        _ => question.edns = false,
    }
    question
}

#[test]
fn prefixes_are_spelt_as_the_draft_says() {
    let six = |text: &str, length| six_labels(text.parse().expect("an address"), length);
    assert_eq!(four_labels(Ipv4Addr::new(192, 0, 2, 77), 24), "24.0.2.0.192");
    assert_eq!(four_labels(Ipv4Addr::new(192, 0, 2, 77), 1), "1.0.0.0.128");
    assert_eq!(six("2001:db8::1", 128), "128.1.zz.db8.2001");
    assert_eq!(six("2001:db8:0:1:0:0:0:1", 128), "128.1.zz.1.0.db8.2001");
    assert_eq!(six("2001:db8:0:0:1:0:0:1", 128), "128.1.0.0.1.zz.db8.2001");
    assert_eq!(six("2001:db8:0:1:1:1:1:1", 128), "128.1.1.1.1.1.0.db8.2001");
    assert_eq!(six("2001:db8::1", 32), "32.zz.db8.2001");
    assert_eq!(six("::", 128), "128.zz");
}
