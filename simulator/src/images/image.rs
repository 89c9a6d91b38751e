//! One image, made from nothing but its digest and its repository.

use cri::v1;

use crate::random::sha256_hex;

const MIB: u64 = 1024 * 1024;

/// An image on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    /// `sha256:` and the hex of its configuration's digest.
    pub id: String,
    /// `repository:tag`, sorted.
    pub repo_tags: Vec<String>,
    /// `repository@digest`, sorted.
    pub repo_digests: Vec<String>,
    /// Compressed, in bytes.
    pub size: u64,
    /// Garbage collection leaves it alone.
    pub pinned: bool,
    user: User,
}

/// Whom the image's process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
enum User {
    Unset,
    Uid(i64),
    Name(&'static str),
}

/// The digest of the manifest that a reference with a tag stands for.
pub(crate) fn manifest_digest(reference: &str) -> String {
    format!("sha256:{}", sha256_hex(&[reference.as_bytes()]))
}

impl Image {
    pub(crate) fn from_digest(digest: &str, repository: &str) -> Self {
        let hex = sha256_hex(&[b"config of ", digest.as_bytes()]);
        let size = MIB + u64::from_str_radix(&hex[..8], 16).unwrap_or(0) % (200 * MIB);
        Self {
            id: format!("sha256:{hex}"),
            repo_tags: Vec::new(),
            repo_digests: Vec::new(),
            size,
            pinned: false,
            user: user_of(repository),
        }
    }

    /// The id without its algorithm.
    pub(crate) fn hex(&self) -> &str {
        self.id.strip_prefix("sha256:").unwrap_or(&self.id)
    }

    pub(crate) fn add_tag(&mut self, tag: &str) {
        add_sorted(&mut self.repo_tags, tag);
    }

    pub(crate) fn add_digest(&mut self, digest: &str) {
        add_sorted(&mut self.repo_digests, digest);
    }

    /// The uid that a container of this image has, where its configuration names none.
    pub(crate) fn uid(&self) -> i64 {
        match self.user {
            User::Uid(uid) => uid,
            User::Unset => 0,
            // www-data in Debian's and busybox's /etc/passwd.
            User::Name(_) => 33,
        }
    }

    pub(crate) fn to_cri(&self) -> v1::Image {
        let (uid, username) = match self.user {
            User::Unset => (None, ""),
            User::Uid(uid) => (Some(v1::Int64Value { value: uid }), ""),
            User::Name(name) => (None, name),
        };
        v1::Image {
            id: self.id.clone(),
            repo_tags: self.repo_tags.clone(),
            repo_digests: self.repo_digests.clone(),
            size: self.size,
            uid,
            username: username.to_owned(),
            spec: None,
            pinned: self.pinned,
        }
    }
}

/// The users of critest's own images, and of the usual images without root.
fn user_of(repository: &str) -> User {
    let name = repository.rsplit('/').next().unwrap_or_default();
    if name.ends_with("user-uid") {
        User::Uid(1002)
    } else if name.ends_with("user-uid-group") {
        User::Uid(1003)
    } else if name.ends_with("user-username") || name.ends_with("user-username-group") {
        User::Name("www-data")
    } else if name.ends_with("nonroot") {
        User::Uid(65532)
    } else {
        User::Unset
    }
}

fn add_sorted(list: &mut Vec<String>, item: &str) {
    if let Err(position) = list.binary_search_by(|other| other.as_str().cmp(item)) {
        list.insert(position, item.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_never_zero_and_a_user_follows_from_the_name() {
        let image = Image::from_digest("sha256:1", "gcr.io/k8s-staging-cri-tools/test-image-user-uid");
        assert!(image.to_cri().size > 0);
        assert_eq!(image.to_cri().uid, Some(v1::Int64Value { value: 1002 }));
        let image = Image::from_digest("sha256:1", "gcr.io/k8s-staging-cri-tools/test-image-user-username");
        assert_eq!(image.to_cri().username, "www-data");
        assert_eq!(Image::from_digest("sha256:1", "docker.io/library/busybox").to_cri().uid, None);
    }
}
