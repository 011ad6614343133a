//! Wakes the supervisor from other threads, and says what for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};

use super::command::WorkerCommand;
use super::line_id::LineId;
use crate::sync::lock;
use crate::worker::message::{CallNumber, NestedNumber};

/// The requests of other threads to the supervisor.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) commands: Vec<WorkerCommand>,

    /// Calls whose result nobody waits for any more.
    pub(super) cancelled: Vec<(LineId, CallNumber)>,

    /// Nested calls whose future is to be polled.
    pub(super) nested: Vec<(LineId, NestedNumber)>,
}

/// Wakes the supervisor. A wake-up that it has not noticed yet costs no further system call.
pub(super) struct Signal {
    eventfd: OwnedFd,
    is_set: AtomicBool,
    requests: Mutex<Requests>,
}

impl Signal {
    /// # Errors
    ///
    /// The process has no descriptor left.
    pub(super) fn new() -> std::io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { eventfd, is_set: AtomicBool::new(false), requests: Mutex::default() })
    }

    /// Wakes the supervisor, which then looks at everything that may have changed.
    pub(super) fn wake(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            // The counter cannot overflow: it is read before it is increased again.
            let _ = write(&self.eventfd, &1u64.to_ne_bytes());
        }
    }

    /// Adds a request and wakes the supervisor.
    pub(super) fn request(&self, add: impl FnOnce(&mut Requests)) {
        add(&mut lock(&self.requests));
        self.wake();
    }

    /// Takes all requests. A wake-up from now on is noticed later.
    pub(super) fn take(&self) -> Requests {
        if self.is_set.swap(false, Ordering::AcqRel) {
            let mut counter = [0; 8];
            let _ = read(&self.eventfd, &mut counter);
        }
        std::mem::take(&mut lock(&self.requests))
    }

    /// Returns a waker that reports a call as cancelled.
    pub(super) fn on_cancel(self: &Arc<Self>, line: LineId, call: CallNumber) -> Waker {
        Waker::from(Arc::new(CallCancelled { signal: Arc::clone(self), line, call }))
    }

    /// Returns a waker that lets the supervisor poll a nested call.
    pub(super) fn on_nested(self: &Arc<Self>, line: LineId, nested: NestedNumber) -> Waker {
        Waker::from(Arc::new(NestedReady { signal: Arc::clone(self), line, nested }))
    }
}

impl AsFd for Signal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

struct CallCancelled {
    signal: Arc<Signal>,
    line: LineId,
    call: CallNumber,
}

impl Wake for CallCancelled {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.request(|requests| requests.cancelled.push((self.line, self.call)));
    }
}

struct NestedReady {
    signal: Arc<Signal>,
    line: LineId,
    nested: NestedNumber,
}

impl Wake for NestedReady {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.request(|requests| requests.nested.push((self.line, self.nested)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_readable(signal: &Signal) -> bool {
        let now = Timespec::try_from(Duration::ZERO).ok();
        poll(&mut [PollFd::new(signal, PollFlags::IN)], now.as_ref()).unwrap() > 0
    }

    #[test]
    fn is_readable_until_its_requests_are_taken() {
        let signal = Arc::new(Signal::new().unwrap());
        assert!(!is_readable(&signal));

        signal.on_cancel(LineId(1), 7).wake();
        signal.on_nested(LineId(1), 9).wake();
        signal.wake();
        assert!(is_readable(&signal));
        let requests = signal.take();
        assert_eq!((requests.cancelled, requests.nested), (vec![(LineId(1), 7)], vec![(LineId(1), 9)]));
        assert!(!is_readable(&signal));

        signal.wake();
        assert!(is_readable(&signal) && signal.take().cancelled.is_empty());
    }
}
