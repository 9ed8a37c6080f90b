//! The engine's way into `checks/control.rs`.

#![no_main]

#[path = "../checks/control.rs"]
mod control;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| control::check(octets));
