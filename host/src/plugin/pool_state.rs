//! The bookkeeping of a blocking pool: its queue of calls, and its threads by what they do.
//!
//! Everything here happens under one lock and does not block; threads are started and woken by the
//! pool itself.

use std::collections::VecDeque;
use std::sync::Arc;

use slab::Slab;

use super::call::{Call, CallTarget};
use super::pool_thread::PoolThread;
use crate::clock::Time;
use crate::host_thread::HostThread;
use crate::timer::TICK;

/// Why a generation did not accept a call.
/// [`RequestError::not_submitted`](crate::routing::RequestError::not_submitted) turns it into the
/// error on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubmitError {
    /// The queue is full.
    QueueFull,

    /// No thread is left, because each one runs a call that does not end.
    ThreadsLost,
}

/// The threads of a pool at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PoolHealth {
    pub(super) lost_threads: usize,

    /// Whether any thread is left that is not lost.
    pub(super) has_threads: bool,
}

/// The next step of a thread that has no call.
pub(super) enum NextStep<G: CallTarget> {
    Run(Arc<Call<G>>),
    Wait,
    End,
}

/// The queue and the threads of a pool.
pub(super) struct PoolState<G: CallTarget> {
    queue: VecDeque<Arc<Call<G>>>,

    /// Upper bound for the length of the queue.
    capacity: usize,

    /// When cancelled calls were last removed from the full queue.
    swept: Time,

    is_closed: bool,

    /// Threads that wait for a call. None is notified while all are busy.
    waiting: usize,

    /// Threads among the waiting ones that have been notified and have not woken up yet. One
    /// notification is enough for each.
    notified: usize,

    /// The threads that have not ended.
    threads: Slab<PoolThread<G>>,

    /// The number of lost threads among them.
    lost: usize,

    /// The number of threads that the pool should have, not counting lost ones.
    wanted: usize,

    handles: Vec<HostThread>,
}

impl<G: CallTarget> PoolState<G> {
    /// Creates the state of a pool without threads.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            capacity,
            swept: Time::now(),
            is_closed: false,
            waiting: 0,
            notified: 0,
            threads: Slab::new(),
            lost: 0,
            wanted: 0,
            handles: Vec::new(),
        }
    }

    /// Puts calls into the queue.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn enqueue(
        &mut self,
        calls: &mut impl ExactSizeIterator<Item = Arc<Call<G>>>,
    ) -> Result<(), SubmitError> {
        while calls.len() > 0 {
            if !self.has_threads() {
                return Err(SubmitError::ThreadsLost);
            }
            if self.queue.len() >= self.capacity {
                self.sweep(Time::now());
                if self.queue.len() >= self.capacity {
                    return Err(SubmitError::QueueFull);
                }
            }
            let room = self.capacity - self.queue.len();
            self.queue.extend(calls.take(room));
        }
        Ok(())
    }

    /// Removes cancelled calls from the queue, at most once per tick. Deadlines pass once per tick;
    /// sweeping more often would make each rejection of an overloaded plugin as expensive as its
    /// queue is long.
    pub(super) fn sweep(&mut self, now: Time) {
        if now.since(self.swept) >= TICK {
            self.swept = now;
            self.queue.retain(|call| !call.is_over());
        }
    }

    /// Returns the number of threads to notify: as many as there are calls, and none that was
    /// notified already. They count as notified from now on.
    pub(super) fn take_notifications(&mut self) -> usize {
        let count = self.queue.len().min(self.waiting).saturating_sub(self.notified);
        self.notified += count;
        count
    }

    /// Adds a thread and returns its number.
    pub(super) fn add_thread(&mut self) -> usize {
        self.threads.insert(PoolThread::default())
    }

    /// Adds the handle of a thread that was started.
    pub(super) fn add_handle(&mut self, handle: HostThread) {
        self.handles.push(handle);
    }

    /// Removes a thread that could not be started.
    pub(super) fn remove_thread(&mut self, number: usize) {
        self.threads.remove(number);
    }

    /// Sets the number of wanted threads, unless it is higher already.
    pub(super) fn want(&mut self, threads: usize) {
        self.wanted = self.wanted.max(threads);
    }

    /// Returns whether the pool has fewer threads than wanted.
    pub(super) fn needs_thread(&self) -> bool {
        self.threads.len() - self.lost < self.wanted
    }

    /// Returns whether one more lost thread may be replaced.
    pub(super) fn may_replace(&self, spare: usize) -> bool {
        self.threads.len() < self.wanted + spare
    }

    /// Marks a thread as lost whose call has run past its deadline, and returns the call; `None` if
    /// there is no such thread.
    pub(super) fn mark_lost(&mut self, now: Time) -> Option<Arc<Call<G>>> {
        let found = self.threads.iter_mut().find_map(|(_, thread)| thread.mark_lost(now))?;
        self.lost += 1;
        Some(found)
    }

    /// Returns the number of lost threads.
    pub(super) fn lost(&self) -> usize {
        self.lost
    }

    fn has_threads(&self) -> bool {
        self.lost < self.threads.len()
    }

    pub(super) fn health(&self) -> PoolHealth {
        PoolHealth { lost_threads: self.lost, has_threads: self.has_threads() }
    }

    /// Notes that a thread has ended its call, and returns whether the thread had been lost.
    pub(super) fn end_call(&mut self, number: usize) -> bool {
        let was_lost = self.threads[number].end_call();
        if was_lost {
            self.lost -= 1;
        }
        was_lost
    }

    /// Decides what a thread does next. A thread that is to end is removed.
    pub(super) fn next_step(&mut self, number: usize) -> NextStep<G> {
        let is_superfluous = self.threads.len() - self.lost > self.wanted;
        if is_superfluous || (self.is_closed && self.queue.is_empty()) {
            self.threads.remove(number);
            return NextStep::End;
        }
        match self.queue.pop_front() {
            Some(call) => {
                self.threads[number].begin_call(&call);
                NextStep::Run(call)
            }
            None => NextStep::Wait,
        }
    }

    pub(super) fn begin_wait(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn end_wait(&mut self) {
        self.waiting -= 1;
        // A thread that woke up without a notification takes away that of another thread, which
        // then finds a call or waits again.
        self.notified = self.notified.saturating_sub(1);
    }

    /// Takes the handles of all threads that were started.
    pub(super) fn take_handles(&mut self) -> Vec<HostThread> {
        std::mem::take(&mut self.handles)
    }

    /// Discards the queue. The threads end after the calls that they run.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests;
