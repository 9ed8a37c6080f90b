//! The engine's way into `checks/query.rs`.

#![no_main]

#[path = "../checks/query.rs"]
mod query;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| query::check(octets));
