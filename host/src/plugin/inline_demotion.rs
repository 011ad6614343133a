//! Demotion of `inline` methods that repeatedly occupy an I/O thread for too long: they run as
//! `blocking` from then on.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::Time;
use crate::sync::lock;

/// Number of overruns within [`WINDOW`] that demotes a method. A single overrun may be the fault of
/// a machine that suspended the thread.
const MAX_OVERRUNS: u32 = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// The overruns of a generation's methods, by number.
pub(super) struct InlineDemotion(Box<[MethodOverruns]>);

#[derive(Default)]
struct MethodOverruns {
    is_demoted: AtomicBool,

    /// The start of the current window, and the number of overruns since then.
    window: Mutex<Option<(Time, u32)>>,
}

impl InlineDemotion {
    /// Creates the state for this many methods, none of them demoted.
    pub(super) fn new(methods: usize) -> Self {
        Self((0..methods).map(|_| MethodOverruns::default()).collect())
    }

    fn method(&self, number: u32) -> Option<&MethodOverruns> {
        self.0.get(usize::try_from(number).ok()?)
    }

    pub(super) fn is_demoted(&self, number: u32) -> bool {
        self.method(number).is_some_and(|method| method.is_demoted.load(Ordering::Relaxed))
    }

    /// Demotes the method for the life of its generation.
    pub(super) fn demote(&self, number: u32) {
        if let Some(method) = self.method(number) {
            method.is_demoted.store(true, Ordering::Relaxed);
        }
    }

    /// Counts an overrun, and returns whether the method is to be demoted.
    pub(super) fn record_overrun(&self, number: u32, now: Time) -> bool {
        let Some(method) = self.method(number) else { return false };
        let mut window = lock(&method.window);
        let (start, count) = window.filter(|(start, _)| now.since(*start) < WINDOW).unwrap_or((now, 0));
        *window = Some((start, count + 1));
        count + 1 >= MAX_OVERRUNS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_overruns_of_each_method_within_a_window() {
        let demotion = InlineDemotion::new(2);
        let start = Time::now();
        let overruns = [0, 0, 1].map(|method| demotion.record_overrun(method, start));
        assert_eq!(overruns, [false; 3]);

        let later = start.after(WINDOW);
        assert!(!demotion.record_overrun(0, later), "the window has ended");
        assert!(!demotion.record_overrun(0, later) && demotion.record_overrun(0, later));
    }

    #[test]
    fn reports_every_overrun_past_the_limit() {
        let demotion = InlineDemotion::new(1);
        let now = Time::now();
        let overruns = [now; 5].map(|now| demotion.record_overrun(0, now));
        assert_eq!(overruns, [false, false, true, true, true]);
    }

    #[test]
    fn demotes_one_method_and_ignores_unknown_numbers() {
        let demotion = InlineDemotion::new(2);
        demotion.demote(0);
        demotion.demote(7);
        assert_eq!([0, 1, 7].map(|method| demotion.is_demoted(method)), [true, false, false]);
        assert!((0..9).all(|_| !demotion.record_overrun(7, Time::now())));
    }
}
