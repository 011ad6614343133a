//! A call that is about to be made, by either client.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::call::{Prepared, RequestFrame};
use crate::options::Mode;
use crate::pool::Pool;

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

    /// What this call may take in all: connect, write, wait and read.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says that executing the request twice does no harm: it is sent again if its connection is lost.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// How this call uses the wire.
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Writes the request; whatever cannot be written is told when it is begun.
    pub(crate) fn prepare(self, pool: impl FnOnce(&'a C) -> &'a Arc<Pool>) -> Prepared {
        let frame = RequestFrame::new(self.mode, self.method, self.params);
        Prepared::new(pool(self.client), frame, self.timeout, self.idempotent)
    }
}
