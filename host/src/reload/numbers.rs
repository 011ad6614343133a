//! The plugins in numbers, for the metrics: told after each change, by the one who owns them.

use super::plugins::Plugins;
use super::slot::Slot;
use crate::metrics::Generations;

impl Plugins {
    /// Tells what there is now.
    pub(super) fn tell_numbers(&self) {
        let slots = self.slots.iter().map(|(name, slot)| (name.as_str(), slot.numbers()));
        let own = self.locals().map(|generation| {
            let serving = Some(generation.identity.number);
            (&*generation.identity.plugin, Generations { serving, ..Generations::default() })
        });
        self.dispatcher.metrics.plugins.set_all(own.chain(slots));
    }
}

impl Slot {
    fn numbers(&self) -> Generations {
        let probation = self.serving.as_ref().and_then(|serving| serving.probation.as_ref());
        Generations {
            serving: self.serving.as_ref().map(|serving| serving.identity.number),
            on_probation: probation.is_some_and(|probation| !probation.is_over()),
            draining: self.draining.len() as u64,
            retained: self.retained.len() as u64,
        }
    }
}
