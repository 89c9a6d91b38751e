//! Paths of values inside a message, and patterns over them.

use std::fmt;

/// Where a value is, from the root of a response: proto field names, `[]` after a list, the key after a map.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<String>);

impl Path {
    /// The path of a field, or of an entry of a map, below this one.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(name.to_owned());
        Self(segments)
    }

    /// The path of the elements of a list field below this one.
    #[must_use]
    pub fn elements(&self, name: &str) -> Self {
        self.field(&format!("{name}[]"))
    }

    /// Whether it is that of the elements of a list in the root.
    pub(crate) fn is_list_of_root(&self) -> bool {
        matches!(self.0.as_slice(), [only] if only.ends_with("[]"))
    }

    /// A path of one segment.
    pub fn root(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    /// Its segments: names of fields, `[]` after a list, keys of maps.
    pub fn segments(&self) -> &[String] {
        &self.0
    }

    /// The path of the elements of the list that is here.
    #[must_use]
    pub fn each(&self) -> Self {
        let mut segments = self.0.clone();
        if let Some(last) = segments.last_mut() {
            last.push_str("[]");
        }
        Self(segments)
    }

    /// Number of its parts.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The pattern that matches this path.
    pub(crate) fn to_pattern(&self) -> String {
        self.0.iter().map(|segment| quoted(segment)).collect::<Vec<_>>().join(".")
    }

    /// The path that these segments make.
    pub(crate) fn from_segments(segments: impl IntoIterator<Item = String>) -> Self {
        Self(segments.into_iter().collect())
    }

    /// The path that these segments make.
    pub fn of(segments: &[&str]) -> Self {
        Self(segments.iter().map(|segment| (*segment).to_owned()).collect())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A pattern over paths: segments joined by dots, `*` for any one, `**` for any number of them. A segment that holds dots
/// (the key of a map) is written in double quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(Vec<Segment>);

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Exactly(String),
    One,
    Any,
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut segments = Vec::new();
        let mut rest = text;
        loop {
            let (segment, after) = match rest.strip_prefix('"') {
                Some(quoted) => {
                    let (name, after) = quoted.split_once('"')?;
                    (Segment::Exactly(name.to_owned()), after)
                }
                None => {
                    let end = rest.find('.').unwrap_or(rest.len());
                    let segment = match &rest[..end] {
                        "" => return None,
                        "*" => Segment::One,
                        "**" => Segment::Any,
                        name => Segment::Exactly(name.to_owned()),
                    };
                    (segment, &rest[end..])
                }
            };
            segments.push(segment);
            if after.is_empty() {
                return Some(Self(segments));
            }
            rest = after.strip_prefix('.')?;
        }
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.0
    }

    pub(crate) fn matches(&self, path: &Path) -> bool {
        matches(&self.0, &path.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let segments = self.0.iter().map(|segment| match segment {
            Segment::Exactly(name) => quoted(name),
            Segment::One => "*".to_owned(),
            Segment::Any => "**".to_owned(),
        });
        f.write_str(&segments.collect::<Vec<_>>().join("."))
    }
}

/// A segment as patterns have it: in quotes where it would be read as something else.
fn quoted(name: &str) -> String {
    let plain = !name.contains('.') && !name.starts_with('"') && !matches!(name, "" | "*" | "**");
    match name {
        _ if plain => name.to_owned(),
        // A quote within quotes can't be written.
        _ if name.contains('"') => "*".to_owned(),
        _ => format!("\"{name}\""),
    }
}

fn matches(pattern: &[Segment], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((Segment::Any, rest)), None) => matches(rest, path),
        (Some((Segment::Any, rest)), Some((_, tail))) => matches(rest, path) || matches(pattern, tail),
        (Some((Segment::One, rest)), Some((_, tail))) => matches(rest, tail),
        (Some((Segment::Exactly(name), rest)), Some((head, tail))) => name == head && matches(rest, tail),
        (None, Some(_)) | (Some((Segment::One | Segment::Exactly(_), _)), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_segments() {
        let path = Path::default().elements("items").field("labels").field("io.kubernetes.pod.uid");
        let hit = ["items[].labels.*", "**", "**.labels.*", "items[].**", "**.\"io.kubernetes.pod.uid\""];
        let miss = ["items.labels.*", "*", "items[].labels", "**.labels", "labels.*", "**.uid"];
        for text in hit {
            assert!(Pattern::parse(text).unwrap().matches(&path), "{text}");
        }
        for text in miss {
            assert!(!Pattern::parse(text).unwrap().matches(&path), "{text}");
        }
    }

    #[test]
    fn broken_patterns_are_refused() {
        for text in ["", ".", "a.", "a..b", "\"a", "\"a\"b"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }
}
