//! One monotonic clock for the whole process, and one coarse timer per I/O thread that wakes connections.
//!
//! A request costs no timer of its own. A connection knows its earliest instant (a deadline, an idle limit, …) and
//! has at most one entry here; most instants pass unneeded, so an entry that is too early is found out when it
//! fires, which is far cheaper than moving it at every request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::Waker;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tokio::sync::Notify;

use crate::timer::KernelTimer;

/// How coarse the timer is: what is due within one tick fires together, at its end.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// An instant on the process's clock, in nanoseconds since its first use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) u64);

/// The kernel's monotonic clock in nanoseconds; it goes on for 584 years. An `Instant` is the same, and takes three times
/// as long to make a number of. A kernel without that clock would have failed long before.
fn monotonic() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| {
        now.tv_sec().cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec().cast_unsigned())
    })
}

fn epoch() -> u64 {
    static EPOCH: OnceLock<u64> = OnceLock::new();
    *EPOCH.get_or_init(monotonic)
}

impl Time {
    /// Later than any other.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) fn now() -> Self {
        // The epoch first: it may be made just now.
        let epoch = epoch();
        Self(monotonic().saturating_sub(epoch))
    }

    /// The instant `length` later; [`Time::NEVER`] when that is past the end of the clock.
    pub(crate) fn after(self, length: Duration) -> Self {
        Self(self.0.saturating_add(nanoseconds(length)))
    }

    /// How long it is from `earlier` to here; zero when it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    fn tick(self) -> u64 {
        self.0.div_ceil(nanoseconds(TICK))
    }
}

/// A length in nanoseconds, cut at some 584 years.
pub(crate) fn nanoseconds(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

/// The wake-ups of one I/O thread.
#[derive(Clone, Default)]
pub(crate) struct TimerQueue(Rc<Inner>);

#[derive(Default)]
struct Inner {
    due: RefCell<BTreeMap<(u64, u64), Waker>>,
    earlier: Notify,
}

impl TimerQueue {
    /// Wakes whatever is due, for ever, by this timer.
    ///
    /// # Errors
    /// The timer cannot be set or waited for; nothing is woken any more.
    pub(crate) async fn run(self, timer: KernelTimer) -> io::Result<()> {
        let timer = timer.watch()?;
        loop {
            let first = self.0.due.borrow().first_key_value().map(|(&(tick, _), _)| tick);
            let at = first.map(|tick| Time(tick.saturating_mul(nanoseconds(TICK))));
            timer.set(at.map(|at| at.since(Time::now())))?;
            tokio::select! {
                fired = timer.fired() => {
                    fired?;
                    self.fire();
                }
                () = self.0.earlier.notified() => {}
            }
        }
    }

    fn fire(&self) {
        let now = Time::now().0 / nanoseconds(TICK);
        let mut due = self.0.due.borrow_mut();
        let later = due.split_off(&(now + 1, 0));
        let fired = std::mem::replace(&mut *due, later);
        drop(due);
        fired.into_values().for_each(Waker::wake);
    }
}

/// One connection's place among the wake-ups of its thread; gone with it.
pub(crate) struct TimerEntry {
    wakes: TimerQueue,
    owner: u64,
    armed: Option<u64>,
}

impl TimerEntry {
    /// `owner` must be unique on the thread.
    pub(crate) fn new(wakes: &TimerQueue, owner: u64) -> Self {
        Self { wakes: wakes.clone(), owner, armed: None }
    }

    /// The wake-up that was set has come, or may have.
    pub(crate) fn fired(&mut self, now: Time) {
        if self.armed.is_some_and(|tick| tick <= now.0 / nanoseconds(TICK)) {
            self.clear();
        }
    }

    /// Makes sure that `waker` is woken at `time` or before.
    pub(crate) fn set(&mut self, time: Time, waker: &Waker) {
        let tick = time.tick();
        if time == Time::NEVER || self.armed.is_some_and(|armed| armed <= tick) {
            return;
        }
        self.clear();
        let mut due = self.wakes.0.due.borrow_mut();
        let first = due.first_key_value().is_none_or(|(&(first, _), _)| tick < first);
        due.insert((tick, self.owner), waker.clone());
        self.armed = Some(tick);
        if first {
            self.wakes.0.earlier.notify_one();
        }
    }

    fn clear(&mut self) {
        if let Some(tick) = self.armed.take() {
            self.wakes.0.due.borrow_mut().remove(&(tick, self.owner));
        }
    }
}

impl Drop for TimerEntry {
    fn drop(&mut self) {
        self.clear();
    }
}
