//! Objects by id, or by a prefix that only one id has.

use std::collections::BTreeMap;
use std::ops::Bound;

use thiserror::Error;

/// Why an id names nothing. The texts are containerd's.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum LookupError {
    /// No id begins so.
    #[error("not found")]
    Missing,
    /// Several ids begin so.
    #[error("Multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// The empty string begins every id and is refused.
    #[error("prefix can't be empty")]
    Empty,
}

/// The whole id that `prefix` stands for.
pub(crate) fn resolve<T>(objects: &BTreeMap<String, T>, prefix: &str) -> Result<String, LookupError> {
    if prefix.is_empty() {
        return Err(LookupError::Empty);
    }
    let from = (Bound::Included(prefix), Bound::Unbounded);
    let mut matching =
        objects.range::<str, _>(from).map(|(id, _)| id).take_while(|id| id.starts_with(prefix));
    match (matching.next(), matching.next()) {
        (None, _) => Err(LookupError::Missing),
        (Some(id), None) => Ok(id.clone()),
        // All ids are of one length, so a whole id is never the prefix of another.
        (Some(_), Some(_)) => Err(LookupError::Ambiguous(prefix.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_counts_while_only_one_id_has_it() {
        let objects = BTreeMap::from([("abc1".to_owned(), 1), ("abd2".to_owned(), 2)]);
        assert_eq!(resolve(&objects, "abc").as_deref(), Ok("abc1"));
        assert_eq!(resolve(&objects, "abd2").as_deref(), Ok("abd2"));
        assert_eq!(resolve(&objects, "ab"), Err(LookupError::Ambiguous("ab".to_owned())));
        assert_eq!(resolve(&objects, "b"), Err(LookupError::Missing));
        assert_eq!(resolve(&objects, "abc12"), Err(LookupError::Missing));
        assert_eq!(resolve(&objects, ""), Err(LookupError::Empty));
    }
}
