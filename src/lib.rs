//! Culvert carries a network's DNS over HTTPS to a trusted service, through a grate of Response
//! Policy Zones that it enforces itself.
//!
//! The modules below are the rooms of the house, ground floor first. A room may use rooms on
//! lower floors only, never one on its own floor; `tests/tidy.rs` holds the table.
//!
//! ```text
//!   8  cli  demo      commands; a relay to try out
//!   7  daemon         assembly: builds every room, start, reload, stop
//!   6  config  admin  the operator's file; the operator's doors
//!   5  pipeline       THE ORDER in which a query is judged
//!   4  zones          how policy arrives
//!   3  rpz  listener  upstream  report      one kind of I/O or syntax each
//!   2  acl  policy  cache                   decisions; pure
//!   1  dns            the words
//!   0  clock  limits  sys  metrics          ground
//! ```

// floor 0
pub mod clock;
pub mod limits;
pub mod metrics;
pub mod sys;

// floor 1
pub mod dns;

// floor 2
pub mod acl;
pub mod cache;
pub mod policy;

// floor 3
pub mod listener;
pub mod report;
pub mod rpz;
pub mod upstream;

// floor 4
pub mod zones;

// floor 5
pub mod pipeline;

// floor 6
pub mod admin;
pub mod config;

// floor 7
pub mod daemon;

// floor 8
pub mod cli;
pub mod demo;
