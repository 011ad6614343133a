//! Calls that wait for a connection, in the order in which they came.

use std::collections::VecDeque;
use std::task::Waker;

/// A queue of calls. One that is woken leaves it; if it finds no room after all, it comes back to its place.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    calls: VecDeque<(u64, Waker)>,
    next: u64,
}

impl Waiting {
    /// A place at the end of the queue.
    pub(crate) fn turn(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Waits, or goes on waiting.
    pub(crate) fn enter(&mut self, turn: u64, waker: &Waker) {
        match self.calls.binary_search_by_key(&turn, |(other, _)| *other) {
            Ok(at) => {
                if let Some((_, known)) = self.calls.get_mut(at).filter(|(_, known)| !known.will_wake(waker))
                {
                    known.clone_from(waker);
                }
            }
            Err(at) => self.calls.insert(at, (turn, waker.clone())),
        }
    }

    /// Waits no more; `false` if it had been woken and not come back.
    pub(crate) fn leave(&mut self, turn: u64) -> bool {
        match self.calls.binary_search_by_key(&turn, |(other, _)| *other) {
            Ok(at) => self.calls.remove(at).is_some(),
            Err(_) => false,
        }
    }

    /// Wakes the call whose turn it is. If it finds room, it wakes the next.
    pub(crate) fn wake_next(&mut self) {
        if let Some((_, waker)) = self.calls.pop_front() {
            waker.wake();
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&mut self) {
        while !self.calls.is_empty() {
            self.wake_next();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }
}
