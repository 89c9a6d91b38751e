//! What a script is, once it is parsed.

use thiserror::Error;

/// Why a text is no script of ours.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum SyntaxError {
    #[error("syntax error: unexpected \"{0}\"")]
    Unexpected(String),
    #[error("syntax error: unterminated quoted string")]
    UnterminatedQuote,
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    #[error("syntax error: unexpected end of file (expecting \"{0}\")")]
    UnexpectedEnd(&'static str),
    #[error("syntax error: nested too deeply")]
    TooDeep,
}

/// Commands one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Script {
    pub lists: Vec<AndOr>,
}

/// Commands joined by `&&` and `||`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AndOr {
    pub first: Command,
    pub rest: Vec<(Connector, Command)>,
}

/// When the next command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connector {
    /// `&&`
    IfItSucceeded,
    /// `||`
    IfItFailed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Simple(Simple),
    Loop(Loop),
}

/// A command with its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Simple {
    pub assignments: Vec<(String, Word)>,
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

/// `while` or `until`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loop {
    /// Goes on while the condition succeeds (`while`), or while it fails (`until`).
    pub goes_on_if: Connector,
    pub condition: Script,
    pub body: Script,
}

/// One word, before its variables are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text as it is. A quoted one makes a word even where it is empty.
    Literal { text: String, quoted: bool },
    /// `$NAME`, `${NAME}`, `$?` or `$$`. What stands unquoted is split at blanks.
    Variable { name: String, quoted: bool },
}

impl Word {
    /// The word's text, where it is one unquoted literal: a keyword or the name in an assignment.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Literal { text, quoted: false }] => Some(text),
            _ => None,
        }
    }
}

/// Where one of the two outputs goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    pub from: crate::process::Stream,
    pub to: Target,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Wherever the other stream goes at that point.
    Stream(crate::process::Stream),
    /// `/dev/null`
    Nowhere,
}
