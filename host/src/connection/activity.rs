//! What moves on an I/O thread, counted, so that the thread can stay awake while more is likely to come.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts the reads of one thread that brought a little, and wakes one waiter at the one it waits for.
pub(crate) struct Activity {
    count: Cell<u64>,
    /// The count at which `waiter` is woken.
    wanted: Cell<u64>,
    waiter: Cell<Option<Waker>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { count: Cell::new(0), wanted: Cell::new(u64::MAX), waiter: Cell::new(None) }
    }
}

impl Activity {
    /// Something came.
    pub(crate) fn note(&self) {
        let count = self.count.get() + 1;
        self.count.set(count);
        if count >= self.wanted.get() {
            self.wanted.set(u64::MAX);
            if let Some(waiter) = self.waiter.take() {
                waiter.wake();
            }
        }
    }

    /// How often something came.
    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    /// How often something must come until who waits is woken; `None` while nobody waits.
    #[cfg(test)]
    pub(crate) fn awaited(&self) -> Option<u64> {
        let wanted = self.wanted.get();
        (wanted != u64::MAX).then(|| wanted - self.count())
    }

    /// Waits until something has come `more` times from now. One waiter at a time.
    pub(crate) async fn after(&self, more: u64) {
        let wanted = self.count().saturating_add(more);
        poll_fn(|cx| {
            if self.count() >= wanted {
                return Poll::Ready(());
            }
            self.wanted.set(wanted);
            self.waiter.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}
