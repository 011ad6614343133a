//! Busy polling: an I/O thread that has just read a request polls for more before it sleeps.
//!
//! Waking a sleeping thread costs the kernel several times what a small request costs the host.
//! With one or a few clients that wait for each reply, most of a request's time is therefore the
//! wake-up. Polling pays off only while it finds requests, and takes time from nobody only while
//! the core has nothing else to run. The thread therefore adapts:
//!
//! - If polling found requests, the thread polls again after the next one.
//! - Otherwise it lets a number of requests pass without polling, which doubles each time up to
//!   [`MAX_REST`]. Polling also counts as useless if the kernel took the core away meanwhile,
//!   or if the thread is so busy that it would not have slept.
//! - At most half of the cores poll at any time, because the clients need some, too.

use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::clock::Time;
use crate::connection::ThreadContext;

/// The most requests that pass without polling before it is tried again.
const MAX_REST: u64 = 4096;

/// Requests that polling must have found to be repeated at once. A single one can be chance.
const USEFUL_FINDS: u64 = 4;

/// Number of finds after which polling is judged. A thread with fewer than two vain polls for each
/// find would hardly have slept, so polling only costs it. With one client that waits for its
/// replies there are six and more.
const JUDGED_FINDS: u64 = 64;

/// Interval between two checks whether the kernel took the core away.
const PREEMPTION_CHECK: Duration = Duration::from_millis(1);

/// Polls busily after reads while that pays off. Never returns; does nothing while the thread has
/// nothing to do.
pub(super) async fn poll_busily(thread: Rc<ThreadContext>) {
    let mut rest = 1;
    loop {
        thread.activity.wait_for(rest).await;

        let length = thread.dispatcher.rules.load().io.spin;
        let found = match thread.dispatcher.busy_polling.take() {
            Some(_permit) if !length.is_zero() => poll_for(&thread, length).await,
            _ => 0,
        };
        rest = if found >= USEFUL_FINDS { 1 } else { (rest * 2).min(MAX_REST) };
    }
}

/// Polls until nothing was read for `length` and returns how many reads there were.
///
/// Returns 0 early if the kernel gave the core to another thread, or if this thread is too busy to
/// gain anything.
async fn poll_for(thread: &ThreadContext, length: Duration) -> u64 {
    let preemptions_before = preemptions();
    let begin = thread.activity.count();
    let mut now = Time::now();
    let mut until = now.after(length);
    let mut next_check = now.after(PREEMPTION_CHECK);

    let mut count = begin;
    let mut judged_from = begin;
    let mut vain_polls = 0;

    while now < until {
        tokio::task::yield_now().await;
        now = Time::now();

        if thread.activity.count() == count {
            vain_polls += 1;
        } else {
            count = thread.activity.count();
            until = now.after(length);
            let finds = count - judged_from;
            if finds >= JUDGED_FINDS {
                if vain_polls < 2 * finds {
                    return 0;
                }
                vain_polls = 0;
                judged_from = count;
            }
        }

        if now >= next_check {
            next_check = now.after(PREEMPTION_CHECK);
            if preemptions() != preemptions_before {
                return 0;
            }
        }
    }
    count - begin
}

/// Returns how often the kernel took the core from this thread.
fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::config::Config;
    use crate::routing::{ConnectionRules, Dispatcher};
    use crate::timer::TimerQueue;

    /// Runs busy polling of `length` on this thread, concurrently with `then`.
    fn on_a_thread<F: Future<Output = ()>>(length: Duration, then: impl FnOnce(Rc<ThreadContext>) -> F) {
        let mut config = Config::default();
        config.io.spin = length;
        let crash_record = crate::crash_record::CrashRecord::open(&config.plugins.crash).unwrap();
        let thread = ThreadContext::new(
            Dispatcher::new(ConnectionRules::of(&config), crash_record),
            TimerQueue::default(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let polling = tokio::task::spawn_local(poll_busily(Rc::clone(&thread)));
            then(thread).await;
            polling.abort();
        });
    }

    /// Waits until the thread rests and returns how many reads it lets pass.
    async fn rest(thread: &ThreadContext) -> u64 {
        loop {
            yield_now().await;
            if let Some(rest) = thread.activity.awaited() {
                return rest;
            }
        }
    }

    #[test]
    fn rests_longer_each_time_it_finds_nothing() {
        on_a_thread(Duration::from_micros(50), |thread| async move {
            for rests in [1, 2, 4, 8] {
                assert_eq!(rest(&thread).await, rests);
                (0..rests).for_each(|_| thread.activity.note());
            }
            for _ in 0..20 {
                let rests = rest(&thread).await;
                (0..rests).for_each(|_| thread.activity.note());
            }
            assert_eq!(rest(&thread).await, MAX_REST);
        });
    }

    #[test]
    fn polls_again_at_once_if_it_finds_requests() {
        // Long enough to find the reads below, and short enough that the core is seldom taken away
        // meanwhile.
        on_a_thread(Duration::from_millis(1), |thread| async move {
            loop {
                // If the kernel takes the core away, this round ends early and the next one counts.
                let rests = rest(&thread).await;
                (0..rests).for_each(|_| thread.activity.note());
                for _ in 0..USEFUL_FINDS {
                    yield_now().await;
                    yield_now().await;
                    thread.activity.note();
                }
                if rest(&thread).await == 1 {
                    break;
                }
            }
        });
    }

    /// Returns whether the thread polls after its rest.
    async fn polls_after_rest(thread: &ThreadContext) -> bool {
        let rests = rest(thread).await;
        (0..rests).for_each(|_| thread.activity.note());
        yield_now().await;
        yield_now().await;
        thread.activity.awaited().is_none()
    }

    /// Longer than any of these tests takes.
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn does_not_poll_while_half_of_the_cores_do() {
        on_a_thread(LONG, |thread| async move {
            let others: Vec<_> = std::iter::from_fn(|| thread.dispatcher.busy_polling.take()).collect();
            assert!(!polls_after_rest(&thread).await);
            drop(others);
            assert!(polls_after_rest(&thread).await);
            assert_eq!(thread.dispatcher.busy_polling.held(), 1);
        });
    }

    #[test]
    fn does_not_poll_on_a_thread_that_is_busy_anyway() {
        on_a_thread(LONG, |thread| async move {
            // This task shares the queue with the polling: there is a read between any two polls.
            let busy = tokio::task::spawn_local(async move {
                let mut rested = 0;
                for _ in 0..100 * JUDGED_FINDS {
                    rested += u64::from(thread.activity.awaited().is_some());
                    thread.activity.note();
                    yield_now().await;
                }
                rested
            });
            let rested = busy.await.unwrap();
            assert!(rested > 50 * JUDGED_FINDS, "polled after all but {rested} requests");
        });
    }

    #[test]
    fn does_not_poll_if_the_length_is_zero() {
        on_a_thread(Duration::ZERO, |thread| async move {
            for rests in [1, 2, 4] {
                assert_eq!(rest(&thread).await, rests);
                assert!(!polls_after_rest(&thread).await);
            }
        });
    }
}
