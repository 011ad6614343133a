//! The decisions that are in effect, and where they are kept.

use std::path::Path;
use std::time::Instant;

use super::decision::Decision;
use super::decision_log::DecisionLog;
use super::state_directory::StateDirectory;
use super::state_writer::StateWriter;
use crate::config::TrustedKey;
use crate::loader::{KeptImage, LoadError, LoadErrorReason, StagedPlugin};
use crate::log::printable;

/// The files of a state directory, as far as the store uses them. Unit tests replace them.
pub(crate) trait StateFiles: Send {
    /// Writes the decisions, soon.
    fn write_log(&self, json: Vec<u8>);

    /// Keeps the content of a plugin, soon; with `None`, the one that is kept is removed.
    fn write_kept(&self, plugin: &str, image: Option<KeptImage>);

    /// Stages the kept content of a plugin with the checks of a plugin file.
    ///
    /// # Errors
    ///
    /// There is none, or it would be refused as a plugin file.
    fn stage(&self, plugin: &str, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError>;

    /// Waits until everything is written. Returns whether it is by `deadline`.
    fn flush(&self, deadline: Instant) -> bool;
}

impl StateFiles for StateWriter {
    fn write_log(&self, json: Vec<u8>) {
        self.write_log(json);
    }

    fn write_kept(&self, plugin: &str, image: Option<KeptImage>) {
        self.write_kept(plugin, image);
    }

    fn stage(&self, plugin: &str, keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        self.directory().stage(plugin, keys)
    }

    fn flush(&self, deadline: Instant) -> bool {
        self.flush(deadline)
    }
}

/// The decisions of one host.
#[derive(Default)]
pub(crate) struct DecisionStore {
    log: DecisionLog,

    /// Where the decisions are kept; `None` if they end with the process.
    files: Option<Box<dyn StateFiles>>,
}

impl DecisionStore {
    /// Opens the state directory, if there is one, and reads the decisions of the previous host.
    ///
    /// If the directory cannot be used, the reason is logged, and decisions end with the process.
    pub(crate) fn open(directory: Option<&Path>) -> Self {
        let Some(path) = directory else { return Self::default() };

        match StateDirectory::open(path) {
            Ok(directory) => {
                let log = directory.read();
                Self { log, files: Some(Box::new(StateWriter::new(directory))) }
            }
            Err(error) => {
                let directory = path.display().to_string();
                let shown = printable(&directory);
                tracing::error!(
                    %directory,
                    %error,
                    "cannot use the state directory {shown}: {error}; after a restart, content that was rolled back \
                     serves again (see plugins.state)"
                );
                Self::default()
            }
        }
    }

    /// Returns a store with these files, which contain `json`.
    #[cfg(test)]
    pub(crate) fn with_files(json: Option<&[u8]>, files: Box<dyn StateFiles>) -> Self {
        let log = json.map(|json| DecisionLog::parse(json).expect("a decision log"));
        Self { log: log.unwrap_or_default(), files: Some(files) }
    }

    /// Returns the decision against a content of a plugin.
    pub(crate) fn find(&self, plugin: &str, hash: &str) -> Option<&Decision> {
        self.log.find(plugin, hash)
    }

    /// Returns the decisions of a plugin, oldest first.
    pub(crate) fn of(&self, plugin: &str) -> &[Decision] {
        self.log.of(plugin)
    }

    /// Records a decision against a content.
    pub(crate) fn add(&mut self, plugin: &str, decision: Decision) {
        let dropped = self.log.add(plugin, decision);
        self.write_added(dropped);
    }

    /// Returns the decision by which this content of a plugin runs in a worker.
    pub(crate) fn isolation(&self, plugin: &str, hash: &str) -> Option<&Decision> {
        self.log.isolated(plugin).iter().rfind(|decision| decision.isolates(hash))
    }

    /// Returns whether any content of the plugin is to run in a worker.
    pub(crate) fn has_isolation(&self, plugin: &str) -> bool {
        !self.log.isolated(plugin).is_empty()
    }

    /// Records a decision to run a plugin in a worker.
    pub(crate) fn isolate(&mut self, plugin: &str, decision: Decision) {
        let dropped = self.log.isolate(plugin, decision);
        self.write_added(dropped);
    }

    /// Removes and returns every decision to run a plugin in a worker.
    pub(crate) fn end_isolation(&mut self, plugin: &str) -> Vec<Decision> {
        let ended = self.log.end_isolation(plugin);
        self.write_log();
        ended
    }

    /// Removes the decision against a content, and returns it.
    pub(crate) fn clear(&mut self, plugin: &str, hash: &str) -> Option<Decision> {
        let cleared = self.log.clear(plugin, hash)?;
        self.write_log();
        if let Some(files) = self.files.as_ref().filter(|_| self.log.of(plugin).is_empty()) {
            files.write_kept(plugin, None);
        }
        Some(cleared)
    }

    /// Returns whether this content is kept for the plugin, or need not be, because no decision
    /// could make a start return to it.
    pub(crate) fn keeps(&self, plugin: &str, hash: &str) -> bool {
        self.files.is_none() || self.log.of(plugin).is_empty() || self.log.kept(plugin) == Some(hash)
    }

    /// Keeps a content, so that a start can load it instead of content that a decision is against.
    pub(crate) fn keep(&mut self, image: KeptImage) {
        let plugin = image.name().to_owned();
        if self.log.set_kept(&plugin, &image.hash().to_string())
            && let Some(files) = &self.files
        {
            files.write_kept(&plugin, Some(image));
            self.write_log();
        }
    }

    /// Stages the content that is kept for a plugin, with the checks of a plugin file: owner, mode,
    /// signature and manifest. `None` if none is kept.
    pub(crate) fn stage_kept(
        &self,
        plugin: &str,
        keys: &[TrustedKey],
    ) -> Option<Result<StagedPlugin, LoadError>> {
        let kept = self.log.kept(plugin)?;
        let staged = self.files.as_ref()?.stage(plugin, keys);
        Some(staged.and_then(|staged| {
            if staged.inspection.hash.to_string() == kept {
                return Ok(staged);
            }
            let detail =
                "the kept content is not the one that was kept; it was changed, or not written completely";
            Err(LoadError::new(LoadErrorReason::Unreadable, detail))
        }))
    }

    /// Waits until every decision is on the disk, but not longer than until `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) {
        if self.files.as_ref().is_none_or(|files| files.flush(deadline)) {
            return;
        }
        tracing::error!(
            "the disk did not take the last decisions in time; after a restart, content that was rolled back may \
             serve again"
        );
    }

    /// Writes the decisions after one was added for which those of `dropped` were dropped.
    fn write_added(&self, dropped: Option<String>) {
        self.write_log();
        if let (Some(dropped), Some(files)) = (dropped, &self.files) {
            files.write_kept(&dropped, None);
        }
    }

    fn write_log(&self) {
        let Some(files) = &self.files else { return };
        match self.log.to_json() {
            Ok(json) => files.write_log(json),
            // Strings, numbers and lists always have a JSON form.
            Err(error) => tracing::debug!(%error, "decisions have no JSON form: {error}"),
        }
    }
}
