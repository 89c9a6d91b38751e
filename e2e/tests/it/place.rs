//! Where one test works.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use critape_e2e::session::BUSYBOX;
use critape_e2e::{Crictl, Runtime, Version};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a short path: those of sockets have 107 bytes.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// Of the folder that has one name always.
    _alone: Option<MutexGuard<'static, ()>>,
}

impl Place {
    pub fn new() -> Self {
        Self { folder: tempfile::Builder::new().prefix("ce").tempdir_in("/tmp").unwrap(), _alone: None }
    }

    /// Where golden tapes are recorded and replayed, one at a time: errors tell the runtime's folder.
    pub fn of_golden_tapes() -> Self {
        static ONE: Mutex<()> = Mutex::new(());
        // A test that failed leaves nothing behind that the next one would meet.
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let folder =
            tempfile::Builder::new().prefix("critape-golden").rand_bytes(0).tempdir_in("/tmp").unwrap();
        Self { folder, _alone: Some(alone) }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Something in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A runtime; always in the same folder, so that what it says about paths can be compared.
    pub fn runtime(&self, version: Version) -> Runtime {
        Runtime::start(version, &self.join("rt"))
    }

    /// Where that one listens.
    pub fn runtime_socket(&self) -> PathBuf {
        self.join("rt/containerd.sock")
    }

    /// Makes a pod of this name with a container that stays until it is stopped; gives the container's id. The image has to
    /// be there.
    pub fn run_pod(&self, crictl: &Crictl, name: &str) -> String {
        let pod_file = self.write(
            "pod.json",
            &json!({
                "metadata": { "name": name, "namespace": "default", "uid": format!("uid-of-{name}"), "attempt": 1 },
                "labels": { "app": name },
                "annotations": { "example.com/note": "ünïcode\n" },
                "log_directory": self.join("logs"),
                "linux": { "cgroup_parent": "/critape-e2e" },
            }),
        );
        let container_file = self.write(
            "container.json",
            &json!({
                "metadata": { "name": "main", "attempt": 2 },
                "image": { "image": BUSYBOX },
                "command": ["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.2; done"],
                "log_path": format!("{name}.log"),
            }),
        );
        let pod = crictl.made(&["runp", &pod_file]);
        let container = crictl.made(&["create", &pod, &container_file, &pod_file]);
        crictl.run(&["start", &container]).well();
        container
    }

    /// Writes a file of this name; gives its path.
    pub fn write(&self, name: &str, value: &Value) -> String {
        let file = self.join(name);
        fs::write(&file, value.to_string()).unwrap();
        file.display().to_string()
    }
}
