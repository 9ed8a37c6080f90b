//! The engine's way into `checks/policy.rs`.

#![no_main]

#[path = "../checks/policy.rs"]
mod policy;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| policy::check(octets));
