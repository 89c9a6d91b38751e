//! The store's known traps: a disk that is nearly full when it is opened, and an end after a failed write.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use critape_calls::{Event, Stamp};
use critape_tape::{Tape, Writer};

use super::conversation;

/// Nothing here takes this long unless it hangs.
const LONG: Duration = Duration::from_secs(60);

/// A small file system in memory, gone with this value.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=16m", "critape-test"];
        let mounted = Command::new("mount").args(mount).arg(folder.path()).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self { folder });
        }
        let line = "skipped: no file system can be mounted here; run as root";
        assert!(std::env::var_os("CRITAPE_E2E").as_deref() != Some(OsStr::new("required")), "{line}");
        eprintln!("{line}");
        None
    }

    fn tape(&self) -> PathBuf {
        self.folder.path().join("tape")
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Takes all but so many bytes.
    fn leave(&self, bytes: u64) {
        let disk = rustix::fs::statvfs(self.folder.path()).unwrap();
        let taken = disk.f_bavail * disk.f_frsize - bytes;
        fs::write(self.ballast(), vec![1; usize::try_from(taken).unwrap()]).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.folder.path()).status();
    }
}

fn write(writer: &mut Writer, events: &[Event]) {
    events.iter().for_each(|event| writer.append(event).unwrap());
    writer.commit().unwrap();
}

fn read(tape: &Path) -> Vec<Event> {
    Tape::open(tape).unwrap().events().map(Result::unwrap).collect()
}

#[test]
fn opening_on_a_nearly_full_disk_spoils_nothing() {
    let Some(disk) = Disk::mount() else { return };
    let mut writer = Writer::open(&disk.tape(), Stamp(0), "test").unwrap();
    let events = conversation(&writer, 10, 50, 2000);
    write(&mut writer, &events);
    // Not closed in order, so that opening it writes.
    let killed = disk.folder.path().join("killed");
    copy(&disk.tape(), &killed);
    writer.close(Stamp(10_000)).unwrap();
    for left in [0, 4096, 20_000, 100_000, 300_000, 1_000_000] {
        disk.leave(left);
        assert!(Writer::open(&disk.tape(), Stamp(0), "test").unwrap_err().is_full());
        assert!(Writer::open(&killed, Stamp(0), "test").unwrap_err().is_full());
        for tape in [&disk.tape(), &killed] {
            // What can be read now is as it may be; nothing may be lost by trying.
            let _ = Tape::open(tape).map(|tape| tape.events().filter_map(Result::ok).count());
        }
        disk.free();
        assert_eq!(read(&disk.tape()), events, "with {left} bytes left");
        assert_eq!(read(&killed), events, "killed, with {left} bytes left");
    }
    Writer::open(&killed, Stamp(0), "test").unwrap().close(Stamp(1)).unwrap();
}

#[test]
fn a_store_that_failed_can_be_ended_and_read() {
    let Some(disk) = Disk::mount() else { return };
    let mut writer = Writer::open(&disk.tape(), Stamp(0), "test").unwrap();
    let first = conversation(&writer, 10, 50, 2000);
    write(&mut writer, &first);
    let tape = disk.tape();
    // On a thread of its own: should it hang, the test still ends.
    let (ended, has_ended) = mpsc::channel();
    disk.leave(0);
    thread::spawn(move || {
        let failed = writer.commit().is_err();
        let more = conversation(&writer, 1000, 3000, 2000);
        more.iter().filter(|event| writer.append(event).is_err()).count();
        let suspended = writer.suspend(Stamp(100_000));
        drop(writer);
        ended.send((failed, suspended)).unwrap();
    });
    let (failed, suspended) = has_ended.recv_timeout(LONG).expect("it ends");
    assert!(failed && !suspended);
    disk.free();
    // Though its memory is never given back, its lock is.
    let events = read(&tape);
    assert_eq!(events[..first.len()], first);
    let verified = Tape::open(&tape).unwrap().verify().unwrap();
    assert_eq!((verified.damage, verified.unclean), (vec![], vec![1]));
    Writer::open(&tape, Stamp(0), "test").unwrap().close(Stamp(1)).unwrap();
}

/// The recorder was killed between the folder of a segment and its header.
#[test]
fn a_segment_that_had_not_begun_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let tape = folder.path().join("tape");
    let mut writer = Writer::open(&tape, Stamp(0), "test").unwrap();
    let events = conversation(&writer, 10, 3, 100);
    write(&mut writer, &events);
    writer.close(Stamp(1000)).unwrap();
    fs::write(tape.join("begins"), "2\n").unwrap();
    fs::create_dir(tape.join("segments/00000002")).unwrap();
    fs::write(tape.join("segments/00000002/db"), vec![0; 100]).unwrap();
    assert_eq!(read(&tape), events);
    assert_eq!(Tape::open(&tape).unwrap().verify().unwrap().damage, []);
    Writer::open(&tape, Stamp(0), "test").unwrap().close(Stamp(1)).unwrap();
    let info = Tape::open(&tape).unwrap().info().unwrap();
    assert_eq!(info.segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), [1, 2]);
}

/// Whatever is missing of a tape that was not closed, it is damage, and another segment can be written.
#[test]
fn a_store_cut_off_anywhere_is_damaged_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let (tape, cut) = (folder.path().join("tape"), folder.path().join("cut"));
    let mut writer = Writer::open(&tape, Stamp(0), "test").unwrap();
    for round in 0..4 {
        let events = conversation(&writer, 10 + round * 10_000, 300, 3000);
        write(&mut writer, &events);
    }
    let length = fs::metadata(tape.join("segments/00000001/db")).unwrap().len();
    for step in 0..8 {
        let _ = fs::remove_dir_all(&cut);
        copy(&tape, &cut);
        let store = fs::File::options().write(true).open(cut.join("segments/00000001/db")).unwrap();
        store.set_len(length * step / 8 + step * 1000).unwrap();
        let verified = Tape::open(&cut).unwrap().verify().unwrap();
        assert!(verified.damage.len() == 1 || step == 7, "cut off after {step} eighths: {verified:?}");
        Writer::open(&cut, Stamp(0), "test").unwrap().close(Stamp(1)).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else if entry.path().is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
