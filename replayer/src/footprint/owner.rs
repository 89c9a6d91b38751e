//! Who made a sandbox: a run, and the process that it is, so that one that has crashed can be told from one that goes on.

use std::fmt;
use std::fs;
use std::io::ErrorKind;

use rustix::process::{Pid, test_kill_process};

use crate::sending::uids;

/// Letters of a boot id that tell boots apart well enough.
const BOOT_LETTERS: usize = 8;
/// Stands for what the system did not tell.
const UNTOLD: &str = "untold";

/// A run and its process, as the value of a sandbox's label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    run: String,
    pid: u32,
    /// When the process began, in ticks since the boot: numbers of processes are used again.
    began: u64,
    boot: String,
    /// The number of its process namespace: in another one its number means another process, or none.
    space: String,
}

/// Whether a process is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Going,
    Ended,
    /// It can't be told from here.
    Unknown,
}

impl Owner {
    /// This process, with a name of its own for this run.
    pub(crate) fn this_run() -> Result<Self, getrandom::Error> {
        let pid = std::process::id();
        Ok(Self {
            run: uids::run_name()?,
            pid,
            began: began(pid).unwrap_or_default(),
            boot: boot(),
            space: space(),
        })
    }

    /// Reads a label's value; nothing where it is none of ours.
    pub(crate) fn parse(label: &str) -> Option<Self> {
        let parts: Vec<&str> = label.split('.').collect();
        let [run, pid, began, boot, space] = parts.as_slice() else { return None };
        Some(Self {
            run: (*run).to_owned(),
            pid: pid.parse().ok()?,
            began: began.parse().ok()?,
            boot: (*boot).to_owned(),
            space: (*space).to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether its process goes on.
    pub(crate) fn life(&self) -> Life {
        let here = boot();
        if [self.boot.as_str(), &here].contains(&UNTOLD) {
            return Life::Unknown;
        }
        if self.boot != here {
            return Life::Ended;
        }
        if self.space != space() || self.space == UNTOLD {
            return Life::Unknown;
        }
        match began(self.pid) {
            Some(began) if began == self.began => Life::Going,
            Some(_) => Life::Ended,
            // Where processes of others are hidden, it may be there all the same.
            None => match i32::try_from(self.pid).ok().and_then(Pid::from_raw).map(test_kill_process) {
                Some(Err(rustix::io::Errno::SRCH)) | None => Life::Ended,
                Some(_) => Life::Unknown,
            },
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, pid, began, boot, space } = self;
        write!(f, "{run}.{pid}.{began}.{boot}.{space}")
    }
}

/// When a process began, in ticks since the boot; nothing where it is not there.
fn began(pid: u32) -> Option<u64> {
    let stat = match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                tracing::debug!(pid, %error, "asking about a process");
            }
            return None;
        }
    };
    // The name of the program stands in brackets, and may have any in it.
    let (_, after) = stat.rsplit_once(')')?;
    // proc_pid_stat(5): field 22, and the first after the name is 3.
    after.split_whitespace().nth(19)?.parse().ok()
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.get(..BOOT_LETTERS).unwrap_or(UNTOLD).to_owned()
}

fn space() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let digits: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() { UNTOLD.to_owned() } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_back_from_its_label() {
        let owner = Owner::this_run().unwrap();
        let label = owner.to_string();
        assert!(label.len() <= 63, "{label} is too long for a label's value");
        assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.'));
        assert_eq!(Owner::parse(&label), Some(owner));
        for other in ["", "0123456789abcdef", "a.b.c.d.e", "a.1.2.b.c.d"] {
            assert_eq!(Owner::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_goes_on_is_told_from_what_has_ended() {
        let this = Owner::this_run().unwrap();
        assert_eq!(this.life(), Life::Going);
        assert_eq!(Owner { began: this.began + 1, ..this.clone() }.life(), Life::Ended);
        assert_eq!(Owner { boot: "00000000".to_owned(), ..this.clone() }.life(), Life::Ended);
        assert_eq!(Owner { space: "1".to_owned(), ..this.clone() }.life(), Life::Unknown);
        assert_eq!(Owner { boot: UNTOLD.to_owned(), ..this.clone() }.life(), Life::Unknown);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = Owner { pid: child.id(), ..this };
        child.wait().unwrap();
        assert_eq!(gone.life(), Life::Ended);
    }
}
