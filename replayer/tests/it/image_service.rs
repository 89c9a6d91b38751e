//! A scripted image service, for what the simulator's never does.

use std::sync::{Arc, Mutex};

use cri::Endpoint;
use cri::v1::image_service_server::{ImageService, ImageServiceServer};
use cri::v1::{self, Image};
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

/// What it does.
#[derive(Debug, Default)]
pub struct Script {
    /// What it has before the first pull.
    pub before: Vec<Image>,
    /// What it has from the first pull on.
    pub after: Vec<Image>,
    /// Whether a pull has no end.
    pub pulls_forever: bool,
    /// Whether it fails to say what an image is.
    pub says_nothing: bool,
}

/// One on a socket of its own.
#[derive(Clone, Debug)]
pub struct Images(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: tempfile::TempDir,
    script: Script,
    images: Mutex<Vec<Image>>,
    removals: Mutex<Vec<String>>,
    pulling: Notify,
    broken_off: Notify,
}

/// Tells that a pull without an end is no longer waited for.
struct BreaksOff<'a>(&'a Notify);

impl Drop for BreaksOff<'_> {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Images {
    pub fn new(script: Script) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = tokio::net::UnixListener::bind(folder.path().join("images.sock")).unwrap();
        let images = Self(Arc::new(Inner {
            folder,
            images: Mutex::new(script.before.clone()),
            script,
            removals: Mutex::default(),
            pulling: Notify::new(),
            broken_off: Notify::new(),
        }));
        let service = ImageServiceServer::new(images.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(service.clone());
                let served = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(served.serve_connection(TokioIo::new(stream), service));
            }
        });
        images
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::at(self.0.folder.path().join("images.sock")).unwrap()
    }

    /// Until a pull has begun.
    pub async fn pulling(&self) {
        self.0.pulling.notified().await;
    }

    /// Until the client of a pull without an end has broken it off.
    pub async fn broken_off(&self) {
        self.0.broken_off.notified().await;
    }

    /// By what images were named that were to be removed.
    pub fn removals(&self) -> Vec<String> {
        self.0.removals.lock().unwrap().clone()
    }

    fn list(&self) -> Vec<Image> {
        self.0.images.lock().unwrap().clone()
    }
}

#[tonic::async_trait]
impl ImageService for Images {
    type StreamImagesStream = tonic::codegen::BoxStream<v1::StreamImagesResponse>;

    async fn list_images(
        &self,
        _: Request<v1::ListImagesRequest>,
    ) -> Result<Response<v1::ListImagesResponse>, Status> {
        Ok(Response::new(v1::ListImagesResponse { images: self.list() }))
    }

    async fn stream_images(
        &self,
        _: Request<v1::StreamImagesRequest>,
    ) -> Result<Response<Self::StreamImagesStream>, Status> {
        Err(Status::unimplemented("no streams"))
    }

    async fn image_status(
        &self,
        request: Request<v1::ImageStatusRequest>,
    ) -> Result<Response<v1::ImageStatusResponse>, Status> {
        if self.0.script.says_nothing {
            return Err(Status::internal("the store is locked"));
        }
        let asked = request.into_inner().image.unwrap_or_default().image;
        let image = self.list().into_iter().find(|it| it.id == asked || it.repo_tags.contains(&asked));
        Ok(Response::new(v1::ImageStatusResponse { image, ..Default::default() }))
    }

    async fn pull_image(
        &self,
        request: Request<v1::PullImageRequest>,
    ) -> Result<Response<v1::PullImageResponse>, Status> {
        self.0.images.lock().unwrap().clone_from(&self.0.script.after);
        self.0.pulling.notify_one();
        if self.0.script.pulls_forever {
            let _breaks_off = BreaksOff(&self.0.broken_off);
            return std::future::pending().await;
        }
        let asked = request.into_inner().image.unwrap_or_default().image;
        let pulled = self.list().into_iter().find(|it| it.repo_tags.contains(&asked)).unwrap();
        Ok(Response::new(v1::PullImageResponse { image_ref: pulled.id }))
    }

    async fn remove_image(
        &self,
        request: Request<v1::RemoveImageRequest>,
    ) -> Result<Response<v1::RemoveImageResponse>, Status> {
        let asked = request.into_inner().image.unwrap_or_default().image;
        self.0.images.lock().unwrap().retain(|it| it.id != asked && !it.repo_tags.contains(&asked));
        self.0.removals.lock().unwrap().push(asked);
        Ok(Response::new(v1::RemoveImageResponse::default()))
    }

    async fn image_fs_info(
        &self,
        _: Request<v1::ImageFsInfoRequest>,
    ) -> Result<Response<v1::ImageFsInfoResponse>, Status> {
        Ok(Response::new(v1::ImageFsInfoResponse::default()))
    }
}

/// An image with this id and these names.
pub fn image(id: &str, names: &[&str]) -> Image {
    let repo_tags = names.iter().map(|name| (*name).to_owned()).collect();
    Image { id: format!("sha256:{}", id.repeat(64)), repo_tags, size: 1, ..Default::default() }
}
