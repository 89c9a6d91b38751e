//! Others that use the runtime.

use cri::v1;
use critape_differ::{Effect, Limitation, LimitationKind, OWNED_LABEL, SideInfo};

use super::tally::Tally;

/// Ready sandboxes that are no replay's.
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
            .filter(|sandbox| !sandbox.labels.contains_key(OWNED_LABEL))
            .collect();
        let first = foreign.first()?;
        let example = first
            .metadata
            .as_ref()
            .map_or_else(|| first.id.clone(), |metadata| format!("{}/{}", metadata.namespace, metadata.name));
        Some(Self { count: foreign.len(), example })
    }

    /// That a replay does not begin beside them; `all` are its calls.
    pub(crate) fn limitation(&self, all: Tally) -> Limitation {
        let Self { count, example } = self;
        let summary = format!(
            "the runtime has {count} ready sandboxes that are not a replay's, such as {example}: \
             only with --share does a replay begin beside them"
        );
        all.limitation(LimitationKind::InUse, Effect::Refused, summary)
    }
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
