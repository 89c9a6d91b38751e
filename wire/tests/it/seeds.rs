//! What fuzzing begins with: real conversations, and what it has found.

use std::fs;
use std::path::Path;

use critape_wire::fuzz;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let seeds: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!seeds.is_empty());
    seeds
}

#[test]
fn all_are_observed() {
    seeds("wire_observe").iter().for_each(|seed| fuzz::observe(seed));
}

#[test]
fn all_are_filtered() {
    seeds("wire_filter").iter().for_each(|seed| fuzz::filter(seed));
}
