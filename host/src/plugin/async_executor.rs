//! The thread that polls the `async` methods of a generation.
//!
//! Futures of a plugin are started, polled and dropped on this thread, so that its code runs only
//! on threads that are joined when the generation retires. The exception is the first poll under
//! inline polling, which I/O threads make; they are replaced before the code is closed. Cancelling
//! a call wakes its task, which then drops the future.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

use jackfield_plugin_api::abi::{CallEnd, PluginFuture};
use jackfield_protocol::ReplyHead;
use slab::Slab;

use super::call::{Call, CallTarget};
use super::plugin_thread::ThreadSpawner;
use super::ready_queue::{ExecutorSleep, ReadyQueue};
use crate::clock::Time;
use crate::crash_record::{RunningCode, run_recorded};
use crate::host_thread::join_all_before;
use crate::sync::lock;
use crate::system_failure::WithRemedy;

/// Capacity of a new output buffer, in bytes: enough for a small reply.
const OUT_CAPACITY: usize = 256;

/// A call whose future has been started.
struct StartedCall<G: CallTarget> {
    call: Arc<Call<G>>,
    future: PluginFuture,
    out: Vec<u8>,
    head: Option<ReplyHead>,
}

enum TaskStage<G: CallTarget> {
    New(Arc<Call<G>>),
    Started(StartedCall<G>),
    Ended,
}

struct Task<G: CallTarget> {
    stage: Mutex<TaskStage<G>>,

    /// Whether the task is in the ready queue.
    is_queued: AtomicBool,

    /// Its index among the live tasks. Only the executor's thread writes it.
    index: AtomicUsize,

    /// The task's entry in the crash record. It is kept outside of the stage, which is locked while
    /// the task is polled.
    running_code: RunningCode,
    request_id: Option<Box<str>>,

    queue: Arc<ReadyQueue<Task<G>>>,
}

/// The index of a task that is not among the live ones.
const NO_INDEX: usize = usize::MAX;

impl<G: CallTarget> Task<G> {
    /// Runs `work`, which touches the task's future, under the task's entry in the crash record.
    fn record_running<T>(&self, work: impl FnOnce() -> T) -> T {
        run_recorded(self.running_code, self.request_id.as_deref(), work)
    }

    /// Starts or polls the call, and returns whether the task has ended.
    fn advance(self: &Arc<Self>) -> bool {
        let mut stage = lock(&self.stage);
        let is_first_poll = matches!(&*stage, TaskStage::New(_));
        if let TaskStage::New(call) = &*stage {
            let call = Arc::clone(call);
            *stage = start(call);
        }
        let TaskStage::Started(started) = &mut *stage else { return true };

        let end = if started.call.is_over() {
            None
        } else {
            match started.poll(&Waker::from(Arc::clone(self)), is_first_poll) {
                Poll::Pending => return false,
                Poll::Ready(end) => Some(end),
            }
        };

        let ended = std::mem::replace(&mut *stage, TaskStage::Ended);
        drop(stage);
        if let TaskStage::Started(started) = ended {
            started.finish(end);
        }
        true
    }

    /// Drops everything of the plugin that the task holds.
    fn discard(&self) {
        let stage = std::mem::replace(&mut *lock(&self.stage), TaskStage::Ended);
        self.record_running(|| drop(stage));
    }
}

impl<G: CallTarget> StartedCall<G> {
    fn poll(&mut self, waker: &Waker, is_first_poll: bool) -> Poll<CallEnd> {
        let Self { call, future, out, .. } = self;
        let polled = future.poll(waker, out, call.generation.reply_limit());

        if is_first_poll && let Some(started_at) = call.started_at() {
            let length = Time::now().since(started_at);
            call.generation.record_first_poll(call.method, polled.is_ready(), length);
        }
        polled
    }

    /// Drops the future and reports the end of the call; `None` if the call was cancelled.
    fn finish(self, end: Option<CallEnd>) {
        let Self { call, future, mut out, head } = self;
        drop(future);
        if let Some(end) = end {
            call.generation.record_end(call.method, &call.facts, &end);
            call.sink.close(head, &mut out, end);
        }
    }
}

impl<G: CallTarget> Wake for Task<G> {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            let queue = Arc::clone(&self.queue);
            queue.push(std::iter::once(self));
        }
    }
}

/// Starts the future of a call, unless the call is over.
fn start<G: CallTarget>(call: Arc<Call<G>>) -> TaskStage<G> {
    if !call.claim() {
        return TaskStage::Ended;
    }

    let mut out = Vec::with_capacity(OUT_CAPACITY);
    let head = call.sink.open(&mut out);
    match call.generation.start_future(call.method, &call.facts, &call.params) {
        Ok(future) => TaskStage::Started(StartedCall { call, future, out, head }),
        Err(end) => {
            call.sink.close(head, &mut out, end);
            TaskStage::Ended
        }
    }
}

/// The async thread of one generation. It is started with the generation, or else by the first task
/// or timer.
pub(crate) struct AsyncExecutor<G: CallTarget> {
    spawner: ThreadSpawner,
    queue: Arc<ReadyQueue<Task<G>>>,
}

impl<G: CallTarget> AsyncExecutor<G> {
    pub(super) fn new(spawner: ThreadSpawner) -> Self {
        Self { spawner, queue: Arc::default() }
    }

    /// Submits calls that have not been started, and returns whether there is a thread to run them.
    pub(super) fn submit(&self, calls: &mut impl Iterator<Item = Arc<Call<G>>>) -> bool {
        if !self.ensure_thread() {
            return false;
        }
        self.queue.push(calls.map(|call| {
            let stage = TaskStage::New(Arc::clone(&call));
            self.task(&call, stage)
        }));
        true
    }

    /// Takes over a call whose future was started on another thread and polled with a waker that
    /// wakes nothing. Returns whether there is a thread for it; otherwise the future is dropped
    /// here.
    pub(super) fn resume(&self, call: &Arc<Call<G>>, future: PluginFuture) -> bool {
        if !self.ensure_thread() {
            let code = call.generation.running_code(call.method);
            run_recorded(code, call.facts.id.known(), || drop(future));
            return false;
        }

        // If the call cannot be claimed, it is over, and the task drops the future where it would
        // have been polled.
        call.claim();
        let mut out = Vec::with_capacity(OUT_CAPACITY);
        let head = call.sink.open(&mut out);
        let started = StartedCall { call: Arc::clone(call), future, out, head };
        self.queue.push(std::iter::once(self.task(call, TaskStage::Started(started))));
        true
    }

    /// Creates a task that is about to be queued.
    fn task(&self, call: &Arc<Call<G>>, stage: TaskStage<G>) -> Arc<Task<G>> {
        let task = Arc::new(Task {
            stage: Mutex::new(stage),
            is_queued: AtomicBool::new(true),
            index: AtomicUsize::new(NO_INDEX),
            running_code: call.generation.running_code(call.method),
            request_id: call.facts.id.known().map(Into::into),
            queue: Arc::clone(&self.queue),
        });
        call.wake_on_cancel(Waker::from(Arc::clone(&task)));
        task
    }

    /// Returns a future that is ready at `until`.
    pub(crate) fn sleep(&self, until: Time) -> impl Future<Output = ()> + Send + use<G> {
        self.ensure_thread();
        ExecutorSleep::new(&self.queue, until)
    }

    /// Starts the thread if it does not run yet, and returns whether it does.
    ///
    /// A thread that starts may have to wait while another plugin is loaded. A generation with
    /// `async` methods therefore starts it before its first call.
    pub(super) fn ensure_thread(&self) -> bool {
        self.queue.ensure_thread(|| {
            let queue = Arc::clone(&self.queue);
            let spawned = self.spawner.spawn("async", move || run(&queue));
            let log = |error: &std::io::Error| {
                let error = WithRemedy(error);
                let ThreadSpawner { plugin, generation, .. } = &self.spawner;
                tracing::error!(
                    plugin = &**plugin,
                    generation,
                    %error,
                    "plugin {plugin}: cannot start its thread for async methods: {error}; \
                     async calls are answered OVERLOADED until it can be started"
                );
            };
            spawned.inspect_err(log).ok().map(|(thread, _)| thread)
        })
    }

    /// Drops every future that is left and joins the thread. Returns the number of threads that did
    /// not end before `until`.
    pub(super) fn join(&self, until: Instant) -> usize {
        let thread = self.queue.close();
        join_all_before(thread, until)
    }
}

/// Runs tasks on this thread until the queue is closed, and then drops the futures that are left.
fn run<G: CallTarget>(queue: &ReadyQueue<Task<G>>) {
    let mut live: Slab<Arc<Task<G>>> = Slab::new();
    let mut batch = VecDeque::new();

    while queue.next_batch(&mut batch).is_some() {
        for task in batch.drain(..) {
            // A swap, not a store: this poll must see everything that a waker did before it found
            // the task still queued.
            task.is_queued.swap(false, Ordering::AcqRel);
            let has_ended = task.record_running(|| task.advance());
            let index = task.index.load(Ordering::Relaxed);

            if has_ended && index != NO_INDEX {
                task.index.store(NO_INDEX, Ordering::Relaxed);
                live.remove(index);
            } else if !has_ended && index == NO_INDEX {
                let index = live.insert(Arc::clone(&task));
                task.index.store(index, Ordering::Relaxed);
            }
        }
    }

    live.into_iter().for_each(|(_, task)| task.discard());
    queue.take_remaining().iter().for_each(|task| task.discard());
}
