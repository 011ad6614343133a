//! Busy polling of the thread that reads the channel, as in `server/busy_polling.rs`: a client that
//! waits for each reply sends its next request soon, and waking a sleeping thread takes longer than
//! a short call.
//!
//! The thread polls while it has one call at most: with more, a reply waits for calls and not for
//! this thread. If polling finds nothing, it lets a number of waits pass without polling, which
//! doubles each time up to [`MAX_REST`].

use std::thread;
use std::time::Duration;

use crate::clock::Time;

/// The most waits that pass without polling before it is tried again. Polling in vain then costs
/// less than half a microsecond for each wait, and a client that begins to wait for its replies is
/// noticed within tens of milliseconds.
const MAX_REST: u32 = 256;

/// Length of polling by that of I/O threads: between a reply and the next request, the reply passes
/// through the host to the client, and the request back.
const ROUND_TRIP: u32 = 2;

/// Decides when the thread polls, and for how long.
pub(super) struct ChannelPolling {
    length: Duration,

    /// Waits that pass without polling after the last one that found nothing.
    rest: u32,

    /// How many of these are left.
    left: u32,
}

impl ChannelPolling {
    /// Polls twice as long as I/O threads, which poll for `spin`. Never polls on a single core.
    pub(super) fn new(spin: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let length = if cores > 1 { spin * ROUND_TRIP } else { Duration::ZERO };
        Self { length, rest: 0, left: 0 }
    }

    /// Returns whether to poll now, with this number of calls that have not ended.
    pub(super) fn is_due(&mut self, open_calls: usize) -> bool {
        if self.length.is_zero() || open_calls > 1 {
            return false;
        }
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// Polls until `read` returns `true`, or nothing was found for too long. Returns whether
    /// something was found.
    ///
    /// # Errors
    ///
    /// That of `read`.
    pub(super) fn poll<E>(&mut self, mut read: impl FnMut() -> Result<bool, E>) -> Result<bool, E> {
        let until = Time::now().after(self.length);
        loop {
            let is_found = read()?;
            if is_found || Time::now() >= until {
                self.rest = if is_found { 0 } else { (self.rest * 2).clamp(1, MAX_REST) };
                self.left = self.rest;
                return Ok(is_found);
            }
            // Threads that are to run on this core, such as the one with the call, need not wait.
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const SPIN: Duration = Duration::from_micros(1);

    /// Returns how many waits pass until polling is due.
    fn rests(polling: &mut ChannelPolling) -> u32 {
        (0..).find(|_| polling.is_due(1)).unwrap()
    }

    fn polling() -> ChannelPolling {
        ChannelPolling { length: SPIN, rest: 0, left: 0 }
    }

    #[test]
    fn rests_longer_each_time_it_finds_nothing_and_polls_again_after_a_find() {
        let mut polling = polling();
        for expected in [0, 1, 2, 4, 8] {
            assert_eq!(rests(&mut polling), expected);
            assert_eq!(polling.poll(|| Ok::<_, Infallible>(false)), Ok(false));
        }
        for _ in 0..12 {
            rests(&mut polling);
            assert_eq!(polling.poll(|| Ok::<_, Infallible>(false)), Ok(false));
        }
        assert_eq!(rests(&mut polling), MAX_REST);

        assert_eq!(polling.poll(|| Ok::<_, Infallible>(true)), Ok(true));
        assert_eq!(rests(&mut polling), 0);
    }

    #[test]
    fn polls_with_one_call_at_most_and_only_if_the_host_does() {
        assert!(polling().is_due(0) && polling().is_due(1));
        assert!(!polling().is_due(2));
        assert!(!ChannelPolling::new(Duration::ZERO).is_due(0));
    }

    #[test]
    fn returns_the_error_of_a_read() {
        assert_eq!(polling().poll(|| Err(7)), Err(7));
    }
}
