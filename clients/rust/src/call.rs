//! One call through all its tries: what each outcome means for it, and when it is sent again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::backoff;
use crate::connection::{Answer, AttemptError, Connection};
use crate::error::{EncodeError, Error, Phase};
use crate::options::after;
use crate::pool::Pool;
use crate::request_frame::RequestFrame;

/// A request that was encoded, or could not be, and has not begun.
#[derive(Debug)]
pub(crate) struct Prepared {
    pool: Arc<Pool<Connection>>,
    frame: Result<RequestFrame, EncodeError>,
    timeout: Option<Duration>,
    idempotent: bool,
}

impl Prepared {
    /// Returns a request to be sent; without a `timeout`, the client's own applies.
    pub(crate) fn new(
        pool: &Arc<Pool<Connection>>,
        frame: Result<RequestFrame, EncodeError>,
        timeout: Option<Duration>,
        idempotent: bool,
    ) -> Prepared {
        Prepared { pool: Arc::clone(pool), frame, timeout, idempotent }
    }

    /// Begins the call: its time-out starts now.
    pub(crate) fn begin(self) -> Result<Call, Error> {
        let Prepared { pool, frame, timeout, idempotent } = self;
        let frame = frame?;
        let deadline = pool.options.deadline(Instant::now(), timeout);
        Ok(Call { pool, frame, deadline, idempotent, tries: 0, may_have_run: false })
    }
}

/// A call that has begun.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pool: Arc<Pool<Connection>>,
    pub(crate) frame: RequestFrame,
    pub(crate) deadline: Instant,
    idempotent: bool,
    /// Number of times that the request was completely sent.
    tries: u32,
    /// Whether a try that failed may have been executed.
    may_have_run: bool,
}

/// The next step of a call after the outcome of a try.
#[derive(Debug)]
pub(crate) enum NextStep {
    /// The call has a result, in JSON.
    Done(Bytes),
    /// The request is sent again after this delay, which ends before the deadline.
    Retry(Duration),
    /// The call has failed.
    Failed(Error),
}

impl Call {
    /// Decides the next step after the outcome of a try.
    pub(crate) fn settle(&mut self, outcome: Result<Answer, AttemptError>) -> NextStep {
        let failure = match outcome {
            Ok(Answer::Result(result)) => {
                self.pool.reset_failures();
                return NextStep::Done(result);
            }
            Ok(Answer::Heartbeat) => return NextStep::Done(Bytes::new()),
            Err(failure) => failure,
        };

        let delay = self.retry_delay(&failure);
        let error = to_error(failure);
        match delay.filter(|delay| after(Instant::now(), *delay) < self.deadline) {
            None => NextStep::Failed(self.fail(error)),
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
    /// before the request was sent does not count as a try. A host that rejects a request sends the
    /// delay.
    ///
    /// A request that may have run is sent again only if it is idempotent, and only if the
    /// connection was lost or the host sent a delay, as a host that is shutting down does. Any
    /// other error reply is final.
    fn retry_delay(&mut self, failure: &AttemptError) -> Option<Duration> {
        if matches!(failure, AttemptError::Lost { sent: false, .. }) {
            return Some(Duration::ZERO);
        }

        self.tries += 1;
        if self.tries >= self.pool.options.max_tries {
            return None;
        }

        match failure {
            AttemptError::Lost { .. } if self.idempotent => Some(Duration::ZERO),
            AttemptError::Remote(remote) => {
                let asks_for_retry = self.idempotent && remote.retry_after().is_some();
                (remote.was_never_started() || asks_for_retry)
                    .then(|| backoff::delay(self.tries).max(remote.retry_after().unwrap_or_default()))
            }
            _ => None,
        }
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
    /// The deadline passed during the delay.
    pub(crate) fn check_deadline(&self) -> Result<(), Error> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(self.fail(Error::Timeout { phase: Phase::Retry, sent: false }))
    }
}

/// Decodes a result as the type that the caller asked for.
pub(crate) fn decode<R: DeserializeOwned>(result: &[u8]) -> Result<R, Error> {
    serde_json::from_slice(result).map_err(Error::Decode)
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
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jackfield_protocol::Code;

    use super::*;
    use crate::error::RemoteError;
    use crate::options::{Mode, Options};

    fn call(idempotent: bool) -> Call {
        let pool = Pool::new(Options::new(Path::new("unused")), |_: &Arc<Connection>| ());
        let frame = RequestFrame::new(Mode::Exclusive, "m", &());
        Prepared::new(&pool, frame, None, idempotent).begin().unwrap()
    }

    fn lost(sent: bool) -> Result<Answer, AttemptError> {
        Err(AttemptError::Lost { sent, errno: None })
    }

    fn rejected(code: Code, data: Option<&str>) -> Result<Answer, AttemptError> {
        let data = data.map(|json| serde_json::value::RawValue::from_string(json.to_owned()).unwrap());
        Err(AttemptError::Remote(RemoteError { code: code.as_i64(), message: "no".into(), data }))
    }

    #[test]
    fn retries_an_unsent_request_without_counting_a_try() {
        let mut call = call(false);
        for _ in 0..10 {
            assert!(matches!(call.settle(lost(false)), NextStep::Retry(Duration::ZERO)));
        }
        assert_eq!((call.tries, call.may_have_run), (0, false));
    }

    #[test]
    fn retries_a_request_that_may_have_run_only_if_it_is_idempotent() {
        let once = call(false).settle(lost(true));
        assert!(matches!(once, NextStep::Failed(Error::ConnectionLost { sent: true, .. })), "{once:?}");

        let mut call = call(true);
        for _ in 1..call.pool.options.max_tries {
            assert!(matches!(call.settle(lost(true)), NextStep::Retry(Duration::ZERO)));
        }
        assert!(matches!(call.settle(lost(true)), NextStep::Failed(_)));
    }

    #[test]
    fn waits_as_long_as_the_host_asks_for() {
        let asked = r#"{"retry_after_ms":250}"#;
        let step = call(false).settle(rejected(Code::Overloaded, Some(asked)));
        assert!(matches!(step, NextStep::Retry(delay) if delay == Duration::from_millis(250)), "{step:?}");

        let step = call(false).settle(rejected(Code::Overloaded, Some(r#"{"retry_after_ms":60000}"#)));
        assert!(matches!(step, NextStep::Failed(Error::Remote(_))), "beyond the deadline: {step:?}");
    }

    #[test]
    fn retries_after_an_error_reply_only_an_idempotent_call_with_a_delay_from_the_host() {
        let with_delay = || rejected(Code::DeadlineExceeded, Some(r#"{"retry_after_ms":1}"#));
        assert!(matches!(call(false).settle(with_delay()), NextStep::Failed(_)));
        assert!(matches!(call(true).settle(with_delay()), NextStep::Retry(_)));
        assert!(matches!(call(true).settle(rejected(Code::DeadlineExceeded, None)), NextStep::Failed(_)));
    }

    #[test]
    fn reports_no_retryable_error_after_a_try_that_may_have_run() {
        let mut call = call(true);
        call.settle(lost(true));
        let error = call.fail(Error::PoolFull { connections: 1, waiting: 0 });
        assert!(!error.is_retryable());
        assert!(matches!(error, Error::ConnectionLost { sent: true, then: Some(_), .. }), "{error:?}");
    }
}
