//! Comments of the schema, by the place at which they stand.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost_reflect::FileDescriptor;

type Comments = HashMap<(String, Vec<i32>), String>;

static COMMENTS: LazyLock<Comments> =
    LazyLock::new(|| cri::pool().files().flat_map(|file| of_file(&file)).collect());

/// The comment at `path` in `file`, without comment marks. The path is the descriptor's own: field numbers and indexes, as
/// protobuf counts them.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> Option<&'static str> {
    COMMENTS.get(&(file.name().to_owned(), path.to_vec())).map(String::as_str)
}

fn of_file(file: &FileDescriptor) -> Comments {
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    info.into_iter()
        .flat_map(|info| &info.location)
        .filter_map(|location| {
            let text = location.leading_comments.as_ref().or(location.trailing_comments.as_ref())?;
            let text = unwrapped(text);
            (!text.is_empty()).then(|| ((file.name().to_owned(), location.path.clone()), text))
        })
        .collect()
}

/// The comment with each paragraph and each item of a list on one line: where its lines were broken is of no use to a
/// reader of the document.
fn unwrapped(text: &str) -> String {
    let mut out = String::new();
    let mut gap = "";
    for line in text.lines().map(str::trim) {
        if line.is_empty() {
            gap = "\n\n";
            continue;
        }
        if gap == " " && line.starts_with("- ") {
            gap = "\n";
        }
        if !out.is_empty() {
            out.push_str(gap);
        }
        out.push_str(line);
        gap = " ";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_paragraph_are_joined_and_paragraphs_kept() {
        assert_eq!(unwrapped(" One\n two.\n\n Three.\n"), "One two.\n\nThree.");
        assert_eq!(unwrapped(" One:\n - a\n   b\n - c\n"), "One:\n- a b\n- c");
        assert_eq!(unwrapped("\n \n"), "");
    }

    #[test]
    fn comments_are_found_by_their_place() {
        let version = cri::methods().by_name(cri::Generation::V1, "Version").unwrap().descriptor();
        assert!(comment(&version.parent_file(), version.path()).is_some());
        let pod = cri::pool().get_message_by_name("runtime.v1.PodSandbox").unwrap();
        assert!(comment(&pod.parent_file(), pod.path()).is_some());
        let id = pod.get_field_by_name("id").unwrap();
        assert!(comment(&id.parent_file(), id.path()).is_some());
        assert!(comment(&pod.parent_file(), &[-1]).is_none());
    }
}
