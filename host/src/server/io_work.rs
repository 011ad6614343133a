//! The work that any I/O thread of the host can do, and the queue of each thread.
//!
//! ```text
//! open ──(the thread is replaced, or ends)──► closed
//! ```
//!
//! No work is dropped because a thread has ended: an open queue keeps it, the one who closes the
//! queue takes what is left, and a closed queue returns it to the sender.

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use crate::connection::{ListenerOptions, MigratingConnection};
use crate::limits::Permit;
use crate::metrics::PeerIdentity;
use crate::plugin::PluginCall;
use crate::sync::lock;

/// A connection that an acceptor has just accepted and admitted.
pub(super) struct AcceptedConnection {
    pub(super) number: u64,
    pub(super) stream: UnixStream,
    pub(super) manner: ListenerOptions,
    /// `None` if the kernel does not report the peer.
    pub(super) peer: Option<PeerIdentity>,
    pub(super) permit: Permit,
}

/// Work for one I/O thread, which any other one can do as well.
pub(super) enum IoThreadWork {
    /// Serve a new connection.
    Serve(AcceptedConnection),

    /// Continue to serve a connection of a thread that is being replaced.
    Resume(Box<MigratingConnection>),

    /// Run an `inline` method for a thread that must not run it.
    Run(Arc<PluginCall>),
}

impl IoThreadWork {
    pub(super) fn adds_a_connection(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Resume(_))
    }
}

/// The queue of one I/O thread. `W` is [`IoThreadWork`] outside of tests.
pub(super) struct WorkQueue<W> {
    queued: Mutex<VecDeque<W>>,
    /// Written while `queued` is locked.
    is_closed: AtomicBool,
    /// Wakes the thread.
    waker: AtomicWaker,
}

impl<W> Default for WorkQueue<W> {
    fn default() -> Self {
        Self { queued: Mutex::default(), is_closed: AtomicBool::new(false), waker: AtomicWaker::new() }
    }
}

impl<W> WorkQueue<W> {
    /// Queues work and wakes the thread.
    ///
    /// # Errors
    ///
    /// Returns the work if the queue is closed.
    pub(super) fn push(&self, work: W) -> Result<(), W> {
        let mut queued = lock(&self.queued);
        if self.is_closed() {
            return Err(work);
        }
        queued.push_back(work);
        drop(queued);

        self.waker.wake();
        Ok(())
    }

    /// Takes the next work. To be polled by the thread alone.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<W> {
        // Registered first, so that work that arrives after the look wakes the thread.
        self.waker.register(cx.waker());
        match lock(&self.queued).pop_front() {
            Some(work) => Poll::Ready(work),
            None => Poll::Pending,
        }
    }

    /// Closes the queue and passes on what is left, in order. Senders wait meanwhile, so `accept`
    /// must not run plugin code.
    ///
    /// If `accept` returns some work, the queue keeps it, with what follows, and stays open.
    pub(super) fn close_into(&self, mut accept: impl FnMut(W) -> Result<(), W>) {
        let mut queued = lock(&self.queued);
        while let Some(work) = queued.pop_front() {
            if let Err(work) = accept(work) {
                queued.push_front(work);
                return;
            }
        }
        self.is_closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::wake_count::WakeCount;

    fn queue(work: &[u32]) -> WorkQueue<u32> {
        let queue = WorkQueue::default();
        work.iter().for_each(|work| queue.push(*work).unwrap());
        queue
    }

    #[test]
    fn wakes_the_thread_for_each_work() {
        let queue = queue(&[]);
        let wakes = Arc::<WakeCount>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let cx = Context::from_waker(&waker);

        assert!(queue.poll_next(&cx).is_pending());
        queue.push(1).unwrap();
        assert_eq!(wakes.get(), 1);
        assert_eq!(queue.poll_next(&cx), Poll::Ready(1));
        assert!(queue.poll_next(&cx).is_pending());
    }

    #[test]
    fn passes_on_what_is_left_and_returns_later_work_to_its_sender() {
        let queue = queue(&[1, 2, 3]);
        assert_eq!(queue.poll_next(&Context::from_waker(Waker::noop())), Poll::Ready(1));

        let mut left = Vec::new();
        queue.close_into(|work| {
            left.push(work);
            Ok(())
        });

        assert_eq!((left, queue.is_closed()), (vec![2, 3], true));
        assert_eq!(queue.push(4), Err(4));
        assert!(queue.poll_next(&Context::from_waker(Waker::noop())).is_pending());
    }

    #[test]
    fn keeps_work_that_nobody_accepts_and_stays_open() {
        let queue = queue(&[1, 2, 3]);
        queue.close_into(|work| if work == 1 { Ok(()) } else { Err(work) });

        assert!(!queue.is_closed());
        queue.push(4).unwrap();
        let mut left = Vec::new();
        queue.close_into(|work| {
            left.push(work);
            Ok(())
        });
        assert_eq!(left, [2, 3, 4]);
    }
}
