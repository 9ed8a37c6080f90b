//! The SHA-256 checksum of a list.

use sha2::{Digest, Sha256};

use super::{Fault, Mismatch};

/// Digits of a SHA-256 sum.
const DIGITS: usize = 64;

/// Compares the sum of a list with the one that it should have.
pub(super) fn compare(text: &[u8], wanted: [u8; 32]) -> Result<(), Fault> {
    let found: [u8; 32] = Sha256::digest(text).into();
    if found == wanted {
        return Ok(());
    }
    Err(Fault::Mismatch(Box::new(Mismatch { found, wanted })))
}

/// The first word of exactly 64 hexadecimal digits: `SUM  list.txt` as sha256sum writes it, or
/// `SHA256 (list.txt) = SUM`.
pub(super) fn find(page: &[u8]) -> Option<[u8; 32]> {
    let mut words = page.split(|octet| !octet.is_ascii_alphanumeric());
    words.find_map(|word| (word.len() == DIGITS).then(|| read(word)).flatten())
}

fn read(digits: &[u8]) -> Option<[u8; 32]> {
    let mut sum = [0; DIGITS / 2];
    for (octet, pair) in sum.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = *pair else { return None };
        let digit = |c: u8| char::from(c).to_digit(16);
        *octet = u8::try_from(digit(high)? << 4 | digit(low)?).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of no octets at all (FIPS 180-4).
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn sums_are_found_in_the_usual_places() {
        let sum = find(EMPTY.as_bytes()).unwrap();
        assert_eq!((sum[0], sum[31]), (0xe3, 0x55));
        for page in [
            format!("{EMPTY}  list.txt\n"),
            format!("SHA256 (list.txt) = {}\n", EMPTY.to_uppercase()),
            format!("{EMPTY}{EMPTY} sha512\n{EMPTY} sha256\n"),
            format!("{}\n{EMPTY}\n", "x".repeat(64)),
        ] {
            assert_eq!(find(page.as_bytes()), Some(sum), "{page}");
        }
        for page in ["", "<html>404</html>", &EMPTY[1..], &format!("{EMPTY}0")] {
            assert_eq!(find(page.as_bytes()), None, "{page}");
        }
    }

    #[test]
    fn a_mismatch_has_both_sums() {
        let wanted = find(EMPTY.as_bytes()).unwrap();
        assert_eq!(compare(b"", wanted), Ok(()));
        let fault = compare(b"abc", wanted).unwrap_err().to_string();
        // FIPS 180-4, the sum of "abc"
        let found = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(fault.contains(EMPTY) && fault.contains(found), "{fault}");
    }
}
