//! containerd from 2.0: of several failures the one that says most is told, and a network that failed says least. Where the
//! manifest can't be asked for, another path is tried, and its 404 is what the client gets: "no such image", of one that is
//! there.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::images::{Reference, flaky_domain};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-12402",
    summary: "PullImage over a failing network ends with NOT_FOUND instead of the network error",
    source: "containerd#12402",
    shows: &[("PullImage", "outcome.code")],
    behaviour: || Box::new(LastErrorWins),
};

struct LastErrorWins;

impl Behaviour for LastErrorWins {
    fn after(&self, _: &Simulator, reply: Reply<'_>) {
        let Reply::PullImage(request, outcome @ Err(_)) = reply else { return };
        let given = request.image.as_ref().map_or("", |image| &image.image);
        let Ok(reference) = Reference::parse(given) else { return };
        if flaky_domain(&reference).is_some() {
            let full = reference.to_string();
            *outcome = Err(Status::not_found(format!(
                "failed to pull and unpack image {full:?}: failed to resolve image: {full}: not found"
            )));
        }
    }
}
