//! What an executor's thread waits for: tasks that are ready, and the instants of its timers.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use crate::clock::Time;
use crate::sync::{lock, wait, wait_timeout};

/// What waits, and whether anybody takes it.
pub(super) struct ReadyState<T> {
    pub(super) ready: VecDeque<Arc<T>>,
    timers: BTreeMap<(u64, u64), Waker>,
    next_timer: u64,
    pub(super) closed: bool,
    waiting: bool,
    pub(super) thread: Option<JoinHandle<()>>,
}

/// Where one thread waits for tasks, and for the first of its timers.
pub(super) struct ReadyQueue<T> {
    pub(super) state: Mutex<ReadyState<T>>,
    pub(super) changed: Condvar,
}

impl<T> Default for ReadyQueue<T> {
    fn default() -> Self {
        let state = ReadyState {
            ready: VecDeque::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            closed: false,
            waiting: false,
            thread: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> ReadyQueue<T> {
    pub(super) fn push(&self, tasks: impl Iterator<Item = Arc<T>>) {
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
    pub(super) fn next_batch(&self, batch: &mut VecDeque<Arc<T>>) -> Option<()> {
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
                    wait_timeout(&self.changed, state, length)
                }
                None => wait(&self.changed, state),
            };
            state.waiting = false;
        }
    }
}

/// Ready at an instant; woken by the executor's thread.
pub(super) struct ExecutorSleep<T> {
    ready: Arc<ReadyQueue<T>>,
    until: Time,
    key: Option<u64>,
}

impl<T> ExecutorSleep<T> {
    pub(super) fn new(ready: &Arc<ReadyQueue<T>>, until: Time) -> Self {
        Self { ready: Arc::clone(ready), until, key: None }
    }
}

impl<T> Future for ExecutorSleep<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Time::now() >= self.until {
            return Poll::Ready(());
        }
        let ready = Arc::clone(&self.ready);
        let mut state = lock(&ready.state);
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
            ready.changed.notify_one();
        }
        Poll::Pending
    }
}

impl<T> Drop for ExecutorSleep<T> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let waker = lock(&self.ready.state).timers.remove(&(self.until.0, key));
            drop(waker);
        }
    }
}
