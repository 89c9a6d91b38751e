//! Who hears of what happens to pods and containers.

use std::collections::VecDeque;

use cri::v1::ContainerEventResponse;
use tokio::sync::{mpsc, watch};

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
    /// One whose client has gone takes one more, and nobody else gets that.
    ToStaleFirst,
    /// Each gets it, and the runtime dies of two in a row while one's client has just gone.
    Deadly,
}

/// Within this time two events are in a row, before the one who serves a client that has gone has noticed.
const IN_A_ROW_NS: i64 = 100_000_000;

/// The subscriptions to events.
#[derive(Debug)]
pub(crate) struct EventHub {
    delivery: Delivery,
    subscribers: VecDeque<mpsc::Sender<ContainerEventResponse>>,
    kept: VecDeque<ContainerEventResponse>,
    /// When the last event came to a subscriber that had gone.
    found_stale: Option<i64>,
    /// How often the runtime has died.
    deaths: watch::Sender<u64>,
}

impl EventHub {
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self {
            delivery,
            subscribers: VecDeque::new(),
            kept: VecDeque::new(),
            found_stale: None,
            deaths: watch::Sender::new(0),
        }
    }

    /// Tells of an event; without anyone to hear of it, it is kept for a while.
    pub(crate) fn publish(&mut self, event: ContainerEventResponse) {
        let heard = match self.delivery {
            Delivery::ToAll => self.publish_to_all(&event),
            Delivery::ToOne => self.publish_to_one(&event),
            Delivery::ToStaleFirst => self.take_stale() || self.publish_to_all(&event),
            Delivery::Deadly => self.die_of(&event) || self.publish_to_all(&event),
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

    fn publish_to_all(&mut self, event: &ContainerEventResponse) -> bool {
        self.subscribers.retain(|subscriber| subscriber.try_send(event.clone()).is_ok());
        !self.subscribers.is_empty()
    }

    /// Removes one that has gone, if there is one.
    fn take_stale(&mut self) -> bool {
        let stale = self.subscribers.iter().position(mpsc::Sender::is_closed);
        stale.and_then(|index| self.subscribers.remove(index)).is_some()
    }

    /// Whether the runtime dies of this event. Then all streams end.
    fn die_of(&mut self, event: &ContainerEventResponse) -> bool {
        let dies = self.found_stale.take().is_some_and(|last| event.created_at - last < IN_A_ROW_NS);
        if dies {
            self.subscribers.clear();
            self.deaths.send_modify(|deaths| *deaths += 1);
        } else if self.take_stale() {
            self.found_stale = Some(event.created_at);
        }
        dies
    }

    /// Changes each time the runtime dies, and comes back with what it had stored.
    pub(crate) fn deaths(&self) -> watch::Receiver<u64> {
        self.deaths.subscribe()
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
    fn delivered_to_stale_ones_first_the_first_event_after_a_client_has_gone_is_lost() {
        let mut hub = EventHub::new(Delivery::ToStaleFirst);
        let mut stays = hub.subscribe(0);
        drop(hub.subscribe(0));
        hub.publish(event("a", 1));
        hub.publish(event("b", 2));
        assert_eq!(heard(&mut stays), ["b"]);
    }

    #[test]
    fn the_runtime_dies_of_two_events_in_a_row_after_a_client_has_gone() {
        let mut hub = EventHub::new(Delivery::Deadly);
        let deaths = hub.deaths();
        let mut stays = hub.subscribe(0);
        drop(hub.subscribe(0));
        hub.publish(event("a", 1));
        hub.publish(event("b", 1 + IN_A_ROW_NS));
        assert_eq!((heard(&mut stays), *deaths.borrow()), (vec!["a".to_owned(), "b".to_owned()], 0));
        drop(hub.subscribe(0));
        hub.publish(event("c", 2 * IN_A_ROW_NS));
        hub.publish(event("d", 2 * IN_A_ROW_NS));
        assert_eq!(heard(&mut stays), ["c"]);
        assert!(stays.is_closed());
        assert_eq!(*deaths.borrow(), 1);
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
