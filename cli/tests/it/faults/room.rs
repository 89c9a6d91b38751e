//! A small disk, made and filled for a test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::folder::Folder;

const BALLAST: &str = "ballast";

/// A file system in memory. It is taken away with this value.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one at `disk` in the folder. Where that is not allowed there is none, and the test has nothing to say.
    pub fn mount(folder: &Folder, mebibytes: u64) -> Option<Self> {
        let path = folder.path("disk");
        fs::create_dir(&path).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "critape-test"]).arg(&path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self { path }),
            Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skip(&error.to_string()),
        }
    }

    /// Takes room until only so much is free.
    pub fn leave(&self, mebibytes: u64) {
        let disk = rustix::fs::statvfs(&self.path).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let taken = usize::try_from(free - (mebibytes << 20)).unwrap();
        fs::write(self.path.join(BALLAST), vec![1; taken]).unwrap();
    }

    /// Takes all there is, to the last byte.
    pub fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.path.join(BALLAST)).unwrap();
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }

    /// Gives back what was taken.
    pub fn free(&self) {
        fs::remove_file(self.path.join(BALLAST)).unwrap();
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has files open there keeps them.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

/// Says that there is nothing to test with.
fn skip<T>(reason: &str) -> Option<T> {
    let line = format!("skipped: no file system can be mounted here ({}); run as root", reason.trim());
    assert!(std::env::var_os("CRITAPE_E2E").as_deref() != Some(OsStr::new("required")), "{line}");
    eprintln!("{line}");
    None
}
