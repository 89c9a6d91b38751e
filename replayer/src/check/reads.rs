//! What can be seen of what is there: lists, statuses, images, statistics.

use cri::v1;

use super::Check;

/// Objects of a kind whose status is asked for. What holds for two hundred pods holds for more.
const MAX_OBJECTS: usize = 200;
/// Times that lists are asked for: an order that changes shows in a few.
const ROUNDS: usize = 8;
/// An id that nothing has.
const MADE_UP: &str = "c0ffee0000000000000000000000000000000000000000000000000000000000";

impl Check {
    /// Reads all there is to read.
    pub(super) async fn read(&mut self) {
        for _ in 0..ROUNDS {
            let _: Option<v1::StatusResponse> = self.ask("Status", &v1::StatusRequest::default()).await;
        }
        self.read_images().await;
        self.read_pods().await;
        self.read_what_is_not_there().await;
    }

    async fn read_images(&mut self) {
        let _: Option<v1::ImageFsInfoResponse> = self.ask("ImageFsInfo", &v1::ImageFsInfoRequest {}).await;
        let list: Option<v1::ListImagesResponse> =
            self.ask("ListImages", &v1::ListImagesRequest::default()).await;
        for image in list.unwrap_or_default().images.into_iter().take(MAX_OBJECTS) {
            let spec = v1::ImageSpec { image: image.id, ..Default::default() };
            let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
            let _: Option<v1::ImageStatusResponse> = self.ask("ImageStatus", &request).await;
        }
    }

    async fn read_pods(&mut self) {
        let pods: Option<v1::ListPodSandboxResponse> =
            self.ask("ListPodSandbox", &v1::ListPodSandboxRequest::default()).await;
        for pod in pods.unwrap_or_default().items.into_iter().take(MAX_OBJECTS) {
            self.look_at_pod(&pod.id).await;
        }
        let containers: Option<v1::ListContainersResponse> =
            self.ask("ListContainers", &v1::ListContainersRequest::default()).await;
        for container in containers.unwrap_or_default().containers.into_iter().take(MAX_OBJECTS) {
            self.look_at_container(&container.id).await;
        }
        let all = v1::ListContainerStatsRequest::default();
        let _: Option<v1::ListContainerStatsResponse> = self.ask("ListContainerStats", &all).await;
    }

    async fn read_what_is_not_there(&mut self) {
        self.witness.made_up(MADE_UP);
        self.look_at_pod(MADE_UP).await;
        self.look_at_container(MADE_UP).await;
    }

    pub(super) async fn look_at_pod(&mut self, id: &str) {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        let _: Option<v1::PodSandboxStatusResponse> = self.ask("PodSandboxStatus", &request).await;
    }

    pub(super) async fn look_at_container(&mut self, id: &str) -> Option<v1::ContainerStatus> {
        let request = v1::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer: Option<v1::ContainerStatusResponse> = self.ask("ContainerStatus", &request).await;
        answer?.status
    }

    /// Both lists, as kubelet asks for them.
    pub(super) async fn list(&mut self) {
        let _: Option<v1::ListPodSandboxResponse> =
            self.ask("ListPodSandbox", &v1::ListPodSandboxRequest::default()).await;
        let _: Option<v1::ListContainersResponse> =
            self.ask("ListContainers", &v1::ListContainersRequest::default()).await;
    }

    /// Asks for lists that leave out all but this pod, and this container of it, in each way in which that can be asked for.
    pub(super) async fn pick_out(&mut self, pod: &str, container: &str) {
        let filter = v1::PodSandboxFilter { id: pod.to_owned(), ..Default::default() };
        let request = v1::ListPodSandboxRequest { filter: Some(filter) };
        let _: Option<v1::ListPodSandboxResponse> = self.ask("ListPodSandbox", &request).await;
        let none = v1::ContainerFilter::default;
        for filter in [
            v1::ContainerFilter { id: container.to_owned(), ..none() },
            v1::ContainerFilter { pod_sandbox_id: pod.to_owned(), ..none() },
            v1::ContainerFilter {
                state: Some(v1::ContainerStateValue { state: v1::ContainerState::ContainerRunning.into() }),
                ..none()
            },
        ] {
            let request = v1::ListContainersRequest { filter: Some(filter) };
            let _: Option<v1::ListContainersResponse> = self.ask("ListContainers", &request).await;
        }
    }
}
