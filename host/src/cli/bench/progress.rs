//! The progress of a load, on one line of a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Moves to the start of the line and clears it (ECMA-48, CR and EL).
const CLEAR_LINE: &str = "\r\x1b[K";

/// A line that is overwritten every [`ProgressLine::INTERVAL`], and cleared when dropped.
pub(super) struct ProgressLine {
    started_at: Instant,
    printed_at: Instant,

    /// Replies at the time of the last line.
    printed_answered: u64,
}

impl ProgressLine {
    pub(super) const INTERVAL: Duration = Duration::from_secs(1);

    /// Returns a line on stderr; `None` if that is no terminal.
    pub(super) fn on_terminal(started_at: Instant) -> Option<Self> {
        let line = || Self { started_at, printed_at: started_at, printed_answered: 0 };
        io::stderr().is_terminal().then(line)
    }

    /// Prints the line if the last one is old enough.
    pub(super) fn update(&mut self, now: Instant, answered: u64, in_flight: impl FnOnce() -> usize) {
        let since = now - self.printed_at;
        if since < Self::INTERVAL {
            return;
        }

        let rate = (answered - self.printed_answered) as f64 / since.as_secs_f64();
        let elapsed = (now - self.started_at).as_secs();
        let in_flight = in_flight();
        let _ = write!(
            io::stderr(),
            "{CLEAR_LINE}{elapsed} s: {rate:.0} requests/s, {answered} answered, {in_flight} in flight"
        );
        self.printed_at = now;
        self.printed_answered = answered;
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "{CLEAR_LINE}");
    }
}
