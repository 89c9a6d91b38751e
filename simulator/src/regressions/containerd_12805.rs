//! containerd before 1.7.31, 2.0.8 and 2.1.7: where a registry had sent the client on to a signed address, the error text
//! gave that whole, credential and all, to every reader of a pod's events.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::images::REDACTED;
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-12805",
    summary: "The error text of PullImage has the query of a signed address in it",
    source: "containerd#12805",
    shows: &[("PullImage", "outcome.message")],
    behaviour: || Box::new(Unredacted),
};

struct Unredacted;

const QUERY: &str = "X-Amz-Credential=EXAMPLEKEY%2Fregion%2Fs3&X-Amz-Signature=signed-by-the-registry";

impl Behaviour for Unredacted {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        let Reply::PullImage(_, Err(status)) = reply else { return };
        if status.message().contains(REDACTED) {
            *status = Status::new(status.code(), status.message().replace(REDACTED, QUERY));
        }
    }
}
