//! What fuzzing begins with: real sessions, and what it has found.

use std::fs;
use std::path::{Path, PathBuf};

use critape_tape::{fuzz, import};

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target)
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let seeds: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn all_are_imported_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    seeds("tape_import").iter().for_each(|seed| fuzz::import(seed, folder.path()));
}

#[test]
fn all_come_back_as_they_were_written() {
    seeds("tape_conversation").iter().for_each(|seed| fuzz::conversation(seed));
}

#[test]
fn exports_of_real_sessions_are_taken() {
    for version in ["1.6", "2.1"] {
        let path = folder("tape_import").join(format!("export-{version}"));
        let target = tempfile::tempdir().unwrap();
        let imported =
            import(fs::read(&path).unwrap().as_slice(), &path, &target.path().join("tape")).unwrap();
        assert!(imported.calls > 5, "{imported:?}");
    }
}
