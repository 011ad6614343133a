//! What is counted by threads of all kinds, and rare enough that they may share a place for it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// The host's rare counters.
        #[derive(Debug, Default)]
        pub(crate) struct SharedCounters {
            $($(#[doc = $doc])+ pub(crate) $name: Counter,)+
        }

        impl SharedCounters {
            /// Every counter with its name, as `system.info` shows them.
            pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.read())),+].into_iter()
            }
        }
    };
}

counters! {
    /// Connections accepted.
    connections,
    /// Connections refused because the limit was reached.
    connections_refused,
    /// Connections cut: a slow frame, a peer that does not read, a framing that cannot be trusted.
    connections_cut,
    /// Connections refused because their user is not allowed.
    connections_denied,
    /// Results that came when their client had gone: dropped.
    late_results,
    /// Plugins loaded, also those that replaced others.
    plugins_loaded,
    /// Plugins' files that were refused.
    plugins_refused,
    /// Generations that failed in their probation, and went back.
    plugins_rolled_back,
    /// Generations whose code is out of the process.
    generations_unloaded,
    /// Generations whose code could not be taken out of the process.
    generations_retained,
    /// Bytes that were written to stdout and stderr and did not go to the log: there were too many at once.
    output_dropped,
}
