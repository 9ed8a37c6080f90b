//! The response policy engine: triggers, actions, zones, precedence. It knows no zone file.
//!
//! ```text
//!   rules::ZoneRules (one per zone) ──► tables: one merged matcher for all zones
//!     of a transfer: records::RecordStore │  version: what the next one takes over
//!                                         │  names (QNAME, NSDNAME)
//!                                         │  prefixes (CLIENT-IP, IP, NSIP)
//!   settings, groups, exceptions ───────► set::PolicySet      one generation, immutable
//!                                         │
//!   client ─► view ─► judge() ─► stage(name) ─► hit        the rule that acts
//!                                               watching   rules that only log
//! ```
//!
//! Exceptions come first. Zones are ordered, by the configuration or by the client's group: the
//! first one with a match wins. Within a zone: client IP, QNAME, IP, NSDNAME, NSIP; the exact
//! name before the wildcard, and wildcards as RFC 4592 has them; the longest prefix over all
//! addresses of an answer.
//!
//! Pure: no sockets, no files, no clock.

pub mod account;
pub mod action;
mod checksum;
pub mod exceptions;
pub mod local_data;
pub mod names;
pub mod oracle;
pub mod prefixes;
pub mod records;
pub mod rules;
pub mod set;
pub mod spelling;
pub mod stage;
mod tables;
#[cfg(test)]
mod tests;
pub mod trigger;
pub mod version;
pub mod view;
