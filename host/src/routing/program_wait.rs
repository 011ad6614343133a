//! How the embedding program waits for the reply to its call: in any async runtime, or on a thread.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use jackfield_plugin_api::abi::Cancellation;

use super::dispatcher::Dispatcher;
use super::gate::{GateOpened, StateTransferGate};
use super::program_call::{ProgramRequest, StartedProgramCall};
use super::program_reply::ProgramReply;
use super::request_error::RequestError;
use crate::clock::Time;
use crate::plugin::ReplySlot;

/// Makes a call, and waits for its reply without a thread.
pub(crate) async fn call_for_program(
    dispatcher: Weak<Dispatcher>,
    request: &ProgramRequest<'_>,
) -> ProgramReply {
    loop {
        let host = dispatcher.upgrade().ok_or(RequestError::GoingAway)?;
        match host.start_program_call(request) {
            StartedProgramCall::Ended(reply) => return reply,
            StartedProgramCall::Pending(mut pending) => {
                // The host may end meanwhile.
                drop(host);
                return poll_fn(|cx| pending.poll(cx.waker())).await;
            }
            StartedProgramCall::Held(gate) => {
                let slot = Arc::<ReplySlot>::default();
                let until = request.timeout.map_or(Time::NEVER, |timeout| request.asked.after(timeout));
                let _watched = host.deadlines.add(until, &slot);
                drop(host);

                let mut opened = GateOpened::of(&gate);
                let is_open = poll_fn(|cx| match Pin::new(&mut opened).poll(cx) {
                    Poll::Ready(()) => Poll::Ready(true),
                    Poll::Pending => slot.poll(cx.waker()).map_or(Poll::Pending, |_| Poll::Ready(false)),
                });
                if !is_open.await {
                    return Err(waited_too_long(request).into());
                }
            }
        }
    }
}

/// Makes a call, and waits for its reply on this thread.
pub(crate) fn call_for_program_blocking(
    dispatcher: &Weak<Dispatcher>,
    request: &ProgramRequest<'_>,
) -> ProgramReply {
    loop {
        let host = dispatcher.upgrade().ok_or(RequestError::GoingAway)?;
        match host.start_program_call(request) {
            StartedProgramCall::Ended(reply) => return reply,
            StartedProgramCall::Pending(pending) => {
                drop(host);
                return pending.wait();
            }
            StartedProgramCall::Held(gate) => {
                drop(host);
                wait_at(&gate, request)?;
            }
        }
    }
}

fn wait_at(gate: &Arc<StateTransferGate>, request: &ProgramRequest<'_>) -> Result<(), RequestError> {
    // The limits of the transfer bound the wait if the program has no time-out of its own.
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    let left = match request.timeout {
        Some(timeout) => request.asked.after(timeout).since(Time::now()),
        None => LONGEST,
    };
    if left.is_zero() {
        return Err(waited_too_long(request));
    }
    gate.wait(left, &Cancellation::default());
    Ok(())
}

fn waited_too_long(request: &ProgramRequest<'_>) -> RequestError {
    match request.timeout {
        Some(timeout) if request.asked.after(timeout) <= Time::now() => {
            RequestError::DeadlineExceeded(timeout)
        }
        _ => RequestError::GoingAway,
    }
}
