//! containerd built with the API of Kubernetes 1.34 to 1.36.1, before 2.2.7: values of environment variables had become text, and
//! what is not UTF-8 no longer passed.

use tonic::Status;

use super::{Behaviour, Regression};
use crate::rpc::Call;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-13455",
    summary: "CreateContainer with an environment variable that is not UTF-8 ends with INTERNAL",
    source: "containerd#13455",
    shows: &[("CreateContainer", "outcome.code")],
    behaviour: || Box::new(TextOnly),
};

struct TextOnly;

impl Behaviour for TextOnly {
    fn before(&self, _: &Simulator, call: Call<'_>) -> Result<(), Status> {
        let Call::CreateContainer(request) = call else { return Ok(()) };
        let mut variables = request.config.iter().flat_map(|config| &config.envs);
        if variables.any(|variable| std::str::from_utf8(&variable.value).is_err()) {
            return Err(Status::internal(
                "grpc: error while marshaling: string field contains invalid UTF-8",
            ));
        }
        Ok(())
    }
}
