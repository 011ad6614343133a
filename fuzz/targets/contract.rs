//! The libFuzzer entry point of `jackfield_fuzz::contract`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| jackfield_fuzz::contract(input));
