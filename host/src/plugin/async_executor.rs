//! The thread that polls the `async` methods of a generation.
//!
//! Futures of a plugin are started, polled and dropped on this thread, so that its code runs only
//! on threads that are joined when the generation retires. The exception is the first poll under
//! inline polling, which I/O threads make; they are replaced before the code is closed. Cancelling
//! a call wakes its task, which then drops the future. Wakers of the plugin also run on this thread
//! alone: other threads wake them through a [`WakerRelay`].
//!
//! A thread whose poll does not return and whose call has run past its deadline is *lost*. Another
//! thread takes over the other tasks, up to a bound. When the lost one returns, it passes on the
//! tasks that only it knows, and ends.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Wake, Waker};
use std::time::Instant;

use jackfield_plugin_api::abi::PluginFuture;
use slab::Slab;

use super::async_task::{Task, TaskState};
use super::call::{Call, CallTarget};
use super::executor_sleep::ExecutorSleep;
use super::executor_thread::ExecutorThread;
use super::lost_call::{LostCall, log_return};
use super::plugin_thread::ThreadSpawner;
use super::pool_state::SubmitError;
use super::ready_queue::{ExecutorHealth, Observation, ReadyQueue};
use super::waker_relay::WakerRelay;
use crate::clock::Time;
use crate::crash_record::{LifecyclePhase, RunningCode, run_recorded};
use crate::host_thread::{HostThread, join_all_before};
use crate::system_failure::WithRemedy;

/// The async thread of one generation. It is started with the generation, or else by the first task
/// or timer.
pub(crate) struct AsyncExecutor<G: CallTarget> {
    spawner: Arc<ThreadSpawner>,

    /// Lost threads that are replaced.
    spare_threads: usize,

    queue: Arc<ReadyQueue<Task<G>>>,
}

impl<G: CallTarget> AsyncExecutor<G> {
    pub(super) fn new(spawner: ThreadSpawner, spare_threads: usize) -> Self {
        Self { spawner: Arc::new(spawner), spare_threads, queue: Arc::default() }
    }

    /// Submits calls that have not been started.
    ///
    /// # Errors
    ///
    /// There is no thread to run them.
    pub(super) fn submit(&self, calls: &mut impl Iterator<Item = Arc<Call<G>>>) -> Result<(), SubmitError> {
        self.ensure_thread()?;
        self.queue.push(calls.map(|call| Task::new(&call, &self.queue)));
        Ok(())
    }

    /// Takes over a call whose future was started on another thread and polled with a waker that
    /// wakes nothing.
    ///
    /// # Errors
    ///
    /// There is no thread for it. The future was dropped here.
    pub(super) fn resume(&self, call: &Arc<Call<G>>, future: PluginFuture) -> Result<(), SubmitError> {
        if let Err(error) = self.ensure_thread() {
            let code = call.generation.running_code(call.method, &call.facts);
            run_recorded(code, call.facts.id.known(), || drop(future));
            return Err(error);
        }

        // If the call cannot be claimed, it is over, and the task drops the future where it would
        // have been polled.
        call.claim();
        self.queue.push(std::iter::once(Task::started(call, future, &self.queue)));
        Ok(())
    }

    /// Returns a future that is ready at `until`.
    pub(crate) fn sleep(&self, until: Time) -> impl Future<Output = ()> + Send + use<G> {
        // Without a thread, the sleep lasts until another one can start it.
        let _ = self.ensure_thread();
        self.timer(until)
    }

    /// Returns a future that is ready at `until`, for a caller that has a relay.
    pub(crate) fn timer(&self, until: Time) -> impl Future<Output = ()> + Send + use<G> {
        ExecutorSleep::new(&self.queue, until)
    }

    /// Returns a relay for a future of the host that the plugin polls; `None` if there is no thread
    /// that calls the wakers of the plugin.
    pub(crate) fn relay(&self) -> Option<WakerRelay> {
        self.ensure_thread().ok().map(|()| WakerRelay::new(Arc::clone(&self.queue) as _))
    }

    /// Starts the thread if it does not run yet.
    ///
    /// A thread that starts may have to wait while another plugin is loaded. A generation with
    /// `async` methods therefore starts it before its first call.
    ///
    /// # Errors
    ///
    /// There is no thread, or only one that is lost.
    pub(super) fn ensure_thread(&self) -> Result<(), SubmitError> {
        self.queue.ensure_thread(|thread| {
            let log = |error: &std::io::Error| {
                let error = WithRemedy(error);
                let ThreadSpawner { plugin, generation, .. } = &*self.spawner;
                tracing::error!(
                    plugin = &**plugin,
                    generation,
                    %error,
                    "plugin {plugin}: cannot start its thread for async methods: {error}; \
                     async calls are answered OVERLOADED until it can be started"
                );
            };
            self.start(thread).inspect_err(log)
        })
    }

    fn start(&self, thread: ExecutorThread) -> std::io::Result<HostThread> {
        let (spawner, queue) = (Arc::clone(&self.spawner), Arc::clone(&self.queue));
        self.spawner.spawn("async", move || run(&spawner, &queue, &thread))
    }

    /// Finds out whether the thread is lost; replaces it and reports that. To be called
    /// periodically.
    pub(super) fn replace_lost(&self) {
        let now = Time::now();
        let overdue = |task: &Task<G>| task.call().filter(|call| call.is_overdue(now));
        let start = |thread| self.start(thread);

        match self.queue.observe(self.spare_threads, overdue, start) {
            Observation::Nothing => {}
            Observation::Returned { lost } => log_return(&self.spawner, lost),
            Observation::Lost { found: call, replacement, lost } => {
                LostCall { call, replacement, lost }.report(&self.spawner);
            }
        }
    }

    pub(super) fn health(&self) -> ExecutorHealth {
        self.queue.health()
    }

    /// Drops every future that is left and joins the threads. Returns the number of threads that
    /// did not end before `until`.
    pub(super) fn join(&self, until: Instant) -> usize {
        join_all_before(self.queue.close(), until)
    }
}

/// Runs tasks on this thread until the queue is closed or another thread is in charge.
fn run<G: CallTarget>(spawner: &ThreadSpawner, queue: &ReadyQueue<Task<G>>, thread: &ExecutorThread) {
    let mut live: Slab<Arc<Task<G>>> = Slab::new();
    let mut batch = VecDeque::new();
    let wake = LifecyclePhase::Wake.in_generation(spawner.generation);
    let wake_recorded = |waker: Waker| run_recorded(wake, None, || waker.wake());

    while queue.next_batch(&mut batch, wake_recorded).is_some() {
        let is_in_charge = batch.drain(..).all(|task| {
            run_task(&task, thread.number, &mut live);
            thread.advance()
        });

        if !is_in_charge {
            pass_on(&live, thread.number);
            let (lost, is_closed) = queue.end_lost();
            log_return(spawner, lost);
            if !is_closed {
                return;
            }
            break;
        }
    }
    discard_all(queue, live, wake);
}

/// Runs a task, and keeps it among the live ones of this thread until it has ended.
fn run_task<G: CallTarget>(task: &Arc<Task<G>>, thread: u32, live: &mut Slab<Arc<Task<G>>>) {
    // A swap, not a store: this poll must see everything that a waker did before it found the task
    // still queued.
    task.is_queued.swap(false, Ordering::AcqRel);
    let state = task.run();
    let index = task.place.index(thread);

    match (state, index) {
        (TaskState::Ended, Some(index)) => {
            task.place.clear();
            live.remove(index);
        }
        (TaskState::Pending, None) => task.place.set(thread, live.insert(Arc::clone(task))),
        _ => {}
    }
}

/// Lets the thread in charge poll the live tasks of this thread that it does not know yet, so that
/// it keeps them.
fn pass_on<G: CallTarget>(live: &Slab<Arc<Task<G>>>, thread: u32) {
    let unknown = live.iter().filter(|(_, task)| task.place.index(thread).is_some());
    unknown.for_each(|(_, task)| Arc::clone(task).wake());
}

/// Drops the futures and the wakers that are left in a closed queue.
fn discard_all<G: CallTarget>(queue: &ReadyQueue<Task<G>>, live: Slab<Arc<Task<G>>>, wake: RunningCode) {
    live.into_iter().for_each(|(_, task)| task.discard());
    let (tasks, wakers) = queue.take_remaining();
    tasks.iter().for_each(|task| task.discard());
    run_recorded(wake, None, || drop(wakers));
}
