//! A call with its own settings, for the async and the blocking client.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::call::Prepared;
use crate::connection::Connection;
use crate::options::Mode;
use crate::pool::Pool;
use crate::request_frame::RequestFrame;

/// A call with its own settings; `C` is the async or the blocking client.
#[derive(Debug)]
#[must_use = "a request does nothing until it is sent"]
pub struct Request<'a, C, P: ?Sized> {
    client: &'a C,
    method: &'a str,
    params: &'a P,
    timeout: Option<Duration>,
    idempotent: bool,
    mode: Mode,
}

impl<'a, C, P: Serialize + ?Sized> Request<'a, C, P> {
    pub(crate) fn new(client: &'a C, mode: Mode, method: &'a str, params: &'a P) -> Request<'a, C, P> {
        Request { client, method, params, timeout: None, idempotent: false, mode }
    }

    /// Sets the time-out of this call as a whole: connect, write, wait and read. Default: the
    /// client's time-out.
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

    /// Encodes the request. An encoding error is returned when the call begins.
    pub(crate) fn prepare(self, pool: impl FnOnce(&'a C) -> &'a Arc<Pool<Connection>>) -> Prepared {
        let frame = RequestFrame::new(self.mode, self.method, self.params);
        Prepared::new(pool(self.client), frame, self.timeout, self.idempotent)
    }
}
