//! Why a file is loaded, and how that ended.

use crate::loader::LoadError;

/// The origin of a request to load a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoadTrigger {
    /// A scan found a change. Content that was acted on is not loaded again.
    Scan,
    /// An operator reloads all plugins. Every content is loaded, unless a decision is against it,
    /// and a quarantine is cleared.
    OperatorForAll,
    /// An operator reloads one plugin by its name, which also clears a decision.
    OperatorForOne {
        /// Whether content is loaded that breaks callers of what serves.
        allow_incompatible: bool,
    },
}

/// How the load of a file ended.
#[derive(Debug, PartialEq)]
pub(super) enum LoadOutcome {
    /// The content serves already, or a decision is against it.
    Unchanged,
    /// The file, or its signature, is being written. It is read again by the next scan; nothing
    /// is logged.
    Incomplete,
    /// The content serves.
    Published,
    /// The content does not serve, and the previous generation does.
    Refused(LoadError),
}
