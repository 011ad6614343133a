//! One call through all its tries: what each outcome means for it, and when it is sent again.

use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jackfield_protocol::{Code, Timing, Version};

use crate::backoff;
use crate::cancel::CancelHandle;
use crate::connection::{Answer, AttemptError, Connection, Settled};
use crate::error::{EncodeError, Error, Phase, RemoteError};
use crate::options::after;
use crate::pool::Pool;
use crate::reply::{Payload, Reply};
use crate::request_frame::RequestFrame;

/// A request that was encoded, or could not be, and has not begun.
#[derive(Debug)]
pub(crate) struct Prepared {
    pool: Arc<Pool<Connection>>,
    frame: Result<RequestFrame, EncodeError>,
    timeout: Option<Duration>,
    idempotent: bool,
    cancel: Option<CancelHandle>,
}

impl Prepared {
    /// Returns a request to be sent; without a `timeout`, the client's own applies.
    pub(crate) fn new(
        pool: &Arc<Pool<Connection>>,
        frame: Result<RequestFrame, EncodeError>,
        timeout: Option<Duration>,
        idempotent: bool,
    ) -> Prepared {
        Prepared { pool: Arc::clone(pool), frame, timeout, idempotent, cancel: None }
    }

    /// Lets a handle cancel the call.
    pub(crate) fn cancel_with(self, cancel: Option<CancelHandle>) -> Prepared {
        Prepared { cancel, ..self }
    }

    /// Begins the call: its time-out starts now.
    pub(crate) fn begin(self) -> Result<Call, Error> {
        let Prepared { pool, frame, timeout, idempotent, cancel } = self;
        let mut frame = frame?;
        let deadline = pool.options.deadline(Instant::now(), timeout);
        frame.set_deadline(deadline);

        Ok(Call {
            pool,
            frame,
            deadline,
            idempotent,
            cancel,
            tries: 0,
            refusals: 0,
            may_have_run: false,
            timing: None,
            version: None,
        })
    }
}

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pool: Arc<Pool<Connection>>,
    pub(crate) frame: RequestFrame,
    pub(crate) deadline: Instant,
    idempotent: bool,
    pub(crate) cancel: Option<CancelHandle>,
    /// Number of times that the request was completely sent, and not refused by a host that shuts
    /// down.
    tries: u32,
    /// Number of times that a host that shuts down refused the request.
    refusals: u32,
    /// Whether a try that failed may have been executed.
    may_have_run: bool,
    /// The timing of the last reply.
    timing: Option<Timing>,
    /// The version of the connection of the last reply.
    version: Option<Version>,
}

/// The next step of a call after the outcome of a try.
#[derive(Debug)]
pub(crate) enum NextStep {
    /// The call has a result.
    Done(Payload),
    /// The request is sent again after this delay, which ends before the deadline.
    Retry(Duration),
    /// The call has failed.
    Failed(Error),
}

impl Call {
    /// Decides the next step after the outcome of a try.
    pub(crate) fn settle(&mut self, settled: Settled) -> NextStep {
        self.timing = settled.timing;
        self.version = Some(settled.version);
        let failure = match settled.outcome {
            Ok(Answer::Result(result)) => {
                self.pool.reset_failures();
                return NextStep::Done(result);
            }
            Ok(Answer::Heartbeat) => return NextStep::Done(Payload::Json(Bytes::new())),
            Err(failure) => failure,
        };

        let now = Instant::now();
        let delay = self.retry_delay(&failure).filter(|_| !self.is_cancelled());
        let error = to_error(failure);
        match delay.filter(|delay| after(now, *delay) < self.deadline) {
            None => NextStep::Failed(self.fail(self.own_error(error, now))),
            Some(delay) => {
                self.may_have_run |= !error.is_retryable();
                self.pool.counters.retries.add_one();
                NextStep::Retry(delay)
            }
        }
    }

    /// Returns the delay until the request is sent again; `None` if it is not.
    ///
    /// A request that the host did not start is always sent again. A connection that was dead
    /// before the request was sent does not count as a try, nor does a host that shuts down. A host
    /// that rejects a request sends the delay.
    ///
    /// A request that may have run is sent again only if it is idempotent, and only if the
    /// connection was lost or the host sent a delay, as a host that is shutting down does. Any
    /// other error reply is final.
    fn retry_delay(&mut self, failure: &AttemptError) -> Option<Duration> {
        if matches!(failure, AttemptError::Lost { sent: false, .. }) {
            return Some(Duration::ZERO);
        }
        if let AttemptError::Remote(remote) = failure
            && remote.known_code() == Some(Code::GoingAway)
        {
            self.refusals += 1;
            return Some(delay_of(remote, self.refusals));
        }

        self.tries += 1;
        if self.tries >= self.pool.options.max_tries {
            return None;
        }

        match failure {
            AttemptError::Lost { .. } if self.idempotent => Some(Duration::ZERO),
            AttemptError::Remote(remote) => {
                let asks_for_retry = self.idempotent && remote.retry_after().is_some();
                (remote.was_never_started() || asks_for_retry).then(|| delay_of(remote, self.tries))
            }
            _ => None,
        }
    }

    /// Returns the call's own error in place of an error reply that it caused itself: by its
    /// deadline or by its cancellation, which the host knows, too.
    fn own_error(&self, error: Error, now: Instant) -> Error {
        let code = error.remote().and_then(RemoteError::known_code);
        match (code, &error) {
            (Some(Code::Cancelled), _) if self.is_cancelled() => Error::Cancelled { sent: true },
            (Some(Code::DeadlineExceeded), Error::Remote(remote)) => {
                // The host's own limit is shorter than what the request said.
                let is_of_host = remote.timeout_ms().is_none_or(|ms| ms < u64::from(self.frame.deadline_ms));
                if is_of_host && now < self.deadline {
                    return error;
                }
                Error::Timeout { phase: Phase::Reply, sent: true }
            }
            _ => error,
        }
    }

    /// Returns whether the call was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(CancelHandle::is_cancelled)
    }

    /// Returns whether the call was cancelled; as long as it was not, registers the waker.
    pub(crate) fn poll_cancelled(&self, waker: &Waker) -> bool {
        self.cancel.as_ref().is_some_and(|cancel| cancel.poll(waker))
    }

    /// Returns the outcome of the call, with what the last reply adds to it.
    pub(crate) fn into_reply(self, result: Result<Payload, Error>) -> Reply {
        Reply { result, timing: self.timing, version: self.version }
    }

    /// Returns the error for the caller. If an earlier try may have run, it is not a retryable one.
    pub(crate) fn fail(&self, error: Error) -> Error {
        if self.may_have_run && error.is_retryable() {
            return Error::ConnectionLost { sent: true, source: None, then: Some(Box::new(error)) };
        }
        error
    }

    /// Checks whether the next try may begin.
    ///
    /// # Errors
    ///
    /// The call was cancelled, or its deadline passed, during the delay.
    pub(crate) fn check_deadline(&self) -> Result<(), Error> {
        if self.is_cancelled() {
            return Err(self.fail(Error::Cancelled { sent: false }));
        }
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(self.fail(Error::Timeout { phase: Phase::Retry, sent: false }))
    }
}

/// Returns the delay after a number of refusals, which is at least the one that the host asks for.
fn delay_of(remote: &RemoteError, failures: u32) -> Duration {
    backoff::delay(failures).max(remote.retry_after().unwrap_or_default())
}

fn to_error(failure: AttemptError) -> Error {
    match failure {
        AttemptError::Lost { sent, errno } => {
            Error::ConnectionLost { sent, source: errno.map(Into::into), then: None }
        }
        AttemptError::Protocol(error) => Error::Protocol(error),
        AttemptError::Unreadable(error) => Error::UnreadableReply(error),
        AttemptError::Remote(remote) => remote.into(),
        AttemptError::ClientClosed { sent } => Error::Closed { sent },
        AttemptError::BytesUnsupported => Error::BytesUnsupported,
        AttemptError::Cancelled { sent } => Error::Cancelled { sent },
    }
}

#[cfg(test)]
mod tests;
