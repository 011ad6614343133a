//! The publishing end of the events of plugins.

use std::sync::Mutex;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::event::PluginEvent;
use super::subscription::PluginEvents;
use crate::sync::lock;

/// Publishes the events of one host to its subscribers. Dropping it ends their subscriptions.
#[derive(Default)]
pub(crate) struct EventPublisher {
    subscribers: Mutex<Vec<Subscriber>>,
}

struct Subscriber {
    events: Sender<PluginEvent>,

    /// Events that found the queue full since the last one that did not.
    missed: u64,
}

impl EventPublisher {
    /// Subscribes to the events from now on.
    pub(crate) fn subscribe(&self) -> PluginEvents {
        let (events, subscription) = PluginEvents::channel();
        lock(&self.subscribers).push(Subscriber { events, missed: 0 });
        subscription
    }

    /// Serves the subscribers of `other`, too.
    pub(crate) fn adopt(&self, other: Self) {
        lock(&self.subscribers).append(&mut lock(&other.subscribers));
    }

    /// Returns whether anybody subscribes.
    pub(crate) fn has_subscribers(&self) -> bool {
        !lock(&self.subscribers).is_empty()
    }

    /// Sends an event to every subscriber that has room for it. Never waits.
    pub(crate) fn publish(&self, event: &PluginEvent) {
        lock(&self.subscribers).retain_mut(|subscriber| subscriber.receive(event));
    }
}

impl Subscriber {
    /// Queues an event. Returns `false` if the subscription was dropped.
    fn receive(&mut self, event: &PluginEvent) -> bool {
        // The number of missed events stands where they would have stood.
        if self.missed > 0 {
            match self.events.try_send(PluginEvent::Missed { events: self.missed }) {
                Ok(()) => self.missed = 0,
                Err(TrySendError::Full(_)) => {
                    self.missed += 1;
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }

        match self.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.missed += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unloaded(generation: u64) -> PluginEvent {
        PluginEvent::Unloaded { plugin: "device".into(), generation }
    }

    #[test]
    fn tells_a_subscriber_that_does_not_read_how_many_events_it_missed() {
        let publisher = EventPublisher::default();
        let mut lazy = publisher.subscribe();
        for generation in 0..1030 {
            publisher.publish(&unloaded(generation));
        }

        assert_eq!((0..1024).filter_map(|_| lazy.try_next()).last(), Some(unloaded(1023)));
        assert_eq!(lazy.try_next(), None);
        publisher.publish(&unloaded(1030));
        assert_eq!(lazy.try_next(), Some(PluginEvent::Missed { events: 6 }));
        assert_eq!(lazy.try_next(), Some(unloaded(1030)));
    }

    #[test]
    fn sends_an_event_to_every_subscriber_and_forgets_those_that_are_gone() {
        let publisher = EventPublisher::default();
        let (mut first, second) = (publisher.subscribe(), publisher.subscribe());
        drop(second);

        publisher.publish(&unloaded(1));
        assert_eq!(first.try_next(), Some(unloaded(1)));
        drop(first);
        publisher.publish(&unloaded(2));
        assert!(!publisher.has_subscribers());
    }

    #[test]
    fn ends_the_subscription_after_the_last_event() {
        let publisher = EventPublisher::default();
        let mut events = publisher.subscribe();
        publisher.publish(&unloaded(1));
        drop(publisher);

        assert_eq!(events.next_blocking(), Some(unloaded(1)));
        assert_eq!(events.next_blocking(), None);
    }
}
