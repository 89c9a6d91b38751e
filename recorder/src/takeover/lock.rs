//! One recorder at a runtime's path.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::TakeOverError;
use super::names::{Names, identity_of};

/// Held while this is there, whatever becomes of the process; then its file is removed.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    pub(super) fn take(names: &Names) -> Result<Self, TakeOverError> {
        let path = &names.lock;
        let failed = |source| TakeOverError::io("making", path, source);
        loop {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(false).mode(0o600).open(path).map_err(failed)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let pid = fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
                    return Err(TakeOverError::Held { path: names.path.clone(), pid });
                }
                Err(error) => return Err(TakeOverError::io("locking", path, error.into())),
            }
            // Whoever held it may have removed the file since it was opened here.
            let same = fs::symlink_metadata(path)
                .and_then(|there| Ok(identity_of(&there) == identity_of(&file.metadata()?)));
            if same.unwrap_or(false) {
                let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
                written.map_err(failed)?;
                return Ok(Self { path: path.clone(), _file: file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is held, so that nobody else's is removed.
        let _ = fs::remove_file(&self.path);
    }
}
