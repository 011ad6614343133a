//! How the supervisor starts workers, and replaces those that shall not go on.

use std::os::fd::AsFd as _;

use jackfield_plugin_api::Run;
use serde_json::value::RawValue;

use super::super::host_services::max_level;
use super::command::PhaseResult;
use super::line::Line;
use super::line_id::LineId;
use super::live_worker::{CarriedPhase, LiveWorker, PhaseWaiter, WorkerState};
use super::nested_calls::NestedCalls;
use super::overdue_calls::OverdueAction;
use super::recycling::RecycleReason;
use super::resident_memory::resident_memory;
use super::supervisor::{STOP_LIMIT, Supervisor};
use super::worker_log::PrintedLines;
use super::worker_process::WorkerProcess;
use crate::clock::{self, Time};
use crate::config::ReplacePolicy;
use crate::loader::{LoadError, LoadErrorReason};
use crate::log::printable;
use crate::worker::message::HostMessage;
use crate::worker::report::RestartCause;
use crate::worker::spec::{SandboxSpec, WorkerLimits, WorkerSpec};

/// Room for what a message has in addition to a result or to exported state, in bytes.
const MESSAGE_OVERHEAD: usize = 1 << 20;

impl Supervisor {
    /// Starts the next process of a slot.
    pub(super) fn start_worker(&mut self, slot: usize) {
        self.slots[slot].start_at = Time::NEVER;
        if self.end_at.is_some() {
            return;
        }
        match self.spawn(slot) {
            Ok(worker) => {
                self.slots[slot].starting = Some(worker.id);
                self.workers.push(worker);
            }
            Err(error) => self.start_failed(slot, error),
        }
    }

    fn spawn(&mut self, slot: usize) -> Result<LiveWorker, LoadError> {
        let cannot_start = |error: std::io::Error| {
            LoadError::of_system(LoadErrorReason::NoResources, "cannot start a worker process", &error)
        };
        let id = LineId(self.next_id);
        let spec = WorkerSpec { describes_within: self.description.ask(id), ..self.spec()? };
        let spec = serde_json::to_vec(&spec).map_err(|error| cannot_start(error.into()))?;
        let identity = &self.options.identity;
        let title = format!("{}/{}", identity.plugin, identity.number);
        // Only a plugin with state sends more than a result at a time.
        let has_state = self.image.manifest().state.is_some();
        let state = if has_state { jackfield_plugin_api::STATE_MAX } else { 0 };
        let limit = self.options.reply_limit.max(state) + MESSAGE_OVERHEAD;

        let program = &self.options.program;
        let config = &self.options.config.worker;
        let (variables, is_sandboxed) = (config.environment.as_deref(), config.sandbox.is_some());
        let process =
            WorkerProcess::spawn(program, variables, &title, self.image.as_fd(), &spec, is_sandboxed, limit);
        let worker = LiveWorker {
            id,
            slot,
            process: process.map_err(cannot_start)?,
            state: WorkerState::Starting {
                step: "its setup".to_owned(),
                until: Time::now().after(self.start_limit),
            },
            phase: None,
            nested: NestedCalls::default(),
            printed: PrintedLines::new(),
            waits_to_write: false,
        };
        self.next_id += 1;
        self.poller.add(&worker).map_err(cannot_start)?;
        Ok(worker)
    }

    fn spec(&self) -> Result<WorkerSpec, LoadError> {
        let config = &self.options.config;
        let settings = RawValue::from_string(config.settings.to_string());
        let sandbox = config.worker.sandbox.as_ref().map(|sandbox| SandboxSpec {
            read: sandbox.read.clone(),
            write: sandbox.write.clone(),
            network: sandbox.network,
            execute: sandbox.execute,
            required: sandbox.required,
        });

        Ok(WorkerSpec {
            parent: std::process::id(),
            plugin: self.options.identity.plugin.to_string(),
            generation: self.options.identity.number,
            manifest: self.image.manifest().clone(),
            settings: settings.map_err(|error| LoadError::new(LoadErrorReason::ProbeFailed, error))?,
            threads: self.threads(),
            reply_limit: self.options.reply_limit,
            spin: clock::nanoseconds(self.options.spin),
            epoch: clock::epoch(),
            log_level: max_level(),
            limits: WorkerLimits { memory: config.worker.memory, files: config.worker.files },
            sandbox,
            describes_within: None,
        })
    }

    /// Returns the number of threads that each worker has for `blocking` methods.
    fn threads(&self) -> usize {
        let has_blocking = self.options.methods.iter().any(|method| method.run != Run::Async);
        if has_blocking { self.options.config.threads.div_ceil(self.slots.len().max(1)) } else { 0 }
    }

    /// Lets a worker that has started take calls, after it has imported what its predecessor left.
    pub(super) fn started(&mut self, id: LineId, enforced: &str) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        let (plugin, pid) = (&*self.options.identity.plugin, worker.process.process.pid());
        let generation = self.options.identity.number;
        let shown = printable(enforced);
        tracing::info!(plugin, generation, pid, "plugin {plugin}: worker process {pid} started; {shown}");

        self.description.finish(id, plugin, None);

        let slot = &mut self.slots[worker.slot];
        slot.starting = None;
        if let Some(state) = slot.carried.take() {
            let schema = self.image.manifest().state.unwrap_or(0);
            worker.phase = Some(PhaseWaiter::Supervisor(CarriedPhase::Import));
            let message = HostMessage::Import { schema, state: &state };
            worker.process.writer.queue_host(&message);
            return;
        }
        self.serve(id);
    }

    /// Ends the import of the state that a worker has got from its predecessor.
    pub(super) fn imported(&mut self, id: LineId, result: PhaseResult) {
        if let Err(error) = result {
            let plugin = &*self.options.identity.plugin;
            let (text, generation) = (error.to_string(), self.options.identity.number);
            let shown = printable(&text);
            tracing::error!(
                plugin,
                generation,
                "plugin {plugin}: its new worker did not import the state of the previous one: {shown}; \
                 the state is lost"
            );
        }
        self.serve(id);
    }

    /// Sends calls to a worker from now on, and none to the one that it replaces.
    fn serve(&mut self, id: LineId) {
        let Some(worker) = self.workers.iter().find(|worker| worker.id == id) else { return };
        let (slot, pid, writer) = (worker.slot, worker.process.process.pid(), worker.process.writer.clone());
        let grace = self.options.config.worker.grace;
        let line = Line::new(id, pid, writer, self.threads(), grace, Time::now());
        self.shared.dispatch.lock().lines.push(line);

        if let Some(previous) = self.slots[slot].current.replace(id) {
            self.drain(previous);
        }
        if self.slots.iter().all(|slot| slot.current.is_some())
            && let Some(waiter) = self.first_start.take()
        {
            let _ = waiter.send(Ok(()));
        }
    }

    fn drain(&mut self, id: LineId) {
        if let Some(line) = self.shared.dispatch.lock().line(id) {
            line.begin_drain();
        }
        if let Some(worker) = self.worker(id)
            && matches!(worker.state, WorkerState::Serving)
        {
            worker.state = WorkerState::Draining;
        }
    }

    /// Returns whether a worker may be replaced gracefully now.
    pub(super) fn may_replace(&self, id: LineId, now: Time) -> bool {
        let is_candidate = |worker: &LiveWorker| {
            matches!(worker.state, WorkerState::Serving)
                && worker.phase.is_none()
                && self.slots[worker.slot].may_replace(now)
        };
        self.end_at.is_none() && self.workers.iter().find(|worker| worker.id == id).is_some_and(is_candidate)
    }

    /// Replaces a worker gracefully if a call is stuck in it, or if it is to be recycled.
    pub(super) fn replace_if_due(&mut self, id: LineId, overdue: OverdueAction, now: Time) {
        if !self.may_replace(id, now) {
            return;
        }
        let Some(worker) = self.worker(id) else { return };
        let (slot, pid) = (worker.slot, worker.process.process.pid());
        let replaced = if overdue == OverdueAction::Replace {
            let why = "a call does not end after its deadline, while other threads are free";
            Some((RestartCause::Stuck, why.to_owned()))
        } else {
            self.reason_to_recycle(id, now).map(|reason| (RestartCause::Recycled, reason.to_string()))
        };
        let Some((cause, why)) = replaced else { return };

        let plugin = &*self.options.identity.plugin;
        let generation = self.options.identity.number;
        self.options.restarts.count(cause, &why);
        tracing::info!(plugin, generation, pid, "plugin {plugin}: its worker process is replaced: {why}");
        if self.is_exclusive() {
            self.drain(id);
        } else {
            self.start_worker(slot);
        }
    }

    fn reason_to_recycle(&mut self, id: LineId, now: Time) -> Option<RecycleReason> {
        let (pid, next_sample) = {
            let mut state = self.shared.dispatch.lock();
            let line = state.line(id)?;
            (line.pid, line.usage.next_sample())
        };
        // Read without the lock, for which I/O threads would wait.
        let is_due = self.options.config.worker.recycle_memory > 0 && next_sample <= now;
        let sample = is_due.then(|| resident_memory(pid).unwrap_or(0));

        let mut state = self.shared.dispatch.lock();
        let line = state.line(id)?;
        if let Some(resident) = sample {
            line.usage.record_sample(now, resident);
        }
        self.recycling.begin(id, &line.usage, now)
    }

    /// Returns whether a worker must have ended before its successor starts: if it has state, or a
    /// resource that only one instance can have.
    pub(super) fn is_exclusive(&self) -> bool {
        self.image.manifest().state.is_some() || self.options.config.replace == ReplacePolicy::StopFirst
    }

    /// Stops a worker that drains, once it has no calls. Its state is taken out first.
    pub(super) fn stop_if_drained(&mut self, id: LineId) {
        let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
        let is_drained = matches!(worker.state, WorkerState::Draining) && worker.phase.is_none();
        let has_calls = self.shared.dispatch.lock().line(id).is_some_and(|line| line.open_calls() > 0);
        if !is_drained || has_calls {
            return;
        }

        let slot = &self.slots[worker.slot];
        let is_carried = slot.current == Some(id) && slot.carried.is_none();
        if is_carried && self.image.manifest().state.is_some() {
            worker.phase = Some(PhaseWaiter::Supervisor(CarriedPhase::Export));
            worker.process.writer.queue(|out| out.push_host(&HostMessage::Export));
        } else {
            self.stop(id, Time::now().after(STOP_LIMIT));
        }
    }

    /// Keeps the state of a worker for its successor.
    pub(super) fn exported(&mut self, id: LineId, result: PhaseResult) {
        let Some(slot) = self.worker(id).map(|worker| worker.slot) else { return };
        match result {
            Ok(state) => self.slots[slot].carried = Some(state),
            Err(error) => {
                let plugin = &*self.options.identity.plugin;
                let (text, generation) = (error.to_string(), self.options.identity.number);
                let shown = printable(&text);
                tracing::error!(
                    plugin,
                    generation,
                    "plugin {plugin}: its worker did not export its state: {shown}; the state is lost"
                );
            }
        }
        self.stop(id, Time::now().after(STOP_LIMIT));
    }
}
