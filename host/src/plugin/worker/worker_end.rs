//! How workers end, and what follows for their calls and for their slot.

use std::sync::Arc;

use jackfield_plugin_api::abi::ProcessEnd;

use super::super::generation::PluginCall;
use super::super::phase_error::WorkerPhaseError;
use super::command::PhaseResult;
use super::end_reason::EndReason;
use super::line::Line;
use super::line_id::LineId;
use super::live_worker::{LiveWorker, MessageContext, PhaseWaiter, WorkerEvent, WorkerState};
use super::process_end::ProcessEndText;
use super::supervisor::Supervisor;
use crate::clock::Time;
use crate::loader::{LoadError, LoadErrorReason, ProbeStep};
use crate::log::{Counted, ShortDuration, printable};
use crate::worker::channel_reader::Received;
use crate::worker::report::RestartCause;

/// Names of methods that a line of the log has at most.
const NAMES_MAX: usize = 8;

/// Reads of what a worker has sent before it ended: more than a socket holds.
const MAX_REST_READS: usize = 256;

impl Supervisor {
    /// Kills a worker if it runs, answers its calls, and decides when the next one starts.
    pub(super) fn end_worker(&mut self, id: LineId, reason: EndReason) {
        let Some(index) = self.workers.iter().position(|worker| worker.id == id) else { return };
        let mut worker = self.workers.swap_remove(index);
        self.poller.remove(&worker);
        let reason = self.read_rest(&mut worker, reason);

        let end = worker.process.end();
        if let Some(output) = &mut worker.process.output {
            worker.printed.read(output, &self.options.identity);
        }
        worker.printed.end(&self.options.identity);
        let line = self.shared.dispatch.lock().remove_line(id);
        if let Some(PhaseWaiter::Owner(waiter)) = worker.phase.take() {
            let _ = waiter.send(Err(WorkerPhaseError::Ended(ProcessEndText(&end).to_string())));
        }

        self.recycling.end(id);
        if self.slots[worker.slot].starting == Some(id) {
            self.slots[worker.slot].starting = None;
        }
        match worker.state {
            WorkerState::Starting { .. } => {
                if matches!(reason, EndReason::Unwanted) {
                    // Nothing follows.
                } else if self.was_describing(&worker) {
                    self.start_without_description(&worker, &reason, &end);
                } else {
                    let error = self.start_error(&worker.state, reason, &end);
                    self.start_failed(worker.slot, error);
                }
            }
            WorkerState::Stopping { .. } => self.stopping_ended(&worker, &reason, &end),
            WorkerState::Serving | WorkerState::Draining => {
                self.serving_ended(&worker, line.as_ref(), reason, &end);
            }
        }
        self.crash(line.into_iter().flat_map(Line::into_calls), end);
    }

    /// Acts on what a worker has sent before it ended.
    fn read_rest(&mut self, worker: &mut LiveWorker, reason: EndReason) -> EndReason {
        if !matches!(reason, EndReason::Ended) {
            return reason;
        }
        let Self { shared, options, delivery, description, .. } = self;
        let mut context = MessageContext::of(options, shared, delivery, description);
        // Processes that the worker has started may still write.
        let mut reads = 0;
        while reads < MAX_REST_READS && matches!(worker.read(&mut context), Ok(Received::Bytes)) {
            reads += 1;
        }

        let mut reason = reason;
        for event in context.events {
            match event {
                WorkerEvent::Refused(error) => reason = EndReason::Refused(error),
                WorkerEvent::PhaseEnded(_, result)
                    if matches!(worker.state, WorkerState::Stopping { .. }) =>
                {
                    self.stopped(result);
                }
                WorkerEvent::Ready(_) | WorkerEvent::PhaseEnded(..) => {}
            }
        }
        reason
    }

    fn crash(&mut self, calls: impl Iterator<Item = Arc<PluginCall>>, end: ProcessEnd) {
        calls.for_each(|call| self.delivery.crashed(&call, end));
    }

    /// Ends the calls that wait for a worker, because there will be none.
    pub(super) fn crash_queued(&mut self) {
        let queued = self.shared.dispatch.close();
        self.crash(queued.into_iter(), ProcessEnd::Unknown);
    }

    /// Returns whether a worker was asked for its description, and has not got any further.
    fn was_describing(&self, worker: &LiveWorker) -> bool {
        let WorkerState::Starting { step, .. } = &worker.state else { return false };
        self.description.is_asked(worker.id) && *step == ProbeStep::Describing.to_string()
    }

    /// Starts a worker once more that has hung or crashed while it described its methods. Nothing
    /// is known to be wrong with the plugin otherwise.
    fn start_without_description(&mut self, worker: &LiveWorker, reason: &EndReason, end: &ProcessEnd) {
        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        let pid = worker.process.process.pid();
        let why = match reason {
            // It has said itself what hangs.
            EndReason::Refused(_) => None,
            EndReason::StartTimedOut => Some("the time for the start had passed".to_owned()),
            EndReason::Fault(fault) => Some(format!("the worker process violated its protocol: {fault}")),
            _ => Some(format!("the worker process that was asked for it ended with {}", ProcessEndText(end))),
        };

        self.description.finish(worker.id, plugin, why.as_deref());
        tracing::info!(
            plugin,
            generation,
            pid,
            "plugin {plugin}: worker process {pid} failed while it described its methods; another one starts"
        );
        self.start_worker(worker.slot);
    }

    /// Returns why a worker has not started.
    fn start_error(&self, state: &WorkerState, reason: EndReason, end: &ProcessEnd) -> LoadError {
        let step = match state {
            WorkerState::Starting { step, .. } => step.as_str(),
            _ => "its setup",
        };

        match reason {
            EndReason::Refused(error) => error,
            EndReason::StartTimedOut => LoadError::new(
                LoadErrorReason::ProbeTimedOut,
                format_args!(
                    "the plugin did not start in a worker process within plugins.probe ({}); it was in {step}",
                    ShortDuration(self.start_limit)
                ),
            ),
            EndReason::Fault(fault) => LoadError::new(
                LoadErrorReason::ProbeFailed,
                format_args!("the worker process violated its protocol in {step}: {fault}"),
            ),
            _ if step == "its setup" => LoadError::new(
                LoadErrorReason::ProbeFailed,
                format_args!(
                    "the worker process failed in its setup ({}); check LimitNOFILE=, TasksMax= and MemoryMax= of \
                     the host, and plugin.NAME.worker.memory",
                    ProcessEndText(end)
                ),
            ),
            _ => LoadError::new(
                LoadErrorReason::ProbeCrashed,
                format_args!("the worker process ended with {} in {step}", ProcessEndText(end)),
            ),
        }
    }

    /// Decides what follows if a worker did not start.
    pub(super) fn start_failed(&mut self, slot: usize, error: LoadError) {
        if let Some(waiter) = self.first_start.take() {
            let _ = waiter.send(Err(error));
            self.kill_all();
            return;
        }

        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        let text = error.to_string();
        let shown = printable(&text);
        let place = &mut self.slots[slot];
        let next = place.policy.start_failed(Time::now());
        let pause = ShortDuration(next.since(Time::now()));
        if let Some(current) = place.current {
            place.hold_until = next;
            self.recycling.end(current);
            tracing::error!(
                plugin,
                generation,
                "plugin {plugin}: its worker process is not replaced, because the new one did not start: {shown}; \
                 the host tries again after {pause}"
            );
        } else {
            place.start_at = next;
            tracing::error!(
                plugin,
                generation,
                "plugin {plugin}: a worker process did not start: {shown}; the host tries again after {pause}"
            );
        }
    }

    /// Records the end of a worker that has stopped, or was to stop.
    fn stopping_ended(&mut self, worker: &LiveWorker, reason: &EndReason, end: &ProcessEnd) {
        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        let pid = worker.process.process.pid();
        let end = ProcessEndText(end);
        if worker.phase.is_some() && !matches!(reason, EndReason::Unwanted) {
            tracing::warn!(
                plugin,
                generation,
                pid,
                "plugin {plugin}: worker process {pid} did not stop and was ended ({end})"
            );
        } else {
            tracing::debug!(plugin, generation, pid, "plugin {plugin}: worker process {pid} ended ({end})");
        }
        let slot = &mut self.slots[worker.slot];
        if slot.current == Some(worker.id) {
            slot.current = None;
            slot.start_at = if self.end_at.is_some() { Time::NEVER } else { Time::now() };
        }
    }

    /// Records the end of a worker that was serving, and decides when the next one starts.
    fn serving_ended(
        &mut self,
        worker: &LiveWorker,
        line: Option<&Line>,
        reason: EndReason,
        end: &ProcessEnd,
    ) {
        let (cause, detail) = match reason {
            EndReason::Unwanted => return,
            EndReason::Stuck => {
                (RestartCause::Stuck, "a call did not end after its deadline; the host killed it".to_owned())
            }
            EndReason::Fault(fault) => {
                (RestartCause::Protocol, format!("it violated its protocol: {fault}; the host killed it"))
            }
            _ => (RestartCause::Crash, ProcessEndText(end).to_string()),
        };
        self.options.restarts.count(cause, &detail);

        let now = Time::now();
        let slot = &mut self.slots[worker.slot];
        if slot.current == Some(worker.id) {
            slot.current = None;
            let has_answered = line.is_some_and(|line| line.usage.calls() > 0);
            if slot.starting.is_none() {
                slot.start_at = slot.policy.worker_ended(now, has_answered);
            }
        }
        let pause = slot.start_at.since(now);
        let next = match slot.start_at {
            Time::NEVER => "another one serves or starts".to_owned(),
            _ if pause.is_zero() => "another one starts".to_owned(),
            _ => format!("another one starts after {}", ShortDuration(pause)),
        };

        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        let pid = worker.process.process.pid();
        let calls = line.map_or(0, Line::open_calls);
        let methods = line.map(running_methods).unwrap_or_default();
        let (detail, methods) = (printable(&detail), printable(&methods));
        let calls = Counted(calls, "call");
        tracing::error!(
            plugin,
            generation,
            pid,
            "plugin {plugin}: worker process {pid} ended: {detail}; it had {calls}{methods}; {next}"
        );
    }

    /// Logs a panic of `stop`.
    pub(super) fn stopped(&self, result: PhaseResult) {
        let Err(error) = result else { return };
        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        let text = match error {
            WorkerPhaseError::Panicked(text) => text,
            other => other.to_string(),
        };
        let text = printable(&text);
        tracing::error!(
            plugin,
            generation,
            "plugin {plugin}: generation {generation} panicked in stop: {text}"
        );
    }

    /// Ends everything, because the supervisor cannot wait for anything any more.
    #[cold]
    pub(super) fn give_up(&mut self, error: &std::io::Error) {
        let (plugin, generation) = (&*self.options.identity.plugin, self.options.identity.number);
        tracing::error!(
            plugin,
            generation,
            %error,
            "plugin {plugin}: its workers cannot be supervised: {error}; they are ended; reload the plugin"
        );
        self.kill_all();
    }
}

/// Returns the names of the methods that a worker ran, in brackets.
fn running_methods(line: &Line) -> String {
    let mut names: Vec<_> = line.calls().map(|call| call.generation.method_name(call.method)).collect();
    names.sort_unstable();
    names.dedup();
    let more = if names.len() > NAMES_MAX { ", ..." } else { "" };
    names.truncate(NAMES_MAX);
    if names.is_empty() { String::new() } else { format!(" ({}{more})", names.join(", ")) }
}
