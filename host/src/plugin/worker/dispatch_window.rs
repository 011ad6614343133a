//! How many blocking calls are sent to a worker before the first of them has ended, and to which
//! worker the next one goes.
//!
//! A worker gets as many calls as it has threads. While its calls are short, it gets as many as it
//! ends in [`AHEAD`], and the next ones when half of these have ended: otherwise a thread would
//! wait for two wake-ups and two system calls between any two calls, which cost several times as
//! much as a short call. Calls that are sent ahead cannot go to another worker any more, and are
//! lost in a crash, so that the number of rounds returns to 1 with the first call that is not
//! short.

use std::time::Duration;

use crate::clock::{Time, nanoseconds};

/// Calls for each thread, at most.
const MAX_ROUNDS: usize = 64;

/// The time in nanoseconds that the calls of a worker may take together, if more than one is sent
/// for each thread.
const AHEAD: u64 = 500_000;

/// A call is short if the time between its message and its end is below this, divided by its round.
const SHORT: u64 = 200_000;

/// If nothing has ended for so long, no call is sent ahead.
const STALL: Duration = Duration::from_millis(1);

/// The weight of a call in the moving average is 1 to this.
const WEIGHT: u64 = 8;

/// The start of an open call, which is kept until the call has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct DispatchedCall {
    at: Time,

    /// 1 if a thread was free, 2 if each thread had a call, and so on.
    round: usize,
}

/// The blocking calls of one worker process.
#[derive(Debug)]
pub(super) struct DispatchWindow {
    threads: usize,
    rounds: usize,
    open: usize,

    /// The moving average of the time that one call takes, in nanoseconds.
    average: u64,

    /// When a call last ended, or the first one was sent.
    progress: Time,

    /// Whether the worker had all calls that it may have, and still has more than half of them.
    is_full: bool,
}

impl DispatchWindow {
    /// Begins with a new process, which gets one call for each thread.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: threads.max(1),
            rounds: 1,
            open: 0,
            average: SHORT,
            progress: Time(0),
            is_full: false,
        }
    }

    /// Returns the number of threads that have a call.
    pub(super) fn busy_threads(&self) -> usize {
        self.open.min(self.threads)
    }

    /// Returns whether one more call may be sent. `may_run` is whether one more thread of the
    /// plugin may run a call; if not, calls can only be sent ahead.
    pub(super) fn has_room(&self, now: Time, may_run: bool) -> bool {
        if self.open < self.threads {
            return may_run;
        }
        !self.is_full && self.open < self.threads * self.rounds && now.since(self.progress) < STALL
    }

    /// Notes that a call is sent.
    pub(super) fn dispatch(&mut self, now: Time) -> DispatchedCall {
        if self.open == 0 {
            self.progress = now;
        }
        let round = self.open / self.threads + 1;
        self.open += 1;
        self.is_full |= self.open >= self.threads * self.rounds;
        DispatchedCall { at: now, round }
    }

    /// Notes that a call has ended.
    pub(super) fn end(&mut self, call: DispatchedCall, now: Time) {
        self.open = self.open.saturating_sub(1);
        self.progress = now;

        let round = u64::try_from(call.round).unwrap_or(u64::MAX).max(1);
        let length = nanoseconds(now.since(call.at)) / round;
        self.average = (self.average * (WEIGHT - 1)).saturating_add(length) / WEIGHT;
        self.rounds = if length < SHORT {
            let ahead = usize::try_from(AHEAD / self.average.max(1)).unwrap_or(MAX_ROUNDS);
            ahead.clamp(1, (self.rounds * 2).min(MAX_ROUNDS))
        } else {
            1
        };
        self.is_full &= self.open > self.threads * self.rounds / 2;
    }
}

/// Returns the worker for the next blocking call: of those with room, the one with the fewest open
/// calls. `workers` are those that are ready and not draining. `may_run` is whether fewer threads
/// of the plugin are busy than may be.
pub(super) fn choose_worker<'a, W>(
    workers: impl IntoIterator<Item = (W, &'a DispatchWindow)>,
    now: Time,
    may_run: bool,
) -> Option<W> {
    let with_room = workers.into_iter().filter(|(_, window)| window.has_room(now, may_run));
    with_room.min_by_key(|(_, window)| window.open).map(|(worker, _)| worker)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(3_000_000_000);
    const SHORT_CALL: Duration = Duration::from_micros(40);
    const VERY_SHORT_CALL: Duration = Duration::from_micros(1);

    /// Runs calls of this length, one after the other.
    fn run(window: &mut DispatchWindow, count: usize, length: Duration) {
        for _ in 0..count {
            let call = window.dispatch(NOW);
            window.end(call, NOW.after(length));
        }
    }

    /// Returns the number of calls that can be sent to it at once.
    fn room(window: &mut DispatchWindow) -> usize {
        let mut calls = Vec::new();
        while window.has_room(NOW, true) {
            calls.push(window.dispatch(NOW));
        }
        let count = calls.len();
        window.open -= count;
        window.is_full = false;
        count
    }

    #[test]
    fn sends_one_call_for_each_thread_to_a_new_worker() {
        assert_eq!(room(&mut DispatchWindow::new(4)), 4);
        assert_eq!(room(&mut DispatchWindow::new(0)), 1);
    }

    #[test]
    fn sends_calls_ahead_while_they_are_short() {
        let mut window = DispatchWindow::new(2);
        run(&mut window, 1, SHORT_CALL);
        assert_eq!(room(&mut window), 4);
        run(&mut window, 100, SHORT_CALL);
        assert_eq!(room(&mut window), 2 * 12, "each thread has calls for 500 us");
        run(&mut window, 100, VERY_SHORT_CALL);
        assert_eq!(room(&mut window), 2 * MAX_ROUNDS);
    }

    #[test]
    fn sends_the_next_calls_ahead_when_half_have_ended() {
        let mut window = DispatchWindow::new(2);
        run(&mut window, 100, VERY_SHORT_CALL);
        let calls = [(); 2 * MAX_ROUNDS].map(|()| window.dispatch(NOW));

        let mut ended = 0;
        for call in calls {
            assert!(!window.has_room(NOW, true) || ended >= MAX_ROUNDS, "after {ended}");
            window.end(call, NOW);
            ended += 1;
        }
        assert_eq!((ended, window.open, window.is_full), (2 * MAX_ROUNDS, 0, false));
    }

    #[test]
    fn returns_to_one_call_for_each_thread_after_a_long_call() {
        let mut window = DispatchWindow::new(2);
        run(&mut window, 100, SHORT_CALL);
        run(&mut window, 1, Duration::from_millis(5));
        assert_eq!(room(&mut window), 2);

        run(&mut window, 5, SHORT_CALL);
        assert_eq!(room(&mut window), 2, "the average is still long");
        run(&mut window, 50, SHORT_CALL);
        assert_eq!(room(&mut window), 2 * 12);
    }

    #[test]
    fn sends_no_call_ahead_while_none_ends() {
        let mut window = DispatchWindow::new(1);
        run(&mut window, 100, SHORT_CALL);
        window.dispatch(NOW);
        assert!(window.has_room(NOW, true));
        assert!(!window.has_room(NOW.after(STALL), true));
    }

    #[test]
    fn does_not_take_the_wait_for_a_thread_for_a_long_call() {
        let mut window = DispatchWindow::new(1);
        run(&mut window, 100, SHORT_CALL);

        // Four calls are sent together, and run one after the other for 100 us each.
        let calls = [(); 4].map(|()| window.dispatch(NOW));
        for (ended, call) in (1..).zip(calls) {
            window.end(call, NOW.after(Duration::from_micros(100) * ended));
        }
        assert!(window.rounds > 4, "{}", window.rounds);
    }

    #[test]
    fn takes_no_free_thread_if_the_plugin_may_not() {
        let mut window = DispatchWindow::new(2);
        run(&mut window, 100, SHORT_CALL);
        assert!(!window.has_room(NOW, false));

        window.dispatch(NOW);
        window.dispatch(NOW);
        assert_eq!(window.busy_threads(), 2);
        assert!(window.has_room(NOW, false), "the call waits in the worker");
    }

    #[test]
    fn chooses_the_worker_with_the_fewest_open_calls() {
        let mut windows = [(); 3].map(|()| DispatchWindow::new(2));
        windows[0].dispatch(NOW);
        let choose = |windows: &[DispatchWindow], may| choose_worker(windows.iter().enumerate(), NOW, may);
        assert_eq!(choose(&windows, true), Some(1));

        for window in &mut windows[1..] {
            window.dispatch(NOW);
            window.dispatch(NOW);
        }
        assert_eq!(choose(&windows, true), Some(0));
        assert_eq!(choose(&windows, false), None);
        windows[0].dispatch(NOW);
        assert_eq!(choose(&windows, true), None, "each thread has a call");
        assert_eq!(choose(&[], true), None);
    }
}
