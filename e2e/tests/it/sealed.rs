//! Secrets on tapes.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use critape_e2e::Critape;

/// Fails the test unless the tape has these secrets for those who have its key, and nowhere in the clear.
#[track_caller]
pub fn hides(critape: &Critape, tape: &Path, secrets: &[&str]) {
    let opened = opened(critape, tape);
    // What the files have in compressed form is seen in the listing.
    let mut clear = vec![("what is shown".to_owned(), listing(critape, tape, &[]))];
    clear.extend(files(tape).into_iter().map(|file| {
        let bytes = fs::read(&file).unwrap();
        // The spellings are ASCII, which stays as it is.
        (file.display().to_string(), String::from_utf8_lossy(&bytes).into_owned())
    }));
    for secret in secrets {
        assert!(opened.contains(secret), "the tape has not {secret}");
        for spelling in spellings(secret) {
            let found = clear.iter().find(|(_, text)| text.contains(&spelling));
            assert!(found.is_none(), "{secret} is in {}", found.unwrap().0);
        }
    }
}

/// All calls on the tape, as those who have its key see them.
#[track_caller]
pub fn opened(critape: &Critape, tape: &Path) -> String {
    listing(critape, tape, &["--unseal"])
}

fn listing(critape: &Critape, tape: &Path, options: &[&str]) -> String {
    let tape = tape.display().to_string();
    let args = ["tape", "show", &tape, "-o", "json"];
    critape.run(&[&args[..], options].concat()).well()
}

/// The text as it is, and what any base64 that has it has in any case, wherever it begins.
fn spellings(text: &str) -> Vec<String> {
    let shifted = (0..3).map(|shift| {
        let encoded = STANDARD_NO_PAD.encode("-".repeat(shift) + text);
        // The first and the last digits hang on what is beside it.
        encoded[4..encoded.len() - 2].to_owned()
    });
    shifted.chain([text.to_owned()]).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
