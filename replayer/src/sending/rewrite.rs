//! A recorded request, put into the terms of the live runtime.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use cri::json::Defaults;
use cri::{Class, Method};
use critape_calls::{Call, CallId, HostPath, HostPathKind, IdentityMap, Resolution, Unbound, decode};
use critape_differ::OWNED_LABEL;
use critape_tape::SealPolicy;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::footprint::{Footprint, Scratch, goes_up, stays};
use crate::judging::replays::without_label;
use crate::recording::inconclusive_reason;
use crate::sending::credentials::Credentials;
use crate::sending::images;

/// The label under which kubelet repeats a pod's uid.
const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// Where requests name the folder of a pod's logs.
const LOG_FOLDERS: [&str; 2] = ["config.log_directory", "sandbox_config.log_directory"];
/// Where they name what is mounted.
const MOUNTS: &str = "config.mounts[].host_path";

/// Stands before what was replaced by its field, until all other text is: an id of the live run may be another's in the recording.
const REPLACED: &str = "\u{1}replaced\u{1}";

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Rewritten {
    /// It goes out as these bytes.
    Request(Bytes),
    /// It names what this call makes, which has not been made.
    NotYet(CallId),
    /// It can't be sent in a way that means the same.
    Inconclusive(String),
}

/// Replaces what names things of the recording, and marks what the replay makes.
pub(crate) fn rewrite(
    call: &Call,
    method: &Method,
    ids: &mut IdentityMap,
    footprint: &Footprint,
    credentials: Option<&Credentials>,
) -> Rewritten {
    let Some(bytes) = call.request() else {
        return Rewritten::Inconclusive("its request was not recorded".to_owned());
    };
    // Nothing names nothing; most lists are asked for so.
    if bytes.is_empty() && call.requests.len() == 1 {
        return Rewritten::Request(bytes.clone());
    }
    let given = credentials.and_then(|credentials| credentials.put_into(method, bytes, ids));
    let bytes = given.as_ref().unwrap_or(bytes);
    if let Some(needed) = critape_tape::needs_key(&call.path, bytes) {
        return Rewritten::Inconclusive(format!("{needed}, and the tape's key is not here"));
    }
    if call.requests.iter().any(|message| message.compressed) {
        return Rewritten::Inconclusive("its request is compressed".to_owned());
    }
    let Some(mut message) = decode(method.input(), bytes) else {
        // It may name whatever it likes, and could not be marked as the replay's own.
        return if method.class == Class::ReadOnly {
            Rewritten::Request(bytes.clone())
        } else {
            Rewritten::Inconclusive(
                "its request can't be read, so that nobody knows what it names".to_owned(),
            )
        };
    };
    let before = message.clone();
    if let Some(why) = replace_ids(&mut message, method, ids) {
        return why;
    }
    images::replace_as_written(&mut message, ids);
    if let Err(error) = move_paths(&mut message, call, ids, &mut footprint.scratch.borrow_mut()) {
        return Rewritten::Inconclusive(format!("its host paths could not be made here: {error}"));
    }
    replace_texts(&mut message, ids);
    footprint.ports.borrow_mut().replace(&mut message, method, ids);
    mark(&mut message, method, &footprint.label);
    Rewritten::Request(if message == before { bytes.clone() } else { message.encode_to_vec().into() })
}

/// The request of a call in the terms of another run, as bytes that are the same where the requests are; without what is `sealed` in
/// one of the two, which can't be compared.
pub(crate) fn canonical(
    call: &Call,
    method: &Method,
    ids: &IdentityMap,
    sealed: SealPolicy,
) -> Option<Bytes> {
    let request = call.request()?;
    let open = critape_tape::without_secrets(&call.path, request, sealed).map(Bytes::from);
    let mut message = decode(method.input(), open.as_ref().unwrap_or(request))?;
    replace_ids(&mut message, method, ids);
    for path in LOG_FOLDERS.iter().chain(&[MOUNTS]) {
        at(&mut message, path, &mut |path| Some(format!("{REPLACED}{}", ids.to_live_path(path))));
    }
    replace_texts(&mut message, ids);
    // As bytes a map has no order of its own: JSON sorts it.
    let mut value = cri::json::to_value(&message, Defaults::LeftOut);
    without_label(&mut value);
    serde_json::to_vec(&value).ok().map(Bytes::from)
}

/// The folders of the host that a request names, and its mounts, in the order of the schema.
pub(crate) fn host_paths(message: &mut DynamicMessage) -> Vec<String> {
    let mut found = Vec::new();
    for path in LOG_FOLDERS.iter().chain(&[MOUNTS]) {
        at(message, path, &mut |path| {
            found.push(path.to_owned());
            None
        });
    }
    found
}

/// Replaces ids where the schema says that ids are, and marks them for [`replace_texts`]. Says why not where one has no counterpart.
fn replace_ids(message: &mut DynamicMessage, method: &Method, ids: &IdentityMap) -> Option<Rewritten> {
    let mut unbound = None;
    for path in &method.request_ids {
        path.path.rewrite(message, &mut |recorded| match ids.resolve(path.kind, recorded) {
            Resolution::Live(live) => Some(format!("{REPLACED}{live}")),
            Resolution::AsItIs => None,
            Resolution::Unbound(why) => {
                unbound.get_or_insert(match why {
                    Unbound::NotYetMade(call) => Rewritten::NotYet(call),
                    why => Rewritten::Inconclusive(inconclusive_reason(why)),
                });
                None
            }
            Resolution::Ambiguous => {
                let reason = "its id is a prefix that fits several objects".to_owned();
                unbound.get_or_insert(Rewritten::Inconclusive(reason));
                None
            }
        });
    }
    unbound
}

/// Moves the host's paths into the scratch folder.
fn move_paths(
    message: &mut DynamicMessage,
    call: &Call,
    ids: &mut IdentityMap,
    scratch: &mut Scratch,
) -> io::Result<()> {
    let kinds: BTreeMap<&str, HostPathKind> =
        call.host_paths.iter().map(|path| (path.path.as_str(), path.kind)).collect();
    let mut failed = None;
    let mut place = |path: &str, kind: HostPathKind| -> Option<String> {
        // The place is called what the path will be called when all ids in it are replaced.
        match scratch.place(&HostPath { path: ids.to_live(path), kind }) {
            Ok(Some(moved)) => {
                let moved = moved.to_string_lossy().into_owned();
                ids.bind_folder(path, &moved);
                Some(moved)
            }
            Ok(None) => None,
            Err(error) => {
                failed.get_or_insert(error);
                None
            }
        }
    };
    // Whatever is not a path of the message at hand is passed over.
    for folder in LOG_FOLDERS {
        at(message, folder, &mut |path| place(path, HostPathKind::Directory));
    }
    let mut unknown = None;
    at(message, MOUNTS, &mut |path| {
        let kind = kinds.get(path).copied();
        if kind.is_none() && !stays(path, HostPathKind::Directory) {
            unknown.get_or_insert(format!("what {path} is was not recorded"));
        }
        place(path, kind.unwrap_or(HostPathKind::Other))
    });
    // What a checkpoint is written to.
    for file in ["location", "output_path"] {
        at(message, file, &mut |path| place(path, HostPathKind::Absent));
    }
    let mut log_path = None;
    at(message, "config.log_path", &mut |path| {
        log_path = goes_up(path).then(|| format!("the log path {path} has `..` in it"));
        None
    });
    match failed {
        Some(error) => Err(error),
        None => unknown.or(log_path).map_or(Ok(()), |why| Err(io::Error::other(why))),
    }
}

fn at(message: &mut DynamicMessage, path: &str, change: &mut dyn FnMut(&str) -> Option<String>) {
    use prost_reflect::ReflectMessage as _;
    if let Ok(path) = cri::FieldPath::parse(path, &message.descriptor()) {
        path.rewrite(message, change);
    }
}

/// Replaces ids inside all text that is not marked: labels, selectors, cgroup parents, environment, arguments.
fn replace_texts(message: &mut DynamicMessage, ids: &IdentityMap) {
    let fields: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        replace_in(message.get_field_mut(&field), ids);
    }
}

fn replace_in(value: &mut Value, ids: &IdentityMap) {
    match value {
        Value::String(text) if text.starts_with(REPLACED) => {
            text.drain(..REPLACED.len());
        }
        Value::String(text) => {
            let live = ids.to_live(text);
            if live != *text {
                *text = live;
            }
        }
        Value::Bytes(bytes) => {
            if let Ok(text) = std::str::from_utf8(bytes) {
                let live = ids.to_live(text);
                if live != text {
                    *bytes = live.into();
                }
            }
        }
        Value::Message(message) => replace_texts(message, ids),
        Value::List(items) => items.iter_mut().for_each(|item| replace_in(item, ids)),
        Value::Map(entries) => {
            for (key, value) in entries {
                let uid = matches!(key, MapKey::String(key) if key == UID_LABEL);
                match (uid, value.as_str().map(|uid| ids.resolve(cri::IdentityKind::PodUid, uid))) {
                    (true, Some(Resolution::Live(live))) => *value = Value::String(live),
                    _ => replace_in(value, ids),
                }
            }
        }
        _ => {}
    }
}

/// The field in which requests of this method say what the sandbox is that they make, or make something in.
pub(crate) fn sandbox_config_field(method: &Method) -> Option<&'static str> {
    match method.name.as_str() {
        "RunPodSandbox" | "RestorePod" => Some("config"),
        "CreateContainer" => Some("sandbox_config"),
        _ => None,
    }
}

/// What a request says of the sandbox that it makes, or makes something in.
pub(crate) fn sandbox_config<'a>(
    message: &'a mut DynamicMessage,
    method: &Method,
) -> Option<&'a mut DynamicMessage> {
    let config = sandbox_config_field(method)?;
    if !message.has_field_by_name(config) {
        return None;
    }
    match message.get_field_by_name_mut(config) {
        Some(Value::Message(config)) => Some(config),
        _ => None,
    }
}

/// Puts the replay's label on the sandboxes it makes.
fn mark(message: &mut DynamicMessage, method: &Method, run: &str) {
    let Some(config) = sandbox_config(message, method) else { return };
    if let Some(Value::Map(labels)) = config.get_field_by_name_mut("labels") {
        labels.insert(MapKey::String(OWNED_LABEL.to_owned()), Value::String(run.to_owned()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use cri::endpoint::Endpoints;
    use cri::{Generation, IdentityKind, methods, v1};
    use critape_calls::IdentityMap;

    use super::*;
    use crate::footprint::Owner;
    use crate::footprint::cleanup::Before;
    use crate::made_up;

    /// Two simulators of one seed may give two ids the other way round.
    #[test]
    fn an_id_is_replaced_once_though_it_is_anothers_as_well() {
        let (one, other) = ("a".repeat(64), "b".repeat(64));
        let mut ids = IdentityMap::default();
        ids.bind(IdentityKind::Container, &one, &other);
        ids.bind(IdentityKind::Container, &other, &one);
        let method = methods().by_name(Generation::V1, "ExecSync").unwrap();
        let cmd = vec!["echo".to_owned(), other.clone()];
        let asked = v1::ExecSyncRequest { container_id: one.clone(), cmd, timeout: 0 }.encode_to_vec();
        let mut message = decode(method.input(), &asked.into()).unwrap();
        assert!(replace_ids(&mut message, method, &ids).is_none());
        replace_texts(&mut message, &ids);
        let sent = v1::ExecSyncRequest::decode(message.encode_to_vec().as_slice()).unwrap();
        assert_eq!((sent.container_id, sent.cmd[1].clone()), (other, one));
    }
    #[test]
    fn checkpoints_are_written_into_the_replays_folder() {
        let nothing = std::collections::BTreeSet::default();
        let before = Before { ids: &nothing, names: &nothing };
        let endpoints = Endpoints::both_at(cri::Endpoint::at("/run/r.sock").unwrap());
        let footprint = Footprint::begin(&Owner::this_run().unwrap(), &endpoints, before).unwrap();
        let scratch = footprint.scratch.borrow().path().to_owned();
        let container = v1::CheckpointContainerRequest {
            container_id: "c".repeat(64),
            location: "/var/lib/kubelet/checkpoints/web.tar".to_owned(),
            timeout: 0,
        };
        let pod = v1::CheckpointPodRequest { output_path: "/var/pods/web".to_owned(), ..Default::default() };
        let sent = |rpc: &str, asked: &dyn Fn() -> Call| {
            let method = methods().by_name(Generation::V1, rpc).unwrap();
            let ids = &mut IdentityMap::default();
            match rewrite(&asked(), method, ids, &footprint, None) {
                Rewritten::Request(sent) => sent,
                other => panic!("{other:?}"),
            }
        };
        let (no_answer, times) = (v1::CheckpointContainerResponse {}, (0, 1));
        let asked = || made_up::call(1, "CheckpointContainer", times, &container, &no_answer);
        let of_container =
            v1::CheckpointContainerRequest::decode(sent("CheckpointContainer", &asked)).unwrap().location;
        let asked = || made_up::call(2, "CheckpointPod", times, &pod, &no_answer);
        let of_pod = v1::CheckpointPodRequest::decode(sent("CheckpointPod", &asked)).unwrap().output_path;
        for (place, name) in [(of_container, "web.tar"), (of_pod, "web")] {
            let place = std::path::PathBuf::from(place);
            assert!(place.starts_with(&scratch) && place.ends_with(name), "{}", place.display());
            assert!(place.parent().unwrap().is_dir() && !place.exists(), "{}", place.display());
        }
    }
}
