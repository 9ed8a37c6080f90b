//! The source of time: one monotonic clock for everything that ages, and wall time for records.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A point on the monotonic clock, in milliseconds since the first one was taken. Jumps of the
/// wall clock do not touch it. Tests make their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        static START: OnceLock<Instant> = OnceLock::new();
        // starts at a day, so that tests and arithmetic can go back in time
        let start = START.get_or_init(Instant::now);
        Moment(86_400_000 + start.elapsed().as_millis() as u64)
    }

    /// The moment `millis` milliseconds after the origin, for tests and simulations.
    pub const fn from_millis(millis: u64) -> Moment {
        Moment(millis)
    }

    /// Time from `earlier` to here; zero if it is later.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds from `earlier` to here, at most `u32::MAX`.
    pub fn seconds_since(self, earlier: Moment) -> u32 {
        u32::try_from(self.0.saturating_sub(earlier.0) / 1000).unwrap_or(u32::MAX)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, d: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// Wall time in milliseconds since 1970, for records and for people only.
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A wall time in RFC 3339 form, UTC, with milliseconds: `2026-01-31T12:00:00.000Z`.
pub fn rfc3339(millis: u64) -> String {
    let (days, in_day) = (millis / 86_400_000, millis % 86_400_000);
    let (year, month, day) = civil(days);
    let (seconds, ms) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// The wall time of a text as [`rfc3339`] writes it; `None` for other forms.
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let number = |part: Option<&str>| part?.parse::<u64>().ok();
    let mut date = date.splitn(3, '-');
    let (year, month, day) = (number(date.next())?, number(date.next())?, number(date.next())?);
    let mut time = time.splitn(4, [':', '.']);
    let (hour, minute) = (number(time.next())?, number(time.next())?);
    let (second, ms) = (number(time.next())?, number(time.next())?);
    let days = days(year, month, day)?;
    let good = hour < 24 && minute < 60 && second < 60 && ms < 1000;
    good.then_some(days * 86_400_000 + ((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

/// Days since 1970 of a date in the Gregorian calendar, up to the year 9999.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // counted from 1 March of year 0, as `civil` does
    let year = year - u64::from(month <= 2);
    let shifted_month = (month + 9) % 12;
    let days_before_year = 365 * year + year / 4 - year / 100 + year / 400;
    Some(days_before_year + (153 * shifted_month + 2) / 5 + day - 1 - 719_468)
}

/// Year, month and day of a count of days since 1970 in the Gregorian calendar.
pub fn civil(days: u64) -> (u64, u64, u64) {
    // counted from 1 March of year 0, in eras of 400 years
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_795_305_599_999), "2026-11-21T23:59:59.999Z");
        for day in (0..80_000).step_by(7) {
            let millis = day * 86_400_000 + 45_296_789;
            assert_eq!(from_rfc3339(&rfc3339(millis)), Some(millis));
        }
        for bad in [
            "",
            "2026-11-21",
            "2026-13-21T00:00:00.000Z",
            "1969-01-01T00:00:00.000Z",
            "2026-11-21T24:00:00.000Z",
            "2026-11-21T00:00:00Z",
            "99999-01-01T00:00:00.000Z",
        ] {
            assert_eq!(from_rfc3339(bad), None, "{bad}");
        }
    }

    #[test]
    fn moments_do_not_underflow() {
        let (a, b) = (Moment::from_millis(5_000), Moment::from_millis(9_999));
        assert_eq!(b.seconds_since(a), 4);
        assert_eq!(a.seconds_since(b), 0);
        assert_eq!(a + Duration::from_secs(1), Moment::from_millis(6_000));
    }
}
