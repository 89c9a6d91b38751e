//! A container's log file, in the format that kubelet reads.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::Stream;

/// Whether a line in the log ends the line that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    Full,
    Partial,
}

/// The log of one container. A log that can't be written is no reason to fail a call, so nothing here does.
#[derive(Debug)]
pub(crate) struct ContainerLog {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl ContainerLog {
    /// Opens the log in the directory of the sandbox. Directories are made below that directory, and that directory itself
    /// where its parent is there; `None` where this is not enough, or the log would leave it.
    pub(crate) fn open(directory: &Path, name: &Path) -> Option<Self> {
        let stays_inside =
            name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !directory.is_absolute() || !stays_inside {
            return None;
        }
        if !directory.is_dir() {
            fs::create_dir(directory).ok()?;
        }
        let path = directory.join(name);
        fs::create_dir_all(path.parent()?).ok()?;
        let file = Self::open_file(&path)?;
        Some(Self { path, file: Mutex::new(Some(file)) })
    }

    /// Goes on in a new file, if the old one was moved away.
    pub(crate) fn reopen(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Self::open_file(&self.path);
    }

    fn open_file(path: &Path) -> Option<File> {
        OpenOptions::new().create(true).append(true).open(path).ok()
    }

    pub(super) fn write(&self, now_ns: i64, stream: Stream, tag: Tag, line: &[u8]) {
        let Ok(time) = Timestamp::from_nanosecond(i128::from(now_ns)) else { return };
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let tag = match tag {
            Tag::Full => 'F',
            Tag::Partial => 'P',
        };
        let mut entry = format!("{time:.9} {stream} {tag} ").into_bytes();
        entry.extend_from_slice(line);
        entry.push(b'\n');
        if let Some(file) = self.file.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let _ = file.write_all(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LogOutput, Output};
    use super::*;
    use crate::clock::Clock;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn output(log: ContainerLog) -> LogOutput {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        LogOutput::new(Some(Arc::new(log)), Clock::starting_at(wall))
    }

    #[tokio::test(start_paused = true)]
    async fn lines_carry_time_stream_and_tag() {
        let directory = tempfile::tempdir().unwrap();
        let pod = directory.path().join("pod");
        let log = ContainerLog::open(&pod, Path::new("app/0.log")).unwrap();
        let mut output = output(log);
        output.write(Stream::Stdout, b"one\ntw");
        output.write(Stream::Stderr, b"oops\n");
        output.write(Stream::Stdout, b"o");
        drop(output);
        let text = fs::read_to_string(pod.join("app/0.log")).unwrap();
        let time = "2023-11-14T22:13:20.000000000Z";
        assert_eq!(text, format!("{time} stdout F one\n{time} stderr F oops\n{time} stdout F two\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_line_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let log = ContainerLog::open(directory.path(), Path::new("0.log")).unwrap();
        let mut output = output(log);
        output.write(Stream::Stdout, "x".repeat(20_000).as_bytes());
        output.write(Stream::Stdout, b"\n");
        drop(output);
        let text = fs::read_to_string(directory.path().join("0.log")).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].contains(" stdout P ") && lines[1].contains(" stdout F "));
    }

    #[test]
    fn nothing_is_made_outside_the_pods_directory() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("no/such/parent");
        assert!(ContainerLog::open(&missing, Path::new("0.log")).is_none());
        assert!(ContainerLog::open(directory.path(), Path::new("../0.log")).is_none());
        assert!(ContainerLog::open(directory.path(), Path::new("/0.log")).is_none());
        assert!(ContainerLog::open(Path::new("relative"), Path::new("0.log")).is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
