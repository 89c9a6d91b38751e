//! Notices a relay that hangs. One that does cuts its node off, and only ending it helps.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// How often the heart is looked at before it is held to have stopped. A process that was stopped as a whole, as by a debugger,
/// misses one look at most.
const LOOKS: u32 = 8;

/// Beats while the relay's loop goes round.
#[derive(Clone, Debug, Default)]
pub struct Heart(Arc<AtomicU64>);

impl Heart {
    pub(crate) fn beat(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn beats(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Watches a heart until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    _stop: mpsc::Sender<()>,
}

impl Watchdog {
    /// Calls `alive` again and again while the heart beats, and `hung` once when it has not for `limit`. Both run on a thread of
    /// their own. The limit must be some times longer than the time between two beats.
    ///
    /// # Errors
    /// Where the thread can't be started.
    pub fn start(
        heart: Heart,
        limit: Duration,
        mut alive: impl FnMut() + Send + 'static,
        hung: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let watch = move || {
            let (mut last, mut missed) = (heart.beats(), 0);
            while stopped.recv_timeout(limit / LOOKS) == Err(RecvTimeoutError::Timeout) {
                let beats = heart.beats();
                if beats == std::mem::replace(&mut last, beats) {
                    missed += 1;
                } else {
                    missed = 0;
                    alive();
                }
                if missed == LOOKS {
                    return hung();
                }
            }
        };
        thread::Builder::new().name("watchdog".to_owned()).spawn(watch)?;
        Ok(Self { _stop: stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    const LIMIT: Duration = Duration::from_millis(80);
    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_heart_that_stops_is_noticed_once_and_one_that_beats_is_not() {
        let heart = Heart::default();
        let (alive, lives) = mpsc::channel();
        let (hung, hangs) = mpsc::channel();
        let says = move || alive.send(()).unwrap();
        let _watchdog =
            Watchdog::start(heart.clone(), LIMIT, says, move || hung.send(Instant::now()).unwrap()).unwrap();
        let mut told = 0;
        while told < 20 {
            heart.beat();
            told += lives.try_iter().count();
            thread::yield_now();
            assert!(hangs.try_recv().is_err());
        }
        let stopped = Instant::now();
        let noticed = hangs.recv_timeout(LONG).unwrap();
        assert!(noticed.duration_since(stopped) >= LIMIT / 2);
        assert!(hangs.recv_timeout(LONG).is_err(), "its thread has ended");
    }

    #[test]
    fn a_watchdog_that_was_stopped_bites_nobody() {
        let (hung, hangs) = mpsc::channel::<()>();
        drop(Watchdog::start(Heart::default(), LIMIT, || {}, move || hung.send(()).unwrap()).unwrap());
        assert!(hangs.recv_timeout(LONG).is_err(), "nothing was sent, and the thread has ended");
    }
}
