//! The RPCs: the table of those that are answered, and the way from a request to its answer.
//!
//! What each RPC does stands in the modules below, as methods of [`Simulator`] that take the request and give the response
//! or the status. This file brings them behind tonic's traits, with the regressions around each.

mod containers;
mod encoded;
mod events;
mod exec;
mod images;
mod lifecycle;
mod node;
mod sandboxes;
mod stats;
mod streamed;

pub(crate) use encoded::encoded;

use cri::v1::image_service_server::ImageService;
use cri::v1::runtime_service_server::RuntimeService;
use cri::{MAX_MESSAGE_BYTES, v1};
use prost::Message;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::failure::unknown_method;
use crate::server::Caller;
use crate::simulator::Simulator;

/// RPCs that containerd 2.1 has in its schema and doesn't answer.
pub(crate) const STUBS: [&str; 2] = ["ListMetricDescriptors", "ListPodSandboxMetrics"];

/// RPCs of the schema that containerd 2.1 doesn't know, besides lists that are streamed.
pub(crate) const ABSENT: [&str; 3] = ["CheckpointPod", "RestorePod", "UpdatePodSandboxResources"];

/// A simulator behind tonic's traits.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub Simulator);

/// Writes the enums of calls and replies, and the traits' implementations. `(field)` also hands on that field of the
/// caller; `.await` waits for the answer.
macro_rules! services {
    ($(
        $service:ident {
            always {
                $($sure:ident: $sure_name:ident($sure_request:ident) -> $sure_response:ident $(($caller:ident))?;)*
            }
            or_fails {
                $($method:ident: $name:ident($request:ident) -> $response:ident $(.$wait:ident)?;)*
            }
            absent { $($absent:ident($absent_request:ident) -> $absent_response:ident;)* }
            streams {
                $($stream:ident: $item:ident = $stream_method:ident($stream_request:ident)
                    of $list:ident($list_request:ident).$elements:ident as $batch:ident;)*
            }
            $($other:tt)*
        }
    )*) => {
        /// A call before it is answered.
        #[allow(dead_code, reason = "regressions look at those they need")]
        pub(crate) enum Call<'a> {
            $(
                $($sure_name(&'a mut v1::$sure_request),)*
                $($name(&'a mut v1::$request),)*
            )*
        }

        /// A call with its outcome, before that is sent.
        #[allow(dead_code, reason = "regressions look at those they need")]
        pub(crate) enum Reply<'a> {
            $(
                $($sure_name(&'a v1::$sure_request, &'a mut Result<v1::$sure_response, Status>),)*
                $($name(&'a v1::$request, &'a mut Result<v1::$response, Status>),)*
            )*
        }

        $(
            #[tonic::async_trait]
            impl $service for Service {
                $(
                    async fn $sure(
                        &self,
                        request: Request<v1::$sure_request>,
                    ) -> Result<Response<v1::$sure_response>, Status> {
                        $(let $caller = Caller::of(request.extensions()).$caller;)?
                        let mut request = request.into_inner();
                        for behaviour in self.0.behaviours().iter() {
                            behaviour.before(&self.0, Call::$sure_name(&mut request))?;
                        }
                        let mut outcome = Ok(self.0.$sure(&request $(, $caller)?));
                        for behaviour in self.0.behaviours().iter() {
                            behaviour.after(&self.0, Reply::$sure_name(&request, &mut outcome));
                        }
                        within_limit(outcome?)
                    }
                )*
                $(
                    async fn $method(
                        &self,
                        request: Request<v1::$request>,
                    ) -> Result<Response<v1::$response>, Status> {
                        let mut request = request.into_inner();
                        for behaviour in self.0.behaviours().iter() {
                            behaviour.before(&self.0, Call::$name(&mut request))?;
                        }
                        let mut outcome = self.0.$method(&request)$(.$wait)?;
                        for behaviour in self.0.behaviours().iter() {
                            behaviour.after(&self.0, Reply::$name(&request, &mut outcome));
                        }
                        within_limit(outcome?)
                    }
                )*
                $(
                    async fn $absent(
                        &self,
                        _request: Request<v1::$absent_request>,
                    ) -> Result<Response<v1::$absent_response>, Status> {
                        Err(unknown_method(stringify!($absent), stringify!($service)))
                    }
                )*
                $(
                    type $stream = BoxStream<v1::$item>;

                    async fn $stream_method(
                        &self,
                        request: Request<v1::$stream_request>,
                    ) -> Result<Response<Self::$stream>, Status> {
                        let request = request.map(|request| v1::$list_request { filter: request.filter });
                        let elements = self.$list(request).await?.into_inner().$elements;
                        Ok(Response::new(self.0.streamed(elements, |$batch| v1::$item { $batch })))
                    }
                )*
                $($other)*
            }
        )*
    };
}

services! {
    RuntimeService {
        always {
            version: Version(VersionRequest) -> VersionResponse (generation);
            status: Status(StatusRequest) -> StatusResponse;
            runtime_config: RuntimeConfig(RuntimeConfigRequest) -> RuntimeConfigResponse;
            update_runtime_config:
                UpdateRuntimeConfig(UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse;
            list_pod_sandbox: ListPodSandbox(ListPodSandboxRequest) -> ListPodSandboxResponse;
            list_containers: ListContainers(ListContainersRequest) -> ListContainersResponse;
            list_container_stats: ListContainerStats(ListContainerStatsRequest) -> ListContainerStatsResponse;
            list_pod_sandbox_stats:
                ListPodSandboxStats(ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse;
        }
        or_fails {
            run_pod_sandbox: RunPodSandbox(RunPodSandboxRequest) -> RunPodSandboxResponse;
            stop_pod_sandbox: StopPodSandbox(StopPodSandboxRequest) -> StopPodSandboxResponse;
            remove_pod_sandbox: RemovePodSandbox(RemovePodSandboxRequest) -> RemovePodSandboxResponse;
            pod_sandbox_status: PodSandboxStatus(PodSandboxStatusRequest) -> PodSandboxStatusResponse;
            create_container: CreateContainer(CreateContainerRequest) -> CreateContainerResponse;
            start_container: StartContainer(StartContainerRequest) -> StartContainerResponse;
            stop_container: StopContainer(StopContainerRequest) -> StopContainerResponse .await;
            remove_container: RemoveContainer(RemoveContainerRequest) -> RemoveContainerResponse;
            container_status: ContainerStatus(ContainerStatusRequest) -> ContainerStatusResponse;
            update_container_resources:
                UpdateContainerResources(UpdateContainerResourcesRequest) -> UpdateContainerResourcesResponse;
            reopen_container_log: ReopenContainerLog(ReopenContainerLogRequest) -> ReopenContainerLogResponse;
            checkpoint_container:
                CheckpointContainer(CheckpointContainerRequest) -> CheckpointContainerResponse;
            exec_sync: ExecSync(ExecSyncRequest) -> ExecSyncResponse .await;
            exec: Exec(ExecRequest) -> ExecResponse;
            attach: Attach(AttachRequest) -> AttachResponse;
            port_forward: PortForward(PortForwardRequest) -> PortForwardResponse;
            container_stats: ContainerStats(ContainerStatsRequest) -> ContainerStatsResponse;
            pod_sandbox_stats: PodSandboxStats(PodSandboxStatsRequest) -> PodSandboxStatsResponse;
        }
        absent {
            checkpoint_pod(CheckpointPodRequest) -> CheckpointPodResponse;
            restore_pod(RestorePodRequest) -> RestorePodResponse;
            list_metric_descriptors(ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse;
            list_pod_sandbox_metrics(ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse;
            update_pod_sandbox_resources(UpdatePodSandboxResourcesRequest) -> UpdatePodSandboxResourcesResponse;
        }
        streams {
            StreamPodSandboxesStream: StreamPodSandboxesResponse
                = stream_pod_sandboxes(StreamPodSandboxesRequest)
                of list_pod_sandbox(ListPodSandboxRequest).items as pod_sandboxes;
            StreamContainersStream: StreamContainersResponse
                = stream_containers(StreamContainersRequest)
                of list_containers(ListContainersRequest).containers as containers;
            StreamContainerStatsStream: StreamContainerStatsResponse
                = stream_container_stats(StreamContainerStatsRequest)
                of list_container_stats(ListContainerStatsRequest).stats as container_stats;
            StreamPodSandboxStatsStream: StreamPodSandboxStatsResponse
                = stream_pod_sandbox_stats(StreamPodSandboxStatsRequest)
                of list_pod_sandbox_stats(ListPodSandboxStatsRequest).stats as pod_sandbox_stats;
        }

        type StreamPodSandboxMetricsStream = BoxStream<v1::StreamPodSandboxMetricsResponse>;

        /// There are no metrics, as in CRI-O 1.27.
        async fn stream_pod_sandbox_metrics(
            &self,
            _request: Request<v1::StreamPodSandboxMetricsRequest>,
        ) -> Result<Response<Self::StreamPodSandboxMetricsStream>, Status> {
            let message = |pod_sandbox_metrics| v1::StreamPodSandboxMetricsResponse { pod_sandbox_metrics };
            Ok(Response::new(self.0.streamed(Vec::new(), message)))
        }

        type GetContainerEventsStream = events::Subscription;

        async fn get_container_events(
            &self,
            request: Request<v1::GetEventsRequest>,
        ) -> Result<Response<events::Subscription>, Status> {
            let caller = Caller::of(request.extensions());
            Ok(Response::new(self.0.container_events(caller)))
        }
    }

    ImageService {
        always {
            list_images: ListImages(ListImagesRequest) -> ListImagesResponse;
            image_fs_info: ImageFsInfo(ImageFsInfoRequest) -> ImageFsInfoResponse;
        }
        or_fails {
            image_status: ImageStatus(ImageStatusRequest) -> ImageStatusResponse;
            pull_image: PullImage(PullImageRequest) -> PullImageResponse;
            remove_image: RemoveImage(RemoveImageRequest) -> RemoveImageResponse .await;
        }
        absent {}
        streams {
            StreamImagesStream: StreamImagesResponse
                = stream_images(StreamImagesRequest)
                of list_images(ListImagesRequest).images as images;
        }
    }
}

/// A response that a client of grpc-go would take; tonic would say `OUT_OF_RANGE` of one that is too large.
fn within_limit<M: Message>(message: M) -> Result<Response<M>, Status> {
    check_length(message.encoded_len())?;
    Ok(Response::new(message))
}

fn check_length(length: usize) -> Result<(), Status> {
    if length > MAX_MESSAGE_BYTES {
        let text = format!("trying to send message larger than max ({length} vs. {MAX_MESSAGE_BYTES})");
        return Err(Status::resource_exhausted(text));
    }
    Ok(())
}
