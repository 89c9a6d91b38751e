//! The socket that clients connect to.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use cri::Endpoint;
use rustix::fs::Mode;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};

/// Why a socket can't be listened on.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Somebody answers there.
    #[error("{0} is in use: something answers on it; stop that, or give --listen another path")]
    InUse(PathBuf),
    /// Something that is no socket is there.
    #[error("{0} exists and is not a socket: give --listen another path")]
    NotASocket(PathBuf),
    /// It is the runtime's own path.
    #[error("{0} is the runtime's own socket: give --listen another path")]
    Upstream(PathBuf),
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
        io::ErrorKind::PermissionDenied => "; run as root, or give --listen a path in a folder of yours",
        io::ErrorKind::NotFound => "; make its folder first",
        _ => "",
    }
}

/// A bound socket, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    path: PathBuf,
    /// The file that was made, so that another's is never removed.
    inode: u64,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if inode(&self.path) == Some(self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket could not be removed: remove it by hand");
        }
    }
}

/// Binds `endpoint`. The socket gets the owner and mode of `upstream`, or none but ours while that is absent. A stale socket is
/// replaced, once it was seen that nothing answers on it.
pub(crate) async fn bind(endpoint: &Endpoint, upstream: &Endpoint) -> Result<Socket, ListenError> {
    let path = endpoint.path();
    if path == upstream.path() {
        return Err(ListenError::Upstream(path.to_owned()));
    }
    let io = |source| ListenError::Io { path: path.to_owned(), source };
    make_room(path).await?;
    // Until it has its final mode nobody else may connect.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(io)?;
    let socket = Socket { listener, path: path.to_owned(), inode: inode(path).unwrap_or(0) };
    if let Ok(metadata) = fs::metadata(upstream.path()) {
        let ours = fs::metadata(path).map_err(io)?;
        let owned = (metadata.uid(), metadata.gid()) == (ours.uid(), ours.gid())
            || std::os::unix::fs::chown(path, Some(metadata.uid()), Some(metadata.gid())).is_ok();
        // A mode that was meant for another owner would be a wider door.
        let mode = if owned { metadata.permissions().mode() & 0o777 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(io)?;
    }
    Ok(socket)
}

async fn make_room(path: &Path) -> Result<(), ListenError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ListenError::Io { path: path.to_owned(), source }),
    };
    if !metadata.file_type().is_socket() {
        return Err(ListenError::NotASocket(path.to_owned()));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|source| ListenError::Io { path: path.to_owned(), source })
        }
        Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
            Err(ListenError::Io { path: path.to_owned(), source })
        }
        _ => Err(ListenError::InUse(path.to_owned())),
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).map(|metadata| metadata.ino()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(folder: &tempfile::TempDir, name: &str) -> Endpoint {
        Endpoint::at(folder.path().join(name)).unwrap()
    }

    #[tokio::test]
    async fn the_socket_is_no_wider_than_the_runtimes() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, upstream) = (endpoint(&folder, "a"), endpoint(&folder, "b"));
        let mode = |endpoint: &Endpoint| fs::metadata(endpoint.path()).unwrap().permissions().mode() & 0o777;
        let socket = bind(&ours, &upstream).await.unwrap();
        assert_eq!(mode(&ours), 0o600);
        drop(socket);
        assert!(!ours.path().exists());
        let _runtime = UnixListener::bind(upstream.path()).unwrap();
        fs::set_permissions(upstream.path(), fs::Permissions::from_mode(0o660)).unwrap();
        let _socket = bind(&ours, &upstream).await.unwrap();
        assert_eq!(mode(&ours), 0o660);
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, upstream) = (endpoint(&folder, "a"), endpoint(&folder, "b"));
        drop(std::os::unix::net::UnixListener::bind(ours.path()).unwrap());
        let socket = bind(&ours, &upstream).await.unwrap();
        assert!(matches!(bind(&ours, &upstream).await, Err(ListenError::InUse(_))));
        drop(socket);
        fs::write(ours.path(), "").unwrap();
        assert!(matches!(bind(&ours, &upstream).await, Err(ListenError::NotASocket(_))));
        assert!(matches!(bind(&upstream, &upstream).await, Err(ListenError::Upstream(_))));
    }
}
