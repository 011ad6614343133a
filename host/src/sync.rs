//! Locking without poisoning.
//!
//! A mutex is poisoned when a thread panics while it holds the lock. The host runs plugin code that
//! may panic, but not under its own locks, except that the async thread polls a future under the
//! lock of its task; the ABI catches the panics of the future. Each critical section leaves its
//! data consistent at every point where it could panic, so the data behind a poisoned lock is
//! valid, and a panic must not spread to every thread that shares the lock.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Locks `mutex`, also when a thread panicked while it held the lock.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `changed` is notified, also when a thread panicked while it held the lock.
pub(crate) fn wait<'a, T>(changed: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Waits until `changed` is notified or `timeout` has passed, also when a thread panicked while it
/// held the lock.
pub(crate) fn wait_timeout<'a, T>(
    changed: &Condvar,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> MutexGuard<'a, T> {
    changed.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0
}
