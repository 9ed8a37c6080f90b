//! EDNS(0): the OPT record and its options (RFC 6891).

use super::u16_at;

/// Option code of DNS cookies (RFC 7873).
const COOKIE: u16 = 10;
/// Option code of padding (RFC 7830).
pub const PADDING: u16 = 12;
/// Option code of extended errors (RFC 8914).
pub const EDE: u16 = 15;

/// What the sender of an OPT record said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size that the sender can take, in octets, at least 512.
    pub payload: u16,
    /// EDNS version.
    pub version: u8,
    /// Upper eight bits of the response code.
    pub extended_rcode: u8,
    /// DO bit.
    pub dnssec_ok: bool,
}

impl Edns {
    /// Reads the fixed part of an OPT record: its class and TTL fields.
    pub fn from_fields(class: u16, ttl: u32) -> Edns {
        Edns {
            payload: class.max(512),
            version: (ttl >> 16) as u8,
            extended_rcode: (ttl >> 24) as u8,
            dnssec_ok: ttl & 0x8000 != 0,
        }
    }
}

/// Walks the options in `rdata`: code and data. Ends early, after an `Err`, when a length points
/// past the end.
pub fn options(rdata: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), OptionFault>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= rdata.len() {
            return None;
        }
        let item = (|| {
            let code = u16_at(rdata, at)?;
            let len = u16_at(rdata, at + 2)? as usize;
            Some((code, rdata.get(at + 4..at + 4 + len)?))
        })();
        at = match item {
            Some((_, data)) => at + 4 + data.len(),
            None => rdata.len(),
        };
        Some(item.ok_or(OptionFault))
    })
}

/// An option list that does not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionFault;

/// Checks the options of a query: lengths add up, and a cookie has a legal length
/// (8, or 16 to 40 octets: RFC 7873 section 5.2).
pub fn check_query_options(rdata: &[u8]) -> Result<(), OptionFault> {
    for option in options(rdata) {
        let (code, data) = option?;
        if code == COOKIE && data.len() != 8 && !(16..=40).contains(&data.len()) {
            return Err(OptionFault);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_walked_and_cut_lists_are_faults() {
        let list = [0, 3, 0, 0, 0, 15, 0, 2, 0, 15];
        let seen: Vec<_> = options(&list).collect();
        assert_eq!(seen, [Ok((3, &[][..])), Ok((15, &[0, 15][..]))]);
        assert_eq!(options(&list[..9]).last(), Some(Err(OptionFault)));
        assert_eq!(options(&[0]).count(), 1);
    }

    #[test]
    fn cookies_have_legal_lengths() {
        for (len, good) in [(0, false), (7, false), (8, true), (9, false), (16, true), (41, false)]
        {
            let mut rdata = vec![0, 10, 0, len];
            rdata.extend(std::iter::repeat_n(0, len as usize));
            assert_eq!(check_query_options(&rdata).is_ok(), good, "{len}");
        }
    }
}
