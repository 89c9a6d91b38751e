//! An object as an element of a list, in the bytes that it has on the wire.

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, encode_key, encode_varint, int32, skip_field};

/// All lists are field 1 of their messages.
const LIST: u32 = 1;

/// The bytes of an element besides its own, at most: its field's key, its length, its state.
const MOST_BESIDES: usize = 24;

/// An object encoded once, but for its state, which is put in whenever it is listed. It holds what of an object never
/// changes, and so is never out of date.
#[derive(Debug)]
pub(crate) struct Element {
    /// Fields come in the order of their numbers: these are before the state.
    before: Vec<u8>,
    state: u32,
    after: Vec<u8>,
}

impl Element {
    /// An element whose field of this number is its state.
    pub(crate) fn new(element: &impl Message, state: u32) -> Self {
        let mut before = element.encode_to_vec();
        let from = start_of(state, &before);
        let to = start_of(state + 1, &before);
        let after = before.split_off(to);
        before.truncate(from);
        Self { before, state, after }
    }

    /// Appends it to a list, in this state.
    pub(crate) fn append(&self, state: i32, list: &mut Vec<u8>) {
        // As everywhere in proto3, a zero is not written.
        let state_length = if state == 0 { 0 } else { int32::encoded_len(self.state, &state) };
        begin(self.before.len() + state_length + self.after.len(), list);
        list.extend_from_slice(&self.before);
        if state != 0 {
            int32::encode(self.state, &state, list);
        }
        list.extend_from_slice(&self.after);
    }

    /// At least as many bytes as it takes in a list.
    pub(crate) fn room(&self) -> usize {
        self.before.len() + self.after.len() + MOST_BESIDES
    }
}

/// Appends an element to a list of which the first fields are encoded, and the others are in a message.
pub(crate) fn append(first: &[u8], others: &impl Message, list: &mut Vec<u8>) {
    begin(first.len() + others.encoded_len(), list);
    list.extend_from_slice(first);
    others.encode_raw(list);
}

/// Begins an element that takes so many bytes.
fn begin(length: usize, list: &mut Vec<u8>) {
    encode_key(LIST, WireType::LengthDelimited, list);
    encode_varint(length as u64, list);
}

/// Where in a message the fields of this and higher numbers begin.
fn start_of(number: u32, message: &[u8]) -> usize {
    let mut rest = message;
    loop {
        let at = message.len() - rest.len();
        match decode_key(&mut rest) {
            Ok((field, kind)) if field < number => {
                // What was just encoded can be read.
                let _ = skip_field(kind, field, &mut rest, DecodeContext::default());
            }
            _ => return at,
        }
    }
}

#[cfg(test)]
mod tests {
    use cri::v1;

    use super::*;

    fn sandbox(name: &str, state: v1::PodSandboxState) -> v1::PodSandbox {
        let text = |text: &str| text.to_owned();
        v1::PodSandbox {
            id: text(name),
            metadata: Some(v1::PodSandboxMetadata { name: text(name), ..v1::PodSandboxMetadata::default() }),
            state: state.into(),
            created_at: 1 << 60,
            labels: [(text("a"), text("b")), (text("c"), String::new())].into(),
            ..v1::PodSandbox::default()
        }
    }

    #[test]
    fn elements_one_after_the_other_are_the_list() {
        let states = [v1::PodSandboxState::SandboxReady, v1::PodSandboxState::SandboxNotready];
        // Empty ones, short ones, and such as need more than one byte for their length.
        let names = [String::new(), "x".to_owned(), "long".repeat(100)];
        for encoded_in in states {
            let mut list = Vec::new();
            let mut items = Vec::new();
            for (name, state) in names.iter().flat_map(|name| states.map(|state| (name, state))) {
                Element::new(&sandbox(name, encoded_in), 3).append(state.into(), &mut list);
                items.push(sandbox(name, state));
            }
            assert_eq!(list, v1::ListPodSandboxResponse { items }.encode_to_vec());
        }
    }

    #[test]
    fn an_element_may_have_nothing_on_either_side_of_its_state() {
        let mut list = Vec::new();
        Element::new(&v1::Container::default(), 6).append(2, &mut list);
        let only = v1::Container { state: 2, ..v1::Container::default() };
        assert_eq!(list, v1::ListContainersResponse { containers: vec![only] }.encode_to_vec());
    }
}
