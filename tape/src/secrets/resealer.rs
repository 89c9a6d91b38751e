//! Seals what was opened for a replay, before it is shown in a report.
//!
//! With the tape's key a secret gets the token that it has on the tape, so that a report can be held against `tape show`. Reports
//! are not opened again: what is a token already stays one.

use std::path::Path;

use bytes::Bytes;
use critape_calls::{Body, Call, Outcome, Side};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

use super::calls::Messages;
use super::leaves::{Field, Leaf};
use super::memory;
use super::sealer::{Hand, Tokens};
use super::{Key, SealPolicy, text};

/// Seals calls and values of one tape, and of what answers in its place.
#[derive(Debug)]
pub struct Resealer {
    hand: Hand,
}

impl Resealer {
    pub(crate) fn new(tape: &Path, key: &Key, policy: SealPolicy) -> Self {
        let mut hand = Hand::new(key, policy, Tokens::Kept);
        memory::recall(tape, &mut hand.cipher, &mut hand.known);
        Self { hand }
    }

    /// Learns which secrets a call carries, so that they are found in error texts from then on.
    pub fn learn(&mut self, call: &Call) {
        let shape = Messages::of(&call.path).request;
        for body in call.requests.iter().filter_map(|message| message.body.kept()) {
            self.hand.body(shape, body);
        }
        // In other headers secrets are looked for, and nothing is learnt: that would take long for every call.
        for header in call.metadata.0.iter().filter(|header| self.hand.shapes.is_secret_header(&header.name))
        {
            self.hand.header(header);
        }
    }

    /// A call as its recorder would have stored it.
    pub fn call(&mut self, call: &Call) -> Call {
        let mut call = call.clone();
        let messages = Messages::of(&call.path);
        for (list, shape) in
            [(&mut call.requests, messages.request), (&mut call.responses, messages.response)]
        {
            for message in list {
                let shape = shape.filter(|_| !message.compressed);
                if let Body::Kept(body) = &mut message.body {
                    *body = self.hand.body(shape, body);
                }
            }
        }
        self.hand.metadata(&mut call.metadata);
        if let Some(metadata) = &mut call.response_metadata {
            self.hand.metadata(metadata);
        }
        call.outcome = self.outcome(&call.outcome);
        call
    }

    /// A message that this side sends in a call of the method with this path.
    pub fn message(&mut self, path: &str, from: Side, message: &Bytes) -> Bytes {
        let messages = Messages::of(path);
        let shape = match from {
            Side::Client => messages.request,
            Side::Runtime => messages.response,
        };
        self.hand.body(shape, message)
    }

    /// How a call ended.
    pub fn outcome(&mut self, outcome: &Outcome) -> Outcome {
        let mut outcome = outcome.clone();
        self.hand.string(&mut outcome.message);
        self.hand.metadata(&mut outcome.metadata);
        for detail in &mut outcome.details {
            if !text::known_secrets(&mut self.hand.known, &detail.value).is_empty() {
                detail.value = self.hand.cipher.seal(&detail.value).into();
            }
        }
        outcome
    }

    /// A value that stands at `at` in the answer of the method with this path, as a report has it: `at` is made of the names of
    /// fields, `[]` after a list, and the keys of maps.
    pub fn value(&mut self, path: &str, at: &[String], value: &mut Value) {
        match cri::methods().by_path(path) {
            Some(method) => self.below(&method.output(), at, value),
            None => self.texts(value),
        }
    }

    fn below(&mut self, message: &MessageDescriptor, at: &[String], value: &mut Value) {
        let Some((name, rest)) = at.split_first() else { return self.message_value(message, value) };
        let Some(field) = message.get_field_by_name(name.trim_end_matches("[]")) else {
            return self.texts(value);
        };
        let leaf = self.leaf_of(message, &field);
        if rest.is_empty() {
            return self.field_value(&field, leaf, value);
        }
        match (leaf, content(&field)) {
            // A part of what is sealed as a whole.
            (Some(leaf), _) => self.sealed(leaf, value),
            (None, Kind::Message(inner)) => {
                let rest = if field.is_map() { &rest[1..] } else { rest };
                self.below(&inner, rest, value);
            }
            (None, _) => {}
        }
    }

    fn message_value(&mut self, message: &MessageDescriptor, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match message.get_field_by_json_name(name) {
                        Some(field) => self.field_value(&field, self.leaf_of(message, &field), value),
                        None => self.texts(value),
                    }
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.message_value(message, item)),
            // What stands for the message: its key in an order, or its bytes.
            other => self.texts(other),
        }
    }

    fn field_value(&mut self, field: &FieldDescriptor, leaf: Option<Leaf>, value: &mut Value) {
        match (leaf, content(field), value) {
            (Some(leaf), _, Value::Array(items)) if field.is_list() => {
                items.iter_mut().for_each(|item| self.sealed(leaf, item));
            }
            (Some(leaf), _, Value::Object(entries)) if field.is_map() => {
                entries.values_mut().for_each(|value| self.sealed(leaf, value));
            }
            (Some(leaf), _, value) => self.sealed(leaf, value),
            (None, Kind::Message(inner), Value::Object(entries)) if field.is_map() => {
                entries.values_mut().for_each(|value| self.message_value(&inner, value));
            }
            (None, Kind::Message(inner), value) => self.message_value(&inner, value),
            (None, ..) => {}
        }
    }

    /// The content of a sealed leaf; where it was taken apart, all of it.
    fn sealed(&mut self, leaf: Leaf, value: &mut Value) {
        let text = match &*value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        if let Some(sealed) = self.hand.leaf(leaf, text.as_bytes()) {
            // Parts are cut between characters, and tokens are ASCII.
            *value = String::from_utf8_lossy(&sealed).into_owned().into();
        }
    }

    /// Known secrets in every text of a value.
    fn texts(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => self.hand.string(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.texts(item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.texts(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// What is sealed of a field; of the values, where it is a map.
    fn leaf_of(&self, message: &MessageDescriptor, field: &FieldDescriptor) -> Option<Leaf> {
        let kind = field.kind();
        let entry = kind.as_message().filter(|_| field.is_map());
        let (name, number) = match entry {
            Some(entry) => (entry.full_name(), entry.map_entry_value_field().number()),
            None => (message.full_name(), field.number()),
        };
        let shape = self.hand.shapes.by_name(name)?;
        match self.hand.shapes.field(shape, number)? {
            Field::Leaf(leaf) if leaf.is_sealed_by(self.hand.policy) => Some(leaf),
            _ => None,
        }
    }
}

/// The kind of a field's values; of a map's entries, that of the values.
fn content(field: &FieldDescriptor) -> Kind {
    let kind = field.kind();
    match kind.as_message().filter(|_| field.is_map()) {
        Some(entry) => entry.map_entry_value_field().kind(),
        None => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "correct-horse-battery";

    fn resealer(policy: SealPolicy) -> Resealer {
        Resealer::new(Path::new("/nonexistent"), &Key::of([7; 64]), policy)
    }

    fn sealed(at: &[&str], method: &str, mut value: Value) -> Value {
        let at: Vec<String> = at.iter().map(|part| (*part).to_owned()).collect();
        resealer(SealPolicy::Default).value(method, &at, &mut value);
        value
    }

    #[test]
    fn a_value_is_sealed_where_its_field_is() {
        let exec = "/runtime.v1.RuntimeService/ExecSync";
        let status = "/runtime.v1.RuntimeService/ContainerStatus";
        assert!(!sealed(&["stdout"], exec, json!(SECRET)).to_string().contains(SECRET));
        // A part of what is sealed as a whole, and the whole of which it is a part.
        assert!(
            !sealed(&["info", "info", "env"], status, json!({"a": [SECRET]})).to_string().contains(SECRET)
        );
        assert!(!sealed(&["info"], status, json!({"info": SECRET})).to_string().contains(SECRET));
        assert!(sealed(&["info"], status, json!({"info": SECRET})).get("info").is_some());
        assert_eq!(sealed(&["status", "image", "image"], status, json!("busybox")), json!("busybox"));
        let image = sealed(&["status", "image"], status, json!({"image": format!("u:{SECRET}@r.example/x")}));
        let image = image["image"].as_str().unwrap();
        assert!(image.ends_with("@r.example/x") && !image.contains(SECRET), "{image}");
        assert_eq!(sealed(&["exit_code"], exec, json!(7)), json!(7));
    }

    #[test]
    fn labels_are_sealed_where_the_policy_says_so() {
        let method = "/runtime.v1.RuntimeService/PodSandboxStatus";
        let at = ["status", "labels", "app.kubernetes.io/name"].map(str::to_owned);
        for (policy, shown) in [(SealPolicy::Default, true), (SealPolicy::Strict, false)] {
            let mut value = json!(SECRET);
            resealer(policy).value(method, &at, &mut value);
            assert_eq!(value == json!(SECRET), shown, "{policy:?}");
        }
    }

    #[test]
    fn what_was_learnt_is_found_in_error_texts() {
        use prost::Message as _;
        let mut resealer = resealer(SealPolicy::Default);
        let envs = vec![cri::v1::KeyValue { key: "K".into(), value: SECRET.into() }];
        let config = cri::v1::ContainerConfig { envs, ..Default::default() };
        let request = cri::v1::CreateContainerRequest { config: Some(config), ..Default::default() };
        let path = "/runtime.v1.RuntimeService/CreateContainer";
        let body = Bytes::from(request.encode_to_vec());
        let stored = resealer.message(path, Side::Client, &body);
        assert!(!String::from_utf8_lossy(&stored).contains(SECRET));
        // A token stays one.
        assert_eq!(resealer.message(path, Side::Client, &stored), stored);
        let outcome = Outcome { message: format!("exec {SECRET}: not found"), ..Outcome::truncated() };
        let text = resealer.outcome(&outcome).message;
        assert!(text.starts_with("exec sealed:v1:") && text.ends_with(": not found"), "{text}");
        let mut value = json!({"message": outcome.message});
        resealer.value(path, &["outcome".to_owned(), "code".to_owned()], &mut value);
        assert_eq!(value["message"], text);
    }
}
