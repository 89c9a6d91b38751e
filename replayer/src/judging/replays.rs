//! Recordings of replays: what a replay puts in the place of the host's folders is taken for what it stands for.
//!
//! Its sandboxes carry its label, and the folders are in one whose name begins as those of all replays.

use std::path::Path;

use critape_calls::{Call, IdentityMap, decode};
use critape_differ::OWNED_LABEL;
use prost_reflect::{DynamicMessage, MapKey, Value};

use crate::footprint::FOLDER_PREFIX;
use crate::sending::rewrite::{host_paths, sandbox_config, sandbox_config_field};

/// Binds the folders that two calls name which made the same thing, where one of the two is a replay's and its folder is the
/// replay's own.
pub(crate) fn bind_folders(call: &Call, other: &Call, ids: &mut IdentityMap) {
    // Others have no label, and are not read for it.
    if call.method().and_then(sandbox_config_field).is_none() {
        return;
    }
    let (Some(mut before), Some(mut now)) = (request(call), request(other)) else { return };
    let owned = [is_owned(call, &mut before), is_owned(other, &mut now)];
    if owned == [false, false] {
        return;
    }
    let (before, now) = (host_paths(&mut before), host_paths(&mut now));
    // Another number of mounts is another request.
    if before.len() != now.len() {
        return;
    }
    for (path, counterpart) in before.iter().zip(&now) {
        let moved = [owned[0] && is_scratch(path), owned[1] && is_scratch(counterpart)];
        if moved != [false, false] && path != counterpart {
            ids.bind_folder(path, counterpart);
        }
    }
}

/// Leaves the label of replays out of everything in a request.
pub(crate) fn without_label(request: &mut serde_json::Value) {
    match request {
        serde_json::Value::Object(fields) => {
            fields.remove(OWNED_LABEL);
            fields.values_mut().for_each(without_label);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(without_label),
        _ => {}
    }
}

fn request(call: &Call) -> Option<DynamicMessage> {
    decode(call.method()?.input(), call.request()?)
}

fn is_owned(call: &Call, request: &mut DynamicMessage) -> bool {
    let config = call.method().and_then(|method| sandbox_config(request, method));
    let labels = config.and_then(|config| config.get_field_by_name_mut("labels"));
    let key = MapKey::String(OWNED_LABEL.to_owned());
    matches!(labels, Some(Value::Map(labels)) if labels.contains_key(&key))
}

/// Whether a path lies in the folder of a replay.
fn is_scratch(path: &str) -> bool {
    let is_of_replay =
        |part: &std::ffi::OsStr| part.to_str().is_some_and(|part| part.starts_with(FOLDER_PREFIX));
    Path::new(path).iter().any(is_of_replay)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use critape_calls::{Body, CallId, ConnectionId, Metadata, RecordedMessage, Stamp};
    use prost::Message as _;

    use super::*;

    fn sandbox(logs: &str, label: Option<&str>) -> Call {
        let labels = label.map(|run| (OWNED_LABEL.to_owned(), run.to_owned())).into_iter().collect();
        let config =
            cri::v1::PodSandboxConfig { log_directory: logs.to_owned(), labels, ..Default::default() };
        let asked = cri::v1::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        let at = Stamp(0);
        let body = Body::Kept(asked.encode_to_vec().into());
        Call {
            id: CallId(1),
            connection: ConnectionId(1),
            peer: None,
            started: at,
            path: "/runtime.v1.RuntimeService/RunPodSandbox".to_owned(),
            sent_as: None,
            metadata: Metadata::default(),
            deadline: None,
            requests: vec![RecordedMessage { at, compressed: false, body }],
            response_metadata: None,
            responses: Vec::new(),
            ended: at,
            outcome: crate::sending::answer::cancelled(),
            host_paths: Vec::new(),
        }
    }

    /// What is called so by somebody else is another folder, and so is what a replay has elsewhere.
    #[test]
    fn only_the_folder_of_a_replay_stands_for_another() {
        let bound = |one: Call, other: Call, path: &str| {
            let mut ids = IdentityMap::default();
            bind_folders(&one, &other, &mut ids);
            ids.to_live_path(path)
        };
        let (host, scratch) = ("/var/log/pods/web", "/tmp/critape-replay-a1/0/web");
        let theirs = || sandbox(host, None);
        assert_eq!(
            bound(theirs(), sandbox(scratch, Some("run")), "/var/log/pods/web/0.log"),
            format!("{scratch}/0.log")
        );
        assert_eq!(bound(sandbox(scratch, Some("run")), theirs(), scratch), host);
        let other = "/tmp/critape-replay-b2/3/web";
        assert_eq!(bound(sandbox(scratch, Some("run")), sandbox(other, Some("run2")), scratch), other);
        for (one, now) in [
            (theirs(), sandbox(scratch, None)),
            (theirs(), sandbox("/elsewhere/web", Some("run"))),
            (sandbox(scratch, None), sandbox("/elsewhere/web", None)),
        ] {
            assert_eq!(bound(one, now, host), host);
        }
    }
}
