//! Messages taken apart, so that what repeats is stored once.
//!
//! Kubelet lists the same pods and containers every second, in an order that means nothing, and little in them changes. So a
//! message is cut into its top-level fields. Each that names an object has a slot, which holds the object's last version: one that
//! has not changed is written as the number of its slot, one that has as its difference from that version, and anything else in
//! full. Slots count from the segment's beginning, so a segment stands on its own, and the bytes of a message come back exactly as
//! they were.
//!
//! [`Writer`] and [`Reader`] keep the same slots: what one changes the other changes.

mod patch;

use std::collections::HashMap;
use std::hash::BuildHasher;

use bytes::Bytes;
use cri::wire::{WireField, fields};
use foldhash::fast::RandomState;
use patch::{put, take};

/// Shorter messages are written in full: there is little to gain.
const SHORTEST_MESSAGE: usize = 128;
/// Shorter fields are not told apart.
const SHORTEST_ELEMENT: usize = 48;
/// Longer ones are not kept for later.
const LONGEST_ELEMENT: usize = 1024 * 1024;
/// When the slots hold this much, both sides forget all of them.
const MOST_BYTES: usize = 3 * 1024 * 1024;
const MOST_SLOTS: usize = 1 << 16;

/// What stands next in a message that was taken apart, as a number. An even one is twice the number of a slot whose element has not
/// changed; the odd ones are these, and twice a slot's number beyond the last of them for one that has changed.
const LITERAL: usize = 1;
const DEFINED: usize = 3;
const FORGET: usize = 5;
const CHANGED: usize = 7;

/// The last version of each object.
#[derive(Debug, Default)]
struct Slots {
    last: Vec<Bytes>,
    bytes: usize,
}

impl Slots {
    fn define(&mut self, element: Bytes) -> usize {
        self.bytes += element.len();
        self.last.push(element);
        self.last.len() - 1
    }

    fn change(&mut self, slot: usize, element: Bytes) {
        if let Some(last) = self.last.get_mut(slot) {
            self.bytes = self.bytes - last.len() + element.len();
            *last = element;
        }
    }

    fn is_full(&self) -> bool {
        self.bytes >= MOST_BYTES || self.last.len() >= MOST_SLOTS
    }
}

/// Takes messages apart.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    slots: Slots,
    /// The slot of each object, by what names it.
    by_object: HashMap<u64, usize, RandomState>,
}

impl Writer {
    /// The message taken apart; `None` where it is better written in full. Objects are told apart within messages of one `kind`.
    pub(crate) fn take_apart(&mut self, kind: &str, message: &Bytes) -> Option<Vec<u8>> {
        if message.len() < SHORTEST_MESSAGE {
            return None;
        }
        let mut out = Vec::new();
        if self.slots.is_full() {
            *self = Self::default();
            put(&mut out, FORGET);
        }
        let mut literal = 0;
        let mut at = 0;
        // What follows an error is no field.
        for field in fields(message).map_while(Result::ok) {
            let end = at + field.whole.len();
            if (SHORTEST_ELEMENT..=LONGEST_ELEMENT).contains(&field.content.len()) {
                put_literal(&mut out, &message[literal..at]);
                let object = self.object_of(kind, field);
                self.put_element(&mut out, object, field.whole);
                literal = end;
            }
            at = end;
        }
        put_literal(&mut out, &message[literal..]);
        Some(out)
    }

    /// What names the object whose state an element is: the kind of message, the field it stands in, and its own first field, which
    /// is an id, or attributes with an id first.
    fn object_of(&self, kind: &str, element: WireField<'_>) -> u64 {
        let first = fields(element.content).next().and_then(Result::ok).map(|first| first.content);
        self.by_object.hasher().hash_one((kind, element.number, first))
    }

    fn put_element(&mut self, out: &mut Vec<u8>, object: u64, element: &[u8]) {
        // A copy: a slice would keep the whole message.
        let kept = || Bytes::copy_from_slice(element);
        let Some(slot) = self.by_object.get(&object).copied() else {
            self.by_object.insert(object, self.slots.define(kept()));
            put(out, DEFINED);
            put_bytes(out, element);
            return;
        };
        let last = &self.slots.last[slot];
        if *last == element {
            put(out, slot * 2);
            return;
        }
        put(out, CHANGED + slot * 2);
        put_bytes(out, &patch::diff(last, element));
        self.slots.change(slot, kept());
    }
}

/// Puts messages together again.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    slots: Slots,
    /// Whether a part of the segment is missing, so that it is not known what the slots hold.
    is_lost: bool,
}

impl Reader {
    /// The message that was taken apart; `None` where the bytes are not what a [`Writer`] wrote. `limit` is the most that a message
    /// may grow to.
    pub(crate) fn put_together(&mut self, mut parts: &[u8], limit: usize) -> Option<Bytes> {
        let mut message = Vec::with_capacity(self.length(parts).min(limit));
        while !parts.is_empty() {
            match take(&mut parts)? {
                FORGET => *self = Self::default(),
                LITERAL => message.extend_from_slice(take_bytes(&mut parts)?),
                DEFINED => {
                    let element = Bytes::copy_from_slice(take_bytes(&mut parts)?);
                    message.extend_from_slice(&element);
                    // Which slot it is in can't be told where some are missing.
                    if !self.is_lost {
                        self.slots.define(element);
                    }
                }
                slot if slot % 2 == 0 => message.extend_from_slice(self.slots.last.get(slot / 2)?),
                changed => {
                    let slot = (changed - CHANGED) / 2;
                    let last = self.slots.last.get(slot)?;
                    let limit = LONGEST_ELEMENT + LONGEST_HEAD;
                    let element: Bytes = patch::apply(last, take_bytes(&mut parts)?, limit)?.into();
                    message.extend_from_slice(&element);
                    self.slots.change(slot, element);
                }
            }
            if message.len() > limit {
                return None;
            }
        }
        Some(message.into())
    }

    /// How long a message will be; less where it repeats what it brought itself.
    fn length(&self, mut parts: &[u8]) -> usize {
        let slot = |slot: usize| self.slots.last.get(slot).map_or(0, Bytes::len);
        let mut length = 0;
        while !parts.is_empty() {
            let Some(step) = take(&mut parts) else { break };
            length += match step {
                FORGET => continue,
                step if step % 2 == 0 && !matches!(step, LITERAL | DEFINED) => slot(step / 2),
                step => {
                    let Some(bytes) = take_bytes(&mut parts) else { break };
                    let stands_here = matches!(step, LITERAL | DEFINED);
                    bytes.len() + if stands_here { 0 } else { slot((step - CHANGED) / 2) }
                }
            };
        }
        length
    }

    /// Takes note that messages are missing here. Those that follow and refer to what was before can't be put together, until the
    /// writer forgets as well.
    pub(crate) fn lose(&mut self) {
        *self = Self { slots: Slots::default(), is_lost: true };
    }
}

/// How long a message that can't be put together is at least.
pub(crate) fn least_length(mut parts: &[u8]) -> usize {
    let mut length = 0;
    while !parts.is_empty() {
        let Some(step) = take(&mut parts) else { break };
        let stands_here = matches!(step, LITERAL | DEFINED);
        if stands_here || (step % 2 == 1 && step != FORGET) {
            let Some(bytes) = take_bytes(&mut parts) else { break };
            length += if stands_here { bytes.len() } else { 0 };
        }
    }
    length
}

/// Key and length of a field take this much at most.
const LONGEST_HEAD: usize = 20;

fn put_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        put(out, LITERAL);
        put_bytes(out, bytes);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn take_bytes<'a>(parts: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(parts)?;
    let (bytes, rest) = parts.split_at_checked(length)?;
    *parts = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::v1;
    use proptest::prelude::*;
    use prost::Message;

    const LIMIT: usize = 100 << 20;

    fn container(index: usize) -> v1::Container {
        v1::Container {
            id: format!("{index:064x}"),
            pod_sandbox_id: format!("{:064x}", index + 1000),
            created_at: 1_790_000_000_000_000_000 + index as i64,
            labels: [("io.kubernetes.pod.name".to_owned(), format!("pod-{index}"))].into(),
            ..Default::default()
        }
    }

    fn usage(index: usize, time: u64) -> v1::ContainerStats {
        let value = |value| Some(v1::UInt64Value { value });
        let timestamp = 1_790_000_000_000_000_000 + time as i64 * 1_000_000_007;
        v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes { id: format!("{index:064x}"), ..Default::default() }),
            cpu: Some(v1::CpuUsage {
                timestamp,
                usage_core_nano_seconds: value(time * 1_234_567 + index as u64),
                usage_nano_cores: value(time % 977 + 100),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_list_that_repeats_in_another_order_costs_little() {
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        let mut containers: Vec<_> = (0..220).map(container).collect();
        for round in 0..5 {
            containers.rotate_left(37);
            let message: Bytes =
                v1::ListContainersResponse { containers: containers.clone() }.encode_to_vec().into();
            let parts = writer.take_apart("m", &message).unwrap();
            if round > 0 {
                assert!(parts.len() * 20 < message.len(), "{} of {}", parts.len(), message.len());
            }
            assert_eq!(reader.put_together(&parts, LIMIT), Some(message));
        }
    }

    #[test]
    fn after_a_hole_nothing_is_put_together_of_what_may_be_wrong() {
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        let list = |range: std::ops::Range<usize>| -> Bytes {
            let containers = range.map(container).collect();
            v1::ListContainersResponse { containers }.encode_to_vec().into()
        };
        let first = writer.take_apart("m", &list(0..9)).unwrap();
        assert_eq!(reader.put_together(&first, LIMIT), Some(list(0..9)));
        let missing = writer.take_apart("m", &list(9..12)).unwrap();
        let new = writer.take_apart("m", &list(20..22)).unwrap();
        let again = writer.take_apart("m", &list(20..22)).unwrap();
        reader.lose();
        assert_eq!(reader.put_together(&new, LIMIT), Some(list(20..22)), "it refers to nothing");
        assert_eq!(reader.put_together(&again, LIMIT), None);
        assert_eq!(least_length(&missing), list(9..12).len());
        assert_eq!(least_length(&again), 0);
        let mut forgetting = vec![FORGET as u8];
        forgetting.extend(first);
        assert_eq!(reader.put_together(&forgetting, LIMIT), Some(list(0..9)));
    }

    #[test]
    fn a_new_version_is_a_difference() {
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        for time in 1..5 {
            let stats = (0..50).map(|index| usage(index, time)).collect();
            let message: Bytes = v1::ListContainerStatsResponse { stats }.encode_to_vec().into();
            let parts = writer.take_apart("m", &message).unwrap();
            if time > 1 {
                assert!(parts.len() * 2 < message.len(), "{} of {}", parts.len(), message.len());
            }
            assert_eq!(reader.put_together(&parts, LIMIT), Some(message));
        }
    }

    #[test]
    fn both_sides_forget_together_and_memory_is_bounded() {
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        for index in 0..40_u32 {
            let text = format!("{index}-").repeat(300_000);
            let spec = v1::ImageSpec { image: text, ..Default::default() };
            let message: Bytes =
                v1::ImageStatusRequest { image: Some(spec), verbose: false }.encode_to_vec().into();
            let parts = writer.take_apart("m", &message).unwrap();
            assert_eq!(reader.put_together(&parts, LIMIT), Some(message));
            assert!(writer.slots.bytes <= MOST_BYTES + 2 * LONGEST_ELEMENT);
        }
    }

    proptest! {
        #[test]
        fn every_message_comes_back_exactly(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..600), 1..8)) {
            let (mut writer, mut reader) = (Writer::default(), Reader::default());
            for message in messages {
                // Whatever it is, and again: it need not be protobuf.
                for message in [Bytes::from(message.clone()), Bytes::from(message)] {
                    if let Some(parts) = writer.take_apart("m", &message) {
                        prop_assert_eq!(reader.put_together(&parts, LIMIT), Some(message));
                    }
                }
            }
        }

        #[test]
        fn hostile_parts_never_panic(parts in proptest::collection::vec(0_u8..8, 0..300)) {
            let _ = least_length(&parts);
            let _ = Reader::default().put_together(&parts, 10_000);
        }
    }
}
