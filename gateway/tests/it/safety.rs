//! Who is let in.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use critape_gateway::{Auth, Token, router};

use crate::fake::{Fake, Reply};
use crate::http::{Answer, config, get, send};

const TOKEN: &str = "00112233445566778899aabbccddeeff";

fn guarded(fake: &Fake, auth: Auth) -> Router {
    fake.reply("Version", Reply::Message(Vec::new()));
    router(&config(fake, auth))
}

fn token() -> Auth {
    Auth::Token(TOKEN.parse::<Token>().unwrap())
}

async fn ask(router: &Router, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request =
        headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    send(router, request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_runtime_is_asked_for_those_who_have_the_token() {
    let fake = Fake::started();
    let router = guarded(&fake, token());
    let host = ("host", "127.0.0.1:1");
    for headers in [&[host][..], &[host, ("authorization", "Bearer wrong")]] {
        // Whether something is there is nobody's business either.
        for path in ["/cri/v1/version", "/nosuch", "/cri/v1/pods?x=y"] {
            let answer = ask(&router, path, headers).await;
            assert_eq!(answer.status, 401, "{path}");
            assert_eq!(answer.problem()["type"], "urn:critape:problem:unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"critape\"");
        }
    }
    assert!(fake.seen().is_empty());
    let bearer = format!("Bearer {TOKEN}");
    let answer = ask(&router, "/cri/v1/version", &[host, ("authorization", &bearer)]).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn health_and_documentation_need_no_token_and_no_runtime() {
    let fake = Fake::absent();
    let router = guarded(&fake, token());
    let host = [("host", "localhost")];
    let health = ask(&router, "/healthz", &host).await;
    assert_eq!(health.json(), serde_json::json!({"status": "ok"}));
    assert_eq!(ask(&router, "/openapi.json", &host).await.json()["openapi"], "3.1.0");
    let moved = ask(&router, "/docs", &host).await;
    assert_eq!((moved.status.as_u16(), moved.header("location")), (308, "/docs/"));
    let page = ask(&router, "/docs/", &host).await;
    assert_eq!(page.header("content-type"), "text/html");
    assert!(page.header("content-security-policy").starts_with("default-src 'self'"));
    for (part, kind) in [
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-initializer.js", "text/javascript"),
    ] {
        let answer = ask(&router, &format!("/docs/{part}"), &host).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{part}");
    }
}

#[tokio::test]
async fn the_page_names_nothing_outside() {
    let fake = Fake::absent();
    let router = guarded(&fake, Auth::UnixSocket);
    let initializer = get(&router, "/docs/swagger-initializer.js").await;
    let text = String::from_utf8(initializer.body.to_vec()).unwrap();
    assert!(text.contains(r#""validatorUrl": "none""#), "{text}");
    assert!(text.contains(r#""url": "/openapi.json""#), "{text}");
    let page = get(&router, "/docs/").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!text.contains("://"), "{text}");
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_turned_away() {
    let fake = Fake::started();
    for auth in [token(), Auth::None] {
        let router = guarded(&fake, auth);
        for (headers, kind) in [
            (&[][..], "foreign-host"),
            (&[("host", "rebound.example.org:80")], "foreign-host"),
            (&[("host", "localhost:80"), ("origin", "http://example.org")], "foreign-origin"),
            (&[("host", "localhost:80"), ("origin", "http://localhost:81")], "foreign-origin"),
            (&[("host", "localhost:80"), ("origin", "null")], "foreign-origin"),
        ] {
            for path in ["/cri/v1/version", "/healthz", "/docs/"] {
                let answer = ask(&router, path, headers).await;
                assert_eq!(answer.status, 403, "{headers:?}");
                assert_eq!(answer.problem()["type"], format!("urn:critape:problem:{kind}"));
            }
        }
    }
    assert!(fake.seen().is_empty());
}

#[tokio::test]
async fn pages_of_the_gateway_may_ask() {
    let fake = Fake::started();
    let router = guarded(&fake, Auth::None);
    let headers = [("host", "localhost:80"), ("origin", "http://localhost:80")];
    assert_eq!(ask(&router, "/cri/v1/version", &headers).await.status, 200);
}
