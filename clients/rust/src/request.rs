//! A call with its own settings, for the async and the blocking client.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::call::Prepared;
use crate::call_context::CallContext;
use crate::cancel::CancelHandle;
use crate::connection::Connection;
use crate::options::Mode;
use crate::pool::Pool;
use crate::request_frame::{Body, RequestFrame};

/// A call with its own settings; `C` is the async or the blocking client.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a, C, P: ?Sized> {
    client: &'a C,
    method: &'a str,
    body: Body<'a, P>,
    timeout: Option<Duration>,
    idempotent: bool,
    mode: Mode,
    context: CallContext,
    cancel: Option<CancelHandle>,
}

impl<'a, C, P: Serialize + ?Sized> Request<'a, C, P> {
    pub(crate) fn new(client: &'a C, mode: Mode, method: &'a str, body: Body<'a, P>) -> Request<'a, C, P> {
        let context = CallContext::default();
        Request { client, method, body, timeout: None, idempotent: false, mode, context, cancel: None }
    }

    /// Sets the time-out of this call as a whole: connect, write, wait and read. Default: the
    /// client's time-out.
    ///
    /// The request tells the host what is left of it, so that the host does no work for a call that
    /// has ended.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Declares whether executing the request twice is harmless. Default: false.
    ///
    /// An idempotent request is sent again if its connection is lost.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Sets whether this call shares its connection with other calls. Default: the client's mode.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the trace that the call belongs to: a `traceparent` of W3C Trace Context, version 00.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.context.traceparent = Some(traceparent.into());
        self
    }

    /// Sets the `tracestate` that belongs to the trace, at most 512 bytes.
    pub fn tracestate(mut self, tracestate: impl Into<String>) -> Self {
        self.context.tracestate = Some(tracestate.into());
        self
    }

    /// Sets a member of the metadata that the plugin gets with the call, in place of one with the
    /// same name.
    ///
    /// A call has at most 16 members, whose names and values have at most 2,048 bytes.
    pub fn meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.set_meta(name.into(), value.into());
        self
    }

    /// Lets the handle cancel this call.
    pub fn cancel_with(mut self, handle: &CancelHandle) -> Self {
        self.cancel = Some(handle.clone());
        self
    }

    /// Encodes the request. An encoding error is returned when the call begins.
    pub(crate) fn prepare(self, pool: impl FnOnce(&'a C) -> &'a Arc<Pool<Connection>>) -> Prepared {
        let pool = pool(self.client);
        let context = self.context.with_defaults(&pool.options.context);
        let timeout = self.timeout.unwrap_or(pool.options.timeout);

        let frame = RequestFrame::new(self.mode, self.method, &self.body, &context, timeout);
        Prepared::new(pool, frame, self.timeout, self.idempotent).cancel_with(self.cancel)
    }
}
