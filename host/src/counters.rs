//! What the host counts of itself: one set for the process, read by `system.info` and at the end of a drain.

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
        /// The host's counters.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[doc = $doc])+ pub(crate) $name: Counter,)+
        }

        impl Counters {
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
    /// Requests accepted, whatever became of them.
    requests,
    /// Requests answered with a result.
    results,
    /// Requests answered with an error.
    errors,
    /// Requests whose deadline passed, among the errors.
    deadlines_exceeded,
    /// Requests refused for load, among the errors.
    overloaded,
    /// Panics of plugins, among the errors.
    panics,
    /// Results that came after their deadline was answered, or after their client had gone: dropped.
    late_results,
    /// Calls cancelled because the client had gone.
    abandoned,
    /// Heartbeats answered.
    heartbeats,
    /// Frames of an unknown kind, read and thrown away.
    unknown_kinds,
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
    /// Bytes read from clients.
    bytes_in,
    /// Bytes written to clients.
    bytes_out,
}
