//! What a service manager and an operator's signals find: readiness, a passed socket, a watchdog, SIGHUP, a second SIGTERM.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;

use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::{PATIENCE, Process, until};

/// What a service manager is told.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn new(folder: &Folder) -> Self {
        let socket = UnixDatagram::bind(folder.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    /// Takes what it is told until it is told this.
    #[track_caller]
    fn until_told(&self, wanted: &str) {
        loop {
            let mut told = [0; 512];
            let count = self.socket.recv(&mut told).unwrap_or_else(|error| panic!("{error}: {wanted}"));
            if String::from_utf8_lossy(&told[..count]).lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

const RECORD: &str = "record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock";

#[test]
fn a_service_manager_is_told() {
    let folder = Folder::new();
    let manager = Manager::new(&folder);
    let _simulator = folder.simulator("r.sock", "");
    let mut command = folder.command(RECORD);
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "2000000");
    let recorder = Process::start(&mut command);
    manager.until_told("READY=1");
    Kubelet::connect(&folder.path("l.sock")).version();
    manager.until_told("WATCHDOG=1");
    manager.until_told("WATCHDOG=1");
    recorder.signal(Signal::HUP);
    manager.until_told("RELOADING=1");
    manager.until_told("READY=1");
    recorder.signal(Signal::TERM);
    manager.until_told("STOPPING=1");
    recorder.ended().done();
}

/// The event loop stands still, which nothing inside of it can notice.
#[cfg(debug_assertions)]
#[test]
fn a_recorder_that_hangs_ends_by_itself() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let mut command = folder.command("record node.tape -r unix://DIR/r.sock --take-over");
    command.env("WATCHDOG_USEC", "1000000").env("CRITAPE_TEST_HANG", folder.path("hang"));
    let recorder = Process::start(&mut command);
    recorder.until_stderr("listening on ");
    Kubelet::connect(&folder.path("r.sock")).version();
    folder.write("hang", "");
    let ended = recorder.ended();
    assert_eq!(ended.code, Some(70), "{}", ended.stderr);
    assert!(ended.stderr.contains("the relay hangs"), "{}", ended.stderr);
    // Its path is the runtime's again, and its tape is as after a kill.
    Kubelet::connect(&folder.path("r.sock")).version();
    assert!(!folder.path("r.sock.critape-runtime").exists());
    assert_eq!(folder.json("tape info node.tape -o json")["clean"], false);
    folder.run("tape verify node.tape").done();
}

/// A slow disk is not a hanging relay: the loop goes round.
#[test]
fn a_recorder_that_only_waits_is_left_alone() {
    let folder = Folder::new();
    let manager = Manager::new(&folder);
    let mut command = folder.command(RECORD);
    command.env("NOTIFY_SOCKET", folder.path("notify")).env("WATCHDOG_USEC", "2000000");
    let recorder = Process::start(&mut command);
    manager.until_told("READY=1");
    for _ in 0..10 {
        manager.until_told("WATCHDOG=1");
    }
    recorder.interrupted().done();
}

/// Runs the program with this socket as the one that was passed.
pub(super) fn with_passed(folder: &Folder, socket: UnixListener, line: &str) -> Process {
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 </dev/null";
    let mut command = folder.command_by("sh", &["-c", script, "sh"], line);
    Process::start_with_stdin(&mut command, Stdio::from(std::os::fd::OwnedFd::from(socket)))
}

#[test]
fn a_socket_that_was_passed_is_used_and_left() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let socket = UnixListener::bind(folder.path("s.sock")).unwrap();
    fs::set_permissions(folder.path("s.sock"), fs::Permissions::from_mode(0o600)).unwrap();
    let kept = socket.try_clone().unwrap();
    // One that connects first is served.
    let mut early = UnixStream::connect(folder.path("s.sock")).unwrap();
    let recorder = with_passed(&folder, socket, "record node.tape -r unix://DIR/r.sock");
    let said = recorder.until_stderr("listening on ");
    assert!(folder.redacted(&said).contains("listening on unix://DIR/s.sock\n"), "{said}");
    std::io::Write::write_all(&mut early, b"PRI").unwrap();
    Kubelet::connect(&folder.path("s.sock")).version();
    recorder.interrupted().done();
    assert!(folder.path("s.sock").exists(), "it is the service manager's");
    let info = folder.json("tape info node.tape -o json");
    assert_eq!((&info["calls"], &info["connections"]), (&1.into(), &2.into()));

    // Clients that come in between wait for the next.
    let waiting = folder.path("s.sock");
    let client = thread::spawn(move || Kubelet::connect(&waiting).version());
    let recorder = with_passed(&folder, kept, "record node.tape -r unix://DIR/r.sock");
    client.join().unwrap();
    recorder.interrupted().done();
}

#[test]
fn a_passed_socket_that_is_wider_than_the_runtimes_is_warned_of() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let socket = UnixListener::bind(folder.path("s.sock")).unwrap();
    fs::set_permissions(folder.path("s.sock"), fs::Permissions::from_mode(0o666)).unwrap();
    let recorder = with_passed(&folder, socket, "record node.tape -r unix://DIR/r.sock");
    recorder.until_stderr("lets others in than the runtime's");
    recorder.until_stderr("listening on ");
    recorder.interrupted().done();
}

#[test]
fn a_passed_socket_and_another_are_one_too_many() {
    let folder = Folder::new();
    let socket = UnixListener::bind(folder.path("s.sock")).unwrap();
    let ended = with_passed(&folder, socket, RECORD).ended();
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.stderr, "error: the service manager passed a socket: leave --listen out\n");
}

#[test]
fn hanging_up_begins_a_segment_and_loses_nothing() {
    const ROUNDS: usize = 3;
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--passive -o json");
    let kubelet = Kubelet::connect(&folder.path("l.sock"));
    let mut made = 0;
    let mut call = || {
        kubelet.version();
        made += 1;
    };
    for round in 1..=ROUNDS {
        (0..50).for_each(|_| call());
        recorder.signal(Signal::HUP);
        let next = folder.path(&format!("node.tape/segments/{:08}", round + 1));
        until("the next segment begins", || {
            call();
            next.exists().then_some(())
        });
    }
    (0..50).for_each(|_| call());
    let info: Value = serde_json::from_str(&recorder.interrupted().done()).unwrap();
    assert_eq!((&info["segments"], &info["calls"]), (&(ROUNDS + 1).into(), &made.into()));
    assert_eq!((&info["clean"], &info["connections"]), (&true.into(), &1.into()));
    folder.run("tape verify node.tape").done();
    // What waited to be written when a segment began keeps its time.
    let shown = folder.run("tape show node.tape -o json").done();
    let times = |line: &str| -> (jiff::Timestamp, i64) {
        let call: Value = serde_json::from_str(line).unwrap();
        (call["started"].as_str().unwrap().parse().unwrap(), call["duration"].as_i64().unwrap())
    };
    let mut ended = jiff::Timestamp::MIN;
    for (started, lasted) in shown.lines().map(times) {
        assert!(started > ended && lasted > 0, "{started} {lasted} after {ended}");
        ended = started + jiff::SignedDuration::from_nanos(lasted);
    }
}

/// A recorder that is held up by what it waits for at its end: its runtime accepts, and never answers what it is asked.
fn held_up(folder: &Folder) -> (Process, [Box<dyn std::any::Any>; 2]) {
    let runtime = UnixListener::bind(folder.path("r.sock")).unwrap();
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    let mut client = UnixStream::connect(folder.path("l.sock")).unwrap();
    std::io::Write::write_all(&mut client, b"PRI").unwrap();
    (recorder, [Box::new(runtime), Box::new(client)])
}

/// Whoever is impatient says so twice.
#[test]
fn a_second_signal_ends_at_once() {
    let folder = Folder::new();
    let (recorder, _ends) = held_up(&folder);
    recorder.signal(Signal::TERM);
    // However far it has come: the first ends in order, the second may come too late.
    until("the recorder's end", || {
        recorder.signal(Signal::INT);
        let stat = fs::read_to_string(format!("/proc/{}/stat", recorder.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('Z').then_some(())
    });
    let ended = recorder.ended();
    match ended.code {
        Some(130) => assert!(ended.stderr.contains("ended at once"), "{}", ended.stderr),
        code => assert_eq!(code, Some(0), "{}", ended.stderr),
    }
    folder.json("tape info node.tape -o json");
}

/// As `timeout` sends them, to a process and to its group.
#[test]
fn signals_that_come_together_are_one() {
    let folder = Folder::new();
    let (recorder, _ends) = held_up(&folder);
    [Signal::TERM, Signal::TERM, Signal::INT].into_iter().for_each(|signal| recorder.signal(signal));
    let ended = recorder.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn the_socket_gets_the_runtimes_door_when_the_runtime_comes() {
    let folder = Folder::new();
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().permissions().mode() & 0o777;
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "");
    assert_eq!(mode("l.sock"), 0o600);
    let _runtime = UnixListener::bind(folder.path("r.sock")).unwrap();
    for wanted in [0o660, 0o600] {
        fs::set_permissions(folder.path("r.sock"), fs::Permissions::from_mode(wanted)).unwrap();
        until("the socket has the runtime's mode", || (mode("l.sock") == wanted).then_some(()));
    }
    recorder.interrupted().done();
}

/// Where it can be had: systemd's own reader of units.
#[test]
fn the_units_are_understood() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../dist");
    let units = ["critape-record.service", "critape-record.socket"].map(|unit| format!("{root}/{unit}"));
    assert!(units.iter().all(|unit| fs::metadata(unit).is_ok()));
    let Ok(verified) = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output()
    else {
        eprintln!("SKIPPED: systemd-analyze is not here");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    // The program is not installed here.
    let wrong: Vec<_> = said
        .lines()
        .filter(|line| line.contains("critape") && !line.contains("is not executable: No such file"))
        .collect();
    assert_eq!(wrong, [""; 0], "{said}");
}
