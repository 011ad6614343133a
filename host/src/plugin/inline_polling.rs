//! `async` methods whose futures are ready at their first poll, again and again, and soon: an I/O thread may poll them first.
//!
//! Going to the generation's own thread and back costs more than such a call takes. Nobody promises that a
//! future is ready at once, though, as the author of an `inline` method does; so a method earns it, on the generation's
//! thread, where it holds up nobody but its own plugin, and loses it with the first future that is not ready or takes long.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// So many first polls in a row that were prompt make a method prompt.
const ROW: u32 = 64;

/// A first poll that is prompt is over within this: a fifth of what a connection's turn may take.
const SOON: Duration = Duration::from_micros(100);

/// An I/O thread was held for too long: it takes twice as many prompt polls until the method is tried there again. A
/// thread that a busy machine suspends for a moment is no fault of the method's.
const LONG: Duration = Duration::from_millis(10);

/// It never takes more than this.
const LONGEST_ROW: u32 = 64 * ROW;

/// One more than any row can be long: not to be earned again.
const NEVER: u32 = u32::MAX;

#[derive(Debug)]
struct MethodPollState {
    /// Prompt first polls since the last that was not ready, half of them since the last that took its time.
    row: AtomicU32,
    /// How many it takes.
    wanted: AtomicU32,
}

/// How prompt a generation's methods are, by number.
#[derive(Debug)]
pub(super) struct InlinePollPolicy {
    methods: Box<[MethodPollState]>,
    /// Whether any of them ever was.
    ever: AtomicBool,
}

impl InlinePollPolicy {
    /// None of so many methods is known to be.
    pub(super) fn of(methods: usize) -> Self {
        let method = || MethodPollState { row: AtomicU32::new(0), wanted: AtomicU32::new(ROW) };
        Self { methods: (0..methods).map(|_| method()).collect(), ever: AtomicBool::new(false) }
    }

    fn method(&self, number: u32) -> Option<&MethodPollState> {
        self.methods.get(usize::try_from(number).ok()?)
    }

    /// Whether an I/O thread may poll it first. Two loads.
    pub(super) fn is(&self, number: u32) -> bool {
        self.method(number)
            .is_some_and(|method| method.row.load(Ordering::Relaxed) >= method.wanted.load(Ordering::Relaxed))
    }

    /// Whether any method ever was: then I/O threads may have run its code. To be asked once the generation's own
    /// threads, on which this is earned, have been joined.
    pub(super) fn any_was(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }

    /// A future of the method was made and polled for the first time, in so long; `is_ready` with an error, too. Threads
    /// that count at once may lose a count: it is an estimate.
    pub(super) fn polled(&self, number: u32, is_ready: bool, length: Duration) {
        let Some(method) = self.method(number) else { return };
        let wanted = method.wanted.load(Ordering::Relaxed);
        if wanted == NEVER {
            return;
        }
        let row = method.row.load(Ordering::Relaxed);
        if is_ready && length <= SOON {
            if row < wanted {
                if row + 1 == wanted {
                    self.ever.store(true, Ordering::Relaxed);
                }
                method.row.store(row + 1, Ordering::Relaxed);
            }
        } else if !is_ready {
            method.row.store(0, Ordering::Relaxed);
        } else if row < wanted {
            method.row.store(row / 2, Ordering::Relaxed);
        } else if length > LONG {
            method.row.store(0, Ordering::Relaxed);
            method.wanted.store((2 * wanted).min(LONGEST_ROW), Ordering::Relaxed);
        }
    }

    /// It is not prompt, and will not be; `true` when it was.
    pub(super) fn never(&self, number: u32) -> bool {
        let Some(method) = self.method(number) else { return false };
        let was = self.is(number);
        method.wanted.store(NEVER, Ordering::Relaxed);
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMPT: (bool, Duration) = (true, SOON);
    const PENDING: (bool, Duration) = (false, SOON);
    const SLOW: (bool, Duration) = (true, Duration::from_millis(11));

    fn polled(prompt: &InlinePollPolicy, times: u32, (is_ready, length): (bool, Duration)) -> bool {
        (0..times).for_each(|_| prompt.polled(1, is_ready, length));
        prompt.is(1)
    }

    #[test]
    fn a_row_of_prompt_polls_makes_it_and_one_that_is_not_ready_breaks_it() {
        let prompt = InlinePollPolicy::of(2);
        assert!(!polled(&prompt, ROW - 1, PROMPT) && !prompt.any_was());
        assert!(!polled(&prompt, 1, PENDING) && !polled(&prompt, ROW - 1, PROMPT));
        assert!(polled(&prompt, 1, PROMPT) && prompt.any_was());
        assert!(!prompt.is(0) && !prompt.is(2));
        assert!(!polled(&prompt, 1, PENDING) && polled(&prompt, ROW, PROMPT) && prompt.any_was());
    }

    #[test]
    fn one_that_takes_long_takes_twice_as_many_each_time() {
        let prompt = InlinePollPolicy::of(2);
        assert!(polled(&prompt, ROW, PROMPT));
        let halting = (true, LONG);
        assert!(polled(&prompt, 100, halting), "a thread may be suspended for a moment");
        assert!(!polled(&prompt, 1, SLOW));
        assert!(!polled(&prompt, 2 * ROW - 1, PROMPT) && polled(&prompt, 1, PROMPT));
        assert!(!polled(&prompt, 1, SLOW) && !polled(&prompt, 4 * ROW - 1, PROMPT));
        // Where it holds up nobody else, being slow is less held against it.
        assert!(!polled(&prompt, 1, SLOW) && !polled(&prompt, 2 * ROW, PROMPT) && polled(&prompt, 1, PROMPT));
        (0..100).for_each(|_| assert!(!polled(&prompt, 1, SLOW) && polled(&prompt, LONGEST_ROW, PROMPT)));
        assert!(prompt.never(1) && !prompt.never(1) && !polled(&prompt, 100 * ROW, PROMPT));
    }
}
