//! The I/O threads as a set that can be replaced while it serves.
//!
//! `inline` methods run on these threads, and code that ran on a living thread cannot be unloaded: what it keeps in
//! thread-local values is dropped at the thread's end, by code that would be gone. So before such code is closed, a
//! new set of threads takes over, connections and all, and the old ones end and are joined.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::io_thread::{IoThread, Order, Orders};
use crate::dispatch::{Dispatcher, RunInline};
use crate::plugin::{Call, Turnover};

/// How often an ending thread is looked at.
const LOOK: Duration = Duration::from_micros(200);

/// The I/O threads of a host.
pub(super) struct Threads {
    /// The ways to the current ones.
    ways: ArcSwap<Vec<Orders>>,
    /// The current ones themselves; empty once the host has ended. Held for the length of a turnover.
    set: Mutex<Vec<IoThread>>,
    dispatcher: Arc<Dispatcher>,
}

fn start(count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Vec<IoThread>> {
    (0..count).map(|number| IoThread::start(number, Arc::clone(dispatcher))).collect()
}

fn ways(set: &[IoThread]) -> Arc<Vec<Orders>> {
    Arc::new(set.iter().map(|thread| thread.orders.clone()).collect())
}

impl Threads {
    pub(super) fn start(count: usize, dispatcher: &Arc<Dispatcher>) -> io::Result<Arc<Self>> {
        let set = start(count, dispatcher)?;
        let ways = ArcSwap::new(ways(&set));
        Ok(Arc::new(Self { ways, set: Mutex::new(set), dispatcher: Arc::clone(dispatcher) }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<IoThread>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the thread with the fewest connections; gives the order back when the host has ended.
    pub(super) fn send(&self, mut order: Order) -> Result<(), Order> {
        loop {
            let ways = self.ways.load();
            let Some(least) = ways.iter().min_by_key(|way| way.load()) else { return Err(order) };
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
        let ways = self.ways.load_full();
        // One that has ended has handed its connections on, or the host ends.
        let asked = ways.iter().filter(|way| way.send(Order::Say(said.clone())).is_ok()).count();
        drop(said);
        (0..asked).all(|_| heard.recv_timeout(until.saturating_duration_since(Instant::now())).is_ok())
    }

    /// Tells all of them to answer what is in flight and end; there is no turnover from now on.
    pub(super) fn drain(&self) -> Vec<IoThread> {
        let set = std::mem::take(&mut *self.lock());
        super::tell(&set, || Order::Drain);
        set
    }
}

impl Turnover for Threads {
    fn turn_over(&self, until: Instant) -> usize {
        let mut set = self.lock();
        if set.is_empty() {
            return 0;
        }
        let new = match start(set.len(), &self.dispatcher) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "there are no new I/O threads to be had");
                return set.len();
            }
        };
        self.ways.store(ways(&new));
        let mut old = std::mem::replace(&mut *set, new);
        for (old, new) in old.iter().zip(set.iter()) {
            // One that has ended has nothing to give.
            let _ = old.orders.send(Order::Leave(new.orders.clone()));
        }
        loop {
            let (ended, running): (Vec<_>, Vec<_>) = old.into_iter().partition(IoThread::has_ended);
            ended.into_iter().for_each(|thread| {
                thread.join();
            });
            if running.is_empty() || Instant::now() >= until {
                return running.len();
            }
            old = running;
            std::thread::sleep(LOOK);
        }
    }
}

impl RunInline for Threads {
    fn run_inline(&self, call: Arc<Call>) -> bool {
        self.send(Order::Run(call)).is_ok()
    }
}
