//! The calls that were sent to one worker and have not ended.

use std::sync::Arc;
use std::time::Duration;

use jackfield_plugin_api::Run;
use rustc_hash::FxHashMap;

use super::super::generation::PluginCall;
use super::dispatch_window::{DispatchWindow, DispatchedCall};
use super::line_id::LineId;
use super::overdue_calls::OverdueWatch;
use super::recycling::WorkerUsage;
use super::signal::Signal;
use crate::clock::Time;
use crate::worker::callers::SentCallers;
use crate::worker::channel_writer::ChannelWriter;
use crate::worker::message::{CallMessage, CallNumber, HostMessage};
use crate::worker::message_context::SentTrace;
use crate::worker::payload_file::{DETACHED_MIN, PayloadFile};

/// A call that was sent and has not ended.
struct OpenCall {
    call: Arc<PluginCall>,

    /// `None` for an `async` call, which needs no thread.
    dispatched: Option<DispatchedCall>,
}

/// The calls of one worker.
pub(super) struct Line {
    pub(super) id: LineId,

    /// The id of the process, for operators only.
    pub(super) pid: u32,

    pub(super) writer: Arc<ChannelWriter>,

    callers: SentCallers,
    open: FxHashMap<CallNumber, OpenCall>,
    last: CallNumber,
    window: DispatchWindow,
    pub(super) watch: OverdueWatch,
    pub(super) usage: WorkerUsage,
}

impl Line {
    /// Begins with a worker that is ready. It has `threads` threads for `blocking` calls, and may
    /// be without a free one for `grace` after a deadline.
    pub(super) fn new(
        id: LineId,
        pid: u32,
        writer: Arc<ChannelWriter>,
        threads: usize,
        grace: Duration,
        now: Time,
    ) -> Self {
        Self {
            id,
            pid,
            writer,
            callers: SentCallers::default(),
            open: FxHashMap::default(),
            last: 0,
            window: DispatchWindow::new(threads),
            watch: OverdueWatch::new(threads, grace),
            usage: WorkerUsage::new(now),
        }
    }

    /// Sends no further calls.
    pub(super) fn begin_drain(&mut self) {
        self.watch.begin_drain();
    }

    /// Returns whether further calls may be sent.
    pub(super) fn takes_calls(&self) -> bool {
        !self.watch.is_draining()
    }

    /// Returns the number of calls that have not ended.
    pub(super) fn open_calls(&self) -> usize {
        self.open.len()
    }

    /// Returns the number of threads that have a call.
    pub(super) fn busy_threads(&self) -> usize {
        self.window.busy_threads()
    }

    /// Returns the `blocking` calls by number and time.
    pub(super) fn window(&self) -> &DispatchWindow {
        &self.window
    }

    /// Claims a call and queues its message. `tail` is its params in a memory file, if they are
    /// large. Returns `false` if the call is over already.
    pub(super) fn send(
        &mut self,
        call: Arc<PluginCall>,
        tail: Option<PayloadFile>,
        now: Time,
        signal: &Arc<Signal>,
    ) -> bool {
        if !call.claim() {
            return false;
        }
        self.last += 1;
        let number = self.last;
        let facts = &call.facts;
        let run = run_of(&call);
        let message = HostMessage::Call(CallMessage {
            call: number,
            method: call.method,
            run,
            depth: facts.depth,
            deadline: facts.deadline,
            content: facts.content,
            id: facts.id.text(),
            caller: self.callers.name(facts.caller.get()),
            trace: facts.context.as_ref().and_then(|context| context.trace.as_ref()).map(SentTrace::of),
            meta: facts.context.as_ref().and_then(|context| context.meta.as_deref()),
            params: &call.params,
        });
        self.writer.queue(|out| out.push_host_with(&message, tail));

        let dispatched = (run == Run::Blocking).then(|| self.window.dispatch(now));
        self.watch.call_sent(now, number, run, Time(facts.host_deadline));
        // Not before the message is queued: the waker may report the call as cancelled at once.
        call.wake_on_cancel(signal.on_cancel(self.id, number));
        self.open.insert(number, OpenCall { call, dispatched });
        true
    }

    /// Removes a call that has ended.
    pub(super) fn end(&mut self, number: CallNumber, now: Time) -> Option<Arc<PluginCall>> {
        let OpenCall { call, dispatched } = self.open.remove(&number)?;
        self.watch.call_ended(now, number, run_of(&call), Time(call.facts.host_deadline));
        if let Some(dispatched) = dispatched {
            self.window.end(dispatched, now);
        }
        self.usage.count_call();
        Some(call)
    }

    /// Returns an open call.
    pub(super) fn get(&self, number: CallNumber) -> Option<&Arc<PluginCall>> {
        self.open.get(&number).map(|open| &open.call)
    }

    /// Returns the calls that have not ended.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Arc<PluginCall>> {
        self.open.values().map(|open| &open.call)
    }

    /// Returns the calls of a worker that has ended.
    pub(super) fn into_calls(self) -> impl Iterator<Item = Arc<PluginCall>> {
        self.open.into_values().map(|open| open.call)
    }
}

/// Returns how the worker runs a call.
fn run_of(call: &PluginCall) -> Run {
    if call.facts.run == Run::Async { Run::Async } else { Run::Blocking }
}

/// Returns whether the params of a call travel in a memory file. Only the supervisor makes those,
/// because I/O threads must not copy so much.
pub(super) fn is_large(call: &PluginCall) -> bool {
    call.params.len() >= DETACHED_MIN
}
