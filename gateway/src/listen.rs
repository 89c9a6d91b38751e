//! Where a gateway listens, as a user says it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use cri::Endpoint;
use cri::endpoint::EndpointError;
use thiserror::Error;

/// Where a gateway listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On a loopback port; 0 is any free one.
    Tcp(SocketAddr),
    /// On a unix socket.
    Unix(Endpoint),
}

/// Why a text is no place to listen.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ListenError {
    /// Neither an address nor a socket.
    #[error("{0} is no address to listen on: give one as 127.0.0.1:PORT or unix:///path/to/socket")]
    Unreadable(String),
    /// An address that other machines reach.
    #[error(
        "{0} can be reached from other machines, and that needs TLS, which is not offered: listen on 127.0.0.1:PORT or \
         unix:///path/to/socket"
    )]
    NotLoopback(SocketAddr),
    /// The path of a socket that can't be one.
    #[error(transparent)]
    Socket(#[from] EndpointError),
}

impl FromStr for Listen {
    type Err = ListenError;

    /// Reads `127.0.0.1:PORT`, `[::1]:PORT`, `localhost:PORT`, `unix:///path` or a bare absolute path.
    fn from_str(text: &str) -> Result<Self, ListenError> {
        let text = text.trim();
        if text.starts_with('/') || text.starts_with("unix:") {
            return Ok(Self::Unix(text.parse()?));
        }
        let unreadable = || ListenError::Unreadable(text.to_owned());
        let address: SocketAddr = match text.split_once(':') {
            Some(("localhost", port)) => {
                (IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| unreadable())?).into()
            }
            // What other programs take for all addresses.
            Some(("", port)) => {
                (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port.parse().map_err(|_| unreadable())?).into()
            }
            _ => text.parse().map_err(|_| unreadable())?,
        };
        if !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback(address));
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "http://{address}"),
            Self::Unix(endpoint) => endpoint.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_ports_and_unix_sockets_are_taken() {
        for (text, shown) in [
            ("127.0.0.1:0", "http://127.0.0.1:0"),
            ("127.9.9.9:80", "http://127.9.9.9:80"),
            ("localhost:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("unix:///run/g.sock", "unix:///run/g.sock"),
            ("/run/g.sock", "unix:///run/g.sock"),
        ] {
            assert_eq!(text.parse::<Listen>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn addresses_that_others_reach_are_refused() {
        for text in ["0.0.0.0:80", ":80", "192.0.2.1:80", "[::]:80"] {
            assert!(matches!(text.parse::<Listen>(), Err(ListenError::NotLoopback(_))), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_place() {
        for text in ["", "80", "localhost", "localhost:x", "example.org:80", "http://127.0.0.1:80"] {
            assert!(matches!(text.parse::<Listen>(), Err(ListenError::Unreadable(_))), "{text}");
        }
        assert!(matches!("unix://g.sock".parse::<Listen>(), Err(ListenError::Socket(_))));
    }
}
