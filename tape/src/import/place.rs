//! Where an imported tape is made: beside its place, under another name.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::ImportError;
use crate::TapeError;
use crate::secrets::Key;

/// Names that are tried, where imports that were killed left some behind.
const ATTEMPTS: u32 = 100;

/// Nobody else looks into it, from the beginning.
const OWNER_ONLY: u32 = 0o700;

/// The folder. What it holds is removed with it, unless it got its name.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    tape: PathBuf,
}

impl Place {
    pub(super) fn beside(tape: &Path) -> Result<Self, ImportError> {
        if tape.symlink_metadata().is_ok() {
            return Err(ImportError::Exists(tape.to_owned()));
        }
        let Some(name) = tape.file_name() else { return Err(ImportError::Exists(tape.to_owned())) };
        for attempt in 0..ATTEMPTS {
            let hidden = format!(".{}.import-{}-{attempt}", name.to_string_lossy(), std::process::id());
            let folder = tape.with_file_name(hidden);
            match fs::DirBuilder::new().mode(OWNER_ONLY).create(&folder) {
                Ok(()) => return Ok(Self { folder, tape: tape.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(TapeError::io("making", tape)(error).into()),
            }
        }
        Err(ImportError::Exists(tape.to_owned()))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts the tape in its place, where there is still nothing, once the disk has all of it.
    pub(super) fn give_name(self) -> Result<(), ImportError> {
        sync(&self.folder).map_err(TapeError::io("writing", &self.tape))?;
        self.rename()?;
        let parent = self.tape.parent().filter(|parent| !parent.as_os_str().is_empty());
        // It is there; not every file system can promise that it stays.
        let _ = fs::File::open(parent.unwrap_or(Path::new("."))).and_then(|parent| parent.sync_all());
        Ok(())
    }

    fn rename(&self) -> Result<(), ImportError> {
        let named = renameat_with(CWD, &self.folder, CWD, &self.tape, RenameFlags::NOREPLACE);
        match named {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(ImportError::Exists(self.tape.clone())),
            // Not every file system can promise that; a folder with something in it is not replaced in any case.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::rename(&self.folder, &self.tape).map_err(TapeError::io("naming", &self.tape))?;
                Ok(())
            }
            Err(error) => Err(TapeError::io("naming", &self.tape)(error.into()).into()),
        }
    }
}

/// Waits until the disk has everything in a folder.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync(&path)? } else { fs::File::open(&path)?.sync_all()? }
    }
    fs::File::open(folder)?.sync_all()
}

/// Writes the tape's key, for its owner alone.
pub(super) fn put_key(folder: &Path, key: &[u8]) -> Result<(), TapeError> {
    let path = Key::path(folder);
    let file = fs::File::options().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(key)).map_err(TapeError::io("writing", &path))
}

impl Drop for Place {
    fn drop(&mut self) {
        // Gone where it got its name.
        let _ = fs::remove_dir_all(&self.folder);
    }
}
