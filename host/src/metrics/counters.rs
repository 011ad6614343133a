//! Counters: cells that one thread writes, and shared counters for events that are rare.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and others read. Counting is a load, an addition and a store.
#[derive(Debug, Default)]
pub(super) struct CounterCell(AtomicU64);

impl CounterCell {
    /// Adds `count`. Only the one thread that writes the cell may call this.
    ///
    /// A reader that sees the new value also sees what the thread wrote to other cells before.
    pub(super) fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + count, Ordering::Release);
    }

    /// Sets the value. Only the one thread that writes the cell may call this.
    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }

    /// Returns the value, on any thread.
    pub(super) fn read(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// A counter that any thread may increase.
#[derive(Debug, Default)]
pub(crate) struct SharedCounter(AtomicU64);

impl SharedCounter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of events that threads of all kinds count, and that are rare enough to share a
        /// cache line.
        #[derive(Debug, Default)]
        pub(crate) struct SharedCounters {
            $($(#[doc = $doc])+ pub(crate) $name: SharedCounter,)+
        }

        impl SharedCounters {
            /// Iterates over every counter with the name that `system.info` shows it under.
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
    /// Connections that the host closed because of a slow frame, a peer that does not read, or a
    /// framing error.
    connections_cut,
    /// Connections refused because their user is not allowed.
    connections_denied,
    /// Results dropped because their client had closed the connection.
    late_results,
    /// Plugins loaded, including those that replaced others.
    plugins_loaded,
    /// Plugin files refused.
    plugins_refused,
    /// Generations that failed in their probation and were rolled back.
    plugins_rolled_back,
    /// Generations whose code has left the process.
    generations_unloaded,
    /// Generations whose code stays in the process, because closing it would not be safe.
    generations_retained,
    /// Changes of the state of the whole process that plugins made while the host served.
    process_state_changes,
    /// Bytes written to stdout and stderr that did not reach the log because there were too many.
    output_dropped,
    /// Spans that the collector accepted.
    spans_exported,
    /// Spans dropped because the queue had no room.
    spans_dropped_queue_full,
    /// Spans dropped because the collector did not accept them.
    spans_dropped_refused,
    /// Spans dropped because the collector could not be reached.
    spans_dropped_unreachable,
    /// Requests to the collector that failed.
    span_export_failures,
}
