//! What a rule does: the fixed actions, and local data.

use std::fmt;

use crate::dns::name::Name;

/// Type code of CNAME (RFC 1035 section 3.2.2).
const CNAME: u16 = 5;

/// What happens to the response of a query that meets a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The name does not exist.
    Nxdomain,
    /// The name exists, without data of any type.
    Nodata,
    /// The truth, and no further policy for this response.
    Passthru,
    /// No reply at all.
    Drop,
    /// Over UDP an empty truncated reply; over TCP the truth.
    TcpOnly,
    /// Records of the zone's own: index into the zone set's local data.
    Data(u32),
}

impl Action {
    /// How many kinds of action there are, all local data being one kind.
    pub const KINDS: usize = 6;

    /// The spelling of BIND's log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Nxdomain => "NXDOMAIN",
            Action::Nodata => "NODATA",
            Action::Passthru => "PASSTHRU",
            Action::Drop => "DROP",
            Action::TcpOnly => "TCP-ONLY",
            Action::Data(_) => "Local-Data",
        }
    }

    /// The kind's place among [`Action::KINDS`].
    pub fn kind(self) -> usize {
        ActionCode::from(self).0.min(ActionCode::FIRST_DATA) as usize
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for Action {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// An [`Action`] in 32 bits: 0 to 4 are the fixed actions, 5 and more are 5 + index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActionCode(u32);

impl ActionCode {
    /// The code of `Action::Data(0)`.
    const FIRST_DATA: u32 = 5;
    /// The largest index that local data may have.
    pub const MAX_DATA: u32 = u32::MAX - Self::FIRST_DATA;

    /// The number itself, for tables that store it; [`ActionCode::from_u32`] reads it back.
    #[inline]
    pub fn as_u32(self) -> u32 {
        self.0
    }

    /// Every number is a code.
    #[inline]
    pub fn from_u32(code: u32) -> ActionCode {
        ActionCode(code)
    }

    /// The action that the code stands for.
    #[inline]
    pub fn action(self) -> Action {
        match self.0 {
            0 => Action::Nxdomain,
            1 => Action::Nodata,
            2 => Action::Passthru,
            3 => Action::Drop,
            4 => Action::TcpOnly,
            data => Action::Data(data - Self::FIRST_DATA),
        }
    }
}

impl From<Action> for ActionCode {
    /// An index above [`ActionCode::MAX_DATA`] cannot be told apart: it becomes that bound.
    #[inline]
    fn from(action: Action) -> ActionCode {
        ActionCode(match action {
            Action::Nxdomain => 0,
            Action::Nodata => 1,
            Action::Passthru => 2,
            Action::Drop => 3,
            Action::TcpOnly => 4,
            Action::Data(index) => index.saturating_add(Self::FIRST_DATA),
        })
    }
}

/// One record that a rule answers with; its owner is the name that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LocalRecord {
    /// Record type.
    pub rtype: u16,
    /// Time to live as the zone states it, in seconds.
    pub ttl: u32,
    /// Record data in wire form: names uncompressed, their case kept.
    pub rdata: Box<[u8]>,
}

/// Where a rule's CNAME leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CnameTarget {
    /// To this name.
    Literal(Name),
    /// To the asked name put in front of this one (a walled garden, `*.garden.`).
    Wildcard(Name),
}

/// All records of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalData {
    records: Box<[LocalRecord]>,
    cname: Option<Box<CnameTarget>>,
}

impl LocalData {
    /// Keeps `records` in their order. The first CNAME among them, if its data is a name,
    /// becomes the target.
    pub fn new(records: Vec<LocalRecord>) -> LocalData {
        let cname = records.iter().find(|record| record.rtype == CNAME);
        let target = cname.and_then(|record| Name::from_wire(&record.rdata).ok());
        LocalData { cname: target.map(|name| Box::new(target_of(name))), records: records.into() }
    }

    /// The records, in the order of the zone.
    pub fn records(&self) -> &[LocalRecord] {
        &self.records
    }

    /// Where the rule's CNAME leads; `None` for a rule without one.
    #[inline]
    pub fn cname(&self) -> Option<&CnameTarget> {
        self.cname.as_deref()
    }

    /// Heap in octets.
    pub fn bytes(&self) -> usize {
        let data: usize = self.records.iter().map(|record| record.rdata.len()).sum();
        let target = self.cname.as_ref().map_or(0, |_| size_of::<CnameTarget>());
        data + target + self.records.len() * size_of::<LocalRecord>()
    }
}

/// `*.garden` is a garden; a bare `*` is a name like any other.
fn target_of(name: Name) -> CnameTarget {
    if name.is_wildcard() && !name.parent().is_root() {
        CnameTarget::Wildcard(name.parent())
    } else {
        CnameTarget::Literal(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIXED: [Action; 5] =
        [Action::Nxdomain, Action::Nodata, Action::Passthru, Action::Drop, Action::TcpOnly];

    #[test]
    fn codes_read_back() {
        for (i, action) in FIXED.into_iter().enumerate() {
            assert_eq!(ActionCode::from(action).as_u32() as usize, i);
            assert_eq!(action.kind(), i);
        }
        let data = [0, 1, 77, ActionCode::MAX_DATA].map(Action::Data);
        for action in FIXED.into_iter().chain(data) {
            assert_eq!(ActionCode::from(action).action(), action);
            assert!(action.kind() < Action::KINDS);
        }
        assert_eq!(ActionCode::from(Action::Data(u32::MAX)).as_u32(), u32::MAX);
        assert_eq!(ActionCode::from_u32(5).action(), Action::Data(0));
    }

    #[test]
    fn cname_targets_are_sorted_at_construction() {
        let cname = |wire: &[u8]| {
            let rdata = wire.into();
            LocalData::new(vec![LocalRecord { rtype: CNAME, ttl: 5, rdata }]).cname().copied()
        };
        let garden: Name = "garden.test".parse().unwrap();
        let under = cname(b"\x01*\x06Garden\x04test\x00");
        assert_eq!(under, Some(CnameTarget::Wildcard(garden)));
        assert_eq!(cname(b"\x06Garden\x04test\x00"), Some(CnameTarget::Literal(garden)));
        assert_eq!(cname(b"\x01*\x00"), Some(CnameTarget::Literal("*".parse().unwrap())));
        assert_eq!(cname(b"\x06gar"), None);
        let address = LocalRecord { rtype: 1, ttl: 5, rdata: [192, 0, 2, 1].into() };
        assert_eq!(LocalData::new(vec![address]).cname(), None);
    }
}
