//! Answers with one thing changed: what the differ is held against.
//!
//! [`mutants`] makes every one of a message: each leaf in several ways, elements of lists and entries of maps that come, go and
//! change places, whole messages that go, fields that nobody knows. JSON in texts is taken apart as messages are. [`Verdict`] says what a
//! comparison with one came to.

mod json;
mod values;

use std::fmt;

use critape_calls::{Code, Ending, Outcome, StatusDetail};
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind as FieldKind, MapKey, ReflectMessage, Value};

use crate::report::shown::key_text;
use crate::{Compared, Path};

/// A field number that no message of CRI has.
const UNKNOWN_FIELD: u32 = 18_000;
/// The key of an entry that was not there.
const NEW_KEY: &str = "mutant";

/// What was done to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// A number is one more.
    Raised,
    /// A number is one less.
    Lowered,
    /// A number is one that makes no sense: negative, or the largest there is.
    Absurd,
    /// Another last letter.
    Respelt,
    /// One letter more.
    Longer,
    /// A leaf has its default value: on the wire it is gone.
    Emptied,
    /// The other truth value.
    Flipped,
    /// Another value of an enum.
    Renamed,
    /// A message, an element of a list or an entry of a map is gone.
    Removed,
    /// One is there that was not.
    Added,
    /// An element is there twice.
    Duplicated,
    /// Two neighbours in a list have changed places.
    Swapped,
    /// A field that the schema doesn't have.
    Unknown,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Raised => "raised",
            Self::Lowered => "lowered",
            Self::Absurd => "absurd",
            Self::Respelt => "respelt",
            Self::Longer => "longer",
            Self::Emptied => "emptied",
            Self::Flipped => "flipped",
            Self::Renamed => "renamed",
            Self::Removed => "removed",
            Self::Added => "added",
            Self::Duplicated => "duplicated",
            Self::Swapped => "swapped",
            Self::Unknown => "unknown field",
        })
    }
}

/// Something with one thing changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutant<T> {
    /// It, changed.
    pub value: T,
    /// Where.
    pub path: Path,
    /// How.
    pub change: Change,
    /// The protobuf message that the change is in, or that is gone: its path, and that of the root is empty. None of a change
    /// within JSON.
    pub message: Option<Path>,
}

impl<T> Mutant<T> {
    /// The same change, seen from what the value is in.
    fn within<U>(self, value: impl FnOnce(T) -> U) -> Mutant<U> {
        let Self { value: inner, path, change, message } = self;
        Mutant { value: value(inner), path, change, message }
    }
}

/// Hands out every mutant of a message, and first the message with nothing in it.
pub fn mutants(message: &DynamicMessage, take: &mut dyn FnMut(Mutant<DynamicMessage>)) {
    let empty = DynamicMessage::new(message.descriptor());
    if *message != empty {
        let message = Some(Path::default());
        take(Mutant { value: empty, path: Path::default(), change: Change::Removed, message });
    }
    of_message(message, &Path::default(), take);
}

/// Hands out every mutant of the way in which a call ended.
pub fn mutants_of_outcome(outcome: &Outcome, take: &mut dyn FnMut(Mutant<Outcome>)) {
    let at = Path::root("outcome");
    let mut give = |name: &str, change, value| {
        take(Mutant { value, path: at.field(name), change, message: Some(at.clone()) });
    };
    let other = if outcome.code == Code::NOT_FOUND { Code::UNIMPLEMENTED } else { Code::NOT_FOUND };
    let codes = [other, if outcome.code == Code::OK { Code::UNAVAILABLE } else { Code::OK }];
    for code in codes {
        give("code", Change::Renamed, Outcome { code, ending: Ending::Status, ..outcome.clone() });
    }
    if outcome.code == Code::OK {
        return;
    }
    for (change, message) in values::texts(&outcome.message) {
        give("message", change, Outcome { message, ..outcome.clone() });
    }
    for index in 0..outcome.details.len() {
        let mut details = outcome.details.clone();
        details.remove(index);
        give("details[]", Change::Removed, Outcome { details, ..outcome.clone() });
    }
    let mut details = outcome.details.clone();
    details.push(StatusDetail { type_url: NEW_KEY.to_owned(), value: bytes::Bytes::new() });
    give("details[]", Change::Added, Outcome { details, ..outcome.clone() });
}

fn of_message(message: &DynamicMessage, at: &Path, take: &mut dyn FnMut(Mutant<DynamicMessage>)) {
    for field in message.descriptor().fields() {
        let value = message.get_field(&field).into_owned();
        let with = |value: Option<Value>| {
            let mut message = message.clone();
            match value {
                Some(value) => message.set_field(&field, value),
                None => message.clear_field(&field),
            }
            message
        };
        let mut give = |mutant: Mutant<Option<Value>>| take(mutant.within(with));
        let path = if field.is_list() { at.elements(field.name()) } else { at.field(field.name()) };
        match &value {
            Value::List(items) => of_list(items, &field, &path, at, &mut give),
            Value::Map(_) => of_map(&value, &field, &path, at, &mut give),
            Value::Message(inner) => {
                let change = if message.has_field(&field) { Change::Removed } else { Change::Added };
                let toggled = (change == Change::Added).then(|| value.clone());
                give(Mutant { value: toggled, path: path.clone(), change, message: Some(path.clone()) });
                if change == Change::Removed {
                    of_message(inner, &path, &mut |it| give(it.within(|inner| Some(Value::Message(inner)))));
                }
            }
            leaf => of_leaf(leaf, &field, &path, at, &mut |it| give(it.within(Some))),
        }
    }
    let mut unknown = message.clone();
    let mut bytes = Vec::new();
    prost::encoding::uint32::encode(UNKNOWN_FIELD, &1, &mut bytes);
    if unknown.merge(bytes.as_slice()).is_ok() {
        let path = at.field(&UNKNOWN_FIELD.to_string());
        take(Mutant { value: unknown, path, change: Change::Unknown, message: Some(at.clone()) });
    }
}

fn of_leaf(
    leaf: &Value,
    field: &FieldDescriptor,
    path: &Path,
    within: &Path,
    take: &mut dyn FnMut(Mutant<Value>),
) {
    for (change, value) in values::of(leaf, &field.kind()) {
        take(Mutant { value, path: path.clone(), change, message: Some(within.clone()) });
    }
    if let Some(text) = leaf.as_str() {
        json::of_text(text, path, &mut |it| take(it.within(Value::String)));
    }
}

/// `within` is the message that the list is in.
fn of_list(
    items: &[Value],
    field: &FieldDescriptor,
    path: &Path,
    within: &Path,
    take: &mut dyn FnMut(Mutant<Option<Value>>),
) {
    let is_message = matches!(field.kind(), FieldKind::Message(_));
    for (change, items) in values::rearranged(items, Value::default_value(&field.kind())) {
        // What is gone or new is an element; elements of other kinds are parts of what the list is in.
        let message = Some(if is_message { path } else { within }.clone());
        take(Mutant { value: Some(Value::List(items)), path: path.clone(), change, message });
    }
    for (index, item) in items.iter().enumerate() {
        let mut give = |mutant: Mutant<Value>| {
            take(mutant.within(|item| {
                let mut items = items.to_vec();
                items[index] = item;
                Some(Value::List(items))
            }));
        };
        match item {
            Value::Message(inner) => of_message(inner, path, &mut |it| give(it.within(Value::Message))),
            leaf => of_leaf(leaf, field, path, within, &mut give),
        }
    }
}

/// `within` is the message that the map is in.
fn of_map(
    map: &Value,
    field: &FieldDescriptor,
    path: &Path,
    within: &Path,
    take: &mut dyn FnMut(Mutant<Option<Value>>),
) {
    let (Value::Map(entries), FieldKind::Message(entry)) = (map, field.kind()) else { return };
    let of = entry.map_entry_value_field();
    for (key, value) in entries {
        let path = path.field(&key_text(key));
        let mut left = entries.clone();
        left.remove(key);
        let message = Some(within.clone());
        take(Mutant { value: Some(Value::Map(left)), path: path.clone(), change: Change::Removed, message });
        of_leaf(value, &of, &path, within, &mut |it| {
            take(it.within(|value| {
                let mut entries = entries.clone();
                entries.insert(key.clone(), value);
                Some(Value::Map(entries))
            }));
        });
    }
    let mut more = entries.clone();
    more.insert(MapKey::String(NEW_KEY.to_owned()), Value::default_value(&of.kind()));
    let (path, message) = (path.field(NEW_KEY), Some(within.clone()));
    take(Mutant { value: Some(Value::Map(more)), path, change: Change::Added, message });
}

/// What a comparison with a mutant came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a finding at its path, at what that is in, or at what is in it.
    Found,
    /// These rules let it pass.
    Passed(Vec<String>),
    /// There are findings elsewhere only.
    Elsewhere(Vec<String>),
    /// Nobody noticed.
    Unnoticed,
}

impl Verdict {
    /// The name under which elements pass that are none of the recording's business.
    pub const LEFT_OUT: &str = "left-out";

    /// What was said of a change at this path, beyond what is said of the same thing unchanged.
    pub fn of(compared: &Compared, unchanged: &Compared, path: &Path) -> Self {
        // A stream of events is one sequence for each container.
        let in_sequence = |found: &Path| {
            found.segments() == ["events"]
                && (*path == Path::root("container_id") || *path == Path::root("container_event_type"))
        };
        let related = |found: &Path| {
            let both = found.segments().iter().zip(path.segments());
            both.into_iter().all(|(one, other)| one.trim_end_matches("[]") == other.trim_end_matches("[]"))
        };
        if compared.divergences.iter().any(|it| related(&it.path) || in_sequence(&it.path)) {
            return Self::Found;
        }
        if !compared.divergences.is_empty() {
            return Self::Elsewhere(compared.divergences.iter().map(|it| it.path.to_string()).collect());
        }
        let usual = |rule: &String| unchanged.passed.get(rule).copied().unwrap_or_default();
        let more = compared.passed.iter().filter(|(rule, count)| **count > usual(rule));
        let mut rules: Vec<String> = more.map(|(rule, _)| rule.clone()).collect();
        rules.extend((compared.left_out > unchanged.left_out).then(|| Self::LEFT_OUT.to_owned()));
        if rules.is_empty() { Self::Unnoticed } else { Self::Passed(rules) }
    }
}
