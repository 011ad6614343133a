//! The thread that polls a generation's `async` methods.
//!
//! Futures of a plugin are begun, polled and dropped here, so that its code runs on threads that are joined when the
//! generation retires; but for the first poll of a prompt method's, which I/O threads make, and they are turned over.
//! Cancelling a call wakes its task, which then drops its future.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread::Builder;
use std::time::Instant;

use jackfield_plugin_api::abi::PluginFuture;
use jackfield_protocol::ReplyHead;
use slab::Slab;

use super::blocking_pool::{join_all, thread_name};
use super::call::PluginCall;
use super::generation::GenerationId;
use super::ready_queue::{ExecutorSleep, ReadyQueue};
use crate::clock::Time;
use crate::crash_record::{CrashRecord, RecordSlot, RunningCode, running};
use crate::sync::lock;

/// Where a task stands.
enum TaskStage {
    New(Arc<PluginCall>),
    Begun { call: Arc<PluginCall>, future: PluginFuture, out: Vec<u8>, head: Option<ReplyHead> },
    Ended,
}

struct Task {
    stage: Mutex<TaskStage>,
    queued: AtomicBool,
    /// Its place among the live tasks; set by the executor's thread alone.
    place: AtomicUsize,
    noted: RecordNote,
    ready: Arc<ReadyQueue<Task>>,
}

const NO_PLACE: usize = usize::MAX;

impl Task {
    /// Does something with the task's future, and has the record say so.
    fn noted<T>(&self, work: impl FnOnce() -> T) -> T {
        let RecordNote { what, id } = &self.noted;
        running(*what, id.as_deref(), work)
    }
}

/// What the record says of a task: kept beside it, for its stage is locked while it is polled.
struct RecordNote {
    what: RunningCode,
    id: Option<Box<str>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let ready = Arc::clone(&self.ready);
            ready.push(std::iter::once(self));
        }
    }
}

/// The async thread of one generation; started by its first task or timer.
pub(crate) struct AsyncExecutor {
    name: String,
    generation: u64,
    crash_record: Arc<CrashRecord>,
    ready: Arc<ReadyQueue<Task>>,
}

impl AsyncExecutor {
    pub(super) fn new(identity: &GenerationId, crash_record: &Arc<CrashRecord>) -> Self {
        Self {
            name: identity.plugin.to_string(),
            generation: identity.number,
            crash_record: Arc::clone(crash_record),
            ready: Arc::default(),
        }
    }

    /// Begins calls on the executor's thread; `false` when there can be no such thread.
    pub(super) fn submit(&self, calls: &mut impl Iterator<Item = Arc<PluginCall>>) -> bool {
        if !self.ensure_thread() {
            return false;
        }
        self.ready.push(calls.map(|call| {
            let stage = TaskStage::New(Arc::clone(&call));
            self.task(&call, stage)
        }));
        true
    }

    /// Goes on with a call whose future was begun elsewhere and polled with a waker that wakes nobody.
    pub(super) fn go_on(&self, call: &Arc<PluginCall>, future: PluginFuture) -> bool {
        if !self.ensure_thread() {
            let what = call.generation.what(call.method);
            running(what, call.facts.id.known(), || drop(future));
            return false;
        }
        // Is it not claimed, it is over, and its future is dropped where it would have been polled.
        call.claim();
        let mut out = Vec::with_capacity(256);
        let head = call.answer.open(&mut out);
        let task = self.task(call, TaskStage::Begun { call: Arc::clone(call), future, out, head });
        self.ready.push(std::iter::once(task));
        true
    }

    /// A task that is about to be queued.
    fn task(&self, call: &Arc<PluginCall>, stage: TaskStage) -> Arc<Task> {
        let task = Arc::new(Task {
            stage: Mutex::new(stage),
            queued: AtomicBool::new(true),
            place: AtomicUsize::new(NO_PLACE),
            noted: RecordNote {
                what: call.generation.what(call.method),
                id: call.facts.id.known().map(Into::into),
            },
            ready: Arc::clone(&self.ready),
        });
        call.wake_on_cancel(Waker::from(Arc::clone(&task)));
        task
    }

    /// A future that is ready at `until`.
    pub(crate) fn sleep(&self, until: Time) -> impl Future<Output = ()> + Send + use<> {
        self.ensure_thread();
        ExecutorSleep::new(&self.ready, until)
    }

    fn ensure_thread(&self) -> bool {
        let mut state = lock(&self.ready.state);
        if state.closed {
            return false;
        }
        if state.thread.is_none() {
            let (ready, seat) = (Arc::clone(&self.ready), self.crash_record.seat());
            let name = thread_name(&self.name, 0).replace(":0", ":async");
            let spawned = Builder::new().name(name).spawn(move || {
                RecordSlot::sit_down(seat);
                run(&ready);
            });
            match spawned {
                Ok(thread) => state.thread = Some(thread),
                Err(error) => {
                    let generation = self.generation;
                    tracing::error!(plugin = self.name, generation, %error, "no thread for async methods");
                }
            }
        }
        state.thread.is_some()
    }

    /// Drops every future that is left and joins the thread; gives back how many threads did not end before `until`.
    pub(super) fn join(&self, until: Instant) -> usize {
        let mut state = lock(&self.ready.state);
        state.closed = true;
        let thread = state.thread.take();
        drop(state);
        self.ready.changed.notify_all();
        join_all(thread.into_iter().collect(), until)
    }
}

fn run(ready: &ReadyQueue<Task>) {
    let mut live: Slab<Arc<Task>> = Slab::new();
    let mut batch = VecDeque::new();
    while ready.next_batch(&mut batch).is_some() {
        for task in batch.drain(..) {
            // A swap, so that whatever a waker did before it found the task still queued is seen by this poll.
            task.queued.swap(false, Ordering::AcqRel);
            let ended = task.noted(|| step(&task));
            let place = task.place.load(Ordering::Relaxed);
            match (ended, place) {
                (true, NO_PLACE) => {}
                (true, place) => {
                    task.place.store(NO_PLACE, Ordering::Relaxed);
                    live.remove(place);
                }
                (false, NO_PLACE) => {
                    let place = live.insert(Arc::clone(&task));
                    task.place.store(place, Ordering::Relaxed);
                }
                (false, _) => {}
            }
        }
    }
    for (_, task) in live {
        end(&task);
    }
    let left = std::mem::take(&mut lock(&ready.state).ready);
    left.iter().for_each(end);
}

/// Drops what a task holds of the plugin.
fn end(task: &Arc<Task>) {
    let stage = std::mem::replace(&mut *lock(&task.stage), TaskStage::Ended);
    task.noted(|| drop(stage));
}

/// Begins or polls a task; `true` when it has ended.
fn step(task: &Arc<Task>) -> bool {
    let mut stage = lock(&task.stage);
    let is_first = matches!(&*stage, TaskStage::New(_));
    if let TaskStage::New(call) = &*stage {
        let call = Arc::clone(call);
        *stage = begin(call);
    }
    let TaskStage::Begun { call, future, out, .. } = &mut *stage else { return true };
    let polled = if call.is_over() {
        None
    } else {
        let limit = call.generation.reply_limit();
        let polled = future.poll(&Waker::from(Arc::clone(task)), out, limit);
        if is_first && let Some(begun) = call.begun() {
            call.generation.first_polled(call.method, polled.is_ready(), Time::now().since(begun));
        }
        match polled {
            Poll::Pending => return false,
            Poll::Ready(end) => Some(end),
        }
    };
    let ended = std::mem::replace(&mut *stage, TaskStage::Ended);
    drop(stage);
    if let TaskStage::Begun { call, future, mut out, head } = ended {
        drop(future);
        if let Some(end) = polled {
            let end = call.generation.seen(end, call.method, &call.facts);
            call.answer.close(head, &mut out, end);
        }
    }
    true
}

fn begin(call: Arc<PluginCall>) -> TaskStage {
    if !call.claim() {
        return TaskStage::Ended;
    }
    let mut out = Vec::with_capacity(256);
    let head = call.answer.open(&mut out);
    match call.generation.begin(call.method, &call.facts, &call.params) {
        Ok(future) => TaskStage::Begun { call, future, out, head },
        Err(end) => {
            call.answer.close(head, &mut out, end);
            TaskStage::Ended
        }
    }
}
