//! The libFuzzer entry point of `jackfield_fuzz::worker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| jackfield_fuzz::worker(input));
