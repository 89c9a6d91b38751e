//! The folder that stands for the host's paths in a replay.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Component, Path, PathBuf};

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

    /// The path that stands for `host`, with the right kind of node at it. `None` where it [`stays`] what it is.
    ///
    /// # Errors
    /// Where nothing can be made, and where the path goes up: nobody knows from where to where.
    pub(crate) fn place(&mut self, host: &HostPath) -> io::Result<Option<PathBuf>> {
        if goes_up(&host.path) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{} has `..` in it", host.path)));
        }
        if stays(&host.path, host.kind) {
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
        self.make(&moved, host.kind)?;
        self.moved.insert(host.path.clone(), moved.clone());
        Ok(Some(moved))
    }
}

impl Scratch {
    fn make(&self, path: &Path, kind: HostPathKind) -> io::Result<()> {
        let parent = path.parent().unwrap_or(path);
        self.is_ours(parent)?;
        fs::create_dir_all(parent)?;
        // A container that has the folder may have put a link there.
        let there = fs::symlink_metadata(path).is_ok();
        match kind {
            _ if there => self.is_ours(path),
            HostPathKind::Directory => fs::create_dir(path),
            HostPathKind::File => fs::File::create_new(path).map(drop),
            // The node stays when the listener is gone, and nothing answers on it.
            HostPathKind::Socket => UnixListener::bind(path).map(drop),
            HostPathKind::Absent | HostPathKind::Device | HostPathKind::Other => Ok(()),
        }
    }

    /// Whether what is there of a path lies in this folder, whatever links it has.
    fn is_ours(&self, path: &Path) -> io::Result<()> {
        let there = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok()).unwrap_or(path);
        if there.canonicalize()?.starts_with(self.folder.path().canonicalize()?) {
            return Ok(());
        }
        let message = format!("{} leads out of the replay's folder", there.display());
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }
}

/// Whether a path stays what it is in a replay: devices, the kernel's file systems, the root, and what could not be looked at when it
/// was recorded.
pub(crate) fn stays(path: &str, kind: HostPathKind) -> bool {
    matches!(kind, HostPathKind::Device | HostPathKind::Other)
        || !path.starts_with('/')
        || Path::new(path).components().all(|part| part == Component::RootDir)
        || KERNELS.iter().any(|folder| Path::new(path).starts_with(folder))
}

/// Whether a path leads to what is above a folder in it.
pub(crate) fn goes_up(path: &str) -> bool {
    Path::new(path).components().any(|part| part == Component::ParentDir)
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
    fn nothing_is_made_outside() {
        let outside = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new().unwrap();
        let mut place = |path: &str, kind| scratch.place(&HostPath { path: path.into(), kind });
        for path in ["/data/../etc", "/dev/../etc", "../etc", "/.."] {
            let refused = place(path, HostPathKind::Directory).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        let data = place("/data", HostPathKind::Directory).unwrap().unwrap();
        std::os::unix::fs::symlink(outside.path(), data.join("link")).unwrap();
        for kind in [HostPathKind::Directory, HostPathKind::File, HostPathKind::Socket] {
            for path in ["/data/link", "/data/link/new", "/data/link/new/er"] {
                let refused = place(path, kind).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path}");
            }
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
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
