//! Conformance to response policy zones as the draft and BIND have them.
//!
//! - `cases`: one behaviour a test, each with its source; a scripted backend, no other server.
//! - `differential`: made-up worlds and policies, the relay beside named, every answer compared.
//! - `deviations`: the table of what is meant to differ.
//! - `manual`: the document has that table, and names tests that exist.

mod cases;
mod deviations;
mod dice;
mod differ;
mod differential;
mod manual;
mod oracle;
mod world;
mod zones;
