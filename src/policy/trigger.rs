//! What a rule looks at: the five triggers of response policy zones.

use std::fmt;

/// The five triggers, in order of precedence inside one zone (the first one wins).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum TriggerKind {
    /// The address the query came from.
    ClientIp,
    /// The query name, and each later name of an alias chain.
    Qname,
    /// An address in the answer section.
    Ip,
    /// The name of an authoritative server of the name or of its ancestors.
    Nsdname,
    /// The address of such a server.
    Nsip,
}

impl TriggerKind {
    /// All kinds, the strongest first; `kind as usize` is the place in this list.
    pub const ALL: [TriggerKind; 5] = [
        TriggerKind::ClientIp,
        TriggerKind::Qname,
        TriggerKind::Ip,
        TriggerKind::Nsdname,
        TriggerKind::Nsip,
    ];

    /// The spelling of BIND's log lines.
    pub fn as_str(self) -> &'static str {
        match self {
            TriggerKind::ClientIp => "CLIENT-IP",
            TriggerKind::Qname => "QNAME",
            TriggerKind::Ip => "IP",
            TriggerKind::Nsdname => "NSDNAME",
            TriggerKind::Nsip => "NSIP",
        }
    }

    /// True for the kinds that compare address prefixes; the other two compare names.
    pub fn is_address(self) -> bool {
        !matches!(self, TriggerKind::Qname | TriggerKind::Nsdname)
    }
}

impl fmt::Display for TriggerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl serde::Serialize for TriggerKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_in_order_of_precedence() {
        let names: Vec<String> = TriggerKind::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["CLIENT-IP", "QNAME", "IP", "NSDNAME", "NSIP"]);
        assert!(TriggerKind::ALL.is_sorted());
        assert!(TriggerKind::ALL.iter().enumerate().all(|(i, k)| *k as usize == i));
        assert_eq!(TriggerKind::ALL.iter().filter(|k| k.is_address()).count(), 3);
    }

    #[test]
    fn written_alike_in_text_and_json() {
        for kind in TriggerKind::ALL {
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
        }
    }
}
