//! What `setup.sh` installs, and what to do where it is missing.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

/// A line of containerd releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// CRI v1 and v1alpha2.
    V1_6,
    /// CRI v1 and v1alpha2.
    V1_7,
    /// CRI v1 only.
    V2_1,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1_6 => "1.6",
            Self::V1_7 => "1.7",
            Self::V2_1 => "2.1",
        })
    }
}

/// Something that a test can't do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A runtime, with all that it runs containers with, and the images.
    Containerd(Version),
    /// The client of every day.
    Crictl,
    /// Python with grpcio.
    Grpcio,
    /// The client of every node.
    Kubelet,
}

impl Part {
    /// What has to be below the prefix.
    fn files(self) -> Vec<String> {
        match self {
            Self::Containerd(version) => [
                format!("containerd-{version}/bin/containerd"),
                "runc-bin/runc".to_owned(),
                "cni-bin/ptp".to_owned(),
                "registry-bin/docker-registry".to_owned(),
                "images.txt".to_owned(),
                // `runtime.sh` asks with it whether the runtime answers.
                "bin/crictl".to_owned(),
            ]
            .into(),
            Self::Crictl => vec!["bin/crictl".to_owned()],
            Self::Grpcio => vec!["venv/bin/python".to_owned()],
            Self::Kubelet => vec!["bin/kubelet".to_owned()],
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Containerd(version) => write!(f, "containerd {version}"),
            Self::Crictl => f.write_str("crictl"),
            Self::Grpcio => f.write_str("Python with grpcio"),
            Self::Kubelet => f.write_str("the kubelet"),
        }
    }
}

/// Where the parts are.
#[derive(Clone, Debug)]
pub struct Parts {
    prefix: PathBuf,
}

impl Parts {
    /// crictl's binary.
    pub fn crictl(&self) -> PathBuf {
        self.prefix.join("bin/crictl")
    }

    /// The kubelet's binary.
    pub fn kubelet(&self) -> PathBuf {
        self.prefix.join("bin/kubelet")
    }

    /// A Python that has grpcio.
    pub fn python(&self) -> PathBuf {
        self.prefix.join("venv/bin/python")
    }
}

/// The parts, or `None` where the test is to be skipped because some are missing; it then has said so.
///
/// # Panics
/// Where some are missing and `CRITAPE_E2E` is `required`.
pub fn require(parts: &[Part]) -> Option<Parts> {
    let prefix = prefix();
    let missing = missing(parts, &prefix, is_root());
    if missing.is_empty() {
        return Some(Parts { prefix });
    }
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("{test}: needs {}; run e2e/setup.sh", missing.join(", "));
    assert!(env::var_os("CRITAPE_E2E").as_deref() != Some(OsStr::new("required")), "{line}");
    // Not with a macro: what those print is shown of failing tests only.
    let _ = writeln!(io::stderr(), "SKIPPED {line}");
    None
}

/// What is missing, in words.
fn missing(parts: &[Part], prefix: &Path, root: bool) -> Vec<String> {
    let is_there = |part: &Part| part.files().iter().all(|file| prefix.join(file).exists());
    let nobody = (!root).then(|| "root".to_owned());
    nobody.into_iter().chain(parts.iter().filter(|part| !is_there(part)).map(Part::to_string)).collect()
}

fn prefix() -> PathBuf {
    env::var_os("CRITAPE_E2E_DIR").map_or_else(|| PathBuf::from("/var/lib/critape-e2e"), PathBuf::from)
}

/// Who a process is owns its folder in /proc.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_missing_where_all_files_are() {
        let prefix = tempfile::tempdir().unwrap();
        for file in Part::Grpcio.files() {
            let file = prefix.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        assert_eq!(missing(&[Part::Grpcio], prefix.path(), true), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_named() {
        let prefix = tempfile::tempdir().unwrap();
        let parts = [Part::Containerd(Version::V1_6), Part::Crictl];
        assert_eq!(missing(&parts, prefix.path(), false), ["root", "containerd 1.6", "crictl"]);
    }
}
