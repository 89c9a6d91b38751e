//! Lists that are streamed: the list, in several messages.

use tonic::Status;
use tonic::codegen::{BoxStream, tokio_stream};

use crate::simulator::Simulator;

/// The most elements of one message. Few, so that short lists come in several messages, too.
const MOST: u64 = 3;

impl Simulator {
    /// The elements in batches whose sizes differ from call to call, each made a message. No message where there is no element.
    pub(super) fn streamed<T, M: Send + 'static>(
        &self,
        elements: Vec<T>,
        message: impl Fn(Vec<T>) -> M,
    ) -> BoxStream<M> {
        let mut rest = elements.into_iter();
        let mut messages: Vec<Result<M, Status>> = Vec::new();
        while rest.len() > 0 {
            let size = 1 + self.state().random.below(MOST) as usize;
            messages.push(Ok(message(rest.by_ref().take(size).collect())));
        }
        Box::pin(tokio_stream::iter(messages))
    }
}
