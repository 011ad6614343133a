//! The threads that retire generations: one for each, because its last calls may take long.

use std::sync::Arc;
use std::time::Instant;

use super::command::{CommandSender, ReloadCommand};
use crate::crash_record::RecordSlot;
use crate::host_thread::HostThread;
use crate::plugin::{
    EndDeadline, Generation, GenerationId, IoThreadReplacer, RetentionReason, RetirementOutcome,
    StoppedGeneration, touch_thread_locals,
};

/// Starts the threads that retire generations.
pub(super) struct RetirementThreads {
    commands: CommandSender,
    io: Arc<dyn IoThreadReplacer>,

    /// Set when the host shuts down: what has not ended by then is retained.
    deadline: EndDeadline,

    /// Whether the host shuts down.
    is_stopping: bool,
}

impl RetirementThreads {
    pub(super) fn new(commands: CommandSender, io: Arc<dyn IoThreadReplacer>) -> Self {
        Self { commands, io, deadline: EndDeadline::default(), is_stopping: false }
    }

    /// Retires a generation. [`ReloadCommand::Retired`] is sent when it has ended.
    pub(super) fn start(&self, generation: Arc<Generation>) {
        let identity = generation.identity.clone();
        let slot = generation.crash_record().claim_slot();
        self.spawn(&identity, slot, move |deadline, io| Generation::retire(generation, deadline, io));
    }

    /// Closes the code of a generation that was stopped. [`ReloadCommand::Retired`] is sent when
    /// that has ended.
    pub(super) fn close(&self, stopped: StoppedGeneration) {
        let identity = stopped.identity.clone();
        let slot = stopped.crash_record().claim_slot();
        self.spawn(&identity, slot, move |deadline, io| stopped.close(deadline, io));
    }

    fn spawn(
        &self,
        identity: &GenerationId,
        slot: Option<RecordSlot>,
        end: impl FnOnce(&EndDeadline, &dyn IoThreadReplacer) -> RetirementOutcome + Send + 'static,
    ) {
        let report = {
            let (commands, plugin) = (self.commands.clone(), Arc::clone(&identity.plugin));
            let generation = identity.number;
            move |outcome| commands.send(ReloadCommand::Retired { plugin, generation, outcome })
        };

        let io = Arc::clone(&self.io);
        let deadline = self.deadline.clone();
        let report_failure = report.clone();
        let thread = HostThread::spawn("retire", move || {
            RecordSlot::attach(slot);
            touch_thread_locals();
            report(end(&deadline, &*io));
        });

        if let Err(error) = thread {
            // The generation was dropped with the closure: nothing of it was ended and its code
            // stays, which is sound.
            report_failure(RetirementOutcome::Retained(RetentionReason::NoRetirementThread(error)));
        }
    }

    /// Stops a generation without calls on this thread. Blocks; the limits are those of a
    /// retirement.
    pub(super) fn stop(&self, generation: Generation) -> Result<StoppedGeneration, RetentionReason> {
        generation.stop_now(&self.deadline)
    }

    /// Sets when the retirements of a shutdown have to end.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        self.deadline.set(deadline);
        self.is_stopping = true;
    }

    /// Returns whether the host shuts down.
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }
}
