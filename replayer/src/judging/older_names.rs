//! An image that has another name on one of the two nodes, from before: that is no difference of runtimes.

use std::collections::BTreeSet;

use critape_differ::{Compared, Divergence};
use serde_json::Value;

/// Under which such differences are counted.
const RULE: &str = "older-name";
const LISTS: [&str; 2] = ["repo_tags[]", "repo_digests[]"];

/// Names of images that were there before, and of which the other side knows nothing.
#[derive(Debug, Default)]
pub(crate) struct OlderNames {
    pub(crate) recorded: BTreeSet<String>,
    pub(crate) live: BTreeSet<String>,
}

impl OlderNames {
    /// Lets pass what differs because an image has such a name beside that which is asked for.
    pub(crate) fn let_pass(&self, compared: &mut Compared) {
        if compared.divergences.is_empty() || self.recorded.is_empty() && self.live.is_empty() {
            return;
        }
        let before = compared.divergences.len();
        compared.divergences.retain(|divergence| !self.explain(divergence));
        for _ in compared.divergences.len()..before {
            compared.merge(Compared::explained(RULE));
        }
    }

    fn explain(&self, divergence: &Divergence) -> bool {
        let Some(last) = divergence.path.segments().last() else { return false };
        let is_old = |names: &BTreeSet<String>, name: &str| names.contains(name);
        match (&divergence.recorded, &divergence.live) {
            (Value::String(recorded), Value::Null) if LISTS.contains(&last.as_str()) => {
                is_old(&self.recorded, recorded)
            }
            (Value::Null, Value::String(live)) if LISTS.contains(&last.as_str()) => is_old(&self.live, live),
            // A runtime goes by one of the names: the digest tells that it is the image.
            (Value::String(recorded), Value::String(live)) if last == "image_ref" => {
                let digest = |name: &str| name.split_once('@').map(|(_, digest)| digest.to_owned());
                digest(recorded).is_some_and(|it| Some(it) == digest(live))
                    && (is_old(&self.recorded, recorded) || is_old(&self.live, live))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use critape_differ::{Kind, Path, Severity};
    use serde_json::json;

    use super::*;

    #[test]
    fn only_names_from_before_are_let_pass() {
        let names = OlderNames {
            recorded: ["old:1".to_owned()].into(),
            live: ["new:1".to_owned(), "new@sha256:1".to_owned()].into(),
        };
        let passes = |path: &[&str], recorded: Value, live: Value| {
            let divergence = Divergence {
                path: Path::of(path),
                kind: Kind::Value,
                transition: None,
                recorded,
                live,
                rule: "exact".to_owned(),
                severity: Severity::Behaviour,
                settles: false,
                about: None,
            };
            let mut compared = Compared { divergences: vec![divergence], ..Compared::default() };
            names.let_pass(&mut compared);
            compared.divergences.is_empty()
        };
        let tags = &["image", "repo_tags[]"][..];
        assert!(passes(tags, json!(null), json!("new:1")) && passes(tags, json!("old:1"), json!(null)));
        assert!(!passes(tags, json!(null), json!("old:1")) && !passes(tags, json!("new:1"), json!(null)));
        assert!(!passes(&["status", "reason"], json!(null), json!("new:1")));
        let reference = &["status", "image_ref"][..];
        assert!(passes(reference, json!("app@sha256:1"), json!("new@sha256:1")));
        assert!(!passes(reference, json!("app@sha256:2"), json!("new@sha256:1")), "another image");
        assert!(!passes(reference, json!("app@sha256:1"), json!("lost@sha256:1")), "nobody's name");
    }
}
