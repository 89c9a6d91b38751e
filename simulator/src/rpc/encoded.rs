//! The lists that kubelet asks for again and again, answered from what their elements keep encoded.
//!
//! Making a message of every object and encoding that anew takes most of the time that a node's calls take. Regressions
//! look at messages, so where there are some the lists are made of messages; the bytes are the same.

use std::future::{Ready, ready};
use std::marker::PhantomData;

use bytes::BufMut;
use cri::{MAX_MESSAGE_BYTES, Method, v1};
use prost::Message;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::check_length;
use crate::simulator::Simulator;

/// The answer to a call of this RPC, or the request again where it is for the others to answer.
pub(crate) async fn encoded(
    simulator: &Simulator,
    method: &Method,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, http::Request<Body>> {
    match method.name.as_str() {
        _ if !simulator.behaviours().are_none() => Err(request),
        "ListPodSandbox" => {
            let list = |request: &v1::ListPodSandboxRequest| simulator.encoded_pod_sandboxes(request);
            Ok(answer(request, list).await)
        }
        "ListContainers" => {
            let list = |request: &v1::ListContainersRequest| simulator.encoded_containers(request);
            Ok(answer(request, list).await)
        }
        "ListContainerStats" => {
            let list = |request: &v1::ListContainerStatsRequest| simulator.encoded_container_stats(request);
            Ok(answer(request, list).await)
        }
        _ => Err(request),
    }
}

async fn answer<R: Message + Default + 'static>(
    request: http::Request<Body>,
    list: impl Fn(&R) -> Vec<u8>,
) -> http::Response<Body> {
    Grpc::new(EncodedCodec(PhantomData))
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
        .unary(List(list), request)
        .await
}

/// Answers a request with the bytes of its response.
struct List<F>(F);

impl<R, F: Fn(&R) -> Vec<u8>> UnaryService<R> for List<F> {
    type Response = Vec<u8>;
    type Future = Ready<Result<Response<Vec<u8>>, Status>>;

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let list = (self.0)(request.get_ref());
        ready(check_length(list.len()).map(|()| Response::new(list)))
    }
}

/// Reads messages, and writes what already are their bytes.
struct EncodedCodec<R>(PhantomData<R>);

impl<R: Message + Default + 'static> Codec for EncodedCodec<R> {
    type Encode = Vec<u8>;
    type Decode = R;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self(PhantomData)
    }

    fn decoder(&mut self) -> Self {
        Self(PhantomData)
    }
}

impl<R> Encoder for EncodedCodec<R> {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.len());
        buffer.put_slice(&item);
        Ok(())
    }
}

impl<R: Message + Default> Decoder for EncodedCodec<R> {
    type Item = R;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<R>, Status> {
        // As tonic says it.
        R::decode(buffer).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::Config;
    use crate::usage::Usage;

    const LABELS: [&str; 2] = ["web", "db"];

    /// What is done, to which of the pods and containers that are there.
    type Step = (u8, Index, Index);

    fn labels(of: Index) -> std::collections::BTreeMap<String, String> {
        [("app".to_owned(), of.get(&LABELS).to_string())].into()
    }

    /// A container that may kill shims.
    fn container(name: &str, label: Index) -> v1::ContainerConfig {
        let node = v1::NamespaceOption { pid: v1::NamespaceMode::Node.into(), ..Default::default() };
        let context =
            v1::LinuxContainerSecurityContext { namespace_options: Some(node), ..Default::default() };
        v1::ContainerConfig {
            metadata: Some(v1::ContainerMetadata { name: name.to_owned(), attempt: 7 }),
            image: Some(v1::ImageSpec { image: crate::images::PAUSE.to_owned(), ..Default::default() }),
            labels: labels(label),
            annotations: [("note".to_owned(), name.repeat(40))].into(),
            linux: Some(v1::LinuxContainerConfig { security_context: Some(context), ..Default::default() }),
            ..Default::default()
        }
    }

    /// Takes a step as far as it is possible: some fail, as in real life.
    async fn take(simulator: &Simulator, (kind, one, other): &Step, number: usize) {
        let pick = |ids: Vec<String>| if ids.is_empty() { "none".to_owned() } else { one.get(&ids).clone() };
        let pod_sandbox_id = pick(simulator.state().sandboxes.keys().cloned().collect());
        let container_id = pick(simulator.state().containers.keys().cloned().collect());
        let name = format!("object-{number}");
        let metadata = v1::PodSandboxMetadata { name: name.clone(), ..Default::default() };
        let pod =
            v1::PodSandboxConfig { metadata: Some(metadata), labels: labels(*other), ..Default::default() };
        let _ = match kind {
            0 | 1 => {
                let request = v1::RunPodSandboxRequest { config: Some(pod), ..Default::default() };
                simulator.run_pod_sandbox(&request).map(drop)
            }
            2..5 => {
                let config = Some(container(&name, *other));
                let request =
                    v1::CreateContainerRequest { pod_sandbox_id, config, sandbox_config: Some(pod) };
                simulator.create_container(&request).map(drop)
            }
            5..8 => simulator.start_container(&v1::StartContainerRequest { container_id }).map(drop),
            8 => {
                let request = v1::StopContainerRequest { container_id, timeout: 0 };
                simulator.stop_container(&request).await.map(drop)
            }
            9 => simulator.remove_container(&v1::RemoveContainerRequest { container_id }).map(drop),
            10 => simulator.stop_pod_sandbox(&v1::StopPodSandboxRequest { pod_sandbox_id }).map(drop),
            11 => simulator.remove_pod_sandbox(&v1::RemovePodSandboxRequest { pod_sandbox_id }).map(drop),
            12 => {
                let cmd = ["pkill", "-9", "-f", &format!("-id {pod_sandbox_id}")].map(str::to_owned).into();
                simulator.exec_sync(&v1::ExecSyncRequest { container_id, cmd, timeout: 0 }).await.map(drop)
            }
            _ => {
                let memory =
                    v1::LinuxContainerResources { memory_limit_in_bytes: 1 << 30, ..Default::default() };
                let request = v1::UpdateContainerResourcesRequest {
                    container_id,
                    linux: Some(memory),
                    ..Default::default()
                };
                simulator.update_container_resources(&request).map(drop)
            }
        };
    }

    /// Gives both answers from one state: what answering changes is put back in between.
    fn both<M: Message>(
        simulator: &Simulator,
        encoded: impl FnOnce() -> Vec<u8>,
        made: impl FnOnce() -> M,
    ) -> (Vec<u8>, Vec<u8>) {
        let random = simulator.state().random.clone();
        let usages: Vec<Usage> = simulator.state().containers.values().map(|it| it.usage.clone()).collect();
        let encoded = encoded();
        simulator.state().random = random;
        for (container, usage) in simulator.state().containers.values_mut().zip(usages) {
            container.usage = usage;
        }
        (encoded, made().encode_to_vec())
    }

    fn assert_same(simulator: &Simulator, id: &str, label: Index) -> Result<(), TestCaseError> {
        let state = Some(v1::PodSandboxStateValue { state: 1 });
        let pods = [
            None,
            Some(v1::PodSandboxFilter { state, ..Default::default() }),
            Some(v1::PodSandboxFilter { id: id[..4].to_owned(), ..Default::default() }),
            Some(v1::PodSandboxFilter { label_selector: labels(label), ..Default::default() }),
        ];
        for filter in pods {
            let request = v1::ListPodSandboxRequest { filter };
            let encoded = || simulator.encoded_pod_sandboxes(&request);
            let (encoded, made) = both(simulator, encoded, || simulator.list_pod_sandbox(&request));
            prop_assert_eq!(encoded, made);
        }
        let state = Some(v1::ContainerStateValue { state: 1 });
        let containers = [
            None,
            Some(v1::ContainerFilter { state, ..Default::default() }),
            Some(v1::ContainerFilter { pod_sandbox_id: id.to_owned(), ..Default::default() }),
            Some(v1::ContainerFilter { label_selector: labels(label), ..Default::default() }),
        ];
        for filter in containers {
            let request = v1::ListContainersRequest { filter };
            let encoded = || simulator.encoded_containers(&request);
            let (encoded, made) = both(simulator, encoded, || simulator.list_containers(&request));
            prop_assert_eq!(encoded, made);
        }
        let filter = v1::ContainerStatsFilter { label_selector: labels(label), ..Default::default() };
        for filter in [None, Some(filter)] {
            let request = v1::ListContainerStatsRequest { filter };
            let encoded = || simulator.encoded_container_stats(&request);
            let (encoded, made) = both(simulator, encoded, || simulator.list_container_stats(&request));
            prop_assert_eq!(encoded, made);
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn encoded_lists_are_those_made_of_messages_however_objects_have_changed(
            steps in prop::collection::vec((0_u8..14, any::<Index>(), any::<Index>()), 1..40)
        ) {
            // In paused time two looks at the clock are the same.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            runtime?.block_on(async {
                let simulator = Simulator::new(Config { seed: 1, ..Config::default() });
                for (number, step) in steps.iter().enumerate() {
                    take(&simulator, step, number).await;
                    let id = simulator.state().sandboxes.keys().next_back().cloned();
                    assert_same(&simulator, &id.unwrap_or("none".to_owned()), step.1)?;
                }
                Ok::<_, TestCaseError>(())
            })?;
        }
    }
}
