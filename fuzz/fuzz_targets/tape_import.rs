//! An export is imported: it becomes a whole tape, or nothing.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // In memory: many are made a second.
    let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    critape_tape::fuzz::import(data, folder.path());
});
