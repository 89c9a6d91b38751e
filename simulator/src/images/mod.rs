//! The images of the node.

mod image;
mod reference;
mod registry;

use std::collections::BTreeMap;

pub(crate) use image::Image;
pub(crate) use reference::Reference;
use reference::{Version, is_digest};
pub(crate) use registry::{REDACTED, flaky_domain, refusal};

use crate::index::{self, LookupError};

/// What every pod's sandbox runs; on the node from the start, and pinned.
pub(crate) const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// Images by the hex of their id, and the references that lead to them.
#[derive(Debug)]
pub(crate) struct Images {
    images: BTreeMap<String, Image>,
    references: BTreeMap<String, String>,
}

impl Default for Images {
    fn default() -> Self {
        let mut images = Self { images: BTreeMap::new(), references: BTreeMap::new() };
        if let Ok(pause) = Reference::parse(PAUSE) {
            images.pull(&pause).pinned = true;
        }
        images
    }
}

impl Images {
    /// Puts the image that `reference` stands for on the node. The same reference gives the same image everywhere.
    pub(crate) fn pull(&mut self, reference: &Reference) -> &mut Image {
        let digest = match &reference.version {
            Version::Digest(digest) => digest.clone(),
            Version::Tag(_) => image::manifest_digest(&reference.to_string()),
        };
        let fresh = Image::from_digest(&digest, &reference.repository);
        let hex = fresh.hex().to_owned();
        let by_digest = format!("{}@{digest}", reference.repository);
        self.references.insert(by_digest.clone(), hex.clone());
        self.references.insert(reference.to_string(), hex.clone());

        let image = self.images.entry(hex).or_insert(fresh);
        image.add_digest(&by_digest);
        if let Version::Tag(_) = reference.version {
            image.add_tag(&reference.to_string());
        }
        image
    }

    /// The image behind a reference, an id, or a prefix of an id.
    pub(crate) fn resolve(&self, text: &str) -> Result<&Image, LookupError> {
        let hex = if is_digest(text) { None } else { self.by_reference(text) };
        let hex = match hex {
            Some(hex) => hex,
            None => index::resolve(&self.images, text.strip_prefix("sha256:").unwrap_or(text))?,
        };
        self.images.get(&hex).ok_or(LookupError::Missing)
    }

    fn by_reference(&self, text: &str) -> Option<String> {
        let reference = Reference::parse(text).ok()?;
        self.references.get(&reference.to_string()).cloned()
    }

    /// Takes the image away with all that refers to it, and says whether it was there.
    pub(crate) fn remove(&mut self, text: &str) -> Result<bool, LookupError> {
        let hex = match self.resolve(text) {
            Ok(image) => image.hex().to_owned(),
            Err(LookupError::Missing | LookupError::Empty) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.images.remove(&hex);
        self.references.retain(|_, target| *target != hex);
        Ok(true)
    }

    /// All of them, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Image> {
        self.images.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(images: &mut Images, text: &str) -> Image {
        images.pull(&Reference::parse(text).unwrap()).clone()
    }

    #[test]
    fn the_same_reference_is_the_same_image_everywhere() {
        let (mut one, mut other) = (Images::default(), Images::default());
        let image = pull(&mut one, "busybox:1.36");
        assert_eq!(image.id, pull(&mut other, "docker.io/library/busybox:1.36").id);
        assert_ne!(image.id, pull(&mut one, "busybox:1.37").id);
        assert_eq!(one.iter().count(), 3);
    }

    #[test]
    fn a_digest_leads_to_the_image_of_its_tag() {
        let mut images = Images::default();
        let tagged = pull(&mut images, "busybox");
        let by_digest = pull(&mut images, &tagged.repo_digests[0]);
        assert_eq!(by_digest, tagged);
    }

    #[test]
    fn an_image_is_found_by_each_of_its_names() {
        let mut images = Images::default();
        let image = pull(&mut images, "busybox");
        let digest = image.repo_digests[0].clone();
        let names = [
            "busybox",
            "docker.io/library/busybox:latest",
            &digest,
            &image.id,
            &image.id[7..],
            &image.id[..15],
        ];
        for name in names {
            assert_eq!(images.resolve(name).map(|found| found.id.as_str()), Ok(image.id.as_str()), "{name}");
        }
        assert_eq!(images.resolve("busybox:2").err(), Some(LookupError::Missing));
    }

    #[test]
    fn removal_takes_every_name_and_may_be_repeated() {
        let mut images = Images::default();
        let image = pull(&mut images, "busybox");
        assert_eq!(images.remove(&image.id), Ok(true));
        assert_eq!(images.resolve("busybox").err(), Some(LookupError::Missing));
        assert_eq!(images.remove(&image.id), Ok(false));
        assert_eq!(images.iter().count(), 1, "the pause image stays");
    }

    #[test]
    fn the_pause_image_is_pinned() {
        let images = Images::default();
        assert!(images.resolve(PAUSE).unwrap().pinned);
    }
}
