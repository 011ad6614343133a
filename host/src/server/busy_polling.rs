//! An I/O thread that has just been asked something looks for more for a moment before it sleeps.
//!
//! Waking a thread that sleeps costs the system several times what a small request costs the host, so with one or a few
//! clients who wait for each reply most of a request's time is waking. Looking on pays only while it finds something,
//! and takes nothing from anybody only while the core has nothing else to run. So it is done again at once where it
//! found more, and after ever more requests without it where it found nothing, as with a client that thinks for longer
//! or needs this very core, where the system took the core away meanwhile, and where the thread has so much to do that it
//! would not have slept. Half of the cores at most are looked on with at once: who asks needs some, too.

use std::rc::Rc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use crate::clock::Time;
use crate::connection::ThreadContext;

/// Requests that pass without looking on, at most, before it is tried again.
const LONGEST_REST: u64 = 4096;
/// As often as that it must have found something to be tried again at once: once can be chance.
const WORTH_IT: u64 = 4;
/// So many finds are judged together: a thread that looked in vain less than twice for each of them would hardly have
/// slept, and looking only costs it. With one client that waits for its replies it is six times and more.
const JUDGED: u64 = 64;
/// How often it is asked whether the core was taken away.
const ASK: Duration = Duration::from_millis(1);

/// Keeps the thread awake for a moment after each read, while that pays. Never ends, and does nothing while the thread
/// has nothing to do.
pub(super) async fn spin(thread: Rc<ThreadContext>) {
    let mut rest = 1;
    loop {
        thread.activity.wait_for(rest).await;
        let length = thread.dispatcher.rules.load().io.spin;
        let found = match thread.dispatcher.looking.take() {
            Some(_permit) if !length.is_zero() => look(&thread, length).await,
            _ => 0,
        };
        rest = if found >= WORTH_IT { 1 } else { (rest * 2).min(LONGEST_REST) };
    }
}

/// Looks until nothing has come for so long; gives back how often something did. At once, and with nothing, when
/// somebody else needs the core or the thread has enough to do without.
async fn look(thread: &ThreadContext, length: Duration) -> u64 {
    let (taken_away, begun) = (preemptions(), thread.activity.count());
    let mut count = begun;
    let mut now = Time::now();
    let (mut until, mut ask) = (now.after(length), now.after(ASK));
    let (mut in_vain, mut judged) = (0, begun);
    while now < until {
        tokio::task::yield_now().await;
        now = Time::now();
        if thread.activity.count() != count {
            count = thread.activity.count();
            until = now.after(length);
            if count - judged >= JUDGED {
                if in_vain < 2 * (count - judged) {
                    return 0;
                }
                (in_vain, judged) = (0, count);
            }
        } else {
            in_vain += 1;
        }
        if now >= ask {
            ask = now.after(ASK);
            if preemptions() != taken_away {
                return 0;
            }
        }
    }
    count - begun
}

/// How often this thread had to give its core to another.
fn preemptions() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.involuntary_context_switches())
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;
    use crate::clock::TimerQueue;
    use crate::config::Config;
    use crate::routing::{ConnectionRules, Dispatcher};

    /// Lets a thread spin for so long, and gives it to `then`.
    fn on_a_thread<F: Future<Output = ()>>(length: Duration, then: impl FnOnce(Rc<ThreadContext>) -> F) {
        let mut config = Config::default();
        config.io.spin = length;
        let recorder = crate::crash_record::CrashRecord::open(&config.plugins.deaths).unwrap();
        let thread = ThreadContext::new(
            Dispatcher::new(ConnectionRules::of(&config), recorder),
            TimerQueue::default(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let spinning = tokio::task::spawn_local(spin(Rc::clone(&thread)));
            then(thread).await;
            spinning.abort();
        });
    }

    /// How many reads it lets pass from here, once it sleeps.
    async fn rest(thread: &ThreadContext) -> u64 {
        loop {
            yield_now().await;
            if let Some(rest) = thread.activity.awaited() {
                return rest;
            }
        }
    }

    #[test]
    fn looking_in_vain_is_done_ever_more_seldom() {
        on_a_thread(Duration::from_micros(50), |thread| async move {
            for rests in [1, 2, 4, 8] {
                assert_eq!(rest(&thread).await, rests);
                (0..rests).for_each(|_| thread.activity.note());
            }
            for _ in 0..20 {
                let rests = rest(&thread).await;
                (0..rests).for_each(|_| thread.activity.note());
            }
            assert_eq!(rest(&thread).await, LONGEST_REST);
        });
    }

    #[test]
    fn looking_that_finds_is_done_again_at_once() {
        // Long enough for what comes here to come, and so short that the core is seldom lost meanwhile.
        on_a_thread(Duration::from_millis(1), |thread| async move {
            loop {
                // It may lose its core meanwhile, which ends the looking for nothing.
                let rests = rest(&thread).await;
                (0..rests).for_each(|_| thread.activity.note());
                for _ in 0..WORTH_IT {
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

    /// Whether the thread looks on, once that is due.
    async fn looks_on(thread: &ThreadContext) -> bool {
        let rests = rest(thread).await;
        (0..rests).for_each(|_| thread.activity.note());
        yield_now().await;
        yield_now().await;
        thread.activity.awaited().is_none()
    }

    /// So long that it is not over before it is looked at.
    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn beyond_half_of_the_cores_nothing_is_looked_for() {
        on_a_thread(LONG, |thread| async move {
            let others: Vec<_> = std::iter::from_fn(|| thread.dispatcher.looking.take()).collect();
            assert!(!looks_on(&thread).await);
            drop(others);
            assert!(looks_on(&thread).await);
            assert_eq!(thread.dispatcher.looking.held(), 1);
        });
    }

    #[test]
    fn a_thread_that_is_busy_without_it_does_not_look() {
        on_a_thread(LONG, |thread| async move {
            // Beside the looking on the same queue: between two looks there is always something.
            let busy = tokio::task::spawn_local(async move {
                let mut rested = 0;
                for _ in 0..100 * JUDGED {
                    rested += u64::from(thread.activity.awaited().is_some());
                    thread.activity.note();
                    yield_now().await;
                }
                rested
            });
            let rested = busy.await.unwrap();
            assert!(rested > 50 * JUDGED, "it looked on for all but {rested} requests");
        });
    }

    #[test]
    fn without_it_nothing_is_looked_for() {
        on_a_thread(Duration::ZERO, |thread| async move {
            for rests in [1, 2, 4] {
                assert_eq!(rest(&thread).await, rests);
                assert!(!looks_on(&thread).await);
            }
        });
    }
}
