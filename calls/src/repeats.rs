//! What a message says that was not said before.
//!
//! Kubelet lists the same pods and containers every second. Whoever learns something from each message needs to read only the
//! elements that are new, or other than when they were last seen.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use cri::wire::fields;
use foldhash::quality::RandomState;

/// When the versions take more than this, it begins anew: what was said may be news again.
const MOST_BYTES: usize = 32 << 20;
/// What each takes besides.
const ENTRY_BYTES: usize = 48;

/// The last version of each object that messages have shown.
#[derive(Debug, Default)]
pub struct Repeats {
    /// By hash of what names the object.
    last: HashMap<u64, Box<[u8]>, RandomState>,
    /// What the versions take.
    bytes: usize,
}

impl Repeats {
    /// The message without the elements that their object was last seen with, among messages of this `kind`. An object is known by
    /// the first field of its element, which is its id or has it in front. Bytes that are no message come back as they are.
    pub fn news(&mut self, kind: &str, message: &Bytes) -> Bytes {
        self.without_seen(kind, message, |content| content)
    }

    /// As [`Self::news`], for messages that never repeat and of which only the objects matter: without the elements whose object was
    /// seen.
    pub fn new_objects(&mut self, kind: &str, message: &Bytes) -> Bytes {
        self.without_seen(kind, message, |_| &[])
    }

    fn without_seen(&mut self, kind: &str, message: &Bytes, version: impl Fn(&[u8]) -> &[u8]) -> Bytes {
        let kind_hash = self.last.hasher().hash_one(kind);
        let mut fresh: Vec<&[u8]> = Vec::new();
        let mut count = 0;
        for field in fields(message) {
            let Ok(field) = field else { return message.clone() };
            count += 1;
            let name = fields(field.content).next().and_then(Result::ok).map(|first| first.whole);
            let object = self.last.hasher().hash_one((kind_hash, field.number, name));
            if !field.is_delimited || self.is_new(object, version(field.content)) {
                fresh.push(field.whole);
            }
        }
        if fresh.len() == count { message.clone() } else { fresh.concat().into() }
    }

    /// Whether this is another version of the object than the last; then it is the last.
    fn is_new(&mut self, object: u64, version: &[u8]) -> bool {
        if let Some(last) = self.last.get_mut(&object) {
            if **last == *version {
                return false;
            }
            self.bytes = self.bytes - last.len() + version.len();
            *last = version.into();
        } else {
            self.bytes += version.len() + ENTRY_BYTES;
            self.last.insert(object, version.into());
        }
        if self.bytes > MOST_BYTES {
            self.last.clear();
            self.bytes = 0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::v1;
    use prost::Message;

    fn list(containers: &[(&str, i32)]) -> Bytes {
        let containers = containers
            .iter()
            .map(|(id, state)| v1::Container { id: (*id).into(), state: *state, ..Default::default() })
            .collect();
        v1::ListContainersResponse { containers }.encode_to_vec().into()
    }

    #[test]
    fn only_what_has_changed_is_news() {
        let mut repeats = Repeats::default();
        let first = list(&[("a", 0), ("b", 0)]);
        assert_eq!(repeats.news("m", &first), first);
        assert_eq!(repeats.news("m", &list(&[("b", 0), ("a", 0)])), Bytes::new());
        assert_eq!(repeats.news("m", &list(&[("a", 0), ("b", 1), ("c", 0)])), list(&[("b", 1), ("c", 0)]));
        assert_eq!(repeats.news("m", &list(&[("b", 0)])), list(&[("b", 0)]), "back again");
        assert_eq!(repeats.news("n", &first), first, "another kind");
        assert_eq!(repeats.new_objects("o", &first), first);
        assert_eq!(repeats.new_objects("o", &list(&[("a", 5), ("c", 0), ("b", 0)])), list(&[("c", 0)]));
    }

    #[test]
    fn what_belongs_to_no_object_comes_back_each_time() {
        let status = v1::ContainerStatus { id: "a".into(), ..Default::default() };
        let exited = v1::ContainerStatus { exit_code: 3, ..status.clone() }.encode_to_vec().into();
        let (status, mut repeats) = (Bytes::from(status.encode_to_vec()), Repeats::default());
        let exit_code =
            Bytes::from(v1::ContainerStatus { exit_code: 3, ..Default::default() }.encode_to_vec());
        assert_eq!(repeats.news("m", &status), status);
        assert_eq!(repeats.news("m", &status), Bytes::new());
        assert_eq!(repeats.news("m", &exited), exit_code);
        assert_eq!(repeats.news("m", &exited), exit_code);
    }

    #[test]
    fn what_is_no_message_comes_back() {
        let broken = Bytes::from_static(b"\x0a\x05z");
        let mut repeats = Repeats::default();
        assert_eq!(repeats.news("m", &broken), broken);
        assert_eq!(repeats.news("m", &broken), broken);
    }
}
