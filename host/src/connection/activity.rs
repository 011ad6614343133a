//! Counts the reads of an I/O thread that brought few frames. Busy polling keeps the thread awake
//! while the count grows.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts the reads of one thread that brought few frames, and wakes one waiter at a given count.
pub(crate) struct Activity {
    count: Cell<u64>,
    /// The count at which `waiter` is woken; `u64::MAX` without a waiter.
    awaited_count: Cell<u64>,
    waiter: Cell<Option<Waker>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { count: Cell::new(0), awaited_count: Cell::new(u64::MAX), waiter: Cell::new(None) }
    }
}

impl Activity {
    /// Counts one read.
    pub(crate) fn note(&self) {
        let count = self.count.get() + 1;
        self.count.set(count);

        if count >= self.awaited_count.get() {
            self.awaited_count.set(u64::MAX);
            if let Some(waiter) = self.waiter.take() {
                waiter.wake();
            }
        }
    }

    /// Returns the number of reads so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Returns how many reads are missing until the waiter is woken; `None` without a waiter.
    #[cfg(test)]
    pub(crate) fn awaited(&self) -> Option<u64> {
        let awaited = self.awaited_count.get();
        (awaited != u64::MAX).then(|| awaited - self.count())
    }

    /// Waits for `more` further reads. There may be one waiter at a time.
    pub(crate) async fn wait_for(&self, more: u64) {
        let awaited = self.count().saturating_add(more);

        poll_fn(|cx| {
            if self.count() >= awaited {
                return Poll::Ready(());
            }
            self.awaited_count.set(awaited);
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
