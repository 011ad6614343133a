//! Waiting for a condition, with a ceiling: the only way in which a test waits.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Far above what a busy machine takes, so that reaching it is a fault.
pub(crate) const CEILING: Duration = Duration::from_secs(30);

/// Returns when `holds` does.
///
/// # Panics
/// It does not within [`CEILING`].
#[track_caller]
pub(crate) fn until(what: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// As [`until`], in async code: everything else on the runtime goes on meanwhile.
pub(crate) async fn comes(what: impl Display, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < end, "not within {CEILING:?}: {what}");
        tokio::task::yield_now().await;
    }
}
