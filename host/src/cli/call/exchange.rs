//! The exchange of one request and its reply, which Ctrl-C cancels.

use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use jackfield_client::{CancelHandle, Client, Error, Mode, Reply, Request};
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::args::{CallArgs, Params};
use crate::cli::command_error::{CommandError, Interrupted};

/// Default of `--timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a cancelled call waits for its reply.
const GRACE: Duration = Duration::from_secs(1);

/// One call: where it goes, and what cancels it.
struct Exchange<'a> {
    args: &'a CallArgs,
    socket: &'a Path,
    params: &'a Params,
    cancel: CancelHandle,
}

/// Sends the request and returns its reply.
///
/// # Errors
///
/// The process cannot wait for signals, or was interrupted.
pub(super) fn exchange(args: &CallArgs, socket: &Path, params: &Params) -> Result<Reply, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();

    runtime.map_err(CommandError::Signals)?.block_on(async {
        let interrupts = signal(SignalKind::interrupt()).map_err(CommandError::Signals)?;
        let exchange = Exchange { args, socket, params, cancel: CancelHandle::new() };
        unless_interrupted(exchange.run(), interrupts, &exchange.cancel)
            .await?
            .map_err(|error| CommandError::Call { socket: socket.to_owned(), error })
    })
}

/// Waits for the outcome of a call. An interrupt cancels it, and a second one ends the wait.
async fn unless_interrupted(
    outcome: impl Future<Output = Result<Reply, Error>>,
    mut interrupts: Signal,
    cancel: &CancelHandle,
) -> Result<Result<Reply, Error>, CommandError> {
    let mut outcome = pin!(outcome);
    tokio::select! {
        biased;
        outcome = &mut outcome => return Ok(outcome),
        _ = interrupts.recv() => cancel.cancel(),
    }

    let interrupted = tokio::select! {
        biased;
        outcome = &mut outcome => match outcome.and_then(|reply| reply.result) {
            Ok(_) => Interrupted::Answered,
            Err(error) => Interrupted::Failed(error),
        },
        _ = interrupts.recv() => Interrupted::Unanswered,
        () = sleep(GRACE) => Interrupted::Unanswered,
    };
    Err(CommandError::Interrupted(interrupted))
}

impl Exchange<'_> {
    /// Makes the call.
    ///
    /// With `--timeout`, waits that long for a host to start. Without it, a missing host is
    /// reported at once. A full backlog means that there is a host, so that is waited for in both
    /// cases.
    async fn run(&self) -> Result<Reply, Error> {
        if self.args.timeout.is_some() {
            return self.call_with(Duration::MAX).await;
        }
        let outcome = self.call_with(Duration::ZERO).await;
        let error = match &outcome {
            Ok(reply) => reply.result.as_ref().err(),
            Err(error) => Some(error),
        };
        match error {
            Some(Error::Connect { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                self.call_with(Duration::MAX).await
            }
            _ => outcome,
        }
    }

    async fn call_with(&self, connect_timeout: Duration) -> Result<Reply, Error> {
        let args = self.args;
        let began = Instant::now();
        let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let mode = if args.is_async { Mode::Multiplexed } else { Mode::Exclusive };
        let client =
            Client::builder(self.socket).connect_timeout(connect_timeout).mode(mode).timeout(timeout).build();

        if args.verbose {
            // A request has a timing only after the host has answered the hello of its connection.
            client.ping().await?;
        }

        let left = timeout.saturating_sub(began.elapsed());
        Ok(match self.params {
            Params::Json(params) => self.send(client.request(&args.method, params), left).await,
            Params::Bytes(bytes) => self.send(client.request_bytes(&args.method, bytes), left).await,
        })
    }

    async fn send<P: Serialize>(&self, mut request: Request<'_, Client, P>, left: Duration) -> Reply {
        for (name, value) in &self.args.meta {
            request = request.meta(name, value);
        }
        if let Some(traceparent) = &self.args.traceparent {
            request = request.traceparent(traceparent);
        }
        request.timeout(left).cancel_with(&self.cancel).reply().await
    }
}
