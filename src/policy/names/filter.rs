//! A blocked Bloom filter in front of the pages: one word and three bits a node.

/// Bits spent on each node at the time the filter is made.
const BITS_PER_NODE: usize = 8;

/// Says "surely not" for most names that are no node, in one cache line.
///
/// A bit once set stays until the filter is made anew: names taken away cost a little
/// time, never a wrong answer. Without any word it lets everything through.
#[derive(Clone, Default)]
pub(super) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    /// An empty filter of the right size for `nodes` nodes.
    pub(super) fn for_nodes(nodes: usize) -> Filter {
        Filter { words: vec![0; (nodes * BITS_PER_NODE).div_ceil(64)].into() }
    }

    /// Notes the node.
    pub(super) fn add(&mut self, hash: u64) {
        let at = self.word_of(hash);
        if let Some(word) = self.words.get_mut(at) {
            *word |= bits(hash);
        }
    }

    /// False if the node has surely not been noted.
    #[inline(always)]
    pub(super) fn may_hold(&self, hash: u64) -> bool {
        let want = bits(hash);
        self.words.get(self.word_of(hash)).is_none_or(|word| word & want == want)
    }

    /// Memory in octets.
    pub(super) fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.words)
    }

    /// Scales 32 upper bits to the number of words, which need not be a power of two.
    #[inline(always)]
    fn word_of(&self, hash: u64) -> usize {
        ((((hash << 1) >> 32) * self.words.len() as u64) >> 32) as usize
    }
}

/// Three bits of a word. Pages take their slot from the lowest eight, so these come above.
#[inline(always)]
fn bits(hash: u64) -> u64 {
    (1 << ((hash >> 8) & 63)) | (1 << ((hash >> 14) & 63)) | (1 << ((hash >> 20) & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_added_and_little_else() {
        let mut rng = fastrand::Rng::with_seed(7);
        let nodes: Vec<u64> = (0..10_000).map(|_| rng.u64(..)).collect();
        let mut filter = Filter::for_nodes(nodes.len());
        assert!(!filter.may_hold(nodes[0]));
        nodes.iter().for_each(|&hash| filter.add(hash));
        assert!(nodes.iter().all(|&hash| filter.may_hold(hash)));
        let wrong = (0..10_000).filter(|_| filter.may_hold(rng.u64(..))).count();
        assert!(wrong < 1_000, "{wrong} of 10,000 absent nodes pass");
        assert!(Filter::default().may_hold(1));
    }
}
