//! Durations and sizes with units: `"1h30m"`, `"64 MiB"`.

use std::time::Duration;

use super::spelling::quote;

/// Units of time with their length in milliseconds, longest first.
const TIME_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Units of size with their length in octets; the binary ones come first, largest first, so
/// that a size is shown in them.
const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// Reads a duration: numbers with units, longest unit first, each unit once (`"1h30m"`).
/// Spaces do not matter.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        let cure = "write a number with a unit, such as \"200ms\", \"30s\", \"1h30m\" or \"1d\"";
        format!("{} is not a duration; {cure}", quote(text))
    };
    let mut rest = text.trim();
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_unit(rest, "30s"));
    }
    let mut total = 0u64;
    let mut units = TIME_UNITS.iter();
    while !rest.is_empty() {
        let (number, unit, after) = part(rest).ok_or_else(wrong)?;
        // the search goes on behind the unit found last: each once, in falling order
        let (_, length) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let length = number.checked_mul(*length).and_then(|length| total.checked_add(length));
        total = length.ok_or_else(|| format!("{} is too long a time", quote(text)))?;
        rest = after;
    }
    if text.trim().is_empty() { Err(wrong()) } else { Ok(Duration::from_millis(total)) }
}

/// Reads a size in octets: a number and a unit (`"64 MiB"`, `"10MB"`).
pub(super) fn size(text: &str) -> Result<u64, String> {
    let trimmed = text.trim();
    if !trimmed.is_empty() && trimmed.bytes().all(|b| b.is_ascii_digit()) {
        return Err(no_unit(trimmed, "64 MiB"));
    }
    let found = part(trimmed).filter(|(_, _, after)| after.is_empty());
    let found = found.and_then(|(number, unit, _)| {
        let unit = SIZE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        Some((number, unit.1))
    });
    let Some((number, unit)) = found else {
        let cure = "write a number with a unit, such as \"512 KiB\", \"64 MiB\" or \"1 GB\"";
        return Err(format!("{} is not a size; {cure}", quote(text)));
    };
    number.checked_mul(unit).ok_or_else(|| format!("{} is too large", quote(text)))
}

/// What to say about a number without a unit, as a string or as an integer.
pub(super) fn no_unit(number: &str, example: &str) -> String {
    format!("{} has no unit; write for example \"{example}\"", quote(number).trim_matches('"'))
}

/// A duration in the form that [`duration`] reads.
pub(super) fn show_duration(length: Duration) -> String {
    let mut rest = length.as_millis() as u64;
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, length) in TIME_UNITS {
        if rest >= length {
            out.push_str(&format!("{}{unit}", rest / length));
            rest %= length;
        }
    }
    out
}

/// A size in the largest binary unit that divides it.
pub(super) fn show_size(octets: u64) -> String {
    let unit =
        SIZE_UNITS[..4].iter().find(|(_, unit)| octets >= *unit && octets.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) => format!("{} {name}", octets / unit),
        None => format!("{octets} B"),
    }
}

/// The number and the unit at the start of `text`, and what follows them.
fn part(text: &str) -> Option<(u64, &str, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number = text[..digits].parse().ok()?;
    let text = text[digits..].trim_start();
    let letters = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    Some((number, &text[..letters], text[letters..].trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("200ms", 200),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1d", 86_400_000),
            ("0s", 0),
            ("1m5ms", 60_005),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", " ", "s", "1x", "30m1h", "1s1s", "1.5s", "-1s", "5", "1ss", "é", "1é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(duration("99999999999999999d").unwrap_err().contains("too long"));
        assert!(duration("99999999999999999999999999s").is_err());
        for text in ["1d", "1h30m", "200ms", "0s", "1m5ms"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(size("64 MiB"), Ok(64 << 20));
        assert_eq!(size("64mib"), Ok(64 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("7 B"), Ok(7));
        for bad in ["", "64", "MiB", "64 M", "1 GiB 5 MiB", "-1 B", "1.5 GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        assert!(size("99999999999 TiB").unwrap_err().contains("too large"));
        assert_eq!(show_size(64 << 20), "64 MiB");
        assert_eq!(show_size(1500), "1500 B");
    }
}
