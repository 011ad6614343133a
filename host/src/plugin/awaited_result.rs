//! Waiting for the result of another thread, unless the host gives up.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Interval at which a thread that waits checks whether to give up.
pub(super) const GIVE_UP_POLL: Duration = Duration::from_millis(20);

/// Why no result was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotReceived {
    /// The sender is gone.
    Ended,

    /// The limit has passed.
    TimedOut,

    /// The limit has not passed, but the host does not wait any longer.
    GivenUp,
}

/// Waits for a result, and asks `gives_up` meanwhile.
///
/// # Errors
///
/// See [`NotReceived`].
pub(super) fn receive_unless<T>(
    gives_up: &dyn Fn() -> bool,
    result: &Receiver<T>,
    limit: Duration,
) -> Result<T, NotReceived> {
    let began = Instant::now();
    loop {
        let left = limit.saturating_sub(began.elapsed());
        match result.recv_timeout(left.min(GIVE_UP_POLL)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Disconnected) => return Err(NotReceived::Ended),
            Err(RecvTimeoutError::Timeout) if gives_up() => return Err(NotReceived::GivenUp),
            Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(NotReceived::TimedOut),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn reports_why_there_is_no_result() {
        let (sender, receiver) = channel();
        assert_eq!(receive_unless(&|| false, &receiver, Duration::ZERO), Err(NotReceived::TimedOut));
        assert_eq!(receive_unless(&|| true, &receiver, LONG), Err(NotReceived::GivenUp));

        sender.send(7).unwrap();
        assert_eq!(receive_unless(&|| true, &receiver, Duration::ZERO), Ok(7));
        drop(sender);
        assert_eq!(receive_unless(&|| false, &receiver, LONG), Err(NotReceived::Ended));
    }
}
