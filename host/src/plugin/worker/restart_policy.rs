//! When a worker that has ended is replaced.
//!
//! ```text
//!              no answer, or the start failed
//! no pause ────────────────────────────────────► 100 ms ──► 200 ms ──► … ──► 30 s ─┐
//!    ▲                                              │          │              ▲   │
//!    └────────────── a worker answers ──────────────┴──────────┴──────────────┴───┘
//! ```
//!
//! A worker that has answered a call is replaced at once, because its plugin works in principle. A
//! plugin that never gets as far would otherwise start one process after the other.

use std::time::Duration;

use crate::clock::Time;

/// The first pause.
const MIN_PAUSE: Duration = Duration::from_millis(100);

/// Upper bound for the pause, which doubles with each worker that ends without an answer.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Decides when the next process of one worker is started.
///
/// Workers that the host replaces on its own account, such as by recycling, are not reported to it.
#[derive(Debug, Default)]
pub(super) struct RestartPolicy {
    /// The last pause; zero if a worker has answered since.
    pause: Duration,
}

impl RestartPolicy {
    /// Notes that a worker that was ready has ended, and returns when to start the next one.
    /// `has_answered` is whether it has ended at least one call itself.
    pub(super) fn worker_ended(&mut self, now: Time, has_answered: bool) -> Time {
        if has_answered {
            self.pause = Duration::ZERO;
            return now;
        }
        self.start_failed(now)
    }

    /// Notes that a process could not be started, or ended before it was ready, and returns when to
    /// start the next one.
    pub(super) fn start_failed(&mut self, now: Time) -> Time {
        self.pause = (self.pause * 2).clamp(MIN_PAUSE, MAX_PAUSE);
        now.after(self.pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(5_000_000_000);

    fn pauses(policy: &mut RestartPolicy, count: usize) -> Vec<u128> {
        (0..count).map(|_| policy.worker_ended(NOW, false).since(NOW).as_millis()).collect()
    }

    #[test]
    fn replaces_a_worker_that_has_answered_at_once() {
        let mut policy = RestartPolicy::default();
        assert_eq!([true; 3].map(|answered| policy.worker_ended(NOW, answered)), [NOW; 3]);
    }

    #[test]
    fn doubles_the_pause_after_each_worker_without_an_answer() {
        let mut policy = RestartPolicy::default();
        assert_eq!(
            pauses(&mut policy, 11),
            [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000, 30_000]
        );
    }

    #[test]
    fn counts_failed_starts_and_workers_without_an_answer_together() {
        let mut policy = RestartPolicy::default();
        assert_eq!(policy.start_failed(NOW).since(NOW).as_millis(), 100);
        assert_eq!(pauses(&mut policy, 1), [200]);
        assert_eq!(policy.start_failed(NOW).since(NOW).as_millis(), 400);
    }

    #[test]
    fn begins_with_the_first_pause_again_after_an_answer() {
        let mut policy = RestartPolicy::default();
        pauses(&mut policy, 5);
        policy.worker_ended(NOW, true);
        assert_eq!(pauses(&mut policy, 2), [100, 200]);
    }

    #[test]
    fn stays_within_the_clock() {
        assert_eq!(RestartPolicy::default().start_failed(Time::NEVER), Time::NEVER);
    }
}
