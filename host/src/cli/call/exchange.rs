//! The exchange of one request and its reply, which Ctrl-C cancels. Before the request, the host is
//! asked whether the params fit the method.

use std::cell::Cell;
use std::io::ErrorKind;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use jackfield_client::{CancelHandle, Client, Error, Mode, Payload, Reply, Request};
use jackfield_contract::{is_method_of_host, openrpc};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use super::args::{CallArgs, Params};
use super::param_check::faults;
use crate::cli::command_error::{CommandError, Interrupted};
use crate::cli::contract_source::DISCOVER;

/// Default of `--timeout`.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Upper bound for the time that the host has to say what a method accepts. It has at most half of
/// the time of the call.
const DISCOVERY_LIMIT: Duration = Duration::from_secs(2);

/// How long a cancelled call waits for its reply.
const GRACE: Duration = Duration::from_secs(1);

/// One call: where it goes, and what cancels it.
struct Exchange<'a> {
    args: &'a CallArgs,
    socket: &'a Path,
    params: &'a Params,
    cancel: CancelHandle,

    /// Whether the request is being sent or was sent. The host may execute it from then on.
    is_sent: Cell<bool>,
}

/// The outcome of a call.
enum Outcome {
    Reply(Reply),
    /// The params do not fit the method; the request was not sent.
    Faults(Vec<String>),
}

/// Sends the request and returns its reply.
///
/// # Errors
///
/// The process cannot wait for signals, or was interrupted. Or the params do not fit the method,
/// and nothing was sent.
pub(super) fn exchange(args: &CallArgs, socket: &Path, params: &Params) -> Result<Reply, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();

    runtime.map_err(CommandError::Signals)?.block_on(async {
        let interrupts = signal(SignalKind::interrupt()).map_err(CommandError::Signals)?;
        let (cancel, is_sent) = (CancelHandle::new(), Cell::new(false));
        let exchange = Exchange { args, socket, params, cancel, is_sent };
        match exchange.run_unless_interrupted(interrupts).await? {
            Ok(Outcome::Reply(reply)) => Ok(reply),
            Ok(Outcome::Faults(faults)) => {
                Err(CommandError::InvalidParams { method: args.method.clone(), faults })
            }
            Err(error) => Err(CommandError::Call { socket: socket.to_owned(), error }),
        }
    })
}

impl Exchange<'_> {
    /// Waits for the outcome of the call. An interrupt cancels it, and a second one ends the wait.
    async fn run_unless_interrupted(
        &self,
        mut interrupts: Signal,
    ) -> Result<Result<Outcome, Error>, CommandError> {
        let mut outcome = pin!(self.run());
        tokio::select! {
            biased;
            outcome = &mut outcome => return Ok(outcome),
            _ = interrupts.recv() => self.cancel.cancel(),
        }
        if !self.is_sent.get() {
            let error = Error::Cancelled { sent: false };
            return Err(CommandError::Interrupted(Interrupted::Failed(error)));
        }

        let result = |outcome| match outcome {
            Outcome::Reply(reply) => reply.result.map(|_| ()),
            Outcome::Faults(_) => Ok(()),
        };
        let interrupted = tokio::select! {
            biased;
            outcome = &mut outcome => match outcome.and_then(result) {
                Ok(()) => Interrupted::Answered,
                Err(error) => Interrupted::Failed(error),
            },
            _ = interrupts.recv() => Interrupted::Unanswered,
            () = sleep(GRACE) => Interrupted::Unanswered,
        };
        Err(CommandError::Interrupted(interrupted))
    }

    /// Makes the call.
    ///
    /// With `--timeout`, waits that long for a host to start. Without it, a missing host is
    /// reported at once. A full backlog means that there is a host, so that is waited for in both
    /// cases.
    async fn run(&self) -> Result<Outcome, Error> {
        if self.args.timeout.is_some() {
            return self.call_with(Duration::MAX).await;
        }
        let outcome = self.call_with(Duration::ZERO).await;
        let error = match &outcome {
            Ok(Outcome::Reply(reply)) => reply.result.as_ref().err(),
            Ok(Outcome::Faults(_)) => None,
            Err(error) => Some(error),
        };
        match error {
            Some(Error::Connect { source, .. }) if source.kind() == ErrorKind::WouldBlock => {
                self.call_with(Duration::MAX).await
            }
            _ => outcome,
        }
    }

    async fn call_with(&self, connect_timeout: Duration) -> Result<Outcome, Error> {
        let args = self.args;
        let began = Instant::now();
        let timeout = args.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let mode = if args.is_async { Mode::Multiplexed } else { Mode::Exclusive };
        let client =
            Client::builder(self.socket).connect_timeout(connect_timeout).mode(mode).timeout(timeout).build();
        let mut checked = self.checked_params();

        if args.verbose || checked.is_some() {
            // A request has a timing only after the host has answered the hello of its connection.
            // And a host that cannot be reached fails the call, not only its check.
            match client.ping().await {
                // The request itself may be at fault, which is said first.
                Err(Error::Connect { .. }) if connect_timeout.is_zero() => checked = None,
                answer => drop(answer?),
            }
        }
        if let Some(params) = checked {
            let limit = DISCOVERY_LIMIT.min(timeout.saturating_sub(began.elapsed()) / 2);
            let faults = self.check(&client, params, limit).await;
            if !faults.is_empty() {
                return Ok(Outcome::Faults(faults));
            }
        }

        self.is_sent.set(true);
        let left = timeout.saturating_sub(began.elapsed());
        Ok(Outcome::Reply(match self.params {
            Params::Json(params) => self.send(client.request(&args.method, params), left).await,
            Params::Bytes(bytes) => self.send(client.request_bytes(&args.method, bytes), left).await,
        }))
    }

    /// Returns the params if they are to be checked.
    fn checked_params(&self) -> Option<Option<&RawValue>> {
        // The methods of the host accept what they can, and health checks call them.
        let is_checked = !self.args.no_check && !is_method_of_host(&self.args.method);
        match self.params {
            Params::Json(params) if is_checked => Some(params.as_deref()),
            _ => None,
        }
    }

    /// Returns what is wrong with the params. A host that does not say what the method accepts
    /// decides itself.
    async fn check(&self, client: &Client, params: Option<&RawValue>, limit: Duration) -> Vec<String> {
        let reply = client.request(DISCOVER, &()).timeout(limit).reply().await;
        let document = reply.result.ok().map(Payload::into_bytes);
        let contract = document.and_then(|document| openrpc::read(&document).ok());
        contract.map_or_else(Vec::new, |contract| faults(&contract, &self.args.method, params))
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
