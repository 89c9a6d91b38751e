//! Messages of v1alpha1 in the terms of v1, and back.
//!
//! Every RPC of v1alpha1 is in v1 under the same name, and every field of its messages under the same number, name and type, but
//! for two: a test holds the schemas against each other.
//!
//! `NamespaceOption` says by booleans whether a namespace is the node's. Where it is not, network and IPC namespaces are those of the
//! pod, as in v1 (`POD`). Process namespaces are each container's own (`CONTAINER`): `host_pid = false` left that to the runtime, and
//! all of that time kept them apart (containerd's CRI plugin 1.0 always, CRI-O 1.9 without `enable_shared_pid_namespace`, dockershim
//! with its default of `--docker-disable-shared-pid`); kubelet sends `CONTAINER` for the same pod since it speaks in modes. A message
//! without `NamespaceOption` asks for nothing in either generation and stays as it is.
//!
//! `FilesystemUsage` names its file system by uuid, where v1 has a mount point in the same bytes. As `UUID=…`, the way fstab writes
//! it, it can't be taken for one.

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, ReflectMessage, Value};

/// Values of `NamespaceMode` in v1.
const POD: i32 = 0;
const CONTAINER: i32 = 1;
const NODE: i32 = 2;

/// What stands before the uuid of a file system.
const UUID: &str = "UUID=";

/// A message of v1alpha1 as the message of v1 with this descriptor. What is no such message stays as it is.
pub fn lift(of: MessageDescriptor, message: &Bytes) -> Bytes {
    convert(of, message, |part| match part.descriptor().name() {
        "NamespaceOption" => modes(part, |name, mode| match (mode, name) {
            (POD, "pid") => CONTAINER,
            (POD, _) => POD,
            _ => NODE,
        }),
        "FilesystemIdentifier" => mount_point(part, |uuid| format!("{UUID}{uuid}")),
        _ => false,
    })
}

/// The way back. What v1alpha1 can't say is lost: modes other than the node's become its `false`, and a mount point stays in place of the
/// uuid.
pub fn lower(of: MessageDescriptor, message: &Bytes) -> Bytes {
    convert(of, message, |part| match part.descriptor().name() {
        "NamespaceOption" => modes(part, |_, mode| i32::from(mode == NODE)),
        "FilesystemIdentifier" => mount_point(part, |name| name.trim_start_matches(UUID).to_owned()),
        _ => false,
    })
}

fn convert(of: MessageDescriptor, bytes: &Bytes, change: fn(&mut DynamicMessage) -> bool) -> Bytes {
    // With the types of v1: a boolean and an enum are the same on the wire.
    let Ok(mut message) = DynamicMessage::decode(of, bytes.as_ref()) else { return bytes.clone() };
    if each_part(&mut message, change) { message.encode_to_vec().into() } else { bytes.clone() }
}

/// Changes a message and all that are in it; says whether anything is another now.
fn each_part(message: &mut DynamicMessage, change: fn(&mut DynamicMessage) -> bool) -> bool {
    let mut changed = change(message);
    let inner: Vec<_> = message
        .fields()
        .map(|(field, _)| field)
        .filter(|field| matches!(field.kind(), Kind::Message(_)) && !field.is_map())
        .collect();
    for field in inner {
        match message.get_field_mut(&field) {
            Value::Message(inner) => changed |= each_part(inner, change),
            Value::List(items) => {
                for item in items {
                    if let Value::Message(inner) = item {
                        changed |= each_part(inner, change);
                    }
                }
            }
            _ => {}
        }
    }
    changed
}

fn modes(options: &mut DynamicMessage, to: impl Fn(&str, i32) -> i32) -> bool {
    let mut changed = false;
    for name in ["network", "pid", "ipc"] {
        let Some(field) = options.descriptor().get_field_by_name(name) else { continue };
        let mode = options.get_field(&field).as_enum_number().unwrap_or(POD);
        let new = to(name, mode);
        if new != mode {
            options.set_field(&field, Value::EnumNumber(new));
            changed = true;
        }
    }
    changed
}

fn mount_point(identifier: &mut DynamicMessage, to: impl Fn(&str) -> String) -> bool {
    let Some(Value::String(name)) = identifier.get_field_by_name_mut("mountpoint") else { return false };
    let new = if name.is_empty() { String::new() } else { to(name) };
    let changed = new != *name;
    *name = new;
    changed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{Generation, methods, pool, v1};
    use proptest::prelude::*;

    fn of(name: &str) -> MessageDescriptor {
        pool().get_message_by_name(&format!("runtime.v1.{name}")).unwrap()
    }

    fn old(name: &str) -> MessageDescriptor {
        pool().get_message_by_name(&format!("runtime.{name}")).unwrap()
    }

    /// A request of v1alpha1 with these booleans.
    fn asked(network: bool, pid: bool, ipc: bool) -> Bytes {
        let mut options = DynamicMessage::new(old("NamespaceOption"));
        for (name, on) in [("host_network", network), ("host_pid", pid), ("host_ipc", ipc)] {
            options.set_field_by_name(name, Value::Bool(on));
        }
        let mut bytes = Value::Message(options);
        for (message, field) in [
            ("LinuxContainerSecurityContext", "namespace_options"),
            ("LinuxContainerConfig", "security_context"),
            ("ContainerConfig", "linux"),
            ("CreateContainerRequest", "config"),
        ] {
            let mut outer = DynamicMessage::new(old(message));
            outer.set_field_by_name(field, bytes);
            bytes = Value::Message(outer);
        }
        bytes.as_message().unwrap().encode_to_vec().into()
    }

    fn options(request: &Bytes) -> v1::NamespaceOption {
        let request = v1::CreateContainerRequest::decode(request.as_ref()).unwrap();
        request.config.unwrap().linux.unwrap().security_context.unwrap().namespace_options.unwrap()
    }

    #[test]
    fn booleans_become_modes() {
        use v1::NamespaceMode::{Container, Node, Pod};
        let modes = |network, pid, ipc| {
            let options = options(&lift(of("CreateContainerRequest"), &asked(network, pid, ipc)));
            [options.network(), options.pid(), options.ipc()]
        };
        assert_eq!(modes(true, true, true), [Node, Node, Node]);
        assert_eq!(modes(false, false, false), [Pod, Container, Pod]);
        assert_eq!(modes(true, false, false), [Node, Container, Pod]);
        // As it stands, true would say something else.
        assert_eq!(options(&asked(true, true, true)).network(), Container);
    }

    #[test]
    fn a_uuid_is_not_taken_for_a_mount_point() {
        let usage = v1::FilesystemUsage {
            fs_id: Some(v1::FilesystemIdentifier { mountpoint: "3f2a".to_owned() }),
            ..Default::default()
        };
        let answer = v1::ImageFsInfoResponse { image_filesystems: vec![usage], ..Default::default() };
        let before = Bytes::from(answer.encode_to_vec());
        let lifted = lift(of("ImageFsInfoResponse"), &before);
        let read = v1::ImageFsInfoResponse::decode(lifted.clone()).unwrap();
        assert_eq!(read.image_filesystems[0].fs_id.as_ref().unwrap().mountpoint, "UUID=3f2a");
        assert_eq!(lower(of("ImageFsInfoResponse"), &lifted), before);
    }

    /// `(name, type)` of each field by number, of a message and all below it.
    fn shape(
        of: &MessageDescriptor,
        seen: &mut BTreeSet<String>,
        into: &mut Vec<(String, u32, String, String)>,
    ) {
        if !seen.insert(of.name().to_owned()) {
            return;
        }
        for field in of.fields() {
            let kind = match field.kind() {
                Kind::Message(inner) => {
                    shape(&inner, seen, into);
                    inner.name().to_owned()
                }
                Kind::Enum(values) => values.name().to_owned(),
                scalar => format!("{scalar:?}"),
            };
            let kind = format!("{kind}{}", if field.is_list() { "[]" } else { "" });
            into.push((of.name().to_owned(), field.number(), field.name().to_owned(), kind));
        }
    }

    #[test]
    fn all_else_of_v1alpha1_is_in_v1() {
        let mut differ = Vec::new();
        for method in methods().of(Generation::V1Alpha1) {
            let now = method.in_generation(Generation::V1).expect("v1 dropped no RPC");
            assert_eq!(now.server_streaming, method.server_streaming);
            for (before, now) in [(method.input(), now.input()), (method.output(), now.output())] {
                let (mut before_fields, mut now_fields) = (Vec::new(), Vec::new());
                shape(&before, &mut BTreeSet::new(), &mut before_fields);
                shape(&now, &mut BTreeSet::new(), &mut now_fields);
                differ.extend(before_fields.into_iter().filter(|field| !now_fields.contains(field)));
            }
        }
        let differ: BTreeSet<String> = differ.iter().map(|(of, _, name, _)| format!("{of}.{name}")).collect();
        let known = [
            "FilesystemUsage.storage_id",
            "NamespaceOption.host_ipc",
            "NamespaceOption.host_network",
            "NamespaceOption.host_pid",
            "StorageIdentifier.uuid",
        ];
        assert_eq!(differ.iter().map(String::as_str).collect::<Vec<_>>(), known);
    }

    proptest! {
        #[test]
        fn what_was_lifted_comes_back(network: bool, pid: bool, ipc: bool) {
            let request = asked(network, pid, ipc);
            let lifted = lift(of("CreateContainerRequest"), &request);
            let lowered = lower(of("CreateContainerRequest"), &lifted);
            let read = |bytes: &Bytes| DynamicMessage::decode(old("CreateContainerRequest"), bytes.as_ref()).unwrap();
            prop_assert_eq!(read(&lowered), read(&request));
            prop_assert_eq!(lift(of("CreateContainerRequest"), &lowered), lifted);
        }

        #[test]
        fn what_is_no_message_stays_as_it_is(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            if DynamicMessage::decode(of("CreateContainerRequest"), bytes.as_ref()).is_err() {
                prop_assert_eq!(lift(of("CreateContainerRequest"), &bytes), bytes);
            }
        }
    }
}
