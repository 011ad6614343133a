//! The threads that run a generation's `blocking` methods, and the bounded queue before them.
//!
//! The threads belong to the generation and are joined before its code is unloaded: code that ran only on joined
//! threads leaves nothing behind in the process. A thread whose call runs on past its deadline is lost: another takes
//! its place, up to a bound, and goes again when the lost one comes back.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, thread};

use slab::Slab;

use super::call::PluginCall;
use super::generation::GenerationId;
use crate::clock::Time;
use crate::crash_record::{CrashRecord, RecordSlot};
use crate::sync::{lock, wait};
use crate::timer::TICK;

/// Why a call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// The queue is full.
    Full,
    /// No thread is left to run it: each runs a call that does not end.
    Lost,
}

/// What one thread does.
#[derive(Default)]
struct PoolThread {
    /// The deadline of the call that it runs, if it runs one.
    deadline: Option<Time>,
    lost: bool,
}

struct QueueState {
    calls: VecDeque<Arc<PluginCall>>,
    /// When the queue was last found full and rid of what was cancelled.
    swept: Time,
    closed: bool,
    /// Threads that wait for a call: nobody is notified while all are busy.
    waiting: usize,
    /// Those of them that have been notified and not come back yet: once is enough for each.
    notified: usize,
    /// The threads that have not ended.
    working: Slab<PoolThread>,
    /// Those of them that are lost.
    lost: usize,
    /// Threads that are wanted, not counting lost ones.
    wanted: usize,
    handles: Vec<JoinHandle<()>>,
}

struct CallQueue {
    name: String,
    generation: u64,
    crash_record: Arc<CrashRecord>,
    /// Lost threads that are replaced; past it there are fewer than wanted.
    spare: usize,
    most: usize,
    state: Mutex<QueueState>,
    filled: Condvar,
}

impl CallQueue {
    fn start_thread(self: &Arc<Self>, state: &mut QueueState) -> io::Result<()> {
        let number = state.working.insert(PoolThread::default());
        let (queue, seat) = (Arc::clone(self), self.crash_record.seat());
        let spawned = Builder::new().name(thread_name(&self.name, number)).spawn(move || {
            RecordSlot::sit_down(seat);
            serve(&queue, number);
        });
        match spawned {
            Ok(handle) => state.handles.push(handle),
            Err(error) => {
                state.working.remove(number);
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(
        &self,
        state: &mut QueueState,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        while calls.len() > 0 {
            if state.lost == state.working.len() {
                return Err(SubmitError::Lost);
            }
            if state.calls.len() >= self.most {
                // What was cancelled while it waited holds no place. Deadlines pass once a tick: looking more often
                // would make each refusal of an overloaded plugin as dear as its queue is long.
                let now = Time::now();
                if now.since(state.swept) >= TICK {
                    state.swept = now;
                    state.calls.retain(|call| !call.is_over());
                }
                if state.calls.len() >= self.most {
                    return Err(SubmitError::Full);
                }
            }
            let room = self.most - state.calls.len();
            state.calls.extend(calls.take(room));
        }
        Ok(())
    }

    /// Finds threads whose call should have ended, and has others take their place.
    fn look_for_lost(self: &Arc<Self>, state: &mut QueueState) {
        let now = Time::now();
        let overdue =
            |work: &&mut PoolThread| !work.lost && work.deadline.is_some_and(|deadline| deadline <= now);
        let found = state
            .working
            .iter_mut()
            .map(|(_, work)| work)
            .filter(overdue)
            .map(|work| work.lost = true)
            .count();
        state.lost += found;
        for _ in 0..found {
            let lost = state.lost;
            if state.working.len() >= state.wanted + self.spare {
                tracing::error!(
                    plugin = self.name,
                    generation = self.generation,
                    lost,
                    "a thread is lost to a call that does not end, and is not replaced"
                );
            } else if let Err(error) = self.start_thread(state) {
                let generation = self.generation;
                tracing::error!(plugin = self.name, generation, lost, %error, "a lost thread cannot be replaced");
            } else {
                tracing::warn!(
                    plugin = self.name,
                    generation = self.generation,
                    lost,
                    "a thread is lost to a call that does not end; another takes its place"
                );
            }
        }
    }
}

/// The blocking threads of one generation.
pub(super) struct BlockingPool(Arc<CallQueue>);

impl BlockingPool {
    /// Starts `threads` threads before a queue of `most` calls; `spare` more may take the place of lost ones.
    pub(super) fn start(
        identity: &GenerationId,
        crash_record: &Arc<CrashRecord>,
        threads: usize,
        spare: usize,
        most: usize,
    ) -> io::Result<Self> {
        let state = QueueState {
            calls: VecDeque::new(),
            swept: Time::now(),
            closed: false,
            waiting: 0,
            notified: 0,
            working: Slab::new(),
            lost: 0,
            wanted: 0,
            handles: Vec::with_capacity(threads),
        };
        let queue = Arc::new(CallQueue {
            name: identity.plugin.to_string(),
            generation: identity.number,
            crash_record: Arc::clone(crash_record),
            spare,
            most,
            state: Mutex::new(state),
            filled: Condvar::new(),
        });
        let workers = Self(queue);
        if let Err(error) = workers.want(threads) {
            workers.close();
            return Err(error);
        }
        Ok(workers)
    }

    /// At least so many threads from now on, not counting lost ones.
    pub(super) fn want(&self, threads: usize) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        state.wanted = state.wanted.max(threads);
        while state.working.len() - state.lost < state.wanted {
            self.0.start_thread(&mut state)?;
        }
        Ok(())
    }

    /// Puts calls into the queue.
    ///
    /// # Errors
    /// Why the first that is left in `calls` was not taken.
    pub(super) fn submit(
        &self,
        calls: &mut impl ExactSizeIterator<Item = Arc<PluginCall>>,
    ) -> Result<(), SubmitError> {
        let queue = &self.0;
        let mut state = lock(&queue.state);
        let taken = queue.take(&mut state, calls);
        // As many as have work, and not one that was notified already.
        let notify = state.calls.len().min(state.waiting).saturating_sub(state.notified);
        state.notified += notify;
        drop(state);
        (0..notify).for_each(|_| queue.filled.notify_one());
        taken
    }

    /// A deadline has passed: perhaps the thread that runs the call is lost.
    pub(super) fn look_for_lost(&self) {
        self.0.look_for_lost(&mut lock(&self.0.state));
    }

    /// Threads that run calls which should have ended, and whether any other is left.
    pub(super) fn lost(&self) -> (usize, bool) {
        let state = lock(&self.0.state);
        (state.lost, state.lost < state.working.len())
    }

    /// No further call; the threads end when they are done with the one they run.
    pub(super) fn close(&self) {
        let mut state = lock(&self.0.state);
        state.closed = true;
        state.calls.clear();
        drop(state);
        self.0.filled.notify_all();
    }

    /// Joins the threads; gives back how many did not end before `until`.
    pub(super) fn join(self, until: Instant) -> usize {
        self.close();
        let handles = std::mem::take(&mut lock(&self.0.state).handles);
        join_all(handles, until)
    }
}

/// Joins what ends before `until`, and counts the rest, which is left running.
pub(super) fn join_all(mut threads: Vec<JoinHandle<()>>, until: Instant) -> usize {
    let mut pause = Duration::from_micros(50);
    loop {
        let (ended, running): (Vec<_>, Vec<_>) = threads.into_iter().partition(JoinHandle::is_finished);
        for thread in ended {
            // The loop catches nothing because nothing in it panics: plugins' panics stay in plugins.
            let _ = thread.join();
        }
        if running.is_empty() || Instant::now() >= until {
            return running.len();
        }
        threads = running;
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(5));
    }
}

/// Linux shows 15 bytes of a thread's name.
pub(super) fn thread_name(plugin: &str, number: usize) -> String {
    let number = number.to_string();
    let room = 15usize.saturating_sub(number.len() + 1);
    format!("{}:{number}", &plugin[..plugin.floor_char_boundary(room)])
}

fn serve(queue: &CallQueue, number: usize) {
    let mut out = Vec::new();
    while let Some(call) = next(queue, number) {
        if call.claim() {
            call.run(&mut out);
        }
    }
}

/// The next call for a thread that is done with the one before; `None` when the thread is to end.
fn next(queue: &CallQueue, number: usize) -> Option<Arc<PluginCall>> {
    let mut state = lock(&queue.state);
    let done = std::mem::take(&mut state.working[number]);
    if done.lost {
        state.lost -= 1;
        let (generation, lost) = (queue.generation, state.lost);
        tracing::info!(plugin = queue.name, generation, lost, "a thread that was lost has come back");
    }
    loop {
        let too_many = state.working.len() - state.lost > state.wanted;
        if too_many || (state.closed && state.calls.is_empty()) {
            state.working.remove(number);
            return None;
        }
        if let Some(call) = state.calls.pop_front() {
            state.working[number].deadline = Some(Time(call.facts.deadline));
            return Some(call);
        }
        state.waiting += 1;
        state = wait(&queue.filled, state);
        state.waiting -= 1;
        // One that came back by itself takes the notice of another, which then finds a call or waits again.
        state.notified = state.notified.saturating_sub(1);
    }
}
