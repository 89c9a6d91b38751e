//! What registries answer: all have every image, but for repositories whose names say otherwise.
//!
//! `no-such…` is not there. The layers of `behind-cdn…` are served by another host, by signed addresses, and that host does not
//! answer. Of registries whose domain begins with `flaky.` the first answer never comes.

use tonic::Status;

use super::Reference;
use crate::failure::plain;

/// The query of a signed address, as containerd shows it.
pub(crate) const REDACTED: &str = "X-Amz-Credential=%5BREDACTED%5D&X-Amz-Signature=%5BREDACTED%5D";

/// Why this image can't be pulled, where it can't.
pub(crate) fn refusal(reference: &Reference) -> Option<Status> {
    let full = reference.to_string();
    let name = reference.last_component();
    let failed = |reason: String| format!("failed to pull and unpack image {full:?}: {reason}");
    if name.starts_with("no-such") {
        return Some(Status::not_found(failed(format!("failed to resolve image: {full}: not found"))));
    }
    if let Some(domain) = flaky_domain(reference) {
        return Some(plain(failed(format!(
            "failed to resolve image: failed to do request: Head \"https://{domain}/v2/{name}/manifests/latest\": \
             net/http: TLS handshake timeout"
        ))));
    }
    name.starts_with("behind-cdn").then(|| {
        plain(failed(format!(
            "failed to copy: httpReadSeeker: failed open: failed to do request: \
             Get \"https://layers.cdn.example/{name}/data?{REDACTED}\": \
             dial tcp: lookup layers.cdn.example: no such host"
        )))
    })
}

/// The domain of a registry whose first answer never comes.
pub(crate) fn flaky_domain(reference: &Reference) -> Option<&str> {
    let (domain, _) = reference.repository.split_once('/')?;
    domain.starts_with("flaky.").then_some(domain)
}
