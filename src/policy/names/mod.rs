//! The matcher for names: one frozen table answers, for up to 64 zones at once, which
//! rule of each zone covers a name. QNAME and NSDNAME triggers each have such a table.
//!
//! ```text
//!   www.example.com ── hash from the top: com, example.com, www.example.com
//!        │                                    (keyed, one hash a label)
//!        ▼
//!   filter  one word a node: "surely not here" ends the walk          filter.rs
//!        ▼
//!   pages   256 slots each, shared between generations until changed   pages.rs
//!           slot = hash │ class │ action
//!        ▼
//!   class   three zone masks: exists, has a rule, has a wildcard      table.rs
//!        ▼
//!   Found   zones that match, and the rule of each
//!
//!   NameWriter  builds the table, and makes the next one from a delta  writer.rs
//! ```
//!
//! A *node* is a name that exists in the tree of some zone: the owner of a rule (a leading
//! `*` label taken off) and every ancestor of it. Names without a rule of their own (empty
//! non-terminals) are nodes too. So a name that is no node proves that nothing lies below
//! it, and RFC 4592 can be followed to the letter in one walk from the top: an exact owner
//! first, else `*` directly under the closest encloser that exists in that zone.
//!
//! No name is stored. A node is known by 63 bits of a hash whose key is drawn anew for
//! each table, so that a feed cannot aim at it. Among a million nodes an absent name is
//! taken for one of them once in about 10^13 probes.

mod filter;
mod hash;
mod pages;
mod table;
mod writer;

#[cfg(test)]
mod tests;

pub use table::{ActionCode, Found, NameRule, NameTable};
pub use writer::{ApplyError, NameWriter};

/// Zones that one table can hold; their numbers are the bits of the masks.
pub const MAX_ZONES: u8 = 64;
