//! The thread that polls a generation's `async` methods, and its timers.
//!
//! Futures of a plugin are begun, polled and dropped here, so that its code runs on threads that are joined when the
//! generation retires; but for the first poll of a prompt method's, which I/O threads make, and they are turned over.
//! Cancelling a call wakes its task, which then drops its future.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

use jackfield_plugin_api::abi::PluginFuture;
use jackfield_protocol::ReplyHead;
use slab::Slab;

use super::call::Call;
use super::generation::Identity;
use super::workers::{join_all, thread_name};
use crate::clock::Time;
use crate::recorder::{Recorder, Seat, What, running};

#[derive(Default)]
struct State {
    ready: VecDeque<Arc<Task>>,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    closed: bool,
    waiting: bool,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a task stands.
enum Stage {
    New(Arc<Call>),
    Begun { call: Arc<Call>, future: PluginFuture, out: Vec<u8>, head: Option<ReplyHead> },
    Ended,
}

struct Task {
    stage: Mutex<Stage>,
    queued: AtomicBool,
    /// Its place among the live tasks; set by the executor's thread alone.
    place: AtomicUsize,
    noted: Noted,
    shared: Arc<Shared>,
}

const NO_PLACE: usize = usize::MAX;

impl Task {
    /// Does something with the task's future, and has the record say so.
    fn noted<T>(&self, work: impl FnOnce() -> T) -> T {
        let Noted { what, id } = &self.noted;
        running(*what, id.as_deref(), work)
    }
}

/// What the record says of a task: kept beside it, for its stage is locked while it is polled.
struct Noted {
    what: What,
    id: Option<Box<str>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            let shared = Arc::clone(&self.shared);
            shared.push(std::iter::once(self));
        }
    }
}

impl Shared {
    fn push(&self, tasks: impl Iterator<Item = Arc<Task>>) {
        let mut state = lock(&self.state);
        if state.closed {
            return;
        }
        state.ready.extend(tasks);
        // Once is enough: what comes before the thread runs is found with this.
        let notify = std::mem::take(&mut state.waiting);
        drop(state);
        if notify {
            self.changed.notify_one();
        }
    }

    /// The tasks that are ready, waiting for one; `None` once the executor is closed.
    fn next_batch(&self, batch: &mut VecDeque<Arc<Task>>) -> Option<()> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return None;
            }
            let now = Time::now().0;
            let later = state.timers.split_off(&(now + 1, 0));
            let due = std::mem::replace(&mut state.timers, later);
            if !due.is_empty() {
                drop(state);
                due.into_values().for_each(Waker::wake);
                state = lock(&self.state);
            }
            if !state.ready.is_empty() {
                std::mem::swap(&mut state.ready, batch);
                return Some(());
            }
            state.waiting = true;
            let next = state.timers.first_key_value().map(|(&(until, _), _)| Time(until));
            state = match next {
                Some(until) => {
                    let length = until.since(Time::now());
                    self.changed.wait_timeout(state, length).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting = false;
        }
    }
}

/// The async thread of one generation; started by its first task or timer.
pub(crate) struct Executor {
    name: String,
    generation: u64,
    recorder: Arc<Recorder>,
    shared: Arc<Shared>,
}

impl Executor {
    pub(super) fn new(identity: &Identity, recorder: &Arc<Recorder>) -> Self {
        Self {
            name: identity.plugin.to_string(),
            generation: identity.number,
            recorder: Arc::clone(recorder),
            shared: Arc::default(),
        }
    }

    /// Begins calls on the executor's thread; `false` when there can be no such thread.
    pub(super) fn submit(&self, calls: &mut impl ExactSizeIterator<Item = Arc<Call>>) -> bool {
        if !self.ensure_thread() {
            return calls.len() == 0;
        }
        self.shared.push(calls.map(|call| {
            let stage = Stage::New(Arc::clone(&call));
            self.task(&call, stage)
        }));
        true
    }

    /// Goes on with a call whose future was begun elsewhere and polled with a waker that wakes nobody.
    pub(super) fn go_on(&self, call: &Arc<Call>, future: PluginFuture) -> bool {
        if !self.ensure_thread() {
            let what = call.generation.what(call.method);
            running(what, call.facts.id.known(), || drop(future));
            return false;
        }
        // Is it not claimed, it is over, and its future is dropped where it would have been polled.
        call.claim();
        let mut out = Vec::with_capacity(256);
        let head = call.answer.open(&mut out);
        let task = self.task(call, Stage::Begun { call: Arc::clone(call), future, out, head });
        self.shared.push(std::iter::once(task));
        true
    }

    /// A task that is about to be queued.
    fn task(&self, call: &Arc<Call>, stage: Stage) -> Arc<Task> {
        let task = Arc::new(Task {
            stage: Mutex::new(stage),
            queued: AtomicBool::new(true),
            place: AtomicUsize::new(NO_PLACE),
            noted: Noted {
                what: call.generation.what(call.method),
                id: call.facts.id.known().map(Into::into),
            },
            shared: Arc::clone(&self.shared),
        });
        call.wake_on_cancel(Waker::from(Arc::clone(&task)));
        task
    }

    /// A future that is ready at `until`.
    pub(crate) fn sleep(&self, until: Time) -> Sleep {
        self.ensure_thread();
        Sleep { shared: Arc::clone(&self.shared), until, key: None }
    }

    fn ensure_thread(&self) -> bool {
        let mut state = lock(&self.shared.state);
        if state.closed {
            return false;
        }
        if state.thread.is_none() {
            let (shared, seat) = (Arc::clone(&self.shared), self.recorder.seat());
            let name = thread_name(&self.name, 0).replace(":0", ":async");
            let spawned = Builder::new().name(name).spawn(move || {
                Seat::sit_down(seat);
                run(&shared);
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
        let mut state = lock(&self.shared.state);
        state.closed = true;
        let thread = state.thread.take();
        drop(state);
        self.shared.changed.notify_all();
        join_all(thread.into_iter().collect(), until)
    }
}

fn run(shared: &Arc<Shared>) {
    let mut live: Slab<Arc<Task>> = Slab::new();
    let mut batch = VecDeque::new();
    while shared.next_batch(&mut batch).is_some() {
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
    let left = std::mem::take(&mut lock(&shared.state).ready);
    left.iter().for_each(end);
}

/// Drops what a task holds of the plugin.
fn end(task: &Arc<Task>) {
    let stage = std::mem::replace(&mut *lock(&task.stage), Stage::Ended);
    task.noted(|| drop(stage));
}

/// Begins or polls a task; `true` when it has ended.
fn step(task: &Arc<Task>) -> bool {
    let mut stage = lock(&task.stage);
    let is_first = matches!(&*stage, Stage::New(_));
    if let Stage::New(call) = &*stage {
        let call = Arc::clone(call);
        *stage = begin(call);
    }
    let Stage::Begun { call, future, out, .. } = &mut *stage else { return true };
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
    let ended = std::mem::replace(&mut *stage, Stage::Ended);
    drop(stage);
    if let Stage::Begun { call, future, out, head } = ended {
        drop(future);
        match polled {
            Some(end) => {
                let end = call.generation.seen(end, call.method, &call.facts);
                call.answer.close(head, out, end);
            }
            None => drop(out),
        }
    }
    true
}

fn begin(call: Arc<Call>) -> Stage {
    if !call.claim() {
        return Stage::Ended;
    }
    let mut out = Vec::with_capacity(256);
    let head = call.answer.open(&mut out);
    match call.generation.begin(call.method, &call.facts, &call.params) {
        Ok(future) => Stage::Begun { call, future, out, head },
        Err(end) => {
            call.answer.close(head, out, end);
            Stage::Ended
        }
    }
}

/// Ready at an instant; woken by the executor's thread.
pub(crate) struct Sleep {
    shared: Arc<Shared>,
    until: Time,
    key: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Time::now() >= self.until {
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.shared);
        let mut state = lock(&shared.state);
        let key = self.key.unwrap_or_else(|| {
            state.next_timer += 1;
            state.next_timer
        });
        self.key = Some(key);
        let first = state.timers.first_key_value().is_none_or(|(&(until, _), _)| self.until.0 < until);
        state.timers.insert((self.until.0, key), cx.waker().clone());
        let notify = first && std::mem::take(&mut state.waiting);
        drop(state);
        if notify {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = lock(&self.shared.state).timers.remove(&(self.until.0, key));
            drop(waker);
        }
    }
}
