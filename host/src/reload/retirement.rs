//! Ends generations: those that were replaced or removed, and all of them when the host ends.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::command::ReloadCommand;
use super::owner::PluginOwner;
use super::plugin_slot::PluginSlot;
use crate::loader::LoadErrorReason;
use crate::log::printable;
use crate::plugin::{Generation, GenerationId, RetentionReason, RetirementOutcome};
use crate::plugin_events::PluginEvent;
use crate::routing::RoutingTable;

/// How long after the deadline of a shutdown the reports of retirements are waited for. The
/// retirement threads give up at the deadline, and report that.
const REPORT_GRACE: Duration = Duration::from_secs(1);

/// How long the end of the host waits until the last decisions are on the disk. They are a few
/// kilobytes, and there are none unless a plugin was rolled back a moment ago.
const STATE_GRACE: Duration = Duration::from_secs(2);

impl PluginOwner {
    /// Retires a generation that does not serve any more, or never did.
    pub(super) fn retire(&mut self, generation: Arc<Generation>) {
        let GenerationId { plugin, number, .. } = &generation.identity;
        self.slots.entry(plugin.to_string()).or_default().draining.push(*number);
        self.retirement.start(generation);
    }

    /// Records the end of a retirement. Returns whether the directory is to be scanned again soon.
    pub(super) fn retired(&mut self, plugin: &str, generation: u64, outcome: &RetirementOutcome) -> bool {
        let counters = &self.dispatcher.metrics.counters;
        match outcome {
            RetirementOutcome::Unloaded if self.built_in_names.contains(plugin) => {
                tracing::debug!(
                    plugin,
                    generation,
                    "built-in plugin {plugin}: generation {generation} ended"
                );
            }
            RetirementOutcome::Unloaded => {
                counters.generations_unloaded.add(1);
                let plugin_name = plugin.to_owned();
                self.dispatcher.events.publish(&PluginEvent::Unloaded { plugin: plugin_name, generation });
                tracing::info!(
                    plugin,
                    generation,
                    "plugin {plugin}: generation {generation} removed from memory"
                );
            }
            RetirementOutcome::Retained(reason) => {
                counters.generations_retained.add(1);
                self.dispatcher.events.publish(&PluginEvent::Retained {
                    plugin: plugin.to_owned(),
                    generation,
                    reason: reason.to_string(),
                });
                self.log_retained(plugin, generation, reason);
            }
        }

        let Some(slot) = self.slots.get_mut(plugin) else { return false };
        slot.retired(generation, outcome);
        // A file that was refused because too many generations drained may be loaded now.
        slot.refused.as_ref().is_some_and(|refused| refused.reason == LoadErrorReason::TooManyDraining)
    }

    /// Logs that the code of a generation stays in the process.
    fn log_retained(&self, plugin: &str, generation: u64, reason: &RetentionReason) {
        let reason = reason.to_string();
        let shown = printable(&reason);
        if self.retirement.is_stopping() {
            tracing::warn!(
                plugin,
                generation,
                reason,
                "plugin {plugin}: generation {generation} was still in memory when the host ended ({shown})"
            );
        } else {
            tracing::warn!(
                plugin,
                generation,
                reason,
                "plugin {plugin}: generation {generation} could not be unloaded ({shown}); restart when convenient"
            );
        }
    }

    /// Retires every generation by `deadline`. Blocks until they have ended, or have been given up.
    pub(crate) fn retire_all(mut self, commands: &Receiver<ReloadCommand>, deadline: Instant) {
        self.retirement.set_deadline(deadline);
        self.dispatcher.publish(&Arc::new(RoutingTable::empty()));
        self.dispatcher.admin_table.store(Arc::new(RoutingTable::empty()));

        let mut generations = std::mem::take(&mut self.built_in);
        generations.extend(self.slots.values_mut().filter_map(PluginSlot::remove));
        generations.into_iter().for_each(|generation| self.retire(generation));

        while self.slots.values().any(|slot| !slot.draining.is_empty()) {
            let last_report = deadline + REPORT_GRACE;
            match commands.recv_timeout(last_report.saturating_duration_since(Instant::now())) {
                Ok(ReloadCommand::Retired { plugin, generation, outcome }) => {
                    self.retired(&plugin, generation, &outcome);
                }
                // Nothing else is done any more. The receivers of replies find the channel closed.
                Ok(_) => {}
                Err(_) => break,
            }
        }
        self.decisions.flush(Instant::now() + STATE_GRACE);
    }
}
