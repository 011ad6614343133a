//! The calls of the async client as futures.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tokio::time::{Sleep, sleep, sleep_until, timeout_at};

use crate::acquire::{Acquired, HEARTBEAT_TIMEOUT, Lease, PendingReply, Waiter};
use crate::call::{Call, NextStep, Prepared};
use crate::connection::{Answer, AttemptError};
use crate::error::Error;

/// Makes a call, with all its tries.
pub(super) async fn execute(prepared: Prepared) -> Result<Bytes, Error> {
    let mut call = prepared.begin()?;
    let mut deadline = pin!(sleep_until(call.deadline.into()));

    loop {
        let pending = send(&mut call, deadline.as_mut()).await.map_err(|error| call.fail(error))?;
        let outcome = wait(pending, deadline.as_mut()).await.map_err(|expired| call.fail(expired))?;

        match call.settle(outcome) {
            NextStep::Done(result) => return Ok(result),
            NextStep::Retry(delay) => sleep(delay).await,
            NextStep::Failed(error) => return Err(error),
        }
        call.check_deadline()?;
    }
}

/// Sends the request on the next free connection.
async fn send(call: &mut Call, mut deadline: Pin<&mut Sleep>) -> Result<PendingReply, Error> {
    let mut waiter = Waiter::new(&call.pool, call.frame.mode(), Instant::now());

    loop {
        // The timer has a resolution of one millisecond and fires up to one millisecond late.
        if Instant::now() >= call.deadline {
            return Err(call.pool.no_connection_error());
        }

        match acquire(call, &mut waiter, deadline.as_mut()).await {
            Acquired::Sent(pending) => return Ok(pending),
            Acquired::Stale(lease) => {
                let deadline = call.deadline.min(Instant::now() + HEARTBEAT_TIMEOUT);
                if let Some(lease) = check_connection(lease, deadline).await {
                    return Ok(call.pool.send_on(lease, &mut call.frame));
                }
            }
            Acquired::Wait(_) => return Err(call.pool.no_connection_error()),
            Acquired::Failed(error) => return Err(error),
        }
    }
}

/// Waits until a connection is available; [`Acquired::Wait`] means that the deadline passed.
async fn acquire(call: &mut Call, waiter: &mut Waiter, mut deadline: Pin<&mut Sleep>) -> Acquired {
    let mut pause = pin!(None);
    poll_fn(|context| {
        loop {
            if deadline.as_mut().poll(context).is_ready() {
                return Poll::Ready(Acquired::Wait(None));
            }

            let until = match call.pool.acquire(&mut call.frame, waiter, context.waker()) {
                Acquired::Wait(until) => until,
                acquired => return Poll::Ready(acquired),
            };

            pause.set(until.map(|until| sleep_until(until.into())));
            let is_over = pause.as_mut().as_pin_mut().is_some_and(|pause| pause.poll(context).is_ready());
            if !is_over {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// Sends a heartbeat on a leased connection, and returns the lease if it is answered.
async fn check_connection(lease: Lease, deadline: Instant) -> Option<Lease> {
    let mut pending = PendingReply::heartbeat(lease);
    let outcome = timeout_at(deadline.into(), poll_fn(|context| pending.poll(context.waker()))).await;
    outcome.ok()?.ok()?;
    pending.into_lease()
}

/// Waits for the outcome of a request and releases its connection.
///
/// # Errors
///
/// The deadline passed.
async fn wait(
    mut pending: PendingReply,
    mut deadline: Pin<&mut Sleep>,
) -> Result<Result<Answer, AttemptError>, Error> {
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = pending.poll(context.waker()) {
            return Poll::Ready(Some(outcome));
        }
        deadline.as_mut().poll(context).map(|()| None)
    })
    .await;

    let Some(outcome) = outcome else { return Err(pending.expire()) };
    if let Some(lease) = pending.into_lease() {
        lease.release();
    }
    Ok(outcome)
}
