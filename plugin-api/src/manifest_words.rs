//! The words of a manifest: execution modes, panic strategies, and tables.

use serde::{Deserialize, Serialize};

/// The way a method runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// On the I/O thread of the connection.
    Inline,
    /// On a thread of its generation.
    Blocking,
    /// As a future, polled on the async thread of its generation.
    Async,
}

impl Run {
    /// Returns the name of the execution mode, as in the manifest.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Blocking => "blocking",
            Self::Async => "async",
        }
    }
}

/// The panic strategy that a plugin was built with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PanicStrategy {
    /// Panics unwind and are caught inside the plugin.
    Unwind,
    /// A panic would abort the host, so such a plugin is refused.
    Abort,
}

/// The table through which a plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginAbi {
    /// The one of `include/jackfield_plugin.h`.
    C,
}
