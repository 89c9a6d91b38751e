//! What can't be as it was recorded: what a preflight lists, and a report carries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What stands between a recording and a faithful replay of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LimitationKind {
    /// Others use the runtime.
    InUse,
    /// An image that is not on the runtime, and that the recording does not pull.
    ImageMissing,
    /// An image that is on the runtime already, and was absent at first when recorded.
    ImagePresent,
    /// A runtime handler that the runtime does not have.
    RuntimeHandler,
    /// Another cgroup driver.
    CgroupDriver,
    /// A port of the host that can't be had.
    HostPort,
    /// A device that the host does not have.
    Device,
    /// A path of the host for which nothing can stand in.
    HostPath,
    /// A pod or container that is older than the tape.
    OlderThanTape,
    /// The beginning of an id that fits several objects.
    AmbiguousId,
    /// What is sealed, and whose key is not there.
    Sealed,
    /// What the tape lacks.
    NotRecorded,
    /// A call that changes the node.
    NodeChange,
    /// A generation of CRI that the runtime does not speak.
    Generation,
    /// A method that no generation of CRI has.
    UnknownMethod,
    /// A registry from which images are pulled.
    Registry,
}

/// What becomes of the calls that depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The replay does not begin.
    Refused,
    /// They are not sent, or a difference that follows from it does not count.
    Inconclusive,
    /// They are left out.
    Skipped,
    /// They are sent and judged as all others.
    Sent,
}

/// One thing that can't be as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limitation {
    /// What it is.
    pub kind: LimitationKind,
    /// What becomes of the calls that depend on it.
    pub effect: Effect,
    /// One sentence.
    pub summary: String,
    /// How many calls depend on it, as far as the tape tells.
    pub calls: u64,
    /// The first of them.
    #[serde(default)]
    pub first_call: Option<u64>,
}

impl fmt::Display for LimitationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InUse => "in-use",
            Self::ImageMissing => "image-missing",
            Self::ImagePresent => "image-present",
            Self::RuntimeHandler => "runtime-handler",
            Self::CgroupDriver => "cgroup-driver",
            Self::HostPort => "host-port",
            Self::Device => "device",
            Self::HostPath => "host-path",
            Self::OlderThanTape => "older-than-tape",
            Self::AmbiguousId => "ambiguous-id",
            Self::Sealed => "sealed",
            Self::NotRecorded => "not-recorded",
            Self::NodeChange => "node-change",
            Self::Generation => "generation",
            Self::UnknownMethod => "unknown-method",
            Self::Registry => "registry",
        })
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "refused",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
            Self::Sent => "sent",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_words_are_those_of_its_json() {
        use LimitationKind as Kind;
        let kinds = [
            Kind::InUse,
            Kind::ImageMissing,
            Kind::ImagePresent,
            Kind::RuntimeHandler,
            Kind::CgroupDriver,
            Kind::HostPort,
            Kind::Device,
            Kind::HostPath,
            Kind::OlderThanTape,
            Kind::AmbiguousId,
            Kind::Sealed,
            Kind::NotRecorded,
            Kind::NodeChange,
            Kind::Generation,
            Kind::UnknownMethod,
            Kind::Registry,
        ];
        for kind in kinds {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        for effect in [Effect::Refused, Effect::Inconclusive, Effect::Skipped, Effect::Sent] {
            assert_eq!(serde_json::to_value(effect).unwrap(), effect.to_string());
        }
    }
}
