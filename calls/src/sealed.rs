//! Sealed values in text: tokens that stand on a tape in place of secrets. Which there are, and with which key, can be told
//! without one.

use std::collections::BTreeSet;

/// How a token begins.
pub const SEALED_PREFIX: &str = "sealed:v1:";
/// The letters after it that tell keys apart.
const KEY_LETTERS: usize = 4;

/// Whether two values can't be compared, because one holds something that is sealed with a key with which nothing in the other is.
pub fn sealed_apart(one: &[u8], other: &[u8]) -> bool {
    keys(one) != keys(other)
}

/// The keys of the tokens in a text.
fn keys(text: &[u8]) -> BTreeSet<&[u8]> {
    let prefix = SEALED_PREFIX.as_bytes();
    let tokens = text.windows(prefix.len() + KEY_LETTERS).filter(|part| part.starts_with(prefix));
    tokens.map(|part| &part[prefix.len()..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_apart_by_their_keys() {
        let apart = |one: &str, other: &str| sealed_apart(one.as_bytes(), other.as_bytes());
        assert!(!apart("a", "b"));
        assert!(!apart("sealed:v1:AAAAxx.", "so sealed:v1:AAAAyy."));
        assert!(apart("sealed:v1:AAAAxx.", "sealed:v1:BBBBxx."));
        assert!(apart("sealed:v1:AAAAxx.", "xx"));
        assert!(!apart("sealed:v1:", "xx"));
    }
}
