//! The folder that stands for the host's paths in a replay.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use critape_calls::{HostPath, HostPathKind};

use super::journal::FOLDER_PREFIX;

/// File systems of the kernel's own: what is below them is the same on every host, or means nothing elsewhere.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Where the paths of the recorded host are on this one.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    moved: BTreeMap<String, PathBuf>,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir()?;
        Ok(Self { folder, moved: BTreeMap::new() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is.
    pub(crate) fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// The path that stands for `host`, with the right kind of node at it. `None` where it stays what it is: devices, the kernel's
    /// file systems, the root, and what could not be looked at when it was recorded.
    pub(crate) fn place(&mut self, host: &HostPath) -> io::Result<Option<PathBuf>> {
        let stays = matches!(host.kind, HostPathKind::Device | HostPathKind::Other)
            || !host.path.starts_with('/')
            || host.path.trim_end_matches('/').is_empty()
            || KERNELS.iter().any(|folder| Path::new(&host.path).starts_with(folder));
        if stays {
            return Ok(None);
        }
        if let Some(moved) = self.moved.get(&host.path) {
            return Ok(Some(moved.clone()));
        }
        // A folder inside one that was moved moves along, so that one container sees what the other does.
        let within =
            self.moved.iter().rev().find_map(|(from, to)| {
                Path::new(&host.path).strip_prefix(from).ok().map(|rest| to.join(rest))
            });
        let name = Path::new(&host.path).file_name().unwrap_or_default();
        let moved =
            within.unwrap_or_else(|| self.folder.path().join(self.moved.len().to_string()).join(name));
        make(&moved, host.kind)?;
        self.moved.insert(host.path.clone(), moved.clone());
        Ok(Some(moved))
    }
}

fn make(path: &Path, kind: HostPathKind) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match kind {
        HostPathKind::Directory => fs::create_dir_all(path),
        HostPathKind::File => fs::File::options().create(true).append(true).open(path).map(drop),
        // The node stays when the listener is gone, and nothing answers on it.
        HostPathKind::Socket if !path.exists() => UnixListener::bind(path).map(drop),
        HostPathKind::Socket | HostPathKind::Absent | HostPathKind::Device | HostPathKind::Other => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileTypeExt;

    #[test]
    fn every_kind_of_node_is_made() {
        let mut scratch = Scratch::new().unwrap();
        let mut place = |path: &str, kind| scratch.place(&HostPath { path: path.into(), kind }).unwrap();
        assert!(place("/data", HostPathKind::Directory).unwrap().is_dir());
        assert!(place("/etc/hosts", HostPathKind::File).unwrap().is_file());
        let socket = place("/run/x.sock", HostPathKind::Socket).unwrap();
        assert!(fs::metadata(socket).unwrap().file_type().is_socket());
        assert!(!place("/absent", HostPathKind::Absent).unwrap().exists());
        for path in ["/dev/fuse", "/", "", "/proc/1", "relative"] {
            assert_eq!(place(path, HostPathKind::Directory), None, "{path}");
        }
        assert_eq!(place("/dev/null", HostPathKind::Device), None);
    }

    #[test]
    fn a_path_has_one_place_and_what_is_inside_moves_along() {
        let mut scratch = Scratch::new().unwrap();
        let mut folder = |path: &str| {
            scratch.place(&HostPath { path: path.into(), kind: HostPathKind::Directory }).unwrap().unwrap()
        };
        let data = folder("/data");
        assert_eq!(folder("/data"), data);
        assert_eq!(folder("/data/deep/er"), data.join("deep/er"));
        assert!(data.join("deep/er").is_dir());
    }
}
