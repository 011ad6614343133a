//! One coarse timer per I/O thread that wakes connections.
//!
//! A request has no timer of its own. A connection knows its earliest instant (a deadline, an idle
//! limit, …) and has at most one entry in the queue. Most of these instants pass without effect, so
//! an entry that turns out to be too early is corrected when it fires; that is far cheaper than
//! moving the entry at every request.
//!
//! The queue waits for a timer of the kernel (`timerfd`) like for a socket. Setting the runtime's
//! own timer would be cheaper, but as long as any timer is set, and one always is, the runtime
//! reads the clock around every wait, and the kernel sets and cancels an alarm for every wait.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use crate::clock::{Time, nanoseconds};

/// The resolution of the timer: entries that are due within one tick fire together, at its end.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// Returns the number of the tick at whose end an instant has passed.
fn tick_of(time: Time) -> u64 {
    time.0.div_ceil(nanoseconds(TICK))
}

/// Returns the number of the last tick that has ended at `now`.
fn ended_tick(now: Time) -> u64 {
    now.0 / nanoseconds(TICK)
}

/// A timer of the kernel that is not registered with a runtime yet. The thread that waits for it
/// registers it.
pub(crate) struct KernelTimer(OwnedFd);

impl KernelTimer {
    /// Creates a timer that is not set.
    ///
    /// # Errors
    ///
    /// The process or the system has no descriptor or no memory left.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Registers the timer with the runtime of this thread.
    ///
    /// # Errors
    ///
    /// The runtime's reactor does not accept the descriptor.
    #[expect(
        deprecated,
        reason = "unsound only for types that lie about their descriptor; the other way is unsafe"
    )]
    fn register(self) -> io::Result<RegisteredTimer> {
        AsyncFd::with_interest(self.0, Interest::READABLE).map(RegisteredTimer)
    }
}

/// A timer that a runtime waits for.
struct RegisteredTimer(AsyncFd<OwnedFd>);

impl RegisteredTimer {
    /// Sets the timer to fire once after this time, or never for `None`. The previous setting is
    /// replaced.
    fn set(&self, after: Option<Duration>) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would stop the timer. A time that the kernel's clock cannot represent means never.
        let at = after.and_then(|after| Timespec::try_from(after.max(Duration::from_nanos(1))).ok());
        let value = Itimerspec { it_interval: never, it_value: at.unwrap_or(never) };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// Waits until the timer fires. Dropping the future loses nothing.
    async fn wait(&self) -> io::Result<()> {
        let mut count = [0; 8];
        loop {
            let mut ready = self.0.readable().await?;
            match read(&self.0, &mut count) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The timer entries of one I/O thread.
#[derive(Clone, Default)]
pub(crate) struct TimerQueue(Rc<QueueState>);

#[derive(Default)]
struct QueueState {
    /// By tick and by the number of the owner.
    entries: RefCell<BTreeMap<(u64, u64), Waker>>,

    /// Notified when an entry becomes the first.
    first_changed: Notify,
}

impl TimerQueue {
    /// Wakes entries when they are due. Does not return as long as the timer works.
    ///
    /// # Errors
    ///
    /// The timer cannot be set or waited for. No entry is woken from then on.
    pub(crate) async fn run(self, timer: KernelTimer) -> io::Result<()> {
        let timer = timer.register()?;

        loop {
            let first = self.0.entries.borrow().first_key_value().map(|(&(tick, _), _)| tick);
            let at = first.map(|tick| Time(tick.saturating_mul(nanoseconds(TICK))));
            timer.set(at.map(|at| at.since(Time::now())))?;

            tokio::select! {
                fired = timer.wait() => {
                    fired?;
                    self.wake_due(Time::now());
                }
                () = self.0.first_changed.notified() => {}
            }
        }
    }

    fn wake_due(&self, now: Time) {
        let mut entries = self.0.entries.borrow_mut();
        let later = entries.split_off(&(ended_tick(now) + 1, 0));
        let due = std::mem::replace(&mut *entries, later);
        drop(entries);
        due.into_values().for_each(Waker::wake);
    }
}

/// The one entry that a connection may have in the queue of its thread. Removed when dropped.
pub(crate) struct TimerEntry {
    queue: TimerQueue,
    owner: u64,
    tick: Option<u64>,
}

impl TimerEntry {
    /// Creates an entry that is not set. `owner` must be unique on the thread.
    pub(crate) fn new(queue: &TimerQueue, owner: u64) -> Self {
        Self { queue: queue.clone(), owner, tick: None }
    }

    /// Removes the entry if it has fired, or could have.
    pub(crate) fn clear_if_due(&mut self, now: Time) {
        if self.tick.is_some_and(|tick| tick <= ended_tick(now)) {
            self.clear();
        }
    }

    /// Ensures that `waker` is woken at `time` or earlier.
    pub(crate) fn set(&mut self, time: Time, waker: &Waker) {
        let tick = tick_of(time);
        if time == Time::NEVER || self.tick.is_some_and(|set| set <= tick) {
            return;
        }

        self.clear();
        let mut entries = self.queue.0.entries.borrow_mut();
        let is_first = entries.first_key_value().is_none_or(|(&(first, _), _)| tick < first);
        entries.insert((tick, self.owner), waker.clone());
        self.tick = Some(tick);
        if is_first {
            self.queue.0.first_changed.notify_one();
        }
    }

    fn clear(&mut self) {
        if let Some(tick) = self.tick.take() {
            self.queue.0.entries.borrow_mut().remove(&(tick, self.owner));
        }
    }
}

impl Drop for TimerEntry {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wake_count::WakeCount;

    /// An entry, and the number of times that it was woken.
    fn entry(queue: &TimerQueue, owner: u64, time: Time) -> (TimerEntry, Arc<WakeCount>) {
        let mut entry = TimerEntry::new(queue, owner);
        let count = Arc::<WakeCount>::default();
        entry.set(time, &Waker::from(Arc::clone(&count)));
        (entry, count)
    }

    #[tokio::test]
    async fn fires_once_at_the_time_that_was_set_last() {
        let timer = KernelTimer::new().unwrap().register().unwrap();
        let hour = Some(Duration::from_secs(3600));
        timer.set(hour).unwrap();
        timer.set(Some(Duration::ZERO)).unwrap();
        timer.wait().await.unwrap();
        timer.set(Some(Duration::from_millis(1))).unwrap();
        timer.wait().await.unwrap();

        for later in [None, hour, Some(Duration::MAX)] {
            timer.set(later).unwrap();
            let fired = tokio::time::timeout(Duration::from_millis(20), timer.wait()).await;
            assert!(fired.is_err(), "it fired, set to {later:?}");
        }
    }

    #[test]
    fn wakes_an_entry_when_its_tick_has_ended() {
        let queue = TimerQueue::default();
        let at = Time(nanoseconds(TICK) + 1);
        let (mut entry, count) = entry(&queue, 1, at);

        queue.wake_due(at);
        entry.clear_if_due(at);
        assert_eq!((count.get(), entry.tick), (0, Some(2)));

        let end_of_tick = Time(2 * nanoseconds(TICK));
        queue.wake_due(end_of_tick);
        entry.clear_if_due(end_of_tick);
        assert_eq!((count.get(), entry.tick), (1, None));
    }

    #[test]
    fn moves_an_entry_only_to_an_earlier_tick() {
        let queue = TimerQueue::default();
        let (mut entry, _) = entry(&queue, 1, Time(2 * nanoseconds(TICK)));

        for (time, tick) in [(Time::NEVER, 2), (Time(9 * nanoseconds(TICK)), 2), (Time(1), 1)] {
            entry.set(time, Waker::noop());
            assert_eq!(entry.tick, Some(tick));
            assert_eq!(queue.0.entries.borrow().len(), 1);
        }
    }

    #[test]
    fn removes_a_dropped_entry() {
        let queue = TimerQueue::default();
        let (one, count) = entry(&queue, 1, Time(1));
        let (_other, other_count) = entry(&queue, 2, Time(1));
        drop(one);

        queue.wake_due(Time(nanoseconds(TICK)));
        assert_eq!([&count, &other_count].map(|count| count.get()), [0, 1]);
    }
}
