//! Calls as oracles see them: typed, and without what was seen before.

use std::time::Duration;

use bytes::Bytes;
use cri::wire::{content_at, fields, take_varint, text_at};
use cri::{Generation, Method, v1};
use critape_calls::{Code, Outcome, Repeats};
use prost::Message;

/// Answers with statistics that are looked at as a whole: they never repeat, and a thousand say as much as a million. Of those after
/// them, containers that are new.
const MAX_STATS: usize = 1000;

/// One call that has ended. Times are since the epoch.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The method.
    pub method: &'a Method,
    /// The request message.
    pub request: &'a Bytes,
    /// How it ended.
    pub outcome: &'a Outcome,
    /// The response message; those of a stream as one. Not looked at where the call failed.
    pub response: &'a Bytes,
    /// When it was sent.
    pub started: Duration,
    /// When it had ended.
    pub ended: Duration,
}

/// The events of a stream. Times are since the epoch.
#[derive(Clone, Debug, Default)]
pub struct EventStream {
    /// The events in the order in which they came.
    pub events: Vec<v1::ContainerEventResponse>,
    /// When each of them came, as far as that is known.
    pub arrived: Vec<Option<Duration>>,
    /// When it was open.
    pub from: Duration,
    /// Events about what had happened by then have come, if there are any.
    pub until: Duration,
}

/// A call that has ended, as an oracle sees it.
pub(crate) struct Observed<'a> {
    pub(crate) code: Code,
    pub(crate) said: Said,
    /// The whole request message.
    pub(crate) request: &'a [u8],
    /// The whole response message.
    pub(crate) response: &'a [u8],
    pub(crate) name: &'a str,
    pub(crate) started: Duration,
    pub(crate) ended: Duration,
}

impl<'a> Observed<'a> {
    /// The elements of the list in the answer as they lie on the wire, also those that have not changed since the last one.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let fields = fields(self.response).map_while(Result::ok);
        fields.filter(|field| field.number == 1).map(|field| field.content)
    }
}

/// The number in this field of an element, 0 where there is none: enums are told so.
pub(crate) fn number_in(element: &[u8], field: u32) -> i64 {
    let number = content_at(element, &[field]).and_then(|mut number| take_varint(&mut number));
    number.map_or(0, u64::cast_signed)
}

/// Both messages; the answer is empty where the call failed. Of lists, what has changed since the last one.
pub(crate) enum Said {
    RunPodSandbox(Box<v1::RunPodSandboxRequest>, v1::RunPodSandboxResponse),
    StopPodSandbox(String),
    RemovePodSandbox(String),
    PodSandboxStatus(String, Box<v1::PodSandboxStatusResponse>),
    ListPodSandbox(v1::ListPodSandboxResponse),
    CreateContainer(Box<v1::CreateContainerRequest>, v1::CreateContainerResponse),
    StartContainer(String),
    StopContainer(String),
    RemoveContainer(String),
    ContainerStatus(String, Box<v1::ContainerStatusResponse>),
    ListContainers(v1::ListContainersResponse),
    UpdateContainerResources(Box<v1::UpdateContainerResourcesRequest>),
    ContainerStats(Box<v1::ContainerStatsResponse>),
    ListContainerStats(v1::ListContainerStatsResponse),
    PodSandboxStats(Box<v1::PodSandboxStatsResponse>),
    ListPodSandboxStats(v1::ListPodSandboxStatsResponse),
    PullImage(String, v1::PullImageResponse),
    ImageStatus(String, Box<v1::ImageStatusResponse>),
    ListImages(v1::ListImagesResponse),
    RemoveImage,
    ImageFsInfo(v1::ImageFsInfoResponse),
    Status(v1::StatusResponse),
}

/// Reads calls for the oracles.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    repeats: Repeats,
    stats: usize,
}

impl Reader {
    /// `None` where no oracle is about it, or it can't be read.
    pub(crate) fn read<'a>(&mut self, exchange: &Exchange<'a>) -> Option<Observed<'a>> {
        // The messages of v1alpha1 are others.
        if exchange.method.generation == Generation::V1Alpha1 {
            return None;
        }
        let said = self.said(exchange)?;
        Some(Observed {
            code: exchange.outcome.code,
            said,
            request: exchange.request,
            response: exchange.response,
            name: &exchange.method.name,
            started: exchange.started,
            ended: exchange.ended,
        })
    }

    fn said(&mut self, exchange: &Exchange<'_>) -> Option<Said> {
        let name = exchange.method.name.as_str();
        let nothing = Bytes::new();
        let answer = if exchange.outcome.is_ok() { exchange.response } else { &nothing };
        let asked = exchange.request;
        let id = || text_at(asked, &[1]).unwrap_or_default().to_owned();
        let image = || text_at(asked, &[1, 1]).unwrap_or_default().to_owned();
        Some(match name {
            "RunPodSandbox" => Said::RunPodSandbox(boxed(asked)?, message(answer)?),
            "StopPodSandbox" => Said::StopPodSandbox(id()),
            "RemovePodSandbox" => Said::RemovePodSandbox(id()),
            "PodSandboxStatus" => Said::PodSandboxStatus(id(), boxed(answer)?),
            "ListPodSandbox" => Said::ListPodSandbox(message(&self.repeats.news(name, answer))?),
            "CreateContainer" => Said::CreateContainer(boxed(asked)?, message(answer)?),
            "StartContainer" => Said::StartContainer(id()),
            "StopContainer" => Said::StopContainer(id()),
            "RemoveContainer" => Said::RemoveContainer(id()),
            "ContainerStatus" => Said::ContainerStatus(id(), boxed(answer)?),
            "ListContainers" => Said::ListContainers(message(&self.repeats.news(name, answer))?),
            "UpdateContainerResources" => Said::UpdateContainerResources(boxed(asked)?),
            "ContainerStats" => Said::ContainerStats(boxed(answer)?),
            "ListContainerStats" => Said::ListContainerStats(message(&self.stats(name, answer))?),
            "PodSandboxStats" => Said::PodSandboxStats(boxed(answer)?),
            "ListPodSandboxStats" => Said::ListPodSandboxStats(message(&self.stats(name, answer))?),
            "PullImage" => Said::PullImage(image(), message(answer)?),
            "ImageStatus" => Said::ImageStatus(image(), boxed(answer)?),
            "ListImages" => Said::ListImages(message(&self.repeats.news(name, answer))?),
            "RemoveImage" => Said::RemoveImage,
            "ImageFsInfo" => Said::ImageFsInfo(message(answer)?),
            "Status" => Said::Status(message(answer)?),
            _ => return None,
        })
    }

    /// What is looked at of an answer with statistics.
    fn stats(&mut self, name: &str, answer: &Bytes) -> Bytes {
        let new = self.repeats.new_objects(name, answer);
        self.stats += 1;
        if self.stats > MAX_STATS { new } else { answer.clone() }
    }
}

fn message<M: Message + Default>(bytes: &Bytes) -> Option<M> {
    M::decode(bytes.as_ref()).ok()
}

fn boxed<M: Message + Default>(bytes: &Bytes) -> Option<Box<M>> {
    message(bytes).map(Box::new)
}
