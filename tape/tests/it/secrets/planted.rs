//! Conversations with secrets in them.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cri::{Generation, Method, methods};
use critape_calls::{
    Body, CallId, ConnectionId, Event, EventKind, Header, Metadata, Opening, OpeningAnswer, Side, Stamp,
};
use prost::Message as _;
use serde_json::{Value, json};

/// A secret with everything that spellings differ in, and one that needs no care.
const AWKWARD: &str = "env\"v<a>l&u\\e-é~~~?";
pub const EARLIER: &str = "earlier-secret-00";

/// What was planted, and where it should not be found.
pub struct Planted {
    pub events: Vec<Event>,
    /// Sealed by every policy.
    pub secrets: Vec<String>,
    /// Sealed by the strict one.
    pub strict: Vec<String>,
}

struct Script {
    generation: Generation,
    events: Vec<Event>,
    calls: u64,
}

impl Script {
    fn new(generation: Generation) -> Self {
        Self { generation, events: Vec::new(), calls: 0 }
    }

    fn push(&mut self, kind: EventKind) {
        let at = Stamp(1000 + self.events.len() as u64);
        self.events.push(Event { at, kind });
    }

    fn method(&self, rpc: &str) -> &'static Method {
        methods().by_name(self.generation, rpc).unwrap()
    }

    fn start(&mut self, path: &str, metadata: Metadata) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        let path = path.to_owned();
        self.push(EventKind::CallStarted { call, connection: ConnectionId(1), stream: 1, path, metadata });
        call
    }

    fn message(&mut self, call: CallId, from: Side, body: Bytes) {
        self.push(EventKind::Message { call, from, compressed: false, body: Body::Kept(body) });
    }

    fn call(&mut self, rpc: &str, request: Value, response: Value, trailers: Metadata) {
        let method = self.method(rpc);
        let call = self.start(&method.path, Metadata::default());
        self.message(call, Side::Client, encode(&method.input(), request));
        self.message(call, Side::Runtime, encode(&method.output(), response));
        self.push(EventKind::Trailers { call, metadata: trailers });
    }
}

/// The message of this JSON; fields that its generation lacks are left out. An unknown field goes along.
fn encode(message: &prost_reflect::MessageDescriptor, value: Value) -> Bytes {
    let mut bytes = cri::json::from_value(message, known_only(message, value)).unwrap().encode_to_vec();
    // Field 1000, which no message has, with a length of its own.
    bytes.extend_from_slice(b"\xc2\x3e\x07unknown");
    bytes.into()
}

fn known_only(message: &prost_reflect::MessageDescriptor, value: Value) -> Value {
    let Value::Object(object) = value else { return value };
    let kept = object.into_iter().filter_map(|(name, value)| {
        let field = message.get_field_by_name(&name)?;
        let inner = field.kind().as_message().filter(|_| !field.is_map()).cloned();
        let value = match (inner, value) {
            (Some(inner), Value::Array(items)) => {
                items.into_iter().map(|item| known_only(&inner, item)).collect()
            }
            (Some(inner), value) => known_only(&inner, value),
            (None, value) => value,
        };
        Some((name, value))
    });
    Value::Object(kept.collect())
}

fn headers(pairs: &[(&str, &str)]) -> Metadata {
    let header = |(name, value): &(&str, &str)| Header {
        name: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    Metadata(pairs.iter().map(header).collect())
}

fn ok() -> Metadata {
    headers(&[("grpc-status", "0"), ("grpc-message", "")])
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'%';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A failure whose text holds this.
fn failure(text: &str) -> Metadata {
    // google.rpc.Status { code: 2, message: text }
    let mut status = b"\x08\x02\x12".to_vec();
    prost::encoding::encode_varint(text.len() as u64, &mut status);
    status.extend_from_slice(text.as_bytes());
    let details = STANDARD.encode(status);
    let details = details.trim_end_matches('=');
    headers(&[
        ("grpc-status", "2"),
        ("grpc-message", &percent_encoded(text)),
        ("grpc-status-details-bin", details),
    ])
}

/// The text of an error that repeats a secret in each spelling.
fn complaint(secret: &str) -> String {
    let json = serde_json::to_string(secret).unwrap();
    let go = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    format!("é: {secret}, {}, {json}, {go} and 100% of {secret}", STANDARD.encode(secret))
}

/// Every kind of secret, each once or more.
pub fn conversation(generation: Generation) -> Planted {
    let mut script = Script::new(generation);
    opening(&mut script);
    create(&mut script);
    pull(&mut script);
    exec(&mut script);
    statuses(&mut script);
    oddities(&mut script);
    let secrets = [
        AWKWARD,
        EARLIER,
        "command-secret-1",
        "args-secret-1",
        "user-name-1",
        "pass-word-1",
        "auth-b64-1",
        "server-addr-1",
        "identity-tok-1",
        "registry-tok-1",
        "image-user-1:image-pass-1",
        "image-pass-1",
        "execsync-cmd-1",
        "stdout-secret-1",
        "stderr-secret-1",
        "exec-cmd-1",
        "ExecTok1",
        "AttachTok1",
        "ForwardTok1",
        "info-secret-1",
        "signature-1",
        "bearer-secret-1",
        "garbage-secret-1",
        "compressed-secret-1",
        "unheard-secret-1",
        "trailing-secret-1",
        "crossing-secret-1",
    ];
    let windows = ["sandbox-cred-spec-1", "container-cred-spec-1"];
    let strict = ["annotation-secret-1", "label-secret-1"];
    let windows = windows.iter().filter(|_| generation != Generation::V1Alpha1);
    Planted {
        events: script.events,
        secrets: secrets.iter().chain(windows).map(ToString::to_string).collect(),
        strict: strict.map(str::to_owned).to_vec(),
    }
}

fn annotated(mut value: Value) -> Value {
    value["labels"] = json!({"a": "label-secret-1"});
    value["annotations"] = json!({"manifest": "{\"x\": \"annotation-secret-1\"}"});
    value
}

fn opening(script: &mut Script) {
    let answer = |rpc: &str, response: Value| {
        let method = script.method(rpc);
        OpeningAnswer {
            path: method.path.clone(),
            request: Bytes::new(),
            code: 0,
            message: "https://h/?sig=signature-1".to_owned(),
            response: encode(&method.output(), response),
        }
    };
    let image = json!({"image": "image-user-1:image-pass-1@registry/a:1"});
    let answers = vec![
        answer("ListContainers", json!({"containers": [annotated(json!({"id": "c", "image": image}))]})),
        answer("ListPodSandbox", json!({"items": [annotated(json!({"id": "s"}))]})),
        answer("Status", json!({"info": {"config": "{\"a\": \"info-secret-1\"}"}})),
        answer(
            "ListImages",
            json!({"images": [{"id": "i", "repo_tags": ["image-user-1:image-pass-1@registry/a:1"]}]}),
        ),
    ];
    script.push(EventKind::Opening(Opening { answers }));
}

fn create(script: &mut Script) {
    let windows = |spec: &str| json!({"security_context": {"credential_spec": spec}});
    let config = annotated(json!({
        "metadata": {"name": "web"},
        "image": {"image": "image-user-1:image-pass-1@registry/a:1"},
        "command": ["/bin/sh", "command-secret-1"],
        "args": ["", "args-secret-1"],
        "envs": [{"key": "A", "value": AWKWARD}, {"key": "B", "value": ""}, {"key": "C", "value": EARLIER}],
        "windows": windows("container-cred-spec-1"),
    }));
    let sandbox = annotated(json!({"metadata": {"name": "web"}, "windows": windows("sandbox-cred-spec-1")}));
    let request = json!({"pod_sandbox_id": "s", "config": config, "sandbox_config": sandbox});
    let text = format!("{}; {}", complaint(AWKWARD), complaint("args-secret-1"));
    script.call("CreateContainer", request, json!({"container_id": "c"}), failure(&text));
    script.call("RunPodSandbox", json!({"config": sandbox}), json!({"pod_sandbox_id": "s"}), ok());
    let filter = json!({"filter": {"label_selector": {"a": "label-secret-1"}}});
    script.call("ListContainers", filter.clone(), json!({}), ok());
    script.call("ListPodSandbox", filter, json!({}), ok());
}

fn pull(script: &mut Script) {
    let auth = json!({
        "username": "user-name-1", "password": "pass-word-1", "auth": "auth-b64-1", "server_address": "server-addr-1",
        "identity_token": "identity-tok-1", "registry_token": "registry-tok-1",
    });
    let image = "image-user-1:image-pass-1@registry/a:1";
    let request = json!({"image": {"image": image}, "auth": auth});
    let text = format!(
        "Get \"https://user-name-1:pass-word-1@registry/v2?X-Sig=signature-1&y=signature-1\": {}, image-pass-1",
        complaint("registry-tok-1")
    );
    script.call("PullImage", request, json!({"image_ref": image}), failure(&text));
}

fn exec(script: &mut Script) {
    let request = json!({"container_id": "c", "cmd": ["sh", "-c", "execsync-cmd-1"]});
    let output =
        json!({"stdout": STANDARD.encode("stdout-secret-1"), "stderr": STANDARD.encode("stderr-secret-1")});
    script.call("ExecSync", request, output, failure(&complaint("execsync-cmd-1")));
    let url = |path: &str| json!({"url": format!("http://127.0.0.1:40123/{path}")});
    script.call("Exec", json!({"cmd": ["exec-cmd-1"]}), url("exec/ExecTok1"), ok());
    script.call("Attach", json!({"container_id": "c"}), url("attach/AttachTok1"), ok());
    script.call("PortForward", json!({"pod_sandbox_id": "s"}), url("portforward/ForwardTok1"), ok());
}

fn statuses(script: &mut Script) {
    let info = json!({"info": format!("{{\"config\":{{\"envs\":[{{\"key\":\"A\",\"value\":\"info-secret-1{AWKWARD}\"}}]}}}}")});
    let image = json!({"image": "image-user-1:image-pass-1@registry/a:1"});
    let status =
        annotated(json!({"id": "c", "image": image, "message": complaint(AWKWARD), "reason": EARLIER}));
    script.call("ContainerStatus", json!({"verbose": true}), json!({"status": status, "info": info}), ok());
    let sandbox = annotated(json!({"id": "s"}));
    script.call("PodSandboxStatus", json!({"verbose": true}), json!({"status": sandbox, "info": info}), ok());
    let conditions =
        json!({"conditions": [{"type": "RuntimeReady", "reason": EARLIER, "message": complaint(EARLIER)}]});
    script.call("Status", json!({"verbose": true}), json!({"status": conditions, "info": info}), ok());
    let request = json!({"image": {"image": "image-user-1:image-pass-1@registry/a:1"}, "verbose": true});
    script.call("ImageStatus", request, json!({"info": info}), ok());
}

/// What can't be read, what is compressed, methods that the schema doesn't have, headers.
fn oddities(script: &mut Script) {
    let metadata = headers(&[
        ("content-type", "application/grpc"),
        ("authorization", "Bearer bearer-secret-1"),
        ("x-note", "says bearer-secret-1"),
        ("x-note-bin", &STANDARD.encode("says bearer-secret-1")),
    ]);
    let version = script.method("Version").path.clone();
    let call = script.start(&version, metadata.clone());
    script.message(call, Side::Client, Bytes::from_static(b"\xff\xff garbage-secret-1"));
    let compressed = Body::Kept(Bytes::from_static(b"compressed-secret-1"));
    script.push(EventKind::Message { call, from: Side::Runtime, compressed: true, body: compressed });
    script.push(EventKind::ResponseStarted { call, metadata });
    script.push(EventKind::Trailers { call, metadata: failure("bearer-secret-1") });
    let call = script.start("/runtime.v1.RuntimeService/NeverHeardOf", Metadata::default());
    script.message(call, Side::Client, Bytes::from_static(b"\x0a\x10unheard-secret-1"));
    script.push(EventKind::Truncated { call });
    // A request may cross the end of its call; and nothing is known of a call that never was.
    let method = script.method("ExecSync");
    let call = script.start(&method.path, Metadata::default());
    script.push(EventKind::Trailers { call, metadata: ok() });
    script.message(call, Side::Client, encode(&method.input(), json!({"cmd": ["crossing-secret-1"]})));
    script.message(CallId(9999), Side::Runtime, Bytes::from_static(b"\x0a\x11trailing-secret-1"));
    let reason = format!("read {EARLIER}");
    script.push(EventKind::ConnectionLost { connection: ConnectionId(1), reason });
}

/// A container with a secret, and a failure that repeats it.
pub fn secret_then_failure() -> (Vec<Event>, Vec<Event>) {
    let mut first = Script::new(Generation::V1);
    let request = json!({"config": {"envs": [{"key": "A", "value": EARLIER}]}});
    first.call("CreateContainer", request, json!({"container_id": "c"}), ok());
    let mut second = Script { calls: first.calls, ..Script::new(Generation::V1) };
    second.call("StartContainer", json!({"container_id": "c"}), json!({}), failure(&complaint(EARLIER)));
    (first.events, second.events)
}

/// Texts that begin like tokens, where nothing is sealed and where something is.
pub fn looks_sealed() -> Vec<Event> {
    let mut script = Script::new(Generation::V1);
    let texts = ["sealed:v1:", "sealed:v1:AAAA.", "x sealed:v1:sealed:v1:", "sealed:v1:é"];
    for text in texts {
        let envs = json!([{"key": text, "value": text}]);
        let request = json!({"pod_sandbox_id": text, "config": {"envs": envs, "labels": {text: text}, "command": [text]}});
        script.call("CreateContainer", request, json!({"container_id": text}), failure(text));
        let method = script.method("Version").path.clone();
        let call = script.start(&method, headers(&[("user-agent", text), ("authorization", text)]));
        script.message(call, Side::Client, text.to_owned().into());
        script.push(EventKind::ConnectionLost { connection: ConnectionId(1), reason: text.to_owned() });
    }
    script.events
}

/// Gives the only segment of `plain` the header of the only segment of `sealed`.
pub fn pretend_sealed(sealed: &Path, plain: &Path) {
    let segment = |tape: &Path| tape.join("segments/00000001");
    let header = {
        let store = sled::open(segment(sealed)).unwrap();
        store.get(b"header").unwrap().unwrap()
    };
    let store = sled::open(segment(plain)).unwrap();
    store.insert(b"header", header).unwrap();
    store.flush().unwrap();
    drop(store);
    // Nor does anything tell that it was changed.
    std::fs::write(segment(plain).join("closed"), "loose\n").unwrap();
}
