#![no_main]

#[path = "../properties/datagram.rs"]
mod datagram;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| datagram::check(bytes));
