//! Names for the benches: a small generator (splitmix64), the same on every machine.

const TOPS: [&str; 8] = ["com", "com", "com", "net", "org", "de", "xyz", "co.uk"];
const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";

/// The generator; its seed is its state.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A label of 4 to 15 letters and digits.
    pub fn label(&mut self) -> String {
        let len = 4 + self.below(12);
        (0..len).map(|_| LETTERS[self.below(36)] as char).collect()
    }

    /// A registered name, with a host label in front of some.
    pub fn text(&mut self) -> String {
        let host = if self.below(10) < 3 { self.label() + "." } else { String::new() };
        format!("{host}{}.{}", self.label(), TOPS[self.below(TOPS.len())])
    }
}
