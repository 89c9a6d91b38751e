//! Secrets are sealed before they reach the store, and opened again for who has the key.
//!
//! What is sealed is data (`leaves.toml`). In the bytes of a message a sealed leaf is replaced by a [token], the lengths around it
//! are put right, and everything else stays as it was, unknown fields included. A secret that was sealed once is looked for in
//! error texts too, raw and in the spellings in which programs print it. A message that can't be read as what it should be, or is
//! compressed, becomes one token as a whole.
//!
//! Tokens say by themselves what they are, so opening needs no list of leaves: every token in a text is replaced by what it
//! stands for. Text that only looks like a token is sealed as well, so that the original bytes come back exactly.
//!
//! ```text
//! event ──▶ Sealer ──▶ elements, chunks, store        before anything is hashed or compressed
//! event ◀── Opener ◀── elements, chunks, store        with the tape's key
//! ```

mod calls;
mod image;
mod key;
mod known;
mod leaves;
mod memory;
mod opener;
mod resealer;
mod sealer;
mod text;
mod token;
mod walk;

use std::path::PathBuf;

pub(crate) use key::Key;
pub(crate) use opener::Opener;
pub use opener::{Needed, needs_key, without_secrets};
pub use resealer::Resealer;
pub(crate) use sealer::Sealer;

/// How much of what goes over the socket is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealPolicy {
    /// Nothing: the tape is as confidential as the socket.
    None,
    /// What is made to carry secrets: environment, credentials, commands, output of commands, `info`, stream tokens.
    #[default]
    Default,
    /// Labels, annotations and selectors as well.
    Strict,
}

impl SealPolicy {
    /// The word for it, as a segment's header and the command line have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Default => "default",
            Self::Strict => "strict",
        }
    }

    /// What a segment's header says. What a later program seals is taken for more than is known here.
    pub(crate) fn of_header(name: &str) -> Self {
        match name {
            "" => Self::None,
            "default" => Self::Default,
            _ => Self::Strict,
        }
    }
}

/// What a writer seals, and with which key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seal {
    /// How much.
    pub policy: SealPolicy,
    /// A file of 64 bytes to take the key from, for tapes that share one. It is copied to the tape. Without it a new tape gets a
    /// key of its own.
    pub key_file: Option<PathBuf>,
}

impl Seal {
    /// Nothing is sealed.
    pub fn none() -> Self {
        Self { policy: SealPolicy::None, key_file: None }
    }
}
