//! Fresh uids for the pods of a replay.

use std::collections::BTreeSet;

use cri::IdentityKind;
use critape_calls::IdentityMap;

/// A uid of fewer bytes may stand in a text by chance.
const SHORT: usize = 8;

/// Binds each of these uids to a fresh one of the same form.
pub(crate) fn bind_fresh(uids: &BTreeSet<String>, ids: &mut IdentityMap) -> Result<(), getrandom::Error> {
    for uid in uids {
        let fresh = like(uid)?;
        ids.bind(IdentityKind::PodUid, uid, &fresh);
    }
    Ok(())
}

/// A random text of the same form: hexadecimal digits stay hexadecimal digits, other letters and digits stay theirs, the rest
/// stays.
///
/// A short one grows, so that it can be told from other text where it comes back.
fn like(uid: &str) -> Result<String, getrandom::Error> {
    if uid.len() < SHORT {
        return Ok(format!("{uid}-{}", &run_name()?[..SHORT]));
    }
    let mut random = vec![0; uid.len()];
    getrandom::fill(&mut random)?;
    let hexadecimal = uid.bytes().filter(u8::is_ascii_alphanumeric).all(|byte| byte.is_ascii_hexdigit());
    let pick = |from: &[u8], random: u8| char::from(from[usize::from(random) % from.len()]);
    Ok(uid
        .chars()
        .zip(random.iter().copied().chain(std::iter::repeat(0)))
        .map(|(letter, random)| match letter {
            letter if !letter.is_ascii_alphanumeric() => letter,
            _ if hexadecimal => pick(b"0123456789abcdef", random),
            letter if letter.is_ascii_digit() => pick(b"0123456789", random),
            letter if letter.is_ascii_uppercase() => pick(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", random),
            _ => pick(b"abcdefghijklmnopqrstuvwxyz", random),
        })
        .collect())
}

/// A name for this replay, unlike that of any other.
pub(crate) fn run_name() -> Result<String, getrandom::Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_uid_has_the_form_of_the_old() {
        for uid in ["0f3a1c9e-1111-4222-8333-444455556666", "hdishd83djaidwnduwk28bcsb", "Ab_9Ab_9"] {
            let fresh = like(uid).unwrap();
            assert_eq!(fresh.len(), uid.len());
            for (old, new) in uid.chars().zip(fresh.chars()) {
                assert_eq!(old.is_ascii_alphanumeric(), new.is_ascii_alphanumeric());
            }
        }
        assert_eq!(like("1").unwrap().len(), 10);
        let old = "0f3a1c9e-1111-4222-8333-444455556666";
        assert_ne!(like(old).unwrap(), like(old).unwrap());
    }
}
