//! Ends the wait for replies at their deadlines, for callers that have no timer of their own: the
//! embedding program may use any async runtime, or none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use jackfield_plugin_api::abi::CancelListener as _;
use tokio::sync::Notify;

use crate::clock::Time;
use crate::plugin::ReplySlot;
use crate::sync::lock;

/// When a wait ends, and a number that tells waits with the same deadline apart.
type WatchKey = (Time, u64);

#[derive(Default)]
struct WatchState {
    waiting: BTreeMap<WatchKey, Weak<ReplySlot>>,
    next_number: u64,

    /// Set when the host ends without waiting any longer.
    is_cut: bool,
}

/// The deadlines of the calls of the embedding program.
#[derive(Default)]
pub(crate) struct DeadlineWatch {
    state: Mutex<WatchState>,

    /// Notified when there is an earlier deadline than before.
    earlier: Notify,
}

/// A deadline that is watched. Dropping it ends that.
pub(super) struct WatchedDeadline {
    watch: Weak<DeadlineWatch>,
    key: WatchKey,
}

impl DeadlineWatch {
    /// Has the wait for `slot` end at `deadline`.
    pub(super) fn add(self: &Arc<Self>, deadline: Time, slot: &Arc<ReplySlot>) -> WatchedDeadline {
        let mut state = lock(&self.state);
        let key = (deadline, state.next_number);
        state.next_number += 1;
        let is_earliest = state.waiting.first_key_value().is_none_or(|(first, _)| key < *first);
        state.waiting.insert(key, Arc::downgrade(slot));
        let is_cut = state.is_cut;
        drop(state);

        if is_cut {
            slot.call_cancelled();
        } else if is_earliest {
            self.earlier.notify_one();
        }
        WatchedDeadline { watch: Arc::downgrade(self), key }
    }

    /// Ends the waits whose deadlines have passed, as long as it is polled. Never returns.
    pub(crate) async fn run(&self) {
        loop {
            let now = Time::now();
            self.end_until(now);

            let earliest = lock(&self.state).waiting.first_key_value().map(|((deadline, _), _)| *deadline);
            match earliest {
                Some(deadline) => {
                    let _ = tokio::time::timeout(deadline.since(now), self.earlier.notified()).await;
                }
                None => self.earlier.notified().await,
            }
        }
    }

    /// Ends all waits, present and future: the host ends.
    pub(crate) fn cut(&self) {
        lock(&self.state).is_cut = true;
        self.end_until(Time::NEVER);
    }

    /// Returns whether the host ends without waiting any longer.
    pub(super) fn is_cut(&self) -> bool {
        lock(&self.state).is_cut
    }

    fn end_until(&self, now: Time) {
        let mut state = lock(&self.state);
        let later = state.waiting.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut state.waiting, later);
        drop(state);

        // Ending a wait calls a waker of the program, which may add a deadline.
        due.values().filter_map(Weak::upgrade).for_each(|slot| slot.call_cancelled());
    }
}

impl Drop for WatchedDeadline {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.upgrade() {
            lock(&watch.state).waiting.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run_for(watch: &DeadlineWatch, length: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _ = runtime.block_on(async { tokio::time::timeout(length, watch.run()).await });
    }

    #[test]
    fn ends_a_wait_at_its_deadline_and_no_other() {
        let watch = Arc::<DeadlineWatch>::default();
        let slots: [Arc<ReplySlot>; 3] = Default::default();
        let now = Time::now();
        let [soon, later, dropped] = [1, 3600, 1].map(|seconds| now.after(Duration::from_secs(seconds)));
        let _first = watch.add(soon, &slots[0]);
        let _second = watch.add(later, &slots[1]);
        drop(watch.add(dropped, &slots[2]));

        watch.end_until(now);
        assert!(slots.iter().all(|slot| !slot.is_cancelled()));
        watch.end_until(soon);
        assert_eq!(slots.each_ref().map(|slot| slot.is_cancelled()), [true, false, false]);
        watch.cut();
        assert!(slots[1].is_cancelled());
    }

    #[test]
    fn notices_a_deadline_that_is_added_while_it_waits() {
        let watch = Arc::<DeadlineWatch>::default();
        let slot = Arc::<ReplySlot>::default();
        let _far = watch.add(Time::now().after(Duration::from_secs(3600)), &Arc::default());

        std::thread::scope(|scope| {
            scope.spawn(|| run_for(&watch, Duration::from_secs(2)));
            let _near = watch.add(Time::now().after(Duration::from_millis(5)), &slot);
            assert!(slot.wait(Duration::from_secs(30)).is_some_and(|ended| ended.is_err()));
            // Lets the other thread end early.
            watch.cut();
        });
    }

    #[test]
    fn ends_every_later_wait_once_it_is_cut() {
        let watch = Arc::<DeadlineWatch>::default();
        watch.cut();
        let slot = Arc::<ReplySlot>::default();
        let _watched = watch.add(Time::now().after(Duration::from_secs(3600)), &slot);
        assert!(slot.is_cancelled() && watch.is_cut());
    }
}
