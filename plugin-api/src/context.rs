//! The context of a running call.

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::abi::{CallHandle, CallOutput, Content};
use crate::{Caller, Error, Host, Metadata, content_reader, content_writer};

/// The context of the running call: its id, its deadline, the caller, and calls to other methods.
pub struct Context<'a> {
    host: Cow<'a, Host>,
    call: CallHandle,
}

impl<'a> Context<'a> {
    pub(crate) fn new(host: Cow<'a, Host>, call: CallHandle) -> Self {
        Self { host, call }
    }

    /// Returns the services of the host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Returns the id of the request as text, for logs. The host generates a `UUIDv4` for a request
    /// without an id.
    #[must_use]
    pub fn id(&self) -> Cow<'_, str> {
        self.call.id()
    }

    /// Returns the time until the deadline of the call; zero if it has passed.
    ///
    /// The deadline is the earlier one of two: the end of the time that the client still waits, if
    /// it sends that, and the deadline that the host sets by its own limits. A call from a plugin
    /// inherits the deadline of the call that makes it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.call.deadline()).saturating_sub(self.host.monotonic())
    }

    /// Returns whether nobody waits for the result any more, because the deadline has passed, the
    /// client has cancelled the request or closed the connection, or the method that made the call
    /// was cancelled.
    ///
    /// A long `blocking` method should check it regularly. An `async` method need not: its future
    /// is dropped.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.call.is_cancelled()
    }

    /// Returns who sent the request. In a call from a plugin, it is the caller of the request that
    /// led to the call.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::read(&self.call.caller(), &self.metadata())
    }

    /// Returns the metadata that the client sent with the request; empty on a host before plugin
    /// API 0.1.1. Calls from plugin to plugin pass it on.
    ///
    /// The client chooses it freely, so it is no proof of anything.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        Metadata::read(&self.call.metadata())
    }

    /// Returns the place of this call in a trace, as `traceparent` of W3C Trace Context: 55
    /// characters to send with what this method requests from other services.
    ///
    /// It is `None` if the request belongs to no trace, and on a host before plugin API 0.1.1.
    #[must_use]
    pub fn traceparent(&self) -> Option<Cow<'_, str>> {
        Some(self.call.traceparent()).filter(|text| !text.is_empty())
    }

    /// Returns `tracestate` of W3C Trace Context as the client sent it, to be passed on unchanged
    /// with [`Context::traceparent`].
    #[must_use]
    pub fn tracestate(&self) -> Option<Cow<'_, str>> {
        Some(self.call.tracestate()).filter(|text| !text.is_empty())
    }

    /// Returns what the params of the call are.
    pub(crate) fn content(&self) -> Content {
        self.call.content()
    }

    /// Calls another method, of any plugin, and awaits its result within the remaining time of this
    /// call. The called method sees the same caller and metadata.
    ///
    /// Params and result are JSON, or opaque bytes if their type is [`Bytes`](crate::Bytes) or
    /// [`Params`](crate::Params).
    ///
    /// # Errors
    ///
    /// The error of the method, an error of the host (not found, overloaded, deadline exceeded), a
    /// result that does not fit `R`, or the cancellation of this call, which ends the wait.
    pub fn call<R: DeserializeOwned>(
        &self,
        method: &str,
        params: &impl Serialize,
    ) -> impl Future<Output = Result<R, Error>> + Send + 'static {
        let begun = write_params(params)
            .and_then(|(params, content)| self.host.handle().call(&self.call, method, &params, content));
        async move { read_result(begun?.await?) }
    }

    /// Calls another method like [`Context::call`], and blocks this thread until it returns.
    ///
    /// It is meant for `blocking` methods. An `inline` method must not wait, so it can reach only
    /// methods that are `inline` too.
    ///
    /// # Errors
    ///
    /// As for [`Context::call`].
    pub fn call_wait<R: DeserializeOwned>(&self, method: &str, params: &impl Serialize) -> Result<R, Error> {
        let (params, content) = write_params(params)?;
        read_result(self.host.handle().call_wait(&self.call, method, &params, content)?)
    }
}

fn write_params(params: &impl Serialize) -> Result<(Vec<u8>, Content), Error> {
    let mut written = Vec::new();
    let content = content_writer::write(params, &mut written)?;
    Ok((written, content))
}

fn read_result<R: DeserializeOwned>(result: CallOutput) -> Result<R, Error> {
    match result.content {
        Content::Json => Ok(serde_json::from_slice(&result.bytes)?),
        Content::Bytes => Ok(content_reader::read(Cow::Owned(result.bytes))?),
    }
}
