//! The difference between two versions of one object, as copies from the old and bytes of the new.
//!
//! Counters and times change, everything between them stays: so after a mismatch the two are soon in step again, and a short
//! look ahead finds where.

/// Equal bytes that make two positions count as in step again.
const ANCHOR: usize = 4;
/// How far to look for them on either side.
const REACH: usize = 24;

/// Steps from `old` to `new`: each copies some bytes, passes over some of the old, and adds some new ones.
pub(crate) fn diff(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut patch = Vec::new();
    let (mut at_old, mut at_new) = (0, 0);
    while at_new < new.len() {
        let copied = common(&old[at_old..], &new[at_new..]);
        at_old += copied;
        at_new += copied;
        let (passed, added) = resync(&old[at_old..], &new[at_new..]);
        put(&mut patch, copied);
        put(&mut patch, passed);
        put(&mut patch, added);
        patch.extend_from_slice(&new[at_new..at_new + added]);
        at_old += passed;
        at_new += added;
    }
    patch
}

/// The new version; `None` where the patch does not fit `old`, or its result is larger than `limit`.
pub(crate) fn apply(old: &[u8], mut patch: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut new = Vec::with_capacity(old.len().min(limit));
    let mut at = 0_usize;
    while !patch.is_empty() {
        let copied = take(&mut patch)?;
        let passed = take(&mut patch)?;
        let added = take(&mut patch)?;
        new.extend_from_slice(old.get(at..at.checked_add(copied)?)?);
        at = at.checked_add(copied)?.checked_add(passed)?;
        new.extend_from_slice(patch.get(..added)?);
        patch = &patch[added..];
        if new.len() > limit {
            return None;
        }
    }
    Some(new)
}

/// How many bytes both begin with.
fn common(a: &[u8], b: &[u8]) -> usize {
    /// Compared at once, for speed.
    const BLOCK: usize = 16;
    let blocks = a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK));
    let whole = blocks.take_while(|(a, b)| a == b).count() * BLOCK;
    whole + a[whole..].iter().zip(&b[whole..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes to pass over in the old and to add from the new until the two are in step. The nearest place wins, and of
/// equally near ones the most even: most changes keep their length.
fn resync(old: &[u8], new: &[u8]) -> (usize, usize) {
    for distance in 0..=2 * REACH {
        let half = distance / 2;
        for lean in 0..=half {
            for (passed, added) in
                [(half - lean, distance - half + lean), (distance - half + lean, half - lean)]
            {
                let fits = |side: &[u8], at: usize| at + ANCHOR <= side.len();
                if passed <= REACH
                    && added <= REACH
                    && fits(old, passed)
                    && fits(new, added)
                    && old[passed..passed + ANCHOR] == new[added..added + ANCHOR]
                {
                    return (passed, added);
                }
            }
        }
    }
    // Not soon: all the rest is new.
    (old.len(), new.len())
}

/// Appends a number, seven bits a byte, the lowest first.
pub(crate) fn put(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number that [`put`] wrote.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..usize::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_changed_counter_costs_a_few_bytes() {
        let old: Vec<u8> = (0..700).map(|byte| (byte * 7) as u8).collect();
        let mut new = old.clone();
        new[100] ^= 1;
        new.splice(300..302, [1, 2, 3]);
        new[650] ^= 1;
        let patch = diff(&old, &new);
        assert!(patch.len() < 32, "{}", patch.len());
        assert_eq!(apply(&old, &patch, 1000), Some(new));
    }

    #[test]
    fn a_patch_that_does_not_fit_gives_nothing() {
        let patch = diff(b"abcdefgh", b"abcdefghij");
        assert_eq!(apply(b"abc", &patch, 100), None);
        assert_eq!(apply(b"abcdefgh", &patch, 5), None);
        assert_eq!(apply(b"", &[0xff; 12], 100), None);
    }

    proptest! {
        #[test]
        fn every_difference_comes_back(old in proptest::collection::vec(0_u8..4, 0..200), new in proptest::collection::vec(0_u8..4, 0..200)) {
            prop_assert_eq!(apply(&old, &diff(&old, &new), 1000), Some(new));
        }

        #[test]
        fn hostile_patches_never_panic(old: Vec<u8>, patch: Vec<u8>) {
            let _ = apply(&old, &patch, 10_000);
        }

        #[test]
        fn numbers_come_back(value: usize) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(take(&mut bytes.as_slice()), Some(value));
        }
    }
}
