//! What the calls of a tape say about its things: who made each, who named it, and where.
//!
//! An id is named where the schema has ids, and it may stand inside any other text: labels, selectors, log paths, cgroup parents,
//! environment, arguments. Both are told apart: the first is what the API means, the second is what a replay must not forget.

use std::collections::BTreeMap;

use cri::IdentityKind;
use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::texts::Mentions;
use crate::{Call, CallId, ObjectIndex, decode, identities, merged};

/// A thing that has an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// What it is; what was named before it was known otherwise is an object.
    pub kind: IdentityKind,
    /// What it is called in every run, as `default/web/server`.
    pub name: Option<String>,
    /// The call that made it; `None` where it is older than the tape.
    pub made_by: Option<CallId>,
    /// Where it is named.
    pub uses: BTreeMap<Use, Times>,
}

/// One way in which a thing is named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Name of the RPC.
    pub method: String,
    /// Field of the request.
    pub field: String,
    /// Whether it stands inside another text.
    pub in_text: bool,
}

/// How often, and in which call first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// How often.
    pub count: u64,
    /// The first call.
    pub first: CallId,
}

/// The things of a tape by id, and what is in what.
#[derive(Debug, Default)]
pub struct IdGraph {
    things: BTreeMap<String, Thing>,
    mentions: Mentions,
    /// Made thing, and the things that its maker named.
    within: BTreeMap<String, Vec<(String, String)>>,
}

impl IdGraph {
    /// Takes note of a call, in the order of their ends.
    pub fn observe(&mut self, call: &Call) {
        let Some(method) = call.method() else { return };
        let request = call.request().and_then(|bytes| decode(method.input(), bytes));
        let answer = if call.outcome.is_ok() { merged(call) } else { None };
        let answer = answer.and_then(|bytes| decode(method.output(), &bytes));
        let mut made = Vec::new();
        for id in answer.iter().flat_map(|message| identities(message, &method.response_ids)) {
            if id.value.is_empty() || id.kind == IdentityKind::Token {
                continue;
            }
            let thing = self.thing(id.kind, &id.value);
            if id.produced {
                thing.made_by.get_or_insert(call.id);
                made.push(id.value);
            }
        }
        let Some(request) = request else { return };
        let mut named = Vec::new();
        for path in &method.request_ids {
            for value in path.path.texts(&request) {
                let Some(id) = self.full_id(&value, path.kind) else { continue };
                self.note(call, &method.name, path.path.as_str(), false, &id);
                named.push((id, path.path.as_str().to_owned()));
            }
        }
        let mut texts = Vec::new();
        collect(&request, "", &mut texts);
        for (field, text) in texts {
            for id in self.mentions.of(&text) {
                if !named.iter().any(|(known, at)| *known == id && *at == field) {
                    self.note(call, &method.name, &field, true, &id);
                }
            }
        }
        for thing in made {
            let around = named.iter().filter(|(id, _)| *id != thing).cloned().collect();
            self.within.insert(thing, around);
        }
    }

    /// Gives things the names by which `objects` knows them.
    pub fn name(&mut self, objects: &ObjectIndex) {
        for (id, thing) in &mut self.things {
            thing.name = objects.name(id).map(ToString::to_string);
        }
    }

    /// All things by id.
    pub fn things(&self) -> impl Iterator<Item = (&str, &Thing)> {
        self.things.iter().map(|(id, thing)| (id.as_str(), thing))
    }

    /// What the maker of this thing named, with the field: the sandbox of a container, its image.
    pub fn within(&self, id: &str) -> &[(String, String)] {
        self.within.get(id).map_or(&[], Vec::as_slice)
    }

    fn thing(&mut self, kind: IdentityKind, id: &str) -> &mut Thing {
        let mentions = &mut self.mentions;
        let thing = self.things.entry(id.to_owned()).or_insert_with(|| {
            mentions.add(id);
            Thing { kind, name: None, made_by: None, uses: BTreeMap::new() }
        });
        if thing.kind == IdentityKind::Object {
            thing.kind = kind;
        }
        thing
    }

    /// The id that a client wrote, or shortened. A pod's uid, and the reference of an image, is made known by being named.
    fn full_id(&mut self, text: &str, kind: IdentityKind) -> Option<String> {
        if text.is_empty() {
            return None;
        }
        if let Some(id) = self.with_prefix(text) {
            return Some(id);
        }
        matches!(kind, IdentityKind::PodUid | IdentityKind::Image).then(|| {
            self.thing(kind, text);
            text.to_owned()
        })
    }

    fn with_prefix(&self, text: &str) -> Option<String> {
        if self.things.contains_key(text) {
            return Some(text.to_owned());
        }
        let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mut found = self.things.range(text.to_owned()..).take_while(|(id, _)| id.starts_with(text));
        let (id, _) = found.next().filter(|_| hexadecimal)?;
        found.next().is_none().then(|| id.clone())
    }

    fn note(&mut self, call: &Call, method: &str, field: &str, in_text: bool, id: &str) {
        let Some(thing) = self.things.get_mut(id) else { return };
        let used = Use { method: method.to_owned(), field: field.to_owned(), in_text };
        let times = thing.uses.entry(used).or_insert(Times { count: 0, first: call.id });
        times.count += 1;
        times.first = times.first.min(call.id);
    }
}

/// Every text of a message, with its field.
fn collect(message: &DynamicMessage, path: &str, texts: &mut Vec<(String, String)>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    for (field, value) in message.fields() {
        let list = if field.is_list() { "[]" } else { "" };
        add(value, &below(&format!("{}{list}", field.name())), texts);
    }
}

fn add(value: &Value, path: &str, texts: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => texts.push((path.to_owned(), text.clone())),
        Value::Bytes(bytes) => {
            texts.extend(std::str::from_utf8(bytes).ok().map(|text| (path.to_owned(), text.to_owned())));
        }
        Value::Message(message) => collect(message, path, texts),
        Value::List(items) => items.iter().for_each(|item| add(item, path, texts)),
        Value::Map(entries) => {
            for (key, value) in entries {
                let key = if let MapKey::String(key) = key { key.as_str() } else { "*" };
                add(value, &format!("{path}.{key}"), texts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;
    use cri::v1;
    use prost::Message;

    const UID: &str = "0f3a1c9e-1111-4222-8333-444455556666";

    fn call(id: u64, rpc: &str, request: &impl Message, response: &impl Message) -> Call {
        let path = format!("/runtime.v1.RuntimeService/{rpc}");
        sample::call(id, &path, crate::Code::OK, request.encode_to_vec(), &[response.encode_to_vec()])
    }

    fn graph() -> (IdGraph, String, String) {
        let (sandbox, container) = ("5a".repeat(32), "c0".repeat(32));
        let config = v1::PodSandboxConfig {
            metadata: Some(v1::PodSandboxMetadata {
                uid: UID.into(),
                name: "web".into(),
                ..Default::default()
            }),
            log_directory: format!("/var/log/pods/default_web_{UID}"),
            ..Default::default()
        };
        let mut graph = IdGraph::default();
        let run = v1::RunPodSandboxRequest { config: Some(config.clone()), ..Default::default() };
        graph.observe(&call(
            1,
            "RunPodSandbox",
            &run,
            &v1::RunPodSandboxResponse { pod_sandbox_id: sandbox.clone() },
        ));
        let command = vec!["watch".to_owned(), format!("/run/{}/x", &sandbox[..13])];
        let create = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.clone(),
            config: Some(v1::ContainerConfig { command, ..Default::default() }),
            sandbox_config: Some(config),
        };
        let made = v1::CreateContainerResponse { container_id: container.clone() };
        graph.observe(&call(2, "CreateContainer", &create, &made));
        let start = v1::StartContainerRequest { container_id: container[..12].into() };
        graph.observe(&call(3, "StartContainer", &start, &v1::StartContainerResponse {}));
        (graph, sandbox, container)
    }

    fn uses(graph: &IdGraph, id: &str) -> Vec<String> {
        let (_, thing) = graph.things().find(|(known, _)| *known == id).unwrap();
        let text = |used: &Use| if used.in_text { " in text" } else { "" };
        thing
            .uses
            .iter()
            .map(|(used, times)| format!("{} {}{} ×{}", used.method, used.field, text(used), times.count))
            .collect()
    }

    #[test]
    fn things_are_found_where_the_schema_has_them_and_inside_texts() {
        let (graph, sandbox, container) = graph();
        assert_eq!(
            uses(&graph, &sandbox),
            ["CreateContainer config.command[] in text ×1", "CreateContainer pod_sandbox_id ×1"]
        );
        assert_eq!(uses(&graph, &container), ["StartContainer container_id ×1"]);
        assert_eq!(
            uses(&graph, UID),
            [
                "CreateContainer sandbox_config.log_directory in text ×1",
                "CreateContainer sandbox_config.metadata.uid ×1",
                "RunPodSandbox config.log_directory in text ×1",
                "RunPodSandbox config.metadata.uid ×1"
            ]
        );
    }

    #[test]
    fn it_is_known_who_made_what_and_in_what() {
        let (graph, sandbox, container) = graph();
        let made = |id: &str| graph.things().find(|(known, _)| *known == id).unwrap().1.made_by;
        assert_eq!([made(&sandbox), made(&container), made(UID)], [Some(CallId(1)), Some(CallId(2)), None]);
        assert!(
            graph.within(&container).iter().any(|(id, field)| *id == sandbox && field == "pod_sandbox_id")
        );
        assert_eq!(graph.within(&sandbox)[0].0, UID);
    }

    #[test]
    fn uids_are_found_in_both_spellings() {
        let (graph, ..) = graph();
        let cgroup = format!("/kubepods.slice/kubepods-pod{}.slice", UID.replace('-', "_"));
        assert_eq!(graph.mentions.of(&cgroup), [UID]);
        assert!(graph.mentions.of("0123456789abcdef0123 and words").is_empty());
    }
}
