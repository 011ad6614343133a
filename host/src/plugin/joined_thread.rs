//! A plugin's code run beside its calls (load, start, stop, state): on a thread of its own, joined, with a limit.
//!
//! Code that ran on a thread which lives on cannot be unloaded: what it keeps in thread locals is dropped by code
//! that would be gone. So the host's own threads never run any of it.

use std::io;
use std::sync::mpsc;
use std::thread::Builder;
use std::time::Duration;

use crate::crash_record::{CrashRecord, RecordSlot};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinedRunError {
    /// There is no thread to be had.
    #[error("no thread to run it on: {0}")]
    NoThread(io::Error),
    /// It goes on, and keeps what it was given.
    #[error("not done within {0:?}")]
    TimedOut(Duration),
    /// It panicked, which plugins do not: their panics stay in them.
    #[error("its thread ended by itself")]
    Ended,
}

/// Runs `work` on a thread of its own with a seat in the record, and returns when that has been joined. Blocks for at
/// most `limit`.
pub(crate) fn aside<T: Send + 'static>(
    name: &str,
    crash_record: &CrashRecord,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinedRunError> {
    let (done, result) = mpsc::sync_channel(1);
    let seat = crash_record.seat();
    let run = move || {
        RecordSlot::sit_down(seat);
        // Nobody takes it once the limit has passed; then it is dropped here.
        let _ = done.send(work());
    };
    let thread = Builder::new().name(name.to_owned()).spawn(run).map_err(JoinedRunError::NoThread)?;
    match result.recv_timeout(limit) {
        Ok(result) => {
            // It has nothing left to do but to end.
            let _ = thread.join();
            Ok(result)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err(JoinedRunError::TimedOut(limit)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(JoinedRunError::Ended),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_given_back_and_what_hangs_is_left() {
        let crash_record = CrashRecord::open(&crate::config::CrashConfig::default()).unwrap();
        assert_eq!(aside("a", &crash_record, Duration::from_secs(30), || 7).unwrap(), 7);
        let (go_on, hangs) = mpsc::channel::<()>();
        let hung = aside("a", &crash_record, Duration::from_millis(1), move || hangs.recv());
        assert!(matches!(hung, Err(JoinedRunError::TimedOut(_))));
        drop(go_on);
    }
}
