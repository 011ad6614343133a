//! Counts of each plugin. The thread that owns the plugins reports them after each change.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::sync::lock;

/// Upper bound for the number of plugins that are counted by name. The operator chooses the names
/// of files, but many of them may come and go over time.
const MAX_NAMES: usize = 1024;

/// The name that plugins past [`MAX_NAMES`] are counted under.
const OTHER: &str = "(other)";

/// How an attempt to load a plugin ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadOutcome {
    /// The new generation serves.
    Loaded,

    /// The previous generation, if there is one, continues to serve.
    Refused,

    /// The new generation failed in its probation, and the previous content was restored.
    RolledBack,
}

impl ReloadOutcome {
    pub(crate) const ALL: [Self; 3] = [Self::Loaded, Self::Refused, Self::RolledBack];

    /// Returns the value of the metrics label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Refused => "refused",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The current generations of one plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct GenerationCounts {
    /// The number of the generation that serves.
    pub(crate) serving: Option<u64>,

    /// Whether the generation that serves is still in its probation.
    pub(crate) on_probation: bool,

    /// Generations that answer their last requests.
    pub(crate) draining: u64,

    /// Generations whose code could not be taken out of the process.
    pub(crate) retained: u64,

    /// The one who decided that the plugin runs in a worker, `host` or `operator`, if somebody did.
    pub(crate) isolated_by: Option<&'static str>,
}

/// The counts of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PluginCounts {
    pub(crate) generations: GenerationCounts,

    /// Indexed by [`ReloadOutcome`].
    pub(crate) reloads: [u64; ReloadOutcome::ALL.len()],
}

/// The counts of all plugins, by name.
#[derive(Default)]
pub(crate) struct PluginMetrics(Mutex<BTreeMap<String, PluginCounts>>);

impl PluginMetrics {
    /// Counts an attempt to load a plugin.
    pub(crate) fn count_reload(&self, plugin: &str, outcome: ReloadOutcome) {
        let mut plugins = lock(&self.0);
        let is_counted_by_name = plugins.len() < MAX_NAMES || plugins.contains_key(plugin);
        let name = if is_counted_by_name { plugin } else { OTHER };

        plugins.entry(name.to_owned()).or_default().reloads[outcome as usize] += 1;
    }

    /// Replaces the generations of all plugins. Attempts that were counted for plugins that are no
    /// longer there are kept.
    pub(crate) fn set_generations<'n>(&self, all: impl Iterator<Item = (&'n str, GenerationCounts)>) {
        let mut plugins = lock(&self.0);
        plugins.values_mut().for_each(|counts| counts.generations = GenerationCounts::default());

        for (name, generations) in all {
            if plugins.len() < MAX_NAMES || plugins.contains_key(name) {
                plugins.entry(name.to_owned()).or_default().generations = generations;
            }
        }
    }

    pub(super) fn all(&self) -> BTreeMap<String, PluginCounts> {
        lock(&self.0).clone()
    }
}
