//! Signals, as far as a container's first process gets them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cri::v1;
use tokio::sync::mpsc;

/// Ends any process.
pub(crate) const KILL: i32 = 9;
const TERM: i32 = 15;

const NAMES: [(&str, i32); 9] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ABRT", 6),
    ("KILL", KILL),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", TERM),
    ("WINCH", 28),
];

/// In which pid namespace a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Namespace {
    /// In one of its own, as process 1: the kernel keeps from it what it doesn't handle.
    Own,
    /// In one with others, as that of the pod.
    Shared,
}

/// What a signal does to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The process will see it and do what it likes.
    Handled,
    /// Nothing.
    Ignored,
    /// It ends at once.
    Deadly,
}

/// What a process does with signals.
#[derive(Debug, Default)]
struct Dispositions {
    handled: BTreeSet<i32>,
    ignored: BTreeSet<i32>,
    handles_all: bool,
}

/// Where a process finds the signals that it handles.
#[derive(Debug)]
pub(crate) struct Inbox {
    received: Option<mpsc::Receiver<i32>>,
    dispositions: Arc<Mutex<Dispositions>>,
}

/// Where they are sent from.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::Sender<i32>,
    dispositions: Arc<Mutex<Dispositions>>,
    namespace: Namespace,
}

pub(super) fn channel(namespace: Namespace) -> (Outbox, Inbox) {
    // Standard signals don't queue either: what finds no place is lost.
    let (sender, receiver) = mpsc::channel(8);
    let dispositions = Arc::new(Mutex::new(Dispositions::default()));
    let outbox = Outbox { sender, dispositions: Arc::clone(&dispositions), namespace };
    (outbox, Inbox { received: Some(receiver), dispositions })
}

fn lock(dispositions: &Mutex<Dispositions>) -> MutexGuard<'_, Dispositions> {
    dispositions.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outbox {
    /// Sends a signal other than `KILL`.
    pub(super) fn send(&self, number: i32) -> Fate {
        let dispositions = lock(&self.dispositions);
        if dispositions.handles_all || dispositions.handled.contains(&number) {
            let _ = self.sender.try_send(number);
            Fate::Handled
        } else if dispositions.ignored.contains(&number) || self.namespace == Namespace::Own {
            Fate::Ignored
        } else {
            Fate::Deadly
        }
    }
}

impl Inbox {
    /// Of a process that nobody signals.
    pub(crate) fn closed() -> Self {
        Self { received: None, dispositions: Arc::default() }
    }

    /// From now on every signal is handled.
    pub(super) fn handle_all(&self) {
        lock(&self.dispositions).handles_all = true;
    }

    /// From now on this signal is handled.
    pub(super) fn handle(&self, number: i32) {
        let mut dispositions = lock(&self.dispositions);
        dispositions.ignored.remove(&number);
        dispositions.handled.insert(number);
    }

    /// From now on this signal is ignored.
    pub(super) fn ignore(&self, number: i32) {
        let mut dispositions = lock(&self.dispositions);
        dispositions.handled.remove(&number);
        dispositions.ignored.insert(number);
    }

    /// From now on this signal does what it does by default.
    pub(super) fn reset(&self, number: i32) {
        let mut dispositions = lock(&self.dispositions);
        dispositions.handled.remove(&number);
        dispositions.ignored.remove(&number);
    }

    /// A new program in the same process: handlers are gone, what was ignored stays so.
    pub(super) fn forget_handlers(&self) {
        lock(&self.dispositions).handled.clear();
    }

    /// The next signal; never comes where nobody signals.
    pub(super) async fn next(&mut self) -> i32 {
        let next = match &mut self.received {
            Some(received) => received.recv().await,
            None => None,
        };
        match next {
            Some(number) => number,
            None => std::future::pending().await,
        }
    }

    /// A signal that has arrived.
    pub(super) fn pending(&mut self) -> Option<i32> {
        self.received.as_mut()?.try_recv().ok()
    }
}

/// The number of a signal that a script calls `TERM`, `SIGTERM` or `15`.
pub(super) fn number(name: &str) -> Option<i32> {
    let name = name.strip_prefix("SIG").unwrap_or(name);
    NAMES
        .iter()
        .find(|(known, number)| *known == name || name.parse() == Ok(*number))
        .map(|(_, number)| *number)
}

/// The number of the signal that stops a container with this configuration.
pub(crate) fn stop_signal_number(signal: v1::Signal) -> i32 {
    number(signal.as_str_name().trim_start_matches("SIGNAL_")).unwrap_or(TERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_linux_numbers() {
        assert_eq!(number("SIGTERM"), Some(15));
        assert_eq!(number("INT"), Some(2));
        assert_eq!(number("9"), Some(9));
        assert_eq!(number("NONE"), None);
        assert_eq!(stop_signal_number(v1::Signal::RuntimeDefault), 15);
        assert_eq!(stop_signal_number(v1::Signal::Sigint), 2);
        assert_eq!(stop_signal_number(v1::Signal::Sigkill), 9);
    }

    #[test]
    fn only_a_first_process_is_shielded_from_what_it_does_not_handle() {
        for (namespace, by_default) in [(Namespace::Own, Fate::Ignored), (Namespace::Shared, Fate::Deadly)] {
            let (outbox, mut inbox) = channel(namespace);
            assert_eq!(outbox.send(TERM), by_default);
            inbox.handle(TERM);
            assert_eq!(outbox.send(TERM), Fate::Handled);
            assert_eq!(inbox.pending(), Some(TERM));
            inbox.forget_handlers();
            assert_eq!(outbox.send(TERM), by_default);
            inbox.ignore(TERM);
            inbox.forget_handlers();
            assert_eq!(outbox.send(TERM), Fate::Ignored);
            inbox.reset(TERM);
            assert_eq!(outbox.send(TERM), by_default);
            assert_eq!(inbox.pending(), None);
        }
    }
}
