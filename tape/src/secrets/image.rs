//! Credentials inside the reference of an image: `user:password@registry/name`.

use std::ops::Range;

use memchr::memchr;

/// Where the user and the password are, if there are any. The `@` of a digest is none of theirs.
pub(crate) fn userinfo(reference: &[u8]) -> Option<Range<usize>> {
    memchr(b'@', reference)?;
    let start = reference.windows(3).position(|part| part == b"://").map_or(0, |scheme| scheme + 3);
    let at = (start..reference.len())
        .rev()
        .find(|at| reference[*at] == b'@' && !is_digest(&reference[at + 1..]))?;
    let holds_both = reference[start..at].contains(&b':') && reference[at..].contains(&b'/');
    holds_both.then_some(start..at)
}

/// `sha256:…` and its kin, to the end.
fn is_digest(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else { return false };
    let (algorithm, hex) = (&text[..colon], &text[colon + 1..]);
    !algorithm.is_empty()
        && algorithm.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+._-".contains(byte))
        && hex.len() >= 32
        && hex.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(reference: &str) -> Option<&str> {
        userinfo(reference.as_bytes()).map(|range| &reference[range])
    }

    #[test]
    fn credentials_are_told_from_digests_and_tags() {
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(found("user:pass@registry:5000/a/b:1"), Some("user:pass"));
        assert_eq!(found(&format!("user:pa/s@s@registry/a@{digest}")), Some("user:pa/s@s"));
        assert_eq!(found("docker://user:pass@registry/a"), Some("user:pass"));
        for plain in ["nginx:1.0", "registry:5000/a:1", "sha256:0123", "user@registry/a", "", "@"] {
            assert_eq!(found(plain), None, "{plain}");
        }
        assert_eq!(found(&format!("nginx:1.0@{digest}")), None);
        assert_eq!(found(&format!("registry:5000/a:1@{digest}")), None);
    }
}
