//! What a message says that was not said before.
//!
//! Kubelet lists the same pods and containers every second. Whoever learns something from each message needs to read only the
//! elements that are new, or other than when they were last seen.

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use cri::wire::fields;
use foldhash::quality::RandomState;

/// The last version of each object that messages have shown.
#[derive(Debug, Default)]
pub struct Repeats {
    last: HashMap<u64, u64, RandomState>,
}

impl Repeats {
    /// The message without the elements that their object was last seen with, among messages of this `kind`. An object is known by
    /// the first field of its element, which is its id or has it in front. Bytes that are no message come back as they are.
    pub fn news(&mut self, kind: &str, message: &Bytes) -> Bytes {
        self.without_seen(kind, message, |hasher, content| hasher.hash_one(content))
    }

    /// As [`Self::news`], for messages that never repeat and of which only the objects matter: without the elements whose object was
    /// seen.
    pub fn new_objects(&mut self, kind: &str, message: &Bytes) -> Bytes {
        self.without_seen(kind, message, |_, _| 0)
    }

    fn without_seen(
        &mut self,
        kind: &str,
        message: &Bytes,
        version: impl Fn(&RandomState, &[u8]) -> u64,
    ) -> Bytes {
        let mut fresh: Vec<&[u8]> = Vec::new();
        let mut count = 0;
        for field in fields(message) {
            let Ok(field) = field else { return message.clone() };
            count += 1;
            let name = fields(field.content).next().and_then(Result::ok).map(|first| first.whole);
            let object = self.last.hasher().hash_one((kind, field.number, name));
            let version = version(self.last.hasher(), field.content);
            if !field.is_delimited || self.last.insert(object, version) != Some(version) {
                fresh.push(field.whole);
            }
        }
        if fresh.len() == count { message.clone() } else { fresh.concat().into() }
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
    fn what_is_no_message_comes_back() {
        let broken = Bytes::from_static(b"\x0a\x05z");
        let mut repeats = Repeats::default();
        assert_eq!(repeats.news("m", &broken), broken);
        assert_eq!(repeats.news("m", &broken), broken);
    }
}
