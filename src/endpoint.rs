//! Where a runtime listens, given as crictl takes it.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// The longest path a unix socket can have: `sun_path` is 108 bytes with its final zero.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// The sockets crictl tries when it is told nothing, in its order.
pub const DEFAULT_SOCKETS: [&str; 3] =
    ["/run/containerd/containerd.sock", "/run/crio/crio.sock", "/var/run/cri-dockerd.sock"];

/// crictl's configuration file where none is named.
pub const DEFAULT_CONFIG: &str = "/etc/crictl.yaml";

/// A unix socket on which a CRI server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    path: PathBuf,
}

/// Why a text is no endpoint.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// Nothing was given.
    #[error("the endpoint is empty: give one as unix:///run/containerd/containerd.sock")]
    Empty,
    /// A scheme other than `unix`.
    #[error(
        "{0} is not a unix socket: CRI is spoken on unix sockets only, give one as unix:///path/to/socket"
    )]
    Scheme(String),
    /// A path that depends on the working directory.
    #[error("{0} is not an absolute path: give the endpoint as unix:///path/to/socket")]
    Relative(String),
    /// A path that does not fit into a socket address.
    #[error(
        "{path} is {length} bytes long and a unix socket's path holds at most {MAX_SOCKET_PATH_BYTES}: use a shorter one"
    )]
    TooLong {
        /// The path.
        path: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl Endpoint {
    /// The endpoint at this absolute path.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, EndpointError> {
        let path = path.into();
        let length = path.as_os_str().len();
        if length > MAX_SOCKET_PATH_BYTES {
            return Err(EndpointError::TooLong { path: path.display().to_string(), length });
        }
        if !path.is_absolute() {
            return Err(EndpointError::Relative(path.display().to_string()));
        }
        Ok(Self { path })
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `unix:///path`, `unix:/path` or a bare absolute path.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(EndpointError::Empty);
        }
        let path = match text.split_once(':') {
            Some(("unix", rest)) => rest.strip_prefix("//").unwrap_or(rest),
            Some((scheme, _)) if !scheme.contains('/') => return Err(EndpointError::Scheme(text.to_owned())),
            _ => text,
        };
        Self::at(path)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.path.display())
    }
}

/// What a user said about endpoints, from the strongest source that said anything: flag or environment.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// `-r`, `--runtime-endpoint` or `CONTAINER_RUNTIME_ENDPOINT`.
    pub runtime: Option<String>,
    /// `-i`, `--image-endpoint` or `IMAGE_SERVICE_ENDPOINT`.
    pub image: Option<String>,
    /// `--config` or `CRI_CONFIG_FILE`; where it is not given, [`DEFAULT_CONFIG`] is read if it is there.
    pub config: Option<PathBuf>,
}

/// The sockets of the two services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Where `RuntimeService` is spoken.
    pub runtime: Endpoint,
    /// Where `ImageService` is spoken; the runtime's socket unless something else was asked for.
    pub image: Endpoint,
}

impl Endpoints {
    /// Both services at one socket.
    pub fn both_at(endpoint: Endpoint) -> Self {
        Self { image: endpoint.clone(), runtime: endpoint }
    }
}

/// Why no endpoint could be told.
#[derive(Debug, Error)]
pub enum ResolveError {
    /// One that was given is no endpoint.
    #[error("{from}: {source}")]
    Endpoint {
        /// Where it was given.
        from: String,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// The configuration file can't be read.
    #[error("reading {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration file is not crictl's.
    #[error("{path} is not a crictl configuration: {message}")]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        message: String,
    },
    /// Nothing was said, and none of the usual sockets is there.
    #[error(
        "no runtime endpoint: give one with -r unix:///path/to/socket; none of the usual sockets is there ({})",
        DEFAULT_SOCKETS.join(", ")
    )]
    Nowhere,
}

/// The part of crictl's configuration that concerns endpoints. Its other keys are crictl's own business.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Config {
    #[serde(default)]
    runtime_endpoint: Option<String>,
    #[serde(default)]
    image_endpoint: Option<String>,
}

impl Asked {
    /// The endpoints that were meant: what was asked for, else the configuration file, else the first usual socket that is
    /// there.
    pub fn resolve(&self) -> Result<Endpoints, ResolveError> {
        self.resolve_with(Path::new(DEFAULT_CONFIG), &DEFAULT_SOCKETS.map(PathBuf::from))
    }

    fn resolve_with(&self, default_config: &Path, sockets: &[PathBuf]) -> Result<Endpoints, ResolveError> {
        let config = self.read_config(default_config)?;
        let runtime = match given(self.runtime.as_ref(), "--runtime-endpoint")? {
            Some(endpoint) => Some(endpoint),
            None => given(config.runtime_endpoint.as_ref(), "runtime-endpoint in the configuration")?,
        };
        let image = match given(self.image.as_ref(), "--image-endpoint")? {
            Some(endpoint) => Some(endpoint),
            None => given(config.image_endpoint.as_ref(), "image-endpoint in the configuration")?,
        };
        let runtime = match runtime {
            Some(endpoint) => endpoint,
            None => sockets
                .iter()
                .find(|socket| socket.exists())
                .map(|socket| Endpoint { path: socket.clone() })
                .ok_or(ResolveError::Nowhere)?,
        };
        Ok(Endpoints { image: image.unwrap_or_else(|| runtime.clone()), runtime })
    }

    fn read_config(&self, default: &Path) -> Result<Config, ResolveError> {
        let path = self.config.as_deref().unwrap_or(default);
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.is_none() => {
                return Ok(Config::default());
            }
            Err(source) => return Err(ResolveError::Read { path: path.to_owned(), source }),
        };
        if text.trim().is_empty() {
            return Ok(Config::default());
        }
        serde_saphyr::from_str(&text).map_err(|error| ResolveError::Config {
            path: path.to_owned(),
            message: error.to_string().lines().next().unwrap_or_default().to_owned(),
        })
    }
}

fn given(text: Option<&String>, from: &str) -> Result<Option<Endpoint>, ResolveError> {
    text.filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|source| ResolveError::Endpoint { from: from.to_owned(), source }))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read_as_crictl_reads_them() {
        for text in ["unix:///run/c.sock", "/run/c.sock", "unix:/run/c.sock", " unix:///run/c.sock\n"] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.path(), Path::new("/run/c.sock"));
            assert_eq!(endpoint.to_string(), "unix:///run/c.sock");
        }
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        assert_eq!("".parse::<Endpoint>(), Err(EndpointError::Empty));
        assert!(matches!("tcp://127.0.0.1:1".parse::<Endpoint>(), Err(EndpointError::Scheme(_))));
        assert!(matches!("c.sock".parse::<Endpoint>(), Err(EndpointError::Relative(_))));
        let long = format!("/{}", "x".repeat(MAX_SOCKET_PATH_BYTES));
        assert!(matches!(long.parse::<Endpoint>(), Err(EndpointError::TooLong { length: 108, .. })));
        assert!("/".to_owned().parse::<Endpoint>().is_ok());
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_the_usual_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("crictl.yaml");
        fs::write(&config, "runtime-endpoint: unix:///run/a.sock\ntimeout: 10\ndebug: false\n").unwrap();
        let socket = folder.path().join("b.sock");
        fs::write(&socket, "").unwrap();
        let sockets = [folder.path().join("absent.sock"), socket.clone()];

        let asked = Asked { runtime: Some("/run/flag.sock".into()), ..Asked::default() };
        let found = asked.resolve_with(&config, &sockets).unwrap();
        assert_eq!(found.runtime.path(), Path::new("/run/flag.sock"));
        assert_eq!(found.image, found.runtime);

        let found = Asked::default().resolve_with(&config, &sockets).unwrap();
        assert_eq!(found.runtime.path(), Path::new("/run/a.sock"));

        let found = Asked::default().resolve_with(&folder.path().join("absent.yaml"), &sockets).unwrap();
        assert_eq!(found.runtime.path(), socket);

        let nowhere = Asked::default().resolve_with(&folder.path().join("absent.yaml"), &sockets[..1]);
        assert!(matches!(nowhere, Err(ResolveError::Nowhere)));
    }

    #[test]
    fn a_configuration_that_was_named_must_be_there_and_be_one() {
        let folder = tempfile::tempdir().unwrap();
        let asked = Asked { config: Some(folder.path().join("absent.yaml")), ..Asked::default() };
        assert!(matches!(asked.resolve(), Err(ResolveError::Read { .. })));
        let config = folder.path().join("crictl.yaml");
        fs::write(&config, "runtime-endpoint: [").unwrap();
        let asked = Asked { config: Some(config), ..Asked::default() };
        assert!(matches!(asked.resolve(), Err(ResolveError::Config { .. })));
    }
}
