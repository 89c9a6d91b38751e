//! The secrets that a tape has sealed, kept for the next recorder on the same tape: `TAPE/known`, one token a line.
//!
//! It is a help and no part of the recording: where it can't be read or written, error texts are searched for what is sealed from now
//! on.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::known::Known;
use super::token::Cipher;

const FILE: &str = "known";
/// Several times what is remembered at most.
const MOST_BYTES: u64 = 4 * 1024 * 1024;

/// The file, and what is still to be written to it.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    pending: Vec<u8>,
    failed: bool,
}

impl Memory {
    /// Reads what earlier recorders left. The file is written anew, so that it does not grow for ever.
    pub(crate) fn open(tape: &Path, cipher: &mut Cipher, known: &mut Known) -> Self {
        let path = tape.join(FILE);
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text));
        let mut memory = Self { path, pending: Vec::new(), failed: false };
        match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => memory.warn(&error),
            Ok(_) => {
                learn(&text, cipher, known);
                let mut kept = Vec::new();
                known.iter().for_each(|secret| put_line(&mut kept, &cipher.seal(secret)));
                if kept != text {
                    memory.replace(&kept);
                }
            }
        }
        memory
    }

    /// Remembers a token.
    pub(crate) fn add(&mut self, token: &[u8]) {
        if !self.failed {
            put_line(&mut self.pending, token);
        }
    }

    /// Writes what was added.
    pub(crate) fn flush(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let pending = std::mem::take(&mut self.pending);
        let mut options = File::options();
        let opened = options.append(true).create(true).mode(0o600).open(&self.path);
        if let Err(error) = opened.and_then(|mut file| file.write_all(&pending)) {
            self.warn(&error);
        }
    }

    fn replace(&mut self, kept: &[u8]) {
        let beside = self.path.with_extension("new");
        let mut options = File::options();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&beside);
        let written =
            opened.and_then(|mut file| file.write_all(kept)).and_then(|()| fs::rename(&beside, &self.path));
        if let Err(error) = written {
            self.warn(&error);
        }
    }

    fn warn(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.failed, true) {
            tracing::warn!(path = %self.path.display(), %error, "after a restart, error texts are searched only for what is sealed from then on");
        }
    }
}

/// Learns what recorders of this tape have sealed, and leaves the file alone.
pub(crate) fn recall(tape: &Path, cipher: &mut Cipher, known: &mut Known) {
    let mut text = Vec::new();
    let read = File::open(tape.join(FILE)).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut text));
    if read.is_ok() {
        learn(&text, cipher, known);
    }
}

fn learn(text: &[u8], cipher: &mut Cipher, known: &mut Known) {
    for line in text.split(|byte| *byte == b'\n') {
        // One of another key is of no use.
        if let Ok(Some(secret)) = cipher.open_all(line) {
            known.learn(&secret);
        }
    }
}

fn put_line(text: &mut Vec<u8>, token: &[u8]) {
    text.extend_from_slice(token);
    text.push(b'\n');
}
