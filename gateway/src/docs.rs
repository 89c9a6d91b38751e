//! The API document, and a page that shows it: both out of this program, with nothing fetched from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use critape_openapi::DOCUMENT_PATH;
use utoipa_swagger_ui::Config;

use crate::problem::{Problem, unknown_path};

/// Where the page is.
pub(crate) const DOCS_PATH: &str = "/docs";

/// The page may load its own parts and ask this gateway; it has inline styles and images.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);

/// The routes of the document and the page.
pub(crate) fn routes() -> Router {
    let document = Bytes::from(critape_openapi::document().to_string());
    let page = Arc::new(
        Config::from(DOCUMENT_PATH)
            .validator_url("none")
            .display_request_duration(true)
            .try_it_out_enabled(true),
    );
    let parts = get(part).with_state(page);
    Router::new()
        .route(
            DOCUMENT_PATH,
            get(move || async move {
                ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], document.clone())
            }),
        )
        .route(DOCS_PATH, get(|| async { Redirect::permanent("/docs/") }))
        .route("/docs/", parts.clone())
        .route("/docs/{*part}", parts)
}

async fn part(State(page): State<Arc<Config<'static>>>, request: Request) -> Result<Response, Problem> {
    let path = request.uri().path();
    // Named in full, because the type of the file is told from its name.
    let name = path.trim_start_matches(DOCS_PATH).strip_prefix('/').filter(|name| !name.is_empty());
    let name = name.unwrap_or("index.html");
    let file = utoipa_swagger_ui::serve(name, page).ok().flatten().ok_or_else(|| unknown_path(path))?;
    let kind = HeaderValue::from_str(&file.content_type).unwrap_or(HeaderValue::from_static("text/plain"));
    let headers = [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY)];
    Ok((headers, file.bytes.into_owned()).into_response())
}
