//! The socket on which clients connect, and who may.

use std::fs::{self, Metadata, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};

use cri::Endpoint;
use cri::listen::{self, Door, ListenError, SocketFile};
use tokio::net::UnixListener;

use crate::config::Entrance;
use crate::recorder::RecordError;
use crate::takeover::{Names, TakeOver};

/// The socket on which clients connect.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) listener: UnixListener,
    /// Where the runtime is.
    pub(crate) upstream: Endpoint,
    pub(crate) door: Option<DoorKeeper>,
    pub(crate) taken: Option<TakeOver>,
    /// Removed with it, where it is ours.
    _file: Option<SocketFile>,
}

impl Open {
    /// Listens. A path that is to be taken over is not yet.
    pub(crate) async fn new(entrance: Entrance, upstream: Endpoint) -> Result<Self, RecordError> {
        match entrance {
            Entrance::Listen(endpoint) => {
                if is_same(endpoint.path(), upstream.path()) {
                    return Err(RecordError::Upstream(endpoint));
                }
                let (listener, file) = listen::bind(&endpoint, Door::AsWideAs(upstream.path())).await?;
                let door = DoorKeeper::new(endpoint.path(), upstream.path());
                Ok(Self { listener, upstream, door: Some(door), taken: None, _file: Some(file) })
            }
            Entrance::Passed(socket) => {
                let path = path_of(&socket)?;
                if is_same(&path, upstream.path()) {
                    let passed = Endpoint::at(path).map_err(RecordError::Passed)?;
                    return Err(RecordError::Upstream(passed));
                }
                narrow_door(&path, upstream.path());
                let listener = from_std(socket, &path)?;
                Ok(Self { listener, upstream, door: None, taken: None, _file: None })
            }
            Entrance::TakeOver(passed) => Self::to_take_over(passed, &upstream).await,
        }
    }

    async fn to_take_over(passed: Option<StdListener>, runtime: &Endpoint) -> Result<Self, RecordError> {
        let taken = TakeOver::prepare(runtime)?;
        let names: &Names = taken.names();
        let upstream = Endpoint::at(&names.runtime).map_err(RecordError::Passed)?;
        let (listener, file) = match passed {
            None => {
                let ours = Endpoint::at(&names.ours).map_err(RecordError::Passed)?;
                let (listener, file) = listen::bind(&ours, Door::Owner).await?;
                (listener, Some(file))
            }
            Some(socket) => {
                let path = path_of(&socket)?;
                names.adopt(&path)?;
                (from_std(socket, &path)?, None)
            }
        };
        Ok(Self { listener, upstream, door: None, taken: Some(taken), _file: file })
    }
}

fn path_of(socket: &StdListener) -> Result<PathBuf, RecordError> {
    let address = socket.local_addr().map_err(RecordError::PassedSocket)?;
    address.as_pathname().map(Path::to_owned).ok_or(RecordError::NoPath)
}

fn from_std(socket: StdListener, path: &Path) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Io { path: path.to_owned(), source };
    socket.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(socket).map_err(failed)
}

/// Whether both lead to one socket, by whatever path.
fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| Some((path.parent()?.canonicalize().ok()?, path.file_name()?.to_owned()));
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| place(path).map(|(folder, name)| folder.join(name)))
    };
    one == other || place(one).is_some_and(|one| place(other) == Some(one))
}

/// Narrows a socket that lets others in than the runtime's does, and says so.
fn narrow_door(passed: &Path, runtime: &Path) {
    let (Ok(passed_door), Ok(runtime_door)) = (fs::metadata(passed), fs::metadata(runtime)) else { return };
    let mode = |door: &Metadata| door.permissions().mode() & 0o777;
    let wider = mode(&passed_door) & !mode(&runtime_door) != 0
        || (passed_door.uid(), passed_door.gid()) != (runtime_door.uid(), runtime_door.gid());
    if wider {
        // Whoever may not speak to the runtime must not reach it through us.
        let narrow = Permissions::from_mode(mode(&passed_door) & mode(&runtime_door));
        let narrowed = fs::set_permissions(passed, narrow);
        tracing::warn!(
            narrowed = narrowed.is_ok(),
            passed = %passed.display(),
            runtime = %runtime.display(),
            "the socket that was passed lets others in than the runtime's: set SocketMode, SocketUser and SocketGroup \
             to the runtime's"
        );
    }
}

/// Keeps our socket's owner and mode those of the runtime's, which may come later than ours or change.
#[derive(Debug)]
pub(crate) struct DoorKeeper {
    ours: PathBuf,
    runtime: PathBuf,
    /// Owner and mode that ours was given last.
    given: Option<(u32, u32, u32)>,
}

impl DoorKeeper {
    fn new(ours: &Path, runtime: &Path) -> Self {
        Self { ours: ours.to_owned(), runtime: runtime.to_owned(), given: None }
    }

    /// Looks at the runtime's socket, and gives ours the same door where that is another than it was.
    pub(crate) fn look(&mut self) {
        let Ok(runtime) = fs::metadata(&self.runtime) else { return };
        let door = (runtime.uid(), runtime.gid(), runtime.mode());
        if self.given == Some(door) {
            return;
        }
        self.given = Some(door);
        if let Err(error) = listen::match_door(&self.ours, &self.runtime) {
            tracing::warn!(%error, socket = %self.ours.display(), "its owner and mode can't be made the runtime's");
        }
    }
}
