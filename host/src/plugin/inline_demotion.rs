//! `inline` methods that hold I/O threads longer than they may: counted, and moved to the blocking threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Time;
use crate::sync::lock;

/// So many strikes within [`WINDOW`] move a method: one may be the machine's fault, which suspends threads.
const STRIKES: u32 = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// The strikes of a generation's methods, by number.
pub(super) struct InlineDemotion(Box<[MethodStrikes]>);

#[derive(Default)]
struct MethodStrikes {
    moved: AtomicBool,
    /// Since when strikes are counted, and how many there were.
    strikes: Mutex<Option<(Time, u32)>>,
}

impl InlineDemotion {
    /// None of so many methods has been slow.
    pub(super) fn of(methods: usize) -> Self {
        Self((0..methods).map(|_| MethodStrikes::default()).collect())
    }

    fn method(&self, number: u32) -> Option<&MethodStrikes> {
        self.0.get(usize::try_from(number).ok()?)
    }

    /// Whether the method was moved.
    pub(super) fn is_moved(&self, number: u32) -> bool {
        self.method(number).is_some_and(|method| method.moved.load(Ordering::Relaxed))
    }

    /// The method runs elsewhere from now on.
    pub(super) fn moved(&self, number: u32) {
        if let Some(method) = self.method(number) {
            method.moved.store(true, Ordering::Relaxed);
        }
    }

    /// Counts one; `true` when the method is to be moved.
    pub(super) fn strike(&self, number: u32, now: Time) -> bool {
        let Some(method) = self.method(number) else { return false };
        let mut strikes = lock(&method.strikes);
        let (since, count) = strikes.filter(|(since, _)| now.since(*since) < WINDOW).unwrap_or((now, 0));
        *strikes = Some((since, count + 1));
        count + 1 >= STRIKES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strikes_count_within_a_window_and_by_method() {
        let slow = InlineDemotion::of(2);
        let start = Time::now();
        assert_eq!([slow.strike(0, start), slow.strike(0, start), slow.strike(1, start)], [false; 3]);
        let later = start.after(WINDOW);
        assert!(!slow.strike(0, later), "the others are long ago");
        assert!(!slow.strike(0, later) && slow.strike(0, later));
        slow.moved(0);
        assert!(slow.is_moved(0) && !slow.is_moved(1) && !slow.is_moved(7));
    }
}
