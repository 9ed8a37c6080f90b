//! The response policy engine: triggers, actions, zones, precedence. It knows no RPZ spelling.
//!
//! ```text
//!   rules::ZoneRules (one per zone) ──build──► set::PolicySet   one generation, immutable
//!                                                │ names: one merged matcher for all zones
//!                                                │ prefixes: the same for addresses
//!   a name of the query or of its alias chain ─► stage() ─► Stage::winner     the rule that acts
//!                                                           Stage::watching   rules that only log
//! ```
//!
//! Zones are ordered: the first one with a match wins. Within a zone: client IP, QNAME, IP,
//! NSDNAME, NSIP; the exact name before the wildcard, and wildcards as RFC 4592 has them. This
//! version enforces QNAME rules; what else a zone holds is counted and reported.
//!
//! Pure: no sockets, no files, no clock.

pub mod action;
pub mod names;
pub mod oracle;
pub mod prefixes;
pub mod rules;
pub mod set;
pub mod stage;
pub mod trigger;
