//! One plugin's name: what serves under it, what did before, and what became of that.

use std::ffi::OsString;
use std::sync::Arc;

use super::order::{PluginRow, Retained};
use crate::load::{Refused, Staged};
use crate::plugin::{Generation, Retired};

/// Generations of one plugin that may answer their last requests at once.
pub(super) const MOST_DRAINING: usize = 8;

/// One plugin.
#[derive(Default)]
pub(super) struct Slot {
    /// The file that it was loaded from.
    pub(super) file: Option<OsString>,
    pub(super) serving: Option<Arc<Generation>>,
    /// The content to go back to: what served before.
    pub(super) before: Option<Staged>,
    /// Generations that answer their last requests, or are about to be unloaded.
    pub(super) draining: Vec<u64>,
    pub(super) retained: Vec<Retained>,
    pub(super) unloaded: u64,
    /// Why the newest content does not serve.
    pub(super) refused: Option<Refused>,
    /// Whether its file was removed.
    pub(super) removed: bool,
}

impl Slot {
    /// A generation has ended.
    pub(super) fn ended(&mut self, generation: u64, how: &Retired) {
        self.draining.retain(|draining| *draining != generation);
        match how {
            Retired::Unloaded => self.unloaded += 1,
            Retired::Retained(reason) => {
                self.retained.push(Retained { generation, reason: reason.clone() });
            }
        }
    }

    /// The plugin as a list shows it.
    pub(super) fn row(&self, name: &str) -> PluginRow {
        let serving = self.serving.as_deref();
        let on_probation =
            serving.and_then(|serving| serving.probation.as_ref()).is_some_and(|p| !p.is_over());
        let state = match serving {
            Some(_) if on_probation => "probation",
            Some(_) => "serving",
            None if self.removed => "removed",
            None => "refused",
        };
        let identity = serving.map(|serving| &serving.identity);
        PluginRow {
            name: name.to_owned(),
            state,
            generation: identity.map(|identity| identity.number),
            version: identity.map(|identity| identity.version.clone()),
            hash: identity.map(|identity| identity.hash.clone()),
            build_id: identity.and_then(|identity| identity.build_id.clone()),
            methods: serving
                .into_iter()
                .flat_map(|serving| &serving.methods)
                .map(|method| method.name.clone())
                .collect(),
            draining: self.draining.clone(),
            retained: self.retained.clone(),
            unloaded: self.unloaded,
            refused: self.refused.clone(),
        }
    }
}
