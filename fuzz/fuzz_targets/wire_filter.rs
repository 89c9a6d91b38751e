//! What a client sends is filtered: whatever the pieces, the same passes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| critape_wire::fuzz::filter(data));
