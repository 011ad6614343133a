//! The set of I/O threads, which can be replaced while the host serves.
//!
//! `inline` methods run on I/O threads. Code that ran on a thread cannot be unloaded while the
//! thread runs: its thread-local values are dropped when the thread ends, by destructors that would
//! no longer be mapped. Before such code is closed, all connections therefore migrate to new I/O
//! threads, and the old threads end and are joined.
//!
//! ```text
//! starting ──(reports that it runs)──► current ──(replaced)──► leaving ──(ended)──► joined
//! ```
//!
//! Connections are routed to the current threads alone. A thread cannot start while a plugin is
//! loaded or unloaded, and a destructor of a plugin can keep a leaving one for ever.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::io_command::{IoThreadCommand, IoThreadSender, Successors};
use super::io_thread::{IoThread, send_to_all};
use super::io_thread_start::StartingThreads;
use super::io_work::IoThreadWork;
use crate::plugin::{IoThreadReplacer, PluginCall};
use crate::routing::{Dispatcher, InlineRunner};
use crate::sync::lock;
use crate::system_failure::WithRemedy;

/// Bounds of the interval between two checks whether the replaced threads have ended. A retirement
/// waits for them.
const MIN_POLL: Duration = Duration::from_micros(200);
const MAX_POLL: Duration = Duration::from_millis(5);

/// The I/O threads of a host.
pub(super) struct IoThreads {
    /// The senders of the current threads, in a place that is read without a lock.
    senders: ArcSwap<Vec<IoThreadSender>>,
    set: Mutex<ThreadSet>,
    dispatcher: Arc<Dispatcher>,
    me: Weak<Self>,
}

/// The threads by their state. No thread is joined under the lock of the set.
#[derive(Default)]
struct ThreadSet {
    /// Threads that serve; none once the host ends.
    current: Vec<IoThread>,
    /// Threads that start in the place of a stalled one, with the number of that one.
    starting: Vec<(u64, IoThread)>,
    /// Threads that were replaced and have not ended yet. A blocking method can keep one for long.
    leaving: Vec<IoThread>,
    /// Number of threads that [`IoThreads::drain`] returned, until they are taken back.
    draining: usize,
    /// Whether the host ends, so that no thread is replaced any more.
    is_ending: bool,
    /// Number of the next thread. Threads that exist at some moment have smaller numbers than later
    /// ones.
    next_number: u64,
}

impl ThreadSet {
    /// Returns the numbers of the next `count` threads.
    fn take_numbers(&mut self, count: usize) -> Range<u64> {
        let first = self.next_number;
        self.next_number += count as u64;
        first..self.next_number
    }

    /// Returns the place of the current thread with this number.
    fn place_of(&self, number: u64) -> Option<usize> {
        self.current.iter().position(|thread| thread.number == number)
    }
}

fn senders_of(threads: &[IoThread]) -> Arc<Vec<IoThreadSender>> {
    Arc::new(threads.iter().map(|thread| thread.commands.clone()).collect())
}

impl IoThreads {
    /// Starts `count` I/O threads and waits until they run.
    ///
    /// # Errors
    ///
    /// The system provides no thread, reactor or timer.
    pub(super) fn start(count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Arc<Self>> {
        let threads = Arc::new_cyclic(|me| Self {
            senders: ArcSwap::default(),
            set: Mutex::default(),
            dispatcher: Arc::clone(dispatcher),
            me: me.clone(),
        });
        let numbers = lock(&threads.set).take_numbers(count);
        let current = StartingThreads::begin(numbers, dispatcher)?.wait(|| true)?;

        threads.senders.store(senders_of(&current));
        lock(&threads.set).current = current;
        Ok(threads)
    }

    /// Joins the replaced threads that have ended.
    fn join_ended(&self) {
        let mut set = lock(&self.set);
        let ended: Vec<_> = set.leaving.extract_if(.., |thread| thread.has_ended()).collect();
        drop(set);
        ended.into_iter().for_each(IoThread::join);
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
    /// caller passes the threads to [`IoThreads::take_back`] at the end of the drain.
    pub(super) fn drain(&self) -> Vec<IoThread> {
        let mut set = lock(&self.set);
        set.is_ending = true;
        // Those that have not reported yet end as soon as they run.
        set.starting.clear();
        let mut all = std::mem::take(&mut set.current);
        all.append(&mut set.leaving);
        set.draining = all.len();

        send_to_all(&all, || IoThreadCommand::Drain);
        all
    }

    /// Joins those threads of the drain that have ended. Code that the others may have run cannot
    /// be closed until they have ended, too.
    pub(super) fn take_back(&self, drained: Vec<IoThread>) {
        let mut set = lock(&self.set);
        set.draining = 0;
        set.leaving.extend(drained);
        drop(set);
        self.join_ended();
    }

    /// Calls `inspect` for each thread that serves or served, those that are being replaced
    /// included.
    pub(super) fn for_each(&self, mut inspect: impl FnMut(&IoThread)) {
        self.join_ended();
        let set = lock(&self.set);
        set.current.iter().chain(&set.leaving).for_each(&mut inspect);
    }

    /// Starts a new thread for the place of thread `number`, which is stalled, unless it is being
    /// replaced already. Returns whether another thread takes its place.
    ///
    /// The stalled thread moves its connections to the others when it responds again. A thread is
    /// not replaced while as many threads as serve are stalled already, so that a method cannot use
    /// up the machine's threads.
    pub(super) fn replace_stalled(&self, number: u64) -> bool {
        let mut set = lock(&self.set);
        let is_leaving = set.leaving.iter().any(|thread| thread.number == number);
        if is_leaving || set.starting.iter().any(|(replaced, _)| *replaced == number) {
            return true;
        }

        let stalled = set.leaving.iter().filter(|thread| thread.commands.is_stalled()).count();
        if set.place_of(number).is_none() || stalled + set.starting.len() >= set.current.len() {
            return false;
        }

        // The new thread itself takes the place once it runs: the caller is the control thread,
        // which must not wait for it.
        let new_number = set.take_numbers(1).start;
        let me = Weak::clone(&self.me);
        let take_place = move || {
            if let Some(me) = me.upgrade() {
                me.take_place(new_number);
            }
        };
        match IoThread::start(new_number, Arc::clone(&self.dispatcher), take_place) {
            Ok(new) => set.starting.push((number, new)),
            Err(error) => {
                let error = WithRemedy(&error);
                tracing::error!(%error, "cannot start an I/O thread in place of stalled I/O thread {number}: {error}");
                return false;
            }
        }
        true
    }

    /// Routes connections to the starting thread `new_number`, which calls this, instead of the
    /// stalled one. If that one was replaced meanwhile, or the host ends, the new one ends.
    fn take_place(&self, new_number: u64) {
        let mut set = lock(&self.set);
        let starting = set.starting.extract_if(.., |(_, thread)| thread.number == new_number).next();
        let Some((number, new)) = starting else { return };
        let (Some(place), Some(me)) = (set.place_of(number), self.me.upgrade()) else { return };

        let old = std::mem::replace(&mut set.current[place], new);
        self.senders.store(senders_of(&set.current));

        old.commands.leave_to(&(me as Arc<dyn Successors>));
        set.leaving.push(old);
    }

    /// Starts new threads in the place of all current ones, and routes connections to them once
    /// they run. Returns the number of the first new thread. Blocks.
    ///
    /// # Errors
    ///
    /// Returns the number of current threads if the new ones cannot be started or do not run; the
    /// current ones continue to serve.
    fn replace_all(&self) -> Result<u64, usize> {
        let mut set = lock(&self.set);
        let first_new = set.next_number;
        let count = set.current.len();
        if set.is_ending {
            return Ok(first_new);
        }
        let numbers = set.take_numbers(count);
        drop(set);

        let may_wait = || !lock(&self.set).is_ending;
        let starting = StartingThreads::begin(numbers, &self.dispatcher);
        let new = starting.and_then(|starting| starting.wait(may_wait));
        let mut set = lock(&self.set);
        // Either the host ends, or a concurrent retirement has replaced the threads already.
        if set.current.iter().all(|thread| thread.number >= first_new) {
            return Ok(first_new);
        }

        let (new, me) = match (new, self.me.upgrade()) {
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
        let limit = until.saturating_duration_since(Instant::now());
        let first_new = match self.replace_all() {
            Ok(first_new) => first_new,
            Err(left) => return left,
        };
        // The old threads have their time even if the new ones were slow to start.
        let until = if lock(&self.set).is_ending { until } else { Instant::now() + limit };
        let mut pause = MIN_POLL;

        loop {
            self.join_ended();
            let set = lock(&self.set);
            // This includes threads whose earlier replacement timed out: they may have run the same
            // code.
            let leaving = set.leaving.iter().filter(|thread| thread.number < first_new).count();
            let left = leaving + set.draining;
            drop(set);

            if left == 0 || Instant::now() >= until {
                return left;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(MAX_POLL);
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
