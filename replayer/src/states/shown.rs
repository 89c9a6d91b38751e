//! What the live runtime has shown as recorded: the last answer to each read with which its own agreed. What was seen so, and what nothing
//! has happened to since, is so still.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use critape_calls::{Call, CallId, decode, merged};
use prost_reflect::{DynamicMessage, ReflectMessage, Value};

use crate::sending::answer::Answer;
use crate::states::lives::{IMAGES, Lives};
use crate::states::trajectory::Trajectory;

/// Bytes of recorded answers that are kept at most; then it begins anew.
const MOST_BYTES: usize = 16 << 20;
/// What a call takes beside its answer.
const USUAL_CALL: usize = 1 << 10;

/// Messages that a call which makes an object has filled in when it returns.
const MADE: [&str; 4] = ["PodSandbox", "PodSandboxStatus", "Container", "ContainerStatus"];

/// Reads that agreed.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// By method and request.
    reads: HashMap<u64, Read>,
    bytes: usize,
    hasher: RandomState,
    /// The objects in the answer that was looked into last.
    last: Option<(CallId, Objects)>,
}

/// By id and type of message.
type Objects = HashMap<(String, String), DynamicMessage>;

/// A recorded read, and when it was asked here.
#[derive(Debug)]
struct Read {
    call: Arc<Call>,
    began: Instant,
    ended: Instant,
}

/// A live answer that is compared, in the light of those before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) shown: &'a RefCell<Shown>,
    pub(crate) call: &'a Call,
    /// When it was asked for.
    pub(crate) began: Instant,
}

impl Shown {
    /// The answer to this read agrees with the recorded one.
    pub(crate) fn note(&mut self, call: &Arc<Call>, answer: &Answer) {
        let Some(request) = call.request() else { return };
        let key = self.key(call, request);
        let began = answer.ended.checked_sub(answer.lasted).unwrap_or(answer.ended);
        let read = Read { call: call.clone(), began, ended: answer.ended };
        self.bytes += size(call);
        if let Some(old) = self.reads.insert(key, read) {
            self.bytes -= size(&old.call);
        }
        if self.bytes > MOST_BYTES {
            self.reads.clear();
            self.bytes = 0;
        }
    }

    fn key(&self, call: &Call, request: &Bytes) -> u64 {
        self.hasher.hash_one((&call.path, request))
    }

    /// The last time that the same was asked for, and that all was.
    fn reads(&self, call: &Call) -> [Option<&Read>; 2] {
        let read = |request: &Bytes| {
            let read = self.reads.get(&self.key(call, request))?;
            (read.call.path == call.path && read.call.request() == Some(request)).then_some(read)
        };
        [call.request().and_then(read), read(&Bytes::new())]
    }

    /// The object as the recorded answer to this call has it; where the id is empty, what the answer says of the runtime.
    fn message(&mut self, call: &Call, id: &str, message_type: &str) -> Option<DynamicMessage> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != call.id) {
            self.last = Some((call.id, objects(call).unwrap_or_default()));
        }
        let (_, objects) = self.last.as_ref()?;
        objects.get(&(id.to_owned(), message_type.to_owned())).cloned()
    }
}

impl Asked<'_> {
    /// What the object was when it was last seen as recorded, where nothing has happened to it since: no call was under way, and no
    /// container was about to end by itself, which may be sooner here.
    pub(crate) fn before(
        &self,
        (id, message_type): (&str, &str),
        trajectory: &Trajectory,
        lives: &Lives,
    ) -> Option<DynamicMessage> {
        let mut shown = self.shown.borrow_mut();
        let related = related(id, message_type, trajectory);
        let is_calm = |from, to| {
            related
                .iter()
                .all(|id| !trajectory.changes_during(id, from, to) && !trajectory.will_end(id, from, to))
                && (message_type != "Image" || !trajectory.images_change(from, to))
        };
        let (started, ended) = (self.call.started, self.call.ended);
        let reads = shown.reads(self.call).into_iter().flatten().filter(|read| read.ended <= self.began);
        let reads: Vec<_> = reads
            .filter(|read| is_calm(read.call.started.min(started), read.call.ended.max(ended)))
            .filter(|read| lives.are_calm_since(&related, read.began))
            .map(|read| read.call.clone())
            .collect();
        let before = reads.iter().find_map(|read| shown.message(read, id, message_type));
        if before.is_some() {
            return before;
        }
        let is_made = MADE.contains(&message_type)
            && trajectory.was_made_last(id, started)
            && is_calm(started, ended)
            && lives.was_made_before(id, self.began);
        is_made.then(|| shown.message(self.call, id, message_type)).flatten()
    }
}

/// What may change what is shown of an object: itself, what it is in, and where a message tells of it too what is in it.
fn related(id: &str, message_type: &str, trajectory: &Trajectory) -> Vec<String> {
    let within = trajectory.containers_of(id).filter(|_| message_type != "PodSandbox");
    let around = trajectory.sandbox_of(id);
    let images = Some(IMAGES).filter(|_| message_type == "Image");
    within.chain(around).chain(images).chain([id]).map(str::to_owned).collect()
}

fn size(call: &Call) -> usize {
    let messages = call.responses.iter().map(|message| message.body.kept().map_or(0, Bytes::len));
    USUAL_CALL + messages.sum::<usize>()
}

/// The messages of an answer and the elements of its lists.
fn objects(call: &Call) -> Option<Objects> {
    let answer = decode(call.method()?.output(), &merged(call)?)?;
    let mut found = HashMap::new();
    let mut add = |message: &DynamicMessage| {
        let id = own_id(message).unwrap_or_default();
        found.insert((id, message.descriptor().name().to_owned()), message.clone());
    };
    for (_, value) in answer.fields() {
        match value {
            Value::Message(message) => add(message),
            Value::List(items) => items.iter().filter_map(Value::as_message).for_each(&mut add),
            _ => {}
        }
    }
    Some(found)
}

fn own_id(message: &DynamicMessage) -> Option<String> {
    let text = |message: &DynamicMessage| message.get_field_by_name("id")?.as_str().map(str::to_owned);
    text(message).or_else(|| text(message.get_field_by_name("attributes")?.as_message()?))
}
