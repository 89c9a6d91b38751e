//! The values in a message that name things.

use cri::{IdentityKind, IdentityPath};
use prost_reflect::DynamicMessage;

/// One value that names a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it names.
    pub kind: IdentityKind,
    /// The value.
    pub value: String,
    /// Whether the call made the thing.
    pub produced: bool,
}

/// The identities at these paths of a message, in the order of the paths.
pub fn identities(message: &DynamicMessage, paths: &[IdentityPath]) -> Vec<Identity> {
    paths
        .iter()
        .flat_map(|path| {
            path.path.texts(message).into_iter().map(|value| Identity {
                kind: path.kind,
                value,
                produced: path.produces,
            })
        })
        .collect()
}

/// How a name for a thing is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// Nothing.
    Empty,
    /// 64 hexadecimal digits, as runtimes write them: none in upper case.
    Hexadecimal,
    /// `sha256:` and 64 hexadecimal digits.
    Digest,
    /// A repository and a digest.
    ReferenceByDigest,
    /// A repository, with a tag or without.
    ReferenceByName,
    /// Anything else.
    Other,
}

impl Spelling {
    /// The spelling of this name. Clients tell names of different spellings apart even where they mean one thing.
    pub fn of(name: &str) -> Self {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let hex = |text: &str| text.len() == 64 && text.bytes().all(is_digit);
        match name {
            "" => Self::Empty,
            _ if hex(name) => Self::Hexadecimal,
            _ if name.strip_prefix("sha256:").is_some_and(hex) => Self::Digest,
            _ if name.contains("@sha256:") => Self::ReferenceByDigest,
            _ if name.contains('/') || name.contains(':') => Self::ReferenceByName,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_by_their_spelling() {
        let hex = "a".repeat(64);
        assert_eq!(Spelling::of(&hex), Spelling::Hexadecimal);
        assert_eq!(
            Spelling::of(&hex.to_uppercase()),
            Spelling::Other,
            "a client that compares ids finds another"
        );
        assert_eq!(Spelling::of(&format!("sha256:{hex}")), Spelling::Digest);
        assert_eq!(Spelling::of(&format!("docker.io/x@sha256:{hex}")), Spelling::ReferenceByDigest);
        assert_eq!(Spelling::of("docker.io/library/busybox:1.0"), Spelling::ReferenceByName);
        assert_eq!(Spelling::of("abc"), Spelling::Other);
    }
}
