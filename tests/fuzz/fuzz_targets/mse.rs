#![no_main]

#[path = "../properties/mse.rs"]
mod mse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| mse::check(bytes));
