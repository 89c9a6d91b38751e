//! What a run keeps on disk beside its files, so that a later one can undo what it left when it crashed.
//!
//! One line of JSON each: first who it is and what was there before, then every image before it is pulled and after.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cri::endpoint::Endpoints;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::owner::{Life, Owner};
use crate::footprint::cleanup::Before;

/// How the folders of runs are called.
pub(crate) const FOLDER_PREFIX: &str = "critape-replay-";
const FILE: &str = "journal";
const FORMAT: u32 = 1;
/// A journal of a run that pulled everything there is.
const MAX_BYTES: u64 = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    owner: String,
    runtime: String,
    image: String,
    images: BTreeSet<String>,
    #[serde(default)]
    names: BTreeSet<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    /// This reference is about to be pulled, and was not there.
    Pulling(String),
    /// This image was pulled, and was not there before.
    Pulled(String),
    /// A sandbox of this id was made.
    Made(String),
}

/// The journal of this run.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
}

impl Journal {
    /// Begins one in the run's folder. `before` are the images that are there.
    pub(crate) fn begin(
        folder: &Path,
        owner: &Owner,
        endpoints: &Endpoints,
        before: Before<'_>,
    ) -> io::Result<Self> {
        let file = File::options().create_new(true).append(true).mode(0o600).open(folder.join(FILE))?;
        let mut journal = Self { file };
        journal.line(&Head {
            format: FORMAT,
            owner: owner.to_string(),
            runtime: endpoints.runtime.to_string(),
            image: endpoints.image.to_string(),
            images: before.ids.clone(),
            names: before.names.clone(),
        })?;
        Ok(journal)
    }

    /// This reference is about to be pulled.
    pub(crate) fn pulling(&mut self, reference: &str) -> io::Result<()> {
        self.line(&Entry::Pulling(reference.to_owned()))
    }

    /// This image was pulled.
    pub(crate) fn pulled(&mut self, id: &str) -> io::Result<()> {
        self.line(&Entry::Pulled(id.to_owned()))
    }

    /// A sandbox was made. There may be thousands, and their label tells of them too: what a power cut takes is not waited for.
    pub(crate) fn made(&mut self, sandbox: &str) -> io::Result<()> {
        self.write(&Entry::Made(sandbox.to_owned()))
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        self.write(line)?;
        self.file.sync_data()
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(line)?;
        bytes.push(b'\n');
        self.file.write_all(&bytes)
    }
}

/// What a run left, as its journal tells.
#[derive(Debug)]
pub(crate) struct Remains {
    pub(crate) folder: PathBuf,
    pub(crate) owner: Owner,
    pub(crate) life: Life,
    runtime: String,
    image: String,
    /// Ids of images that were there before it.
    pub(crate) before: BTreeSet<String>,
    /// Their names.
    pub(crate) names: BTreeSet<String>,
    /// Ids of sandboxes that it made.
    pub(crate) sandboxes: BTreeSet<String>,
    /// References and ids of images that it pulled.
    pub(crate) pulled: BTreeSet<String>,
}

impl Remains {
    /// Whether it ran against this runtime.
    pub(crate) fn is_of(&self, endpoints: &Endpoints) -> bool {
        self.runtime == endpoints.runtime.to_string() && self.image == endpoints.image.to_string()
    }
}

/// The runs that have a folder of this user's in `temp`.
pub(crate) fn find(temp: &Path) -> io::Result<Vec<Remains>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(temp)? {
        let Ok(entry) = entry else { continue };
        let is_named_so = entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX);
        if let Some(remains) = is_named_so.then(|| read(&entry.path())).flatten() {
            found.push(remains);
        }
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

/// What is left in a folder; nothing where it is not a run's of this user.
fn read(folder: &Path) -> Option<Remains> {
    let ours = rustix::process::geteuid().as_raw();
    let about = fs::symlink_metadata(folder).ok()?;
    if !about.is_dir() || about.uid() != ours {
        return None;
    }
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits();
    let flags = i32::try_from(flags).ok()?;
    let file = File::options().read(true).custom_flags(flags).open(folder.join(FILE)).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || about.uid() != ours {
        return None;
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let head: Head = serde_json::from_str(lines.next()?).ok()?;
    let owner = Owner::parse(&head.owner).filter(|_| head.format == FORMAT)?;
    // The last line may be cut off, and then nothing was pulled yet.
    let (mut pulled, mut sandboxes) = (BTreeSet::new(), BTreeSet::new());
    for entry in lines.filter_map(|line| serde_json::from_str(line).ok()) {
        match entry {
            Entry::Pulling(name) | Entry::Pulled(name) => pulled.insert(name),
            Entry::Made(id) => sandboxes.insert(id),
        };
    }
    Some(Remains {
        folder: folder.to_owned(),
        life: owner.life(),
        owner,
        runtime: head.runtime,
        image: head.image,
        before: head.images,
        names: head.names,
        sandboxes,
        pulled,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::Endpoint;

    fn endpoints() -> Endpoints {
        Endpoints::both_at(Endpoint::at("/run/r.sock").unwrap())
    }

    fn begun(folder: &Path) -> Journal {
        fs::create_dir(folder).unwrap();
        let (ids, names) = (["sha256:1".to_owned()].into(), ["old:1".to_owned()].into());
        let before = Before { ids: &ids, names: &names };
        Journal::begin(folder, &Owner::this_run().unwrap(), &endpoints(), before).unwrap()
    }

    #[test]
    fn what_was_written_is_read_also_where_the_last_line_is_cut() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("critape-replay-x");
        let mut journal = begun(&folder);
        journal.pulling("registry.example/app:1").unwrap();
        journal.pulled("sha256:2").unwrap();
        journal.made("pod").unwrap();
        journal.file.write_all(b"{\"pulling\":\"regis").unwrap();
        let found = find(temp.path()).unwrap();
        let [remains] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(remains.life, Life::Going);
        assert!(remains.is_of(&endpoints()));
        assert!(!remains.is_of(&Endpoints::both_at(Endpoint::at("/run/other.sock").unwrap())));
        assert_eq!(remains.before, ["sha256:1".to_owned()].into());
        assert_eq!(remains.names, ["old:1".to_owned()].into());
        assert_eq!(remains.sandboxes, ["pod".to_owned()].into());
        assert_eq!(remains.pulled, ["registry.example/app:1", "sha256:2"].map(str::to_owned).into());
    }

    #[test]
    fn what_is_no_runs_folder_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let real = temp.path().join("elsewhere");
        drop(begun(&real));
        std::os::unix::fs::symlink(&real, temp.path().join("critape-replay-link")).unwrap();
        fs::create_dir(temp.path().join("critape-replay-empty")).unwrap();
        fs::write(temp.path().join("critape-replay-file"), "").unwrap();
        let linked = temp.path().join("critape-replay-linked");
        fs::create_dir(&linked).unwrap();
        std::os::unix::fs::symlink(real.join(FILE), linked.join(FILE)).unwrap();
        let garbled = temp.path().join("critape-replay-garbled");
        fs::create_dir(&garbled).unwrap();
        fs::write(garbled.join(FILE), "{\"format\":1}\n").unwrap();
        assert!(find(temp.path()).unwrap().is_empty());
    }
}
