#![no_main]

#[path = "../properties/metainfo.rs"]
mod metainfo;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| metainfo::check(bytes));
