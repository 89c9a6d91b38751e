//! What can go wrong with a tape, each with what to do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What a function of this crate gives.
pub type Result<T> = std::result::Result<T, TapeError>;

/// What went wrong with a tape.
#[derive(Debug, Error)]
pub enum TapeError {
    /// There is nothing.
    #[error("{0} does not exist: give the folder of a tape, `critape tape list` finds them")]
    Absent(PathBuf),
    /// There is something else.
    #[error(
        "{0} is not a tape: it has no critape-tape file; give the folder that `critape record` made, or `critape tape import` of an exported file"
    )]
    NotATape(PathBuf),
    /// It was made by a newer program.
    #[error("{path} has format {found} and this program reads up to {known}: use a newer critape")]
    Newer {
        /// The tape.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// Another process writes it.
    #[error("{path} is being written by process {holder}: stop that recorder first, or use another tape")]
    BeingWritten {
        /// The tape.
        path: PathBuf,
        /// The writer's process id, or what is known of it.
        holder: String,
    },
    /// Another process reads this segment.
    #[error(
        "{path} is open in another process, and still was after ten seconds: try again when that has finished"
    )]
    Busy {
        /// The segment.
        path: PathBuf,
    },
    /// A store is opened for writing also by those who only read.
    #[error(
        "opening the store of {path}: Permission denied; reading a tape takes the right to write in it too: do it as its \
         owner, or with a copy"
    )]
    Denied {
        /// The segment.
        path: PathBuf,
    },
    /// A segment is damaged.
    #[error("{path} is damaged: {reason}; `critape tape repair` mends what can be")]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It was sealed with one key and another is given.
    #[error("{path} has a key of its own, and --seal-key gives another: leave it out, or use another tape")]
    OtherKey {
        /// The tape.
        path: PathBuf,
    },
    /// What was sealed has been changed since.
    #[error(
        "{path} has a sealed value that its key does not open: it was changed; without --unseal the rest can be read"
    )]
    Tampered {
        /// The segment.
        path: PathBuf,
    },
    /// The file system refused something.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or nearly.
    #[error(
        "{path} lies on a disk with {} MiB free, and writing it takes {}: free some, or give another tape",
        free >> 20,
        needed.div_ceil(1 << 20)
    )]
    Full {
        /// The tape or segment.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// The store refused something.
    #[error("{action} the store of {path}: {reason}")]
    Store {
        /// What was tried.
        action: &'static str,
        /// The segment.
        path: PathBuf,
        /// What the store said.
        reason: String,
    },
}

impl TapeError {
    /// Whether it is only that the disk has no room, or takes nothing for now.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => {
                matches!(
                    source.kind(),
                    io::ErrorKind::StorageFull
                        | io::ErrorKind::QuotaExceeded
                        | io::ErrorKind::ReadOnlyFilesystem
                )
            }
            _ => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
