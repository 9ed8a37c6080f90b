//! Times a policy zone of a million rules that comes by transfer, and changes to it, from the
//! records to the set that answers: `cargo bench --bench delta`. Takes about half a gigabyte.
//!
//! Time is that of the thread's own work. Names are seeded; of several rounds the middle one
//! counts. Compare figures inside one run.

mod dice;
mod metered;

use std::collections::HashSet;
use std::sync::Arc;

use culvert::dns::name::Name;
use culvert::policy::rules::ZoneRules;
use culvert::policy::set::{Mode, Override, Parts, PolicySet, ZoneSettings};
use culvert::rpz::{Edit, Gather};

use dice::Dice;

#[global_allocator]
static HEAP: metered::Metered = metered::Metered;

const RULES: usize = 1_000_000;
const MAX_RULES: usize = 20_000_000;
const CNAME: u16 = 5;
const A: u16 = 1;
const SOA: u16 = 6;
/// Sets of changes of each size; more of them show whether memory grows.
const ROUNDS: [(usize, usize); 3] = [(100, 11), (1_000, 11), (1_000, 1_000)];

fn main() {
    let mut world = World::new();
    let before = metered::in_use();
    metered::forget_peak();
    let clock = metered::cpu_millis();
    let mut gather = Gather::new(zone(), MAX_RULES);
    gather.record(zone().as_wire(), SOA, 60, &soa()).expect("a SOA");
    for n in 0..world.owners.len() {
        let (rtype, rdata) = world.record(n);
        gather.record(&world.owners[n], rtype, 60, rdata).expect("a record of the zone");
    }
    let (taken, held) = (millis(clock), gather.bytes());
    let clock = metered::cpu_millis();
    let rules = Arc::new(gather.finish().expect("a good zone"));
    println!("gather {taken:.0} ms, {} MB; finish {:.0} ms", held / 1_000_000, millis(clock));
    println!("most that was in use: {} MB", (metered::peak() - before) / 1_000_000);
    let octets: usize = world.owners.iter().map(|o| o.len() - zone().len()).sum();
    let each = |octets: usize| octets as f64 / RULES as f64;
    let kept = metered::in_use() - before;
    println!("labels {:.1} B/rule, rules {:.1} B/rule", each(octets), each(kept));
    let clock = metered::cpu_millis();
    let mut set = PolicySet::build(parts(&rules), None);
    println!("first set {:.0} ms, {:.1} B/rule", millis(clock), each(set.bytes()));
    let mut rules = world.change(&rules, 100, &mut set, before).rules;
    println!("\nchanges  rounds   edit ms finish ms    set ms   free ms  MB in use");
    for (size, rounds) in ROUNDS {
        let mut times: [Vec<f64>; 4] = Default::default();
        let mut in_use = 0;
        for _ in 0..rounds {
            let step = world.change(&rules, size, &mut set, before);
            rules = step.rules;
            in_use = step.in_use;
            times.iter_mut().zip(step.millis).for_each(|(all, one)| all.push(one));
        }
        let [edit, finish, build, free] = times.map(middle);
        let in_use = in_use as f64 / 1e6;
        println!(
            "{size:7} {rounds:7} {edit:9.2} {finish:9.2} {build:9.2} {free:9.2} {in_use:10.1}"
        );
    }
    assert_eq!(rules.len(), world.owners.len());
}

/// One delta: its times and what it leaves.
struct Step {
    rules: Arc<ZoneRules>,
    /// Taking the changes, making the rules, building the set, freeing the old ones.
    millis: [f64; 4],
    in_use: usize,
}

/// Owners of rules; one of twenty answers with an address.
struct World {
    dice: Dice,
    owners: Vec<Vec<u8>>,
    known: HashSet<Vec<u8>>,
    addresses: Vec<[u8; 4]>,
}

impl World {
    fn new() -> World {
        let addresses = (0..50).map(|n| [192, 0, 2, n]).collect();
        let mut world =
            World { dice: Dice(1), owners: Vec::new(), known: HashSet::new(), addresses };
        while world.owners.len() < RULES {
            let owner = world.fresh();
            world.owners.push(owner);
        }
        world
    }

    /// An owner that was not there before.
    fn fresh(&mut self) -> Vec<u8> {
        loop {
            let name: Name = self.dice.text().parse().expect("the generator writes names");
            let owner = name.join(&zone()).expect("a short name").as_wire().to_vec();
            if self.known.insert(owner.clone()) {
                return owner;
            }
        }
    }

    fn record(&self, n: usize) -> (u16, &[u8]) {
        // by the owner, so that it is known at the removal
        let owner = &self.owners[n];
        let sum: usize = owner.iter().map(|octet| usize::from(*octet)).sum();
        match sum % 20 {
            0 => (A, &self.addresses[sum / 20 % 50]),
            _ => (CNAME, &[0]),
        }
    }

    /// Half removals, half additions, and on to the set that answers.
    fn change(
        &mut self,
        rules: &Arc<ZoneRules>,
        changes: usize,
        set: &mut PolicySet,
        before: usize,
    ) -> Step {
        let gone: Vec<usize> =
            (0..changes / 2).map(|_| self.dice.below(self.owners.len())).collect();
        let gone: HashSet<usize> = gone.into_iter().collect();
        let new: Vec<Vec<u8>> = gone.iter().map(|_| self.fresh()).collect();
        let clock = metered::cpu_millis();
        let mut edit = Edit::of(rules, MAX_RULES).expect("records are kept");
        for &n in &gone {
            let (rtype, rdata) = self.record(n);
            edit.remove(&self.owners[n], rtype, rdata).expect("it is there");
        }
        for (n, owner) in gone.into_iter().zip(new) {
            self.known.remove(&self.owners[n]);
            self.owners[n] = owner;
            let (rtype, rdata) = self.record(n);
            edit.add(&self.owners[n], rtype, 60, rdata).expect("it is new");
        }
        edit.soa(60, &soa()).expect("a SOA");
        let taken = millis(clock);
        let clock = metered::cpu_millis();
        let next = Arc::new(edit.finish().expect("a good zone"));
        let finished = millis(clock);
        let clock = metered::cpu_millis();
        let old = std::mem::replace(set, PolicySet::build(parts(&next), Some(set)));
        let built = millis(clock);
        let clock = metered::cpu_millis();
        drop(old);
        let freed = millis(clock);
        let in_use = metered::in_use() - before;
        Step { rules: next, millis: [taken, finished, built, freed], in_use }
    }
}

fn zone() -> Name {
    "rpz.example".parse().expect("a name")
}

fn soa() -> Vec<u8> {
    vec![0; 22]
}

fn parts(rules: &Arc<ZoneRules>) -> Parts {
    let settings = ZoneSettings {
        name: zone(),
        mode: Mode::Enforce,
        action: Override::Given,
        recursive_only: false,
        add_soa: false,
        max_ttl: 60,
        ede: None,
        ede_text: Arc::from(""),
        remote: true,
        log: true,
    };
    Parts::of_zones(1, vec![(settings, Arc::clone(rules))])
}

/// Milliseconds that this thread has worked since then.
fn millis(since: f64) -> f64 {
    metered::cpu_millis() - since
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
