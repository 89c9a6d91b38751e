//! `kill -9` at any moment: what was done a second before is on the tape.

use std::env;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use critape_tape::Tape;

use super::load::{Noise, request, verified, whole_calls};
use crate::folder::Folder;
use crate::kubelet::Kubelet;
use crate::process::until;

/// `CRITAPE_KILL_ROUNDS=100` for all that is promised, on a machine that has nothing else to do.
const ROUNDS: u64 = 3;
const CLIENTS: u64 = 4;
/// A tape is killed so often, then another is begun: all of it is looked at after each time.
const ROUNDS_PER_TAPE: u64 = 10;
/// What ended so long before is there.
const COMMITTED: Duration = Duration::from_secs(1);
/// The same, where a loaded machine may have kept the writer from running.
const COMMITTED_AT_LAST: Duration = Duration::from_secs(3);
/// A killed tape is opened in this time; asserted where the rounds are asked for, for a loaded machine takes what it takes.
const OPENED: Duration = Duration::from_secs(1);

/// A number from the environment.
fn from_env(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Calls that have ended, and when.
type Log = Mutex<Vec<(String, Instant)>>;

/// A call, and how long before the kill it had ended.
type Done = (String, Duration);

/// Calls until one fails.
fn load(kubelet: &Kubelet, name: &str, log: &Log, mut noise: Noise) {
    for number in 0.. {
        let name = format!("{name}-{number}");
        let length = if noise.next().is_multiple_of(200) { 300_000 } else { noise.next() % 4096 };
        let request = request(&name, &mut noise, length.try_into().unwrap());
        if kubelet.call("Version", &request).is_err() {
            return;
        }
        log.lock().unwrap().push((name, Instant::now()));
    }
}

/// Records under load, kills the recorder after so long, and gives the calls that had ended.
fn killed_after(folder: &Folder, tape: &str, round: u64, life: Duration, noise: &mut Noise) -> Vec<Done> {
    let recorder = folder.recorder(tape, "r.sock", "l.sock", "");
    let log = Log::default();
    let kubelets: Vec<_> = (0..CLIENTS).map(|_| Kubelet::connect(&folder.path("l.sock"))).collect();
    let killed = thread::scope(|scope| {
        for (client, kubelet) in kubelets.iter().enumerate() {
            let (log, noise) = (&log, Noise::new(noise.next()));
            scope.spawn(move || load(kubelet, &format!("{round}-{client}"), log, noise));
        }
        let since = Instant::now();
        until("its time has come", || (since.elapsed() >= life).then_some(()));
        let killed = Instant::now();
        recorder.killed();
        killed
    });
    let log = log.into_inner().unwrap().into_iter();
    log.map(|(name, ended)| (name, killed.saturating_duration_since(ended))).collect()
}

#[test]
fn what_ended_a_second_before_a_kill_is_on_the_tape() {
    let asked = from_env("CRITAPE_KILL_ROUNDS");
    let seed = from_env("CRITAPE_KILL_SEED")
        .unwrap_or_else(|| u64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos()));
    // Shown when it fails.
    println!("CRITAPE_KILL_SEED={seed}");
    let mut noise = Noise::new(seed);
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    let (mut promised, mut slowest) = (Vec::new(), Duration::ZERO);
    let (mut checked, mut lost) = (0, 0);
    // Segments of the tape without an end.
    let (mut cut, mut any_cut) = (0, false);
    let committed = if asked.is_some() { COMMITTED } else { COMMITTED_AT_LAST };
    for round in 0..asked.unwrap_or(ROUNDS) {
        let tape = format!("{}.tape", round / ROUNDS_PER_TAPE);
        if round % ROUNDS_PER_TAPE == 0 {
            promised.clear();
            cut = 0;
        }
        let life = committed + Duration::from_millis(noise.next() % 1500);
        let mut new = killed_after(&folder, &tape, round, life, &mut noise);
        new.retain(|(_, age)| *age >= committed);
        checked += new.len();
        promised.extend(new);

        let since = Instant::now();
        let info = Tape::open(&folder.path(&tape)).unwrap().info().unwrap();
        slowest = slowest.max(since.elapsed());
        assert!(info.summary.calls > 0, "round {round}");
        let unclean = verified(&folder, &tape)["unclean"].as_array().unwrap().len();
        // None, where it was killed when a full segment was closed and the next had not begun.
        assert!((cut..=cut + 1).contains(&unclean), "round {round}: {unclean} after {cut}");
        (cut, any_cut) = (unclean, any_cut || unclean > cut);
        let there = whole_calls(&folder.path(&tape));
        let missing: Vec<&Done> = promised.iter().filter(|(name, _)| !there.contains_key(name)).collect();
        println!(
            "round {round}: {} calls there, {} of {} missing: {missing:?}",
            there.len(),
            missing.len(),
            promised.len()
        );
        lost += missing.len();
    }
    println!(
        "{checked} calls had ended {committed:?} before, {lost} are missing; opened in {slowest:?} at most"
    );
    assert_eq!(lost, 0);
    assert!(any_cut, "no kill was seen");
    assert!(asked.is_none() || slowest < OPENED, "a killed tape took {slowest:?} to open");
}

/// Killed while the tape is made or a segment begun, there is nothing to lose, and nothing may look damaged.
#[test]
fn a_recorder_killed_as_it_starts_leaves_no_damage() {
    let folder = Folder::new();
    let _simulator = folder.simulator("r.sock", "");
    for step in 0..12 {
        let recorder =
            folder.start("record node.tape -r unix://DIR/r.sock --listen unix://DIR/l.sock --passive");
        let (since, life) = (Instant::now(), Duration::from_millis(step * 8));
        until("its time has come", || (since.elapsed() >= life).then_some(()));
        recorder.killed();
    }
    let recorder = folder.recorder("node.tape", "r.sock", "l.sock", "--passive");
    Kubelet::connect(&folder.path("l.sock")).version();
    recorder.interrupted().done();
    verified(&folder, "node.tape");
    assert_eq!(folder.json("tape info node.tape -o json")["calls"], 1);
}
