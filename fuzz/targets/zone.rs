//! The engine's way into `checks/zone.rs`.

#![no_main]

#[path = "../checks/zone.rs"]
mod zone;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| zone::check(octets));
