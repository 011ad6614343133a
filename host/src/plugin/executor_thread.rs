//! The thread that is in charge of an async executor, as the executor sees it: which task it polls,
//! and how another thread takes over if that poll does not return.
//!
//! ```text
//!               the same overdue poll was                     taken over by
//!               running at the last look                      another thread
//!   in charge ───────────────────────────► lost, in charge ───────────────────► lost
//!       ▲                                        │
//!       └────────── the poll has returned ───────┘
//! ```
//!
//! The thread counts its polls with one atomic operation each. The result also shows whether
//! another thread has taken over. Everything else happens under the lock of the queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An executor thread: its number, and its progress.
#[derive(Clone)]
pub(super) struct ExecutorThread {
    pub(super) number: u32,
    progress: Arc<AtomicUsize>,
}

/// The bit of the progress that is set when another thread has taken over. The other bits are the
/// number of polls that have returned.
const TAKEN_OVER: usize = 1 << (usize::BITS - 1);

impl ExecutorThread {
    /// Notes that a poll has returned, and returns whether the thread is still in charge. Only the
    /// thread itself calls this.
    pub(super) fn advance(&self) -> bool {
        self.progress.fetch_add(1, Ordering::AcqRel) & TAKEN_OVER == 0
    }

    fn polls(&self) -> usize {
        self.progress.load(Ordering::Acquire)
    }
}

/// The result of [`ThreadInCharge::observe`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PollObservation<F> {
    Nothing,

    /// A poll does not return. The thread was not known to be lost.
    Stuck(F),

    /// The thread was lost, and its poll has returned.
    Returned,
}

/// The thread in charge, with a copy of the batch that it polls.
pub(super) struct ThreadInCharge<T> {
    thread: ExecutorThread,
    batch: VecDeque<Arc<T>>,

    /// The number of polls that had returned when the batch began.
    batch_start: usize,

    /// The number of polls that had returned at the last look, if one was running.
    observed: Option<usize>,

    is_lost: bool,
}

impl<T> ThreadInCharge<T> {
    pub(super) fn new(number: u32) -> Self {
        let thread = ExecutorThread { number, progress: Arc::default() };
        Self { thread, batch: VecDeque::new(), batch_start: 0, observed: None, is_lost: false }
    }

    /// Returns what the thread itself needs.
    pub(super) fn thread(&self) -> ExecutorThread {
        self.thread.clone()
    }

    /// Returns whether the thread is lost and was not replaced.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Notes that the thread has polled its batch.
    pub(super) fn end_batch(&mut self) {
        // These are not the last references to tasks whose futures live: the thread keeps those.
        self.batch.clear();
    }

    /// Notes that the thread begins to poll all of `ready`, and copies it to `batch`.
    pub(super) fn begin_batch(&mut self, ready: &mut VecDeque<Arc<T>>, batch: &mut VecDeque<Arc<T>>) {
        std::mem::swap(ready, &mut self.batch);
        self.batch_start = self.thread.polls();
        batch.extend(self.batch.iter().cloned());
    }

    /// Finds out whether the thread is lost: the poll that was running at the last look still runs,
    /// and `overdue` returns something for its task.
    pub(super) fn observe<F>(&mut self, overdue: impl FnOnce(&T) -> Option<F>) -> PollObservation<F> {
        let polls = self.thread.polls();
        let task = self.batch.get(polls - self.batch_start);
        let observed = task.map(|_| polls);
        let is_same = observed.is_some() && self.observed == observed;
        self.observed = observed;

        if self.is_lost {
            if is_same {
                return PollObservation::Nothing;
            }
            self.is_lost = false;
            return PollObservation::Returned;
        }
        match task.filter(|_| is_same).and_then(|task| overdue(task)) {
            Some(found) => PollObservation::Stuck(found),
            None => PollObservation::Nothing,
        }
    }

    /// Marks the thread as lost without a replacement.
    pub(super) fn set_lost(&mut self) {
        self.is_lost = true;
    }

    /// Ends the charge of the thread, and returns the tasks of its batch that it has not begun to
    /// poll; `None` if the poll that was observed last has returned.
    pub(super) fn take_over(&mut self) -> Option<VecDeque<Arc<T>>> {
        let polls = self.observed?;
        let progress = &self.thread.progress;
        progress.compare_exchange(polls, polls | TAKEN_OVER, Ordering::AcqRel, Ordering::Acquire).ok()?;

        let mut rest = std::mem::take(&mut self.batch);
        rest.drain(..=polls - self.batch_start);
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread that has begun to poll these tasks.
    fn polling(tasks: impl IntoIterator<Item = u32>) -> (ThreadInCharge<u32>, ExecutorThread) {
        let mut in_charge = ThreadInCharge::new(1);
        let mut batch = VecDeque::new();
        in_charge.begin_batch(&mut tasks.into_iter().map(Arc::new).collect(), &mut batch);
        assert_eq!(batch, in_charge.batch);
        let thread = in_charge.thread();
        (in_charge, thread)
    }

    fn overdue(task: &u32) -> Option<u32> {
        Some(*task).filter(|task| *task > 1)
    }

    #[test]
    fn is_lost_if_the_same_overdue_poll_runs_at_two_looks() {
        let (mut in_charge, thread) = polling([1, 2, 3]);
        let mut looks = |times: u32| (0..times).map(|_| in_charge.observe(overdue)).last().unwrap();
        assert_eq!(looks(2), PollObservation::Nothing, "not overdue");
        assert!(thread.advance());
        assert_eq!(looks(1), PollObservation::Nothing, "the poll has begun since the last look");
        assert_eq!(looks(1), PollObservation::Stuck(2));
        assert!(thread.advance() && thread.advance());
        assert_eq!(looks(2), PollObservation::Nothing, "the batch has ended");
    }

    #[test]
    fn is_no_longer_lost_once_its_poll_has_returned() {
        let (mut in_charge, thread) = polling([2]);
        in_charge.observe(overdue);
        assert_eq!(in_charge.observe(overdue), PollObservation::Stuck(2));
        in_charge.set_lost();
        assert_eq!(in_charge.observe(overdue), PollObservation::Nothing, "known already");

        assert!(in_charge.is_lost() && thread.advance());
        assert_eq!(in_charge.observe(overdue), PollObservation::Returned);
        assert!(!in_charge.is_lost());
    }

    #[test]
    fn leaves_the_tasks_that_it_has_not_polled_to_the_next_thread() {
        let (mut in_charge, thread) = polling([1, 2, 3, 4]);
        assert!(thread.advance());
        in_charge.observe(overdue);
        let rest: Vec<_> = in_charge.take_over().unwrap().iter().map(|task| **task).collect();
        assert_eq!(rest, [3, 4]);
        assert!(!thread.advance(), "the thread is no longer in charge");
    }

    #[test]
    fn stays_in_charge_if_its_poll_returns_in_time() {
        let (mut in_charge, thread) = polling([2, 3]);
        in_charge.observe(overdue);
        assert!(thread.advance());
        assert!(in_charge.take_over().is_none() && thread.advance());
    }
}
