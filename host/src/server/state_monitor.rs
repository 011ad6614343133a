//! Checks in intervals whether plugins changed state of the whole process, restores it, and reports
//! which plugins may have done it.

use std::sync::Arc;
use std::time::Duration;

use super::io_command::{IoThreadCommand, IoThreadSender};
use super::io_threads::IoThreads;
use crate::crash_record::PluginAttribution;
use crate::loader::{ProcessGuard, StateChanges};
use crate::log::{ShortDuration, printable};
use crate::routing::Dispatcher;

/// Time between two checks. A signal that a plugin ignores is lost for at most this time. A check
/// takes less than a millisecond of the control thread.
const INTERVAL: Duration = Duration::from_secs(2);

/// Checks the state of the process until it is dropped.
pub(super) struct StateMonitor {
    guard: ProcessGuard,
    attribution: PluginAttribution,
    threads: Arc<IoThreads>,
    dispatcher: Arc<Dispatcher>,
}

impl StateMonitor {
    pub(super) fn new(guard: ProcessGuard, threads: &Arc<IoThreads>, dispatcher: &Arc<Dispatcher>) -> Self {
        let attribution = PluginAttribution::new(Arc::clone(&dispatcher.crash_record));
        Self { guard, attribution, threads: Arc::clone(threads), dispatcher: Arc::clone(dispatcher) }
    }

    /// Monitors and never returns.
    pub(super) async fn run(mut self) {
        loop {
            self.check();
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn check(&mut self) {
        // A host that drains closes its sockets and lock files itself.
        let mut changes = self.guard.check(self.dispatcher.phase.is_serving());
        changes.restored.extend(self.restore_signal_masks());
        self.attribution.update(false);

        let count = changes.restored.len() + changes.reported.len();
        if count > 0 {
            self.dispatcher.metrics.counters.process_state_changes.add(count as u64);
            self.report(&changes);
        }
    }

    /// Lets each I/O thread that blocks other signals than it must restore its mask, because no
    /// other thread can. Returns what was changed.
    fn restore_signal_masks(&self) -> Vec<String> {
        let mut threads = Vec::new();
        self.threads.for_each(|thread| threads.push((thread.number, thread.tid(), thread.commands.clone())));
        threads.retain(|(_, tid, _)| tid.is_some_and(|tid| self.guard.has_other_mask(tid)));

        let restore = |(number, _, commands): (u64, Option<u32>, IoThreadSender)| {
            // A thread that has ended has no mask.
            let _ = commands.send(IoThreadCommand::RestoreSignalMask(self.guard.signal_mask));
            format!("the signal mask of I/O thread {number}")
        };
        threads.into_iter().map(restore).collect()
    }

    #[cold]
    fn report(&self, changes: &StateChanges) {
        let plugins = match self.attribution.candidates() {
            [] => "none, so it was a thread that a plugin started".to_owned(),
            names => names.join(", "),
        };

        let StateChanges { restored, reported } = changes;
        let interval = ShortDuration(INTERVAL);
        if !restored.is_empty() {
            let changed = restored.join(", ");
            tracing::warn!(
                plugins,
                "state of the process was changed and is restored: {changed}; plugins that may have run \
                 in the last {interval}: {plugins}; no plugin may change it"
            );
        }
        if !reported.is_empty() {
            let changed = reported.join(", ");
            let changed = printable(&changed);
            tracing::warn!(
                plugins,
                "state of the process was changed and cannot be restored: {changed}; plugins that may have run \
                 in the last {interval}: {plugins}; restart the host when convenient"
            );
        }
    }
}
