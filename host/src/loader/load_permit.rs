//! The permit to open code in this process: one plugin at a time.
//!
//! The dynamic loader runs constructors under its own lock, so plugins that start at the same time
//! are opened one after another in any case. A thread that waits inside of `dlopen` can only be
//! left behind, and its plugin would be refused for the constructors of another one. A thread that
//! waits for the permit has not begun, so its time-out does not run yet, and it can give up.

use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use super::load_error::{LoadError, LoadErrorReason};
use crate::log::ShortDuration;
use crate::sync::{lock, wait_timeout};

/// Interval at which a waiting thread checks whether to give up.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// The only permit of this process, which has one dynamic loader.
static PERMIT: SinglePermit = SinglePermit::new();

/// The right to open code; returned when dropped.
pub(crate) struct LoadPermit(&'static SinglePermit);

impl LoadPermit {
    /// Waits for the permit. Blocks for at most `limit` for each holder that returns it.
    ///
    /// # Errors
    ///
    /// One holder has kept it for longer than `limit`, or `is_cancelled` returned `true`.
    pub(crate) fn wait(limit: Duration, is_cancelled: &dyn Fn() -> bool) -> Result<Self, LoadError> {
        PERMIT.take(limit, is_cancelled)
    }
}

impl Drop for LoadPermit {
    fn drop(&mut self) {
        lock(&self.0.state).is_taken = false;
        self.0.returned.notify_one();
    }
}

struct SinglePermit {
    state: Mutex<PermitState>,
    returned: Condvar,
}

struct PermitState {
    is_taken: bool,

    /// The number of holders so far.
    holders: u64,
}

impl SinglePermit {
    const fn new() -> Self {
        Self { state: Mutex::new(PermitState { is_taken: false, holders: 0 }), returned: Condvar::new() }
    }

    fn take(
        &'static self,
        limit: Duration,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<LoadPermit, LoadError> {
        let mut state = lock(&self.state);
        let mut current = state.holders;
        let mut since = Instant::now();

        while state.is_taken {
            if is_cancelled() {
                return Err(LoadError::host_ends());
            }
            if state.holders != current {
                current = state.holders;
                since = Instant::now();
            }
            if since.elapsed() >= limit {
                return Err(blocked(limit));
            }
            state = wait_timeout(&self.returned, state, CANCEL_POLL);
        }

        state.is_taken = true;
        state.holders += 1;
        Ok(LoadPermit(self))
    }
}

fn blocked(limit: Duration) -> LoadError {
    let limit = ShortDuration(limit);
    let detail = format_args!(
        "constructors of another plugin have run for {limit}, and only one plugin can be opened at a time; remove \
         that plugin and restart the host"
    );
    LoadError::new(LoadErrorReason::StartTimedOut, detail)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn gives_the_permit_to_one_thread_after_another() {
        static PERMIT: SinglePermit = SinglePermit::new();
        let first = PERMIT.take(LONG, &|| false).ok();
        let (sender, taken) = mpsc::channel();
        let second = thread::spawn(move || {
            let _permit = PERMIT.take(LONG, &|| false).ok();
            sender.send(()).unwrap();
        });
        assert!(taken.recv_timeout(2 * CANCEL_POLL).is_err(), "the first thread holds it");

        drop(first);

        second.join().unwrap();
        taken.recv().unwrap();
        assert!(PERMIT.take(Duration::ZERO, &|| false).is_ok());
    }

    #[test]
    fn gives_up_if_the_permit_is_not_returned() {
        static PERMIT: SinglePermit = SinglePermit::new();
        let _endless = PERMIT.take(LONG, &|| false).ok();

        let blocked = PERMIT.take(CANCEL_POLL, &|| false).err().unwrap();
        assert_eq!(blocked.reason, LoadErrorReason::StartTimedOut);
        let cancelled = PERMIT.take(LONG, &|| true).err().unwrap();
        assert_eq!(cancelled.reason, LoadErrorReason::HostEnds);
    }
}
