//! Image references: the grammar and the short forms that Docker made common.

use thiserror::Error;

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library";
const DEFAULT_TAG: &str = "latest";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// Why a text is no reference. The texts are those of the reference library that containerd uses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum ReferenceError {
    #[error("invalid reference format")]
    Malformed,
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    #[error("repository name must not be more than {MAX_NAME} characters")]
    TooLong,
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
}

/// A reference in its full form: repository, and either a tag or a digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// With its registry, as `docker.io/library/busybox`.
    pub repository: String,
    /// Which of its images.
    pub version: Version,
}

/// What comes after the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Tag(String),
    /// `sha256:` and hex.
    Digest(String),
}

impl Reference {
    /// Reads a reference as a user writes it: the registry is `docker.io` where none is named, the tag `latest`. A tag
    /// beside a digest is dropped, since the digest says it all.
    pub(crate) fn parse(text: &str) -> Result<Self, ReferenceError> {
        if is_hex(text, 64) {
            return Err(ReferenceError::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        let (domain, remainder) = split_domain(rest);
        let (path, tag) = match remainder.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (remainder.as_str(), None),
        };
        if path.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(path.to_owned()));
        }
        let valid = is_domain(&domain)
            && path.split('/').all(is_path_component)
            && tag.is_none_or(is_tag)
            && digest.is_none_or(is_digest);
        if !valid {
            return Err(ReferenceError::Malformed);
        }
        let repository = format!("{domain}/{path}");
        if repository.len() > MAX_NAME {
            return Err(ReferenceError::TooLong);
        }
        let version = match digest {
            Some(digest) => Version::Digest(digest.to_owned()),
            None => Version::Tag(tag.unwrap_or(DEFAULT_TAG).to_owned()),
        };
        Ok(Self { repository, version })
    }

    /// The last part of the repository, as `busybox`.
    pub(crate) fn last_component(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.version {
            Version::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Version::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}

/// The registry, and what is left. A first part counts as a registry if it could not be a path.
fn split_domain(name: &str) -> (String, String) {
    let (domain, remainder) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => (DEFAULT_DOMAIN, name),
    };
    let domain = if domain == LEGACY_DOMAIN { DEFAULT_DOMAIN } else { domain };
    let remainder = if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        format!("{OFFICIAL}/{remainder}")
    } else {
        remainder.to_owned()
    };
    (domain.to_owned(), remainder)
}

fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase)
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') || !port.contains(']') => (host, Some(port)),
        _ => (domain, None),
    };
    let port_is_valid =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    port_is_valid && (host.split('.').all(is_domain_component) || is_ipv6(host))
}

fn is_domain_component(component: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    edge(component.bytes().next())
        && edge(component.bytes().next_back())
        && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_ipv6(host: &str) -> bool {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'))
}

/// Lower-case letters and digits, with separators in between: one dot, one or two underscores, or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let ends_are_words =
        bytes.first().copied().is_some_and(is_word) && bytes.last().copied().is_some_and(is_word);
    ends_are_words
        && component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

/// Only `sha256`: containerd knows others, no registry serves them.
pub(crate) fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| is_hex(hex, 64))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn short_forms_are_completed() {
        let full = |text: &str| Reference::parse(text).unwrap().to_string();
        assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(full("index.docker.io/busybox:1"), "docker.io/library/busybox:1");
        assert_eq!(full("docker.io/me/app"), "docker.io/me/app:latest");
        assert_eq!(full("me/app:v1.2-rc_3"), "docker.io/me/app:v1.2-rc_3");
        assert_eq!(full("localhost/app"), "localhost/app:latest");
        assert_eq!(full("localhost:5000/app"), "localhost:5000/app:latest");
        assert_eq!(full("[::1]:5000/app:2"), "[::1]:5000/app:2");
        assert_eq!(full("registry.k8s.io/a/b__c/d--e.f:9"), "registry.k8s.io/a/b__c/d--e.f:9");
        assert_eq!(full(&format!("busybox@{DIGEST}")), format!("docker.io/library/busybox@{DIGEST}"));
    }

    #[test]
    fn a_digest_makes_the_tag_superfluous() {
        let reference = Reference::parse(&format!("quay.io/a/b:v1@{DIGEST}")).unwrap();
        assert_eq!(reference.to_string(), format!("quay.io/a/b@{DIGEST}"));
        assert_eq!(reference.last_component(), "b");
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for text in [
            "",
            ":1",
            "a:",
            "a//b",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "a b",
            "a@sha256:12",
            "a@md5:x",
            "a:b:c",
            "a.io:x/b",
            "a/b:-1",
            "http://a/b",
        ] {
            assert_eq!(Reference::parse(text), Err(ReferenceError::Malformed), "{text:?}");
        }
        assert_eq!(Reference::parse("Busybox"), Err(ReferenceError::Uppercase("library/Busybox".to_owned())));
        assert!(matches!(Reference::parse(&DIGEST[7..]), Err(ReferenceError::LooksLikeId(_))));
        assert_eq!(Reference::parse(&format!("a.io/{}", "a".repeat(300))), Err(ReferenceError::TooLong));
        assert_eq!(Reference::parse(&format!("a:{}", "t".repeat(129))), Err(ReferenceError::Malformed));
    }
}
