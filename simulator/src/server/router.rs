//! From a request's path to the service that answers it.

use std::convert::Infallible;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::Duration;

use cri::v1::image_service_server::ImageServiceServer;
use cri::v1::runtime_service_server::RuntimeServiceServer;
use cri::{Generation, MAX_MESSAGE_BYTES, Method, Service as CriService, methods};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::codegen::http::{HeaderMap, Request, Response, Uri};
use tonic::codegen::{BoxFuture, Service};
use tonic::{Code, Status, body::Body};

use super::{Caller, alpha};
use crate::failure::unknown_method;
use crate::rpc::{self, ABSENT, STUBS};
use crate::{Simulator, Variant};

/// Answers every request on the socket.
#[derive(Clone)]
pub(super) struct Router {
    simulator: Simulator,
    runtime: RuntimeServiceServer<rpc::Service>,
    image: ImageServiceServer<rpc::Service>,
    closing: watch::Receiver<bool>,
}

impl Router {
    pub(super) fn new(simulator: Simulator, closing: watch::Receiver<bool>) -> Self {
        let service = rpc::Service(simulator.clone());
        let runtime = RuntimeServiceServer::new(service.clone())
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let image = ImageServiceServer::new(service)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        Self { simulator, runtime, image, closing }
    }

    /// The RPC of a path, or what grpc-go says of a path that it doesn't serve.
    fn route(&self, path: &str) -> Result<&'static Method, Box<Status>> {
        let Some((service, name)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
            return Err(Box::new(Status::unimplemented(format!("malformed method name: {path:?}"))));
        };
        let generation = match service.rsplit_once('.') {
            Some(("runtime.v1", "RuntimeService" | "ImageService")) if !self.simulator.is(Variant::NoV1) => {
                Generation::V1
            }
            Some(("runtime.v1alpha2", "RuntimeService" | "ImageService"))
                if !self.simulator.is(Variant::NoV1Alpha2) =>
            {
                Generation::V1Alpha2
            }
            Some(("runtime", "RuntimeService" | "ImageService")) if self.simulator.is(Variant::V1Alpha1) => {
                Generation::V1Alpha1
            }
            _ => return Err(Box::new(Status::unimplemented(format!("unknown service {service}")))),
        };
        if !self.simulator.behaviours().serves(generation) {
            return Err(Box::new(Status::unimplemented(format!("unknown service {service}"))));
        }
        if let Some(refusal) = self.simulator.behaviours().stub(name) {
            return Err(Box::new(refusal));
        }
        let streamed = |method: &Method| method.list().is_some();
        match methods().by_path(path) {
            Some(_) if STUBS.contains(&name) => {
                Err(Box::new(Status::unimplemented(format!("method {name} not implemented"))))
            }
            Some(method) if streamed(method) && !self.simulator.is(Variant::StreamedLists) => {
                Err(Box::new(unknown_method(name, service)))
            }
            Some(method) if !ABSENT.contains(&name) => Ok(method),
            _ => Err(Box::new(unknown_method(name, service))),
        }
    }
}

impl Service<Request<Body>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        self.simulator.count_call();
        let method = match self.route(request.uri().path()) {
            Ok(method) => method,
            Err(status) => return Box::pin(async move { Ok(status.into_http()) }),
        };
        let generation = method.generation;
        // The messages of v1 and v1alpha2 are the same bytes; only the path tells them apart.
        let method = if generation == Generation::V1 {
            method
        } else {
            let method = method.in_generation(Generation::V1).unwrap_or(method);
            if let Ok(path) = Uri::from_str(&method.path) {
                *request.uri_mut() = path;
            }
            method
        };
        let deadline = timeout(request.headers()).and_then(|timeout| Instant::now().checked_add(timeout));
        let caller = Caller { generation, deadline, closing: self.closing.clone() };
        request.extensions_mut().insert(caller.clone());
        let answer = self.clone().answer(method, generation, request);
        Box::pin(async move {
            tokio::select! {
                biased;
                response = answer => response.map(as_grpc_go),
                status = caller.over() => Ok(status.into_http()),
            }
        })
    }
}

impl Router {
    /// Has an RPC of v1 answered that was asked in this generation.
    async fn answer(
        mut self,
        method: &Method,
        generation: Generation,
        request: Request<Body>,
    ) -> Result<Response<Body>, Infallible> {
        let is_old = generation == Generation::V1Alpha1;
        let request = if is_old { alpha::lifted(request, method).await } else { request };
        let response = match rpc::encoded(&self.simulator, method, request).await {
            Ok(response) => response,
            Err(request) if method.service == CriService::Image => self.image.call(request).await?,
            Err(request) => self.runtime.call(request).await?,
        };
        Ok(if is_old { alpha::lowered(response, method).await } else { response })
    }
}

/// tonic says `OUT_OF_RANGE` of a request that is too large, where Go's servers say `RESOURCE_EXHAUSTED`. Nothing else here
/// ends so.
fn as_grpc_go(response: Response<Body>) -> Response<Body> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == Code::OutOfRange => {
            let text = format!("grpc: received message larger than max ({MAX_MESSAGE_BYTES})");
            Status::resource_exhausted(text).into_http()
        }
        _ => response,
    }
}

/// The time that the client grants, from its `grpc-timeout` header: up to eight digits and a unit.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cri::v1;
    use http_body_util::{BodyExt, Full};
    use prost::Message;

    use super::*;

    fn route(path: &str) -> Result<(CriService, Generation), String> {
        let simulator = Simulator::new(crate::Config::default());
        let router = Router::new(simulator, watch::channel(false).1);
        let routed = router.route(path).map(|method| (method.service, method.generation));
        routed.map_err(|status| {
            assert_eq!(status.code(), Code::Unimplemented);
            status.message().to_owned()
        })
    }

    #[tokio::test]
    async fn known_paths_lead_to_their_service() {
        assert_eq!(route("/runtime.v1.RuntimeService/Version"), Ok((CriService::Runtime, Generation::V1)));
        assert_eq!(
            route("/runtime.v1alpha2.ImageService/PullImage"),
            Ok((CriService::Image, Generation::V1Alpha2))
        );
    }

    #[tokio::test]
    async fn other_paths_are_refused_in_the_words_of_grpc_go() {
        let refused = [
            ("/runtime.RuntimeService/Version", "unknown service runtime.RuntimeService"),
            (
                "/containerd.services.version.v1.Version/Version",
                "unknown service containerd.services.version.v1.Version",
            ),
            ("/runtime.v1.RuntimeService/Nope", "unknown method Nope for service runtime.v1.RuntimeService"),
            (
                "/runtime.v1.RuntimeService/PullImage",
                "unknown method PullImage for service runtime.v1.RuntimeService",
            ),
            (
                "/runtime.v1.RuntimeService/StreamContainers",
                "unknown method StreamContainers for service runtime.v1.RuntimeService",
            ),
            (
                "/runtime.v1alpha2.RuntimeService/GetContainerEvents",
                "unknown method GetContainerEvents for service runtime.v1alpha2.RuntimeService",
            ),
            ("nonsense", "malformed method name: \"nonsense\""),
        ];
        for (path, text) in refused {
            assert_eq!(route(path), Err(text.to_owned()));
        }
    }

    /// Sends one message and gives the status with which the call ends.
    async fn call(router: &mut Router, method: &str, message: impl Message, timeout: &str) -> Status {
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.encoded_len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&message.encode_to_vec());
        let request = Request::builder()
            .uri(method)
            .header("content-type", "application/grpc")
            .header("grpc-timeout", timeout)
            .body(Body::new(Full::new(Bytes::from(frame))))
            .unwrap();
        let response = router.call(request).await.unwrap();
        if let Some(status) = Status::from_header_map(response.headers()) {
            return status;
        }
        let trailers = response.into_body().collect().await.unwrap().trailers().cloned();
        Status::from_header_map(&trailers.unwrap()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_call() {
        let simulator = Simulator::new(crate::Config::default());
        let (_open, closing) = watch::channel(false);
        let mut router = Router::new(simulator.clone(), closing);
        let pod =
            v1::PodSandboxConfig { metadata: Some(v1::PodSandboxMetadata::default()), ..Default::default() };
        let image = v1::ImageSpec { image: "registry.k8s.io/pause:3.10".to_owned(), ..Default::default() };
        let run = v1::RunPodSandboxRequest { config: Some(pod.clone()), ..Default::default() };
        let status = call(&mut router, "/runtime.v1.RuntimeService/RunPodSandbox", run, "1S").await;
        assert_eq!(status.code(), Code::Ok);
        let id = |state: &crate::state::State| state.sandboxes.keys().next().unwrap().clone();
        let create = v1::CreateContainerRequest {
            pod_sandbox_id: id(&simulator.state()),
            config: Some(v1::ContainerConfig {
                metadata: Some(v1::ContainerMetadata::default()),
                image: Some(image),
                command: vec!["sleep".to_owned(), "infinity".to_owned()],
                ..Default::default()
            }),
            sandbox_config: Some(pod),
        };
        call(&mut router, "/runtime.v1.RuntimeService/CreateContainer", create, "1S").await;
        let container_id = simulator.state().containers.keys().next().unwrap().clone();
        let start = v1::StartContainerRequest { container_id: container_id.clone() };
        call(&mut router, "/runtime.v1.RuntimeService/StartContainer", start, "1S").await;

        let began = Instant::now();
        let cmd = vec!["sleep".to_owned(), "60".to_owned()];
        let exec = v1::ExecSyncRequest { container_id, cmd, timeout: 0 };
        let status = call(&mut router, "/runtime.v1.RuntimeService/ExecSync", exec, "2S").await;
        assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "context deadline exceeded"));
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[test]
    fn timeouts_have_their_units() {
        let parse = |text: &'static str| {
            timeout(&HeaderMap::from_iter([("grpc-timeout".parse().unwrap(), text.parse().unwrap())]))
        };
        assert_eq!(parse("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse("119999970u"), None);
        assert_eq!(parse("1999997u"), Some(Duration::from_micros(1_999_997)));
        assert_eq!(parse("S"), None);
        assert_eq!(parse("2"), None);
        assert_eq!(parse(""), None);
    }
}
