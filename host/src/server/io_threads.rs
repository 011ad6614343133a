//! The I/O threads as a set that can be replaced while it serves.
//!
//! `inline` methods run on these threads, and code that ran on a living thread cannot be unloaded: what it keeps in
//! thread-local values is dropped at the thread's end, by code that would be gone. So before such code is closed, a
//! new set of threads takes over, connections and all, and the old ones end and are joined.

use std::io;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::io_thread::{IoThread, IoThreadCommand, IoThreadSender};
use crate::plugin::{IoThreadReplacer, PluginCall};
use crate::routing::{Dispatcher, InlineRunner};
use crate::sync::lock;

/// How often an ending thread is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// The I/O threads of a host.
pub(super) struct IoThreads {
    /// The ways to the current ones.
    ways: ArcSwap<Vec<IoThreadSender>>,
    set: Mutex<ThreadSet>,
    dispatcher: Arc<Dispatcher>,
    me: Weak<Self>,
}

/// The threads themselves.
struct ThreadSet {
    /// Those that serve; none once the host ends.
    current: Vec<IoThread>,
    /// Replaced, and not ended yet: a method that blocks can hold one up for long.
    leaving: Vec<IoThread>,
    /// Given to who ends the host, and not joined yet.
    ending: usize,
    ends: bool,
    /// The number of the next one, so that those of one moment are told from later ones.
    next: u64,
}

impl ThreadSet {
    fn start(&mut self, count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Vec<IoThread>> {
        let first = self.next;
        self.next += count as u64;
        (first..self.next).map(|number| IoThread::start(number, Arc::clone(dispatcher))).collect()
    }

    /// Joins those that have ended.
    fn reap(&mut self) {
        let (ended, leaving) = std::mem::take(&mut self.leaving).into_iter().partition(IoThread::has_ended);
        self.leaving = leaving;
        ended.into_iter().for_each(|thread: IoThread| {
            thread.join();
        });
    }
}

fn ways(set: &[IoThread]) -> Arc<Vec<IoThreadSender>> {
    Arc::new(set.iter().map(|thread| thread.orders.clone()).collect())
}

impl IoThreads {
    pub(super) fn start(count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Arc<Self>> {
        let mut set = ThreadSet { current: Vec::new(), leaving: Vec::new(), ending: 0, ends: false, next: 0 };
        set.current = set.start(count, dispatcher)?;
        Ok(Arc::new_cyclic(|me| Self {
            ways: ArcSwap::new(ways(&set.current)),
            set: Mutex::new(set),
            dispatcher: Arc::clone(dispatcher),
            me: me.clone(),
        }))
    }

    /// Tells the thread with the fewest connections, and none that is held up while there is another; gives the order back when the host has ended.
    pub(super) fn send(&self, mut order: IoThreadCommand) -> Result<(), IoThreadCommand> {
        loop {
            let ways = self.ways.load();
            let Some(least) = ways.iter().min_by_key(|way| (way.is_held(), way.load())) else {
                return Err(order);
            };
            match least.send(order) {
                Ok(()) => return Ok(()),
                Err(unsent) => order = unsent,
            }
            // It has ended since the set was looked up: either there is another set by now, or the host ends.
            if Arc::ptr_eq(&ways, &self.ways.load()) {
                return Err(order);
            }
        }
    }

    /// Whether each of them obeys within `limit`: one that is held up by an `inline` method does not. Blocks.
    pub(super) fn obey(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        let (said, heard) = std::sync::mpsc::channel();
        let mut ways = self.ways.load_full().to_vec();
        // One that was replaced because it is held up still has connections that nobody serves.
        let set = lock(&self.set);
        ways.extend(set.leaving.iter().map(|thread| thread.orders.clone()).filter(IoThreadSender::is_held));
        drop(set);
        // One that has ended has handed its connections on, or the host ends.
        let asked = ways.iter().filter(|way| way.send(IoThreadCommand::Say(said.clone())).is_ok()).count();
        drop(said);
        (0..asked).all(|_| heard.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok())
    }

    /// Tells all of them to answer what is in flight and end, also those that are leaving; there is no turnover from
    /// now on. They are the caller's to join, who then says so by [`IoThreads::joined`].
    pub(super) fn drain(&self) -> Vec<IoThread> {
        let mut set = lock(&self.set);
        set.ends = true;
        let mut all = std::mem::take(&mut set.current);
        all.append(&mut set.leaving);
        set.ending = all.len();
        super::tell(&all, || IoThreadCommand::Drain);
        all
    }

    /// Looks at each of them, those that are leaving included; joins what has ended.
    pub(super) fn look_at(&self, mut look: impl FnMut(&IoThread)) {
        let mut set = lock(&self.set);
        set.reap();
        set.current.iter().chain(&set.leaving).for_each(&mut look);
    }

    /// Lets a new thread take the place of one that is held up: that one hands its connections on when it comes back.
    /// `false` when it has no place to be taken, or when as many as serve are held up already.
    pub(super) fn replace_held(&self, number: u64) -> bool {
        let mut set = lock(&self.set);
        let held = set.leaving.iter().filter(|thread| thread.orders.is_held()).count();
        let place = set.current.iter().position(|thread| thread.number == number);
        let (Some(place), Some(me)) = (place, self.me.upgrade()) else { return false };
        if held >= set.current.len() {
            return false;
        }
        let new = match set.start(1, &self.dispatcher) {
            Ok(mut new) => new.swap_remove(0),
            Err(error) => {
                tracing::error!(%error, "there is no new I/O thread to be had");
                return false;
            }
        };
        let old = std::mem::replace(&mut set.current[place], new);
        self.ways.store(ways(&set.current));
        // One that has ended has nothing left to hand on.
        let _ = old.orders.send(IoThreadCommand::Leave(me));
        set.leaving.push(old);
        true
    }

    /// So many of those that were given out have been joined.
    pub(super) fn joined(&self, count: usize) {
        lock(&self.set).ending -= count;
    }

    /// Lets new threads take over; gives back the number of the first of them, or how many stay when there are none.
    fn replace(&self) -> Result<u64, usize> {
        let mut set = lock(&self.set);
        let (before, count) = (set.next, set.current.len());
        if set.ends {
            return Ok(before);
        }
        let (new, me) = match (set.start(count, &self.dispatcher), self.me.upgrade()) {
            (Ok(new), Some(me)) => (new, me),
            (Ok(_), None) => return Err(count),
            (Err(error), _) => {
                tracing::error!(%error, "there are no new I/O threads to be had");
                return Err(count);
            }
        };
        self.ways.store(ways(&new));
        let old = std::mem::replace(&mut set.current, new);
        super::tell(&old, || IoThreadCommand::Leave(Arc::clone(&me)));
        set.leaving.extend(old);
        Ok(before)
    }
}

impl IoThreadReplacer for IoThreads {
    fn replace_all(&self, until: Instant) -> usize {
        let first_new = match self.replace() {
            Ok(first_new) => first_new,
            Err(left) => return left,
        };
        loop {
            let mut set = lock(&self.set);
            set.reap();
            // Also those that an earlier turnover gave up: they may have run the code in question as well.
            let left = set.leaving.iter().filter(|thread| thread.number < first_new).count() + set.ending;
            drop(set);
            if left == 0 || Instant::now() >= until {
                return left;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl InlineRunner for IoThreads {
    fn run_inline(&self, call: Arc<PluginCall>) -> bool {
        self.send(IoThreadCommand::Run(call)).is_ok()
    }
}
