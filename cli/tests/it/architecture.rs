//! The invariants of ARCHITECTURE.md that are about the source.

use std::fs;
use std::path::{Path, PathBuf};

const ROOMS: [&str; 12] = [
    "wire",
    "calls",
    "tape",
    "differ",
    "recorder",
    "replayer",
    "openapi",
    "gateway",
    "simulator",
    "workload",
    "cli",
    ".",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn manifest(room: &str) -> String {
    fs::read_to_string(root().join(room).join("Cargo.toml")).unwrap()
}

/// The `[dependencies]` of a room, by name.
fn dependencies(room: &str) -> Vec<String> {
    let text = manifest(room);
    let section = text.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The sources of a room without its tests.
fn sources(room: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("tests") {
                    walk(&path, found);
                }
            } else if path.extension().is_some_and(|suffix| suffix == "rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    walk(&root().join(room).join("src"), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            (path, code)
        })
        .collect()
}

fn code_lines(code: &str) -> impl Iterator<Item = &str> {
    code.lines().filter(|line| !line.trim_start().starts_with("//"))
}

#[test]
fn only_the_store_names_sled() {
    for room in ROOMS {
        assert_eq!(dependencies(room).contains(&"sled".to_owned()), room == "tape", "{room}");
        for (path, code) in sources(room) {
            let store = room == "tape" && path.parent().is_some_and(|folder| folder.ends_with("store"));
            let names = code_lines(&code).any(|line| line.contains("sled::"));
            assert!(store || !names, "{}", path.display());
        }
    }
}

#[test]
fn the_pure_rooms_have_no_network_and_no_clock() {
    for room in ["wire", "calls", "differ"] {
        for forbidden in ["tokio", "tonic", "hyper", "rustix", "axum", "tempfile"] {
            assert!(!dependencies(room).contains(&forbidden.to_owned()), "{room} uses {forbidden}");
        }
        for (path, code) in sources(room) {
            for forbidden in
                ["std::fs", "std::net", "std::os::unix", "SystemTime::now", "Instant::now", "Timestamp::now"]
            {
                let used = code_lines(&code).any(|line| line.contains(forbidden));
                assert!(!used, "{} uses {forbidden}", path.display());
            }
        }
    }
}

#[test]
fn arrows_point_up_the_list() {
    let allowed = |room: &str| -> &[&str] {
        match room {
            "." | "wire" => &[],
            "calls" | "openapi" | "workload" => &["cri"],
            "tape" | "differ" => &["cri", "critape-calls"],
            "recorder" => &["cri", "critape-wire", "critape-calls", "critape-tape"],
            "replayer" => &["cri", "critape-wire", "critape-calls", "critape-tape", "critape-differ"],
            "gateway" => &["cri", "critape-openapi", "critape-calls", "critape-tape", "critape-differ"],
            "simulator" => &["cri", "critape-wire"],
            _ => &[
                "cri",
                "critape-calls",
                "critape-tape",
                "critape-differ",
                "critape-recorder",
                "critape-replayer",
                "critape-gateway",
                "critape-simulator",
                "critape-workload",
            ],
        }
    };
    for room in ROOMS {
        for dependency in dependencies(room) {
            if dependency == "cri" || dependency.starts_with("critape") {
                assert!(allowed(room).contains(&dependency.as_str()), "{room} uses {dependency}");
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is_and_none_gives_up() {
    for room in ROOMS {
        for (path, code) in sources(room) {
            assert!(code.trim_start().starts_with("//!"), "{} has no `//!`", path.display());
            for forbidden in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unsafe "] {
                let line = code_lines(&code).find(|line| {
                    // A parser may have a method of its own by that name, which gives an error.
                    line.replace("self.expect(", "").contains(forbidden)
                });
                assert_eq!(line, None, "{} has {forbidden}", path.display());
            }
        }
    }
}

#[test]
fn files_are_short() {
    for room in ROOMS {
        for (path, code) in sources(room) {
            let lines = code.lines().count();
            assert!(lines <= 450, "{} has {lines} lines without its tests", path.display());
        }
    }
}
