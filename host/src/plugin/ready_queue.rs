//! The queue that the thread of an async executor waits on: ready tasks, timers, and wakers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;

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

    thread: Option<HostThread>,
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
            thread: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> ReadyQueue<T> {
    /// Ensures that there is a thread, started with `spawn` if necessary, and returns whether there
    /// is. A closed queue gets none.
    pub(super) fn ensure_thread(&self, spawn: impl FnOnce() -> Option<HostThread>) -> bool {
        let mut state = lock(&self.state);
        if state.is_closed {
            return false;
        }
        if state.thread.is_none() {
            state.thread = spawn();
        }
        state.thread.is_some()
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

    /// Waits for ready tasks and swaps them into `batch`, which must be empty. Passes the wakers of
    /// due timers and those that other threads want to wake to `wake` in the meantime. Returns
    /// `None` once the queue is closed.
    pub(super) fn next_batch(&self, batch: &mut VecDeque<Arc<T>>, mut wake: impl FnMut(Waker)) -> Option<()> {
        let mut state = lock(&self.state);

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
                std::mem::swap(&mut state.ready, batch);
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

    /// Closes the queue and returns the thread, which ends after its current batch.
    pub(super) fn close(&self) -> Option<HostThread> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let thread = state.thread.take();
        drop(state);

        self.changed.notify_all();
        thread
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
mod tests {
    use std::task::Wake;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::wake_count::WakeCount;

    type Queue = ReadyQueue<u32>;

    fn push(queue: &Queue, tasks: impl IntoIterator<Item = u32>) {
        queue.push(tasks.into_iter().map(Arc::new));
    }

    fn next(queue: &Queue) -> Option<Vec<u32>> {
        let mut batch = VecDeque::new();
        queue.next_batch(&mut batch, Waker::wake).map(|()| batch.iter().map(|task| **task).collect())
    }

    #[test]
    fn returns_all_ready_tasks_in_order() {
        let queue = Queue::default();
        push(&queue, [1, 2]);
        push(&queue, [3]);
        assert_eq!(next(&queue), Some(vec![1, 2, 3]));
    }

    #[test]
    fn wakes_the_waiting_thread_for_a_task() {
        let queue = Arc::<Queue>::default();
        let waits = thread::spawn({
            let queue = Arc::clone(&queue);
            move || next(&queue)
        });
        while !lock(&queue.state).is_waiting {
            thread::yield_now();
        }
        push(&queue, [1]);
        assert_eq!(waits.join().unwrap(), Some(vec![1]));
    }

    #[test]
    fn ends_when_closed_and_keeps_the_remaining_tasks_for_the_caller() {
        let queue = Queue::default();
        push(&queue, [1]);
        assert!(queue.close().is_none());
        push(&queue, [2]);
        assert_eq!(next(&queue), None);
        assert_eq!(queue.take_remaining().0.iter().map(|task| **task).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn starts_one_thread_and_none_once_closed() {
        let queue = Queue::default();
        assert!(!queue.ensure_thread(|| None));
        assert!(queue.ensure_thread(|| HostThread::spawn("a", || ()).ok()));
        assert!(queue.ensure_thread(|| panic!("a thread was started already")));
        assert!(queue.close().is_some());
        assert!(!queue.ensure_thread(|| panic!("the queue is closed")));
    }

    #[test]
    fn returns_the_wakers_that_other_threads_want_to_wake() {
        let queue = Arc::<Queue>::default();
        let count = Arc::<WakeCount>::default();
        queue.push_waker(&mut Some(Waker::from(Arc::clone(&count))));
        assert_eq!(count.get(), 0);
        push(&queue, [1]);
        assert_eq!(next(&queue), Some(vec![1]));
        assert_eq!(count.get(), 1);

        queue.push_waker(&mut Some(Waker::from(Arc::clone(&count))));
        queue.close();
        let mut late = Some(Waker::noop().clone());
        queue.push_waker(&mut late);
        assert!(late.is_some(), "a closed queue took a waker");
        assert_eq!((queue.take_remaining().1.len(), count.get()), (1, 1));
    }

    /// A waker that uses the queue when it is dropped, as one of a plugin may.
    struct UsesQueue(Arc<Queue>);

    impl Wake for UsesQueue {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for UsesQueue {
        fn drop(&mut self) {
            self.0.remove_timer(Time::NEVER, 0);
        }
    }

    #[test]
    fn ends_when_it_is_closed_while_it_wakes_timers() {
        struct ClosesQueue(Arc<Queue>);
        impl Wake for ClosesQueue {
            fn wake(self: Arc<Self>) {
                assert!(self.0.close().is_none());
            }
        }
        let queue = Arc::<Queue>::default();
        let due = Time::now().after(Duration::from_millis(20));
        queue.set_timer(due, None, &Waker::from(Arc::new(ClosesQueue(Arc::clone(&queue)))));

        let waits = HostThread::spawn("a", {
            let queue = Arc::clone(&queue);
            move || next(&queue)
        });
        let ended = waits.unwrap().join_before(Instant::now() + Duration::from_secs(30));
        assert!(matches!(ended, Ok(Ok(None))), "the thread waits for a closed queue");
    }

    #[test]
    fn drops_a_replaced_waker_without_its_lock() {
        let queue = Arc::<Queue>::default();
        let waker = || Waker::from(Arc::new(UsesQueue(Arc::clone(&queue))));
        let timer = queue.set_timer(Time::NEVER, None, &waker());
        queue.set_timer(Time::NEVER, Some(timer), &waker());
        queue.remove_timer(Time::NEVER, timer);
        assert_eq!(queue.timers(), 0);
    }
}
