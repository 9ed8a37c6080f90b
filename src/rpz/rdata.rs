//! Record data, read as an action.
//!
//! Source: internet-draft dnsop-dns-rpz-00 section 3. Comparison ignores case.

use crate::policy::action::Action;
use crate::rpz::owner::Reason;

/// Type codes that this room treats in a way of their own (IANA DNS parameters).
pub(super) mod rtype {
    pub(in crate::rpz) const A: u16 = 1;
    pub(in crate::rpz) const NS: u16 = 2;
    pub(in crate::rpz) const CNAME: u16 = 5;
    pub(in crate::rpz) const SOA: u16 = 6;
    pub(in crate::rpz) const AAAA: u16 = 28;
    pub(in crate::rpz) const DNAME: u16 = 39;
    pub(in crate::rpz) const OPT: u16 = 41;
}

/// What a record type is to a policy zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TypeUse {
    /// The zone's own SOA, if it stands at the apex.
    Soa,
    /// Can be the data of a rule.
    Rule,
    /// DNSSEC and its relatives: there because the zone is signed, never a rule.
    Unused,
    /// NS: expected at the apex, of no use anywhere else.
    Ns,
    /// Cannot be the data of a rule, for this reason.
    No(&'static str),
}

/// Sorts record types.
#[inline]
pub(super) fn use_of(code: u16) -> TypeUse {
    match code {
        rtype::A | rtype::AAAA | rtype::CNAME => TypeUse::Rule,
        rtype::SOA => TypeUse::Soa,
        rtype::NS => TypeUse::Ns,
        rtype::DNAME => TypeUse::No("DNAME is no policy action"),
        // SIG, KEY, NXT, DS, RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY, ZONEMD
        24 | 25 | 30 | 43 | 46 | 47 | 48 | 50 | 51 | 59 | 60 | 63 => TypeUse::Unused,
        // RFC 6895 section 3.1: 0, OPT and the block of meta types and question types
        0 | rtype::OPT | 128..=255 => TypeUse::No("this type is no data type"),
        _ => TypeUse::Rule,
    }
}

/// What a CNAME says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// One of the fixed actions.
    Fixed(Action),
    /// Local data: the CNAME itself.
    Data,
    /// A target that the draft reserves: no rule.
    Reserved(Reason),
}

/// Reads a CNAME's target, an uncompressed wire name. `written` are the labels of the
/// owner that stand for the trigger: a target equal to them is the old spelling of
/// PASSTHRU.
#[inline]
pub(super) fn cname(target: &[u8], written: &[u8]) -> Meaning {
    match target {
        [0] => return Meaning::Fixed(Action::Nxdomain),
        [1, b'*', 0] => return Meaning::Fixed(Action::Nodata),
        _ => {}
    }
    let labels = target.strip_suffix(&[0]).unwrap_or(target);
    if labels.eq_ignore_ascii_case(written) {
        return Meaning::Fixed(Action::Passthru);
    }
    let (mut at, mut last) = (0, 0);
    while at < labels.len() {
        last = at;
        at += labels[at] as usize + 1;
    }
    match labels.get(last + 1..) {
        Some(label) if label.get(..4).is_some_and(|b| b.eq_ignore_ascii_case(b"rpz-")) => {
            special(label, last == 0)
        }
        _ => Meaning::Data,
    }
}

/// A target whose last label starts with `rpz-`; `alone` if there is no other label.
fn special(label: &[u8], alone: bool) -> Meaning {
    let known = [
        (&b"rpz-passthru"[..], Action::Passthru),
        (b"rpz-drop", Action::Drop),
        (b"rpz-tcp-only", Action::TcpOnly),
    ];
    let found = known.into_iter().find(|(name, _)| label.eq_ignore_ascii_case(name));
    match found {
        Some((_, action)) if alone => Meaning::Fixed(action),
        Some(_) => Meaning::Reserved("a name below a special action is reserved".into()),
        None => Meaning::Reserved(
            format!(
                "unknown action {}; known are rpz-passthru, rpz-drop and rpz-tcp-only",
                label.escape_ascii()
            )
            .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        // case kept, unlike `Name`
        let mut out = Vec::new();
        for label in text.split('.').filter(|label| !label.is_empty()) {
            out.push(label.len() as u8);
            out.extend_from_slice(label.as_bytes());
        }
        out.push(0);
        out
    }

    #[test]
    fn targets() {
        let owner = wire("bad.example");
        let written = &owner[..owner.len() - 1];
        for (target, wanted) in [
            (".", Meaning::Fixed(Action::Nxdomain)),
            ("*.", Meaning::Fixed(Action::Nodata)),
            ("rpz-passthru.", Meaning::Fixed(Action::Passthru)),
            ("RPZ-PassThru.", Meaning::Fixed(Action::Passthru)),
            ("Rpz-DROP.", Meaning::Fixed(Action::Drop)),
            ("rpz-tcp-only.", Meaning::Fixed(Action::TcpOnly)),
            ("Bad.Example.", Meaning::Fixed(Action::Passthru)),
            ("*.garden.test.", Meaning::Data),
            ("garden.test.", Meaning::Data),
            ("rpz-drop.rpz.test.", Meaning::Data),
            ("rpz.", Meaning::Data),
            ("example.", Meaning::Data),
            ("xbad.example.", Meaning::Data),
        ] {
            assert_eq!(cname(&wire(target), written), wanted, "{target}");
        }
        for target in ["rpz-foo.", "x.rpz-foo.", "x.rpz-passthru.", "*.rpz-drop.", "rpz-."] {
            let meaning = cname(&wire(target), written);
            assert!(matches!(meaning, Meaning::Reserved(_)), "{target}: {meaning:?}");
        }
    }

    #[test]
    fn types() {
        for code in [1, 5, 16, 28, 33, 64, 65, 65400] {
            assert_eq!(use_of(code), TypeUse::Rule, "TYPE{code}");
        }
        for code in [43, 46, 47, 48, 50, 51, 59, 60, 63] {
            assert_eq!(use_of(code), TypeUse::Unused, "TYPE{code}");
        }
        for code in [0, 39, 41, 251, 252, 255] {
            assert!(matches!(use_of(code), TypeUse::No(_)), "TYPE{code}");
        }
        assert_eq!((use_of(2), use_of(6)), (TypeUse::Ns, TypeUse::Soa));
    }
}
