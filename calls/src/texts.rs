//! Ids inside text: whole ones and prefixes that fit no other, never a part of a word.

use std::collections::{BTreeMap, HashMap};

/// The shortest piece of an id that is taken for one inside a text.
const SHORTEST_IN_TEXT: usize = 12;
/// The shortest name of no common form that is looked for at all.
const SHORTEST_ODD: usize = 8;

/// Whether paths in a text are the host's, whose folders a replay may have moved, or perhaps a container's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folders {
    Moved,
    Left,
}

/// Replacements inside text, in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    exact: HashMap<String, String>,
    hex: BTreeMap<String, String>,
    /// Ids of no common form, tried in order.
    odd: Vec<(String, String)>,
    folders: Vec<(String, String)>,
}

impl Texts {
    /// Whether something stands for this text as a whole.
    pub(crate) fn has(&self, from: &str) -> bool {
        self.exact.contains_key(from)
    }

    /// From here on `to` stands for `from`, whatever did before.
    pub(crate) fn add(&mut self, from: &str, to: &str) {
        // A short text (a uid may be "1") stands for itself in too many places.
        if from.len() < SHORTEST_ODD {
            return;
        }
        match self.exact.insert(from.to_owned(), to.to_owned()) {
            Some(before) if before == to => return,
            Some(_) => self.odd.retain(|(known, _)| known != from),
            None => {}
        }
        let (bare_from, bare_to) = (bare(from), bare(to));
        if is_uuid(from.as_bytes()) {
            self.exact.insert(from.replace('-', "_"), to.replace('-', "_"));
        } else if bare_from.len() >= SHORTEST_IN_TEXT
            && bare_from.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            self.hex.insert(bare_from.to_owned(), bare_to.to_owned());
        } else {
            self.odd.push((from.to_owned(), to.to_owned()));
        }
    }

    pub(crate) fn add_folder(&mut self, from: &str, to: &str) {
        if from != to && !self.folders.iter().any(|(known, _)| known == from) {
            self.folders.push((from.to_owned(), to.to_owned()));
            // The deepest folder first: the others may hold it.
            self.folders.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        }
    }

    pub(crate) fn replace(&self, text: &str, folders: Folders) -> String {
        if self.exact.is_empty() && self.folders.is_empty() {
            return text.to_owned();
        }
        if let Some(whole) = self.exact.get(text) {
            return whole.clone();
        }
        let mut out = String::with_capacity(text.len());
        self.scan(text, folders, |piece| match piece {
            Piece::Found(found) => out.push_str(&found.to),
            Piece::Other(letter) => out.push(letter),
        });
        out
    }

    /// Goes through a text, letter by letter but for what is found in it.
    fn scan(&self, text: &str, folders: Folders, mut each: impl FnMut(Piece<'_>)) {
        let mut rest = text;
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let starts_word = !before.is_some_and(char::is_alphanumeric) && first.is_alphanumeric();
            let starts_path = folders == Folders::Moved
                && first == '/'
                && !before.is_some_and(|c: char| c.is_alphanumeric() || c == '/');
            let found = if let Some(uid) = self.uuid(rest) {
                Some(uid)
            } else if starts_word {
                self.word(rest)
            } else if starts_path {
                self.folder(rest)
            } else {
                None
            };
            let taken = found.as_ref().map_or(first.len_utf8(), |found| found.length);
            each(found.map_or(Piece::Other(first), Piece::Found));
            before = rest[..taken].chars().next_back();
            rest = &rest[taken..];
        }
    }

    /// The folder at the beginning of `text`. What follows is translated by itself.
    fn folder(&self, text: &str) -> Option<Found<'_>> {
        self.folders.iter().find_map(|(from, to)| {
            let rest = text.strip_prefix(from.as_str())?;
            let ends =
                rest.chars().next().is_none_or(|next| !next.is_alphanumeric() && next != '-' && next != '_');
            ends.then(|| Found { length: from.len(), from, to: to.clone() })
        })
    }

    /// The uid at the beginning of `text`. One is looked for inside words too: cgroups are called `pod0f3a…`.
    fn uuid(&self, text: &str) -> Option<Found<'_>> {
        let separator = *text.as_bytes().get(8)?;
        if separator != b'-' && separator != b'_' {
            return None;
        }
        let (from, to) = self.exact.get_key_value(text.get(..UUID_LENGTH)?)?;
        ends_word(text, UUID_LENGTH).then(|| Found { length: UUID_LENGTH, from, to: to.clone() })
    }

    /// The id at the beginning of `text`.
    fn word(&self, text: &str) -> Option<Found<'_>> {
        for (from, to) in &self.odd {
            if text.starts_with(from.as_str()) && ends_word(text, from.len()) {
                return Some(Found { length: from.len(), from, to: to.clone() });
            }
        }
        let length = text.bytes().take_while(u8::is_ascii_hexdigit).count();
        if length < SHORTEST_IN_TEXT || !ends_word(text, length) {
            return None;
        }
        let candidate = &text[..length];
        if let Some((from, to)) = self.hex.get_key_value(candidate) {
            return Some(Found { length, from, to: to.clone() });
        }
        let mut found =
            self.hex.range(candidate.to_owned()..).take_while(|(id, _)| id.starts_with(candidate));
        let (from, to) = found.next()?;
        let to = to.get(..length)?;
        found.next().is_none().then(|| Found { length, from, to: to.to_owned() })
    }
}

/// A piece of a text.
enum Piece<'a> {
    Found(Found<'a>),
    Other(char),
}

/// Something that is known, at the beginning of a text.
struct Found<'a> {
    /// Bytes that it takes there.
    length: usize,
    /// What it is, in full.
    from: &'a str,
    /// What stands for it.
    to: String,
}

/// Ids that are looked for in texts, as [`Texts`] looks for those that it replaces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mentions {
    texts: Texts,
    /// The id behind each spelling.
    ids: HashMap<String, String>,
}

impl Mentions {
    /// From here on this id is looked for.
    pub(crate) fn add(&mut self, id: &str) {
        for spelling in [id, bare(id), &id.replace('-', "_")] {
            self.ids.insert(spelling.to_owned(), id.to_owned());
        }
        self.texts.add(id, id);
    }

    /// The ids that stand in this text, whole or as a prefix that fits no other.
    pub(crate) fn of(&self, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        self.texts.scan(text, Folders::Left, |piece| {
            if let Piece::Found(Found { from, .. }) = piece {
                found.extend(self.ids.get(from).cloned());
            }
        });
        found
    }
}

const UUID_LENGTH: usize = 36;

pub(crate) fn bare(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

fn ends_word(text: &str, at: usize) -> bool {
    text[at..].chars().next().is_none_or(|next| !next.is_alphanumeric())
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == UUID_LENGTH
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
