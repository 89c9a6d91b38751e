//! The names beside a runtime's path, and the steps in which sockets change places there.
//!
//! A unix socket is found by its file, and a file may have several names: a socket that is renamed goes on, with its
//! connections and its backlog. For the path P:
//!
//! | name | what is there |
//! | --- | --- |
//! | `P` | what clients connect to: ours while the path is taken over, else the runtime's |
//! | `P.critape` | our socket for as long as we listen; whatever else has this inode is ours |
//! | `P.critape-runtime` | the runtime's socket while `P` is ours |
//! | `P.critape-new` | what is about to change places with `P` |
//! | `P.critape-lock` | held by the one recorder |
//!
//! Places are exchanged, never replaced: whatever a runtime puts at `P` at that very moment is still there afterwards, under
//! another name. So at each moment, also where the recorder dies between two steps, `P` has a socket and the runtime's has a
//! name from which [`Names::give_back`] puts it back.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use cri::Endpoint;
use cri::listen;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::TakeOverError;

/// A socket that does not answer twice, this far apart, is dead: one that was only just made listens by then.
const MADE_WITHIN: Duration = Duration::from_millis(50);

/// Device and inode.
pub(crate) type Identity = (u64, u64);

/// What is at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stands {
    /// Nothing.
    Nobody,
    /// Our socket, whether we live or not.
    Ours,
    /// A socket on which nobody listens: of a process that is gone, or that has only just made it.
    Dead,
    /// A socket of somebody else who answers.
    Alive,
}

/// What giving a path back came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// The runtime's socket is at its path again.
    Runtime,
    /// The recorder's socket was removed. No runtime answers: when one starts, it makes its own.
    NoRuntime,
    /// The path was not taken over.
    Nothing,
}

/// The names of one path.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) path: PathBuf,
    pub(crate) ours: PathBuf,
    pub(crate) runtime: PathBuf,
    pub(crate) new: PathBuf,
    pub(crate) lock: PathBuf,
}

impl Names {
    /// The names for the socket that this endpoint leads to.
    ///
    /// # Errors
    /// Where its folder is not there, or a name is longer than a socket's may be.
    pub(crate) fn of(endpoint: &Endpoint) -> Result<Self, TakeOverError> {
        let given = endpoint.path();
        let resolved = given.canonicalize().or_else(|_| {
            let folder = given.parent().unwrap_or(given).canonicalize()?;
            Ok(folder.join(given.file_name().unwrap_or_default()))
        });
        let path = resolved.map_err(|source| TakeOverError::io("looking for", given, source))?;
        let beside = |suffix: &str| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            // Endpoints know how long the path of a socket may be.
            Ok(Endpoint::at(name)?.path().to_owned())
        };
        Ok(Self {
            ours: beside(".critape").map_err(TakeOverError::Endpoint)?,
            runtime: beside(".critape-runtime").map_err(TakeOverError::Endpoint)?,
            new: beside(".critape-new").map_err(TakeOverError::Endpoint)?,
            lock: beside(".critape-lock").map_err(TakeOverError::Endpoint)?,
            path,
        })
    }

    /// Makes a socket that was passed ours.
    pub(crate) fn adopt(&self, passed: &Path) -> Result<(), TakeOverError> {
        if identity(passed)? == identity(&self.ours)? {
            return Ok(());
        }
        remove(&self.ours)?;
        link(passed, &self.ours)
    }

    /// What is at the path now.
    pub(crate) fn look(&self) -> Result<Stands, TakeOverError> {
        let Some(there) = identity(&self.path)? else { return Ok(Stands::Nobody) };
        if identity(&self.ours)? == Some(there) {
            return Ok(Stands::Ours);
        }
        Ok(if answers(&self.path) { Stands::Alive } else { Stands::Dead })
    }

    /// The same, but what does not answer is given a moment to listen.
    pub(crate) fn look_twice(&self) -> Result<Stands, TakeOverError> {
        let first = self.look()?;
        if first != Stands::Dead {
            return Ok(first);
        }
        thread::sleep(MADE_WITHIN);
        self.look()
    }

    /// Refuses what can't be taken over safely, and clears away what a recorder that died has left half done.
    pub(crate) fn check(&self) -> Result<(), TakeOverError> {
        for name in [&self.path, &self.ours, &self.runtime, &self.new] {
            identity(name)?;
        }
        self.settle()?;
        let (here, beside) = (identity(&self.path)?, identity(&self.runtime)?);
        if here != beside && self.look()? == Stands::Alive && beside.is_some() && answers(&self.runtime) {
            return Err(TakeOverError::Two(self.path.clone(), self.runtime.clone()));
        }
        Ok(())
    }

    /// Whether a recorder that died is still at the path. A socket that was passed to it is not dead: clients wait there.
    pub(crate) fn is_orphaned(&self) -> Result<bool, TakeOverError> {
        let stands = self.look_twice()?;
        let dead = stands == Stands::Dead || stands == Stands::Ours && !answers(&self.path);
        Ok(dead && self.runtime_answers())
    }

    /// Puts our socket at the path, at which this stands, where that can be: a runtime's is there, or a dead one while the
    /// runtime answers under its other name. Says whether it is there now.
    ///
    /// # Errors
    /// With the path as it was.
    pub(crate) fn take(&self, stands: Stands) -> Result<bool, TakeOverError> {
        let steps: &[Step] = match stands {
            Stands::Ours => return Ok(true),
            Stands::Alive => &TAKE,
            Stands::Dead if self.runtime_answers() => &TAKE[1..],
            Stands::Nobody if self.runtime_answers() => &[Self::put_ours],
            Stands::Dead | Stands::Nobody => return Ok(false),
        };
        for step in steps {
            if let Err(error) = step(self) {
                let _ = remove(&self.new);
                return Err(error);
            }
        }
        Ok(true)
    }

    /// Gives the runtime's socket its second name.
    fn keep_runtime(&self) -> Result<(), TakeOverError> {
        if identity(&self.runtime)? == identity(&self.path)? {
            return Ok(());
        }
        remove(&self.runtime)?;
        link(&self.path, &self.runtime)
    }

    /// Gives ours a name to change places with, and the doors of what is at the path.
    fn prepare_ours(&self) -> Result<(), TakeOverError> {
        remove(&self.new)?;
        link(&self.ours, &self.new)?;
        listen::match_door(&self.new, &self.path)
            .map_err(|source| TakeOverError::io("setting the mode of", &self.new, source))
    }

    fn exchange(&self) -> Result<(), TakeOverError> {
        exchange(&self.new, &self.path)
    }

    fn put_ours(&self) -> Result<(), TakeOverError> {
        listen::match_door(&self.ours, &self.runtime)
            .map_err(|source| TakeOverError::io("setting the mode of", &self.ours, source))?;
        link(&self.ours, &self.path)
    }

    /// What came away from the path: the runtime's if it is another than that we have, else nothing of interest.
    fn settle(&self) -> Result<(), TakeOverError> {
        let Some(away) = identity(&self.new)? else { return Ok(()) };
        let known = identity(&self.runtime)? == Some(away) || identity(&self.ours)? == Some(away);
        if known || !answers(&self.new) { remove(&self.new) } else { rename(&self.new, &self.runtime) }
    }

    /// Puts the runtime's socket back at the path, and removes everything of ours.
    ///
    /// Can be called at any time, again and again, also for a recorder that died. Does nothing to a socket at the path that is
    /// neither ours nor dead.
    pub(crate) fn give_back(&self) -> Result<GivenBack, TakeOverError> {
        self.settle()?;
        let given = match (self.look_twice()?, self.runtime_answers()) {
            (Stands::Ours, true) => {
                // Somebody may have changed who may connect there. Without the right to do so nothing is lost.
                let _ = listen::match_door(&self.runtime, &self.path);
                self.swap_back()?
            }
            (Stands::Dead, true) => self.swap_back()?,
            (Stands::Nobody, true) => {
                rename_to_free(&self.runtime, &self.path)?;
                GivenBack::Runtime
            }
            (Stands::Ours, false) => self.withdraw()?,
            (Stands::Dead | Stands::Nobody | Stands::Alive, _) => GivenBack::Nothing,
        };
        self.clear()?;
        Ok(given)
    }

    /// The runtime's and what is at the path change places. If a runtime made a new socket there meanwhile, that one stays.
    fn swap_back(&self) -> Result<GivenBack, TakeOverError> {
        exchange(&self.runtime, &self.path)?;
        if identity(&self.runtime)? != identity(&self.ours)? && answers(&self.runtime) {
            rename(&self.runtime, &self.path)?;
        }
        Ok(GivenBack::Runtime)
    }

    /// Takes ours from the path. If a runtime made a socket there meanwhile, that one is put back.
    pub(crate) fn withdraw(&self) -> Result<GivenBack, TakeOverError> {
        rename(&self.path, &self.new)?;
        if identity(&self.new)? != identity(&self.ours)? {
            rename_to_free(&self.new, &self.path)?;
            return Ok(GivenBack::Nothing);
        }
        remove(&self.new)?;
        Ok(GivenBack::NoRuntime)
    }

    /// Removes every name of ours. A runtime that answers and is reached by nothing else keeps its.
    fn clear(&self) -> Result<(), TakeOverError> {
        let beside = identity(&self.runtime)?;
        let known = beside == identity(&self.path)? || beside == identity(&self.ours)?;
        if known || !answers(&self.runtime) {
            remove(&self.runtime)?;
        } else {
            tracing::warn!(path = %self.runtime.display(), "another runtime answers there; its socket is left there");
        }
        remove(&self.new)?;
        remove(&self.ours)
    }

    /// Whether the runtime answers under its other name.
    pub(crate) fn runtime_answers(&self) -> bool {
        let there = identity(&self.runtime).ok().flatten();
        there.is_some() && there != identity(&self.ours).ok().flatten() && answers(&self.runtime)
    }
}

type Step = fn(&Names) -> Result<(), TakeOverError>;

/// How the path of a runtime that answers is taken.
const TAKE: [Step; 4] = [Names::keep_runtime, Names::prepare_ours, Names::exchange, Names::settle];

/// Whether somebody listens on a socket. Does not wait, whatever state its owner is in.
pub(crate) fn answers(path: &Path) -> bool {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let tried = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .and_then(|socket| connect(&socket, &SocketAddrUnix::new(path)?));
    // Where it can't be told, as with a full backlog, somebody is there.
    !matches!(tried, Err(Errno::CONNREFUSED | Errno::NOENT))
}

/// Which socket a name leads to; nothing where it is free.
///
/// # Errors
/// Where it is no socket.
pub(crate) fn identity(path: &Path) -> Result<Option<Identity>, TakeOverError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => Ok(Some(identity_of(&found))),
        Ok(_) => Err(TakeOverError::NotASocket(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TakeOverError::io("looking at", path, source)),
    }
}

pub(crate) fn identity_of(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// Gives what `from` names a second name.
pub(crate) fn link(from: &Path, to: &Path) -> Result<(), TakeOverError> {
    fs::hard_link(from, to).map_err(|source| TakeOverError::io("making", to, source))
}

pub(crate) fn remove(path: &Path) -> Result<(), TakeOverError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(TakeOverError::io("removing", path, source))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), TakeOverError> {
    fs::rename(from, to).map_err(|source| TakeOverError::io("renaming", from, source))
}

fn rename_to_free(from: &Path, to: &Path) -> Result<(), TakeOverError> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
        .map_err(|error| TakeOverError::io("renaming", from, error.into()))
}

fn exchange(one: &Path, other: &Path) -> Result<(), TakeOverError> {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).map_err(|error| match error {
        Errno::INVAL | Errno::NOSYS => TakeOverError::NoExchange(other.to_owned()),
        error => TakeOverError::io("changing the places of", other, error.into()),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    /// A runtime's path, and a recorder that listens.
    struct Scene {
        folder: tempfile::TempDir,
        names: Names,
        ours: Option<UnixListener>,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let names = Names::of(&Endpoint::at(folder.path().join("r.sock")).unwrap()).unwrap();
            let ours = Some(UnixListener::bind(&names.ours).unwrap());
            Self { folder, names, ours }
        }

        fn runtime(&self) -> (UnixListener, Option<Identity>) {
            let listener = UnixListener::bind(&self.names.path).unwrap();
            (listener, identity(&self.names.path).unwrap())
        }

        fn take(&self) -> bool {
            self.names.take(self.names.look_twice().unwrap()).unwrap()
        }

        fn left(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path()).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_path_is_taken_and_given_back() {
        let scene = Scene::new();
        let (runtime, original) = scene.runtime();
        assert!(scene.take());
        assert_eq!(scene.names.look().unwrap(), Stands::Ours);
        UnixStream::connect(&scene.names.path).unwrap();
        scene.ours.as_ref().unwrap().accept().unwrap();
        UnixStream::connect(&scene.names.runtime).unwrap();
        runtime.accept().unwrap();
        assert!(scene.take(), "again is as well");
        assert_eq!(scene.left(), ["r.sock", "r.sock.critape", "r.sock.critape-runtime"]);
        assert_eq!(scene.names.give_back().unwrap(), GivenBack::Runtime);
        assert_eq!(identity(&scene.names.path).unwrap(), original);
        assert_eq!(scene.left(), ["r.sock"]);
        assert_eq!(scene.names.give_back().unwrap(), GivenBack::Nothing);
        assert_eq!(identity(&scene.names.path).unwrap(), original);
    }

    /// The recorder dies before each step; the path has a socket all the time, and the runtime's comes back.
    #[test]
    fn whichever_step_was_the_last_the_runtime_comes_back() {
        for steps in 0..=TAKE.len() {
            for lives_on in [false, true] {
                let mut scene = Scene::new();
                let (_runtime, original) = scene.runtime();
                for step in &TAKE[..steps] {
                    step(&scene.names).unwrap();
                    assert!(scene.names.path.exists());
                }
                if !lives_on {
                    scene.ours = None;
                }
                let given = scene.names.give_back().unwrap();
                assert_eq!(identity(&scene.names.path).unwrap(), original, "after {steps} steps");
                assert_eq!(scene.left(), ["r.sock"], "after {steps} steps");
                let was_taken = steps >= 3;
                assert_eq!(given == GivenBack::Runtime, was_taken, "after {steps} steps");
            }
        }
    }

    #[test]
    fn whichever_step_was_the_last_the_next_recorder_takes_over() {
        for steps in 0..=TAKE.len() {
            let mut scene = Scene::new();
            let (_runtime, original) = scene.runtime();
            for step in &TAKE[..steps] {
                step(&scene.names).unwrap();
            }
            scene.ours = None;
            scene.names.check().unwrap();
            assert_eq!(scene.names.is_orphaned().unwrap(), steps >= 3);
            remove(&scene.names.ours).unwrap();
            scene.ours = Some(UnixListener::bind(&scene.names.ours).unwrap());
            assert!(scene.take(), "after {steps} steps");
            assert_eq!(scene.names.look().unwrap(), Stands::Ours);
            assert_eq!(identity(&scene.names.runtime).unwrap(), original);
            assert_eq!(scene.names.give_back().unwrap(), GivenBack::Runtime);
            assert_eq!(identity(&scene.names.path).unwrap(), original);
        }
    }

    #[test]
    fn a_give_back_that_was_cut_short_is_finished_by_the_next() {
        let scene = Scene::new();
        let (_runtime, original) = scene.runtime();
        scene.take();
        exchange(&scene.names.runtime, &scene.names.path).unwrap();
        scene.names.give_back().unwrap();
        assert_eq!(identity(&scene.names.path).unwrap(), original);
        assert_eq!(scene.left(), ["r.sock"]);
    }

    #[test]
    fn a_runtime_that_made_its_socket_anew_is_taken_over_again_and_not_lost() {
        let scene = Scene::new();
        let (runtime, _) = scene.runtime();
        scene.take();
        drop(runtime);
        fs::remove_file(&scene.names.path).unwrap();
        assert!(!scene.take(), "there is none yet");
        let (_runtime, again) = scene.runtime();
        assert_eq!(scene.names.look().unwrap(), Stands::Alive);
        assert!(scene.take());
        assert_eq!(identity(&scene.names.runtime).unwrap(), again);
        // And once more, between the first step and the exchange.
        TAKE[0](&scene.names).unwrap();
        TAKE[1](&scene.names).unwrap();
        fs::remove_file(&scene.names.path).unwrap();
        let (_runtime, third) = scene.runtime();
        TAKE[2](&scene.names).unwrap();
        TAKE[3](&scene.names).unwrap();
        assert_eq!(identity(&scene.names.runtime).unwrap(), third);
        scene.names.give_back().unwrap();
        assert_eq!(identity(&scene.names.path).unwrap(), third);
    }

    #[test]
    fn without_a_runtime_ours_is_withdrawn_and_others_are_left_alone() {
        let scene = Scene::new();
        let (runtime, _) = scene.runtime();
        scene.take();
        drop(runtime);
        assert_eq!(scene.names.give_back().unwrap(), GivenBack::NoRuntime);
        assert_eq!(scene.left(), [""; 0]);
        let scene = Scene::new();
        let (runtime, stale) = scene.runtime();
        drop(runtime);
        assert!(!scene.take());
        assert_eq!(scene.names.give_back().unwrap(), GivenBack::Nothing);
        assert_eq!(identity(&scene.names.path).unwrap(), stale, "a dead socket of others");
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let scene = Scene::new();
        let (_runtime, _) = scene.runtime();
        let _other = UnixListener::bind(&scene.names.runtime).unwrap();
        assert!(matches!(scene.names.check(), Err(TakeOverError::Two(..))));
        let scene = Scene::new();
        fs::write(&scene.names.path, "text").unwrap();
        assert!(matches!(scene.names.check(), Err(TakeOverError::NotASocket(_))));
    }

    #[test]
    fn the_door_is_the_runtimes() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let scene = Scene::new();
        let (_runtime, _) = scene.runtime();
        fs::set_permissions(&scene.names.path, fs::Permissions::from_mode(0o660)).unwrap();
        scene.take();
        assert_eq!(mode(&scene.names.path), 0o660);
        // Whoever changes it means the runtime's.
        fs::set_permissions(&scene.names.path, fs::Permissions::from_mode(0o600)).unwrap();
        scene.names.give_back().unwrap();
        assert_eq!(mode(&scene.names.path), 0o600);
    }
}
