//! The calls of the async client as futures.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep, sleep_until, timeout_at};

use crate::acquire::{Acquired, HEARTBEAT_TIMEOUT, Lease, PendingReply, Waiter};
use crate::call::{Call, NextStep, Prepared};
use crate::cancel::CancelHandle;
use crate::connection::Settled;
use crate::error::Error;
use crate::reply::{Payload, Reply};

/// Makes a call, with all its tries.
pub(super) async fn execute(prepared: Prepared) -> Reply {
    let mut call = match prepared.begin() {
        Ok(call) => call,
        Err(error) => return Reply::failed(error),
    };
    let result = try_until_deadline(&mut call).await;
    call.into_reply(result)
}

async fn try_until_deadline(call: &mut Call) -> Result<Payload, Error> {
    let mut deadline = pin!(sleep_until(call.deadline.into()));

    loop {
        let pending = send(call, deadline.as_mut()).await.map_err(|error| call.fail(error))?;
        let cancel = call.cancel.as_ref();
        let settled = wait(pending, cancel, deadline.as_mut()).await.map_err(|expired| call.fail(expired))?;

        match call.settle(settled) {
            NextStep::Done(result) => return Ok(result),
            NextStep::Retry(delay) => pause(call, delay).await,
            NextStep::Failed(error) => return Err(error),
        }
        call.check_deadline()?;
    }
}

/// Waits for the delay before the next try, or until the call is cancelled.
async fn pause(call: &Call, delay: Duration) {
    let mut delay = pin!(sleep(delay));
    poll_fn(|context| {
        if call.poll_cancelled(context.waker()) { Poll::Ready(()) } else { delay.as_mut().poll(context) }
    })
    .await;
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
            if call.poll_cancelled(context.waker()) {
                return Poll::Ready(Acquired::Failed(Error::Cancelled { sent: false }));
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
    outcome.ok()?.outcome.ok()?;
    // The host may have announced its shutdown before its answer.
    pending.into_lease().filter(Lease::is_reusable)
}

/// Waits for the outcome of a request and releases its connection.
///
/// # Errors
///
/// The deadline passed.
async fn wait(
    mut pending: PendingReply,
    cancel: Option<&CancelHandle>,
    mut deadline: Pin<&mut Sleep>,
) -> Result<Settled, Error> {
    let settled = poll_fn(|context| {
        if let Poll::Ready(settled) = pending.poll_or_cancel(cancel, context.waker()) {
            return Poll::Ready(Some(settled));
        }
        deadline.as_mut().poll(context).map(|()| None)
    })
    .await;

    let Some(settled) = settled else { return Err(pending.expire()) };
    if let Some(lease) = pending.into_lease() {
        lease.release();
    }
    Ok(settled)
}
