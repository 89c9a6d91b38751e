//! All routes and the layers around them.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware;
use axum::routing::{MethodFilter, get, on};
use cri::methods;
use critape_openapi::{HEALTH_PATH, Verb, operations};

use crate::exchange::{RequestIds, exchange};
use crate::guard::guard;
use crate::problem::{Kind, Problem, unknown_path, wrong_verb};
use crate::upstream::Upstream;
use crate::{Config, call, docs};

/// The gateway without a socket. The caller sees to it that [`crate::Auth::UnixSocket`] is used on unix sockets alone;
/// [`crate::serve`] does.
pub fn router(config: &Config) -> Router {
    let upstream = Upstream::new(&config.endpoints, config.timeout);
    let mut routes = Router::new();
    for operation in operations() {
        let upstream = upstream.clone();
        let handler = on(verb(operation.verb), move |request: Request| async move {
            call::answer(&upstream, operation, request).await
        });
        routes = routes.route(&operation.path, handler);
    }
    routes
        .merge(docs::routes())
        .route(HEALTH_PATH, get(health))
        .fallback(async |request: Request| elsewhere(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request| {
            wrong_verb(request.method(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(Arc::new(config.auth.clone()), guard))
        .layer(middleware::from_fn_with_state(Arc::new(RequestIds::new()), exchange))
}

fn verb(verb: Verb) -> MethodFilter {
    match verb {
        Verb::Get => MethodFilter::GET,
        Verb::Post => MethodFilter::POST,
    }
}

async fn health() -> ([(axum::http::HeaderName, HeaderValue); 1], &'static str) {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], r#"{"status":"ok"}"#)
}

/// What is at none of the routes: an RPC that is not offered, or nothing.
fn elsewhere(path: &str) -> Problem {
    match methods().by_path(path) {
        Some(method) if method.server_streaming => {
            let detail =
                format!("{} answers with a stream, and this API offers unary RPCs only", method.name);
            Problem::new(Kind::StreamingRpc, detail).of_rpc(path)
        }
        Some(method) => {
            let detail = format!("RPCs of {} are not offered, only those of runtime.v1", method.generation);
            Problem::new(Kind::UnknownPath, detail)
        }
        None => unknown_path(path),
    }
}
