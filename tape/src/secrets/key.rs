//! The key of a tape: `TAPE/key`, 64 random bytes that only the tape's owner may read.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::{Result, TapeError};

const FILE: &str = "key";
const LENGTH: usize = 64;

/// A key. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; LENGTH]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// Where a tape has its key.
    pub(crate) fn path(tape: &Path) -> PathBuf {
        tape.join(FILE)
    }

    /// The key of this tape; `None` where it is not there.
    pub(crate) fn of_tape(tape: &Path) -> Result<Option<Self>> {
        let path = Self::path(tape);
        match Self::read(&path) {
            Ok(key) => {
                warn_if_others_may_read(&path);
                Ok(Some(key))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(TapeError::io("reading the key", path)(error)),
        }
    }

    /// The key for writing this tape: its own, or that of `shared`, or a new one.
    pub(crate) fn for_writing(tape: &Path, shared: Option<&Path>) -> Result<Self> {
        let given = match shared {
            Some(path) => Some(Self::read(path).map_err(TapeError::io("reading the key", path))?),
            None => None,
        };
        match (Self::of_tape(tape)?, given) {
            (Some(own), Some(given)) if own != given => Err(TapeError::OtherKey { path: tape.to_owned() }),
            (Some(own), _) => Ok(own),
            (None, Some(given)) => given.store(tape),
            (None, None) => Self::made_up(tape)?.store(tape),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8; LENGTH] {
        &self.0
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::new();
        // One byte more, so that a longer file is noticed.
        File::open(path)?.take(LENGTH as u64 + 1).read_to_end(&mut bytes)?;
        let bytes = bytes.try_into().map_err(|_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a key has {LENGTH} bytes: copy the key of another tape, or `head -c {LENGTH} /dev/urandom`"),
            )
        })?;
        Ok(Self(bytes))
    }

    /// A new key, which is nowhere yet; `tape` is what it is for.
    pub(crate) fn made_up(tape: &Path) -> Result<Self> {
        let mut bytes = [0; LENGTH];
        getrandom::fill(&mut bytes)
            .map_err(|error| TapeError::io("making a key for", tape)(io::Error::other(error.to_string())))?;
        Ok(Self(bytes))
    }

    /// Puts the key on the tape: whole or not at all, and readable by its owner only from the first byte on.
    fn store(self, tape: &Path) -> Result<Self> {
        let path = Self::path(tape);
        let beside = path.with_extension("new");
        let write = || {
            match fs::remove_file(&beside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&self.0)?;
            file.sync_all()?;
            fs::rename(&beside, &path)?;
            File::open(tape)?.sync_all()
        };
        write().map_err(TapeError::io("writing the key", &path))?;
        Ok(self)
    }

    /// This key, for what is on no tape.
    pub(crate) fn of(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }
}

fn warn_if_others_may_read(path: &Path) {
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others may read this tape's key: chmod 600 it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let tape = folder.path();
        assert_eq!(Key::of_tape(tape).unwrap(), None);
        let key = Key::for_writing(tape, None).unwrap();
        assert_eq!(Key::for_writing(tape, None).unwrap(), key);
        assert_eq!(fs::metadata(Key::path(tape)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(format!("{key:?}"), "Key");
    }

    #[test]
    fn a_key_is_shared_and_another_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        [&one, &other].iter().for_each(|tape| fs::create_dir(tape).unwrap());
        let key = Key::for_writing(&one, None).unwrap();
        assert_eq!(Key::for_writing(&other, Some(&Key::path(&one))).unwrap(), key);
        let third = folder.path().join("third");
        fs::write(&third, [7; 64]).unwrap();
        assert!(matches!(Key::for_writing(&one, Some(&third)), Err(TapeError::OtherKey { .. })));
        for length in [0, 63, 65] {
            fs::write(&third, vec![7; length]).unwrap();
            let error = Key::for_writing(folder.path(), Some(&third)).unwrap_err().to_string();
            assert!(error.contains("64 bytes"), "{error}");
        }
    }
}
