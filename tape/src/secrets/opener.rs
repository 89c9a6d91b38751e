//! Opens what was sealed, for who has the key; and tells what a request lacks for who has not.

use bytes::Bytes;
use critape_calls::{Body, Event, EventKind, Metadata, Opening, OpeningAnswer};

use super::calls::{Calls, Messages, shape_of};
use super::leaves::{Lacks, shapes};
use super::token::{Cipher, Refused, find, is_token};
use super::walk::{Place, Stop, Unreadable, walk};
use super::{Key, SealPolicy};

/// Opens the events of one tape, in their order.
#[derive(Debug)]
pub(crate) struct Opener {
    cipher: Cipher,
    calls: Calls,
}

impl Opener {
    pub(crate) fn new(key: &Key) -> Self {
        Self { cipher: Cipher::new(key), calls: Calls::default() }
    }

    /// What tells the key from another.
    pub(crate) fn check(&mut self) -> Vec<u8> {
        self.cipher.check()
    }

    /// Another segment begins.
    pub(crate) fn begin_segment(&mut self) {
        self.calls.begin_segment();
    }

    /// Takes note of an event that is not sealed, or by another key.
    pub(crate) fn pass(&mut self, event: &Event) {
        self.calls.observe(&event.kind);
    }

    /// The event as it came.
    pub(crate) fn open(&mut self, event: &mut Event) -> Result<(), Refused> {
        self.calls.observe(&event.kind);
        let shape = shape_of(&self.calls, event);
        match &mut event.kind {
            EventKind::CallStarted { metadata, .. }
            | EventKind::ResponseStarted { metadata, .. }
            | EventKind::Trailers { metadata, .. } => self.metadata(metadata),
            EventKind::CallContinues { metadata, request, .. } => {
                self.metadata(metadata)?;
                request.as_mut().map_or(Ok(()), |request| self.body(shape, request))
            }
            EventKind::Message { body: Body::Kept(body), .. } => self.body(shape, body),
            EventKind::Opening(Opening { answers }) => {
                answers.iter_mut().try_for_each(|answer| self.answer(answer))
            }
            EventKind::ConnectionLost { reason, .. } => self.string(reason),
            _ => Ok(()),
        }
    }

    fn body(&mut self, shape: Option<usize>, body: &mut Bytes) -> Result<(), Refused> {
        let opened = match shape {
            // Nearly all hold none.
            _ if find(body).is_none() => None,
            // No message begins like this: it would be a group.
            _ if is_token(body) => self.cipher.open_all(body)?,
            // Of a call of which nothing is known, only whole messages are sealed.
            None => None,
            Some(shape) => {
                let cipher = &mut self.cipher;
                let mut open = |_: Place, content: &[u8]| cipher.open_all(content);
                match walk(shapes(), shape, body, Unreadable::IsUnknown, &mut open) {
                    Ok(opened) => opened,
                    Err(Stop::Refused) => return Err(Refused),
                    // The writer's schema was another: tokens are found all the same, lengths are the writer's.
                    Err(Stop::Unreadable) => cipher.open_all(body)?,
                }
            }
        };
        if let Some(opened) = opened {
            *body = opened.into();
        }
        Ok(())
    }

    fn answer(&mut self, answer: &mut OpeningAnswer) -> Result<(), Refused> {
        let messages = Messages::of(&answer.path);
        self.body(messages.request, &mut answer.request)?;
        self.body(messages.response, &mut answer.response)?;
        self.string(&mut answer.message)
    }

    fn string(&mut self, string: &mut String) -> Result<(), Refused> {
        if let Some(opened) = self.cipher.open_all(string.as_bytes())? {
            *string = String::from_utf8(opened).map_err(|_| Refused)?;
        }
        Ok(())
    }

    fn metadata(&mut self, metadata: &mut Metadata) -> Result<(), Refused> {
        for header in &mut metadata.0 {
            if let Some(opened) = self.cipher.open_all(&header.value)? {
                header.value = opened.into();
            }
        }
        Ok(())
    }
}

/// What of a request is sealed, so that without the key it can't be sent in a way that means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// A command to run.
    Command,
    /// Credentials.
    Credentials,
    /// All of it: it was compressed, or could not be read.
    Everything,
}

impl std::fmt::Display for Needed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Command => "its command is sealed",
            Self::Credentials => "its credentials are sealed",
            Self::Everything => "its request is sealed as a whole",
        })
    }
}

/// Whether the request of the method with this path can't be sent as it stands on the tape, because something in it is sealed that
/// matters to the runtime. Environment and labels don't: they may go out as tokens.
pub fn needs_key(path: &str, request: &[u8]) -> Option<Needed> {
    if is_token(request) {
        return Some(Needed::Everything);
    }
    let shape = Messages::of(path).request?;
    let mut needed = None;
    let mut look = |place: Place, content: &[u8]| {
        if let Place::Leaf(leaf) = place
            && let Some(lacks) = leaf.needed
            && find(content).is_some()
        {
            needed = Some(match lacks {
                Lacks::Command => Needed::Command,
                Lacks::Credentials => Needed::Credentials,
            });
        }
        Ok(None)
    };
    // What can't be read holds nothing that we know.
    let _ = walk(shapes(), shape, request, Unreadable::IsUnknown, &mut look);
    needed
}

/// The request of the method with this path without what `policy` seals, so that it is the same sealed with one key, with another,
/// or not at all; `None` where nothing is to be left out.
pub fn without_secrets(path: &str, request: &[u8], policy: SealPolicy) -> Option<Vec<u8>> {
    let shape = Messages::of(path).request?;
    let mut leave_out = |place: Place, _: &[u8]| {
        let is_sealed = matches!(place, Place::Leaf(leaf) if leaf.is_sealed_by(policy));
        Ok(is_sealed.then(Vec::new))
    };
    walk(shapes(), shape, request, Unreadable::IsUnknown, &mut leave_out).ok().flatten()
}
