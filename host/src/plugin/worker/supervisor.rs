//! The thread that looks after the workers of a generation: it starts them, reads what they send,
//! replaces those that have ended, and stops them.
//!
//! It waits for its poller alone. Nothing that a worker does or leaves undone makes it wait, except
//! for the moment in which a killed process ends.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::super::call::CallTarget as _;
use super::super::phase_error::WorkerPhaseError;
use super::command::{PhaseResult, StatePhase, WorkerCommand};
use super::delivery::Delivery;
use super::dispatch::Dispatch;
use super::end_reason::EndReason;
use super::first_description::FirstDescription;
use super::line_id::LineId;
use super::live_worker::{CarriedPhase, LiveWorker, MessageContext, PhaseWaiter, WorkerEvent, WorkerState};
use super::overdue_calls::OverdueAction;
use super::poller::{Poller, WorkerSource};
use super::recycling::Recycling;
use super::shared_workers::SharedWorkers;
use super::signal::{Requests, Signal};
use super::slot::Slot;
use super::worker_options::WorkerOptions;
use crate::clock::Time;
use crate::loader::{KeptImage, LoadError};
use crate::worker::channel_reader::Received;
use crate::worker::channel_writer::Flushed;
use crate::worker::message::HostMessage;

/// Time that an instance has to stop, and its process to end.
pub(super) const STOP_LIMIT: Duration = Duration::from_secs(5);

/// The state of the supervising thread.
pub(super) struct Supervisor {
    pub(super) options: WorkerOptions,

    /// The content of the plugin file.
    pub(super) image: KeptImage,

    /// Time that a worker has to start.
    pub(super) start_limit: Duration,

    pub(super) shared: Arc<SharedWorkers>,
    pub(super) poller: Poller,
    pub(super) workers: Vec<LiveWorker>,
    pub(super) slots: Vec<Slot>,
    pub(super) recycling: Recycling,
    pub(super) delivery: Delivery,
    pub(super) description: FirstDescription,
    pub(super) next_id: u32,

    /// Gets the result of the first start of all workers, once.
    pub(super) first_start: Option<SyncSender<Result<(), LoadError>>>,

    /// When the workers must have ended, once they are to end.
    pub(super) end_at: Option<Time>,
}

impl Supervisor {
    /// Prepares to start the workers. `first_start` gets the result of the first start of them all.
    ///
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(super) fn new(
        options: WorkerOptions,
        image: KeptImage,
        start_limit: Duration,
        first_start: SyncSender<Result<(), LoadError>>,
    ) -> std::io::Result<Self> {
        let config = &options.config;
        let signal = Arc::new(Signal::new()?);
        let poller = Poller::new(&*signal)?;
        let dispatch = Dispatch::new(config.queue, config.threads, Arc::clone(&signal));
        let description = FirstDescription::new(&image, start_limit);

        Ok(Self {
            image,
            start_limit,
            shared: Arc::new(SharedWorkers::new(dispatch, signal)),
            poller,
            workers: Vec::new(),
            slots: (0..config.worker.count).map(|_| Slot::default()).collect(),
            recycling: Recycling::new(&config.worker),
            delivery: Delivery::default(),
            description,
            next_id: 0,
            first_start: Some(first_start),
            end_at: None,
            options,
        })
    }

    pub(super) fn shared(&self) -> &Arc<SharedWorkers> {
        &self.shared
    }

    pub(super) fn worker(&mut self, id: LineId) -> Option<&mut LiveWorker> {
        self.workers.iter_mut().find(|worker| worker.id == id)
    }

    fn ids(&self) -> Vec<LineId> {
        self.workers.iter().map(|worker| worker.id).collect()
    }

    fn start_no_more(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.start_at = Time::NEVER);
    }

    /// Supervises until the workers are to end and have ended.
    pub(super) fn run(mut self) {
        self.shared.supervise();
        (0..self.slots.len()).for_each(|slot| self.start_worker(slot));

        while !(self.end_at.is_some() && self.workers.is_empty()) {
            let until = self.next_look();
            let ready = match self.poller.wait(until) {
                Ok(ready) => ready,
                Err(error) => {
                    self.give_up(&error);
                    return;
                }
            };
            let requests = self.shared.signal.take();
            self.apply(requests);
            for (id, source) in ready {
                self.look_at(id, source);
            }

            self.look_at_time(Time::now());
            self.shared.dispatch.send_queued();
            self.flush();
        }
    }

    fn apply(&mut self, requests: Requests) {
        let Requests { commands, cancelled, nested } = requests;
        for (id, call) in cancelled {
            // A call that has ended meanwhile cannot be cancelled any more.
            let open = self.shared.dispatch.open_call(id, call);
            if let Some(ends_nested) = open.map(|open| open.facts.cancelled.ends_nested())
                && let Some(worker) = self.worker(id)
            {
                let message = HostMessage::Cancel { call, ends_nested };
                worker.process.writer.queue(|out| out.push_host(&message));
            }
        }
        for (id, nested) in nested {
            if let Some(worker) = self.worker(id) {
                worker.nested.poll(nested, &worker.process.writer);
            }
        }
        commands.into_iter().for_each(|command| self.run_command(command));
    }

    fn run_command(&mut self, command: WorkerCommand) {
        match command {
            WorkerCommand::Phase { phase, result } => self.begin_phase(&phase, result),
            WorkerCommand::End { until } => {
                let until = Time::now().after(until.saturating_duration_since(Instant::now()));
                self.end_at = Some(until);
                self.start_no_more();
                self.ids().into_iter().for_each(|id| self.stop(id, until));
            }
            WorkerCommand::Kill => self.kill_all(),
        }
    }

    /// Lets the only worker of a plugin export or import state.
    fn begin_phase(&mut self, phase: &StatePhase, result: SyncSender<PhaseResult>) {
        let current = self.slots.first().and_then(|slot| slot.current);
        let worker = self.workers.iter_mut().find(|worker| Some(worker.id) == current);
        let Some(worker) = worker.filter(|worker| worker.phase.is_none()) else {
            let _ = result.send(Err(WorkerPhaseError::NoWorker));
            return;
        };
        worker.phase = Some(PhaseWaiter::Owner(result));
        let message = match phase {
            StatePhase::Export => HostMessage::Export,
            StatePhase::Import { schema, state } => HostMessage::Import { schema: *schema, state },
        };
        worker.process.writer.queue_host(&message);
    }

    /// Lets a worker stop its instance and end. One that has not started is killed.
    pub(super) fn stop(&mut self, id: LineId, until: Time) {
        if let Some(line) = self.shared.dispatch.lock().line(id) {
            line.begin_drain();
        }
        let Some(worker) = self.worker(id) else { return };
        match worker.state {
            WorkerState::Starting { .. } => self.end_worker(id, EndReason::Unwanted),
            WorkerState::Stopping { .. } => {}
            WorkerState::Serving | WorkerState::Draining => {
                worker.state = WorkerState::Stopping { until };
                worker.phase = Some(PhaseWaiter::Supervisor(CarriedPhase::Stop));
                worker.process.writer.queue(|out| out.push_host(&HostMessage::Stop));
            }
        }
    }

    pub(super) fn kill_all(&mut self) {
        self.end_at.get_or_insert(Time::now());
        self.start_no_more();
        self.ids().into_iter().for_each(|id| self.end_worker(id, EndReason::Unwanted));
        self.crash_queued();
    }

    fn look_at(&mut self, id: LineId, source: WorkerSource) {
        match source {
            WorkerSource::Channel => self.read(id),
            WorkerSource::Process => self.end_worker(id, EndReason::Ended),
            WorkerSource::Output => {
                let Some(worker) = self.workers.iter_mut().find(|worker| worker.id == id) else { return };
                let Some(output) = &mut worker.process.output else { return };
                if !worker.printed.read(output, &self.options.identity) {
                    self.poller.remove_output(worker);
                    worker.process.output = None;
                }
            }
        }
    }

    fn read(&mut self, id: LineId) {
        let Some(index) = self.workers.iter().position(|worker| worker.id == id) else { return };
        let Self { workers, shared, options, delivery, description, .. } = self;
        let mut context = MessageContext::of(options, shared, delivery, description);
        let read = workers[index].read(&mut context);
        let events = context.events;

        events.into_iter().for_each(|event| self.handle(id, event));
        match read {
            Ok(Received::Bytes | Received::Nothing) => {}
            Ok(Received::Closed) => self.end_worker(id, EndReason::Ended),
            Err(fault) => self.end_worker(id, EndReason::Fault(fault)),
        }
    }

    fn handle(&mut self, id: LineId, event: WorkerEvent) {
        match event {
            WorkerEvent::Ready(enforced) => self.started(id, &enforced),
            WorkerEvent::Refused(error) => self.end_worker(id, EndReason::Refused(error)),
            WorkerEvent::PhaseEnded(CarriedPhase::Export, result) => self.exported(id, result),
            WorkerEvent::PhaseEnded(CarriedPhase::Import, result) => self.imported(id, result),
            WorkerEvent::PhaseEnded(CarriedPhase::Stop, result) => self.stopped(result),
        }
    }

    /// Does what is due at this time.
    fn look_at_time(&mut self, now: Time) {
        if self.end_at.is_some_and(|end_at| end_at <= now) {
            self.kill_all();
            return;
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].start_at <= now {
                self.start_worker(slot);
            }
        }

        for id in self.ids() {
            let overdue = self.act_on_deadlines(id, now);
            if let Some(reason) = self.reason_to_kill(id, overdue, now) {
                self.end_worker(id, reason);
            } else {
                self.replace_if_due(id, overdue, now);
                self.stop_if_drained(id);
            }
        }
    }

    /// Ends nested calls whose deadline has passed, reports calls that have passed theirs, and
    /// returns what is to be done about those that do not end.
    fn act_on_deadlines(&mut self, id: LineId, now: Time) -> OverdueAction {
        if let Some(worker) = self.worker(id) {
            worker.nested.poll_expired(now, &worker.process.writer);
        }
        let mut state = self.shared.dispatch.lock();
        let Some(line) = state.line(id) else { return OverdueAction::None };
        let action = line.watch.check(now);
        let overdue = line.watch.take_noticed();
        let overdue: Vec<_> = overdue.iter().filter_map(|call| line.get(*call).cloned()).collect();
        drop(state);

        // Nobody else reports the time-out of a call whose caller has gone.
        for call in overdue.iter().filter(|call| call.is_abandoned()) {
            call.generation.record_abandoned_timeout(&call.facts);
        }
        action
    }

    fn reason_to_kill(&mut self, id: LineId, overdue: OverdueAction, now: Time) -> Option<EndReason> {
        match self.worker(id)?.state {
            WorkerState::Starting { until, .. } => (until <= now).then_some(EndReason::StartTimedOut),
            WorkerState::Stopping { until } => (until <= now).then_some(EndReason::StopTimedOut),
            WorkerState::Serving | WorkerState::Draining => {
                (overdue == OverdueAction::Kill).then_some(EndReason::Stuck)
            }
        }
    }

    /// Returns when to look at the time next.
    fn next_look(&self) -> Time {
        let now = Time::now();
        let starts = self.slots.iter().map(|slot| slot.start_at);
        let held = self.slots.iter().map(|slot| slot.hold_until).filter(|until| *until > now);
        let workers = self.workers.iter().flat_map(|worker| {
            let limit = match worker.state {
                WorkerState::Starting { until, .. } | WorkerState::Stopping { until } => until,
                WorkerState::Serving | WorkerState::Draining => Time::NEVER,
            };
            [limit, worker.nested.next_deadline().unwrap_or(Time::NEVER)]
        });
        let first = starts.chain(held).chain(workers).min().unwrap_or(Time::NEVER);

        let state = self.shared.dispatch.lock();
        let lines = state.lines.iter().map(|line| {
            let may_replace = self.may_replace(line.id, now);
            let recycling = if may_replace { self.recycling.next_look(&line.usage) } else { Time::NEVER };
            line.watch.next_check(now).min(recycling)
        });
        lines.chain([first, self.end_at.unwrap_or(Time::NEVER)]).min().unwrap_or(Time::NEVER)
    }

    /// Writes what is queued for the workers.
    fn flush(&mut self) {
        for worker in &mut self.workers {
            let is_blocked = worker.process.writer.flush() == Flushed::Blocked;
            self.poller.watch_writable(worker, is_blocked);
        }
    }
}
