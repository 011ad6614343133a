//! The threads that run the `blocking` methods of a generation, and the bounded queue before them.
//!
//! The threads belong to the generation and are joined before its code is unloaded: code that ran
//! only on joined threads leaves nothing behind in the process.
//!
//! A thread whose call runs past its deadline is *lost*. Another thread replaces it, up to a bound,
//! and the superfluous thread ends when the lost one returns.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::call::{Call, CallTarget};
use super::lost_call::{LostCall, Replacement, log_return};
use super::plugin_thread::ThreadSpawner;
use super::pool_state::{NextStep, PoolHealth, PoolState, SubmitError};
use crate::clock::Time;
use crate::host_thread::join_all_before;
use crate::sync::{lock, wait};

/// The blocking threads of one generation.
pub(super) struct BlockingPool<G: CallTarget>(Arc<PoolShared<G>>);

/// The part of a pool that its threads share with it.
struct PoolShared<G: CallTarget> {
    spawner: ThreadSpawner,

    /// Lost threads that are replaced. If more are lost, the pool has fewer threads than wanted.
    spare_threads: usize,

    state: Mutex<PoolState<G>>,
    filled: Condvar,
}

impl<G: CallTarget> PoolShared<G> {
    fn start_thread(self: &Arc<Self>, state: &mut PoolState<G>) -> io::Result<()> {
        let number = state.add_thread();
        let pool = Arc::clone(self);

        match self.spawner.spawn(&number.to_string(), move || pool.serve(number)) {
            Ok(thread) => {
                state.add_handle(thread);
                Ok(())
            }
            Err(error) => {
                state.remove_thread(number);
                Err(error)
            }
        }
    }

    /// Runs calls on this thread until it is to end.
    fn serve(&self, number: usize) {
        let mut out = Vec::new();
        while let Some(call) = self.next_call(number) {
            if call.claim() {
                call.run(&mut out);
            }
        }
    }

    /// Waits for the next call of a thread that has ended the previous one; `None` if the thread is
    /// to end.
    fn next_call(&self, number: usize) -> Option<Arc<Call<G>>> {
        let mut state = lock(&self.state);
        if state.end_call(number) {
            log_return(&self.spawner, state.lost());
        }

        loop {
            match state.next_step(number) {
                NextStep::Run(call) => return Some(call),
                NextStep::End => return None,
                NextStep::Wait => {}
            }
            state.begin_wait();
            state = wait(&self.filled, state);
            state.end_wait();
        }
    }

    /// Finds the threads whose call has run past its deadline, and starts others in their place.
    fn replace_lost(self: &Arc<Self>) -> Vec<LostCall<G>> {
        let mut found = Vec::new();
        let mut state = lock(&self.state);
        // While every thread is lost, nothing else removes the calls of clients that have gone.
        state.sweep(Time::now());

        while let Some(call) = state.mark_lost(Time::now()) {
            let replacement = if !state.may_replace(self.spare_threads) {
                Replacement::NoSpareThread
            } else if let Err(error) = self.start_thread(&mut state) {
                Replacement::Failed(error)
            } else {
                Replacement::Replaced
            };
            found.push(LostCall { call, replacement, lost: state.lost() });
        }
        found
    }
}

impl<G: CallTarget> BlockingPool<G> {
    /// Starts `threads` threads before a queue of `capacity` calls. Up to `spare_threads` more may
    /// replace lost ones.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread. Threads that were started end.
    pub(super) fn start(
        spawner: ThreadSpawner,
        threads: usize,
        spare_threads: usize,
        capacity: usize,
    ) -> io::Result<Self> {
        let state = Mutex::new(PoolState::new(capacity));
        let pool = Self(Arc::new(PoolShared { spawner, spare_threads, state, filled: Condvar::new() }));

        if let Err(error) = pool.ensure_threads(threads) {
            pool.close();
            return Err(error);
        }
        Ok(pool)
    }

    /// Ensures that there are at least `threads` threads from now on, not counting lost ones.
    ///
    /// # Errors
    ///
    /// The system cannot start another thread.
    pub(super) fn ensure_threads(&self, threads: usize) -> io::Result<()> {
        let mut state = lock(&self.0.state);
        state.want(threads);
        while state.needs_thread() {
            self.0.start_thread(&mut state)?;
        }
        Ok(())
    }

    /// Puts calls into the queue.
    ///
    /// # Errors
    ///
    /// Why the first call that is left in `calls` was not accepted.
    pub(super) fn submit(
        &self,
        calls: &mut impl ExactSizeIterator<Item = Arc<Call<G>>>,
    ) -> Result<(), SubmitError> {
        let mut state = lock(&self.0.state);
        let submitted = state.enqueue(calls);
        let notifications = state.take_notifications();
        drop(state);

        (0..notifications).for_each(|_| self.0.filled.notify_one());
        submitted
    }

    /// Finds, replaces and reports lost threads. To be called when a deadline may have passed.
    pub(super) fn replace_lost(&self) {
        let found = self.0.replace_lost();
        found.iter().for_each(|lost| lost.report(&self.0.spawner));
    }

    pub(super) fn health(&self) -> PoolHealth {
        lock(&self.0.state).health()
    }

    fn close(&self) {
        lock(&self.0.state).close();
        self.0.filled.notify_all();
    }

    /// Discards the queue and joins the threads. Returns the number of threads that did not end
    /// before `until`.
    pub(super) fn join(self, until: Instant) -> usize {
        self.close();
        let handles = lock(&self.0.state).take_handles();
        join_all_before(handles, until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::super::test_support::{FakeTarget, fake_call, memory_crash_record};
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn pool(threads: usize, spare_threads: usize, capacity: usize) -> BlockingPool<FakeTarget> {
        let crash_record = memory_crash_record();
        let spawner = ThreadSpawner { plugin: "test".into(), generation: 1, crash_record };
        BlockingPool::start(spawner, threads, spare_threads, capacity).unwrap()
    }

    fn submit(pool: &BlockingPool<FakeTarget>, call: &Arc<Call<FakeTarget>>) -> Result<(), SubmitError> {
        pool.submit(&mut std::iter::once(Arc::clone(call)))
    }

    /// A target whose calls report that they have started, and then wait until the sender is
    /// dropped.
    fn blocking_target() -> (Arc<FakeTarget>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (started, has_started) = mpsc::channel();
        let (resume, is_resumed) = mpsc::channel();
        let is_resumed = Mutex::new(is_resumed);
        let target = FakeTarget::new(move |_| {
            started.send(()).unwrap();
            let _: Result<(), _> = lock(&is_resumed).recv();
        });
        (target, has_started, resume)
    }

    #[test]
    fn runs_calls_in_order_and_reports_their_results() {
        let (order, ran) = mpsc::channel();
        let target = FakeTarget::new(move |params: &[u8]| order.send(params.to_vec()).unwrap());
        let pool = pool(1, 0, 9);

        let calls: Vec<_> = (0..9u8).map(|number| fake_call(&target, Time::NEVER, &[number])).collect();
        pool.submit(&mut calls.iter().map(|(call, _)| Arc::clone(call))).unwrap();

        for (number, (_, ends)) in (0..9u8).zip(&calls) {
            assert_eq!(ran.recv_timeout(LIMIT), Ok(vec![number]));
            assert!(ends.recv_timeout(LIMIT).is_ok());
        }
        assert_eq!(pool.join(Instant::now() + LIMIT), 0);
    }

    #[test]
    fn rejects_a_call_when_the_queue_is_full() {
        let (target, has_started, resume) = blocking_target();
        let pool = pool(1, 0, 1);
        let calls: Vec<_> = (0..3).map(|_| fake_call(&target, Time::NEVER, b"").0).collect();

        submit(&pool, &calls[0]).unwrap();
        has_started.recv_timeout(LIMIT).unwrap();
        submit(&pool, &calls[1]).unwrap();
        assert_eq!(submit(&pool, &calls[2]), Err(SubmitError::QueueFull));

        drop(resume);
        assert_eq!(pool.join(Instant::now() + LIMIT), 0);
    }

    #[test]
    fn replaces_a_lost_thread_up_to_the_spare_threads() {
        let (target, has_started, resume) = blocking_target();
        let pool = pool(1, 1, 9);
        // The deadline passes while the call runs.
        let overdue = || fake_call(&target, Time::now().after(Duration::from_millis(500)), b"").0;
        let lose_a_thread = |lost| {
            submit(&pool, &overdue()).unwrap();
            has_started.recv_timeout(LIMIT).unwrap();
            while pool.health().lost_threads < lost {
                pool.replace_lost();
                std::thread::yield_now();
            }
        };

        lose_a_thread(1);
        assert!(pool.health().has_threads);
        lose_a_thread(2);
        assert!(!pool.health().has_threads);
        assert_eq!(submit(&pool, &overdue()), Err(SubmitError::ThreadsLost));

        drop(resume);
        while pool.health().lost_threads > 0 {
            std::thread::yield_now();
        }
        assert_eq!(pool.join(Instant::now() + LIMIT), 0);
    }

    #[test]
    fn loses_threads_only_to_abandoned_calls_that_run_past_their_deadline() {
        let (target, has_started, resume) = blocking_target();
        let pool = pool(1, 2, 1000);
        let deadline = Time::now().after(Duration::from_millis(500));
        let calls: Vec<_> = (0..1000).map(|_| fake_call(&target, deadline, b"").0).collect();
        pool.submit(&mut calls.iter().cloned()).unwrap();
        has_started.recv_timeout(LIMIT).unwrap();

        calls.iter().for_each(|call| call.abandon());
        pool.replace_lost();
        let is_early = Time::now() < deadline;
        assert_eq!(pool.health().lost_threads, usize::from(!is_early));
        while pool.health().lost_threads < 1 {
            pool.replace_lost();
            std::thread::yield_now();
        }
        // The thread in its place finds nothing that it may run.
        pool.replace_lost();
        assert_eq!((pool.health().lost_threads, target.abandoned_timeouts()), (1, 1));
        assert!(has_started.try_recv().is_err());

        drop(resume);
        assert_eq!(pool.join(Instant::now() + LIMIT), 0);
    }

    #[test]
    fn leaves_a_thread_whose_call_does_not_end() {
        let (target, has_started, resume) = blocking_target();
        let pool = pool(2, 0, 9);
        let call = fake_call(&target, Time::NEVER, b"").0;
        submit(&pool, &call).unwrap();
        has_started.recv_timeout(LIMIT).unwrap();

        assert_eq!(pool.join(Instant::now() + Duration::from_millis(50)), 1);
        drop(resume);
    }
}
