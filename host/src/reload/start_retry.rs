//! Tries to start plugins again that were stopped and did not start, with increasing pauses.

use std::sync::Arc;
use std::time::Duration;

use super::owner::PluginOwner;
use super::plugin_slot::{PluginSlot, StartRetry};
use super::transaction::{Candidate, Purpose};
use crate::loader::{LoadError, LoadErrorReason};
use crate::log::ShortDuration;
use crate::plugin_events::PluginEvent;

/// The pause before the first attempt. Each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl PluginOwner {
    /// Has the start of a stopped plugin tried again later, because it failed.
    ///
    /// The first failure is logged as an error. Further ones are not news.
    pub(super) fn start_later(&mut self, plugin: &str, failure: LoadError) {
        if failure.reason == LoadErrorReason::HostEnds {
            return;
        }
        let now = self.now().monotonic;
        let Some(stopped) = self.slots.get_mut(plugin).and_then(PluginSlot::stopped_mut) else { return };
        let last_pause = stopped.retry.as_ref().map(|retry| retry.pause);
        let pause = last_pause.map_or(FIRST_PAUSE, |pause| (pause * 2).min(MAX_PAUSE));

        let (reason, detail) = (failure.reason.code(), &failure.detail);
        let (shown, longest) = (ShortDuration(pause), ShortDuration(MAX_PAUSE));
        if last_pause.is_none() {
            self.dispatcher.events.publish(&PluginEvent::Unavailable {
                plugin: plugin.to_owned(),
                reason: reason.to_owned(),
                detail: detail.clone(),
            });
            tracing::error!(
                plugin,
                reason,
                "plugin {plugin}: unavailable, because its previous content does not start again ({reason}): \
                 {detail}; the host tries again with pauses of {shown} to {longest}"
            );
        } else {
            tracing::debug!(
                plugin,
                reason,
                "plugin {plugin}: still does not start ({reason}): {detail}; the next attempt is in {shown}"
            );
        }
        stopped.retry = Some(StartRetry { at: now + pause, pause, failure });
    }

    /// Tries the starts again that are due.
    pub(super) fn retry_starts(&mut self) {
        let now = self.now().monotonic;
        let is_due = |slot: &PluginSlot| {
            let retry = slot.stopped().and_then(|stopped| stopped.retry.as_ref());
            retry.is_some_and(|retry| now >= retry.at)
        };
        let due: Vec<_> =
            self.slots.iter().filter(|(_, slot)| is_due(slot)).map(|(name, _)| name.clone()).collect();

        for plugin in due {
            if let Err(failure) = self.start_again(&plugin) {
                self.start_later(&plugin, failure);
                self.publish_refusals();
            }
        }
    }

    fn start_again(&mut self, plugin: &str) -> Result<(), LoadError> {
        let candidate = self.stopped_content(plugin)?;
        let refused = self.slots.get(plugin).and_then(|slot| slot.refused.clone());

        let config = Arc::clone(&self.config);
        let prepared = self.prepare(candidate, &config)?;
        self.commit_one(prepared)?;

        // The file still has the content that did not start.
        if let Some(slot) = self.slots.get_mut(plugin) {
            slot.refused = refused;
        }
        self.publish_refusals();
        Ok(())
    }

    /// Returns the content of a stopped plugin, to be started again.
    pub(super) fn stopped_content(&self, plugin: &str) -> Result<Candidate, LoadError> {
        let stopped = self.slots.get(plugin).and_then(PluginSlot::stopped);
        let not_stopped = || LoadError::new(LoadErrorReason::NoSuchPlugin, "the plugin is not stopped");
        let stopped = stopped.ok_or_else(not_stopped)?;

        let staged = stopped.content.staged()?;
        Ok(Candidate { staged, file: stopped.file.clone(), purpose: Purpose::StartAgain })
    }
}
