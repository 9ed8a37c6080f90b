//! Serial numbers of zones: 32 bits in a circle (RFC 1982).

/// How one serial stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It comes after the other.
    Newer,
    /// They are equal.
    Same,
    /// It comes before the other.
    Older,
    /// Exactly half the circle lies between them: RFC 1982 section 3.2 leaves that open.
    Undefined,
}

/// How `serial` stands to `other`.
pub fn order(serial: u32, other: u32) -> Order {
    match serial.wrapping_sub(other) {
        0 => Order::Same,
        1..0x8000_0000 => Order::Newer,
        0x8000_0000 => Order::Undefined,
        _ => Order::Older,
    }
}

/// True if `serial` comes after `other`.
pub fn is_newer(serial: u32, other: u32) -> bool {
    order(serial, other) == Order::Newer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circle_closes() {
        for (serial, other, expected) in [
            (1, 0, Order::Newer),
            (0, 1, Order::Older),
            (7, 7, Order::Same),
            (0, u32::MAX, Order::Newer),
            (5, u32::MAX - 5, Order::Newer),
            (u32::MAX, 0, Order::Older),
            (0x7fff_ffff, 0, Order::Newer),
            (0x8000_0000, 0, Order::Undefined),
            (0, 0x8000_0000, Order::Undefined),
            (0x8000_0001, 0, Order::Older),
            (0x7fff_fffe, u32::MAX, Order::Newer),
            (0x7fff_ffff, u32::MAX, Order::Undefined),
            (2_026_112_201, 2_026_112_200, Order::Newer),
        ] {
            assert_eq!(order(serial, other), expected, "{serial} to {other}");
        }
    }

    #[test]
    fn both_sides_see_the_same() {
        let mut rng = fastrand::Rng::with_seed(53);
        for _ in 0..10_000 {
            let (a, b) = (rng.u32(..), rng.u32(..));
            let mirrored = match order(a, b) {
                Order::Newer => Order::Older,
                Order::Older => Order::Newer,
                other => other,
            };
            assert_eq!(order(b, a), mirrored, "{a} and {b}");
            assert!(is_newer(a.wrapping_add(1), a));
        }
    }
}
