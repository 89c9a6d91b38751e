//! Others that use the runtime.

use cri::v1;
use critape_differ::{Effect, Limitation, LimitationKind, OWNED_LABEL, SideInfo};

use super::owned_by;
use super::tally::Tally;
use crate::footprint::Life;

/// Ready sandboxes that somebody uses: those that are no replay's, and those of a replay that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Company {
    pub(crate) count: usize,
    /// The name of one.
    pub(crate) example: String,
}

impl Company {
    /// Those of a list, if there are any.
    pub(super) fn of(sandboxes: &[v1::PodSandbox]) -> Option<Self> {
        let foreign: Vec<_> = sandboxes
            .iter()
            .filter(|sandbox| sandbox.state() == v1::PodSandboxState::SandboxReady)
            .filter(|sandbox| !sandbox.labels.contains_key(OWNED_LABEL) || replay_of(sandbox).is_some())
            .collect();
        let first = foreign.first()?;
        let example = first
            .metadata
            .as_ref()
            .map_or_else(|| first.id.clone(), |metadata| format!("{}/{}", metadata.namespace, metadata.name));
        let example = match replay_of(first) {
            Some(process) => format!("{example} (of the replay in process {process})"),
            None => example,
        };
        Some(Self { count: foreign.len(), example })
    }

    /// That a replay does not begin beside them; `all` are its calls.
    pub(crate) fn limitation(&self, all: Tally) -> Limitation {
        let Self { count, example } = self;
        let summary = format!(
            "the runtime has {count} ready sandboxes that others use, such as {example}: \
             only with --share does a replay begin beside them"
        );
        all.limitation(LimitationKind::InUse, Effect::Refused, summary)
    }
}

/// The process of another replay that goes on, where the sandbox is of one.
fn replay_of(sandbox: &v1::PodSandbox) -> Option<u32> {
    let (owner, life) = owned_by(sandbox)?;
    (life == Life::Going && owner.pid() != std::process::id()).then(|| owner.pid())
}

/// Whether this runtime gives each event to one listener alone, so that another takes them from those who were there:
/// containerd#7318, cri-o#6466.
pub(super) fn events_go_to_one(runtime: &SideInfo) -> bool {
    let mut numbers = runtime.version.trim_start_matches('v').split('.').map(|part| part.parse::<u64>().ok());
    let version = (numbers.next().flatten(), numbers.next().flatten());
    let before = match runtime.runtime.as_str() {
        "containerd" => (2, 0),
        "cri-o" => (1, 27),
        _ => return false,
    };
    matches!(version, (Some(major), Some(minor)) if (major, minor) < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_releases_give_an_event_to_one_listener() {
        let of = |runtime: &str, version: &str| {
            let side = SideInfo { runtime: runtime.into(), version: version.into(), ..SideInfo::default() };
            events_go_to_one(&side)
        };
        assert!(of("containerd", "1.7.24~ds1") && of("containerd", "v1.7.2") && of("cri-o", "1.26.4"));
        assert!(!of("containerd", "2.1.9+unknown") && !of("containerd", "v2.0.0-rc.1"));
        assert!(
            !of("cri-o", "1.27.0") && !of("cri-o", "1.35.0") && !of("other", "0.1") && !of("containerd", "")
        );
    }
}
