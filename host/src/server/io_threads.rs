//! The set of I/O threads, which can be replaced while the host serves.
//!
//! `inline` methods run on I/O threads. Code that ran on a thread cannot be unloaded while the
//! thread runs: its thread-local values are dropped when the thread ends, by destructors that would
//! no longer be mapped. Before such code is closed, all connections therefore migrate to new I/O
//! threads, and the old threads end and are joined.

use std::io;
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::io_command::{IoThreadCommand, IoThreadSender, Successors};
use super::io_thread::{IoThread, send_to_all};
use super::io_work::IoThreadWork;
use crate::plugin::{IoThreadReplacer, PluginCall};
use crate::routing::{Dispatcher, InlineRunner};
use crate::sync::lock;

/// Interval between two checks whether the replaced threads have ended. A retirement waits for
/// them.
const POLL_INTERVAL: Duration = Duration::from_micros(200);

/// The I/O threads of a host.
pub(super) struct IoThreads {
    /// The senders of the current threads, in a place that is read without a lock.
    senders: ArcSwap<Vec<IoThreadSender>>,
    set: Mutex<ThreadSet>,
    dispatcher: Arc<Dispatcher>,
    me: Weak<Self>,
}

/// The threads by their state.
struct ThreadSet {
    /// Threads that serve; none once the host ends.
    current: Vec<IoThread>,
    /// Threads that were replaced and have not ended yet. A blocking method can keep one for long.
    leaving: Vec<IoThread>,
    /// Number of threads that [`IoThreads::drain`] returned and that are not joined yet.
    draining: usize,
    /// Whether the host ends, so that no thread is replaced any more.
    is_ending: bool,
    /// Number of the next thread. Threads that exist at some moment have smaller numbers than later
    /// ones.
    next_number: u64,
}

impl ThreadSet {
    fn start(&mut self, count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Vec<IoThread>> {
        let first = self.next_number;
        self.next_number += count as u64;
        (first..self.next_number).map(|number| IoThread::start(number, Arc::clone(dispatcher))).collect()
    }

    /// Joins the replaced threads that have ended.
    fn join_ended(&mut self) {
        for thread in self.leaving.extract_if(.., |thread| thread.has_ended()) {
            thread.join();
        }
    }
}

fn senders_of(threads: &[IoThread]) -> Arc<Vec<IoThreadSender>> {
    Arc::new(threads.iter().map(|thread| thread.commands.clone()).collect())
}

impl IoThreads {
    /// Starts `count` I/O threads.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(super) fn start(count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Arc<Self>> {
        let mut set = ThreadSet {
            current: Vec::new(),
            leaving: Vec::new(),
            draining: 0,
            is_ending: false,
            next_number: 0,
        };
        set.current = set.start(count, dispatcher)?;

        Ok(Arc::new_cyclic(|me| Self {
            senders: ArcSwap::new(senders_of(&set.current)),
            set: Mutex::new(set),
            dispatcher: Arc::clone(dispatcher),
            me: me.clone(),
        }))
    }

    /// Returns whether each I/O thread responds within `limit`. Blocks.
    ///
    /// A thread that an `inline` method stalls does not respond. This includes stalled threads that
    /// were already replaced, because nobody serves their connections.
    pub(super) fn respond_within(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let mut senders = self.senders.load_full().to_vec();
        let set = lock(&self.set);
        let leaving = set.leaving.iter().map(|thread| thread.commands.clone());
        senders.extend(leaving.filter(IoThreadSender::is_stalled));
        drop(set);

        let (confirm, confirmations) = mpsc::channel();
        // A thread that has ended has no connections: it has moved them, or the host ends.
        let is_sent =
            |sender: &&IoThreadSender| sender.send(IoThreadCommand::Confirm(confirm.clone())).is_ok();
        let expected = senders.iter().filter(is_sent).count();
        drop(confirm);

        let is_confirmed =
            |_| confirmations.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok();
        (0..expected).all(is_confirmed)
    }

    /// Sends [`IoThreadCommand::Drain`] to all threads and returns them; no thread is replaced from
    /// now on.
    ///
    /// The threads run until the caller finishes or cuts them: those that are being replaced still
    /// move their connections to the others, and calls in flight may call `inline` methods. The
    /// caller joins the threads and reports that with [`IoThreads::confirm_joined`].
    pub(super) fn drain(&self) -> Vec<IoThread> {
        let mut set = lock(&self.set);
        set.is_ending = true;
        let mut all = std::mem::take(&mut set.current);
        all.append(&mut set.leaving);
        set.draining = all.len();

        send_to_all(&all, || IoThreadCommand::Drain);
        all
    }

    /// Records that `count` of the threads that [`IoThreads::drain`] returned have been joined.
    pub(super) fn confirm_joined(&self, count: usize) {
        lock(&self.set).draining -= count;
    }

    /// Calls `inspect` for each thread, those that are being replaced included.
    pub(super) fn for_each(&self, mut inspect: impl FnMut(&IoThread)) {
        let mut set = lock(&self.set);
        set.join_ended();
        set.current.iter().chain(&set.leaving).for_each(&mut inspect);
    }

    /// Starts a new thread in the place of thread `number`, which is stalled, unless it was
    /// replaced already. Returns whether another thread serves in its place.
    ///
    /// The stalled thread moves its connections to the others when it responds again. A thread is
    /// not replaced while as many threads as serve are stalled already, so that a method cannot use
    /// up the machine's threads.
    pub(super) fn replace_stalled(&self, number: u64) -> bool {
        let mut set = lock(&self.set);
        if set.leaving.iter().any(|thread| thread.number == number) {
            return true;
        }

        let stalled = set.leaving.iter().filter(|thread| thread.commands.is_stalled()).count();
        let place = set.current.iter().position(|thread| thread.number == number);
        let (Some(place), Some(me)) = (place, self.me.upgrade()) else { return false };
        if stalled >= set.current.len() {
            return false;
        }

        let new = match set.start(1, &self.dispatcher) {
            Ok(mut new) => new.swap_remove(0),
            Err(error) => {
                tracing::error!(%error, "cannot start an I/O thread in place of stalled I/O thread {number}: {error}");
                return false;
            }
        };
        let old = std::mem::replace(&mut set.current[place], new);
        self.senders.store(senders_of(&set.current));

        old.commands.leave_to(&(me as Arc<dyn Successors>));
        set.leaving.push(old);
        true
    }

    /// Starts new threads in the place of all current ones and returns the number of the first new
    /// thread.
    ///
    /// # Errors
    ///
    /// Returns the number of current threads if no new ones can be started; the current ones
    /// continue to serve.
    fn replace_all(&self) -> Result<u64, usize> {
        let mut set = lock(&self.set);
        let first_new = set.next_number;
        let count = set.current.len();
        if set.is_ending {
            return Ok(first_new);
        }

        let (new, me) = match (set.start(count, &self.dispatcher), self.me.upgrade()) {
            (Ok(new), Some(me)) => (new, me),
            (Ok(_), None) => return Err(count),
            (Err(error), _) => {
                tracing::error!(
                    %error,
                    "cannot start new I/O threads: {error}; \
                     the old threads continue to serve, and code that ran on them cannot be unloaded"
                );
                return Err(count);
            }
        };
        self.senders.store(senders_of(&new));
        let old = std::mem::replace(&mut set.current, new);

        let successors = me as Arc<dyn Successors>;
        old.iter().for_each(|thread| thread.commands.leave_to(&successors));
        set.leaving.extend(old);
        Ok(first_new)
    }
}

impl Successors for IoThreads {
    /// Sends `work` to the thread with the fewest connections; a stalled thread is chosen only if
    /// all are stalled.
    fn send(&self, mut work: IoThreadWork) -> Result<(), IoThreadWork> {
        loop {
            let senders = self.senders.load();
            let open = senders.iter().filter(|sender| sender.is_open());
            let least_loaded = open.min_by_key(|sender| (sender.is_stalled(), sender.connections()));

            match least_loaded {
                Some(sender) => match sender.send_work(work) {
                    Ok(()) => return Ok(()),
                    // The thread ended, or is being replaced, since it was chosen.
                    Err(unsent) => work = unsent,
                },
                // The threads ended after `senders` was loaded: either they were replaced, or the
                // host ends.
                None if Arc::ptr_eq(&senders, &self.senders.load()) => return Err(work),
                None => {}
            }
        }
    }
}

impl IoThreadReplacer for IoThreads {
    fn replace_all(&self, until: Instant) -> usize {
        let first_new = match self.replace_all() {
            Ok(first_new) => first_new,
            Err(left) => return left,
        };

        loop {
            let mut set = lock(&self.set);
            set.join_ended();
            // This includes threads whose earlier replacement timed out: they may have run the same
            // code.
            let leaving = set.leaving.iter().filter(|thread| thread.number < first_new).count();
            let left = leaving + set.draining;
            drop(set);

            if left == 0 || Instant::now() >= until {
                return left;
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

impl InlineRunner for IoThreads {
    fn run_inline(&self, call: Arc<PluginCall>) -> bool {
        self.send(IoThreadWork::Run(call)).is_ok()
    }
}

#[cfg(test)]
mod tests;
