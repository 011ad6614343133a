//! Waiting for a condition, with a time limit.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The time limit of every wait. It is far longer than a busy machine takes, so that reaching it is
/// a failure.
pub(crate) const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Blocks this thread until `holds` returns true.
///
/// # Panics
///
/// `holds` does not return true within [`WAIT_LIMIT`].
#[track_caller]
pub(crate) fn wait_until(condition: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT_LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "not within {WAIT_LIMIT:?}: {condition}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits in async code until `holds` returns true. Other tasks of the runtime continue meanwhile.
///
/// # Panics
///
/// `holds` does not return true within [`WAIT_LIMIT`].
pub(crate) async fn yield_until(condition: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + WAIT_LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "not within {WAIT_LIMIT:?}: {condition}");
        tokio::task::yield_now().await;
    }
}
