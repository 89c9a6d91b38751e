//! The descriptor pool of the three generations, loaded once.

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

use crate::Generation;

static BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/cri.fds"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The bytes come from this crate's own build, and a test decodes them.
    DescriptorPool::decode(BYTES).unwrap_or_default()
});

/// All messages, enums and services of the three generations.
pub fn pool() -> &'static DescriptorPool {
    &POOL
}

/// The encoded `google.protobuf.FileDescriptorSet` behind [`pool`], comments included. Tapes carry it, so that they can be
/// read without this program.
pub fn descriptor_set() -> &'static [u8] {
    BYTES
}

/// The generations, oldest first.
pub fn generations() -> [Generation; 3] {
    [Generation::V1Alpha1, Generation::V1Alpha2, Generation::V1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_holds_every_generation() {
        for generation in generations() {
            for service in ["RuntimeService", "ImageService"] {
                let name = format!("{}.{service}", generation.package());
                assert!(pool().get_service_by_name(&name).is_some(), "{name} is missing");
            }
        }
    }

    #[test]
    fn redaction_marks_survive_compilation() {
        for generation in generations() {
            let message =
                pool().get_message_by_name(&format!("{}.AuthConfig", generation.package())).unwrap();
            let marked: Vec<_> = message
                .fields()
                .filter(|field| {
                    // `debug_redact` is field 16 of google.protobuf.FieldOptions.
                    let options = field.options();
                    options.get_field_by_number(16).is_some_and(|value| value.as_bool() == Some(true))
                })
                .map(|field| field.name().to_owned())
                .collect();
            assert_eq!(marked, ["password", "auth", "identity_token", "registry_token"], "{generation:?}");
        }
    }

    #[test]
    fn environment_values_are_bytes() {
        for generation in generations() {
            let message = pool().get_message_by_name(&format!("{}.KeyValue", generation.package())).unwrap();
            let kind = message.get_field_by_name("value").unwrap().kind();
            assert!(matches!(kind, prost_reflect::Kind::Bytes), "{generation:?}: {kind:?}");
        }
    }
}
