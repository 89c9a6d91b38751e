//! What a gateway needs to know.

use std::time::Duration;

use cri::endpoint::Endpoints;

use crate::Auth;

/// What a gateway needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The sockets of the runtime. Nothing needs to listen there yet.
    pub endpoints: Endpoints,
    /// How a request shows that it may ask.
    pub auth: Auth,
    /// How long the runtime has for a call, 2 minutes unless set. A `timeout` in the request itself (`StopContainer`,
    /// `ExecSync`, `CheckpointContainer`) comes on top.
    pub timeout: Duration,
    /// How long requests that are under way have when the gateway stops, 10 seconds unless set.
    pub grace: Duration,
}

impl Config {
    /// A gateway to these sockets, with the usual times.
    pub fn new(endpoints: Endpoints, auth: Auth) -> Self {
        Self { endpoints, auth, timeout: Duration::from_secs(120), grace: Duration::from_secs(10) }
    }
}
