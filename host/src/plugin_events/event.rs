//! One life-cycle event of a plugin.

use std::fmt;

/// A life-cycle event of a plugin.
///
/// The plugins of the host itself (`system`, `admin`) and those of the program have no events,
/// because they are never replaced; only their health changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PluginEvent {
    /// A generation serves from now on: new content, new settings, or content that was rolled back
    /// to.
    Loaded {
        /// The plugin.
        plugin: String,
        /// The generation that serves.
        generation: u64,
        /// The version of its package.
        version: String,
        /// The hash of its content, in hex.
        hash: String,
    },
    /// A file was refused. What served before still does.
    Refused {
        /// The plugin, or the name of the file if that is not the name of a plugin.
        plugin: String,
        /// The code of the reason: see [`LoadErrorReason`](crate::loader::LoadErrorReason).
        reason: String,
        /// The details, for the operator.
        detail: String,
    },
    /// Content was refused because it ran in too many crashes of the host.
    Quarantined {
        /// The plugin.
        plugin: String,
        /// The details, for the operator.
        detail: String,
    },
    /// The previous content serves again. An event [`PluginEvent::Loaded`] about it came before.
    RolledBack {
        /// The plugin.
        plugin: String,
        /// The generation that served until now.
        from: u64,
        /// The generation that serves the previous content.
        to: u64,
        /// Why: by command, or the failure of its probation.
        reason: String,
    },
    /// No content of the plugin serves: it was stopped, and neither its successor nor itself could
    /// be started. The host tries again.
    Unavailable {
        /// The plugin.
        plugin: String,
        /// The code of the reason why it does not start.
        reason: String,
        /// The details, for the operator.
        detail: String,
    },
    /// The file of the plugin was removed, so that its generation serves no more.
    Removed {
        /// The plugin.
        plugin: String,
        /// The generation that served until now.
        generation: u64,
    },
    /// The code of a generation that does not serve any more left the memory.
    Unloaded {
        /// The plugin.
        plugin: String,
        /// The generation that was unloaded.
        generation: u64,
    },
    /// The code of a generation that does not serve any more stays in the process.
    Retained {
        /// The plugin.
        plugin: String,
        /// The generation that stays.
        generation: u64,
        /// Why it cannot be unloaded.
        reason: String,
    },
    /// Calls of a generation fail or wait, for this reason. Noticed within about a quarter of a
    /// second; what is over by then is not reported.
    Unhealthy {
        /// The plugin.
        plugin: String,
        /// The generation that serves.
        generation: u64,
        /// The circuit breaker, a blocked I/O thread, missing threads, or missing workers.
        reason: String,
    },
    /// A generation that was unhealthy is not any more.
    Healthy {
        /// The plugin.
        plugin: String,
        /// The generation that serves.
        generation: u64,
    },
    /// The subscriber did not read, and this number of events did not fit into its queue.
    Missed {
        /// The number of lost events.
        events: u64,
    },
}

impl PluginEvent {
    /// Returns the plugin that the event is about; `None` for [`PluginEvent::Missed`].
    #[must_use]
    pub fn plugin(&self) -> Option<&str> {
        match self {
            Self::Loaded { plugin, .. }
            | Self::Refused { plugin, .. }
            | Self::Quarantined { plugin, .. }
            | Self::RolledBack { plugin, .. }
            | Self::Unavailable { plugin, .. }
            | Self::Removed { plugin, .. }
            | Self::Unloaded { plugin, .. }
            | Self::Retained { plugin, .. }
            | Self::Unhealthy { plugin, .. }
            | Self::Healthy { plugin, .. } => Some(plugin),
            Self::Missed { .. } => None,
        }
    }
}

/// One line for a log. Texts that come from a plugin or a file are in it as they are.
impl fmt::Display for PluginEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loaded { plugin, generation, version, .. } => {
                write!(f, "{plugin}: generation {generation} ({version}) serves")
            }
            Self::Refused { plugin, reason, detail } => write!(f, "{plugin}: refused ({reason}): {detail}"),
            Self::Quarantined { plugin, detail } => write!(f, "{plugin}: quarantined: {detail}"),
            Self::RolledBack { plugin, from, to, reason } => {
                write!(f, "{plugin}: generation {from} rolled back, generation {to} serves: {reason}")
            }
            Self::Unavailable { plugin, reason, detail } => {
                write!(f, "{plugin}: unavailable ({reason}): {detail}")
            }
            Self::Removed { plugin, generation } => {
                write!(f, "{plugin}: file removed, generation {generation} no longer serves")
            }
            Self::Unloaded { plugin, generation } => write!(f, "{plugin}: generation {generation} unloaded"),
            Self::Retained { plugin, generation, reason } => {
                write!(f, "{plugin}: generation {generation} not unloaded: {reason}")
            }
            Self::Unhealthy { plugin, generation, reason } => {
                write!(f, "{plugin}: generation {generation} is unhealthy: {reason}")
            }
            Self::Healthy { plugin, generation } => {
                write!(f, "{plugin}: generation {generation} is healthy again")
            }
            Self::Missed { events } => write!(f, "missed {events} events"),
        }
    }
}
