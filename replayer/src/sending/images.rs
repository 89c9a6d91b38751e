//! References of images: their full form, and what a user maps them to.

use critape_calls::IdentityMap;
use prost_reflect::{DynamicMessage, ReflectMessage as _};

/// Where an image is looked for whose reference names no registry.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where Docker's own images are.
const OFFICIAL: &str = "library/";
const DEFAULT_TAG: &str = "latest";
/// The fields of requests in which a client repeats what its user wrote for an image.
const AS_WRITTEN: [&str; 4] = [
    "image.user_specified_image",
    "filter.image.user_specified_image",
    "config.image.user_specified_image",
    "config.mounts[].image.user_specified_image",
];

/// A reference in its full form, with registry, and tag or digest; `None` where it is an id, or nothing.
pub(crate) fn full(reference: &str) -> Option<String> {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if reference.is_empty() || hex(reference) || reference.strip_prefix("sha256:").is_some_and(hex) {
        return None;
    }
    let name = match reference.split_once('/') {
        Some((first, _)) if first == "localhost" || first.contains(['.', ':']) => reference.to_owned(),
        Some(_) => format!("{DEFAULT_REGISTRY}/{reference}"),
        None => format!("{DEFAULT_REGISTRY}/{OFFICIAL}{reference}"),
    };
    let tagged = repository(&name).len() < name.len();
    Some(if tagged { name } else { format!("{name}:{DEFAULT_TAG}") })
}

/// A reference without its tag and digest.
pub(crate) fn repository(reference: &str) -> &str {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    match name.rsplit_once(':') {
        // A port is followed by more of the name.
        Some((before, after)) if !after.contains('/') => before,
        _ => name,
    }
}

/// A reference without the user and password that may stand before its registry.
pub fn without_user(reference: &str) -> &str {
    let registry = reference.split_once('/').map_or("", |(registry, _)| registry);
    registry.rfind('@').map_or(reference, |at| &reference[at + 1..])
}

/// The registry of a reference.
pub(crate) fn registry(reference: &str) -> Option<String> {
    let full = full(without_user(reference))?;
    full.split_once('/').map(|(registry, _)| registry.to_owned())
}

/// One image, or all images whose reference begins so, and what to take in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageMapping {
    from: String,
    to: String,
}

impl std::str::FromStr for ImageMapping {
    type Err = String;

    /// Reads `A=B`, where both are references, or both end with a slash.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            Err(format!(
                "{text:?} is no mapping: {why}; write it as docker.io/library/app:1=registry.example/app:1, \
                 or docker.io/=registry.example/ for all that begins so"
            ))
        };
        let Some((from, to)) = text.split_once('=') else { return wrong("it has no =") };
        let is_reference = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['/', '-', ':', '@'])
                && !part.contains("//")
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:@[]+".contains(&byte))
        };
        if !is_reference(from) || !is_reference(to) {
            return wrong("a side of it is no reference");
        }
        if from.ends_with('/') != to.ends_with('/') {
            return wrong("only one side ends with a slash");
        }
        Ok(Self { from: from.to_owned(), to: to.to_owned() })
    }
}

impl std::fmt::Display for ImageMapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.from, self.to)
    }
}

impl ImageMapping {
    /// Two of these that say different things of the same images.
    pub fn contradiction(mappings: &[Self]) -> Option<(&Self, &Self)> {
        let of = |mapping: &Self| full(&mapping.from).filter(|_| !mapping.from.ends_with('/'));
        let is_same = |one: &Self, other: &Self| {
            one.from == other.from || of(one).zip(of(other)).is_some_and(|(one, other)| one == other)
        };
        mappings.iter().enumerate().find_map(|(place, later)| {
            let earlier = &mappings[..place];
            Some((earlier.iter().find(|it| is_same(it, later) && it.to != later.to)?, later))
        })
    }

    /// How it is given on a command line, without the users and passwords that may stand in it.
    pub fn without_users(&self) -> String {
        format!("{}={}", without_user(&self.from), without_user(&self.to))
    }

    /// What stands for this reference, where it is about it.
    fn live(&self, reference: &str) -> Option<String> {
        let full_form = full(reference)?;
        if self.from.ends_with('/') {
            let rest = [reference, &full_form].into_iter().find_map(|it| it.strip_prefix(&self.from))?;
            return Some(format!("{}{rest}", self.to));
        }
        (full(&self.from)? == full_form).then(|| self.to.clone())
    }
}

/// Binds every reference that a mapping is about, the nearest mapping first. Gives the mappings that are about none.
pub(crate) fn bind<'a>(
    mappings: &'a [ImageMapping],
    references: impl IntoIterator<Item = &'a str>,
    ids: &mut IdentityMap,
) -> Vec<&'a ImageMapping> {
    let mut nearest: Vec<&ImageMapping> = mappings.iter().collect();
    // One image is nearer than many, and a longer beginning than a shorter.
    nearest.sort_by_key(|it| (it.from.ends_with('/'), std::cmp::Reverse(it.from.len())));
    let mut used = vec![false; nearest.len()];
    let mut found: Vec<(&str, String)> = Vec::new();
    for reference in references {
        let live = nearest.iter().enumerate().find_map(|(at, mapping)| Some((at, mapping.live(reference)?)));
        if let Some((at, live)) = live {
            used[at] = true;
            found.push((reference, live));
        }
    }
    // Answers have the full form: it is what a live reference is taken back to.
    found.sort_by_key(|(reference, _)| full(reference).as_deref() != Some(*reference));
    found.iter().for_each(|(reference, live)| ids.map_reference(reference, live));
    nearest.into_iter().zip(used).filter(|(_, used)| !used).map(|(mapping, _)| mapping).collect()
}

/// Replaces what a user wrote for an image, which the runtime only repeats.
pub(crate) fn replace_as_written(message: &mut DynamicMessage, ids: &IdentityMap) {
    for path in AS_WRITTEN {
        if let Ok(path) = cri::FieldPath::parse(path, &message.descriptor()) {
            path.rewrite(message, &mut |written| ids.mapped_reference(written).map(str::to_owned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> ImageMapping {
        text.parse().unwrap()
    }

    #[test]
    fn references_have_a_full_form_a_repository_and_a_registry() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (reference, expected) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("me/app:1", "docker.io/me/app:1"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("quay.io/a/b@sha256:12", "quay.io/a/b@sha256:12"),
        ] {
            assert_eq!(full(reference).as_deref(), Some(expected));
        }
        assert_eq!(full(&digest), None);
        assert_eq!(full(&digest[7..]), None);
        assert_eq!(repository("localhost:5000/a/b:1@sha256:12"), "localhost:5000/a/b");
        assert_eq!(repository("localhost:5000/a"), "localhost:5000/a");
        assert_eq!(registry("busybox").as_deref(), Some("docker.io"));
        assert_eq!(registry("user:word@quay.io/a/b").as_deref(), Some("quay.io"));
        assert_eq!(without_user("user:word@quay.io/a/b@sha256:12"), "quay.io/a/b@sha256:12");
        assert_eq!(without_user("a@sha256:12"), "a@sha256:12");
    }

    #[test]
    fn a_mapping_is_about_one_image_or_all_that_begin_so() {
        let one = mapping("busybox:1.36=mirror.example/bb:2");
        assert_eq!(one.live("docker.io/library/busybox:1.36").as_deref(), Some("mirror.example/bb:2"));
        assert_eq!(one.live("docker.io/library/busybox:1.36-musl"), None);
        let all = mapping("docker.io/=localhost:5000/");
        assert_eq!(all.live("busybox").as_deref(), Some("localhost:5000/library/busybox:latest"));
        assert_eq!(all.live("docker.io/a/b@sha256:12").as_deref(), Some("localhost:5000/a/b@sha256:12"));
        assert_eq!(all.live("quay.io/a/b"), None);
        for bad in ["", "a", "=", "a=", "=b", "a/=b", "a=b/", "a b=c", "https://a/=b/", "/=b/", "a=b=c"] {
            assert!(bad.parse::<ImageMapping>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_mapping_counts_and_unused_ones_are_told() {
        let mappings = [
            mapping("docker.io/=far.example/"),
            mapping("docker.io/library/=near.example/"),
            mapping("docker.io/library/app:1=one.example/app:1"),
            mapping("quay.io/=x.example/"),
        ];
        let mut ids = IdentityMap::default();
        let references = ["docker.io/library/app:1", "app:1", "app:2", "docker.io/me/app:1"];
        let unused = bind(&mappings, references, &mut ids);
        assert_eq!(unused, [&mappings[3]]);
        let live = |reference| ids.mapped_reference(reference).unwrap().to_owned();
        assert_eq!(live("app:1"), "one.example/app:1");
        assert_eq!(live("app:2"), "near.example/app:2");
        assert_eq!(live("docker.io/me/app:1"), "far.example/me/app:1");
        assert_eq!(ids.to_recorded("one.example/app:1"), "docker.io/library/app:1");
    }
}
