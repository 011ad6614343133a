//! The calls of the blocking client. Of the threads that wait on one connection, one reads for all.
//!
//! This is the leader/followers pattern. The thread that holds the reader polls the socket and
//! settles the requests of all threads, the others are parked. A thread that stops reading wakes
//! one of them, which continues.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::acquire::{Acquired, HEARTBEAT_TIMEOUT, Lease, PendingReply, Waiter};
use crate::call::{Call, NextStep, Prepared};
use crate::cancel::CancelHandle;
use crate::connection::{CloseReason, Connection, Received, Settled};
use crate::error::Error;
use crate::reply::{Payload, Reply};

/// How late a thread that reads notices that its call was cancelled, at most.
const CANCEL_LATENCY: Duration = Duration::from_millis(20);

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Unpark>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Arc::new(Unpark(thread::current())).into();
}

/// Returns the waker of this thread, also while its thread-local values are being destroyed.
fn waker() -> Waker {
    WAKER.try_with(Waker::clone).unwrap_or_else(|_| Arc::new(Unpark(thread::current())).into())
}

/// Makes a call, with all its tries.
pub(super) fn execute(prepared: Prepared) -> Reply {
    let mut call = match prepared.begin() {
        Ok(call) => call,
        Err(error) => return Reply::failed(error),
    };
    let result = try_until_deadline(&mut call);
    call.into_reply(result)
}

fn try_until_deadline(call: &mut Call) -> Result<Payload, Error> {
    let waker = waker();

    loop {
        let pending = send(call, &waker).map_err(|error| call.fail(error))?;
        let settled = wait(pending, call.cancel.as_ref(), call.deadline, &waker)
            .map_err(|expired| call.fail(expired))?;

        match call.settle(settled) {
            NextStep::Done(result) => return Ok(result),
            NextStep::Retry(delay) => pause(call, delay, &waker),
            NextStep::Failed(error) => return Err(error),
        }
        call.check_deadline()?;
    }
}

/// Waits for the delay before the next try, or until the call is cancelled.
fn pause(call: &Call, delay: Duration, waker: &Waker) {
    let end = Instant::now() + delay;
    while Instant::now() < end && !call.poll_cancelled(waker) {
        thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// Sends the request on the next free connection.
fn send(call: &mut Call, waker: &Waker) -> Result<PendingReply, Error> {
    let pool = Arc::clone(&call.pool);
    let mut waiter = Waiter::new(&pool, call.frame.mode(), Instant::now());

    loop {
        if Instant::now() >= call.deadline {
            return Err(pool.no_connection_error());
        }
        if call.poll_cancelled(waker) {
            return Err(Error::Cancelled { sent: false });
        }

        match pool.acquire(&mut call.frame, &mut waiter, waker) {
            Acquired::Sent(pending) => return Ok(pending),
            Acquired::Stale(lease) => {
                let deadline = call.deadline.min(Instant::now() + HEARTBEAT_TIMEOUT);
                let (probed, lease) = exchange(PendingReply::heartbeat(lease), None, deadline, waker);
                let is_answered = probed.is_ok_and(|settled| settled.outcome.is_ok());
                // The host may have announced its shutdown before its answer.
                if let Some(lease) = lease.filter(|lease| is_answered && lease.is_reusable()) {
                    return Ok(pool.send_on(lease, &mut call.frame));
                }
            }
            Acquired::Wait(until) => {
                let until = until.map_or(call.deadline, |until| until.min(call.deadline));
                thread::park_timeout(until.saturating_duration_since(Instant::now()));
            }
            Acquired::Failed(error) => return Err(error),
        }
    }
}

/// Waits for the outcome of a request and releases its connection.
///
/// # Errors
///
/// The deadline passed.
fn wait(
    pending: PendingReply,
    cancel: Option<&CancelHandle>,
    deadline: Instant,
    waker: &Waker,
) -> Result<Settled, Error> {
    let (settled, lease) = exchange(pending, cancel, deadline, waker);
    if let Some(lease) = lease {
        lease.release();
    }
    settled
}

/// Waits for the outcome of a request and returns it, and the lease if it came in time.
fn exchange(
    mut pending: PendingReply,
    cancel: Option<&CancelHandle>,
    deadline: Instant,
    waker: &Waker,
) -> (Result<Settled, Error>, Option<Lease>) {
    let connection = Arc::clone(pending.connection());
    let _handoff = ReaderHandoff(&connection);

    loop {
        if let Poll::Ready(settled) = pending.poll_or_cancel(cancel, waker) {
            return (Ok(settled), pending.into_lease());
        }
        if Instant::now() >= deadline {
            return (Err(pending.expire()), None);
        }

        // Every thread sends the unsent bytes: they may precede its own request.
        let has_unsent = connection.flush();
        let Some(mut reader) = connection.try_reader() else {
            if has_unsent {
                wait_ready(&connection, true, deadline);
            } else {
                // The reading thread wakes this one for its outcome, or to continue the reading.
                thread::park_timeout(deadline.saturating_duration_since(Instant::now()));
            }
            continue;
        };

        // The previous reader may have settled this request before it unlocked the reader.
        let is_settled = connection.in_flight().is_settled(pending.key());
        if !is_settled && connection.receive(&mut reader) == Received::Nothing {
            wait_ready(&connection, has_unsent, read_until(cancel, deadline));
            connection.receive(&mut reader);
        }
    }
}

/// Returns when a thread that reads looks for the cancellation of its call again.
///
/// Nothing but its socket wakes a thread that polls it.
fn read_until(cancel: Option<&CancelHandle>, deadline: Instant) -> Instant {
    if cancel.is_some_and(|cancel| !cancel.is_cancelled()) {
        deadline.min(Instant::now() + CANCEL_LATENCY)
    } else {
        deadline
    }
}

fn wait_ready(connection: &Connection, write: bool, deadline: Instant) {
    if let Err(errno) = connection.socket.wait(write, deadline) {
        connection.close(CloseReason::Lost(Some(errno)));
    }
}

/// Passes the reading to another thread when this one stops waiting on a connection.
struct ReaderHandoff<'a>(&'a Connection);

impl Drop for ReaderHandoff<'_> {
    fn drop(&mut self) {
        if self.0.try_reader().is_some() {
            self.0.in_flight().wake_one();
        }
    }
}
