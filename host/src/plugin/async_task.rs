//! One call on an async executor: from its start over its polls to its end.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError, Weak};
use std::task::{Poll, Wake, Waker};

use jackfield_plugin_api::abi::{CallEnd, PluginFuture};
use jackfield_protocol::ReplyHead;

use super::call::{Call, CallTarget};
use super::ready_queue::ReadyQueue;
use crate::clock::Time;
use crate::crash_record::{RunningCode, run_recorded};

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

/// The state of a task after a turn on an executor thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TaskState {
    Pending,
    Ended,

    /// Another thread, which is lost, is still polling it.
    Busy,
}

/// A call on an async executor.
pub(super) struct Task<G: CallTarget> {
    /// Locked during a poll. No thread waits for the lock.
    stage: Mutex<TaskStage<G>>,

    /// For the supervision. The stage keeps the call until its end.
    call: Weak<Call<G>>,

    /// Whether the task is in the ready queue.
    pub(super) is_queued: AtomicBool,

    /// Whether the task was to be polled while another thread was polling it.
    is_missed: AtomicBool,

    /// The place of the task among the live tasks of an executor thread.
    pub(super) place: TaskPlace,

    /// The task's entry in the crash record. It is kept outside of the stage, which is locked while
    /// the task is polled.
    running_code: RunningCode,
    request_id: Option<Box<str>>,

    queue: Arc<ReadyQueue<Task<G>>>,
}

/// The number of an executor thread, and the index of a task among its live tasks.
pub(super) struct TaskPlace(AtomicU64);

impl TaskPlace {
    const NONE: u64 = u64::MAX;

    /// Returns the index among the live tasks of `thread`, if the task is among them.
    pub(super) fn index(&self, thread: u32) -> Option<usize> {
        let place = self.0.load(Ordering::Relaxed);
        let is_there = place != Self::NONE && place >> 32 == u64::from(thread);
        if is_there { usize::try_from(place & u64::from(u32::MAX)).ok() } else { None }
    }

    /// Sets the place. Only the thread in charge does this.
    pub(super) fn set(&self, thread: u32, index: usize) {
        self.0.store(u64::from(thread) << 32 | index as u64, Ordering::Relaxed);
    }

    pub(super) fn clear(&self) {
        self.0.store(Self::NONE, Ordering::Relaxed);
    }
}

impl<G: CallTarget> Task<G> {
    /// Creates a task that is about to be queued for a call that has not been started.
    pub(super) fn new(call: &Arc<Call<G>>, queue: &Arc<ReadyQueue<Self>>) -> Arc<Self> {
        Self::at(TaskStage::New(Arc::clone(call)), call, queue)
    }

    /// Creates a task that is about to be queued for a future that was started elsewhere.
    pub(super) fn started(
        call: &Arc<Call<G>>,
        future: PluginFuture,
        queue: &Arc<ReadyQueue<Self>>,
    ) -> Arc<Self> {
        let mut out = Vec::with_capacity(OUT_CAPACITY);
        let head = call.sink.open(&mut out);
        let started = StartedCall { call: Arc::clone(call), future, out, head };
        Self::at(TaskStage::Started(started), call, queue)
    }

    fn at(stage: TaskStage<G>, call: &Arc<Call<G>>, queue: &Arc<ReadyQueue<Self>>) -> Arc<Self> {
        let task = Arc::new(Self {
            stage: Mutex::new(stage),
            call: Arc::downgrade(call),
            is_queued: AtomicBool::new(true),
            is_missed: AtomicBool::new(false),
            place: TaskPlace(AtomicU64::new(TaskPlace::NONE)),
            running_code: call.generation.running_code(call.method, &call.facts),
            request_id: call.facts.id.known().map(Into::into),
            queue: Arc::clone(queue),
        });
        call.wake_on_cancel(Waker::from(Arc::clone(&task)));
        task
    }

    /// Returns the call, unless it has ended.
    pub(super) fn call(&self) -> Option<Arc<Call<G>>> {
        self.call.upgrade()
    }

    /// Starts or polls the call, under the task's entry in the crash record.
    pub(super) fn run(self: &Arc<Self>) -> TaskState {
        let Some(stage) = self.lock_for_poll() else { return TaskState::Busy };
        let state = run_recorded(self.running_code, self.request_id.as_deref(), || self.advance(stage));

        // Ordered after the release of the stage: a thread that missed the poll has set this before
        // it tried the lock for the second time.
        if self.is_missed.load(Ordering::SeqCst) && self.is_missed.swap(false, Ordering::SeqCst) {
            Arc::clone(self).wake();
        }
        state
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, TaskStage<G>>> {
        match self.stage.try_lock() {
            Ok(stage) => Some(stage),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Locks the stage; `None` if another thread is polling the task, which then wakes the task
    /// again.
    fn lock_for_poll(&self) -> Option<MutexGuard<'_, TaskStage<G>>> {
        self.try_lock().or_else(|| {
            self.is_missed.store(true, Ordering::SeqCst);
            self.try_lock()
        })
    }

    fn advance(self: &Arc<Self>, mut stage: MutexGuard<'_, TaskStage<G>>) -> TaskState {
        let is_first_poll = matches!(&*stage, TaskStage::New(_));
        if let TaskStage::New(call) = &*stage {
            let call = Arc::clone(call);
            *stage = start(call);
        }
        let TaskStage::Started(started) = &mut *stage else { return TaskState::Ended };

        let end = if started.call.is_over() {
            None
        } else {
            match started.poll(&Waker::from(Arc::clone(self)), is_first_poll) {
                Poll::Pending => return TaskState::Pending,
                Poll::Ready(end) => Some(end),
            }
        };

        let ended = std::mem::replace(&mut *stage, TaskStage::Ended);
        drop(stage);
        if let TaskStage::Started(started) = ended {
            started.finish(end);
        }
        TaskState::Ended
    }

    /// Drops everything of the plugin that the task holds, unless a lost thread is polling it.
    pub(super) fn discard(&self) {
        let Some(mut stage) = self.try_lock() else { return };
        let discarded = std::mem::replace(&mut *stage, TaskStage::Ended);
        drop(stage);
        run_recorded(self.running_code, self.request_id.as_deref(), || drop(discarded));
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
