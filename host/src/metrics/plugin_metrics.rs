//! The plugins in numbers, told by the thread that owns them after each change.

use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// So many plugins are counted by name: a file's name is the operator's word, but a directory may see many.
const MOST: usize = 1024;

/// The name that the rest is counted under.
const OTHER: &str = "(other)";

/// How an attempt to load a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadOutcome {
    /// It serves.
    Loaded,
    /// What served before, if anything, serves on.
    Refused,
    /// It failed in its probation, and the content before came back.
    RolledBack,
}

impl ReloadOutcome {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Loaded, Self::Refused, Self::RolledBack];

    /// As a label says it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The generations of one plugin now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GenerationCounts {
    /// The number of the one that serves.
    pub(crate) serving: Option<u64>,
    /// Whether that one is still in its probation.
    pub(crate) on_probation: bool,
    /// Those that answer their last requests.
    pub(crate) draining: u64,
    /// Those whose code could not be taken out of the process.
    pub(crate) retained: u64,
}

/// One plugin in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PluginCounts {
    pub(crate) generations: GenerationCounts,
    /// By [`ReloadOutcome`].
    pub(crate) reloads: [u64; ReloadOutcome::ALL.len()],
}

/// All plugins in numbers.
#[derive(Default)]
pub(crate) struct PluginMetrics(Mutex<BTreeMap<String, PluginCounts>>);

impl PluginMetrics {
    /// An attempt to load a plugin has ended.
    pub(crate) fn reloaded(&self, plugin: &str, outcome: ReloadOutcome) {
        let mut plugins = lock(&self.0);
        let name = if plugins.len() >= MOST && !plugins.contains_key(plugin) { OTHER } else { plugin };
        plugins.entry(name.to_owned()).or_default().reloads[outcome as usize] += 1;
    }

    /// These are the generations of all plugins from now on. What was counted of plugins that have gone stays.
    pub(crate) fn set_all<'n>(&self, all: impl Iterator<Item = (&'n str, GenerationCounts)>) {
        let mut plugins = lock(&self.0);
        plugins.values_mut().for_each(|numbers| numbers.generations = GenerationCounts::default());
        for (name, generations) in all {
            if plugins.len() < MOST || plugins.contains_key(name) {
                plugins.entry(name.to_owned()).or_default().generations = generations;
            }
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, PluginCounts> {
        lock(&self.0).clone()
    }
}
