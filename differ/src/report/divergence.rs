//! One difference that no rule explains, and what makes two of them the same.

use std::fmt;

use critape_calls::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::Path;

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// How the call ended.
    Outcome,
    /// Something is there on one side only.
    Presence,
    /// A value.
    Value,
    /// The order of a list.
    Order,
    /// How long it took.
    Latency,
    /// One side serves what the other does not.
    Capability,
    /// A rule that needs no recording.
    Oracle,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outcome => "outcome",
            Self::Presence => "presence",
            Self::Value => "value",
            Self::Order => "order",
            Self::Latency => "latency",
            Self::Capability => "capability",
            Self::Oracle => "oracle",
        })
    }
}

/// What a kubelet would do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It would fail, retry, or take the pod for something it isn't.
    Breaking,
    /// It would go another way, or show something else.
    Behaviour,
    /// It would not notice.
    Cosmetic,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Breaking => "breaking",
            Self::Behaviour => "behaviour",
            Self::Cosmetic => "cosmetic",
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// Where it is.
    pub path: Path,
    /// What differs.
    pub kind: Kind,
    /// From what to what, for codes, enums and presence.
    pub transition: Option<String>,
    /// The recorded value.
    pub recorded: Value,
    /// The live value, as the runtime gave it.
    pub live: Value,
    /// The rule that it broke.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it may go away by waiting.
    pub settles: bool,
    /// What it is about, where the answer tells of many things.
    pub about: Option<Subject>,
}

/// One thing of many that an answer, or a stream, tells of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// As the recording calls it.
    pub id: String,
    /// As the live side calls it.
    pub live_id: String,
    /// The container whose events told of it, recorded and live; nothing where they are its own.
    pub event_of: Option<[String; 2]>,
    /// When the recording told of it, where that was at another moment than the beginning of the call.
    pub at: Option<Stamp>,
}

/// What makes divergences one finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    /// Request path of the call.
    pub method: String,
    /// Where it is.
    pub path: String,
    /// What differs.
    pub kind: Kind,
    /// From what to what.
    pub transition: Option<String>,
}

impl Signature {
    /// The signature of a divergence in the answer of this method.
    pub fn of(method: &str, divergence: &Divergence) -> Self {
        Self {
            method: method.to_owned(),
            path: divergence.path.to_string(),
            kind: divergence.kind,
            transition: divergence.transition.clone(),
        }
    }

    /// A name for it that is the same from run to run.
    pub fn id(&self) -> String {
        let transition = self.transition.as_deref().unwrap_or_default();
        let text = format!("{}\n{}\n{}\n{transition}", self.method, self.path, self.kind);
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().take(5).fold(String::new(), |id, byte| id + &format!("{byte:02x}"))
    }
}
