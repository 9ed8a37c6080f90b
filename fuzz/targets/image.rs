//! The engine's way into `checks/image.rs`.

#![no_main]

#[path = "../checks/image.rs"]
mod image;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| image::check(octets));
