//! Times the answer cache: `cargo bench --bench cache`.
//!
//! Every figure is the middle one of several rounds, on one core. The names come from a seeded
//! generator, so that two runs ask the same; compare figures inside one run.

mod dice;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use culvert::cache::{Cache, Entry, Failed, Found, Freshness, Settings};
use culvert::clock::Moment;
use culvert::dns::answer::Answer;
use culvert::dns::name::Name;
use culvert::dns::question::Question;
use culvert::dns::rtype;

use dice::Dice;

/// Operations of a round.
const OPERATIONS: usize = 200_000;
const ROUNDS: usize = 7;
const HEADS: [&str; 8] =
    ["names", "hit", "miss", "miss+f", "store new", "store old", "B/answer", "kept %"];
const NOW: Moment = Moment::from_millis(1_000);

fn main() {
    println!("ns per operation; miss+f: while a failure is remembered; store new: into an empty");
    println!("cache; store old: in place of an answer; B/answer: octets as the cache counts them");
    line(&HEADS.map(String::from));
    for (names, size) in [(1_000, 64 << 20), (100_000, 64 << 20), (100_000, 16 << 20)] {
        row(names, size);
    }
    println!("the last line: a cache of 16 MiB, too small for all; hit counts what is kept");
}

/// Measures one number of names in a cache of `size` octets and prints its line.
fn row(count: usize, size: u64) {
    let mut dice = Dice(1);
    let mut questions = || -> Vec<Question> { (0..count).map(|_| question(&mut dice)).collect() };
    let (known, unknown) = (questions(), questions());
    let settings = Settings { size, ..Settings::default() };
    let entries: Vec<(Question, Arc<Entry>)> =
        known.iter().map(|question| (*question, entry(question, &settings))).collect();

    let mut new = Vec::new();
    let mut cache = Cache::new(settings, 1);
    for _ in 0..ROUNDS {
        cache = Cache::new(settings, 1);
        new.push(nanos(entries.iter(), entries.len(), |(q, entry)| cache.store(1, q, entry)));
    }
    let old = time(&entries, |(q, entry)| cache.store(1, q, entry));
    let kept: Vec<Question> = known.into_iter().filter(|q| is_fresh(&cache, q)).collect();
    let weight = cache.weight() / cache.len().max(1) as u64;
    let hit = time(&kept, |q| {
        black_box(cache.look_up(1, q, NOW));
    });
    let miss = || {
        time(&unknown, |q| {
            black_box(cache.look_up(1, q, NOW));
        })
    };
    let plain = miss();
    let other = question(&mut dice);
    cache.store_failure(1, &other, Failed::Transport(22), NOW);
    let nanos = [hit, plain, miss(), middle(new), old].map(|nanos| format!("{nanos:.0}"));
    let mut cells = vec![count.to_string()];
    cells.extend(nanos);
    cells.push(weight.to_string());
    cells.push((100 * kept.len() / count).to_string());
    line(&cells);
}

/// Prints one line of the table.
fn line(cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{cell:>9}")).collect();
    println!("{}", cells.join(" "));
}

fn is_fresh(cache: &Cache, question: &Question) -> bool {
    matches!(cache.look_up(1, question, NOW), Found::Fresh(_))
}

/// Nanoseconds for each operation on `items`, taken again and again.
fn time<T>(items: &[T], mut operation: impl FnMut(&T)) -> f64 {
    let rounds = (0..ROUNDS)
        .map(|_| nanos(items.iter().cycle().take(OPERATIONS), OPERATIONS, &mut operation));
    middle(rounds.collect())
}

fn nanos<'t, T: 't>(
    items: impl Iterator<Item = &'t T>,
    count: usize,
    mut operation: impl FnMut(&T),
) -> f64 {
    let start = Instant::now();
    items.for_each(|item| operation(black_box(item)));
    start.elapsed().as_secs_f64() * 1e9 / count as f64
}

fn middle(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// An answer with one address, which lives for an hour.
fn entry(question: &Question, settings: &Settings) -> Arc<Entry> {
    let mut message = vec![0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
    message.extend(question.name.as_wire());
    message.extend([0, 1, 0, 1]);
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 14, 16, 0, 4, 192, 0, 2, 1]);
    let answer = Answer::receive(question, &message).expect("a good answer");
    Arc::new(Entry::new(Arc::new(answer), Freshness::default(), true, settings, NOW))
}

/// A question for an address.
fn question(dice: &mut Dice) -> Question {
    let name: Name = dice.text().parse().expect("the generator writes names");
    Question::plain(name, rtype::A)
}
