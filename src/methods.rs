//! The table of RPCs: made from the descriptors, completed by `data/methods.toml`.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::LazyLock;

use foldhash::quality::RandomState;
use prost_reflect::{MessageDescriptor, MethodDescriptor};
use serde::Deserialize;

use crate::{FieldPath, generations, pool};

const ROWS: &str = include_str!("data/methods.toml");

/// Which CRI package a call speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Generation {
    /// Package `runtime`, Kubernetes 1.5 to 1.9.
    V1Alpha1,
    /// Package `runtime.v1alpha2`, Kubernetes 1.10 to 1.25.
    V1Alpha2,
    /// Package `runtime.v1`, Kubernetes 1.20 and later.
    V1,
}

impl Generation {
    /// The protobuf package, as it stands in a request's path.
    pub fn package(self) -> &'static str {
        match self {
            Self::V1Alpha1 => "runtime",
            Self::V1Alpha2 => "runtime.v1alpha2",
            Self::V1 => "runtime.v1",
        }
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.package())
    }
}

/// The two services of CRI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// `RuntimeService`: pods, containers, the runtime itself.
    Runtime,
    /// `ImageService`: images.
    Image,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Runtime => "RuntimeService",
            Self::Image => "ImageService",
        }
    }
}

/// What a call does to the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Changes nothing.
    ReadOnly,
    /// Changes something, and by contract a second identical call changes nothing more and succeeds.
    Idempotent,
    /// Changes something each time.
    Mutating,
}

/// What kind of thing an identity names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// A pod sandbox id, or an unambiguous prefix in requests.
    Sandbox,
    /// A container id, or an unambiguous prefix in requests.
    Container,
    /// An id of a sandbox or of a container: events have one field for both.
    Object,
    /// An image: its node id (spelt differently by each runtime), a reference, or a digest.
    Image,
    /// A pod's uid, as kubelet made it.
    PodUid,
    /// A URL that carries a streaming token.
    Token,
}

/// One field of a message that names a thing.
#[derive(Clone, Debug)]
pub struct IdentityPath {
    /// Where the field is, from the message's root.
    pub path: FieldPath,
    /// What it names.
    pub kind: IdentityKind,
    /// Whether a successful call made the thing named here.
    pub produces: bool,
}

/// One RPC of one generation.
#[derive(Clone, Debug)]
pub struct Method {
    /// The package it belongs to.
    pub generation: Generation,
    /// The service it belongs to.
    pub service: Service,
    /// Its name, as `RunPodSandbox`.
    pub name: String,
    /// Its request path, as `/runtime.v1.RuntimeService/RunPodSandbox`.
    pub path: String,
    /// Whether the runtime answers with a stream of messages.
    pub server_streaming: bool,
    /// What it does to the runtime.
    pub class: Class,
    /// The Kubernetes release whose schema had it first.
    pub since: String,
    /// Identities in the request.
    pub request_ids: Vec<IdentityPath>,
    /// Identities in each response message.
    pub response_ids: Vec<IdentityPath>,
    list: Option<String>,
    descriptor: MethodDescriptor,
}

impl Method {
    /// The type of the request.
    pub fn input(&self) -> MessageDescriptor {
        self.descriptor.input()
    }

    /// The type of the response, or of each message of the response stream.
    pub fn output(&self) -> MessageDescriptor {
        self.descriptor.output()
    }

    /// The descriptor, for its comments and options.
    pub fn descriptor(&self) -> &MethodDescriptor {
        &self.descriptor
    }

    /// The RPC that gives the same list in one message, where this one streams it. Their messages are the same on the wire, but for
    /// the names of fields: those of the stream, one after the other, are the one of the list.
    pub fn list(&self) -> Option<&'static Method> {
        methods().by_name(self.generation, self.list.as_deref()?)
    }

    /// The same RPC in another generation, where that one has it.
    pub fn in_generation(&self, generation: Generation) -> Option<&'static Method> {
        methods().iter().find(|other| {
            other.generation == generation && other.service == self.service && other.name == self.name
        })
    }
}

/// Every RPC of every generation.
#[derive(Debug)]
pub struct MethodTable {
    methods: Vec<Method>,
    by_path: HashMap<String, usize, RandomState>,
}

impl MethodTable {
    /// The RPC with this request path, if it is a CRI call.
    pub fn by_path(&self, path: &str) -> Option<&Method> {
        self.by_path.get(path).map(|index| &self.methods[*index])
    }

    /// The RPC with this name in this generation. Names are unique across the two services.
    pub fn by_name(&self, generation: Generation, name: &str) -> Option<&Method> {
        self.methods.iter().find(|method| method.generation == generation && method.name == name)
    }

    /// All of them: oldest generation first, in the order of the schema.
    pub fn iter(&self) -> impl Iterator<Item = &Method> {
        self.methods.iter()
    }

    /// Those of one generation.
    pub fn of(&self, generation: Generation) -> impl Iterator<Item = &Method> {
        self.methods.iter().filter(move |method| method.generation == generation)
    }
}

/// The table of RPCs, built once.
pub fn methods() -> &'static MethodTable {
    static TABLE: LazyLock<MethodTable> = LazyLock::new(|| {
        let rows: Rows = toml::from_str(ROWS).unwrap_or_default();
        build(&rows)
    });
    &TABLE
}

type Rows = BTreeMap<String, BTreeMap<String, Row>>;
type Paths = BTreeMap<IdentityKind, Vec<String>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    class: Class,
    since: String,
    list: Option<String>,
    #[serde(default)]
    request: Paths,
    #[serde(default)]
    response: Paths,
    #[serde(default)]
    produces: Vec<String>,
}

fn build(rows: &Rows) -> MethodTable {
    let mut methods = Vec::new();
    for generation in generations() {
        for service in [Service::Runtime, Service::Image] {
            let name = format!("{}.{}", generation.package(), service.name());
            let Some(descriptor) = pool().get_service_by_name(&name) else { continue };
            let described = rows.get(service.name());
            for rpc in descriptor.methods() {
                if let Some(row) = described.and_then(|rows| rows.get(rpc.name())) {
                    methods.push(method(generation, service, rpc, row));
                }
            }
        }
    }
    let by_path = methods.iter().enumerate().map(|(index, method)| (method.path.clone(), index)).collect();
    MethodTable { methods, by_path }
}

fn method(generation: Generation, service: Service, rpc: MethodDescriptor, row: &Row) -> Method {
    let ids = |paths: &Paths, message: &MessageDescriptor| {
        paths
            .iter()
            .flat_map(|(kind, paths)| paths.iter().map(move |path| (*kind, path)))
            // Older generations lack some of the fields; the test holds every path against v1.
            .filter_map(|(kind, path)| {
                let parsed = FieldPath::parse(path, message).ok()?;
                Some(IdentityPath { path: parsed, kind, produces: row.produces.contains(path) })
            })
            .collect()
    };
    Method {
        generation,
        service,
        name: rpc.name().to_owned(),
        path: format!("/{}.{}/{}", generation.package(), service.name(), rpc.name()),
        server_streaming: rpc.is_server_streaming(),
        class: row.class,
        since: row.since.clone(),
        request_ids: ids(&row.request, &rpc.input()),
        response_ids: ids(&row.response, &rpc.output()),
        list: row.list.clone(),
        descriptor: rpc,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_a_row_and_every_row_an_rpc() {
        let rows: Rows = toml::from_str(ROWS).unwrap();
        let counts: Vec<_> =
            generations().map(|generation| methods().of(generation).count()).into_iter().collect();
        assert_eq!(counts, [26, 29, 43]);
        let described: usize = rows.values().map(BTreeMap::len).sum();
        assert_eq!(described, 43, "a row without an RPC");
    }

    #[test]
    fn every_identity_path_exists_in_v1() {
        let rows: Rows = toml::from_str(ROWS).unwrap();
        for method in methods().of(Generation::V1) {
            let row = &rows[method.service.name()][&method.name];
            for (paths, message) in [(&row.request, method.input()), (&row.response, method.output())] {
                for path in paths.values().flatten() {
                    FieldPath::parse(path, &message)
                        .unwrap_or_else(|error| panic!("{}: {path}: {error}", method.name));
                }
            }
            for produced in &row.produces {
                assert!(
                    row.response.values().flatten().any(|path| path == produced),
                    "{}: {produced} is produced but not listed",
                    method.name
                );
            }
        }
    }

    #[test]
    fn identity_paths_are_strings() {
        for method in methods().iter() {
            for id in method.request_ids.iter().chain(&method.response_ids) {
                assert_eq!(id.path.leaf(), crate::Leaf::Text, "{} {}", method.path, id.path);
            }
        }
    }

    #[test]
    fn streams_are_those_of_the_schema() {
        let streaming = methods().of(Generation::V1).filter(|method| method.server_streaming).count();
        assert_eq!(streaming, 7);
        assert!(methods().by_path("/runtime.v1.RuntimeService/GetContainerEvents").unwrap().server_streaming);
    }

    #[test]
    fn a_streamed_list_is_the_list_on_the_wire() {
        let fields = |message: MessageDescriptor| -> Vec<_> {
            let of = |field: prost_reflect::FieldDescriptor| {
                (
                    field.number(),
                    field.is_list(),
                    field.kind().as_message().map(|it| it.full_name().to_owned()),
                )
            };
            message.fields().map(of).collect()
        };
        let streams = methods().of(Generation::V1).filter(|method| method.name.starts_with("Stream"));
        for stream in streams {
            let list = stream.list().unwrap_or_else(|| panic!("{}", stream.name));
            assert!(stream.server_streaming && !list.server_streaming);
            assert_eq!((stream.service, stream.class), (list.service, list.class));
            assert_eq!(fields(stream.input()), fields(list.input()), "{}", stream.name);
            assert_eq!(fields(stream.output()), fields(list.output()), "{}", stream.name);
        }
        assert_eq!(methods().of(Generation::V1).filter(|method| method.list().is_some()).count(), 6);
    }

    #[test]
    fn generations_are_matched_by_name() {
        let v1 = methods().by_path("/runtime.v1.ImageService/PullImage").unwrap();
        let old = v1.in_generation(Generation::V1Alpha2).unwrap();
        assert_eq!(old.path, "/runtime.v1alpha2.ImageService/PullImage");
        let events = methods().by_name(Generation::V1, "GetContainerEvents").unwrap();
        assert!(events.in_generation(Generation::V1Alpha2).is_none());
    }
}
