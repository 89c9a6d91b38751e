//! What the calls of a tape need of a runtime and its host, learnt call by call.

mod pods;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use cri::{Generation, IdentityKind, Method, v1};
use critape_calls::{Call, Code, Ending, Opening, Stamp, merged};
use critape_tape::{Needed, needs_key};
use prost::Message;

use super::rehearsal::Rehearsal;
use super::tally::Tally;
use crate::recording::{is_event_stream, is_question, is_thing, request_ids};
use crate::sending::images::full;

/// How a sealed value begins.
const SEALED: &[u8] = critape_calls::SEALED_PREFIX.as_bytes();

type Tallies<K> = BTreeMap<K, Tally>;

/// What calls need.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// References by which images are named.
    pub(crate) references: BTreeSet<String>,
    /// The names of images, by id.
    pub(crate) names: BTreeMap<String, BTreeSet<String>>,
    /// By reference: reads that found no image.
    pub(crate) absent: Tallies<String>,
    /// Ids and names of the images that were there when the tape began, where it tells.
    before: Option<BTreeSet<String>>,
    /// By reference: reads and makings that found an image which had been there from the beginning.
    pub(crate) found: Tallies<String>,
    /// By reference.
    pub(crate) pulls: Tallies<String>,
    pub(crate) removals: Tallies<String>,
    /// Removals of images that name none.
    pub(crate) nameless_removals: Tally,
    pulled: BTreeSet<String>,
    pub(crate) handlers: Tallies<String>,
    /// SCTP, which is not replaced.
    pub(crate) fixed_ports: Tallies<u16>,
    /// TCP ports of pods on the host's network.
    pub(crate) host_network: Tallies<u16>,
    pub(crate) devices: Tallies<String>,
    pub(crate) cdi_devices: Tallies<String>,
    /// Containers that have all devices of their host.
    pub(crate) privileged: Tally,
    /// Those for which nothing can stand in.
    pub(crate) host_paths: Tallies<String>,
    /// Those for which something empty stands in.
    pub(crate) contents: BTreeSet<String>,
    pub(crate) with_contents: Tally,
    /// Those of which nobody knows what they were.
    pub(crate) unknown_paths: Tallies<String>,
    /// Sandboxes below a slice, and below another cgroup.
    pub(crate) slices: Tally,
    pub(crate) cgroups: Tally,
    /// The cgroup driver of the recorded runtime.
    pub(crate) driver: Option<v1::CgroupDriver>,
    /// Names of pods and containers in requests, but for those that may be the beginning of one.
    pub(crate) named: Tallies<String>,
    /// Those of each request, by its hash.
    asked: HashMap<u64, Vec<(IdentityKind, String)>, RandomState>,
    hasher: RandomState,
    /// What those that may be the beginning of one are held against.
    pub(crate) rehearsal: Rehearsal,
    /// Streams of events.
    pub(crate) listens: Tally,
    pub(crate) without_command: Tally,
    pub(crate) without_credentials: Tally,
    /// Pulls with credentials that are sealed, by reference.
    pub(crate) sealed_pulls: Tallies<String>,
    pub(crate) not_recorded: Tally,
    /// Calls whose request is compressed.
    pub(crate) compressed: Tally,
    pub(crate) configurations: Tally,
    /// By request path, calls of methods that no generation has: those that only ask for it, and all others.
    pub(crate) questions: Tallies<String>,
    pub(crate) unknown: Tallies<String>,
    /// Of calls that were served when recorded.
    pub(crate) generations: Tallies<Generation>,
}

impl Needs {
    /// What the runtime held when a segment began.
    pub(crate) fn opening(&mut self, opening: &Opening) {
        if let Some(list) = opening.answer("ListImages") {
            self.image_list(list);
            if self.before.is_none() {
                self.before = Some(self.names.keys().chain(self.names.values().flatten()).cloned().collect());
            }
        }
        if let Some(config) = opening.answer("RuntimeConfig") {
            self.runtime_config(config);
        }
    }

    /// What an answer says of images, whether its call is replayed or not.
    pub(crate) fn answer(&mut self, method: &Method, answer: &Bytes, at: Stamp) {
        let images = match method.name.as_str() {
            "ListImages" => read::<v1::ListImagesResponse>(answer).unwrap_or_default().images,
            "ImageStatus" => {
                read::<v1::ImageStatusResponse>(answer).and_then(|it| it.image).into_iter().collect()
            }
            "RuntimeConfig" => return self.runtime_config(answer),
            _ => return,
        };
        for image in images {
            self.rehearsal.shows_image(&image.id, at);
            self.image(image);
        }
    }

    /// A call that is replayed; they come in the order of their ends.
    pub(crate) fn call(&mut self, call: &Call) {
        let is_cut = call.outcome.ending == Ending::Truncated && !is_event_stream(call);
        if is_cut || !call.is_whole() || call.requests.is_empty() {
            self.not_recorded.add(call.id);
        }
        let Some(method) = call.method() else {
            let tallies = if is_question(call) { &mut self.questions } else { &mut self.unknown };
            tallies.entry(call.path.clone()).or_default().add(call.id);
            return;
        };
        if call.requests.iter().any(|message| message.compressed) {
            self.compressed.add(call.id);
        }
        if call.outcome.code != Code::UNIMPLEMENTED {
            let sent = call.sent_method().unwrap_or(method);
            self.generations.entry(sent.generation).or_default().add(call.id);
        }
        if is_event_stream(call) {
            self.listens.add(call.id);
        }
        self.rehearsal.call(call, method);
        if names_no_image(call, method) {
            self.nameless_removals.add(call.id);
        }
        let Some(request) = call.request().filter(|request| !request.is_empty()) else {
            if method.name == "UpdateRuntimeConfig" {
                self.configurations.add(call.id);
            }
            return;
        };
        self.seal(call, request);
        if method.request_ids.iter().any(|id| is_thing(id.kind)) {
            self.objects(call, request);
        }
        match method.name.as_str() {
            "ImageStatus" => self.image_status(call, request),
            "PullImage" => self.pull_image(call, request),
            "RemoveImage" => {
                let image = read::<v1::RemoveImageRequest>(request).and_then(|request| request.image);
                let image = self.reference(image);
                if image.is_empty() {
                    return;
                }
                self.removals.entry(image.clone()).or_default().add(call.id);
                self.forget(&image);
            }
            "ListImages" => {
                let filter = read::<v1::ListImagesRequest>(request).and_then(|request| request.filter);
                self.reference(filter.and_then(|filter| filter.image));
            }
            "RunPodSandbox" => self.run_pod_sandbox(call, request),
            "CreateContainer" => self.create_container(call, request),
            "UpdateRuntimeConfig" => self.configurations.add(call.id),
            _ => {}
        }
    }

    fn seal(&mut self, call: &Call, request: &Bytes) {
        if !has_token(request) {
            return;
        }
        match needs_key(&call.path, request) {
            Some(Needed::Credentials) => {
                self.without_credentials.add(call.id);
                if let Some(image) = read::<v1::PullImageRequest>(request).and_then(|request| request.image)
                    && call.path.ends_with("/PullImage")
                {
                    self.sealed_pulls.entry(image.image).or_default().add(call.id);
                }
            }
            Some(Needed::Command | Needed::Everything) => self.without_command.add(call.id),
            None => {}
        }
    }

    /// Clients ask for the same things again and again: each request is read once.
    fn objects(&mut self, call: &Call, request: &Bytes) {
        let hash = self.hasher.hash_one((&call.path, request));
        let ids = self
            .asked
            .entry(hash)
            .or_insert_with(|| request_ids(call).into_iter().filter(|(kind, _)| is_thing(*kind)).collect());
        for (kind, id) in ids {
            if Rehearsal::is_for(id) {
                self.rehearsal.ask(*kind, id, call);
            } else if *kind != IdentityKind::Image {
                match self.named.get_mut(id) {
                    Some(tally) => tally.add(call.id),
                    None => self.named.entry(id.clone()).or_default().add(call.id),
                }
            }
        }
    }

    fn image_status(&mut self, call: &Call, request: &Bytes) {
        let asked = read::<v1::ImageStatusRequest>(request).and_then(|request| request.image);
        let reference = self.reference(asked);
        let answer = merged(call).filter(|_| call.outcome.is_ok());
        let Some(status) = answer.and_then(|answer| read::<v1::ImageStatusResponse>(&answer)) else { return };
        if status.image.is_none() {
            self.absent.entry(reference).or_default().add(call.id);
        } else if self.was_there(&reference) {
            self.found.entry(reference).or_default().add(call.id);
        }
    }

    fn pull_image(&mut self, call: &Call, request: &Bytes) {
        let asked = read::<v1::PullImageRequest>(request).and_then(|request| request.image);
        let reference = self.reference(asked);
        self.pulls.entry(reference.clone()).or_default().add(call.id);
        let answer = merged(call).filter(|_| call.outcome.is_ok());
        if let Some(pulled) = answer.and_then(|answer| read::<v1::PullImageResponse>(&answer)) {
            self.references.insert(pulled.image_ref.clone());
            self.names.entry(pulled.image_ref.clone()).or_default().extend(full(&reference));
            self.pulled.extend([full(&reference).unwrap_or(reference), pulled.image_ref]);
        }
    }

    /// Notes the names under which a request has an image; gives the one that the runtime goes by.
    fn reference(&mut self, image: Option<v1::ImageSpec>) -> String {
        let image = image.unwrap_or_default();
        self.references.extend(
            [&image.image, &image.user_specified_image].into_iter().filter(|it| !it.is_empty()).cloned(),
        );
        image.image
    }

    /// An image was removed: whatever it is named by, it has to be pulled again.
    fn forget(&mut self, image: &str) {
        let name = full(image).unwrap_or_else(|| image.to_owned());
        let is_it = |id: &String, names: &BTreeSet<String>| *id == name || names.contains(&name);
        for (id, names) in self.names.iter().filter(|(id, names)| is_it(id, names)) {
            self.pulled.remove(id);
            self.pulled.retain(|pulled| !names.contains(pulled));
        }
        self.pulled.remove(&name);
    }

    /// Everything by which an image is known that this names, the name itself too, in full as well.
    pub(crate) fn all_names(&self, image: &str) -> BTreeSet<String> {
        let mut all: BTreeSet<String> = full(image).into_iter().chain([image.to_owned()]).collect();
        for (id, names) in &self.names {
            if all.contains(id) || !names.is_disjoint(&all) {
                all.insert(id.clone());
                all.extend(names.iter().cloned());
            }
        }
        all
    }

    /// Ids and names of images that were there when the tape began and that no call brought again.
    pub(crate) fn names_from_before(&self) -> impl Iterator<Item = &String> {
        self.before.iter().flatten().filter(|name| !self.is_pulled(name))
    }

    /// Whether an image that is there was so from the beginning. What came later without a pull, the replay may bring as well.
    fn was_there(&self, reference: &str) -> bool {
        let was_there = match &self.before {
            Some(before) => {
                let names = self.names.get(reference);
                before.contains(reference)
                    || full(reference).is_some_and(|reference| before.contains(&reference))
                    || names.is_some_and(|names| !names.is_disjoint(before))
            }
            None => !self.absent.contains_key(reference),
        };
        was_there && !self.is_pulled(reference)
    }

    /// Whether a call has pulled this image.
    fn is_pulled(&self, reference: &str) -> bool {
        self.pulled.contains(reference)
            || full(reference).is_some_and(|reference| self.pulled.contains(&reference))
            || self.names.get(reference).is_some_and(|names| !names.is_disjoint(&self.pulled))
    }

    fn image_list(&mut self, list: &Bytes) {
        let list = read::<v1::ListImagesResponse>(list).unwrap_or_default();
        list.images.into_iter().for_each(|image| self.image(image));
    }

    fn image(&mut self, image: v1::Image) {
        let names: BTreeSet<String> = image.repo_tags.into_iter().chain(image.repo_digests).collect();
        self.references.extend(names.iter().cloned());
        self.names.entry(image.id).or_default().extend(names);
    }

    fn runtime_config(&mut self, answer: &Bytes) {
        let config = read::<v1::RuntimeConfigResponse>(answer);
        self.driver =
            config.and_then(|config| config.linux).map(|linux| linux.cgroup_driver()).or(self.driver);
    }
}

/// Whether a removal says no image, so that nobody knows what it would remove.
pub(crate) fn names_no_image(call: &Call, method: &Method) -> bool {
    method.name == "RemoveImage" && call.request().is_some() && request_ids(call).is_empty()
}

/// Whether something in these bytes is sealed.
pub(crate) fn has_token(bytes: &[u8]) -> bool {
    bytes.windows(SEALED.len()).any(|part| part == SEALED)
}

/// A message in the types of v1, whose numbers are those of every generation.
fn read<M: Message + Default>(bytes: &Bytes) -> Option<M> {
    M::decode(bytes.as_ref()).ok()
}
