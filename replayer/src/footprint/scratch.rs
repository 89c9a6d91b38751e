//! The folder that stands for the host's paths in a replay.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use critape_calls::{HostPath, HostPathKind};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, mknodat, open, openat, openat2, statat,
};
use rustix::io::Errno;

use super::journal::FOLDER_PREFIX;

/// What new folders and files may be used for, less what the process's mask takes away.
const FOLDER: Mode = Mode::from_raw_mode(0o777);
const FILE: Mode = Mode::from_raw_mode(0o666);

/// File systems of the kernel's own: what is below them is the same on every host, or means nothing elsewhere.
const KERNELS: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Where the paths of the recorded host are on this one.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: tempfile::TempDir,
    /// The same, open.
    root: OwnedFd,
    moved: BTreeMap<String, PathBuf>,
}

impl Scratch {
    pub(crate) fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix(FOLDER_PREFIX).tempdir()?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(folder.path(), flags, Mode::empty())?;
        Ok(Self { folder, root, moved: BTreeMap::new() })
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
            // A container may have put a link in its place since.
            return match self.beneath(moved) {
                Ok(_) | Err(Errno::NOENT) => Ok(Some(moved.clone())),
                Err(error) => Err(leads_out(moved, error)),
            };
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
    /// Makes a node, and the folders that lead to it. A container that has one of them may have put links there, and may do so at any
    /// moment: each step goes from a folder that is open.
    fn make(&self, path: &Path, kind: HostPathKind) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(()) };
        let folder = self.folder_at(parent)?;
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return self.beneath(path).map(drop).map_err(|error| leads_out(path, error)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        match kind {
            HostPathKind::Directory => mkdirat(&folder, name, FOLDER)?,
            HostPathKind::File => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                drop(openat(&folder, name, flags, FILE)?);
            }
            // Nothing answers on it.
            HostPathKind::Socket => mknodat(&folder, name, FileType::Socket, FILE, 0)?,
            HostPathKind::Absent | HostPathKind::Device | HostPathKind::Other => {}
        }
        Ok(())
    }

    /// Opens a folder below this one, with those that lead to it made where they are missing.
    fn folder_at(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut at = self.folder.path().to_owned();
        let mut folder = self.beneath(&at)?;
        for name in &path.strip_prefix(&at).unwrap_or(Path::new("")).to_owned() {
            at.push(name);
            folder = match self.beneath(&at) {
                Err(Errno::NOENT) => {
                    mkdirat(&folder, name, FOLDER).map_err(|error| leads_out(&at, error))?;
                    self.beneath(&at)
                }
                other => other,
            }
            .map_err(|error| leads_out(&at, error))?;
        }
        Ok(folder)
    }

    /// Opens what is at a path of this folder, for use as a place alone. Links are followed as long as they stay below the folder.
    fn beneath(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = path.strip_prefix(self.folder.path()).unwrap_or(path);
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.root, path, flags, Mode::empty(), resolve) {
            // Linux before 5.6, and filters that do not know of it.
            Err(Errno::NOSYS | Errno::PERM) => self.without_links(path),
            opened => opened,
        }
    }

    /// The same for a path without links.
    fn without_links(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at = openat(&self.root, ".", flags, Mode::empty())?;
        for name in path {
            at = openat(&at, name, flags, Mode::empty())?;
            if FileType::from_raw_mode(fstat(&at)?.st_mode) == FileType::Symlink {
                return Err(Errno::LOOP);
            }
        }
        Ok(at)
    }
}

fn leads_out(path: &Path, error: Errno) -> io::Error {
    if matches!(error, Errno::XDEV | Errno::LOOP | Errno::EXIST) {
        let message = format!("{} leads out of the replay's folder", path.display());
        return io::Error::new(io::ErrorKind::PermissionDenied, message);
    }
    error.into()
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
    use std::fs;
    use std::os::unix::fs::{FileTypeExt as _, symlink};

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
        symlink(outside.path(), data.join("link")).unwrap();
        for kind in [HostPathKind::Directory, HostPathKind::File, HostPathKind::Socket] {
            for path in ["/data/link", "/data/link/new", "/data/link/new/er"] {
                let refused = place(path, kind).unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied, "{path}");
            }
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_are_followed_as_long_as_they_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::new().unwrap();
        let mut folder = |path: &str| {
            scratch.place(&HostPath { path: path.into(), kind: HostPathKind::Directory }).map(Option::unwrap)
        };
        let data = folder("/data").unwrap();
        symlink("real", data.join("link")).unwrap();
        assert!(folder("/data/link/new").is_err(), "it leads to nothing");
        folder("/data/real").unwrap();
        folder("/data/link/new").unwrap();
        assert!(data.join("real/new").is_dir());
        // One that was made takes its leave for a link.
        fs::remove_dir_all(data.join("real")).unwrap();
        symlink(outside.path(), data.join("real")).unwrap();
        for path in ["/data/real", "/data/link/new", "/data/link/newer"] {
            assert_eq!(folder(path).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{path}");
        }
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_openat2_no_link_is_followed() {
        let scratch = Scratch::new().unwrap();
        fs::create_dir_all(scratch.path().join("0/data")).unwrap();
        symlink("data", scratch.path().join("0/link")).unwrap();
        assert!(scratch.without_links(Path::new("0/data")).is_ok());
        for path in ["0/link", "0/link/x"] {
            assert_eq!(scratch.without_links(Path::new(path)).unwrap_err(), Errno::LOOP, "{path}");
        }
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
