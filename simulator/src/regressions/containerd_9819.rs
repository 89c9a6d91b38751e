//! containerd from 1.6.29 and 1.7.14: a condition of its own beside the two of the contract.

use cri::v1::{RuntimeCondition, StatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-9819",
    summary: "Status has one more condition, ContainerdHasNoDeprecationWarnings",
    source: "containerd#9819",
    shows: &[("Status", "status.conditions[]")],
    behaviour: || Box::new(ExtraCondition),
};

struct ExtraCondition;

impl Behaviour for ExtraCondition {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::Status(_, Ok(StatusResponse { status: Some(status), .. })) = reply {
            status.conditions.push(RuntimeCondition {
                r#type: "ContainerdHasNoDeprecationWarnings".to_owned(),
                status: true,
                ..RuntimeCondition::default()
            });
        }
    }
}
