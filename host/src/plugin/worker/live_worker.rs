//! One worker process from its start to its end: its state, and what its messages mean.
//!
//! ```text
//!              Ready             no more calls            no call is left
//! Starting ─────────► Serving ─────────────────► Draining ───────────────► Stopping
//!     │ Refused          │                          │                         │ PhaseEnd, exit
//!     └──────────────────┴────────── ended ◄────────┴─────────────────────────┘
//! ```

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use super::super::generation::GenerationId;
use super::super::nested_caller::{NestedCall, NestedCaller};
use super::super::phase_error::WorkerPhaseError;
use super::command::PhaseResult;
use super::delivery::{Delivery, cut};
use super::dispatch::Dispatch;
use super::fault::WorkerFault;
use super::first_description::FirstDescription;
use super::line_id::LineId;
use super::nested_calls::{self, NestedCalls, timeout_of};
use super::shared_workers::SharedWorkers;
use super::signal::Signal;
use super::worker_log::{self, PrintedLines};
use super::worker_options::WorkerOptions;
use super::worker_process::WorkerProcess;
use jackfield_plugin_api::abi::OutgoingCall;

use crate::clock::Time;
use crate::loader::{LoadError, LoadErrorReason};
use crate::worker::channel_reader::{ChannelReader, Received};
use crate::worker::channel_writer::ChannelWriter;
use crate::worker::message::{MessageEnd, WorkerMessage};

/// Bytes that may wait until a worker reads them, while it makes further nested calls. The reading
/// thread of a worker that is not faulty runs no code of the plugin, and so never waits for it.
const MAX_QUEUED: usize = 64 << 20;

/// The present task of a worker.
pub(super) enum WorkerState {
    /// It sets itself up, and starts the plugin.
    Starting {
        /// The step that has begun.
        step: String,
        until: Time,
    },

    /// It takes calls, or imports the state of its predecessor before that.
    Serving,

    /// It gets no more calls. When none is left, it exports its state, if its successor needs that,
    /// and stops.
    Draining,

    /// It stops, and ends.
    Stopping { until: Time },
}

/// The party that awaits the end of a phase.
pub(super) enum PhaseWaiter {
    /// The owner of the generation.
    Owner(SyncSender<PhaseResult>),

    /// The supervisor, which carries the state from one worker to the next.
    Supervisor(CarriedPhase),
}

/// A phase that the supervisor has begun by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CarriedPhase {
    Export,
    Import,
    Stop,
}

/// A message that the supervisor itself must act on.
pub(super) enum WorkerEvent {
    /// The plugin has started. The text says what of the sandbox is enforced.
    Ready(String),
    Refused(LoadError),
    /// A phase that the supervisor has begun has ended.
    PhaseEnded(CarriedPhase, PhaseResult),
}

/// One worker process.
pub(super) struct LiveWorker {
    pub(super) id: LineId,

    /// The place that it serves, below the configured count.
    pub(super) slot: usize,

    pub(super) process: WorkerProcess,
    pub(super) state: WorkerState,
    pub(super) phase: Option<PhaseWaiter>,
    pub(super) nested: NestedCalls,
    pub(super) printed: PrintedLines,

    /// Whether the supervisor waits until its channel can be written.
    pub(super) waits_to_write: bool,
}

/// The parts of the supervisor that messages of its workers need.
pub(super) struct MessageContext<'a> {
    pub(super) identity: &'a GenerationId,
    pub(super) dispatch: &'a Dispatch,
    pub(super) signal: &'a Arc<Signal>,
    pub(super) nested_caller: Option<Arc<dyn NestedCaller>>,
    pub(super) delivery: &'a mut Delivery,
    pub(super) description: &'a mut FirstDescription,
    pub(super) events: Vec<WorkerEvent>,
}

impl<'a> MessageContext<'a> {
    pub(super) fn of(
        options: &'a WorkerOptions,
        shared: &'a SharedWorkers,
        delivery: &'a mut Delivery,
        description: &'a mut FirstDescription,
    ) -> Self {
        Self {
            identity: &options.identity,
            dispatch: &shared.dispatch,
            signal: &shared.signal,
            nested_caller: options.nested_caller.upgrade(),
            delivery,
            description,
            events: Vec::new(),
        }
    }
}

impl LiveWorker {
    /// Reads once and acts on all messages that are complete. Returns whether there may be more.
    ///
    /// # Errors
    ///
    /// The worker must be killed.
    pub(super) fn read(&mut self, context: &mut MessageContext<'_>) -> Result<Received, WorkerFault> {
        let received = self.process.reader.receive(false)?;
        let Self { id, process, state, phase, nested, .. } = self;
        let WorkerProcess { reader, writer, .. } = process;
        let mut part = MessagePart { id: *id, writer, state, phase, nested };
        part.handle_all(reader, context)?;
        Ok(received)
    }
}

/// The parts of a worker that its messages may change.
struct MessagePart<'w> {
    id: LineId,
    writer: &'w ChannelWriter,
    state: &'w mut WorkerState,
    phase: &'w mut Option<PhaseWaiter>,
    nested: &'w mut NestedCalls,
}

impl MessagePart<'_> {
    fn handle_all(
        &mut self,
        reader: &mut ChannelReader,
        context: &mut MessageContext<'_>,
    ) -> Result<(), WorkerFault> {
        while let Some((kind, body)) = reader.next_frame()? {
            self.handle(WorkerMessage::decode(kind, body)?, context)?;
        }
        Ok(())
    }

    fn handle(
        &mut self,
        message: WorkerMessage<'_>,
        context: &mut MessageContext<'_>,
    ) -> Result<(), WorkerFault> {
        match message {
            WorkerMessage::End { call, end } => {
                let ended = context.dispatch.end(self.id, call);
                let ended = ended.ok_or(WorkerFault::ForeignCall("the end"))?;
                context.delivery.deliver(&ended, end)?;
            }
            WorkerMessage::Nested { .. } => self.start_nested(message, context)?,
            WorkerMessage::NestedCancelled(nested) => self.nested.cancel(nested),
            WorkerMessage::Log { level, call, line } => {
                let call = context.dispatch.open_call(self.id, call);
                worker_log::log(context.identity, level, line, call.as_ref());
            }
            WorkerMessage::PhaseEnd(end) => self.end_phase(end, context)?,
            WorkerMessage::Step(_)
            | WorkerMessage::Described { .. }
            | WorkerMessage::Ready { .. }
            | WorkerMessage::Refused { .. } => {
                self.advance_start(message, context)?;
            }
        }
        Ok(())
    }

    fn advance_start(
        &mut self,
        message: WorkerMessage<'_>,
        context: &mut MessageContext<'_>,
    ) -> Result<(), WorkerFault> {
        let WorkerState::Starting { step, .. } = self.state else {
            return Err(WorkerFault::Unexpected("a step of the start"));
        };
        match message {
            WorkerMessage::Step(begun) => *step = cut(begun),
            WorkerMessage::Described { is_known, text } => {
                context.description.add(self.id, is_known, text)?;
            }
            WorkerMessage::Ready { enforced } => {
                *self.state = WorkerState::Serving;
                context.events.push(WorkerEvent::Ready(cut(enforced)));
            }
            WorkerMessage::Refused { reason, detail } => {
                let reason = LoadErrorReason::from_code(reason).unwrap_or(LoadErrorReason::ProbeFailed);
                context.events.push(WorkerEvent::Refused(LoadError::new(reason, cut(detail))));
            }
            _ => {}
        }
        Ok(())
    }

    fn start_nested(
        &mut self,
        message: WorkerMessage<'_>,
        context: &mut MessageContext<'_>,
    ) -> Result<(), WorkerFault> {
        let WorkerMessage::Nested { nested, parent, waits: is_waiting, timeout, content, method, params } =
            message
        else {
            return Ok(());
        };
        if !self.nested.admits(nested) {
            return Err(WorkerFault::NestedNumber);
        }
        if self.writer.queued() > MAX_QUEUED {
            return Err(WorkerFault::UnreadReplies);
        }
        if !self.nested.has_room(params.len()) {
            nested_calls::refuse(self.writer, nested);
            return Ok(());
        }
        let parent = context.dispatch.open_call(self.id, parent);
        let parent = parent.ok_or(WorkerFault::ForeignCall("a nested call"))?;

        let waker = context.signal.on_nested(self.id, nested);
        let Some(caller) = &context.nested_caller else { return Ok(()) };
        let plugin = &context.identity.plugin;
        let (parent, timeout) = (&parent.facts, timeout_of(timeout));
        let call = OutgoingCall { method, params, content, timeout };
        let reply = caller.call_for_worker(&NestedCall { plugin, parent, call, is_waiting });
        self.nested.start(nested, params.len(), reply, waker, self.writer);
        Ok(())
    }

    fn end_phase(
        &mut self,
        end: MessageEnd<'_>,
        context: &mut MessageContext<'_>,
    ) -> Result<(), WorkerFault> {
        let result = match end {
            MessageEnd::Done(state) => Ok(state.to_vec()),
            MessageEnd::Failed { message, .. } => Err(WorkerPhaseError::Refused(cut(message))),
            MessageEnd::Panicked(text) => Err(WorkerPhaseError::Panicked(cut(text))),
            MessageEnd::DoneBytes(_) => {
                return Err(WorkerFault::Unexpected("opaque bytes as the end of a phase"));
            }
            MessageEnd::Cancelled => return Err(WorkerFault::Unexpected("a cancelled phase")),
        };

        match self.phase.take() {
            // Nobody may be waiting for it any more.
            Some(PhaseWaiter::Owner(waiter)) => {
                let _ = waiter.send(result);
            }
            Some(PhaseWaiter::Supervisor(phase)) => {
                context.events.push(WorkerEvent::PhaseEnded(phase, result))
            }
            None => return Err(WorkerFault::Unexpected("the end of a phase")),
        }
        Ok(())
    }
}
