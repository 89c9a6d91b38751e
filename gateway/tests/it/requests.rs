//! What reaches the runtime, and what its answers become.

use cri::v1;
use prost::Message as _;
use serde_json::json;

use crate::fake::{Fake, Reply};
use crate::http::{gateway, get, post};

#[tokio::test]
async fn a_list_is_the_response_message_with_its_defaults() {
    let fake = Fake::started();
    let container = v1::Container { id: "c1".into(), created_at: 7, ..Default::default() };
    let list = v1::ListContainersResponse { containers: vec![container] };
    fake.reply("ListContainers", Reply::Message(list.encode_to_vec()));

    let answer = get(&gateway(&fake), "/cri/v1/containers").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let expected = json!({"containers": [{
        "id": "c1", "podSandboxId": "", "imageRef": "", "imageId": "", "state": "CONTAINER_CREATED",
        "createdAt": "7", "labels": {}, "annotations": {},
    }]});
    assert_eq!(answer.json(), expected);
}

#[tokio::test]
async fn filters_become_the_filter_of_the_request() {
    let fake = Fake::started();
    fake.reply("ListPodSandbox", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    get(&gateway, "/cri/v1/pods").await;
    let answer = get(&gateway, "/cri/v1/pods?id=abc&state=notready&labelSelector=app%3Dweb%2Ctier%3D").await;
    assert_eq!(answer.json(), json!({"items": []}));

    let seen = fake.seen();
    assert_eq!(seen[0].path, "/runtime.v1.RuntimeService/ListPodSandbox");
    assert!(seen[0].message.is_empty());
    let request = v1::ListPodSandboxRequest::decode(seen[1].message.clone()).unwrap();
    let expected = v1::PodSandboxFilter {
        id: "abc".into(),
        state: Some(v1::PodSandboxStateValue { state: v1::PodSandboxState::SandboxNotready.into() }),
        label_selector: [("app".into(), "web".into()), ("tier".into(), String::new())].into(),
    };
    assert_eq!(request.filter, Some(expected));
}

#[tokio::test]
async fn ids_and_references_come_from_the_path() {
    let fake = Fake::started();
    let status =
        v1::PodSandboxStatusResponse { status: Some(v1::PodSandboxStatus::default()), ..Default::default() };
    fake.reply("PodSandboxStatus", Reply::Message(status.encode_to_vec()));
    let image = v1::ImageStatusResponse { image: Some(v1::Image::default()), ..Default::default() };
    fake.reply("ImageStatus", Reply::Message(image.encode_to_vec()));
    let gateway = gateway(&fake);
    assert_eq!(get(&gateway, "/cri/v1/pods/abc?verbose").await.status, 200);
    assert_eq!(get(&gateway, "/cri/v1/images/localhost%2Fa%2Fb:1%402").await.status, 200);

    let seen = fake.seen();
    let pod = v1::PodSandboxStatusRequest::decode(seen[0].message.clone()).unwrap();
    assert_eq!((pod.pod_sandbox_id.as_str(), pod.verbose), ("abc", true));
    let image = v1::ImageStatusRequest::decode(seen[1].message.clone()).unwrap();
    assert_eq!(image.image.unwrap().image, "localhost/a/b:1@2");
    assert_eq!(seen[1].path, "/runtime.v1.ImageService/ImageStatus");
}

#[tokio::test]
async fn what_is_null_is_not_found() {
    let fake = Fake::started();
    fake.reply("ImageStatus", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    let answer = get(&gateway, "/cri/v1/images/nosuch").await;
    assert_eq!(answer.status, 404);
    let problem = answer.problem();
    assert_eq!(problem["type"], "urn:critape:problem:missing");
    // The call itself ended well.
    assert!(problem.get("grpc").is_none());
    // Under the RPC's own name it is what the runtime said.
    let answer =
        post(&gateway, "/runtime.v1.ImageService/ImageStatus", r#"{"image":{"image":"nosuch"}}"#).await;
    assert_eq!(answer.json(), json!({"info": {}}));
}

#[tokio::test]
async fn every_unary_rpc_has_its_own_path() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    for method in cri::methods().of(cri::Generation::V1) {
        fake.reply(&method.name, Reply::Message(Vec::new()));
        let answer = post(&gateway, &method.path, "{}").await;
        if method.server_streaming {
            assert_eq!(answer.status, 501, "{}", method.path);
            assert_eq!(answer.problem()["type"], "urn:critape:problem:streaming-rpc");
        } else {
            assert_eq!(answer.status, 200, "{} {:?}", method.path, answer.body);
            assert!(answer.json().is_object());
        }
    }
    assert_eq!(fake.seen().len(), 36);
}

#[tokio::test]
async fn requests_are_read_as_crictl_writes_them() {
    let fake = Fake::started();
    fake.reply("CreateContainer", Reply::Message(Vec::new()));
    let body = json!({
        "pod_sandbox_id": "p",
        "config": {"metadata": {"name": "n"}, "envs": [{"key": "PATH", "value": "/usr/bin"}], "stopSignal": 11},
    });
    let answer = post(&gateway(&fake), "/runtime.v1.RuntimeService/CreateContainer", body.to_string()).await;
    assert_eq!(answer.json(), json!({"containerId": ""}));
    let request = v1::CreateContainerRequest::decode(fake.seen()[0].message.clone()).unwrap();
    let config = request.config.unwrap();
    assert_eq!(request.pod_sandbox_id, "p");
    assert_eq!(config.envs[0].value, "/usr/bin");
    assert_eq!(config.stop_signal, 11);
}

#[tokio::test]
async fn the_runtime_has_the_deadline_and_what_the_request_gives_it() {
    let fake = Fake::started();
    fake.reply("StopContainer", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    post(&gateway, "/runtime.v1.RuntimeService/StopContainer", "{}").await;
    post(&gateway, "/runtime.v1.RuntimeService/StopContainer", r#"{"timeout":"300"}"#).await;
    post(&gateway, "/runtime.v1.RuntimeService/StopContainer", r#"{"timeout":-5}"#).await;
    let timeouts: Vec<_> = fake.seen().into_iter().map(|seen| seconds(&seen.timeout)).collect();
    assert_eq!(timeouts, [120, 420, 120]);
}

/// The seconds of a `grpc-timeout`, whatever its unit.
fn seconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap();
    match unit {
        "S" => number,
        "m" => number / 1_000,
        "u" => number / 1_000_000,
        "n" => number / 1_000_000_000,
        other => panic!("{other} is no unit for seconds"),
    }
}

#[tokio::test]
async fn every_request_asks_the_runtime() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    for _ in 0..3 {
        get(&gateway, "/cri/v1/version").await;
    }
    assert_eq!(fake.seen().len(), 3);
}

#[tokio::test]
async fn images_may_have_a_socket_of_their_own() {
    let (runtime, image) = (Fake::started(), Fake::started());
    runtime.reply("Version", Reply::Message(Vec::new()));
    image.reply("ListImages", Reply::Message(Vec::new()));
    let endpoints = cri::endpoint::Endpoints { runtime: runtime.endpoint(), image: image.endpoint() };
    let gateway =
        critape_gateway::router(&critape_gateway::Config::new(endpoints, critape_gateway::Auth::UnixSocket));
    assert_eq!(get(&gateway, "/cri/v1/version").await.status, 200);
    assert_eq!(get(&gateway, "/cri/v1/images").await.status, 200);
    assert_eq!(get(&gateway, "/cri/v1/images?image=a").await.status, 200);
    assert_eq!((runtime.seen().len(), image.seen().len()), (1, 2));
}

#[tokio::test]
async fn what_the_document_lists_is_there() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    let document = get(&gateway, "/openapi.json").await.json();
    assert_eq!(document, critape_openapi::document());
    for (path, item) in document["paths"].as_object().unwrap() {
        for verb in item.as_object().unwrap().keys() {
            let path = path.replace("{id}", "x").replace("{ref}", "x");
            let answer =
                if verb == "get" { get(&gateway, &path).await } else { post(&gateway, &path, "{}").await };
            // The fake implements none of the RPCs.
            assert!(answer.status == 501 || answer.status == 200, "{verb} {path}: {}", answer.status);
            if answer.status == 501 {
                assert_eq!(answer.problem()["grpc"]["status"], "UNIMPLEMENTED");
            }
        }
    }
}
