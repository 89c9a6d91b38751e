//! The requests that several parts send.

use std::time::Duration;

use cri::v1;
use tonic::Status;

use super::{Node, Result};
use crate::kubelet::DEADLINE;

#[allow(clippy::unnecessary_wraps, reason = "so it stands in every request")]
pub(super) fn image(name: &str) -> Option<v1::ImageSpec> {
    Some(v1::ImageSpec { image: name.to_owned(), ..v1::ImageSpec::default() })
}

impl Node {
    pub(super) async fn image_status(&self, name: &str) -> Result<Option<v1::Image>> {
        let request = v1::ImageStatusRequest { image: image(name), verbose: false };
        Ok(self.images.ask::<v1::ImageStatusResponse>("ImageStatus", &request).await?.image)
    }

    pub(super) async fn try_pull(&self, name: &str) -> std::result::Result<(), Status> {
        let request = v1::PullImageRequest { image: image(name), ..v1::PullImageRequest::default() };
        self.images.attempt("PullImage", &request, DEADLINE).await.map(drop)
    }

    pub(super) async fn pull(&self, name: &str) -> Result<()> {
        let request = v1::PullImageRequest { image: image(name), ..v1::PullImageRequest::default() };
        self.images.call("PullImage", &request).await.map(drop)
    }

    pub(super) async fn list_images(&self) -> Result<()> {
        self.images.call("ListImages", &v1::ListImagesRequest::default()).await.map(drop)
    }

    pub(super) async fn pod_status(&self, sandbox: &str, verbose: bool) -> Result<()> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: sandbox.to_owned(), verbose };
        self.runtime.call("PodSandboxStatus", &request).await.map(drop)
    }

    pub(super) async fn container_status(&self, container: &str, verbose: bool) -> Result<()> {
        let request = v1::ContainerStatusRequest { container_id: container.to_owned(), verbose };
        self.runtime.call("ContainerStatus", &request).await.map(drop)
    }

    /// Runs a command in a container.
    pub(super) async fn exec(&self, container: &str, command: &[&str]) -> Result<v1::ExecSyncResponse> {
        let request = v1::ExecSyncRequest {
            container_id: container.to_owned(),
            cmd: command.iter().map(ToString::to_string).collect(),
            timeout: 5,
        };
        self.runtime.ask("ExecSync", &request).await
    }

    pub(super) async fn lists(&self) -> Result<()> {
        self.runtime.call("ListPodSandbox", &v1::ListPodSandboxRequest::default()).await?;
        self.runtime.call("ListContainers", &v1::ListContainersRequest::default()).await?;
        Ok(())
    }

    /// Stops a container that is granted so many seconds, and gives up after `deadline`.
    pub(super) async fn try_stop(
        &self,
        container: &str,
        timeout: i64,
        deadline: Duration,
    ) -> std::result::Result<(), Status> {
        let request = v1::StopContainerRequest { container_id: container.to_owned(), timeout };
        self.runtime.attempt("StopContainer", &request, deadline).await.map(drop)
    }

    pub(super) async fn stop(&self, container: &str, timeout: i64) -> Result<()> {
        let request = v1::StopContainerRequest { container_id: container.to_owned(), timeout };
        self.runtime.call("StopContainer", &request).await.map(drop)
    }

    pub(super) async fn stop_pod(&self, sandbox: &str) -> Result<()> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.to_owned() };
        self.runtime.call("StopPodSandbox", &request).await.map(drop)
    }

    pub(super) async fn remove(&self, container: &str) -> Result<()> {
        let request = v1::RemoveContainerRequest { container_id: container.to_owned() };
        self.runtime.call("RemoveContainer", &request).await.map(drop)
    }

    pub(super) async fn remove_pod(&self, sandbox: &str) -> Result<()> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.to_owned() };
        self.runtime.call("RemovePodSandbox", &request).await.map(drop)
    }
}
