//! Hash pages of 256 slots. Generations share a page until one of them changes it.

use super::hash::USED;
use std::sync::Arc;

/// Slots of a page.
const SLOTS: usize = 256;
/// A page takes no further node beyond this, so that probes stay short.
const FULL: u16 = 230;
/// Nodes on a page of a table that was just made.
const SETTLED: usize = SLOTS / 2;
/// Below this many nodes a page on average, a full page is no sign of growth: it lies more
/// than five standard deviations off.
const CROWDED: usize = 160;
/// Below this many nodes a page on average, the table is too large for what is left in it.
const THIN: usize = SLOTS / 4;

/// One node.
#[derive(Clone, Copy, Default)]
#[repr(align(16))]
pub(super) struct Slot {
    /// Hash of the node, with [`USED`] set; 0 in an empty slot.
    pub(super) hash: u64,
    /// Number of the node's class, and whether its actions lie in the spill list.
    pub(super) class: u32,
    /// The action of all rules on the node, or where they begin in the spill list.
    pub(super) action: u32,
}

/// Where a slot is: page and slot in one number.
pub(super) type Place = u32;

/// The page that a node belongs to has no room left.
#[derive(Debug)]
pub(super) struct PageFull;

/// In this order, so that the number lies beside the counters of the `Arc`: a write needs both.
#[derive(Clone)]
#[repr(C)]
struct Page {
    used: u16,
    slots: [Slot; SLOTS],
}

/// The node store of a table. Cloning shares all pages.
#[derive(Clone, Default)]
pub(super) struct Pages {
    pages: Vec<Arc<Page>>,
}

impl Pages {
    /// Empty pages with room for `nodes` nodes and as many again.
    pub(super) fn for_nodes(nodes: usize) -> Pages {
        Pages::with_count(Pages::count_for(nodes))
    }

    /// True if that many pages would be about as many as these.
    pub(super) fn suit(&self, nodes: usize) -> bool {
        let wanted = Pages::count_for(nodes);
        self.pages.len().abs_diff(wanted) <= wanted / 5
    }

    fn count_for(nodes: usize) -> usize {
        nodes.div_ceil(SETTLED).max(1)
    }

    /// Twice as many pages, empty.
    pub(super) fn doubled(&self) -> Pages {
        Pages::with_count(self.pages.len().max(1) * 2)
    }

    fn with_count(count: usize) -> Pages {
        let page = || Arc::new(Page { slots: [Slot::default(); SLOTS], used: 0 });
        Pages { pages: std::iter::repeat_with(page).take(count).collect() }
    }

    /// True if a full page is no accident with `nodes` nodes in all.
    pub(super) fn is_crowded(&self, nodes: usize) -> bool {
        nodes < self.pages.len() * CROWDED
    }

    /// True if `nodes` nodes would do with half the pages.
    pub(super) fn is_thin(&self, nodes: usize) -> bool {
        self.pages.len() > 1 && nodes < self.pages.len() * THIN
    }

    /// Puts all nodes into `target`, which has none yet.
    pub(super) fn copy_into(&self, target: &mut Pages) -> Result<(), PageFull> {
        for slot in self.iter() {
            target.put(slot.hash, slot.class, slot.action)?;
        }
        Ok(())
    }

    /// The node with this hash.
    #[inline(always)]
    pub(super) fn get(&self, hash: u64) -> Option<(Place, Slot)> {
        let at = self.page_of(hash);
        let page = self.pages.get(at)?;
        let mut i = hash as usize % SLOTS;
        // a page is never full, so there is an empty slot that ends the probe
        loop {
            let slot = page.slots[i];
            if slot.hash == hash {
                return Some((place(at, i), slot));
            }
            if slot.hash == 0 {
                return None;
            }
            i = (i + 1) % SLOTS;
        }
    }

    /// Reads the first slot that a node could be in, so that it is near when it is needed.
    #[inline(always)]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        let page = self.pages.get(self.page_of(hash));
        page.map_or(0, |page| page.slots[hash as usize % SLOTS].hash ^ u64::from(page.used))
    }

    /// The slot at `place`.
    #[inline]
    pub(super) fn at(&self, place: Place) -> Option<Slot> {
        let page = self.pages.get(place as usize / SLOTS)?;
        Some(page.slots[place as usize % SLOTS])
    }

    /// True if the node is there, or has room on its page.
    pub(super) fn has_room(&self, hash: u64) -> bool {
        let page = self.pages.get(self.page_of(hash));
        page.is_some_and(|page| page.used < FULL) || self.get(hash).is_some()
    }

    /// Gives the node this class and action; true if it was made for that. To know first whether
    /// there is room, see [`Pages::has_room`].
    pub(super) fn put(&mut self, hash: u64, class: u32, action: u32) -> Result<bool, PageFull> {
        debug_assert!(hash & USED != 0);
        let at = self.page_of(hash);
        // once for both numbers: it waits until what was written before is in the caches
        let page = Arc::make_mut(self.pages.get_mut(at).ok_or(PageFull)?);
        let mut i = hash as usize % SLOTS;
        while page.slots[i].hash != 0 && page.slots[i].hash != hash {
            i = (i + 1) % SLOTS;
        }
        let slot = &mut page.slots[i];
        let made = slot.hash == 0;
        if made {
            if page.used >= FULL {
                return Err(PageFull);
            }
            page.used += 1;
        }
        *slot = Slot { hash, class, action };
        Ok(made)
    }

    /// Changes class and action of the node at `place`.
    pub(super) fn write(&mut self, place: Place, class: u32, action: u32) {
        if let Some(shared) = self.pages.get_mut(place as usize / SLOTS) {
            let slot = &mut Arc::make_mut(shared).slots[place as usize % SLOTS];
            (slot.class, slot.action) = (class, action);
        }
    }

    /// Takes the node at `place` away and closes the gap.
    pub(super) fn remove(&mut self, place: Place) {
        let Some(shared) = self.pages.get_mut(place as usize / SLOTS) else { return };
        let page = Arc::make_mut(shared);
        let mut gap = place as usize % SLOTS;
        let mut i = gap;
        loop {
            i = (i + 1) % SLOTS;
            let slot = page.slots[i];
            if slot.hash == 0 {
                break;
            }
            // a node moves into the gap unless that lies before its own first slot
            let home = slot.hash as usize % SLOTS;
            if (i + SLOTS - home) % SLOTS >= (i + SLOTS - gap) % SLOTS {
                page.slots[gap] = slot;
                gap = i;
            }
        }
        page.slots[gap] = Slot::default();
        page.used -= 1;
    }

    /// Changes class and action of every node; the hash must stay.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(&mut Slot)) {
        for page in &mut self.pages {
            Arc::make_mut(page).slots.iter_mut().filter(|s| s.hash != 0).for_each(&mut change);
        }
    }

    /// All nodes, page by page, which is the order of the upper bits of their hashes.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.pages.iter().flat_map(|page| page.slots.iter()).filter(|s| s.hash != 0).copied()
    }

    /// Memory in octets; a shared page counts in full.
    pub(super) fn bytes(&self) -> usize {
        // a page lies behind the two counters of its `Arc`
        let page = size_of::<Page>() + 2 * size_of::<usize>();
        self.pages.len() * page + self.pages.capacity() * size_of::<Arc<Page>>()
    }

    /// Scales 32 upper bits to the number of pages, which need not be a power of two.
    #[inline(always)]
    fn page_of(&self, hash: u64) -> usize {
        ((((hash << 1) >> 32) * self.pages.len() as u64) >> 32) as usize
    }

    /// How many pages are the very same in both.
    #[cfg(test)]
    pub(super) fn shared_with(&self, other: &Pages) -> usize {
        self.pages.iter().zip(&other.pages).filter(|(a, b)| Arc::ptr_eq(a, b)).count()
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.pages.len()
    }
}

/// Four thousand million slots are 64 GiB: memory ends before the number does.
#[inline(always)]
fn place(page: usize, slot: usize) -> Place {
    (page * SLOTS + slot) as Place
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_full_page_says_so() {
        let mut pages = Pages::with_count(4);
        for n in 0..u64::from(FULL) {
            assert!(pages.has_room(USED | n) && pages.put(USED | n, 1, 1).unwrap());
        }
        assert!(!pages.has_room(USED | 1000) && pages.put(USED | 1000, 1, 1).is_err());
        assert!(pages.has_room(USED | 1), "a node that is there needs no room");
        assert!(!pages.put(USED | 1, 2, 3).unwrap());
        assert_eq!(pages.get(USED | 1).map(|(_, slot)| (slot.class, slot.action)), Some((2, 3)));
        assert!(pages.has_room(USED | (1 << 62)), "other pages are free");
    }

    #[test]
    fn removal_keeps_the_others_in_reach() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut pages = Pages::with_count(1);
        let mut want = BTreeSet::new();
        for round in 0..20_000 {
            // few first slots, so that runs of slots grow long and pass the end of the page
            let hash = USED | (rng.u64(0..40) << 20) | ((240 + rng.u64(0..20)) % 256);
            if rng.bool() && want.len() < 200 {
                pages.put(hash, 1, 1).unwrap();
                want.insert(hash);
            } else if let Some((place, _)) = pages.get(hash) {
                pages.remove(place);
                assert!(want.remove(&hash));
            }
            if round % 100 == 0 {
                assert!(want.iter().all(|&hash| pages.get(hash).is_some()));
                assert_eq!(pages.iter().map(|s| s.hash).collect::<BTreeSet<_>>(), want);
                assert_eq!(pages.pages[0].used as usize, want.len());
            }
        }
    }
}
