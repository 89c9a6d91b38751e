//! Sockets that nobody else may use: bound, and removed when they are closed.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cri::Endpoint;
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};

/// Only the owner may connect.
const OWNER_ONLY: u32 = 0o600;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Why nothing can listen there.
#[derive(Debug, Error)]
pub enum BindError {
    /// The port can't be had.
    #[error("listening on {address}: {source}")]
    Port {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Something answers on the socket.
    #[error("{0} is in use: stop what listens there, or choose another path")]
    InUse(PathBuf),
    /// The path is that of something else.
    #[error("{0} is there and is no socket: choose another path")]
    NoSocket(PathBuf),
    /// The socket can't be made.
    #[error("listening on {path}: {source}")]
    Socket {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Takes the port.
pub(crate) async fn bind_port(address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError::Port { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Makes the socket, in the place of one on which nothing answers.
pub(crate) async fn bind_socket(endpoint: &Endpoint) -> Result<(UnixListener, SocketFile), BindError> {
    let path = endpoint.path();
    remove_stale(path).await?;
    listen(path).map_err(|source| BindError::Socket { path: path.to_owned(), source })
}

fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::at(path)?;
    // Before `listen`: until then nobody can connect.
    fs::set_permissions(path, Permissions::from_mode(OWNER_ONLY))?;
    Ok((socket.listen(BACKLOG)?, file))
}

async fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Socket { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NoSocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(BindError::InUse(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// The file of a socket of ours. It is removed with this value, unless another one stands there by then.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the socket is left behind: remove it");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(folder: &tempfile::TempDir) -> Endpoint {
        Endpoint::at(folder.path().join("g.sock")).unwrap()
    }

    #[tokio::test]
    async fn a_socket_is_the_owners_and_is_removed_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&folder);
        let (listener, file) = bind_socket(&endpoint).await.unwrap();
        let mode = fs::metadata(endpoint.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop((listener, file));
        assert!(!endpoint.path().exists());
    }

    #[tokio::test]
    async fn a_socket_is_replaced_only_where_nothing_answers() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&folder);
        let used = std::os::unix::net::UnixListener::bind(endpoint.path()).unwrap();
        assert!(matches!(bind_socket(&endpoint).await, Err(BindError::InUse(_))));
        drop(used);
        assert!(endpoint.path().exists());
        bind_socket(&endpoint).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&folder);
        fs::write(endpoint.path(), "text").unwrap();
        assert!(matches!(bind_socket(&endpoint).await, Err(BindError::NoSocket(_))));
        assert_eq!(fs::read_to_string(endpoint.path()).unwrap(), "text");
    }

    #[tokio::test]
    async fn the_socket_of_another_is_left_alone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let endpoint = endpoint(&folder);
        let (listener, file) = bind_socket(&endpoint).await.unwrap();
        // Kept under another name, so that its inode isn't used again.
        fs::rename(endpoint.path(), folder.path().join("moved.sock")).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(endpoint.path()).unwrap();
        drop((listener, file));
        assert!(endpoint.path().exists());
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let (_listener, address) = bind_port("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = bind_port(address).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("listening on {address}: ")), "{error}");
    }
}
