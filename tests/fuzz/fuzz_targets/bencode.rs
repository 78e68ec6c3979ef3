#![no_main]

#[path = "../properties/bencode.rs"]
mod bencode;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| bencode::check(bytes));
