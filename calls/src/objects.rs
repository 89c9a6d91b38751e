//! Which id belongs to which pod or container, told from the calls that showed it.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use cri::v1;
use prost::Message;

use crate::{Call, Opening, merged};

/// What makes a sandbox the same one in two runs: everything kubelet calls it by, apart from the pod's uid, which differs
/// from run to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SandboxKey {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub name: String,
    /// Uid of the pod.
    pub uid: String,
    /// Which try this sandbox is.
    pub attempt: u32,
}

/// What makes a container the same one in two runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerKey {
    /// Its sandbox.
    pub sandbox: SandboxKey,
    /// Name of the container in its pod.
    pub name: String,
    /// Which try this container is.
    pub attempt: u32,
}

/// The thing behind an id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// A sandbox.
    Sandbox(SandboxKey),
    /// A container.
    Container(ContainerKey),
}

impl ObjectName {
    /// The pod it is, or is in.
    pub fn sandbox(&self) -> &SandboxKey {
        match self {
            Self::Sandbox(key) => key,
            Self::Container(key) => &key.sandbox,
        }
    }

    /// The container's name, where it is one.
    pub fn container(&self) -> Option<&str> {
        match self {
            Self::Sandbox(_) => None,
            Self::Container(key) => Some(&key.name),
        }
    }
}

impl fmt::Display for ObjectName {
    /// `namespace/pod` or `namespace/pod/container`, with the attempt where it is not the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sandbox = self.sandbox();
        write!(f, "{}/{}", sandbox.namespace, sandbox.name)?;
        let attempt = match self {
            Self::Sandbox(key) => key.attempt,
            Self::Container(key) => {
                write!(f, "/{}", key.name)?;
                key.attempt
            }
        };
        if attempt > 0 { write!(f, "#{attempt}") } else { Ok(()) }
    }
}

/// Ids and the things they name, as far as a tape has shown them.
///
/// The messages are read with the types of v1: what is read here has the same numbers in every generation.
#[derive(Clone, Debug, Default)]
pub struct ObjectIndex {
    names: BTreeMap<String, ObjectName>,
}

impl ObjectIndex {
    /// Learns from what the runtime held when a segment began.
    pub fn observe_opening(&mut self, opening: &Opening) {
        if let Some(bytes) = opening.answer("ListPodSandbox") {
            self.sandboxes(bytes);
        }
        if let Some(bytes) = opening.answer("ListContainers") {
            self.containers(bytes);
        }
    }

    /// Learns from a call that ended.
    pub fn observe(&mut self, call: &Call) {
        if call.outcome.is_ok()
            && let Some(answer) = merged(call)
        {
            self.observe_answer(call, &answer);
        }
    }

    /// Learns from a call that ended well, with this answer or what is new in it.
    pub fn observe_answer(&mut self, call: &Call, response: &Bytes) {
        let Some(method) = call.method() else { return };
        // A stream has the elements of its list.
        match method.list().unwrap_or(method).name.as_str() {
            "RunPodSandbox" => self.run_pod_sandbox(call, response),
            "CreateContainer" => self.create_container(call, response),
            "ListPodSandbox" => self.sandboxes(response),
            "ListContainers" => self.containers(response),
            "PodSandboxStatus" => self.sandbox_status(response),
            _ => {}
        }
    }

    /// What this id names; an unambiguous prefix will do.
    pub fn name(&self, id: &str) -> Option<&ObjectName> {
        self.full_id(id).and_then(|id| self.names.get(id))
    }

    /// The id that this id or unambiguous prefix stands for.
    pub fn full_id(&self, id: &str) -> Option<&str> {
        if id.is_empty() {
            return None;
        }
        let mut found = self.names.range(id.to_owned()..).take_while(|(known, _)| known.starts_with(id));
        let (first, _) = found.next()?;
        (first == id || found.next().is_none()).then_some(first.as_str())
    }

    /// All ids and what they name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ObjectName)> {
        self.names.iter().map(|(id, name)| (id.as_str(), name))
    }

    fn run_pod_sandbox(&mut self, call: &Call, response: &Bytes) {
        let request = call.request().and_then(|bytes| v1::RunPodSandboxRequest::decode(bytes.as_ref()).ok());
        let metadata = request.and_then(|request| request.config).and_then(|config| config.metadata);
        if let (Some(metadata), Ok(response)) =
            (metadata, v1::RunPodSandboxResponse::decode(response.as_ref()))
        {
            self.names.insert(response.pod_sandbox_id, ObjectName::Sandbox(sandbox_key(metadata)));
        }
    }

    fn create_container(&mut self, call: &Call, response: &Bytes) {
        let request =
            call.request().and_then(|bytes| v1::CreateContainerRequest::decode(bytes.as_ref()).ok());
        let Some(request) = request else { return };
        let sandbox = match (self.name(&request.pod_sandbox_id), request.sandbox_config) {
            (Some(name), _) => name.sandbox().clone(),
            (None, Some(config)) => config.metadata.map(sandbox_key).unwrap_or_default(),
            (None, None) => return,
        };
        let metadata = request.config.and_then(|config| config.metadata);
        if let (Some(metadata), Ok(response)) =
            (metadata, v1::CreateContainerResponse::decode(response.as_ref()))
        {
            self.names.insert(response.container_id, container_name(sandbox, metadata));
        }
    }

    fn sandboxes(&mut self, bytes: &Bytes) {
        let Ok(list) = v1::ListPodSandboxResponse::decode(bytes.as_ref()) else { return };
        for sandbox in list.items {
            if let Some(metadata) = sandbox.metadata {
                self.names.insert(sandbox.id, ObjectName::Sandbox(sandbox_key(metadata)));
            }
        }
    }

    fn containers(&mut self, bytes: &Bytes) {
        let Ok(list) = v1::ListContainersResponse::decode(bytes.as_ref()) else { return };
        for container in list.containers {
            let sandbox = self.names.get(&container.pod_sandbox_id).map(|name| name.sandbox().clone());
            // A container whose sandbox was never shown is known by what kubelet writes into its labels.
            let sandbox = sandbox.unwrap_or_else(|| labelled_sandbox(&container.labels));
            if let Some(metadata) = container.metadata {
                self.names.insert(container.id, container_name(sandbox, metadata));
            }
        }
    }

    fn sandbox_status(&mut self, bytes: &Bytes) {
        let Ok(response) = v1::PodSandboxStatusResponse::decode(bytes.as_ref()) else { return };
        let Some(status) = response.status else { return };
        if let Some(metadata) = status.metadata {
            self.names.insert(status.id, ObjectName::Sandbox(sandbox_key(metadata)));
        }
    }
}

fn sandbox_key(metadata: v1::PodSandboxMetadata) -> SandboxKey {
    SandboxKey {
        namespace: metadata.namespace,
        name: metadata.name,
        uid: metadata.uid,
        attempt: metadata.attempt,
    }
}

fn container_name(sandbox: SandboxKey, metadata: v1::ContainerMetadata) -> ObjectName {
    ObjectName::Container(ContainerKey { sandbox, name: metadata.name, attempt: metadata.attempt })
}

fn labelled_sandbox(labels: &BTreeMap<String, String>) -> SandboxKey {
    let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
    SandboxKey {
        namespace: label("io.kubernetes.pod.namespace"),
        name: label("io.kubernetes.pod.name"),
        uid: label("io.kubernetes.pod.uid"),
        attempt: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, OpeningAnswer, sample};

    fn opening() -> Opening {
        let metadata = |name: &str| {
            Some(v1::PodSandboxMetadata {
                name: name.into(),
                namespace: "default".into(),
                ..Default::default()
            })
        };
        let pods = v1::ListPodSandboxResponse {
            items: [("abc1", "web"), ("abd2", "db")]
                .map(|(id, name)| v1::PodSandbox {
                    id: id.into(),
                    metadata: metadata(name),
                    ..Default::default()
                })
                .to_vec(),
        };
        let containers = v1::ListContainersResponse {
            containers: vec![v1::Container {
                id: "c1".into(),
                pod_sandbox_id: "abc1".into(),
                metadata: Some(v1::ContainerMetadata { name: "app".into(), attempt: 2 }),
                ..Default::default()
            }],
        };
        let answer = |rpc: &str, bytes: Vec<u8>| OpeningAnswer {
            path: format!("/runtime.v1.RuntimeService/{rpc}"),
            request: Bytes::new(),
            code: 0,
            message: String::new(),
            response: bytes.into(),
        };
        Opening {
            answers: vec![
                answer("ListPodSandbox", pods.encode_to_vec()),
                answer("ListContainers", containers.encode_to_vec()),
            ],
        }
    }

    #[test]
    fn ids_and_prefixes_are_told_apart() {
        let mut index = ObjectIndex::default();
        index.observe_opening(&opening());
        assert_eq!(index.name("abc").unwrap().to_string(), "default/web");
        assert_eq!(index.name("c1").unwrap().to_string(), "default/web/app#2");
        assert!(index.name("ab").is_none(), "ambiguous");
        assert!(index.name("").is_none());
        assert!(index.name("x").is_none());
    }

    #[test]
    fn streamed_lists_name_things_as_lists_do() {
        let sandbox = v1::PodSandbox {
            id: "abc1".into(),
            metadata: Some(v1::PodSandboxMetadata { name: "web".into(), ..Default::default() }),
            ..Default::default()
        };
        let answer = v1::StreamPodSandboxesResponse { pod_sandboxes: vec![sandbox] }.encode_to_vec();
        let path = "/runtime.v1.RuntimeService/StreamPodSandboxes";
        let mut index = ObjectIndex::default();
        index.observe(&sample::call(1, path, Code::OK, Vec::new(), &[Vec::new(), answer]));
        assert_eq!(index.name("abc1").unwrap().to_string(), "/web");
    }
}
