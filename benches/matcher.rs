//! Times the name matcher over made-up policies: `cargo bench --bench matcher`. The largest of
//! them take about a gigabyte of memory.
//!
//! Every figure is the middle one of several rounds, on one core. A question counts with
//! its rule fetched where there is one. The names come from a seeded generator, so that
//! two runs ask the same; compare figures inside one run.

mod dice;
mod metered;

use culvert::dns::name::Name;
use culvert::policy::names::{NameTable, NameWriter};
use std::hint::black_box;
use std::time::Instant;

use dice::Dice;

#[global_allocator]
static HEAP: metered::Metered = metered::Metered;

const RULES: [usize; 4] = [1_000, 300_000, 1_000_000, 5_000_000];
const ZONES: [u8; 3] = [1, 4, 64];
/// Questions of each kind.
const QUESTIONS: usize = 100_000;
/// Questions that come again and again.
const FEW: usize = 1_000;
/// Rules that a delta adds, and rules that it removes.
const DELTA: usize = 1_000;
const ROUNDS: usize = 5;
/// More rules than this are built fewer times.
const MANY: usize = 500_000;

const ASKED: [&str; 8] = ["rules", "zones", "hit", "hit few", "below", "miss", "miss few", "deep"];
const COST: [&str; 9] =
    ["rules", "zones", "build ms", "table MB", "heap MB", "B/rule", "writer", "peak MB", "names"];
const DELTAS: [&str; 9] =
    ["rules", "zones", "add ms", "cpu ms", "rem. ms", "cpu ms", "free ms", "new MB", "B/change"];

fn main() {
    let (mut asked, mut cost, mut deltas) = (Vec::new(), Vec::new(), Vec::new());
    for rules in RULES {
        for zones in ZONES {
            let row = Row::measure(rules, zones);
            asked.push(row.asked);
            cost.push(row.cost);
            deltas.push(row.deltas);
        }
    }
    println!("Look-up, ns each; few: the same {FEW} names again; below: a name under a rule's,");
    println!("covered or not; deep: a miss with five labels more");
    table(&ASKED, &asked);
    let none = NameTable::empty();
    let mut dice = Dice(5);
    let names: Vec<Name> = (0..QUESTIONS).map(|_| name(&dice.text())).collect();
    println!("no rules at all: {:.1} ns\n", ask(&none, &names));
    println!("Build and memory; table as bytes() tells it, heap as the allocator counts it,");
    println!("writer: MB that the next delta needs; peak: while building; names: nodes");
    table(&COST, &cost);
    println!("\nDelta of {DELTA} rules added, and of the same ones removed; cpu: of this thread;");
    println!("free: the version in between; new: heap that a version with the delta takes");
    table(&DELTAS, &deltas);
}

/// What was measured of one policy, a line for each table.
struct Row {
    asked: Vec<String>,
    cost: Vec<String>,
    deltas: Vec<String>,
}

impl Row {
    fn measure(count: usize, zones: u8) -> Row {
        let policy = Policy::new(count, zones);
        let head = || vec![count.to_string(), zones.to_string()];
        let (mut cost, mut deltas) = (head(), head());
        let build = || NameWriter::build(policy.rules(), count, &mut |_, _| ());

        let before = metered::in_use();
        metered::forget_peak();
        let (table, mut writer) = build();
        let (both, peak) = (metered::in_use() - before, metered::peak() - before);
        let mut times = Vec::new();
        for _ in 0..if count > MANY { 1 } else { ROUNDS } {
            let start = Instant::now();
            let built = build();
            times.push(start.elapsed().as_secs_f64() * 1e3);
            drop(built);
        }
        let mut asked = head();
        asked.extend(policy.questions().iter().map(|n| format!("{:.0}", ask(&table, n))));
        let changed = changes(&policy, &table, &mut writer, zones);
        deltas.extend(changed.map(|figure| format!("{figure:.2}")));
        deltas.push(format!("{:.0}", changed[5] * 1e6 / DELTA.min(policy.names.len()) as f64));

        let with_writer = metered::in_use();
        drop(writer);
        let of_writer = with_writer - metered::in_use();
        let heap = both.saturating_sub(of_writer);
        let megabytes = |octets: usize| format!("{:.2}", octets as f64 / 1e6);
        cost.push(format!("{:.1}", middle(times)));
        cost.extend([table.bytes(), heap].map(megabytes));
        cost.push(format!("{:.1}", heap as f64 / count as f64));
        cost.extend([of_writer, peak].map(megabytes));
        cost.push(table.nodes().to_string());
        Row { asked, cost, deltas }
    }
}

/// Prints a table of 80 columns.
fn table(heads: &[&str], rows: &[Vec<String>]) {
    // the first column has the largest numbers
    let rest = (80 - 8) / (heads.len() - 1);
    let line = |cells: &[String]| {
        let (first, others) = cells.split_first().expect("a table has columns");
        let others = others.iter().map(|cell| format!("{cell:>rest$}"));
        println!("{first:>8}{}", others.collect::<String>());
    };
    line(&heads.iter().map(|head| head.to_string()).collect::<Vec<_>>());
    rows.iter().for_each(|row| line(row));
}

/// Milliseconds, by the clock and of this thread, to add and to remove some rules; milliseconds
/// to free the version in between; and its own heap in megabytes.
fn changes(policy: &Policy, table: &NameTable, writer: &mut NameWriter, zones: u8) -> [f64; 6] {
    let mut dice = Dice(99);
    let fresh: Vec<(u8, Name)> = (0..DELTA.min(policy.names.len()))
        .map(|_| (dice.below(zones.into()) as u8, name(&dice.text())))
        .collect();
    let mut figures: [Vec<f64>; 6] = Default::default();
    let mut now = table.clone();
    for _ in 0..ROUNDS {
        let rules = fresh.iter().map(|(zone, owner)| (*zone, owner.as_wire()));
        let before = metered::in_use();
        let clock = Clock::start();
        let more = writer.apply(&now, std::iter::empty(), rules.clone().map(|(z, o)| (z, o, 1)));
        let [wall, cpu] = clock.millis();
        figures[0].push(wall);
        figures[1].push(cpu);
        figures[5].push(metered::in_use().saturating_sub(before) as f64 / 1e6);
        let more = more.expect("the writer's last table");
        let clock = Clock::start();
        let less = writer.apply(&more, rules, std::iter::empty());
        let [wall, cpu] = clock.millis();
        figures[2].push(wall);
        figures[3].push(cpu);
        now = less.expect("the writer's last table");
        let clock = Clock::start();
        drop(more);
        figures[4].push(clock.millis()[0]);
    }
    figures.map(middle)
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

/// Time by the clock and of this thread's own work.
struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Clock {
        Clock { cpu: metered::cpu_millis(), wall: Instant::now() }
    }

    fn millis(&self) -> [f64; 2] {
        let wall = self.wall.elapsed().as_secs_f64() * 1e3;
        [wall, metered::cpu_millis() - self.cpu]
    }
}

/// A made-up policy: about 30 of 100 names are listed with a wildcard below them too, and
/// of several zones each lists a name of another in one case of five.
struct Policy {
    wire: Vec<u8>,
    /// Zone, where the owner is and how long, action.
    rules: Vec<(u8, u32, u8, u32)>,
    /// Places of the rules whose names were new.
    names: Vec<u32>,
}

impl Policy {
    fn new(count: usize, zones: u8) -> Policy {
        let mut dice = Dice(1);
        let mut out = Policy { wire: Vec::new(), rules: Vec::new(), names: Vec::new() };
        while out.rules.len() < count {
            // several zones list some names together, and do not always agree
            let again = zones > 1 && dice.below(5) == 0 && !out.names.is_empty();
            let owner = if again { out.listed(&mut dice) } else { name(&dice.text()) };
            if !again {
                out.names.push(out.rules.len() as u32);
            }
            let zone = dice.below(zones.into()) as u8;
            let action = if dice.below(10) == 0 { dice.below(50) as u32 } else { 1 };
            out.push(zone, &owner, action);
            if dice.below(100) < 30 {
                out.push(zone, &under("*", &owner), action);
            }
        }
        out
    }

    fn push(&mut self, zone: u8, owner: &Name, action: u32) {
        self.rules.push((zone, self.wire.len() as u32, owner.len() as u8, action));
        self.wire.extend_from_slice(owner.as_wire());
    }

    /// A name that some zone lists.
    fn listed(&self, dice: &mut Dice) -> Name {
        let place = self.names[dice.below(self.names.len())];
        let (_, at, len, _) = self.rules[place as usize];
        Name::from_wire(&self.wire[at as usize..][..usize::from(len)]).expect("an owner")
    }

    fn rules(&self) -> impl Iterator<Item = (u8, &[u8], u32)> {
        self.rules.iter().map(|&(zone, at, len, action)| {
            (zone, &self.wire[at as usize..at as usize + len as usize], action)
        })
    }

    /// The names to ask for: hits, few hits, names below, misses, few misses, deep misses.
    fn questions(&self) -> [Vec<Name>; 6] {
        let mut dice = Dice(77);
        let hit: Vec<Name> = (0..QUESTIONS).map(|_| self.listed(&mut dice)).collect();
        let mut other = Dice(78);
        let below = (0..QUESTIONS).map(|_| under(&other.label(), &self.listed(&mut dice)));
        let below = below.collect();
        let miss: Vec<Name> =
            (0..QUESTIONS).map(|_| name(&format!("www.{}", other.text()))).collect();
        let deep = (0..QUESTIONS).map(|_| name(&format!("a1.b2.c3.d4.e5.{}", other.text())));
        let deep = deep.collect();
        let (few_hits, few_misses) = (hit[..FEW].to_vec(), miss[..FEW].to_vec());
        [hit, few_hits, below, miss, few_misses, deep]
    }
}

/// A name directly under another.
fn under(label: &str, owner: &Name) -> Name {
    name(label).join(owner).expect("the generator's names are short")
}
