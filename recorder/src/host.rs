//! What the host says: who connects, what is at a path, which kernel this is.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use bytes::Bytes;
use cri::v1;
use critape_calls::{HostPath, HostPathKind, Peer, Surroundings};
use prost::Message;
use tokio::net::UnixStream;

/// The kernel, once a segment.
pub(crate) fn surroundings() -> Surroundings {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let cgroup_version =
        match (Path::new("/sys/fs/cgroup/cgroup.controllers").exists(), Path::new("/sys/fs/cgroup").exists())
        {
            (true, _) => 2,
            (false, true) => 1,
            (false, false) => 0,
        };
    Surroundings {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        boot_id: boot_id.trim().to_owned(),
        cgroup_version,
    }
}

/// The process at the other end. Its executable is read now: later the id may be another's.
pub(crate) fn peer(client: &UnixStream) -> Option<Peer> {
    let credentials = client.peer_cred().ok()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let exe = fs::read_link(format!("/proc/{pid}/exe"))
        .map(|path| path.to_string_lossy().trim_end_matches(" (deleted)").to_owned())
        .unwrap_or_default();
    Some(Peer { pid, uid: credentials.uid(), exe })
}

/// The kinds of the host paths that a `CreateContainerRequest` names. Blocks where a path's file system does.
pub(crate) fn host_paths(request: &Bytes) -> Vec<HostPath> {
    // These fields have the same numbers in every generation.
    let Ok(request) = v1::CreateContainerRequest::decode(request.as_ref()) else { return Vec::new() };
    let Some(config) = request.config else { return Vec::new() };
    let mounts = config.mounts.into_iter().map(|mount| mount.host_path);
    let devices = config.devices.into_iter().map(|device| device.host_path);
    let mut paths: Vec<HostPath> = Vec::new();
    for path in mounts.chain(devices).filter(|path| !path.is_empty()) {
        if !paths.iter().any(|known| known.path == path) {
            paths.push(HostPath { kind: kind(Path::new(&path)), path });
        }
    }
    paths
}

fn kind(path: &Path) -> HostPathKind {
    // Links are followed, as the runtime does when it mounts.
    match fs::metadata(path).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_dir() => HostPathKind::Directory,
        Ok(kind) if kind.is_file() => HostPathKind::File,
        Ok(kind) if kind.is_socket() => HostPathKind::Socket,
        Ok(kind) if kind.is_block_device() || kind.is_char_device() => HostPathKind::Device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HostPathKind::Absent,
        _ => HostPathKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::HostPathKind::{Absent, Device, Directory, File, Socket};
    use super::*;

    #[test]
    fn kinds_of_paths_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let paths =
            [file.clone(), folder.path().to_owned(), socket, "/dev/null".into(), folder.path().join("x")];
        let mount = |path: &std::path::PathBuf| v1::Mount {
            host_path: path.to_string_lossy().into_owned(),
            ..Default::default()
        };
        let config = v1::ContainerConfig {
            mounts: paths.iter().chain([&file]).map(mount).collect(),
            ..Default::default()
        };
        let request = v1::CreateContainerRequest { config: Some(config), ..Default::default() };
        let kinds: Vec<_> =
            host_paths(&request.encode_to_vec().into()).into_iter().map(|path| path.kind).collect();
        assert_eq!(kinds, [File, Directory, Socket, Device, Absent]);
    }
}
