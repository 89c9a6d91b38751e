//! Numbers, ids and orders that follow from a seed.

use sha2::{Digest, Sha256};

/// A small generator (`SplitMix64`): plenty for shuffled lists and plausible statistics, and never for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    seed: u64,
    state: u64,
    ids: u64,
}

impl Random {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self { seed, state: seed, ids: 0 }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 where the bound is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// Any order is as likely as any other, as in a Go map.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }

    /// The next id of 64 hex digits. Orders and statistics drawn in between don't change it.
    pub(crate) fn id(&mut self) -> String {
        self.ids += 1;
        sha256_hex(&[&self.seed.to_le_bytes(), &self.ids.to_le_bytes()])
    }

    /// A streaming token, as long as containerd's.
    pub(crate) fn token(&mut self) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..8).map(|_| char::from(ALPHABET[self.below(64) as usize])).collect()
    }
}

/// SHA-256 of the parts one after the other, in lower-case hex.
pub(crate) fn sha256_hex(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    format!("{:x}", hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_the_seed_alone() {
        let (mut one, mut same, mut other) =
            (Random::from_seed(1), Random::from_seed(1), Random::from_seed(2));
        same.next();
        let id = one.id();
        assert_eq!(id, same.id());
        assert_ne!(id, other.id());
        assert_ne!(id, one.id());
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    #[test]
    fn shuffling_keeps_the_items_and_changes_their_order() {
        let mut random = Random::from_seed(7);
        let sorted: Vec<u32> = (0..16).collect();
        let mut items = sorted.clone();
        random.shuffle(&mut items);
        assert_ne!(items, sorted);
        items.sort_unstable();
        assert_eq!(items, sorted);
    }
}
