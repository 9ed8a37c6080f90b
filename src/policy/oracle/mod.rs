//! Slow, obvious judges of what the fast ones do. Tests, benchmarks and fuzzing hold the fast
//! ones against them; nothing else should use them.
//!
//! ```text
//!   names    one name in the rules of all zones         beside  policy::names
//!   query    one query and its alias chain              beside  policy::stage, policy::tables
//!
//!   octets ─► choices ─► worlds: zones, groups, exceptions, a query, what is known of it
//!                           └─► agreement: both judge; the first difference is told
//! ```
//!
//! Octets make the worlds, so that a seeded generator and a fuzzer drive the same comparison.

pub mod agreement;
pub mod choices;
mod names;
mod query;
pub mod worlds;

pub use names::{Oracle, OracleFound};
pub use query::{Asked, Facts, Link, QueryOracle, Ruling, Verdict};
