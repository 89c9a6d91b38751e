//! The outermost layer: every request gets an id and a line in the log, every problem its document, every response the
//! headers that keep it out of caches and of other pages' hands.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::{ALLOW, CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::Next;
use axum::response::Response;

use crate::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is taken from a client, in bytes.
const LONGEST_ID: usize = 128;

/// Gives requests their ids: a number of this process, and a count.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub fn new() -> Self {
        // The keys of the hasher are random; ids need to be different, not secret.
        Self { process: RandomState::new().build_hasher().finish(), count: AtomicU64::new(0) }
    }

    /// The id that the client gave where it is a sane one, else a new one.
    fn of(&self, headers: &HeaderMap) -> String {
        let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(|id| is_sane(id));
        given.map_or_else(
            || format!("{:016x}-{}", self.process, self.count.fetch_add(1, Ordering::Relaxed)),
            str::to_owned,
        )
    }
}

fn is_sane(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
}

/// The layer itself.
pub(crate) async fn exchange(State(ids): State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = ids.of(request.headers());
    let verb = request.method().clone();
    let path = request.uri().path().to_owned();

    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Problem>();
    if let Some(problem) = &problem {
        let allow = response.headers_mut().remove(ALLOW);
        response = problem.render(&path, &id);
        response.headers_mut().extend(allow.map(|value| (ALLOW, value)));
    }

    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.extend(HeaderValue::from_str(&id).ok().map(|id| (REQUEST_ID, id)));
    tracing::info!(
        request_id = id,
        %verb,
        path,
        status = response.status().as_u16(),
        problem = problem.map(|problem| problem.slug()),
        took = ?began.elapsed(),
        "answered"
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_where_they_are_sane() {
        let ids = RequestIds::new();
        let mut headers = HeaderMap::new();
        let made = ids.of(&headers);
        assert_ne!(made, ids.of(&headers));
        assert!(is_sane(&made));

        headers.insert(REQUEST_ID, HeaderValue::from_static("req-1.a:b_c"));
        assert_eq!(ids.of(&headers), "req-1.a:b_c");
        for insane in [String::new(), "a b".into(), "a\"b".into(), "x".repeat(LONGEST_ID + 1)] {
            headers.insert(REQUEST_ID, HeaderValue::from_str(&insane).unwrap());
            assert_ne!(ids.of(&headers), insane);
        }
    }
}
