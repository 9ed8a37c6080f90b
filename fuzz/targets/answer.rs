//! The engine's way into `checks/answer.rs`.

#![no_main]

#[path = "../checks/answer.rs"]
mod answer;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| answer::check(octets));
