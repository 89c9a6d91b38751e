//! Unix sockets of ours: never a wider door than they should be, removed when they are closed.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use crate::Endpoint;

/// Only the owner may connect.
const OWNER_ONLY: u32 = 0o600;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why nothing can listen at a path.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{0} is in use: something answers on it; stop that, or choose another path")]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("{0} exists and is not a socket: choose another path")]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("listening on {path}: {source}{}", hint(.source))]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; run as root, or choose a path in a folder of yours",
        io::ErrorKind::NotFound => "; make its folder first",
        _ => "",
    }
}

/// Who may connect to a socket.
#[derive(Clone, Copy, Debug)]
pub enum Door<'a> {
    /// Its owner.
    Owner,
    /// Who may connect to this other socket, or its owner alone while that one is not there.
    AsWideAs(&'a Path),
}

/// The file of a socket of ours. It is removed with this value, unless another one stands there by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Fails where it is gone or no longer ours to remove; there is nobody to tell.
        if fs::symlink_metadata(&self.path).is_ok_and(|now| identity(&now) == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens at `endpoint`. A socket on which nothing answers any more is replaced.
pub async fn bind(endpoint: &Endpoint, door: Door<'_>) -> Result<(UnixListener, SocketFile), ListenError> {
    let path = endpoint.path();
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    make_room(path).await?;
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    let ours = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&ours) };
    // Before it listens: until then nobody can connect.
    fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY)).map_err(failed)?;
    if let Door::AsWideAs(other) = door
        && let Ok(other) = fs::metadata(other)
    {
        widen(path, &ours, &other).map_err(failed)?;
    }
    Ok((socket.listen(BACKLOG).map_err(failed)?, file))
}

/// Gives a socket of ours the owner and mode of another. Where the owner can't be given, the mode is not either: it was meant
/// for another owner.
pub fn match_door(ours: &Path, other: &Path) -> io::Result<()> {
    widen(ours, &fs::symlink_metadata(ours)?, &fs::metadata(other)?)
}

fn widen(path: &Path, ours: &Metadata, other: &Metadata) -> io::Result<()> {
    let owned = (ours.uid(), ours.gid()) == (other.uid(), other.gid())
        || std::os::unix::fs::chown(path, Some(other.uid()), Some(other.gid())).is_ok();
    if owned { fs::set_permissions(path, Permissions::from_mode(other.mode() & 0o777)) } else { Ok(()) }
}

async fn make_room(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ListenError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(failed(error)),
        // A full backlog is somebody too.
        _ => Err(ListenError::InUse(path.to_owned())),
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(folder: &tempfile::TempDir, name: &str) -> Endpoint {
        Endpoint::at(folder.path().join(name)).unwrap()
    }

    fn mode(endpoint: &Endpoint) -> u32 {
        fs::metadata(endpoint.path()).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn a_socket_is_no_wider_than_the_other_and_goes_away() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (endpoint(&folder, "a"), endpoint(&folder, "b"));
        let door = Door::AsWideAs(other.path());
        let bound = bind(&ours, door).await.unwrap();
        assert_eq!(mode(&ours), 0o600);
        drop(bound);
        assert!(!ours.path().exists());
        let _other = UnixListener::bind(other.path()).unwrap();
        fs::set_permissions(other.path(), Permissions::from_mode(0o660)).unwrap();
        let _bound = bind(&ours, door).await.unwrap();
        assert_eq!(mode(&ours), 0o660);
        fs::set_permissions(other.path(), Permissions::from_mode(0o600)).unwrap();
        match_door(ours.path(), other.path()).unwrap();
        assert_eq!(mode(&ours), 0o600);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_anything_else_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let ours = endpoint(&folder, "a");
        drop(std::os::unix::net::UnixListener::bind(ours.path()).unwrap());
        let bound = bind(&ours, Door::Owner).await.unwrap();
        assert!(matches!(bind(&ours, Door::Owner).await, Err(ListenError::InUse(_))));
        drop(bound);
        fs::write(ours.path(), "text").unwrap();
        assert!(matches!(bind(&ours, Door::Owner).await, Err(ListenError::NotASocket(_))));
        assert_eq!(fs::read(ours.path()).unwrap(), b"text");
    }

    #[tokio::test]
    async fn another_socket_at_the_path_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ours = endpoint(&folder, "a");
        let bound = bind(&ours, Door::Owner).await.unwrap();
        fs::remove_file(ours.path()).unwrap();
        let _theirs = std::os::unix::net::UnixListener::bind(ours.path()).unwrap();
        drop(bound);
        assert!(ours.path().exists());
    }
}
