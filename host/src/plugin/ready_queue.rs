//! The queue that the thread of an async executor waits on: ready tasks, and timers.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

use crate::clock::Time;
use crate::host_thread::HostThread;
use crate::sync::{lock, wait, wait_timeout};

struct ReadyState<T> {
    ready: VecDeque<Arc<T>>,

    /// By the instant, and a number that makes the key unique.
    timers: BTreeMap<(u64, u64), Waker>,
    last_timer: u64,

    is_closed: bool,

    /// Whether the thread sleeps, and has not been notified yet.
    is_waiting: bool,

    thread: Option<HostThread>,
}

/// The ready tasks and the timers of one executor thread.
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
        // One notification is enough: the thread finds everything that is added before it runs.
        let notify = std::mem::take(&mut state.is_waiting);
        drop(state);

        if notify {
            self.changed.notify_one();
        }
    }

    /// Waits for ready tasks and swaps them into `batch`, which must be empty. Wakes due timers in
    /// the meantime. Returns `None` once the queue is closed.
    pub(super) fn next_batch(&self, batch: &mut VecDeque<Arc<T>>) -> Option<()> {
        let mut state = lock(&self.state);

        loop {
            if state.is_closed {
                return None;
            }

            let now = Time::now().0;
            let later = state.timers.split_off(&(now + 1, 0));
            let due = std::mem::replace(&mut state.timers, later);
            if !due.is_empty() {
                // A waker pushes its task, which takes the lock.
                drop(state);
                due.into_values().for_each(Waker::wake);
                state = lock(&self.state);
                // The queue may have been closed meanwhile, and then nothing notifies this thread.
                continue;
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

    /// Returns the tasks that are left in a closed queue.
    pub(super) fn take_remaining(&self) -> VecDeque<Arc<T>> {
        std::mem::take(&mut lock(&self.state).ready)
    }
}

/// A future that is ready at an instant. The executor thread wakes it.
pub(super) struct ExecutorSleep<T> {
    queue: Arc<ReadyQueue<T>>,
    until: Time,
    key: Option<u64>,
}

impl<T> ExecutorSleep<T> {
    pub(super) fn new(queue: &Arc<ReadyQueue<T>>, until: Time) -> Self {
        Self { queue: Arc::clone(queue), until, key: None }
    }
}

impl<T> Future for ExecutorSleep<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Time::now() >= self.until {
            return Poll::Ready(());
        }

        let queue = Arc::clone(&self.queue);
        let mut state = lock(&queue.state);
        let key = self.key.unwrap_or_else(|| {
            state.last_timer += 1;
            state.last_timer
        });
        self.key = Some(key);

        let is_first = state.timers.first_key_value().is_none_or(|(&(until, _), _)| self.until.0 < until);
        state.timers.insert((self.until.0, key), cx.waker().clone());
        // The thread sleeps until the timer that was first before.
        let notify = is_first && std::mem::take(&mut state.is_waiting);
        drop(state);
        if notify {
            queue.changed.notify_one();
        }
        Poll::Pending
    }
}

impl<T> Drop for ExecutorSleep<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            // Dropped after the lock: a waker may drop a task, which drops its timers.
            let waker = lock(&self.queue.state).timers.remove(&(self.until.0, key));
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    type Queue = ReadyQueue<u32>;

    fn push(queue: &Queue, tasks: impl IntoIterator<Item = u32>) {
        queue.push(tasks.into_iter().map(Arc::new));
    }

    fn next(queue: &Queue) -> Option<Vec<u32>> {
        let mut batch = VecDeque::new();
        queue.next_batch(&mut batch).map(|()| batch.iter().map(|task| **task).collect())
    }

    /// Pushes task 7 when it is woken.
    struct PushesSeven(Arc<Queue>, AtomicUsize);

    impl Wake for PushesSeven {
        fn wake(self: Arc<Self>) {
            self.1.fetch_add(1, Ordering::Relaxed);
            push(&self.0, [7]);
        }
    }

    fn pushes_seven(queue: &Arc<Queue>) -> Arc<PushesSeven> {
        Arc::new(PushesSeven(Arc::clone(queue), AtomicUsize::new(0)))
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
        assert_eq!(queue.take_remaining().iter().map(|task| **task).collect::<Vec<_>>(), [1]);
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
    fn wakes_a_timer_when_it_is_due() {
        let queue = Arc::<Queue>::default();
        let waker = pushes_seven(&queue);
        let until = Time::now().after(Duration::from_millis(20));
        let mut sleep = pin!(ExecutorSleep::new(&queue, until));
        let task = Waker::from(Arc::clone(&waker));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_pending());

        assert_eq!(next(&queue), Some(vec![7]));
        assert!(Time::now() >= until);
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_ready());
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
        let mut sleep = pin!(ExecutorSleep::new(&queue, Time::now().after(Duration::from_millis(20))));
        let task = Waker::from(Arc::new(ClosesQueue(Arc::clone(&queue))));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_pending());

        let waits = HostThread::spawn("a", {
            let queue = Arc::clone(&queue);
            move || next(&queue)
        });
        let ended = waits.unwrap().join_before(Instant::now() + Duration::from_secs(30));
        assert!(matches!(ended, Ok(Ok(None))), "the thread waits for a closed queue");
    }

    #[test]
    fn keeps_one_timer_for_a_sleep_that_is_polled_again_and_none_once_it_is_dropped() {
        let queue = Arc::<Queue>::default();
        let waker = pushes_seven(&queue);
        {
            let mut sleep = pin!(ExecutorSleep::new(&queue, Time::NEVER));
            let task = Waker::from(Arc::clone(&waker));
            for _ in 0..2 {
                assert!(sleep.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
                assert_eq!(lock(&queue.state).timers.len(), 1);
            }
        }
        assert!(lock(&queue.state).timers.is_empty());
        assert_eq!(waker.1.load(Ordering::Relaxed), 0);
    }
}
