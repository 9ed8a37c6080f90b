//! The engine's way into `checks/transfer.rs`.

#![no_main]

#[path = "../checks/transfer.rs"]
mod transfer;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| transfer::check(octets));
