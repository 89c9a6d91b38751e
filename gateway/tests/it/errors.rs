//! What becomes of requests that are wrong, and of calls that fail.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use critape_gateway::{Auth, router};
use serde_json::json;

use crate::fake::{Fake, Reply};
use crate::http::{config, gateway, get, post, send};

const STOP: &str = "/runtime.v1.RuntimeService/StopContainer";

#[tokio::test]
async fn a_status_of_the_runtime_is_told_in_full() {
    let fake = Fake::started();
    // google.rpc.Status with one detail of type "t" and value 01.
    let details = vec![0x08, 5, 0x1a, 6, 0x0a, 1, b't', 0x12, 1, 1];
    fake.reply("ContainerStatus", Reply::Status(5, "no such container", details));
    let answer = get(&gateway(&fake), "/cri/v1/containers/nosuch?verbose=false").await;
    assert_eq!(answer.status, 404);
    let problem = answer.problem();
    let expected = json!({
        "type": "urn:critape:problem:grpc-not-found",
        "title": "The call ended with NOT_FOUND",
        "status": 404,
        "detail": "no such container",
        "instance": "/cri/v1/containers/nosuch",
        "requestId": problem["requestId"],
        "rpc": "/runtime.v1.RuntimeService/ContainerStatus",
        "grpc": {"code": 5, "status": "NOT_FOUND", "details": [{"@type": "t", "value": "AQ=="}]},
    });
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn statuses_map_to_http() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    let expected = [499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
    for (code, status) in (1..).zip(expected) {
        fake.reply("Version", Reply::Status(code, "because", Vec::new()));
        let answer = get(&gateway, "/cri/v1/version").await;
        assert_eq!(answer.status.as_u16(), status, "{code}");
        assert_eq!(answer.problem()["grpc"]["code"], code);
        assert_eq!(answer.header("retry-after"), if status == 503 { "1" } else { "" });
        assert_eq!(answer.header("www-authenticate").is_empty(), status != 401);
    }
}

#[tokio::test]
async fn a_runtime_that_takes_too_long_is_a_timeout() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Never);
    let mut config = config(&fake, Auth::UnixSocket);
    config.timeout = Duration::from_millis(50);
    let answer = get(&router(&config), "/cri/v1/version").await;
    assert_eq!(answer.status, 504);
    let problem = answer.problem();
    assert_eq!(problem["grpc"]["status"], "DEADLINE_EXCEEDED");
    assert_eq!(problem["detail"], "the runtime did not answer before the deadline");
}

#[tokio::test]
async fn a_runtime_may_come_and_go() {
    let mut fake = Fake::absent();
    fake.reply("Version", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    let answer = get(&gateway, "/cri/v1/version").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), "1");
    let detail = answer.problem()["detail"].as_str().unwrap().to_owned();
    assert!(detail.starts_with(&format!("no runtime answers at {}", fake.endpoint())), "{detail}");

    for _ in 0..2 {
        fake.start();
        until_status(&gateway, 200).await;
        fake.stop().await;
        until_status(&gateway, 503).await;
    }
}

/// Asks until the answer has this status: a connection that has just ended may still be taken for a good one.
async fn until_status(gateway: &axum::Router, status: u16) {
    let asking = async {
        while get(gateway, "/cri/v1/version").await.status != status {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), asking).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_can_not_be_read_is_told() {
    let fake = Fake::started();
    fake.reply("Version", Reply::Message(vec![0xff]));
    let answer = get(&gateway(&fake), "/cri/v1/version").await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.problem()["type"], "urn:critape:problem:unreadable-answer");
}

#[tokio::test]
async fn parameters_that_are_wrong_are_named() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    let answer = get(&gateway, "/cri/v1/pods?stat=ready&state=running").await;
    assert_eq!(answer.status, 400);
    let problem = answer.problem();
    assert_eq!(problem["type"], "urn:critape:problem:invalid-parameters");
    assert_eq!(problem["rpc"], "/runtime.v1.RuntimeService/ListPodSandbox");
    let parameters: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["parameter"].clone()).collect();
    assert_eq!(parameters, ["stat", "state"]);
    for path in ["/cri/v1/version?x=1", "/cri/v1/status?verbose=maybe", "/cri/v1/pods/%ff"] {
        assert_eq!(get(&gateway, path).await.problem()["status"], 400, "{path}");
    }
    assert_eq!(post(&gateway, &format!("{STOP}?timeout=1"), "{}").await.problem()["status"], 400);
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn bodies_that_are_wrong_are_explained() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    for (body, part, pointer) in [
        ("", "the body is empty", None),
        ("{", "the body is not JSON: EOF", None),
        ("[]", "not a runtime.v1.StopContainerRequest", Some("")),
        (r#"{"containerID":"x"}"#, "containerID", Some("/containerID")),
        (r#"{"containerId":1}"#, "expected a string", Some("/containerId")),
        (r#"{"timeout":"soon"}"#, "invalid digit found in string, at /timeout", Some("/timeout")),
        (r#"{"timeout":"9223372036854775808"}"#, "not a runtime.v1.StopContainerRequest", Some("/timeout")),
    ] {
        let answer = post(&gateway, STOP, body).await;
        assert_eq!(answer.status, 400, "{body}");
        let problem = answer.problem();
        assert_eq!(problem["type"], "urn:critape:problem:invalid-body", "{body}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(part), "{body}: {detail}");
        assert_eq!(problem["errors"][0]["pointer"].as_str(), pointer, "{body}");
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn bodies_of_another_kind_or_size_are_refused() {
    let fake = Fake::started();
    fake.reply("StopContainer", Reply::Message(Vec::new()));
    let gateway = gateway(&fake);
    for content_type in ["text/plain", "application/json;profile=protojson"] {
        let request =
            Request::post(STOP).header("content-type", content_type).body(Body::from("{}")).unwrap();
        let answer = send(&gateway, request).await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.problem()["rpc"], STOP);
    }
    let most = 16 * 1024 * 1024;
    assert_eq!(post(&gateway, STOP, format!("{{}}{}", " ".repeat(most - 2))).await.status, 200);
    let answer = post(&gateway, STOP, format!("{{}}{}", " ".repeat(most - 1))).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.problem()["type"], "urn:critape:problem:body-too-large");
}

#[tokio::test]
async fn other_paths_and_verbs_are_problems_too() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    for path in ["/", "/cri/v1", "/cri/v1/pods/", "/cri/v1/pods/a/b", "/cri/v2/pods", "/docs/nosuch.css"] {
        let answer = get(&gateway, path).await;
        assert_eq!(answer.status, 404, "{path}");
        let problem = answer.problem();
        assert_eq!(problem["type"], "urn:critape:problem:unknown-path", "{path}");
        assert_eq!(problem["instance"], path);
    }
    for (path, allow) in
        [("/cri/v1/pods", "GET,HEAD"), ("/cri/v1/pods/x", "GET,HEAD"), ("/healthz", "GET,HEAD")]
    {
        let answer = post(&gateway, path, "{}").await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.problem()["type"], "urn:critape:problem:wrong-verb");
        assert_eq!(answer.header("allow"), allow);
    }
    let answer = get(&gateway, STOP).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    let old = post(&gateway, "/runtime.v1alpha2.RuntimeService/Version", "{}").await;
    assert_eq!(old.status, 404);
    assert!(old.problem()["detail"].as_str().unwrap().contains("runtime.v1alpha2"));
}

#[tokio::test]
async fn ids_of_requests_are_kept_or_made() {
    let fake = Fake::started();
    let gateway = gateway(&fake);
    let ask = |id: &'static str| {
        let request = Request::get("/cri/v1/version").header("x-request-id", id).body(Body::empty()).unwrap();
        send(&gateway, request)
    };
    assert_eq!(ask("mine-1").await.problem()["requestId"], "mine-1");
    assert_ne!(ask("not sane").await.problem()["requestId"], "not sane");
    let (one, other) = (get(&gateway, "/healthz").await, get(&gateway, "/healthz").await);
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}
