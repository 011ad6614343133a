//! One call through all its tries: what each outcome means for it, and when it is sent again.

mod frame;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::connection::{Answer, Failure};
use crate::error::{EncodeError, Error, Phase};
use crate::options::later;
use crate::pool::{Pool, backoff};

pub(crate) use frame::RequestFrame;

/// A request that is written, or could not be, and has not begun.
#[derive(Debug)]
pub(crate) struct Prepared {
    pool: Arc<Pool>,
    frame: Result<RequestFrame, EncodeError>,
    timeout: Option<Duration>,
    idempotent: bool,
}

impl Prepared {
    /// `timeout` is the client's own where it is `None`.
    pub(crate) fn new(
        pool: &Arc<Pool>,
        frame: Result<RequestFrame, EncodeError>,
        timeout: Option<Duration>,
        idempotent: bool,
    ) -> Prepared {
        Prepared { pool: Arc::clone(pool), frame, timeout, idempotent }
    }

    /// From here on time counts.
    pub(crate) fn begin(self) -> Result<Call, Error> {
        let Prepared { pool, frame, timeout, idempotent } = self;
        let frame = frame?;
        let deadline = pool.options.deadline(Instant::now(), timeout);
        Ok(Call { pool, frame, deadline, idempotent, tries: 0, may_have_run: false })
    }
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) pool: Arc<Pool>,
    pub(crate) frame: RequestFrame,
    pub(crate) deadline: Instant,
    idempotent: bool,
    /// Times the request has been sent in whole.
    tries: u32,
    /// Whether a try that failed may have been executed.
    may_have_run: bool,
}

/// What follows an outcome.
#[derive(Debug)]
pub(crate) enum Next {
    /// The result's JSON.
    Done(Bytes),
    /// The request is sent again after this wait, which ends before the deadline.
    Again(Duration),
    /// It has failed.
    Failed(Error),
}

impl Call {
    /// What follows the outcome of one try.
    pub(crate) fn settle(&mut self, outcome: Result<Answer, Failure>) -> Next {
        let failure = match outcome {
            Ok(Answer::Result(result)) => {
                self.pool.is_reached();
                return Next::Done(result);
            }
            Ok(Answer::Heartbeat) => return Next::Done(Bytes::new()),
            Err(failure) => failure,
        };
        let delay = self.delay(&failure);
        let error = error(failure);
        match delay.filter(|delay| later(Instant::now(), *delay) < self.deadline) {
            None => Next::Failed(self.fail(error)),
            Some(delay) => {
                self.may_have_run |= !error.is_retryable();
                self.pool.counters.retries.add_one();
                Next::Again(delay)
            }
        }
    }

    /// How long to wait before the request is sent again; `None`: the failure stands.
    ///
    /// A request that the host did not start is sent again by itself: a connection that was dead before the request
    /// was sent costs no try at all, and a host that refuses says how long to wait. One that may have run is sent
    /// again only if the caller said that this is harmless, and only where the connection was lost or the host said
    /// when to come back, as one that ends does: otherwise a host that answered with an error has had its say.
    fn delay(&mut self, failure: &Failure) -> Option<Duration> {
        if matches!(failure, Failure::Lost { sent: false, .. }) {
            return Some(Duration::ZERO);
        }
        self.tries += 1;
        if self.tries >= self.pool.options.max_tries {
            return None;
        }
        match failure {
            Failure::Lost { .. } if self.idempotent => Some(Duration::ZERO),
            Failure::Remote(remote) => {
                let asked_to_come_back = self.idempotent && remote.retry_after().is_some();
                (remote.was_never_started() || asked_to_come_back)
                    .then(|| backoff::delay(self.tries).max(remote.retry_after().unwrap_or_default()))
            }
            _ => None,
        }
    }

    /// The error that the caller gets. Where an earlier try may have run, no error may look as if none had.
    pub(crate) fn fail(&self, error: Error) -> Error {
        if self.may_have_run && error.is_retryable() {
            return Error::ConnectionLost { sent: true, source: None, then: Some(Box::new(error)) };
        }
        error
    }

    /// An error where the deadline passed while the call waited to be sent again.
    pub(crate) fn is_in_time(&self) -> Result<(), Error> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(self.fail(Error::Timeout { phase: Phase::Retry, sent: false }))
    }
}

/// The result as the type that the caller asked for.
pub(crate) fn decode<R: DeserializeOwned>(result: &[u8]) -> Result<R, Error> {
    serde_json::from_slice(result).map_err(Error::Decode)
}

fn error(failure: Failure) -> Error {
    match failure {
        Failure::Lost { sent, errno } => {
            Error::ConnectionLost { sent, source: errno.map(Into::into), then: None }
        }
        Failure::Protocol(error) => Error::Protocol(error),
        Failure::Remote(remote) => remote.into(),
        Failure::Closed { sent } => Error::Closed { sent },
    }
}
