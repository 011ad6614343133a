//! Relays wake-ups to the wakers of a plugin, so that only threads of the plugin run them.
//!
//! A plugin polls a nested call with a waker of its own, which is code of the plugin even if it
//! only leads to a task of the host. Another thread completes the call: an I/O thread, a thread of
//! another plugin, or the plugin owner. The host does not join these threads before it closes the
//! plugin's code, so they must neither call nor drop that waker.
//!
//! ```text
//! other thread                              async thread of the plugin
//!   │ wake the relay
//!   └─ move the waker to the ready queue ──► call the waker
//! ```

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use crate::sync::lock;

/// The queue of the async thread that calls the wakers.
pub(super) trait WakerQueue: Send + Sync {
    /// Takes a waker, which the async thread then calls. A closed queue leaves it where it is.
    fn push_waker(&self, waker: &mut Option<Waker>);
}

/// Holds the waker of a plugin for one future of the host.
///
/// The future registers the waker of the relay with other threads. The relay is dropped with the
/// future, on a thread of the plugin, and drops the plugin's waker then.
pub(crate) struct WakerRelay {
    shared: Arc<RelayShared>,

    /// Wakes the relay.
    waker: Waker,
}

struct RelayShared {
    queue: Arc<dyn WakerQueue>,

    /// `None` after it was moved to the queue, until the future is polled again.
    waker: Mutex<Option<Waker>>,
}

impl Wake for RelayShared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue.push_waker(&mut lock(&self.waker));
    }
}

impl WakerRelay {
    pub(super) fn new(queue: Arc<dyn WakerQueue>) -> Self {
        let shared = Arc::new(RelayShared { queue, waker: Mutex::default() });
        let waker = Waker::from(Arc::clone(&shared));
        Self { shared, waker }
    }

    /// Polls a future with the waker of the relay, which wakes the task of `cx` from now on.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // Cloned and dropped without the lock, because both are code of the plugin.
        let waker = cx.waker().clone();
        let previous = lock(&self.shared.waker).replace(waker);
        drop(previous);

        poll(&mut Context::from_waker(&self.waker))
    }
}

impl Drop for WakerRelay {
    fn drop(&mut self) {
        // Other threads may hold the shared part for longer than the plugin's code lives.
        let waker = lock(&self.shared.waker).take();
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake_count::WakeCount;

    /// Keeps the wakers, unless it is closed.
    #[derive(Default)]
    struct TestQueue {
        wakers: Mutex<Vec<Waker>>,
        is_closed: bool,
    }

    impl WakerQueue for TestQueue {
        fn push_waker(&self, waker: &mut Option<Waker>) {
            if !self.is_closed {
                lock(&self.wakers).extend(waker.take());
            }
        }
    }

    /// Polls the relay with a waker of the task, and returns the waker that the future gets.
    fn poll(relay: &WakerRelay, task: &Arc<WakeCount>) -> Waker {
        let waker = Waker::from(Arc::clone(task));
        let polled = relay.poll(&Context::from_waker(&waker), |cx| Poll::Ready(cx.waker().clone()));
        let Poll::Ready(registered) = polled else { unreachable!() };
        registered
    }

    #[test]
    fn moves_the_waker_to_the_queue_without_calling_it() {
        let (queue, task) = (Arc::<TestQueue>::default(), Arc::<WakeCount>::default());
        let relay = WakerRelay::new(Arc::clone(&queue) as _);
        let registered = poll(&relay, &task);

        registered.wake_by_ref();
        registered.wake();
        assert_eq!((task.get(), lock(&queue.wakers).len()), (0, 1));

        drop(relay);
        std::mem::take(&mut *lock(&queue.wakers)).into_iter().for_each(Waker::wake);
        assert_eq!((task.get(), Arc::strong_count(&task)), (1, 1));
    }

    #[test]
    fn drops_the_waker_with_the_future_and_not_with_its_last_holder() {
        for is_closed in [false, true] {
            let task = Arc::<WakeCount>::default();
            let relay = WakerRelay::new(Arc::new(TestQueue { is_closed, ..TestQueue::default() }));
            drop(poll(&relay, &task));
            let registered = poll(&relay, &task);
            if is_closed {
                registered.wake_by_ref();
            }
            assert_eq!(Arc::strong_count(&task), 2, "it keeps the last waker");

            drop(relay);
            assert_eq!((task.get(), Arc::strong_count(&task)), (0, 1));
            registered.wake();
        }
    }
}
