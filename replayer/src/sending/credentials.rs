//! Credentials for registries, from a file of Docker's form. They go to the runtime, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cri::{Method, v1};
use critape_calls::{IdentityMap, decode};
use prost::Message as _;
use prost_reflect::{DynamicMessage, Value};
use serde::Deserialize;
use thiserror::Error;

use crate::sending::answer::Answer;
use crate::sending::images::{full, without_user};

/// A file with the credentials of every registry there is.
pub const MAX_CREDENTIALS_BYTES: u64 = 1 << 20;
/// The names under which Docker's own registry is known.
const DOCKER_HUB: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
/// Shorter ones stand in a text by chance.
const SHORTEST_HIDDEN: usize = 4;
const HIDDEN: &str = "(hidden)";

/// Why a file has no credentials. None of these shows what is in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// It is not the JSON that is expected.
    #[error("it is not a config.json of Docker's form: line {line}, column {column}")]
    Form {
        /// Where, from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// Programs would have to be asked.
    #[error("it names credential helpers ({0}), which are not run here: put the credentials under \"auths\"")]
    Helpers(&'static str),
    /// What stands under `auth` is no base64 of `user:password`.
    #[error("\"auth\" of {0} is not base64 of user:password")]
    Auth(String),
    /// There are none.
    #[error("it has no credentials under \"auths\"")]
    Empty,
    /// More than anybody has.
    #[error("it is larger than {MAX_CREDENTIALS_BYTES} bytes")]
    TooLarge,
}

/// Credentials by registry.
#[derive(Clone, Default)]
pub struct Credentials {
    /// By registry, or registry and path.
    known: BTreeMap<String, v1::AuthConfig>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("registries", &self.known.keys()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    store: String,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

impl Credentials {
    /// Reads a file's content.
    ///
    /// # Errors
    /// What is wrong with it, without showing any of it.
    pub fn parse(text: &str) -> Result<Self, CredentialsError> {
        if text.len() as u64 > MAX_CREDENTIALS_BYTES {
            return Err(CredentialsError::TooLarge);
        }
        // What the library says may repeat a value.
        let file: File = serde_json::from_str(text)
            .map_err(|error| CredentialsError::Form { line: error.line(), column: error.column() })?;
        if !file.helpers.is_empty() {
            return Err(CredentialsError::Helpers("credHelpers"));
        }
        if !file.store.is_empty() {
            return Err(CredentialsError::Helpers("credsStore"));
        }
        let mut known = BTreeMap::new();
        for (name, entry) in file.auths {
            let place = place(&name);
            if let Some(auth) = entry.into_auth(&place)? {
                known.insert(place, auth);
            }
        }
        if known.is_empty() { Err(CredentialsError::Empty) } else { Ok(Self { known }) }
    }

    /// Whether there are any for an image.
    pub(crate) fn has(&self, image: &str) -> bool {
        self.of(image).is_some()
    }

    /// Those for an image: of the longest place that it lies in.
    fn of(&self, image: &str) -> Option<&v1::AuthConfig> {
        let name = full(without_user(image))?;
        // Behind a registry alone a colon is that of a port.
        let lies_in = |place: &str| {
            let rest = name.strip_prefix(place).unwrap_or_default();
            rest.starts_with('/') || place.contains('/') && rest.starts_with([':', '@'])
        };
        self.known
            .iter()
            .filter(|(place, _)| lies_in(place))
            .max_by_key(|(place, _)| place.len())
            .map(|(_, auth)| auth)
    }

    /// A request to pull with the credentials of its image's registry in place of those that were recorded; nothing where there
    /// are none, or it is another request.
    pub(crate) fn put_into(&self, method: &Method, request: &Bytes, ids: &IdentityMap) -> Option<Bytes> {
        let mut message = pull(method, request)?;
        let image = cri::FieldPath::parse("image.image", &method.input()).ok()?.texts(&message).pop()?;
        let auth = self.of(ids.mapped_reference(&image).unwrap_or(&image))?;
        let field = message.get_field_by_name("auth")?.into_owned();
        let descriptor = prost_reflect::ReflectMessage::descriptor(field.as_message()?);
        let auth = DynamicMessage::decode(descriptor, auth.encode_to_vec().as_slice()).ok()?;
        message.try_set_field_by_name("auth", Value::Message(auth)).ok()?;
        Some(message.encode_to_vec().into())
    }

    /// Takes them out of what a report may show of a call.
    pub(crate) fn hide(&self, method: &Method, answer: &mut Answer) {
        let Some(mut message) = pull(method, &answer.request) else { return };
        message.clear_field_by_name("auth");
        answer.request = message.encode_to_vec().into();
        let outcome = &mut answer.outcome;
        for secret in self.secrets() {
            outcome.message = outcome.message.replace(&secret, HIDDEN);
            let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            if outcome.details.iter().any(|detail| holds(&detail.value)) {
                outcome.details.clear();
                outcome.metadata.0.retain(|header| header.name != "grpc-status-details-bin");
            }
            outcome.metadata.0.retain(|header| !holds(&header.value));
        }
    }

    fn secrets(&self) -> impl Iterator<Item = String> {
        let of = |auth: &v1::AuthConfig| {
            // As it stands in a header.
            let basic = STANDARD.encode(format!("{}:{}", auth.username, auth.password));
            [basic, auth.password.clone(), auth.identity_token.clone(), auth.registry_token.clone()]
        };
        self.known.values().flat_map(of).filter(|secret| secret.len() >= SHORTEST_HIDDEN)
    }
}

impl Entry {
    fn into_auth(self, place: &str) -> Result<Option<v1::AuthConfig>, CredentialsError> {
        let wrong = || CredentialsError::Auth(place.to_owned());
        let mut auth = v1::AuthConfig {
            username: self.username,
            password: self.password,
            identity_token: self.identity_token,
            registry_token: self.registry_token,
            ..Default::default()
        };
        if !auth.identity_token.is_empty() {
            // Docker puts a placeholder beside it, which is no user.
            (auth.username, auth.password) = Default::default();
        } else if !self.auth.is_empty() {
            let text = STANDARD.decode(self.auth.trim()).map_err(|_| wrong())?;
            let text = String::from_utf8(text).map_err(|_| wrong())?;
            let (user, password) = text.split_once(':').ok_or_else(wrong)?;
            (auth.username, auth.password) = (user.to_owned(), password.trim_end_matches('\0').to_owned());
        }
        let is_empty = auth == v1::AuthConfig::default();
        Ok((!is_empty).then_some(auth))
    }
}

fn pull(method: &Method, request: &Bytes) -> Option<DynamicMessage> {
    if method.name == "PullImage" { decode(method.input(), request) } else { None }
}

/// The registry, with a path where one is named, that a key of the file means.
fn place(key: &str) -> String {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let key = ["/v1", "/v2"].iter().find_map(|version| key.strip_suffix(version)).unwrap_or(key);
    let (host, path) = key.split_at(key.find('/').unwrap_or(key.len()));
    let host = if DOCKER_HUB.contains(&host) { "docker.io" } else { host };
    format!("{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use critape_calls::Outcome;
    use std::time::Duration;

    const FILE: &str = r#"{"auths": {
        "https://index.docker.io/v1/": {"auth": "aHViOmh1Yi1zZWNyZXQ="},
        "registry.example": {"username": "me", "password": "wide-secret"},
        "registry.example/team": {"username": "us", "password": "team-secret"},
        "tokens.example:5000": {"auth": "PHRva2VuPjo=", "identitytoken": "token-secret"},
        "empty.example": {}
    }}"#;

    fn method() -> &'static Method {
        cri::methods().by_name(cri::Generation::V1, "PullImage").unwrap()
    }

    fn request(image: &str) -> Bytes {
        let image = Some(v1::ImageSpec { image: image.to_owned(), ..Default::default() });
        v1::PullImageRequest { image, ..Default::default() }.encode_to_vec().into()
    }

    fn sent(image: &str, ids: &IdentityMap) -> Option<v1::AuthConfig> {
        let bytes = Credentials::parse(FILE).unwrap().put_into(method(), &request(image), ids)?;
        v1::PullImageRequest::decode(bytes).unwrap().auth
    }

    #[test]
    fn an_image_gets_the_credentials_of_its_registry() {
        let mut ids = IdentityMap::default();
        let user =
            |image: &str, ids: &IdentityMap| sent(image, ids).map(|auth| (auth.username, auth.password));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(user("busybox:1", &ids), pair("hub", "hub-secret"));
        assert_eq!(user("registry.example/app", &ids), pair("me", "wide-secret"));
        assert_eq!(user("registry.example/team/app:1", &ids), pair("us", "team-secret"));
        assert_eq!(user("registry.example/teams/app:1", &ids), pair("me", "wide-secret"));
        assert_eq!(user("registry.example:5000/app", &ids), None);
        assert_eq!(user("empty.example/app", &ids), None);
        let token = sent("tokens.example:5000/app", &ids).unwrap();
        assert_eq!((token.username.as_str(), token.identity_token.as_str()), ("", "token-secret"));
        ids.map_reference("quay.example/app:1", "registry.example/team/app:1");
        assert_eq!(user("quay.example/app:1", &ids), pair("us", "team-secret"));
    }

    #[test]
    fn errors_and_debug_output_show_no_secret() {
        let error = |text: &str| Credentials::parse(text).unwrap_err();
        assert_eq!(error(r#"{"credHelpers": {"a": "b"}}"#), CredentialsError::Helpers("credHelpers"));
        assert_eq!(error(r#"{"auths": {}, "credsStore": "x"}"#), CredentialsError::Helpers("credsStore"));
        assert_eq!(error("{}"), CredentialsError::Empty);
        assert_eq!(error(&" ".repeat(1 << 21)), CredentialsError::TooLarge);
        for text in [
            r#"{"auths": "my-secret"}"#,
            r#"{"auths": {"a.example": "my-secret"}}"#,
            r#"{"auths": {"a.example": {"auth": "my-secret"}}}"#,
            r#"{"auths": {"a.example": {"password": 1234567}}}"#,
            "my-secret",
        ] {
            let error = error(text);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("my-secret") && !shown.contains("1234567"), "{shown}");
        }
        assert!(!format!("{:?}", Credentials::parse(FILE).unwrap()).contains("secret"));
    }

    #[test]
    fn what_was_sent_is_taken_out_of_what_is_shown() {
        let credentials = Credentials::parse(FILE).unwrap();
        let request = credentials.put_into(method(), &request("busybox"), &IdentityMap::default()).unwrap();
        let outcome = Outcome { message: "401 for hub:hub-secret".to_owned(), ..Outcome::truncated() };
        let mut answer = Answer {
            path: method().path.clone(),
            request,
            outcome,
            is_broken: false,
            message: Bytes::new(),
            ended: std::time::Instant::now(),
            lasted: Duration::ZERO,
            settled_after: Duration::ZERO,
        };
        credentials.hide(method(), &mut answer);
        assert!(v1::PullImageRequest::decode(answer.request).unwrap().auth.is_none());
        assert_eq!(answer.outcome.message, "401 for hub:(hidden)");
    }
}
