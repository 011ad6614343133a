//! Waiting for a condition, with a ceiling. Tests wait in no other way.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Far longer than a busy machine takes, so that reaching it is a failure.
pub(crate) const CEILING: Duration = Duration::from_secs(30);

/// Waits until `holds` returns true, in a thread.
///
/// # Panics
///
/// If it does not within [`CEILING`].
#[track_caller]
pub(crate) fn wait_until(condition: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {condition}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until `holds` returns true, in async code. Other tasks of the runtime continue meanwhile.
pub(crate) async fn yield_until(condition: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {condition}");
        tokio::task::yield_now().await;
    }
}
