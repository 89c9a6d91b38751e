//! A conversation is observed: whatever the pieces, the same is told.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| critape_wire::fuzz::observe(data));
