//! containerd 2.1.0 to 2.1.3: the runtime handlers came out of a Go map, and kubelet updated its node at each new order.
//!
//! A Go map may repeat an order. Here each differs from the one before, so that two calls are enough to see it.

use std::sync::{Mutex, PoisonError};

use cri::v1::RuntimeHandler;

use super::{Behaviour, Regression};
use crate::rpc::Reply;
use crate::simulator::Simulator;

pub(super) const REGRESSION: Regression = Regression {
    name: "containerd-12036",
    summary: "Status gives runtime_handlers in an order that changes from call to call",
    source: "containerd#12036",
    shows: &[("Status", "runtime_handlers[]")],
    behaviour: || Box::new(UnstableOrder::default()),
};

#[derive(Default)]
struct UnstableOrder {
    last: Mutex<Vec<String>>,
}

impl Behaviour for UnstableOrder {
    fn after(&self, simulator: &Simulator, reply: Reply<'_>) {
        let Reply::Status(_, Ok(response)) = reply else { return };
        let names = |handlers: &[RuntimeHandler]| -> Vec<String> {
            handlers.iter().map(|handler| handler.name.clone()).collect()
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_empty() {
            *last = names(&response.runtime_handlers);
        }
        let handlers = &mut response.runtime_handlers;
        simulator.state().random.shuffle(handlers);
        if names(handlers) == *last && !handlers.is_empty() {
            handlers.rotate_left(1);
        }
        *last = names(handlers);
    }
}
