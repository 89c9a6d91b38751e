//! The runtime itself: version, conditions, configuration.
#![allow(clippy::unused_self, clippy::trivially_copy_pass_by_ref, reason = "every answer has the same form")]

use std::collections::BTreeMap;

use cri::{Generation, v1};
use tonic::Status;

use crate::failure::plain;
use crate::info;
use crate::simulator::Simulator;

/// The runtime handlers that pods may ask for; the empty name is the default.
const HANDLERS: [&str; 2] = ["", "runc"];

impl Simulator {
    fn handlers(&self) -> impl Iterator<Item = &str> {
        HANDLERS.into_iter().chain(self.config().handlers.iter().map(String::as_str))
    }
}

/// Refuses a handler that isn't configured.
pub(super) fn check_handler(simulator: &Simulator, handler: &str, sandbox_id: &str) -> Result<(), Status> {
    if simulator.handlers().any(|known| known == handler) {
        return Ok(());
    }
    Err(plain(format!(
        "unable to get OCI runtime for sandbox {sandbox_id:?}: no runtime for {handler:?} is configured"
    )))
}

impl Simulator {
    pub(super) fn version(
        &self,
        _request: &v1::VersionRequest,
        generation: Generation,
    ) -> v1::VersionResponse {
        let api = match generation {
            Generation::V1Alpha1 => "v1alpha1",
            Generation::V1Alpha2 => "v1alpha2",
            Generation::V1 => "v1",
        };
        v1::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: self.config().name.clone(),
            runtime_version: self.config().version.clone(),
            runtime_api_version: api.to_owned(),
        }
    }

    pub(super) fn status(&self, request: &v1::StatusRequest) -> v1::StatusResponse {
        let condition = |kind: &str| v1::RuntimeCondition {
            r#type: kind.to_owned(),
            status: true,
            ..v1::RuntimeCondition::default()
        };
        let handler = |name: &str| v1::RuntimeHandler {
            name: name.to_owned(),
            features: Some(v1::RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: true,
            }),
        };
        v1::StatusResponse {
            status: Some(v1::RuntimeStatus {
                conditions: vec![condition("RuntimeReady"), condition("NetworkReady")],
            }),
            info: if request.verbose { info::of_runtime() } else { BTreeMap::new() },
            runtime_handlers: self.handlers().map(handler).collect(),
            features: Some(v1::RuntimeFeatures {
                supplemental_groups_policy: true,
                ..v1::RuntimeFeatures::default()
            }),
        }
    }

    pub(super) fn runtime_config(&self, _request: &v1::RuntimeConfigRequest) -> v1::RuntimeConfigResponse {
        v1::RuntimeConfigResponse {
            linux: Some(v1::LinuxRuntimeConfiguration { cgroup_driver: v1::CgroupDriver::Cgroupfs.into() }),
        }
    }

    pub(super) fn update_runtime_config(
        &self,
        _request: &v1::UpdateRuntimeConfigRequest,
    ) -> v1::UpdateRuntimeConfigResponse {
        v1::UpdateRuntimeConfigResponse {}
    }
}
