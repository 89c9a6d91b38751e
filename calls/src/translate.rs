//! Which id of one run stands for which id of another.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cri::IdentityKind;

use crate::CallId;
use crate::mapped::Mapped;
use crate::texts::{Folders, Texts, bare};

/// Why an id of the recording has no counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unbound {
    /// The call that makes it has not ended in the live run yet, or did not run.
    NotYetMade(CallId),
    /// The call that made it did not succeed in the live run.
    ProducerFailed(CallId),
    /// It was there before the tape began.
    OlderThanTape,
}

/// What became of an id in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// This stands for it.
    Live(String),
    /// No response of the recording ever showed it: it goes out as it is.
    AsItIs,
    /// It has no counterpart.
    Unbound(Unbound),
    /// It is a prefix that fits several things of the recording.
    Ambiguous,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Bound(String),
    Unbound(Unbound),
}

/// Ids of the recording and what stands for them in the live run, and back.
#[derive(Clone, Debug, Default)]
pub struct IdentityMap {
    known: BTreeMap<(Kind, String), Known>,
    live: HashSet<String>,
    /// Things of the recording that are no longer there: a prefix does not mean them.
    gone: HashSet<String>,
    forward: Texts,
    backward: Texts,
    mapped: Mapped,
    /// Recorded and live ids of images that have one content, so that the ids should be one as well.
    renamed: BTreeSet<(String, String)>,
    version: u64,
}

/// Sandboxes and containers share one space of ids in most runtimes, but a prefix is looked for within one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Sandbox,
    Container,
    Image,
    PodUid,
}

impl IdentityMap {
    /// From here on `live` stands for `recorded`.
    pub fn bind(&mut self, kind: IdentityKind, recorded: &str, live: &str) {
        if recorded.is_empty() || live.is_empty() {
            return;
        }
        for kind in kinds(kind) {
            self.know(*kind, recorded, Known::Bound(live.to_owned()));
        }
        self.live.insert(live.to_owned());
        // A tag that moved may have bound either of the two to something else before.
        if recorded != live || self.forward.has(recorded) {
            self.forward.add(recorded, live);
        }
        if recorded != live || self.backward.has(live) {
            self.backward.add(live, recorded);
        }
    }

    /// As [`Self::bind`], of an image that has the same content on both sides, and another id.
    pub fn bind_renamed(&mut self, recorded: &str, live: &str) {
        self.bind(IdentityKind::Image, recorded, live);
        self.renamed.insert((recorded.to_owned(), live.to_owned()));
    }

    /// Whether the two name an image that should have the same id on both sides.
    pub fn is_renamed(&self, recorded: &str, live: &str) -> bool {
        !self.renamed.is_empty() && self.renamed.contains(&(recorded.to_owned(), live.to_owned()))
    }

    /// From here on `live` stands for this reference of an image, where a request names one and in answers. Other text of requests
    /// stays as it is.
    pub fn map_reference(&mut self, recorded: &str, live: &str) {
        self.know(Kind::Image, recorded, Known::Bound(live.to_owned()));
        self.mapped.reference(recorded, live);
    }

    /// What stands for a reference that was mapped.
    pub fn mapped_reference(&self, recorded: &str) -> Option<&str> {
        self.mapped.live_reference(recorded)
    }

    /// From here on `live` stands for this port of the host.
    pub fn map_port(&mut self, recorded: u16, live: u16) {
        self.version += 1;
        self.mapped.port(recorded, live);
    }

    /// Whether the two are one port, or one stands for the other.
    pub fn is_same_port(&self, recorded: u16, live: u16) -> bool {
        recorded == live || self.mapped.is_port(recorded, live)
    }

    /// Text that begins with `recorded` begins with `live` in the live run: a folder that was moved.
    pub fn bind_folder(&mut self, recorded: &str, live: &str) {
        self.version += 1;
        self.forward.add_folder(recorded, live);
        self.backward.add_folder(live, recorded);
    }

    /// The recording shows this id, and nothing stands for it.
    pub fn declare(&mut self, kind: IdentityKind, recorded: &str, unbound: Unbound) {
        self.version += 1;
        for kind in kinds(kind) {
            self.known.entry((*kind, recorded.to_owned())).or_insert(Known::Unbound(unbound));
        }
    }

    /// The recording removed this thing: from here on no prefix means it.
    pub fn remove(&mut self, recorded: &str) {
        self.version += 1;
        self.gone.insert(recorded.to_owned());
    }

    /// The call that should have made this thing did not: so say requests about it.
    pub fn fail(&mut self, kind: IdentityKind, recorded: &str, call: CallId) {
        for kind in kinds(kind) {
            self.know(*kind, recorded, Known::Unbound(Unbound::ProducerFailed(call)));
        }
    }

    fn know(&mut self, kind: Kind, recorded: &str, known: Known) {
        if self.known.insert((kind, recorded.to_owned()), known.clone()) != Some(known) {
            self.version += 1;
        }
    }

    /// A number that grows whenever what this map says may have changed.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What an id in a request becomes. Unambiguous prefixes of sandbox, container and image ids are ids too.
    pub fn resolve(&self, kind: IdentityKind, recorded: &str) -> Resolution {
        let resolved = kinds(kind).iter().find_map(|kind| self.resolve_in(*kind, recorded));
        match resolved {
            Some(Resolution::Unbound(_)) if kind == IdentityKind::Image => self
                .mapped_reference(recorded)
                .map_or(Resolution::AsItIs, |live| Resolution::Live(live.to_owned())),
            Some(resolved) => resolved,
            None => Resolution::AsItIs,
        }
    }

    /// Whether something of the recording is bound to this live id.
    pub fn is_bound_live(&self, live: &str) -> bool {
        self.live.contains(live)
    }

    /// The text with every id of the recording replaced by its counterpart.
    pub fn to_live(&self, text: &str) -> String {
        self.forward.replace(text, Folders::Left)
    }

    /// The text with every live id replaced by the one of the recording.
    pub fn to_recorded(&self, text: &str) -> String {
        self.taken_back(text, Folders::Left)
    }

    /// As [`Self::to_live`], for a text that may name paths of the host: moved folders are replaced as well.
    pub fn to_live_path(&self, text: &str) -> String {
        self.forward.replace(text, Folders::Moved)
    }

    /// As [`Self::to_recorded`], for a text that may name paths of the host.
    pub fn to_recorded_path(&self, text: &str) -> String {
        self.taken_back(text, Folders::Moved)
    }

    fn taken_back(&self, text: &str, folders: Folders) -> String {
        match self.mapped.recorded_text(text) {
            Some(text) => self.backward.replace(&text, folders),
            None => self.backward.replace(text, folders),
        }
    }

    fn resolve_in(&self, kind: Kind, recorded: &str) -> Option<Resolution> {
        if let Some(known) = self.known.get(&(kind, recorded.to_owned())) {
            return Some(match known {
                Known::Bound(live) => Resolution::Live(live.clone()),
                Known::Unbound(unbound) => Resolution::Unbound(*unbound),
            });
        }
        if kind == Kind::PodUid
            || recorded.is_empty()
            || !recorded.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return None;
        }
        let fits: Vec<&Known> = self
            .with_prefix(kind, recorded)
            .chain(self.with_prefix(kind, &format!("sha256:{recorded}")))
            .filter(|(id, known)| {
                let made = !matches!(known, Known::Unbound(Unbound::NotYetMade(_)));
                made && !self.gone.contains(id.as_str())
            })
            .map(|(_, known)| known)
            .collect();
        Some(match fits.as_slice() {
            [] => return None,
            [Known::Bound(live)] => Resolution::Live(self.shortened(live, recorded.len())),
            [Known::Unbound(unbound)] => Resolution::Unbound(*unbound),
            // Something as ambiguous here would be answered in other words.
            _ => Resolution::Ambiguous,
        })
    }

    /// As much of a live id as the recording used of its own, unless that would fit another live id too.
    fn shortened(&self, live: &str, length: usize) -> String {
        let bare = bare(live);
        let short = bare.get(..length).unwrap_or(bare);
        let unique = self.live.iter().filter(|live| live.starts_with(short)).count() <= 1;
        if unique { short.to_owned() } else { live.to_owned() }
    }

    fn with_prefix<'a>(
        &'a self,
        kind: Kind,
        prefix: &str,
    ) -> impl Iterator<Item = (&'a String, &'a Known)> + use<'a> {
        let prefix = prefix.to_owned();
        self.known
            .range((kind, prefix.clone())..)
            .take_while(move |((found, id), _)| *found == kind && id.starts_with(&prefix))
            .map(|((_, id), known)| (id, known))
    }
}

fn kinds(kind: IdentityKind) -> &'static [Kind] {
    match kind {
        IdentityKind::Sandbox => &[Kind::Sandbox],
        IdentityKind::Container => &[Kind::Container],
        IdentityKind::Object => &[Kind::Container, Kind::Sandbox],
        IdentityKind::Image => &[Kind::Image],
        IdentityKind::PodUid => &[Kind::PodUid],
        IdentityKind::Token => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use IdentityKind::{Container, Image, PodUid, Sandbox};

    const A: &str = "aa11111111111111111111111111111111111111111111111111111111111111";
    const B: &str = "bb22222222222222222222222222222222222222222222222222222222222222";
    const UID: &str = "0f3a1c9e-1111-4222-8333-444455556666";
    const FRESH: &str = "5d5d5d5d-9999-4888-8777-666655554444";

    fn map() -> IdentityMap {
        let mut map = IdentityMap::default();
        map.bind(Sandbox, A, B);
        map.bind(PodUid, UID, FRESH);
        map
    }

    #[test]
    fn whole_ids_and_prefixes_are_resolved() {
        let map = map();
        assert_eq!(map.resolve(Sandbox, A), Resolution::Live(B.into()));
        assert_eq!(map.resolve(Sandbox, "aa111"), Resolution::Live("bb222".into()));
        assert_eq!(map.resolve(Container, A), Resolution::AsItIs, "another kind");
        assert_eq!(map.resolve(Sandbox, "cc"), Resolution::AsItIs, "made up");
        assert_eq!(map.resolve(Sandbox, ""), Resolution::AsItIs);
    }

    #[test]
    fn a_prefix_stays_unambiguous_on_the_other_side() {
        let mut map = map();
        map.bind(Sandbox, &A.replace("aa", "ab"), &B.replace("bb2222", "bb2223"));
        assert_eq!(map.resolve(Sandbox, "aa1"), Resolution::Live(B.into()), "bb2 would fit both");
        assert_eq!(map.resolve(Sandbox, "a"), Resolution::Ambiguous, "in the recording as well");
    }

    #[test]
    fn a_prefix_means_what_is_there_at_the_moment() {
        let mut map = map();
        let other = A.replace("aa", "ab");
        map.declare(Sandbox, &other, Unbound::NotYetMade(CallId(9)));
        assert_eq!(map.resolve(Sandbox, "a"), Resolution::Live("b".into()), "the other is not there yet");
        map.bind(Sandbox, &other, &B.replace("bb", "c0"));
        assert_eq!(map.resolve(Sandbox, "a"), Resolution::Ambiguous, "both are there");
        map.remove(A);
        assert_eq!(map.resolve(Sandbox, "a"), Resolution::Live("c".into()));
        assert_eq!(
            map.resolve(Sandbox, A),
            Resolution::Live(B.into()),
            "in full it still means what is gone"
        );
    }

    #[test]
    fn ids_without_a_counterpart_say_why() {
        let mut map = map();
        map.declare(Container, "c1", Unbound::OlderThanTape);
        map.declare(Image, "sha256:c2", Unbound::OlderThanTape);
        assert_eq!(map.resolve(Container, "c1"), Resolution::Unbound(Unbound::OlderThanTape));
        assert_eq!(map.resolve(Image, "sha256:c2"), Resolution::AsItIs, "images bind by reference");
        map.bind(Container, "c1", "c9");
        assert_eq!(map.resolve(Container, "c1"), Resolution::Live("c9".into()));
    }

    #[test]
    fn ids_inside_text_are_replaced_both_ways() {
        let map = map();
        let text = format!("/var/log/pods/default_web_{UID}/x: sandbox \"{A}\" in {} gone", &A[..13]);
        let live = map.to_live(&text);
        assert_eq!(
            live,
            format!("/var/log/pods/default_web_{FRESH}/x: sandbox \"{B}\" in {} gone", &B[..13])
        );
        assert_eq!(map.to_recorded(&live), text);
    }

    #[test]
    fn systemd_spells_a_uid_with_underscores() {
        let slice = format!("/kubepods-pod{}.slice", UID.replace('-', "_"));
        assert_eq!(map().to_live(&slice), format!("/kubepods-pod{}.slice", FRESH.replace('-', "_")));
    }

    #[test]
    fn what_only_contains_an_id_is_left_alone() {
        let map = map();
        for text in ["aa", "x", &format!("{A}00"), &format!("9{A}"), "aa1111"] {
            assert_eq!(map.to_live(text), text);
        }
    }

    #[test]
    fn a_short_uid_is_replaced_where_it_is_a_uid_and_nowhere_else() {
        let mut map = IdentityMap::default();
        map.bind(PodUid, "1", "1-5d5d5d5d");
        assert_eq!(map.resolve(PodUid, "1"), Resolution::Live("1-5d5d5d5d".into()));
        assert_eq!(map.to_live("1"), "1");
        assert_eq!(map.to_recorded("pod 1-5d5d5d5d"), "pod 1");
    }

    #[test]
    fn folders_are_moved_at_the_beginning_of_a_path() {
        let mut map = map();
        map.bind_folder("/data", "/scratch/1");
        map.bind_folder("/data/deep", "/scratch/2");
        assert_eq!(map.to_live_path("/data/x"), "/scratch/1/x");
        assert_eq!(map.to_live_path("/data/deep/x"), "/scratch/2/x");
        assert_eq!(map.to_live_path("/database"), "/database");
        assert_eq!(map.to_live_path("/other/data"), "/other/data");
        assert_eq!(map.to_recorded_path("open /scratch/2: no"), "open /data/deep: no");
        assert_eq!(map.to_live("/data/x"), "/data/x", "perhaps a path inside a container");
    }

    /// The tag had moved between two pulls of the recording, and leads to the later image from the beginning now.
    #[test]
    fn an_image_may_stand_for_two_and_for_itself() {
        let (before, after) = (format!("sha256:{A}"), format!("sha256:{B}"));
        let mut ids = IdentityMap::default();
        ids.bind(Image, &before, &after);
        ids.bind(Image, &after, &after);
        assert_eq!(ids.resolve(Image, &before), Resolution::Live(after.clone()));
        assert_eq!(ids.resolve(Image, &after), Resolution::Live(after.clone()));
        assert_eq!(ids.to_recorded(&after), after);
        assert_eq!(ids.to_recorded(&format!("image {B}")), format!("image {B}"), "inside text as well");
        assert_eq!(ids.to_live(&format!("image {A}")), format!("image {B}"));
    }

    #[test]
    fn image_ids_are_found_without_their_algorithm() {
        let mut map = IdentityMap::default();
        map.bind(Image, &format!("sha256:{A}"), &format!("sha256:{B}"));
        assert_eq!(map.resolve(Image, "aa1111111"), Resolution::Live("bb2222222".into()));
        assert_eq!(map.to_live(&format!("x@sha256:{A}")), format!("x@sha256:{B}"));
    }
}
