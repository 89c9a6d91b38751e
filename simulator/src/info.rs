//! The `info` maps of verbose answers: JSON under one key, as containerd writes it.

use std::collections::BTreeMap;

use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::{Value, json};

use crate::container::Container;
use crate::images::{Image, PAUSE};
use crate::sandbox::Sandbox;
use crate::spec::Mount;

type Info = BTreeMap<String, String>;

/// Of `Status`.
pub(crate) fn of_runtime() -> Info {
    let config = json!({
        "containerd": {
            "defaultRuntimeName": "runc",
            "runtimes": { "runc": { "runtimeType": "io.containerd.runc.v2", "sandboxer": "podsandbox" } },
        },
        "cni": { "binDirs": ["/opt/cni/bin"], "confDir": "/etc/cni/net.d" },
        "enableSelinux": false,
        "streamServerAddress": "127.0.0.1",
    });
    let network = json!({
        "PluginDirs": ["/opt/cni/bin"],
        "PluginConfDir": "/etc/cni/net.d",
        "Prefix": "eth",
        "Networks": [{ "IFName": "eth0", "Config": { "Name": "simulated", "Plugins": [{ "Network": { "type": "bridge" } }] } }],
    });
    Info::from([
        ("config".to_owned(), config.to_string()),
        ("cniconfig".to_owned(), network.to_string()),
        ("lastCNILoadStatus".to_owned(), "OK".to_owned()),
        ("lastCNILoadStatus.default".to_owned(), "OK".to_owned()),
    ])
}

/// Of `PodSandboxStatus`.
pub(crate) fn of_sandbox(sandbox: &Sandbox) -> Info {
    under_info(&json!({
        "pid": sandbox.pid(),
        "processStatus": if sandbox.is_ready() { "running" } else { "deleted" },
        "netNamespaceClosed": !sandbox.is_ready(),
        "image": PAUSE,
        "snapshotKey": sandbox.id,
        "snapshotter": "overlayfs",
        "runtimeHandler": sandbox.runtime_handler,
        "runtimeType": "io.containerd.runc.v2",
        "runtimeOptions": null,
        "config": go_json("PodSandboxConfig", &sandbox.config),
        "runtimeSpec": { "ociVersion": "1.2.0", "process": { "args": ["/pause"], "cwd": "/" } },
    }))
}

/// Of `ContainerStatus`.
pub(crate) fn of_container(container: &Container) -> Info {
    let mut config = go_json("ContainerConfig", &container.config);
    // As text, which is what they are; canonical JSON has them in base64.
    config["envs"] = container
        .config
        .envs
        .iter()
        .map(|variable| json!({ "key": variable.key, "value": String::from_utf8_lossy(&variable.value) }))
        .collect();
    let environment: Vec<String> = container
        .environment()
        .variables
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let command: Vec<&String> = container.config.command.iter().chain(&container.config.args).collect();
    under_info(&json!({
        "sandboxID": container.sandbox_id,
        "pid": container.pid(),
        "removing": false,
        "snapshotKey": container.id,
        "snapshotter": "overlayfs",
        "runtimeType": "io.containerd.runc.v2",
        "runtimeOptions": null,
        "config": config,
        "runtimeSpec": {
            "ociVersion": "1.2.0",
            "process": { "args": command, "env": environment, "cwd": working_directory(container) },
            "hostname": container.sandbox_config.hostname,
            "mounts": container.spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        },
    }))
}

/// Of `ImageStatus`.
pub(crate) fn of_image(image: &Image) -> Info {
    under_info(&json!({
        "chainID": image.id,
        "imageSpec": {
            "architecture": "amd64",
            "os": "linux",
            "config": { "Cmd": ["/service"] },
            "rootfs": { "type": "layers", "diff_ids": [image.id] },
        },
    }))
}

fn mount(mount: &Mount) -> Value {
    let access = if mount.readonly { "ro" } else { "rw" };
    json!({ "destination": mount.destination, "type": mount.kind, "options": [access] })
}

fn working_directory(container: &Container) -> &str {
    match container.config.working_dir.as_str() {
        "" => "/",
        directory => directory,
    }
}

fn under_info(value: &Value) -> Info {
    Info::from([("info".to_owned(), value.to_string())])
}

/// A message as Go's own JSON writes it: fields named as in the schema, numbers as numbers, defaults left out.
fn go_json(name: &str, message: &impl Message) -> Value {
    let options = SerializeOptions::new()
        .use_proto_field_name(true)
        .use_enum_numbers(true)
        .stringify_64_bit_integers(false)
        .skip_default_fields(true);
    cri::pool()
        .get_message_by_name(&format!("runtime.v1.{name}"))
        .and_then(|descriptor| DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).ok())
        .and_then(|message| message.serialize_with_options(serde_json::value::Serializer, &options).ok())
        .unwrap_or(Value::Null)
}
