//! Running `inline` methods on I/O threads, for callers on other threads.

use std::cell::Cell;
use std::sync::Arc;

use crate::plugin::PluginCall;

thread_local! {
    static IS_IO_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as an I/O thread: `inline` methods may run on it.
pub(crate) fn mark_io_thread() {
    IS_IO_THREAD.set(true);
}

/// Returns whether this thread is an I/O thread.
pub(super) fn is_io_thread() -> bool {
    IS_IO_THREAD.get()
}

/// Runs `inline` methods for threads that are not I/O threads.
///
/// The code of a generation can be unloaded only after every thread that ran it has been joined.
/// Only threads that can be joined may therefore run it: those of the generation, and the I/O
/// threads, which are replaced for that purpose.
pub(crate) trait InlineRunner: Send + Sync {
    /// Runs the call on an I/O thread soon. Returns `false` if the host is shutting down.
    fn run_inline(&self, call: Arc<PluginCall>) -> bool;
}
