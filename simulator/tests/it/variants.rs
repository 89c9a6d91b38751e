//! What a runtime serves beyond containerd 2.1, or short of it.

use bytes::Bytes;
use cri::{Generation, methods, v1};
use critape_simulator::{Config, Variant};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::{Code, Status};

use crate::harness::{Runtime, pod};

async fn with(variant: Variant) -> Runtime {
    Runtime::with(Config { variants: vec![variant], ..Config::default() }).await
}

/// All messages of a stream that ends well.
async fn messages(runtime: &Runtime, path: &str) -> Result<Vec<Bytes>, Status> {
    let mut stream = runtime.client.stream(path, Bytes::new(), None).await?;
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

#[tokio::test]
async fn streamed_lists_hold_what_the_lists_hold() {
    let runtime = with(Variant::StreamedLists).await;
    for index in 0..8 {
        runtime.running(&format!("pod-{index}"), &["sleep", "infinity"]).await;
    }
    let mut compared = 0;
    for stream in methods().of(Generation::V1).filter(|method| method.list().is_some()) {
        let streamed = messages(&runtime, &stream.path).await.unwrap();
        if stream.name == "StreamPodSandboxMetrics" {
            assert_eq!(streamed, Vec::<Bytes>::new());
            continue;
        }
        let list = stream.list().unwrap();
        let whole = runtime.client.unary(&list.path, Bytes::new(), None).await.unwrap().message;
        let ids = |bytes: &[u8]| {
            let list = DynamicMessage::decode(list.output(), bytes).unwrap();
            let mut ids: Vec<_> = ids_of(&list);
            ids.sort();
            ids
        };
        assert_eq!(ids(&streamed.concat()), ids(&whole), "{}", stream.name);
        assert!(stream.name == "StreamImages" || streamed.len() > 1, "{} came in one piece", stream.name);
        compared += 1;
    }
    assert_eq!(compared, 5);
}

/// The ids of the elements of a list, which are in their first field or in that of their attributes.
fn ids_of(list: &DynamicMessage) -> Vec<String> {
    let Some(Value::List(items)) = list.get_field_by_number(1).map(std::borrow::Cow::into_owned) else {
        return Vec::new();
    };
    let first = |item: &DynamicMessage| item.get_field_by_number(1).map(std::borrow::Cow::into_owned);
    let id = |item: &Value| match first(item.as_message()?)? {
        Value::Message(attributes) => first(&attributes)?.as_str().map(str::to_owned),
        value => value.as_str().map(str::to_owned),
    };
    items.iter().filter_map(id).collect()
}

#[tokio::test]
async fn the_first_generation_has_its_own_messages() {
    let runtime = with(Variant::V1Alpha1).await;
    let old = |name: &str| methods().by_name(Generation::V1Alpha1, name).unwrap();
    let config = serde_json::json!({
        "config": {
            "metadata": {"name": "web", "namespace": "default", "uid": "u"},
            "linux": {"securityContext": {"namespaceOptions": {"hostNetwork": true, "hostPid": false}}},
        }
    });
    let run = old("RunPodSandbox");
    let request = cri::json::from_value(&run.input(), config).unwrap();
    let made = runtime.client.unary(&run.path, request.encode_to_vec().into(), None).await.unwrap();
    let id = v1::RunPodSandboxResponse::decode(made.message).unwrap().pod_sandbox_id;
    // In v1 these are modes …
    let status = runtime.pod_status(&id).await.unwrap();
    let options = status.linux.unwrap().namespaces.unwrap().options.unwrap();
    assert_eq!(
        (options.network(), options.pid(), options.ipc()),
        (v1::NamespaceMode::Node, v1::NamespaceMode::Container, v1::NamespaceMode::Pod)
    );
    // … and in v1alpha1 booleans.
    let ask = old("PodSandboxStatus");
    let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id, verbose: false };
    let answer = runtime.client.unary(&ask.path, request.encode_to_vec().into(), None).await.unwrap();
    let answer = DynamicMessage::decode(ask.output(), answer.message).unwrap();
    let answer = cri::json::to_value(&answer, cri::json::Defaults::Printed);
    assert_eq!(
        answer["status"]["linux"]["namespaces"]["options"],
        serde_json::json!({"hostNetwork": true, "hostPid": false, "hostIpc": false})
    );
    // What fails, fails in the same words.
    let absent = v1::PodSandboxStatusRequest { pod_sandbox_id: "absent".to_owned(), verbose: false };
    let refused = runtime.client.unary(&ask.path, absent.encode_to_vec().into(), None).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let unknown = runtime.client.unary("/runtime.RuntimeService/RuntimeConfig", Bytes::new(), None).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_older_runtime_does_not_serve_v1() {
    let runtime = with(Variant::NoV1).await;
    let refused = runtime.runtime::<v1::VersionResponse>("Version", v1::VersionRequest::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unimplemented, "unknown service runtime.v1.RuntimeService")
    );
    let path = "/runtime.v1alpha2.RuntimeService/Version";
    runtime.call::<v1::VersionResponse>(path, v1::VersionRequest::default()).await.unwrap();
}

#[tokio::test]
async fn without_pod_events_the_stream_ends_well_at_once() {
    let runtime = with(Variant::NoPodEvents).await;
    let run = v1::RunPodSandboxRequest { config: Some(pod("web")), runtime_handler: String::new() };
    runtime.runtime::<v1::RunPodSandboxResponse>("RunPodSandbox", run).await.unwrap();
    let events = messages(&runtime, "/runtime.v1.RuntimeService/GetContainerEvents").await;
    assert_eq!(events.unwrap(), Vec::<Bytes>::new());
}
