//! What fuzzing checks, on its seeds and on a fixed number of mutations of them: the same inputs
//! in every run. `make fuzz` goes on where this ends.

use std::fs;
use std::path::Path;

#[path = "../fuzz/checks/answer.rs"]
mod answer;
#[path = "../fuzz/checks/control.rs"]
mod control;
#[path = "../fuzz/checks/image.rs"]
mod image;
#[path = "../fuzz/checks/policy.rs"]
mod policy;
#[path = "../fuzz/checks/query.rs"]
mod query;
#[path = "../fuzz/checks/zone.rs"]
mod zone;

/// Longest input, in octets.
const LONGEST: usize = 4_096;

#[test]
fn packets() {
    hold("query", 60_000, query::check);
}

#[test]
fn answers() {
    hold("answer", 40_000, answer::check);
}

#[test]
fn zones() {
    hold("zone", 12_000, zone::check);
}

#[test]
fn images() {
    hold("image", 20_000, image::check);
}

#[test]
fn policies() {
    hold("policy", 1_500, policy::check);
}

#[test]
fn control_requests() {
    hold("control", 40_000, control::check);
}

/// Checks all seeds of a target, and `count` inputs that are made of them.
fn hold(target: &str, count: usize, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let seeds: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(seeds.len() >= 5, "{} has few seeds", folder.display());
    seeds.iter().for_each(|seed| check(seed));
    let mut rng = fastrand::Rng::with_seed(53);
    for _ in 0..count {
        let mut input = seeds[rng.usize(..seeds.len())].clone();
        for _ in 0..rng.usize(1..6) {
            mutate(&mut input, &seeds, &mut rng);
        }
        input.truncate(LONGEST);
        check(&input);
    }
}

/// One change: an octet, a bit, a piece gone, doubled, or taken from another seed.
fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut fastrand::Rng) {
    if input.is_empty() {
        return input.push(rng.u8(..));
    }
    let at = rng.usize(..input.len());
    let end = rng.usize(at..=input.len().min(at + 40));
    match rng.u8(..7) {
        0 => input[at] = rng.u8(..),
        1 => input[at] ^= 1 << rng.u8(..8),
        2 => input[at] = [0, 1, 0x7f, 0x80, 0xc0, 0xff][rng.usize(..6)],
        3 => drop(input.drain(at..end)),
        4 => {
            let piece = input[at..end].to_vec();
            input.splice(at..at, piece);
        }
        5 => input.insert(at, rng.u8(..)),
        _ => {
            let other = &seeds[rng.usize(..seeds.len())];
            let from = rng.usize(..=other.len());
            let piece = &other[from..other.len().min(from + 40)];
            input.splice(at..end, piece.iter().copied());
        }
    }
}
