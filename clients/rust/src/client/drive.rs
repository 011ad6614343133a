//! A call as a future: it finds a connection, waits for its outcome, and is over at its deadline or when dropped.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use tokio::time::{Sleep, sleep, sleep_until, timeout_at};

use crate::call::{Call, Next, Prepared};
use crate::connection::{Answer, Failure, Flying};
use crate::error::Error;
use crate::pool::{Lease, PROBE, Place, Turn};

/// Makes a call: all its tries.
pub(super) async fn run(prepared: Prepared) -> Result<Bytes, Error> {
    let mut call = prepared.begin()?;
    let mut clock = pin!(sleep_until(call.deadline.into()));
    loop {
        let flying = place(&mut call, clock.as_mut()).await.map_err(|error| call.fail(error))?;
        let outcome = wait(flying, clock.as_mut()).await.map_err(|expired| call.fail(expired))?;
        match call.settle(outcome) {
            Next::Done(result) => return Ok(result),
            Next::Again(delay) => sleep(delay).await,
            Next::Failed(error) => return Err(error),
        }
        call.is_in_time()?;
    }
}

/// Puts a call on a connection.
async fn place(call: &mut Call, mut clock: Pin<&mut Sleep>) -> Result<Flying, Error> {
    let mut turn = Turn::new(&call.pool, call.frame.mode(), Instant::now());
    loop {
        // The clock goes by whole milliseconds, and rings late by up to one.
        if Instant::now() >= call.deadline {
            return Err(call.pool.expired());
        }
        match look(call, &mut turn, clock.as_mut()).await {
            Place::Flying(flying) => return Ok(flying),
            Place::Probe(lease) => {
                let deadline = call.deadline.min(Instant::now() + PROBE);
                if let Some(lease) = probe(lease, deadline).await {
                    return Ok(call.pool.place_on(lease, &mut call.frame));
                }
            }
            Place::Wait(_) => return Err(call.pool.expired()),
            Place::Failed(error) => return Err(error),
        }
    }
}

/// Looks for a connection until there is one, or there is none to wait for; [`Place::Wait`] says that the deadline
/// passed.
async fn look(call: &mut Call, turn: &mut Turn, mut clock: Pin<&mut Sleep>) -> Place {
    let mut pause = pin!(None);
    poll_fn(|context| {
        loop {
            if clock.as_mut().poll(context).is_ready() {
                return Poll::Ready(Place::Wait(None));
            }
            let until = match call.pool.place(&mut call.frame, turn, context.waker()) {
                Place::Wait(until) => until,
                place => return Poll::Ready(place),
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

/// Waits for a heartbeat's answer on a connection that is the call's alone; gives the connection back if it came.
async fn probe(lease: Lease, deadline: Instant) -> Option<Lease> {
    let mut flying = Flying::heartbeat(lease);
    let outcome = timeout_at(deadline.into(), poll_fn(|context| flying.poll(context.waker()))).await;
    outcome.ok()?.ok()?;
    flying.into_lease()
}

/// Waits for a request's outcome; an error where the deadline passes first.
async fn wait(mut flying: Flying, mut clock: Pin<&mut Sleep>) -> Result<Result<Answer, Failure>, Error> {
    let outcome = poll_fn(|context| {
        if let Poll::Ready(outcome) = flying.poll(context.waker()) {
            return Poll::Ready(Some(outcome));
        }
        clock.as_mut().poll(context).map(|()| None)
    })
    .await;
    let Some(outcome) = outcome else { return Err(flying.expire()) };
    if let Some(lease) = flying.into_lease() {
        lease.give_back();
    }
    Ok(outcome)
}
