//! The plugins in numbers, for the metrics: told after each change, by the one who owns them.

use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use crate::metrics::GenerationCounts;

impl PluginOwner {
    /// Tells what there is now.
    pub(super) fn tell_numbers(&self) {
        let slots = self.slots.iter().map(|(name, slot)| (name.as_str(), slot.numbers()));
        let own = self.locals().map(|generation| {
            let serving = Some(generation.identity.number);
            (&*generation.identity.plugin, GenerationCounts { serving, ..GenerationCounts::default() })
        });
        self.dispatcher.metrics.plugins.set_generations(own.chain(slots));
    }
}

impl PluginSlot {
    fn numbers(&self) -> GenerationCounts {
        let probation = self.serving.as_ref().and_then(|serving| serving.probation.as_ref());
        GenerationCounts {
            serving: self.serving.as_ref().map(|serving| serving.identity.number),
            on_probation: probation.is_some_and(|probation| !probation.is_over()),
            draining: self.draining.len() as u64,
            retained: self.retained.len() as u64,
        }
    }
}
