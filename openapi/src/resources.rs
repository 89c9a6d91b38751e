//! The table of resources: which path stands for which RPC, and which parameter for which field of its request.
//!
//! A list keeps the shape of its response message (`{"containers": […]}`), as crictl prints it. Fields are named from the
//! root of the request; how a parameter is written follows from its field's type.

use crate::operations::Tag;
use crate::parameters::Place;

/// The path below which the resources of v1 stand.
pub(crate) const BASE: &str = "/cri/v1";

/// One resource, as the table has it.
pub(crate) struct Row {
    pub id: &'static str,
    pub path: &'static str,
    pub rpc: &'static str,
    pub tag: Tag,
    pub summary: &'static str,
    pub parameters: &'static [ParameterRow],
    /// The field of the response that is absent where the thing asked for isn't there.
    pub found_if: Option<&'static str>,
}

/// One parameter of a resource, as the table has it.
pub(crate) struct ParameterRow {
    pub name: &'static str,
    pub place: Place,
    pub field: &'static str,
    pub description: &'static str,
}

const fn path(name: &'static str, field: &'static str, description: &'static str) -> ParameterRow {
    ParameterRow { name, place: Place::Path, field, description }
}

const fn query(name: &'static str, field: &'static str, description: &'static str) -> ParameterRow {
    ParameterRow { name, place: Place::Query, field, description }
}

const VERBOSE: ParameterRow = query(
    "verbose",
    "verbose",
    "Whether `info` holds what the runtime knows beyond CRI. `verbose` without a value means true.",
);
const LABELS: ParameterRow = query(
    "labelSelector",
    "filter.label_selector",
    "Only those that have all of these labels: `key=value` pairs, separated by commas.",
);

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "getVersion",
        path: "/version",
        rpc: "Version",
        tag: Tag::Runtime,
        summary: "Name and version of the runtime",
        parameters: &[],
        found_if: None,
    },
    Row {
        id: "getStatus",
        path: "/status",
        rpc: "Status",
        tag: Tag::Runtime,
        summary: "Conditions and features of the runtime",
        parameters: &[VERBOSE],
        found_if: None,
    },
    Row {
        id: "getRuntimeConfig",
        path: "/runtime-config",
        rpc: "RuntimeConfig",
        tag: Tag::Runtime,
        summary: "Configuration that the kubelet takes from the runtime",
        parameters: &[],
        found_if: None,
    },
    Row {
        id: "listPods",
        path: "/pods",
        rpc: "ListPodSandbox",
        tag: Tag::Pods,
        summary: "The pod sandboxes",
        parameters: &[
            query("id", "filter.id", "Only the sandbox with this id, or with the one id that begins so."),
            query("state", "filter.state.state", "Only those in this state."),
            LABELS,
        ],
        found_if: None,
    },
    Row {
        id: "getPod",
        path: "/pods/{id}",
        rpc: "PodSandboxStatus",
        tag: Tag::Pods,
        summary: "One pod sandbox",
        parameters: &[
            path("id", "pod_sandbox_id", "The sandbox's id, or a beginning of it that no other id has."),
            VERBOSE,
        ],
        found_if: Some("status"),
    },
    Row {
        id: "listContainers",
        path: "/containers",
        rpc: "ListContainers",
        tag: Tag::Containers,
        summary: "The containers",
        parameters: &[
            query("id", "filter.id", "Only the container with this id, or with the one id that begins so."),
            query("state", "filter.state.state", "Only those in this state."),
            query("pod", "filter.pod_sandbox_id", "Only those of the sandbox with this id."),
            LABELS,
        ],
        found_if: None,
    },
    Row {
        id: "getContainer",
        path: "/containers/{id}",
        rpc: "ContainerStatus",
        tag: Tag::Containers,
        summary: "One container",
        parameters: &[
            path("id", "container_id", "The container's id, or a beginning of it that no other id has."),
            VERBOSE,
        ],
        found_if: Some("status"),
    },
    Row {
        id: "listImages",
        path: "/images",
        rpc: "ListImages",
        tag: Tag::Images,
        summary: "The images",
        parameters: &[query("image", "filter.image.image", "Only the image with this reference or id.")],
        found_if: None,
    },
    Row {
        id: "getImageFilesystems",
        path: "/images/fs",
        rpc: "ImageFsInfo",
        tag: Tag::Images,
        summary: "Usage of the filesystems that hold images and containers",
        parameters: &[],
        found_if: None,
    },
    Row {
        id: "getImage",
        path: "/images/{ref}",
        rpc: "ImageStatus",
        tag: Tag::Images,
        summary: "One image",
        parameters: &[
            path(
                "ref",
                "image.image",
                "The image's reference, digest or id, percent-encoded (`/` as `%2F`).",
            ),
            VERBOSE,
        ],
        found_if: Some("image"),
    },
];
