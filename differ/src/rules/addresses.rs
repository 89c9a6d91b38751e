//! Addresses of networks in answers: their family, and from where they can be reached.

use core::net::IpAddr;

/// What kind of address a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Unset,
    V4,
    V6,
    /// No address.
    None,
}

impl Family {
    pub(crate) fn of(text: &str) -> Self {
        match text.parse() {
            Ok(IpAddr::V4(_)) => Self::V4,
            Ok(IpAddr::V6(_)) => Self::V6,
            Err(_) if text.is_empty() => Self::Unset,
            Err(_) => Self::None,
        }
    }
}

/// From where the host of a URL can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Unset,
    /// From this node alone.
    Loopback,
    /// An address on which one listens, and to which nobody can go.
    Unspecified,
    Name,
    Address,
}

impl Host {
    /// `text` may have a port.
    fn of(text: &str) -> Self {
        let end = match text.strip_prefix('[') {
            Some(inner) => inner.find(']').map_or(text.len(), |end| end + 1),
            None => text.rfind(':').unwrap_or(text.len()),
        };
        let host = text[..end].trim_start_matches('[');
        match host.parse::<IpAddr>() {
            Ok(address) if address.is_loopback() => Self::Loopback,
            Ok(address) if address.is_unspecified() => Self::Unspecified,
            Ok(_) => Self::Address,
            Err(_) if host.is_empty() => Self::Unset,
            Err(_) if host.eq_ignore_ascii_case("localhost") => Self::Loopback,
            Err(_) => Self::Name,
        }
    }
}

/// The parts of a streaming URL that must stay: scheme, what kind of host there is, path without its token, whether there is a
/// token.
pub(crate) fn url_form(url: &str) -> (String, Host, String, bool) {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", url.strip_prefix("//").unwrap_or(url)),
    };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (route, token) = path.rsplit_once('/').unwrap_or((path, ""));
    (scheme.to_owned(), Host::of(host), route.to_owned(), !token.is_empty())
}

#[cfg(test)]
mod tests {
    use critape_calls::IdentityMap;

    use crate::Relation;
    use crate::rules::relation::texts;

    #[test]
    fn urls_keep_their_form() {
        let url = |a, b| texts(&Relation::Url, a, b, &IdentityMap::default());
        assert!(url("http://127.0.0.1:40001/exec/AbCd1234", "http://127.0.0.1:9/exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "//127.0.0.1:9/exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "http:///exec/zzzzzzzz"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", "http://127.0.0.1:40001/attach/AbCd1234"));
        assert!(!url("http://127.0.0.1:40001/exec/AbCd1234", ""));
    }

    #[test]
    fn hosts_of_urls_are_of_one_class() {
        let hosts = |a: &str, b: &str| {
            let url = |host: &str| format!("http://{host}/exec/AbCd1234");
            texts(&Relation::Url, &url(a), &url(b), &IdentityMap::default())
        };
        assert!(hosts("127.0.0.1:1", "[::1]:2") && hosts("localhost:1", "127.0.0.1") && hosts("a:1", "b:2"));
        assert!(hosts("10.0.0.1:1", "[fd00::1]:2"), "nodes have addresses of their own");
        assert!(hosts(":10250", ":1") && hosts("0.0.0.0:1", "[::]:1"));
        for other in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "node:1", ":1"] {
            assert!(!hosts("127.0.0.1:1", other), "{other}");
        }
        assert!(!hosts("10.0.0.1:1", "0.0.0.0:1") && !hosts("10.0.0.1:1", "node:1"));
    }

    #[test]
    fn addresses_are_of_one_family() {
        let address = |a, b| texts(&Relation::Address, a, b, &IdentityMap::default());
        assert!(address("10.88.0.5", "192.168.1.1") && address("fd00::1", "fd00::2") && address("", ""));
        assert!(!address("10.88.0.5", "fd00::1") && !address("10.88.0.5", "") && !address("", "fd00::1"));
        assert!(!address("10.88.0.5", "10.88.0.0/16") && !address("one", "other") && address("x", "x"));
    }
}
