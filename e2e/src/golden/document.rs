//! The parts of `docs/containerd-1.6-1.7-2.1.md` that are made of the golden files.

use std::fs;
use std::path::Path;

use super::is_updated;

const DOCUMENT: &str = "../docs/containerd-1.6-1.7-2.1.md";

/// Fails the test unless the section of this name has this text.
///
/// With `UPDATE_GOLDEN=1` it is written instead.
///
/// # Panics
/// Then, and where there is no such section.
#[track_caller]
pub fn section(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let document = fs::read_to_string(&file).unwrap();
    let (begin, end) = (format!("<!-- {name} -->\n\n"), format!("\n<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).expect("the document has such a section");
    let (old, after) = rest.split_once(&end).expect("the section has an end");
    if is_updated() {
        fs::write(&file, [before, &begin, text, &end, after].concat()).unwrap();
        return;
    }
    assert!(
        old == text,
        "docs/containerd-1.6-1.7-2.1.md: {name} is not what the golden files say; UPDATE_GOLDEN=1"
    );
}
