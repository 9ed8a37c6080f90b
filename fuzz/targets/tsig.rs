//! The engine's way into `checks/tsig.rs`.

#![no_main]

#[path = "../checks/tsig.rs"]
mod tsig;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| tsig::check(octets));
