//! Inline polling: the first poll of an `async` method on the I/O thread of its request.
//!
//! Passing a call to the generation's async thread and its reply back costs more than a call whose
//! future is ready at once. The author of a plugin does not declare that a future is ready at its
//! first poll, so a method must prove it with a streak of fast first polls. It starts on the async
//! thread, where a slow poll delays no other plugin. One first poll that is not ready ends the
//! streak, and one that takes too long on an I/O thread makes the next streak longer.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Number of consecutive fast first polls that allows inline polling of a method.
const STREAK: u32 = 64;

/// Upper bound for a fast first poll: a fifth of the time that a connection's turn may take.
const FAST: Duration = Duration::from_micros(100);

/// A first poll on an I/O thread that takes longer doubles the streak that is needed. The limit is
/// well above [`FAST`], because a busy machine may suspend a thread for a moment.
const TOO_SLOW: Duration = Duration::from_millis(10);

/// Upper bound for the streak that is needed.
const MAX_STREAK: u32 = 64 * STREAK;

/// A streak that no method reaches: inline polling is forbidden.
const FORBIDDEN: u32 = u32::MAX;

#[derive(Debug)]
struct MethodPollState {
    /// Fast first polls since the last one that was not ready. A slow one halves the streak.
    streak: AtomicU32,

    /// The streak that allows inline polling.
    needed: AtomicU32,
}

/// The inline polling state of a generation's methods, by number.
#[derive(Debug)]
pub(super) struct InlinePollPolicy {
    methods: Box<[MethodPollState]>,

    /// Whether inline polling of any method was ever allowed.
    has_ever_allowed: AtomicBool,
}

impl InlinePollPolicy {
    /// Creates the state for this many methods, without inline polling of any of them.
    pub(super) fn new(methods: usize) -> Self {
        let method = || MethodPollState { streak: AtomicU32::new(0), needed: AtomicU32::new(STREAK) };
        Self { methods: (0..methods).map(|_| method()).collect(), has_ever_allowed: AtomicBool::new(false) }
    }

    fn method(&self, number: u32) -> Option<&MethodPollState> {
        self.methods.get(usize::try_from(number).ok()?)
    }

    /// Returns whether an I/O thread may poll the method first. Costs two loads.
    pub(super) fn allows(&self, number: u32) -> bool {
        self.method(number).is_some_and(|method| {
            method.streak.load(Ordering::Relaxed) >= method.needed.load(Ordering::Relaxed)
        })
    }

    /// Returns whether inline polling of any method was ever allowed, so that I/O threads may have
    /// run its code. Reliable once the generation's own threads, which record the polls, have been
    /// joined.
    pub(super) fn has_ever_allowed(&self) -> bool {
        self.has_ever_allowed.load(Ordering::Relaxed)
    }

    /// Records a first poll, which took `length` together with the start of the future. A future
    /// that is ready with an error is ready, too.
    ///
    /// Threads that record at the same time may lose a count. The streak is an estimate.
    pub(super) fn record_poll(&self, number: u32, is_ready: bool, length: Duration) {
        let Some(method) = self.method(number) else { return };
        let needed = method.needed.load(Ordering::Relaxed);
        if needed == FORBIDDEN {
            return;
        }
        let streak = method.streak.load(Ordering::Relaxed);
        let is_allowed = streak >= needed;

        if is_ready && length <= FAST {
            if !is_allowed {
                if streak + 1 == needed {
                    self.has_ever_allowed.store(true, Ordering::Relaxed);
                }
                method.streak.store(streak + 1, Ordering::Relaxed);
            }
        } else if !is_ready {
            method.streak.store(0, Ordering::Relaxed);
        } else if !is_allowed {
            method.streak.store(streak / 2, Ordering::Relaxed);
        } else if length > TOO_SLOW {
            method.streak.store(0, Ordering::Relaxed);
            method.needed.store((2 * needed).min(MAX_STREAK), Ordering::Relaxed);
        }
    }

    /// Forbids inline polling of the method, and returns whether it was allowed.
    pub(super) fn forbid(&self, number: u32) -> bool {
        let Some(method) = self.method(number) else { return false };
        let was_allowed = self.allows(number);
        method.needed.store(FORBIDDEN, Ordering::Relaxed);
        was_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: (bool, Duration) = (true, FAST);
    const PENDING: (bool, Duration) = (false, FAST);
    const SLOW: (bool, Duration) = (true, Duration::from_millis(11));

    /// Records polls of method 1, and returns whether inline polling of it is allowed then.
    fn record(policy: &InlinePollPolicy, times: u32, (is_ready, length): (bool, Duration)) -> bool {
        (0..times).for_each(|_| policy.record_poll(1, is_ready, length));
        policy.allows(1)
    }

    #[test]
    fn allows_a_method_after_a_streak_of_fast_polls() {
        let policy = InlinePollPolicy::new(2);
        assert!(!record(&policy, STREAK - 1, READY) && !policy.has_ever_allowed());
        assert!(record(&policy, 1, READY) && policy.has_ever_allowed());
        assert!(!policy.allows(0) && !policy.allows(2));
    }

    #[test]
    fn ends_the_streak_with_a_poll_that_is_not_ready() {
        let policy = InlinePollPolicy::new(2);
        assert!(!record(&policy, STREAK - 1, READY) && !record(&policy, 1, PENDING));
        assert!(!record(&policy, STREAK - 1, READY) && record(&policy, 1, READY));
        assert!(!record(&policy, 1, PENDING));
        assert!(record(&policy, STREAK, READY) && policy.has_ever_allowed());
    }

    #[test]
    fn doubles_the_streak_after_a_slow_poll_on_an_io_thread() {
        let policy = InlinePollPolicy::new(2);
        assert!(record(&policy, STREAK, READY));
        assert!(!record(&policy, 1, SLOW));
        assert!(!record(&policy, 2 * STREAK - 1, READY) && record(&policy, 1, READY));
        assert!(!record(&policy, 1, SLOW) && !record(&policy, 4 * STREAK - 1, READY));
    }

    #[test]
    fn tolerates_a_thread_that_is_suspended_for_a_moment() {
        let policy = InlinePollPolicy::new(2);
        assert!(record(&policy, STREAK, READY));
        assert!(record(&policy, 100, (true, TOO_SLOW)));
    }

    #[test]
    fn halves_the_streak_after_a_slow_poll_on_the_async_thread() {
        let policy = InlinePollPolicy::new(2);
        assert!(!record(&policy, STREAK - 2, READY) && !record(&policy, 1, SLOW));
        assert!(!record(&policy, STREAK / 2, READY) && record(&policy, 1, READY));
    }

    #[test]
    fn bounds_the_streak_that_is_needed() {
        let policy = InlinePollPolicy::new(2);
        (0..100).for_each(|_| assert!(record(&policy, MAX_STREAK, READY) && !record(&policy, 1, SLOW)));
    }

    #[test]
    fn forbids_a_method_for_good() {
        let policy = InlinePollPolicy::new(2);
        assert!(record(&policy, STREAK, READY));
        assert!(policy.forbid(1) && !policy.forbid(1) && !policy.forbid(7));
        assert!(!record(&policy, 100 * STREAK, READY));
    }
}
