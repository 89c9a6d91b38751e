//! The values in a message that name things.

use cri::{IdentityKind, IdentityPath};
use prost_reflect::DynamicMessage;

/// One value that names a thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it names.
    pub kind: IdentityKind,
    /// The value.
    pub value: String,
    /// Whether the call made the thing.
    pub produced: bool,
}

/// The identities at these paths of a message, in the order of the paths.
pub fn identities(message: &DynamicMessage, paths: &[IdentityPath]) -> Vec<Identity> {
    paths
        .iter()
        .flat_map(|path| {
            path.path.texts(message).into_iter().map(|value| Identity {
                kind: path.kind,
                value,
                produced: path.produces,
            })
        })
        .collect()
}
