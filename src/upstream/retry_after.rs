//! The Retry-After header (RFC 9110 section 10.2.3). Pure.

use std::time::{Duration, SystemTime};

/// How long to wait by a Retry-After header, at most `longest`; `None` for what is no such value.
pub fn retry_after(value: &[u8], now: SystemTime, longest: Duration) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        // more digits than fit are a long time, and the cap is below both
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        // a date that is past means: now
        httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::upstream::RETRY_AFTER_MAX;

    fn parse(value: &[u8], now: SystemTime) -> Option<Duration> {
        retry_after(value, now, RETRY_AFTER_MAX)
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap()
    }

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(parse(b"7", now()), Some(Duration::from_secs(7)));
        assert_eq!(parse(b" 0 ", now()), Some(Duration::ZERO));
        let date = b"Sun, 06 Nov 1994 08:50:07 GMT";
        assert_eq!(parse(date, now()), Some(Duration::from_secs(30)));
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:40:00 GMT", now()), Some(Duration::ZERO));
    }

    #[test]
    fn long_waits_are_capped() {
        let cap = Some(RETRY_AFTER_MAX);
        assert_eq!(parse(b"1000000000", now()), cap);
        assert_eq!(parse(b"99999999999999999999999999", now()), cap);
        assert_eq!(parse(b"Sat, 06 Nov 2094 08:49:37 GMT", now()), cap);
    }

    #[test]
    fn garbage_is_no_value() {
        for text in ["", "-7", "soon", "7.5", "+7", "\u{fffd}"] {
            assert_eq!(parse(text.as_bytes(), now()), None, "{text:?}");
        }
        assert_eq!(parse(&[0xff, 0xfe], now()), None);
    }
}
