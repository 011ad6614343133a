//! A plugin in worker processes: the end of the host.
//!
//! ```text
//! threads that submit calls ──► dispatch ──► line ══ channel ══► worker process
//!                                  ▲          ▲                        │
//! owner of the generation ──► supervisor ─────┴──────── replies ◄──────┘
//! ```
//!
//! `dispatch.rs` queues calls and `line.rs` knows those that one worker has; both are used by all
//! threads. Everything else belongs to the supervisor, one thread for each generation
//! (`supervisor.rs`, `worker_start.rs`, `worker_end.rs`): it owns the processes and reads what they
//! send (`live_worker.rs`). When it replaces a worker is decided in files of their own
//! (`restart_policy.rs`, `overdue_calls.rs`, `recycling.rs`).

mod command;
mod delivery;
mod dispatch;
mod dispatch_window;
mod end_reason;
mod fault;
mod first_description;
mod line;
mod line_id;
mod live_worker;
mod nested_calls;
mod overdue_calls;
mod poller;
mod process_end;
mod recycling;
mod resident_memory;
mod restart_policy;
mod shared_workers;
mod signal;
mod slot;
mod supervisor;
mod worker_end;
mod worker_log;
mod worker_options;
mod worker_process;
mod worker_start;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use jackfield_plugin_api::Run;

use super::awaited_result::{NotReceived, receive_unless};
use super::failure_log::touch_thread_locals;
use super::generation::PluginCall;
use super::phase_error::WorkerPhaseError;
use super::plugin_thread::thread_name;
use super::pool_state::SubmitError;
use crate::host_thread::HostThread;
use crate::loader::{KeptImage, LoadError, LoadErrorReason, StagedPlugin, VerifiedSignature};
use crate::worker::report::{RestartCounters, WorkerReport, WorkerStatus};
use command::{PhaseResult, StatePhase, WorkerCommand};
use resident_memory::resident_memory;
use shared_workers::SharedWorkers;
use supervisor::Supervisor;
pub(super) use worker_options::WorkerOptions;
pub(crate) use worker_options::WorkerProgram;

/// Time that the supervisor has to end after its workers have. Each may be waited for.
const JOIN_LIMIT: Duration = Duration::from_secs(10);

/// The workers of one generation. Dropping it kills them.
pub(super) struct WorkerPlugin {
    shared: Arc<SharedWorkers>,
    image: KeptImage,
    restarts: Arc<RestartCounters>,

    /// `None` once it was joined.
    supervisor: Option<HostThread>,
}

impl WorkerPlugin {
    /// Starts the workers. Blocks until all have started and tested the plugin, for at most `limit`
    /// and the time that it takes to kill them, or until `gives_up` returns `true`. If the first
    /// worker hangs or crashes while it describes its methods, it is started once more, and blocks
    /// for at most as long again.
    ///
    /// # Errors
    ///
    /// Why the loader or the plugin refused. No process is left.
    pub(super) fn start(
        staged: StagedPlugin,
        options: WorkerOptions,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Self, LoadError> {
        let no_resources = |error: std::io::Error| {
            LoadError::of_system(LoadErrorReason::NoResources, "cannot supervise worker processes", &error)
        };
        let (image, restarts) = (staged.into_image(), Arc::clone(&options.restarts));
        let (waiter, first_start) = sync_channel(1);
        let name = thread_name(&options.identity.plugin, "worker");
        let supervisor = Supervisor::new(options, image.try_clone()?, limit, waiter).map_err(no_resources)?;
        let shared = Arc::clone(supervisor.shared());
        let run = move || {
            // It logs panics of the plugin, although none happens on it.
            touch_thread_locals();
            supervisor.run();
        };
        let thread = HostThread::spawn(&name, run).map_err(no_resources)?;

        // Dropped with an error, it kills the processes and joins the thread.
        let plugin = Self { shared, image, restarts, supervisor: Some(thread) };
        // The supervisor has the same limit for each process; it needs more time only to kill them.
        let limit = limit.saturating_mul(2).saturating_add(JOIN_LIMIT);
        receive_unless(gives_up, &first_start, limit).map_err(|why| match why {
            NotReceived::GivenUp => LoadError::host_ends(),
            NotReceived::Ended | NotReceived::TimedOut => {
                let why = WorkerPhaseError::from(why);
                LoadError::new(LoadErrorReason::ProbeFailed, format_args!("the worker processes: {why}"))
            }
        })??;
        Ok(plugin)
    }

    /// Submits calls, without blocking. All of them run in the way `run`, which is never `Inline`.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn submit(
        &self,
        run: Run,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        self.shared.dispatch.submit(run, calls)
    }

    /// Returns the number of `blocking` calls that run past their deadline.
    pub(super) fn overdue_calls(&self) -> usize {
        self.shared.dispatch.lock().lines.iter().map(|line| line.watch.overdue_blocking()).sum()
    }

    /// Returns whether a worker takes calls at the moment.
    pub(super) fn is_serving(&self) -> bool {
        self.shared.dispatch.lock().lines.iter().any(line::Line::takes_calls)
    }

    /// Exports the state of the only worker. Blocks for at most `limit`.
    ///
    /// # Errors
    ///
    /// The plugin refused, the worker ended or did not answer in time, or `gives_up` returned
    /// `true`.
    pub(super) fn export_state(
        &self,
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, WorkerPhaseError> {
        self.run_phase(StatePhase::Export, limit, gives_up)
    }

    /// Imports a state into the only worker. Blocks for at most `limit`.
    ///
    /// # Errors
    ///
    /// As [`WorkerPlugin::export_state`].
    pub(super) fn import_state(
        &self,
        schema: u32,
        state: &[u8],
        limit: Duration,
        gives_up: &dyn Fn() -> bool,
    ) -> Result<(), WorkerPhaseError> {
        self.run_phase(StatePhase::Import { schema, state: state.to_vec() }, limit, gives_up).map(drop)
    }

    fn run_phase(&self, phase: StatePhase, limit: Duration, gives_up: &dyn Fn() -> bool) -> PhaseResult {
        let (result, received) = sync_channel(1);
        self.request(WorkerCommand::Phase { phase, result });
        receive_unless(gives_up, &received, limit)?
    }

    /// Returns the content of the plugin file, for a later rollback.
    ///
    /// # Errors
    ///
    /// No descriptor is left.
    pub(super) fn kept_image(&self) -> Result<KeptImage, LoadError> {
        self.image.try_clone()
    }

    /// Returns the signature of the plugin file, if keys were trusted when it was staged.
    pub(super) fn signature(&self) -> Option<VerifiedSignature> {
        self.image.signature()
    }

    /// Makes every call that has not ended end now, because the host does not wait any longer: the
    /// workers are killed.
    pub(super) fn kill(&self) {
        self.request(WorkerCommand::Kill);
    }

    /// Stops the instances, and ends the workers before `until`: those that do not end are killed.
    /// No call is left.
    pub(super) fn end(mut self, until: Instant) {
        self.request(WorkerCommand::End { until });
        self.join(until + JOIN_LIMIT);
    }

    fn request(&self, command: WorkerCommand) {
        self.shared.signal.request(|requests| requests.commands.push(command));
    }

    fn join(&mut self, until: Instant) {
        let Some(thread) = self.supervisor.take() else { return };
        // The last call of a generation that was given up may end on the supervisor itself, which
        // then drops the generation with everything in it.
        if self.shared.is_supervisor() {
            return;
        }
        if thread.join_before(until).is_err() {
            tracing::error!("a thread that supervises workers does not end; please report this");
        }
    }

    /// Returns what operators need to know about the workers. Reads `/proc`.
    pub(super) fn report(&self) -> WorkerReport {
        let status = |line: &line::Line| (line.pid, line.open_calls());
        let workers: Vec<_> = self.shared.dispatch.lock().lines.iter().map(status).collect();
        let workers = workers.into_iter().map(|(pid, calls)| WorkerStatus {
            pid,
            resident: resident_memory(pid).unwrap_or(0),
            calls,
        });
        WorkerReport { workers: workers.collect(), restarts: self.restarts.get() }
    }
}

impl Drop for WorkerPlugin {
    fn drop(&mut self) {
        if self.supervisor.is_some() {
            self.kill();
            self.join(Instant::now() + JOIN_LIMIT);
        }
    }
}
