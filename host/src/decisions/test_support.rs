//! A state directory in memory, which outlives the plugin owner of a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::store::{DecisionStore, StateFiles};
use crate::config::TrustedKey;
use crate::loader::{KeptImage, LoadError, LoadErrorReason, StagedPlugin};
use crate::sync::lock;

#[derive(Default)]
struct MemoryFiles {
    log: Option<Vec<u8>>,
    kept: BTreeMap<String, KeptImage>,

    /// Why the kept contents cannot be staged.
    error: Option<LoadErrorReason>,
}

/// The files of a state directory.
#[derive(Clone, Default)]
pub(crate) struct MemoryState(Arc<Mutex<MemoryFiles>>);

impl MemoryState {
    /// Returns a store as the next host opens it.
    pub(crate) fn open(&self) -> DecisionStore {
        let json = lock(&self.0).log.clone();
        DecisionStore::with_files(json.as_deref(), Box::new(self.clone()))
    }

    /// Returns the plugins whose content is kept.
    pub(crate) fn kept(&self) -> Vec<String> {
        lock(&self.0).kept.keys().cloned().collect()
    }

    /// Makes the staging of kept contents fail, until `None` is set.
    pub(crate) fn set_staging_error(&self, reason: Option<LoadErrorReason>) {
        lock(&self.0).error = reason;
    }
}

impl StateFiles for MemoryState {
    fn write_log(&self, json: Vec<u8>) {
        lock(&self.0).log = Some(json);
    }

    fn write_kept(&self, plugin: &str, image: Option<KeptImage>) {
        let mut files = lock(&self.0);
        match image {
            Some(image) => files.kept.insert(plugin.to_owned(), image),
            None => files.kept.remove(plugin),
        };
    }

    fn stage(&self, plugin: &str, _keys: &[TrustedKey]) -> Result<StagedPlugin, LoadError> {
        let files = lock(&self.0);
        match (files.error, files.kept.get(plugin)) {
            (None, Some(image)) => image.staged(),
            (error, _) => Err(LoadError::new(error.unwrap_or(LoadErrorReason::NotFound), "a test says so")),
        }
    }

    fn flush(&self, _deadline: Instant) -> bool {
        true
    }
}
