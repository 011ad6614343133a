//! Waiting for a condition, with a ceiling: the only way in which a test waits.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long a test waits for what must come: far above what a busy machine takes, so that reaching it is a fault.
pub(crate) const CEILING: Duration = Duration::from_secs(30);

/// How often a condition is looked at that nobody signals.
const LOOK: Duration = Duration::from_millis(2);

/// Returns when `holds` does.
///
/// # Panics
/// It does not within [`CEILING`].
#[track_caller]
pub(crate) fn until(what: impl Display, mut holds: impl FnMut() -> bool) {
    until_some(what, || holds().then_some(()));
}

/// Returns what `found` finds.
///
/// # Panics
/// It finds nothing within [`CEILING`].
#[track_caller]
pub(crate) fn until_some<T>(what: impl Display, found: impl FnMut() -> Option<T>) -> T {
    match within(CEILING, found) {
        Some(found) => found,
        None => panic!("not within {CEILING:?}: {what}"),
    }
}

/// What `found` finds within `ceiling`, if anything.
pub(crate) fn within<T>(ceiling: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + ceiling;
    loop {
        if let Some(found) = found() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(LOOK);
    }
}
