//! Which backend gets the next try. Pure: what is known of the backends in, a choice out.

/// What counts when a backend is chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Used only while no backend of the first choice is.
    pub(super) standby: bool,
    /// In service.
    pub(super) up: bool,
    /// Up long enough to be preferred again, or never down.
    pub(super) settled: bool,
    /// Must not be asked now: it said so, or the question was sent there often enough.
    pub(super) barred: bool,
    /// All streams are in use.
    pub(super) full: bool,
    /// Got this question before.
    pub(super) tried: bool,
    /// Expected time to an answer, in any unit; smaller is better.
    pub(super) cost: u64,
}

impl Candidate {
    /// Groups in the order in which they are used; smaller is better.
    fn group(&self) -> Option<u8> {
        if self.barred {
            return None;
        }
        if !self.up {
            return Some(16 + u8::from(self.standby));
        }
        // a first choice that came back waits while a standby serves
        let rank = u8::from(self.standby) + 2 * u8::from(!self.settled);
        Some(rank + 4 * u8::from(self.full) + 8 * u8::from(self.tried))
    }
}

/// The clearly faster of two random backends of the best group, or else either of them.
/// `roll(n)` is a random number below `n`.
pub(super) fn choose(
    candidates: &[Candidate],
    mut roll: impl FnMut(usize) -> usize,
) -> Option<usize> {
    let best = candidates.iter().filter_map(Candidate::group).min()?;
    let members = || (0..candidates.len()).filter(|&i| candidates[i].group() == Some(best));
    let count = members().count();
    let first = roll(count);
    let a = members().nth(first)?;
    if count == 1 {
        return Some(a);
    }
    let b = members().nth((first + 1 + roll(count - 1)) % count)?;
    // what is nearly as fast gets its share: it stays warm, and its faults are noticed
    let clearly = candidates[b].cost.saturating_mul(4) < candidates[a].cost.saturating_mul(3);
    Some(if clearly { b } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Candidate = Candidate {
        standby: false,
        up: true,
        settled: true,
        barred: false,
        full: false,
        tried: false,
        cost: 10,
    };

    fn first(candidates: &[Candidate]) -> Option<usize> {
        choose(candidates, |_| 0)
    }

    #[test]
    fn the_faster_of_two_is_taken() {
        let slow = Candidate { cost: 50, ..UP };
        assert_eq!(first(&[slow, UP]), Some(1));
        assert_eq!(first(&[UP, slow]), Some(0));
    }

    #[test]
    fn all_of_a_group_get_their_share() {
        let mut seen = [0; 4];
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..1000 {
            seen[choose(&[UP; 4], |n| rng.usize(..n)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| n > 150), "{seen:?}");
    }

    #[test]
    fn standby_serves_only_while_no_first_choice_is_up() {
        let standby = Candidate { standby: true, cost: 1, ..UP };
        let down = Candidate { up: false, ..UP };
        assert_eq!(first(&[UP, standby]), Some(0));
        assert_eq!(first(&[down, standby]), Some(1));
    }

    #[test]
    fn a_first_choice_that_came_back_waits_for_its_hold_down() {
        let standby = Candidate { standby: true, ..UP };
        let back = Candidate { settled: false, ..UP };
        assert_eq!(first(&[back, standby]), Some(1));
        let down = Candidate { up: false, ..standby };
        assert_eq!(first(&[back, down]), Some(0), "unless nothing else is up");
    }

    #[test]
    fn full_and_tried_backends_come_later_and_down_ones_last() {
        let full = Candidate { full: true, ..UP };
        let tried = Candidate { tried: true, ..UP };
        let down = Candidate { up: false, ..UP };
        assert_eq!(first(&[full, UP]), Some(1));
        assert_eq!(first(&[tried, full]), Some(1));
        assert_eq!(first(&[down, tried]), Some(1));
        assert_eq!(first(&[down]), Some(0), "the least bad one is still tried");
        let barred = Candidate { barred: true, ..UP };
        assert_eq!(first(&[barred, down]), Some(1));
        assert_eq!(first(&[barred]), None);
    }
}
