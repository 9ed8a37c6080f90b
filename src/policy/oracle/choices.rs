//! Octets as a row of choices, for worlds that are made up.

/// Choices out of octets; when they run out, each further choice is the first one.
#[derive(Clone, Debug)]
pub struct Choices<'o> {
    octets: &'o [u8],
}

impl<'o> Choices<'o> {
    /// Choices by these octets.
    pub fn new(octets: &'o [u8]) -> Choices<'o> {
        Choices { octets }
    }

    /// True once the octets ran out.
    pub fn is_spent(&self) -> bool {
        self.octets.is_empty()
    }

    /// A number below `end`; 0 if `end` is.
    pub fn below(&mut self, end: usize) -> usize {
        let taken = if end > 256 { 2 } else { 1 };
        let mut number = 0;
        for _ in 0..taken {
            let (octet, rest) = self.octets.split_first().unwrap_or((&0, &[]));
            self.octets = rest;
            number = number << 8 | usize::from(*octet);
        }
        number.checked_rem(end).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) + 1 == times
    }

    /// One of these; `None` if there is none.
    pub fn one_of<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }
}
