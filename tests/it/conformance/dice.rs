//! Choices that a seed determines.

use fastrand::Rng;

/// A generator of choices; the same seed and word give the same choices for ever.
pub struct Dice(Rng);

impl Dice {
    /// `what` keeps the choices of one part apart from those of the others.
    pub fn new(what: &str, seed: u64) -> Dice {
        let start = 0xCBF2_9CE4_8422_2325 ^ seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mix = |h: u64, b: u8| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3);
        Dice(Rng::with_seed(what.bytes().fold(start, mix)))
    }

    /// True this many times out of a hundred.
    pub fn percent(&mut self, chance: u32) -> bool {
        self.0.u32(0..100) < chance
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(0..end)
    }

    /// One of several things.
    pub fn one<'a, T: ?Sized>(&mut self, of: &'a [&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// One of a list.
    pub fn from<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// As many different members of a list, in any order.
    pub fn some<T: Clone>(&mut self, list: &[T], count: usize) -> Vec<T> {
        self.0.choose_multiple(list.iter(), count).into_iter().cloned().collect()
    }

    /// The place of one weight among others, as often as its weight says.
    pub fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        weights
            .iter()
            .position(|w| {
                let here = left < *w;
                left = left.saturating_sub(*w);
                here
            })
            .expect("the sum is that of the weights")
    }

    /// The same name in another mixture of cases; escapes have no letters and stay.
    pub fn recase(&mut self, name: &str) -> String {
        let mut any = |c: char| if self.0.bool() { c.to_ascii_uppercase() } else { c };
        name.chars().map(&mut any).collect()
    }
}
