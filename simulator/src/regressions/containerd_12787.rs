//! containerd before 2.3: the status named the image by reference alone, while the list of containers had its id.

use cri::v1::{ContainerEventResponse, ContainerStatusResponse};

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-12787",
    summary: "ContainerStatus leaves image_id empty",
    source: "containerd#12787",
    shows: &[
        ("ContainerStatus", "status.image_id"),
        ("GetContainerEvents", "containers_statuses[].image_id"),
    ],
    behaviour: || Box::new(NoImageId),
};

struct NoImageId;

impl Behaviour for NoImageId {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        if let Reply::ContainerStatus(_, Ok(ContainerStatusResponse { status: Some(status), .. })) = reply {
            status.image_id.clear();
        }
    }

    fn event(&self, event: &mut ContainerEventResponse) {
        event.containers_statuses.iter_mut().for_each(|status| status.image_id.clear());
    }
}
