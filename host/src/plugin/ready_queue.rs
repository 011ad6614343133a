//! The queue that the thread of an async executor waits on: ready tasks, timers, and wakers.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;

use super::executor_thread::{ExecutorThread, PollObservation, ThreadInCharge};
use super::lost_call::Replacement;
use super::pool_state::SubmitError;
use super::waker_relay::WakerQueue;
use crate::clock::Time;
use crate::host_thread::HostThread;
use crate::sync::{lock, wait, wait_timeout};

struct ReadyState<T> {
    ready: VecDeque<Arc<T>>,

    /// By the instant, and a number that makes the key unique.
    timers: BTreeMap<(u64, u64), Waker>,
    last_timer: u64,

    /// Wakers of the plugin that other threads want to wake.
    woken: Vec<Waker>,

    is_closed: bool,

    /// Whether the thread sleeps, and has not been notified yet.
    is_waiting: bool,

    /// `None` if there is no thread, or none could be started in the place of a lost one.
    in_charge: Option<ThreadInCharge<T>>,

    /// The number of threads that were started.
    started: u32,

    /// Lost threads that have not returned.
    lost: usize,

    handles: Vec<HostThread>,
}

/// The threads of an async executor at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExecutorHealth {
    pub(super) lost_threads: usize,

    /// Whether a thread polls tasks, or would be started for one.
    pub(super) has_thread: bool,
}

/// The result of [`ReadyQueue::observe`].
pub(super) enum Observation<F> {
    Nothing,

    /// A thread was found to be lost.
    Lost {
        found: F,
        replacement: Replacement,
        lost: usize,
    },

    /// A lost thread that was not replaced has returned.
    Returned {
        lost: usize,
    },
}

/// The ready tasks, the timers and the woken wakers of one executor thread.
pub(super) struct ReadyQueue<T> {
    state: Mutex<ReadyState<T>>,
    changed: Condvar,
}

impl<T> Default for ReadyQueue<T> {
    fn default() -> Self {
        let state = ReadyState {
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            last_timer: 0,
            woken: Vec::new(),
            is_closed: false,
            is_waiting: false,
            in_charge: None,
            started: 0,
            lost: 0,
            handles: Vec::new(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> ReadyState<T> {
    /// Starts a thread that is in charge from now on.
    fn start_thread(
        &mut self,
        spawn: impl FnOnce(ExecutorThread) -> io::Result<HostThread>,
    ) -> io::Result<()> {
        self.in_charge = None;
        self.started += 1;
        let in_charge = ThreadInCharge::new(self.started);

        self.handles.push(spawn(in_charge.thread())?);
        self.in_charge = Some(in_charge);
        Ok(())
    }

    /// Starts a thread in the place of a lost one, unless `spare` others are replaced already.
    /// Returns `None` if the thread is not lost any more.
    fn replace(
        &mut self,
        spare: usize,
        spawn: impl FnOnce(ExecutorThread) -> io::Result<HostThread>,
    ) -> Option<Replacement> {
        let in_charge = self.in_charge.as_mut()?;
        if self.lost >= spare {
            in_charge.set_lost();
            return Some(Replacement::NoSpareThread);
        }

        let mut tasks = in_charge.take_over()?;
        tasks.append(&mut self.ready);
        self.ready = tasks;
        Some(match self.start_thread(spawn) {
            Ok(()) => Replacement::Replaced,
            Err(error) => Replacement::Failed(error),
        })
    }
}

impl<T> ReadyQueue<T> {
    /// Ensures that there is a thread, started with `spawn` if necessary. A closed queue gets none.
    ///
    /// # Errors
    ///
    /// There is no thread, or only one that is lost.
    pub(super) fn ensure_thread(
        &self,
        spawn: impl FnOnce(ExecutorThread) -> io::Result<HostThread>,
    ) -> Result<(), SubmitError> {
        let mut state = lock(&self.state);
        match &state.in_charge {
            _ if state.is_closed => Err(SubmitError::QueueFull),
            Some(in_charge) if in_charge.is_lost() => Err(SubmitError::ThreadsLost),
            Some(_) => Ok(()),
            None => state.start_thread(spawn).map_err(|_| SubmitError::QueueFull),
        }
    }

    /// Finds out whether the thread is lost, because it polls a task for which `overdue` returns
    /// something, and did so when this was called before. If so, starts another thread with
    /// `spawn`, up to `spare` of them.
    pub(super) fn observe<F>(
        &self,
        spare: usize,
        overdue: impl FnOnce(&T) -> Option<F>,
        spawn: impl FnOnce(ExecutorThread) -> io::Result<HostThread>,
    ) -> Observation<F> {
        let mut state = lock(&self.state);
        let Some(in_charge) = &mut state.in_charge else { return Observation::Nothing };

        match in_charge.observe(overdue) {
            PollObservation::Nothing => Observation::Nothing,
            PollObservation::Returned => {
                state.lost -= 1;
                Observation::Returned { lost: state.lost }
            }
            PollObservation::Stuck(found) => match state.replace(spare, spawn) {
                Some(replacement) => {
                    state.lost += 1;
                    Observation::Lost { found, replacement, lost: state.lost }
                }
                None => Observation::Nothing,
            },
        }
    }

    /// Notes that a lost thread that was replaced ends. Returns how many others are lost, and
    /// whether the queue is closed.
    pub(super) fn end_lost(&self) -> (usize, bool) {
        let mut state = lock(&self.state);
        state.lost -= 1;
        (state.lost, state.is_closed)
    }

    pub(super) fn health(&self) -> ExecutorHealth {
        let state = lock(&self.state);
        let has_thread = !state.in_charge.as_ref().is_some_and(ThreadInCharge::is_lost);
        ExecutorHealth { lost_threads: state.lost, has_thread }
    }

    /// Adds ready tasks. A closed queue drops them.
    pub(super) fn push(&self, tasks: impl Iterator<Item = Arc<T>>) {
        let mut state = lock(&self.state);
        if state.is_closed {
            return;
        }
        state.ready.extend(tasks);
        self.notify(state, true);
    }

    /// Waits for ready tasks and moves them into `batch`, which must be empty. Passes the wakers of
    /// due timers and those that other threads want to wake to `wake` in the meantime. Returns
    /// `None` once the queue is closed. Only the thread in charge calls this.
    pub(super) fn next_batch(&self, batch: &mut VecDeque<Arc<T>>, mut wake: impl FnMut(Waker)) -> Option<()> {
        let mut state = lock(&self.state);
        if let Some(in_charge) = &mut state.in_charge {
            in_charge.end_batch();
        }

        loop {
            if state.is_closed {
                return None;
            }

            let now = Time::now().0;
            let later = state.timers.split_off(&(now + 1, 0));
            let due = std::mem::replace(&mut state.timers, later);
            if !due.is_empty() || !state.woken.is_empty() {
                let woken = std::mem::take(&mut state.woken);
                // A waker is code of the plugin, and pushes its task, which takes the lock.
                drop(state);
                due.into_values().chain(woken).for_each(&mut wake);
                state = lock(&self.state);
                if state.ready.is_empty() {
                    // The queue may have been closed meanwhile, or got more wakers.
                    continue;
                }
            }
            if !state.ready.is_empty() {
                let ReadyState { ready, in_charge, .. } = &mut *state;
                in_charge.as_mut()?.begin_batch(ready, batch);
                return Some(());
            }

            state.is_waiting = true;
            let next = state.timers.first_key_value().map(|(&(until, _), _)| Time(until));
            state = match next {
                Some(until) => wait_timeout(&self.changed, state, until.since(Time::now())),
                None => wait(&self.changed, state),
            };
            state.is_waiting = false;
        }
    }

    /// Closes the queue and returns the threads, which end after their current batch.
    pub(super) fn close(&self) -> Vec<HostThread> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let threads = std::mem::take(&mut state.handles);
        drop(state);

        self.changed.notify_all();
        threads
    }

    /// Returns the tasks and the wakers that are left in a closed queue. No more can come.
    pub(super) fn take_remaining(&self) -> (VecDeque<Arc<T>>, Vec<Waker>) {
        let mut state = lock(&self.state);
        (std::mem::take(&mut state.ready), std::mem::take(&mut state.woken))
    }

    /// Sets the timer with this number, or a new one, to wake `waker` at `until`. Returns its
    /// number.
    pub(super) fn set_timer(&self, until: Time, number: Option<u64>, waker: &Waker) -> u64 {
        // Cloned and dropped without the lock, because both may be code of the plugin.
        let waker = waker.clone();
        let mut state = lock(&self.state);
        let number = number.unwrap_or_else(|| {
            state.last_timer += 1;
            state.last_timer
        });

        let is_first = state.timers.first_key_value().is_none_or(|(&(first, _), _)| until.0 < first);
        let previous = state.timers.insert((until.0, number), waker);
        // The thread sleeps until the timer that was first before.
        self.notify(state, is_first);
        drop(previous);
        number
    }

    /// Removes a timer, if it has not fired.
    pub(super) fn remove_timer(&self, until: Time, number: u64) {
        let waker = lock(&self.state).timers.remove(&(until.0, number));
        // Dropped after the lock: a waker may drop a task, which drops its timers.
        drop(waker);
    }

    /// Releases the lock, and wakes the thread if `is_needed` and it sleeps. One notification is
    /// enough: the thread finds everything that is added before it runs.
    fn notify(&self, mut state: MutexGuard<'_, ReadyState<T>>, is_needed: bool) {
        let notify = is_needed && std::mem::take(&mut state.is_waiting);
        drop(state);

        if notify {
            self.changed.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        lock(&self.state).timers.len()
    }
}

impl<T: Send + Sync> WakerQueue for ReadyQueue<T> {
    fn push_waker(&self, waker: &mut Option<Waker>) {
        let mut state = lock(&self.state);
        if !state.is_closed {
            state.woken.extend(waker.take());
            self.notify(state, true);
        }
    }
}

#[cfg(test)]
mod tests;
