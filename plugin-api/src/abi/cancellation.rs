//! The cancellation of a call, and the waits that end with it.

use std::sync::atomic::{AtomicU8, Ordering, fence};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// A wait of a method, such as that for the reply to a nested call. It ends when the call of the
/// method is cancelled.
pub trait CancelListener: Send + Sync {
    /// Ends the wait. Runs on the thread that cancels, so it must not block.
    fn call_cancelled(&self);
}

type Listeners = Vec<Weak<dyn CancelListener>>;

const NOT_SET: u8 = 0;
const ABANDONED: u8 = 1;
const CANCELLED: u8 = 2;

/// Whether a call is cancelled, and the waits of its method.
#[derive(Debug, Default)]
pub struct Cancellation {
    state: AtomicU8,
    /// Waits that have ended are removed when there is no room for another one.
    /// Most calls have none, and then neither create nor drop the list.
    listeners: OnceLock<Mutex<Listeners>>,
}

impl Cancellation {
    /// Returns whether nobody waits for the reply any more.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.state.load(Ordering::Relaxed) != NOT_SET
    }

    /// Returns whether the calls that the method makes end with it. They go on if only the
    /// connection of the client has ended, so that the method can complete its work.
    #[must_use]
    pub fn ends_nested(&self) -> bool {
        self.state.load(Ordering::Relaxed) == CANCELLED
    }

    /// Notes that the client has gone. The waits of the method go on.
    pub fn abandon(&self) {
        self.state.fetch_max(ABANDONED, Ordering::Relaxed);
    }

    /// Cancels the call and ends the waits of its method.
    pub fn set(&self) {
        self.state.store(CANCELLED, Ordering::Relaxed);
        // Either the list is found here, or `notify` finds the state after it has created the list.
        // A listener that is added to a list that was found finds the state by the order of the
        // lock.
        fence(Ordering::SeqCst);
        let Some(listeners) = self.listeners.get() else { return };
        let listeners = std::mem::take(&mut *lock(listeners));
        listeners.iter().filter_map(Weak::upgrade).for_each(|listener| listener.call_cancelled());
    }

    /// Notifies `listener` when the call is cancelled, at once if it is cancelled already.
    pub fn notify(&self, listener: Weak<dyn CancelListener>) {
        let added = listener.clone();
        let mut listeners = lock(self.listeners.get_or_init(Mutex::default));
        if listeners.len() == listeners.capacity() {
            listeners.retain(|waiting| waiting.strong_count() > 0);
            // At least doubled if most still wait, so that the search costs a constant for each.
            let waiting = listeners.len();
            listeners.reserve(waiting + 1);
        }
        listeners.push(added);
        drop(listeners);

        fence(Ordering::SeqCst);
        if self.ends_nested()
            && let Some(listener) = listener.upgrade()
        {
            listener.call_cancelled();
        }
    }
}

fn lock(listeners: &Mutex<Listeners>) -> MutexGuard<'_, Listeners> {
    listeners.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl CancelListener for Count {
        fn call_cancelled(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn listen(cancellation: &Cancellation) -> Arc<Count> {
        let count = Arc::<Count>::default();
        let listener: Weak<Count> = Arc::downgrade(&count);
        cancellation.notify(listener);
        count
    }

    #[test]
    fn notifies_all_that_wait_then_and_later() {
        let cancellation = Cancellation::default();
        let waiting = [listen(&cancellation), listen(&cancellation)];
        drop(listen(&cancellation));
        assert!(!cancellation.is_set());

        cancellation.set();
        cancellation.set();
        assert!(cancellation.is_set());
        let late = listen(&cancellation);
        assert!(waiting.iter().chain([&late]).all(|count| count.0.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn keeps_nothing_of_waits_that_have_ended() {
        let cancellation = Cancellation::default();
        let _waiting: Vec<_> = (0..10).map(|_| listen(&cancellation)).collect();
        (0..10_000).for_each(|_| drop(listen(&cancellation)));
        let capacity = lock(cancellation.listeners.get().unwrap()).capacity();
        assert!(capacity <= 64, "{capacity}");
    }
}
