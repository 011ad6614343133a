//! Notices which generations become unhealthy and which recover, for the subscribers of events.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dispatcher::Dispatcher;
use crate::plugin::Generation;
use crate::plugin_events::PluginEvent;

/// The unhealthy generations as they were reported last, by their numbers.
#[derive(Default)]
pub(crate) struct HealthWatch {
    unhealthy: BTreeMap<u64, &'static str>,
}

impl HealthWatch {
    /// Publishes what has changed since the last call. To be called periodically.
    pub(crate) fn publish_changes(&mut self, dispatcher: &Dispatcher) {
        if !dispatcher.events.has_subscribers() {
            // A later subscriber receives what is unhealthy then.
            self.unhealthy.clear();
            return;
        }
        // The guard of the table is not held while events are published.
        let serving: Vec<_> = dispatcher.table.load().generations().cloned().collect();

        self.unhealthy.retain(|number, _| serving.iter().any(|serving| serving.identity.number == *number));
        for event in serving.iter().filter_map(|generation| self.change_of(generation)) {
            dispatcher.events.publish(&event);
        }
    }

    fn change_of(&mut self, generation: &Arc<Generation>) -> Option<PluginEvent> {
        let identity = &generation.identity;
        let (plugin, number) = (|| identity.plugin.to_string(), identity.number);
        match generation.unhealthy_reason() {
            Some(reason) => {
                let is_known = self.unhealthy.insert(number, reason) == Some(reason);
                (!is_known).then(|| PluginEvent::Unhealthy {
                    plugin: plugin(),
                    generation: number,
                    reason: reason.to_owned(),
                })
            }
            None => {
                self.unhealthy.remove(&number)?;
                Some(PluginEvent::Healthy { plugin: plugin(), generation: number })
            }
        }
    }
}
