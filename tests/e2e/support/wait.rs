//! Waiting for a condition with an upper bound. Tests wait in no other way.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Upper bound for waiting. It is far above the delays of a busy machine, so that reaching it is a
/// fault.
pub(crate) const CEILING: Duration = Duration::from_secs(30);

/// Interval between two checks of a condition that cannot be signalled.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// Returns when `holds` returns true.
///
/// # Panics
///
/// If it does not within [`CEILING`].
#[track_caller]
pub(crate) fn wait_until(what: impl Display, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Returns the first value that `found` returns.
///
/// # Panics
///
/// If it returns none within [`CEILING`].
#[track_caller]
pub(crate) fn wait_for<T>(what: impl Display, found: impl FnMut() -> Option<T>) -> T {
    match poll_within(CEILING, found) {
        Some(found) => found,
        None => panic!("not within {CEILING:?}: {what}"),
    }
}

/// Polls `found` for at most `ceiling` and returns its first value.
pub(crate) fn poll_within<T>(ceiling: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + ceiling;
    loop {
        if let Some(found) = found() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
