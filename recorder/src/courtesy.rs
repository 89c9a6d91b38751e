//! The writer steps back: relay, kubelet and runtime have the processors first, as long as it keeps up.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use critape_calls::Stamp;
use rustix::process::{Pid, getpriority_process, setpriority_process};
use rustix::thread::{CapabilitySet, capabilities, gettid};

/// The nice value of one that steps back: whoever else is ready to run goes first.
const BACK: i32 = 19;
/// It hurries when it has been at the same events for so long: they are to be on the disk within a second.
const LONG: Duration = Duration::from_millis(200);
const AT_REST: u64 = u64::MAX;

/// How much the writer's thread puts up with. While it rests it wakes as promptly as any other.
#[derive(Debug)]
pub(crate) struct Courtesy {
    writer: OnceLock<Writer>,
    is_back: AtomicBool,
    /// When it began what it is at.
    since: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Writer {
    thread: Pid,
    /// Its usual nice value; none where it could not be taken again.
    usual: Option<i32>,
}

impl Default for Courtesy {
    fn default() -> Self {
        let (is_back, since) = (AtomicBool::new(false), AtomicU64::new(AT_REST));
        Self { writer: OnceLock::new(), is_back, since }
    }
}

impl Courtesy {
    /// The writer, on its own thread, begins to write; `is_behind` says whether it has to hurry from the beginning.
    pub(crate) fn begin(&self, now: Stamp, is_behind: bool) {
        self.writer.get_or_init(|| {
            // Who steps back without this right can never hurry again.
            let may = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_NICE));
            Writer { thread: gettid(), usual: getpriority_process(None).ok().filter(|_| may) }
        });
        self.since.store(now.0, Ordering::Relaxed);
        self.step_back(!is_behind);
    }

    /// It has to hurry from here.
    pub(crate) fn hurry(&self) {
        self.step_back(false);
    }

    /// It has finished.
    pub(crate) fn end(&self) {
        self.since.store(AT_REST, Ordering::Relaxed);
        self.step_back(false);
    }

    /// Looks at it from another thread: one that never gets a processor can't tell by itself.
    pub(crate) fn look(&self, now: Stamp) {
        let since = Stamp(self.since.load(Ordering::Relaxed));
        if now.since(since) >= LONG {
            self.step_back(false);
        }
    }

    fn step_back(&self, back: bool) {
        let Some(Writer { thread, usual: Some(usual) }) = self.writer.get() else { return };
        if self.is_back.swap(back, Ordering::Relaxed) != back {
            // Where it can't be, it writes as fast as it may all the same.
            let _ = setpriority_process(Some(*thread), if back { BACK } else { *usual });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_steps_back_until_much_waits_or_it_takes_long() {
        std::thread::spawn(|| {
            let (courtesy, now) = (Courtesy::default(), Stamp(7));
            let usual = getpriority_process(None).unwrap();
            let is_back = || getpriority_process(None).unwrap() == BACK && usual != BACK;
            courtesy.look(now);
            courtesy.begin(now, false);
            if courtesy.writer.get().unwrap().usual.is_none() {
                return;
            }
            assert!(is_back());
            courtesy.hurry();
            assert!(!is_back(), "much waits");
            courtesy.end();
            courtesy.begin(now, false);
            courtesy.look(now.plus(LONG / 2));
            assert!(is_back());
            courtesy.look(now.plus(LONG));
            assert!(!is_back(), "it takes long");
            courtesy.end();
            courtesy.begin(now, true);
            assert!(!is_back());
        })
        .join()
        .unwrap();
    }
}
