//! Who is let in.
//!
//! A loopback port can be reached by every local user, hence the token, and by every web page in a local browser, hence
//! the checks of `Host` (a page's own name made to mean this machine) and `Origin`. A unix socket is open to nobody but
//! its owner, and no page can reach it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::Response;

use crate::auth::{Auth, Token};
use crate::docs::DOCS_PATH;
use crate::problem::{Kind, Problem};

/// The layer itself.
pub(crate) async fn guard(
    State(auth): State<Arc<Auth>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if !matches!(*auth, Auth::UnixSocket) {
        let host = host(request.uri(), request.headers())?;
        same_origin(request.headers(), &host)?;
    }
    if let Auth::Token(token) = &*auth
        && !is_public(request.uri().path())
    {
        has_token(request.headers(), token)?;
    }
    Ok(next.run(request).await)
}

/// What anyone may read: it says nothing about the node.
fn is_public(path: &str) -> bool {
    let in_docs = path.strip_prefix(DOCS_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    in_docs || path == critape_openapi::HEALTH_PATH || path == critape_openapi::DOCUMENT_PATH
}

/// The host that the request names, if it is this machine.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<Authority, Problem> {
    let named = || {
        let mut values = headers.get_all(HOST).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok()?.parse().ok(),
            _ => None,
        }
    };
    // A request line with a whole URL overrides the header.
    let authority: Option<Authority> = uri.authority().cloned().or_else(named);
    let authority = authority.ok_or_else(|| {
        Problem::new(Kind::ForeignHost, "the header Host is missing, doubled or unreadable")
    })?;
    if is_loopback(authority.host()) {
        return Ok(authority);
    }
    let detail = format!("{} is not a name of this machine: ask localhost or 127.0.0.1", authority.host());
    Err(Problem::new(Kind::ForeignHost, detail))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        || bare.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
}

/// A browser names the page that asks: only pages of this gateway may.
fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let foreign = headers.get_all(ORIGIN).iter().find(|origin| {
        let of = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        !of.is_some_and(|of| of.eq_ignore_ascii_case(host.as_str()))
    });
    if foreign.is_none() {
        return Ok(());
    }
    let detail = format!("only pages of http://{host} may ask; the header Origin names another one");
    Err(Problem::new(Kind::ForeignOrigin, detail))
}

fn has_token(headers: &HeaderMap, token: &Token) -> Result<(), Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        let detail =
            "send `Authorization: Bearer TOKEN`, with the token that the gateway printed at its start";
        return Err(Problem::new(Kind::Unauthorized, detail));
    };
    let (scheme, offered) = header.as_bytes().split_at_checked("Bearer ".len()).unwrap_or_default();
    if scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(offered.trim_ascii()) {
        return Ok(());
    }
    let detail =
        "the token is not this gateway's: a gateway makes a new one at each start unless it is given one";
    Err(Problem::new(Kind::Unauthorized, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn names_of_this_machine() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["", "example.org", "localhost.example.org", "192.0.2.1", "0.0.0.0", "[::]", "127.0.0.1.nip.io"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_host_is_that_of_the_url_before_that_of_the_header() {
        let mut headers = HeaderMap::new();
        assert!(host(&Uri::from_static("/x"), &headers).is_err());
        headers.insert(HOST, HeaderValue::from_static("localhost:80"));
        assert_eq!(host(&Uri::from_static("/x"), &headers).unwrap().as_str(), "localhost:80");
        assert!(host(&Uri::from_static("http://example.org/x"), &headers).is_err());
        headers.append(HOST, HeaderValue::from_static("localhost:80"));
        assert!(host(&Uri::from_static("/x"), &headers).is_err());
    }

    #[test]
    fn pages_of_other_hosts_and_ports_are_foreign() {
        let host = Authority::from_static("localhost:80");
        let mut headers = HeaderMap::new();
        assert!(same_origin(&headers, &host).is_ok());
        for (origin, is_same) in [
            ("http://localhost:80", true),
            ("http://localhost:81", false),
            ("http://localhost", false),
            ("https://localhost:80", false),
            ("http://example.org", false),
            ("null", false),
        ] {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(same_origin(&headers, &host).is_ok(), is_same, "{origin}");
        }
    }

    #[test]
    fn tokens_come_as_bearer() {
        let token: Token = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert!(has_token(&headers, &token).is_err());
        for (value, is_right) in [
            ("Bearer 0123456789abcdef0123456789abcdef", true),
            ("bearer  0123456789abcdef0123456789abcdef", true),
            ("Bearer 0123456789abcdef0123456789abcdeg", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef0123456789abcdef", false),
            ("0123456789abcdef0123456789abcdef", false),
            ("B", false),
        ] {
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(has_token(&headers, &token).is_ok(), is_right, "{value}");
        }
    }

    #[test]
    fn only_what_says_nothing_about_the_node_is_public() {
        for path in ["/healthz", "/openapi.json", "/docs", "/docs/", "/docs/index.css"] {
            assert!(is_public(path), "{path}");
        }
        for path in ["/", "/docsx", "/healthz/x", "/cri/v1/version", "/openapi.json/x"] {
            assert!(!is_public(path), "{path}");
        }
    }
}
