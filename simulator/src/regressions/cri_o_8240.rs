//! CRI-O before 1.31: statistics of containers came that nobody had asked for.

use cri::v1::ListContainerStatsRequest;
use tonic::Status;

use super::{Behaviour, Regression};
use crate::rpc::Call;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "cri-o-8240",
    summary: "ListContainerStats ignores the label selector of its filter",
    source: "cri-o#8240",
    shows: &[("ListContainerStats", "stats[]")],
    behaviour: || Box::new(NoSelector),
};

struct NoSelector;

impl Behaviour for NoSelector {
    fn before(&self, _: &Simulator, call: Call<'_>) -> Result<(), Status> {
        if let Call::ListContainerStats(ListContainerStatsRequest { filter: Some(filter) }) = call {
            filter.label_selector.clear();
        }
        Ok(())
    }
}
