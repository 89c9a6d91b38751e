//! Calls that are kept in memory without what their answers repeat.
//!
//! A node lists the same objects every second. Each element of an answer is kept once; an answer is the numbers of its elements.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use cri::wire::fields;
use critape_calls::{Body, Call, CallId};
use foldhash::fast::RandomState;

/// Calls in the order in which they were put.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    calls: Vec<Shelved>,
    /// Where each call stands, once they are sorted.
    places: HashMap<CallId, usize>,
    elements: Vec<Bytes>,
    numbers: HashMap<Bytes, u32, RandomState>,
}

#[derive(Debug)]
struct Shelved {
    /// Without the bytes of its answers.
    head: Call,
    /// The elements of each answer; of one that was not kept, none.
    answers: Vec<Vec<u32>>,
}

impl Shelf {
    pub(crate) fn put(&mut self, mut call: Call) {
        let answers = call.responses.iter_mut().map(|message| match &mut message.body {
            Body::Kept(bytes) => self.take_apart(&std::mem::take(bytes)),
            Body::Shed(_) => Vec::new(),
        });
        let answers = answers.collect();
        self.calls.push(Shelved { head: call, answers });
    }

    /// The call at this place, whole. The place must be below [`Self::len`].
    pub(crate) fn call(&self, place: usize) -> Call {
        let Shelved { head, answers } = &self.calls[place];
        let mut call = head.clone();
        for (message, answer) in call.responses.iter_mut().zip(answers) {
            if let Body::Kept(bytes) = &mut message.body {
                *bytes = self.put_together(answer);
            }
        }
        call
    }

    /// All calls without the bytes of their answers, in order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().map(|shelved| &shelved.head)
    }

    /// The call at this place, without what it says.
    pub(crate) fn head(&self, place: usize) -> &Call {
        &self.calls[place].head
    }

    /// The call with this number, whole; for a shelf that is sorted.
    pub(crate) fn find(&self, id: CallId) -> Option<Call> {
        self.places.get(&id).map(|place| self.call(*place))
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Puts them in the order of their starts.
    pub(crate) fn sort(&mut self) {
        self.calls.sort_by_key(|shelved| (shelved.head.started, shelved.head.id));
        self.places = self.heads().enumerate().map(|(place, head)| (head.id, place)).collect();
    }

    /// The numbers of the fields of a message; of bytes that are no message, one number for all.
    fn take_apart(&mut self, message: &Bytes) -> Vec<u32> {
        let mut numbers = Vec::new();
        for field in fields(message) {
            let Ok(field) = field else { return vec![self.number(message)] };
            numbers.push(self.number(field.whole));
        }
        numbers
    }

    fn number(&mut self, element: &[u8]) -> u32 {
        if let Some(number) = self.numbers.get(element) {
            return *number;
        }
        // A copy: a slice would keep the whole message.
        let element = Bytes::copy_from_slice(element);
        let number = self.elements.len() as u32;
        self.elements.push(element.clone());
        self.numbers.insert(element, number);
        number
    }

    fn put_together(&self, numbers: &[u32]) -> Bytes {
        if let [one] = numbers {
            return self.elements[*one as usize].clone();
        }
        let elements = || numbers.iter().map(|number| &self.elements[*number as usize]);
        let mut message = BytesMut::with_capacity(elements().map(Bytes::len).sum());
        elements().for_each(|element| message.extend_from_slice(element));
        message.freeze()
    }
}
