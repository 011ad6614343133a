//! The threads that run a generation's `blocking` methods, and the bounded queue before them.
//!
//! The threads belong to the generation and are joined before its code is unloaded: code that ran only on joined
//! threads leaves nothing behind in the process.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::call::Call;
use crate::clock::{TICK, Time};

struct State {
    calls: VecDeque<Arc<Call>>,
    /// When the queue was last found full and rid of what was cancelled.
    swept: Time,
    closed: bool,
    /// Threads that wait for a call: nobody is notified while all are busy.
    waiting: usize,
}

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    most: usize,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blocking threads of one generation.
pub(super) struct Workers {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `threads` threads before a queue of `most` calls.
    pub(super) fn start(name: &str, threads: usize, most: usize) -> io::Result<Self> {
        let state = State { calls: VecDeque::new(), swept: Time::now(), closed: false, waiting: 0 };
        let queue = Arc::new(Queue { state: Mutex::new(state), filled: Condvar::new(), most });
        let mut workers = Self { queue, threads: Vec::with_capacity(threads) };
        for number in 0..threads {
            let queue = Arc::clone(&workers.queue);
            let spawned = Builder::new().name(thread_name(name, number)).spawn(move || serve(&queue));
            match spawned {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => {
                    workers.close();
                    return Err(error);
                }
            }
        }
        Ok(workers)
    }

    /// Puts a call into the queue; gives it back when the queue is full.
    pub(super) fn submit(&self, call: Arc<Call>) -> Result<(), Arc<Call>> {
        let mut state = self.queue.lock();
        if state.calls.len() >= self.queue.most {
            // What was cancelled while it waited holds no place. Deadlines pass once a tick: looking more often would
            // make each refusal of an overloaded plugin as dear as its queue is long.
            let now = Time::now();
            if now.since(state.swept) >= TICK {
                state.swept = now;
                state.calls.retain(|call| !call.is_over());
            }
            if state.calls.len() >= self.queue.most {
                return Err(call);
            }
        }
        state.calls.push_back(call);
        let notify = state.waiting > 0;
        drop(state);
        if notify {
            self.queue.filled.notify_one();
        }
        Ok(())
    }

    /// No further call; the threads end when they are done with the one they run.
    pub(super) fn close(&self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.calls.clear();
        drop(state);
        self.queue.filled.notify_all();
    }

    /// Joins the threads; gives back how many did not end before `until`.
    pub(super) fn join(self, until: Instant) -> usize {
        self.close();
        join_all(self.threads, until)
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

fn serve(queue: &Queue) {
    loop {
        let mut state = queue.lock();
        let call = loop {
            if let Some(call) = state.calls.pop_front() {
                break call;
            }
            if state.closed {
                return;
            }
            state.waiting += 1;
            state = queue.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        };
        drop(state);
        call.run_here();
    }
}
