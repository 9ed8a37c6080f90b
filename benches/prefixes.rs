//! Times the address matcher over made-up policies: `cargo bench --bench prefixes`.
//!
//! Every figure is the middle one of several rounds, on one core. A question counts with
//! its rule fetched where there is one. The addresses come from a seeded generator, so that
//! two runs ask the same; compare figures inside one run.

#[expect(dead_code, reason = "addresses need no names")]
mod dice;

use culvert::policy::prefixes::PrefixTable;
use ipnet::IpNet;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use dice::Dice;

/// Questions of each kind.
const QUESTIONS: usize = 100_000;
const ROUNDS: usize = 7;
const HEADS: [&str; 12] = [
    "family", "rules", "zones", "hit", "hit 1k", "near", "miss", "miss 1k", "zones()", "build ms",
    "prefixes", "B/rule",
];

#[derive(Clone, Copy)]
enum Family {
    V4,
    V6,
}

fn main() {
    println!("ns per question, ms per build; 1k: the same thousand addresses again and again;");
    println!("near: next to a listed address; zones(): hits without fetching the rule");
    line(&HEADS.map(String::from));
    for family in [Family::V4, Family::V6] {
        for rules in [1_000, 10_000, 100_000] {
            for zones in [1, 64] {
                row(family, rules, zones);
            }
        }
    }
    let none = PrefixTable::empty();
    let mut dice = Dice(5);
    let asked: Vec<IpAddr> = (0..QUESTIONS).map(|_| anywhere(Family::V4, &mut dice)).collect();
    println!("no rules at all: {:.1} ns", ask(&none, &asked));
}

/// Measures one policy and prints its line.
fn row(family: Family, count: usize, zones: u8) {
    let rules = policy(family, count, zones);
    let mut build = Vec::new();
    let mut built = PrefixTable::empty();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        built = PrefixTable::build(rules.iter().copied(), &mut |_, _| ());
        build.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let mut dice = Dice(77);
    let mut listed =
        || inside(&rules[dice.below(rules.len())].1, &mut Dice(dice.below(1 << 60) as u64));
    let hit: Vec<IpAddr> = (0..QUESTIONS).map(|_| listed()).collect();
    let near: Vec<IpAddr> = (0..QUESTIONS).map(|_| neighbour(listed())).collect();
    let mut other = Dice(78);
    let miss: Vec<IpAddr> = std::iter::repeat_with(|| anywhere(family, &mut other))
        .filter(|address| built.zones(*address) == 0)
        .take(QUESTIONS)
        .collect();
    let nanos = [&hit[..], &hit[..1_000], &near, &miss, &miss[..1_000]];
    let nanos = nanos.map(|asked| format!("{:.1}", ask(&built, asked)));
    let name = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let mut cells = vec![name.to_string(), count.to_string(), zones.to_string()];
    cells.extend(nanos);
    cells.push(format!("{:.1}", only_zones(&built, &hit)));
    cells.push(format!("{:.2}", middle(build)));
    cells.push(built.len().to_string());
    cells.push(format!("{:.1}", built.bytes() as f64 / count as f64));
    line(&cells);
}

/// Prints one line of the table.
fn line(cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
    println!("{}", cells.join(" "));
}

/// Nanoseconds for each of `asked`, the first zone's rule fetched.
fn ask(table: &PrefixTable, asked: &[IpAddr]) -> f64 {
    time(asked, |address| {
        let zones = table.zones(address);
        if black_box(zones) != 0 {
            black_box(table.longest(zones.trailing_zeros() as u8, address));
        }
    })
}

/// Nanoseconds for each of `asked`, only whether there is a rule.
fn only_zones(table: &PrefixTable, asked: &[IpAddr]) -> f64 {
    time(asked, |address| {
        black_box(table.zones(address));
    })
}

fn time(asked: &[IpAddr], question: impl Fn(IpAddr)) -> f64 {
    let repeat = QUESTIONS / asked.len();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..repeat {
            for address in asked {
                question(black_box(*address));
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e9 / (repeat * asked.len()) as f64);
    }
    middle(times)
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A made-up policy: mostly single addresses (IPv6: or /64), some networks around them, half
/// of all in a few crowded networks; of several zones each lists a prefix of another in one
/// case of five.
fn policy(family: Family, count: usize, zones: u8) -> Vec<(u8, IpNet, u32)> {
    let mut dice = Dice(1);
    let crowded: Vec<IpAddr> = (0..200).map(|_| anywhere(family, &mut dice)).collect();
    let mut rules: Vec<(u8, IpNet, u32)> = Vec::new();
    while rules.len() < count {
        let again = zones > 1 && dice.below(5) == 0 && !rules.is_empty();
        let prefix = if again {
            rules[dice.below(rules.len())].1
        } else {
            let address = if dice.below(2) == 0 {
                let around = prefix(crowded[dice.below(crowded.len())], 16, 32);
                inside(&around, &mut Dice(dice.below(1 << 60) as u64))
            } else {
                anywhere(family, &mut dice)
            };
            match dice.below(100) {
                0..70 => prefix(address, 32, 128),
                70..90 => prefix(address, 24, 64),
                90..98 => prefix(address, 20, 48),
                _ => prefix(address, 16, 32),
            }
        };
        let action = if dice.below(10) == 0 { dice.below(50) as u32 } else { 1 };
        rules.push((dice.below(zones.into()) as u8, prefix, action));
    }
    rules
}

fn prefix(address: IpAddr, v4: u8, v6: u8) -> IpNet {
    let len = if address.is_ipv4() { v4 } else { v6 };
    IpNet::new(address, len).expect("lengths fit their families").trunc()
}

/// Some address in public use.
fn anywhere(family: Family, dice: &mut Dice) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits((dice.below(223 << 24) + (1 << 24)) as u32).into(),
        Family::V6 => {
            // a registry's block, a network of it, a subnet, a host
            let block = [0x2001, 0x2400, 0x2600, 0x2800, 0x2a00][dice.below(5)] + dice.below(16);
            let network = dice.below(1 << 16) as u128;
            let subnet = dice.below(1 << 32) as u128;
            let host = dice.below(1 << 60) as u128;
            Ipv6Addr::from_bits((block as u128) << 112 | network << 96 | subnet << 64 | host).into()
        }
    }
}

/// Some address of a prefix.
fn inside(prefix: &IpNet, dice: &mut Dice) -> IpAddr {
    match prefix {
        IpNet::V4(net) => {
            let host = dice.below(1 << 32) as u32 & net.hostmask().to_bits();
            Ipv4Addr::from_bits(net.network().to_bits() | host).into()
        }
        IpNet::V6(net) => {
            let host = (dice.below(1 << 63) as u128) << 63 | dice.below(1 << 63) as u128;
            Ipv6Addr::from_bits(net.network().to_bits() | host & net.hostmask().to_bits()).into()
        }
    }
}

/// The address with its last bit changed.
fn neighbour(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() ^ 1).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() ^ 1).into(),
    }
}
