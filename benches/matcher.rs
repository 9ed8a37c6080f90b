//! Times the name matcher over made-up policies: `cargo bench --bench matcher`.
//!
//! Every figure is the middle one of several rounds, on one core. A question counts with
//! its rule fetched where there is one. The names come from a seeded generator, so that
//! two runs ask the same; compare figures inside one run.

mod dice;

use culvert::dns::name::Name;
use culvert::policy::names::{NameTable, NameWriter};
use std::hint::black_box;
use std::time::Instant;

use dice::Dice;

/// Questions of each kind.
const QUESTIONS: usize = 100_000;
/// Rules that a delta adds, and rules that it removes.
const DELTA: usize = 1_000;
const ROUNDS: usize = 5;
const HEADS: [&str; 15] = [
    "rules", "zones", "hit", "hit 1k", "sub", "miss", "miss 1k", "deep", "load ms", "nodes",
    "table kB", "B/rule", "add ms", "rem ms", "free ms",
];

fn main() {
    println!("ns per question, ms per load, per {DELTA} rules added or removed (at most one per");
    println!("name), and per old version freed; 1k: the same thousand names again and again");
    line(&HEADS.map(String::from));
    for rules in [1_000, 300_000, 1_000_000] {
        for zones in [1, 4, 64] {
            row(rules, zones);
        }
    }
    let none = NameTable::empty();
    let mut dice = Dice(5);
    let names: Vec<Name> = (0..QUESTIONS).map(|_| name(&dice.text())).collect();
    println!("no rules at all: {:.1} ns", ask(&none, &names));
}

/// Measures one policy and prints its line.
fn row(count: usize, zones: u8) {
    let policy = Policy::new(count, zones);
    let mut load = Vec::new();
    let mut built = None;
    for _ in 0..if count > 500_000 { 3 } else { ROUNDS } {
        drop(built.take());
        let start = Instant::now();
        built = Some(NameWriter::build(policy.rules(), count, &mut |_, _| ()));
        load.push(start.elapsed().as_secs_f64() * 1e3);
    }
    let Some((table, mut writer)) = built else { return };
    let mut dice = Dice(77);
    let mut listed = || policy.names[dice.below(policy.names.len())].as_str();
    let hit: Vec<Name> = (0..QUESTIONS).map(|_| name(listed())).collect();
    let mut other = Dice(78);
    let sub: Vec<Name> =
        (0..QUESTIONS).map(|_| name(&format!("{}.{}", other.label(), listed()))).collect();
    let miss: Vec<Name> = (0..QUESTIONS).map(|_| name(&format!("www.{}", other.text()))).collect();
    let deep: Vec<Name> =
        (0..QUESTIONS).map(|_| name(&format!("a1.b2.c3.d4.e5.{}", other.text()))).collect();
    let (add, remove, free) = deltas(&policy, &table, &mut writer, zones);
    let nanos = [&hit[..], &hit[..1_000], &sub, &miss, &miss[..1_000], &deep];
    let nanos = nanos.map(|names| format!("{:.0}", ask(&table, names)));
    let mut cells = vec![count.to_string(), zones.to_string()];
    cells.extend(nanos);
    cells.push(format!("{:.1}", middle(load)));
    cells.push(table.nodes().to_string());
    cells.push((table.bytes() / 1_000).to_string());
    cells.push(format!("{:.1}", table.bytes() as f64 / count as f64));
    cells.extend([add, remove, free].map(|millis| format!("{millis:.2}")));
    line(&cells);
}

/// Prints one line of the table.
fn line(cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>8}")).collect();
    println!("{}", cells.join(" "));
}

/// Milliseconds to add and to remove some rules, and to free the version in between.
fn deltas(
    policy: &Policy,
    table: &NameTable,
    writer: &mut NameWriter,
    zones: u8,
) -> (f64, f64, f64) {
    let mut dice = Dice(99);
    let fresh: Vec<(u8, Name)> = (0..DELTA.min(policy.names.len()))
        .map(|_| (dice.below(zones.into()) as u8, name(&dice.text())))
        .collect();
    let (mut add, mut remove, mut free) = (Vec::new(), Vec::new(), Vec::new());
    let mut now = table.clone();
    for _ in 0..ROUNDS {
        let rules = fresh.iter().map(|(zone, owner)| (*zone, owner.as_wire()));
        let start = Instant::now();
        let more = writer.apply(&now, std::iter::empty(), rules.clone().map(|(z, o)| (z, o, 1)));
        add.push(start.elapsed().as_secs_f64() * 1e3);
        let more = more.expect("the writer's last table");
        let start = Instant::now();
        let less = writer.apply(&more, rules, std::iter::empty());
        remove.push(start.elapsed().as_secs_f64() * 1e3);
        now = less.expect("the writer's last table");
        let start = Instant::now();
        drop(more);
        free.push(start.elapsed().as_secs_f64() * 1e3);
    }
    (middle(add), middle(remove), middle(free))
}

/// Nanoseconds for each of `names`.
fn ask(table: &NameTable, names: &[Name]) -> f64 {
    let repeat = QUESTIONS / names.len();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..repeat {
            for name in names {
                let found = table.find(name);
                if black_box(found.zones()) != 0 {
                    black_box(found.rule(found.zones().trailing_zeros() as u8));
                }
            }
        }
        times.push(start.elapsed().as_secs_f64() * 1e9 / (repeat * names.len()) as f64);
    }
    middle(times)
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn name(text: &str) -> Name {
    text.parse().expect("the generator writes names")
}

/// A made-up policy: about 30 of 100 names are listed with a wildcard below them too, and
/// of several zones each lists a name of another in one case of five.
struct Policy {
    names: Vec<String>,
    wire: Vec<u8>,
    rules: Vec<(u8, u32, u8, u32)>,
}

impl Policy {
    fn new(count: usize, zones: u8) -> Policy {
        let mut dice = Dice(1);
        let mut out = Policy { names: Vec::new(), wire: Vec::new(), rules: Vec::new() };
        while out.rules.len() < count {
            // several zones list some names together, and do not always agree
            let again = zones > 1 && dice.below(5) == 0 && !out.names.is_empty();
            let text =
                if again { out.names[dice.below(out.names.len())].clone() } else { dice.text() };
            let zone = dice.below(zones.into()) as u8;
            let action = if dice.below(10) == 0 { dice.below(50) as u32 } else { 1 };
            out.push(zone, &text, action);
            if dice.below(100) < 30 {
                out.push(zone, &format!("*.{text}"), action);
            }
            if !again {
                out.names.push(text);
            }
        }
        out
    }

    fn push(&mut self, zone: u8, owner: &str, action: u32) {
        let owner = name(owner);
        self.rules.push((zone, self.wire.len() as u32, owner.len() as u8, action));
        self.wire.extend_from_slice(owner.as_wire());
    }

    fn rules(&self) -> impl Iterator<Item = (u8, &[u8], u32)> {
        self.rules.iter().map(|&(zone, at, len, action)| {
            (zone, &self.wire[at as usize..at as usize + len as usize], action)
        })
    }
}
