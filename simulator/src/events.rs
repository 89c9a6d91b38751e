//! Who hears of what happens to pods and containers.

use std::collections::VecDeque;

use cri::v1::ContainerEventResponse;
use tokio::sync::mpsc;

/// How many events wait for one subscriber that doesn't read. Beyond it the subscription ends, so that memory stays bounded.
const WAITING: usize = 1024;

/// How long events are kept while nobody listens; the first to subscribe gets them, as from containerd.
const KEPT_NS: i64 = 300 * 1_000_000_000;

/// How an event finds its subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Each gets it.
    ToAll,
    /// One gets it, each in turn.
    ToOne,
}

/// The subscriptions to events.
#[derive(Debug)]
pub(crate) struct EventHub {
    delivery: Delivery,
    subscribers: VecDeque<mpsc::Sender<ContainerEventResponse>>,
    kept: VecDeque<ContainerEventResponse>,
}

impl EventHub {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self { delivery, subscribers: VecDeque::new(), kept: VecDeque::new() }
    }

    /// Tells of an event; without anyone to hear of it, it is kept for a while.
    pub(crate) fn publish(&mut self, event: ContainerEventResponse) {
        let heard = match self.delivery {
            Delivery::ToAll => {
                self.subscribers.retain(|subscriber| subscriber.try_send(event.clone()).is_ok());
                !self.subscribers.is_empty()
            }
            Delivery::ToOne => self.publish_to_one(&event),
        };
        if !heard {
            let oldest = event.created_at - KEPT_NS;
            self.kept.push_back(event);
            while self.kept.len() > WAITING
                || self.kept.front().is_some_and(|event| event.created_at < oldest)
            {
                self.kept.pop_front();
            }
        }
    }

    fn publish_to_one(&mut self, event: &ContainerEventResponse) -> bool {
        while let Some(subscriber) = self.subscribers.pop_front() {
            if subscriber.try_send(event.clone()).is_ok() {
                self.subscribers.push_back(subscriber);
                return true;
            }
        }
        false
    }

    /// A subscription from now on, with what was kept of the time before.
    pub(crate) fn subscribe(&mut self, now: i64) -> mpsc::Receiver<ContainerEventResponse> {
        let (sender, receiver) = mpsc::channel(WAITING);
        for event in self.kept.drain(..).filter(|event| event.created_at >= now - KEPT_NS) {
            // There is room for all that is kept.
            let _ = sender.try_send(event);
        }
        self.subscribers.push_back(sender);
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str, created_at: i64) -> ContainerEventResponse {
        ContainerEventResponse {
            container_id: id.to_owned(),
            created_at,
            ..ContainerEventResponse::default()
        }
    }

    fn heard(receiver: &mut mpsc::Receiver<ContainerEventResponse>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|event| event.container_id).collect()
    }

    #[test]
    fn every_subscriber_hears_of_everything() {
        let mut hub = EventHub::new(Delivery::ToAll);
        let (mut one, mut other) = (hub.subscribe(0), hub.subscribe(0));
        hub.publish(event("a", 1));
        hub.publish(event("b", 2));
        assert_eq!(heard(&mut one), ["a", "b"]);
        assert_eq!(heard(&mut other), ["a", "b"]);
    }

    #[test]
    fn delivered_to_one_each_event_is_heard_once() {
        let mut hub = EventHub::new(Delivery::ToOne);
        let (mut one, mut other) = (hub.subscribe(0), hub.subscribe(0));
        for id in ["a", "b", "c", "d"] {
            hub.publish(event(id, 1));
        }
        assert_eq!(heard(&mut one), ["a", "c"]);
        assert_eq!(heard(&mut other), ["b", "d"]);
    }

    #[test]
    fn what_nobody_heard_waits_for_the_first_subscriber() {
        let mut hub = EventHub::new(Delivery::ToAll);
        hub.publish(event("old", 1));
        hub.publish(event("new", 2 * KEPT_NS));
        assert_eq!(heard(&mut hub.subscribe(2 * KEPT_NS)), ["new"]);
        assert!(heard(&mut hub.subscribe(2 * KEPT_NS)).is_empty());
    }

    #[test]
    fn a_subscriber_that_does_not_read_is_left_behind() {
        let mut hub = EventHub::new(Delivery::ToAll);
        let mut slow = hub.subscribe(0);
        for number in 0..=WAITING as i64 {
            hub.publish(event("a", number));
        }
        assert_eq!(heard(&mut slow).len(), WAITING);
        assert!(slow.is_closed());
        assert!(hub.subscribers.is_empty());
    }
}
