//! A conversation is read, sealed, taken apart and written: it comes back as it was.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| critape_tape::fuzz::conversation(data));
