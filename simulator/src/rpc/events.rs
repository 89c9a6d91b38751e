//! The stream of events.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use cri::v1::ContainerEventResponse;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::tokio_stream::Stream;

use crate::Variant;
use crate::server::Caller;
use crate::simulator::Simulator;

impl Simulator {
    pub(super) fn container_events(&self, caller: Caller) -> Subscription {
        let served = !self.is(Variant::NoPodEvents);
        let events = served.then(|| self.state().events.subscribe(self.clock().now()));
        Subscription { events, over: Box::pin(caller.over()) }
    }
}

/// Events, until the client goes, its deadline passes, or the server closes. None at all where they are not served.
pub(crate) struct Subscription {
    events: Option<mpsc::Receiver<ContainerEventResponse>>,
    over: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl Stream for Subscription {
    type Item = Result<ContainerEventResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(events) = &mut self.events else { return Poll::Ready(None) };
        let end = match events.poll_recv(context) {
            Poll::Ready(Some(event)) => return Poll::Ready(Some(Ok(event))),
            Poll::Ready(None) => Status::unavailable("container events subscription closed by server"),
            Poll::Pending => ready!(self.over.as_mut().poll(context)),
        };
        self.events = None;
        Poll::Ready(Some(Err(end)))
    }
}
